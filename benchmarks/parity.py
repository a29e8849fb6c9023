"""Every part of a step on every array library: `python -m benchmarks parity` compares each with NumPy in float64.

A line a case: the largest difference as a share of its bound, and what was left out. Networks are those of the recipes
`default` and `jump`, and one for a table of numbers, categories and missing cells that is made here.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.backends.registry import select_several
from lagvis.data.datasets import load_dataset
from lagvis.inference.comparison import Comparison, compare
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import REGRESSION_LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.training import recipe as recipes
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe

DTYPES = ("float32", "float64")
RANDOM = {"dropout": 0.5, "input_dropout": 0.2, "input_noise": 0.3, "mixup": 0.4}
TOGETHER: dict[str, Any] = RANDOM | {
    "optimizer": "adamw",
    "normalization": "batch",
    "ema": 0.99,
    "l1": 1e-4,
    "max_norm": 1.0,
    "clip_norm": 0.1,
}
PARTS: list[dict[str, Any]] = [
    {},
    *({"optimizer": name} for name in OPTIMIZERS if name != "sgd"),
    {"momentum": 0.0},
    *({"activation": name} for name in ACTIVATIONS if name != "relu"),
    *({"normalization": name} for name in NORMALIZATIONS if name != "none"),
    *({name: value} for name, value in RANDOM.items()),
    {"l1": 1e-4},
    {"max_norm": 1.0},
    {"clip_norm": 0.1},
    {"ema": 0.99},
    {"weight_decay": 1e-3},
    TOGETHER,
]
CLASSES: list[dict[str, Any]] = [{"class_weights": "balanced"}, {"label_smoothing": 0.0}]
NUMBERS: list[dict[str, Any]] = [{"loss": name} for name in REGRESSION_LOSSES if name != "mse"]


@dataclass(frozen=True)
class Case:
    """A recipe to compare, and the data that it is for."""

    data: str
    changes: dict[str, Any]

    def recipe(self, dtype: str, table: Path) -> Recipe:
        """Return the recipe."""
        fixed: dict[str, Any] = {"dtype": dtype}
        if self.data == "table":
            fixed |= {"data": str(table), "label": "label", "hidden": (32, 16), "batch_size": 64, "validation": 100}
        return recipes.load("jump" if self.data == "jump" else "default", fixed | self.changes)

    @property
    def text(self) -> str:
        """Return the changes of the recipe in words."""
        if self.changes is TOGETHER:
            return "adamw, batch, everything else"
        return ", ".join(f"{key} {value}" for key, value in self.changes.items()) or "as it is"


def cases() -> list[Case]:
    """List all cases."""
    return [
        *(Case("mnist", changes) for changes in [*PARTS, *CLASSES]),
        *(Case("jump", changes) for changes in [*PARTS, *NUMBERS]),
        *(Case("table", changes) for changes in [*PARTS, *CLASSES]),
    ]


def write_table(path: Path) -> None:
    """Write a table of 2,000 rows: numbers of several scales, a category, missing cells, and a label."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(2000, 4)) * [1.0, 50.0, 0.01, 1000.0] + [0.0, 20.0, 5.0, 0.0]
    colours = generator.choice(["red", "green", "blue"], 2000)
    labels = (numbers[:, 0] + (colours == "red") + generator.normal(scale=0.5, size=2000) > 0.3).astype(int)
    lines = ["a,b,c,d,colour,label"]
    for row, colour, label in zip(numbers, colours, labels, strict=True):
        cells = ["" if generator.random() < 0.02 else f"{value:.6g}" for value in row]
        lines.append(",".join([*cells, colour, f"class {label}"]))
    path.write_text("\n".join(lines) + "\n")


def run(case: Case, dtype: str, backends: list[Backend], steps: int, table: Path) -> Comparison:
    """Compare the backends on one case."""
    recipe = case.recipe(dtype, table)
    dataset = load_dataset(recipe.data, **recipe.data_options)
    plan = make_plan(recipe, dataset)
    with ExitStack() as threads:
        for backend in backends:
            threads.enter_context(backend.limited_threads(plan.threads))
        return compare(recipe, dataset, replace(plan, epochs=max(plan.epochs, 1)), backends, steps)


def row_of(case: Case, dtype: str, found: Comparison, backends: list[Backend], seconds: float) -> tuple[str, ...]:
    """Return the line of a case: the largest share of a bound for each backend."""
    shares = [max(d.share for d in found.differences if d.backend == backend.name) for backend in backends]
    undecided = max(d.undecided for d in found.differences)
    digests = len({(d.kind, d.sha256) for d in found.digests})
    counts = (str(len(found.differences)), str(undecided), str(len(found.kinks)), f"{digests}" if digests else "")
    verdict = "pass" if found.passed else "FAIL"
    return (case.data, case.text, dtype, *(f"{share:.2f}" for share in shares), *counts, f"{seconds:.1f}", verdict)


def line(cells: tuple[str, ...]) -> str:
    """Return a line of the table."""
    data, recipe, dtype, *rest = cells
    return f"{data:5}  {recipe:29}  {dtype:7}" + "".join(f"  {cell:>9}" for cell in rest)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if a comparison fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--backends", help="array libraries (default: all that can run)")
    parser.add_argument("--device", default="cpu", help="where each computes (default: cpu)")
    parser.add_argument("--steps", type=int, default=10, help="steps of each case (default: 10)")
    parser.add_argument("--data", default="", help="mnist, jump or table (default: all)")
    parser.add_argument("--only", default="", help="only cases with this text in their name")
    flags = parser.parse_args(arguments)
    chosen = [case for case in cases() if flags.data in ("", case.data) and flags.only in case.text]
    passed = True
    with TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(table)
        for dtype in DTYPES:
            wanted = [name.strip() for name in flags.backends.split(",")] if flags.backends else None
            backends = select_several(wanted, flags.device, dtype)
            names = [f"{backend.name}" for backend in backends]
            print(f"\n{dtype}, {flags.steps} steps: largest difference as a share of its bound\n")
            names = [backend.name for backend in backends]
            print(line(("data", "recipe", "dtype", *names, "bounds", "undecided", "kinks", "digests", "seconds", "")))
            for case in chosen:
                started = time.perf_counter()
                found = run(case, dtype, backends, flags.steps, table)
                print(line(row_of(case, dtype, found, backends, time.perf_counter() - started)), flush=True)
                passed &= found.passed
    return 0 if passed else 1
