"""Standardisation of real-valued columns by the training part."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """mean (n,) and deviation (n,), float64, of the columns of the training part."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray) -> "Scaling":
        """Of columns (N, n); one that hardly varies gets the deviation 1, so that nothing is divided by zero."""
        mean, deviation = columns.mean(axis=0), columns.std(axis=0)
        # A constant such as 0.1 leaves a deviation of rounding size, which is no scale either.
        flat = deviation <= 1e-12 * np.abs(mean)
        return cls(mean, np.where(flat, 1.0, deviation))

    def apply(self, columns: np.ndarray) -> np.ndarray:
        """(columns - mean) / deviation."""
        return (columns - self.mean) / self.deviation
