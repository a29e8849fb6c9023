"""What each training row counts for."""

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.training.recipe import Recipe


def row_weights(recipe: Recipe, dataset: Dataset, training_rows: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """{"w": (N,)} beside the N rows of the training part, for the step's data; nothing where all rows count alike.

    "balanced" gives a row of class k the weight n / (K n_k), counted on the n rows that are trained on, of which n_k
    are of that class, K the classes among them: every class then weighs the same, and a row 1 on average.
    """
    if recipe.class_weights == "none":
        return {}
    counts = np.bincount(dataset.y_train[training_rows], minlength=dataset.n_out)
    # a class whose few rows are all held out has none to weigh
    weights = len(training_rows) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {"w": weights[dataset.y_train].astype(dtype)}
