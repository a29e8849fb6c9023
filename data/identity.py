"""Tell whether a column holds a different whole number in every row, as row numbers, identities and time stamps do."""

import math
from dataclasses import dataclass

import numpy as np

from lagvis.arrays import MAX_EXACT_INT

# n numbers drawn from R have none twice with probability R!/(R-n)!/R^n at most: that of even draws, and every other
# distribution repeats a number sooner. Features whose numbers are different with less than this probability are named.
MAX_CHANCE = 3e-7
# n different numbers ascend or descend by chance with probability 2/n!: 6e-7 for 10 rows.
MIN_ORDERED_ROWS = 10
# Wider spans (card numbers, hashes, counts of cents) may well have no number twice by chance. They are reported for
# this many rows and more, if no more features than this are so, and others are not: else such numbers are measurements.
MIN_WIDE_ROWS = 50
MAX_WIDE_FEATURES = 2

MAX_EXACT_SPAN = 1e9  # beyond, the logarithms of the factorials cancel each other
BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Identity:
    """What shows that a column holds an identity: a different whole number in every row.

    order       "ascending", "descending" or "none"
    is_certain  whether measurements hardly have such numbers by chance
    """

    order: str
    is_certain: bool


def find_identity(column: np.ndarray) -> Identity | None:
    """Return how numbers (N,) identify their rows; None unless they are whole and no number occurs twice."""
    if not is_whole(column) or not are_distinct(column):
        return None
    order, rows = describe_order(column), len(column)
    span = float(column.max()) - float(column.min()) + 1
    is_ordered = order != "none" and rows >= MIN_ORDERED_ROWS
    return Identity(order, is_ordered or chance_of_distinct(rows, span) <= MAX_CHANCE)


def chance_of_distinct(rows: int, span: float) -> float:
    """Return the probability that `rows` whole numbers, drawn evenly from `span` values, are all different."""
    if span > MAX_EXACT_SPAN:
        return math.exp(-(rows**2) / (2 * span))
    return math.exp(math.lgamma(span + 1) - math.lgamma(span - rows + 1) - rows * math.log(span))


def is_whole(column: np.ndarray) -> bool:
    """Tell whether all numbers (N,) are whole, and small enough that float64 tells neighbours apart."""
    for first in range(0, len(column), BLOCK_ROWS):
        block = column[first : first + BLOCK_ROWS]
        if (np.floor(block) != block).any() or (np.abs(block) >= MAX_EXACT_INT).any():
            return False
    return True


def are_distinct(column: np.ndarray) -> bool:
    """Tell whether no number (N,) occurs twice."""
    if describe_order(column) != "none":
        return True
    ordered = np.sort(column)
    return bool((ordered[1:] != ordered[:-1]).all())


def describe_order(column: np.ndarray) -> str:
    """Return "ascending" or "descending" if every number (N,) is larger or smaller than the one before, else "none"."""
    if (column[1:] > column[:-1]).all():
        return "ascending"
    return "descending" if (column[1:] < column[:-1]).all() else "none"
