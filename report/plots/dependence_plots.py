"""Figure of partial dependences: a panel for each column, curves for numbers and dates, bars or points for levels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.inference.partial_dependence import DATE, NUMBER, Dependences, Grid, PartialDependence
from lagvis.report.plots.figure import GREY, NEUTRAL, TRAIN, axis_labels, new_figure, text_width
from lagvis.report.plots.ticks import date_ticks, decade_ticks, log_ticks, set_number_ticks, short_number

# Okabe and Ito's colours, without yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MAX_CLASSES = len(COLOURS)
PANEL_WIDTH, CURVE_HEIGHT, STRIP_HEIGHT = 3.9, 1.75, 0.3  # inches
TOP, BOTTOM, GAP = 0.35, 0.5, 0.12
LEVEL_HEIGHT = 0.2
MAX_LEVEL_LENGTH, MAX_TITLE_LENGTH, MAX_AXIS_LENGTH = 18, 40, 20  # characters
MIN_TITLE_LENGTH, MAX_SHORT_NAME, MAX_UNIT_LENGTH = 8, 8, 10
MAX_LOG_RATIO = 100.0  # of the ends of a logarithmic axis that has ticks within the powers of ten


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network that a figure shows: one, or several classes with a legend.

    indices  of the outputs
    names    of the classes, or of the target
    unit     of a target; None for classes
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    unit: str | None = None

    @property
    def scale(self) -> float:
        """100 for probabilities, which are shown in percent."""
        return 100.0 if self.unit is None else 1.0

    @property
    def several(self) -> bool:
        """Whether there is more than one output."""
        return len(self.indices) > 1

    @property
    def axis_label(self) -> str:
        """The label of the output axis."""
        if self.several:
            return "probability (%)"
        if self.unit is None:
            (name,) = axis_labels(self.names, MAX_AXIS_LENGTH, [f"class no. {self.indices[0]}"])
            return f"probability of {name} (%)" if len(name) <= MAX_SHORT_NAME else f"{name} (%)"
        (unit,) = axis_labels([self.unit], MAX_UNIT_LENGTH, [""])
        room = MAX_AXIS_LENGTH - (len(unit) if unit else -3)
        (name,) = axis_labels(self.names, room, [f"target {self.indices[0] + 1}"])
        return f"{name} ({unit})" if unit else name


@dataclass(frozen=True)
class OutputAxis:
    """Axis of the outputs, the same in all panels of a figure.

    shown    the outputs
    overall  mean of each output for the rows as they are, in the unit of the axis (n_shown,)
    limits   lowest and highest value of the axis
    """

    shown: Outputs
    overall: np.ndarray
    limits: tuple[float, float]


def plot_dependences(dependences: Dependences, shown: Outputs) -> Any:
    """Plot the mean output over the values of each column, two panels beside each other, all with one scale."""
    panels = dependences.panels
    rows = [range(first, min(first + 2, len(panels))) for first in range(0, len(panels), 2)]
    heights = [max(panel_height(panels[i].grid) for i in row) for row in rows]
    width = 2 * PANEL_WIDTH if len(panels) > 1 else PANEL_WIDTH + 1.0
    names = axis_labels(shown.names, fallbacks=[f"no. {k}" for k in shown.indices]) if shown.several else []
    per_row = max(1, min(len(names), int(width / (0.65 + text_width(names, 8.0)))))
    legend = 0.15 + 0.2 * -(-len(names) // per_row) if names else 0.0
    height = sum(heights) + legend + 0.05
    figure = new_figure(width, height)
    overall = shown.scale * dependences.overall[list(shown.indices)]
    output_axis = OutputAxis(shown, overall, output_limits(dependences, shown))
    titles = titles_of(panels)
    top = height
    for row, room in zip(rows, heights, strict=True):
        for i in row:
            left = (i % 2) * PANEL_WIDTH
            box = (left, top - room, width - left if i % 2 or len(panels) == 1 else PANEL_WIDTH, room)
            draw = draw_curve if panels[i].grid.kind in (NUMBER, DATE) else draw_levels
            draw(figure, box, panels[i], output_axis)
            figure.text(
                (left + 0.15) / width, (top - TOP + 0.08) / height, titles[i], ha="left", va="baseline", fontsize=10
            )  # fmt: skip
        top -= room
    if shown.several:
        handles, _ = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="lower center", ncols=per_row, fontsize=8)
    return figure


def titles_of(panels: tuple[PartialDependence, ...]) -> list[str]:
    """Return the titles of panels: the names of their columns, cut, and what of the column they show."""
    names = {panel.column: panel.name for panel in panels}
    fallbacks = [f"column {column}" for column in names]
    titles: list[str] = []
    for length in range(MAX_TITLE_LENGTH, MIN_TITLE_LENGTH - 1, -4):
        shown = dict(zip(names, axis_labels([*names.values()], length, fallbacks), strict=True))
        titles = [f"{shown[panel.column]}{describe_part(panel.grid)}" for panel in panels]
        if text_width(titles, 10.0) <= PANEL_WIDTH - 0.3:
            break
    return titles


def describe_part(grid: Grid) -> str:
    """Return the end of a title: the part of a date, or how many levels are shown."""
    if grid.part:
        return f": {grid.part}"
    return f" ({len(grid.labels)} of {len(grid.labels) + grid.hidden} levels)" if grid.hidden else ""


def panel_labels(panel: PartialDependence) -> list[str]:
    """Return the labels of the levels of a panel, with the rows of each."""
    grid = panel.grid
    names = axis_labels(grid.labels, MAX_LEVEL_LENGTH, [f"level {i + 1}" for i in range(len(grid.labels))])
    labels = [f"{name} ({count:,})" for name, count in zip(names, grid.sample, strict=True)]
    return [*labels, "missing"] if panel.missing is not None else labels


def panel_height(grid: Grid) -> float:
    """Return the inches that a panel needs with title and ticks."""
    inside = LEVEL_HEIGHT * (len(grid.labels) + 1) if grid.labels else CURVE_HEIGHT + GAP / 2 + STRIP_HEIGHT
    return TOP + inside + BOTTOM


def output_limits(dependences: Dependences, shown: Outputs) -> tuple[float, float]:
    """Return the limits of the output axis of all panels."""
    chosen = list(shown.indices)
    found = [panel.mean[:, chosen].ravel() for panel in dependences.panels]
    found += [panel.missing[chosen] for panel in dependences.panels if panel.missing is not None]
    values = shown.scale * np.concatenate([*found, dependences.overall[chosen]])
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or max(1e-3 * abs(high), 1e-3)
    if shown.scale == 100.0:  # a probability has limits, and 1 % is little
        margin = max(margin, 1.0)
        return max(low - margin, -2.0), min(high + margin, 102.0)
    return low - margin, high + margin


def add_axes(figure: Any, left: float, bottom: float, width: float, height: float, **options: Any) -> Any:
    """Return new axes, whose place is given in inches from the lower left corner."""
    total = figure.get_size_inches()
    return figure.add_axes((left / total[0], bottom / total[1], width / total[0], height / total[1]), **options)


def draw_curve(
    figure: Any, box: tuple[float, float, float, float], panel: PartialDependence, output_axis: OutputAxis
) -> None:
    """Draw the dependence on numbers or dates, and below it the distribution of their values."""
    grid, shown, limits = panel.grid, output_axis.shown, output_axis.limits
    left, bottom, width, height = box
    axes = add_axes(figure, left, bottom, 1.0, 1.0)
    margin = 0.42 + text_width(set_number_ticks(axes.yaxis, limits, 5))
    room = min(height - TOP - BOTTOM - GAP / 2 - STRIP_HEIGHT, 1.2 * CURVE_HEIGHT)  # also beside many levels
    inside = width - margin - 0.25
    total = figure.get_size_inches()
    axes.set_position(
        ((left + margin) / total[0], (bottom + height - TOP - room) / total[1], inside / total[0], room / total[1])
    )
    below = bottom + height - TOP - room - GAP / 2 - STRIP_HEIGHT
    strip = add_axes(figure, left + margin, below, inside, STRIP_HEIGHT, sharex=axes)
    marker = "o-" if len(grid.values) <= 12 else "-"
    for i, output in enumerate(shown.indices):
        colour = COLOURS[i] if shown.several else TRAIN
        values = shown.scale * panel.mean[:, output]
        axes.plot(grid.values, values, marker, color=colour, markersize=3.5, label=str(i))
        if panel.missing is not None:
            level = shown.scale * panel.missing[output]
            axes.axhline(level, color=colour, linestyle=":", linewidth=1.2)
            if not shown.several:
                axes.annotate("missing", (1, level), xycoords=("axes fraction", "data"), xytext=(0, 2),
                              textcoords="offset points", ha="right", fontsize=7, color=colour)  # fmt: skip
    if not shown.several:
        axes.axhline(output_axis.overall[0], color=GREY, linestyle="--", linewidth=0.8)
    axes.set_ylim(*limits)
    axes.set_ylabel(shown.axis_label, fontsize=8)
    axes.tick_params(labelbottom=False)
    draw_distribution(strip, grid)


def draw_distribution(strip: Any, grid: Grid) -> None:
    """Draw a histogram of the values of a column, within the range of the curve, and the ticks of its axis."""
    low, high = float(grid.values[0]), float(grid.values[-1])
    inside = grid.sample[(grid.sample >= low) & (grid.sample <= high)]
    use_log = grid.has_log and low > 0 and high / low > 10
    if use_log:
        strip.set_xscale("log")
        edges = np.geomspace(low, high, 25)
    else:
        edges = np.linspace(low, high, 25)
    if len(np.unique(edges)) == len(edges):
        counts, _ = np.histogram(inside, edges)
        strip.bar(edges[:-1], counts, np.diff(edges), align="edge", color=NEUTRAL)
    strip.set_yticks([])
    strip.grid(visible=False)
    margin = 0.03 * (high - low)
    if use_log:
        strip.set_xlim(low / 1.1, high * 1.1)
        strip.xaxis.set_major_locator(log_ticks() if high / low < MAX_LOG_RATIO else decade_ticks())
        strip.xaxis.set_major_formatter(lambda value, _: short_number(value))
        strip.xaxis.set_minor_formatter(lambda value, _: "")
        return
    strip.set_xlim(low - margin, high + margin)
    if grid.kind == DATE:
        strip.xaxis.set_ticks(*date_ticks(low, high, only_time=grid.only_time))
    else:
        set_number_ticks(strip.xaxis, (low - margin, high + margin), 5)


def draw_levels(
    figure: Any, box: tuple[float, float, float, float], panel: PartialDependence, output_axis: OutputAxis
) -> None:
    """Draw the dependence on levels: bars from the overall mean, or a point for each output."""
    shown, overall, limits = output_axis.shown, output_axis.overall, output_axis.limits
    labels = panel_labels(panel)
    left, bottom, width, height = box
    margin = 0.25 + text_width(labels, 8.0)
    inside = LEVEL_HEIGHT * (len(panel.grid.labels) + 1)
    room = min(height - TOP - BOTTOM, 1.5 * inside)  # beside a curve the bars are not as thick as they could be
    axes = add_axes(figure, left + margin, bottom + height - TOP - room, width - margin - 0.25, room)
    mean = panel.mean if panel.missing is None else np.vstack([panel.mean, panel.missing])
    places = np.arange(len(mean))
    for i, output in enumerate(shown.indices):
        values = shown.scale * mean[:, output]
        if shown.several:
            axes.plot(values, places, "o", color=COLOURS[i], markersize=4.5, label=str(i))
        else:
            axes.barh(places, values - overall[0], 0.7, left=overall[0], color=NEUTRAL)
    if not shown.several:
        axes.axvline(overall[0], color=GREY, linestyle="--", linewidth=0.8)
        axes.grid(visible=False, axis="y")
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(len(mean) - 0.4, -0.6)
    axes.set_xlim(*limits)
    set_number_ticks(axes.xaxis, limits, 5)
    axes.set_xlabel(shown.axis_label, fontsize=8)
