"""Diagnostics of the test part, compared with scikit-learn and plain NumPy."""

import dataclasses

import numpy as np
import pytest
from sklearn.calibration import calibration_curve as sklearn_calibration_curve

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.inference import diagnostics
from lagvis.inference.diagnostics import (
    as_images,
    calibration_curve,
    diagnose,
    first_layer_weights,
)
from lagvis.inference.prediction import outputs
from lagvis.training.model import Model
from tests.factories import bands, classes, last, numbers, quick, run


def trained(dataset, **keys):
    """Return model and parameters after a short training."""
    events = run(quick(**keys), dataset)
    return events[0].model, last(events).state["params"]


def noisy(rows=300, seed=1):
    """Return bands with strong noise, so that the network makes mistakes."""
    rng = np.random.default_rng(seed)
    (x, y), (x_test, y_test) = bands(200), bands(rows, seed=8)
    x_test = np.clip(x_test * 0.3 + rng.integers(0, 180, x_test.shape), 0, 255).astype(np.uint8)
    return as_classification(Source("bands", x, y, x_test, y_test, {}))


def test_diagnose_mistakes_are_sorted_by_confidence():
    dataset = noisy()
    model, params = trained(dataset)
    found = diagnose(model, params, dataset, seed=0)
    output = outputs(model, params, dataset.x_test)
    answers = output.argmax(axis=1)
    wrong = [i for i in range(300) if answers[i] != dataset.y_test[i]]
    assert found.wrong == len(wrong) > diagnostics.MAX_MISTAKES
    expected = sorted(wrong, key=lambda i: -output[i].max())[: diagnostics.MAX_MISTAKES]
    assert [mistake.row for mistake in found.mistakes] == expected
    for mistake in found.mistakes:
        assert (mistake.predicted, mistake.target) == (answers[mistake.row], dataset.y_test[mistake.row])
        assert mistake.p_predicted == pytest.approx(output[mistake.row].max(), rel=1e-6)
        assert mistake.p_target == pytest.approx(output[mistake.row][mistake.target], rel=1e-6)
        np.testing.assert_array_equal(mistake.x, dataset.x_test[mistake.row].reshape(6, 6))


def test_calibration_curve_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.2, 1.0, 3000)
    right = rng.uniform(size=3000) < probability**2
    found = calibration_curve(probability, right)
    theirs_right, theirs_probability = sklearn_calibration_curve(right, probability, n_bins=10)
    some = found.counts > 0
    np.testing.assert_allclose(found.correct[some], theirs_right, rtol=1e-12)
    np.testing.assert_allclose(found.probability[some], theirs_probability, rtol=1e-12)
    assert found.counts.tolist() == np.histogram(probability, np.linspace(0, 1, 11))[0].tolist()
    shares = found.counts[some] / 3000
    assert found.error == pytest.approx(np.sum(shares * np.abs(theirs_right - theirs_probability)), rel=1e-12)


def test_calibration_curve_probability_zero_or_one_has_a_bin():
    found = calibration_curve(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))
    assert (found.counts[0], found.counts[-1], found.error) == (1, 2, 0.0)


def test_diagnose_activity_is_share_of_rows_above_zero():
    dataset = classes(120, test_rows=50)
    model, params = trained(dataset, hidden=(8, 5), dtype="float64")
    params[0]["b"][3] = -1e6
    found = diagnose(model, params, dataset, seed=0)
    a = dataset.x_test / 255.0
    for shares, layer in zip(found.activity, params[:-1], strict=True):
        a = np.maximum(a @ layer["W"] + layer["b"], 0.0)
        np.testing.assert_allclose(shares, (a > 0).mean(axis=0), atol=1e-12)
    assert found.activity[0][3] == 0
    assert [len(shares) for shares in found.activity] == [8, 5]


@pytest.mark.parametrize("keys", [{"activation": "tanh"}, {"hidden": ()}])
def test_diagnose_without_relu_units_has_no_activity(keys):
    dataset = classes(120)
    assert diagnose(*trained(dataset, **keys), dataset, seed=0).activity == ()


def test_diagnose_regression_predicted_and_target_in_users_unit():
    dataset = numbers(120)
    model, params = trained(dataset, loss="mse")
    found = diagnose(model, params, dataset, seed=0)
    np.testing.assert_allclose(found.predicted, outputs(model, params, dataset.x_test), rtol=1e-12)
    assert found.target is not None
    np.testing.assert_array_equal(found.target, dataset.y_test)
    assert (found.mistakes, found.calibration, found.weights) == ((), None, None)


def test_diagnose_too_many_rows_samples_by_seed(monkeypatch):
    dataset = noisy()
    model, params = trained(dataset)
    monkeypatch.setattr(diagnostics, "MAX_PRODUCTS", 40 * model.parameters)
    found = diagnose(model, params, dataset, seed=0)
    assert (found.rows, found.of) == (40, 300)
    assert found.calibration.counts.sum() == 40
    for mistake in found.mistakes:
        np.testing.assert_array_equal(mistake.x.reshape(-1), dataset.x_test[mistake.row])
    assert [m.row for m in found.mistakes] == [m.row for m in diagnose(model, params, dataset, seed=0).mistakes]
    assert [m.row for m in found.mistakes] != [m.row for m in diagnose(model, params, dataset, seed=1).mistakes]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 4), (6, 4)), ((1, 6, 4), (6, 4)), ((6, 4, 1), (6, 4)), ((6, 4, 3), (6, 4, 3)), ((3, 6, 4), (6, 4, 3)),
        ((24,), None), ((24, 1), None), ((1, 24), None), ((2, 3, 4), None), ((2, 2, 2, 3), None),
    ],
)  # fmt: skip
def test_as_images_by_shape(shape, expected):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (2, int(np.prod(shape))))
    found = as_images(x, shape)
    if expected is None:
        assert found is None
        return
    assert found.shape == (2, *expected)
    picture = x[1].reshape(shape)
    np.testing.assert_array_equal(
        found[1], np.moveaxis(picture, 0, -1) if shape == (3, 6, 4) else picture.reshape(expected)
    )


def test_as_images_large_image_is_thinned_out():
    assert as_images(np.zeros((1, 1000 * 700)), (1000, 700)).shape == (1, 143, 100)


def test_first_layer_weights_are_units_of_largest_norm(monkeypatch):
    monkeypatch.setattr(diagnostics, "MAX_UNITS", 3)
    dataset = classes(120)
    model, params = trained(dataset)
    found = first_layer_weights(model, params)
    norms = np.linalg.norm(params[0]["W"], axis=0)
    assert {*found.units} == {*np.argsort(norms)[-3:]}
    assert found.units.tolist() == sorted(found.units)
    assert found.of == 8
    for unit, picture in zip(found.units, found.pictures, strict=True):
        np.testing.assert_array_equal(picture, params[0]["W"][:, unit].reshape(6, 6))


def test_first_layer_weights_colours_are_summed():
    model = Model((27, 2), "relu", "cross-entropy", (3, 3, 3), ("0", "1"), (), "", None, None)
    w = np.random.default_rng(0).normal(size=(27, 2))
    found = first_layer_weights(model, [{"W": w, "b": np.zeros(2)}])
    np.testing.assert_allclose(found.pictures[1], w[:, 1].reshape(3, 3, 3).sum(axis=2))


def test_diagnose_overflowing_weights_do_not_warn():
    dataset = classes(120)
    model, params = trained(dataset)
    huge = [{name: np.full_like(leaf, 3e38) for name, leaf in layer.items()} for layer in params]
    assert diagnose(model, huge, dataset, seed=0).rows == 30


def test_as_regression_keeps_feature_names():
    source = Source("t", np.ones((3, 2)), np.arange(3.0), np.ones((3, 2)), np.arange(3.0), {}, feature_names=("a", "b"))
    assert as_regression(source).feature_names == ("a", "b")
    assert dataclasses.replace(source, feature_names=()).feature_names == ()
