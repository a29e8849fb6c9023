"""Checks of the data on encoded columns: what is reported, and what is no fault."""

import numpy as np
import pytest

from lagvis.data.checks import check_dataset, check_skewed_features
from lagvis.data.datasets import load_dataset
from lagvis.data.input_spec import InputSpec
from lagvis.data.leakage import check_leaking_features
from lagvis.data.range_check import check_feature_ranges, fit_to_training
from lagvis.errors import DataError
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe

pd = pytest.importorskip("pandas")

ROWS = 600
RNG = np.random.default_rng(5)
NOISE = RNG.normal(size=(ROWS, 3)).round(4)
LABEL = np.where(RNG.random(ROWS) < 0.4, "no", "yes")
DATES = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 700 * 24, ROWS), unit="h")


@pytest.fixture
def load(tmp_path):
    """Return a function that writes columns beside a label as a table and loads it."""

    def write_and_load(columns, label=LABEL, **options):
        pd.DataFrame({**columns, "label": label}).to_csv(tmp_path / "t.csv", index=False)
        return load_dataset(str(tmp_path / "t.csv"), **{"label": "label"} | options)

    return write_and_load


def model_of(dataset, **keys):
    return Model.of(Recipe(data="t", **keys), dataset, np.arange(len(dataset.x_train)))


def checks(dataset):
    return [warning.check for warning in check_dataset(dataset, model_of(dataset).ranges)]


def test_check_dataset_ordinary_columns_of_every_kind_give_no_warning(load):
    age = NOISE[:, 0].copy()
    age[::10] = np.nan
    dataset = load({
        "age": age, "city": RNG.choice(["Oslo", "Bergen", "Rome"], ROWS, p=[0.7, 0.25, 0.05]), "since": DATES,
        "member": RNG.choice(["TRUE", "FALSE"], ROWS), "children": RNG.integers(0, 4, ROWS), "z": NOISE[:, 1],
    })  # fmt: skip
    assert checks(dataset) == []


def test_feature_ranges_64_indicators_are_no_picture_and_have_no_shared_scale(load):
    dataset = load({f"c{i}": RNG.choice(list("ab"), ROWS) for i in range(32)} | {"z": RNG.choice(list("ab"), ROWS)})
    ranges = model_of(load({f"c{i}": RNG.choice(list("ab"), ROWS) for i in range(32)})).ranges
    assert len(ranges.low) == 64
    assert ranges.picture_range is None
    assert not ranges.has_shared_scale
    assert checks(dataset) == []


def spec_of(dataset):
    model = model_of(dataset)
    return InputSpec(model.shape, is_bytes=False, feature_names=model.feature_names, ranges=model.ranges,
                     encoding=model.encoding)  # fmt: skip


def test_fit_to_training_levels_alone_and_unseen_are_no_other_scale(load):
    dataset = load({"city": RNG.choice(["Oslo", "Rome"], ROWS), "size": RNG.choice(list("SML"), ROWS)})
    rows = np.zeros((40, 5))
    rows[:, 0] = 1
    assert fit_to_training(rows, spec_of(dataset), "new.csv")[1] == []


def test_fit_to_training_later_dates_are_reported_as_dates_and_never_refused(load):
    dataset = load({"since": DATES, "until": DATES + pd.Timedelta("9D"), "z": NOISE[:, 0]})
    rows = dataset.x_test.copy()
    names = dataset.encoding.feature_names
    for name in ("since", "until"):
        rows[:, names.index(name)] += 20 * 365 * 86400
    (warning,) = fit_to_training(rows, spec_of(dataset), "new.csv")[1]
    assert warning.check == "outside_range"
    assert "far outside" in warning.message
    assert "most of all 204" in warning.message
    assert "(2024-01-0" in warning.message


def test_fit_to_training_numbers_beside_categories_on_another_scale_are_refused(load):
    dataset = load(
        {"a": NOISE[:, 0] + 5, "b": NOISE[:, 1] + 5, "c": NOISE[:, 2] + 9, "city": RNG.choice(["x", "y"], ROWS)}
    )
    rows = dataset.x_test.copy()
    rows[:, :3] *= 1000
    with pytest.raises(DataError, match="the network learned from real numbers"):
        fit_to_training(rows, spec_of(dataset), "new.csv")


def test_check_feature_ranges_level_without_training_row_is_no_changed_constant(load):
    dataset = load({"city": RNG.choice(["Oslo", "Rome", "Paris"], ROWS), "z": NOISE[:, 0]})
    kept = np.flatnonzero(dataset.x_train[:, 1] == 0)  # none of Paris, as after the validation rows are held out
    model = Model.of(Recipe(data="t"), dataset, kept)
    assert model.x_scaling.constant.tolist() == [False, True, False, False]
    found = check_feature_ranges(dataset.x_test, model.ranges, model.feature_names, "t", None, dataset.encoding)
    assert [warning for warning in found if warning.check == "constant_column_changed"] == []


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_model_of_keeps_indicators_as_0_and_1(load, scaling):
    age = NOISE[:, 0].copy()
    age[::10] = np.nan
    dataset = load({"city": RNG.choice(["Oslo", "Rome"], ROWS, p=[0.97, 0.03]), "age": age,
                    "member": RNG.choice(["true", "false"], ROWS)})  # fmt: skip
    scaled = model_of(dataset, number_scaling=scaling).x_scaling.apply(dataset.x_train)
    indicators = np.array(dataset.encoding.feature_kinds) == "indicator"
    assert indicators.tolist() == [True, True, False, True, True]
    assert np.array_equal(scaled[:, indicators], dataset.x_train[:, indicators])
    assert abs(scaled[:, 2]).max() < 10


@pytest.mark.parametrize("levels", [1, 4])
def test_check_leaking_features_category_that_is_the_label_is_named_as_a_column(load, levels):
    tier = [f"{label}{i}" for label, i in zip(LABEL, RNG.integers(0, levels, ROWS), strict=True)]
    dataset = load({"z": NOISE[:, 0], "tier": tier, "w": NOISE[:, 1]})
    (warning,) = check_leaking_features(dataset)
    assert warning.message.startswith("Column 2 ('tier') alone predicts the label of 100")
    assert warning.figures["columns"][0]["name"] == "column 2 ('tier')"


def test_check_leaking_features_three_classes_in_other_words_are_one_column(load):
    label = RNG.choice(["a", "b", "c"], ROWS)
    dataset = load({"z": NOISE[:, 0], "words": [f"class {name}" for name in label]}, label)
    (warning,) = check_leaking_features(dataset)
    assert warning.message.startswith("Column 2 ('words') alone predicts")


def test_check_leaking_features_category_that_gives_the_target(load):
    price = RNG.integers(0, 5, ROWS) * 100.0
    dataset = load({"z": NOISE[:, 0], "band": [f"band {value:g}" for value in price]}, price, regression=True)
    (warning,) = check_leaking_features(dataset)
    assert warning.message.startswith("Column 2 ('band') alone predicts target label")


def test_check_leaking_features_categories_that_help_are_no_leak(load):
    helps = np.where(RNG.random(ROWS) < 0.9, LABEL, "no")
    assert check_leaking_features(load({"z": NOISE[:, 0], "helps": [f"is {x}" for x in helps]})) == []


SKEWED = {
    "log uniform": 10 ** RNG.uniform(0, 6, ROWS),
    "log normal": np.exp(RNG.normal(0, 2.5, ROWS)),
    "with zeros": np.where(RNG.random(ROWS) < 0.6, 0, 10 ** RNG.uniform(0, 6, ROWS)),
}
NOT_SKEWED = {
    "uniform": RNG.uniform(0, 1, ROWS),
    "exponential": RNG.exponential(size=ROWS),
    "counts": RNG.poisson(3, ROWS),
    "far from zero": 1e9 + RNG.normal(size=ROWS),
    "negative": -SKEWED["log uniform"],
    "an outlier": np.append(RNG.uniform(1, 2, ROWS - 1), 1e9),
    "two heaps": np.where(RNG.random(ROWS) < 0.4, 1e-6, 1),
    "zero": np.zeros(ROWS),
}


@pytest.mark.parametrize("name", SKEWED)
def test_check_skewed_features_names_the_remedy_and_it_ends_the_warning(load, name):
    columns = {"z": NOISE[:, 0], name: SKEWED[name]}
    dataset = load(columns)
    (warning,) = check_skewed_features(dataset, model_of(dataset).ranges)
    assert "--log " in warning.message
    assert warning.figures["features"][0]["factor"] >= 1e4
    remedied = load(columns, log=(name,))
    assert check_skewed_features(remedied, model_of(remedied).ranges) == []


@pytest.mark.parametrize("name", NOT_SKEWED)
def test_check_skewed_features_other_numbers_give_no_warning(load, name):
    dataset = load({"z": NOISE[:, 0], name: NOT_SKEWED[name]})
    assert check_skewed_features(dataset, model_of(dataset).ranges) == []


def test_check_outliers_date_far_out_is_named_as_a_date(load):
    dates = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), unit="h")).astype("datetime64[s]")
    dates[7] = pd.Timestamp("1900-01-01")
    dataset = load({"since": dates, "z": NOISE[:, 0]})
    (warning,) = [w for w in check_dataset(dataset, model_of(dataset).ranges) if w.check == "outliers"]
    assert warning.message.startswith("Column 1 ('since') is 1900-01-01 in ")
    assert "from the median 2024-01-13" in warning.message
