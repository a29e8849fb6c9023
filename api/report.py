"""The report of a training from Python: that of the command, without a run folder."""

import os
import textwrap
from dataclasses import fields, replace
from typing import Any

import numpy as np

import lagvis
from lagvis.api.html_page import HtmlPage, user_path
from lagvis.api.setup import READING_KEYS, PreparedRun, resolve_recipe
from lagvis.api.trained_model import evaluate_rows
from lagvis.data.dataset import Dataset
from lagvis.errors import CheckpointError
from lagvis.inference.binary_curves import find_binary_curves, find_label_curves
from lagvis.inference.diagnostics import diagnose
from lagvis.report.run_report import run_report_files
from lagvis.report.summary import Summary, run_details
from lagvis.storage.atomic import write_export_file
from lagvis.storage.environment import describe_environment
from lagvis.storage.filenames import PAGE, PLOTS
from lagvis.storage.history import recipe_text
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import Finished
from lagvis.training.model import Model

PAGE_HEIGHT = 640  # CSS pixels in a notebook
LINE_LENGTH = 88  # of the lines of Python


class Report:
    """The report of a training: curves, mistakes, weights, what the network makes of its inputs, settings.

    html     one page with its figures inside, which a notebook shows below the cell
    figures  {name: PNG file as bytes}: curves, confusion, mistakes, weights, ..., whatever data and network have
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._page = HtmlPage("Report", files[PAGE].decode(), PAGE_HEIGHT)

    @property
    def html(self) -> str:
        return self._page.html

    @property
    def figures(self) -> dict[str, bytes]:
        """Return each figure of the report as a PNG file, by its name."""
        prefix, suffix = f"{PLOTS}/", ".png"
        return {
            name.removeprefix(prefix).removesuffix(suffix): content
            for name, content in self._files.items()
            if name.startswith(prefix)
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file that ends in .html, or else the page, its text and its figures into a folder.

        Files of the same names are replaced. Raises CheckpointError if they cannot be written.
        """
        target = user_path(path)
        if target.suffix in (".html", ".htm"):
            self._page.save(target)
            return
        for name, content in self._files.items():
            file = target / name
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CheckpointError(f"{file.parent} cannot be made ({error.strerror}); choose another path") from None
            write_export_file(file, content)

    def _repr_html_(self) -> str:
        return self._page._repr_html_()

    def __repr__(self) -> str:
        names = ", ".join(self.figures)
        return f"Report(figures: {names}; a notebook shows it, .save(path) writes it)"


def make_report(run: PreparedRun, finished: Finished, summary: Summary, history: list[dict[str, Any]]) -> Report:
    """Draw the report of a training; DrawingError if matplotlib cannot be imported.

    Without a result on the test part it is about the validation rows.
    """
    model, checkpoint = run.model, finished.checkpoint
    examined = run.dataset
    if finished.test is None:
        examined = with_validation_as_test(run.dataset, run.plan.validation_rows)
        summary = summary | validation_details(model, checkpoint, examined)
    diagnostics = diagnose(model, checkpoint.layers, examined, run.recipe.seed)
    if finished.test is None:
        diagnostics = replace(diagnostics, part="validation")
    environment = describe_environment(
        run.recipe, run.dataset, run.plan, run.backend, version=lagvis.__version__, data=run.dataset.name
    )
    environment["rate_search"] = run.rate_search
    files = run_report_files(
        summary, model, diagnostics, history, recipe_text(run.recipe, []), environment, python=training_code(run)
    )
    return Report(dict(files))


def with_validation_as_test(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Return a data set whose test part are the validation rows (indices into the training part)."""

    def locate(part: str, row: int) -> str:
        return dataset.locate_row("training", int(rows[row]))

    return replace(dataset, x_test=dataset.x_train[rows], y_test=dataset.y_train[rows], locate_row=locate)


def validation_details(model: Model, checkpoint: Checkpoint, examined: Dataset) -> Summary:
    """Return the keys of a summary that the test part has beyond loss and accuracy, of validation rows; {} of none."""
    x, y = examined.x_test, examined.y_test
    if not len(x):
        return {}
    curves = find_binary_curves(model, checkpoint.layers, x, y)
    label_curves = find_label_curves(model, checkpoint.layers, x, y)
    return run_details(evaluate_rows(checkpoint, x, y), model, None, curves=curves, label_curves=label_curves)


def training_code(run: PreparedRun) -> str:
    """Return the lines of Python that repeat a training; `data` stands for its data set."""
    defaults = resolve_recipe(run.dataset, "default", {})
    names = [field.name for field in fields(run.recipe) if field.name not in READING_KEYS and field.name != "data"]
    changed = {name: getattr(run.recipe, name) for name in names}
    changed = {name: value for name, value in changed.items() if value != getattr(defaults, name)}
    changed |= {"backend": run.backend.name, "device": run.backend.device}
    if run.backend.sets_threads:
        changed["threads"] = run.plan.threads
    arguments = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    call = textwrap.wrap(arguments, LINE_LENGTH, break_long_words=False, break_on_hyphens=False)
    rows = f"{len(run.dataset.x_train):,} training rows, {len(run.dataset.x_test):,} test rows"
    lines = ["import lagvis as lv", "", f"# data: the data set {run.dataset.name!r} ({rows})", "result = lv.train("]
    return "\n".join([*lines, "    data,", *(f"    {line}" for line in call), ")"])
