"""The scaling of rows that a model describes."""

import dataclasses

import numpy as np
import pytest

from lagvis.training.model import Model
from tests.factories import classes, numbers, quick


def test_model_of_pixel_mean_is_that_of_the_training_rows():
    dataset = classes(120)
    dataset.x_train[100:] = 255
    model = Model.of(quick(pixel_scaling="centred"), dataset, np.arange(100))
    assert model.pixel_mean == pytest.approx((dataset.x_train[:100] / 255).mean(), rel=1e-14)
    assert Model.of(quick(pixel_scaling="unit"), dataset, np.arange(100)).pixel_mean == 0.0


def test_model_of_numbers_has_no_pixel_mean():
    assert Model.of(quick(pixel_scaling="centred", loss="mse"), numbers(), np.arange(120)).pixel_mean == 0.0


def test_prepare_pixel_mean_has_the_dtype_of_the_run():
    model = Model.of(quick(pixel_scaling="centred"), classes(), np.arange(120))
    data = model.prepare(classes().x_test, classes().y_test, "float32")
    assert (data["x"].dtype, data["pixel_mean"].dtype, data["pixel_mean"].shape) == (np.uint8, np.float32, ())
    assert "pixel_mean" not in dataclasses.replace(model, pixel_mean=0.0).prepare(data["x"], data["y"], "float32")
