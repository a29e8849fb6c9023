"""Run folders: seeds, and the reader, which takes the same actions as a resume before its first step."""

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any

from fuzzing.case import Files
from fuzzing.checkpoint import checkpoint_bytes, small_datasets
from lagvis.backends.registry import BACKENDS, select
from lagvis.cli import setup, train
from lagvis.report.summary import stored_summary_text
from lagvis.storage import metrics_file
from lagvis.storage.resume import changed_settings, check_data, resume_message, resume_state
from lagvis.storage.run_folder import CheckpointInterval
from lagvis.training import recipe as recipes
from lagvis.training.model import Model
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe


def metrics_text(columns: tuple[str, ...], *, regression: bool) -> str:
    """Return a metrics.csv of one epoch, with the columns of this or of an earlier version."""
    row = dict.fromkeys(metrics_file.COLUMNS, "")
    row |= {"epoch": "1", "step": "3", "samples": "12", "learning_rate": "0.05", "seconds": "0.5"}
    row |= {"train_loss": "1.0", "train_objective": "1.0", "train_accuracy": "" if regression else "0.5"}
    return "".join(f"{line}\n" for line in (",".join(columns), ",".join(row[name] for name in columns)))


def run_seeds() -> list[Files]:
    """Return run folders between epochs, within one, and finished."""
    environment = {
        "lagvis": "0.1.0", "numpy": "2.1.0", "backend": "numpy", "device": "cpu", "compiled": True,
        "steps_per_call": 3, "threads": 1, "command": [], "seed": 0, "sha256": {"small": "0" * 64},
        "rows": {"training": 12, "test": 3},
        "init_from": {"path": "x", "sha256": {}, "warnings": [{"check": "c", "message": "m", "figures": {}}]},
    }  # fmt: skip
    report = {
        "run": "x", "backend": "numpy", "device": "cpu", "dtype": "float32", "seed": 0, "network": "6-2-3",
        "parameters": 23, "finished": "completed", "epochs": 1, "steps": 3, "seconds": 0.5, "train_loss": 1.0,
        "train_accuracy": 0.5, "validation_loss": None, "validation_accuracy": None, "test_loss": 1.0,
        "test_accuracy": 0.5, "classes": ["0", "1", "2"], "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "counts": {"0": 1, "1": 1, "2": 1}, "recall": {"0": 1.0, "1": 1.0, "2": 1.0}, "balanced_accuracy": 1.0,
        "commonest_share": 0.3,
    }  # fmt: skip
    folders: list[Files] = []
    for regression, totals, momentum, epochs in (
        (False, False, True, 1), (False, True, False, 2), (True, False, True, 2), (True, True, False, 3),
    ):  # fmt: skip
        recipe = Recipe(
            hidden=(2,), epochs=epochs, loss="mse" if regression else "cross-entropy", batch_size=4, validation=0,
            momentum=0.5 if momentum else 0.0,
        )  # fmt: skip
        extra = {"test_errors": {"t": 0.5}, "baseline_loss": 1.0, "test_accuracy": None} if regression else {}
        checkpoint = checkpoint_bytes(regression=regression, totals=totals, momentum=momentum)
        for columns in (metrics_file.COLUMNS, metrics_file.OLD_COLUMNS):
            folders.append([
                ("recipe.toml", recipes.dumps(recipe).encode()),
                ("environment.json", json.dumps(environment).encode()),
                ("metrics.csv", metrics_text(columns, regression=regression).encode()),
                ("report.json", json.dumps(report | extra).encode()),
                ("last.safetensors", checkpoint),
            ])  # fmt: skip
    return folders


GOOD_DEVICES: set[tuple[str, Any]] = set()


FLAGS = setup.make_parser().parse(["--resume", "x"])


def read_run(folder: Path, _: Files, __: int) -> None:
    """Read everything in a run folder that a resume reads before its first step."""
    flags = argparse.Namespace(**vars(FLAGS) | {"resume": str(folder)})
    with setup.reopen_run(flags, CheckpointInterval()) as resumed:
        recipe = setup.resolve_recipe(flags, resumed, None)
        if (report := resumed.finished(recipe)) and stored_summary_text(report):
            with contextlib.redirect_stderr(io.StringIO()):
                train.check_target(0.9, report["test_accuracy"])
            json.dumps(report)
            resumed.report_complete()
        # the installed libraries do not depend on the folder
        backend = "numpy" if flags.backend in BACKENDS else flags.backend
        if (flags.device, backend) not in GOOD_DEVICES:
            select(flags.device, backend, recipe.dtype)
            GOOD_DEVICES.add((flags.device, backend))
        dataset = small_datasets()[recipe.regression]
        plan = make_plan(recipe, dataset, strict_validation=False, threads=flags.threads)
        previous = resumed.previous_environment
        if sum(recipe.hidden) < 1000:
            model = Model.of(recipe, dataset, plan.training_rows)
            setup.stored_warnings(previous.get("init_from"))
            check_data(dataset, resumed.checkpoint, previous, folder)
            start = resume_state(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
            resume_message(start, plan, resumed.recipe, recipe, previous, {"threads": 1, "numpy": "0", "seed": 1})
        changed_settings(resumed.recipe, recipe)
        resumed.begin(recipe, {"seed": 0})
        resumed.metrics_of(1)
        resumed.finish({})
