"""Diagnostics of a trained network on the test part, for the plots of a run: on the host, in bounded time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.inference.binary_curves import BinaryCurves, find_binary_curves
from lagvis.inference.feature_groups import feature_groups
from lagvis.inference.importance import Importance, permutation_importance
from lagvis.inference.partial_dependence import Dependences, partial_dependences
from lagvis.inference.prediction import MAX_PRODUCTS, predictions
from lagvis.training.model import LABEL_THRESHOLD, Model
from lagvis.training.seeding import generator

MAX_MISTAKES = 25
BINS = 10  # of predicted probabilities
MAX_UNITS = 64  # of the first layer
MAX_IMAGE_SIDE = 160  # pixels; larger images are thinned out


@dataclass(frozen=True)
class Mistake:
    """Misclassified row of the test part: indices of both classes, and their probabilities.

    x      pixels (height, width) or (height, width, 3) if rows are images, else numbers (n_in,)
    place  of the row in the file of a table: "flowers.csv, line 17"; "" for other data
    """

    row: int
    x: np.ndarray
    target: int
    predicted: int
    p_target: float
    p_predicted: float
    place: str = ""


@dataclass(frozen=True)
class Calibration:
    """Calibration curve: rows in bins of equal width of the probability of the predicted class.

    Of labels of which a row may have several, each label of a row counts as a row, by the probability of its answer.

    counts       rows in each bin (BINS,)
    probability  mean probability in each bin (BINS,), NaN if it is empty
    correct      share of correct predictions in each bin (BINS,), NaN if it is empty
    error        expected calibration error: mean of |probability - correct| over rows
    """

    counts: np.ndarray
    probability: np.ndarray
    correct: np.ndarray
    error: float


@dataclass(frozen=True)
class Weights:
    """Weights of the units of the first layer with the largest norms, as images (units, height, width); `of` units."""

    units: np.ndarray
    pictures: np.ndarray
    of: int


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics on `rows` of the `of` rows of the test part; None or empty if data or network have no such thing.

    part          the part that the rows are of: "test", or "validation" where it stands in for a missing test part
    wrong         number of misclassified rows, or of rows of which a label is wrong
    mistakes      the most confident mistakes first, at most MAX_MISTAKES
    calibration   for classification
    activity      for each hidden ReLU layer the share of rows in which each unit is above zero, (n,)
    weights       for images
    importance    for tables, and `dependences` on the most important columns
    curves        for two classes
    predicted, target  (rows, n_out) in the user's unit, for regression
    """

    rows: int
    of: int
    wrong: int = 0
    mistakes: tuple[Mistake, ...] = ()
    calibration: Calibration | None = None
    activity: tuple[np.ndarray, ...] = ()
    weights: Weights | None = None
    importance: Importance | None = None
    dependences: Dependences | None = None
    curves: BinaryCurves | None = None
    predicted: np.ndarray | None = None
    target: np.ndarray | None = None
    part: str = "test"


@np.errstate(over="ignore", invalid="ignore")
def diagnose(model: Model, params: Any, dataset: Dataset, seed: int) -> Diagnostics:
    """Compute the diagnostics of a network with host arrays `params` on the test part; `seed` draws samples.

    Without rows there are only those of the weights.
    """
    if not len(dataset.x_test):
        return Diagnostics(0, 0, weights=first_layer_weights(model, params))
    rng = generator(seed, "diagnostics")
    max_rows = max(BINS, int(MAX_PRODUCTS / model.parameters))
    x, y, rows = dataset.x_test, dataset.y_test, np.arange(len(dataset.x_test))
    if len(rows) > max_rows:
        rows = np.sort(rng.choice(rows, max_rows, replace=False))
        x, y = x[rows], y[rows]
    predicted, p_predicted, p_target = (np.empty(len(rows), kind) for kind in (np.int64, np.float64, np.float64))
    active = [np.zeros(width) for width in model.widths[1:-1]]
    keeps_outputs = model.y_scaling is not None or model.multi_label
    values = np.empty((len(rows), model.widths[-1] if keeps_outputs else 0))
    first = 0
    for piece in predictions(model, params, x):
        part = slice(first, first := first + len(piece.outputs))
        if not keeps_outputs:
            predicted[part] = piece.outputs.argmax(axis=1)
            p_predicted[part] = piece.outputs.max(axis=1)
            p_target[part] = piece.outputs[np.arange(len(y[part])), y[part]]
        else:
            values[part] = piece.outputs
        active = [counts + (layer > 0).sum(axis=0) for counts, layer in zip(active, piece.layers[1:], strict=True)]
    activity = tuple(counts / len(rows) for counts in active) if model.activation == "relu" else ()
    has_images = as_images(x[:1], model.shape) is not None
    importance = dependences = None
    if not has_images:
        groups = feature_groups(dataset)
        importance = permutation_importance(model, params, x, y, groups, rng)
        dependences = partial_dependences(model, params, x, groups, importance, rng)
    weights = first_layer_weights(model, params) if has_images else None
    common: dict[str, Any] = {
        "activity": activity,
        "weights": weights,
        "importance": importance,
        "dependences": dependences,
    }
    if model.y_scaling is not None:
        return Diagnostics(len(rows), len(dataset.x_test), predicted=values, target=y, **common)
    if model.multi_label:
        answers = values > LABEL_THRESHOLD
        right = answers == (y == 1)
        calibration = calibration_curve(np.where(answers, values, 1 - values).reshape(-1), right.reshape(-1))
        wrong_rows = int(np.sum(~right.all(axis=1)))
        return Diagnostics(len(rows), len(dataset.x_test), wrong_rows, calibration=calibration, **common)
    wrong = np.flatnonzero(predicted != y)
    worst = wrong[np.argsort(-p_predicted[wrong], kind="stable")[:MAX_MISTAKES]]
    mistakes = tuple(
        Mistake(
            int(rows[i]),
            as_image(x[i], model.shape),
            int(y[i]),
            int(predicted[i]),
            float(p_target[i]),
            float(p_predicted[i]),
            dataset.locate_row("test", int(rows[i])).rpartition("/")[2] if dataset.encoding and not has_images else "",
        )
        for i in worst
    )
    calibration = calibration_curve(p_predicted, predicted == y)
    common["curves"] = find_binary_curves(model, params, dataset.x_test, dataset.y_test)
    return Diagnostics(len(rows), len(dataset.x_test), len(wrong), mistakes, calibration, **common)


def as_images(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return rows (N, n_in) as images (N, height, width) or, in colour, (N, height, width, 3); None for a table."""
    colours_first = len(shape) == 3 and shape[0] == 3 and shape[2] != 3
    pictures = np.moveaxis(x.reshape(-1, *shape), 1, -1) if colours_first else x.reshape(-1, *shape)
    if pictures.ndim == 4 and 1 in pictures.shape[1:]:
        pictures = pictures.squeeze(axis=1 + pictures.shape[1:].index(1))
    grey = pictures.ndim == 3 and min(pictures.shape[1:]) > 1
    colours = pictures.ndim == 4 and pictures.shape[3] == 3
    if not grey and not colours:
        return None
    step = -(-max(pictures.shape[1:3]) // MAX_IMAGE_SIDE)
    return pictures[:, ::step, ::step]


def as_image(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return one row (n_in,), reshaped if it is an image."""
    pictures = as_images(x[None], shape)
    return x if pictures is None else pictures[0]


def calibration_curve(probability: np.ndarray, correct: np.ndarray) -> Calibration:
    """Return the curve of predictions with `probability` (N,), of which `correct` (N,) are True."""
    bins = np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (probability, correct)]
    error = float(np.abs(sums[0] - sums[1]).sum() / len(probability))
    filled = np.where(counts > 0, counts, np.nan)
    return Calibration(counts, sums[0] / filled, sums[1] / filled, error)


def first_layer_weights(model: Model, params: Any) -> Weights | None:
    """Return the weights of the units with the largest norms, in the order of the units; colours are summed."""
    columns = params[0]["W"]
    norms = np.linalg.norm(columns.astype(np.float64), axis=0)
    units = np.sort(np.argsort(-norms, kind="stable")[:MAX_UNITS])
    pictures = as_images(columns[:, units].T, model.shape)
    if pictures is None:
        return None
    return Weights(units, pictures if pictures.ndim == 3 else pictures.sum(axis=3), columns.shape[1])
