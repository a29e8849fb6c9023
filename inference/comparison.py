"""Compare the backends: every backend takes each of N steps from the state of the reference, NumPy in float64.

Since every step starts from the reference's state, rounding does not accumulate and the bounds can be a few of its
standard deviations, which are measured for each number of the step (inference/rounding.py). Where rounding decides on
which side of a jump a number is, two correct backends differ by far more: a row with a hidden unit at its kink is
replaced by a row without one, and numbers of the new state that rounding decides are counted and left out. A free run
of the original steps is measured too and not judged.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.backends.numpy_backend import NumpyBackend
from lagvis.data.dataset import Dataset
from lagvis.inference.random_digests import random_digests
from lagvis.inference.reference import Named, Reference, tensors_of
from lagvis.inference.rounding import Rounding, bound, sampled_deviations
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import initial_state, make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan, as_batches, epoch_order, split_epoch
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.tree import named_leaves, tree_map

# Parts of the new state with numbers that an optimizer may leave to rounding.
WEIGHTS = ("params", "ema")
# Such a number is undecided if its bound is more than this share of what the step changes in it,
MAX_UNDECIDED_SHARE = 0.1
# more than this share of the largest change in its tensor,
MIN_UNDECIDED_SHARE = 0.01
# and more than so many epsilons of the largest number of its tensor.
MIN_UNDECIDED_UNITS = 24.0
# A tensor of which more numbers are undecided, in all steps together, is not judged.
MAX_UNDECIDED = 0.5


@dataclass(frozen=True)
class Difference:
    """Difference of one tensor of one backend from the reference, in the step that came nearest to the bound.

    absolute   of the number that came nearest to its bound
    relative   the same as a share of the tensor's largest number, as the bound
    undecided  numbers of the tensor that were left out, summed over the steps
    free_run   largest difference after all steps without a return to the reference's state, as the same share
    """

    backend: str
    device: str
    tensor: str
    absolute: float
    relative: float
    bound: float
    undecided: int
    free_run: float

    @property
    def share(self) -> float:
        """Return the relative difference as a share of the bound, which is 0 where all numbers are exactly 0."""
        if self.bound == 0.0:
            return math.inf if self.relative else 0.0
        return self.relative / self.bound

    @property
    def passed(self) -> bool:
        """Whether the bound holds; never for NaN."""
        return self.share <= 1.0


@dataclass(frozen=True)
class Kink:
    """Unit whose z is at a kink within rounding, where two correct backends may differ.

    z is the distance from the kink: of a hidden unit's z from 0, or of an error of the last layer from a kink of the
    loss.
    """

    step: int
    layer: int
    row: int
    unit: int
    z: float


@dataclass(frozen=True)
class Digest:
    """SHA-256 of the random numbers of one kind that a backend draws in all steps, which is that of NumPy if `equal`.

    kind  "mask 0" of the dropout on the inputs, "mask 1" on those of the next layer, ..., or "noise" on the inputs
    """

    backend: str
    device: str
    kind: str
    sha256: str
    equal: bool


@dataclass(frozen=True)
class Comparison:
    """All differences, what was near a kink, whose rows were replaced in the judged steps, and digests."""

    differences: list[Difference]
    kinks: list[Kink]
    digests: list[Digest]

    @property
    def passed(self) -> bool:
        """Whether every bound holds and all random numbers are equal."""
        return all(difference.passed for difference in self.differences) and all(d.equal for d in self.digests)


@dataclass(frozen=True)
class Measured:
    """A step of the reference, whose numbers are to be judged in a dtype.

    values  numbers by tensor
    bounds  how far each of them may differ
    judged  which of them are judged
    state   the next state
    kinks   (layer, row, unit, z) of what is at a kink
    """

    values: Named
    bounds: Named
    judged: Named
    state: Any
    kinks: list[tuple[int, int, int, float]]


class Stepper:
    """Takes single steps with one backend from any state of host arrays."""

    def __init__(self, backend: Backend, recipe: Recipe, model: Model, dataset: Dataset, weights: Named) -> None:
        self.backend, self._recipe = backend, recipe
        self._run = backend.scan(make_training_step(recipe, keep_gradients=True, loop=backend.loop, xp=backend.xp))
        prepared = model.prepare(dataset.x_train, dataset.y_train, backend.dtype)
        constants = step_constants(
            recipe, model.widths, min(recipe.batch_size * recipe.accumulate, len(dataset.x_train))
        )
        prepared |= {name: w.astype(backend.dtype) for name, w in weights.items()} | constants
        self._data = tree_map(backend.asarray, prepared)
        self._zero = zero_totals(model, backend.dtype, objective=True)

    def __call__(self, state: Any, indices: np.ndarray, scalars: Named) -> tuple[Any, Named]:
        """Return the next state, on the host in the backend's dtype, and every tensor of the step by name."""
        backend = self.backend
        given = tree_map(lambda a: a.astype(backend.dtype), state)
        given |= {"grads": tree_map(np.zeros_like, given["params"]), "totals": self._zero}
        rounded = {name: a if a.dtype.kind == "i" else a.astype(backend.dtype) for name, a in scalars.items()}
        batches = as_batches(self._recipe, indices[None])
        inputs = (tree_map(backend.asarray, batches), tree_map(lambda a: backend.asarray(a[None]), rounded))
        result = tree_map(backend.to_numpy, self._run(tree_map(backend.asarray, given), inputs, (self._data,)))
        tensors = tensors_of(result, indices.size)
        return {name: result[name] for name in state}, tensors


def measure(reference: Reference, state: Any, indices: np.ndarray, scalars: Named, epsilon: float) -> Measured:
    """Take a step with the reference, and measure the rounding of a dtype of this epsilon in it."""
    new_state, values, distances = reference.step(state, indices, scalars)
    layers = [layer for layer, _ in distances]
    exact: list[Any] = [values, [z for _, z in distances]]

    def run(rounding: Rounding) -> list[Any]:
        _, tensors, moved = reference.step(state, indices, scalars, rounding=rounding)
        return [tensors, [z for _, z in moved]]

    bounds, bounds_of_z = tree_map(lambda d, a: bound(d, a, epsilon), sampled_deviations(run, exact, epsilon), exact)
    before = dict(named_leaves(state))
    judged = {
        name: is_decided(bounds[name], a, before[name], epsilon)
        if name.partition(".")[0] in WEIGHTS
        else np.ones(a.shape, bool)
        for name, a in values.items()
    }
    kinks = [
        (layer, int(row), int(unit), float(z[row, unit]))
        for layer, z, far in zip(layers, exact[1], bounds_of_z, strict=True)
        for row, unit in np.argwhere(np.abs(z) <= far)
    ]
    return Measured(values, bounds, judged, new_state, kinks)


def is_decided(bounds: np.ndarray, new: np.ndarray, old: np.ndarray, epsilon: float) -> np.ndarray:
    """Return which numbers of a tensor of the new state are judged: not those whose change is left to rounding.

    Adam and others divide a gradient by its own size: where exact terms cancel, its sign is that of rounding errors.
    """
    change = np.abs(new - old)
    least = max(MIN_UNDECIDED_SHARE * largest(change), MIN_UNDECIDED_UNITS * epsilon * largest(new))
    return (bounds <= MAX_UNDECIDED_SHARE * change) | (bounds <= least)


def compare(recipe: Recipe, dataset: Dataset, plan: Plan, backends: list[Backend], steps: int) -> Comparison:
    """Compare the first `steps` steps of a recipe on each backend with the reference."""
    exact = replace(recipe, dtype="float64")
    model = Model.of(exact, dataset, plan.training_rows)
    weights = row_weights(exact, dataset, plan.training_rows, "float64")
    reference = Reference(exact, model, dataset, weights)
    steppers = [Stepper(backend, recipe, model, dataset, weights) for backend in backends]
    # Every backend starts from the values that it would train from: the initial draw, rounded to its dtype.
    start = initial_state(recipe, model)
    state = free_reference = tree_map(lambda a: a.astype(np.float64), start)
    free = [start for _ in backends]
    worst: list[dict[str, Difference]] = [{} for _ in backends]
    kinks: list[Kink] = []
    epsilon = float(np.finfo(recipe.dtype).eps)
    taken = batches(exact, plan, steps)
    for number, indices, scalars in taken:
        judged, step, near = without_kinks(reference, state, indices, scalars, epsilon)
        kinks += [Kink(number, *place) for place in near]
        free_reference, expected_free, _ = reference.step(free_reference, indices, scalars)
        for i, stepper in enumerate(steppers):
            _, tensors = stepper(state, judged, scalars)
            free[i], free_tensors = stepper(free[i], indices, scalars)
            for name in step.values:
                found = difference(stepper.backend, name, tensors[name], step)
                before = worst[i].get(name, replace(found, undecided=0))
                # comparisons with NaN are false, so a NaN must be kept on purpose
                kept = found if found.share > before.share or math.isnan(found.share) else before
                apart = largest(free_tensors[name] - expected_free[name]) / (largest(expected_free[name]) or 1.0)
                worst[i][name] = replace(kept, undecided=before.undecided + found.undecided, free_run=apart)
        state = step.state
    differences = [
        judged_difference(found[name], len(taken) * step.values[name].size)
        for found in worst
        for name in sorted(step.values, key=display_order)
    ]
    rows = [indices.size for _, indices, _ in taken]
    return Comparison(differences, kinks, digests_of(backends, recipe, model.widths, rows))


def digests_of(backends: list[Backend], recipe: Recipe, widths: tuple[int, ...], rows: list[int]) -> list[Digest]:
    """Return the digests of the random numbers of the steps on all backends; [] if the recipe draws none."""
    expected = random_digests(NumpyBackend("cpu", "float64", compiled=False), recipe, widths, rows)
    return [
        Digest(backend.name, backend.device, kind, digest, equal=digest == expected[kind])
        for backend in backends
        for kind, digest in random_digests(backend, recipe, widths, rows).items()
    ]


def without_kinks(
    reference: Reference, state: Any, indices: np.ndarray, scalars: Named, epsilon: float
) -> tuple[np.ndarray, Measured, list[tuple[int, int, int, float]]]:
    """Return a batch without rows at a kink, its step, and all units that were at one.

    A row that takes the place of another can be at a kink there, or bring others to one, where the rows of a batch are
    normalised together or each place has its own dropout mask.
    """
    judged, rows, found = indices, set[int](), []
    while True:
        step = measure(reference, state, judged, scalars, epsilon)
        new = {row for _, row, _, _ in step.kinks} - rows
        found += step.kinks
        rows |= new
        if not new or len(rows) == len(indices):
            return judged, step, found
        judged = without_rows(indices, rows)


def difference(backend: Backend, tensor: str, values: np.ndarray, step: Measured) -> Difference:
    """Return the difference of the number of a tensor that is nearest to its bound; NaN if one is NaN."""
    expected, judged = step.values[tensor], step.judged[tensor]
    apart, bounds = np.abs(values - expected), step.bounds[tensor]
    scale = largest(expected) or 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        # a bound of 0 is that of a tensor of exact zeros
        shares = np.where(judged, np.where(apart == bounds, 0.0, apart / bounds), 0.0)
    worst = np.unravel_index(np.argmax(shares), shares.shape)  # of a NaN if there is one
    return Difference(
        backend=backend.name,
        device=backend.device,
        tensor=tensor,
        absolute=float(apart[worst]),
        relative=float(apart[worst] / scale),
        bound=float(bounds[worst] / scale),
        undecided=int(np.sum(~judged)),
        free_run=0.0,
    )


def judged_difference(found: Difference, numbers: int) -> Difference:
    """Return the difference of a tensor that had so many numbers in all steps; relative NaN if too few were judged."""
    return found if found.undecided <= MAX_UNDECIDED * numbers else replace(found, relative=math.nan)


def batches(recipe: Recipe, plan: Plan, steps: int) -> list[tuple[int, np.ndarray, Named]]:
    """List (number, indices (B,), scalars) of the first `steps` steps, over as many epochs as they need."""
    rows: list[np.ndarray] = []
    epoch = 0
    while len(rows) < steps:
        epoch += 1
        rows += [batch for call in split_epoch(plan, epoch_order(recipe, plan, epoch)) for batch in call]
    total = max(plan.epochs * plan.steps_per_epoch, steps)
    scalars = step_scalars(recipe, np.arange(steps), total)
    return [(number, rows[number], {name: a[number] for name, a in scalars.items()}) for number in range(steps)]


def without_rows(indices: np.ndarray, rows: set[int]) -> np.ndarray:
    """Return a batch of the same size in which the first other row, if any, replaces the given rows."""
    clean = [row for row in range(len(indices)) if row not in rows]
    return np.array([indices[clean[0]] if row in rows and clean else index for row, index in enumerate(indices)])


def largest(array: np.ndarray) -> float:
    """Return the largest absolute value; NaN if any value is NaN."""
    return float(np.max(np.abs(array)))


def display_order(name: str) -> tuple[int, str]:
    """Sort key of a tensor: the loss first, then gradients, the optimizer's states, and parameters last."""
    position = {"loss": 0, "grads": 1, "params": 3}
    return position.get(name.partition(".")[0], 2), name
