"""What else a run costs: the start, memory, growth with the size of the problem, evaluation, checkpoints."""

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

from benchmarks.measure import in_a_process
from benchmarks.problem import NETWORKS, PLAIN, RATE, Problem
from lagvis.backends.registry import select
from lagvis.data.datasets import load_dataset
from lagvis.runs.checkpoint_file import write_checkpoint
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
# Trains one call and stops: the door as it is, with a clock at the moment a step can begin and at the end of a call.
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


def start_up(backend: str, device: str, rounds: int) -> dict[str, float]:
    """Medians of the seconds from the command to the moment before the first step, and to the end of the first call."""
    ready, trained = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):  # the first finds cold file caches, as nobody's second run does
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
    """Megabytes (10^6 bytes) resident at most in the default run, the whole process."""
    code = (
        "from benchmarks.costs import most_resident; from lagvis.cli import train; train.main(); print(most_resident())"
    )
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--quiet", "--json", "--backend", backend, "--device", device, "-o", folder]
        done = subprocess.run(
            [sys.executable, "-c", code, *flags], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
    return float(done.stdout.split()[-1])


def most_resident() -> float:
    """The most megabytes that this process ever had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what a parent had when it made this process
        kilobytes = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]
        return int(kilobytes) * 1.024e-3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)


def epoch_seconds(recipe: Recipe, rows: int, rounds: int, backend: str, device: str) -> tuple[float, int]:
    """Median seconds of an epoch over the first `rows` digits, and its multiplications and additions in products."""
    whole = load_dataset("mnist")
    digits = replace(whole, x_train=whole.x_train[:rows], y_train=whole.y_train[:rows])
    plan = make_plan(recipe, digits)
    ends = [0.0]
    for event in fit(recipe, digits, plan, select(device, backend, recipe.dtype)):
        if isinstance(event, EpochEnded):
            ends.append(event.seconds)
            if len(ends) > rounds + 1:
                break
    return statistics.median(b - a for a, b in pairwise(ends[1:])), operations((784, *recipe.hidden, 10), rows)


def growth(backend: str, device: str, rounds: int) -> dict[str, dict[str, tuple[float, int]]]:
    """Seconds an epoch and its operations, along four ways of growing from 784-64-64-10, batch 128."""
    default: dict[str, Any] = PLAIN | {
        "hidden": (64, 64), "batch_size": 128, "validation": 0, "epochs": 1000, "lr": RATE,
    }  # fmt: skip
    ways: dict[str, dict[str, tuple[dict[str, Any], int]]] = {
        "samples": {str(rows): ({}, rows) for rows in (7_500, 15_000, 30_000, 60_000)},
        "width": {str(width): ({"hidden": (width, width)}, 15_000) for width in (32, 64, 128, 256, 512, 1024)},
        "depth": {str(depth): ({"hidden": (64,) * depth}, 15_000) for depth in (1, 2, 4, 8, 16)},
        "batch": {str(batch): ({"batch_size": batch}, 15_000) for batch in (25, 50, 100, 200, 400, 800, 1600)},
    }
    return {
        way: {
            point: epoch_seconds(Recipe(**(default | changed)), rows, rounds, backend, device)
            for point, (changed, rows) in points.items()
        }
        for way, points in ways.items()
    }


def evaluation(network: str, backend: str, device: str, rounds: int) -> float:
    """Images a second, loss and accuracy counted, data on the device."""
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


def checkpoint(network: str, rounds: int) -> tuple[float, int]:
    """Median seconds of writing one, and its bytes."""
    problem = Problem(network)
    model = Model.of(problem.recipe, problem.dataset, problem.plan.training_rows)
    state = initial_state(problem.recipe, model)
    times = []
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:  # the project's own disk: /tmp may be memory
        path = Path(folder) / "last.safetensors"
        for step in range(rounds):
            started = time.perf_counter()
            write_checkpoint(path, Checkpoint(model, state, 1, step))
            times.append(time.perf_counter() - started)
        return statistics.median(times), path.stat().st_size


def all_costs(device: str, rounds: int) -> dict[str, Any]:
    """Every cost, each in a process of its own where libraries could disturb each other."""
    backends = ["numpy", "torch", "jax"] if device == "cpu" else ["cupy", "torch", "jax"]
    result: dict[str, Any] = {"start-up": {}, "memory": {}, "evaluation": {}, "left_out": {}}
    for backend in list(backends):
        try:
            select(device, backend)
        except Exception as error:
            result["left_out"][backend] = str(error)
            backends.remove(backend)
    for backend in backends:
        result["start-up"][backend] = start_up(backend, device, rounds)
        result["memory"][backend] = peak_memory(backend, device)
        result["evaluation"][backend] = {
            network: in_a_process(evaluation, network, backend, device, rounds) for network in NETWORKS
        }
    result["checkpoint"] = {network: in_a_process(checkpoint, network, 2 * rounds) for network in NETWORKS}
    if backends:
        result["growth"] = {backends[0]: in_a_process(growth, backends[0], device, rounds)}
    return result
