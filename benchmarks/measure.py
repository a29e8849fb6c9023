"""Run the competitors, each in a process of its own, an epoch each in turn."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
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


def measure(network: str, device: str, rounds: int) -> dict[str, Any]:
    """Return seconds, first losses and last accuracies by competitor, and why others cannot run."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else each JAX process reserves most of a GPU
    context = multiprocessing.get_context("spawn")
    pipes, left_out, processes = {}, {}, []
    for name in [name for name, (_, devices) in COMPETITORS.items() if device in devices]:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(name, network, device, there), daemon=True)
        process.start()
        there.close()  # else recv() would wait for ever for a process that died
        processes.append(process)
        try:
            reason = here.recv()
        except EOFError:
            reason = "its process ended at once"
        if reason is None:
            pipes[name] = here
        else:
            left_out[name] = reason
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    losses, first = {}, {}
    for turn in range(rounds + 1):
        for name, pipe in list(pipes.items()):
            pipe.send("epoch")
            try:
                taken, loss = pipe.recv()
            except EOFError:
                left_out[name] = f"its process ended in epoch {turn + 1}"
                del pipes[name], seconds[name]
                continue
            if turn == 0:
                losses[name], first[name] = loss, taken
            else:
                seconds[name].append(taken)
    accuracies = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        accuracies[name] = pipe.recv()
    for process in processes:
        process.join()
    return {
        "seconds": seconds, "first": first, "losses": losses, "accuracies": accuracies, "left_out": left_out,
    }  # fmt: skip


def run_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a new process and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
