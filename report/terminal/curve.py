"""Curves drawn in text: braille dots where the encoding has them, ASCII elsewhere."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

Point = tuple[float, float]
Line = list[tuple[str, str]]  # text with the name of its style, from left to right

LABEL_WIDTH = 9
BRAILLE = 0x2800
DOTS = (
    (0x01, 0x02, 0x04, 0x40),
    (0x08, 0x10, 0x20, 0x80),
)  # of a braille cell, by column and row (Unicode, 2800..28FF)
CLIPPED = 0.1  # the share of points, the worst, that may lie beyond the edge: a run's first steps dwarf all others


class Points:
    """A curve that grows for as long as a run lasts, in bounded memory: neighbours are merged into their mean.

    One thread may add while another one looks.
    """

    MOST = 1024

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._waiting: list[Point] = []
        self._merged = 1

    def add(self, x: float, y: float) -> None:
        """The next point; one that is no number cannot be drawn and is left out."""
        self._waiting += finite([(x, y)])
        if len(self._waiting) < self._merged:
            return
        self._points.append(mean(self._waiting))
        self._waiting = []
        if len(self._points) == self.MOST:
            self._points = [mean(pair) for pair in zip(self._points[::2], self._points[1::2], strict=True)]
            self._merged *= 2

    def seen(self) -> list[Point]:
        """The points so far."""
        return list(self._points)


def draw(
    train: Sequence[Point],
    validation: Sequence[Point],
    best: Point | None,
    *,
    ends: tuple[float, float],
    width: int,
    rows: int,
    falling: bool,
    label: Callable[[float], str],
    braille: bool,
) -> list[Line]:
    """`rows` lines of `width` characters: the training points as a line of dots, validation points as o, the best as *.

    `ends` are the x at the left and the right edge; `label` writes the highest and the lowest y at the left. `falling`
    says that low is good, as of a loss: then the worst tenth of the points may lie beyond the upper edge, else beyond
    the lower one.
    """
    train, validation = finite(train), finite(validation)
    low, high = value_range([y for _, y in (*train, *validation)], falling=falling)
    columns = width - LABEL_WIDTH - 1
    across, down = (2, 4) if braille else (1, 1)

    def place(points: Iterable[Point], resolution: tuple[int, int]) -> list[tuple[int, int]]:
        by_column: dict[int, list[Point]] = {}
        for x, y in points:
            by_column.setdefault(nearest(x, *ends, resolution[0]), []).append((x, y))
        means = ((column, mean(found)[1]) for column, found in sorted(by_column.items()))
        return [(column, resolution[1] - 1 - nearest(y, low, high, resolution[1])) for column, y in means]

    cells: dict[tuple[int, int], tuple[str, str]] = {}
    dots: dict[tuple[int, int], int] = {}
    for x, y in joined(place(train, (columns * across, rows * down))):
        at = (x // across, y // down)
        dots[at] = dots.get(at, 0) | DOTS[x % across][y % down]
        cells[at] = (chr(BRAILLE + dots[at]) if braille else ".", "train")
    cells |= dict.fromkeys(place(validation, (columns, rows)), ("o", "validation"))
    cells |= dict.fromkeys(place(finite([best] if best else []), (columns, rows)), ("*", "best"))

    labels = {0: label(high), rows - 1: label(low)} if train or validation else {}
    lines: list[Line] = []
    for row in range(rows):
        styled = (cells.get((column, row), (" ", "")) for column in range(columns))
        runs = [("".join(text for text, _ in run), style) for style, run in groupby(styled, key=lambda cell: cell[1])]
        lines.append([(labels.get(row, "")[:LABEL_WIDTH].rjust(LABEL_WIDTH) + " ", "faint"), *runs])
    return lines


def figure(
    name: str,
    train: Sequence[Point],
    validation: Sequence[Point] | None,
    best: Point | None,
    *,
    ends: Point,
    width: int,
    **drawn: Any,
) -> list[Line]:
    """The lines of `draw` between a legend and the epochs at both ends; validation is None where there is none."""
    legend: Line = [(f"{name:>{LABEL_WIDTH}} ", ""), ("⠒" if drawn["braille"] else ".", "train"), (" train", "faint")]
    if validation is not None:
        legend += [("  o", "validation"), (" validation", "faint"), ("  *", "best"), (" best", "faint")]
    right = f"{ends[1]:g} epochs"
    axis = f"{ends[0]:<{max(width - LABEL_WIDTH - 1 - len(right), 2)}g}{right}"
    lines = draw(train, validation or [], best, ends=ends, width=width, **drawn)
    return [cropped(legend, width, fill=True), *lines, [(" " * (LABEL_WIDTH + 1) + axis, "faint")]]


def cropped(line: Line, width: int, *, fill: bool = False) -> Line:
    """A line no wider than `width`, or just as wide."""
    kept, room = [], width
    for text, style in line:
        kept.append((text[:room], style))
        room -= len(kept[-1][0])
    return [*kept, (" " * room, "")] if fill else kept


def finite(points: Iterable[Point]) -> list[Point]:
    """Those that can be drawn."""
    return [point for point in points if all(map(math.isfinite, point))]


def mean(points: Sequence[Point]) -> Point:
    """The middle of some points; no sum that could overflow."""
    share = 1.0 / len(points)
    return sum(x * share for x, _ in points), sum(y * share for _, y in points)


def value_range(values: list[float], *, falling: bool) -> Point:
    """The lowest and the highest value to draw."""
    if not values:
        return 0.0, 0.0
    values = sorted(values)
    beyond = int(CLIPPED * (len(values) - 1))
    return (values[0], values[-1 - beyond]) if falling else (values[beyond], values[-1])


def nearest(value: float, low: float, high: float, places: int) -> int:
    """The place, of so many from low to high, that is nearest to a value, or to the edge that it lies beyond."""
    span = high / 2 - low / 2  # halves: the whole may overflow
    share = (min(max(value, low), high) / 2 - low / 2) / span if span > 0 else 0.5
    return round(share * (places - 1))


def joined(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Places by rising column, and between two of them one in every column."""
    yield from places[:1]
    for (x, y), (next_x, next_y) in pairwise(places):
        slope = (next_y - y) / (next_x - x)
        yield from ((between, round(y + slope * (between - x))) for between in range(x + 1, next_x + 1))
