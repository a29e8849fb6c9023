"""Measure rows beside the ranges of training: of rows in memory, or of rows that are read in pieces.

A value is far outside where it is beyond the range of its feature by more than twice the width of that range, or half
the width in few rows: among many, some are beyond by chance. Features of one scale, as pixels are, have the range of
all together, and a quarter of its width is far.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lagvis.data.feature_ranges import REAL, FeatureRanges

FAR, FAR_SHARED = 2.0, 0.25  # widths of a range beyond it, of a column and of features with one scale
FAR_IN_FEW_ROWS = 0.5  # the same of a column, for fewer than MIN_SCALE_ROWS rows
MIN_SCALE_ROWS = 20  # from which on a scale is judged
SAMPLE_ROWS = 1000  # that show of most features that they are real numbers
BLOCK_VALUES = 2**17  # values that are compared at a time
MIN_OUTSIDE_SHARE_OF_FEATURE = 0.9  # of the values of a feature, from which on nearly all are outside
CONSTANT_ROUNDING = 1e-7  # relative, by which float32 changes a constant
MIN_CHANGED_PIXELS = 0.5  # share of the background's pixels, from which on the background may be another one


@dataclass(frozen=True)
class FarValue:
    """A value outside of its range: row and feature, and by how many widths of the range."""

    row: int
    feature: int
    value: float
    distance: float


@dataclass(frozen=True)
class Outside:
    """Values outside of their ranges, among the `values` values of features that vary in training.

    of_features  values outside of each feature, (n,)
    far_count    values far outside
    other_scale  values so far outside that they may be on another scale
    rows         rows with a value far outside
    features     features of which nearly all values are outside
    worst        the value that is furthest outside; None where none is
    """

    values: int
    of_features: np.ndarray
    far_count: int = 0
    other_scale: int = 0
    rows: int = 0
    features: int = 0
    worst: FarValue | None = None

    @property
    def count(self) -> int:
        """Count the values outside."""
        return int(self.of_features.sum())

    @property
    def share(self) -> float:
        """Share of values that are outside."""
        return self.count / max(self.values, 1)

    @property
    def other_scale_share(self) -> float:
        """Share of values that may be on another scale."""
        return self.other_scale / max(self.values, 1)


@dataclass(frozen=True)
class ChangedConstants:
    """Values of features that had one value in training and have another one here.

    rows   rows with another value, for each feature, (n,)
    first  first of these rows, -1 without one
    found  value there
    """

    rows: np.ndarray
    first: np.ndarray
    found: np.ndarray


@dataclass(frozen=True)
class RowStatistics:
    """Statistics of rows x (N, n), N at least 1, beside the ranges of training.

    first_row    index of the first row in its file
    is_of_many   whether the rows are a part of many
    """

    x: np.ndarray
    ranges: FeatureRanges
    first_row: int = 0
    is_of_many: bool = False

    @property
    def count(self) -> int:
        """Count the rows."""
        return len(self.x)

    @cached_property
    def lows(self) -> np.ndarray:
        """Smallest value of each column, (n,) float64."""
        return self.x.min(axis=0).astype(np.float64)

    @cached_property
    def highs(self) -> np.ndarray:
        """Largest value of each column, (n,) float64."""
        return self.x.max(axis=0).astype(np.float64)

    @cached_property
    def are_whole(self) -> np.ndarray:
        """Whether all values of each column are whole numbers, (n,)."""
        if self.x.dtype.kind in "biu":
            return np.ones(self.x.shape[1], bool)
        start = self.x[:SAMPLE_ROWS]
        whole = np.asarray((start == np.floor(start)).all(axis=0))
        if len(features := np.flatnonzero(whole)):
            whole[features] = np.all([(block == np.floor(block)).all(axis=0) for _, block in self.blocks(features)], 0)
        return whole

    @cached_property
    def outside(self) -> Outside:
        """Counts of the values outside of their ranges."""
        return self.count_outside(1.0)

    def count_outside(self, divisor: float) -> Outside:
        """Count the values outside of their ranges after a division of all by `divisor`."""
        low, high, width = range_limits(self.ranges)
        varying = ~self.ranges.constant & (width > 0)
        values = self.count * int(varying.sum())
        of_features = np.zeros(self.x.shape[1], np.int64)
        features = np.flatnonzero(varying & ((self.lows / divisor < low) | (self.highs / divisor > high)))
        if not len(features):
            return Outside(values, of_features)
        far, other_scale = far_distances(self.ranges, few_rows=self.count < MIN_SCALE_ROWS and not self.is_of_many)
        far_count = other_scale_count = rows = 0
        worst = None
        for start, block in self.blocks(features, divisor):
            with np.errstate(over="ignore"):
                distance = np.maximum(low[features] - block, block - high[features]) / width[features]
            is_far = distance > far
            of_features[features] += (distance > 0).sum(axis=0)
            far_count += int(is_far.sum())
            other_scale_count += int((distance > other_scale).sum())
            rows += int(is_far.any(axis=1).sum())
            row, column = np.unravel_index(distance.argmax(), distance.shape)
            largest = float(distance[row, column])
            if largest > (worst.distance if worst else 0.0):
                place = start + int(row), int(features[column])
                worst = FarValue(self.first_row + place[0], place[1], float(self.x[place]), largest)
        nearly_all = int(np.sum(of_features[features] >= MIN_OUTSIDE_SHARE_OF_FEATURE * self.count))
        return Outside(values, of_features, far_count, other_scale_count, rows, nearly_all, worst)

    @cached_property
    def changed_constants(self) -> ChangedConstants:
        """Values of features that had one value in training and have another one here."""
        learned = self.ranges.low
        tolerance = CONSTANT_ROUNDING * np.abs(learned)
        with np.errstate(over="ignore"):
            changed = (self.lows < learned - tolerance) | (self.highs > learned + tolerance)
        features = np.flatnonzero(self.ranges.constant & changed)
        rows, first = np.zeros(self.x.shape[1], np.int64), np.full(self.x.shape[1], -1)
        for start, block in self.blocks(features) if len(features) else ():
            with np.errstate(over="ignore"):
                differs = np.abs(block - learned[features]) > tolerance[features]
            new = (first[features] < 0) & differs.any(axis=0)
            first[features[new]] = start + differs[:, new].argmax(axis=0)
            rows[features] += differs.sum(axis=0)
        found = np.where(first < 0, learned, self.x[first, np.arange(len(first))])
        return ChangedConstants(rows, np.where(first < 0, -1, first + self.first_row), found)

    def backgrounds(self, background: float, pixels: np.ndarray) -> np.ndarray:
        """Return the median of some pixels of each row, (N,), which were `background` in training."""
        return np.concatenate([np.median(block, axis=1) for _, block in self.blocks(pixels)])

    def blocks(self, features: np.ndarray, divisor: float = 1.0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row of each block of rows, and the chosen features of the block, float64, divided."""
        step = max(1, BLOCK_VALUES // self.x.shape[1])
        for start in range(0, len(self.x), step):
            yield start, self.x[start : start + step][:, features] / divisor


@dataclass
class MergedStatistics:
    """Statistics of rows that are read in pieces, each of which is added and then forgotten."""

    ranges: FeatureRanges
    count: int = 0
    are_whole: np.ndarray = field(init=False)
    lows: np.ndarray = field(init=False)
    highs: np.ndarray = field(init=False)
    outside: Outside = field(init=False)
    changed_constants: ChangedConstants = field(init=False)
    _backgrounds: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without rows."""
        n = len(self.ranges.low)
        zeros = np.zeros(n, np.int64)
        self.are_whole = np.ones(n, bool)
        self.lows, self.highs = np.full(n, np.inf), np.full(n, -np.inf)
        self.outside = Outside(0, zeros)
        self.changed_constants = ChangedConstants(zeros, np.full(n, -1), self.ranges.low)

    def add(self, rows: RowStatistics) -> None:
        """Add the rows of a piece."""
        self.count += rows.count
        self.are_whole = self.are_whole & rows.are_whole
        self.lows, self.highs = np.minimum(self.lows, rows.lows), np.maximum(self.highs, rows.highs)
        old, new = self.outside, rows.outside
        of_features = old.of_features + new.of_features
        self.outside = Outside(
            old.values + new.values,
            of_features,
            old.far_count + new.far_count,
            old.other_scale + new.other_scale,
            old.rows + new.rows,
            int(np.sum((of_features > 0) & (of_features >= MIN_OUTSIDE_SHARE_OF_FEATURE * self.count))),
            new.worst if new.worst and (old.worst is None or new.worst.distance > old.worst.distance) else old.worst,
        )
        before, now = self.changed_constants, rows.changed_constants
        known = before.first >= 0
        self.changed_constants = ChangedConstants(
            before.rows + now.rows,
            np.where(known, before.first, now.first),
            np.where(known, before.found, now.found),
        )
        if (in_training := self.ranges.background()) is not None:
            background, pixels = in_training
            differ = (rows.lows[pixels] != background) | (rows.highs[pixels] != background)
            changed = differ.mean() >= MIN_CHANGED_PIXELS
            found = rows.backgrounds(background, pixels) if changed else np.full(rows.count, background)
            self._backgrounds.append(found.astype(np.float32))

    def count_outside(self, divisor: float) -> None:
        """Return None: the rows are forgotten."""

    def backgrounds(self, background: float, pixels: np.ndarray) -> np.ndarray:
        """Return the median of the background's pixels of each row, (N,)."""
        return np.concatenate(self._backgrounds)


def range_limits(ranges: FeatureRanges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lowest and highest value in training and their distance for each feature, or of all on a shared scale."""
    low, high = ranges.low, ranges.high
    if ranges.has_shared_scale:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    with np.errstate(over="ignore"):
        return low, high, np.minimum(high - low, np.finfo(np.float64).max)


def far_distances(ranges: FeatureRanges, *, few_rows: bool) -> tuple[float, float]:
    """Return the widths of a range beyond it that are far outside, and that may be another scale."""
    if not ranges.has_shared_scale:
        return FAR_IN_FEW_ROWS if few_rows else FAR, FAR
    levels = float(ranges.high.max()) - float(ranges.low.min())
    # The next of few whole numbers, as of counts from 0 to 2, is not far.
    far = max(FAR_SHARED, 1 / levels) if ranges.kind != REAL and levels >= 2 else FAR_SHARED
    return far, far
