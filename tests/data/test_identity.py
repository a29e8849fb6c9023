import math

import numpy as np
import pytest

from lagvis.data.dataset import Dataset
from lagvis.data.identity import chance_of_distinct
from lagvis.data.identity_check import check_identity_columns


def make_dataset(x, test=None, columns=()):
    x_train = np.asarray(x)
    x_test = x_train[:0] if test is None else test
    return Dataset(
        "d", x_train, np.arange(len(x_train)) % 2, x_test, np.arange(len(x_test)) % 2, x_train.shape[1:], ("a", "b"),
        (), "", {}, (), feature_names=tuple(columns), feature_columns=tuple(range(1, len(columns) + 1)),
    )  # fmt: skip


def columns_of(kind, rows):
    rng = np.random.default_rng(3)
    return {
        "ascending": np.arange(rows),
        "from one": np.arange(1, rows + 1),
        "descending": np.arange(rows)[::-1],
        "shuffled": rng.permutation(rows),
        "gaps": np.sort(rng.choice(10 * rows, rows, replace=False)),
        "shuffled with gaps": rng.choice(3 * rows, rows, replace=False),
        "negative": -rng.permutation(rows) - 5,
        "eight digits": rng.choice(10**8, rows, replace=False),
        "seconds": 1767225600 + np.cumsum(rng.integers(1, 90, rows)),
        "microseconds": (1767225600 + np.cumsum(rng.integers(1, 90, rows))) * 1_000_000,
    }[kind]


KINDS = ("ascending", "from one", "descending", "shuffled", "gaps", "shuffled with gaps", "negative", "eight digits",
         "seconds", "microseconds")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [20, 80, 5000])
def test_check_identity_columns_any_order_is_named(kind, rows):
    if rows == 20 and kind in ("shuffled with gaps", "eight digits"):
        pytest.skip("so few numbers of such a range are different by chance")
    x = np.random.default_rng(0).normal(size=(rows, 3))
    x[:, 1] = columns_of(kind, rows)
    (warning,) = check_identity_columns(make_dataset(x, columns=["a", "Patient", "c"]))
    assert warning.check == "identity_column"
    assert warning.message.startswith("Column 2 ('Patient') holds a different whole number in every row")
    assert [feature["feature"] for feature in warning.figures["features"]] == [2]


def real_numbers(rng):
    return rng.normal(size=(500, 4)) * 1e6


def large_floats(rng):
    return rng.normal(size=(500, 4)) * 1e20  # whole, as all float64 of that size


def counts(rng):
    return rng.integers(0, 3000, (500, 4)).astype(float)


def byte_rows(rng):
    return np.array([rng.permutation(256) for _ in range(4)], np.uint8).repeat(2, axis=1).T.repeat(40, axis=0)


def wide_measurements(rng):
    return rng.integers(0, 2**31, (500, 4)).astype(float)


def all_but_one_row(rng):
    x = rng.normal(size=(500, 4))
    x[:, 0] = np.minimum(np.arange(500), 498)
    return x


def few_rows(rng):
    return np.array([[1.0, 7.5], [5.0, 2.5], [3.0, 1.5]])


@pytest.mark.parametrize(
    "make", [real_numbers, large_floats, counts, byte_rows, wide_measurements, all_but_one_row, few_rows]
)
def test_check_identity_columns_measurements_give_no_warning(make):
    assert check_identity_columns(make_dataset(make(np.random.default_rng(5)))) == []


def test_check_identity_columns_repeated_in_the_test_part_gives_no_warning():
    x = np.random.default_rng(0).normal(size=(100, 2))
    x[:, 0] = np.arange(100)
    assert check_identity_columns(make_dataset(x, test=x[[3, 3]])) == []
    assert len(check_identity_columns(make_dataset(x, test=x[:50]))) == 1  # a file of its own, counted from 0 again


@pytest.mark.parametrize(("rows", "span"), [(2, 3), (23, 365), (10, 1000)])
def test_chance_of_distinct_equals_the_product_of_the_draws(rows, span):
    product = math.prod((span - k) / span for k in range(rows))
    assert chance_of_distinct(rows, span) == pytest.approx(product, rel=1e-9)
    assert chance_of_distinct(100_000, 1e10) == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_check_identity_columns_counts_of_few_rows_are_rarely_named():
    rng = np.random.default_rng(11)
    named = 0
    for _ in range(2000):
        x = np.floor(rng.random((20, 5)) * [20, 50, 200, 1e4, 1e9])
        named += len(check_identity_columns(make_dataset(x)))
    assert named == 0
