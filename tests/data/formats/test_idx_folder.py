import gzip
import hashlib
import os

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
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


def refusal(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(folder))
    return str(caught.value)


@LAYOUTS
@PACKING
def test_the_four_files_load(tmp_path, names, packed):
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
def test_the_checksums_are_of_the_unpacked_bytes_under_the_plain_names(tmp_path, names, packed):
    dataset = load_dataset(str(write_folder(tmp_path, names, packed=packed)))
    assert set(dataset.sha256) == set(names)
    assert dataset.sha256[names[0]] == hashlib.sha256(idx_bytes(bands(40)[0])).hexdigest()


def test_packed_bytes_under_unpacked_names_give_the_same_data(tmp_path):
    plain, packed = write_folder(tmp_path / "plain"), write_folder(tmp_path / "packed")
    for path in packed.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    a, b = load_dataset(str(plain)), load_dataset(str(packed))
    np.testing.assert_array_equal(a.x_train, b.x_train)
    np.testing.assert_array_equal(a.y_test, b.y_test)
    assert a.sha256 == b.sha256


def test_what_a_mac_and_windows_leave_behind_is_not_seen(tmp_path):
    clean, littered = write_folder(tmp_path / "clean"), write_folder(tmp_path / "littered")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", *(f"._{name}" for name in STANDARD)):
        (littered / name).write_bytes(b"\0\5\x16\7junk")
    (littered / "__MACOSX").mkdir()
    np.testing.assert_array_equal(load_dataset(str(littered)).x_train, load_dataset(str(clean)).x_train)


@pytest.mark.parametrize("part", range(4))
def test_a_file_plain_and_packed_that_differ_are_asked_about(tmp_path, part):
    write_folder(tmp_path)
    name, other = STANDARD[part], bands(40 if part < 2 else 12, seed=3)[part % 2] + 1
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(other)))
    sentence = refusal(tmp_path)
    assert f"{name} and {name}.gz" in sentence
    assert str(tmp_path) in sentence


@pytest.mark.parametrize("second", ["{}.gz", "{} (1)", "Copy of {}", "{} - Kopi.gz"])
@pytest.mark.parametrize("name", STANDARD)
def test_two_files_with_the_same_content_are_one(tmp_path, name, second):
    content = (write_folder(tmp_path) / name).read_bytes()
    (tmp_path / second.format(name)).write_bytes(gzip.compress(content) if second.endswith("gz") else content)
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.x_train, bands(40)[0].reshape(40, 36))
    assert dataset.all_notices == ()


def test_both_layouts_with_other_content_are_asked_about(tmp_path):
    write_folder(write_folder(tmp_path), PAPER)
    assert len(load_dataset(str(tmp_path)).x_train) == 40
    (tmp_path / PAPER[1]).write_bytes(idx_bytes(bands(40)[1][::-1]))
    sentence = refusal(tmp_path)
    assert f"{tmp_path} holds both" in sentence
    assert STANDARD[1] in sentence
    assert PAPER[1] in sentence


def test_half_of_one_layout_does_not_spoil_the_other(tmp_path):
    write_folder(tmp_path, PAPER)
    (tmp_path / STANDARD[0]).write_bytes(b"left over")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@LAYOUTS
@pytest.mark.parametrize("absent", [(0,), (3,), (1, 2)])
def test_missing_files_are_named_and_the_others_are_not(tmp_path, names, absent):
    write_folder(tmp_path, names)
    for part in absent:
        (tmp_path / names[part]).unlink()
    sentence = refusal(tmp_path)
    assert str(tmp_path) in sentence
    assert [part for part in range(4) if names[part] in sentence] == list(absent)


@pytest.mark.parametrize(("images", "labels"), [(0, 1), (2, 3)], ids=["training", "test"])
def test_exchanged_images_and_labels_are_recognised(tmp_path, images, labels):
    write_folder(tmp_path)
    images, labels = tmp_path / STANDARD[images], tmp_path / STANDARD[labels]
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    sentence = refusal(tmp_path)
    assert "exchanged" in sentence
    assert str(images) in sentence


def test_an_empty_folder_is_told_what_was_expected(tmp_path):
    sentence = refusal(tmp_path)
    assert str(tmp_path) in sentence
    assert all(name in sentence for name in STANDARD)


@LAYOUTS
def test_a_folder_one_level_too_high_is_pointed_to_its_child(tmp_path, names):
    (tmp_path / "another").mkdir()
    write_folder(tmp_path / "mine", names)
    assert f"--data {tmp_path / 'mine'}" in refusal(tmp_path)


def test_a_wrong_path_is_told_absolutely(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "nowhere") in refusal("nowhere")


@pytest.mark.parametrize("name", ["~no-such-user/mnist", "x" * 5000], ids=["unknown home", "longer than a path"])
def test_a_path_that_cannot_be_is_a_data_error(name):
    assert name[:20] in refusal(name)


def test_a_file_that_is_neither_folder_nor_npz_is_refused(tmp_path):
    path = tmp_path / STANDARD[0]
    path.write_bytes(idx_bytes(bands(4)[0]))
    assert str(path) in refusal(path)


def test_a_folder_that_may_not_be_entered_is_a_data_error(tmp_path, monkeypatch):
    def forbid(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    # what the system answers to anyone but root; tests may be run by root
    monkeypatch.setattr("pathlib.Path.stat", forbid)
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(("labels", "rows", "count"), [(1, 39, 40), (3, 13, 12)], ids=["training", "test"])
def test_counts_that_differ_are_told_with_both_files(tmp_path, labels, rows, count):
    write_folder(tmp_path)
    (tmp_path / STANDARD[labels]).write_bytes(idx_bytes(bands(rows)[1]))
    sentence = refusal(tmp_path)
    assert f"{tmp_path / STANDARD[labels - 1]} holds {count} images" in sentence
    assert f"{tmp_path / STANDARD[labels]} {rows} labels" in sentence


def test_pictures_of_two_sizes_are_told(tmp_path):
    write_folder(tmp_path)
    (tmp_path / STANDARD[2]).write_bytes(idx_bytes(bands(12)[0][:, :5]))
    sentence = refusal(tmp_path)
    assert "(6, 6)" in sentence
    assert "(5, 6)" in sentence


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
def test_names_that_archives_leave_behind_load(tmp_path, names, packed):
    write_folder(tmp_path / "it", names, packed=packed)
    dataset, expected = load_dataset(str(tmp_path / "it")), load_dataset(str(write_folder(tmp_path / "standard")))
    for array in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(dataset, array), getattr(expected, array))
    assert dataset.all_notices == ()


def test_pictures_of_emnist_are_turned_upright_and_it_is_said(tmp_path):
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


def test_several_sets_of_emnist_are_listed(tmp_path):
    for name in ("letters", "digits"):
        write_folder(tmp_path, tuple(f"emnist-{name}-{file}" for file in STANDARD), packed=True)
    sentence = refusal(tmp_path)
    assert "emnist-digits, emnist-letters" in sentence
    assert "folder of its own" in sentence


def test_a_complete_set_beside_a_part_of_another_is_taken(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "old-train-images").write_bytes(idx_bytes(bands(9)[0]))
    assert len(load_dataset(str(tmp_path)).x_train) == 40


def test_files_that_name_no_part_are_left_beside_those_that_do(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "images.idx3").write_bytes(idx_bytes(bands(9)[0]))
    assert len(load_dataset(str(tmp_path)).x_train) == 40


def test_what_a_system_leaves_behind_is_neither_proposed_nor_listed(tmp_path):
    write_folder(tmp_path / "__MACOSX")
    (tmp_path / "Thumbs.db").touch()
    (tmp_path / ".DS_Store").touch()
    assert refusal(tmp_path).endswith("it holds nothing")


def test_pictures_are_taken_in_any_shape_and_type(tmp_path):
    for i, (shape, kind) in enumerate([((5, 9), "u1"), ((4, 6, 3), "u1"), ((36,), "u1"), ((5, 9), "f4"), ((8,), "i2")]):
        folder = write_folder(tmp_path / str(i))
        rng = np.random.default_rng(i)
        x, x_test = (rng.integers(0, 100, (rows, *shape)) for rows in (40, 12))
        (folder / STANDARD[0]).write_bytes(idx_bytes(x, kind))
        (folder / STANDARD[2]).write_bytes(idx_bytes(x_test, kind))
        dataset = load_dataset(str(folder))
        assert dataset.shape == shape
        assert dataset.x_train.dtype == (np.uint8 if kind == "u1" else np.float64)
        np.testing.assert_array_equal(dataset.x_train, x.reshape(40, -1))


def test_one_hot_labels_in_idx_are_classes(tmp_path):
    (write_folder(tmp_path) / STANDARD[1]).write_bytes(idx_bytes(np.eye(4)[bands(40)[1]], "f4"))
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])
    assert "one-hot" in dataset.all_notices[0]


@pytest.mark.parametrize("there", [(0, 1), (2, 3)], ids=["training alone", "no part named"])
def test_a_pair_of_files_without_a_test_part_gives_a_fifth_of_its_rows(tmp_path, there):
    names = STANDARD if there == (0, 1) else (*("images.idx3", "labels.idx1"), "a/a", "a/b")
    write_folder(tmp_path, names)
    for name in names[2:]:
        (tmp_path / name).unlink()
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (32, 8)
    assert np.bincount(dataset.y_test).tolist() == [2, 2, 2, 2]
    # every picture kept its own label: the brightest band is at its height
    bright = np.concatenate([dataset.x_train, dataset.x_test]).reshape(40, 6, 6).mean(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(bright, np.concatenate([dataset.y_train, dataset.y_test]))
    assert "8 of its 40 rows" in dataset.all_notices[0]
    assert set(dataset.sha256) == set(names[:2])


def test_a_row_that_was_held_out_is_told_by_its_place_in_the_file(tmp_path):
    for name in write_folder(tmp_path).glob("t10k*"):
        name.unlink()
    x = bands(40)[0].astype(float)
    x[17] = np.nan
    (tmp_path / STANDARD[0]).write_bytes(idx_bytes(x, "f4"))
    sentence = refusal(tmp_path)
    assert "row 18 (" in sentence
    assert STANDARD[0] in sentence


def test_one_row_alone_is_refused(tmp_path):
    (tmp_path / STANDARD[0]).write_bytes(idx_bytes(bands(1)[0]))
    (tmp_path / STANDARD[1]).write_bytes(idx_bytes(bands(1)[1]))
    assert f"{tmp_path} holds a single row" in refusal(tmp_path)


def test_a_validation_part_is_said_to_be_left(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "valid-images-idx3-ubyte").write_bytes(idx_bytes(bands(5)[0]))
    assert load_dataset(str(tmp_path)).all_notices == ("valid-images-idx3-ubyte is not used.",)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", gzip.compress(b"<html>")], ids=["page", "packed page"])
def test_a_web_page_in_place_of_a_file_is_told_and_not_that_it_lacks(tmp_path, part, content):
    (write_folder(tmp_path) / STANDARD[part]).unlink()
    path = tmp_path / f"{STANDARD[part]}.gz"
    path.write_bytes(content)
    sentence = refusal(tmp_path)
    assert str(path) in sentence
    assert "web page" in sentence


def test_web_pages_in_place_of_the_test_part_are_no_leave_to_do_without(tmp_path):
    for name in STANDARD[2:]:
        (write_folder(tmp_path) / name).unlink(missing_ok=True)
    for name in STANDARD[2:]:
        (tmp_path / name).write_bytes(b"<html>")
    assert "web page" in refusal(tmp_path)


def test_files_that_only_sound_alike_are_left(tmp_path):
    write_folder(tmp_path)
    for name in ("train-images.py", "test-labels.txt", "README", "test-labels.tsv.gz", "train-images.npz"):
        (tmp_path / name).write_bytes(b"something else")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@pytest.mark.parametrize("deep", ["mine", "MNIST/raw", "a/b c"])
def test_the_folder_below_that_holds_the_files_is_proposed(tmp_path, deep):
    write_folder(tmp_path / deep)
    assert f"use --data {tmp_path / deep}" in refusal(tmp_path)


def test_files_of_strangers_are_not_opened_for_a_proposal(tmp_path, monkeypatch):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "private.txt").write_text("dear diary")
    monkeypatch.setattr("pathlib.Path.open", lambda *_, **__: pytest.fail("it was opened"))
    assert f"{tmp_path} holds no data set" in refusal(tmp_path)


def test_what_an_empty_hand_found_is_told(tmp_path):
    for name in "abcdefgh":
        (tmp_path / f"{name}.zip").write_bytes(b"PK")
    assert "it holds a.zip, b.zip, c.zip, d.zip, e.zip, ..." in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made by POSIX systems alone")
def test_pipes_and_links_in_circles_are_not_seen(tmp_path):
    write_folder(tmp_path)
    os.mkfifo(tmp_path / f"{STANDARD[0]}.gz")
    (tmp_path / "train").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "test-images").symlink_to(tmp_path / "test-images")
    assert len(load_dataset(str(tmp_path)).x_train) == 40


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links are for everyone on POSIX systems alone")
def test_links_in_circles_are_not_followed_for_a_proposal(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert f"{tmp_path} holds no data set" in refusal(tmp_path)


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path, opened = write_folder(tmp_path) / STANDARD[1], type(tmp_path).open

    def forbid(self, *arguments, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr("pathlib.Path.open", forbid)
    assert f"{path} cannot be read (Permission denied)" in refusal(tmp_path)


def test_many_other_files_do_not_hide_the_four(tmp_path):
    for i in range(1100):
        (tmp_path / f"{i}.txt").touch()
    assert len(load_dataset(str(write_folder(tmp_path))).x_train) == 40


def test_labels_from_1_give_as_many_classes_as_occur_under_their_own_names(tmp_path):
    dataset = load_dataset(str(write_folder(tmp_path, labels_from=1)))
    assert dataset.class_names == ("1", "2", "3", "4")
    assert dataset.n_out == 4
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])
    np.testing.assert_array_equal(dataset.y_test, bands(12)[1])
    assert len(dataset.all_notices) == 1
    assert "1..4" in dataset.all_notices[0]


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_labels_wider_than_a_byte_keep_their_values(tmp_path, kind):
    dataset = load_dataset(str(write_folder(tmp_path, kind=kind)))
    assert dataset.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])


def test_labels_with_eight_columns_are_refused_with_their_shape(tmp_path):
    write_folder(tmp_path)
    (tmp_path / STANDARD[1]).write_bytes(idx_bytes(np.tile(bands(40)[1][:, None], (1, 8)), "i4"))
    assert "(40, 8)" in refusal(tmp_path)


def test_a_test_label_unknown_to_training_is_told_with_its_row(tmp_path):
    y = bands(12)[1]
    y[5] = 9
    (write_folder(tmp_path) / STANDARD[3]).write_bytes(idx_bytes(y))
    sentence = refusal(tmp_path)
    assert "test row 6 (" in sentence
    assert "label 9" in sentence


def test_one_class_alone_is_refused(tmp_path):
    (write_folder(tmp_path) / STANDARD[1]).write_bytes(idx_bytes(np.full(40, 3)))
    assert "every training label is 3" in refusal(tmp_path)


def test_the_shipped_digits_are_those_of_mnist():
    dataset = load_dataset("mnist")
    # the counts of the ten digits as the literature has them
    assert np.bincount(dataset.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(dataset.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.x_train.shape == (60000, 784)
    assert dataset.shape == (28, 28)
    # mean and deviation of the pixels, by which half the world standardises them
    assert dataset.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
