"""Which rows are learned from and which are held out, as lists of indices."""

import numpy as np


def split_off(y: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row indices (rest, held out), both ascending int64, with `count` rows held out at random.

    Class indices y (N,) of an integer type are stratified: each class gives its share, rounded by largest remainder.
    Other targets (N, n_out) are drawn plainly. 0 <= count <= N.
    """
    rows = len(y)
    order = rng.permutation(rows)
    chosen = np.zeros(rows, dtype=bool)
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer):
        sizes = np.bincount(y)
        shares = sizes * (count / rows)
        quota = np.floor(shares).astype(np.int64)
        leftover = np.argsort(quota - shares, kind="stable")[: count - quota.sum()]
        quota[leftover] += 1
        by_class = order[np.argsort(y[order], kind="stable")]  # class after class, each in its random order
        first = np.cumsum(sizes) - sizes
        place_in_class = np.arange(rows) - np.repeat(first, sizes)
        chosen[by_class[place_in_class < np.repeat(quota, sizes)]] = True
    else:
        chosen[order[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
