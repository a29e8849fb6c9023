"""The pictures of a run that are graphs: curves, calibration, activity, importance, predicted against true."""

import math
from typing import Any

import numpy as np

from lagvis.inference.diagnostics import Calibration, Diagnostics, Importance
from lagvis.report.plots.figure import BETWEEN, QUIET, TRAIN, VALIDATION, WRONG, axis_labels, left_of, new_figure, room
from lagvis.report.text import pluralize
from lagvis.training.model import Model

History = list[dict[str, float | None]]

LOG_FROM = 30.0  # times the smallest loss, beyond which a straight axis would hide the end
MOST_BARS = 25
LONGEST_FEATURE = 40  # letters
LEAST_BARS = 4.0  # inches beside the names of features
MOST_POINTS = 2000
MOST_TARGETS = 6
MOST_LAYERS = 24


def curves(history: History) -> Any:
    """Loss and accuracy over rows seen, an epoch a point, with the epoch of the lowest validation loss marked."""
    seen = np.array([row["samples"] for row in history], dtype=float)
    best = best_epoch(history)
    measures = [("loss", "loss"), ("accuracy", "accuracy (%)")]
    present = [(key, label) for key, label in measures if any(row[f"train_{key}"] is not None for row in history)]
    made = new_figure(8.0 if len(present) > 1 else 5.2, 3.65, bottom=0.75)
    panels = made.subplots(1, len(present), squeeze=False, gridspec_kw={"wspace": 0.22})[0]
    for axes, (key, label) in zip(panels, present, strict=True):
        lowest, highest = math.inf, 0.0
        for part, colour, mark in (("train", TRAIN, "o"), ("validation", VALIDATION, "s")):
            values = np.array([row[f"{part}_{key}"] for row in history], dtype=float)
            values = np.where(np.isfinite(values), values, np.nan) * (100.0 if key == "accuracy" else 1.0)
            if np.isnan(values).all():
                continue
            name = "training" if part == "train" else part
            axes.plot(seen, values, mark + "-", color=colour, markersize=3.5 if len(seen) < 60 else 0, label=name)
            lowest, highest = min(lowest, np.nanmin(values)), max(highest, np.nanmax(values))
            if part == "validation" and best is not None:
                axes.plot(
                    seen[best], values[best], "*", color=colour, markersize=13, markeredgecolor="black",
                    label=f"lowest validation loss: epoch {int(history[best]['epoch'] or 0)}",
                )  # fmt: skip
        if key == "loss" and 0 < lowest < highest / LOG_FROM:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(powers())
            axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.set(xlabel="rows seen in training", ylabel=label, title=key.capitalize())
        axes.set_xlim(left=0.0)
        axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.xaxis.set_major_locator(at_most_ticks(6))
    made.subplots_adjust(left=left_of(panels[0]) / made.get_figwidth())
    lines, names = panels[0].get_legend_handles_labels()
    made.legend(lines, names, loc="lower center", ncols=3, fontsize=8)  # where no curve can be
    return made


def best_epoch(history: History) -> int | None:
    """The row with the lowest validation loss."""
    losses = [(value, i) for i, row in enumerate(history) if (value := row["validation_loss"]) is not None]
    finite = [(value, i) for value, i in losses if math.isfinite(value)]
    return min(finite)[1] if finite else None


def at_most_ticks(count: int) -> Any:
    """So few marks on an axis that their numbers stand apart."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])


def powers() -> Any:
    """Marks at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def short_number(value: float) -> str:
    """250000 -> 250k; 1500000 -> 1.5M; 2e+15 stays."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def calibration(found: Calibration) -> Any:
    """How often answers of a probability were right, and below it how many there were of each."""
    made = new_figure(5.2, 4.85, bottom=0.75)
    upper, lower = made.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.08})
    bins = len(found.counts)
    some = found.counts > 0
    upper.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1, label="as often right as it says")
    upper.plot(found.probability[some], found.right[some], "o-", color=TRAIN, label="this network")
    upper.set(ylabel="share that was right", ylim=(-0.03, 1.03), xlim=(0, 1))
    upper.set_title(f"Expected calibration error {found.error:.4f}")
    made.legend(*upper.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=8)  # where no point can be
    bars = lower.bar((np.arange(bins) + 0.5) / bins, found.counts, width=0.9 / bins, color=BETWEEN)
    lower.bar_label(bars, [f"{count:,}" if count else "" for count in found.counts], fontsize=7, padding=1)
    lower.set(xlabel="probability of the answer", ylabel="rows")
    lower.set_ylim(0, 1.25 * max(1, found.counts.max()))
    lower.yaxis.set_major_locator(at_most_ticks(3))
    return made


def activity(layers: tuple[np.ndarray, ...]) -> Any:
    """A point for each hidden unit, by layer: in how many rows it is above zero; those that never are stand out."""
    layers = layers[:MOST_LAYERS]
    labels = [f"layer {i + 1}: {pluralize(len(s), 'unit')}\n{int(np.sum(s == 0)):,} dead" for i, s in enumerate(layers)]
    made = new_figure(8.0, 0.9 + 0.55 * len(layers), left=0.25 + room(labels))
    axes = made.subplots()
    for i, shares in enumerate(layers):
        dots = np.sort(shares)[:: max(1, len(shares) // MOST_POINTS)]
        height = i + 0.6 * ((np.arange(len(dots)) * 0.618034) % 1.0 - 0.5)  # spread evenly, and the same every time
        dead = dots == 0
        axes.plot(100 * dots[~dead], height[~dead], "o", color=TRAIN, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot(100 * dots[dead], height[dead], "X", color=WRONG, markersize=7, markeredgewidth=0)
    axes.set_yticks(range(len(layers)), labels)
    axes.set(xlabel="rows in which a unit is active (%)", xlim=(-2, 102), ylim=(len(layers) - 0.5, -0.5))
    axes.set_title("How often each hidden unit is active")
    return made


def importance(found: Importance, *, accuracy: bool) -> Any:
    """Bars of what is lost when a feature is shuffled, the largest first."""
    count = min(len(found.names), MOST_BARS)
    names = axis_labels(found.names[:count], LONGEST_FEATURE, [f"column {number}" for number in found.columns])
    left = 0.3 + room(names)
    made = new_figure(max(7.0, left + LEAST_BARS), 0.95 + 0.26 * count, left=left)
    axes = made.subplots()
    scale = 100.0 if accuracy else 1.0
    axes.barh(
        range(count), scale * found.mean[:count], xerr=scale * found.deviation[:count], color=BETWEEN,
        error_kw={"ecolor": "#333333", "elinewidth": 1},
    )  # fmt: skip
    axes.set_yticks(range(count), names)
    axes.set_ylim(count - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.axvline(0.0, color=QUIET, linewidth=1)
    axes.set(xlabel="accuracy lost (percentage points)" if accuracy else "R² lost")
    axes.set_title("What is lost when one feature is shuffled")
    return made


def predicted(found: Diagnostics, model: Model) -> Any:
    """For each target the predicted over the true number, and how the differences are spread."""
    assert found.predicted is not None
    assert found.true is not None
    count = min(found.true.shape[1], MOST_TARGETS)
    (shown,) = axis_labels([model.unit], instead=[""])
    unit = f" ({shown})" if shown else ""
    made = new_figure(8.0, 3.4 * count)
    names = axis_labels(model.target_names, 28, [f"target {i + 1}" for i in range(len(model.target_names))])
    every = max(1, len(found.true) // MOST_POINTS)
    for k, (left, right) in enumerate(made.subplots(count, 2, squeeze=False)):
        finite = np.isfinite(found.predicted[:, k])
        true, said = found.true[finite, k], found.predicted[finite, k]
        if len(true):
            ends = [min(true.min(), said.min()), max(true.max(), said.max())]
            left.plot(ends, ends, "--", color=QUIET, linewidth=1, label="exact")
            left.plot(true[::every], said[::every], "o", color=TRAIN, markersize=3, alpha=0.5, markeredgewidth=0)
            right.hist(said - true, bins=30, color=BETWEEN)
            left.legend(loc="upper left", fontsize=8)
        right.axvline(0.0, color=QUIET, linestyle="--", linewidth=1)
        left.set(xlabel=f"true{unit}", ylabel=f"predicted{unit}", title=names[k])
        right.set(xlabel=f"predicted minus true{unit}", ylabel="rows", title="Differences")
        for axes in (left, right):
            axes.xaxis.set_major_locator(at_most_ticks(6))
    left = max(left_of(axes) for axes in made.axes[::2])
    made.subplots_adjust(left=left / made.get_figwidth(), wspace=0.25, hspace=0.32)
    return made
