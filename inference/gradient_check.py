"""Check backpropagation on a recipe and its data: each gradient against central differences of the loss, in float64.

docs/math.md derives the step of the differences and the bound. Rows, dropout masks, noise and mixed rows are those of
one training step, and stay fixed; normalisation uses the statistics of its batch, which move with the weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagvis.arrays import Namespace
from lagvis.data.dataset import Dataset
from lagvis.inference.comparison import Kink, batches, without_kinks
from lagvis.inference.reference import Distances, Named, Reference
from lagvis.inference.rounding import MAX_ERROR, Rounding, sampled_deviations
from lagvis.network.optimizers import Optimizer
from lagvis.training.factory import initial_state
from lagvis.training.model import Model
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe
from lagvis.training.sample_weights import row_weights

Objective = Callable[[Any], tuple[float, Distances]]

EPSILON = float(np.finfo(np.float64).eps)
# Numbers that are checked of each tensor, drawn by the seed; all of them if it has no more.
MAX_CHECKED = 20
# Step of the differences where the loss and its third derivative are of one size.
STEP = (3.0 * EPSILON) ** (1.0 / 3.0)
# How often the step is halved where the loss is more curved than that.
MAX_HALVINGS = 5
# Deviation of the biases that are drawn for the check before the first step, and the number of that draw.
BIAS_DEVIATION, BIASES = 0.1, 1
# Largest bound, as a share of the layer's largest gradient, that says something.
MAX_BOUND = 1e-5


@dataclass(frozen=True)
class GradientDifference:
    """Largest difference of one tensor's gradient from central differences, at one state.

    step        steps that were taken before this state
    layer       from 0
    tensor      "W", "b" or "gamma"
    size        numbers in the tensor
    checked     numbers that were checked
    replaced    numbers that were drawn and replaced, since a unit of a row, or an error, crosses a kink of the
                activation or of the loss within the step of the differences
    difference  of the number that came nearest to its bound, as a share of the layer's largest gradient
    bound       of that number, as the same share
    """

    step: int
    layer: int
    tensor: str
    size: int
    checked: int
    replaced: int
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the bound holds, and says something; never for NaN."""
        return self.resolved and self.difference <= self.bound

    @property
    def resolved(self) -> bool:
        """Whether numbers were checked with a bound that says something."""
        return self.bound <= MAX_BOUND


@dataclass(frozen=True)
class GradientCheck:
    """Differences of all tensors, and the units at a kink within rounding, whose rows were replaced."""

    differences: list[GradientDifference]
    kinks: list[Kink]

    @property
    def passed(self) -> bool:
        """Whether every bound holds."""
        return all(difference.passed for difference in self.differences)


def check_gradients(recipe: Recipe, dataset: Dataset, plan: Plan, steps: int) -> GradientCheck:
    """Check the gradient of every tensor, in float64 on NumPy, at the initial state and after so many steps.

    The initial state has biases that are drawn instead of 0.
    """
    exact = replace(recipe, dtype="float64")
    model = Model.of(exact, dataset, plan.training_rows)
    weights = row_weights(exact, dataset, plan.training_rows, "float64")
    reference = Reference(exact, model, dataset, weights)
    state = initial_state(exact, model)
    differences: list[GradientDifference] = []
    kinks: list[Kink] = []
    for number, indices, scalars in batches(exact, plan, steps + 1):
        if number in (0, steps):
            at = state if number else state | {"params": with_biases(state["params"], exact.seed)}
            judged, _, near = without_kinks(reference, at, indices, scalars, EPSILON)
            kinks += [Kink(number, *place) for place in near]
            differences += check_step(reference, at, number, judged, scalars)
        state, _, _ = reference.step(state, indices, scalars)
    return GradientCheck(differences, kinks)


def with_biases(params: Any, seed: int) -> Any:
    """Return parameters with biases drawn at random.

    Where they are 0, every unit of a row that no unit before reaches (dropped, or 0 after ReLU) is at its kink.
    """
    rng = np.random.default_rng([seed, BIASES])
    return [layer | {"b": rng.normal(0.0, BIAS_DEVIATION, layer["b"].shape)} for layer in params]


def check_step(
    reference: Reference, state: Any, number: int, indices: np.ndarray, scalars: Named
) -> list[GradientDifference]:
    """Check the gradient of every tensor in one step."""
    _, tensors, _ = reference.step(state, indices, scalars)

    def rounded_loss(rounding: Rounding) -> np.ndarray:
        return reference.step(state, indices, scalars, rounding=rounding)[1]["loss"]

    rounding = MAX_ERROR * EPSILON * float(sampled_deviations(rounded_loss, tensors["loss"], EPSILON))

    def objective(params: Any) -> tuple[float, Distances]:
        at = state | {"params": params}
        _, moved, distances = reference.step(at, indices, scalars, optimizer=Optimizer({}, keep_params))
        return float(moved["loss"]), distances

    found = []
    for layer, layer_params in enumerate(state["params"]):
        scale = max(float(np.max(np.abs(tensors[f"grads.{layer}.{name}"]))) for name in layer_params) or 1.0
        for name in layer_params:
            order = np.random.default_rng([reference.recipe.seed, layer, number]).permutation(layer_params[name].size)
            derivatives = Derivatives(objective, state["params"], layer, name, rounding)
            found.append(check_tensor(derivatives, tensors[f"grads.{layer}.{name}"], scale, order, number))
    return found


def keep_params(
    params: Any, grads: Any, optimizer_state: Any, scalars: Any, *, xp: Namespace
) -> tuple[Any, dict[str, Any]]:
    """Return the parameters as they are: the update of a step of which only the loss is needed."""
    return params, {}


@dataclass(frozen=True)
class Derivatives:
    """Derivatives of an objective by the numbers of one tensor, as central differences.

    rounding  how far rounding may move the objective
    """

    objective: Objective
    params: Any
    layer: int
    name: str
    rounding: float

    def at(self, place: int) -> tuple[float, float] | None:
        """Return the derivative by one number, and its bound; None if something crosses a kink within the step.

        The step is halved while the error of the difference, estimated by a step twice as long, is larger than that of
        rounding.
        """
        value = float(self.params[self.layer][self.name].flat[place])
        step = STEP * max(1.0, abs(value))
        best = None
        for _ in range(MAX_HALVINGS + 1):
            points = [value - 2.0 * step, value - step, value + step, value + 2.0 * step]
            values, distances = zip(*(self.moved(place, point) for point in points), strict=True)
            if same_sides(distances):
                derivative = (values[2] - values[1]) / (points[2] - points[1])
                curvature = abs((values[3] - values[0]) / (points[3] - points[0]) - derivative)
                best = derivative, curvature + self.rounding / step
                if curvature <= self.rounding / step:
                    break
            step /= 2.0
        return best

    def moved(self, place: int, value: float) -> tuple[float, Distances]:
        """Return the objective where one number of the tensor has another value."""
        tensor = self.params[self.layer][self.name].copy()
        tensor.flat[place] = value
        layer = self.params[self.layer] | {self.name: tensor}
        return self.objective([*self.params[: self.layer], layer, *self.params[self.layer + 1 :]])


def check_tensor(
    derivatives: Derivatives, gradient: np.ndarray, scale: float, order: np.ndarray, step: int
) -> GradientDifference:
    """Check numbers of one tensor in the given order, until enough of them are checked.

    scale  the largest gradient of the layer
    """
    differences: list[float] = []
    bounds: list[float] = []
    replaced = 0
    for place in order.tolist():
        if len(differences) == MAX_CHECKED:
            break
        result = derivatives.at(place)
        if result is None:
            replaced += 1
        else:
            differences.append(abs(result[0] - gradient.flat[place]))
            bounds.append(result[1])
    # the place of a NaN if there is one
    worst = int(np.argmax(np.array(differences) / np.array(bounds))) if differences else None
    return GradientDifference(
        step=step,
        layer=derivatives.layer,
        tensor=derivatives.name,
        size=gradient.size,
        checked=len(differences),
        replaced=replaced,
        difference=math.nan if worst is None else float(differences[worst] / scale),
        bound=math.nan if worst is None else float(bounds[worst] / scale),
    )


def same_sides(distances: tuple[Distances, ...]) -> bool:
    """Return whether everything is on one side of its kink at all points."""
    first, *others = ([side for _, z in point for side in (z > 0, z < 0)] for point in distances)
    return all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
