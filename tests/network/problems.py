"""Small networks and batches for the tests of the mathematics."""

from functools import partial

import numpy as np

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import initialize
from lagvis.network.losses import cross_entropy, mean_squared_error

HIDDEN = {"no hidden layer": (), "one": (5,), "two": (4, 3), "three": (3, 6, 2)}


def problem(hidden, activation, kind, *, rows=6, n_in=4, n_out=3, seed=0, normalized=False):
    """Return host parameters with biases that are not 0, x in float64, and y: class indices or numbers.

    The factors "gamma" of `normalized` hidden layers are not 1.
    """
    rng = np.random.default_rng(seed)
    params = initialize((n_in, *hidden, n_out), ACTIVATIONS[activation].initializer, rng, normalized=normalized)
    for layer in params:
        for name in sorted({*layer} - {"W"}):
            layer[name] = rng.normal(float(name == "gamma"), 0.5, layer[name].shape)
    x = rng.normal(size=(rows, n_in))
    y = rng.integers(0, n_out, rows).astype(np.uint8) if kind == "classes" else rng.normal(size=(rows, n_out))
    return params, x, y


def data_of(x, y, n_out=3):
    """Return the rows of a problem as the data of the step, on the host."""
    return {"x": x, "y": y} | ({"classes": np.arange(n_out, dtype=np.uint8)} if y.ndim == 1 else {})


def loss_for(kind, smoothing=0.0):
    """Return the loss function of a kind of target."""
    return partial(cross_entropy, smoothing=smoothing) if kind == "classes" else mean_squared_error
