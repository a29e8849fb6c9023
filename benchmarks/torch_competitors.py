"""PyTorch: a hand-written step, the same compiled, and a training loop as in its tutorials."""

from typing import Any

import numpy as np

from benchmarks.problem import LEARNING_RATE, Batches, Problem


class TorchEager:
    """A hand-written step: autograd, and an update in place."""

    def __init__(self, problem: Problem) -> None:
        import torch

        self.torch, self.problem = torch, problem
        self.x = torch.tensor(problem.dataset.x_train, device=problem.device)
        self.y = torch.tensor(problem.dataset.y_train.astype(np.int64), device=problem.device)
        self.layers = [
            tuple(torch.tensor(layer[name], device=problem.device, requires_grad=True) for name in ("W", "b"))
            for layer in problem.weights()
        ]

    def loss(self, index: Any) -> Any:
        """Return the mean loss of a batch."""
        torch = self.torch
        a = self.x.index_select(0, index).float().mul_(1 / 255)
        for w, b in self.layers[:-1]:
            a = torch.relu(torch.addmm(b, a, w))
        w, b = self.layers[-1]
        return torch.nn.functional.cross_entropy(torch.addmm(b, a, w), self.y.index_select(0, index))

    def epoch(self, batches: Batches) -> float | None:
        torch, total = self.torch, 0.0
        for rows in batches:
            loss = self.loss(torch.from_numpy(rows).to(self.problem.device, non_blocking=True))
            loss.backward()
            with torch.no_grad():
                for parameter in (p for layer in self.layers for p in layer):
                    parameter.sub_(parameter.grad, alpha=LEARNING_RATE)
                    parameter.grad = None
            total += loss.detach() * len(rows)
        return float(total) / len(self.y)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(w.detach().cpu().numpy(), b.detach().cpu().numpy()) for w, b in self.layers]


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
