"""Batch and layer normalisation of the products p = a_prev @ W, between a layer's product and its activation.

A normalised layer has "gamma" (n_out,) beside W and b:  z = gamma * (p - mean) / sqrt(variance + EPSILON) + b.
"""

from typing import NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.tree import Tree

EPSILON = 1e-5
RUNNING = ("mean", "variance")  # names of the running statistics of a layer
RUNNING_RATE = 0.1  # share of the statistics of a batch in the running ones, from the tenth step on


class Normalization(NamedTuple):
    """Kind of normalisation.

    axis         of p (..., B, n_out) over which mean and variance are taken: rows of the batch, or units of a row
    has_running  whether evaluation uses running statistics of training instead of those of its own rows
    """

    axis: int
    has_running: bool


class Normalized(NamedTuple):
    """Normalised products `values` (..., B, n_out), with mean, variance and 1 / deviation, whose axis has length 1."""

    values: Array
    mean: Array
    variance: Array
    inverse: Array


def normalize(p: Array, axis: int, *, xp: Namespace) -> Normalized:
    """p (..., B, n_out) -> (p - mean) / sqrt(variance + EPSILON), with the variance of divisor n."""
    share = 1.0 / p.shape[axis]
    first = p[..., :1] if axis == -1 else p[..., :1, :]
    shifted = p - first  # small, so that the mean of products far from 0 keeps its digits
    offset = xp.sum(shifted, axis=axis, keepdims=True) * share
    centred = shifted - offset
    variance = xp.sum(centred * centred, axis=axis, keepdims=True) * share
    inverse = 1.0 / xp.sqrt(variance + EPSILON)
    return Normalized(centred * inverse, first + offset, variance, inverse)


def normalize_backward(
    delta: Array, gamma: Array, normalized: Normalized, axis: int, *, xp: Namespace
) -> tuple[Array, Array, Array]:
    """delta = dL/dz (..., B, n_out), z = gamma values + b -> dL/dp, dL/dgamma, dL/db.

    With d = gamma delta: dL/dp = (d - mean(d) - values mean(d values)) / deviation (Ioffe and Szegedy 2015).
    """
    values, scale = normalized.values, gamma[..., None, :]
    along = delta * values
    db, dgamma = xp.sum(delta, axis=-2, keepdims=True), xp.sum(along, axis=-2, keepdims=True)
    if axis == -2:  # gamma is one factor of a whole column, so that the two means are these sums
        sums, factor = (db, dgamma), scale * normalized.inverse
    else:
        delta, along = delta * scale, along * scale
        sums, factor = tuple(xp.sum(a, axis=axis, keepdims=True) for a in (delta, along)), normalized.inverse
    mean, slope = (total * (1.0 / delta.shape[axis]) for total in sums)
    return (delta - mean - values * slope) * factor, dgamma[..., 0, :], db[..., 0, :]


def update_running(running: Tree, batch: Normalized, rows: int, rate: Array) -> Tree:
    """Return running + rate (batch - running) for "mean" and "variance" (n_out,), that one with divisor rows - 1."""
    unbiased = batch.variance[..., 0, :] * (rows / max(rows - 1, 1))
    return {
        "mean": running["mean"] + rate * (batch.mean[..., 0, :] - running["mean"]),
        "variance": running["variance"] + rate * (unbiased - running["variance"]),
    }


def fold(layers: Tree, *, xp: Namespace) -> Tree:
    """Return layers whose running statistics are part of W and b, so that no layer is normalised by its batch.

    With s = gamma / sqrt(variance + EPSILON), z = s (p - mean) + b = a_prev @ (W s) + (b - s mean).
    """
    return [fold_layer(layer, xp=xp) if "mean" in layer else layer for layer in layers]


def fold_layer(layer: Tree, *, xp: Namespace) -> Tree:
    """Return a layer {"W", "gamma", "b", "mean", "variance"} as {"W", "b"}."""
    scale = layer["gamma"] / xp.sqrt(layer["variance"] + EPSILON)
    return {"W": layer["W"] * scale[..., None, :], "b": layer["b"] - layer["mean"] * scale}


NORMALIZATIONS = {
    "none": None,
    "batch": Normalization(axis=-2, has_running=True),
    "layer": Normalization(axis=-1, has_running=False),
}
