"""Optimizers: pure functions that move parameters along a gradient.

    update(params, grads, optimizer_state, learning_rate ()) -> (params, optimizer_state)

`optimizer_state` maps each of `state_names` to a tree like `params`; every state starts at zero.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lagvis.tree import tree_map

Tree = Any


class Optimizer(NamedTuple):
    """Names of the states that the optimizer keeps between steps, and its update rule."""

    state_names: tuple[str, ...]
    update: Callable[[Tree, Tree, dict[str, Tree], Any], tuple[Tree, dict[str, Tree]]]


def sgd(*, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Gradient descent W - r g; with momentum m: v = m v + g, then W - r v, or for Nesterov W - r (g + m v).

    The form of Sutskever et al. 2013 that frameworks use: the learning rate r multiplies v, not the gradient in it.
    """
    if momentum == 0.0:
        return Optimizer((), lambda params, grads, state, learning_rate: (descend(params, grads, learning_rate), state))

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], learning_rate: Any
    ) -> tuple[Tree, dict[str, Tree]]:
        velocity = tree_map(lambda v, g: momentum * v + g, optimizer_state["velocity"], grads)
        direction = tree_map(lambda g, v: g + momentum * v, grads, velocity) if nesterov else velocity
        return descend(params, direction, learning_rate), {"velocity": velocity}

    return Optimizer(("velocity",), update)


def descend(params: Tree, direction: Tree, learning_rate: Any) -> Tree:
    """Return params - learning_rate * direction."""
    return tree_map(lambda p, d: p - learning_rate * d, params, direction)


OPTIMIZERS = {"sgd": sgd}
