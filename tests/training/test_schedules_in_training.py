"""Optimizers under the schedules of a recipe: against torch's schedulers, and compiled once whatever they are."""

import dataclasses

import numpy as np
import pytest

from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training.factory import make_optimizer, make_training_step, scheduled_scalars, step_scalars
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map
from tests.conftest import open_backend

STEPS = 20
# id: (recipe, class of torch.optim, its options, with one-cycle whether torch cycles beta1)
UNDER_ONE_CYCLE = {
    "sgd": ({"optimizer": "sgd", "momentum": 0.9, "nesterov": False}, "SGD", {"momentum": 0.9}),
    "nesterov": ({"optimizer": "sgd", "momentum": 0.9}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ({"optimizer": "rmsprop", "momentum": 0.9}, "RMSprop", {"momentum": 0.9}),
    "adam": ({"optimizer": "adam"}, "Adam", {}),
    "adamw": ({"optimizer": "adamw", "weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
}


@pytest.mark.parametrize("case", UNDER_ONE_CYCLE)
def test_steps_under_one_cycle_equal_torch_under_one_cycle_lr(backend, torch, case):
    keys, name, options = UNDER_ONE_CYCLE[case]
    recipe = Recipe(schedule="one-cycle", lr=0.05, dtype="float64", **keys)
    start = np.random.default_rng(0).normal(size=(3, 2)) * 0.5
    theirs = torch.tensor(start, requires_grad=True)
    reference = getattr(torch.optim, name)([theirs], lr=0.05, **options)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        reference, max_lr=0.05, total_steps=STEPS, max_momentum=0.9, base_momentum=0.85
    )
    for i in range(STEPS):
        reference.zero_grad()
        (theirs**3 + theirs**2).sum().backward()
        reference.step()
        if i < STEPS - 1:
            scheduler.step()
    optimizer, xp = make_optimizer(recipe), backend.xp
    params = tree_map(backend.asarray, [{"W": start}])
    state = tree_map(backend.asarray, zero_optimizer_state(optimizer, [{"W": start}]))
    scalars = step_scalars(recipe, np.arange(STEPS), STEPS)
    for i in range(STEPS):
        now = {name: backend.asarray(np.asarray(values[i])) for name, values in scalars.items()}
        grads = tree_map(lambda p: 3.0 * p * p + 2.0 * p, params)
        params, state = optimizer.update(params, grads, state, now, xp=xp)
    found = backend.to_numpy(params[0]["W"])
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


CYCLED = {
    "sgd": "momentum", "rmsprop": None, "adam": "beta1", "adamw": "beta1", "lion": "beta1", "muon": "momentum",
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_scheduled_scalars_move_momentum_only_under_one_cycle(name, schedule):
    found = scheduled_scalars(Recipe(optimizer=name, schedule=schedule), np.arange(10), 10)
    expected = {CYCLED[name]} - {None} if schedule == "one-cycle" else set()
    assert {*found} == {"learning_rate"} | expected
    for key in expected:
        assert found[key].min() == 0.85
        assert found[key].max() == (0.95 if name == "muon" else 0.9)


def test_scheduled_scalars_base_momentum_of_momentum_is_constant():
    recipe = Recipe(schedule="one-cycle", momentum=0.9, base_momentum=0.9)
    assert {*scheduled_scalars(recipe, np.arange(10), 10)} == {"learning_rate"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_scalars_of_some_steps_equal_part_of_the_result(name):
    recipe = (
        Recipe(optimizer=name, schedule="one-cycle", momentum=0.9)
        if name == "rmsprop"
        else Recipe(optimizer=name, schedule="one-cycle")
    )
    whole = step_scalars(recipe, np.arange(40), 40)
    part = step_scalars(recipe, np.arange(7, 19), 40)
    assert part.keys() == whole.keys()
    for key, values in part.items():
        assert values.tobytes() == whole[key][7:19].tobytes(), key


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_step_is_compiled_once_whatever_rate_epoch_and_seed(library, name):
    backend = open_backend(library, "float32")
    recipe = Recipe(optimizer=name, schedule="one-cycle", l1=1e-4, clip_norm=1.0, max_norm=2.0)
    step, traced = make_training_step(recipe, xp=backend.xp), []

    def counting(*arguments):
        traced.append(1)
        return step(*arguments)

    call, rng = backend.scan(counting), np.random.default_rng(0)
    widths = ((5, 4), (4, 4), (4, 3))
    params = [{"W": rng.normal(size=s).astype(np.float32), "b": np.zeros(s[1], np.float32)} for s in widths]
    zero = {key: np.zeros((), np.float32) for key in ("loss", "weight", "correct", "objective")}
    state = {"params": params, "totals": zero} | zero_optimizer_state(make_optimizer(recipe), params)
    data = {
        "x": rng.normal(size=(20, 5)).astype(np.float32),
        "y": np.arange(20, dtype=np.uint8) % 3,
        "classes": np.arange(3, dtype=np.uint8),
    }
    state, data = tree_map(backend.asarray, state), tree_map(backend.asarray, data)
    for epoch, (lr, seed) in enumerate([(0.001, 0), (0.1, 1), (0.02, 2)]):
        scalars = step_scalars(dataclasses.replace(recipe, lr=lr, seed=seed), np.arange(4) + 4 * epoch, 12)
        indices = np.random.default_rng(seed).integers(0, 20, (4, 6), dtype=np.int32)
        state = call(state, (backend.asarray(indices), tree_map(backend.asarray, scalars)), (data,))
    assert len(traced) == 1
    assert all(np.isfinite(backend.to_numpy(layer["W"])).all() for layer in state["params"])
