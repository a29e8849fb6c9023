"""Data sets of arrays in memory: any library, any kind of targets, with and without a test part."""

import numpy as np
import pytest

import lagvis as lv
from lagvis.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(60, 4))
CLASSES = np.arange(60) % 3


def test_from_arrays_without_a_test_part_has_no_test_rows():
    data = lv.Dataset.from_arrays(X, CLASSES)
    assert data.x_train.shape == (60, 4)
    assert data.x_test.shape == (0, 4)
    assert data.all_notices == ()


def test_from_arrays_share_holds_out_rows_of_every_class():
    data = lv.Dataset.from_arrays(X, CLASSES, test=0.25)
    assert np.bincount(data.y_test).tolist() == [5, 5, 5]
    assert len(lv.Dataset.from_arrays(X, CLASSES, test=np.float32(0.25)).x_test) == 15
    both = np.concatenate([data.x_train, data.x_test])
    assert sorted(map(tuple, both)) == sorted(map(tuple, X))


def test_from_arrays_own_test_part_is_kept():
    data = lv.Dataset.from_arrays(X[:40], CLASSES[:40], X_test=X[40:], y_test=CLASSES[40:])
    assert (data.x_test == X[40:]).all()
    assert (data.y_test == CLASSES[40:]).all()


@pytest.mark.parametrize(
    ("y", "targets"),
    [
        (CLASSES, "classes"),
        (CLASSES.astype(np.uint8), "classes"),
        (CLASSES.astype(bool), "classes"),
        (np.array(["cat", "dog", "eel"])[CLASSES], "classes"),
        (np.array(["cat", "dog", "eel"], object)[CLASSES], "classes"),
        (np.eye(3)[CLASSES], "classes"),
        (CLASSES[:, None], "classes"),
        (X[:, 0], "numbers"),
        (X[:, :2], "numbers"),
        (np.arange(60.0), "numbers"),
        ((X[:, :2] > 0).astype(int), "labels"),
    ],
    ids=[
        "int", "uint8", "bool", "text", "objects", "one-hot", "column", "float", "floats", "whole floats", "labels",
    ],
)  # fmt: skip
def test_from_arrays_targets_follow_from_the_type_of_y(y, targets):
    data = lv.Dataset.from_arrays(X, y, test=0.2)
    assert data.targets == targets


@pytest.mark.parametrize("y", [CLASSES.astype(float), np.arange(60)], ids=["few whole floats", "an integer a row"])
def test_from_arrays_targets_of_two_meanings_are_refused_and_may_be_said(y):
    with pytest.raises(DataError, match="say targets='classes' or targets='numbers'"):
        lv.Dataset.from_arrays(X, y)
    assert lv.Dataset.from_arrays(X, y, targets="numbers").targets == "numbers"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": X[:, 0]}, r"X has the shape \(60,\)"),
        ({"y": CLASSES[:5]}, "equally many in both"),
        ({"X": np.full((60, 2), "a")}, "expected numbers"),
        ({"X": [[1.0], [1.0, 2.0]]}, "rows of different lengths"),
        ({"X": {1: 2}}, "X is of the type dict"),
        ({"X": np.where(X > 2, np.nan, X) * np.where(X[7, 2] == X, np.nan, 1)}, "row 7 of X has a NaN"),
        ({"y": [None, "a"] * 30}, "y holds NoneType and str"),
        ({"y": ["a"] * 60}, "at least two classes"),
        ({"X": np.ma.masked_greater(X, 1)}, "X has masked values"),
        ({"sample_weight": np.ones(3)}, r"weights of shape \(3,\)"),
        ({"sample_weight": -np.ones(60)}, "row 0 of X: its weight"),
    ],
)
def test_from_arrays_bad_arrays_raise_data_error(arguments, message):
    with pytest.raises(DataError, match=message):
        lv.Dataset.from_arrays(**{"X": X, "y": CLASSES} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 1.0}, "from 0 and below 1"),
        ({"test": "a"}, "from 0 and below 1"),
        ({"targets": "class"}, "expected 'auto'"),
        ({"X_test": X}, "y_test is missing"),
        ({"X_test": X, "y_test": CLASSES, "test": 0.2}, "use one of them"),
        ({"feature_names": ["a"]}, "expected 4"),
        ({"feature_names": ["a", "a", "b", "c"]}, "expected 4"),
    ],
)
def test_from_arrays_bad_arguments_raise_usage_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        lv.Dataset.from_arrays(X, CLASSES, **arguments)


def test_from_arrays_sparse_matrix_names_toarray():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match=r"csr_matrix; expected an array; give its toarray\(\)"):
        lv.Dataset.from_arrays(sparse.csr_matrix(X), CLASSES)


def test_from_arrays_equal_arrays_have_one_digest():
    first = lv.Dataset.from_arrays(X, CLASSES)
    assert first.digest == lv.Dataset.from_arrays(np.asfortranarray(X), CLASSES.copy()).digest
    assert first.digest != lv.Dataset.from_arrays(X + 1, CLASSES).digest


def test_dataset_repr_is_one_line():
    assert repr(lv.Dataset.from_arrays(X, CLASSES, test=0.2)) == (
        "Dataset(arrays, 48 training and 12 test rows of 4 numbers, 3 classes: 0..2)"
    )


def test_load_dataset_reads_a_table_by_its_options(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,price\n" + "".join(f"{i},{i % 7},{i * 1.5}\n" for i in range(60)))
    data = lv.load_dataset(path, targets="numbers", label="price", drop="b")
    assert (data.targets, data.feature_names, data.target_names) == ("numbers", ("a",), ("price",))


def test_load_dataset_unknown_option_raises_usage_error_with_a_hint():
    with pytest.raises(UsageError, match="no option 'sheets'; did you mean sheet"):
        lv.load_dataset("mnist", sheets="x")
