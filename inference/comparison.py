"""Compare the backends: every backend takes each of N steps from the state of the reference, NumPy in float64.

Since every step starts from the reference's state, rounding does not accumulate and the bounds can be a few units in
the last place. A single ReLU unit within rounding of its kink would make two correct backends differ by far more, so in
the judged step a row with such a unit is replaced by a row without one. A free run of the original steps is measured
too and not judged.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.backends.registry import select
from lagvis.data.dataset import Dataset
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.mlp import Hidden, backward, forward
from lagvis.network.optimizers import Optimizer
from lagvis.network.step import take_batch
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import (
    initial_state,
    make_loss,
    make_optimizer,
    make_training_step,
    step_constants,
    step_scalars,
)
from lagvis.training.model import Model
from lagvis.training.plan import Plan, epoch_order, split_epoch
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights
from lagvis.tree import named_leaves, tree_map

Named = dict[str, np.ndarray]

# Largest difference allowed in one step, in units of the dtype's epsilon times the size of the terms (`magnitudes`).
# The largest measured was 2.6, and 9.6 for the loss, a sum over rows whose order differs between libraries: over
# networks of 0 to 6 hidden layers, up to 1,000 wide, batches of 1 to 1,000, steps 1 to 300.
MAX_ERROR = 6.0
MAX_ERROR_OF_LOSS = 20.0
# A unit is at its kink if its z is within this many epsilons of the layer's largest |z|.
KINK_TOLERANCE = 24.0
# Smallest relative move of an input of the update whose effect float64 still resolves.
SMALLEST_MOVE = 1e-8


@dataclass(frozen=True)
class Difference:
    """Difference of one tensor of one backend from the reference, in the step that came nearest to the bound."""

    backend: str
    device: str
    tensor: str
    absolute: float
    relative: float
    bound: float
    free_run: float

    @property
    def share(self) -> float:
        """Return the relative difference as a share of the bound."""
        return self.relative / self.bound

    @property
    def passed(self) -> bool:
        """Whether the bound holds; never for NaN."""
        return self.share <= 1.0


@dataclass(frozen=True)
class Kink:
    """Hidden unit whose z is zero within rounding, where two correct backends may differ."""

    step: int
    layer: int
    row: int
    unit: int
    z: float


@dataclass(frozen=True)
class Comparison:
    """All differences, and the units near a kink, whose rows were replaced in the judged steps."""

    differences: list[Difference]
    kinks: list[Kink]

    @property
    def passed(self) -> bool:
        """Whether every bound holds."""
        return all(difference.passed for difference in self.differences)


class Stepper:
    """Takes single steps with one backend from any state of host arrays."""

    def __init__(self, backend: Backend, recipe: Recipe, model: Model, dataset: Dataset, weights: Named) -> None:
        self.backend = backend
        self._run = backend.scan(make_training_step(recipe, keep_gradients=True, xp=backend.xp))
        prepared = model.prepare(dataset.x_train, dataset.y_train, backend.dtype)
        constants = step_constants(recipe, model.widths, min(recipe.batch_size, len(dataset.x_train)))
        prepared |= {name: w.astype(backend.dtype) for name, w in weights.items()} | constants
        self._data = tree_map(backend.asarray, prepared)
        self._zero = zero_totals(model, backend.dtype, objective=True)

    def __call__(self, state: Any, indices: np.ndarray, scalars: Named) -> tuple[Any, Named]:
        """Return the next state, on the host in the backend's dtype, and every tensor of the step by name."""
        backend = self.backend
        given = tree_map(lambda a: a.astype(backend.dtype), state)
        given |= {"grads": tree_map(np.zeros_like, given["params"]), "totals": self._zero}
        rounded = {name: a if a.dtype.kind == "i" else a.astype(backend.dtype) for name, a in scalars.items()}
        inputs = (backend.asarray(indices[None]), tree_map(lambda a: backend.asarray(a[None]), rounded))
        result = tree_map(backend.to_numpy, self._run(tree_map(backend.asarray, given), inputs, (self._data,)))
        totals = result.pop("totals")
        tensors = dict(named_leaves(result)) | {"loss": totals["objective"] / totals["weight"]}
        del result["grads"]
        return result, tensors


def compare(recipe: Recipe, dataset: Dataset, plan: Plan, backends: list[Backend], steps: int) -> Comparison:
    """Compare the first `steps` steps of a recipe on each backend with the reference."""
    exact = replace(recipe, dtype="float64")
    model = Model.of(exact, dataset, plan.training_rows)
    weights = row_weights(exact, dataset, plan.training_rows, "float64")
    reference = Stepper(select("cpu", "numpy", "float64"), exact, model, dataset, weights)
    steppers = [Stepper(backend, recipe, model, dataset, weights) for backend in backends]
    # Every backend starts from the values that it would train from: the initial draw, rounded to its dtype.
    start = initial_state(recipe, model)
    state = free_reference = tree_map(lambda a: a.astype(np.float64), start)
    free = [start for _ in backends]
    worst: list[dict[str, Difference]] = [{} for _ in backends]
    kinks: list[Kink] = []
    epsilon = float(np.finfo(recipe.dtype).eps)
    for number, indices, scalars in batches(exact, plan, steps):
        near = near_kinks(number, state, batch_of(indices, model, dataset, weights), model, KINK_TOLERANCE * epsilon)
        kinks += near
        judged = without_rows(indices, {kink.row for kink in near})
        next_state, expected = reference(state, judged, scalars)
        free_reference, expected_free = reference(free_reference, indices, scalars)
        sizes = magnitudes(state, batch_of(judged, model, dataset, weights), model, recipe, scalars)
        for i, stepper in enumerate(steppers):
            _, tensors = stepper(state, judged, scalars)
            free[i], free_tensors = stepper(free[i], indices, scalars)
            for name in expected:
                absolute, scale = largest(tensors[name] - expected[name]), largest(expected[name]) or 1.0
                found = Difference(
                    backend=stepper.backend.name,
                    device=stepper.backend.device,
                    tensor=name,
                    absolute=absolute,
                    relative=absolute / scale,
                    bound=(MAX_ERROR_OF_LOSS if name == "loss" else MAX_ERROR)
                    * epsilon
                    * max(sizes[name], scale)
                    / scale,
                    free_run=largest(free_tensors[name] - expected_free[name]) / (largest(expected_free[name]) or 1.0),
                )
                before = worst[i].get(name, found)
                # comparisons with NaN are false, so a NaN must be kept on purpose
                kept = found if found.share > before.share or math.isnan(found.share) else before
                worst[i][name] = replace(kept, free_run=found.free_run)
        state = next_state
    return Comparison(
        [worst[i][name] for i in range(len(steppers)) for name in sorted(expected, key=display_order)], kinks
    )


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


def batch_of(indices: np.ndarray, model: Model, dataset: Dataset, weights: Named) -> Named:
    """Return a batch in float64 on the host, in the form that the step uses."""
    rows = model.prepare(dataset.x_train[indices], dataset.y_train[indices], "float64")
    rows |= {name: w[indices] for name, w in weights.items()}
    batch = take_batch(rows, np.arange(len(indices)), np.float64, xp=np)
    return {name: np.asarray(array) for name, array in batch.items()}


def magnitudes(state: Any, batch: Named, model: Model, recipe: Recipe, scalars: Named) -> dict[str, float]:
    """Return for each tensor the scale of its rounding: the largest sum of absolute terms behind one of its elements.

    `state` and `batch` are float64; `recipe.dtype` is the dtype that is judged. Where terms cancel (p - t of a sure
    network, a gradient summed over rows of both signs), the result is small and its rounding is not. So forward and
    backward are taken once more with every number replaced by its size, and p - t by p + t.
    """
    activation = ACTIVATIONS[model.activation]
    done = forward(state["params"], batch["x"], activation=activation, xp=np)
    delta = np.asarray(make_loss(recipe)(done.z, batch["target"], xp=np)[2])
    sizes = tree_map(np.abs, state["params"])
    sizes_in = [np.abs(np.asarray(a)) for a in done.inputs]
    hidden = [Hidden(np.abs(np.asarray(layer.z)), np.abs(np.asarray(layer.a)), None) for layer in done.hidden]
    sizes_done = done._replace(inputs=sizes_in, hidden=hidden)
    size_of_z = sizes_in[-1] @ sizes[-1]["W"] + sizes[-1]["b"]
    targets = np.abs(batch["target"]) if model.y_scaling is None else np.abs(batch["target"]) + size_of_z
    w = batch.get("w", np.ones(len(delta)))
    size_of_delta = (np.abs(delta) + 2.0 * targets) * (w / len(w))[:, None]
    size_of_grads = backward(sizes, sizes_done, size_of_delta, activation=activation, xp=np)
    grads = backward(state["params"], done, delta * (w / len(w))[:, None], activation=activation, xp=np)
    inputs_of_update = state | {"grads": grads}
    sizes_of_inputs = tree_map(np.abs, state) | {"grads": size_of_grads}
    updated = update_magnitudes(make_optimizer(recipe), inputs_of_update, sizes_of_inputs, scalars, recipe.dtype)
    named = dict(named_leaves(updated | {"grads": size_of_grads}))
    return {name: largest(leaf) for name, leaf in named.items()} | {"loss": size_of_loss(size_of_z, recipe)}


def update_magnitudes(optimizer: Optimizer, inputs: Any, sizes: Any, scalars: Named, dtype: str) -> Any:
    """Return for each number of the new state how far rounding can move it, in units of the dtype's epsilon.

    inputs  the parameters, the states of the optimizer and the gradients "grads", float64
    sizes   the scale of the rounding of each, a tree like `inputs`

    Each input in turn is moved by epsilon times its size, and the changes of the result are added up: for a rule that
    is a sum of products, the sum of absolute terms. What the rule itself loses in `dtype` may be more than that (the
    1 - 0.999^t of Adam), so it is measured on NumPy as well.
    """

    def update(values: Any) -> Any:
        kept = {name: values[name] for name in optimizer.state_names}
        rounded = {name: a.astype(values["params"][0]["W"].dtype) for name, a in scalars.items()}
        params, optimizer_state = optimizer.update(values["params"], values["grads"], kept, rounded, xp=np)
        return {"params": params} | optimizer_state

    result = update(inputs)
    epsilon = float(np.finfo(dtype).eps)
    move = max(epsilon, SMALLEST_MOVE)
    total = tree_map(np.zeros_like, result)
    for name in inputs:
        changes = []
        for signed in (move, -move):
            moved = inputs | {name: tree_map(lambda a, size, s=signed: a + s * size, inputs[name], sizes[name])}
            changes.append(tree_map(lambda a, b: np.abs(a - b) / move, update(moved), result))
        total = tree_map(lambda t, up, down: t + np.maximum(up, down), total, *changes)
    rounded = update(tree_map(lambda a: a.astype(dtype), inputs))
    return tree_map(lambda t, a, b: np.maximum(t, np.abs(a - b) / epsilon), total, rounded, result)


def size_of_loss(size_of_z: np.ndarray, recipe: Recipe) -> float:
    """Return the scale of a loss's rounding: z, and z squared for a squared error, which huber is near 0."""
    return largest(size_of_z) ** (2 if recipe.loss in ("mse", "huber") else 1)


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


def near_kinks(step: int, state: Any, batch: Named, model: Model, tolerance: float) -> list[Kink]:
    """Return the hidden units with |z| up to `tolerance` times the layer's largest, if the activation has a kink."""
    activation = ACTIVATIONS[model.activation]
    if not activation.has_kink:
        return []
    kinks = []
    for layer in range(len(state["params"]) - 1):
        z = np.asarray(forward(state["params"][: layer + 1], batch["x"], activation=activation, xp=np).z)
        for row, unit in np.argwhere(np.abs(z) <= tolerance * np.max(np.abs(z))):
            kinks.append(Kink(step, layer, int(row), int(unit), float(z[row, unit])))
    return kinks
