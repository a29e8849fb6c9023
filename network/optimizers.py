"""Optimizers: pure functions that move parameters along a gradient.

    update(params, grads, optimizer_state, scalars, *, xp) -> (params, optimizer_state)

`optimizer_state` holds, under the names that the optimizer chooses, what it keeps from step to step. Python numbers in
an update are frozen when a step is compiled: anything that changes is a state or one of the `scalars` (), which hold
"learning_rate", what `Optimizer.scalars` computes from the number of the step, and "momentum" or "beta1" where a
schedule moves it; where none does, it is a Python number.
"""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol

from lagvis.arrays import Array, Namespace
from lagvis.network.sign import sign
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


def no_scalars(t: Array, scheduled: Mapping[str, Array]) -> dict[str, Array]:
    """Return nothing: no number of the optimizer's own changes from step to step."""
    return {}


class Optimizer(NamedTuple):
    """Names and shapes of the states that it keeps, all zero at first, and its update rule.

    scalars  computes on the host, in float64, what the update takes beside the scalars of the schedule: steps t (S,),
             counted from 1, and what the schedule makes of them, {name: (S,)} -> {name: (S,)}
    """

    states: dict[str, StateShape]
    update: Update
    scalars: Callable[[Array, Mapping[str, Array]], dict[str, Array]] = no_scalars

    @property
    def state_names(self) -> tuple[str, ...]:
        """Keys of the states beside "params" in the state of a step."""
        return tuple(self.states)


class OptimizerEntry(NamedTuple):
    """Entry of the table of optimizers.

    make          builds the optimizer from the recipe keys `settings`, given by keyword
    settings      the recipe keys that it takes, each with its default for this optimizer
    states        every state that it may keep, whatever its settings: a checkpoint may hold these
    lr            the default learning rate
    cycled        the scalar that a schedule of momentum moves: "momentum", or "beta1", the first of betas
    proportional  whether a step is as long as the gradient: errors of numbers may be large, and need a smaller lr then
    decoupled     whether weight decay is decoupled from the gradient
    """

    make: Callable[..., Optimizer]
    settings: dict[str, Any]
    states: dict[str, StateShape]
    lr: float
    cycled: str = "momentum"
    proportional: bool = False
    decoupled: bool = False


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
        m = scalars.get("momentum", momentum)
        grads = add_l2(grads, params, weight_decay)
        velocity = tree_map(lambda v, g: m * v + g, optimizer_state["velocity"], grads)
        direction = tree_map(lambda g, v: g + m * v, grads, velocity) if nesterov else velocity
        return descend(params, direction, scalars["learning_rate"]), {"velocity": velocity}

    return Optimizer(SGD_STATES, update) if momentum else Optimizer({}, plain_update)


def rmsprop(*, rho: float, eps: float, momentum: float = 0.0, weight_decay: float = 0.0) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012): W - r d, d = g / (sqrt(s) + eps); s = rho s + (1 - rho) g^2 follows g^2.

    With momentum m: v = m v + d, then W - r v.
    """

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        m = scalars.get("momentum", momentum)
        grads = add_l2(grads, params, weight_decay)
        second = tree_map(lambda s, g: rho * s + (1.0 - rho) * (g * g), optimizer_state["second_moment"], grads)
        direction, new_state = tree_map(lambda g, s: g / (xp.sqrt(s) + eps), grads, second), {"second_moment": second}
        if momentum:
            direction = tree_map(lambda v, d: m * v + d, optimizer_state["velocity"], direction)
            new_state = new_state | {"velocity": direction}
        return descend(params, direction, scalars["learning_rate"]), new_state

    states = RMSPROP_STATES if momentum else {"second_moment": RMSPROP_STATES["second_moment"]}
    return Optimizer(states, update)


def adam(*, betas: tuple[float, float], eps: float, weight_decay: float = 0.0, decoupled: bool = False) -> Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980): W - r m' / (sqrt(v') + eps), m' and v' without their bias to zero.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2. Weight decay is L2 in the gradient, or `decoupled` from
    it: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).
    """
    beta1, beta2 = betas

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        rate, b1 = scalars["learning_rate"], scalars.get("beta1", beta1)
        if decoupled:
            params = decay(params, rate, weight_decay)
        else:
            grads = add_l2(grads, params, weight_decay)
        first = tree_map(lambda m, g: b1 * m + (1.0 - b1) * g, optimizer_state["first_moment"], grads)
        second = tree_map(lambda v, g: beta2 * v + (1.0 - beta2) * (g * g), optimizer_state["second_moment"], grads)
        direction = tree_map(lambda m, v: m / (xp.sqrt(v) + scalars["scaled_eps"]), first, second)
        moved = descend(params, direction, rate * scalars["rate_scale"])
        return moved, {"first_moment": first, "second_moment": second}

    def scalars(t: Array, scheduled: Mapping[str, Array]) -> dict[str, Array]:
        # the corrections of m and v as factors of rate and eps, so that no array is multiplied by them
        second = (1.0 - beta2**t) ** 0.5
        return {"rate_scale": second / (1.0 - scheduled.get("beta1", beta1) ** t), "scaled_eps": eps * second}

    return Optimizer(ADAM_STATES, update, scalars)


def adamw(*, betas: tuple[float, float], eps: float, weight_decay: float = 0.0) -> Optimizer:
    """Adam with decoupled weight decay: W - r weight_decay W first."""
    return adam(betas=betas, eps=eps, weight_decay=weight_decay, decoupled=True)


def lion(*, betas: tuple[float, float], weight_decay: float = 0.0) -> Optimizer:
    """Lion (Chen et al. 2023, arXiv:2302.06675): W - r sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g.

    Weight decay is decoupled: W - r weight_decay W first.
    """
    beta1, beta2 = betas

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        rate, b1 = scalars["learning_rate"], scalars.get("beta1", beta1)
        before = optimizer_state["first_moment"]
        direction = tree_map(lambda m, g: sign(b1 * m + (1.0 - b1) * g, xp=xp), before, grads)
        first = tree_map(lambda m, g: beta2 * m + (1.0 - beta2) * g, before, grads)
        return descend(decay(params, rate, weight_decay), direction, rate), {"first_moment": first}

    return Optimizer(LION_STATES, update)


def muon(
    *, betas: tuple[float, float], eps: float, momentum: float, nesterov: bool = True, weight_decay: float = 0.0
) -> Optimizer:
    """Muon (Jordan et al. 2024) for the hidden matrices, AdamW for all other parameters.

    m = momentum m + (1 - momentum) g, then W - r s orthogonalize(m), or of momentum m + (1 - momentum) g for Nesterov.
    The scale s = 0.2 sqrt(max(n_in, n_out)) makes a step as long as one of AdamW (Liu et al. 2025, arXiv:2502.16982).
    """
    adamw_update = adamw(betas=betas, eps=eps, weight_decay=weight_decay)

    def update(
        params: Tree, grads: Tree, optimizer_state: dict[str, Tree], scalars: Mapping[str, Array], *, xp: Namespace
    ) -> tuple[Tree, dict[str, Tree]]:
        rate, mu = scalars["learning_rate"], scalars.get("momentum", momentum)
        others, matrices = split_hidden(params)
        other_grads, matrix_grads = split_hidden(grads)
        first, velocity = split_hidden(optimizer_state["first_moment"])
        second, unused = split_hidden(optimizer_state["second_moment"])
        others, moments = adamw_update.update(
            others, other_grads, {"first_moment": first, "second_moment": second}, scalars, xp=xp
        )
        velocity = tree_map(lambda v, g: mu * v + (1.0 - mu) * g, velocity, matrix_grads)
        ahead = tree_map(lambda v, g: mu * v + (1.0 - mu) * g, velocity, matrix_grads) if nesterov else velocity
        direction = tree_map(lambda v: muon_scale(v) * orthogonalize(v, xp=xp), ahead)
        matrices = descend(decay(matrices, rate, weight_decay), direction, rate)
        return join_hidden(others, matrices), {
            "first_moment": join_hidden(moments["first_moment"], velocity),
            "second_moment": join_hidden(moments["second_moment"], unused),
        }

    return Optimizer(ADAM_STATES, update, adamw_update.scalars)


def orthogonalize(matrix: Array, *, xp: Namespace) -> Array:
    """(..., n, m) -> about U V^T of its singular value decomposition U S V^T, by five Newton-Schulz steps.

    X = G / |G|, then X = a X + (b A + c A A) X with A = X X^T: singular values of X move to 0.7..1.2.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = xp.matrix_transpose(matrix) if is_tall else matrix  # A is then the smaller of the two products
    norm = xp.sqrt(xp.sum(x * x, axis=(-2, -1), keepdims=True))
    x = x / xp.maximum(norm, MIN_NORM)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ xp.matrix_transpose(x)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return xp.matrix_transpose(x) if is_tall else x


def muon_scale(matrix: Array) -> float:
    """Return 0.2 sqrt(max(n, m)) for (..., n, m): U V^T has the mean square 1 / max(n, m), a step of AdamW 0.2^2."""
    return 0.2 * math.sqrt(max(matrix.shape[-2:]))


def split_hidden(tree: Tree) -> tuple[Tree, Tree]:
    """Split a tree like the parameters into all but its hidden matrices, and these: {"W"} of each layer between."""
    hidden = range(1, len(tree) - 1)
    others = [{name: a for name, a in layer.items() if i not in hidden or name != "W"} for i, layer in enumerate(tree)]
    return others, [{"W": tree[i]["W"]} for i in hidden]


def join_hidden(others: Tree, matrices: Tree) -> Tree:
    """Return the tree that `split_hidden` split."""
    between = [matrix | layer for matrix, layer in zip(matrices, others[1:-1], strict=True)]
    return [others[0], *between, *others[1:][-1:]]


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
    return [{name: a * scale if name == "W" else a for name, a in layer.items()} for layer in params]


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of Jordan et al. 2024: the steepest start at 0
NEWTON_SCHULZ_STEPS = 5
MIN_NORM = 1e-7  # divisor of a matrix of a smaller norm, so that 0 stays 0

SGD_STATES = {"velocity": StateShape.LIKE_PARAMS}
RMSPROP_STATES = {"second_moment": StateShape.LIKE_PARAMS, "velocity": StateShape.LIKE_PARAMS}
ADAM_STATES = {"first_moment": StateShape.LIKE_PARAMS, "second_moment": StateShape.LIKE_PARAMS}
LION_STATES = {"first_moment": StateShape.LIKE_PARAMS}
ADAM_SETTINGS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
RMSPROP_SETTINGS = {"momentum": 0.0, "rho": 0.99, "eps": 1e-8, "weight_decay": 0.0}

OPTIMIZERS = {
    "sgd": OptimizerEntry(
        sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}, SGD_STATES, lr=0.1, proportional=True
    ),
    "rmsprop": OptimizerEntry(rmsprop, RMSPROP_SETTINGS, RMSPROP_STATES, lr=0.001),
    "adam": OptimizerEntry(adam, ADAM_SETTINGS, ADAM_STATES, lr=0.001, cycled="beta1"),
    "adamw": OptimizerEntry(
        adamw, ADAM_SETTINGS | {"weight_decay": 0.01}, ADAM_STATES, lr=0.001, cycled="beta1", decoupled=True
    ),
    "lion": OptimizerEntry(
        lion, {"betas": (0.9, 0.99), "weight_decay": 0.03}, LION_STATES, lr=0.0003, cycled="beta1", decoupled=True
    ),
    "muon": OptimizerEntry(
        muon,
        ADAM_SETTINGS | {"momentum": 0.95, "nesterov": True, "weight_decay": 0.01},
        ADAM_STATES,
        lr=0.001,
        decoupled=True,
    ),
}
