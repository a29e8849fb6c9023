import gzip
from pathlib import Path

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.images.transposed import BY_NAME, NO, YES, is_named_emnist, turn_upright
from lagvis.data.input_spec import InputSpec
from lagvis.data.predict_input import read_inputs
from lagvis.errors import DataError
from tests.factories import idx_bytes

RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
Y = np.arange(12, dtype=np.uint8) % 3
UPRIGHT = X.transpose(0, 2, 1).reshape(12, 784)
SPEC = InputSpec((28, 28), is_bytes=True, class_names=("0", "1", "2"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("emnist-digits-train-images-idx3-ubyte", True),
        ("EMNIST_LETTERS.CSV.GZ", True),
        ("my-emnist-mnist-train.csv", True),
        ("emnistLetters.npz", True),
        ("EMNIST/train.csv", True),
        ("emnist-balanced/raw/train.npz", True),
        ("emnist/a/b/train.npz", False),
        ("emnist/mnist/train.npz", False),
        ("emnist/fashion-mnist.npz", False),
        ("femnist.npz", False),
        ("mnist-and-emnist/train.npz", False),
        ("mnist.npz", False),
        ("train.csv", False),
    ],
)
def test_is_named_emnist(path, expected):
    assert is_named_emnist(Path("/data") / path) is expected


def write_csv(path, *, rows=X, labels=True):
    table = np.c_[Y, rows.reshape(12, -1)] if labels else rows.reshape(12, -1)
    np.savetxt(path, table, fmt="%d", delimiter=",")


def write_gz(path):
    write_csv(path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    path.with_suffix("").unlink()


WRITERS = {
    "emnist.csv": write_csv,
    "emnist.csv.gz": write_gz,
    "Emnist.npz": lambda path: np.savez(path, x=X, y=Y),
    "emnist_flat.npz": lambda path: np.savez(path, data=X.reshape(12, 784), labels=Y),
    "emnist_channels.npz": lambda path: np.savez(path, x=X[..., None], y=Y),
    "emnist_channels_first.npz": lambda path: np.savez(path, x=X[:, None], y=Y),
    "emnist_float.npz": lambda path: np.savez(path, x=X / 255, y=Y),
}


@pytest.mark.parametrize("name", WRITERS)
def test_emnist_same_rows_in_training_evaluation_and_prediction(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    spec = SPEC if "float" not in name else InputSpec((28, 28), is_bytes=False, class_names=SPEC.class_names)
    expected = UPRIGHT / 255 if "float" in name else UPRIGHT
    trained = load_dataset(str(path))
    evaluated = load_dataset(str(path), class_names=SPEC.class_names, spec=spec)
    inputs = read_inputs([str(path)], spec)
    assert inputs.errors == []
    np.testing.assert_array_equal(inputs.batches[0].x, expected)
    for dataset in (trained, evaluated):
        assert dataset.transposed
        rows = np.concatenate([dataset.x_train, dataset.x_test])
        assert {*map(bytes, rows)} == {*map(bytes, expected)}
    notice = f"{name}: EMNIST stores its pictures transposed; they are turned upright (unless --transpose no)."
    for notices in (trained.notices, evaluated.notices, inputs.notices):
        assert notice in notices


@pytest.mark.parametrize("transpose", [YES, NO])
@pytest.mark.parametrize("name", ["emnist.csv", "renamed.csv", "renamed.npz"])
def test_transpose_option_wins_over_the_name(tmp_path, name, transpose):
    path = tmp_path / name
    (write_csv if name.endswith("csv") else WRITERS["Emnist.npz"])(path)
    spec = InputSpec((28, 28), is_bytes=True, class_names=SPEC.class_names, transpose=transpose)
    expected = UPRIGHT if transpose == YES else X.reshape(12, 784)
    np.testing.assert_array_equal(read_inputs([str(path)], spec).batches[0].x, expected)
    for dataset in (load_dataset(str(path), transpose=transpose), load_dataset(str(path), spec=spec)):
        assert {*map(bytes, dataset.x_train)} <= {*map(bytes, expected)}
        assert dataset.transposed is (transpose == YES)


def test_predict_idx_pictures_of_emnist_are_upright(tmp_path):
    path = tmp_path / "emnist-letters-test-images-idx3-ubyte"
    path.write_bytes(idx_bytes(X))
    inputs = read_inputs([str(path)], SPEC)
    np.testing.assert_array_equal(inputs.batches[0].x, UPRIGHT)
    assert "turned upright" in inputs.notices[0]


def test_tables_of_emnist_of_which_one_is_named_so_are_both_turned(tmp_path):
    write_csv(tmp_path / "emnist-train.csv")
    write_csv(tmp_path / "test.csv")
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.x_train, UPRIGHT)
    np.testing.assert_array_equal(dataset.x_test, UPRIGHT)
    assert sum("turned upright" in notice for notice in dataset.notices) == 2


def test_emnist_of_another_size_stays_as_it_is(tmp_path):
    small = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    write_csv(tmp_path / "emnist-small.csv", rows=small)
    dataset = load_dataset(str(tmp_path / "emnist-small.csv"))
    assert {*map(bytes, dataset.x_train)} <= {*map(bytes, small.reshape(12, 64))}
    assert not dataset.transposed


def test_emnist_table_read_as_numbers_stays_as_it_is(tmp_path):
    write_csv(tmp_path / "emnist.csv")
    assert not load_dataset(str(tmp_path / "emnist.csv"), feature_type="numbers").transposed


def test_turn_upright_rows_that_are_no_pictures_raise_data_error():
    for width in (4, 5, 65):
        with pytest.raises(DataError, match=rf"a.csv has rows of shape \({width},\); --transpose yes is for pictures"):
            turn_upright(np.zeros((3, width)), "a.csv", YES, Path("a.csv"))
    assert turn_upright(np.zeros((3, 5)), "a.csv", BY_NAME, Path("emnist/a.csv")).notices == ()
