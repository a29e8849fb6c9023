"""Data frames to predict and to evaluate on, against the same rows in a Parquet file."""

import numpy as np
import pytest

from lagvis.data.dataset import Dataset, as_classification, as_regression
from lagvis.data.predict_frame import features_of_frame, source_of_frame
from lagvis.data.predict_input import read_inputs
from lagvis.errors import DataError
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")


def plants(rows=80, seed=0):
    """Return a frame with a number, missing cells, a category, a date and two labels."""
    rng = np.random.default_rng(seed)
    length = rng.normal(0, 1, rows)
    frame = pd.DataFrame(
        {
            "length": length,
            "count": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
            "colour": pd.Categorical(rng.choice(["red", "blue"], rows)),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, rows), unit="D"),
            "kind": np.where(length > 0, "big", "small"),
            "weight": length + 5,
        }
    )
    frame.loc[3, "count"] = pd.NA
    return frame


def spec_of(dataset, loss="cross-entropy", **fields):
    """Return what a network that learned from all training rows takes."""
    return Model.of(Recipe(loss=loss), dataset, np.arange(len(dataset.x_train))).input_spec(**fields)


@pytest.fixture(scope="module")
def spec():
    return spec_of(Dataset.from_frame(plants(), "kind", test=0.2, drop="weight"))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_features_of_frame_equal_those_of_parquet(tmp_path, spec, library):
    frame = plants(12, seed=1).drop(columns="kind")[["weight", "day", "colour", "count", "length"]]
    frame["colour"] = np.where(frame.index == 2, "green", frame.colour)
    frame.loc[4, ["length", "count"]] = np.nan
    frame.loc[6, "length"] = 400.0
    frame.to_parquet(tmp_path / "frame")
    expected = read_inputs([str(tmp_path / "frame")], spec)
    x, warnings = features_of_frame(frame if library == "pandas" else pl.from_pandas(frame), spec)
    np.testing.assert_array_equal(x, expected.batches[0].x)
    assert not expected.errors
    of_file = expected.batches[0].warnings
    assert {warning.check for warning in warnings} == {"unseen_levels", "unseen_missing", "outside_range"}
    assert [(warning.check, warning.figures) for warning in warnings] == [(w.check, w.figures) for w in of_file]
    assert "frame holds values that no training row has, in 'colour' (green: 1 row)" in warnings[0].message
    assert "400 in column 'length', row 6" in warnings[2].message


def test_features_of_frame_missing_columns_are_all_named(spec):
    with pytest.raises(DataError, match=r"frame lacks 2 columns that the network needs, 'length', 'day'; it has the"):
        features_of_frame(plants().drop(columns=["length", "day"]), spec)


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        (
            "length",
            ["long"] * 80,
            r"frame, row 0: column 1 \('length'\) holds 'long', expected a number, as in training",
        ),
        ("day", ["soon"] * 80, r"frame, row 0: column 4 \('day'\) holds 'soon', expected a date"),
        ("length", [[1]] * 80, r"column 1 \('length'\) holds lists"),
    ],
)
def test_features_of_frame_other_type_raises_data_error(spec, column, cells, message):
    with pytest.raises(DataError, match=message):
        features_of_frame(plants().assign(**{column: cells}), spec)


def test_features_of_frame_network_of_named_arrays_matches_by_name():
    x = np.random.default_rng(0).normal(size=(60, 3))
    frame = pd.DataFrame(x, columns=list("abc")).assign(y=[0, 1] * 30)
    spec = spec_of(Dataset.from_frame(frame, "y", test=0.2))
    spec = type(spec)(
        spec.shape, is_bytes=False, class_names=("0", "1"), feature_names=("a", "b", "c"), ranges=spec.ranges
    )
    rows, warnings = features_of_frame(frame[["c", "y", "a", "b"]], spec)
    np.testing.assert_array_equal(rows, x)
    assert not warnings
    with pytest.raises(DataError, match="missing, and the network learned from numbers alone"):
        features_of_frame(frame.replace(x[3, 1], np.nan), spec)


def test_features_of_frame_network_without_names_matches_by_position():
    x = np.random.default_rng(0).normal(size=(60, 3))
    spec = spec_of(Dataset.from_frame(pd.DataFrame(x).assign(y=[0, 1] * 30), "y", test=0.2))
    spec = type(spec)(spec.shape, is_bytes=False, class_names=("0", "1"), ranges=spec.ranges)
    np.testing.assert_array_equal(features_of_frame(pd.DataFrame(x, columns=list("xyz")), spec)[0], x)
    with pytest.raises(DataError, match="frame has 2 columns; expected the 3 that the network was trained on"):
        features_of_frame(pd.DataFrame(x[:, :2]), spec)


@pytest.mark.parametrize(
    ("label", "targets", "make"), [("kind", "classes", as_classification), ("weight", "numbers", as_regression)]
)
def test_source_of_frame_finds_the_label_by_its_name(label, targets, make):
    frame = plants()
    dataset = Dataset.from_frame(frame, label, targets=targets, test=0.2)
    spec = spec_of(dataset, "mse" if targets == "numbers" else "cross-entropy")
    source = source_of_frame(frame.iloc[::-1], spec)
    evaluated = make(source, dataset.class_names) if targets == "classes" else make(source)
    rows = dataset.held_out.in_file_order(dataset.x_train, dataset.x_test)
    np.testing.assert_array_equal(evaluated.x_train, rows[::-1])
    np.testing.assert_array_equal(
        evaluated.y_train, dataset.held_out.in_file_order(dataset.y_train, dataset.y_test)[::-1]
    )
    assert evaluated.locate_row("training", 0) == "frame, row 0 (index 79)"


def test_source_of_frame_without_label_raises_data_error(spec):
    with pytest.raises(DataError, match="frame has no label column kind"):
        source_of_frame(plants().drop(columns="kind"), spec)
