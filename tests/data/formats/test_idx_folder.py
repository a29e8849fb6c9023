import gzip
import hashlib
import os

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.input_spec import InputSpec
from lagvis.errors import DataError
from tests.factories import STANDARD, bands, idx_bytes, write_folder

PAPER = (
    "train_images/train-images.idx3-ubyte",
    "train_images/train-labels.idx1-ubyte",
    "test_images/test-images.idx3-ubyte",
    "test_images/test-labels.idx1-ubyte",
)
LAYOUTS = pytest.mark.parametrize("names", [STANDARD, PAPER], ids=["standard", "paper"])
PACKING = pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])


def error_message(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(folder))
    return str(caught.value)


@LAYOUTS
@PACKING
def test_read_idx_folder_standard_names(tmp_path, names, packed):
    dataset = load_dataset(str(write_folder(tmp_path / "d", names, packed=packed)))
    (x_train, y_train), (x_test, y_test) = bands(40), bands(12, seed=8)
    np.testing.assert_array_equal(dataset.x_train, x_train.reshape(40, 36))
    np.testing.assert_array_equal(dataset.y_train, y_train)
    np.testing.assert_array_equal(dataset.x_test, x_test.reshape(12, 36))
    np.testing.assert_array_equal(dataset.y_test, y_test)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.shape == (6, 6)
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.all_notices == ()
    assert dataset.name == "d"


@LAYOUTS
@PACKING
def test_read_idx_folder_sha256_is_of_unpacked_bytes_by_plain_name(tmp_path, names, packed):
    dataset = load_dataset(str(write_folder(tmp_path, names, packed=packed)))
    assert set(dataset.sha256) == set(names)
    assert dataset.sha256[names[0]] == hashlib.sha256(idx_bytes(bands(40)[0])).hexdigest()


def test_read_idx_folder_gzip_under_plain_names(tmp_path):
    plain, packed = write_folder(tmp_path / "plain"), write_folder(tmp_path / "packed")
    for path in packed.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    a, b = load_dataset(str(plain)), load_dataset(str(packed))
    np.testing.assert_array_equal(a.x_train, b.x_train)
    np.testing.assert_array_equal(a.y_test, b.y_test)
    assert a.sha256 == b.sha256


def test_read_idx_folder_ignores_junk_files(tmp_path):
    clean, littered = write_folder(tmp_path / "clean"), write_folder(tmp_path / "littered")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", *(f"._{name}" for name in STANDARD)):
        (littered / name).write_bytes(b"\0\5\x16\7junk")
    (littered / "__MACOSX").mkdir()
    np.testing.assert_array_equal(load_dataset(str(littered)).x_train, load_dataset(str(clean)).x_train)


@pytest.mark.parametrize("part", range(4))
def test_read_idx_folder_plain_and_gzip_differ_raises_data_error(tmp_path, part):
    write_folder(tmp_path)
    name, other = STANDARD[part], bands(40 if part < 2 else 12, seed=3)[part % 2] + 1
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(other)))
    message = error_message(tmp_path)
    assert f"{name} and {name}.gz" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("second", ["{}.gz", "{} (1)", "Copy of {}", "{} - Kopi.gz"])
@pytest.mark.parametrize("name", STANDARD)
def test_read_idx_folder_two_equal_files_are_one(tmp_path, name, second):
    content = (write_folder(tmp_path) / name).read_bytes()
    (tmp_path / second.format(name)).write_bytes(gzip.compress(content) if second.endswith("gz") else content)
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.x_train, bands(40)[0].reshape(40, 36))
    assert dataset.all_notices == ()


def test_read_idx_folder_two_different_layouts_raises_data_error(tmp_path):
    write_folder(write_folder(tmp_path), PAPER)
    assert len(load_dataset(str(tmp_path)).x_train) == 40
    (tmp_path / PAPER[1]).write_bytes(idx_bytes(bands(40)[1][::-1]))
    message = error_message(tmp_path)
    assert f"{tmp_path} holds both" in message
    assert STANDARD[1] in message
    assert PAPER[1] in message


def test_read_idx_folder_incomplete_second_layout_is_ignored(tmp_path):
    write_folder(tmp_path, PAPER)
    (tmp_path / STANDARD[0]).write_bytes(b"left over")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@LAYOUTS
@pytest.mark.parametrize("absent", [(0,), (3,), (1, 2)])
def test_read_idx_folder_missing_files_are_named(tmp_path, names, absent):
    write_folder(tmp_path, names)
    for part in absent:
        (tmp_path / names[part]).unlink()
    message = error_message(tmp_path)
    assert str(tmp_path) in message
    assert [part for part in range(4) if names[part] in message] == list(absent)


@pytest.mark.parametrize(("images", "labels"), [(0, 1), (2, 3)], ids=["training", "test"])
def test_read_idx_folder_exchanged_images_and_labels_raises_data_error(tmp_path, images, labels):
    write_folder(tmp_path)
    images, labels = tmp_path / STANDARD[images], tmp_path / STANDARD[labels]
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    message = error_message(tmp_path)
    assert "exchanged" in message
    assert str(images) in message


def test_read_idx_folder_empty_folder_says_what_is_expected(tmp_path):
    message = error_message(tmp_path)
    assert str(tmp_path) in message
    assert all(name in message for name in STANDARD)


@LAYOUTS
def test_read_idx_folder_parent_folder_suggests_child(tmp_path, names):
    (tmp_path / "another").mkdir()
    write_folder(tmp_path / "mine", names)
    assert f"--data {tmp_path / 'mine'}" in error_message(tmp_path)


def test_load_dataset_missing_path_is_shown_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "nowhere") in error_message("nowhere")


@pytest.mark.parametrize("name", ["~no-such-user/mnist", "x" * 5000], ids=["unknown home", "longer than a path"])
def test_load_dataset_impossible_path_raises_data_error(name):
    assert name[:20] in error_message(name)


def test_load_dataset_unknown_file_raises_data_error(tmp_path):
    path = tmp_path / STANDARD[0]
    path.write_bytes(idx_bytes(bands(4)[0]))
    assert str(path) in error_message(path)


def test_load_dataset_folder_without_permission_raises_data_error(tmp_path, monkeypatch):
    def forbid(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    # the error that the system gives to every user except root; the tests may run as root
    monkeypatch.setattr("pathlib.Path.stat", forbid)
    assert str(tmp_path) in error_message(tmp_path)


@pytest.mark.parametrize(("labels", "rows", "count"), [(1, 39, 40), (3, 13, 12)], ids=["training", "test"])
def test_read_idx_folder_different_counts_names_both_files(tmp_path, labels, rows, count):
    write_folder(tmp_path)
    (tmp_path / STANDARD[labels]).write_bytes(idx_bytes(bands(rows)[1]))
    message = error_message(tmp_path)
    assert f"{tmp_path / STANDARD[labels - 1]} holds {count} images" in message
    assert f"{tmp_path / STANDARD[labels]} {rows} labels" in message


def test_read_idx_folder_images_of_two_sizes_raises_data_error(tmp_path):
    write_folder(tmp_path)
    (tmp_path / STANDARD[2]).write_bytes(idx_bytes(bands(12)[0][:, :5]))
    message = error_message(tmp_path)
    assert "(6, 6)" in message
    assert "(5, 6)" in message


NAMES = {
    "dots": ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    "upper case": tuple(name.upper() for name in STANDARD),
    "idx suffix": tuple(f"{name}.idx" for name in STANDARD),
    "gzip suffix": tuple(f"{name}.gzip" for name in STANDARD),
    "second downloads": tuple(f"{name} (1)" for name in STANDARD),
    "a folder each": tuple(f"{name}/{name}" for name in STANDARD),
    "a folder each, dots within": tuple(f"{name}/{name.replace('-idx', '.idx')}" for name in STANDARD),
    "fashion": tuple(f"fashion-mnist_{name}" for name in STANDARD),
    "emnist without its prefix": tuple(name.replace("t10k", "test") for name in STANDARD),
    "qmnist": tuple(f"qmnist-{name.replace('t10k', 'test')}" for name in STANDARD),
    "by folder": ("train/images.idx3", "train/labels.idx1", "test/images.idx3", "test/labels.idx1"),
    "no kind": ("train.idx3", "train.idx1", "test.idx3", "test.idx1"),
    "camel": ("trainImages.idx", "trainLabels.idx", "testImages.idx", "testLabels.idx"),
    "training": ("training_images", "training_labels", "testing_images", "testing_labels"),
    "mixed": ("my-train-images", "train-labels", "t10k-images-idx3-ubyte", "your-t10k-labels"),
}


@PACKING
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_read_idx_folder_names_used_by_archives(tmp_path, names, packed):
    write_folder(tmp_path / "it", names, packed=packed)
    dataset, expected = load_dataset(str(tmp_path / "it")), load_dataset(str(write_folder(tmp_path / "standard")))
    for array in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(dataset, array), getattr(expected, array))
    assert dataset.all_notices == ()


def test_read_idx_folder_emnist_is_transposed_with_notice(tmp_path):
    names = tuple(f"emnist-letters-{name.replace('t10k', 'test')}" for name in STANDARD)
    write_folder(tmp_path, names)
    x, x_test = (np.arange(rows * 35, dtype=np.uint8).reshape(rows, 5, 7) for rows in (40, 12))
    (tmp_path / names[0]).write_bytes(idx_bytes(x))
    (tmp_path / names[2]).write_bytes(idx_bytes(x_test))
    dataset = load_dataset(str(tmp_path))
    assert dataset.shape == (7, 5)
    np.testing.assert_array_equal(dataset.x_train.reshape(40, 7, 5), x.transpose(0, 2, 1))
    np.testing.assert_array_equal(dataset.x_test.reshape(12, 7, 5), x_test.transpose(0, 2, 1))
    assert dataset.x_train.flags.c_contiguous
    first, second = dataset.all_notices
    assert f"{names[0]}: EMNIST" in first
    assert f"{names[2]}: EMNIST" in second


def test_read_idx_folder_several_sets_are_listed(tmp_path):
    for name in ("letters", "digits"):
        write_folder(tmp_path, tuple(f"emnist-{name}-{file}" for file in STANDARD), packed=True)
    message = error_message(tmp_path)
    assert "emnist-digits, emnist-letters" in message
    assert "folder of its own" in message


def test_read_idx_folder_complete_set_beside_incomplete_one(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "old-train-images").write_bytes(idx_bytes(bands(9)[0]))
    assert len(load_dataset(str(tmp_path)).x_train) == 40


def test_read_idx_folder_ignores_files_without_part_name(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "images.idx3").write_bytes(idx_bytes(bands(9)[0]))
    assert len(load_dataset(str(tmp_path)).x_train) == 40


def test_read_idx_folder_junk_is_neither_suggested_nor_listed(tmp_path):
    write_folder(tmp_path / "__MACOSX")
    (tmp_path / "Thumbs.db").touch()
    (tmp_path / ".DS_Store").touch()
    assert error_message(tmp_path).endswith("it holds nothing")


def test_read_idx_folder_images_of_any_shape_and_type(tmp_path):
    for i, (shape, kind) in enumerate([((5, 9), "u1"), ((4, 6, 3), "u1"), ((36,), "u1"), ((5, 9), "f4"), ((8,), "i2")]):
        folder = write_folder(tmp_path / str(i))
        rng = np.random.default_rng(i)
        x, x_test = (rng.integers(0, 256, (rows, *shape)) for rows in (40, 12))
        (folder / STANDARD[0]).write_bytes(idx_bytes(x, kind))
        (folder / STANDARD[2]).write_bytes(idx_bytes(x_test, kind))
        dataset = load_dataset(str(folder))
        assert dataset.shape == shape
        assert dataset.x_train.dtype == (np.uint8 if kind == "u1" else np.float64)
        np.testing.assert_array_equal(dataset.x_train, x.reshape(40, -1))


def test_read_idx_folder_one_hot_labels(tmp_path):
    (write_folder(tmp_path) / STANDARD[1]).write_bytes(idx_bytes(np.eye(4)[bands(40)[1]], "f4"))
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])
    assert "one-hot" in dataset.all_notices[0]


@pytest.mark.parametrize("there", [(0, 1), (2, 3)], ids=["training alone", "no part named"])
def test_read_idx_folder_training_part_only_holds_out_a_fifth(tmp_path, there):
    names = STANDARD if there == (0, 1) else (*("images.idx3", "labels.idx1"), "a/a", "a/b")
    write_folder(tmp_path, names)
    for name in names[2:]:
        (tmp_path / name).unlink()
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (32, 8)
    assert np.bincount(dataset.y_test).tolist() == [2, 2, 2, 2]
    # every image kept its label: the label is the position of the brightest band
    bright = np.concatenate([dataset.x_train, dataset.x_test]).reshape(40, 6, 6).mean(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(bright, np.concatenate([dataset.y_train, dataset.y_test]))
    assert "8 of its 40 rows" in dataset.all_notices[0]
    assert set(dataset.sha256) == set(names[:2])


def test_read_idx_folder_error_names_row_of_file_from_1(tmp_path):
    for name in write_folder(tmp_path).glob("t10k*"):
        name.unlink()
    x = bands(40)[0].astype(float)
    x[17] = np.nan
    (tmp_path / STANDARD[0]).write_bytes(idx_bytes(x, "f4"))
    message = error_message(tmp_path)
    assert "row 18 (" in message
    assert STANDARD[0] in message


def test_read_idx_folder_single_row_raises_data_error(tmp_path):
    (tmp_path / STANDARD[0]).write_bytes(idx_bytes(bands(1)[0]))
    (tmp_path / STANDARD[1]).write_bytes(idx_bytes(bands(1)[1]))
    assert f"{tmp_path} holds a single row" in error_message(tmp_path)


def test_read_idx_folder_validation_file_is_not_used_with_notice(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "valid-images-idx3-ubyte").write_bytes(idx_bytes(bands(5)[0]))
    assert load_dataset(str(tmp_path)).all_notices == ("valid-images-idx3-ubyte is not used.",)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>", gzip.compress(b"<html>", mtime=0)], ids=["page", "packed page"]
)
def test_read_idx_folder_web_page_as_file_is_reported(tmp_path, part, content):
    (write_folder(tmp_path) / STANDARD[part]).unlink()
    path = tmp_path / f"{STANDARD[part]}.gz"
    path.write_bytes(content)
    message = error_message(tmp_path)
    assert str(path) in message
    assert "web page" in message


def test_read_idx_folder_web_pages_as_test_part_raise_data_error(tmp_path):
    for name in STANDARD[2:]:
        (write_folder(tmp_path) / name).unlink(missing_ok=True)
    for name in STANDARD[2:]:
        (tmp_path / name).write_bytes(b"<html>")
    assert "web page" in error_message(tmp_path)


def test_read_idx_folder_ignores_similar_names(tmp_path):
    write_folder(tmp_path)
    for name in ("train-images.py", "test-labels.txt", "README", "test-labels.tsv.gz", "train-images.npz"):
        (tmp_path / name).write_bytes(b"something else")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@pytest.mark.parametrize("deep", ["mine", "MNIST/raw", "a/b c"])
def test_read_idx_folder_suggests_folder_below(tmp_path, deep):
    write_folder(tmp_path / deep)
    assert f"use --data {tmp_path / deep}" in error_message(tmp_path)


def test_read_idx_folder_opens_only_named_files_for_suggestion(tmp_path, monkeypatch):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "private.txt").write_text("dear diary")
    monkeypatch.setattr("pathlib.Path.open", lambda *_, **__: pytest.fail("it was opened"))
    assert f"{tmp_path} holds no data set" in error_message(tmp_path)


def test_read_idx_folder_without_idx_lists_what_it_holds(tmp_path):
    for name in "abcdefgh":
        (tmp_path / f"{name}.zip").write_bytes(b"PK")
    assert "it holds a.zip, b.zip, c.zip, d.zip, e.zip, ..." in error_message(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made by POSIX systems alone")
def test_read_idx_folder_ignores_pipes_and_circular_links(tmp_path):
    write_folder(tmp_path)
    os.mkfifo(tmp_path / f"{STANDARD[0]}.gz")
    (tmp_path / "train").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "test-images").symlink_to(tmp_path / "test-images")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links are for everyone on POSIX systems alone")
def test_read_idx_folder_suggestion_ignores_circular_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert f"{tmp_path} holds no data set" in error_message(tmp_path)


def test_read_idx_folder_unreadable_file_is_reported(tmp_path, monkeypatch):
    path, opened = write_folder(tmp_path) / STANDARD[1], type(tmp_path).open

    def forbid(self, *arguments, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr("pathlib.Path.open", forbid)
    assert f"{path} cannot be read (Permission denied)" in error_message(tmp_path)


def test_read_idx_folder_among_many_other_files(tmp_path):
    for i in range(1100):
        (tmp_path / f"{i}.txt").touch()
    assert len(load_dataset(str(write_folder(tmp_path))).x_train) == 40


def test_read_idx_folder_labels_from_1_keep_their_names(tmp_path):
    dataset = load_dataset(str(write_folder(tmp_path, labels_from=1)))
    assert dataset.class_names == ("1", "2", "3", "4")
    assert dataset.n_out == 4
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])
    np.testing.assert_array_equal(dataset.y_test, bands(12)[1])
    assert len(dataset.all_notices) == 1
    assert "1..4" in dataset.all_notices[0]


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_read_idx_folder_labels_wider_than_a_byte(tmp_path, kind):
    dataset = load_dataset(str(write_folder(tmp_path, kind=kind)))
    assert dataset.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])


def test_read_idx_folder_labels_of_eight_columns_raises_data_error(tmp_path):
    write_folder(tmp_path)
    (tmp_path / STANDARD[1]).write_bytes(idx_bytes(np.tile(bands(40)[1][:, None], (1, 8)), "i4"))
    assert "(40, 8)" in error_message(tmp_path)


def test_read_idx_folder_unknown_test_label_names_row(tmp_path):
    y = bands(12)[1]
    y[5] = 9
    (write_folder(tmp_path) / STANDARD[3]).write_bytes(idx_bytes(y))
    message = error_message(tmp_path)
    assert "test row 6 (" in message
    assert "label 9" in message


def test_read_idx_folder_single_class_raises_data_error(tmp_path):
    (write_folder(tmp_path) / STANDARD[1]).write_bytes(idx_bytes(np.full(40, 3)))
    assert "every training label is 3" in error_message(tmp_path)


def test_load_dataset_mnist_is_the_original():
    dataset = load_dataset("mnist")
    # the published counts of the ten digits
    assert np.bincount(dataset.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(dataset.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.x_train.shape == (60000, 784)
    assert dataset.shape == (28, 28)
    # the published mean and standard deviation of the pixels
    assert dataset.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_read_idx_folder_test_part_alone_is_for_evaluation_only(tmp_path):
    write_folder(tmp_path)
    for name in STANDARD[:2]:
        (tmp_path / name).unlink()
    assert f"lacks {STANDARD[0]} and {STANDARD[1]}" in error_message(tmp_path)
    spec = InputSpec((6, 6), is_bytes=True, class_names=("0", "1", "2", "3"))
    dataset = load_dataset(str(tmp_path), class_names=spec.class_names, spec=spec).all_as_test()
    assert sorted(map(bytes, dataset.x_test)) == sorted(map(bytes, bands(12, seed=8)[0]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data set"):
        load_dataset(str(tmp_path / "empty"), class_names=spec.class_names, spec=spec)


def test_read_idx_folder_without_labels_names_predict(tmp_path):
    write_folder(tmp_path)
    for name in STANDARD[1::2]:
        (tmp_path / name).unlink()
    assert error_message(tmp_path).endswith("; predict.py takes images without labels")
