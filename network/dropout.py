"""Dropout (Srivastava et al. 2014) and Gaussian noise, with the random numbers of random.py: equal on every backend.

A word of 32 random bits gives four decisions of dropout, of 8 bits each, or two draws of noise, of 16 bits each.
Integers are compared and looked up, nothing is computed that libraries round in different ways.
"""

from itertools import accumulate
from math import fsum
from statistics import NormalDist
from typing import Any

from lagvis.arrays import Array, Namespace
from lagvis.network.random import WORD_BITS, WORDS, Words, random_words
from lagvis.tree import Tree

# Purposes of random numbers: draws with different numbers here are independent.
INPUT_DROPOUT, HIDDEN_DROPOUT, INPUT_NOISE = 0, 1, 2

MASK_BITS = 8  # a share of dropout is a multiple of 1/256
NOISE_BITS = 16  # noise has one of 65,536 values
NOISE_RESOLUTION = 2.0**-20  # of those values, so that no library of mathematics changes them


def dropped_of_256(share: float) -> int:
    """Return the share of dropout in units of 1/256."""
    return round(share * 2**MASK_BITS)


def dropout_masks(
    params: Tree,
    positions: Array,
    *,
    dropout: float,
    input_dropout: float,
    step: Array,
    data: Any,
    xp: Namespace,
) -> list[Array | None]:
    """Return the mask (B, n_in) of each layer's input, or None, for rows at `positions` (B,) of a step.

    A mask is 0 with the probability of dropout, else 1 / (1 - probability): means stay, and evaluation needs no factor.
    """
    widths = [layer["W"].shape[-2] for layer in params]
    dtype = params[0]["W"].dtype
    masks: list[Array | None] = [None]
    if input_dropout:
        words = draw(INPUT_DROPOUT, widths[0], MASK_BITS, positions, step, data, xp=xp)
        masks = [mask_of(words, input_dropout, dtype, xp=xp)[:, : widths[0]]]
    if not dropout:
        return masks + [None] * len(widths[1:])
    # one draw for all layers: many short calls would cost more than their numbers
    words = draw(HIDDEN_DROPOUT, sum(widths[1:]), MASK_BITS, positions, step, data, xp=xp)
    mask = mask_of(words, dropout, dtype, xp=xp)
    ends = list(accumulate(widths[1:]))
    return masks + [mask[:, end - width : end] for width, end in zip(widths[1:], ends, strict=True)]


def mask_of(words: Words, share: float, dtype: Any, *, xp: Namespace) -> Array:
    """Return a mask (B, 16 C) from words (B, C): byte by byte, the value is dropped if the byte is below 256 share."""
    dropped = dropped_of_256(share)
    shifts = range(0, WORD_BITS, MASK_BITS)
    kept = xp.concat([(word & (0xFF << shift)) >= (dropped << shift) for word in words for shift in shifts], axis=-1)
    return xp.astype(kept, dtype) * (256 / (256 - dropped))


def noise_values(deviation: float) -> list[float]:
    """Return the 65,536 values of noise, on the host: the quantiles of N(0, 1) times the deviation.

    They lie in the middles of intervals of equal probability, and are scaled so that their variance is exactly 1.
    """
    half = 2 ** (NOISE_BITS - 1)
    upper = [NormalDist().inv_cdf(0.5 + (i + 0.5) / (2 * half)) for i in range(half)]
    scale = (fsum(value**2 for value in upper) / half) ** -0.5
    upper = [round(value * scale / NOISE_RESOLUTION) * NOISE_RESOLUTION for value in upper]
    return [deviation * value for value in [-value for value in reversed(upper)] + upper]


def input_noise(width: int, positions: Array, *, step: Array, data: Any, xp: Namespace) -> Array:
    """Return noise (B, width) for rows at `positions` (B,) of a step, from data["noise"], `noise_values`."""
    words = draw(INPUT_NOISE, width, NOISE_BITS, positions, step, data, xp=xp)
    halves = [half for word in words for half in (word & 0xFFFF, word >> NOISE_BITS)]
    values = [xp.reshape(xp.take(data["noise"], xp.reshape(h, (-1,)), axis=0), h.shape) for h in halves]
    return xp.concat(values, axis=-1)[:, :width]


def draw(purpose: int, width: int, bits: int, positions: Array, step: Array, data: Any, *, xp: Namespace) -> Words:
    """Return words (B, C) for rows at `positions` (B,), with `width` numbers of so many bits in a row."""
    columns = -(-width * bits // (WORDS * WORD_BITS))
    return random_words(purpose, step, positions, data["counters"][:columns], data["random_keys"], xp=xp)
