"""Contenders in processes of their own, an epoch each in turn."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.problem import Problem


def serve(name: str, network: str, pipe: Connection) -> None:
    """One contender: an epoch for every message, the answer its seconds and loss; the last answer is the accuracy."""
    try:
        problem = Problem(network)
        contender = CONTENDERS[name](problem)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    epoch = 0
    while pipe.recv() == "epoch":
        epoch += 1
        batches = problem.batches(epoch)
        started = time.perf_counter()
        loss = contender.epoch(batches)
        pipe.send((time.perf_counter() - started, loss))
    pipe.send(contender.accuracy())


def measure(network: str, names: list[str], rounds: int) -> dict[str, Any]:
    """Seconds an epoch of every contender, first losses, last accuracies; who cannot run, with the reason."""
    context = multiprocessing.get_context("spawn")
    pipes, left_out, processes = {}, {}, []
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(name, network, theirs), daemon=True)
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
    losses = {}
    for turn in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send("epoch")
            taken, loss = pipe.recv()
            if turn == 0:
                losses[name] = loss
            else:
                seconds[name].append(taken)
    accuracies = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        accuracies[name] = pipe.recv()
    for process in processes:
        process.join()
    return {"seconds": seconds, "losses": losses, "accuracies": accuracies, "left_out": left_out}
