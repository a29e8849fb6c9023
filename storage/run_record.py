"""What a run folder says about its run, read without locking it: it may be training."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagvis.errors import CheckpointError
from lagvis.storage import metrics_file
from lagvis.storage.checkpoint_file import os_error_reason, read_checkpoint
from lagvis.storage.filenames import ENVIRONMENT, LAST, METRICS, RECIPE, REPORT
from lagvis.storage.run_folder import read_environment, read_json, read_recipe
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe


@dataclass(frozen=True)
class RunRecord:
    """The files of a run that people read.

    history      the epochs of metrics.csv by its columns
    environment  the content of environment.json; {} if there is none
    report       the content of report.json; {} before the end of the run
    notices      sentences about what is missing or damaged
    """

    path: Path
    recipe: Recipe
    history: list[dict[str, float | None]]
    environment: dict[str, Any]
    report: dict[str, Any]
    notices: tuple[str, ...]


def read_run_record(folder: Path) -> RunRecord:
    """Read the record of a run.

    Raise CheckpointError if no run has begun in the folder, RecipeError if its recipe is damaged.
    """
    try:
        (folder / RECIPE).open("rb").close()
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({os_error_reason(error)})"
        raise CheckpointError(f"{folder / RECIPE} {reason}; expected the folder of a run") from None
    recipe, notices = read_recipe(folder), []
    environment, report = read_environment(folder), read_json(folder / REPORT)
    if not environment:
        notices.append(f"{folder / ENVIRONMENT} is missing or damaged: device and versions of this run are not known.")
    if not report and os.path.lexists(folder / REPORT):
        notices.append(f"{folder / REPORT} is damaged: the result on the test part is not known.")
    rows, damaged = metrics_file.read_rows(
        folder / METRICS, lambda row: metrics_file.convert_losses(row, recipe, stored_model(folder))
    )
    if damaged:
        notices.append(f"{folder / METRICS} has lines that cannot be read, which are left out.")
    elif not rows:
        notices.append(f"{folder} has no finished epoch yet, and no curve.")
    history = [metrics_file.values(row) for row in rows]
    return RunRecord(folder, recipe, history, environment, report, tuple(notices))


def stored_model(folder: Path) -> Model | None:
    """Return the model of the newest checkpoint; None if it cannot be read."""
    with contextlib.suppress(CheckpointError):
        return read_checkpoint(folder / LAST).model
    return None
