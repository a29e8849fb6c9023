"""`python -m benchmarks.threads`: a step of wide networks by one thread, by threads of Lagvis, and by those of BLAS.

They take steps in turn, alone and beside a process that keeps one core busy. Ratios are taken round by round.
"""

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.problem import NETWORKS, Problem
from lagvis.backends.blas_threads import blas_threads
from lagvis.backends.registry import select
from lagvis.backends.replay.numpy_recorder import NumpyRecorder
from lagvis.backends.replay.tape import Tape
from lagvis.backends.thread_pool import thread_pool
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import initial_state, make_training_step
from lagvis.training.model import Model
from lagvis.training.threads import thread_limit

WIDE = [name for name, (hidden, _, devices) in NETWORKS.items() if "cpu" in devices and max(hidden) > 256]
ROUNDS = 8
SECONDS_A_TURN = 0.1
BUSY = "while True: pass"


@contextlib.contextmanager
def threads_of(blas: int, own: int) -> Iterator[None]:
    """Let so many threads of BLAS compute a product, and so many of Lagvis share a step."""
    with blas_threads().limited(blas), thread_pool().limited(own):
        yield


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy by a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Contest:
    """The recorded step of one network for each choice of threads."""

    def __init__(self, network: str, choices: dict[str, tuple[int, int]]) -> None:
        problem, backend = Problem(network), select("cpu", "numpy")
        recipe = problem.recipe
        model = Model.of(recipe, problem.dataset, problem.plan.training_rows)
        data = model.prepare(problem.dataset.x_train, problem.dataset.y_train, recipe.dtype)
        self.batches = [rows[None] for rows in problem.batches(1) if len(rows) == problem.plan.batch_size]
        self.scalars = {"learning_rate": np.full(1, recipe.lr, recipe.dtype)}
        self.choices = choices
        self.tapes, self.states = {}, {}
        for name, numbers in choices.items():
            step = make_training_step(recipe, xp=backend.xp)
            state: Any = initial_state(recipe, model) | {"totals": zero_totals(model, recipe.dtype)}
            with threads_of(*numbers):
                self.tapes[name] = Tape(
                    step, state, (self.batches[0], self.scalars), (data,), NumpyRecorder(backend.xp)
                )
            self.states[name] = state

    def microseconds(self, name: str) -> float:
        """Return the mean time of a step of one choice, in a turn of SECONDS_A_TURN after a step that warms up."""
        taken: list[float] = []
        with threads_of(*self.choices[name]):
            while len(taken) < 4 or sum(taken) < SECONDS_A_TURN:
                rows = self.batches[len(taken) % len(self.batches)]
                started = time.perf_counter()
                self.states[name] = self.tapes[name].run(self.states[name], (rows, self.scalars))
                taken.append(time.perf_counter() - started)
        return 1e6 * statistics.fmean(taken[1:])

    def rounds(self) -> dict[str, list[float]]:
        """Return the times of each choice in ROUNDS rounds of all of them in turn."""
        found: dict[str, list[float]] = {name: [] for name in self.choices}
        for _ in range(ROUNDS):
            for name, times in found.items():
                times.append(self.microseconds(name))
        return found


def main() -> int:
    """Print a table in Markdown."""
    threads = thread_limit().threads
    choices = {"one thread": (1, 1), f"{threads} of Lagvis": (1, threads), f"{threads} of BLAS": (threads, 1)}
    print(f"| microseconds a step | {' | '.join(choices)} |\n|---|{'--:|' * len(choices)}")
    for network in WIDE:
        contest = Contest(network, choices)
        for place, neighbour in (("alone", contextlib.nullcontext()), ("beside a busy process", busy_core())):
            with neighbour:
                found = contest.rounds()
            cells = []
            for times in found.values():
                ratios = [a / b for a, b in zip(times, found["one thread"], strict=True)]
                cells.append(f"{statistics.median(times):,.0f} ({statistics.median(ratios):.2f})")
            print(f"| {network}, {place} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
