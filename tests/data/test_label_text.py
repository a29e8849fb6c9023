from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from lagvis.data.checks import check_many_classes, check_similar_labels
from lagvis.data.datasets import load_dataset
from lagvis.data.labels import clean_label
from lagvis.errors import DataError

BLANKS = ["ja", " ja", "ja ", "ja\u00a0", "\u3000ja", "ja\t", "\u200bja\ufeff"]


def test_clean_label_removes_blanks_of_any_kind_and_composes():
    assert {clean_label(text) for text in BLANKS} == {"ja"}
    assert clean_label(normalize("NFD", "får")) == normalize("NFC", "får")
    assert clean_label("New\u00a0York") == "New York"


@pytest.mark.parametrize("form", ["csv", "npz"])
def test_load_dataset_labels_with_blanks_and_decomposed_letters_are_one_class(tmp_path, form):
    y = [*BLANKS, "får", normalize("NFD", "får"), " får"] * 6
    x = np.random.default_rng(0).normal(size=(len(y), 2))
    path = tmp_path / f"t.{form}"
    if form == "npz":
        np.savez(path, x=x, y=y)
    else:
        rows = [f'{a:.4f},{b:.4f},"{label}"' for (a, b), label in zip(x, y, strict=True)]
        path.write_text("\n".join(["a,b,label", *rows]) + "\n", encoding="utf-8")
    assert load_dataset(str(path)).class_names == ("får", "ja")


def test_load_dataset_class_folders_composed_and_decomposed_are_one_class(tmp_path):
    for part, form in (("train", "NFD"), ("test", "NFC")):
        for shade, name in enumerate(("får", "gås")):
            folder = tmp_path / part / normalize(form, name)
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(np.full((4, 4), 100 * shade + i, np.uint8)).save(folder / f"{i}.png")
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("får", "gås")
    assert dataset.y_test.tolist() == [0] * 4 + [1] * 4


def test_check_similar_labels_case_and_inner_blanks_are_listed(tmp_path):
    y = ["ja", "JA", "New York", "New  york", "nej"] * 12
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(60, 2)), y=y)
    (warning,) = check_similar_labels(load_dataset(str(tmp_path / "t.npz")))
    assert warning.check == "similar_labels"
    assert sorted(map(sorted, warning.figures["classes"])) == [["JA", "ja"], ["New  york", "New York"]]
    np.savez(tmp_path / "t.npz", x=np.zeros((60, 2)), y=["a", "b"] * 30)
    assert check_similar_labels(load_dataset(str(tmp_path / "t.npz"))) == []


def test_check_known_labels_other_case_in_test_part_names_the_spelling(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 2))
    np.savez(tmp_path / "t.npz", x_train=x, y_train=["ja", "nej"] * 4, x_test=x, y_test=["JA", "nej"] * 4)
    with pytest.raises(DataError, match=r"has the label JA, which no training row has .*write it as 'ja'"):
        load_dataset(str(tmp_path / "t.npz"))


@pytest.mark.parametrize(("classes", "rows", "words"), [(300, 4, 1), (300, 40, 0), (150, 4, 0)])
def test_check_many_classes_of_whole_numbers_with_few_rows_are_reported(tmp_path, classes, rows, words):
    y = np.arange(classes * rows) % classes
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(len(y), 1)), y=y * 100)
    assert [warning.check for warning in check_many_classes(load_dataset(str(tmp_path / "t.npz")))] == (
        ["many_classes"] * words
    )
    np.savez(tmp_path / "t.npz", x=np.zeros((len(y), 1)), y=[f"c{i}" for i in y])
    assert check_many_classes(load_dataset(str(tmp_path / "t.npz"))) == []


def test_load_dataset_rows_without_a_label_are_left_out_of_both_parts_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    for part, rows in (("train", 40), ("test", 20)):
        lines = [f"{rng.normal():.3f},{rng.normal():.3f},{'' if i % 10 == 9 else i % 2}" for i in range(rows)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (36, 18)
    assert "train.csv: 4 rows without a label left out, the first in line 11." in dataset.notices
    assert "test.csv: 2 rows without a label left out, the first in line 11." in dataset.notices


@pytest.mark.parametrize(("label", "regression"), [("b,c", True), ("one,two", False)])
def test_load_dataset_row_without_one_of_several_labels_is_left_out(tmp_path, label, regression):
    names = label.split(",")
    lines = [f"{i},{i % 2 if i != 5 else ''},{1 - i % 2 if i != 8 else ''}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join([f"a,{names[0]},{names[1]}", *lines]) + "\n")
    dataset = load_dataset(str(tmp_path / "t.csv"), label=label, regression=regression, number=("a",))
    assert len(dataset.x_train) + len(dataset.x_test) == 28
    assert any("2 rows without a label left out, the first in line 7" in notice for notice in dataset.notices)


def test_load_dataset_without_any_label_raises_data_error(tmp_path):
    (tmp_path / "t.csv").write_text("a,label\n1,\n2,NA\n3,\n")
    with pytest.raises(DataError, match="label"):
        load_dataset(str(tmp_path / "t.csv"), label="label")
