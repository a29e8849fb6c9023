import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError

X, Y = np.arange(60.0).reshape(20, 3), np.arange(20) % 2


def save(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return str(folder)


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": X, "y": Y},
        {"x_train": X, "y_train": Y, "x_test": X[:5], "y_test": Y[:5]},
        {"train_images": X, "train_labels": Y, "test_images": X[:5], "test_labels": Y[:5]},
        {"X_train": X, "y_train": Y},
    ],
)
def test_read_npy_folder_equals_npz_of_the_same_arrays(tmp_path, arrays):
    np.savez(tmp_path / "t.npz", **arrays)
    expected, found = load_dataset(str(tmp_path / "t.npz")), load_dataset(save(tmp_path / "f", **arrays))
    for part in ("x_train", "x_test", "y_train", "y_test"):
        assert np.array_equal(getattr(found, part), getattr(expected, part))


def test_read_npy_folder_names_and_unit_are_read(tmp_path):
    folder = save(tmp_path / "f", x=X, y=X[:, 0], target_names=np.array(["height"]), unit=np.array("m"))
    dataset = load_dataset(folder, regression=True)
    assert (dataset.target_names, dataset.unit) == (("height",), "m")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": X}, "holds X; expected x_train, y_train, x_test, y_test, or x and y"),
        ({"X": X, "x": X, "y": Y}, "holds both X.npy and x.npy"),
        ({"X": X, "y": np.array([{}] * 20)}, "y.npy holds pickled objects, which are never executed"),
        ({"X": X, "y": Y[:3]}, "expected equally many rows"),
    ],
)
def test_read_npy_folder_unfit_arrays_raise_data_error(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words):
        load_dataset(save(tmp_path / "f", **arrays))


def test_read_npy_folder_damaged_file_raises_data_error(tmp_path):
    folder = save(tmp_path / "f", X=X, y=Y)
    content = (tmp_path / "f" / "X.npy").read_bytes()
    (tmp_path / "f" / "X.npy").write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"X\.npy of shape \(20, 3\) needs 480 bytes, 472 found"):
        load_dataset(folder)


def test_load_dataset_single_npy_raises_data_error_that_names_folder(tmp_path):
    save(tmp_path / "f", X=X, y=Y)
    with pytest.raises(DataError, match=r"is a single NumPy array; --data takes the folder .*/f"):
        load_dataset(str(tmp_path / "f" / "X.npy"))
