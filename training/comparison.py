"""Do the backends agree? Each of N steps is taken by every backend from the reference's own state, and compared.

The reference is NumPy in float64. Starting every step anew from its state keeps rounding from piling up, so that the
bounds can be a few units in the last place. One ReLU unit within rounding of its kink is enough to part two right
answers by far more than that; so a row with such a unit is replaced, in the judged step, by a row without one. A free
run of the very steps of the recipe is measured beside it and not judged.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from backends import Backend, select
from data import Dataset
from network.activations import ACTIVATIONS
from network.mlp import forward
from network.optimizers import Optimizer
from network.schedules import SCHEDULES
from network.step import Loss, add_sums, gradients, take_batch, update
from network.tree import named_leaves, tree_map
from training.evaluation import zero_sums
from training.events import Comparison, Difference, Kink
from training.loop import initial_state, make_loss, make_optimizer
from training.model import Model
from training.plan import Plan, epoch_order, epoch_spans
from training.recipe import Recipe

Named = dict[str, np.ndarray]

# Largest difference allowed in one step, relative to the largest number of the tensor, in units of the dtype's epsilon:
# about twice the largest seen over networks of 0 to 6 hidden layers, up to 1,000 wide, batches of 1 to 1,000.
# Biases begin at zero, so that they are as exact as what was added to them, the gradient.
BOUNDS = {"loss": 8.0, "grads": 24.0, "velocity": 24.0, "params.W": 2.0, "params.b": 24.0}


def make_comparison_step(*, activation: Any, loss: Loss, optimizer: Optimizer, xp: Any) -> Callable[..., Any]:
    """The training step, with the gradient between its two halves kept in the state as "grads"."""

    def step(state: Any, indices: Any, rate: Any, data: Any) -> Any:
        batch = take_batch(data, indices, state["params"][0]["W"].dtype, xp=xp)
        grads, sums = gradients(state["params"], batch, activation=activation, loss=loss, xp=xp)
        return update(state, grads, rate, optimizer=optimizer) | {"grads": grads, "sums": add_sums(state["sums"], sums)}

    return step


class Stepper:
    """One backend taking single steps from any state given as host arrays."""

    def __init__(self, backend: Backend, recipe: Recipe, model: Model, dataset: Dataset) -> None:
        self.backend = backend
        step = make_comparison_step(
            activation=ACTIVATIONS[model.activation],
            loss=make_loss(recipe),
            optimizer=make_optimizer(recipe),
            xp=backend.xp,
        )
        self._run = backend.scan(step)
        prepared = model.prepare(dataset.x_train, dataset.y_train, backend.dtype)
        self._data = tree_map(backend.asarray, prepared)
        self._zero = zero_sums(model, backend.dtype)

    def __call__(self, state: Any, indices: np.ndarray, rate: float) -> tuple[Any, Named]:
        """The next state (host, the backend's dtype) and every tensor of the step by name."""
        backend = self.backend
        given = tree_map(lambda a: a.astype(backend.dtype), state)
        given |= {"grads": tree_map(np.zeros_like, given["params"]), "sums": self._zero}
        inputs = (backend.asarray(indices[None]), backend.asarray(np.array([rate], backend.dtype)))
        result = tree_map(backend.to_numpy, self._run(tree_map(backend.asarray, given), inputs, (self._data,)))
        sums = result.pop("sums")
        total = sums["squared_error"].sum() if "squared_error" in sums else sums["loss"]
        tensors = dict(named_leaves(result)) | {"loss": total / sums["weight"]}
        del result["grads"]
        return result, tensors


def compare(recipe: Recipe, dataset: Dataset, plan: Plan, backends: list[Backend], steps: int) -> Comparison:
    """Take the first `steps` steps of the recipe on each backend (open in its own dtype) beside the reference."""
    exact = replace(recipe, dtype="float64")
    model = Model.of(exact, dataset, plan.training_rows)
    reference = Stepper(select("cpu", "numpy", "float64"), exact, model, dataset)
    steppers = [Stepper(backend, recipe, model, dataset) for backend in backends]
    # Every backend starts from the bytes it would train from: the draw, rounded to its dtype.
    start = initial_state(recipe, model, make_optimizer(recipe))
    state = tree_map(lambda a: a.astype(np.float64), start)
    free_reference, free = state, [start for _ in backends]
    worst: list[dict[str, tuple[float, float]]] = [{} for _ in backends]
    parted: list[dict[str, float]] = [{} for _ in backends]
    kinks: list[Kink] = []
    for number, indices, rate in batches(recipe, plan, steps):
        near = near_kinks(number, state, indices, model, dataset, bound("grads", recipe.dtype))
        kinks += near
        judged = without_rows(indices, {kink.row for kink in near})
        next_state, expected = reference(state, judged, rate)
        next_free, expected_free = reference(free_reference, indices, rate)
        for i, stepper in enumerate(steppers):
            _, tensors = stepper(state, judged, rate)
            worst[i] = {
                name: worse(difference(tensors[name], expected[name]), worst[i].get(name, (0.0, 0.0)))
                for name in expected
            }
            free[i], tensors = stepper(free[i], indices, rate)
            parted[i] = {name: difference(tensors[name], expected_free[name])[1] for name in expected}
        state, free_reference = next_state, next_free
    differences = [
        Difference(s.backend.name, s.backend.device, name, *worst[i][name], bound(name, recipe.dtype), parted[i][name])
        for i, s in enumerate(steppers)
        for name in sorted(worst[i], key=tensor_order)
    ]
    return Comparison(differences, kinks)


def batches(recipe: Recipe, plan: Plan, steps: int) -> list[tuple[int, np.ndarray, float]]:
    """Number, indices (B,) and rate of the first `steps` steps, over as many epochs as they take."""
    rows: list[np.ndarray] = []
    epoch = 0
    while len(rows) < steps:
        epoch += 1
        rows += [batch for span in epoch_spans(plan, epoch_order(recipe, plan, epoch)) for batch in span]
    total = max(plan.epochs * plan.steps_per_epoch, steps)
    rates = SCHEDULES[recipe.schedule](np.arange(steps), total, recipe.lr, recipe.warmup)
    return [(number, rows[number], float(rates[number])) for number in range(steps)]


def without_rows(indices: np.ndarray, rows: set[int]) -> np.ndarray:
    """A batch of the same size with the given rows replaced by its first other row, if there is one."""
    clean = [row for row in range(len(indices)) if row not in rows]
    return np.array([indices[clean[0]] if row in rows and clean else index for row, index in enumerate(indices)])


def bound(tensor: str, dtype: str) -> float:
    """The bound of a tensor, by the kind that its name begins with and, of parameters, the kind it ends with."""
    kind, _, path = tensor.partition(".")
    return BOUNDS[f"params.{path[-1]}" if kind == "params" else kind] * float(np.finfo(dtype).eps)


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """max|a - b| and max|a - b| / max|b|."""
    absolute = float(np.max(np.abs(found - expected)))
    scale = float(np.max(np.abs(expected)))
    return absolute, absolute / scale if scale > 0 else absolute


def worse(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """The larger of each pair; NaN if either is, where Python's max would depend on their order."""
    return float(np.maximum(a[0], b[0])), float(np.maximum(a[1], b[1]))


def tensor_order(name: str) -> tuple[int, str]:
    """The loss first, then gradients, then what the update makes of them."""
    kinds = ("loss", "grads", "velocity", "params")
    return kinds.index(name.partition(".")[0]), name


def near_kinks(
    step: int, state: Any, indices: np.ndarray, model: Model, dataset: Dataset, tolerance: float
) -> list[Kink]:
    """Hidden ReLU units of this batch with |z| under `tolerance` times the layer's largest |z|."""
    if model.activation != "relu":
        return []
    rows = model.prepare(dataset.x_train[indices], dataset.y_train[indices], "float64")
    batch = take_batch(rows, np.arange(len(indices)), np.float64, xp=np)
    _, inputs = forward(state["params"], batch["x"], activation=ACTIVATIONS["relu"], xp=np)
    kinks = []
    for layer, (a, parameters) in enumerate(zip(inputs[:-1], state["params"][:-1], strict=True)):
        z = a @ parameters["W"] + parameters["b"]
        for row, unit in np.argwhere(np.abs(z) <= tolerance * np.max(np.abs(z))):
            kinks.append(Kink(step, layer, int(row), int(unit), float(z[row, unit])))
    return kinks
