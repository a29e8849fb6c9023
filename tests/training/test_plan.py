import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagvis.errors import RecipeError
from lagvis.training.plan import choose_steps_per_call, epoch_order, make_plan, split_epoch
from tests.factories import classes, epochs, last, numbers, quick, run

WIDTHS = st.sampled_from([(), (8,), (64, 64, 64), (1500, 1500), (10**4, 10**4), (10**6, 10**6)])


@given(
    rows=st.integers(8, 200),
    batch_size=st.integers(1, 250),
    hidden=WIDTHS,
    validation=st.integers(0, 7),
    shuffle=st.booleans(),
    epoch=st.integers(1, 5),
)
def test_split_epoch_takes_every_row_once_in_three_shapes(rows, batch_size, hidden, validation, shuffle, epoch):
    recipe = quick(batch_size=batch_size, hidden=hidden, validation=validation, shuffle=shuffle)
    plan = make_plan(recipe, classes(rows), strict_validation=True)
    calls = split_epoch(plan, epoch_order(recipe, plan, epoch))
    taken = np.concatenate([call.ravel() for call in calls])
    assert sorted(taken) == plan.training_rows.tolist()
    assert len({call.shape for call in calls}) <= 3
    assert sum(len(call) for call in calls) == plan.steps_per_epoch
    left = rows - validation
    expected = min(batch_size, left)
    assert plan.batch_size == expected
    assert plan.tail == left % expected
    assert [call.shape for call in calls if call.shape[1] != expected] == ([(1, plan.tail)] if plan.tail else [])
    assert all(call.dtype == np.int32 for call in calls)


@given(rows=st.integers(2, 300), validation=st.integers(0, 299), seed=st.integers(0, 9))
def test_make_plan_rows_are_training_or_validation(rows, validation, seed):
    validation = min(validation, rows - 1)
    plan = make_plan(quick(validation=validation, seed=seed), numbers(rows), strict_validation=True)
    assert sorted([*plan.training_rows, *plan.validation_rows]) == list(range(rows))
    assert len(plan.validation_rows) == validation


def test_make_plan_validation_is_stratified():
    dataset = classes(200)
    plan = make_plan(quick(validation=40), dataset)
    assert np.bincount(dataset.y_train[plan.validation_rows]).tolist() == [10, 10, 10, 10]


def test_make_plan_validation_depends_on_the_seed_only():
    dataset = classes(200)
    rows = make_plan(quick(validation=40, seed=1), dataset).validation_rows.tolist()
    other = quick(validation=40, seed=1, hidden=(3,), batch_size=7, epochs=9, shuffle=False, dtype="float64")
    assert make_plan(other, dataset).validation_rows.tolist() == rows
    assert make_plan(quick(validation=40, seed=2), dataset).validation_rows.tolist() != rows


@pytest.mark.parametrize(
    ("rows", "requested", "held_out", "has_notice"),
    [(200, 40, 40, False), (200, 41, 20, True), (60, 5000, 6, True), (9, 5000, 0, True), (200, 0, 0, False)],
)
def test_make_plan_large_default_validation_is_cut_with_notice(rows, requested, held_out, has_notice):
    plan = make_plan(quick(validation=requested, batch_size=1), classes(rows))
    assert len(plan.validation_rows) == held_out
    assert len(plan.training_rows) == rows - held_out
    assert len(plan.notices) == has_notice
    if has_notice:
        assert f"Of {rows} rows, {held_out} " in plan.notices[0]
        assert f"{requested:,}" in plan.notices[0]


def test_make_plan_strict_validation_leaves_one_row():
    plan = make_plan(quick(validation=59), classes(60), strict_validation=True)
    assert len(plan.validation_rows) == 59
    assert plan.notices == ("The batch size of 20 is larger than the training part (1 row): an epoch is one batch.",)


def test_make_plan_notices_have_commas_in_large_numbers():
    plan = make_plan(quick(validation=5000, batch_size=10000), classes(1200))
    assert plan.notices == (
        "Of 1,200 rows, 120 are held out for validation instead of 5,000.",
        "The batch size of 10,000 is larger than the training part (1,080 rows): an epoch is one batch.",
    )
    (notice,) = make_plan(quick(batch_size=1000, accumulate=2), classes(1200)).notices
    assert notice == "2 batches of 1,000 rows are more than the training part (1,200 rows): an epoch is one step."


@pytest.mark.parametrize("validation", [60, 61, 2**31 - 1])
def test_make_plan_strict_validation_of_all_rows_raises(validation):
    with pytest.raises(RecipeError, match=f"validation is {validation}, but there are 60 rows"):
        make_plan(quick(validation=validation), classes(60), strict_validation=True)


@pytest.mark.parametrize("batch_size", [120, 121, 10**6])
def test_make_plan_batch_larger_than_data_is_one_batch(batch_size):
    plan = make_plan(quick(batch_size=batch_size), classes(120))
    assert (plan.batch_size, plan.full_steps, plan.tail, plan.steps_per_epoch) == (120, 1, 0, 1)
    assert len(plan.notices) == (batch_size > 120)


@pytest.mark.parametrize(
    ("batch_size", "full_steps", "tail", "steps"), [(20, 6, 0, 6), (50, 2, 20, 3), (119, 1, 1, 2), (1, 120, 0, 120)]
)
def test_make_plan_counts_batches_tail_and_steps(batch_size, full_steps, tail, steps):
    plan = make_plan(quick(batch_size=batch_size, epochs=7), classes(120))
    assert (plan.full_steps, plan.tail, plan.steps_per_epoch, plan.epochs) == (full_steps, tail, steps, 7)


@pytest.mark.parametrize(("shuffle", "which"), [(True, "another one each time"), (False, "the last one")])
def test_make_plan_batch_normalization_leaves_out_a_tail_of_one_row(shuffle, which):
    recipe = quick(batch_size=17, epochs=3, normalization="batch", shuffle=shuffle)
    plan = make_plan(recipe, classes(120))
    assert (plan.full_steps, plan.tail, plan.steps_per_epoch) == (7, 0, 7)
    assert f"one row of 120 is left out of each epoch, {which}" in plan.notices[-1]
    assert plan.samples_seen(15) == 2 * 119 + 17
    batches = [split_epoch(plan, epoch_order(recipe, plan, epoch)) for epoch in (1, 2)]
    assert [sum(call.size for call in calls) for calls in batches] == [119, 119]
    left_out = [({*range(120)} - {*np.concatenate([call.ravel() for call in calls])}).pop() for calls in batches]
    assert (left_out == [119, 119]) != shuffle
    events = run(recipe, classes(120))
    assert last(events).step == 21
    assert epochs(events)[-1].samples == 3 * 119


@pytest.mark.parametrize("accumulate", [1, 2, 3, 7])
def test_make_plan_batch_normalization_without_shuffle_leaves_out_the_last_row(accumulate):
    recipe = quick(batch_size=17, normalization="batch", shuffle=False, accumulate=accumulate)
    plan = make_plan(recipe, classes(120))
    rows = np.concatenate([call.ravel() for call in split_epoch(plan, epoch_order(recipe, plan, 1))])
    assert rows.tolist() == [*range(119)]


@pytest.mark.parametrize("keys", [{"normalization": "layer"}, {"normalization": "none"}], ids=str)
def test_make_plan_keeps_a_tail_of_one_row_where_no_batch_is_normalised(keys):
    plan = make_plan(quick(**({"batch_size": 17, "normalization": "batch"} | keys)), classes(120))
    assert (plan.tail, plan.notices) == (1, ())


def test_make_plan_batch_normalization_of_one_training_row_raises():
    with pytest.raises(RecipeError, match=r"^there is 1 row to train on, and .* two rows in a batch; hold out fewer"):
        make_plan(quick(normalization="batch", validation=59), classes(60), strict_validation=True)
    assert make_plan(quick(normalization="batch", validation=58), classes(60), strict_validation=True).tail == 0


def test_make_plan_notices_begin_with_those_of_the_data():
    dataset = dataclasses.replace(classes(60), notices=("Labels are odd.",))
    plan = make_plan(quick(validation=5000), dataset)
    assert plan.notices[0] == "Labels are odd."
    assert len(plan.notices) == 2


def order(epoch=1, validation=0, **keys):
    recipe = quick(validation=validation, **keys)
    return epoch_order(recipe, make_plan(recipe, classes(120)), epoch).tolist()


def test_epoch_order_depends_on_seed_and_epoch_only():
    assert order(seed=3, epoch=2) == order(
        seed=3, epoch=2, batch_size=7, hidden=(99,), lr=1.0, dtype="float64", epochs=9
    )
    assert order(seed=3, epoch=2) != order(seed=4, epoch=2)
    assert order(seed=3, epoch=2) != order(seed=3, epoch=3)
    assert order(seed=3, epoch=2) != sorted(order(seed=3, epoch=2))


@pytest.mark.parametrize("epoch", [1, 2])
def test_epoch_order_unshuffled_is_the_file_order(epoch):
    assert order(epoch=epoch, shuffle=False) == list(range(120))


def test_epoch_order_unshuffled_leaves_out_validation():
    kept = order(shuffle=False, validation=20)
    assert len(kept) == 100
    assert kept == sorted(set(kept))


@given(
    hidden=WIDTHS,
    ends=st.sampled_from([(4, 2), (784, 10), (5000, 1000)]),
    batch_size=st.integers(1, 5000),
    full_steps=st.integers(1, 3000),
)
def test_choose_steps_per_call_is_long_enough_and_a_divisor(hidden, ends, batch_size, full_steps):
    widths = (ends[0], *hidden, ends[1])
    steps = choose_steps_per_call(widths, batch_size, full_steps)
    layers = list(pairwise(widths))
    # forward pass and gradient of W in every layer, delta in every layer except the first
    products = 2 * sum(a * b for a, b in layers) + sum(a * b for a, b in layers[1:])
    largest = max(2 * batch_size * a * b for a, b in layers)
    seconds_a_step = 2e-4 + 2 * batch_size * products / (2e11 if largest > 4e7 else 1e11)
    longest = max(1, min(int(0.1 / seconds_a_step), full_steps))
    assert 1 <= steps <= longest
    assert 2 * steps > longest
    divisors = [n for n in range(1, longest + 1) if full_steps % n == 0 and 2 * n > longest]
    assert steps == (max(divisors) if divisors else longest)


def test_make_plan_few_steps_raise_the_epochs_with_a_notice():
    plan = make_plan(quick(epochs=10, batch_size=50, min_steps=100, validation=0), classes(120))
    assert (plan.epochs, plan.steps_per_epoch) == (34, 3)
    assert plan.notices[-1] == (
        "An epoch of 120 rows is 3 steps: 34 epochs instead of 10, for at least 100 steps (or set --epochs)."
    )


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"epochs": 34}, {"min_steps": 0}])
def test_make_plan_epochs_that_suffice_or_none_stay(settings):
    recipe = quick(**{"epochs": 10, "batch_size": 50, "min_steps": 100, "validation": 0} | settings)
    plan = make_plan(recipe, classes(120))
    assert plan.epochs == recipe.epochs
    assert not any("An epoch of" in notice for notice in plan.notices)
