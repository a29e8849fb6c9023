"""The pictures of a run that are made of squares: the confusion matrix, the gravest mistakes, the first weights."""

from typing import Any

import numpy as np

from lagvis.inference.diagnostics import Mistake, Weights
from lagvis.report.plots.figure import QUIET, WRONG, axis_labels, blank_figure, new_figure, room
from lagvis.report.text import pluralize
from lagvis.training.model import Model

MOST_NUMBERS = 30  # classes of a matrix with its counts written in
FEW, LONGEST_OF_FEW = 20, 24  # classes, whose matrix has room for longer names, and their letters
MOST_TICKS = 60
MOST_CLASSES = 1000  # of a matrix at all
COLUMNS = 5
DEEPEST = 0.998  # the share of weights that are told apart by colour
LONGEST_SHAPE = 6.0  # times as high as wide, or the reverse; beyond that a picture is stretched to be seen


def confusion(counts: np.ndarray, names: tuple[str, ...]) -> Any:
    """Counts (K, K), true class by row, coloured by the share of their row."""
    classes = len(names)
    written = classes <= MOST_NUMBERS
    shown = axis_labels(names, LONGEST_OF_FEW if classes <= FEW else 12)
    size = 8.0 if classes <= FEW else 6.5 if classes <= 40 else 5.5
    side = max(2.4, min(7.6, 0.42 * classes)) if written else 7.2
    upright = max(map(len, shown)) > 2
    margin = 0.45 + room(shown, size)
    below = 0.45 + (room(shown, size) if upright else 0.15)
    width, height = margin + side + 1.1, below + side + 0.35
    made = new_figure(width, height, left=margin, right=1.1, bottom=below)
    axes = made.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The root lets one mistake in a hundred be seen beside a diagonal of nearly all.
    scale = {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0}
    axes.imshow(np.sqrt(shares), interpolation="nearest", **scale)
    axes.grid(visible=False)
    every = -(-classes // MOST_TICKS)
    axes.set_xticks(range(0, classes, every), shown[::every], fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(range(0, classes, every), shown[::every], fontsize=size)
    if written:
        size = max(5.0, min(8.0, 150.0 / classes / max(1.0, len(str(counts.max())) / 3)))
        for i, k in np.argwhere(counts > 0):
            ink = "white" if shares[i, k] > 0.36 else "black"
            axes.text(k, i, str(counts[i, k]), ha="center", va="center", color=ink, fontsize=size)
    axes.set(xlabel="what the network said", ylabel="true class", title="Confusion")
    bar = made.add_axes(((width - 0.95) / width, (below + 0.15 * side) / height, 0.16 / width, 0.7 * side / height))
    bar.imshow(np.linspace(0, 1, 64)[:, None], extent=(0, 1, 0, 1), origin="lower", aspect="auto", **scale)
    bar.grid(visible=False)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.set_yticks([0.0, 0.1, 0.1**0.5, 0.5**0.5, 1.0], ["0", "1%", "10%", "50%", "100%"], fontsize=7)
    bar.set_title("of the row", fontsize=7)
    return made


def mistakes(found: tuple[Mistake, ...], wrong: int, names: tuple[str, ...]) -> Any:
    """Pictures with the answer and the truth, and the probability of each."""
    names = tuple(axis_labels(names))
    captions = [
        (
            f"said {names[mistake.predicted]}  {percent(mistake.p_predicted)}",
            f"true {names[mistake.target]}  {percent(mistake.p_target)}",
        )
        for mistake in found
    ]
    width, height = fitted(found[0].x.shape, 1.2)
    rows = -(-len(found) // COLUMNS)
    cell, step = max(1.6, 0.24 + room(["\n".join(caption) for caption in captions], 8.0)), height + 0.55
    made, axes = blank_figure(cell * COLUMNS, 0.45 + step * rows)
    head = f"The {len(found)} most confident of {wrong:,} mistakes"
    if wrong == len(found):
        head = f"{pluralize(wrong, 'mistake')} in all, the most confident first"
    axes.text(0.12, 0.22, head, fontsize=10, va="center")
    span = limits(np.stack([mistake.x for mistake in found]))
    for i, (mistake, (said, true)) in enumerate(zip(found, captions, strict=True)):
        left, top = cell * (i % COLUMNS) + 0.12, 0.45 + step * (i // COLUMNS)
        picture(axes, mistake.x, (left, top, width, height), cmap="gray", span=span)
        axes.text(left, top + height + 0.13, said, fontsize=8, va="center", color=WRONG)
        axes.text(left, top + height + 0.29, true, fontsize=8, va="center")
    return made


def weights(found: Weights, model: Model) -> Any:
    """What each unit of the first layer looks for: positive weights red, negative blue, of one scale."""
    templates = len(model.widths) == 2
    count = len(found.pictures)
    columns = COLUMNS if templates and count <= 2 * COLUMNS else 8
    cell = 8.0 / columns
    width, height = fitted(found.pictures.shape[1:], cell - 0.12)
    step = height + (0.26 if templates else 0.1)
    rows = -(-count // columns)
    made, axes = blank_figure(8.0, 0.45 + step * rows + 0.45)
    what = "into each output" if templates else "into each unit of the first layer"
    head = f"Weights {what}" if count == found.of else f"Weights {what}: the {count} largest of {found.of:,}"
    axes.text(0.06, 0.22, head, fontsize=10, va="center")
    # One weight among a thousand that is far larger would leave the others pale.
    largest = float(np.quantile(np.abs(found.pictures), DEEPEST)) or 1.0
    names = axis_labels(model.class_names or model.target_names, int(13 * cell)) if templates else []
    for i, weights_of_unit in enumerate(found.pictures):
        left, top = cell * (i % columns) + 0.06, 0.45 + step * (i // columns)
        picture(axes, weights_of_unit, (left, top, width, height), cmap="RdBu_r", span=(-largest, largest))
        if templates:
            axes.text(left, top + height + 0.1, names[found.units[i]], fontsize=8, va="center")
    bottom = 0.45 + step * rows + 0.1
    picture(axes, np.linspace(-1, 1, 64)[None], (3.0, bottom, 2.0, 0.14), cmap="RdBu_r", span=(-1.0, 1.0))
    for x, value in ((3.0, f"≤ {-largest:.2g}"), (4.0, "0"), (5.0, f"≥ {largest:.2g}")):
        axes.text(x, bottom + 0.24, value, fontsize=7, ha="center", va="center")
    return made


def fitted(shape: tuple[int, ...], side: float) -> tuple[float, float]:
    """Inches of a picture of so many rows and columns of pixels whose longer side has `side` inches."""
    height, width = shape[:2]
    if max(height, width) > LONGEST_SHAPE * min(height, width):
        return (side, side / LONGEST_SHAPE) if width > height else (side / LONGEST_SHAPE, side)
    return side * width / max(height, width), side * height / max(height, width)


def limits(pictures: np.ndarray) -> tuple[float, float]:
    """What is black and what is white: 0 and 255 of bytes, else the ends of the numbers that are there."""
    if pictures.dtype == np.uint8:
        return 0.0, 255.0
    return float(pictures.min()), float(pictures.max()) or 1.0


def picture(
    axes: Any, pixels: np.ndarray, place: tuple[float, float, float, float], *, cmap: str, span: tuple[float, float]
) -> None:
    """Pixels into a place of a sheet, (left, top, width, height) in inches, with a hair of a frame."""
    left, top, width, height = place
    if pixels.ndim == 3:
        pixels = np.clip((pixels - span[0]) / (span[1] - span[0] or 1.0), 0.0, 1.0)
    extent = (left, left + width, top + height, top)
    axes.imshow(
        pixels, cmap=cmap, vmin=span[0], vmax=span[1], extent=extent, aspect="auto", interpolation="nearest",
    )  # fmt: skip
    corners = ([left, left + width, left + width, left, left], [top, top, top + height, top + height, top])
    axes.plot(*corners, color=QUIET, linewidth=0.5)


def percent(share: float) -> str:
    """0.9912 -> 99.1%; never 100% or 0% of what is neither."""
    return f"{100 * share:.1f}%" if 0.0005 <= share < 0.9995 else "<0.1%" if share < 0.5 else ">99.9%"
