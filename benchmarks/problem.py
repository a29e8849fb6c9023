"""The task of all competitors: the same network and initial weights, the same batches, plain gradient descent."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.network.initializers import he_normal, initialize
from lagvis.training.plan import Plan, epoch_order, make_plan
from lagvis.training.recipe import Recipe
from lagvis.training.seeding import generator

LEARNING_RATE = 0.05
# Settings of plain gradient descent, which all competitors support.
PLAIN: dict[str, Any] = {"label_smoothing": 0.0, "momentum": 0.0, "nesterov": False, "schedule": "constant"}
Batches = list[np.ndarray]
# name: (hidden widths, batch size)
NETWORKS = {
    "784-32-32-10, batch 200": ((32, 32), 200),
    "784-64-64-64-10, batch 128": ((64, 64, 64), 128),
    "784-512-512-10, batch 128": ((512, 512), 128),
    "784-1000-500-10, batch 1000": ((1000, 500), 1000),
}


@dataclass
class Problem:
    """A network of NETWORKS on the 60,000 training digits of MNIST, on a device."""

    network: str
    device: str = "cpu"

    @cached_property
    def dataset(self) -> Dataset:
        """MNIST."""
        return load_dataset("mnist")

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the network."""
        hidden, batch_size = NETWORKS[self.network]
        return Recipe(hidden=hidden, batch_size=batch_size, lr=LEARNING_RATE, validation=0, epochs=1000, **PLAIN)

    @cached_property
    def plan(self) -> Plan:
        """The plan: all rows are trained on, the last, shorter batch too."""
        return make_plan(self.recipe, self.dataset)

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of all layers, input and output included."""
        return (784, *self.recipe.hidden, 10)

    def weights(self) -> list[dict[str, np.ndarray]]:
        """Return the initial weights of the recipe in float32."""
        layers = initialize(self.widths, he_normal, generator(self.recipe.seed, "weights"))
        return [{name: array.astype(np.float32) for name, array in layer.items()} for layer in layers]

    def batches(self, epoch: int) -> Batches:
        """Return the rows of each step of epoch 1, 2, ..., in the order of a run of the recipe."""
        order = epoch_order(self.recipe, self.plan, epoch)
        return [order[first : first + self.plan.batch_size] for first in range(0, len(order), self.plan.batch_size)]
