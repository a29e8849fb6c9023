"""Further costs of a run: start, memory, growth with the size of the problem, evaluation, checkpoints."""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import run_in_process
from benchmarks.problem import LEARNING_RATE, PLAIN, Problem, networks_of
from lagvis.backends.registry import select
from lagvis.data.datasets import load_dataset
from lagvis.storage.checkpoint_file import write_checkpoint
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import Evaluator
from lagvis.training.events import EpochEnded
from lagvis.training.factory import initial_state
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.training.plan import make_plan, operations
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map

ROOT = Path(__file__).resolve().parent.parent
ROWS_EVALUATED = 60_000
# Run train.py up to the end of its first call of the backend; print the times of Started and of the first Progress.
FIRST_STEP = """
import os, time
from lagvis.cli import train
from lagvis.training.events import Progress, Started
record = train.RunFolder.record
def timed(folder, event):
    record(folder, event)
    if isinstance(event, Started):
        print(time.time(), flush=True)
    if isinstance(event, Progress):
        print(time.time(), flush=True)
        os._exit(0)
train.RunFolder.record = timed
train.main()
"""


def startup_seconds(backend: str, device: str, rounds: int) -> dict[str, float]:
    """Return median seconds from the start of the process to the first step, and to the end of the first call."""
    ready, trained = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):  # the first finds cold file caches and is not counted
            flags = ["--quiet", "--backend", backend, "--device", device, "-o", folder]
            started = time.time()
            done = subprocess.run(
                [sys.executable, "-c", FIRST_STEP, *flags], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
            )
            first, second = map(float, done.stdout.split())
            ready.append(first - started)
            trained.append(second - started)
    return {"ready": statistics.median(ready[1:]), "first call": statistics.median(trained[1:])}


def peak_memory(backend: str, device: str) -> float:
    """Return the peak resident memory of the default run in megabytes (10^6 bytes), the whole process."""
    code = (
        "from benchmarks.costs import peak_resident_megabytes; from lagvis.cli import train; train.main(); "
        "print(peak_resident_megabytes())"
    )
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--quiet", "--json", "--backend", backend, "--device", device, "-o", folder]
        done = subprocess.run(
            [sys.executable, "-c", code, *flags], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
    return float(done.stdout.split()[-1])


def peak_resident_megabytes() -> float:
    """Return the peak resident memory of this process in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what a parent had when it made this process
        kilobytes = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]
        return int(kilobytes) * 1.024e-3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)


def measure_epoch(recipe: Recipe, rows: int, rounds: int, backend: str, device: str) -> tuple[float, int]:
    """Return median seconds of an epoch over the first `rows` digits, and the operations of its matrix products."""
    mnist = load_dataset("mnist")
    digits = replace(mnist, x_train=mnist.x_train[:rows], y_train=mnist.y_train[:rows])
    plan = make_plan(recipe, digits)
    ends = [0.0]
    for event in fit(recipe, digits, plan, select(device, backend, recipe.dtype)):
        if isinstance(event, EpochEnded):
            ends.append(event.seconds)
            if len(ends) > rounds + 1:
                break
    return statistics.median(b - a for a, b in pairwise(ends[1:])), operations((784, *recipe.hidden, 10), rows)


def growth_costs(backend: str, device: str, rounds: int) -> dict[str, dict[str, tuple[float, int]]]:
    """Return seconds an epoch and its operations while one size of 784-64-64-10, batch 128, grows, for four sizes."""
    default: dict[str, Any] = PLAIN | {
        "hidden": (64, 64), "batch_size": 128, "validation": 0, "epochs": 1000, "lr": LEARNING_RATE,
    }  # fmt: skip
    series: dict[str, dict[str, tuple[dict[str, Any], int]]] = {
        "samples": {str(rows): ({}, rows) for rows in (7_500, 15_000, 30_000, 60_000)},
        "width": {str(width): ({"hidden": (width, width)}, 15_000) for width in (32, 64, 128, 256, 512, 1024)},
        "depth": {str(depth): ({"hidden": (64,) * depth}, 15_000) for depth in (1, 2, 4, 8, 16)},
        "batch": {str(batch): ({"batch_size": batch}, 15_000) for batch in (25, 50, 100, 200, 400, 800, 1600)},
    }
    return {
        size: {
            point: measure_epoch(Recipe(**(default | changed)), rows, rounds, backend, device)
            for point, (changed, rows) in points.items()
        }
        for size, points in series.items()
    }


def evaluation_speed(network: str, backend: str, device: str, rounds: int) -> float:
    """Return images a second of an evaluation with loss and accuracy, data on the device."""
    problem = Problem(network)
    recipe, digits = problem.recipe, problem.dataset
    model = Model.of(recipe, digits, problem.plan.training_rows)
    opened = select(device, backend, recipe.dtype)
    params = tree_map(opened.asarray, initial_state(recipe, model)["params"])
    rows = tree_map(opened.asarray, model.prepare(digits.x_train, digits.y_train, recipe.dtype))
    evaluator = Evaluator(model, opened)
    times = []
    with opened.limited_threads(problem.plan.threads):
        for _ in range(rounds + 1):
            started = time.perf_counter()
            evaluator.evaluate(params, rows, np.arange(ROWS_EVALUATED))
            times.append(time.perf_counter() - started)
    return ROWS_EVALUATED / statistics.median(times[1:])


def checkpoint_cost(network: str, rounds: int) -> tuple[float, int]:
    """Return median seconds of writing a checkpoint, and its bytes."""
    problem = Problem(network)
    model = Model.of(problem.recipe, problem.dataset, problem.plan.training_rows)
    state = initial_state(problem.recipe, model)
    times = []
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:  # not in /tmp, which may be memory
        path = Path(folder) / "last.safetensors"
        for step in range(rounds):
            started = time.perf_counter()
            write_checkpoint(path, Checkpoint(model, state, 1, step))
            times.append(time.perf_counter() - started)
        return statistics.median(times), path.stat().st_size


def all_costs(device: str, rounds: int) -> dict[str, Any]:
    """Return all costs; each is measured in a process of its own where libraries could disturb each other."""
    backends = ["numpy", "torch", "jax"] if device == "cpu" else ["cupy", "torch", "jax"]
    networks = networks_of(device)
    result: dict[str, Any] = {"start-up": {}, "memory": {}, "evaluation": {}, "left_out": {}}
    for backend in list(backends):
        try:
            select(device, backend)
        except Exception as error:
            result["left_out"][backend] = str(error)
            backends.remove(backend)
    for backend in backends:
        result["start-up"][backend] = startup_seconds(backend, device, rounds)
        result["memory"][backend] = peak_memory(backend, device)
        result["evaluation"][backend] = {
            network: run_in_process(evaluation_speed, network, backend, device, rounds)
            for network in networks_of(device)
        }
    result["checkpoint"] = {network: run_in_process(checkpoint_cost, network, 2 * rounds) for network in networks}
    if backends:
        result["growth"] = {backends[0]: run_in_process(growth_costs, backends[0], device, rounds)}
    return result
