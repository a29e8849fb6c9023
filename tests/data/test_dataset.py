import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelEncoder, OneHotEncoder

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.labels import natural_order
from lagvis.data.source import Source
from lagvis.errors import DataError


def source(y_train, y_test=None, **fields):
    y_train = np.asarray(y_train)
    y_test = y_train[:1] if y_test is None else np.asarray(y_test)
    return Source("mine", np.zeros((len(y_train), 2)), y_train, np.zeros((len(y_test), 2)), y_test, {}, **fields)


def classified(*labels, **fields):
    return as_classification(source(*labels, **fields))


def refusal(*labels, class_names=(), **fields) -> str:
    with pytest.raises(DataError) as caught:
        as_classification(source(*labels, **fields), class_names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 2, 1], ("1", "2", "10")),
        ([3, -1, -20], ("-20", "-1", "3")),
        (["10", "2", "1"], ("1", "2", "10")),
        (["-2", "10", "-10"], ("-10", "-2", "10")),
        (["item10", "item2", "item1"], ("item1", "item2", "item10")),
        (["a10", "a007", "a9"], ("a007", "a9", "a10")),
        (["b", "C", "a"], ("a", "b", "C")),
        (["øl", "æble", "kat"], ("kat", "æble", "øl")),
        (["007", "7", "10"], ("007", "7", "10")),
        (["v1.10", "v1.9", "v1"], ("v1", "v1.9", "v1.10")),
        (["9" * 30, "1" + "0" * 30, "8"], ("8", "9" * 30, "1" + "0" * 30)),
        ([True, False], ("False", "True")),
        ([2**63 + 1, 5], ("5", str(2**63 + 1))),
        ([b"kat", "\u00f8rn".encode()], ("kat", "\u00f8rn")),
    ],
)
def test_the_map_is_in_natural_order_and_not_that_of_first_occurrence(labels, names):
    dataset = classified(np.array(labels, dtype=np.uint64) if 2**63 + 1 in labels else labels)
    assert dataset.class_names == names
    expected = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    assert [dataset.class_names[i] for i in dataset.y_train] == expected


@given(st.lists(st.integers(-(2**60), 2**60), min_size=2, max_size=30).filter(lambda y: len(set(y)) > 1))
def test_numbers_are_coded_as_by_scikit_learn_whether_stored_as_numbers_or_text(y):
    judge = LabelEncoder().fit(y)
    for labels in (np.array(y), np.array(y).astype(str)):
        dataset = classified(labels)
        np.testing.assert_array_equal(dataset.y_train, judge.transform(y))
        assert dataset.class_names == tuple(map(str, judge.classes_))


@given(st.lists(st.text(max_size=6), unique=True, max_size=8), st.randoms())
def test_the_order_is_one_whatever_came_first(names, random):
    ordered = natural_order(names)
    random.shuffle(names)
    assert natural_order(names) == ordered
    assert sorted(names) == sorted(ordered)


@given(st.lists(st.integers(0, 10**25), unique=True, max_size=8))
def test_numbers_within_text_are_in_the_order_of_their_values(numbers):
    names = natural_order([f"item{n}" for n in numbers])
    assert [int(name[4:]) for name in names] == sorted(numbers)


@pytest.mark.parametrize(
    ("labels", "notice"),
    [
        ([1, 2, 3], "Labels are 1..3: outputs 0..2 stand for them in that order."),
        ([0, 2], "Labels are 0, 2: outputs 0..1 stand for them in that order."),
        (["kat", "hund"], "Labels are hund, kat: outputs 0..1 stand for them in that order."),
        (range(0, 52, 2), "Labels are 0 to 50 (26 of them): outputs 0..25 stand for them in that order."),
        (["a" * 300, "b"], f"Labels are {'a' * 37}..., b: outputs 0..1 stand for them in that order."),
    ],
)
def test_one_line_tells_of_labels_that_are_not_0_to_k(labels, notice):
    assert classified(list(labels)).notices == (notice,)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, 1.0, 2.0], ["0", "1", "2"]])
def test_nothing_is_said_of_labels_from_0(labels):
    assert classified(labels).notices == ()


def test_a_column_of_labels_is_taken():
    dataset = classified(np.array([[4], [5], [4]]))
    assert dataset.y_train.tolist() == [0, 1, 0]


def test_text_in_one_part_meets_numbers_in_the_other():
    dataset = classified(np.array([3, 7, 3]), np.array(["7", "3"]))
    assert dataset.y_test.tolist() == [1, 0]


@pytest.mark.parametrize("name", [None, lambda part, row: f"letters.csv, line {row + 2}"])
def test_a_test_label_that_training_lacks_is_told_with_file_and_row(name):
    sentence = refusal(["a", "b"], ["a", "b", "d", "c"], row_location=name)
    assert ("letters.csv, line 4 has" if name else "mine: test row 3 has") in sentence
    assert "label d" in sentence
    assert "a, b" in sentence


@pytest.mark.parametrize(
    ("labels", "row"),
    [
        (["a", "", "b"], 1),
        (["a", "b", " "], 2),
        (["a\x1b[31m", "b"], 0),
        (["a", "b\nc"], 1),
        (["a", "\ud800"], 1),
        ([0.0, 2.5], 1),
        ([0.0, 1.0, np.nan], 2),
        ([b"a", b"\xff"], 1),
    ],
    ids=["empty", "blank", "escape", "two lines", "half a character", "2.5", "nan", "no UTF-8"],
)
def test_labels_that_name_no_class_are_told_with_their_row(labels, row):
    sentence = refusal(labels)
    assert f"training row {row + 1} has the label" in sentence
    assert sentence.isprintable()


@pytest.mark.parametrize("kind", ["?", "u1", "i4", "f2", "f8"])
def test_one_hot_rows_are_decoded_as_by_scikit_learn(kind):
    y = np.random.default_rng(2).integers(0, 5, 40)
    encoder = OneHotEncoder(sparse_output=False).fit(y[:, None])
    rows = encoder.transform(y[:, None]).astype(kind)
    dataset = classified(rows, rows[:9])
    np.testing.assert_array_equal(dataset.y_train, y)
    np.testing.assert_array_equal(dataset.y_test, y[:9])
    assert dataset.class_names == ("0", "1", "2", "3", "4")
    assert len(dataset.notices) == 1
    assert "training and test labels are one-hot" in dataset.notices[0]


@pytest.mark.parametrize("hot", ["training", "test"])
def test_one_part_may_be_one_hot_and_the_other_class_numbers(hot):
    y, y_test = np.array([0, 2, 1]), np.array([2, 1])
    parts = (np.eye(3)[y], y_test) if hot == "training" else (y, np.eye(3)[y_test])
    dataset = classified(*parts)
    assert dataset.y_train.tolist() == y.tolist()
    assert dataset.y_test.tolist() == y_test.tolist()
    assert f"The {hot} labels are one-hot" in dataset.notices[0]


def test_a_column_that_is_never_1_in_training_is_no_class():
    dataset = classified(np.eye(4)[[0, 1, 3]], np.eye(4)[[3]])
    assert dataset.class_names == ("0", "1", "3")
    assert dataset.y_test.tolist() == [2]


def test_columns_with_names_give_classes_with_names():
    dataset = classified(np.eye(3)[[0, 1, 2]], np.eye(3)[[1]], label_names=("kat", "hund", "and"))
    assert dataset.class_names == ("and", "hund", "kat")
    assert dataset.y_train.tolist() == [2, 1, 0]
    assert dataset.y_test.tolist() == [1]


def test_columns_beside_labels_that_do_not_count_from_0_are_asked_about():
    # column 1 would be taken for the label 1, which is column 0
    assert "which column is which class" in refusal([1, 2, 3], np.eye(3)[[1, 2]])


@pytest.mark.parametrize(
    ("row", "words"),
    [([1, 1, 0], "2 ones"), ([0, 0, 0], "0 ones"), ([0, 1, 2], "value 2"), ([0.3, 0.7, 0], "value 0.3"),
     ([0, 1, np.nan], "value nan")],
)  # fmt: skip
@pytest.mark.parametrize("part", ["training", "test"])
def test_rows_that_are_almost_one_hot_are_told_with_row_and_value(row, words, part):
    rows = np.eye(3)[[0, 1, 2, 0, 1]]
    wrong = rows.copy()
    wrong[3] = row
    sentence = refusal(*((wrong, rows) if part == "training" else (rows, wrong)))
    assert f"mine: {part} row 4 has" in sentence
    assert words in sentence
    assert "(5, 3)" in sentence
    assert "(5,)" in sentence
    assert "argmax(axis=1)" in sentence
    assert "--loss mse" in sentence


def test_names_that_do_not_fit_the_columns_are_refused():
    assert "2 names for the 3 columns" in refusal(np.eye(3), label_names=("a", "b"))


def test_the_map_of_a_network_judges_data_with_some_of_its_classes():
    names = ("ant", "bee", "cat")
    dataset = as_classification(source(["cat", "cat"], ["bee"]), names)
    assert dataset.class_names == names
    assert dataset.n_out == 3
    assert dataset.y_train.tolist() == [2, 2]
    assert dataset.y_test.tolist() == [1]
    assert dataset.notices == ()


@pytest.mark.parametrize(
    ("labels", "part", "row"), [((["a", "x"], ["a"]), "training", 1), ((["a"], ["b", "x"]), "test", 1)]
)
def test_a_label_that_the_network_does_not_know_is_told_with_its_row(labels, part, row):
    sentence = refusal(*labels, class_names=("a", "b"))
    assert f"mine: {part} row {row + 1} has the label x, which the network does not know" in sentence


def test_a_nan_is_told_by_file_and_row_in_x_and_in_targets():
    where = lambda part, row: f"{part}.csv, line {row + 1}"  # noqa: E731
    x = np.zeros((4, 2))
    x[2, 1] = np.nan
    with pytest.raises(DataError, match=r"^test\.csv, line 3 has a NaN"):
        as_classification(Source("mine", x[:2], np.array([0, 1]), x, np.array([0, 1, 0, 1]), {}, row_location=where))
    with pytest.raises(DataError, match=r"^training\.csv, line 2 has a NaN"):
        as_regression(source([0.0, np.inf], row_location=where))
