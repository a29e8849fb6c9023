from pathlib import Path

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.tables.folder import choose_tables, has_word
from lagvis.errors import DataError

RNG = np.random.default_rng(7)


def choose(*names):
    choice = choose_tables(Path("data"), [Path("data", name) for name in names])
    return [path.name for path in choice.tables], [path.name for path in choice.unused]


@pytest.mark.parametrize(
    ("names", "tables", "unused"),
    [
        (["a.csv"], ["a.csv"], []),
        (["test.csv", "train.csv"], ["train.csv", "test.csv"], []),
        (["sampleSubmission.csv", "test.csv", "train.csv"], ["train.csv", "test.csv"], ["sampleSubmission.csv"]),
        (["gender_submission.csv", "test.csv", "train.csv"], ["train.csv", "test.csv"], ["gender_submission.csv"]),
        (["data.csv", "sample_submission.csv"], ["data.csv"], ["sample_submission.csv"]),
        (["adult.data", "adult.test"], ["adult.data", "adult.test"], []),
        (["optdigits.tes", "optdigits.tra"], ["optdigits.tra", "optdigits.tes"], []),
        (["iris.csv", "iris_test.csv"], ["iris.csv", "iris_test.csv"], []),
        (["test.csv", "train.csv", "valid.csv"], ["train.csv", "test.csv"], ["valid.csv"]),
        (["train.parquet", "validation.parquet"], ["train.parquet", "validation.parquet"], []),
        (["myTestSet.csv.gz", "myTrainSet.csv.gz"], ["myTrainSet.csv.gz", "myTestSet.csv.gz"], []),
    ],
)
def test_choose_tables_names_tell_training_and_test(names, tables, unused):
    assert choose(*names) == (tables, unused)


@pytest.mark.parametrize(
    "names",
    [
        ["winequality-red.csv", "winequality-white.csv"],
        ["constraints.csv", "latest.csv"],
        ["X_test.csv", "X_train.csv", "y_test.csv", "y_train.csv"],
        ["a.csv", "test.csv"],
        ["train.csv", "wine.csv"],
        ["train1.csv", "train2.csv", "test.csv"],
    ],
)
def test_choose_tables_other_names_raise_data_error_that_lists_them(names):
    with pytest.raises(DataError) as caught:
        choose(*names)
    assert all(name in str(caught.value) for name in names)
    assert "train and test as words of their names" in str(caught.value)


def test_has_word_matches_the_beginning_of_words():
    assert has_word(Path("myTrain_2.csv"), "train", ())
    assert not has_word(Path("constraints.csv"), "train", ())


def write(path, rows, header=None, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *rows] if header else rows
    path.write_text("".join(",".join(map(str, row)) + end for row in lines))


def rows(count, labels):
    y = RNG.integers(0, len(labels), count)
    return [[*(RNG.normal(size=3) + label).round(3), labels[label]] for label in y]


def test_load_dataset_competition_folder_holds_the_test_part_out_of_train(tmp_path):
    found = rows(200, [0, 1])
    write(tmp_path / "train.csv", [[i, *row] for i, row in enumerate(found[:150])], ["Id", "a", "b", "c", "Outcome2"])
    write(tmp_path / "test.csv", [[i, *row[:-1]] for i, row in enumerate(found[150:])], ["Id", "a", "b", "c"])
    write(tmp_path / "sample_submission.csv", [[i, 0] for i in range(50)], ["Id", "Outcome2"])
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.x_train) + len(dataset.x_test) == 150
    assert dataset.label_columns == (5,)
    notices = " ".join(dataset.all_notices)
    assert "train.csv is the training table, test.csv the test table; not used: sample_submission.csv" in notices
    assert "the only column that test.csv lacks" in notices
    assert f"python predict.py RUN {tmp_path / 'test.csv'}" in notices


@pytest.mark.parametrize("cells", ["", "NA"])
def test_load_dataset_test_table_with_empty_labels_has_none(tmp_path, cells):
    found = rows(100, ["a", "b"])
    write(tmp_path / "train.csv", found[:80], ["x", "y", "z", "kind"])
    write(tmp_path / "test.csv", [[*row[:-1], cells] for row in found[80:]], ["x", "y", "z", "kind"])
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.x_train) + len(dataset.x_test) == 80
    assert any("test.csv has no label (kind)" in notice for notice in dataset.notices)


def test_load_dataset_test_table_that_lacks_features_raises_data_error(tmp_path):
    write(tmp_path / "train.csv", rows(40, [0, 1]), ["x", "y", "z", "label"])
    write(tmp_path / "test.csv", [row[:2] for row in rows(10, [0, 1])], ["x", "y"])
    with pytest.raises(DataError, match="z"):
        load_dataset(str(tmp_path))


def test_load_dataset_adult_labels_with_a_dot_are_those_without(tmp_path):
    write(tmp_path / "adult.data", rows(60, [">50K", "<=50K"]))
    write(tmp_path / "adult.test", [["|1x3 Cross validator"], *rows(20, [">50K.", "<=50K."])])
    (tmp_path / "adult.names").write_text("| This data was extracted from the census bureau.\n>50K, <=50K.\n")
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("<=50K", ">50K")
    assert (len(dataset.x_train), len(dataset.x_test)) == (60, 20)
    assert any("the label '<=50K.' is taken as '<=50K'" in notice for notice in dataset.notices)
    evaluated = load_dataset(str(tmp_path / "adult.test"), class_names=dataset.class_names)
    assert evaluated.class_names == dataset.class_names


def test_load_dataset_other_unknown_labels_of_a_test_table_raise_data_error(tmp_path):
    write(tmp_path / "a.data", rows(60, ["b", "c"]))
    write(tmp_path / "a.test", [*rows(20, ["b.", "c."]), *rows(5, ["d."])])
    with pytest.raises(DataError, match=r"a\.test, line 21 has the label d\., which no training row has"):
        load_dataset(str(tmp_path))


def test_load_dataset_part_folders_of_tables_are_training_and_test(tmp_path):
    write(tmp_path / "train" / "part-0.csv", rows(60, ["b", "c"]))
    write(tmp_path / "test" / "part-0.csv", rows(20, ["b", "c"]))
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (60, 20)
    assert "train/part-0.csv is the training table, test/part-0.csv the test table" in dataset.notices[0]


def test_load_dataset_text_files_that_read_as_tables_count_where_no_other_does(tmp_path):
    write(tmp_path / "seeds.txt", rows(60, ["b", "c"]))
    (tmp_path / "README.txt").write_text("These are seeds.\nMeasured in 2012, by hand.\n\nNo more is known.\n")
    assert len(load_dataset(str(tmp_path)).class_names) == 2
    write(tmp_path / "other.csv", rows(60, ["d", "e"]))
    assert load_dataset(str(tmp_path)).class_names == ("d", "e")
