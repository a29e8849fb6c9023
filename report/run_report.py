"""What a run leaves for people: its pictures, report.md, and report.html, which holds them all."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np

from lagvis.inference.diagnostics import Diagnostics
from lagvis.report.html.document import Block, Code, Heading, Paragraph, Picture, Table, markdown, page
from lagvis.report.html.tables import classes_table, importance_table, mistakes_table, results_table
from lagvis.report.plots import image_plots, metric_plots
from lagvis.report.plots.figure import plot_style, png_bytes
from lagvis.report.plots.metric_plots import History
from lagvis.report.summary import Summary
from lagvis.report.text import duration, escape_control, percent, pluralize
from lagvis.runs.filenames import PAGE, PLOTS, TEXT
from lagvis.training.model import Model


def run_report_files(
    summary: Summary,
    model: Model,
    found: Diagnostics,
    history: History,
    recipe: str,
    environment: dict[str, Any],
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files for the run's folder, one after the other as they are drawn, the page last.

    `recipe` is the text of recipe.toml. DrawingError where nothing can be drawn.
    """
    sections: list[Block] = [Paragraph(summary_sentence(summary, environment)), results_table(summary)]
    with plot_style():
        for heading, picture, table in report_sections(summary, model, found, history):
            if heading:
                sections.append(Heading(heading))
            if picture is not None:
                sections.append(picture)
                yield picture.name, picture.png
            if table is not None:
                sections.append(table)
    sections += reproduction_section(summary, recipe, environment)
    title = f"{summary['network']} on {name_of(environment)}"
    yield TEXT, markdown(title, sections).encode()
    yield PAGE, page(title, sections).encode()


def report_sections(
    summary: Summary, model: Model, found: Diagnostics, history: History
) -> Iterator[tuple[str, Picture | None, Table | None]]:
    """Heading, picture and table of each section that this run has."""
    classes = model.y_scaling is None
    counts = np.asarray(summary["confusion"]) if summary.get("confusion") else None
    part = "test part" if found.rows == found.of else f"{found.rows:,} of the {found.of:,} rows of the test part"

    def picture(name: str, made: Any, alt: str, caption: str) -> Picture:
        return Picture(f"{PLOTS}/{name}.png", png_bytes(made), alt, caption)

    if history:
        caption = (
            "A point an epoch. Training is the mean over the epoch's steps, as the network changed, of the loss that "
            "is minimised (label smoothing and class weights count in it, where there are any); validation is after it."
        )
        yield "Training", picture("curves", metric_plots.curves(history), curves_in_words(history), caption), None
    if found.predicted is not None:
        names = ", ".join(map(escape_control, model.target_names))
        alt = f"Predicted over true numbers for {names}, and their differences."
        caption = f"Of the {part}. On the dashed line the prediction is exact."
        yield "Predicted against true", picture("predicted", metric_plots.predicted(found, model), alt, caption), None
    if counts is not None:
        matrix = None
        if len(counts) <= image_plots.MOST_CLASSES:
            alt = "A matrix of counts, the true class by row and the answer by column; the table says the same."
            caption = "Rows are true classes, columns what the network said; the colour is the share of the row."
            matrix = picture("confusion", image_plots.confusion(counts, model.class_names), alt, caption)
        yield "Classes", matrix, classes_table(counts, model.class_names)
    if found.mistakes and (found.mistakes[0].x.ndim > 1):
        alt = f"{pluralize(len(found.mistakes), 'picture')} that the network was sure of and wrong about."
        made = image_plots.mistakes(found.mistakes, found.wrong, model.class_names)
        caption = f"Of the {part}; the probabilities are the network's own."
        gallery = picture("mistakes", made, alt, caption)
        yield "Mistakes", gallery, mistakes_table(found.mistakes, model)
    elif found.mistakes:
        yield "Mistakes", None, mistakes_table(found.mistakes, model)
    if found.weights is not None:
        alt = (
            "Weights of the first layer as pictures, red where ink speaks for a unit, blue where it speaks against it."
        )
        caption = "Red: ink there speaks for the unit. Blue: against it. White: no matter. One scale for all."
        yield "First weights", picture("weights", image_plots.weights(found.weights, model), alt, caption), None
    if found.importance is not None:
        most = ", ".join(map(escape_control, found.importance.names[:3]))
        alt = f"Bars of what is lost when a feature is shuffled; most for {most}; the table says the same."
        tried = len(found.importance.names)
        some = "" if tried == found.importance.of else f" The {tried} features with the largest weights were tried."
        caption = f"Each feature shuffled over {found.importance.rows:,} rows of the test part.{some}"
        made = metric_plots.importance(found.importance, accuracy=classes)
        table = importance_table(found.importance, accuracy=classes)
        yield "Features", picture("importance", made, alt, caption), table
    if found.calibration is not None:
        error = found.calibration.error
        alt = f"How often answers were right, by their probability; expected calibration error {error:.4f}."
        caption = (
            f"Of the {part}. Above the dashed line answers are right more often than they say, below it less often."
        )
        yield "Calibration", picture("calibration", metric_plots.calibration(found.calibration), alt, caption), None
    if found.activity:
        dead = sum(int(np.sum(shares == 0)) for shares in found.activity)
        alt = f"In how many rows each hidden unit is active, by layer; {pluralize(dead, 'unit')} never."
        caption = f"A point a unit, over the {part}. {pluralize(dead, 'unit')} dead: active in no row."
        yield "Hidden units", picture("activity", metric_plots.activity(found.activity), alt, caption), None


def summary_sentence(summary: Summary, environment: dict[str, Any]) -> str:
    """What was trained, and what came of it, in two sentences."""
    place = f"{summary['backend']} ({summary['device']}, {summary['dtype']}, seed {summary['seed']})"
    trained = f"{pluralize(summary['epochs'], 'epoch')}, {pluralize(summary['steps'], 'step')}"
    result = ""
    if summary["test_accuracy"] is not None:
        result = f" It is right in {percent(summary['test_accuracy'])} of the test part."
    elif any(error is not None for error in summary.get("test_errors", {}).values()):
        unit = f" {summary['unit']}" if summary["unit"] else ""
        errors = [f"{name} by {error:.4g}{unit}" for name, error in summary["test_errors"].items() if error is not None]
        result = f" On the test part it is off in {', '.join(errors)} (root mean square)."
    return (
        f"A dense network {summary['network']} of {summary['parameters']:,} parameters, trained on "
        f"{name_of(environment)} with {place}: {trained} in {duration(summary['seconds'])}.{result}"
    )


def name_of(environment: dict[str, Any]) -> str:
    """The data by the last part of their path."""
    path = str(environment["data"]).rstrip("/\\")
    return path.replace("\\", "/").rsplit("/", 1)[-1] or path


def curves_in_words(history: History) -> str:
    """The ends of the curves."""
    last = history[-1]
    said = [
        f"{part} {last[f'{part}_loss']:.4f}" for part in ("train", "validation") if last[f"{part}_loss"] is not None
    ]
    best = metric_plots.best_epoch(history)
    lowest = "" if best is None else f"; lowest on the validation part in epoch {int(history[best]['epoch'] or 0)}"
    return f"Curves of {pluralize(len(history), 'epoch')}; loss at the end: {', '.join(said)}{lowest}."


def reproduction_section(summary: Summary, recipe: str, environment: dict[str, Any]) -> list[Block]:
    """Settings, environment, and the commands that do it again."""
    run = summary["run"]
    again = ["python", "train.py", "--recipe", f"{run}/recipe.toml", "--backend", environment["backend"]]
    again += ["--device", environment["device"]]
    if environment.get("threads"):
        again += ["--threads", str(environment["threads"])]
    look = ["python", "evaluate.py", run]
    return [
        Heading("To do it again"),
        Code("\n".join(shlex.join(map(str, command)) for command in (again, look))),
        Heading("Settings"),
        Code(recipe),
        Heading("Environment"),
        Code(json.dumps(environment, indent=2, ensure_ascii=False)),
    ]
