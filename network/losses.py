"""Losses for each row: `loss(z, target, xp=xp) -> (losses, objective, delta)`.

losses     (..., B), reported for every part of the data
objective  (..., B), minimised; the same array where nothing is smoothed
delta      (..., B, K) = d objective / dz

The mean over the batch and the row weights are applied in step.py.
"""

from typing import Any

from lagvis.arrays import Array, Namespace


def one_hot(y: Array, classes: Array, dtype: Any, *, xp: Namespace) -> Array:
    """y (..., B), classes = 0..K-1 (K,) of the same integer type -> (..., B, K), 1 where the class is y."""
    return xp.astype(y[..., None] == classes, dtype)


def softmax(z: Array, *, xp: Namespace) -> tuple[Array, Array]:
    """z (..., B, K) -> p and -log p, shifted by the maximum of each row so that exp never overflows."""
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    return e / total, xp.log(total) - shifted


def cross_entropy(z: Array, target: Array, *, smoothing: float = 0.0, xp: Namespace) -> tuple[Array, Array, Array]:
    """Softmax and cross-entropy, -sum_k t_k log p_k, against t (..., B, K) with rows that sum to 1; delta = p - t.

    Smoothing e replaces t by (1 - e) t + e / K in the objective (Szegedy et al. 2016, arXiv:1512.00567).
    """
    p, minus_log_p = softmax(z, xp=xp)
    losses = xp.vecdot(target, minus_log_p)
    if not smoothing:
        return losses, losses, p - target
    smoothed = target * (1.0 - smoothing) + smoothing / target.shape[-1]
    return losses, xp.vecdot(smoothed, minus_log_p), p - smoothed


def mean_squared_error(z: Array, target: Array, *, xp: Namespace) -> tuple[Array, Array, Array]:
    """(1 / n_out) sum_k (z_k - t_k)^2 against t (..., B, n_out); delta = 2 (z - t) / n_out."""
    error = z - target
    losses = xp.mean(error * error, axis=-1)
    return losses, losses, error * (2.0 / z.shape[-1])


LOSSES = {"cross-entropy": cross_entropy, "mse": mean_squared_error}
