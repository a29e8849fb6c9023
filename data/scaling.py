"""Standardisation of real-valued columns by the training part."""

from dataclasses import dataclass

import numpy as np

from lagvis.errors import DataError


@dataclass(frozen=True)
class Scaling:
    """Mean (n,) and deviation (n,), float64, of the columns of the training part."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray) -> "Scaling":
        """Of columns (N, n); one that hardly varies gets the deviation 1, so that nothing is divided by zero.

        DataError where float64 cannot hold the squares.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = columns.mean(axis=0), columns.std(axis=0)
        if not np.isfinite(deviation).all():
            column = int(np.flatnonzero(~np.isfinite(deviation))[0])
            raise DataError(f"column {column} has numbers too large to be standardised; divide it by a constant")
        # A constant such as 0.1 leaves a deviation of rounding size, which is no scale either.
        flat = deviation <= 1e-12 * np.abs(mean)
        return cls(mean, np.where(flat, 1.0, deviation))

    def apply(self, columns: np.ndarray) -> np.ndarray:
        """(columns - mean) / deviation."""
        return (columns - self.mean) / self.deviation
