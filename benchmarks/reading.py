"""`python -m benchmarks tables`: the time and peak memory of reading a table, beside polars, pandas and pyarrow.

Each reading is a process of its own that has imported its library, and reads the file once into an array. The readers
take turns (A B C D A B C D ...), and the file is in the page cache. The peak is the most memory that the process had
resident (VmHWM of Linux), with the interpreter and the libraries.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import environment
from lagvis.data.datasets import load_dataset

REFERENCE = "polars"
DIGITS = 42_000  # of the table of pictures, as Kaggle's


def write_numbers(path: Path, rows: int) -> None:
    """Write a table of 20 columns of normal numbers with six decimals."""
    import polars as pl

    x = np.random.default_rng(0).normal(size=(rows, 20)).round(6)
    pl.DataFrame(x, schema=[f"c{i}" for i in range(20)]).write_csv(path)


def write_digits(path: Path, rows: int) -> None:
    """Write training pictures of MNIST as Kaggle does: the label, then 784 pixels."""
    import polars as pl

    mnist = load_dataset("mnist")
    x = np.column_stack([mnist.y_train, mnist.x_train])[:rows]
    pl.DataFrame(x, schema=["label", *(f"pixel{i}" for i in range(784))]).write_csv(path)


def write_parquet(path: Path, rows: int) -> None:
    """Write a Parquet file of 5 columns of normal numbers."""
    import polars as pl

    x = np.random.default_rng(0).normal(size=(rows, 5))
    pl.DataFrame(x, schema=[f"c{i}" for i in range(5)]).write_parquet(path)


# name of the table: the file, what writes it, and its rows
TABLES: dict[str, tuple[str, Callable[[Path, int], None], int]] = {
    "CSV, {rows:,} x 20 numbers": ("numbers.csv", write_numbers, 1_000_000),
    "CSV, {rows:,} x 785 bytes": ("digits.csv", write_digits, DIGITS),
    "Parquet, {rows:,} x 5 numbers": ("numbers.parquet", write_parquet, 10_000_000),
}


def lagvis_reader() -> Callable[[Path], np.ndarray]:
    """Return the reader of this program."""
    import polars  # noqa: F401, its import does not count

    from lagvis.data.read_options import ReadOptions
    from lagvis.data.tables.files import read_frame

    return lambda path: read_frame(path, ReadOptions()).frame.to_numpy(order="c")


def polars_reader() -> Callable[[Path], np.ndarray]:
    """Return polars' reader with its defaults."""
    import polars as pl

    return lambda path: (pl.read_csv if path.suffix == ".csv" else pl.read_parquet)(path).to_numpy()


def pandas_reader() -> Callable[[Path], np.ndarray]:
    """Return pandas' reader with its defaults."""
    import pandas as pd

    return lambda path: (pd.read_csv if path.suffix == ".csv" else pd.read_parquet)(path).to_numpy()


def pyarrow_reader() -> Callable[[Path], np.ndarray]:
    """Return pyarrow's reader with its defaults."""
    from pyarrow import csv, parquet

    def read(path: Path) -> np.ndarray:
        table = csv.read_csv(path) if path.suffix == ".csv" else parquet.read_table(path)
        return np.column_stack([column.to_numpy() for column in table.columns])

    return read


READERS = {"Lagvis": lagvis_reader, "polars": polars_reader, "pandas": pandas_reader, "pyarrow": pyarrow_reader}


def measure(reader: str, path: Path) -> dict[str, Any]:
    """Read a file once in this process; return the seconds, the peak in MB, and the shape and type of the array."""
    read = READERS[reader]()
    start = time.perf_counter()
    x = read(path)
    seconds = time.perf_counter() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "seconds": seconds,
        "peak": int(status["VmHWM"].split()[0]) * 1.024e-3,
        "array": f"{x.shape[0]:,} x {x.shape[1]} {x.dtype}",
    }


def compare(path: Path, rounds: int) -> list[str]:
    """Return the lines of the table for a file."""
    results: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for _ in range(rounds):
        for reader, found in results.items():
            command = [sys.executable, "-m", "benchmarks.reading", "--measure", reader, str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout))
    reference = results[REFERENCE]
    lines = []
    for reader, found in results.items():
        seconds, peaks = [r["seconds"] for r in found], [r["peak"] for r in found]
        median = statistics.median(seconds) / statistics.median(r["seconds"] for r in reference)
        fastest = min(seconds) / min(r["seconds"] for r in reference)
        peak = statistics.median(peaks) / statistics.median(r["peak"] for r in reference)
        lines.append(
            f"| {reader} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {median:.2f} | {fastest:.2f} "
            f"| {statistics.median(peaks):.0f} | {peak:.2f} | {found[0]['array']} |"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tables", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows (default: 1)")
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.measure:
        print(json.dumps(measure(flags.measure[0], Path(flags.measure[1]))))
        return 0
    print(", ".join(f"{key} {value}" for key, value in environment().items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for title, (name, write, rows) in TABLES.items():
            path = Path(folder, name)
            count = max(1, round(rows * flags.scale))
            write(path, count)
            size = path.stat().st_size / 1e6
            print(f"\n{title.format(rows=count)}, {size:.0f} MB, {flags.rounds} rounds\n")
            ratio = f"/ {REFERENCE}"
            print(f"| reader | median s | fastest s | median {ratio} | fastest {ratio} | peak MB | {ratio} | array |")
            print("|---|--:|--:|--:|--:|--:|--:|---|", flush=True)
            print("\n".join(compare(path, flags.rounds)), flush=True)
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
