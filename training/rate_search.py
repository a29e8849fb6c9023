"""Find a learning rate by a range test (Smith 2017, arXiv:1506.01186): rates rise from step to step on a copy.

The steps are those of the run: its network and first state, backend, batch size, optimizer and regularisation. Only the
order of the rows is another, so that the run itself does not change.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.training.evaluation import StopRequestedError, zero_totals
from lagvis.training.factory import make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.training.seeding import generator
from lagvis.tree import tree_map

MIN_STEPS, MAX_STEPS = 100, 400  # an epoch, within these bounds
LOWEST, HIGHEST = 1e-4, 1e3  # rates of the first and the last step, times the default rate of the optimizer
SMOOTHING = 0.9  # of the moving mean of the losses, for MIN_STEPS steps; more steps are smoothed over as many decades
DIVERGED = 4.0  # the test ends where the smoothed loss is so many times the lowest


@dataclass(frozen=True)
class RateSearch:
    """Result of a range test.

    rate      the chosen rate
    rates     learning rate of each step (S,)
    losses    what was minimised, in the step after that with this rate (S,)
    smoothed  the same, smoothed (S,)
    """

    rate: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]


def range_test(
    recipe: Recipe,
    dataset: Dataset,
    plan: Plan,
    model: Model,
    backend: Backend,
    state: Any,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates (S,) and the objectives (S,) of the steps after them; StopRequestedError once `stop` is true.

    `state` is the first state of the run, on the host. The test ends early where the loss diverges.
    """
    steps = max(MIN_STEPS, min(MAX_STEPS, plan.steps_per_epoch))
    default = OPTIMIZERS[recipe.optimizer].lr
    rates = np.geomspace(LOWEST * default, HIGHEST * default, steps)
    indices = search_batches(recipe, plan, steps + 1)
    scalars = step_scalars(recipe, np.arange(steps + 1), steps + 1)
    scalars["learning_rate"] = np.append(rates, 0.0).astype(recipe.dtype)

    weights = row_weights(recipe, dataset, plan.training_rows, recipe.dtype)
    data = model.prepare(dataset.x_train, dataset.y_train, recipe.dtype) | weights
    data |= step_constants(recipe, model.widths, plan.batch_size)
    constants = (tree_map(backend.asarray, data),)
    zero = zero_totals(model, recipe.dtype, weighted=bool(weights), objective=True)
    call = backend.scan(make_training_step(recipe, xp=backend.xp))
    arrays = tree_map(backend.asarray, state)
    losses: list[float] = []
    for i in range(steps + 1):
        if stop():
            raise StopRequestedError
        of_step = {name: backend.asarray(values[i : i + 1]) for name, values in scalars.items()}
        totals = {"totals": tree_map(backend.asarray, zero)}
        arrays = call(arrays | totals, (backend.asarray(indices[i : i + 1]), of_step), constants)
        loss = float(backend.to_numpy(arrays.pop("totals")["objective"])) / indices.shape[-1]
        losses.append(loss)
        if not math.isfinite(loss) or smooth(losses, steps)[-1] > DIVERGED * min(smooth(losses, steps)):
            break
    return rates[: len(losses) - 1], np.array(losses[1:])


def search_batches(recipe: Recipe, plan: Plan, steps: int) -> np.ndarray:
    """Return the row numbers (steps, B) int32 of full batches, over as many passes as they need."""
    rng = generator(recipe.seed, "rate search")
    needed = steps * plan.batch_size
    passes = -(-needed // len(plan.training_rows))
    orders = [rng.permutation(plan.training_rows) if recipe.shuffle else plan.training_rows for _ in range(passes)]
    return np.concatenate(orders)[:needed].reshape(steps, plan.batch_size).astype(np.int32)


def smooth(losses: Sequence[float], steps: int) -> list[float]:
    """Return the exponential moving mean of losses, without its bias to zero."""
    decay = SMOOTHING ** (MIN_STEPS / steps)
    mean, smoothed = 0.0, []
    for i, loss in enumerate(losses, start=1):
        mean = decay * mean + (1.0 - decay) * loss
        smoothed.append(mean / (1.0 - decay**i))
    return smoothed
