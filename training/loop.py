"""The training loop: a generator that yields events and decides nothing about files or screens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.errors import NotFiniteError, RecipeError
from lagvis.network.step import evaluated_layers
from lagvis.training.checkpoint import Checkpoint, all_finite
from lagvis.training.evaluation import Evaluator, Metrics, StopRequestedError, zero_totals
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started
from lagvis.training.factory import initial_state, learning_rates, make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan, as_batches, epoch_order, split_epoch
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.tree import tree_map


def fit(
    recipe: Recipe,
    dataset: Dataset,
    plan: Plan,
    backend: Backend,
    *,
    start: Checkpoint | None = None,
    best: Checkpoint | None = None,
    model: Model | None = None,
    seconds: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train, and yield Started, then Progress for each call and EpochEnded for each epoch, then Finished.

    A checkpoint `start` of the same recipe and data set, `seconds` into the run, continues the run as if it had never
    stopped; with patience `best` is then the checkpoint of the best epoch before it. Without `start`, `model` is that
    of the recipe and the data set if the caller has made it already. `stop` is called between calls and between the
    chunks of an evaluation; once it returns true, the run ends as "interrupted" with its current state. If the loss or
    the state is no longer finite, the run ends as "diverged" with its newest checkpoint.

    With patience, a run ends after so many epochs without a lower validation loss. The network of a completed run is
    then that of its best epoch. The number of threads is limited while the run computes, and not while the caller
    handles an event.
    """
    with backend.limited_threads(plan.threads):
        events = Trainer(recipe, dataset, plan, backend, start, best, model, seconds, stop).events()
    while True:
        with backend.limited_threads(plan.threads):
            event = next(events, None)
        if event is None:
            return
        yield event


@dataclass(frozen=True)
class StepGroup:
    """Steps of one call of the backend: `inputs` and zero `totals` on the device, and the position after the call."""

    inputs: tuple[Any, dict[str, Any]]
    totals: dict[str, Any]
    step: int
    learning_rate: float


def step_groups(
    recipe: Recipe, plan: Plan, backend: Backend, zero: dict[str, np.ndarray], after: int = 0
) -> Iterator[StepGroup]:
    """Yield the calls of a run after its first `after` steps; each is prepared on demand.

    The first is shorter if these end within a call: another version may have made calls of another length.
    """
    total_steps = plan.epochs * plan.steps_per_epoch
    step = after // plan.steps_per_epoch * plan.steps_per_epoch
    for epoch in range(after // plan.steps_per_epoch + 1, plan.epochs + 1):
        for indices in split_epoch(plan, epoch_order(recipe, plan, epoch)):
            steps = np.arange(max(step, after), step + len(indices))
            step += len(indices)
            if len(steps):
                scalars = step_scalars(recipe, steps, total_steps)
                batches = as_batches(recipe, indices[-len(steps) :])
                inputs = tree_map(backend.asarray, batches), tree_map(backend.asarray, scalars)
                rate = float(learning_rates(recipe, steps[-1:], total_steps)[0])
                yield StepGroup(inputs, tree_map(backend.asarray, zero), step, rate)


def continued_totals(totals: dict[str, np.ndarray], zero: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the totals of a checkpoint, if any, by the names of `zero`, float64.

    A checkpoint taken without label smoothing has no objective of its own: it is the loss. So it is in format 2, whose
    loss is the objective; the training loss of the epoch that it continues then includes smoothing for its first steps.
    """
    if not totals:
        return tree_map(partial(np.asarray, dtype=np.float64), zero)
    return {name: totals["loss"] if name == "objective" and name not in totals else totals[name] for name in zero}


class Stopwatch:
    """Seconds of training, counted while a `with` block of it is open."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> Self:
        self._entered = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._entered


@dataclass
class TrainingState:
    """The current position of a run.

    arrays         parameters and optimizer state, on the device
    step           steps taken since the beginning of the run
    learning_rate  of the last step
    totals         totals of the current epoch on the host, float64 (network/step.py names them)
    """

    arrays: Any
    step: int
    learning_rate: float
    totals: dict[str, np.ndarray]


class Trainer:
    """Train a network call by call; `events` is the loop, and the other methods are its parts."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        plan: Plan,
        backend: Backend,
        start: Checkpoint | None,
        best: Checkpoint | None,
        model: Model | None,
        seconds: float,
        stop: Callable[[], bool],
    ) -> None:
        self.recipe, self.dataset, self.plan, self.backend = recipe, dataset, plan, backend
        self.stop = stop
        self.stopwatch = Stopwatch(seconds)
        self.model = start.model if start else model or Model.of(recipe, dataset, plan.training_rows)

        self.call = backend.scan(make_training_step(recipe, loop=backend.loop, xp=backend.xp))
        self.evaluator = Evaluator(self.model, backend)
        self.data = self.as_constants(self.model.prepare(dataset.x_train, dataset.y_train, recipe.dtype))
        weights = row_weights(recipe, dataset, plan.training_rows, recipe.dtype)
        # only the steps use these, no evaluation does
        self.step_data = self.data | self.as_constants(
            weights | step_constants(recipe, self.model.widths, plan.rows_per_step)
        )

        # The newest checkpoint; a run that diverges ends with it.
        self.newest = start or Checkpoint(self.model, initial_state(recipe, self.model), epoch=0, step=0)
        self.newest = replace(self.newest, data=dataset.digest)
        self.best = self.known_best(best)
        weighted = bool(weights)
        objective = weighted or recipe.label_smoothing > 0
        zero = zero_totals(self.model, recipe.dtype, weighted=weighted, objective=objective)
        self.state = TrainingState(
            arrays=self.to_device(self.newest.state),
            step=self.newest.step,
            learning_rate=self.newest.learning_rate,
            totals=continued_totals(self.newest.totals, zero),
        )
        self.groups = step_groups(recipe, plan, backend, zero, self.state.step)
        self.next_group: StepGroup | None = None
        self.train_metrics: Metrics | None = None
        self.validation_metrics: Metrics | None = None
        self.best_metrics: tuple[Metrics | None, Metrics | None] = (None, None)

    def to_device(self, tree: Any) -> Any:
        """Copy a tree of host arrays to the device."""
        return tree_map(self.backend.asarray, tree)

    def as_constants(self, tree: Any) -> Any:
        """Return a tree of host arrays on the device, where nothing writes into them."""
        return tree_map(self.backend.as_constant, tree)

    def events(self) -> Iterator[Event]:
        """Yield the events of the run."""
        yield Started(self.model, self.plan)
        reason, test_metrics, network = "completed", None, None
        try:
            for epoch in range(self.newest.epoch + 1, self.plan.epochs + 1):
                if self.newest.out_of_patience(self.plan.patience):
                    break
                while self.state.step < epoch * self.plan.steps_per_epoch:
                    yield self.run_steps(epoch)
                    self.check_stop()
                yield self.end_epoch(epoch)
                self.check_stop()
            network = self.best or self.newest
            test_metrics = self.evaluate_test(network)
        except StopRequestedError:
            reason, network = self.checkpoint_interrupted(), None
        except NotFiniteError:
            reason = "diverged"
        network = network or self.newest
        metrics = (self.train_metrics, self.validation_metrics)
        if network.step != self.newest.step:
            metrics = self.metrics_of_best(network)
        early = reason == "completed" and self.newest.epoch < self.plan.epochs
        yield Finished(reason, self.stopwatch.seconds, *metrics, test_metrics, network, self.newest, early)

    def metrics_of_best(self, network: Checkpoint) -> tuple[Metrics | None, Metrics | None]:
        """Return the metrics of the best epoch; without those of training if it ended before the start of a resume."""
        if self.best_metrics[1] is not None:
            return self.best_metrics
        layers = self.to_device(evaluated_layers(network.state))
        return None, self.evaluator.evaluate(layers, self.data, self.plan.validation_rows)

    def known_best(self, best: Checkpoint | None) -> Checkpoint | None:
        """Return the checkpoint of the best epoch before the start of a run with patience; None before the first.

        RecipeError if it is not known.
        """
        newest = self.newest
        if not self.plan.patience or not newest.best_epoch:
            return None
        known = newest if newest.epoch == newest.best_epoch and not newest.totals else best
        if known is None or known.epoch != newest.best_epoch:
            raise RecipeError(
                f"patience is {self.plan.patience}, but the weights of the best epoch, {newest.best_epoch}, are not "
                "there; restore best.safetensors, or set patience to 0"
            )
        return known

    def run_steps(self, epoch: int) -> Progress:
        """Run one call of the backend; NotFiniteError if its loss is not finite."""
        state = self.state
        with self.stopwatch:
            group = self.next_group or next(self.groups)
            arrays = self.call(state.arrays | {"totals": group.totals}, group.inputs, (self.step_data,))
            self.next_group = next(self.groups, None)  # prepared on the host while the device computes
            totals = tree_map(self.backend.to_numpy, arrays.pop("totals"))  # the only synchronisation of a call
        state.arrays = arrays
        metrics = Metrics.of(totals, self.model)
        if not metrics.finite:
            raise NotFiniteError(f"the loss of the call that ends with step {group.step} is not a finite number")
        state.totals = tree_map(np.add, state.totals, totals)
        state.step, state.learning_rate = group.step, group.learning_rate
        samples = self.plan.samples_seen(state.step)
        return Progress(
            epoch, state.step, samples, state.learning_rate, metrics, self.stopwatch.seconds, self.take_checkpoint
        )

    def end_epoch(self, epoch: int) -> EpochEnded:
        """Evaluate the validation rows after the last step of an epoch, and checkpoint the whole epoch."""
        state, rows = self.state, self.plan.validation_rows
        ended = self.take_checkpoint()
        if len(rows):
            layers = evaluated_layers(state.arrays)
            self.validation_metrics = self.evaluator.evaluate(layers, self.data, rows, stop=self.stop)
        self.train_metrics = Metrics.of(state.totals, self.model)
        state.totals = tree_map(np.zeros_like, state.totals)
        ended = replace(ended, epoch=epoch, totals={})
        if self.validation_metrics is not None and self.validation_metrics.loss < ended.best_loss:
            ended = replace(ended, best_epoch=epoch, best_loss=self.validation_metrics.loss)
            if self.plan.patience:
                self.best, self.best_metrics = ended, (self.train_metrics, self.validation_metrics)
        self.newest = ended
        samples, seconds = self.plan.samples_seen(state.step), self.stopwatch.seconds
        return EpochEnded(
            epoch, state.step, samples, state.learning_rate, self.train_metrics, self.validation_metrics, seconds, ended
        )

    def evaluate_test(self, network: Checkpoint) -> Metrics | None:
        """Evaluate the test part by the network of a checkpoint; None where there is no test part."""
        if not len(self.dataset.x_test):
            return None
        data = self.as_constants(self.model.prepare(self.dataset.x_test, self.dataset.y_test, self.recipe.dtype))
        rows = np.arange(len(self.dataset.x_test))
        arrays = self.state.arrays if network is self.newest else self.to_device(network.state)
        return self.evaluator.evaluate(evaluated_layers(arrays), data, rows, details=True, stop=self.stop)

    def check_stop(self) -> None:
        """Raise StopRequestedError if the caller requested a stop."""
        if self.stop():
            raise StopRequestedError

    def checkpoint(self) -> Checkpoint:
        """Copy the current state to the host; NotFiniteError if parameters or optimizer state are not finite."""
        with self.stopwatch:
            arrays = tree_map(self.backend.to_numpy, self.state.arrays)
        if not all_finite(arrays):
            raise NotFiniteError(f"the state after step {self.state.step} is not finite")
        return replace(
            self.newest,
            state=arrays,
            step=self.state.step,
            learning_rate=self.state.learning_rate,
            totals=self.state.totals,
        )

    def take_checkpoint(self) -> Checkpoint:
        """Make a checkpoint of the current state the newest one, and return it."""
        self.newest = self.checkpoint()
        return self.newest

    def checkpoint_interrupted(self) -> str:
        """Checkpoint a run that was stopped, unless its newest is current; return the reason of its end."""
        try:
            if self.state.step > self.newest.step:
                self.take_checkpoint()
        except NotFiniteError:
            return "diverged"
        return "interrupted"
