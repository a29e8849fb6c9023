import dataclasses

import numpy as np
import pytest

from lagvis.data import shared_rows
from lagvis.data.datasets import load_dataset
from lagvis.data.shared_rows import (
    HashedRows,
    check_shared_rows,
    count_equal_rows,
    count_shared_test_rows,
    hash_rows,
)
from tests.factories import classes


def count_shared_rows(x_train, x_test):
    return count_equal_rows(HashedRows.of(x_train), HashedRows.of(x_test))


def count_by_set(x_train, x_test):
    known = {tuple(row) for row in (x_train + 0).tolist()}
    return sum(tuple(row) in known for row in (x_test + 0).tolist())


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("width", [1, 3, 8, 13, 784])
def test_count_equal_rows_equals_a_set_of_rows(dtype, width):
    rng = np.random.default_rng(width)
    x_train, x_test = (rng.integers(0, 3, (rows, width)).astype(dtype) for rows in (300, 200))
    x_test[::5] = x_train[rng.integers(0, 300, 40)]
    assert count_shared_rows(x_train, x_test) == count_by_set(x_train, x_test) >= 40


def test_count_equal_rows_equal_hashes_of_other_rows_are_not_counted(monkeypatch):
    rng = np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 6, (rows, 2)).astype(np.uint8) for rows in (30, 50))
    expected = count_by_set(x_train, x_test)
    assert 0 < expected < 50
    monkeypatch.setattr(shared_rows, "hash_rows", lambda x: np.zeros(len(x), np.uint64))
    assert count_shared_rows(x_train, x_test) == expected


def test_count_equal_rows_negative_zero_equals_zero():
    assert count_shared_rows(np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0], [0.0, -1.0]])) == 1


def test_count_equal_rows_in_many_blocks_is_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    x_train, x_test = (rng.integers(0, 2, (rows, 9)).astype(np.float64) for rows in (200, 150))
    whole = count_shared_rows(x_train, x_test)
    monkeypatch.setattr(shared_rows, "BLOCK_BYTES", 200)
    assert count_shared_rows(x_train, x_test) == whole == count_by_set(x_train, x_test)


@pytest.mark.parametrize(("width", "values"), [(4, 50), (30, 2), (1, 100_000)])
def test_hash_rows_small_whole_numbers_have_different_hashes(width, values):
    """Small integers in float64 differ only in their first bits, which a hash modulo 2**64 would lose."""
    x = np.unique(np.random.default_rng(2).integers(0, values, (50_000, width)).astype(np.float64), axis=0)
    assert len(np.unique(hash_rows(x))) == len(x)


def test_check_shared_rows_of_mnist_gives_no_warning():
    assert check_shared_rows(load_dataset("mnist")) == []


@pytest.mark.parametrize(
    ("shared", "words"),
    [(1, "1 of 4 test rows (25.0%) is also a training row:"), (3, "3 of 4 test rows (75.0%) are also training")],
)
def test_check_shared_rows_gives_the_count(tmp_path, shared, words):
    x = np.eye(6)
    x_test = np.concatenate([x[:shared], 2 * x[: 4 - shared]])
    np.savez(tmp_path / "a.npz", x_train=x, y_train=[0, 1] * 3, x_test=x_test, y_test=[0, 1, 0, 1])
    (warning,) = check_shared_rows(load_dataset(str(tmp_path / "a.npz")))
    assert warning.message.startswith(words)
    assert warning.figures == {"shared_rows": shared, "test_rows": 4, "share": shared / 4}


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_check_shared_rows_of_the_validation_part_equal_a_set_of_rows(dtype):
    rng = np.random.default_rng(4)
    dataset = classes(300)
    x = rng.integers(0, 5, (300, 3)).astype(dtype)
    x_test = np.full((10, 3), 9, dtype)
    dataset = dataclasses.replace(dataset, x_train=x, x_test=x_test, y_test=dataset.y_test[:10])
    validation = np.sort(rng.choice(300, 60, replace=False))
    (warning,) = check_shared_rows(dataset, validation)
    shared = count_by_set(np.delete(x, validation, axis=0), x[validation])
    assert warning.check == "shared_validation_rows"
    assert warning.figures == {"shared_rows": shared, "validation_rows": 60, "share": shared / 60}
    assert warning.message.startswith(f"{shared} of 60 validation rows (")
    assert check_shared_rows(dataset) == check_shared_rows(dataset, validation[:0]) == []


def test_check_shared_rows_table_of_few_values_gives_no_warning(tmp_path):
    rows = ["male,child", "male,adult", "female,child", "female,adult"] * 50
    text = [f"{row},{'yes' if i % 3 else 'no'}" for i, row in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["sex,age,survived", *text, ""]))
    dataset = load_dataset(str(tmp_path / "t.csv"), label="survived")
    assert count_shared_rows(dataset.x_train, dataset.x_test) == len(dataset.x_test)
    assert check_shared_rows(dataset) == []


def test_check_shared_rows_table_of_copied_rows_gives_warning(tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 3)).round(3)
    text = [f"{','.join(map(str, row))},{'yes' if i % 3 else 'no'}" for i, row in enumerate([*x, *x])]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,label", *text, ""]))
    (warning,) = check_shared_rows(load_dataset(str(tmp_path / "t.csv")))
    assert warning.check == "shared_rows"


def few_valued_table(tmp_path, rows, copies):
    """Load a table of three categories and a count, of whose last rows so many are copies of the first."""
    rng = np.random.default_rng(4)
    columns = [rng.choice(list("abcd"), rows), rng.choice(list("xy"), rows), rng.integers(0, 5, rows)]
    label = rng.choice(["no", "yes"], rows)
    lines = [",".join(map(str, row)) for row in zip(*columns, label, strict=True)]
    lines[rows - copies :] = lines[:copies]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,label", *lines]))
    return load_dataset(str(tmp_path / "t.csv"))


def test_check_shared_rows_equal_by_chance_in_a_table_of_few_values_give_no_warning(tmp_path):
    dataset = few_valued_table(tmp_path, 300, 0)
    assert count_shared_test_rows(dataset) == len(dataset.x_test)
    assert check_shared_rows(dataset) == []


def test_check_shared_rows_copies_in_a_table_of_categories_are_counted(tmp_path):
    rng = np.random.default_rng(4)
    lines = [f"{rng.choice(list('abcd'))},{rng.normal():.4f},{'yes' if i % 2 else 'no'}" for i in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *lines, *lines]))
    (warning,) = check_shared_rows(load_dataset(str(tmp_path / "t.csv")))
    assert warning.figures["share"] > 0.7
