"""Draw curves as text: in braille dots where the encoding has them, else in ASCII."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

Point = tuple[float, float]
Line = list[tuple[str, str]]  # text with the name of its style, from left to right

LABEL_WIDTH = 9
MAX_POINTS = 1024  # of a curve in memory
BRAILLE = 0x2800
DOTS = (
    (0x01, 0x02, 0x04, 0x40),
    (0x08, 0x10, 0x20, 0x80),
)  # of a braille cell, by column and row (Unicode, 2800..28FF)
MAX_CLIPPED_SHARE = 0.1  # of the points, the worst, may be outside: the first steps of a run dwarf all others


class Points:
    """A curve that grows while a run lasts, in bounded memory: neighbours are merged into their mean.

    One thread may add while another one reads.
    """

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._pending: list[Point] = []
        self._merged = 1

    def add(self, x: float, y: float) -> None:
        """Add a point; one that is not finite is left out."""
        self._pending += finite_points([(x, y)])
        if len(self._pending) < self._merged:
            return
        self._points.append(mean_point(self._pending))
        self._pending = []
        if len(self._points) == MAX_POINTS:
            self._points = [mean_point(pair) for pair in zip(self._points[::2], self._points[1::2], strict=True)]
            self._merged *= 2

    def snapshot(self) -> list[Point]:
        """Return the points so far."""
        return list(self._points)


def draw_curves(
    train: Sequence[Point],
    validation: Sequence[Point],
    best: Point | None,
    *,
    x_range: tuple[float, float],
    width: int,
    rows: int,
    lower_is_better: bool,
    label: Callable[[float], str],
    braille: bool,
) -> list[Line]:
    """Return `rows` lines of `width` characters: training as a line of dots, validation points as o, the best as *.

    `label` formats the highest and the lowest y at the left. The worst tenth of the points may be clipped: at the upper
    edge with `lower_is_better`, as for a loss, else at the lower edge.
    """
    train, validation = finite_points(train), finite_points(validation)
    low, high = value_range([y for _, y in (*train, *validation)], lower_is_better=lower_is_better)
    columns = width - LABEL_WIDTH - 1
    across, down = (2, 4) if braille else (1, 1)

    def to_cells(points: Iterable[Point], resolution: tuple[int, int]) -> list[tuple[int, int]]:
        """Return (column, row) of points, by rising column: the mean of those that share a column."""
        by_column: dict[int, list[Point]] = {}
        for x, y in points:
            by_column.setdefault(cell_index(x, *x_range, resolution[0]), []).append((x, y))
        means = ((column, mean_point(found)[1]) for column, found in sorted(by_column.items()))
        return [(column, resolution[1] - 1 - cell_index(y, low, high, resolution[1])) for column, y in means]

    cells: dict[tuple[int, int], tuple[str, str]] = {}
    dots: dict[tuple[int, int], int] = {}
    for x, y in connect(to_cells(train, (columns * across, rows * down))):
        cell = (x // across, y // down)
        dots[cell] = dots.get(cell, 0) | DOTS[x % across][y % down]
        cells[cell] = (chr(BRAILLE + dots[cell]) if braille else ".", "train")
    cells |= dict.fromkeys(to_cells(validation, (columns, rows)), ("o", "validation"))
    cells |= dict.fromkeys(to_cells(finite_points([best] if best else []), (columns, rows)), ("*", "best"))

    labels = {0: label(high), rows - 1: label(low)} if train or validation else {}
    lines: list[Line] = []
    for row in range(rows):
        styled = (cells.get((column, row), (" ", "")) for column in range(columns))
        runs = [("".join(text for text, _ in run), style) for style, run in groupby(styled, key=lambda cell: cell[1])]
        lines.append([(labels.get(row, "")[:LABEL_WIDTH].rjust(LABEL_WIDTH) + " ", "faint"), *runs])
    return lines


def draw_chart(
    name: str,
    train: Sequence[Point],
    validation: Sequence[Point] | None,
    best: Point | None,
    *,
    x_range: tuple[float, float],
    width: int,
    **options: Any,
) -> list[Line]:
    """Return the lines of `draw_curves` between a legend and an axis in epochs; validation None draws no such curve."""
    legend: Line = [(f"{name:>{LABEL_WIDTH}} ", ""), ("⠒" if options["braille"] else ".", "train"), (" train", "faint")]
    if validation is not None:
        legend += [("  o", "validation"), (" validation", "faint"), ("  *", "best"), (" best", "faint")]
    right = f"{x_range[1]:g} epoch{'' if x_range[1] == 1 else 's'}"
    axis = f"{x_range[0]:<{max(width - LABEL_WIDTH - 1 - len(right), 2)}g}{right}"
    lines = draw_curves(train, validation or [], best, x_range=x_range, width=width, **options)
    return [crop_line(legend, width, fill=True), *lines, [(" " * (LABEL_WIDTH + 1) + axis, "faint")]]


def crop_line(line: Line, width: int, *, fill: bool = False) -> Line:
    """Return a line cut to `width` characters; with `fill` shorter ones are padded with blanks."""
    cropped, left = [], width
    for text, style in line:
        cropped.append((text[:left], style))
        left -= len(cropped[-1][0])
    return [*cropped, (" " * left, "")] if fill else cropped


def finite_points(points: Iterable[Point]) -> list[Point]:
    """Return the points whose coordinates are finite."""
    return [point for point in points if all(map(math.isfinite, point))]


def mean_point(points: Sequence[Point]) -> Point:
    """Return the mean of points; each is scaled before the sum, which therefore cannot overflow."""
    share = 1.0 / len(points)
    return sum(x * share for x, _ in points), sum(y * share for _, y in points)


def value_range(values: list[float], *, lower_is_better: bool) -> tuple[float, float]:
    """Return the lowest and the highest value to draw, without the worst MAX_CLIPPED_SHARE of the values."""
    if not values:
        return 0.0, 0.0
    values = sorted(values)
    clipped = int(MAX_CLIPPED_SHARE * (len(values) - 1))
    return (values[0], values[-1 - clipped]) if lower_is_better else (values[clipped], values[-1])


def cell_index(value: float, low: float, high: float, cells: int) -> int:
    """Return the index of the cell, 0..cells-1 from low to high, that is nearest to a value, clamped to the range."""
    span = high / 2 - low / 2  # of halves, because the difference may overflow
    share = (min(max(value, low), high) / 2 - low / 2) / span if span > 0 else 0.5
    return round(share * (cells - 1))


def connect(cells: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield cells (column, row) by rising column, with one interpolated cell in every column between two."""
    yield from cells[:1]
    for (x, y), (next_x, next_y) in pairwise(cells):
        slope = (next_y - y) / (next_x - x)
        yield from ((between, round(y + slope * (between - x))) for between in range(x + 1, next_x + 1))
