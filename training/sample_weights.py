"""Weights of the training rows: those of the data, those of the classes, or their product."""

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.training.recipe import Recipe


def row_weights(recipe: Recipe, dataset: Dataset, training_rows: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Return {"w": (N,)} for the data of the step, N rows of the training part; {} if all rows weigh the same.

    The weights are divided by their mean over the training rows (indices), so that multiplying those of the data by a
    number changes nothing. They are those of the data, times those of the classes with class_weights = "balanced".
    """
    balanced = recipe.class_weights != "none"
    if dataset.w_train is None and not balanced:
        return {}
    w = np.ones(len(dataset.x_train)) if dataset.w_train is None else dataset.w_train
    w = w / w[training_rows].max()  # so that no sum overflows
    if balanced:
        w = w * balancing_weights(dataset.y_train, w, training_rows, dataset.n_out)[dataset.y_train]
    return {"w": (w / w[training_rows].mean()).astype(dtype)}


def balancing_weights(y: np.ndarray, w: np.ndarray, training_rows: np.ndarray, classes: int) -> np.ndarray:
    """Return weights of the classes (K,) that give all classes with a training row the same sum of weights.

    y  class indices (N,)
    w  weights of the rows (N,): without others, a class weighs n / (K n_k), for n_k of the n training rows
    """
    sums = np.bincount(y[training_rows], w[training_rows], classes)
    # a class whose rows are all in the validation part has no training row
    return np.where(sums > 0, sums.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1.0)), 1.0)
