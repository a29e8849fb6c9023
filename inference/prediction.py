"""What a trained network says of rows: on the host, in pieces, whatever trained it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import softmax
from lagvis.network.mlp import forward
from lagvis.network.step import PIXEL_SCALE
from lagvis.training.evaluation import CHUNK_ROWS, CHUNK_VALUES
from lagvis.training.model import Model


@dataclass(frozen=True)
class Prediction:
    """Of N rows: outputs (N, n_out), and each layer's input a_0 (N, n_0), ..., a_(L-1), in the network's dtype.

    Outputs are probabilities (float64, each row of sum 1) for classes, and numbers in the user's unit otherwise.
    """

    outputs: np.ndarray
    layers: list[np.ndarray]


def predict(model: Model, params: Any, x: np.ndarray) -> Prediction:
    """Of rows x (N, n_0) as a data set has them: uint8, or numbers before their standardisation; all layers kept."""
    scaled = x * PIXEL_SCALE if model.x_scaling is None else model.x_scaling.apply(x)
    scaled = scaled.astype(params[0]["W"].dtype)
    output, inputs = forward(params, scaled, activation=ACTIVATIONS[model.activation], xp=np)
    z, layers = np.asarray(output), [np.asarray(a) for a in inputs]
    if model.y_scaling is not None:
        return Prediction(z * model.y_scaling.deviation + model.y_scaling.mean, layers)
    return Prediction(np.asarray(softmax(z.astype(np.float64), xp=np)[0]), layers)


def predictions(model: Model, params: Any, x: np.ndarray) -> Iterator[Prediction]:
    """As `predict`, piece by piece in order, so that memory does not grow with the rows."""
    rows = max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(model.widths)))
    return (predict(model, params, x[first : first + rows]) for first in range(0, len(x), rows))


def outputs(model: Model, params: Any, x: np.ndarray) -> np.ndarray:
    """The outputs alone of all rows, (N, n_out) float64."""
    return np.concatenate([piece.outputs for piece in predictions(model, params, x)])
