"""Training itself: a generator that yields what happens and decides nothing about files or screens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from backends import Backend
from data import Dataset
from network.activations import ACTIVATIONS
from network.initializers import initialize
from network.losses import LOSSES
from network.optimizers import OPTIMIZERS, Optimizer
from network.schedules import SCHEDULES
from network.step import Loss, make_step
from network.tree import named_leaves, tree_map
from training.evaluation import Evaluator, Scores, zero_sums
from training.events import EpochEnded, Event, Finished, Progress, Started
from training.model import Model
from training.plan import Plan, epoch_order, epoch_spans
from training.random import generator
from training.recipe import Recipe
from training.weights import row_weights


def initial_state(recipe: Recipe, model: Model) -> dict[str, Any]:
    """Parameters drawn by the seed and empty slots, on the host in the recipe's dtype, the same for every backend."""
    drawn = initialize(model.widths, model.activation, generator(recipe.seed, "weights"))
    params = tree_map(lambda a: a.astype(recipe.dtype), drawn)
    return {"params": params} | {slot: tree_map(np.zeros_like, params) for slot in make_optimizer(recipe).slots}


def make_optimizer(recipe: Recipe) -> Optimizer:
    """The recipe's optimizer with the recipe's settings."""
    return OPTIMIZERS[recipe.optimizer](momentum=recipe.momentum, nesterov=recipe.nesterov)


def make_loss(recipe: Recipe) -> Loss:
    """The loss that is minimised, with label smoothing; the one that is reported of other parts has none."""
    loss: Loss = LOSSES[recipe.loss]
    return partial(loss, smoothing=recipe.label_smoothing) if recipe.label_smoothing else loss


def step_of(recipe: Recipe, *, keep_gradients: bool = False, xp: Any) -> Callable[..., Any]:
    """The step of a recipe (network/step.py) for an array library."""
    return make_step(
        activation=ACTIVATIONS[recipe.activation],
        loss=make_loss(recipe),
        optimizer=make_optimizer(recipe),
        keep_gradients=keep_gradients,
        xp=xp,
    )


def all_finite(state: dict[str, Any]) -> bool:
    """Whether a host state holds numbers and nothing else."""
    return all(bool(np.isfinite(leaf).all()) for _, leaf in named_leaves(state))


@dataclass(frozen=True)
class Span:
    """A span made ready: its `inputs` and zero `sums` on the device, and where the run is once it is done."""

    inputs: tuple[Any, Any]
    sums: dict[str, Any]
    step: int
    images: int
    rate: float


def make_spans(recipe: Recipe, plan: Plan, backend: Backend, zero: dict[str, np.ndarray]) -> Iterator[Span]:
    """All spans of a run, each made when it is asked for."""
    total_steps = plan.epochs * plan.steps_per_epoch
    step = 0
    for epoch in range(1, plan.epochs + 1):
        for indices in epoch_spans(plan, epoch_order(recipe, plan, epoch)):
            steps = np.arange(step, step + len(indices))
            rates = SCHEDULES[recipe.schedule](steps, total_steps, recipe.lr, recipe.warmup, xp=np)
            inputs = (backend.asarray(indices), backend.asarray(rates.astype(recipe.dtype)))
            step += len(indices)
            yield Span(inputs, tree_map(backend.asarray, zero), step, indices.size, float(rates[-1]))


def fit(
    recipe: Recipe, dataset: Dataset, plan: Plan, backend: Backend, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train, and yield Started, then Progress a span and EpochEnded an epoch, then Finished.

    `stop` is asked between spans; once it is true the run ends as "interrupted" with the state it has. A span whose
    loss is no longer a number, or an epoch that leaves such numbers, ends it as "diverged" with the state before.
    """
    with backend.limited_threads(plan.threads):
        yield from _fit(recipe, dataset, plan, backend, stop)


def _fit(recipe: Recipe, dataset: Dataset, plan: Plan, backend: Backend, stop: Callable[[], bool]) -> Iterator[Event]:
    model = Model.of(recipe, dataset, plan.training_rows)
    run = backend.scan(step_of(recipe, xp=backend.xp))
    evaluator = Evaluator(model, backend)
    to_device = partial(tree_map, backend.asarray)
    to_host = partial(tree_map, backend.to_numpy)

    data = to_device(model.prepare(dataset.x_train, dataset.y_train, recipe.dtype))
    # weights are for the steps; what is judged is judged without
    weighted = data | to_device(row_weights(recipe, dataset, plan.training_rows, recipe.dtype))
    host_state = initial_state(recipe, model)
    state = to_device(host_state)
    zero = zero_sums(model, recipe.dtype, weighted="w" in weighted)
    saved_epoch = saved_step = epoch = step = images = 0
    train = validation = None
    reason = "completed"
    yield Started(model, plan)

    started = time.perf_counter()
    spans = make_spans(recipe, plan, backend, zero)
    span = next(spans, None)
    for epoch in range(1, plan.epochs + 1):
        totals = tree_map(np.float64, zero)
        while step < epoch * plan.steps_per_epoch:
            assert span is not None, "there is a span for every step"
            state["sums"] = span.sums
            state = run(state, span.inputs, (weighted,))
            done, span = span, next(spans, None)  # the next span is made ready while the device computes this one
            sums = to_host(state.pop("sums"))  # the one synchronisation of a span
            scores = Scores.of(sums, model)
            if not scores.finite:
                reason = "diverged"
                break
            totals = tree_map(np.add, totals, sums)
            step = done.step
            images += done.images
            yield Progress(epoch, step, images, done.rate, scores, time.perf_counter() - started)
            stopping = stop()
            if stopping and step < epoch * plan.steps_per_epoch:
                reason = "interrupted"
                break
        if reason != "completed":
            break
        ended = to_host(state)
        if not all_finite(ended):
            reason = "diverged"
            break
        host_state, saved_epoch, saved_step = ended, epoch, step
        train = Scores.of(totals, model)
        if len(plan.validation_rows):
            paused = time.perf_counter()
            validation = evaluator.scores(state["params"], data, plan.validation_rows)
            started += time.perf_counter() - paused
        seconds = time.perf_counter() - started
        yield EpochEnded(epoch, step, images, done.rate, train, validation, seconds, host_state)
        if stopping or stop():
            reason = "interrupted"
            break
    seconds = time.perf_counter() - started

    if reason == "interrupted" and step > saved_step:
        ended = to_host(state)
        if all_finite(ended):
            host_state, saved_epoch, saved_step = ended, epoch - 1, step
        else:
            reason = "diverged"
    test = None
    if reason == "completed":
        test_data = to_device(model.prepare(dataset.x_test, dataset.y_test, recipe.dtype))
        test = evaluator.scores(state["params"], test_data, np.arange(len(dataset.x_test)), confusion=True)
    yield Finished(reason, saved_epoch, saved_step, seconds, train, validation, test, host_state)
