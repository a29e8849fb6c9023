"""Weights of the training rows."""

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.training.recipe import Recipe


def row_weights(recipe: Recipe, dataset: Dataset, training_rows: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Return {"w": (N,)} for the data of the step, N rows of the training part; {} if all rows weigh the same.

    "balanced" gives a row of class k the weight n / (K n_k) for n training rows, n_k of them of class k, and K classes
    among them. Every class then has the same total weight, and the mean weight of a row is 1.
    """
    if recipe.class_weights == "none":
        return {}
    counts = np.bincount(dataset.y_train[training_rows], minlength=dataset.n_out)
    # a class whose rows are all in the validation part has no training row
    weights = len(training_rows) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {"w": weights[dataset.y_train].astype(dtype)}
