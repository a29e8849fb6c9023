"""Optimizers: pure functions that move parameters along a gradient.

    update(params, grads, optimizer_state, scalars, *, xp) -> (params, optimizer_state)

`optimizer_state` holds, under the names that the optimizer chooses, what it keeps from step to step. Python numbers in
an update are frozen when a step is compiled: anything that changes is a state or one of the `scalars` (), which hold
"learning_rate" and what `Optimizer.scalars` computes from the number of the step.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol

from lagvis.arrays import Array, Namespace
from lagvis.tree import Tree, tree_map


class StateShape(Enum):
    """Shape of one state: a tree like the parameters, or one number, (); either has the dtype of the parameters."""

    LIKE_PARAMS = "like the parameters"
    SCALAR = "scalar"


class Update(Protocol):
    """Update rule of an optimizer."""

    def __call__(
        self,
        params: Tree,
        grads: Tree,
        optimizer_state: dict[str, Tree],
        scalars: Mapping[str, Array],
        *,
        xp: Namespace,
    ) -> tuple[Tree, dict[str, Tree]]: ...


def no_scalars(t: Array) -> dict[str, Array]:
    """Return nothing: the learning rate alone changes from step to step."""
    return {}


class Optimizer(NamedTuple):
    """Names and shapes of the states that it keeps, all zero at first, and its update rule.

    scalars  computes on the host, in float64, what the update takes beside the learning rate: steps t (S,), counted
             from 1, -> {name: (S,)}
    """

    states: dict[str, StateShape]
    update: Update
    scalars: Callable[[Array], dict[str, Array]] = no_scalars

    @property
    def state_names(self) -> tuple[str, ...]:
        """Keys of the states beside "params" in the state of a step."""
        return tuple(self.states)


class OptimizerEntry(NamedTuple):
    """Entry of the table of optimizers.

    make      builds the optimizer from the recipe keys `settings`, given by keyword
    settings  the recipe keys that it takes, each with its default for this optimizer
    states    every state that it may keep, whatever its settings: a checkpoint may hold these
    lr        the default learning rate
    """

    make: Callable[..., Optimizer]
    settings: dict[str, Any]
    states: dict[str, StateShape]
    lr: float


def sgd(*, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """Gradient descent W - r g; with momentum m: v = m v + g, then W - r v, or for Nesterov W - r (g + m v).

    The form of Sutskever et al. 2013 that frameworks use: the learning rate r multiplies v, not the gradient in it.
    """

    def plain_update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        return descend(params, add_l2(grads, params, weight_decay), scalars["learning_rate"]), optimizer_state

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        grads = add_l2(grads, params, weight_decay)
        velocity = tree_map(lambda v, g: momentum * v + g, optimizer_state["velocity"], grads)
        direction = tree_map(lambda g, v: g + momentum * v, grads, velocity) if nesterov else velocity
        return descend(params, direction, scalars["learning_rate"]), {"velocity": velocity}

    return Optimizer(SGD_STATES, update) if momentum else Optimizer({}, plain_update)


def adam(*, betas: tuple[float, float], eps: float, weight_decay: float = 0.0, decoupled: bool = False) -> Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980): W - r m' / (sqrt(v') + eps), m' and v' without their bias to zero.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2. Weight decay is L2 in the gradient, or `decoupled` from
    it: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).
    """
    beta1, beta2 = betas

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        rate = scalars["learning_rate"]
        if decoupled:
            params = decay(params, rate, weight_decay)
        else:
            grads = add_l2(grads, params, weight_decay)
        first = tree_map(lambda m, g: beta1 * m + (1.0 - beta1) * g, optimizer_state["first_moment"], grads)
        second = tree_map(lambda v, g: beta2 * v + (1.0 - beta2) * (g * g), optimizer_state["second_moment"], grads)
        scale = scalars["second_scale"]
        direction = tree_map(lambda m, v: m / (xp.sqrt(v) * scale + eps), first, second)
        moved = descend(params, direction, rate * scalars["first_scale"])
        return moved, {"first_moment": first, "second_moment": second}

    def scalars(t: Array) -> dict[str, Array]:
        return {"first_scale": 1.0 / (1.0 - beta1**t), "second_scale": (1.0 - beta2**t) ** -0.5}

    return Optimizer(ADAM_STATES, update, scalars)


def adamw(*, betas: tuple[float, float], eps: float, weight_decay: float = 0.0) -> Optimizer:
    """Adam with decoupled weight decay: W - r weight_decay W first."""
    return adam(betas=betas, eps=eps, weight_decay=weight_decay, decoupled=True)


def descend(params: Tree, direction: Tree, learning_rate: Array) -> Tree:
    """Return params - learning_rate * direction."""
    return tree_map(lambda p, d: p - learning_rate * d, params, direction)


def add_l2(grads: Tree, params: Tree, weight_decay: float) -> Tree:
    """Return the gradient with that of weight_decay / 2 sum W^2; biases and gamma are not decayed."""
    if not weight_decay:
        return grads
    return [g | {"W": g["W"] + weight_decay * p["W"]} for g, p in zip(grads, params, strict=True)]


def decay(params: Tree, learning_rate: Array, weight_decay: float) -> Tree:
    """Return the parameters with W (1 - learning_rate weight_decay); biases and gamma are not decayed."""
    if not weight_decay:
        return params
    scale = 1.0 - learning_rate * weight_decay
    return [layer | {"W": layer["W"] * scale} for layer in params]


SGD_STATES = {"velocity": StateShape.LIKE_PARAMS}
ADAM_STATES = {"first_moment": StateShape.LIKE_PARAMS, "second_moment": StateShape.LIKE_PARAMS}
ADAM_SETTINGS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}

OPTIMIZERS = {
    "sgd": OptimizerEntry(sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}, SGD_STATES, lr=0.1),
    "adam": OptimizerEntry(adam, ADAM_SETTINGS, ADAM_STATES, lr=0.001),
    "adamw": OptimizerEntry(adamw, ADAM_SETTINGS | {"weight_decay": 0.01}, ADAM_STATES, lr=0.001),
}
