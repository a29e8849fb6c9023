import re
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from lagvis.data import row_statistics
from lagvis.data.feature_ranges import BYTES, FeatureRanges
from lagvis.data.input_spec import MNIST_STYLE, RESIZE, InputSpec
from lagvis.data.range_check import (
    PieceFit,
    check_backgrounds,
    check_feature_ranges,
    fit_picture,
    fit_to_training,
    to_shades,
)
from lagvis.errors import DataError

# Pictures on a background of 0, as digits are: 200 of 8x8, with values up to 255.
RNG = np.random.default_rng(11)
PICTURES = RNG.integers(0, 256, (200, 64)).astype(np.uint8)
PICTURES[:, :16] = 0
PICTURES[:, -1] = 255
FORMS = {
    "0..255": lambda x: x.astype(np.float64),
    "0..1": lambda x: x / 255,
    "float16": lambda x: (x / 255).astype(np.float16).astype(np.float64),
    "-1..1": lambda x: x / 127.5 - 1,
    "-0.5..0.5": lambda x: x / 255 - 0.5,
    "0..65535": lambda x: x * 257.0,
}


def spec_of(x, shape=None, **fields):
    """Return what a network takes that has learned from x."""
    ranges = FeatureRanges.of(x, np.arange(len(x)), shape or x.shape[1:])
    spec = InputSpec(shape or x.shape[1:], is_bytes=ranges.kind == BYTES, class_names=("a", "b"), ranges=ranges)
    return replace(spec, **fields)


def checks(warnings):
    return [warning.check for warning in warnings]


# Values of -0.5..0.5 fit into -1..1, where they may be pictures of little contrast.
@pytest.mark.parametrize(
    ("learned", "given"),
    [pair for pair in product(["bytes", *FORMS], repeat=2) if pair != ("-1..1", "-0.5..0.5")],
)
def test_fit_to_training_pictures_of_every_range_become_those_of_training(learned, given):
    x = {"bytes": PICTURES} | {name: form(PICTURES) for name, form in FORMS.items()}
    spec = spec_of(x[learned], (8, 8))
    fitted, warnings = fit_to_training(x[given], spec, "data")
    assert fitted.dtype == (np.uint8 if learned == "bytes" else np.float64)
    np.testing.assert_allclose(fitted, x[learned], atol=np.ptp(x[learned]) * 5e-4)
    same = {learned, given} <= {"bytes", "0..255"} or {learned, given} <= {"0..1", "float16"} or learned == given
    assert checks(warnings) == ([] if same else ["input_scale"])
    if warnings:
        assert "as in training" in warnings[0].message
        assert "--no-range-check" in warnings[0].message


@pytest.mark.parametrize("learned", ["bytes", *FORMS])
@pytest.mark.parametrize("rows", [1, 30])
def test_fit_to_training_blank_pictures_stay_blank(learned, rows):
    x = PICTURES if learned == "bytes" else FORMS[learned](PICTURES)
    background = x[0, 0]
    fitted, _ = fit_to_training(np.full((rows, 64), background), spec_of(x, (8, 8)), "data")
    assert (fitted == background).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda x: x.view(np.int8) * 1.0, "x.view('uint8') for bytes that were read as signed ones, x + 128 for"),
        (lambda x: x / 2.0, "from 0 to 127.5, the network learned from whole numbers from 0 to 255 (a fact"),
        (lambda x: x * 2.0, "whole numbers from 0 to 510, the network learned from whole numbers from 0 to 255 ("),
        (lambda x: (x / 255 - 0.13) / 0.31, "the network learned from whole numbers from 0 to 255 (a factor of"),
        (lambda x: 255.0 - x, "the pixels that were 0 in every training row are 255"),
        (lambda x: x // 16 * 1.0, "from 0 to 15, the network learned from whole numbers from 0 to 255 (a facto"),
    ],
    ids=["signed bytes", "half", "twice", "standardised", "inverted", "sixteen levels"],
)
def test_fit_to_training_pictures_of_another_scale_raise_data_error_with_both_ranges(given, words):
    spec = spec_of(FORMS["0..255"](PICTURES), (8, 8))
    with pytest.raises(DataError) as caught:
        fit_to_training(given(PICTURES), spec, "data")
    assert words in str(caught.value)
    assert "--no-range-check" in str(caught.value)
    x, warnings = fit_to_training(given(PICTURES), replace(spec, check_ranges=False), "data")
    assert (x == given(PICTURES)).all()
    assert warnings == []


def test_fit_to_training_single_dark_picture_is_reported_and_used():
    x, warnings = fit_to_training(PICTURES[:1, :-1] // 3, spec_of(PICTURES[:, :-1], (7, 9)), "data")
    assert (x == PICTURES[:1, :-1] // 3).all()
    assert checks(warnings) == ["input_scale"]


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("value", [20.0, 255.0, -7.0, 1e6])
def test_fit_to_training_counts_with_a_single_large_one_are_reported_and_used(rows, value):
    counts = np.random.default_rng(2).integers(0, 9, (300, 144)) * 1.0
    given = counts[:rows].copy()
    given[0, 7] = value
    fitted, [warning] = fit_to_training(given, spec_of(counts), "data")
    assert (fitted == given).all()
    assert (warning.check, warning.figures["far_outside"]) == ("outside_range", 1)


def test_fit_to_training_thin_lines_of_0_to_255_are_converted():
    lines = np.zeros((30, 1024))
    lines[:, :512] = np.random.default_rng(2).integers(0, 256, (30, 512)) * (np.arange(512) % 60 == 0)
    lines[:, 0] = 255
    fitted, warnings = fit_to_training(lines[:3], spec_of(lines / 255, (32, 32)), "data")
    np.testing.assert_allclose(fitted, lines[:3] / 255)
    assert checks(warnings) == ["input_scale"]


def test_fit_to_training_signed_bytes_asked_with_bytes_raise_data_error():
    spec = spec_of(PICTURES.view(np.int8).astype(np.float64), (8, 8))
    for given in (PICTURES, PICTURES / 255, PICTURES / 127.5 - 1, PICTURES // 2):
        with pytest.raises(DataError, match="from -128 to 127"):
            fit_to_training(given, spec, "data")
    assert not spec.takes_pictures


def test_fit_to_training_fractions_within_bytes_raise_data_error_with_row_and_value():
    x = PICTURES[:3] * 1.0
    x[2, 5] = 7.5
    with pytest.raises(DataError, match=r"data, third row 2 holds 7.5, the network was trained on bytes \(0..255\)"):
        fit_to_training(x, spec_of(PICTURES, (8, 8)), "data", lambda row: f"third row {row}")


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (10, "x / 10 is"),
        (0.1, "x * 10 is"),
        (0.5, "x * 2 is"),
        (1000, "x / 1000 is"),
        (2, "x / 2 is"),
        (30, "all values of 4 of 4"),
        (1 / 2.54, "x * 2.54 is"),
    ],
)
def test_fit_to_training_table_in_another_unit_raises_data_error_with_the_factor(factor, words):
    x = load_iris().data
    with pytest.raises(DataError) as caught:
        fit_to_training(x[1::2] * factor, spec_of(x[::2]), "data")
    assert words in str(caught.value)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes])
def test_fit_to_training_table_that_was_scaled_otherwise_is_refused_or_reported(load):
    x = load().data
    scaled = {
        "raw": x,
        "standardised": (x - x.mean(axis=0)) / x.std(axis=0),
        "from 0 to 1": (x - x.min(axis=0)) / np.ptp(x, axis=0),
    }
    # Values that are smaller than in training are within its ranges.
    smaller = {("standardised", "from 0 to 1")} | ({("standardised", "raw")} if load is load_diabetes else set())
    for learned, given in permutations(scaled, 2):
        spec = spec_of(scaled[learned][::2])
        if (learned, given) in smaller:
            assert checks(fit_to_training(scaled[given][1::2], spec, "data")[1]) == ["input_scale"]
            continue
        with pytest.raises(DataError, match="are outside of their ranges"):
            fit_to_training(scaled[given][1::2], spec, "data")


def test_fit_to_training_time_that_goes_on_is_reported_and_used():
    time = 1767225600.0 + np.arange(1000)[:, None]
    fitted, warnings = fit_to_training(time[700:] + 300, spec_of(time), "data")
    assert len(fitted) == 300
    assert checks(warnings) == ["outside_range"]


def test_fit_to_training_single_far_value_is_reported_with_its_place():
    x = load_iris().data
    given = x[1::2].copy()
    given[4, 2] = 146.0
    names = ("sepal length", "sepal width", "petal length", "petal width")
    fitted, [warning] = fit_to_training(
        given, spec_of(x[::2], feature_names=names), "data", lambda row: f"row {row + 1}"
    )
    assert (fitted == given).all()
    assert "1 of 300 values is far outside" in warning.message
    assert "146 in column 'petal length', row 5 (1 to 6.9 in training)" in warning.message
    assert warning.figures == {
        "values": 300, "outside": 5, "far_outside": 1, "rows": 75, "rows_far_outside": 1, "feature": "petal length",
        "value": 146.0, "learned": [1.0, 6.9],
    }  # fmt: skip


def test_fit_to_training_constant_column_with_another_value_is_reported():
    x = np.column_stack([np.arange(50.0), np.full(50, 7.0)])
    spec = spec_of(x, feature_names=("time", "constant"))
    assert fit_to_training(x, spec, "data")[1] == []
    given = x.copy()
    given[10:20, 1] = 8
    [warning] = fit_to_training(given, spec, "data", lambda row: f"row {row + 1}")[1]
    assert warning.check == "constant_column_changed"
    assert (
        "column 'constant' was 7 in every training row and is 8 here, row 11 (10 of 50 rows differ)" in warning.message
    )


def test_fit_to_training_constant_that_float32_rounds_is_the_same():
    x = np.column_stack([np.arange(50.0), np.full(50, 0.1)])
    assert fit_to_training(x.astype(np.float32), spec_of(x), "data")[1] == []


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes, load_digits])
@pytest.mark.parametrize("seed", range(10))
def test_fit_to_training_test_part_of_well_known_data_is_unremarkable(load, seed):
    x = load().data
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = x[order[: -len(x) // 5]], x[order[-len(x) // 5 :]]
    assert fit_to_training(test, spec_of(train), "data")[1] == []


@pytest.mark.parametrize("block_values", [1, 999])
def test_fit_to_training_every_block_size_gives_the_same_warnings(monkeypatch, block_values):
    x = load_wine().data
    given = np.column_stack([x * 1.3, np.ones(len(x))])
    spec = spec_of(np.column_stack([x, np.zeros(len(x))]))
    expected = fit_to_training(given, spec, "data")[1]
    monkeypatch.setattr(row_statistics, "BLOCK_VALUES", block_values)
    assert fit_to_training(given, spec, "data")[1] == expected
    assert checks(expected) == ["outside_range", "constant_column_changed"]


def test_fit_to_training_largest_numbers_raise_no_warning():
    most = np.finfo(np.float64).max
    x = np.array([[most, 1.0], [-most, 2.0]] * 15)
    fit_to_training(x, spec_of(x), "data")
    fit_to_training(x, spec_of(np.array([[1e-300, 0.0], [2e-300, 1.0]] * 15), check_ranges=False), "data")
    with pytest.raises(DataError, match="nearly all values of 2 of 2 features"):
        fit_to_training(x, spec_of(np.array([[1e-300, 0.0], [2e-300, 0.1]] * 15)), "data")


def test_check_feature_ranges_rows_of_another_scale_give_a_warning_instead_of_an_error():
    ranges = FeatureRanges.of(PICTURES, np.arange(200), (8, 8))
    for given in (PICTURES / 255, PICTURES * 1.5, 255 - PICTURES):
        [warning] = check_feature_ranges(given, ranges, (), "the test part")
        assert warning.check == "input_scale"
        assert "the test part holds" in warning.message


@pytest.mark.parametrize("learned", ["bytes", *FORMS])
def test_fit_picture_and_to_shades_are_inverse(learned):
    spec = spec_of(PICTURES if learned == "bytes" else FORMS[learned](PICTURES), (8, 8))
    fitted = fit_picture(PICTURES[:1], spec)
    np.testing.assert_array_equal(to_shades(fitted, spec), PICTURES[:1])


def test_fit_picture_few_levels_are_those_of_training():
    levels = PICTURES // 15 - PICTURES // 255
    spec = spec_of(levels, (8, 8))
    assert levels.max() == 16
    fitted = fit_picture(PICTURES[:1], spec)
    np.testing.assert_allclose(fitted, PICTURES[:1] * (16 / 255), atol=0.5)


def test_fit_to_training_positive_rows_of_numbers_from_minus_1_to_1_stay_as_they_are():
    # 64 correlations or cosines are no picture, although they may have the range of one.
    rng = np.random.default_rng(3)
    x = np.clip(rng.normal(0, 0.3, (1000, 64)) + rng.normal(0, 0.4, (1000, 1)), -1, 1)
    positive = x[(x >= 0).all(axis=1)][:19]
    fitted, _ = fit_to_training(positive, spec_of(x), "data")
    np.testing.assert_array_equal(fitted, positive)


def test_fit_to_training_white_pictures_of_half_units_stay_white():
    spec = spec_of(FORMS["-0.5..0.5"](PICTURES), (8, 8))
    fitted, warnings = fit_to_training(np.full((2, 64), 0.5), spec, "data")
    assert (fitted == 0.5).all()
    assert not {*checks(warnings)} & {"input_scale"}


def test_fit_to_training_small_fractions_asked_in_thousandths_are_not_converted_as_pictures():
    x = np.random.default_rng(4).uniform(0, 0.2, (500, 64))
    with pytest.raises(DataError, match=r"x / 1000 is on the scale of training"):
        fit_to_training(x * 1000, spec_of(x), "data")


@pytest.mark.parametrize("rows", [1, 20, 100])
def test_fit_to_training_columns_of_which_one_was_larger_once_have_no_other_scale(rows):
    counts = np.random.default_rng(5).poisson(0.5, (1000, 100))
    counts[0, 0] = 200
    for learned in (counts.astype(np.uint8), counts * 1.0, counts / 200):
        assert not checks(fit_to_training(learned[-rows:], spec_of(learned), "data")[1])


def test_fit_to_training_row_of_unit_length_has_no_other_scale():
    x = np.random.default_rng(6).normal(0, 1, (2000, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert not [i for i in range(100) if checks(fit_to_training(x[i : i + 1], spec_of(x), "data")[1])]


def test_fit_to_training_next_number_of_small_counts_is_not_far_outside():
    counts = np.random.default_rng(7).integers(0, 3, (500, 100)).astype(np.uint8)
    row = counts[:1].copy()
    row[0, 7] = 3
    assert not checks(fit_to_training(row, spec_of(counts), "data")[1])
    row[0, 7] = 40
    assert checks(fit_to_training(row, spec_of(counts), "data")[1]) == ["outside_range"]


def test_fit_to_training_few_values_just_outside_are_not_reported():
    x = np.random.default_rng(8).uniform(0, 1, (300, 2))
    row = np.concatenate([x[:8], [[1.01, 0.5], [0.5, -0.01]]])
    assert not checks(fit_to_training(row, spec_of(x), "data")[1])


def test_fit_to_training_single_temperature_in_fahrenheit_is_reported():
    x = np.random.default_rng(9).uniform([-10, 1.5], [30, 2], (300, 2))
    assert checks(fit_to_training(np.array([[86.0, 1.7]]), spec_of(x), "data")[1]) == ["outside_range"]


@pytest.mark.parametrize(
    ("image_mode", "remedy"),
    [(RESIZE, "invert what is drawn, or train on such pictures"), (MNIST_STYLE, "leave --centre out")],
)
def test_check_backgrounds_inverted_pictures_are_reported_with_what_to_do(image_mode, remedy):
    framed = 255 - np.pad(PICTURES.reshape(-1, 8, 8), ((0, 0), (2, 2), (2, 2))).reshape(len(PICTURES), -1)
    spec = replace(spec_of(framed, (12, 12)), image_mode=image_mode)
    given = np.concatenate([framed[:2], 255 - framed[2:4]])
    [warning] = check_backgrounds(given, ["a.png", "b.png", "c.png", "d.png"], spec)
    assert warning.check == "input_scale"
    assert warning.figures == {"pictures": 2, "of": 4, "learned": 255.0, "found": 0.0}
    assert "2 of 4 pictures (the first is c.png) are on" in warning.message
    assert warning.message.endswith(f"predictions there are unreliable: {remedy}.")
    assert check_backgrounds(np.maximum(framed, 40) - 40, ["a.png"] * len(framed), spec) == []
    [warning] = check_backgrounds(given[:3], ["a.png", "b.png", "c.png"], spec)
    assert warning.message.startswith("c.png is on another background")
    assert check_backgrounds(given, list("abcd"), replace(spec, check_ranges=False)) == []


@pytest.mark.parametrize("rows", [1, 100])
def test_fit_to_training_pictures_of_no_usual_range_asked_with_smaller_numbers_are_refused_or_reported(rows):
    learned = np.rint(PICTURES * (1000 / 255))
    for given in (PICTURES / 255, PICTURES / 2550):
        if rows == 1:
            assert "input_scale" in checks(fit_to_training(given[:1], spec_of(learned), "data")[1])
        else:
            with pytest.raises(DataError, match="the network learned from whole numbers from 0 to 1000"):
                fit_to_training(given, spec_of(learned), "data")


def test_fit_to_training_small_numbers_are_no_bytes_for_a_network_of_words():
    spec = spec_of(FORMS["0..65535"](PICTURES), (8, 8))
    for given in (PICTURES // 16 * 1.0, PICTURES / 127.5 - 1.5):
        with pytest.raises(DataError, match="the network learned from whole numbers from 0 to 65535"):
            fit_to_training(given, spec, "data")
    assert checks(fit_to_training(PICTURES, spec, "data")[1]) == ["input_scale"]


@pytest.mark.parametrize("factor", [16, 8])
def test_fit_to_training_digits_of_17_levels_asked_on_a_smaller_scale_are_refused(factor):
    x = load_digits().data
    with pytest.raises(DataError, match="from whole numbers from 0 to 16"):
        fit_to_training(x[1400:] / factor, spec_of(x[:1400], (8, 8)), "data")
    assert fit_to_training(x[1400:], spec_of(x[:1400], (8, 8)), "data")[1] == []


@pytest.mark.parametrize("piece", [7, 50, 178])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x + np.eye(x.shape[1])[4] * 300,
        lambda x: x * 10,
        lambda x: np.where(np.arange(len(x))[:, None] == 60, x * 50, x),
        lambda x: x[:, ::-1],
        lambda x: x[:10] * 3,
    ],
)
def test_piece_fit_equals_fit_to_training(change, piece):
    """Rows and warnings are the same; of an error, only a factor is not known."""
    x = np.column_stack([load_wine().data, np.zeros(178)])
    spec = spec_of(x)
    given = np.column_stack([change(x[:, :13]), np.zeros(len(change(x)))])
    given[-1, 13] = 5.0

    def whole():
        rows, warnings = fit_to_training(given, spec, "data", lambda row: f"row {row + 1}")
        return rows.tolist(), warnings

    def in_pieces():
        fit = PieceFit(spec, "data", lambda row: f"row {row + 1}")
        rows = [fit.fit(given[start : start + piece], start) for start in range(0, len(given), piece)]
        return np.concatenate(rows).tolist(), fit.finish()

    try:
        expected = whole()
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error).partition(" (")[0])):
            in_pieces()
    else:
        assert in_pieces() == expected


@pytest.mark.parametrize("factor", [1, 1 / 255, 257])
def test_piece_fit_converts_pictures_as_fit_to_training(factor):
    x = load_digits().data / 16 * 255
    spec = spec_of(np.rint(x).astype(np.uint8), (8, 8))
    given = np.rint(x) * factor
    rows, warnings = fit_to_training(given, spec, "data", lambda row: f"row {row + 1}")
    fit = PieceFit(spec, "data", lambda row: f"row {row + 1}")
    pieces = [fit.fit(given[start : start + 500], start) for start in range(0, len(given), 500)]
    np.testing.assert_array_equal(np.concatenate(pieces), rows)
    assert fit.finish() == warnings
