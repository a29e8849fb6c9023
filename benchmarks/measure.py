"""Contenders in processes of their own, an epoch each in turn."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.competitors import CONTENDERS, accuracy_of
from benchmarks.problem import Problem


def serve(name: str, network: str, device: str, pipe: Connection) -> None:
    """One contender: an epoch for every message, the answer its seconds and loss; the last answer is the accuracy."""
    try:
        problem = Problem(network, device)
        contender = CONTENDERS[name][0](problem)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return
    pipe.send(None)
    epoch = 0
    while pipe.recv() == "epoch":
        epoch += 1
        batches = problem.batches(epoch)
        started = time.perf_counter()
        loss = contender.epoch(batches)
        pipe.send((time.perf_counter() - started, loss))
    weights = contender.weights()
    pipe.send(None if weights is None else accuracy_of(weights, problem))


def measure(network: str, device: str, rounds: int) -> dict[str, Any]:
    """Seconds an epoch of every contender, first epochs, losses, last accuracies; who cannot run, with the reason."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # each JAX would take most of a GPU for itself
    context = multiprocessing.get_context("spawn")
    pipes, left_out, processes = {}, {}, []
    for name in [name for name, (_, devices) in CONTENDERS.items() if device in devices]:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(name, network, device, theirs), daemon=True)
        process.start()
        theirs.close()  # so that a process that dies ends its pipe, and nobody waits for it
        processes.append(process)
        try:
            problem = ours.recv()
        except EOFError:
            problem = "its process ended at once"
        if problem is None:
            pipes[name] = ours
        else:
            left_out[name] = problem
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


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module returns when a fresh process calls it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
