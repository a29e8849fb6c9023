"""Build the functions, the constants and the first state of a run from its recipe."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.dropout import noise_values
from lagvis.network.initializers import first_running, initialize, zero_optimizer_state
from lagvis.network.losses import LOSSES, Loss
from lagvis.network.normalization import NORMALIZATIONS, RUNNING_RATE
from lagvis.network.optimizers import OPTIMIZERS, Optimizer
from lagvis.network.random import round_keys
from lagvis.network.regularization import Regularization
from lagvis.network.schedules import SCHEDULES
from lagvis.network.step import Loop, make_step, trained_layers
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe, cycled_momentum
from lagvis.training.seeding import generator
from lagvis.tree import tree_map

MIXUP_BLOCK = 1024  # steps whose shares one generator draws


def initial_state(recipe: Recipe, model: Model) -> dict[str, Any]:
    """Draw parameters by the seed and add all other states; on the host, so that every backend starts equal."""
    initializer = ACTIVATIONS[model.activation].initializer
    normalized = NORMALIZATIONS[model.normalization] is not None
    drawn = initialize(model.widths, initializer, generator(recipe.seed, "weights"), normalized=normalized)
    return first_state(recipe, tree_map(lambda a: a.astype(recipe.dtype), drawn))


def first_state(recipe: Recipe, params: Any, running: Any = None) -> dict[str, Any]:
    """Return the state of a run that begins with given parameters, and running statistics if they are known.

    Optimizer states are zero, the moving average of the layers begins with the layers themselves.
    """
    state = {"params": params} | zero_optimizer_state(make_optimizer(recipe), params)
    if recipe.normalizes_batches:
        state["running"] = running or first_running(params)
    if recipe.ema:
        state["ema"] = tree_map(np.array, trained_layers(state))
    return state


def step_scalars(recipe: Recipe, steps: np.ndarray, total_steps: int) -> dict[str, np.ndarray]:
    """Return the scalars (network/step.py) of the steps (S,), counted from 0, of a run of so many: {name: (S,)}.

    They are functions of the recipe and the number of a step, so that a run can continue at any step.
    """
    scalars = scheduled_scalars(recipe, steps, total_steps)
    own = make_optimizer(recipe).scalars(steps + 1, scalars)
    scalars |= {name: np.asarray(values) for name, values in own.items()}
    if recipe.mixup:
        scalars["mixup"] = mixup_shares(recipe, steps)
    if recipe.normalizes_batches:  # at first a plain mean of all batches, without the initial mean 0 and variance 1
        scalars["running_rate"] = np.maximum(RUNNING_RATE, 1.0 / (steps + 1))
    if recipe.ema:
        scalars["ema_rate"] = np.maximum(1.0 - recipe.ema, 1.0 / (steps + 1))  # at first a plain mean of all steps
    scalars = {name: values.astype(recipe.dtype) for name, values in scalars.items()}
    if make_regularization(recipe).is_random:
        scalars["step"] = steps.astype(np.int32)
    return scalars


def mixup_shares(recipe: Recipe, steps: np.ndarray) -> np.ndarray:
    """Return the share (S,) of its own that a row keeps in each of the steps (S,): the larger of s and 1 - s.

    s is drawn from Beta(mixup, mixup). Taking the larger part changes no distribution, for every row is mixed with one
    other and another with it, and it leaves a row its class.
    """
    blocks, at = np.divmod(steps, MIXUP_BLOCK)
    shares = np.empty(len(steps))
    for block in np.unique(blocks):
        drawn = generator(recipe.seed, "mixup", int(block)).beta(recipe.mixup, recipe.mixup, MIXUP_BLOCK)
        shares[blocks == block] = drawn[at[blocks == block]]
    return np.maximum(shares, 1.0 - shares)


def step_constants(recipe: Recipe, widths: tuple[int, ...], rows: int) -> dict[str, np.ndarray]:
    """Return what a step of the recipe with so many rows takes among its data, beside those of the data set."""
    if not make_regularization(recipe).is_random:
        return {}
    keys = np.array(round_keys(recipe.seed), np.uint32).view(np.int32)
    constants = {"random_keys": keys, "counters": np.arange(max(rows, sum(widths)), dtype=np.int32)}
    if recipe.input_noise:
        constants["noise"] = np.array(noise_values(recipe.input_noise), recipe.dtype)
    return constants


def scheduled_scalars(recipe: Recipe, steps: np.ndarray, total_steps: int) -> dict[str, np.ndarray]:
    """Return what the schedule makes of the steps (S,), counted from 0, of a run of so many: {name: (S,)}, float64.

    That is "learning_rate", and "momentum" or "beta1" if the schedule moves the optimizer's.
    """
    entry, t = SCHEDULES[recipe.schedule], steps.astype(np.float64)
    schedule = entry.make(**recipe.settings_of(entry))
    scalars = {"learning_rate": recipe.lr * np.asarray(schedule.lr_share(t, total_steps, xp=np))}
    momentum = cycled_momentum(recipe.optimizer, recipe.momentum, recipe.betas)
    if schedule.momentum is not None and recipe.base_momentum < momentum:
        values = schedule.momentum(t, total_steps, momentum, xp=np)
        scalars[OPTIMIZERS[recipe.optimizer].cycled] = np.asarray(values)
    return scalars


def learning_rates(recipe: Recipe, steps: np.ndarray, total_steps: int) -> np.ndarray:
    """Return the learning rates (S,), float64, of the steps (S,), counted from 0, of a run of so many steps."""
    return scheduled_scalars(recipe, steps, total_steps)["learning_rate"]


def make_optimizer(recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer, built from those keys of the recipe that its table entry names."""
    entry = OPTIMIZERS[recipe.optimizer]
    return entry.make(**recipe.settings_of(entry))


def make_regularization(recipe: Recipe) -> Regularization:
    """Return the regularisation of the recipe's steps."""
    return Regularization(
        dropout=recipe.dropout,
        input_dropout=recipe.input_dropout,
        input_noise=recipe.input_noise,
        mixup=recipe.mixup > 0,
        l1=recipe.l1,
        clip_norm=recipe.clip_norm,
        max_norm=recipe.max_norm,
        ema=recipe.ema > 0,
    )


def make_loss(recipe: Recipe) -> Loss:
    """Return the loss of the training step, whose objective has the label smoothing of the recipe."""
    entry = LOSSES[recipe.loss]
    settings = recipe.settings_of(entry)
    if recipe.label_smoothing:
        settings["smoothing"] = recipe.label_smoothing
    return partial(entry.function, **settings)


def make_training_step(
    recipe: Recipe, *, keep_gradients: bool = False, loop: Loop | None = None, xp: Any, **parts: Any
) -> Callable[..., Any]:
    """Build the training step of a recipe (network/step.py) for an array library; to accumulate with its `loop`.

    `parts` are arguments of `make_step` that take the place of the recipe's, for comparisons.
    """
    own: dict[str, Any] = {
        "activation": ACTIVATIONS[recipe.activation],
        "loss": make_loss(recipe),
        "optimizer": make_optimizer(recipe),
        "normalization": NORMALIZATIONS[recipe.normalization],
        "regularization": make_regularization(recipe),
        "loop": loop if recipe.accumulate > 1 else None,
    }
    return make_step(**(own | parts), keep_gradients=keep_gradients, xp=xp)
