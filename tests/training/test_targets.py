"""Several targets: the loss that is minimised and that chooses the best epoch does not depend on their units."""

import numpy as np
import pytest
from sklearn.metrics import root_mean_squared_error

from lagvis.data.dataset import as_regression
from lagvis.data.source import Source
from tests.factories import epochs, last, quick, run

UNITS = np.array([1.0, 2.0**20])  # powers of two, so that both data sets have the same bits after standardisation


def two_targets(units, rows=160, test_rows=40):
    """Return a data set whose first target is learned slowly, and whose second is noise that is learned by heart."""
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, (rows + test_rows, 6))
    y = np.c_[x @ rng.normal(0, 1, 6), rng.normal(0, 1, rows + test_rows)] * units
    parts = (x[:rows], y[:rows], x[rows:], y[rows:])
    return as_regression(Source("two", *parts, {}, target_names=("slow", "noise")))


RECIPE = quick(loss="mse", epochs=40, validation=40, lr=0.05, hidden=(32,), dtype="float64")


def test_fit_best_epoch_is_the_same_in_every_unit():
    plain, scaled = (last(run(RECIPE, two_targets(units))).checkpoint for units in (np.ones(2), UNITS))
    assert plain.best_epoch == scaled.best_epoch
    assert plain.best_loss == pytest.approx(scaled.best_loss, rel=1e-12)


def test_fit_best_epoch_is_not_that_of_the_target_with_the_largest_numbers():
    ended = epochs(run(RECIPE, two_targets(UNITS)))
    raw = [np.mean(np.square(event.validation.errors)) for event in ended]
    standardised = [event.validation.loss for event in ended]
    assert int(np.argmin(raw)) != int(np.argmin(standardised))
    assert ended[-1].checkpoint.best_epoch == 1 + int(np.argmin(standardised))


def test_fit_loss_is_the_mean_over_targets_of_standardised_squared_errors():
    events = run(RECIPE, two_targets(UNITS))
    deviation = events[0].model.y_scaling.deviation
    for metrics in (last(events).train, last(events).validation, last(events).test):
        assert metrics.loss == pytest.approx(np.mean((np.array(metrics.errors) / deviation) ** 2), rel=1e-9)


def test_fit_test_errors_are_those_of_scikit_learn_in_the_unit():
    from lagvis.inference.prediction import outputs

    data = two_targets(UNITS)
    finished = last(run(RECIPE, data))
    predicted = outputs(finished.checkpoint.model, finished.state["params"], data.x_test)
    expected = root_mean_squared_error(data.y_test, predicted, multioutput="raw_values")
    np.testing.assert_allclose(finished.test.errors, expected, rtol=1e-9)
