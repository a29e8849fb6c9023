"""Lagvis and its competitors. Each trains a Problem, an epoch a call, as an expert of that library would write it.

`epoch(batches)` returns the mean training loss over the epoch, or None where a competitor shuffles by itself;
`weights()` returns the network as (W, b) a layer, or None where there is no network.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.jax_competitors import JaxScan, JaxStep
from benchmarks.problem import LEARNING_RATE, Batches, Problem, split_method
from benchmarks.torch_competitors import TorchCompile, TorchEager, TorchGraph, TorchTutorial
from lagvis.backends.backend import Backend
from lagvis.backends.blas_threads import blas_threads
from lagvis.backends.registry import select
from lagvis.training.evaluation import zero_totals
from lagvis.training.events import EpochEnded
from lagvis.training.factory import initial_state, make_training_step
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.tree import tree_map

Weights = list[tuple[np.ndarray, np.ndarray]]


def accuracy_of(weights: Weights, problem: Problem) -> float:
    """Return the test accuracy of a ReLU network with these (W, b)."""
    a = problem.dataset.x_test / np.float32(255)
    for w, b in weights[:-1]:
        a = np.maximum(a @ w + b, 0)
    w, b = weights[-1]
    return float(np.mean(np.argmax(a @ w + b, axis=1) == problem.dataset.y_test))


def product_of(backend: Backend, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b, computed by a backend."""

    def step(state: dict[str, Any], rows: Any) -> dict[str, Any]:
        return {"out": rows @ state["b"], "b": state["b"]}

    state = {"out": np.zeros((len(a), b.shape[1]), a.dtype), "b": b}
    arrays = tree_map(backend.asarray, state)
    return backend.to_numpy(backend.scan(step)(arrays, (backend.asarray(a[None]),), ())["out"])


class Lagvis:
    """Lagvis on one backend: the loop that train.py runs, with its copy of the state for a checkpoint."""

    def __init__(self, backend: str, problem: Problem) -> None:
        self.backend = backend
        self.events = fit(problem.recipe, problem.dataset, problem.plan, select(problem.device, self.backend))
        next(self.events)
        self.problem = problem

    def epoch(self, batches: Batches) -> float | None:
        self.ended = next(event for event in self.events if isinstance(event, EpochEnded))
        return self.ended.train.loss

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b as the step computes it."""
        return product_of(select(self.problem.device, self.backend), a, b)

    def weights(self) -> Weights | None:
        return [(layer["W"], layer["b"]) for layer in self.ended.checkpoint.layers]


class LagvisEpoch:
    """The training step of Lagvis, all full batches of an epoch in one call of the backend: one synchronisation."""

    def __init__(self, backend: str, problem: Problem) -> None:
        recipe, dataset = problem.recipe, problem.dataset
        self.problem, self.backend = problem, select(problem.device, backend)
        model = Model.of(recipe, dataset, problem.plan.training_rows)
        self.call = self.backend.scan(make_training_step(recipe, xp=self.backend.xp))
        self.arrays = tree_map(self.backend.asarray, initial_state(recipe, model))
        prepared = model.prepare(dataset.x_train, dataset.y_train, recipe.dtype)
        self.data = tree_map(self.backend.asarray, prepared)
        self.zero = zero_totals(model, recipe.dtype)

    def epoch(self, batches: Batches) -> float | None:
        asarray, rows = self.backend.asarray, len(batches[0])
        full = [batch for batch in batches if len(batch) == rows]
        groups = [np.stack(full), *(batch[None] for batch in batches[len(full) :])]
        state = self.arrays | {"totals": tree_map(asarray, self.zero)}
        with self.backend.limited_threads(self.problem.plan.threads):
            for indices in groups:
                rates = np.full(len(indices), LEARNING_RATE, self.problem.recipe.dtype)
                state = self.call(state, (asarray(indices), {"learning_rate": asarray(rates)}), (self.data,))
            self.backend.synchronize()
        totals = tree_map(self.backend.to_numpy, state.pop("totals"))
        self.arrays = state
        return float(totals["loss"] / totals["weight"])

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b as the step computes it."""
        return product_of(self.backend, a, b)

    def weights(self) -> Weights | None:
        params = tree_map(self.backend.to_numpy, self.arrays["params"])
        return [(layer["W"], layer["b"]) for layer in params]


class ScikitLearn:
    """scikit-learn: MLPClassifier, one partial_fit an epoch."""

    def __init__(self, problem: Problem) -> None:
        from sklearn.neural_network import MLPClassifier

        self.problem = problem
        self.x = (problem.dataset.x_train / 255.0).astype(np.float32)
        self.model = MLPClassifier(
            problem.recipe.hidden, solver="sgd", alpha=0.0, batch_size=problem.plan.batch_size,
            learning_rate_init=LEARNING_RATE, momentum=0.0, random_state=0,
        )  # fmt: skip

    def epoch(self, batches: Batches) -> float | None:
        self.model.partial_fit(self.x, self.problem.dataset.y_train, classes=np.arange(10))
        return None

    def weights(self) -> Weights | None:
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


class LagvisEstimator:
    """Lagvis through scikit-learn's interface: MLPClassifier, one partial_fit an epoch, as scikit-learn's own has it.

    An epoch of its `fit` is one of `Lagvis`; each call of partial_fit checks the rows and begins anew.
    """

    def __init__(self, problem: Problem) -> None:
        from lagvis.api.estimators import MLPClassifier

        self.dataset = problem.dataset
        self.model = MLPClassifier(problem.recipe, random_state=problem.recipe.seed, backend="numpy", device="cpu")

    def epoch(self, batches: Batches) -> float | None:
        self.model.partial_fit(self.dataset.x_train, self.dataset.y_train, classes=np.arange(10))
        return float(self.model.loss_)

    def weights(self) -> Weights | None:
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


class Keras:
    """Keras 3 on JAX: Sequential, compile, fit."""

    def __init__(self, problem: Problem) -> None:
        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        self.problem = problem
        self.x = (problem.dataset.x_train / 255.0).astype(np.float32)
        layers = [keras.layers.Dense(width, activation="relu") for width in problem.recipe.hidden]
        self.model = keras.Sequential([keras.Input((784,)), *layers, keras.layers.Dense(10)])
        self.model.set_weights([array for layer in problem.weights() for array in (layer["W"], layer["b"])])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=keras.optimizers.SGD(LEARNING_RATE), loss=loss)

    def epoch(self, batches: Batches) -> float | None:
        self.model.fit(self.x, self.problem.dataset.y_train, batch_size=self.problem.plan.batch_size, verbose=0)
        return None

    def weights(self) -> Weights | None:
        flat = self.model.get_weights()
        return list(zip(flat[::2], flat[1::2], strict=True))


class MatrixProducts:
    """A lower bound: only the matrix products of the steps, in NumPy's BLAS, into preallocated arrays."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        rng = np.random.default_rng(0)
        self.shapes: dict[int, Any] = {}
        self.parameters = [layer["W"] for layer in problem.weights()]
        for rows in {len(batch) for batch in problem.batches(1)}:
            a = [rng.normal(size=(rows, n)).astype(np.float32) for n in problem.widths]
            deltas = [np.empty_like(x) for x in a]
            self.shapes[rows] = (a, deltas, [np.empty_like(w) for w in self.parameters])

    def epoch(self, batches: Batches) -> float | None:
        with blas_threads().limited(self.problem.plan.threads):
            for batch in batches:
                a, deltas, grads = self.shapes[len(batch)]
                for i, w in enumerate(self.parameters):
                    np.matmul(a[i], w, out=deltas[i + 1])
                for i in reversed(range(len(self.parameters))):
                    np.matmul(a[i].T, a[i + 1], out=grads[i])
                    if i > 0:
                        np.matmul(a[i + 1], self.parameters[i].T, out=deltas[i])
        return None

    def weights(self) -> Weights | None:
        return None


# name: (how it is made, devices it runs on)
COMPETITORS: dict[str, tuple[Callable[[Problem], Any], tuple[str, ...]]] = {
    "lagvis numpy": (partial(Lagvis, "numpy"), ("cpu",)),
    "lagvis cupy": (partial(Lagvis, "cupy"), ("cuda",)),
    "lagvis cupy, an epoch a call": (partial(LagvisEpoch, "cupy"), ("cuda",)),
    "lagvis torch": (partial(Lagvis, "torch"), ("cpu", "cuda")),
    "lagvis torch, an epoch a call": (partial(LagvisEpoch, "torch"), ("cuda",)),
    "lagvis jax": (partial(Lagvis, "jax"), ("cpu", "cuda")),
    "lagvis jax, an epoch a call": (partial(LagvisEpoch, "jax"), ("cuda",)),
    "PyTorch eager": (TorchEager, ("cpu", "cuda")),
    "PyTorch CUDA graph": (TorchGraph, ("cuda",)),
    "PyTorch tutorial": (TorchTutorial, ("cpu", "cuda")),
    "torch.compile": (TorchCompile, ("cpu", "cuda")),
    "JAX jit a step": (JaxStep, ("cpu", "cuda")),
    "JAX jit + scan": (JaxScan, ("cpu", "cuda")),
    "lagvis MLPClassifier": (LagvisEstimator, ("cpu",)),
    "scikit-learn": (ScikitLearn, ("cpu",)),
    "Keras 3 on JAX": (Keras, ("cpu",)),
    "products alone": (MatrixProducts, ("cpu",)),
}
# those that train with every method of METHODS
WITH_METHODS = ("lagvis numpy", "lagvis torch", "lagvis jax", "PyTorch eager")
# what the others are compared with, by device
REFERENCE = {"cpu": "lagvis numpy", "cuda": "lagvis cupy"}
# The same library used by hand, which a backend of Lagvis is compared with too.
BY_HAND = {"lagvis torch": "PyTorch eager", "lagvis jax": "JAX jit + scan"}
# left out where the whole command is to be short: they start or train slowly, or a faster form of them runs
SLOW = {
    "cpu": ("PyTorch tutorial", "torch.compile", "JAX jit a step"),
    "cuda": ("lagvis torch", "lagvis jax", "PyTorch tutorial", "torch.compile", "JAX jit a step"),
}


def has_method(name: str, network: str) -> bool:
    """Return whether a competitor can train a network with the method in its name."""
    return name in WITH_METHODS or not split_method(network)[1]


def compared_pairs(names: list[str], reference: str) -> list[tuple[str, str]]:
    """Return the pairs of competitors whose times are compared: each with the reference, some also with BY_HAND.

    The first of the names takes the place of a reference that cannot run.
    """
    first = reference if reference in names else next(iter(names), "")
    pairs = [(name, first) for name in names if name != first]
    return pairs + [(a, b) for a, b in BY_HAND.items() if a in names and b in names and first not in (a, b)]


def names_of(device: str, *, limited: bool) -> list[str]:
    """Return the competitors on a device; without the slow ones if the time of the command is limited."""
    names = [name for name, (_, devices) in COMPETITORS.items() if device in devices]
    return [name for name in names if not (limited and name in SLOW[device])]
