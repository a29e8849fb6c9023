"""Find a learning rate by a range test (Smith 2017, arXiv:1506.01186): rates rise from step to step on a copy.

The steps are those of the run: its network and first state, backend, batch size, optimizer and regularisation. Only the
order of the rows is another, so that the run itself does not change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.data.messages import percent, pluralize
from lagvis.errors import RecipeError
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.option_text import setting
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan, as_batches
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.training.seeding import generator
from lagvis.tree import tree_map

MIN_STEPS, MAX_STEPS = 100, 400  # an epoch, within these bounds
LOWEST, HIGHEST = 1e-4, 1e3  # rates of the first and the last step, times the default rate of the optimizer
SMOOTHING = 0.9  # of the moving mean of MIN_STEPS losses; that of more steps reaches over as many decades of rates
DIVERGED = 4.0  # the test ends where the smoothed loss is so many times the lowest
LEARNED, LEARNED_STEPS = 0.05, 5  # or where the median loss of the last so many batches is this share of the first
FALL_SHARE, DIVISOR = 0.95, 2.0  # of the fall of the smoothed loss; of the rate that has reached it
MIN_FALL = 0.05  # of the smoothed loss, below which a test found nothing


@dataclass(frozen=True)
class RateSearch:
    """Result of a range test.

    rate      the chosen rate
    fallen    the rate at which the smoothed loss has reached FALL_SHARE of its whole fall
    rates     learning rate of each step (S,)
    losses    what is minimised, on the next batch (S,)
    smoothed  the same, smoothed (S,)
    """

    rate: float
    fallen: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the result for environment.json; numbers are rounded to six digits."""
        return {
            "rate": self.rate,
            "fallen": self.fallen,
            **{name: [float(f"{x:.6g}") for x in getattr(self, name)] for name in ("rates", "losses", "smoothed")},
        }


def find_rate(recipe: Recipe, dataset: Dataset, plan: Plan, model: Model, backend: Backend, state: Any) -> RateSearch:
    """Return the learning rate that a range test finds; RecipeError where the loss does not fall at any rate.

    It is the rate that has reached FALL_SHARE of the whole fall of the smoothed loss, divided by DIVISOR and rounded to
    two digits. `state` is the first state of the run, on the host.
    """
    rates, losses = range_test(recipe, dataset, plan, model, backend, state)
    finite = np.isfinite(losses)
    count = len(losses) if finite.all() else int(finite.argmin())
    smoothed: np.ndarray = np.array(smooth(losses[:count].tolist(), steps_of_test(plan)), np.float64)
    if count == 0 or smoothed[0] - smoothed.min() < MIN_FALL * abs(smoothed[0]):
        found = "is not a finite number" if count == 0 else f"fell by less than {percent(MIN_FALL, digits=0)}"
        raise RecipeError(
            f"no learning rate was found: in {pluralize(len(losses), 'step')} at rates from {rates[0]:.2g} to "
            f"{rates[-1]:.2g} the loss {found}; give {setting('lr')} a number"
        )
    fallen = rates[int((smoothed <= smoothed[0] - FALL_SHARE * (smoothed[0] - smoothed.min())).argmax())]
    return RateSearch(
        float(f"{fallen / DIVISOR:.2g}"),
        float(f"{fallen:.6g}"),
        *(tuple(map(float, a[:count])) for a in (rates, losses, smoothed)),
    )


def range_test(
    recipe: Recipe, dataset: Dataset, plan: Plan, model: Model, backend: Backend, state: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates (S,), and what is minimised on the batch after the step at each (S,).

    The test ends early where the loss diverges, and where all is learned. `state` is that of `find_rate`.
    """
    steps = steps_of_test(plan)
    default = OPTIMIZERS[recipe.optimizer].lr
    rates = np.geomspace(LOWEST * default, min(HIGHEST * default, recipe.rate_limit), steps)
    indices = search_batches(recipe, plan, steps + 1)
    scalars = step_scalars(recipe, np.arange(steps + 1), steps + 1)
    scalars["learning_rate"] = np.append(rates, 0.0).astype(recipe.dtype)

    weights = row_weights(recipe, dataset, plan.training_rows, recipe.dtype)
    data = model.prepare(dataset.x_train, dataset.y_train, recipe.dtype) | weights
    data |= step_constants(recipe, model.widths, plan.rows_per_step)
    constants = (tree_map(backend.as_constant, data),)
    zero = zero_totals(model, recipe.dtype, weighted=bool(weights), objective=True)
    call = backend.scan(make_training_step(recipe, loop=backend.loop, xp=backend.xp))
    arrays = tree_map(backend.asarray, state)
    losses: list[float] = []
    for i in range(steps + 1):
        of_step = {name: backend.asarray(values[i : i + 1]) for name, values in scalars.items()}
        totals = {"totals": tree_map(backend.asarray, zero)}
        batches = tree_map(backend.asarray, as_batches(recipe, indices[i : i + 1]))
        arrays = call(arrays | totals, (batches, of_step), constants)
        loss = float(backend.to_numpy(arrays.pop("totals")["objective"])) / indices.shape[-1]
        losses.append(loss)
        smoothed = smooth(losses, steps)
        learned = np.median(losses[-LEARNED_STEPS:]) < LEARNED * losses[0]  # without errors no rate is too high
        if not math.isfinite(loss) or smoothed[-1] > DIVERGED * min(smoothed) or learned:
            break
    following = losses[1:] or losses  # a first loss that is not finite is the only one
    return rates[: len(following)], np.array(following)


def steps_of_test(plan: Plan) -> int:
    """Return the steps of the range test of a run."""
    return max(MIN_STEPS, min(MAX_STEPS, plan.steps_per_epoch))


def search_batches(recipe: Recipe, plan: Plan, steps: int) -> np.ndarray:
    """Return the row numbers (steps, R) int32 of steps as large as the run's, over as many passes as they need."""
    rng = generator(recipe.seed, "rate search")
    rows = plan.rows_per_step if plan.full_steps else plan.tail  # of a run whose epoch is less than a full step
    needed = steps * rows
    passes = -(-needed // len(plan.training_rows))
    orders = [rng.permutation(plan.training_rows) if recipe.shuffle else plan.training_rows for _ in range(passes)]
    return np.concatenate(orders)[:needed].reshape(steps, rows).astype(np.int32)


def smooth(losses: Sequence[float], steps: int) -> list[float]:
    """Return the exponential moving mean of losses, without its bias to zero."""
    decay = SMOOTHING ** (MIN_STEPS / steps)
    mean, smoothed = 0.0, []
    for i, loss in enumerate(losses, start=1):
        mean = decay * mean + (1.0 - decay) * loss
        smoothed.append(mean / (1.0 - decay**i))
    return smoothed
