"""Standardise real-valued columns by the mean and deviation of the training part."""

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
        """Return the scaling of columns (N, n); an almost constant column gets the deviation 1, to avoid dividing by 0.

        DataError if float64 cannot hold the squares.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = columns.mean(axis=0), columns.std(axis=0)
        if not np.isfinite(deviation).all():
            column = int(np.flatnonzero(~np.isfinite(deviation))[0])
            raise DataError(f"column {column + 1} has numbers too large to be standardised; divide it by a constant")
        # The deviation of a constant such as 0.1 is a rounding error and not 0.
        constant = deviation <= 1e-12 * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, deviation))

    def apply(self, columns: np.ndarray) -> np.ndarray:
        """Return (columns - mean) / deviation."""
        return (columns - self.mean) / self.deviation
