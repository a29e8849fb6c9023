"""The steps of the reference: those of training, with NumPy in float64, taken one by one from any state.

They also tell how near the numbers of a step are to their kinks, and can be taken with random rounding.
"""

from typing import Any

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.backends.backend import plain_loop
from lagvis.backends.numpy_backend import NumpyBackend
from lagvis.data.dataset import Dataset
from lagvis.inference.rounding import Rounding
from lagvis.network.activations import ACTIVATIONS, Activation
from lagvis.network.losses import LOSSES, Loss
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import make_loss, make_training_step, step_constants
from lagvis.training.model import Model
from lagvis.training.plan import as_batches
from lagvis.training.recipe import Recipe
from lagvis.tree import named_leaves, tree_map

Named = dict[str, np.ndarray]
Distances = list[tuple[int, np.ndarray]]


class Reference:
    """Takes single steps of a recipe with dtype float64."""

    def __init__(self, recipe: Recipe, model: Model, dataset: Dataset, weights: Named) -> None:
        self.recipe = recipe
        self._model, self._dataset, self._weights = model, dataset, weights
        self._constants = step_constants(
            recipe, model.widths, min(recipe.batch_size * recipe.accumulate, len(dataset.x_train))
        )
        self._zero = zero_totals(model, "float64", objective=True)

    def step(
        self, state: Any, indices: np.ndarray, scalars: Named, *, rounding: Rounding | None = None, **parts: Any
    ) -> tuple[Any, Named, Distances]:
        """Return the next state, every tensor of the step by name, and the distances from kinks.

        Distances are (layer, differences (B, n)): of z of each hidden layer from the kink of its activation, and of the
        errors of the last layer from each kink of the loss. With `rounding` the inputs and all operations are rounded
        at random; `parts` are arguments of `make_step` that take the place of the recipe's.
        """
        distances: Distances = []
        watched = {
            "activation": watch_activation(ACTIVATIONS[self.recipe.activation], distances),
            "loss": watch_loss(self.recipe, len(self._model.widths) - 2, distances),
        }
        xp = rounding.xp if rounding else NumpyBackend.xp
        step = make_training_step(self.recipe, keep_gradients=True, loop=plain_loop, xp=xp, **(watched | parts))
        rows = indices.reshape(-1)
        batches = as_batches(self.recipe, np.arange(len(rows))[None])
        data = self._model.prepare(self._dataset.x_train[rows], self._dataset.y_train[rows], "float64")
        data |= {name: w[rows] for name, w in self._weights.items()} | self._constants
        given = state
        if rounding:
            given, data, scalars = (rounding.inputs(tree) for tree in (state, data, scalars))
        with np.errstate(over="ignore", invalid="ignore"):
            result = step(given | {"totals": self._zero}, tree_map(lambda a: a[0], batches), scalars, data)
        if isinstance(batches, list):
            distances = join_batches(distances, sum(part.shape[1] for part in batches))
        return {name: result[name] for name in state}, tensors_of(result, len(rows)), distances


def join_batches(distances: Distances, batches: int) -> Distances:
    """Return the distances of the rows of a step, from those of so many batches, one after the other."""
    size = len(distances) // batches
    return [(distances[i][0], np.concatenate([found for _, found in distances[i::size]])) for i in range(size)]


def tensors_of(result: Any, rows: int) -> Named:
    """Return every tensor of the result of a step of so many rows by name; of its totals the "loss" alone.

    It is what the step minimises: the mean objective of its rows, each times its weight.
    """
    tensors = named_leaves({name: tree for name, tree in result.items() if name != "totals"})
    return dict(tensors) | {"loss": result["totals"]["objective"] / rows}


def watch_activation(activation: Activation, distances: Distances) -> Activation:
    """Return the activation; if it has a kink, it adds each z (B, n) that it is applied to, layer by layer."""
    if not activation.has_kink:
        return activation

    def forward(z: Array, xp: Namespace) -> Array:
        distances.append((len(distances), np.asarray(z)))
        return activation.forward(z, xp)

    return activation._replace(forward=forward)


def watch_loss(recipe: Recipe, layer: int, distances: Distances) -> Loss:
    """Return the loss of a recipe; if it has kinks, it adds the distances (B, n_out) of its errors from them."""
    loss = make_loss(recipe)
    entry = LOSSES[recipe.loss]
    kinks = entry.kinks(**recipe.settings_of(entry))

    def watched(z: Array, target: Array, *, xp: Namespace) -> tuple[Array, Array, Array]:
        distances.extend((layer, np.asarray(z - target - kink)) for kink in kinks)
        return loss(z, target, xp=xp)

    return watched if kinks else loss
