"""Group the features of a data set by the column of the table that they were made of."""

from dataclasses import dataclass

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.tables.encoding import ColumnEncoding


@dataclass(frozen=True)
class FeatureGroup:
    """Features that belong together: those of one column of a table, or a single feature of other data.

    name      of the column, or of the feature
    column    number of the column in the user's table, or of the feature, from 1
    features  indices of the features, ascending (n,)
    encoding  how the column became these features; None for data without a table
    """

    name: str
    column: int
    features: np.ndarray
    encoding: ColumnEncoding | None = None


def feature_groups(dataset: Dataset) -> tuple[FeatureGroup, ...]:
    """Return the groups of the features of a data set, in the order of the features."""
    if dataset.encoding is None or not dataset.encoding.columns:
        names, columns = dataset.feature_names, dataset.feature_columns
        return tuple(
            FeatureGroup(names[i] if names else f"feature {i + 1}", columns[i] if columns else i + 1, np.array([i]))
            for i in range(dataset.x_train.shape[1])
        )
    groups = []
    for column, place in dataset.encoding.slices():
        number = dataset.feature_columns[place.start] if dataset.feature_columns else column.position + 1
        groups.append(FeatureGroup(column.name, number, np.arange(place.start, place.stop), column))
    return tuple(groups)


def largest_groups(groups: tuple[FeatureGroup, ...], weights: np.ndarray, most: int) -> list[FeatureGroup]:
    """Return the `most` groups whose rows of the first weights (n_in, n_1) are largest, the largest first.

    The size of a group is the root of the sum of its squared weights.
    """
    squares = np.square(weights, dtype=np.float64).sum(axis=1)
    sizes = np.array([np.sqrt(squares[group.features].sum()) for group in groups])
    return [groups[i] for i in np.argsort(-sizes, kind="stable")[:most]]
