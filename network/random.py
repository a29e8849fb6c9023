"""Random numbers that are the same on every backend: Philox4x32-10 (Salmon et al. 2011) in int64 operations.

A number is a function of key and counter alone, so that every draw of a step can be computed again from the number of
the step. Counters are (index, stream, step, 0): `stream` keeps the draws of one step apart.

No product leaves int64: a factor M of Philox is used as M - 2^32, whose product with 32 bits has the same low word, and
a high word that is too small by the other factor.
"""

from typing import Any

from lagvis.arrays import Array, Namespace

ROUNDS = 10
MASK = 0xFFFFFFFF
FACTORS = (0xD2511F53 - 2**32, 0xCD9E8D57 - 2**32)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def round_keys(seed: int) -> list[list[int]]:
    """Return the keys (ROUNDS, 2) of 32 bits of all rounds for a seed of 64 bits, on the host."""
    words = (seed & MASK, seed >> 32 & MASK)
    return [[(word + i * step) & MASK for word, step in zip(words, KEY_STEPS, strict=True)] for i in range(ROUNDS)]


def philox(counter: tuple[Any, Any, Any, Any], keys: Array, *, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    """Four words of 32 bits for each counter, in int64 arrays; `keys` (ROUNDS, 2) are the `round_keys` of the seed."""
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        k0, k1 = keys[i, 0], keys[i, 1]
        p0, p1 = c0 * FACTORS[0], c2 * FACTORS[1]
        high0, high1 = ((p0 >> 32) + c0) & MASK, ((p1 >> 32) + c2) & MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, p1 & MASK, high0 ^ c3 ^ k1, p0 & MASK
    return c0, c1, c2, c3


def random_words(rows: int, columns: int, stream: int, step: Array, keys: Array, *, xp: Namespace) -> Array:
    """Return (rows, columns) words of 32 bits, int64; a row has the same words whatever the number of rows."""
    blocks = -(-columns // 4)
    index = xp.astype(xp.arange(rows * blocks), xp.int64)
    zero = index * 0
    words = philox((index, zero + stream, zero + xp.astype(step, xp.int64), zero), xp.astype(keys, xp.int64), xp=xp)
    return xp.reshape(xp.stack(words, axis=-1), (rows, blocks * 4))[:, :columns]
