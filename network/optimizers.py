"""Optimizers: pure `update(params, grads, slots, rate) -> (params, slots)`; slots are trees like params, 0 at first."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lagvis.tree import tree_map

Tree = Any


class Optimizer(NamedTuple):
    """The names of the slots it keeps in the state, and its update rule."""

    slots: tuple[str, ...]
    update: Callable[[Tree, Tree, dict[str, Tree], Any], tuple[Tree, dict[str, Tree]]]


def sgd(*, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Gradient descent W - rate g; with momentum m: v = m v + g, W - rate v, or for Nesterov W - rate (g + m v).

    The form of Sutskever et al. 2013 that frameworks use: the rate multiplies the velocity, not the gradient in it.
    """
    if momentum == 0.0:
        return Optimizer((), lambda params, grads, slots, rate: (descend(params, grads, rate), slots))

    def update(params: Tree, grads: Tree, slots: dict[str, Tree], rate: Any) -> tuple[Tree, dict[str, Tree]]:
        velocity = tree_map(lambda v, g: momentum * v + g, slots["velocity"], grads)
        direction = tree_map(lambda g, v: g + momentum * v, grads, velocity) if nesterov else velocity
        return descend(params, direction, rate), {"velocity": velocity}

    return Optimizer(("velocity",), update)


def descend(params: Tree, direction: Tree, rate: Any) -> Tree:
    """params - rate * direction."""
    return tree_map(lambda p, d: p - rate * d, params, direction)


OPTIMIZERS = {"sgd": sgd}
