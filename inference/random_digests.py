"""Digests of the random numbers that the steps of a recipe draw: equal on every backend and in every dtype."""

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.network.dropout import dropout_masks, input_noise, noise_values
from lagvis.training.factory import make_regularization, step_constants
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map


def random_digests(backend: Backend, recipe: Recipe, widths: tuple[int, ...], rows: list[int]) -> dict[str, str]:
    """Return the SHA-256 of what the first steps draw on a backend, by "mask 0" (of the input), ... and "noise".

    rows  of the batch of each step

    Of a mask it is known which values are kept, of noise its value for a standard deviation of 1, which float32 holds
    exactly. {} if the recipe draws nothing.
    """
    regularization = make_regularization(recipe)
    if not regularization.is_random:
        return {}
    xp, input_dropout, dropout = backend.xp, regularization.input_dropout, regularization.dropout

    def draw(drawn: Any, step: Any, params: Any, data: Any) -> Any:
        counters = data["counters"][: drawn["counters"].shape[0]]
        new = {}
        if dropout or input_dropout:
            masks = dropout_masks(
                params, counters, dropout=dropout, input_dropout=input_dropout, step=step, data=data, xp=xp
            )
            new = {f"mask {i}": xp.astype(mask > 0, xp.uint8) for i, mask in enumerate(masks) if mask is not None}
        if "noise" in drawn:
            new["noise"] = input_noise(widths[0], counters, step=step, data=data, xp=xp)
        return drawn | new

    constants = step_constants(recipe, widths, max(rows))
    if "noise" in constants:
        constants["noise"] = np.array(noise_values(1.0), backend.dtype)
    params = [{"W": np.zeros(shape, backend.dtype)} for shape in pairwise(widths)]
    given = tuple(tree_map(backend.asarray, tree) for tree in (params, constants))
    run = backend.scan(draw)
    sums: dict[str, Any] = {}
    for number, count in enumerate(rows):
        shares = [input_dropout, *[dropout] * (len(widths) - 2)]
        drawn = {f"mask {i}": np.zeros((count, widths[i]), np.uint8) for i, share in enumerate(shares) if share}
        if regularization.input_noise:
            drawn["noise"] = np.zeros((count, widths[0]), backend.dtype)
        state = tree_map(backend.asarray, drawn | {"counters": constants["counters"][:count]})
        state = run(state, (backend.asarray(np.array([number], np.int32)),), given)
        for name in drawn:
            array = backend.to_numpy(state[name])
            exact = array if array.dtype == np.uint8 else array.astype("<f8")
            sums.setdefault(name, hashlib.sha256()).update(exact.tobytes())
    return {name: digest.hexdigest() for name, digest in sums.items()}
