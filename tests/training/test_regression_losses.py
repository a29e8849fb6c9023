"""Absolute error and Huber loss: what a constant answer has, and what is reported beside the loss."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from lagvis.data.dataset import as_regression
from lagvis.data.source import Source
from lagvis.inference.prediction import outputs
from lagvis.network.losses import REGRESSION_LOSSES
from lagvis.training.baseline import check_baseline
from lagvis.training.checkpoint import checkpoint_bytes
from lagvis.training.model import Model
from tests.factories import last, numbers, quick, run


def skewed(rows=300, test_rows=200, slope=0.0):
    """Return a data set whose target has a long tail, so that its mean is far from its median."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (rows + test_rows, 3))
    y = rng.lognormal(0, 1.5, rows + test_rows) + slope * x[:, 0]
    return as_regression(Source("tail", x[:rows], y[:rows], x[rows:], y[rows:], {}, target_names=("cost",)))


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("huber_delta", [0.2, 1.0])
def test_model_baseline_is_the_lowest_loss_of_a_constant(loss, huber_delta):
    recipe = quick(loss=loss, **({"huber_delta": huber_delta} if loss == "huber" else {}))
    data = skewed()
    model = Model.of(recipe, data, np.arange(250))
    standardised = model.y_scaling.apply(data.y_train[:250])

    def loss_of(constant):
        return float(np.mean(model.loss_function(np.full_like(standardised, constant), standardised, xp=np)[0]))

    best = minimize_scalar(loss_of, bounds=(-2, 2), method="bounded", options={"xatol": 1e-9})
    assert model.baseline(data.y_train[:250]) <= best.fun * (1 + 1e-12)
    assert best.x == pytest.approx(0.0, abs=1e-3)


def test_model_of_mae_is_centred_at_the_median_and_says_so():
    data = skewed()
    model = Model.of(quick(loss="mae"), data, np.arange(300))
    assert model.y_scaling.mean[0] == np.median(data.y_train)
    assert model.constant_prediction == "median"
    constant = np.full_like(data.y_test, np.median(data.y_train))
    assert model.baseline_absolute_errors(data.y_test)[0] == pytest.approx(mean_absolute_error(data.y_test, constant))
    assert model.baseline_errors(data.y_test)[0] == pytest.approx(root_mean_squared_error(data.y_test, constant))


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_fit_test_errors_are_those_of_scikit_learn(loss):
    data = numbers(400, 200)
    finished = last(run(quick(loss=loss, epochs=20, lr=0.05), data))
    predicted = outputs(finished.checkpoint.model, finished.checkpoint.layers, data.x_test)
    mean_absolute = mean_absolute_error(data.y_test, predicted, multioutput="raw_values")
    np.testing.assert_allclose(finished.test.absolute_errors, mean_absolute, rtol=1e-5)
    np.testing.assert_allclose(
        finished.test.errors, root_mean_squared_error(data.y_test, predicted, multioutput="raw_values"), rtol=1e-5
    )
    assert check_baseline(finished.test, finished.checkpoint.model, data.y_test) is None


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_check_baseline_noise_with_a_long_tail_is_no_better_than_the_constant(loss):
    data = skewed()
    finished = last(run(quick(loss=loss, epochs=3, lr=0.01), data))
    warning = check_baseline(finished.test, finished.checkpoint.model, data.y_test)
    assert warning is not None
    name = {"mse": "mean", "mae": "median", "huber": "best constant"}[loss]
    assert f"than that of always predicting the {name}" in warning.message


def test_fit_mae_of_noise_predicts_the_median_and_not_the_mean():
    data = skewed(2000, 200)
    checkpoint = last(run(quick(loss="mae", hidden=(), epochs=10, lr=0.01), data)).checkpoint
    predicted = outputs(checkpoint.model, checkpoint.layers, data.x_test)
    assert float(predicted.mean()) == pytest.approx(float(np.median(data.y_train)), rel=0.1)
    assert float(data.y_train.mean()) > 2 * float(np.median(data.y_train))


def test_checkpoint_of_huber_keeps_its_delta(tmp_path):
    from lagvis.storage.checkpoint_file import read_checkpoint

    checkpoint = last(run(quick(loss="huber", huber_delta=0.3, epochs=1), numbers(120))).checkpoint
    (tmp_path / "c.safetensors").write_bytes(checkpoint_bytes(checkpoint))
    assert read_checkpoint(tmp_path / "c.safetensors").model.huber_delta == 0.3
