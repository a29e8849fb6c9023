import numpy as np
import pytest
from sklearn import datasets

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.outliers import check_outliers, find_outliers
from lagvis.data.source import Source

RNG = np.random.default_rng(7)
NORMAL = RNG.normal(size=(401, 4))


def outliers_in(columns: np.ndarray):
    rows = np.arange(len(columns))
    found = find_outliers(columns, rows)
    assert find_outliers(columns, rows, FeatureRanges.of(columns, rows, columns.shape[1:])) == found
    return found


def with_far_row(row: int, factor: float) -> np.ndarray:
    columns = NORMAL.copy()
    columns[row] *= factor
    return columns


@pytest.mark.parametrize("factor", [1e5, -1e5, 1e9, 1e300])
def test_find_outliers_row_far_out_is_found_with_its_value(factor):
    columns = with_far_row(17, factor)
    found = outliers_in(columns)
    assert {outlier.row for outlier in found} == {17}
    assert len(found) >= 3, "a value near 0 is not far out after multiplication"
    for outlier in found:
        values, others = columns[:, outlier.column], np.delete(columns[:, outlier.column], 17)
        assert outlier.value == values[17]
        assert outlier.median == np.median(values)
        nearest = np.abs(others - outlier.median).max()
        assert outlier.gap == pytest.approx(abs(values[17] - outlier.median) / nearest, rel=1e-9)
        assert outlier.left < 0.01


def test_find_outliers_several_rows_in_one_column_are_found():
    columns = np.tile(NORMAL, (10, 1))
    columns[[3, 800, 2000], 1] = [-9999.0, -9999.0, 1e7]  # a code for missing values, and a slip
    assert [(outlier.row, outlier.column) for outlier in outliers_in(columns)] == [(3, 1), (800, 1), (2000, 1)]


def test_find_outliers_one_of_many_values_missed_by_the_sample_is_found():
    columns = np.zeros((50_000, 1))
    columns[7::10] = 3.0
    columns[40_001] = 1e6
    (outlier,) = outliers_in(columns)
    assert outlier.row == 40_001


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud"])
def test_find_outliers_data_sets_of_scikit_learn_have_none(name):
    data = getattr(datasets, f"load_{name}")()
    assert outliers_in(np.asarray(data.data, np.float64)) == []
    assert outliers_in(np.asarray(data.target, np.float64).reshape(len(data.data), -1)) == []


ORDINARY = {
    "log-normal": lambda n, rng: rng.lognormal(0, 1, n),
    "incomes": lambda n, rng: rng.lognormal(10, 2, n).round(),
    "t of 2 degrees": lambda n, rng: rng.standard_t(2, n),
    "rare ones": lambda n, rng: rng.random(n) < 0.003,
    "counts": lambda n, rng: rng.poisson(0.3, n),
    "zeros and amounts": lambda n, rng: (rng.random(n) < 0.05) * rng.lognormal(3, 1, n),
    "row numbers": lambda n, rng: np.arange(n),
    "few different values": lambda n, rng: np.where(np.arange(n) < 9, 10.0 ** np.arange(n).clip(0, 9), 0.0),
    "constant": lambda n, rng: np.full(n, 0.1),
    "all but one equal": lambda n, rng: np.where(np.arange(n) == 7, 1e9, 2.0),
    "two values": lambda n, rng: np.where(np.arange(n) % 2, 1e12, -1e12),
}


@pytest.mark.parametrize("rows", [2, 30, 1000, 20_000])
@pytest.mark.parametrize("name", ORDINARY)
def test_find_outliers_heavy_tails_and_rare_values_have_none(name, rows):
    rng = np.random.default_rng(rows)  # the same rows whatever ran before
    columns = np.stack([ORDINARY[name](rows, rng) for _ in range(10)], axis=1).astype(np.float64)
    assert outliers_in(columns) == []


def test_check_outliers_warning_names_column_row_and_remedy():
    x = with_far_row(17, 1e5)
    locate = lambda part, row: f"t.csv, line {row + 2}"  # noqa: E731
    source = Source(
        "t", x, np.arange(401) % 2, NORMAL, np.arange(401) % 2, {},
        feature_names=("a", "b", "c", "d"), feature_columns=(2, 3, 4, 5), row_location=locate,
    )  # fmt: skip
    dataset = as_classification(source)
    (warning,) = check_outliers(dataset)
    assert warning.check == "outliers"
    assert "in t.csv, line 19," in warning.message
    assert warning.message.endswith("or use --number-scaling robust.")
    first = warning.figures["values"][0]
    assert first["column"] in warning.message.lower()
    assert first["row"] == "t.csv, line 19"
    assert check_outliers(dataset, standardised=False) == []
    assert check_outliers(dataset, np.array([3, 17])) == [], "a validation row does not decide the scale"
    (warning,) = check_outliers(dataset, np.array([3, 18]))
    assert "in t.csv, line 19," in warning.message


def test_check_outliers_in_a_target_is_named_with_every_scaling():
    y = NORMAL[:, :2].copy()
    y[5, 1] = 1e7
    dataset = as_regression(Source("t", NORMAL, y, NORMAL, y, {}, target_names=("near", "far")))
    for standardised in (True, False):
        (warning,) = check_outliers(dataset, standardised=standardised)
        assert warning.message.startswith("Target far is 1e+07 in t: training row 6, ")
        assert "robust" not in warning.message


def test_check_outliers_pixels_are_not_looked_at():
    x = np.zeros((300, 4), np.uint8)
    x[3] = 255
    assert check_outliers(as_classification(Source("t", x, np.arange(300) % 2, x, np.arange(300) % 2, {}))) == []
