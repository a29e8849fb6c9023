"""Figures made of grids: the confusion matrix, the most confident mistakes, the weights of the first layer."""

from typing import Any

import numpy as np

from lagvis.data.messages import percent, pluralize
from lagvis.inference.diagnostics import Mistake, Weights
from lagvis.report.plots.figure import GREY, WRONG, axis_labels, blank_figure, new_figure, text_width
from lagvis.training.model import Model

MAX_MATRIX_CLASSES = 1000  # of more classes no matrix is drawn
MAX_WRITTEN_CLASSES = 30  # of up to so many classes the counts are written into the cells
MAX_LONG_LABEL_CLASSES, LONG_LABEL_LENGTH, SHORT_LABEL_LENGTH = 20, 24, 12
MAX_TICKS = 60
DARK_SHARE = 0.36  # of a row, above which a cell is so dark that its count is written in white
COLUMNS = 5  # of the mistakes
MAX_COLOUR_QUANTILE = 0.998  # of the absolute weights; larger ones have the same colour
MAX_ASPECT = 6.0  # of an image as it is drawn; longer ones are stretched


def plot_confusion_matrix(counts: np.ndarray, names: tuple[str, ...]) -> Any:
    """Plot counts (K, K), true class by row and predicted class by column, coloured by the share of their row."""
    classes = len(names)
    written = classes <= MAX_WRITTEN_CLASSES
    labels = axis_labels(names, LONG_LABEL_LENGTH if classes <= MAX_LONG_LABEL_CLASSES else SHORT_LABEL_LENGTH)
    size = 8.0 if classes <= MAX_LONG_LABEL_CLASSES else 6.5 if classes <= 40 else 5.5
    side = max(2.4, min(7.6, 0.42 * classes)) if written else 7.2
    upright = max(map(len, labels)) > 2
    margin = 0.45 + text_width(labels, size)
    below = 0.45 + (text_width(labels, size) if upright else 0.15)
    width, height = margin + side + 1.1, below + side + 0.35
    figure = new_figure(width, height, left=margin, right=1.1, bottom=below)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root shows one mistake in a hundred beside a diagonal of nearly all.
    scale = {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0}
    axes.imshow(np.sqrt(shares), interpolation="nearest", **scale)
    axes.grid(visible=False)
    every = -(-classes // MAX_TICKS)
    axes.set_xticks(range(0, classes, every), labels[::every], fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(range(0, classes, every), labels[::every], fontsize=size)
    if written:
        size = max(5.0, min(8.0, 150.0 / classes / max(1.0, len(str(counts.max())) / 3)))
        for i, k in np.argwhere(counts > 0):
            colour = "white" if shares[i, k] > DARK_SHARE else "black"
            axes.text(k, i, str(counts[i, k]), ha="center", va="center", color=colour, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix")
    bar = figure.add_axes(((width - 0.95) / width, (below + 0.15 * side) / height, 0.16 / width, 0.7 * side / height))
    bar.imshow(np.linspace(0, 1, 64)[:, None], extent=(0, 1, 0, 1), origin="lower", aspect="auto", **scale)
    bar.grid(visible=False)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.set_yticks([0.0, 0.1, 0.1**0.5, 0.5**0.5, 1.0], ["0", "1%", "10%", "50%", "100%"], fontsize=7)
    bar.set_title("of the row", fontsize=7)
    return figure


def plot_mistakes(mistakes: tuple[Mistake, ...], wrong: int, names: tuple[str, ...]) -> Any:
    """Plot the images of mistakes, with predicted and true class and their probabilities; `wrong` is the total."""
    names = tuple(axis_labels(names))
    captions = [
        (
            f"predicted {names[mistake.predicted]}  {percent(mistake.p_predicted, digits=1)}",
            f"true {names[mistake.target]}  {percent(mistake.p_target, digits=1)}",
        )
        for mistake in mistakes
    ]
    width, height = fit_size(mistakes[0].x.shape, 1.2)
    rows = -(-len(mistakes) // COLUMNS)
    cell = max(1.6, 0.24 + text_width(["\n".join(caption) for caption in captions], 8.0))
    step = height + 0.55
    figure, axes = blank_figure(cell * COLUMNS, 0.45 + step * rows)
    title = f"The {len(mistakes)} most confident of {wrong:,} mistakes"
    if wrong == len(mistakes):
        title = f"{pluralize(wrong, 'mistake')} in all, the most confident first"
    axes.text(0.12, 0.22, title, fontsize=10, va="center")
    limits = value_range(np.stack([mistake.x for mistake in mistakes]))
    for i, (mistake, (predicted, true)) in enumerate(zip(mistakes, captions, strict=True)):
        left, top = cell * (i % COLUMNS) + 0.12, 0.45 + step * (i // COLUMNS)
        draw_image(axes, mistake.x, (left, top, width, height), cmap="gray", limits=limits)
        axes.text(left, top + height + 0.13, predicted, fontsize=8, va="center", color=WRONG)
        axes.text(left, top + height + 0.29, true, fontsize=8, va="center")
    return figure


def plot_first_layer(weights: Weights, model: Model) -> Any:
    """Plot the weights into units of the first layer as images: red positive, blue negative, one scale for all."""
    to_outputs = len(model.widths) == 2  # without hidden layers
    count = len(weights.pictures)
    columns = COLUMNS if to_outputs and count <= 2 * COLUMNS else 8
    cell = 8.0 / columns
    width, height = fit_size(weights.pictures.shape[1:], cell - 0.12)
    step = height + (0.26 if to_outputs else 0.1)
    rows = -(-count // columns)
    figure, axes = blank_figure(8.0, 0.45 + step * rows + 0.45)
    title = "Weights into each output" if to_outputs else "Weights into each unit of the first layer"
    if count < weights.of:
        title += f": the {count} largest of {weights.of:,}"
    axes.text(0.06, 0.22, title, fontsize=10, va="center")
    # A single outlier among a thousand weights would leave the others pale.
    largest = float(np.quantile(np.abs(weights.pictures), MAX_COLOUR_QUANTILE)) or 1.0
    names = axis_labels(model.class_names or model.target_names, int(13 * cell)) if to_outputs else []
    for i, pixels in enumerate(weights.pictures):
        left, top = cell * (i % columns) + 0.06, 0.45 + step * (i // columns)
        draw_image(axes, pixels, (left, top, width, height), cmap="RdBu_r", limits=(-largest, largest))
        if to_outputs:
            axes.text(left, top + height + 0.1, names[weights.units[i]], fontsize=8, va="center")
    bottom = 0.45 + step * rows + 0.1
    draw_image(axes, np.linspace(-1, 1, 64)[None], (3.0, bottom, 2.0, 0.14), cmap="RdBu_r", limits=(-1.0, 1.0))
    for x, value in ((3.0, f"≤ {-largest:.2g}"), (4.0, "0"), (5.0, f"≥ {largest:.2g}")):
        axes.text(x, bottom + 0.24, value, fontsize=7, ha="center", va="center")
    return figure


def fit_size(shape: tuple[int, ...], side: float) -> tuple[float, float]:
    """Return width and height in inches of an image of `shape` (height, width, ...) whose longer side is `side`."""
    height, width = shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        return (side, side / MAX_ASPECT) if width > height else (side / MAX_ASPECT, side)
    return side * width / max(height, width), side * height / max(height, width)


def value_range(images: np.ndarray) -> tuple[float, float]:
    """Return the values drawn black and white: 0 and 255 for bytes, else the minimum and the maximum."""
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min()), float(images.max()) or 1.0


def draw_image(
    axes: Any, pixels: np.ndarray, place: tuple[float, float, float, float], *, cmap: str, limits: tuple[float, float]
) -> None:
    """Draw pixels (height, width) or (height, width, 3) at (left, top, width, height) in inches, with a thin frame."""
    left, top, width, height = place
    if pixels.ndim == 3:
        pixels = np.clip((pixels - limits[0]) / (limits[1] - limits[0] or 1.0), 0.0, 1.0)
    extent = (left, left + width, top + height, top)
    axes.imshow(
        pixels, cmap=cmap, vmin=limits[0], vmax=limits[1], extent=extent, aspect="auto", interpolation="nearest",
    )  # fmt: skip
    corners = ([left, left + width, left + width, left, left], [top, top, top + height, top + height, top])
    axes.plot(*corners, color=GREY, linewidth=0.5)
