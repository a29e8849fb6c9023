"""Figures made of lines and bars: training curves, calibration, unit activity, importance of columns, predictions."""

import math
from typing import Any

import numpy as np

from lagvis.data.messages import pluralize
from lagvis.inference.binary_curves import BinaryCurves
from lagvis.inference.diagnostics import Calibration, Diagnostics
from lagvis.inference.importance import Importance
from lagvis.report.plots.figure import (
    GREY,
    NEUTRAL,
    TRAIN,
    VALIDATION,
    WRONG,
    axis_labels,
    left_margin,
    new_figure,
    text_width,
)
from lagvis.report.plots.ticks import decade_ticks, linear_ticks, log_ticks, set_number_ticks, short_number
from lagvis.training.model import Model

History = list[dict[str, float | None]]  # an epoch each, by the columns of metrics.csv; a column may be missing

LOG_SCALE_RATIO = 30.0  # of the largest to the smallest loss, above which a linear axis would hide the end
MAX_MARKED_EPOCHS = 60  # of a curve whose points have markers
MAX_BARS = 25
MAX_COLUMN_LENGTH = 40  # characters of a label
MAX_TARGET_LENGTH = 28
MIN_BARS_WIDTH = 4.0  # inches beside the labels of the columns
MIN_RANGE = 1e-300  # of a histogram
MAX_POINTS = 2000
MAX_TARGETS = 6
MAX_LAYERS = 24
GOLDEN_RATIO = 0.618034


def plot_curves(history: History) -> Any:
    """Plot loss and accuracy over the samples seen, a point an epoch, the lowest validation loss marked by a star.

    Below them is the learning rate at the end of each epoch, if a schedule changes it.
    """
    seen = np.array([row["samples"] for row in history], dtype=float)
    best = best_epoch(history)
    labels = {"loss": "loss", "accuracy": "accuracy (%)"}
    metrics = [metric for metric in labels if any(row.get(f"train_{metric}") is not None for row in history)]
    rates = curve_values(history, "learning_rate")
    varies = len(np.unique(rates[~np.isnan(rates)])) > 1
    figure = new_figure(8.0 if len(metrics) > 1 else 5.2, 4.55 if varies else 3.65, bottom=0.75)
    heights = (3.2, 1.0) if varies else (1.0,)
    grid = {"wspace": 0.22, "hspace": 0.12, "height_ratios": heights}
    panels, *below = figure.subplots(len(heights), len(metrics), squeeze=False, sharex="col", gridspec_kw=grid)
    for axes, metric in zip(panels, metrics, strict=True):
        smallest, largest = math.inf, 0.0
        for part, colour, marker in (("train", TRAIN, "o"), ("validation", VALIDATION, "s")):
            values = curve_values(history, f"{part}_{metric}") * (100.0 if metric == "accuracy" else 1.0)
            if np.isnan(values).all():
                continue
            name = "training" if part == "train" else part
            size = 3.5 if len(seen) < MAX_MARKED_EPOCHS else 0
            axes.plot(seen, values, marker + "-", color=colour, markersize=size, label=name)
            smallest, largest = min(smallest, np.nanmin(values)), max(largest, np.nanmax(values))
            if part == "validation" and best is not None:
                if best < len(history) - 1:  # from there on the validation loss is higher
                    axes.axvline(seen[best], color=GREY, linestyle=":", linewidth=1)
                axes.plot(
                    seen[best], values[best], "*", color=colour, markersize=13, markeredgecolor="black",
                    label=f"lowest validation loss: epoch {int(history[best]['epoch'] or 0)}",
                )  # fmt: skip
        if metric == "loss":
            scale_losses(axes, smallest, largest)
        axes.set(ylabel=labels[metric], title=metric.capitalize())
    for axes in below[0] if below else ():
        axes.plot(seen, rates, ".-", color=GREY, markersize=4 if len(seen) < MAX_MARKED_EPOCHS else 0)
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_locator(linear_ticks(3))
        axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
    if below:
        below[0][0].set_ylabel("learning rate")
    for axes in below[0] if below else panels:
        axes.set_xlabel("training samples seen")
        axes.set_xlim(left=0.0)
        axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.xaxis.set_major_locator(linear_ticks(6))
    margin = max(left_margin(row[0]) for row in (panels, *below))
    figure.subplots_adjust(left=margin / figure.get_figwidth())
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="lower center", ncols=3, fontsize=8)  # below the axes, where it covers no curve
    return figure


def scale_losses(axes: Any, smallest: float, largest: float) -> None:
    """Make the vertical axis logarithmic if the losses span more than a linear one can show."""
    if 0 < smallest < largest / LOG_SCALE_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(log_ticks())
        axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.yaxis.set_minor_formatter(lambda value, _: "")


def plot_rate_search(search: dict[str, Any]) -> Any:
    """Plot the losses of a range test and their moving mean over the learning rate, with the chosen rate marked.

    `search` is the entry of environment.json: "rate", "fallen", and the lists "rates", "losses" and "smoothed".
    """
    rates, losses, smoothed = (np.array(search[name], dtype=float) for name in ("rates", "losses", "smoothed"))
    figure = new_figure(6.2, 3.65, bottom=0.75)
    axes = figure.subplots()
    axes.plot(rates, losses, "o", color=NEUTRAL, markersize=3, label="loss of a batch")
    axes.plot(rates, smoothed, "-", color=TRAIN, label="moving mean")
    at_fallen = np.interp(search["fallen"], rates, smoothed)
    axes.plot(search["fallen"], at_fallen, "o", color=TRAIN, markeredgecolor="black", label="95% of the fall")
    axes.axvline(search["rate"], color=WRONG, linestyle="--", label=f"chosen: {search['rate']:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(decade_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    low, first = float(min(losses.min(), smoothed.min())), float(smoothed[0])
    height = (first - low) or 1.0
    axes.set_ylim(low - 0.1 * height, first + 0.6 * height)  # where the loss diverges, it is far above
    axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
    axes.yaxis.set_major_locator(linear_ticks(6))
    axes.set(xlabel="learning rate", ylabel="minimised loss", title="Range test")
    figure.subplots_adjust(left=left_margin(axes) / figure.get_figwidth())
    figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=8)
    return figure


def curve_values(history: History, column: str) -> np.ndarray:
    """Return a column of the history (epochs,) in float64, NaN where the value is missing or not finite."""
    values = np.array([row.get(column) for row in history], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def best_epoch(history: History) -> int | None:
    """Return the index of the epoch with the lowest finite validation loss, or None."""
    losses = curve_values(history, "validation_loss")
    return None if np.isnan(losses).all() else int(np.nanargmin(losses))


def plot_calibration(calibration: Calibration, *, labels: bool = False) -> Any:
    """Plot the accuracy of predictions over their probability, and below it the number of rows in each bin.

    With `labels`, of which a row may have several, each is a prediction and counts.
    """
    figure = new_figure(5.2, 4.85, bottom=0.75)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.08})
    bins = len(calibration.counts)
    filled = calibration.counts > 0
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    upper.plot(calibration.probability[filled], calibration.correct[filled], "o-", color=TRAIN, label="this network")
    upper.set(ylabel="share of correct predictions", ylim=(-0.03, 1.03), xlim=(0, 1))
    upper.set_title(f"Expected calibration error {calibration.error:.4f}")
    figure.legend(*upper.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=8)  # below the axes
    bars = lower.bar((np.arange(bins) + 0.5) / bins, calibration.counts, width=0.9 / bins, color=NEUTRAL)
    lower.bar_label(bars, [f"{count:,}" if count else "" for count in calibration.counts], fontsize=7, padding=1)
    answer, counted = ("answer", "labels") if labels else ("predicted class", "rows")
    lower.set(xlabel=f"probability of the {answer}", ylabel=counted)
    lower.set_ylim(0, 1.25 * max(1, calibration.counts.max()))
    lower.yaxis.set_major_locator(linear_ticks(3))
    return figure


def plot_binary_curves(curves: BinaryCurves, positive: str) -> Any:
    """Plot the ROC and the precision-recall curve of two classes, with the thresholds of 0.5 and of balance."""
    figure = new_figure(8.0, 4.0, bottom=0.95)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.22})
    step = -(-len(curves.thresholds) // MAX_POINTS)
    shown = np.unique(np.append(np.arange(0, len(curves.thresholds), step), len(curves.thresholds) - 1))
    with_origin = np.append(0, shown + 1)
    left.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="chance")
    left.plot(curves.false_positive_rate[with_origin], curves.recall[with_origin], color=TRAIN, label="this network")
    share = curves.positives / (curves.positives + curves.negatives)
    right.axhline(share, color=GREY, linestyle="--", linewidth=1)
    right.step(np.append(0.0, curves.recall[1:][shown]), np.append(curves.precision[0], curves.precision[shown]),
               where="pre", color=TRAIN)  # fmt: skip
    marked = (("threshold 0.5", curves.most_probable, "o"), (f"threshold {short_share(curves.balanced.threshold)}: "
              "recall nearest to specificity", curves.balanced, "*"))  # fmt: skip
    for name, found, marker in marked:
        options = {"color": VALIDATION, "markersize": 6 if marker == "o" else 12, "markeredgecolor": "black"}
        left.plot([1 - found.specificity], [found.recall], marker, label=name, linestyle="none", **options)
        if found.precision is not None:
            right.plot([found.recall], [found.precision], marker, linestyle="none", **options)
    left.set(xlabel="1 - specificity", ylabel="recall (sensitivity)")
    left.set_title(f"ROC, area {short_share(curves.roc_auc)}")
    right.set(xlabel="recall", ylabel="precision")
    right.set_title(f"Precision and recall, average precision {short_share(curves.average_precision)}")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    (name,) = axis_labels([positive], fallbacks=["the second class"])
    left.annotate(f"positive: {name}", (0.97, 0.05), xycoords="axes fraction", ha="right", fontsize=8)
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=8)  # below the axes
    return figure


def short_share(value: float) -> str:
    """Return a share with three decimals; one that would read as 0 or 1 and is not, with three digits."""
    text = f"{value:.3f}"
    return text if 0.0005 <= value < 0.9995 or value in (0.0, 1.0) else f"{value:.3g}" if value < 0.5 else ">0.999"


def plot_unit_activity(activity: tuple[np.ndarray, ...]) -> Any:
    """Plot for each hidden layer the share of rows in which each unit is above zero; dead units are marked by X."""
    layers = activity[:MAX_LAYERS]
    labels = [f"layer {i + 1}: {pluralize(len(s), 'unit')}\n{int(np.sum(s == 0)):,} dead" for i, s in enumerate(layers)]
    figure = new_figure(8.0, 0.9 + 0.55 * len(layers), left=0.25 + text_width(labels))
    axes = figure.subplots()
    for i, shares in enumerate(layers):
        shown = np.sort(shares)[:: max(1, len(shares) // MAX_POINTS)]
        # Multiples of the golden ratio spread the points evenly, and equally in every run.
        height = i + 0.6 * ((np.arange(len(shown)) * GOLDEN_RATIO) % 1.0 - 0.5)
        dead = shown == 0
        axes.plot(100 * shown[~dead], height[~dead], "o", color=TRAIN, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot(100 * shown[dead], height[dead], "X", color=WRONG, markersize=7, markeredgewidth=0)
    axes.set_yticks(range(len(layers)), labels)
    axes.set(xlabel="rows in which a unit is active (%)", xlim=(-2, 102), ylim=(len(layers) - 0.5, -0.5))
    axes.set_title("Activity of each hidden unit")
    return figure


def plot_importance(importance: Importance, *, accuracy: bool) -> Any:
    """Plot the permutation importance of columns as bars, the largest first: accuracy or R² lost by shuffling one."""
    count = min(len(importance.names), MAX_BARS)
    columns = [f"column {number}" for number in importance.columns]
    labels = axis_labels(importance.names[:count], MAX_COLUMN_LENGTH, columns)
    left = 0.3 + text_width(labels)
    figure = new_figure(max(7.0, left + MIN_BARS_WIDTH), 0.95 + 0.26 * count, left=left)
    axes = figure.subplots()
    scale = 100.0 if accuracy else 1.0
    axes.barh(
        range(count), scale * importance.mean[:count], xerr=scale * importance.deviation[:count], color=NEUTRAL,
        error_kw={"ecolor": "#333333", "elinewidth": 1},
    )  # fmt: skip
    axes.set_yticks(range(count), labels)
    axes.set_ylim(count - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.axvline(0.0, color=GREY, linewidth=1)
    axes.set(xlabel="accuracy lost (percentage points)" if accuracy else "R² lost")
    axes.set_title("Permutation importance of each column")
    return figure


def histogram_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of values (N,) for a histogram, wider where float64 could not divide it into bins."""
    low, high = float(values.min()), float(values.max())
    largest = max(abs(low), abs(high))
    if high - low > max(1e-9 * largest, MIN_RANGE):
        return low, high
    margin = max(1e-3 * largest, 0.5)
    return low - margin, high + margin


def plot_predictions(diagnostics: Diagnostics, model: Model) -> Any:
    """Plot for each target predicted over true values, residuals over predicted values, and their histogram."""
    assert diagnostics.predicted is not None
    assert diagnostics.target is not None
    count = min(diagnostics.target.shape[1], MAX_TARGETS)
    (unit,) = axis_labels([model.unit], fallbacks=[""])
    suffix = f" ({unit})" if unit else ""
    figure = new_figure(9.6, 3.0 * count)
    fallbacks = [f"target {i + 1}" for i in range(len(model.target_names))]
    names = axis_labels(model.target_names, MAX_TARGET_LENGTH, fallbacks)
    every = max(1, len(diagnostics.target) // MAX_POINTS)
    for k, (left, middle, right) in enumerate(figure.subplots(count, 3, squeeze=False, gridspec_kw={"hspace": 0.36})):
        finite = np.isfinite(diagnostics.predicted[:, k])
        true, predicted = diagnostics.target[finite, k], diagnostics.predicted[finite, k]
        if len(true):
            ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
            left.plot(ends, ends, "--", color=GREY, linewidth=1, label="exact")
            left.plot(true[::every], predicted[::every], "o", color=TRAIN, markersize=3, alpha=0.5, markeredgewidth=0)
            middle.plot(
                predicted[::every], (predicted - true)[::every], "o", color=TRAIN, markersize=3, alpha=0.5,
                markeredgewidth=0,
            )  # fmt: skip
            right.hist(predicted - true, bins=30, range=histogram_range(predicted - true), color=NEUTRAL)
            left.legend(loc="upper left", fontsize=8)
        middle.axhline(0.0, color=GREY, linestyle="--", linewidth=1)
        right.axvline(0.0, color=GREY, linestyle="--", linewidth=1)
        left.set(xlabel=f"true{suffix}", ylabel=f"predicted{suffix}", title=names[k])
        middle.set(xlabel=f"predicted{suffix}", ylabel=f"predicted minus true{suffix}", title="Residuals")
        right.set(xlabel=f"predicted minus true{suffix}", ylabel="rows", title="Histogram of the residuals")
        for axes in (left, middle, right):
            set_number_ticks(axes.xaxis, axes.get_xlim(), 4)
            set_number_ticks(axes.yaxis, axes.get_ylim(), 6)
    margins = [max(left_margin(axes) for axes in figure.axes[i::3]) for i in range(3)]
    width = figure.get_figwidth()
    panel = (width - sum(margins) - 0.25 * 3) / 3  # the same width for all, whatever their labels need
    left_end = 0.0
    for i, margin in enumerate(margins):
        left_end += margin
        for axes in figure.axes[i::3]:
            box = axes.get_position()
            axes.set_position((left_end / width, box.y0, panel / width, box.height))
        left_end += panel + 0.25
    return figure
