"""Random numbers that are the same on every backend: Philox4x32-10 (Salmon et al. 2011) in int64 operations.

A number is a function of key and counter alone, so that every draw of a step can be computed again from the number of
the step. Its counter is (step, row, purpose, column): `row` is the position in the batch of the step, so that a row
draws the same numbers whatever parts the batch is split into.

No product leaves int64: a factor M of Philox is used as M - 2^32, whose product with 32 bits has the same low word, and
a high word that is too small by the other factor.
"""

from typing import Any

from lagvis.arrays import Array, Namespace

ROUNDS = 10
LOW_WORD = 0xFFFFFFFF  # bits of the low 32-bit word
FACTORS = (0xD2511F53 - 2**32, 0xCD9E8D57 - 2**32)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORDS, WORD_BITS = 4, 32  # of a counter

Words = tuple[Array, Array, Array, Array]


def round_keys(seed: int) -> list[list[int]]:
    """Return the keys (ROUNDS, 2) of 32 bits of all rounds for a seed of 64 bits, on the host."""
    words = (seed & LOW_WORD, seed >> 32 & LOW_WORD)
    return [[(word + i * step) & LOW_WORD for word, step in zip(words, KEY_STEPS, strict=True)] for i in range(ROUNDS)]


def philox(counter: tuple[Any, Any, Any, Any], keys: Array) -> Words:
    """Four words of 32 bits for each counter, in int64 arrays; `keys` (ROUNDS, 2) are the `round_keys` of the seed.

    The parts of the counter may have any shapes that broadcast: the first rounds then work on small arrays.
    """
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        p0, p1 = c0 * FACTORS[0], c2 * FACTORS[1]
        high0, high1 = (p0 >> 32) + c0, (p1 >> 32) + c2
        k0, k1 = keys[i, 0, ...], keys[i, 1, ...]
        c0, c1, c2, c3 = high1 ^ k0 ^ c1, p1 & LOW_WORD, high0 ^ k1 ^ c3, p0 & LOW_WORD
    return c0, c1, c2, c3


def random_words(purpose: int, step: Array, rows: Array, columns: Array, keys: Array, *, xp: Namespace) -> Words:
    """Four words (R, C), int64, for each of the rows (R,) and columns (C,) of a draw of a step ().

    All arrays are int32, which every device has; `keys` (ROUNDS, 2) are `round_keys` in two's complement.
    """
    step, rows, columns, keys = (xp.astype(a, xp.int64) for a in (step, rows, columns, keys))
    return philox((step, rows[:, None], purpose, columns[None, :]), keys & LOW_WORD)
