"""Figure of several runs: their losses and accuracies over the samples seen."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lagvis.report.plots.figure import axis_labels, left_margin, new_figure, text_width
from lagvis.report.plots.metric_plots import MAX_MARKED_EPOCHS, History, curve_values, scale_losses
from lagvis.report.plots.ticks import linear_ticks, short_number

# Okabe and Ito's colours without yellow, which is faint on white; a line style for each round of them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # line, marker
MAX_RUNS = len(COLOURS) * len(STYLES)
MAX_NAME_LENGTH = 44  # characters in the legend
PARTS = ("validation", "train")
WIDTH, PANEL_HEIGHT, LEGEND_LINE = 9.0, 2.6, 0.2  # inches
MAX_LEGEND_COLUMNS = 4


def plot_runs(histories: Sequence[History], names: Sequence[str], losses: Sequence[str]) -> Any:
    """Plot loss and accuracy of runs over the training samples seen; runs of each loss have panels of their own.

    `losses` are the names of the losses. A run without an epoch is in the legend alone.
    """
    panels = [
        (loss, metric)
        for loss in dict.fromkeys(losses)
        for metric in ("loss", "accuracy")
        if any(has_values(histories[i], f"{part}_{metric}") for i in of_loss(losses, loss) for part in PARTS)
    ]
    parts = [part for part in PARTS if any(has_values(h, f"{part}_loss") for h in histories)] or ["train"]
    labels = axis_labels(names, MAX_NAME_LENGTH, [f"run no. {i + 1}" for i in range(len(names))])
    columns = max(1, min(MAX_LEGEND_COLUMNS, len(names), int((WIDTH - 0.4) / (text_width(labels, 8.0) + 0.65))))
    bottom = 0.65 + LEGEND_LINE * math.ceil(len(names) / columns)
    rows = max(1, len(panels))
    figure = new_figure(WIDTH, 0.35 + PANEL_HEIGHT * rows + bottom, bottom=bottom)
    grid = figure.subplots(rows, len(parts), squeeze=False, gridspec_kw={"wspace": 0.22, "hspace": 0.38})
    styles = list(itertools.islice(itertools.cycle(itertools.product(STYLES, COLOURS)), len(names)))
    for row, (loss, metric) in zip(grid, panels, strict=False):
        several = f" ({loss})" if len(set(losses)) > 1 else ""
        for axes, part in zip(row, parts, strict=True):
            shown = [i for i in of_loss(losses, loss) if has_values(histories[i], f"{part}_{metric}")]
            title = f"{'training' if part == 'train' else part} {metric}{several}".capitalize()
            axes.set(title=title, ylabel="accuracy (%)" if metric == "accuracy" else "loss")
            plot_panel(axes, [histories[i] for i in shown], [styles[i] for i in shown], f"{part}_{metric}")
    if not panels:
        for axes in grid[0]:
            axes.text(0.5, 0.5, "no finished epoch", transform=axes.transAxes, ha="center")
    for axes in grid[-1]:
        axes.set_xlabel("training samples seen")
    figure.subplots_adjust(left=max(left_margin(axes) for axes in grid[:, 0]) / WIDTH)
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colour, linestyle=line, marker=marker, markersize=3.5) for (line, marker), colour in styles
    ]
    figure.legend(lines, labels, loc="lower center", ncols=columns, fontsize=8)
    return figure


def plot_panel(axes: Any, histories: Sequence[History], styles: Sequence[Any], column: str) -> None:
    """Plot a column of metrics.csv of each run, each with its line style, marker and colour."""
    smallest, largest = math.inf, 0.0
    for history, ((line, marker), colour) in zip(histories, styles, strict=True):
        values = curve_values(history, column) * (100.0 if column.endswith("accuracy") else 1.0)
        size = 3.5 if len(history) < MAX_MARKED_EPOCHS else 0
        axes.plot(
            curve_values(history, "samples"), values, line, marker=marker, markersize=size, color=colour, linewidth=1.3
        )
        smallest, largest = min(smallest, float(np.nanmin(values))), max(largest, float(np.nanmax(values)))
    if not histories:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
    if column.endswith("loss"):
        scale_losses(axes, smallest, largest)
    axes.set_xlim(left=0.0)
    axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
    axes.xaxis.set_major_locator(linear_ticks(6))


def of_loss(losses: Sequence[str], loss: str) -> list[int]:
    """Return the numbers of the runs that have a loss."""
    return [i for i, name in enumerate(losses) if name == loss]


def has_values(history: History, column: str) -> bool:
    """Return whether a column has a finite value in some epoch."""
    return bool(history) and not bool(np.isnan(curve_values(history, column)).all())
