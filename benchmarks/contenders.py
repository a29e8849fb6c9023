"""Us and the peers. Each trains a Problem, an epoch a call, as someone who knows that library would write it.

`epoch(batches)` returns the mean training loss over the epoch, or None where a peer shuffles by itself and starts from
weights of its own; `accuracy()` is on the test digits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from backends import select
from benchmarks.problem import RATE, Problem
from training.events import EpochEnded
from training.loop import fit

Batches = list[np.ndarray]


def accuracy_of(weights: list[tuple[np.ndarray, np.ndarray]], problem: Problem) -> float:
    """Share of the test digits that a ReLU network with these (W, b) gets right."""
    a = problem.dataset.x_test / np.float32(255)
    for w, b in weights[:-1]:
        a = np.maximum(a @ w + b, 0)
    w, b = weights[-1]
    return float(np.mean(np.argmax(a @ w + b, axis=1) == problem.dataset.y_test))


class Lagvis:
    """Ours, on one backend: the loop that train.py runs, its copy of the state for a checkpoint included."""

    backend = "numpy"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.events = fit(problem.recipe, problem.dataset, problem.plan, select("cpu", self.backend))
        next(self.events)

    def epoch(self, batches: Batches) -> float | None:
        self.ended = next(event for event in self.events if isinstance(event, EpochEnded))
        return self.ended.train.loss

    def accuracy(self) -> float:
        return accuracy_of([(layer["W"], layer["b"]) for layer in self.ended.state["params"]], self.problem)


class LagvisTorch(Lagvis):
    """Ours on PyTorch's arrays."""

    backend = "torch"


class LagvisJax(Lagvis):
    """Ours on JAX's arrays."""

    backend = "jax"


class TorchEager:
    """PyTorch by hand: autograd, and the step in place."""

    def __init__(self, problem: Problem) -> None:
        import torch

        self.torch, self.problem = torch, problem
        self.x = torch.tensor(problem.dataset.x_train)
        self.y = torch.tensor(problem.dataset.y_train.astype(np.int64))
        self.layers = [
            (torch.tensor(layer["W"], requires_grad=True), torch.tensor(layer["b"], requires_grad=True))
            for layer in problem.weights()
        ]

    def epoch(self, batches: Batches) -> float | None:
        torch, total = self.torch, 0.0
        for rows in batches:
            index = torch.from_numpy(rows)
            a = self.x.index_select(0, index).float().mul_(1 / 255)
            for w, b in self.layers[:-1]:
                a = torch.relu(torch.addmm(b, a, w))
            w, b = self.layers[-1]
            loss = torch.nn.functional.cross_entropy(torch.addmm(b, a, w), self.y.index_select(0, index))
            loss.backward()
            with torch.no_grad():
                for parameter in (p for layer in self.layers for p in layer):
                    parameter.sub_(parameter.grad, alpha=RATE)
                    parameter.grad = None
            total += loss.detach() * len(rows)
        return float(total) / len(self.y)

    def accuracy(self) -> float:
        return accuracy_of([(w.detach().numpy(), b.detach().numpy()) for w, b in self.layers], self.problem)


class TorchTutorial:
    """PyTorch as its tutorials write it: TensorDataset, DataLoader, nn.Sequential, optim.SGD."""

    def __init__(self, problem: Problem) -> None:
        import torch

        self.torch, self.problem = torch, problem
        torch.manual_seed(0)
        x = torch.tensor(problem.dataset.x_train).float() / 255
        y = torch.tensor(problem.dataset.y_train.astype(np.int64))
        rows = torch.utils.data.TensorDataset(x, y)
        self.loader = torch.utils.data.DataLoader(rows, batch_size=problem.plan.batch_size, shuffle=True)
        layers: list[Any] = []
        for n_in, n_out in zip(problem.widths, problem.widths[1:], strict=False):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
            # PyTorch's own initial weights are smaller and learn later; He's make the accuracies comparable
            torch.nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        self.model = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE)
        self.loss = torch.nn.CrossEntropyLoss()

    def epoch(self, batches: Batches) -> float | None:
        for x, y in self.loader:
            self.optimizer.zero_grad()
            self.loss(self.model(x), y).backward()
            self.optimizer.step()
        return None

    def accuracy(self) -> float:
        linear = [layer for layer in self.model if hasattr(layer, "weight")]
        weights = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]
        return accuracy_of(weights, self.problem)


class JaxStep:
    """JAX, one jitted step at a time."""

    def __init__(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.problem = jax, problem
        self.x, self.y = jnp.asarray(problem.dataset.x_train), jnp.asarray(problem.dataset.y_train.astype(np.int32))
        self.params = [(jnp.array(layer["W"]), jnp.array(layer["b"])) for layer in problem.weights()]

        def loss(params: Any, a: Any, y: Any) -> Any:
            for w, b in params[:-1]:
                a = jax.nn.relu(a @ w + b)
            w, b = params[-1]
            log_p = jax.nn.log_softmax(a @ w + b)
            return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

        def step(params: Any, rows: Any, x: Any, y: Any) -> Any:
            a = x[rows].astype(jnp.float32) * (1 / 255)
            value, grads = jax.value_and_grad(loss)(params, a, y[rows])
            return jax.tree.map(lambda p, g: p - RATE * g, params, grads), value

        self.step = jax.jit(step, donate_argnums=0)
        self.scan = jax.jit(
            lambda params, rows, x, y: jax.lax.scan(lambda p, i: step(p, i, x, y), params, rows), donate_argnums=0
        )

    def epoch(self, batches: Batches) -> float | None:
        total = 0.0
        for rows in batches:
            self.params, value = self.step(self.params, rows, self.x, self.y)
            total += value * len(rows)
        return float(total) / len(self.y)

    def accuracy(self) -> float:
        return accuracy_of([(np.asarray(w), np.asarray(b)) for w, b in self.params], self.problem)


class JaxScan(JaxStep):
    """JAX, a whole epoch in one jitted scan."""

    def epoch(self, batches: Batches) -> float | None:
        full = [rows for rows in batches if len(rows) == len(batches[0])]
        self.params, values = self.scan(self.params, np.stack(full), self.x, self.y)
        total = float(values.sum()) * len(full[0])
        for rows in batches[len(full) :]:
            self.params, value = self.step(self.params, rows, self.x, self.y)
            total += float(value) * len(rows)
        return total / len(self.y)


class ScikitLearn:
    """scikit-learn's MLPClassifier, a partial_fit an epoch."""

    def __init__(self, problem: Problem) -> None:
        from sklearn.neural_network import MLPClassifier

        self.problem = problem
        self.x = (problem.dataset.x_train / 255.0).astype(np.float32)
        self.model = MLPClassifier(
            problem.recipe.hidden, solver="sgd", alpha=0.0, batch_size=problem.plan.batch_size,
            learning_rate_init=RATE, momentum=0.0, random_state=0,
        )  # fmt: skip

    def epoch(self, batches: Batches) -> float | None:
        self.model.partial_fit(self.x, self.problem.dataset.y_train, classes=np.arange(10))
        return None

    def accuracy(self) -> float:
        return accuracy_of(list(zip(self.model.coefs_, self.model.intercepts_, strict=True)), self.problem)


class Products:
    """The floor: the matrix products of the steps in NumPy's BLAS, into arrays made beforehand, and nothing else."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        rng = np.random.default_rng(0)
        self.shapes: dict[int, Any] = {}
        self.weights = [layer["W"] for layer in problem.weights()]
        for rows in {len(batch) for batch in problem.batches(1)}:
            a = [rng.normal(size=(rows, n)).astype(np.float32) for n in problem.widths]
            deltas = [np.empty_like(x) for x in a]
            self.shapes[rows] = (a, deltas, [np.empty_like(w) for w in self.weights])

    def epoch(self, batches: Batches) -> float | None:
        with select("cpu", "numpy").limited_threads(self.problem.plan.threads):
            for batch in batches:
                a, deltas, grads = self.shapes[len(batch)]
                for i, w in enumerate(self.weights):
                    np.matmul(a[i], w, out=deltas[i + 1])
                for i in reversed(range(len(self.weights))):
                    np.matmul(a[i].T, a[i + 1], out=grads[i])
                    if i > 0:
                        np.matmul(a[i + 1], self.weights[i].T, out=deltas[i])
        return None

    def accuracy(self) -> None:
        return None


CONTENDERS: dict[str, Callable[[Problem], Any]] = {
    "lagvis numpy": Lagvis,
    "lagvis torch": LagvisTorch,
    "lagvis jax": LagvisJax,
    "PyTorch eager": TorchEager,
    "PyTorch tutorial": TorchTutorial,
    "JAX jit a step": JaxStep,
    "JAX jit + scan": JaxScan,
    "scikit-learn": ScikitLearn,
    "products alone": Products,
}
