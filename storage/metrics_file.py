"""Read and write metrics.csv: one row per finished epoch.

For numbers, `train_error_1`, ... and `validation_error_1`, ... stand before `seconds`: the root mean square error of
each target, in its unit, in the order of the targets.
"""

import csv
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lagvis.training.events import EpochEnded
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe

COLUMNS = (
    "epoch", "step", "samples", "learning_rate",
    "train_loss", "train_objective", "train_accuracy", "validation_loss", "validation_accuracy", "seconds",
)  # fmt: skip
# Of earlier versions: train_loss was the objective, and the losses of regression were in the user's unit squared.
OLD_COLUMNS = tuple(name for name in COLUMNS if name != "train_objective")

ERRORS = ("train_error_", "validation_error_")  # each with the number of a target, from 1

Row = list[str]
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?|nan|-?inf", re.ASCII)


def columns_for(targets: int) -> tuple[str, ...]:
    """Return the columns of a run with so many targets; 0 for classes."""
    errors = tuple(f"{name}{i}" for name in ERRORS for i in range(1, targets + 1))
    return (*COLUMNS[:-1], *errors, COLUMNS[-1])


def widen(row: Row, targets: int) -> Row:
    """Return a row with cells for the errors of so many targets; empty ones if it has not as many."""
    columns = columns_for(targets)
    return row if len(row) == len(columns) else [*row[: len(COLUMNS) - 1], *[""] * 2 * targets, row[-1]]


def has_old_columns(path: Path) -> bool:
    """Return whether a file has the columns of an earlier version, and at least one row."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return False
    return "train_objective" not in lines[0] and any(is_complete(line.split(","), OLD_COLUMNS) for line in lines)


def read_rows(path: Path, convert: Callable[[dict[str, str]], dict[str, str]]) -> tuple[list[Row], bool]:
    """Read the complete rows, in the order of their epochs; also return whether other lines had to be left out.

    A last line without its end, from a process that was killed, does not count as left out. A header without
    `train_objective` is that of an earlier version, whatever it called the other columns; `convert` its rows.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").split("\n")[:-1] or [""]
    except FileNotFoundError:
        return [], False
    except (OSError, ValueError):
        return [], True
    targets = header.count(f",{ERRORS[0]}")
    columns = columns_for(targets) if "train_objective" in header else OLD_COLUMNS
    rows: list[Row] = []
    for row in (line.split(",") for line in lines):
        if is_complete(row, columns) and (not rows or int(row[0]) > int(rows[-1][0])):
            rows.append(row)
    complete = all(is_complete(line.split(","), columns) for line in lines if line)
    if columns is OLD_COLUMNS:
        converted = [convert(dict(zip(columns, row, strict=True))) for row in rows]
        rows = [[row[name] for name in COLUMNS] for row in converted]
    return rows, not complete


def convert_losses(row: dict[str, str], recipe: Recipe, model: Model | None) -> dict[str, str]:
    """Return a row of an earlier version as one of today; a loss that cannot be converted becomes an empty cell.

    Of several targets the losses were means in mixed units; with smoothing or weights the plain loss was not kept.
    """
    if recipe.regression:
        deviation = model.y_scaling.deviation if model and model.y_scaling else np.empty(0)
        for name in ("train_loss", "validation_loss"):
            known = row[name] and len(deviation) == 1
            # divided twice: the square of a very small or very large deviation is not a float
            row = row | {name: str(float(row[name]) / float(deviation[0]) / float(deviation[0])) if known else ""}
        return row | {"train_objective": row["train_loss"]}
    plain = not recipe.label_smoothing and recipe.class_weights == "none"
    return row | {"train_objective": row["train_loss"], "train_loss": row["train_loss"] if plain else ""}


def is_complete(row: Row, columns: tuple[str, ...]) -> bool:
    """Return whether a row has these columns: an epoch first, a time last, each other cell empty or a number."""
    if len(row) != len(columns) or not re.fullmatch("[1-9][0-9]{0,8}", row[0], re.ASCII) or row[-1] == "":
        return False
    return all(cell == "" or NUMBER.fullmatch(cell) for cell in row)


def has_train_loss(row: Row) -> bool:
    """Return whether the cell of the training loss is filled."""
    return row[COLUMNS.index("train_loss")] != ""


def values(row: Row) -> dict[str, float | None]:
    """Return the numbers of a row by the names of the columns; None for an empty cell."""
    columns = columns_for((len(row) - len(COLUMNS)) // 2)
    return {name: float(cell) if cell else None for name, cell in zip(columns, row, strict=True)}


def finite_value(row: dict[str, float | None], name: str) -> float | None:
    """Return the number in a column of a row from `values`; None if it has none or it is not finite."""
    value = row.get(name)
    return value if value is not None and math.isfinite(value) else None


def target_errors(values_of_row: dict[str, float | None], part: str) -> tuple[float | None, ...]:
    """Return the errors of the targets on a part, "train" or "validation", from the result of `values`."""
    return tuple(value for name, value in values_of_row.items() if name.startswith(f"{part}_error_"))


def table_text(rows: list[Row], targets: int = 0) -> str:
    """Return the content of a file with these rows, for a run with so many targets."""
    return "".join(",".join(row) + "\n" for row in (columns_for(targets), *(widen(row, targets) for row in rows)))


def epoch_values(event: EpochEnded, targets: int = 0) -> dict[str, float | None]:
    """Return the numbers of an epoch by the names of the columns, for so many targets; None: does not apply."""
    train, validation = event.train, event.validation
    row = (
        event.epoch, event.step, event.samples, event.learning_rate,
        train.loss, train.loss if train.objective is None else train.objective, train.accuracy,
        validation and validation.loss, validation and validation.accuracy,
        *train.errors[:targets], *(validation.errors if validation else [None] * targets)[:targets],
        round(event.seconds, 3),
    )  # fmt: skip
    return dict(zip(columns_for(targets), row, strict=True))


def append_epoch(path: Path, event: EpochEnded, targets: int = 0) -> None:
    """Append the row of an epoch, for a file of so many targets, and flush it to the disk; OSError if that fails."""
    row = epoch_values(event, targets).values()
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow("" if value is None else value for value in row)
        file.flush()
        os.fsync(file.fileno())  # before the checkpoint, which counts the epoch as done
