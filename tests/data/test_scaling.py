import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from sklearn.preprocessing import RobustScaler, StandardScaler

from lagvis.data.scaling import ROBUST_LIMIT, Scaling
from lagvis.errors import DataError

COLUMNS = np.random.default_rng(2).normal([0.0, 1e6, -3e-4], [1.0, 25.0, 2e-6], (500, 3))


def exact(column) -> tuple[float, float]:
    """Return mean and deviation of a column of floats, by arithmetic without rounding."""
    values = [Fraction(float(value)) for value in column]
    return float(statistics.mean(values)), statistics.pstdev(values)


def test_scaling_of_equals_scikit_learn():
    scaling, reference = Scaling.of(COLUMNS), StandardScaler().fit(COLUMNS)
    np.testing.assert_allclose(scaling.mean, reference.mean_, rtol=1e-13)
    np.testing.assert_allclose(scaling.deviation, reference.scale_, rtol=1e-9)


def test_scaling_of_some_rows_in_blocks_equals_scikit_learn(monkeypatch):
    monkeypatch.setattr("lagvis.data.scaling.BLOCK_BYTES", 8 * 21)  # seven rows
    rows = np.random.default_rng(0).permutation(500)[:300]
    scaling, reference = Scaling.of(COLUMNS, rows), StandardScaler().fit(COLUMNS[rows])
    np.testing.assert_allclose(scaling.mean, reference.mean_, rtol=1e-13)
    np.testing.assert_allclose(scaling.deviation, reference.scale_, rtol=1e-9)


def test_scaling_apply_other_rows_equals_scikit_learn():
    others = COLUMNS[::-7] * 1.01
    np.testing.assert_allclose(
        Scaling.of(COLUMNS).apply(others), StandardScaler().fit(COLUMNS).transform(others), rtol=1e-6
    )


def test_scaling_apply_gives_mean_0_and_deviation_1():
    scaled = Scaling.of(COLUMNS).apply(COLUMNS)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, rtol=1e-9)


STEPS = np.random.default_rng(3).integers(0, 9, 300)
NARROW = {
    "microseconds": 1_767_225_600_000_000 + STEPS,
    "card numbers": 4_571_000_000_000_000 + STEPS,
    "one last bit": 1.0 + np.spacing(1.0) * (STEPS > 4),
    "small": 1e-200 * STEPS,
    "large": 1e300 * (STEPS - 4.0),
    "subnormal": 1e-310 * STEPS,
    "one value off": np.where(np.arange(300) == 7, 0.1 + 1e-17 * 2, 0.1),
    "far": np.where(np.arange(300) == 7, 1e12, STEPS),
}


@pytest.mark.parametrize("name", NARROW)
def test_scaling_of_column_that_float64_tells_apart_equals_exact_arithmetic(name):
    column = NARROW[name].astype(np.float64)
    scaling = Scaling.of(column[:, None])
    mean, deviation = exact(column)
    if column.min() == column.max():
        assert scaling.constant.all()
        return
    assert not scaling.constant.any()
    assert scaling.mean[0] == pytest.approx(mean, rel=3e-16, abs=1e-12 * deviation)
    assert scaling.deviation[0] == pytest.approx(deviation, rel=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 1000, 100_003])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e9, 1 / 3, 1e308, 5e-324])
def test_scaling_of_constant_column_counts_as_nothing(value, rows):
    columns = np.column_stack([np.full(rows, value), np.linspace(0, 1, rows)])
    for scaling in (Scaling.of(columns), Scaling.robust(columns)):
        assert (scaling.mean[0], scaling.constant[0]) == (value, True)
        assert scaling.constant[1] == (rows == 1)
        for later in (value, 6.5, -1e300, 1.7e308):
            assert scaling.apply(np.array([[later, 0.5]]))[0, 0] == 0.0


def test_scaling_invertible_constant_column_has_deviation_1():
    scaling = Scaling.of(np.array([[3.0, -2.0], [3.0, 4.0]])).invertible()
    assert scaling.mean.tolist() == [3.0, 1.0]
    assert scaling.deviation.tolist() == [1.0, 3.0]


def test_scaling_of_too_large_numbers_names_column():
    columns = np.array([[1.0, 1.7e308], [2.0, -1.7e308]])
    for measure in (Scaling.of, Scaling.robust):
        with pytest.raises(DataError, match="column 2 has numbers too large"):
            measure(columns)


def test_scaling_robust_equals_scikit_learn():
    columns = np.random.default_rng(4).standard_t(2, (501, 3)) * [1.0, 1e-9, 1e6] + [0.0, 5.0, -1e9]
    scaling, reference = Scaling.robust(columns), RobustScaler().fit(columns)
    np.testing.assert_allclose(scaling.mean, reference.center_, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(scaling.deviation, reference.scale_, rtol=1e-12)
    expected = np.clip(reference.transform(columns), -ROBUST_LIMIT, ROBUST_LIMIT)
    np.testing.assert_allclose(scaling.apply(columns), expected, rtol=1e-9, atol=1e-12)


def test_scaling_robust_value_far_out_changes_nothing_and_is_cut_off():
    columns = np.random.default_rng(4).normal(size=(401, 1))
    far = columns.copy()
    far[columns.argmax()] *= 1e9
    before, after = Scaling.robust(columns), Scaling.robust(far)
    assert (before.mean, before.deviation) == (after.mean, after.deviation)
    assert after.apply(far).max() == ROBUST_LIMIT


@pytest.mark.parametrize(
    ("values", "spread"),
    [([0] * 90 + [1] * 10, 1.0), ([0] * 90 + [3, 4, 5] * 3 + [1e9], 4.0), ([2] * 99 + [7], 5.0)],
)
def test_scaling_robust_column_of_mostly_one_value_has_the_spread_of_the_others(values, spread):
    scaling = Scaling.robust(np.array(values, dtype=np.float64)[:, None])
    assert scaling.mean[0] == values[0]
    assert scaling.deviation[0] == spread


def test_scaling_of_has_no_limit():
    assert math.isinf(Scaling.of(COLUMNS).limit)
