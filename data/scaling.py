"""Scale real-valued columns by what the training rows show: mean and deviation, or median and interquartile range."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lagvis.errors import DataError

NUMBER_SCALINGS = ("standard", "robust")
ROBUST_LIMIT = 10.0  # interquartile ranges from the median, beyond which robust scaling cuts a value off
BLOCK_BYTES = 2**18  # of numbers that are measured at a time, which the cache of a core holds
MAX_EXPONENT = 1000  # of the powers of two by which numbers are brought near to 1 before they are squared


@dataclass(frozen=True)
class Scaling:
    """Scaling of columns to (x - mean) / deviation, of which nothing is below -limit or above limit.

    mean       (n,) float64: the mean of each column in training; the median with robust scaling
    deviation  (n,) float64: the standard deviation, or the robust spread; infinity for a column that had one value in
               training, whatever its later values are: it counts as 0
    limit      infinity where nothing is cut off
    """

    mean: np.ndarray
    deviation: np.ndarray
    limit: float = math.inf

    @classmethod
    def of(
        cls,
        columns: np.ndarray,
        rows: np.ndarray | None = None,
        bounds: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> "Scaling":
        """Return mean and standard deviation (divisor N) of columns (N, n), of all rows or of those with some indices.

        `bounds` are the smallest and the largest value of each column in these rows, if they are known.

        A column is constant if its smallest and largest value are equal. Squares are taken of distances from the mean,
        as multiples of a power of two near to the range, so that neither rounding nor the size of the numbers decides
        what varies. DataError if float64 cannot hold the range of a column.
        """
        low, high = bounds or extremes(columns, rows)
        with np.errstate(over="ignore"):
            width = high - low
        check_range(width)
        middle, varies = low / 2 + high / 2, low < high
        exponents = np.clip(np.frexp(width)[1], -MAX_EXPONENT, MAX_EXPONENT)
        n = len(columns) if rows is None else len(rows)
        offset = np.zeros(columns.shape[1])  # of the mean from the middle, as the squares in multiples of the power
        for block in blocks(columns, rows):
            offset += np.ldexp(block - middle, -exponents).sum(axis=0) / n
        error, squares = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
        for block in blocks(columns, rows):
            distances = np.ldexp(block - middle, -exponents) - offset
            error += distances.sum(axis=0) / n
            squares += (distances * distances).sum(axis=0) / n
        mean = middle + np.ldexp(offset + error, exponents)
        deviation = np.ldexp(np.sqrt(squares - error * error), exponents)
        deviation = np.maximum(deviation, np.finfo(np.float64).smallest_subnormal)
        return cls(np.where(varies, mean, low), np.where(varies, deviation, np.inf))

    @classmethod
    def robust(cls, columns: np.ndarray, rows: np.ndarray | None = None) -> "Scaling":
        """Return median and `robust_spread` of columns (N, n), with the limit ROBUST_LIMIT.

        Single values far out change neither. Without the limit they would still be huge inputs, on which training
        diverges.
        """
        found = [
            median_and_spread(columns[:, c] if rows is None else columns[rows, c]) for c in range(columns.shape[1])
        ]
        median, spread = (np.array(values) for values in zip(*found, strict=True))
        check_range(spread)
        return cls(median, np.where(spread > 0, spread, np.inf), ROBUST_LIMIT)

    def leave(self, columns: np.ndarray) -> "Scaling":
        """Return the scaling that keeps the columns with these indices as they are, unless they are constant."""
        kept = np.zeros(len(self.mean), bool)
        kept[columns] = True
        kept &= ~self.constant
        return Scaling(np.where(kept, 0.0, self.mean), np.where(kept, 1.0, self.deviation), self.limit)

    def centred(self, centre: np.ndarray) -> "Scaling":
        """Return the scaling with another centre (n,) of each column."""
        return Scaling(centre, self.deviation, self.limit)

    @property
    def constant(self) -> np.ndarray:
        """Return which columns had one value in training, (n,) bool; they count as 0."""
        return np.asarray(np.isinf(self.deviation))

    def invertible(self) -> "Scaling":
        """Return the scaling with the deviation 1 for constant columns, for targets, which are scaled back."""
        return Scaling(self.mean, np.where(self.constant, 1.0, self.deviation))

    @np.errstate(over="ignore", invalid="ignore")  # of values in other data that are far beyond those in training
    def apply(self, columns: np.ndarray) -> np.ndarray:
        """Return the scaled columns (N, n), float64."""
        scaled = columns - self.mean
        scaled /= self.deviation
        if self.constant.any():
            scaled[:, self.constant] = 0.0
        return scaled if math.isinf(self.limit) else np.clip(scaled, -self.limit, self.limit, out=scaled)


def blocks(columns: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yield columns (N, n), or their rows with these indices, a few rows at a time."""
    step = max(1, BLOCK_BYTES // (columns.itemsize * columns.shape[1]))
    for start in range(0, len(columns) if rows is None else len(rows), step):
        # `take` copies rows three times as fast as an index does.
        yield columns[start : start + step] if rows is None else columns.take(rows[start : start + step], axis=0)


def extremes(columns: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of each column."""
    low, high = np.full(columns.shape[1], np.inf), np.full(columns.shape[1], -np.inf)
    for block in blocks(columns, rows):
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    return low, high


def check_range(width: np.ndarray) -> None:
    """Raise DataError if the width of a column's range is not a finite number."""
    if not np.isfinite(width).all():
        column = int(np.flatnonzero(~np.isfinite(width))[0])
        raise DataError(f"column {column + 1} has numbers too large to be scaled; divide it by a constant")


@np.errstate(over="ignore")  # check_range reports a spread that float64 cannot hold
def median_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Return the median of values (N,) and the interquartile range around it.

    Where the interquartile range is 0, the spread is the median distance from the median of those values that differ
    from it: 1 for a column of rare ones among zeros. It is 0 if all values are equal.
    """
    lower, median, upper = np.percentile(values, [25, 50, 75])
    if upper > lower:
        return float(median), float(upper - lower)
    others = values[values != median]
    return float(median), float(np.median(np.abs(others - median))) if len(others) else 0.0
