from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelEncoder, OneHotEncoder

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.labels import natural_order
from lagvis.data.source import Source
from lagvis.data.split import HeldOut
from lagvis.errors import DataError


def source(y_train, y_test=None, **fields):
    y_train = np.asarray(y_train)
    y_test = y_train[:1] if y_test is None else np.asarray(y_test)
    return Source("mine", np.zeros((len(y_train), 2)), y_train, np.zeros((len(y_test), 2)), y_test, {}, **fields)


def classified(*labels, **fields):
    return as_classification(source(*labels, **fields))


def error_message(*labels, class_names=(), **fields) -> str:
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
def test_as_classification_class_names_are_in_natural_order(labels, names):
    dataset = classified(np.array(labels, dtype=np.uint64) if 2**63 + 1 in labels else labels)
    assert dataset.class_names == names
    expected = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    assert [dataset.class_names[i] for i in dataset.y_train] == expected


@given(st.lists(st.integers(-(2**60), 2**60), min_size=2, max_size=30).filter(lambda y: len(set(y)) > 1))
def test_as_classification_indices_equal_scikit_learn_label_encoder(y):
    reference = LabelEncoder().fit(y)
    for labels in (np.array(y), np.array(y).astype(str)):
        dataset = classified(labels)
        np.testing.assert_array_equal(dataset.y_train, reference.transform(y))
        assert dataset.class_names == tuple(map(str, reference.classes_))


@given(st.lists(st.text(max_size=6), unique=True, max_size=8), st.randoms())
def test_natural_order_does_not_depend_on_input_order(names, random):
    ordered = natural_order(names)
    random.shuffle(names)
    assert natural_order(names) == ordered
    assert sorted(names) == sorted(ordered)


@given(st.lists(st.integers(0, 10**25), unique=True, max_size=8))
def test_natural_order_sorts_numbers_within_text_by_value(numbers):
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
def test_as_classification_labels_not_0_to_k_give_notice(labels, notice):
    assert classified(list(labels)).notices == (notice,)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, 1.0, 2.0], ["0", "1", "2"]])
def test_as_classification_labels_from_0_give_no_notice(labels):
    assert classified(labels).notices == ()


def test_encode_labels_single_column_is_flattened():
    dataset = classified(np.array([[4], [5], [4]]))
    assert dataset.y_train.tolist() == [0, 1, 0]


def test_as_classification_text_and_numbers_of_two_parts_match():
    dataset = classified(np.array([3, 7, 3]), np.array(["7", "3"]))
    assert dataset.y_test.tolist() == [1, 0]


@pytest.mark.parametrize("name", [None, lambda part, row: f"letters.csv, line {row + 2}"])
def test_as_classification_test_label_not_in_training_names_row(name):
    message = error_message(["a", "b"], ["a", "b", "d", "c"], row_location=name)
    assert ("letters.csv, line 4 has" if name else "mine: test row 3 has") in message
    assert "label d" in message
    assert "a, b" in message


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
def test_encode_labels_invalid_label_names_row(labels, row):
    message = error_message(labels)
    assert f"training row {row + 1} has the label" in message
    assert message.isprintable()


@pytest.mark.parametrize("kind", ["?", "u1", "i4", "f2", "f8"])
def test_encode_one_hot_equals_scikit_learn(kind):
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
def test_as_classification_one_part_one_hot_other_class_numbers(hot):
    y, y_test = np.array([0, 2, 1]), np.array([2, 1])
    parts = (np.eye(3)[y], y_test) if hot == "training" else (y, np.eye(3)[y_test])
    dataset = classified(*parts)
    assert dataset.y_train.tolist() == y.tolist()
    assert dataset.y_test.tolist() == y_test.tolist()
    assert f"The {hot} labels are one-hot" in dataset.notices[0]


def test_encode_one_hot_unused_column_gives_no_class():
    dataset = classified(np.eye(4)[[0, 1, 3]], np.eye(4)[[3]])
    assert dataset.class_names == ("0", "1", "3")
    assert dataset.y_test.tolist() == [2]


def test_encode_one_hot_column_names_become_class_names():
    dataset = classified(np.eye(3)[[0, 1, 2]], np.eye(3)[[1]], label_names=("kat", "hund", "and"))
    assert dataset.class_names == ("and", "hund", "kat")
    assert dataset.y_train.tolist() == [2, 1, 0]
    assert dataset.y_test.tolist() == [1]


def test_as_classification_one_hot_beside_labels_from_1_raises_data_error():
    # column 1 would be confused with the label 1, which is column 0
    assert "which column is which class" in error_message([1, 2, 3], np.eye(3)[[1, 2]])


@pytest.mark.parametrize(
    ("row", "words"),
    [([1, 1, 0], "2 ones"), ([0, 0, 0], "0 ones"), ([0, 1, 2], "value 2"), ([0.3, 0.7, 0], "value 0.3"),
     ([0, 1, np.nan], "value nan")],
)  # fmt: skip
@pytest.mark.parametrize("part", ["training", "test"])
def test_encode_one_hot_invalid_row_names_row_and_value(row, words, part):
    rows = np.eye(3)[[0, 1, 2, 0, 1]]
    wrong = rows.copy()
    wrong[3] = row
    message = error_message(*((wrong, rows) if part == "training" else (rows, wrong)))
    assert f"mine: {part} row 4 has" in message
    assert words in message
    assert "(5, 3)" in message
    assert "(5,)" in message
    assert "argmax(axis=1)" in message
    assert "--loss mse" in message


def test_encode_one_hot_invalid_row_of_a_split_file_names_the_shape_of_the_file():
    y = np.ones((20, 3))
    source = Source.hold_out("mine", y, y, {}, path=Path("a/mine.npz"), by_class=False, row_location=str)
    with pytest.raises(DataError, match=r"labels of shape \(20, 3\) must be .* expected \(20,\), one class a row"):
        as_classification(source)


def test_encode_one_hot_wrong_number_of_names_raises_data_error():
    assert "2 names for the 3 columns" in error_message(np.eye(3), label_names=("a", "b"))


def test_as_classification_given_class_names_are_kept():
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
def test_as_classification_label_unknown_to_network_names_row(labels, part, row):
    message = error_message(*labels, class_names=("a", "b"))
    assert f"mine: {part} row {row + 1} has the label x, which the network does not know" in message


def test_nan_in_x_and_targets_names_file_and_row():
    where = lambda part, row: f"{part}.csv, line {row + 1}"  # noqa: E731
    x = np.zeros((4, 2))
    x[2, 1] = np.nan
    with pytest.raises(DataError, match=r"^test\.csv, line 3 has a NaN"):
        as_classification(Source("mine", x[:2], np.array([0, 1]), x, np.array([0, 1, 0, 1]), {}, row_location=where))
    with pytest.raises(DataError, match=r"^training\.csv, line 2 has a NaN"):
        as_regression(source([0.0, np.inf], row_location=where))


def images(dtype=np.uint8, shape=(28, 28), rows=2500):
    """Return a source of `rows` white images with a black pixel in the middle."""
    x = np.full((rows, *shape), 255, dtype)
    x[:, 14, 14] = 0
    y = np.arange(rows) % 2
    return Source("images", x, y, x[:2], y[:2], {})


@pytest.mark.parametrize(
    ("source", "background"),
    [(images(), 255), (images(shape=(28, 15)), 255), (images(np.float64), 255), (images(shape=(28, 15, 1)), 0)],
    ids=["28x28", "28x15", "real numbers", "three axes"],
)
def test_dataset_background_is_shade_of_images_else_0(source, background):
    dataset = as_classification(source)
    assert dataset.background == background
    assert not dataset.mnist_style


def test_dataset_mnist_style_is_measured_on_rows_from_all_over():
    """Sorted rows: the first thousand alone would count as MNIST style."""
    digit = np.zeros((28, 28), np.uint8)
    digit[4:25, 13:16] = 255
    digit[4] = digit[24] = 0
    like = np.repeat(digit[None], 2000, axis=0)
    assert as_classification(Source("like", like, np.arange(2000) % 2, like, np.arange(2000) % 2, {})).mnist_style
    mixed = np.concatenate([like, 255 - like])
    y = np.arange(4000) % 2
    assert not as_classification(Source("mixed", mixed, y, mixed, y, {})).mnist_style


def held_out_dataset():
    y = np.array([1, 2] * 10)
    x = np.arange(40.0).reshape(20, 2)
    location = lambda row: f"line {row + 1}"  # noqa: E731
    return as_classification(
        Source.hold_out("mine", x, y, {}, path=Path("a/mine.csv"), by_class=True, row_location=location)
    )


def test_held_out_notice_has_commas_in_large_numbers():
    notice = HeldOut("mine.csv", np.arange(1000, 6000), np.arange(1000)).notice
    assert notice == "mine.csv: 1,000 of its 6,000 rows, always the same, are held out for the test."


def test_all_as_test_replaces_notice_of_split_and_keeps_others():
    dataset = held_out_dataset()
    labels, split = dataset.all_notices
    assert dataset.held_out.rows == 20
    assert split == "mine.csv: 4 of its 20 rows, always the same, are held out for the test."
    everything = dataset.all_as_test()
    assert everything.x_test[:, 0].tolist() == list(range(0, 40, 2))
    assert everything.y_test.tolist() == [0, 1] * 10
    assert [everything.locate_row("test", row) for row in range(20)] == [f"line {row + 1}" for row in range(20)]
    assert everything.x_train.shape == (16, 2)
    assert everything.all_notices[0] == labels
    assert len(everything.all_notices) == 2
    assert "mine.csv has no test part: all its rows are evaluated" in everything.all_notices[1]
    with pytest.raises(ValueError, match="a test part of its own"):
        everything.all_as_test()


def test_source_hold_out_locates_rows_by_their_index_in_the_file():
    x = np.arange(20.0)[:, None]
    source = Source.hold_out("mine", x, x, {}, path=Path("mine"), by_class=False, row_location=lambda row: f"row {row}")
    for part, rows in (("training", source.x_train), ("test", source.x_test)):
        assert [source.locate_row(part, i) for i in range(len(rows))] == [f"row {value:.0f}" for value in rows[:, 0]]


def test_source_hold_out_single_row_raises_data_error():
    x = np.zeros((1, 2))
    with pytest.raises(DataError, match=r"^a/mine holds a single row; expected at least two"):
        Source.hold_out("mine", x, x, {}, path=Path("a/mine"), by_class=False, row_location=str)
