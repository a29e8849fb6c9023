"""Run the competitors, each in a process of its own, an epoch each in turn."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.competitors import COMPETITORS, accuracy_of
from benchmarks.problem import Problem


def serve(name: str, network: str, device: str, pipe: Connection) -> None:
    """Serve one competitor: train an epoch for each message and send seconds and loss; finally send the accuracy."""
    try:
        problem = Problem(network, device)
        competitor = COMPETITORS[name][0](problem)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return
    pipe.send(None)
    epoch = 0
    while pipe.recv() == "epoch":
        epoch += 1
        batches = problem.batches(epoch)
        started = time.perf_counter()
        loss = competitor.epoch(batches)
        pipe.send((time.perf_counter() - started, loss))
    weights = competitor.weights()
    pipe.send(None if weights is None else accuracy_of(weights, problem))


class ProcessEndedError(Exception):
    """The process of a competitor has ended without an answer."""


def ask(pipe: Connection, process: BaseProcess, message: str | None = None) -> Any:
    """Send a message, if there is one, and return the answer; raise ProcessEndedError if the process has ended."""
    try:
        if message is not None:
            pipe.send(message)
        return pipe.recv()
    except (EOFError, OSError):  # its end of the pipe is closed
        process.join()
        raise ProcessEndedError(f"its process ended with exit code {process.exitcode}") from None


def measure(network: str, device: str, rounds: int) -> dict[str, Any]:
    """Return seconds, first losses and last accuracies by competitor, and why others cannot run."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else each JAX process reserves most of a GPU
    context = multiprocessing.get_context("spawn")
    running: dict[str, tuple[Connection, BaseProcess]] = {}
    left_out: dict[str, str] = {}
    for name in [name for name, (_, devices) in COMPETITORS.items() if device in devices]:
        here, there = context.Pipe()
        process: BaseProcess = context.Process(target=serve, args=(name, network, device, there), daemon=True)
        process.start()
        there.close()  # else recv() would wait for ever for a process that died
        try:
            reason = ask(here, process)
        except ProcessEndedError as error:
            reason = str(error)
        if reason is None:
            running[name] = (here, process)
        else:
            left_out[name] = reason
    seconds: dict[str, list[float]] = {name: [] for name in running}
    losses, first, accuracies = {}, {}, {}
    for turn in range(rounds + 2):
        for name, (pipe, process) in list(running.items()):
            try:
                if turn > rounds:
                    accuracies[name] = ask(pipe, process, "stop")
                    continue
                taken, loss = ask(pipe, process, "epoch")
            except ProcessEndedError as error:
                left_out[name] = f"{error} in epoch {turn + 1}"
                del running[name], seconds[name]
                continue
            if turn == 0:
                losses[name], first[name] = loss, taken
            else:
                seconds[name].append(taken)
    for _, process in running.values():
        process.join()
    return {
        "seconds": seconds, "first": first, "losses": losses, "accuracies": accuracies, "left_out": left_out,
    }  # fmt: skip


def run_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a new process and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
