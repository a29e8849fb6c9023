"""What a trained network does with the test part, as the pictures of a run show it: on the host, in bounded time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.inference.prediction import outputs, predictions
from lagvis.training.model import Model
from lagvis.training.seeding import generator

# Multiplications of forward passes, about a second of NumPy on two cores: more rows than that are drawn by the seed.
PRODUCTS = 1e10
MOST_SHOWN = 25  # mistakes
BINS = 10  # of probabilities
MOST_UNITS = 64  # whose weights are shown
MOST_FEATURES = 40  # that are shuffled
MOST_SHUFFLED = 2000  # rows
REPEATS = 5
LEAST_SHUFFLED = 20  # rows, below which an importance says nothing
LONGEST_SIDE = 160  # pixels of a picture as it is kept here


@dataclass(frozen=True)
class Mistake:
    """A row of the test part that was taken for another class: indices of both, and their probabilities.

    x is upright pixels (height, width) or (height, width, 3) where rows are pictures, else the numbers (n_in,).
    """

    row: int
    x: np.ndarray
    target: int
    predicted: int
    p_target: float
    p_predicted: float


@dataclass(frozen=True)
class Calibration:
    """Of rows by the probability of their answer, in bins of equal width: how many, its mean, how many were right.

    counts (BINS,), probability (BINS,) and right (BINS,), NaN where a bin is empty; `error` is the expected calibration
    error, the mean of |probability - right| over rows.
    """

    counts: np.ndarray
    probability: np.ndarray
    right: np.ndarray
    error: float


@dataclass(frozen=True)
class Importance:
    """What is lost when one feature of the rows is shuffled: accuracy, or R^2 where numbers are predicted.

    names, columns (numbers from 1, as the user's table has them), mean and deviation (over REPEATS shuffles) of the
    features that were tried, of `of`, on `rows` rows.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray
    of: int
    rows: int


@dataclass(frozen=True)
class Weights:
    """Weights into units of the first layer: pictures (units, height, width) of `units`, the largest of `of`."""

    units: np.ndarray
    pictures: np.ndarray
    of: int


@dataclass(frozen=True)
class Diagnostics:
    """Of `rows` rows of the test part, which has `of`; what does not exist for the data or the network is None.

    mistakes     the most confident first, at most MOST_SHOWN of `wrong`; calibration: of classes
    activity     for each hidden layer the share of rows in which each unit is above zero, (n,); of ReLU alone
    predicted    and true (rows, n_out), in the user's unit, where numbers are predicted
    """

    rows: int
    of: int
    wrong: int = 0
    mistakes: tuple[Mistake, ...] = ()
    calibration: Calibration | None = None
    activity: tuple[np.ndarray, ...] = ()
    weights: Weights | None = None
    importance: Importance | None = None
    predicted: np.ndarray | None = None
    true: np.ndarray | None = None


@np.errstate(over="ignore", invalid="ignore")
def diagnose(model: Model, params: Any, dataset: Dataset, seed: int) -> Diagnostics:
    """Look at the test part of a data set through the network with these host arrays."""
    rng = generator(seed, "findings")
    most = max(BINS, int(PRODUCTS / model.parameters))
    x, y, rows = dataset.x_test, dataset.y_test, np.arange(len(dataset.x_test))
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
        x, y = x[rows], y[rows]
    said, p_said, p_truth = (np.empty(len(rows), kind) for kind in (np.int64, np.float64, np.float64))
    active = [np.zeros(width) for width in model.widths[1:-1]]
    predicted = np.empty((len(rows), model.widths[-1] if model.y_scaling is not None else 0))
    first = 0
    for piece in predictions(model, params, x):
        part = slice(first, first := first + len(piece.outputs))
        if model.y_scaling is None:
            said[part] = piece.outputs.argmax(axis=1)
            p_said[part], p_truth[part] = piece.outputs.max(axis=1), piece.outputs[np.arange(len(y[part])), y[part]]
        else:
            predicted[part] = piece.outputs
        active = [counts + (layer > 0).sum(axis=0) for counts, layer in zip(active, piece.layers[1:], strict=True)]
    activity = tuple(counts / len(rows) for counts in active) if model.activation == "relu" else ()
    pictures = as_images(x[:1], model.shape) is not None
    names, columns = dataset.feature_names, dataset.feature_columns
    importance = None if pictures else permutation_importance(model, params, x, y, names, rng, columns)
    weights = first_layer_weights(model, params) if pictures else None
    common: dict[str, Any] = {"activity": activity, "weights": weights, "importance": importance}
    if model.y_scaling is not None:
        return Diagnostics(len(rows), len(dataset.x_test), predicted=predicted, true=y, **common)
    wrong = np.flatnonzero(said != y)
    worst = wrong[np.argsort(-p_said[wrong], kind="stable")[:MOST_SHOWN]]
    mistakes = tuple(
        Mistake(int(rows[i]), as_image(x[i], model.shape), int(y[i]), int(said[i]), float(p_truth[i]), float(p_said[i]))
        for i in worst
    )
    calibration = calibration_curve(p_said, said == y)
    return Diagnostics(len(rows), len(dataset.x_test), len(wrong), mistakes, calibration, **common)


def as_images(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Rows (N, n_in) as pictures (N, height, width) or, of three colours, (N, height, width, 3); None for a table."""
    colours_first = len(shape) == 3 and shape[0] == 3 and shape[2] != 3
    pictures = np.moveaxis(x.reshape(-1, *shape), 1, -1) if colours_first else x.reshape(-1, *shape)
    if pictures.ndim == 4 and 1 in pictures.shape[1:]:
        pictures = pictures.squeeze(axis=1 + pictures.shape[1:].index(1))
    grey = pictures.ndim == 3 and min(pictures.shape[1:]) > 1
    colours = pictures.ndim == 4 and pictures.shape[3] == 3
    if not grey and not colours:
        return None
    step = -(-max(pictures.shape[1:3]) // LONGEST_SIDE)
    return pictures[:, ::step, ::step]


def as_image(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One row (n_in,), upright if it is a picture."""
    pictures = as_images(x[None], shape)
    return x if pictures is None else pictures[0]


def calibration_curve(probability: np.ndarray, right: np.ndarray) -> Calibration:
    """Of answers (N,) with their probabilities, and whether each was right."""
    bins = np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (probability, right)]
    error = float(np.abs(sums[0] - sums[1]).sum() / len(probability))
    filled = np.where(counts > 0, counts, np.nan)
    return Calibration(counts, sums[0] / filled, sums[1] / filled, error)


def first_layer_weights(model: Model, params: Any) -> Weights | None:
    """Of the units with the largest weights into them, in their own order; colours added up."""
    columns = params[0]["W"]
    norms = np.linalg.norm(columns.astype(np.float64), axis=0)
    units = np.sort(np.argsort(-norms, kind="stable")[:MOST_UNITS])
    pictures = as_images(columns[:, units].T, model.shape)
    if pictures is None:
        return None
    return Weights(units, pictures if pictures.ndim == 3 else pictures.sum(axis=3), columns.shape[1])


def permutation_importance(
    model: Model, params: Any, x: np.ndarray, y: np.ndarray, names: tuple[str, ...], rng: np.random.Generator,
    columns: tuple[int, ...] = (),
) -> Importance | None:  # fmt: skip
    """Permutation importance (Breiman 2001): each feature shuffled over rows, REPEATS times.

    Of many features those are tried whose weights, of standardised features, are largest.
    """
    norms = np.linalg.norm(params[0]["W"].astype(np.float64), axis=1)
    features = np.sort(np.argsort(-norms, kind="stable")[:MOST_FEATURES])
    most = min(MOST_SHUFFLED, int(PRODUCTS / (model.parameters * len(features) * REPEATS)))
    if len(x) > most:
        rows = rng.choice(len(x), most, replace=False)
        x, y = x[rows], y[rows]
    if len(x) < LEAST_SHUFFLED:
        return None
    before = score(model, params, x, y)
    lost = np.empty((len(features), REPEATS))
    for i, feature in enumerate(features):
        changed = x.copy()
        for repeat in range(REPEATS):
            changed[:, feature] = rng.permutation(x[:, feature])
            lost[i, repeat] = before - score(model, params, changed, y)
    order = np.argsort(-lost.mean(axis=1), kind="stable")
    tried = [int(feature) for feature in features[order]]
    named = tuple(names[i] if names else f"feature {i + 1}" for i in tried)
    numbers = tuple(columns[i] if columns else i + 1 for i in tried)
    return Importance(named, numbers, lost.mean(axis=1)[order], lost.std(axis=1)[order], x.shape[1], len(x))


def score(model: Model, params: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Accuracy, or the mean over targets of R^2; a target that does not vary counts as one of variance 1."""
    found = outputs(model, params, x)
    if model.y_scaling is None:
        return float(np.mean(found.argmax(axis=1) == y))
    variance = y.var(axis=0)
    return float(np.mean(1 - ((found - y) ** 2).mean(axis=0) / np.where(variance > 0, variance, 1.0)))
