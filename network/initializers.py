"""Initial parameters and optimizer states, made on the host.

Parameters are drawn in float64, so that every backend and element type starts from one draw.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from lagvis.network.optimizers import Optimizer, StateShape
from lagvis.tree import Tree, leaves, tree_map

Params: TypeAlias = list[dict[str, np.ndarray]]
Initializer: TypeAlias = Callable[[int, int, np.random.Generator], np.ndarray]


def he_normal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """W (n_in, n_out) ~ N(0, 2 / n_in): He et al. 2015 (arXiv:1502.01852), the paper's section 3."""
    return rng.standard_normal((n_in, n_out)) * np.sqrt(2.0 / n_in)


def lecun_normal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """W (n_in, n_out) ~ N(0, 1 / n_in): LeCun et al. 1998, Efficient BackProp, section 4.6; selu is made for it."""
    return rng.standard_normal((n_in, n_out)) * np.sqrt(1.0 / n_in)


def glorot_uniform(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """W (n_in, n_out) ~ U(-r, r), r = sqrt(6 / (n_in + n_out)): Glorot and Bengio 2010, equation 16."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out))


def initialize(
    widths: tuple[int, ...], initializer: Initializer, rng: np.random.Generator, *, normalized: bool = False
) -> Params:
    """Widths (n_0, ..., n_L) -> L layers {"W": (n_in, n_out) drawn by `initializer`, "b": zeros (n_out,)}.

    `normalized` hidden layers also have "gamma": ones (n_out,).
    """
    layers = [{"W": initializer(n_in, n_out, rng), "b": np.zeros(n_out)} for n_in, n_out in pairwise(widths)]
    if normalized:
        layers = [layer | {"gamma": np.ones_like(layer["b"])} for layer in layers[:-1]] + layers[-1:]
    return layers


def first_running(params: Params) -> Params:
    """Return the running statistics before the first step, for each hidden layer: mean 0 and variance 1."""
    return [{"mean": np.zeros_like(layer["b"]), "variance": np.ones_like(layer["b"])} for layer in params[:-1]]


def zero_optimizer_state(optimizer: Optimizer, params: Params) -> dict[str, Tree]:
    """Return the states of an optimizer before its first step, all zero, in the dtype of `params`."""
    dtype = leaves(params)[0].dtype
    return {
        name: tree_map(np.zeros_like, params) if shape is StateShape.LIKE_PARAMS else np.zeros((), dtype)
        for name, shape in optimizer.states.items()
    }
