import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from lagvis.data.datasets import load_dataset
from lagvis.data.split import hold_out_test, split_off
from lagvis.errors import DataError


def split(y, count, seed=0):
    return split_off(np.asarray(y), count, np.random.default_rng(seed))


@st.composite
def labels_and_count(draw):
    y = np.array(draw(st.lists(st.integers(0, 6), min_size=1, max_size=60)))
    return y, draw(st.integers(0, len(y)))


@given(labels_and_count(), st.integers(0, 2**32))
def test_split_off_classes_keep_their_shares(drawn, seed):
    y, count = drawn
    rest, held = split(y, count, seed)
    assert len(held) == count
    assert sorted([*rest, *held]) == list(range(len(y)))
    assert (np.diff(rest) > 0).all()
    assert (np.diff(held) > 0).all()
    sizes = np.bincount(y)
    shares = sizes * count / len(y)
    if ((shares >= 1) & (shares <= sizes - 1))[sizes > 0].all():
        assert (np.abs(np.bincount(y[held], minlength=len(shares)) - shares) < 1).all()


@given(labels_and_count(), st.integers(0, 2**32))
def test_split_off_classes_are_on_both_sides_where_possible(drawn, seed):
    y, count = drawn
    sizes = np.bincount(y)
    several = np.flatnonzero(sizes > 1)
    rest, held = split(y, count, seed)
    if count <= np.maximum(sizes - 1, 0).sum():
        assert {*y[rest]} == {*y}
    if count >= len(several):
        assert {*several} <= {*y[held]}


@pytest.mark.parametrize("sizes", [(101,) * 10 + (1,), (101,) * 10 + (2,), (300, 3, 2, 1), (2,) * 20, (1, 1, 1, 40)])
def test_split_off_only_row_of_a_class_stays_and_two_are_parted(sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(20):
        rest, held = split(y, len(y) // 2, seed)
        kept, given_away = (np.bincount(y[part], minlength=len(sizes)) for part in (rest, held))
        assert (kept > 0).all()
        assert ((given_away > 0) == (np.array(sizes) > 1)).all()


@given(st.integers(1, 40), st.integers(1, 3), st.data())
def test_split_off_targets_is_a_sorted_partition(rows, width, data):
    count = data.draw(st.integers(0, rows))
    rest, held = split(np.zeros((rows, width)), count)
    assert len(held) == count
    assert sorted([*rest, *held]) == list(range(rows))
    assert (np.diff(rest) > 0).all()
    assert (np.diff(held) > 0).all()


@pytest.mark.parametrize(
    ("sizes", "count"), [((50, 31, 17, 8), 20), ((600, 300, 100), 100), ((7, 11, 13), 10), ((90, 10), 30)]
)
def test_split_off_class_counts_equal_scikit_learn(sizes, count):
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    reference = StratifiedShuffleSplit(n_splits=1, test_size=count, random_state=0)
    (expected_rest, expected_held), *_ = reference.split(np.zeros((len(y), 1)), y)
    rest, held = split(y, count)
    assert np.bincount(y[held]).tolist() == np.bincount(y[expected_held]).tolist()
    assert np.bincount(y[rest]).tolist() == np.bincount(y[expected_rest]).tolist()


@pytest.mark.parametrize("y", [np.repeat([0, 1, 2], 50), np.zeros((150, 2))], ids=["classes", "targets"])
def test_split_off_same_generator_same_rows(y):
    _, first = split(y, 30, seed=1)
    np.testing.assert_array_equal(split(y, 30, seed=1)[1], first)
    assert split(y, 30, seed=2)[1].tolist() != first.tolist()


@pytest.mark.parametrize("y", [np.repeat([0, 1], 50), np.zeros((100, 1))], ids=["classes", "targets"])
def test_split_off_holds_out_every_row_equally_often(y):
    times = np.zeros(100)
    for seed in range(400):
        times[split(y, 20, seed)[1]] += 1
    # binomial distribution: mean 80, standard deviation 8
    assert np.abs(times - 80).max() < 5 * 8


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_split_off_stratifies_every_integer_type(dtype):
    y = np.repeat([0, 1], [90, 10]).astype(dtype)
    rest, held = split(y, 50)
    assert np.bincount(y[held]).tolist() == [45, 5]
    assert rest.dtype == held.dtype == np.int64


def test_split_off_none_or_all_rows():
    y = np.array([0, 1, 1, 2])
    assert [part.tolist() for part in split(y, 0)] == [[0, 1, 2, 3], []]
    assert [part.tolist() for part in split(y, 4)] == [[], [0, 1, 2, 3]]


def test_split_off_ignores_classes_without_rows():
    y = np.array([2, 5] * 10)
    _, held = split(y, 6)
    assert np.bincount(y[held]).tolist() == [0, 0, 3, 0, 0, 3]


@pytest.mark.parametrize("form", ["numbers", "text", "one-hot", "column"])
def test_hold_out_test_stratifies_labels_of_any_kind(form):
    y = np.repeat([0, 1, 2], [50, 30, 20])
    forms = {"numbers": y, "text": y.astype(str), "one-hot": np.eye(3)[y], "column": y[:, None]}
    train, test = hold_out_test(forms[form], by_class=True)
    assert np.bincount(y[test]).tolist() == [10, 6, 4]
    assert sorted([*train, *test]) == list(range(100))
    assert (np.diff(train) > 0).all()
    np.testing.assert_array_equal(test, hold_out_test(y, by_class=True)[1])


def test_load_dataset_single_row_per_class_says_why_split_fails(tmp_path):
    lines = [f"{i},{i * i},{name}" for i, name in enumerate("abcdefghij")]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    np.savez(tmp_path / "t.npz", x=np.eye(10), y=np.arange(10))
    hint = r" \(the label is column 3; --label names another\)"
    for name, label, end in (("t.csv", hint, "$"), ("t.npz", "", r" \(to predict numbers use --loss mse\)$")):
        with pytest.raises(DataError, match=f"^{name}: every class has a single row{label}; .* for the test{end}"):
            load_dataset(str(tmp_path / name), label="3" if label else "")


def test_load_dataset_single_class_in_the_found_column_says_which_column_is_the_label(tmp_path):
    (tmp_path / "t.csv").write_text("label,a,b\n" + "".join(f"0,{i},{i % 3}\n" for i in range(20)))
    with pytest.raises(DataError, match=r"every training label is 0 \(the label is column 1; --label names another\)"):
        load_dataset(str(tmp_path / "t.csv"))


@given(labels_and_count())
def test_hold_out_test_leaves_rows_of_every_class_in_training(drawn):
    y, _ = drawn
    if len(y) < 2:
        return
    train, test = hold_out_test(y, by_class=True)
    assert len(train) + len(test) == len(y)
    assert len(test) > 0
    if (np.bincount(y) > 1).any():
        assert set(y[test]) <= set(y[train])


def test_hold_out_test_keeps_only_row_of_a_class_in_training():
    y = np.repeat([0, 1, 2, 3, 4], [5, 5, 1, 1, 1])
    assert sorted(y[hold_out_test(y, by_class=True)[1]]) == [0, 1]


@pytest.mark.parametrize("y", [np.arange(20), np.zeros((20, 0)), np.arange(20.0), np.zeros((20, 2, 2))])
def test_hold_out_test_without_repeated_classes_draws_at_random(y):
    assert [len(part) for part in hold_out_test(y, by_class=True)] == [16, 4]
    assert [len(part) for part in hold_out_test(y, by_class=False)] == [16, 4]
