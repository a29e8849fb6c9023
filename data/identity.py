"""Find features that hold a different whole number in every row, as row numbers, identities and time stamps do."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.dataset import Dataset
from lagvis.data.messages import join_names, sentence_start
from lagvis.data.tables.encoding import VALUE
from lagvis.run_warning import RunWarning

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
SAMPLE_ROWS = 4096  # rows by which most features are ruled out
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


def check_identity_columns(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about the features that hold a different whole number in every row, in any order."""
    x, n_features = dataset.x_train, dataset.x_train.shape[1]
    if x.dtype == np.uint8 and len(x) > 256:
        return []
    found: dict[int, str] = {}
    wide: dict[int, str] = {}
    are_numbers = (
        [kind == VALUE for kind in dataset.encoding.feature_kinds] if dataset.encoding else [True] * n_features
    )
    for i in find_candidates(x):
        if not are_numbers[i]:
            continue
        identity = find_identity(np.ascontiguousarray(x[:, i], dtype=np.float64))
        if identity is None or not are_distinct(dataset.x_test[:, i]):
            continue
        if identity.is_certain:
            found[i] = identity.order
        elif len(x) >= MIN_WIDE_ROWS:
            wide[i] = identity.order
    if len(wide) <= MAX_WIDE_FEATURES and len(wide) < n_features:
        found |= wide
    if not found:
        return []
    features: list[dict[str, Any]] = [
        {"feature": i + 1, "name": dataset.describe_feature(i), "order": found[i]} for i in sorted(found)
    ]
    holds, it, measured = ("holds", "it", "it is a measurement")
    if len(features) > 1:
        holds, it, measured = ("hold", "them", "they are measurements")
    names = join_names([feature["name"] for feature in features])
    message = (
        f"{sentence_start(names)} {holds} a different whole number in every row, as a row number, an identity "
        "or a time stamp does: what a network learns from those does not hold for new rows. Remove "
        f"{it} from the data unless {measured}."
    )
    return [RunWarning("identity_column", message, {"features": features})]


def find_candidates(x: np.ndarray) -> list[int]:
    """Return the features of rows (N, n) that hold different whole numbers in a sample of the first rows."""
    start = x[:SAMPLE_ROWS]
    few = start[:16]
    whole = np.flatnonzero((np.floor(few) == few).all(axis=0))
    return [int(i) for i in whole if is_whole(start[:, i]) and are_distinct(start[:, i])]


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
