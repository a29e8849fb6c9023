"""Training itself: a generator that yields what happens and decides nothing about files or screens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.errors import NotFiniteError
from lagvis.network.schedules import SCHEDULES
from lagvis.training.checkpoint import Checkpoint, all_finite
from lagvis.training.evaluation import Evaluator, Metrics, StopRequestedError, zero_totals
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started
from lagvis.training.factory import initial_state, make_training_step
from lagvis.training.model import Model
from lagvis.training.plan import Plan, epoch_order, split_epoch
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.tree import tree_map


@dataclass(frozen=True)
class StepGroup:
    """Steps of one call of the backend: `inputs` and zero `totals` on the device, and the position after the call."""

    inputs: tuple[Any, Any]
    totals: dict[str, Any]
    step: int
    learning_rate: float


def step_groups(
    recipe: Recipe, plan: Plan, backend: Backend, zero: dict[str, np.ndarray], after: int = 0
) -> Iterator[StepGroup]:
    """Yield the calls of a run after its first `after` steps, each made when it is asked for."""
    total_steps = plan.epochs * plan.steps_per_epoch
    step = after // plan.steps_per_epoch * plan.steps_per_epoch
    for epoch in range(after // plan.steps_per_epoch + 1, plan.epochs + 1):
        for indices in split_epoch(plan, epoch_order(recipe, plan, epoch)):
            steps = np.arange(step, step + len(indices))
            step += len(indices)
            if step > after:
                rates = SCHEDULES[recipe.schedule](steps, total_steps, recipe.lr, recipe.warmup, xp=np)
                inputs = (backend.asarray(indices), backend.asarray(rates.astype(recipe.dtype)))
                yield StepGroup(inputs, tree_map(backend.asarray, zero), step, float(rates[-1]))


def fit(
    recipe: Recipe,
    dataset: Dataset,
    plan: Plan,
    backend: Backend,
    *,
    start: Checkpoint | None = None,
    seconds: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train, and yield Started, then Progress for each call and EpochEnded an epoch, then Finished.

    From a checkpoint `start` (of this recipe and data set, `seconds` into the run) the run goes on as if it had never
    stopped. `stop` is asked between calls and between pieces of an evaluation; once it is true the run ends as
    "interrupted" with the state it has. A call whose loss is no longer a number, or a state that holds such numbers,
    ends it as "diverged" with the newest checkpoint before.
    """
    with backend.limited_threads(plan.threads):
        yield from Run(recipe, dataset, plan, backend, start, seconds, stop).events()


class Run:
    """A run between its events: the state on the device, and the newest checkpoint of it."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        plan: Plan,
        backend: Backend,
        start: Checkpoint | None,
        seconds: float,
        stop: Callable[[], bool],
    ) -> None:
        self.plan, self.backend, self.dataset, self.dtype, self.stop = plan, backend, dataset, recipe.dtype, stop
        self.model = start.model if start else Model.of(recipe, dataset, plan.training_rows)
        self.run_steps = backend.scan(make_training_step(recipe, xp=backend.xp))
        self.evaluator = Evaluator(self.model, backend)
        self.data = self.to_device(self.model.prepare(dataset.x_train, dataset.y_train, recipe.dtype))
        # weights are for the steps; what is judged is judged without
        weights = row_weights(recipe, dataset, plan.training_rows, recipe.dtype)
        self.weighted = self.data | self.to_device(weights)
        begun = start or Checkpoint(self.model, initial_state(recipe, self.model), 0, 0)
        self.kept = replace(begun, data=dataset.digest)
        self.state = self.to_device(self.kept.state)
        self.step, self.learning_rate = self.kept.step, self.kept.learning_rate
        self.zero = zero_totals(self.model, recipe.dtype, weighted=bool(weights))
        self.totals: dict[str, np.ndarray] = self.kept.totals or tree_map(np.float64, self.zero)
        self.calls = step_groups(recipe, plan, backend, self.zero, self.step)
        self.train: Metrics | None = None
        self.validation: Metrics | None = None
        self.seconds = seconds

    def to_device(self, tree: Any) -> Any:
        """A host tree on the device."""
        return tree_map(self.backend.asarray, tree)

    def events(self) -> Iterator[Event]:
        """All events of the run."""
        yield Started(self.model, self.plan)
        self.started = time.perf_counter() - self.seconds
        reason, test = "completed", None
        try:
            next_call = next(self.calls, None)
            for epoch in range(self.kept.epoch + 1, self.plan.epochs + 1):
                while self.step < epoch * self.plan.steps_per_epoch:
                    assert next_call is not None, "there is a call for every step"
                    scores, next_call = self._take(next_call)
                    yield Progress(
                        epoch, self.step, self._images(), self.learning_rate, scores, self._clock(), self.checkpoint
                    )
                    self._ask()
                yield self._close(epoch)
                self._ask()
            seconds = self._clock()
            rows = np.arange(len(self.dataset.x_test))
            data = self.to_device(self.model.prepare(self.dataset.x_test, self.dataset.y_test, self.dtype))
            test = self.evaluator.evaluate(self.state["params"], data, rows, confusion=True, stop=self.stop)
        except StopRequestedError:
            reason, seconds = "interrupted", self._clock()
            try:
                if self.step > self.kept.step:
                    self.checkpoint()
            except NotFiniteError:
                reason = "diverged"
        except NotFiniteError:
            reason, seconds = "diverged", self._clock()
        yield Finished(reason, seconds, self.train, self.validation, test, self.kept)

    def _take(self, call: StepGroup) -> tuple[Metrics, StepGroup | None]:
        """Run a call; return its metrics, and the next call, made ready while the device computed."""
        self.state["totals"] = call.totals
        self.state = self.run_steps(self.state, call.inputs, (self.weighted,))
        following = next(self.calls, None)
        totals = tree_map(self.backend.to_numpy, self.state.pop("totals"))  # the one synchronisation of a call
        scores = Metrics.of(totals, self.model)
        if not scores.finite:
            raise NotFiniteError(f"the loss of the call that ends with step {call.step} is not a finite number")
        self.totals = tree_map(np.add, self.totals, totals)
        self.step, self.learning_rate = call.step, call.learning_rate
        return scores, following

    def _close(self, epoch: int) -> EpochEnded:
        """Judge an epoch whose last step is done."""
        seconds = self._clock()
        ended = self.checkpoint()
        if len(self.plan.validation_rows):
            rows = self.plan.validation_rows
            self.validation = self.evaluator.evaluate(self.state["params"], self.data, rows, stop=self.stop)
        self.train = Metrics.of(self.totals, self.model)
        self.totals = tree_map(np.float64, self.zero)
        self.kept = replace(ended, epoch=epoch, totals={})
        if self.validation is not None and self.validation.loss < ended.best_loss:
            self.kept = replace(self.kept, best_epoch=epoch, best_loss=self.validation.loss)
        self.started = time.perf_counter() - seconds  # the look at the validation part is not training
        return EpochEnded(
            epoch, self.step, self._images(), self.learning_rate, self.train, self.validation, seconds, self.kept
        )

    def checkpoint(self) -> Checkpoint:
        """Where the run stands, copied to the host, as the newest that is kept; NotFiniteError if it is not finite."""
        state = tree_map(self.backend.to_numpy, self.state)
        if not all_finite(state):
            raise NotFiniteError(f"the state after step {self.step} holds numbers that are none")
        self.kept = replace(
            self.kept, state=state, step=self.step, learning_rate=self.learning_rate, totals=self.totals
        )
        return self.kept

    def _ask(self) -> None:
        if self.stop():
            raise StopRequestedError

    def _clock(self) -> float:
        return time.perf_counter() - self.started

    def _images(self) -> int:
        return self.plan.samples_seen(self.step)
