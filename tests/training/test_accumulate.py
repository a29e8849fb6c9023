"""accumulate: a step of K batches of B rows is that of one batch of K B rows, with the memory of B."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from lagvis.training.factory import initial_state, make_training_step, step_constants, step_scalars
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.training.plan import as_batches, epoch_order, make_plan, split_epoch
from lagvis.tree import named_leaves, tree_map
from tests.conftest import open_backend
from tests.factories import classes, epochs, last, numbers, quick

WITHIN_STEP = {
    "plain": {},
    "row weights and smoothing": {"class_weights": "balanced", "label_smoothing": 0.1},
    "L2, L1, bounds and clipping": {"weight_decay": 0.01, "l1": 1e-3, "max_norm": 1.0, "clip_norm": 0.1},
    "dropout and noise": {"dropout": 0.5, "input_dropout": 0.2, "input_noise": 0.3},
    "layer normalisation, AdamW and an average": {"normalization": "layer", "optimizer": "adamw", "ema": 0.9},
}


def rare(dataset):
    """Return a data set with a rare class."""
    return replace(dataset, y_train=np.where(np.arange(len(dataset.y_train)) % 10 == 0, 1, 0).astype(np.uint8))


def trained(recipe, dataset, backend):
    return list(fit(recipe, dataset, make_plan(recipe, dataset), backend))


def assert_equal_within(a, b, tolerance):
    a, b = dict(named_leaves(a)), dict(named_leaves(b))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(
            a[name], b[name], rtol=tolerance, atol=tolerance * np.abs(b[name]).max(), err_msg=name
        )


# Rows: 118 are two full steps of 48 rows, and a tail of one batch of 12 and one of 10 rows; 120 have a tail of two; 96
# have none. JAX compiles every shape, seconds for each, so its cases are fewer and most have no tail.
CASES = [
    pytest.param(name, (120, 118), settings, id=f"{what}-{name}")
    for what, settings in WITHIN_STEP.items()
    for name in ("numpy", "strict", "torch")
]
RANDOM = "dropout and noise"
OTHERS = {key: value for what, settings in WITHIN_STEP.items() if what != RANDOM for key, value in settings.items()}
CASES += [
    pytest.param("jax", (118,), WITHIN_STEP["plain"], id="plain-jax", marks=pytest.mark.slow),
    pytest.param("jax", (96,), WITHIN_STEP[RANDOM], id=f"{RANDOM}-jax", marks=pytest.mark.slow),
    pytest.param("jax", (96,), OTHERS, id="all others together-jax", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "row_counts", "settings"), CASES)
def test_accumulate_equals_one_large_batch_within_rounding(name, row_counts, settings):
    backend = open_backend(name, "float64")
    for rows in row_counts:
        dataset = rare(classes(rows, 2))
        recipe = quick(hidden=(8, 6), dtype="float64", batch_size=48, epochs=2, lr=0.05, **settings)
        large = trained(recipe, dataset, backend)
        small = trained(replace(recipe, batch_size=12, accumulate=4), dataset, backend)
        assert_equal_within(last(small).state, last(large).state, 1e-11)
        for a, b in zip(epochs(small), epochs(large), strict=True):
            assert (a.step, a.samples, a.train.accuracy) == (b.step, b.samples, b.train.accuracy)
            assert a.train.loss == pytest.approx(b.train.loss, rel=1e-12)


def test_accumulate_numbers_equal_one_large_batch_within_rounding():
    backend, dataset = open_backend("numpy", "float64"), numbers(100)
    recipe = quick(hidden=(8,), dtype="float64", loss="mse", batch_size=30, lr=0.01)
    large = trained(recipe, dataset, backend)
    small = trained(replace(recipe, batch_size=10, accumulate=3), dataset, backend)
    assert_equal_within(last(small).state, last(large).state, 1e-12)


def test_accumulate_batch_normalisation_is_per_batch(torch):
    """PyTorch: normalise each batch alone, add the gradients, and update the running statistics after each batch."""
    dataset = classes(24, 3)
    recipe = quick(hidden=(5,), dtype="float64", batch_size=8, accumulate=3, epochs=1, normalization="batch", lr=0.3)
    recipe = replace(recipe, shuffle=False)
    plan = make_plan(recipe, dataset)
    start = initial_state(recipe, Model.of(recipe, dataset, plan.training_rows))
    found = last(trained(recipe, dataset, open_backend("numpy", "float64"))).state

    def tensor(array):
        return torch.tensor(array, requires_grad=True)

    hidden, output = (tree_map(tensor, layer) for layer in start["params"])
    mean, variance = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    for first in (0, 8, 16):
        x = torch.tensor(dataset.x_train[first : first + 8] / 255.0)
        z = torch.nn.functional.batch_norm(
            x @ hidden["W"], mean, variance, hidden["gamma"], hidden["b"], training=True, momentum=1.0
        )
        scores = torch.relu(z) @ output["W"] + output["b"]
        loss = torch.nn.functional.cross_entropy(
            scores, torch.tensor(dataset.y_train[first : first + 8]).long(), reduction="sum"
        )
        (loss / 24).backward()
    for layer, tensors in zip(found["params"], (hidden, output), strict=True):
        for name, array in layer.items():
            expected = (tensors[name] - 0.3 * tensors[name].grad).detach().numpy()
            np.testing.assert_allclose(array, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found["running"][0]["mean"], mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(found["running"][0]["variance"], variance.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "steps", "tail", "shapes"),
    [
        (120, 2, 24, [(2, 4, 12), (1, 2, 12)]),
        (96, 2, 0, [(2, 4, 12)]),
        (103, 2, 7, [(2, 4, 12), (1, 1, 7)]),
        (115, 2, 19, [(2, 4, 12), (1, 1, 12), (1, 1, 7)]),
        (40, 0, 40, [(1, 3, 12), (1, 1, 4)]),
    ],
)
def test_plan_accumulate_has_full_steps_and_a_tail(rows, steps, tail, shapes):
    recipe = quick(batch_size=12, accumulate=4)
    plan = make_plan(recipe, classes(rows))
    assert (plan.full_steps, plan.tail, plan.rows_per_step) == (steps, tail, 48)
    assert plan.samples_seen(2 * plan.steps_per_epoch) == 2 * rows
    assert plan.samples_seen(1) == min(48, rows)
    order = epoch_order(recipe, plan, 1)
    batches = [part for call in split_epoch(plan, order) for part in as_batches(recipe, call)]
    assert [part.shape for part in batches] == shapes
    assert np.concatenate([part.reshape(-1) for part in batches]).tolist() == order.tolist()
    more = [notice for notice in plan.notices if "an epoch is one step" in notice]
    assert len(more) == (rows < 48)


def test_plan_accumulate_batch_larger_than_the_training_part_is_one_batch():
    recipe = quick(batch_size=500, accumulate=4)
    plan = make_plan(recipe, classes(40))
    assert (plan.batch_size, plan.full_steps, plan.tail, plan.steps_per_epoch) == (40, 0, 40, 1)
    assert [part.shape for part in as_batches(recipe, np.arange(40)[None])] == [(1, 1, 40)]


def peak_of_recorded_step(batch_size, accumulate):
    """Return the bytes that NumPy allocates while a step is recorded and run twice, beyond the data."""
    dataset = classes(960)
    recipe = quick(hidden=(64, 64), batch_size=batch_size, accumulate=accumulate)
    plan, backend = make_plan(recipe, dataset), open_backend("numpy", "float32")
    model = Model.of(recipe, dataset, plan.training_rows)
    data = model.prepare(dataset.x_train, dataset.y_train, "float32") | step_constants(recipe, model.widths, 960)
    run = backend.scan(make_training_step(recipe, loop=backend.loop, xp=backend.xp))
    order = epoch_order(recipe, plan, 1)[None]
    inputs = (as_batches(recipe, np.repeat(order, 2, axis=0)), step_scalars(recipe, np.arange(2), 2))
    totals = {name: np.zeros((), "f4") for name in ("loss", "weight", "correct")}
    state = initial_state(recipe, model) | {"totals": totals}
    tracemalloc.start()
    try:
        run(state, inputs, (data,))
        held, peak = tracemalloc.get_traced_memory()
        return held, peak
    finally:
        tracemalloc.stop()


def test_accumulate_recorded_step_keeps_the_memory_of_one_batch():
    one, _ = peak_of_recorded_step(960, 1)
    many, _ = peak_of_recorded_step(60, 16)
    few, _ = peak_of_recorded_step(120, 8)
    assert many < few < 0.6 * one
