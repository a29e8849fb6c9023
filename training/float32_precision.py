"""Report columns whose values are different in the data and the same in float32, after they are scaled."""

from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import sentence_start
from lagvis.data.scaling import Scaling
from lagvis.option_text import option
from lagvis.run_warning import RunWarning
from lagvis.training.model import Model

SAMPLE_ROWS = 1024
MIN_KEPT = 0.5  # share of the different values of a sample that must stay different
VISIBLE = 1e-4  # difference of two inputs of which a network may learn the meaning


def check_float32_precision(
    dataset: Dataset, model: Model, dtype: str, *, can_rescale: bool = True
) -> list[RunWarning]:
    """Return a warning about the features and targets of which float32 loses most differences; none for float64.

    `can_rescale` tells whether the run can choose the scaling of its features.

    Numbers are scaled in float64 and then rounded: a column whose values lie close together beside its deviation (two
    groups 2e12 apart, and units within each) is left with a few values, whatever the network.
    """
    if dtype != "float32":
        return []
    lost: list[dict[str, Any]] = []
    if model.x_scaling is not None:
        names = [dataset.describe_feature(i) for i in range(dataset.x_train.shape[1])]
        lost += lost_columns(dataset.x_train, model.x_scaling, names)
    if model.y_scaling is not None:
        names = [dataset.describe_target(i) for i in range(dataset.n_out)]
        targets = lost_columns(dataset.y_train, model.y_scaling, names)
        lost += [figures | {"robust_helps": False} for figures in targets]  # the recipe's scaling is that of features
    if not lost:
        return []
    first = lost[0]
    more = f" The same holds for {len(lost) - 1:,} more." if len(lost) > 1 else ""
    remedy = (
        f"{option('dtype', 'float64')} keeps them apart, but a network learns next to nothing from differences that "
        "small: split the column, into the group and the difference within it."
    )
    if first["robust_helps"] and can_rescale:
        remedy = f"{option('number_scaling', 'robust')} keeps them well apart."
    message = (
        f"{sentence_start(first['column'])} has {first['different']:,} different values in a sample of "
        f"{first['sample']:,} rows; scaled, they are {first['kept']:,} different float32 numbers.{more} {remedy}"
    )
    return [RunWarning("float32_precision", message, {"columns": lost})]


def lost_columns(columns: np.ndarray, scaling: Scaling, names: list[str]) -> list[dict[str, Any]]:
    """Return the figures of the columns (N, n) whose values are mostly the same in float32, once scaled."""
    sample = columns[:: max(1, len(columns) // SAMPLE_ROWS)]
    # Scaling keeps the order of the values, so that equal ones stay neighbours.
    ordered = np.sort(sample.T, axis=1).T
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = scaling.apply(ordered).astype(np.float32)
    different, kept = count_different(ordered), count_different(scaled)
    lost = np.flatnonzero(~scaling.constant & (kept < MIN_KEPT * different))
    found = []
    for c in lost:
        robust = np.round(Scaling.robust(ordered[:, [c]]).apply(ordered[:, [c]]) / VISIBLE)
        figures = {"column": names[c], "sample": len(sample), "different": int(different[c]), "kept": int(kept[c])}
        found.append(figures | {"robust_helps": bool(count_different(robust)[0] >= MIN_KEPT * different[c])})
    return found


def count_different(ordered: np.ndarray) -> np.ndarray:
    """Count the different values of each column of sorted values (N, n)."""
    return np.asarray((ordered[1:] != ordered[:-1]).sum(axis=0) + 1)
