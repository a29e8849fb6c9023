"""Curves of a running training as SVG, in the text colour of the page around it."""

import html
from collections.abc import Callable, Sequence

from lagvis.report.terminal.curve import Point, finite_points, value_range

WIDTH, HEIGHT = 320, 120  # units of the viewBox
LEFT, RIGHT, TOP, BOTTOM = 48, 6, 18, 18  # margins
TRAIN, VALIDATION = "#3b82c4", "#d9722e"  # 3:1 or more on white and on black


def svg_chart(
    name: str,
    train: Sequence[Point],
    validation: Sequence[Point] | None,
    *,
    x_range: tuple[float, float],
    lower_is_better: bool,
    label: Callable[[float], str],
) -> str:
    """Return a chart over epochs: training as a line, validation as a line with points; None draws no such curve.

    `label` formats the lowest and the highest y. The worst tenth of the points may lie outside, as in the terminal.
    """
    train, shown = finite_points(train), finite_points(validation or ())
    low, high = value_range([y for _, y in (*train, *shown)], lower_is_better=lower_is_better)

    def place(point: Point) -> tuple[float, float]:
        """Return the coordinates of a point, inside of the axes."""
        across = share(point[0], *x_range)
        up = share(point[1], low, high)
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)

    def line(points: Sequence[Point], colour: str) -> str:
        path = " ".join(f"{x},{y}" for x, y in map(place, points))
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    legend = f'<tspan fill="{TRAIN}">train</tspan>'
    if validation is not None:
        legend += f' <tspan fill="{VALIDATION}">validation</tspan>'
    bottom = HEIGHT - BOTTOM
    parts = [
        text(LEFT, 11, f'<tspan font-weight="bold">{html.escape(name)}</tspan> {legend}'),
        f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" stroke-opacity=".35"/>',
        text(LEFT, HEIGHT - 5, f"{x_range[0]:g}"),
        text(WIDTH - RIGHT, HEIGHT - 5, f"{x_range[1]:g} epoch{'' if x_range[1] == 1 else 's'}", "end"),
    ]
    if train or shown:
        parts += [text(LEFT - 4, TOP + 8, label(high), "end"), text(LEFT - 4, bottom, label(low), "end")]
    parts += [line(train, TRAIN), line(shown, VALIDATION)]
    for x, y in map(place, shown):
        parts.append(f'<circle cx="{x}" cy="{y}" r="2" fill="{VALIDATION}"/>')
    style = "flex: 1 1 20em; max-width: 32em; min-width: 0"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(name)} by epoch" style="{style}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    """Return a text of SVG that begins, or with the anchor "end" ends, at a point."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="10" fill="currentColor">{content}</text>'


def share(value: float, low: float, high: float) -> float:
    """Return where a value lies between low (0) and high (1), clamped to both; the middle where they are equal."""
    span = high / 2 - low / 2  # of halves, because the difference may overflow
    return (min(max(value, low), high) / 2 - low / 2) / span if span > 0 else 0.5
