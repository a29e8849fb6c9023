"""Permutation importance: what a network loses when the values of one column are shuffled over the rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.inference.feature_groups import FeatureGroup, largest_groups
from lagvis.inference.prediction import MAX_PRODUCTS, outputs
from lagvis.training.model import LABEL_THRESHOLD, Model

MAX_COLUMNS = 40
MAX_SHUFFLED_ROWS = 2000
REPEATS = 5
MIN_SHUFFLED_ROWS = 20  # with fewer rows an importance is noise


@dataclass(frozen=True)
class Importance:
    """Permutation importance: loss of accuracy, or of R^2 for regression, when one column is shuffled over rows.

    All features of a column are shuffled together: the levels of a category, the parts of a date, missing cells.

    names, columns   of the tested columns, the most important first; numbers count from 1, as in the user's table
    mean, deviation  over REPEATS shuffles, one for each tested column
    of               number of all columns
    rows             number of rows used
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray
    of: int
    rows: int


def permutation_importance(
    model: Model, params: Any, x: np.ndarray, y: np.ndarray, groups: tuple[FeatureGroup, ...], rng: np.random.Generator
) -> Importance | None:
    """Return the permutation importance (Breiman 2001): each group of features shuffled over rows, REPEATS times.

    Of more than MAX_COLUMNS groups, those with the largest weights are tested. None with too few rows.
    """
    tested = sorted(largest_groups(groups, params[0]["W"], MAX_COLUMNS), key=lambda group: int(group.features[0]))
    most = min(MAX_SHUFFLED_ROWS, int(MAX_PRODUCTS / (model.parameters * len(tested) * REPEATS)))
    if len(x) > most:
        rows = rng.choice(len(x), most, replace=False)
        x, y = x[rows], y[rows]
    if len(x) < MIN_SHUFFLED_ROWS:
        return None
    before = score(model, params, x, y)
    lost = np.empty((len(tested), REPEATS))
    for i, group in enumerate(tested):
        changed = x.copy()
        for repeat in range(REPEATS):
            changed[:, group.features] = rng.permutation(x[:, group.features])
            lost[i, repeat] = before - score(model, params, changed, y)
    order = np.argsort(-lost.mean(axis=1), kind="stable")
    names, columns = tuple(tested[i].name for i in order), tuple(tested[i].column for i in order)
    return Importance(names, columns, lost.mean(axis=1)[order], lost.std(axis=1)[order], len(groups), len(x))


def score(model: Model, params: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Return the accuracy, or the mean R^2 over targets; a constant target counts as one of variance 1."""
    found = outputs(model, params, x)
    if model.multi_label:
        return float(np.mean((found > LABEL_THRESHOLD) == (y == 1)))
    if model.y_scaling is None:
        return float(np.mean(found.argmax(axis=1) == y))
    variance = y.var(axis=0)
    return float(np.mean(1 - ((found - y) ** 2).mean(axis=0) / np.where(variance > 0, variance, 1.0)))
