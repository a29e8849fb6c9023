"""`python -m benchmarks half-precision`: the matrix products of a training step on the CPU, in float32 and in 16 bits.

Mixed precision keeps the parameters in float32 and computes the products in 16 bits. It pays only where these are
faster by more than the conversions cost. PyTorch and JAX each compute the products of a step of some networks in every
type, in turn; ratios to float32 are taken round by round. NumPy has no BLAS for 16 bits, and none of bfloat16.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.__main__ import environment, output_folder
from benchmarks.measure import run_in_process
from benchmarks.problem import NETWORKS, Problem
from benchmarks.ratios import paired_ratios
from lagvis.cli.streams import write_stdout
from lagvis.storage.atomic import replace_file
from lagvis.training.threads import thread_limit

Layer = tuple[np.ndarray, ...]
TYPES = ("float32", "bfloat16", "float16")
ROUNDS = 15
SECONDS_A_TURN = 0.2
# Instructions of x86-64 for products in 16 bits, as Linux names them: on their own, and in tiles.
INSTRUCTIONS = ("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


def instructions() -> list[str] | None:
    """Return those of INSTRUCTIONS that this processor shows; None where /proc does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((set(line.split()) for line in file if line.startswith("flags")), None)
    except OSError:
        return None
    return None if flags is None else [name for name in INSTRUCTIONS if name in flags]


def layers_of(problem: Problem) -> list[Layer]:
    """Return activations (N, n_in), weights (n_in, n_out) and deltas (N, n_out) of each layer."""
    rng = np.random.default_rng(0)
    shapes = [
        ((problem.recipe.batch_size, n_in), (n_in, n_out), (problem.recipe.batch_size, n_out))
        for n_in, n_out in pairwise(problem.widths)
    ]
    return [tuple(rng.normal(size=shape).astype(np.float32) for shape in layer) for layer in shapes]


def factors(layers: list[Any]) -> list[tuple[Any, Any]]:
    """Return the factors of all products of a step: forward, gradient of the weights, gradient of the activations.

    The first layer needs no gradient of its activations.
    """
    found = []
    for i, (a, w, d) in enumerate(layers):
        found += [(a, w), (a.T, d), (d, w.T)][: 3 if i > 0 else 2]
    return found


def torch_products(layers: list[Layer], dtype: str) -> Callable[[], Any]:
    """Return a function that computes all products with PyTorch, into memory that stays."""
    import torch

    torch.set_num_threads(thread_limit().threads)
    kind = getattr(torch, dtype)
    pairs = factors([[torch.from_numpy(a).to(kind) for a in layer] for layer in layers])
    outs = [torch.empty((a.shape[0], b.shape[1]), dtype=kind) for a, b in pairs]

    def run() -> None:
        for (a, b), out in zip(pairs, outs, strict=True):
            torch.matmul(a, b, out=out)

    return run


def jax_products(layers: list[Layer], dtype: str) -> Callable[[], Any]:
    """Return a function that computes all products with JAX, in one compiled call."""
    import jax
    import jax.numpy as jnp

    arrays = [[jnp.asarray(a, dtype) for a in layer] for layer in layers]
    multiply = jax.jit(lambda given: [a @ b for a, b in factors(given)])
    return lambda: jax.block_until_ready(multiply(arrays))


PRODUCTS = {"torch": torch_products, "jax": jax_products}


def microseconds(run: Callable[[], None]) -> float:
    """Return the median time of a call in a turn of SECONDS_A_TURN, after a call that warms up."""
    run()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < SECONDS_A_TURN:
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken)


def measure(library: str, network: str) -> dict[str, list[float]]:
    """Return the microseconds of the products of a step in each type, in ROUNDS rounds of all types in turn."""
    layers = layers_of(Problem(network))
    runs = {dtype: PRODUCTS[library](layers, dtype) for dtype in TYPES}
    for run in runs.values():  # JAX compiles
        run()
    found: dict[str, list[float]] = {dtype: [] for dtype in TYPES}
    for _ in range(ROUNDS):
        for dtype, times in found.items():
            times.append(microseconds(runs[dtype]))
    return found


def main(arguments: list[str]) -> int:
    """Measure, print a table in Markdown and write JSON."""
    description = (__doc__ or "").split("\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks half-precision", description=description)
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    folder = output_folder(parser, parser.parse_args(arguments).output)
    facts = environment() | {"instructions": instructions()}
    write_stdout(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n\n")
    write_stdout(f"| microseconds a step | {' | '.join(TYPES)} |\n|---|{'--:|' * len(TYPES)}\n")
    record: dict[str, Any] = {"machine": facts, "rounds": ROUNDS, "results": {}}
    path = folder / f"{facts['date']}-half-precision.json"
    for network in [name for name, (_, _, devices) in NETWORKS.items() if "cpu" in devices]:
        for library in PRODUCTS:
            found = run_in_process(measure, library, network)
            ratios = {dtype: paired_ratios(found[dtype], found["float32"]) for dtype in TYPES[1:]}
            record["results"][f"{network}, {library}"] = {
                "microseconds": found,
                "ratios": {dtype: asdict(ratio) for dtype, ratio in ratios.items()},
            }
            replace_file(path, (json.dumps(record, indent=1) + "\n").encode())
            cells = [f"{statistics.median(times):,.0f}" for times in found.values()]
            shown = [f" ({ratio.median:.2f} ± {ratio.spread:.0%})" for ratio in ratios.values()]
            row = " | ".join(a + b for a, b in zip(cells, ["", *shown], strict=True))
            write_stdout(f"| {network}, {library} | {row} |\n")
    write_stdout(f"\nWritten: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
