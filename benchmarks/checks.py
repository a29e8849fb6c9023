"""`python -m benchmarks.checks`: what the checks of a data set cost beside reading it."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import environment
from lagvis.data.checks import check_dataset
from lagvis.data.datasets import load_dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.shared_rows import check_shared_rows
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe

COLUMNS = 10  # of the table: measurements, one of them with a long tail, and a row number


def write_table(path: Path, rows: int) -> None:
    """Write a table with a header and a label in its last column."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, COLUMNS))
    label = x[:, 0] + x[:, 1] > 0
    x[:, -2], x[:, -1] = np.arange(rows), np.exp(x[:, -1])
    header = ",".join([*(f"c{i}" for i in range(COLUMNS)), "label"])
    formats = ["%.4f"] * (COLUMNS - 2) + ["%d", "%.4f", "%d"]
    np.savetxt(path, np.column_stack([x, label]), fmt=formats, delimiter=",", header=header, comments="")


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its milliseconds."""
    start = time.perf_counter()
    result = function()
    return result, 1000 * (time.perf_counter() - start)


def measure(name: str, label: str) -> dict[str, float]:
    """Read a data set and check it once, as train.py does; return the milliseconds of each part."""
    dataset, read = timed(lambda: load_dataset(name, label=label))
    plan = make_plan(Recipe(data=name, label=label), dataset)
    ranges, measured = timed(
        lambda: FeatureRanges.of(dataset.x_train, plan.training_rows, dataset.shape, dataset.feature_kinds)
    )
    _, checked = timed(lambda: check_dataset(dataset, ranges, plan.validation_rows))
    _, shared = timed(lambda: check_shared_rows(dataset))
    return {"read": read, "ranges": measured, "all checks": checked, "of these, shared rows": shared}


def main() -> int:
    """Print the medians for MNIST and for a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    flags = parser.parse_args()
    facts = environment() | {"command": " ".join(["python -m benchmarks.checks", *sys.argv[1:]])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.csv")
        write_table(table, flags.rows)
        columns = ("read", "ranges", "all checks", "of these, shared rows")
        print(f"\n| medians of {flags.rounds}, ms | {' | '.join(columns)} | new / read |\n|---|--:|--:|--:|--:|--:|")
        for title, name, label in (("MNIST", "mnist", ""), (f"a table of {flags.rows:,} rows", str(table), "label")):
            rounds = [measure(name, label) for _ in range(flags.rounds)]
            medians = [statistics.median(found[column] for found in rounds) for column in columns]
            read, measured, checked, shared = medians
            share = (measured + checked - shared) / read
            print(f"| {title} | {' | '.join(f'{value:.1f}' for value in medians)} | {100 * share:.1f} % |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
