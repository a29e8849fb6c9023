import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from lagvis.data.scaling import Scaling
from lagvis.errors import DataError

COLUMNS = np.random.default_rng(2).normal([0.0, 1e6, -3e-4], [1.0, 25.0, 2e-6], (500, 3))


def test_scaling_of_equals_scikit_learn():
    scaling, reference = Scaling.of(COLUMNS), StandardScaler().fit(COLUMNS)
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


@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e9, 1 / 3])
def test_scaling_of_constant_column_has_deviation_1(value):
    columns = np.column_stack([np.full(1000, value), np.linspace(0, 1, 1000)])
    scaling = Scaling.of(columns)
    assert scaling.deviation[0] == 1.0
    assert scaling.deviation[1] == pytest.approx(columns[:, 1].std())
    np.testing.assert_allclose(scaling.apply(columns)[:, 0], 0.0, atol=1e-6)


def test_scaling_apply_shifts_column_constant_in_training():
    scaling = Scaling.of(np.full((10, 1), 4.0))
    assert scaling.apply(np.array([[6.5]])).tolist() == [[2.5]]


def test_scaling_of_one_row_has_deviation_1():
    scaling = Scaling.of(np.array([[3.0, -2.0]]))
    assert scaling.mean.tolist() == [3.0, -2.0]
    assert scaling.deviation.tolist() == [1.0, 1.0]


def test_scaling_of_too_large_numbers_names_column():
    columns = np.array([[1.0, 1e200], [2.0, -1e200]])
    with pytest.raises(DataError, match="column 2 has numbers too large"):
        Scaling.of(columns)
