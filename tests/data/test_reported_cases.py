"""Cases from public bug reports about reading data: each loads, or raises an error with the cause and a fix."""

import gzip

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.factories import STANDARD, bands, idx_bytes, write_folder


def refusal(path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(path))
    assert caught.value.exit_code == 3
    return str(caught.value)


def same(a, b) -> None:
    for name in ("x_train", "y_train", "x_test", "y_test"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes()
    assert (a.shape, a.class_names, a.sha256, a.all_notices) == (b.shape, b.class_names, b.sha256, b.all_notices)


def test_load_idx_gzip_without_suffix_equals_plain(tmp_path):
    folder = write_folder(tmp_path / "packed")
    for path in folder.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    same(load_dataset(str(folder)), load_dataset(str(write_folder(tmp_path / "plain"))))


def test_load_idx_web_page_as_gz_raises_data_error_that_says_so(tmp_path):
    folder = write_folder(tmp_path)
    (folder / STANDARD[0]).unlink()
    path = folder / f"{STANDARD[0]}.gz"
    path.write_text("<!DOCTYPE html><title>403</title>")
    sentence = refusal(folder)
    for words in (str(path), "33 bytes", "web page", "IDX", "data/mnist", "storage.googleapis.com/cvdf-datasets/mnist"):
        assert words in sentence


def test_load_idx_int32_labels_keep_values(tmp_path):
    folder = write_folder(tmp_path)
    path, y = folder / STANDARD[1], bands(40)[1]
    path.write_bytes(idx_bytes(y, "i4"))
    dataset = load_dataset(str(folder))
    assert dataset.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(dataset.y_train, y)
    path.write_bytes(idx_bytes(np.tile(y[:, None], (1, 8)), "i4"))
    sentence = refusal(folder)
    for words in ("(40, 8)", "(40,)", STANDARD[1]):
        assert words in sentence


def test_load_idx_labels_from_1_become_class_names(tmp_path):
    dataset = load_dataset(str(write_folder(tmp_path, labels_from=1)))
    assert dataset.n_out == 4
    assert dataset.class_names == ("1", "2", "3", "4")
    assert dataset.all_notices == ("Labels are 1..4: outputs 0..3 stand for them in that order.",)


def test_load_npz_one_hot_labels_become_classes(tmp_path):
    (x, y), path = bands(40), tmp_path / "a06.npz"
    parts = {"x_train": x, "x_test": x[:9], "y_test": y[:9].astype(float)}
    np.savez(path, y_train=np.eye(4)[y], **parts)
    dataset = load_dataset(str(path))
    assert dataset.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(dataset.y_train, y)
    np.testing.assert_array_equal(dataset.y_test, y[:9])
    assert len(dataset.all_notices) == 1
    assert "one-hot" in dataset.all_notices[0]

    twice = np.eye(4)[y]
    twice[8, :2] = 1
    np.savez(path, y_train=twice, **parts)
    assert "a06.npz: training row 9 has 2 ones" in refusal(path)
    np.savez(path, y_train=y, **parts | {"y_test": np.where(np.arange(9) == 5, 2.5, y[:9])})
    assert "a06.npz: test row 6 has the label 2.5" in refusal(path)


def test_load_idx_junk_of_mac_and_windows_is_ignored(tmp_path):
    folder = write_folder(tmp_path / "littered")
    litter = (".DS_Store", "Thumbs.db", "desktop.ini", f"._{STANDARD[0]}", f"__MACOSX/._{STANDARD[1]}")
    for name in litter:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7junk")
    # even if the content is valid
    (folder / f"._{STANDARD[2]}").write_bytes(idx_bytes(bands(5)[0]))
    same(load_dataset(str(folder)), load_dataset(str(write_folder(tmp_path / "clean"))))


def test_load_dataset_folder_above_proposes_subfolder(tmp_path, monkeypatch):
    write_folder(tmp_path / "above" / "mine")
    monkeypatch.chdir(tmp_path)
    assert refusal("above") == (
        f"{tmp_path / 'above'} holds no data set, but mine in it does; use --data {tmp_path / 'above' / 'mine'}"
    )
