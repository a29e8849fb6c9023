"""The report of a run for people: its figures, report.md, and report.html with everything in one file."""

import json
import math
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.data.messages import decimals, percent, pluralize, sentence_start, shorten
from lagvis.data.tables.column_facts import are_plain_numbers, column_facts
from lagvis.inference.diagnostics import Diagnostics, as_images
from lagvis.inference.partial_dependence import DATE, NUMBER
from lagvis.report.html.document import Block, Code, Figure, Heading, Paragraph, to_html, to_markdown
from lagvis.report.html.tables import (
    classes_table,
    columns_table,
    importance_table,
    labels_table,
    mistakes_table,
    residuals_table,
    results_table,
    thresholds_table,
)
from lagvis.report.plots import dependence_plots, image_plots, metric_plots
from lagvis.report.plots.dependence_plots import Outputs
from lagvis.report.plots.figure import Plot
from lagvis.report.plots.metric_plots import History
from lagvis.report.summary import Summary, rate_search_text
from lagvis.report.text import duration, escape_control
from lagvis.report.validation_turn import turn_sentence
from lagvis.storage.filenames import PAGE, PLOTS, RECIPE, TEXT
from lagvis.storage.history import stretches
from lagvis.training.model import Model
from lagvis.training.recipe_keys import KEYS

LAGVIS = ("python", "-m", "lagvis")
OPTION_FACTS = ("backend", "device", "threads", "compiled")  # of environment.json, which options of train.py set
MAX_ALT_COLUMNS = 3  # columns named in the description of a figure


@dataclass(frozen=True)
class RunResults:
    """What a report is made from.

    summary      the content of report.json
    history      the epochs of metrics.csv
    recipe       the text of recipe.toml
    environment  the content of environment.json
    python       the lines of Python that repeat the training, for one that has no run folder
    """

    summary: Summary
    model: Model
    diagnostics: Diagnostics
    history: History
    recipe: str
    environment: dict[str, Any]
    python: str = ""

    @property
    def classification(self) -> bool:
        """Whether the network predicts classes; else it predicts numbers."""
        return self.model.y_scaling is None

    @property
    def has_columns(self) -> bool:
        """Whether a row is one of a table, and no picture."""
        return as_images(np.zeros((1, self.model.widths[0])), self.model.shape) is None

    @property
    def examined_rows(self) -> str:
        """The rows that the diagnostics are taken from, in words."""
        found = self.diagnostics
        return self.part if found.rows == found.of else f"{found.rows:,} of the {found.of:,} rows of the {self.part}"

    @property
    def part(self) -> str:
        """The part of the data that the diagnostics are taken from, in words."""
        return f"{self.diagnostics.part} part"


@dataclass(frozen=True)
class PlannedFigure:
    """A figure of the report that is not drawn yet."""

    name: str
    plot: Plot
    alt: str
    caption: str


PlannedBlock = Block | PlannedFigure


def draw_here(plots: Sequence[Plot]) -> list[bytes]:
    """Return the PNG file of each plot, drawn in this process."""
    return [plot.draw() for plot in plots]


def run_report_files(
    summary: Summary,
    model: Model,
    diagnostics: Diagnostics,
    history: History,
    recipe: str,
    environment: dict[str, Any],
    python: str = "",
    draw: Callable[[Sequence[Plot]], Sequence[bytes]] = draw_here,
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of the report: report.html, which is all of it, figures, report.md.

    Names are relative to the run folder. `draw` draws the figures. Raises DrawingError if matplotlib cannot be
    imported.
    """
    run = RunResults(summary, model, diagnostics, history, recipe, environment, python)
    planned: list[PlannedBlock] = [Paragraph(summary_sentence(summary, environment)), results_table(summary)]
    planned += missing_test_section(run)
    planned += warnings_section(summary)
    for section in SECTIONS:
        planned += section(run)
    pngs = iter(draw([block.plot for block in planned if isinstance(block, PlannedFigure)]))
    blocks: list[Block] = [
        Figure(block.name, next(pngs), block.alt, block.caption) if isinstance(block, PlannedFigure) else block
        for block in planned
    ]
    title = f"{summary['network']} on {data_name(environment)}"
    yield PAGE, to_html(title, blocks).encode()
    yield from ((block.name, block.png) for block in blocks if isinstance(block, Figure))
    yield TEXT, to_markdown(title, blocks).encode()


def make_figure(
    name: str, alt: str, caption: str, plot: Callable[..., Any], *arguments: Any, **options: Any
) -> PlannedFigure:
    """Return the figure `plot(*arguments, **options)` as a block of the report."""
    return PlannedFigure(f"{PLOTS}/{name}.png", Plot(plot, arguments, options), alt, caption)


def missing_test_section(run: RunResults) -> list[PlannedBlock]:
    """Return what the report is about where there is no result on a test part; nothing where there is one."""
    found = run.diagnostics
    if found.part == "test" and found.rows:
        return []
    if not found.rows:
        return [Paragraph("There is neither a test part nor a validation part: the results are those of training.")]
    return [
        Paragraph(
            f"There is no result on a test part. What follows is about the validation part "
            f"({pluralize(found.of, 'row')}), which was not learned from; where settings or the best epoch were chosen "
            "by it, it looks better than other data would."
        )
    ]


def warnings_section(summary: Summary) -> list[PlannedBlock]:
    """Return the warnings of the run, a paragraph each; nothing if there are none."""
    warnings = summary.get("warnings", [])
    if not warnings:
        return []
    return [Heading("Warnings"), *(Paragraph(escape_control(warning["message"])) for warning in warnings)]


def training_section(run: RunResults) -> list[PlannedBlock]:
    """Return the training curves."""
    if not run.history:
        return []
    caption = (
        "One point per epoch. Training is the mean over the steps of the epoch, while the network changes; validation "
        "is computed after the epoch. If the learning rate changes, it is that of the last step of the epoch."
    )
    objective = run.history[-1].get("train_objective")
    if objective is not None and objective != run.history[-1].get("train_loss"):
        kept_in = "result.history" if run.python else "metrics.csv"
        caption += (
            " The losses are without label smoothing and weights; the minimised objective, which is with them, ended"
            f" at {decimals(objective)} ({kept_in} has it for every epoch)."
        )
    caption += training_difference(tomllib.loads(run.recipe))
    alt = describe_curves(run.history)
    blocks: list[PlannedBlock] = [Heading("Training")]
    blocks.append(make_figure("curves", alt, caption, metric_plots.plot_curves, run.history))
    if turned := turn_sentence(run.summary):
        blocks.append(Paragraph(f"{sentence_start(turned)}."))
    return blocks


def training_difference(settings: dict[str, Any]) -> str:
    """Return how the training values differ from the validation's by the settings of a recipe; "" if they do not."""
    names = ("dropout", "input_dropout", "input_noise", "mixup")
    used = ", ".join(name.replace("_", " ") for name in names if settings.get(name))
    text = f" Training is with {used}, validation without." if used else ""
    return f"{text} Validation is that of the moving average of the weights." if settings.get("ema") else text


def rate_search_section(run: RunResults) -> list[PlannedBlock]:
    """Return the range test that found the learning rate; nothing where the rate was given."""
    search = run.environment.get("rate_search")
    if not search:
        return []
    caption = (
        f"{rate_search_text(search)} A point is the minimised loss of a batch of training rows, one step of that rate "
        "later; the line is their moving mean. The test trains a copy, and the run begins anew."
    )
    alt = f"Loss over the learning rate, on a logarithmic scale of rates; the chosen rate {search['rate']:g} is marked."
    return [
        Heading("Learning rate"),
        make_figure("learning_rate", alt, caption, metric_plots.plot_rate_search, search),
    ]


def predictions_section(run: RunResults) -> list[PlannedBlock]:
    """Return predicted over true values, for regression."""
    if run.diagnostics.predicted is None:
        return []
    if not np.isfinite(run.diagnostics.predicted).any():
        return [
            Heading("Predicted and true values"),
            Paragraph(f"No prediction for the {run.part} is a finite number."),
        ]
    names = ", ".join(map(escape_control, run.model.target_names))
    alt = f"Predicted over true values of {names}, and their residuals; the table has their figures."
    caption = f"Of the {run.examined_rows}. On the dashed line the prediction is exact."
    if left_out := int(np.sum(~np.isfinite(run.diagnostics.predicted).all(axis=1))):
        caption += f" {pluralize(left_out, 'row')} without a finite prediction left out."
    plot = metric_plots.plot_predictions
    return [
        Heading("Predicted and true values"),
        make_figure("predicted", alt, caption, plot, run.diagnostics, run.model),
        residuals_table(run.diagnostics, run.model),
    ]


def classes_section(run: RunResults) -> list[PlannedBlock]:
    """Return the confusion matrix, and a table of the classes; of labels the table alone."""
    if run.summary.get("label_metrics"):
        return [Heading("Labels"), labels_table(run.summary, run.part)]
    if not run.summary.get("confusion"):
        return []
    counts, names = np.asarray(run.summary["confusion"]), run.model.class_names
    blocks: list[PlannedBlock] = [Heading("Classes")]
    if len(counts) <= image_plots.MAX_MATRIX_CLASSES:
        alt = "A matrix of counts, true class by row and predicted class by column; the table has the same facts."
        caption = "Rows are true classes, columns predicted classes; the colour is the share of the row."
        blocks.append(make_figure("confusion", alt, caption, image_plots.plot_confusion_matrix, counts, names))
    return [*blocks, classes_table(counts, names, run.part)]


def thresholds_section(run: RunResults) -> list[PlannedBlock]:
    """Return ROC and precision-recall curves of two classes, and a table of what thresholds give."""
    curves = run.diagnostics.curves
    if curves is None:
        return []
    positive = run.model.class_names[1]
    alt = (
        f"ROC curve with the area {curves.roc_auc:.4f}, and precision over recall with the average precision "
        f"{curves.average_precision:.4f}; the table has what thresholds give."
    )
    examined = run.part if curves.rows == curves.of else f"{curves.rows:,} of {curves.of:,} rows of the {run.part}"
    caption = (
        f"Of the {examined}: {curves.positives:,} of the class {escape_control(positive)}, {curves.negatives:,} of the "
        f"other. The dashed lines are those of chance. Best is the upper left corner of the first plot, and the upper "
        "right one of the second."
    )
    return [
        Heading("Thresholds"),
        make_figure("thresholds", alt, caption, metric_plots.plot_binary_curves, curves, positive),
        thresholds_table(curves, positive),
    ]


def mistakes_section(run: RunResults) -> list[PlannedBlock]:
    """Return the most confident mistakes: a table, and their images where rows are images."""
    mistakes = run.diagnostics.mistakes
    if not mistakes:
        return []
    blocks: list[PlannedBlock] = [Heading("Mistakes")]
    if mistakes[0].x.ndim > 1:
        alt = f"{pluralize(len(mistakes), 'image')} that the network classified wrongly with the highest probability."
        caption = f"Of the {run.examined_rows}; the probabilities are those that the network gives."
        plot, wrong = image_plots.plot_mistakes, run.diagnostics.wrong
        blocks.append(make_figure("mistakes", alt, caption, plot, mistakes, wrong, run.model.class_names))
    return [*blocks, mistakes_table(mistakes, run.model, run.part)]


def first_layer_section(run: RunResults) -> list[PlannedBlock]:
    """Return the weights of the first layer as images, where rows are images."""
    weights = run.diagnostics.weights
    if weights is None:
        return []
    alt = "Weights of the first layer as images, red where a bright pixel raises a unit, blue where it lowers it."
    caption = "Red: a bright pixel there raises the unit. Blue: it lowers it. White: no effect. One scale for all."
    plot = image_plots.plot_first_layer
    return [
        Heading("Weights of the first layer"),
        make_figure("weights", alt, caption, plot, weights, run.model),
    ]


def columns_section(run: RunResults) -> list[PlannedBlock]:
    """Return the table of the columns, unless each is a number that is learned from as it is."""
    encoding = run.model.encoding
    if encoding is None or not run.has_columns:
        return []
    facts = column_facts(encoding)
    if are_plain_numbers(facts) and all(column["features"] for column in facts):
        return []
    return [Heading("Columns"), columns_table(facts)]


def importance_section(run: RunResults) -> list[PlannedBlock]:
    """Return the permutation importance of the columns, where rows are no images."""
    importance = run.diagnostics.importance
    if importance is None:
        return []
    if not np.isfinite(importance.mean).any():
        return [Heading("Importance"), Paragraph("The importance of columns is not known: the outputs are not finite.")]
    most = ", ".join(map(escape_control, importance.names[:MAX_ALT_COLUMNS]))
    alt = f"Bars of the quality lost when a column is shuffled; most for {most}; the table has the same numbers."
    tried = len(importance.names)
    caption = f"Each column was shuffled over {importance.rows:,} rows of the {run.part}, with all features made of it."
    if tried < importance.of:
        caption += f" Only the {tried} columns with the largest weights were tried, of {importance.of:,}."
    accuracy = run.classification
    return [
        Heading("Importance"),
        make_figure("importance", alt, caption, metric_plots.plot_importance, importance, accuracy=accuracy),
        importance_table(importance, accuracy=accuracy),
    ]


def dependence_section(run: RunResults) -> list[PlannedBlock]:
    """Return the partial dependence on the most important columns: a figure for classes, or one for each target."""
    found = run.diagnostics.dependences
    if found is None:
        return []
    caption = (
        f"The mean output where a column has the same value in {pluralize(found.rows, 'row')} of the {run.part} and "
        "all other columns stay (Friedman's partial dependence). It tells what the network has learned, not what would "
        "happen if the value were changed."
    )
    figures = dependence_outputs(run)
    if not any(shown.several for _, shown in figures):
        caption += " The dashed line is the mean output of the rows as they are."
    if any(panel.grid.kind in (NUMBER, DATE) for panel in found.panels):
        caption += " Below a curve: how the values are distributed."
    if any(panel.grid.part for panel in found.panels):
        caption += " A date is split into the time that passes, and the month, weekday or hour that it falls on."
    if run.classification and len(run.model.class_names) > dependence_plots.MAX_CLASSES:
        shown_outputs = "first labels" if run.model.multi_label else "commonest classes"
        caption += f" The {dependence_plots.MAX_CLASSES} {shown_outputs} of {len(run.model.class_names):,}."
    blocks: list[PlannedBlock] = [Heading("What changes the output")]
    columns = ", ".join(dict.fromkeys(escape_control(panel.name) for panel in found.panels))
    for name, shown in figures:
        output = ", ".join(map(escape_control, shown.names))
        alt = f"The mean output ({output}) over the values of {columns}."
        blocks.append(make_figure(name, alt, caption, dependence_plots.plot_dependences, found, shown))
        caption = "As above."
    return blocks


def dependence_outputs(run: RunResults) -> list[tuple[str, Outputs]]:
    """Return the name of each figure of partial dependences, and the outputs that it shows."""
    targets, classes = run.model.target_names[: metric_plots.MAX_TARGETS], run.model.class_names
    if not run.classification:
        names = [f"dependence-{k + 1}" for k in range(len(targets))] if len(targets) > 1 else ["dependence"]
        return [(name, Outputs((k,), (targets[k],), run.model.unit)) for k, name in enumerate(names)]
    if run.model.multi_label:
        first = tuple(range(min(len(classes), dependence_plots.MAX_CLASSES)))
        return [("dependence", Outputs(first, classes[: len(first)]))]
    if len(classes) == 2:
        return [("dependence", Outputs((1,), (classes[1],)))]
    counts = np.asarray(run.summary.get("confusion") or np.zeros((len(classes), 1))).sum(axis=1)
    most = np.sort(np.argsort(-counts, kind="stable")[: dependence_plots.MAX_CLASSES])
    return [("dependence", Outputs(tuple(map(int, most)), tuple(classes[k] for k in most)))]


def calibration_section(run: RunResults) -> list[PlannedBlock]:
    """Return how often predictions of each probability are correct, for classification."""
    calibration = run.diagnostics.calibration
    if calibration is None:
        return []
    alt = f"Accuracy of predictions by their probability; expected calibration error {calibration.error:.4f}."
    labels = len(run.model.class_names) > 1 and run.model.multi_label
    counted = f"all labels of the {run.examined_rows}" if labels else f"the {run.examined_rows}"
    caption = (
        f"Of {counted}. Above the dashed line predictions are correct more often than their probability "
        "says, below it less often."
    )
    return [
        Heading("Calibration"),
        make_figure("calibration", alt, caption, metric_plots.plot_calibration, calibration, labels=labels),
    ]


def activity_section(run: RunResults) -> list[PlannedBlock]:
    """Return how often each hidden unit is active, for ReLU networks."""
    activity = run.diagnostics.activity
    if not activity:
        return []
    count = sum(int(np.sum(shares == 0)) for shares in activity)
    alt = f"Share of rows in which each hidden unit is active, by layer; {pluralize(count, 'unit')} never."
    caption = f"One point per unit, over the {run.examined_rows}. {pluralize(count, 'dead unit')}: active in no row."
    return [
        Heading("Hidden units"),
        make_figure("activity", alt, caption, metric_plots.plot_unit_activity, activity),
    ]


def reproduction_section(run: RunResults) -> list[PlannedBlock]:
    """Return the commands that repeat the run, what they cannot repeat, the settings and the environment."""
    environment = {key: value for key, value in run.environment.items() if key != "rate_search"}  # it has a figure
    lines = run.python
    if not lines:
        lines = "\n".join(shlex.join(command) for command in reproduction_commands(run.summary, run.environment))
    return [
        Heading("To do it again"),
        Code(lines),
        *map(Paragraph, reproduction_notes(run.environment)),
        Heading("Settings"),
        Code(run.recipe),
        Heading("Environment"),
        Code(json.dumps(environment, indent=2, ensure_ascii=False)),
    ]


SECTIONS: tuple[Callable[[RunResults], list[PlannedBlock]], ...] = (
    training_section,
    rate_search_section,
    predictions_section,
    classes_section,
    thresholds_section,
    mistakes_section,
    first_layer_section,
    columns_section,
    importance_section,
    dependence_section,
    calibration_section,
    activity_section,
    reproduction_section,
)


def reproduction_commands(summary: Summary, environment: dict[str, Any]) -> list[list[str]]:
    """Return the command lines that train again with the settings of a run, and the one that evaluates it."""
    folder = summary["run"]
    return [*training_commands(folder, environment), [*LAGVIS, "evaluate", folder]]


def training_commands(folder: str, environment: dict[str, Any]) -> list[list[str]]:
    """Return the command lines that repeat the training of a run folder: one for each stretch with its own settings."""
    first, *later = stretches(environment.get("resumed") or [])
    train = [*LAGVIS, "train", "--recipe", f"{folder}/{RECIPE}", *recipe_flags(first.settings)]
    train += environment_flags(environment | first.settings)
    if init_from := environment.get("init_from"):
        train += ["--init-from", init_from["path"]]
    if not later:
        return [train]
    name = f"{Path(folder).name}-again"
    commands = [[*train, "--name", name, "--stop-after", str(first.last)]]
    for stretch in later:
        command = [*LAGVIS, "train", "--resume", name, *recipe_flags(stretch.changed)]
        command += environment_flags(stretch.changed)
        commands.append([*command, "--stop-after", str(stretch.last)] if stretch.last else command)
    return commands


def recipe_flags(settings: dict[str, Any]) -> list[str]:
    """Return the options of train.py for those of the settings that are keys of a recipe."""
    flags = []
    for key, value in settings.items():
        option = key.replace("_", "-")
        if key in KEYS and isinstance(value, bool):
            flags.append(f"--{option}" if value else f"--no-{option}")
        elif key in KEYS:
            flags += [f"--{option}", str(value)]
    return flags


def environment_flags(facts: dict[str, Any]) -> list[str]:
    """Return the options of train.py for backend, device, threads and compilation, where the facts have them."""
    flags = [word for key in OPTION_FACTS[:3] if facts.get(key) for word in (f"--{key}", str(facts[key]))]
    return [*flags, "--no-compile"] if facts.get("compiled") is False else flags


def reproduction_notes(environment: dict[str, Any]) -> list[str]:
    """Return what the commands need beside themselves, and what no single command repeats, a sentence or two each."""
    notes = [
        "The same bytes need the versions and the device listed under Environment. Paths are those of the time of the "
        "run: where a file or folder has been moved, use its new path."
    ]
    if overrides := environment.get("overrides"):
        variables = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in overrides.items())
        notes.append(f"The run was made with these environment variables, which can change its results: {variables}.")
    if init_from := environment.get("init_from"):
        digests = ", ".join(f"{name} {digest}" for name, digest in init_from["sha256"].items())
        notes.append(
            f"The run began with the weights of {init_from['path']}, which must still be the same (sha256: {digests})."
        )
    if resumed := environment.get("resumed"):
        notes.append(
            f"The run was resumed with other settings ({changes_text(resumed)}): each command trains one stretch of it."
        )
        changed = dict.fromkeys(key for entry in resumed for key in entry["changed"])
        if fixed := [key for key in changed if key not in KEYS and key not in OPTION_FACTS]:
            notes.append(f"No option sets {', '.join(fixed)}; the same bytes need these changes too.")
    return notes


def changes_text(resumed: list[dict[str, Any]]) -> str:
    """Return what each resume changed: after step 55: lr 0.1 -> 0.05; after step 110: epochs 4 -> 8."""
    parts = []
    for entry in resumed:
        changes = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in entry["changed"].items())
        parts.append(f"after step {entry['step']:,}: {changes}")
    return "; ".join(parts)


def summary_sentence(summary: Summary, environment: dict[str, Any]) -> str:
    """Return two sentences: what was trained, and its result on the test part."""
    context = f"{summary['backend']} ({summary['device']}, {summary['dtype']}, seed {summary['seed']})"
    trained = f"{pluralize(summary['epochs'], 'epoch')}, {pluralize(summary['steps'], 'step')}"
    result = ""
    if summary["test_accuracy"] is not None:
        result = f" Its accuracy on the test part is {percent(summary['test_accuracy'])}{lift_text(summary)}."
    elif any(error is not None for error in (summary.get("test_errors") or {}).values()):
        unit = f" {summary['unit']}" if summary["unit"] else ""
        errors = [f"{name} {error:.4g}{unit}" for name, error in summary["test_errors"].items() if error is not None]
        result = f" Its root mean square error on the test part: {', '.join(errors)}."
    return (
        f"A dense network {summary['network']} of {summary['parameters']:,} parameters, trained on "
        f"{data_name(environment)} with {context}: {trained} in {duration(summary['seconds'])}.{result}"
    )


def lift_text(summary: Summary) -> str:
    """Return what an accuracy of the test part is to be held against; empty where it is not known."""
    others = []
    if counts := summary.get("counts"):
        commonest = escape_control(shorten(max(counts, key=counts.__getitem__)))
        others.append(f"always answering {commonest} gives {percent(summary['commonest_share'])}")
    if summary.get("linear_accuracy") is not None:
        others.append(f"a linear model {percent(summary['linear_accuracy'])}")
    return "".join(f"{mark} {text}" for mark, text in zip((";", ","), others, strict=False))


def data_name(environment: dict[str, Any]) -> str:
    """Return the last part of the path of the data."""
    path = str(environment["data"]).rstrip("/\\")
    return path.replace("\\", "/").rsplit("/", 1)[-1] or path


def describe_curves(history: History) -> str:
    """Return the final losses and the best epoch in words, for readers who cannot see the curves."""
    last = history[-1]
    losses = [
        f"{part} {decimals(loss) if math.isfinite(loss) else 'not finite'}"
        for part in ("train", "validation")
        if (loss := last.get(f"{part}_loss")) is not None
    ]
    best = metric_plots.best_epoch(history)
    lowest = "" if best is None else f"; lowest on the validation part in epoch {int(history[best]['epoch'] or 0)}"
    return f"Curves of {pluralize(len(history), 'epoch')}; loss at the end: {', '.join(losses)}{lowest}."
