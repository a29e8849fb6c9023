"""Rows of metrics.csv of earlier versions."""

from types import SimpleNamespace

import numpy as np
import pytest

from lagvis.storage import metrics_file
from lagvis.training.recipe import Recipe

ROW = dict.fromkeys(metrics_file.OLD_COLUMNS, "1") | {"train_loss": "8.0", "validation_loss": ""}


@pytest.mark.parametrize(
    ("deviation", "loss"), [(2.0, 2.0), (1e-200, float("inf")), (5e-324, float("inf")), (1e200, 0.0)]
)
def test_convert_losses_regression_divides_by_the_squared_deviation(deviation, loss):
    model = SimpleNamespace(y_scaling=SimpleNamespace(deviation=np.array([deviation])))
    row = metrics_file.convert_losses(ROW, Recipe(loss="mse"), model)
    assert float(row["train_loss"]) == loss
    assert row["train_objective"] == row["train_loss"]
    assert row["validation_loss"] == ""
