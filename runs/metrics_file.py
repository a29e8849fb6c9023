"""Read and write metrics.csv: one row per finished epoch."""

import csv
import os
import re
from pathlib import Path

from lagvis.training.events import EpochEnded

COLUMNS = (
    "epoch", "step", "samples", "learning_rate",
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds",
)  # fmt: skip
SCORES = COLUMNS[4:8]

Row = list[str]
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?|nan|-?inf", re.ASCII)


def read_rows(path: Path) -> tuple[list[Row], bool]:
    """Read the complete rows, in the order of their epochs; also return whether other lines had to be left out.

    A last line without its end, from a process that was killed, does not count as left out. The header is not compared,
    since older versions called two of the columns `images` and `rate`.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[1:-1]
    except FileNotFoundError:
        return [], False
    except (OSError, ValueError):
        return [], True
    rows: list[Row] = []
    for row in (line.split(",") for line in lines):
        if is_complete(row) and (not rows or int(row[0]) > int(rows[-1][0])):
            rows.append(row)
    return rows, not all(is_complete(line.split(",")) for line in lines if line)


def is_complete(row: Row) -> bool:
    """Return whether a row has all columns: an epoch first, a time last, each other cell empty or a number."""
    if len(row) != len(COLUMNS) or not re.fullmatch("[1-9][0-9]{0,8}", row[0], re.ASCII) or row[-1] == "":
        return False
    return all(cell == "" or NUMBER.fullmatch(cell) for cell in row)


def values(row: Row) -> dict[str, float | None]:
    """Return the numbers of a row by the names of the columns; None for an empty cell."""
    return {name: float(cell) if cell else None for name, cell in zip(COLUMNS, row, strict=True)}


def table_text(rows: list[Row]) -> str:
    """Return the content of a file with these rows."""
    return "".join(",".join(row) + "\n" for row in (COLUMNS, *rows))


def append_epoch(path: Path, event: EpochEnded) -> None:
    """Append the row of an epoch and flush it to the disk; OSError if that fails."""
    train, validation = event.train, event.validation
    row = (
        event.epoch, event.step, event.samples, event.learning_rate, train.loss, train.accuracy,
        validation and validation.loss, validation and validation.accuracy, round(event.seconds, 3),
    )  # fmt: skip
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow("" if value is None else value for value in row)
        file.flush()
        os.fsync(file.fileno())  # before the checkpoint, which counts the epoch as done
