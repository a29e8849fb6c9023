from dataclasses import replace

import numpy as np
import pytest

from lagvis.data.dataset import as_regression
from lagvis.data.scaling import Scaling
from lagvis.data.source import Source
from lagvis.errors import RecipeError
from lagvis.training.factory import initial_state
from lagvis.training.model import Model
from lagvis.training.plan import epoch_order, make_plan, split_epoch
from lagvis.training.rate_search import MAX_STEPS, MIN_STEPS, find_rate, range_test, search_batches, smooth
from lagvis.tree import named_leaves, tree_map
from tests.conftest import open_backend
from tests.factories import classes, epochs, numbers, quick, run


def find(recipe, dataset, backend=None, test=find_rate):
    """Return the result of `test` from the first state of a recipe."""
    plan = make_plan(recipe, dataset)
    model = Model.of(recipe, dataset, plan.training_rows)
    state = initial_state(recipe, model)
    return test(recipe, dataset, plan, model, backend or open_backend("numpy", recipe.dtype), state)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("data", [classes, numbers])
def test_find_rate_trains_better_than_rates_far_below(data, optimizer):
    dataset = data()
    keys = {"loss": "mse" if dataset.target_names else "cross-entropy", "optimizer": optimizer, "epochs": 5}
    keys |= {"momentum": None, "nesterov": None} if optimizer != "sgd" else {}
    found = find(quick(**keys), dataset)
    loss = {
        factor: epochs(run(quick(**keys | {"lr": found.rate * factor}), dataset))[-1].train.loss
        for factor in (1.0, 0.01)
    }
    assert loss[1.0] < 0.5 * loss[0.01]


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_find_rate_is_the_same_on_every_backend(name):
    recipe = quick(momentum=0.9, dtype="float64")
    expected = find(recipe, classes())
    found = find(recipe, classes(), open_backend(name, "float64"))
    assert found.rate == expected.rate
    calm = np.array(expected.rates) < expected.rate  # beyond, differences of rounding grow
    np.testing.assert_allclose(np.array(found.losses)[calm], np.array(expected.losses)[calm], rtol=1e-9)


@pytest.mark.parametrize(
    "keys",
    [
        {"class_weights": "balanced"},
        {"dropout": 0.2, "input_dropout": 0.1, "input_noise": 0.1},
        {"mixup": 0.3, "ema": 0.9, "clip_norm": 1.0, "max_norm": 2.0, "l1": 1e-5},
        {"normalization": "batch"},
        {"schedule": "one-cycle", "momentum": 0.9},
        {"label_smoothing": 0.1, "hidden": ()},
        {"accumulate": 4, "batch_size": 10, "dropout": 0.2},
    ],
    ids=str,
)
def test_find_rate_with_everything_that_a_step_has(keys):
    found = find(quick(**keys), classes())
    assert 1e-5 < found.rate < 10
    assert len(found.rates) == len(found.losses) == len(found.smoothed)


def test_find_rate_accumulated_steps_equal_steps_of_one_batch():
    found = find(quick(batch_size=10, accumulate=4, dtype="float64"), classes())
    expected = find(quick(batch_size=40, dtype="float64"), classes())
    assert found.rate == expected.rate
    calm = np.array(expected.rates) < expected.rate
    np.testing.assert_allclose(np.array(found.losses)[calm], np.array(expected.losses)[calm], rtol=1e-9)


def test_find_rate_leaves_the_first_state_as_it_is():
    recipe, dataset = quick(), classes()
    plan = make_plan(recipe, dataset)
    model = Model.of(recipe, dataset, plan.training_rows)
    state = initial_state(recipe, model)
    before = tree_map(np.copy, state)
    find_rate(recipe, dataset, plan, model, open_backend("numpy", "float32"), state)
    for (name, leaf), (_, expected) in zip(named_leaves(state), named_leaves(before), strict=True):
        np.testing.assert_array_equal(leaf, expected, err_msg=name)


def test_range_test_first_losses_are_those_of_steps_by_hand():
    """The loss beside a rate is that of the next batch, after a step of that rate."""
    recipe, dataset = quick(hidden=(), loss="mse", dtype="float64"), numbers()
    plan = make_plan(recipe, dataset)
    model = Model.of(recipe, dataset, plan.training_rows)
    state = initial_state(recipe, model)
    rates, losses = range_test(recipe, dataset, plan, model, open_backend("numpy", "float64"), state)
    weights, bias = (state["params"][0][name].copy() for name in ("W", "b"))
    data = model.prepare(dataset.x_train, dataset.y_train, "float64")
    batches = search_batches(recipe, plan, 4)
    for i, rate in enumerate(rates[:3]):
        x, y = data["x"][batches[i]], data["y"][batches[i]]
        delta = 2 * (x @ weights + bias - y) / y.size
        weights, bias = weights - rate * x.T @ delta, bias - rate * delta.sum(axis=0)
        x, y = data["x"][batches[i + 1]], data["y"][batches[i + 1]]
        assert losses[i] == pytest.approx(np.mean((x @ weights + bias - y) ** 2), rel=1e-12)


def test_range_test_stops_where_the_loss_diverges():
    rates, losses = find(quick(loss="mse"), numbers(), test=range_test)
    assert len(rates) == len(losses) < MIN_STEPS
    assert losses[-1] > losses[0]


def test_find_rate_separable_classes_end_the_test_before_the_rate_is_far_too_high():
    """Once all rows are right the gradient is 0: no higher rate diverges, and the loss would fall to the last step."""
    found = find(quick(), classes())
    assert len(found.losses) < MIN_STEPS
    assert found.losses[-1] < 0.1 * found.losses[0]
    assert found.rate < 2


@pytest.mark.parametrize(("rows", "batch_size", "steps"), [(120, 20, MIN_STEPS), (3000, 20, 150), (3000, 2, MAX_STEPS)])
def test_range_test_takes_an_epoch_within_bounds(rows, batch_size, steps):
    recipe = quick(batch_size=batch_size, optimizer="adam", momentum=None, nesterov=None)
    _, losses = find(recipe, classes(rows), test=range_test)
    assert len(losses) <= steps
    assert len(losses) > 0.5 * steps


@pytest.mark.parametrize(("accumulate", "batch_size", "rows"), [(1, 100, 67), (3, 100, 67), (4, 33, 66), (2, 33, 66)])
def test_search_batches_have_the_rows_of_a_step_of_the_run(accumulate, batch_size, rows):
    recipe = quick(accumulate=accumulate, batch_size=batch_size, normalization="batch", validation=0)
    plan = make_plan(recipe, classes(67))
    assert split_epoch(plan, epoch_order(recipe, plan, 1))[0].shape[-1] == rows
    assert search_batches(recipe, plan, 3).shape == (3, rows)


def test_search_batches_are_no_order_of_the_run():
    recipe, dataset = quick(), classes()
    plan = make_plan(recipe, dataset)
    batches = search_batches(recipe, plan, 7)
    assert batches.shape == (7, 20)
    assert sorted(batches[:6].ravel()) == sorted(plan.training_rows)
    assert all((batches[:6].ravel() != epoch_order(recipe, plan, epoch)).any() for epoch in (1, 2))
    unshuffled = search_batches(quick(shuffle=False), plan, 7)
    assert unshuffled[:6].ravel().tolist() == epoch_order(quick(shuffle=False), plan, 1).tolist()


def test_smooth_equals_pandas_ewm():
    pandas = pytest.importorskip("pandas")
    losses = np.random.default_rng(0).uniform(size=50)
    expected = pandas.Series(losses).ewm(alpha=0.1).mean()
    np.testing.assert_allclose(smooth(losses, 100), expected, rtol=1e-12)


def test_find_rate_loss_that_does_not_fall_raises():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 1)), rng.normal(size=300)
    dataset = as_regression(Source("noise", x, y, x, y, {}))
    recipe = quick(loss="mse", hidden=(), batch_size=300)
    plan = make_plan(recipe, dataset)
    model = Model.of(recipe, dataset, plan.training_rows)
    constant = tree_map(np.zeros_like, initial_state(recipe, model))  # the mean, which nothing can improve
    with pytest.raises(
        RecipeError, match=r"no learning rate was found: in \d+ steps .* fell by less than 5%; give --lr"
    ):
        find_rate(recipe, dataset, plan, model, open_backend("numpy", "float32"), constant)


def test_find_rate_loss_that_is_not_finite_raises():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    dataset = as_regression(Source("far", x, np.where(np.arange(60) == 7, 1e30, x[:, 0]), x, x[:, 0], {}))
    recipe = quick(loss="mse")
    plan = make_plan(recipe, dataset)
    model = replace(Model.of(recipe, dataset, plan.training_rows), y_scaling=Scaling(np.zeros(1), np.full(1, 1e-10)))
    state = initial_state(recipe, model)
    with pytest.raises(RecipeError, match=r"the loss is not a finite number; give --lr a number"):
        find_rate(recipe, dataset, plan, model, open_backend("numpy", "float32"), state)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_range_test_rates_stay_below_those_whose_weight_decay_takes_all_of_w(optimizer):
    recipe = quick(optimizer=optimizer, lr=0.001, weight_decay=20.0, momentum=None, nesterov=None)
    rates, _ = find(recipe, classes(), test=range_test)
    assert rates[-1] <= 0.05
    replace(recipe, lr=float(rates[-1]) / 2.0)
