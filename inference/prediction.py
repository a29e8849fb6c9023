"""Prediction with a trained network: on the host, in chunks, whatever backend trained it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.network.activations import ACTIVATIONS, sigmoid
from lagvis.network.losses import softmax
from lagvis.network.mlp import forward
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.step import PIXEL_SCALE
from lagvis.training.evaluation import rows_per_chunk
from lagvis.training.model import Model

# Multiplications of forward passes, about a second of NumPy on two cores; a report takes a sample of more rows.
MAX_PRODUCTS = 1e10


@dataclass(frozen=True)
class Prediction:
    """Prediction for N rows.

    outputs  (N, n_out): probabilities (float64) for classes, where each row sums to 1, and for labels; else numbers in
             the user's unit
    layers   input of each layer, a_0 (N, n_0), ..., a_(L-1), in the network's dtype
    """

    outputs: np.ndarray
    layers: list[np.ndarray]


def predict(model: Model, params: Any, x: np.ndarray) -> Prediction:
    """Predict rows x (N, n_0) as a data set holds them, uint8 or numbers before standardisation; keep all layers.

    `params` are `Checkpoint.layers`. Raises ValueError for parameters with batch normalisation that is not part of W
    and b: it would be that of the rows x.
    """
    normalization = NORMALIZATIONS[model.normalization]
    by_batch = normalization is not None and normalization.has_running
    if by_batch and any("gamma" in layer for layer in params):
        raise ValueError("these parameters are to be normalised by the rows of a batch; pass Checkpoint.layers")
    scaled = x * PIXEL_SCALE - model.pixel_mean if model.x_scaling is None else model.x_scaling.apply(x)
    scaled = scaled.astype(params[0]["W"].dtype)
    done = forward(
        params,
        scaled,
        activation=ACTIVATIONS[model.activation],
        normalization=normalization,
        xp=np,
    )
    z, layers = np.asarray(done.z), [np.asarray(a) for a in done.inputs]
    if model.y_scaling is not None:
        return Prediction(z * model.y_scaling.deviation + model.y_scaling.mean, layers)
    z = z.astype(np.float64)
    return Prediction(np.asarray(sigmoid(z, np) if model.multi_label else softmax(z, xp=np)[0]), layers)


def predictions(model: Model, params: Any, x: np.ndarray) -> Iterator[Prediction]:
    """Yield the predictions of `predict` in chunks of rows, in order, so that memory does not grow with the rows."""
    rows = rows_per_chunk(model.widths)
    return (predict(model, params, x[first : first + rows]) for first in range(0, len(x), rows))


def outputs(model: Model, params: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs alone for all rows, (N, n_out) float64."""
    return np.concatenate([piece.outputs for piece in predictions(model, params, x)])
