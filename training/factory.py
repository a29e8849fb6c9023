"""Build the functions and the first state of a run from its recipe."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import initialize, zero_optimizer_state
from lagvis.network.losses import LOSSES
from lagvis.network.optimizers import OPTIMIZERS, Optimizer
from lagvis.network.schedules import SCHEDULES
from lagvis.network.step import Loss, make_step
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe
from lagvis.training.seeding import generator
from lagvis.tree import tree_map


def initial_state(recipe: Recipe, model: Model) -> dict[str, Any]:
    """Draw parameters by the seed and add a zero optimizer state; on the host, so that every backend starts equal."""
    initializer = ACTIVATIONS[model.activation].initializer
    drawn = initialize(model.widths, initializer, generator(recipe.seed, "weights"))
    params = tree_map(lambda a: a.astype(recipe.dtype), drawn)
    return {"params": params} | zero_optimizer_state(make_optimizer(recipe), params)


def learning_rates(recipe: Recipe, steps: np.ndarray, total_steps: int) -> np.ndarray:
    """Return the learning rates (S,), float64, of the steps (S,), counted from 0, of a run of so many steps."""
    return np.asarray(SCHEDULES[recipe.schedule](steps, total_steps, recipe.lr, recipe.warmup, xp=np))


def make_optimizer(recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer, built from those keys of the recipe that its table entry names."""
    entry = OPTIMIZERS[recipe.optimizer]
    return entry.make(**{key: getattr(recipe, key) for key in entry.settings})


def make_loss(recipe: Recipe) -> Loss:
    """Return the loss of the training step, whose objective has the label smoothing of the recipe."""
    loss: Loss = LOSSES[recipe.loss]
    return partial(loss, smoothing=recipe.label_smoothing) if recipe.label_smoothing else loss


def make_training_step(recipe: Recipe, *, keep_gradients: bool = False, xp: Any) -> Callable[..., Any]:
    """Build the training step of a recipe (network/step.py) for an array library."""
    return make_step(
        activation=ACTIVATIONS[recipe.activation],
        loss=make_loss(recipe),
        optimizer=make_optimizer(recipe),
        keep_gradients=keep_gradients,
        xp=xp,
    )
