"""Short trainings at other learning rates, on a sample of the training rows and on copies of the parameters."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.network.step import evaluated_layers
from lagvis.training.baseline import beats_commonest_class, beats_commonest_labels, beats_constant
from lagvis.training.evaluation import Evaluator, Metrics, StopRequestedError, zero_totals
from lagvis.training.factory import make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan, as_batches
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.training.seeding import generator
from lagvis.tree import tree_map

# Learning rates that are tried, the likeliest first, because there may be no time for all.
RATES = (0.1, 0.01, 1.0, 0.03, 0.3, 0.003, 3.0, 0.001, 10.0, 0.0001, 0.00001)
TRIAL_STEPS, MIN_TRIAL_STEPS = 100, 20  # a trial for which the time is too short may end with fewer steps
STEPS_PER_CALL = 10
MAX_SECONDS = 4.0  # of all trials of a run together
MAX_TIME_SHARE = 0.25  # of the time left, for one trial
MAX_SAMPLE_VALUES = 16_000_000  # numbers in the rows of the sample
MAX_SAMPLE_ROWS = 20_000
MIN_EXPLAINED_IN_TRAINING = 0.1  # share of the variance of numbers; a network memorises some of it
MAX_JUDGED_ROWS, JUDGED_SHARE = 1000, 0.2  # rows of the sample that no trial learns from


@dataclass(frozen=True)
class Trial:
    """Result of a trial: the loss on the judged rows after `steps` steps; infinity if it was not finite.

    beats_baseline  whether it is better than always answering the commonest class, or the best constant
    """

    rate: float
    steps: int
    loss: float
    beats_baseline: bool = False


class RateTrials:
    """Trains copies of a state for TRIAL_STEPS steps at constant rates, and judges them on rows that were left out."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, plan: Plan, model: Model, backend: Backend,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self.recipe, self.backend, self.stop = recipe, backend, stop
        self.deadline = math.inf  # until the first call, which may compile, has ended
        rng = generator(recipe.seed, "trials")
        most = max(2, min(MAX_SAMPLE_ROWS, MAX_SAMPLE_VALUES // model.widths[0]))
        rows = rng.permutation(plan.training_rows)[:most]
        self.judged_rows = rows[: max(1, min(MAX_JUDGED_ROWS, int(JUDGED_SHARE * len(rows))))]
        self.trained_rows = rows[len(self.judged_rows) :] if len(rows) > 1 else rows

        data = model.prepare(dataset.x_train[rows], dataset.y_train[rows], recipe.dtype)
        self.data = tree_map(backend.asarray, data)
        weights = row_weights(recipe, dataset, plan.training_rows, recipe.dtype)
        constants = step_constants(recipe, model.widths, plan.rows_per_step)
        step_data = {name: w[rows] for name, w in weights.items()} | constants
        self.step_data = self.data | tree_map(backend.asarray, step_data)
        objective = bool(weights) or recipe.label_smoothing > 0
        self.totals = zero_totals(model, recipe.dtype, weighted=bool(weights), objective=objective)
        self.batches = self._batches(len(rows), min(plan.rows_per_step, len(self.trained_rows)), rng)
        self.call = backend.scan(make_training_step(recipe, loop=backend.loop, xp=backend.xp))
        self.evaluator = Evaluator(model, backend)
        self.classes = model.y_scaling is None
        self.constant_loss = model.baseline(dataset.y_train[self.judged_rows]) or 0.0

    def _batches(self, rows: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """Return the row numbers (TRIAL_STEPS, batch_size) of the batches, within the sample of `rows` rows."""
        first = min(len(self.judged_rows), rows - 1)
        orders: list[np.ndarray] = []
        needed = TRIAL_STEPS * batch_size
        while sum(map(len, orders)) < needed:
            orders.append(first + rng.permutation(rows - first))
        return np.concatenate(orders)[:needed].reshape(TRIAL_STEPS, batch_size).astype(np.int32)

    @property
    def over(self) -> bool:
        """Whether the time is up, or the caller requested a stop."""
        return self.stop() or time.monotonic() > self.deadline

    def judge(self, state: Any) -> Metrics:
        """Return the metrics of a state, on the host, on the judged rows."""
        return self._judge(tree_map(self.backend.asarray, evaluated_layers(state)))

    def _judge(self, layers: Any, stop: Callable[[], bool] = lambda: False) -> Metrics:
        rows = np.arange(len(self.judged_rows))
        return self.evaluator.evaluate(layers, self.data, rows, details=self.classes, stop=stop)

    def beats(self, metrics: Metrics) -> bool:
        """Return whether finite metrics on the judged rows are better than the commonest class or the best constant."""
        if metrics.label_confusion is not None:
            return bool(beats_commonest_labels(metrics.label_confusion).any())
        if metrics.confusion is not None:
            return beats_commonest_class(metrics.confusion)
        rows = len(self.judged_rows)
        return beats_constant(self.recipe.loss, metrics.loss, self.constant_loss, rows, MIN_EXPLAINED_IN_TRAINING)

    def run(self, state: Any, rate: float) -> Trial | None:
        """Train a copy of a state, host arrays, at a rate; None if the time is too short for MIN_TRIAL_STEPS."""
        arrays = tree_map(self.backend.asarray, state)
        steps, enough = 0, math.inf
        for first in range(0, TRIAL_STEPS, STEPS_PER_CALL):
            if first >= MIN_TRIAL_STEPS and time.monotonic() > enough:
                break
            if self.over:
                return None
            indices = self.batches[first : first + STEPS_PER_CALL]
            scalars = step_scalars(self.recipe, np.arange(first, first + len(indices)), TRIAL_STEPS)
            scalars["learning_rate"] = np.full(len(indices), rate, self.backend.dtype)
            batches = as_batches(self.recipe, indices)
            inputs = tree_map(self.backend.asarray, batches), tree_map(self.backend.asarray, scalars)
            zero = {"totals": tree_map(self.backend.asarray, self.totals)}
            arrays = self.call(arrays | zero, inputs, (self.step_data,))
            loss = float(self.backend.to_numpy(arrays.pop("totals")["loss"]))
            steps, now = first + len(indices), time.monotonic()
            self.deadline = min(self.deadline, now + MAX_SECONDS)
            enough = min(enough, now + MAX_TIME_SHARE * (self.deadline - now))
            if not math.isfinite(loss):
                return Trial(rate, steps, math.inf)
        latest = time.monotonic() + MAX_SECONDS
        try:
            metrics = self._judge(evaluated_layers(arrays), lambda: self.stop() or time.monotonic() > latest)
        except StopRequestedError:
            return None
        return Trial(rate, steps, metrics.loss, self.beats(metrics)) if metrics.finite else Trial(rate, steps, math.inf)

    def run_all(self, state: Any, rates: Iterable[float]) -> list[Trial]:
        """Return the trials of a state at each rate, as far as there is time."""
        trials = []
        for rate in rates:
            trial = self.run(state, rate)
            if trial is None:
                break
            trials.append(trial)
        return trials


def lower_rates(rate: float) -> list[float]:
    """Return the rates to try where `rate` is too high."""
    return [lower for lower in RATES if lower < rate] or [rate / 10, rate / 100, rate / 1000]


def best_trial(trials: list[Trial]) -> Trial | None:
    """Return the trial with the lowest finite loss; None if there is none."""
    return min((trial for trial in trials if math.isfinite(trial.loss)), key=lambda trial: trial.loss, default=None)
