"""The rounding errors that are measured by random rounding have the size of those that NumPy makes in float32."""

import numpy as np
import pytest

from lagvis.inference.rounding import Rounding, sampled_deviations, sum_deviation

EPSILON = float(np.finfo(np.float32).eps)


def root_mean_square(array):
    return float(np.sqrt(np.mean(np.square(array))))


def as_float32(*arrays):
    """Return the arrays in float64, with values that float32 holds."""
    return [np.asarray(a, np.float32).astype(np.float64) for a in arrays]


def measured_and_real(function, *inputs):
    """Return the deviations by random rounding, and the errors of NumPy in float32, in units of epsilon."""
    exact = function(np, *inputs)
    deviations = sampled_deviations(
        lambda rounding: function(rounding.xp, *map(rounding.array, inputs)), exact, EPSILON
    )
    rounded = function(np, *(np.asarray(a, np.float32) for a in inputs))
    return deviations, (rounded - exact) / EPSILON


@pytest.mark.parametrize("shift", [0.0, 3.0], ids=["terms of both signs", "terms of one sign"])
def test_sum_deviation_equals_error_of_float32_one_by_one(shift):
    (terms,) = as_float32(np.random.default_rng(0).normal(size=(4000, 200)) + shift)
    total = terms.sum(axis=-1)
    errors = np.cumsum(terms.astype(np.float32), axis=-1)[:, -1] - total
    expected = sum_deviation(total, np.square(terms).sum(axis=-1), 200) * EPSILON
    # epsilon is relative to the power of two below a number, which is between 1/2 and 1 of it
    assert 0.6 < root_mean_square(errors) / root_mean_square(expected) < 1.0


FUNCTIONS = {
    "product": lambda xp, a, b: a @ b,
    "tanh": lambda xp, a, b: xp.tanh(a),
    "sum of both signs": lambda xp, a, b: xp.sum(a - a[::-1], axis=-2),
    "cancelling": lambda xp, a, b: a * 1.0009765625 - a * 0.9990234375,
    "normalised": lambda xp, a, b: (a - xp.mean(a, axis=-2, keepdims=True)) / xp.std(a, axis=-2, keepdims=True),
    "softmax": lambda xp, a, b: xp.exp(a) / xp.sum(xp.exp(a), axis=-1, keepdims=True),
    "where": lambda xp, a, b: xp.where(a > 0, a * a, a) @ b,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sampled_deviations_have_the_size_of_float32_errors(name):
    generator = np.random.default_rng(1)
    inputs = as_float32(generator.normal(size=(300, 100)), generator.normal(size=(100, 50)))
    deviations, errors = measured_and_real(FUNCTIONS[name], *inputs)
    # NumPy adds several sums side by side, and computes tanh and exp better than the model allows for
    assert 0.8 < root_mean_square(deviations) / root_mean_square(errors) < 12.0


def test_sampled_deviations_exact_operations_have_none():
    (a,) = as_float32(np.random.default_rng(2).normal(size=(20, 10)))
    deviations, _ = measured_and_real(lambda xp, a: xp.maximum(xp.abs(-a), 0.5) * (a > 9), a)
    assert not np.any(deviations)


def test_sampled_deviations_dead_unit_stays_exactly_zero():
    (a,) = as_float32(np.random.default_rng(3).normal(size=(20, 10)))
    deviations, _ = measured_and_real(lambda xp, a: xp.sum(xp.maximum(-a * a, 0.0), axis=-2), a)
    assert not np.any(deviations)


def test_rounding_out_argument_is_written():
    a = Rounding(EPSILON, 0).array(np.arange(6.0).reshape(2, 3))
    assert np.mean(a, axis=-1) == pytest.approx([1.0, 4.0], rel=1e-5)  # NumPy divides the sum in place
    target = Rounding(EPSILON, 0).array(np.zeros(3))
    assert np.multiply(a[1], 2.0, out=target) is target
    assert target == pytest.approx([6.0, 8.0, 10.0], rel=1e-5)
