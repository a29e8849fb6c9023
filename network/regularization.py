"""Regularisation of a step: dropout, noise and mixup of its batch, penalties on its gradient, bounds on its weights."""

from typing import NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.network.sign import sign
from lagvis.tree import Tree, tree_map


class Regularization(NamedTuple):
    """Settings of a step; each that is 0 (or False) makes no call.

    dropout, input_dropout  share of the hidden values and of the inputs that become 0
    input_noise             standard deviation of the noise that is added to scaled inputs
    mixup                   whether rows are mixed with others of the batch; scalars["mixup"] has the share
    l1                      factor of the sum of |W| in what is minimised
    clip_norm               largest norm of the whole gradient
    max_norm                largest norm of the weights into a hidden unit
    ema                     whether the state keeps a moving average of the layers; scalars["ema_rate"] has its rate
    """

    dropout: float = 0.0
    input_dropout: float = 0.0
    input_noise: float = 0.0
    mixup: bool = False
    l1: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0
    ema: bool = False

    @property
    def is_random(self) -> bool:
        """Whether a step draws random numbers: it then takes scalars["step"] and the constants for them (step.py)."""
        return bool(self.dropout or self.input_dropout or self.input_noise)


NONE = Regularization()


def add_l1(grads: Tree, params: Tree, l1: float, *, xp: Namespace) -> Tree:
    """Return the gradient with that of l1 sum |W|, which is l1 sign(W)."""
    return [g | {"W": g["W"] + l1 * sign(p["W"], xp=xp)} for g, p in zip(grads, params, strict=True)]


def clip_by_norm(grads: Tree, largest: float, *, xp: Namespace) -> Tree:
    """Return the gradient, scaled to the norm `largest` if its norm over all parameters is larger.

    Pascanu et al. 2013 (arXiv:1211.5063).
    """
    squares: list[Array] = []  # (...,): one for each W (..., n_in, n_out), b and gamma (..., n_out)
    for name, g in [leaf for layer in grads for leaf in layer.items()]:
        squares.append(xp.sum(g * g, axis=(-2, -1) if name == "W" else -1))
    norm = xp.sqrt(sum(squares[1:], start=squares[0]))
    scale = largest / xp.maximum(norm, largest)
    return [
        {name: g * (scale[..., None, None] if name == "W" else scale[..., None]) for name, g in layer.items()}
        for layer in grads
    ]


def bound_weights(params: Tree, largest: float, *, xp: Namespace) -> Tree:
    """Return the parameters with the weights into each hidden unit scaled to the norm `largest` if theirs is larger."""

    def bounded(weights: Array) -> Array:
        norm = xp.sqrt(xp.sum(weights * weights, axis=-2, keepdims=True))
        return weights * (largest / xp.maximum(norm, largest))

    return [layer | {"W": bounded(layer["W"])} for layer in params[:-1]] + [params[-1]]


def move_average(average: Tree, layers: Tree, rate: Array) -> Tree:
    """Return average + rate (layers - average), the exponential moving average of the layers."""
    return tree_map(lambda mean, new: mean + rate * (new - mean), average, layers)
