import gzip
import hashlib

import numpy as np
import pytest

import data
from data.errors import DataError
from tests.toys import STANDARD, bands, idx_bytes, write_folder

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
        data.load(str(folder))
    return str(caught.value)


@LAYOUTS
@PACKING
def test_the_four_files_load(tmp_path, names, packed):
    dataset = data.load(str(write_folder(tmp_path / "d", names, packed=packed)))
    (x_train, y_train), (x_test, y_test) = bands(40), bands(12, seed=8)
    np.testing.assert_array_equal(dataset.x_train, x_train.reshape(40, 36))
    np.testing.assert_array_equal(dataset.y_train, y_train)
    np.testing.assert_array_equal(dataset.x_test, x_test.reshape(12, 36))
    np.testing.assert_array_equal(dataset.y_test, y_test)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.shape == (6, 6)
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.notices == ()
    assert dataset.name == "d"


@LAYOUTS
@PACKING
def test_the_checksums_are_of_the_unpacked_bytes_under_the_plain_names(tmp_path, names, packed):
    dataset = data.load(str(write_folder(tmp_path, names, packed=packed)))
    assert set(dataset.sha256) == set(names)
    assert dataset.sha256[names[0]] == hashlib.sha256(idx_bytes(bands(40)[0])).hexdigest()


def test_packed_bytes_under_unpacked_names_give_the_same_data(tmp_path):
    plain, packed = write_folder(tmp_path / "plain"), write_folder(tmp_path / "packed")
    for path in packed.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    a, b = data.load(str(plain)), data.load(str(packed))
    np.testing.assert_array_equal(a.x_train, b.x_train)
    np.testing.assert_array_equal(a.y_test, b.y_test)
    assert a.sha256 == b.sha256


def test_what_a_mac_and_windows_leave_behind_is_not_seen(tmp_path):
    clean, littered = write_folder(tmp_path / "clean"), write_folder(tmp_path / "littered")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", *(f"._{name}" for name in STANDARD)):
        (littered / name).write_bytes(b"\0\5\x16\7junk")
    (littered / "__MACOSX").mkdir()
    np.testing.assert_array_equal(data.load(str(littered)).x_train, data.load(str(clean)).x_train)


@pytest.mark.parametrize("name", STANDARD)
def test_a_file_plain_and_packed_is_asked_about(tmp_path, name):
    content = (write_folder(tmp_path) / name).read_bytes()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    sentence = refusal(tmp_path)
    assert f"{name} and {name}.gz" in sentence
    assert str(tmp_path) in sentence


def test_both_layouts_in_one_folder_are_asked_about(tmp_path):
    write_folder(write_folder(tmp_path), PAPER)
    assert f"{tmp_path} holds both" in refusal(tmp_path)


def test_half_of_one_layout_does_not_spoil_the_other(tmp_path):
    write_folder(tmp_path, PAPER)
    (tmp_path / STANDARD[0]).write_bytes(b"left over")
    assert len(data.load(str(tmp_path)).x_train) == 40


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


@pytest.mark.parametrize(("part", "rows", "expected"), [(1, 39, "training"), (3, 13, "test")])
def test_counts_that_differ_are_told(tmp_path, part, rows, expected):
    write_folder(tmp_path)
    (tmp_path / STANDARD[part]).write_bytes(idx_bytes(bands(rows)[1]))
    sentence = refusal(tmp_path)
    assert expected in sentence
    assert f"({rows},)" in sentence


def test_pictures_of_two_sizes_are_told(tmp_path):
    write_folder(tmp_path)
    (tmp_path / STANDARD[2]).write_bytes(idx_bytes(bands(12)[0][:, :5]))
    sentence = refusal(tmp_path)
    assert "(6, 6)" in sentence
    assert "(5, 6)" in sentence


def test_labels_from_1_give_as_many_classes_as_occur_under_their_own_names(tmp_path):
    dataset = data.load(str(write_folder(tmp_path, labels_from=1)))
    assert dataset.class_names == ("1", "2", "3", "4")
    assert dataset.n_out == 4
    np.testing.assert_array_equal(dataset.y_train, bands(40)[1])
    np.testing.assert_array_equal(dataset.y_test, bands(12)[1])
    assert len(dataset.notices) == 1
    assert "1..4" in dataset.notices[0]


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_labels_wider_than_a_byte_keep_their_values(tmp_path, kind):
    dataset = data.load(str(write_folder(tmp_path, kind=kind)))
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
    assert "row 5" in sentence
    assert "label 9" in sentence


def test_one_class_alone_is_refused(tmp_path):
    (write_folder(tmp_path) / STANDARD[1]).write_bytes(idx_bytes(np.full(40, 3)))
    assert "every training label is 3" in refusal(tmp_path)


def test_the_shipped_digits_are_those_of_mnist():
    dataset = data.load("mnist")
    # the counts of the ten digits as the literature has them
    assert np.bincount(dataset.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(dataset.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.x_train.shape == (60000, 784)
    assert dataset.shape == (28, 28)
    # mean and deviation of the pixels, by which half the world standardises them
    assert dataset.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
