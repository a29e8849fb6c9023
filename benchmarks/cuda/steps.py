"""A training step on CuPy: its time in the plain loop, its kernels, and its time in a CUDA graph."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cuda.cublas import capturable_products
from benchmarks.cuda.device import Device, capture, count_nodes, private_pool, time_calls
from benchmarks.problem import NETWORKS, PLAIN
from lagvis.backends.backend import Backend, plain_scan
from lagvis.backends.registry import select
from lagvis.data.datasets import load_dataset
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import initial_state, make_training_step
from lagvis.training.model import Model
from lagvis.training.plan import epoch_order, make_plan
from lagvis.training.recipe import Recipe
from lagvis.tree import leaves, tree_map

STEP_NETWORKS = ("784-64-64-64-10, batch 128", "784-32-32-10, batch 200")
# name: what differs from the default recipe (momentum, Nesterov, label smoothing, schedule)
RECIPES: dict[str, dict[str, Any]] = {"default recipe": {}, "plain gradient descent": PLAIN}
STEPS = 200
ROUNDS = 3
PROFILED_STEPS = 50
CAPTURED_STEPS = 20
MAX_KERNEL_NAME = 100


class StepProblem:
    """A step of a network with everything that it needs on a device.

    `run(steps)` takes steps from the state it left, in the plain loop; `scan(steps)` as the backend does.
    """

    def __init__(self, backend: Backend, network: str, changes: dict[str, Any]) -> None:
        hidden, batch_size, _ = NETWORKS[network]
        recipe = Recipe(hidden=hidden, batch_size=batch_size, **changes)
        dataset = load_dataset("mnist")
        plan = make_plan(recipe, dataset)
        model = Model.of(recipe, dataset, plan.training_rows)
        smoothed = recipe.label_smoothing > 0
        first = initial_state(recipe, model) | {"totals": zero_totals(model, recipe.dtype, objective=smoothed)}
        order = epoch_order(recipe, plan, 1)[: STEPS * batch_size].reshape(STEPS, batch_size)
        rates = np.full(STEPS, recipe.lr, recipe.dtype)
        self.backend = backend
        self.first = first
        self.state = tree_map(backend.asarray, first)
        self.indices, self.rates = backend.asarray(order), backend.asarray(rates)
        self.data = tree_map(backend.asarray, model.prepare(dataset.x_train, dataset.y_train, recipe.dtype))
        step = make_training_step(recipe, xp=backend.xp)
        self.plain, self.scanned = plain_scan(step), backend.scan(step)

    def inputs(self, steps: int) -> tuple[Any, Any]:
        """Return indices and learning rates of the first steps."""
        return self.indices[:steps, ...], {"learning_rate": self.rates[:steps]}

    def run(self, steps: int) -> None:
        """Take steps in the plain loop."""
        self.state = self.plain(self.state, self.inputs(steps), (self.data,))

    def scan(self, steps: int) -> None:
        """Take steps as the backend runs them."""
        self.state = self.scanned(self.state, self.inputs(steps), (self.data,))


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """Return a name, the network and the changes of the recipe, for each step that is measured."""
    return [(f"{network}, {name}", network, changes) for network in STEP_NETWORKS for name, changes in RECIPES.items()]


def measure_steps(device: Device) -> dict[str, Any]:
    """Measure microseconds a step, of host and device: in the plain loop, and as the backend runs it."""
    result = {}
    for name, network, changes in cases():
        problem = StepProblem(device.backend, network, changes)
        plain = time_calls(device.cupy, partial(problem.run, STEPS), 1, ROUNDS, warm_up=1)
        backend = time_calls(device.cupy, partial(problem.scan, STEPS), 1, ROUNDS, warm_up=1)
        result[name] = {
            f"{form}, {clock}": microseconds / STEPS
            for form, times in (("plain loop", plain), ("backend", backend))
            for clock, microseconds in times.items()
        }
    return result


def trace_kernels(function: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the events on the device during a function that ends synchronised, of any library of this process."""
    import torch

    torch.cuda.init()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with torch.profiler.profile(activities=activities) as profiler:
            function()
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return [event for event in events if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]


def summarize_kernels(events: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    """Return kernels a step, busy microseconds a step, the share of time between kernels, and a row for each name.

    events   as in a Chrome trace: "name", "ts" and "dur" in microseconds
    """
    if not events:
        raise RuntimeError("the profiler has recorded no kernel")
    spent: dict[str, list[float]] = defaultdict(list)
    for event in events:
        spent[event["name"][:MAX_KERNEL_NAME]].append(float(event["dur"]))
    busy = sum(map(sum, spent.values()))
    span = max(event["ts"] + event["dur"] for event in events) - min(event["ts"] for event in events)
    rows = {name: {"a step": len(times) / steps, "us a step": sum(times) / steps} for name, times in spent.items()}
    return {
        "kernels a step": len(events) / steps,
        "busy us a step": busy / steps,
        "us a step": span / steps,
        "share between kernels": 1 - busy / span,
        "kernels": dict(sorted(rows.items(), key=lambda row: -row[1]["us a step"])),
    }


def profile_steps(backend: Backend, run: Callable[[StepProblem], Callable[[int], None]]) -> dict[str, Any]:
    """Return the kernels of each step by the profiler of PyTorch."""
    result = {}
    for name, network, changes in cases():
        problem = StepProblem(backend, network, changes)

        def steps(problem: StepProblem = problem) -> None:
            run(problem)(PROFILED_STEPS)
            backend.synchronize()

        steps()
        result[name] = summarize_kernels(trace_kernels(steps), PROFILED_STEPS)
    return result


def profile_cupy_steps(device: Device) -> dict[str, Any]:
    """Return the kernels of the plain loop on CuPy."""
    return profile_steps(device.backend, lambda problem: problem.run)


def profile_torch_steps(device: Device) -> dict[str, Any]:
    """Return the kernels of the step on PyTorch, as its backend runs it."""
    return profile_steps(select("cuda", "torch"), lambda problem: problem.scan)


def capture_steps(device: Device) -> dict[str, Any]:
    """Capture steps of the plain loop in one graph: nodes and microseconds a step, and whether it has the bits of it.

    The new state is copied into the arrays of the old one at the end of the graph.
    """
    cp, result = device.cupy, {}
    for name, network, changes in cases():
        problem = StepProblem(device.backend, network, changes)
        problem.run(CAPTURED_STEPS)
        expected = [device.backend.to_numpy(a) for a in leaves(problem.state)]
        state = tree_map(cp.asarray, problem.first)

        def steps(problem: StepProblem = problem, state: Any = state) -> None:
            new = problem.plain(state, problem.inputs(CAPTURED_STEPS), (problem.data,))
            for old, value in zip(leaves(state), leaves(new), strict=True):
                cp.copyto(old, value)

        with private_pool(cp), capturable_products(cp):
            problem.run(2)  # with the workspace of the capture
            graph = capture(cp, steps)
            graph.launch()
            found = [device.backend.to_numpy(a) for a in leaves(state)]
            times = time_calls(cp, graph.launch, 3)
        result[name] = describe_graph(graph, times["device"], found, expected)
    return result


def capture_recorded_steps(device: Device) -> dict[str, Any]:
    """Capture the recorded calls of the backend in one graph: the same facts as of the plain loop.

    They write into the memory of the recorder, also the new state.
    """
    cp, result = device.cupy, {}
    for name, network, changes in cases():
        problem = StepProblem(device.backend, network, changes)
        for _ in range(2):  # a step is recorded when it comes for the second time
            problem.scan(CAPTURED_STEPS)
        before = tree_map(device.backend.to_numpy, problem.state)
        with private_pool(cp), capturable_products(cp):
            problem.scan(CAPTURED_STEPS)  # with the workspace of the capture
            graph = capture(cp, partial(problem.scan, CAPTURED_STEPS))
            for own, host in zip(leaves(problem.state), leaves(before), strict=True):
                cp.copyto(own, cp.asarray(host))
            graph.launch()
            found = [device.backend.to_numpy(a) for a in leaves(problem.state)]
            times = time_calls(cp, graph.launch, 3)
        problem.state = tree_map(cp.asarray, before)
        problem.run(CAPTURED_STEPS)
        expected = [device.backend.to_numpy(a) for a in leaves(problem.state)]
        result[name] = describe_graph(graph, times["device"], found, expected)
    return result


def describe_graph(
    graph: Any, microseconds: float, found: list[np.ndarray], expected: list[np.ndarray]
) -> dict[str, Any]:
    """Return nodes and microseconds a step of a graph of CAPTURED_STEPS, and whether its state is the expected one."""
    pairs = list(zip(found, expected, strict=True))
    return {
        "nodes a step": (count_nodes(graph) or 0) / CAPTURED_STEPS,
        "us a step": microseconds / CAPTURED_STEPS,
        "equal": all(np.array_equal(a, b) for a, b in pairs),
        "largest difference": max(float(np.max(np.abs(a - b))) for a, b in pairs),
    }
