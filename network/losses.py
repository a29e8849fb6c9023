"""Losses for each row: `loss(z, target, xp=xp) -> (losses, objective, delta)`.

losses     (..., B), reported for every part of the data
objective  (..., B), minimised; the same array where nothing is smoothed
delta      (..., B, n_out) = d objective / dz

The mean over the batch and the row weights are applied in step.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.network.activations import sigmoid, softplus
from lagvis.network.sign import sign

Loss = Callable[..., tuple[Array, Array, Array]]


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


def binary_cross_entropy(
    z: Array, target: Array, *, smoothing: float = 0.0, xp: Namespace
) -> tuple[Array, Array, Array]:
    """(1 / n_out) sum_k log(1 + exp(z_k)) - t_k z_k, of sigmoids p against t (..., B, n_out); delta = (p - t) / n_out.

    No exponent is positive, so nothing overflows. Smoothing e replaces t by (1 - e) t + e / 2 in the objective.
    """
    log_sum = softplus(z, xp)  # log(1 + exp(z))
    p, scale = sigmoid(z, xp), 1.0 / z.shape[-1]
    losses = xp.mean(log_sum - target * z, axis=-1)
    if not smoothing:
        return losses, losses, (p - target) * scale
    smoothed = target * (1.0 - smoothing) + smoothing / 2.0
    return losses, xp.mean(log_sum - smoothed * z, axis=-1), (p - smoothed) * scale


def mean_squared_error(z: Array, target: Array, *, xp: Namespace) -> tuple[Array, Array, Array]:
    """(1 / n_out) sum_k (z_k - t_k)^2 against t (..., B, n_out); delta = 2 (z - t) / n_out."""
    error = z - target
    losses = xp.mean(error * error, axis=-1)
    return losses, losses, error * (2.0 / z.shape[-1])


def mean_absolute_error(z: Array, target: Array, *, xp: Namespace) -> tuple[Array, Array, Array]:
    """(1 / n_out) sum_k |z_k - t_k| against t (..., B, n_out); delta = sign(z - t) / n_out, 0 where they are equal."""
    error = z - target
    losses = xp.mean(xp.abs(error), axis=-1)
    return losses, losses, sign(error, xp=xp) * (1.0 / z.shape[-1])


def huber(z: Array, target: Array, *, huber_delta: float = 1.0, xp: Namespace) -> tuple[Array, Array, Array]:
    """(1 / n_out) sum_k h(e_k), e = z - t (..., B, n_out): e^2 / 2 up to |e| = d, then d (|e| - d / 2).

    delta = e within -d..d and d sign(e) beyond, / n_out; d = `huber_delta` (Huber 1964).
    """
    error = z - target
    size = xp.abs(error)
    near = xp.minimum(size, huber_delta)
    losses = xp.mean(near * (size - 0.5 * near), axis=-1)
    return losses, losses, xp.maximum(xp.minimum(error, huber_delta), -huber_delta) * (1.0 / z.shape[-1])


class LossEntry(NamedTuple):
    """Entry of the table of losses.

    function  the loss of each row
    targets   what it compares with: "classes", one a row; "labels" of 0 and 1; or "numbers", which are standardised
    title     its name in reports
    settings  the recipe keys that it takes beside label_smoothing, each with its default
    constant  for numbers, the name of the constant prediction with the lowest loss
    kinks     from the settings: the errors z - t at which delta is not smooth
    squared   whether it grows with the square of small errors
    """

    function: Loss
    targets: str
    title: str
    settings: dict[str, Any]
    constant: str = ""
    kinks: Callable[..., tuple[float, ...]] = lambda: ()
    squared: bool = True


LOSSES = {
    "cross-entropy": LossEntry(cross_entropy, "classes", "cross-entropy", {}),
    "binary-cross-entropy": LossEntry(binary_cross_entropy, "labels", "binary cross-entropy", {}),
    "mse": LossEntry(mean_squared_error, "numbers", "mean squared error", {}, constant="mean"),
    "mae": LossEntry(
        mean_absolute_error,
        "numbers",
        "mean absolute error",
        {},
        constant="median",
        kinks=lambda: (0.0,),
        squared=False,
    ),
    "huber": LossEntry(
        huber,
        "numbers",
        "Huber loss",
        {"huber_delta": 1.0},
        constant="best constant",
        kinks=lambda huber_delta: (-huber_delta, huber_delta),
    ),
}
LABEL_LOSSES = tuple(name for name, entry in LOSSES.items() if entry.targets == "labels")
REGRESSION_LOSSES = tuple(name for name, entry in LOSSES.items() if entry.targets == "numbers")
