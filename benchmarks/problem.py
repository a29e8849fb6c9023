"""The task of all competitors: the same network and initial weights, the same batches, the same method."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.network.initializers import he_normal, initialize
from lagvis.training.plan import Plan, epoch_order, make_plan, operations
from lagvis.training.recipe import Recipe
from lagvis.training.seeding import generator

LEARNING_RATE = 0.05
# Settings of plain gradient descent on pixels from 0 to 1, which all competitors support.
PLAIN: dict[str, Any] = {
    "pixel_scaling": "unit",
    "label_smoothing": 0.0,
    "momentum": 0.0,
    "nesterov": False,
    "schedule": "constant",
}
Batches = list[np.ndarray]
# name: (hidden widths, batch size, devices it is measured on)
NETWORKS: dict[str, tuple[tuple[int, ...], int, tuple[str, ...]]] = {
    "784-32-32-10, batch 200": ((32, 32), 200, ("cpu", "cuda")),
    "784-64-64-64-10, batch 128": ((64, 64, 64), 128, ("cpu", "cuda")),
    "784-512-512-10, batch 128": ((512, 512), 128, ("cpu",)),
    "784-1000-500-10, batch 1000": ((1000, 500), 1000, ("cpu", "cuda")),
    "784-2500-2000-1500-1000-500-10, batch 1000": ((2500, 2000, 1500, 1000, 500), 1000, ("cuda",)),
}
# Methods beside plain gradient descent, each on the paper's networks: settings of the recipe.
METHODS: dict[str, dict[str, Any]] = {
    "Adam": {"optimizer": "adam", "lr": 0.001, "momentum": None, "nesterov": None},
    "dropout": {"dropout": 0.25},
    "batch norm": {"normalization": "batch"},
}
METHOD_NETWORKS = ("784-32-32-10, batch 200", "784-64-64-64-10, batch 128")


def methods_of(device: str) -> list[str]:
    """Return the names of the networks that are measured with other methods on a device: "NETWORK, METHOD"."""
    if device != "cpu":
        return []
    return [f"{network}, {method}" for method in METHODS for network in METHOD_NETWORKS]


def split_method(name: str) -> tuple[str, str]:
    """Return the network of NETWORKS and the method of METHODS in a name; no method where it is gradient descent."""
    network, _, method = name.rpartition(", ")
    return (network, method) if method in METHODS else (name, "")


def networks_of(device: str) -> list[str]:
    """Return the names of the networks that are measured on a device."""
    return [name for name, (_, _, devices) in NETWORKS.items() if device in devices]


@dataclass
class Problem:
    """A network of NETWORKS on the 60,000 training digits of MNIST, on a device, maybe with a method of METHODS."""

    network: str
    device: str = "cpu"

    @cached_property
    def dataset(self) -> Dataset:
        """MNIST."""
        return load_dataset("mnist")

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the network."""
        network, method = split_method(self.network)
        hidden, batch_size, _ = NETWORKS[network]
        settings = {"lr": LEARNING_RATE} | PLAIN | METHODS.get(method, {})
        return Recipe(hidden=hidden, batch_size=batch_size, validation=0, epochs=1000, **settings)

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
        normalized = self.recipe.normalization != "none"
        layers = initialize(self.widths, he_normal, generator(self.recipe.seed, "weights"), normalized=normalized)
        return [{name: array.astype(np.float32) for name, array in layer.items()} for layer in layers]

    def batches(self, epoch: int) -> Batches:
        """Return the rows of each step of epoch 1, 2, ..., in the order of a run of the recipe."""
        order = epoch_order(self.recipe, self.plan, epoch)
        return [order[first : first + self.plan.batch_size] for first in range(0, len(order), self.plan.batch_size)]

    def epoch_operations(self) -> int:
        """Return the multiplications and additions of the matrix products of an epoch."""
        return operations(self.widths, len(self.dataset.x_train))

    def epoch_bytes(self) -> int:
        """Return the fewest bytes that an epoch moves: each row read once, each parameter read and written a step."""
        parameters = sum(n_in * n_out + n_out for n_in, n_out in pairwise(self.widths))
        rows, columns = self.dataset.x_train.shape
        return rows * columns + 2 * 4 * parameters * self.plan.steps_per_epoch
