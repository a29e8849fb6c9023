"""Partial dependence: the mean output of a network when one column has the same value in every row (Friedman 2001)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.data.tables.dates import SECONDS_OF_DAY, TIME_OF_DAY
from lagvis.data.tables.encoding import (
    HOUR,
    MONTH,
    WEEKDAY,
    BooleanEncoding,
    CategoryEncoding,
    DateEncoding,
    NumberEncoding,
)
from lagvis.inference.feature_groups import FeatureGroup, largest_groups
from lagvis.inference.importance import Importance
from lagvis.inference.prediction import MAX_PRODUCTS, outputs
from lagvis.training.model import Model

MAX_COLUMNS = 6
MAX_ROWS = 500
MAX_POINTS = 20  # of a curve
MAX_LEVELS = 12  # of a category; of more, those with the most rows
RANGE = (0.05, 0.95)  # quantiles between which a curve is drawn: beyond them the rows are few
NUMBER, LEVELS, DATE = KINDS = ("number", "levels", "date")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = 24


@dataclass(frozen=True)
class Grid:
    """The values that a column takes, and how they are written into the features of a row.

    kind      one of KINDS: numbers and dates are curves, levels are bars
    features  indices of the features that are changed (n,)
    written   what is written into them for each value (G, n)
    values    numbers, or seconds since 1970, ascending (G,); of levels their numbers 0..G-1
    labels    of levels; empty for numbers and dates
    sample    values of the column in the rows that have one (M,); of levels the rows of each (G,)
    part      of a date: "month", "weekday" or "hour"
    hidden    number of levels that are left out
    has_log   whether the network learns from the logarithm of the numbers
    only_time whether dates are times of day
    """

    kind: str
    features: np.ndarray
    written: np.ndarray
    values: np.ndarray
    sample: np.ndarray
    labels: tuple[str, ...] = ()
    part: str = ""
    hidden: int = 0
    has_log: bool = False
    only_time: bool = False


@dataclass(frozen=True)
class PartialDependence:
    """Partial dependence on one column.

    name, column  of the column, its number from 1
    mean          mean output for each value of the grid (G, n_out), probabilities or numbers in the user's unit
    missing       mean output if the cell is missing (n_out,); None where training had too few missing cells
    """

    name: str
    column: int
    grid: Grid
    mean: np.ndarray
    missing: np.ndarray | None = None


@dataclass(frozen=True)
class Dependences:
    """Partial dependences on the `columns` most important columns, over `rows` of the `of` rows of a test part.

    overall  mean output for these rows as they are (n_out,)
    """

    panels: tuple[PartialDependence, ...]
    overall: np.ndarray
    rows: int
    of: int
    columns: int


def partial_dependences(
    model: Model,
    params: Any,
    x: np.ndarray,
    groups: tuple[FeatureGroup, ...],
    importance: Importance | None,
    rng: np.random.Generator,
) -> Dependences | None:
    """Return the dependences on the MAX_COLUMNS most important columns that vary in rows x (N, n_in).

    Without an importance, they are those with the largest weights. None where no column varies, or an output is not
    finite.
    """
    of = len(x)
    if len(x) > MAX_ROWS:
        x = x[np.sort(rng.choice(len(x), MAX_ROWS, replace=False))]
    points = MAX_COLUMNS * MAX_POINTS
    most = max(1, int(MAX_PRODUCTS / (model.parameters * points)))
    rows = x[:most]
    panels, columns = [], 0
    for group in most_important(groups, params, importance):
        found = [dependence(model, params, rows, group, grid) for grid in grids(x, group)]
        panels += found
        columns += bool(found)
        if columns == MAX_COLUMNS:
            break
    overall = outputs(model, params, rows).mean(axis=0)
    if not panels or not all(np.isfinite(panel.mean).all() for panel in panels):
        return None
    return Dependences(tuple(panels), overall, len(rows), of, columns)


def most_important(
    groups: tuple[FeatureGroup, ...], params: Any, importance: Importance | None
) -> Iterator[FeatureGroup]:
    """Yield the groups in the order of their importance; without one, in that of their weights."""
    if importance is None or not np.isfinite(importance.mean).all():
        yield from largest_groups(groups, params[0]["W"], len(groups))
        return
    by_column = {group.column: group for group in groups}
    yield from (by_column[column] for column in importance.columns)


def dependence(model: Model, params: Any, x: np.ndarray, group: FeatureGroup, grid: Grid) -> PartialDependence:
    """Return the dependence on the values of a grid, averaged over rows x (N, n_in)."""
    changed = x.copy()

    def mean_output(features: np.ndarray, written: np.ndarray) -> np.ndarray:
        changed[:, features] = written
        return np.asarray(outputs(model, params, changed).mean(axis=0))

    mean = np.stack([mean_output(grid.features, written) for written in grid.written])
    encoding, missing = group.encoding, None
    if isinstance(encoding, NumberEncoding | BooleanEncoding | DateEncoding) and encoding.missing and not grid.part:
        written = np.zeros(len(group.features))
        written[0], written[-1] = missing_value(encoding), 1.0
        missing = mean_output(group.features, written)
    return PartialDependence(group.name, group.column, grid, mean, missing)


def missing_value(encoding: NumberEncoding | BooleanEncoding | DateEncoding) -> float:
    """Return the first feature of a missing cell."""
    if isinstance(encoding, NumberEncoding) and encoding.log_offset is not None:
        return float(np.log(max(encoding.fill + encoding.log_offset, encoding.log_floor)))
    return encoding.fill


def grids(x: np.ndarray, group: FeatureGroup) -> Iterator[Grid]:
    """Yield the grids of a column by the rows x (N, n_in): one, and for a date one more for each of its parts.

    A column that has one value in all rows has none.
    """
    encoding = group.encoding
    found: list[Grid]
    if isinstance(encoding, CategoryEncoding):
        found = [category_grid(x, group, encoding)]
    elif isinstance(encoding, BooleanEncoding):
        found = [boolean_grid(x, group, encoding)]
    elif isinstance(encoding, DateEncoding):
        found = [date_grid(x, group, encoding)]
        found += part_grids(x, group, encoding) if encoding.form != TIME_OF_DAY else ()
    else:
        found = [number_grid(x, group, encoding)]
    yield from (grid for grid in found if len(grid.values) > 1)


def present(x: np.ndarray, group: FeatureGroup, *, has_indicator: bool) -> np.ndarray:
    """Return the features of a column (M, n) in the rows of x (N, n_in) whose cell is not missing."""
    features = x[:, group.features]
    return features[features[:, -1] == 0] if has_indicator else features


def curve_points(values: np.ndarray) -> np.ndarray:
    """Return the distinct values of (M,), ascending; of more than MAX_POINTS, those at even quantiles within RANGE."""
    distinct = np.unique(values)
    if len(distinct) <= MAX_POINTS:
        return distinct
    return np.unique(np.quantile(values, np.linspace(*RANGE, MAX_POINTS), method="closest_observation"))


def number_grid(x: np.ndarray, group: FeatureGroup, encoding: NumberEncoding | None) -> Grid:
    """Return the grid of a column of numbers."""
    values = present(x, group, has_indicator=encoding is not None and encoding.missing)[:, 0]
    points = curve_points(values)
    written = np.zeros((len(points), len(group.features)))  # the indicator of missing cells is 0
    written[:, 0] = points
    offset = encoding.log_offset if encoding else None
    if offset is not None:
        points, values = np.exp(points) - offset, np.exp(values) - offset
    return Grid(NUMBER, group.features, written, points, values, has_log=offset is not None)


def date_grid(x: np.ndarray, group: FeatureGroup, encoding: DateEncoding) -> Grid:
    """Return the grid of the seconds of a column of dates; month, weekday and hour stay those of the row.

    A time of day is changed with its hour.
    """
    values = present(x, group, has_indicator=encoding.missing)[:, 0]
    points = curve_points(values)
    only_time = encoding.form == TIME_OF_DAY
    places = [0, *range(1, 1 + 2 * len(encoding.parts) * only_time), *[-1] * encoding.missing]
    written = np.zeros((len(points), len(places)))
    written[:, 0] = points
    if only_time and encoding.parts:
        written[:, 1:3] = on_circle(2 * np.pi * (points + encoding.origin) / SECONDS_OF_DAY)
    changed, origin = group.features[places], encoding.origin
    return Grid(DATE, changed, written, points + origin, values + origin, only_time=only_time)


def on_circle(angles: np.ndarray) -> np.ndarray:
    """Return sine and cosine (N, 2) of angles (N,)."""
    return np.column_stack([np.sin(angles), np.cos(angles)])


def part_grids(x: np.ndarray, group: FeatureGroup, encoding: DateEncoding) -> Iterator[Grid]:
    """Yield the grid of each part of a column of dates that the network learns from: month, weekday, hour."""
    features = present(x, group, has_indicator=encoding.missing)
    for i, part in enumerate(encoding.parts):
        sine, cosine = 1 + 2 * i, 2 + 2 * i
        count = {MONTH: len(MONTHS), WEEKDAY: len(WEEKDAYS), HOUR: HOURS}[part]
        position = np.mod(np.arctan2(features[:, sine], features[:, cosine]) / (2 * np.pi), 1.0) * count
        changed = group.features[[sine, cosine]]
        if part == HOUR:
            points = curve_points(position)
            yield Grid(NUMBER, changed, on_circle(2 * np.pi * points / count), points, position, part=part)
            continue
        rows = np.bincount(np.rint(position).astype(np.int64) % count, minlength=count)
        shown = np.flatnonzero(rows)
        labels = tuple((MONTHS if part == MONTH else WEEKDAYS)[level] for level in shown)
        written = on_circle(2 * np.pi * shown / count)
        yield Grid(LEVELS, changed, written, np.arange(len(shown)), rows[shown], labels, part)


def boolean_grid(x: np.ndarray, group: FeatureGroup, encoding: BooleanEncoding) -> Grid:
    """Return the grid of a column of true and false."""
    values = present(x, group, has_indicator=encoding.missing)[:, 0]
    written = np.zeros((2, len(group.features)))
    written[1, 0] = 1.0
    counts = np.array([(values == 0).sum(), (values == 1).sum()])
    return Grid(LEVELS, group.features, written, np.arange(2), counts, ("false", "true"))


def category_grid(x: np.ndarray, group: FeatureGroup, encoding: CategoryEncoding) -> Grid:
    """Return the grid of a column of categories: the levels with the most rows, in the order of the features."""
    counts = x[:, group.features].sum(axis=0).astype(np.int64)
    labels = (*encoding.levels, *["other"] * bool(encoding.other), *["missing"] * encoding.missing)
    shown = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS])
    return Grid(
        LEVELS,
        group.features,
        np.eye(len(labels))[shown],
        np.arange(len(shown)),
        counts[shown],
        tuple(labels[level] for level in shown),
        hidden=len(labels) - len(shown),
    )
