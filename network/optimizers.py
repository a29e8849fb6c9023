"""Optimizers: pure functions that move parameters along a gradient.

    update(params, grads, optimizer_state, learning_rate (), *, xp) -> (params, optimizer_state)

`optimizer_state` holds, under the names that the optimizer chooses, what it keeps from step to step. Python numbers in
an update are frozen when a step is compiled: anything that changes, such as a step count, is a state.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

from lagvis.arrays import Array, Namespace
from lagvis.tree import Tree, tree_map


class StateShape(Enum):
    """Shape of one state: a tree like the parameters, or one number, (); either has the dtype of the parameters."""

    LIKE_PARAMS = "like the parameters"
    SCALAR = "scalar"


class Update(Protocol):
    """Update rule of an optimizer."""

    def __call__(
        self, params: Tree, grads: Tree, optimizer_state: dict[str, Tree], learning_rate: Array, *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]: ...


class Optimizer(NamedTuple):
    """Names and shapes of the states that it keeps, all zero at first, and its update rule."""

    states: dict[str, StateShape]
    update: Update

    @property
    def state_names(self) -> tuple[str, ...]:
        """Keys of the states beside "params" in the state of a step."""
        return tuple(self.states)


class OptimizerEntry(NamedTuple):
    """Entry of the table of optimizers.

    make      builds the optimizer from the recipe keys `settings`, given by keyword
    states    every state that it may keep, whatever its settings: a checkpoint may hold these
    """

    make: Callable[..., Optimizer]
    settings: tuple[str, ...]
    states: dict[str, StateShape]


def sgd(*, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Gradient descent W - r g; with momentum m: v = m v + g, then W - r v, or for Nesterov W - r (g + m v).

    The form of Sutskever et al. 2013 that frameworks use: the learning rate r multiplies v, not the gradient in it.
    """

    def plain_update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], learning_rate: Array, *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        return descend(params, grads, learning_rate), optimizer_state

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], learning_rate: Array, *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        velocity = tree_map(lambda v, g: momentum * v + g, optimizer_state["velocity"], grads)
        direction = tree_map(lambda g, v: g + momentum * v, grads, velocity) if nesterov else velocity
        return descend(params, direction, learning_rate), {"velocity": velocity}

    return Optimizer(SGD_STATES, update) if momentum else Optimizer({}, plain_update)


def descend(params: Tree, direction: Tree, learning_rate: Array) -> Tree:
    """Return params - learning_rate * direction."""
    return tree_map(lambda p, d: p - learning_rate * d, params, direction)


SGD_STATES = {"velocity": StateShape.LIKE_PARAMS}

OPTIMIZERS = {"sgd": OptimizerEntry(sgd, ("momentum", "nesterov"), SGD_STATES)}
