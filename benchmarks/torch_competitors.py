"""PyTorch: a hand-written step, the same under CUDA graphs or compiled, and a training loop as in its tutorials."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problem import LEARNING_RATE, Batches, Problem
from lagvis.network.normalization import fold

MAX_STEPS_PER_GRAPH = 50


class TorchEager:
    """A hand-written step: autograd, and one update in place of all parameters."""

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")  # no TF32
        self.torch, self.problem = torch, problem
        self.x = torch.tensor(problem.dataset.x_train, device=problem.device)
        self.y = torch.tensor(problem.dataset.y_train.astype(np.int64), device=problem.device)
        self.layers = [{name: self.parameter(array) for name, array in layer.items()} for layer in problem.weights()]
        self.parameters = [parameter for layer in self.layers for parameter in layer.values()]
        recipe = problem.recipe
        self.dropout = recipe.dropout
        self.optimizer = None
        if recipe.optimizer == "adam":
            self.optimizer = torch.optim.Adam(self.parameters, lr=recipe.lr, betas=recipe.betas, fused=True)
        hidden = self.layers[:-1] if recipe.normalization == "batch" else []
        self.running = [(torch.zeros_like(layer["b"]), torch.ones_like(layer["b"])) for layer in hidden]
        self.total = torch.zeros((), device=problem.device)

    def parameter(self, array: np.ndarray) -> Any:
        """Return an array as a tensor whose gradient is computed."""
        return self.torch.tensor(array, device=self.problem.device, requires_grad=True)

    def loss(self, index: Any) -> Any:
        """Return the mean loss of a batch."""
        torch, functions = self.torch, self.torch.nn.functional
        a = self.x.index_select(0, index).float().mul_(1 / 255)
        for i, layer in enumerate(self.layers[:-1]):
            if self.running:
                mean, variance = self.running[i]
                z = functions.batch_norm(a @ layer["W"], mean, variance, layer["gamma"], layer["b"], training=True)
            else:
                z = torch.addmm(layer["b"], a, layer["W"])
            a = torch.relu(z)
            if self.dropout:
                a = functions.dropout(a, self.dropout)
        last = self.layers[-1]
        return functions.cross_entropy(torch.addmm(last["b"], a, last["W"]), self.y.index_select(0, index))

    def step(self, index: Any) -> None:
        """Train on the rows of a batch, and add their losses to the total, on the device."""
        loss = self.loss(index)
        grads = self.torch.autograd.grad(loss, self.parameters)
        with self.torch.no_grad():
            if self.optimizer is None:
                self.torch._foreach_add_(self.parameters, grads, alpha=-LEARNING_RATE)
            else:
                for parameter, grad in zip(self.parameters, grads, strict=True):
                    parameter.grad = grad
                self.optimizer.step()
            self.total.add_(loss.detach(), alpha=len(index))

    def epoch(self, batches: Batches) -> float | None:
        self.total.zero_()
        order = self.torch.from_numpy(np.concatenate(batches)).to(self.problem.device)
        for index in order.split(len(batches[0])):
            self.step(index)
        total = float(self.total)  # the only synchronisation
        return None if self.dropout else total / len(self.y)  # with masks of its own the loss is another

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b as the step computes it."""
        device = self.problem.device
        return (self.torch.tensor(a, device=device) @ self.torch.tensor(b, device=device)).cpu().numpy()

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        layers = [{name: a.detach().cpu().numpy() for name, a in layer.items()} for layer in self.layers]
        for layer, running in zip(layers, self.running, strict=False):
            layer |= dict(zip(("mean", "variance"), (a.cpu().numpy() for a in running), strict=True))
        return [(layer["W"], layer["b"]) for layer in fold(layers, xp=np)]


class TorchGraph(TorchEager):
    """The same step under CUDA graphs: K steps a graph, which read their rows from a static buffer (K, B).

    On the CPU, where there are no graphs, the steps are computed from the same buffers, call by call.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        full, tail = problem.plan.full_steps, problem.plan.tail
        steps = next(k for k in range(min(full, MAX_STEPS_PER_GRAPH), 0, -1) if full % k == 0)
        self.rows = self.torch.zeros((steps, problem.plan.batch_size), dtype=self.torch.int32, device=problem.device)
        self.replay = self.make_replay(self.rows)
        if tail:
            self.tail_rows = self.torch.zeros((1, tail), dtype=self.torch.int32, device=problem.device)
            self.replay_tail = self.make_replay(self.tail_rows)

    def steps(self, rows: Any) -> None:
        """Take one step for each row of indices (K, B)."""
        for index in rows:
            self.step(index)

    def make_replay(self, rows: Any) -> Callable[[], Any]:
        """Return a function that takes the steps of a static buffer with the rows that it then holds."""
        if self.problem.device == "cpu":
            return partial(self.steps, rows)
        return self.capture(partial(self.steps, rows))

    def capture(self, steps: Callable[[], None]) -> Callable[[], Any]:
        """Capture steps in a CUDA graph, after a warm-up whose changes are undone; return its replay."""
        torch = self.torch
        before = [parameter.detach().clone() for parameter in self.parameters]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            steps()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            steps()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, before)
        torch.cuda.synchronize()
        return graph.replay

    def epoch(self, batches: Batches) -> float | None:
        self.total.zero_()
        order = self.torch.from_numpy(np.concatenate(batches)).to(self.problem.device)
        full = self.problem.plan.full_steps * self.problem.plan.batch_size
        for rows in order[:full].view(-1, *self.rows.shape):
            self.rows.copy_(rows)
            self.replay()
        if full < len(order):
            self.tail_rows.copy_(order[full:].view(1, -1))
            self.replay_tail()
        return float(self.total) / len(self.y)  # the only synchronisation


class TorchCompile(TorchEager):
    """The same with the loss and its derivative compiled; on a GPU with CUDA graphs."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        mode = "default" if problem.device == "cpu" else "reduce-overhead"
        self.loss = self.torch.compile(super().loss, mode=mode, dynamic=False)  # type: ignore[method-assign]


class TorchTutorial:
    """As in the tutorials of PyTorch: TensorDataset, DataLoader, nn.Sequential, optim.SGD."""

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
        self.model = torch.nn.Sequential(*layers[:-1]).to(problem.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.loss = torch.nn.CrossEntropyLoss()

    def epoch(self, batches: Batches) -> float | None:
        device = self.problem.device
        for x, y in self.loader:
            self.optimizer.zero_grad()
            self.loss(self.model(x.to(device)), y.to(device)).backward()
            self.optimizer.step()
        if device != "cpu":
            self.torch.cuda.synchronize()
        return None

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        linear = [layer for layer in self.model if hasattr(layer, "weight")]
        return [(layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy()) for layer in linear]
