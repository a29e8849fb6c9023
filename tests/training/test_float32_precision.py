import numpy as np
import pytest

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.training.float32_precision import check_float32_precision
from lagvis.training.model import Model
from tests.factories import classes, quick

RNG = np.random.default_rng(3)
STEPS = RNG.integers(0, 3600, 3000).astype(float)
KEPT = {
    "seconds since 1970": 1_767_225_600 + STEPS,
    "microseconds since 1970": 1_767_225_600_000_000 + STEPS,
    "card numbers": 4_571_000_000_000_000 + STEPS,
    "tiny": 1e-12 * STEPS,
    "normal": RNG.normal(size=3000),
    "few": STEPS % 2,
    "constant": np.full(3000, 0.1),
    "log-normal": RNG.lognormal(0, 3, 3000),
}


def warnings_for(x, *, dtype="float32", rows=None, **keys):
    y = np.arange(len(x)) % 2
    dataset = as_classification(Source("t", x, y, x, y, {}))
    rows = np.arange(len(x)) if rows is None else rows
    return check_float32_precision(dataset, Model.of(quick(**keys), dataset, rows), dtype)


def test_check_float32_precision_values_that_fall_together_are_named():
    mixed = np.where(np.arange(3000) % 7 < 3, 1e12, -1e12) + STEPS
    columns = np.stack([STEPS, mixed, mixed * 3], axis=1)
    (warning,) = warnings_for(columns)
    assert warning.check == "float32_precision"
    assert warning.message.startswith("Feature 2 has ")
    assert "they are 2 different float32 numbers. The same holds for 1 more." in warning.message
    assert "split the column" in warning.message
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    sample = columns[::2]  # of 3,000 rows
    for c, found in zip((1, 2), warning.figures["columns"], strict=True):
        assert found["different"] == len(np.unique(sample[:, c]))
        assert found["kept"] == len(np.unique(scaled[::2, c].astype(np.float32)))
    assert warnings_for(columns, dtype="float64") == []


def test_check_float32_precision_value_far_out_has_the_remedy_that_works():
    column = STEPS.copy()
    column[8] = 1e15
    (warning,) = warnings_for(column[:, None])
    assert warning.message.endswith("--number-scaling robust keeps them well apart.")
    assert warnings_for(column[:, None], number_scaling="robust") == []


@pytest.mark.parametrize("name", KEPT)
def test_check_float32_precision_columns_that_keep_their_values_give_no_warning(name):
    assert warnings_for(KEPT[name][:, None]) == []
    assert warnings_for(KEPT[name][:2, None]) == []


def test_check_float32_precision_column_constant_but_for_validation_rows_gives_no_warning():
    assert warnings_for(np.arange(30.0)[:, None], rows=np.array([7])) == []


def test_check_float32_precision_target_is_named():
    y = (np.where(np.arange(3000) % 7 < 3, 1e12, -1e12) + STEPS)[:, None]
    dataset = as_regression(Source("t", y / 1e12, y, y / 1e12, y, {}, target_names=("it",)))
    model = Model.of(quick(loss="mse"), dataset, np.arange(3000))
    (warning,) = check_float32_precision(dataset, model, "float32")
    assert [found["column"] for found in warning.figures["columns"]] == ["feature 1", "target it"]


def test_check_float32_precision_target_with_value_far_out_is_not_told_to_scale_features():
    y = STEPS[:, None].copy()
    y[8] = 1e15
    dataset = as_regression(Source("t", STEPS[:, None], y, STEPS[:, None], y, {}, target_names=("it",)))
    (warning,) = check_float32_precision(dataset, Model.of(quick(loss="mse"), dataset, np.arange(3000)), "float32")
    assert warning.message.startswith("Target it has ")
    assert "--number-scaling" not in warning.message


def test_check_float32_precision_pixels_give_no_warning():
    model = Model.of(quick(), classes(), np.arange(120))
    assert check_float32_precision(classes(), model, "float32") == []
