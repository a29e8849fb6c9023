"""Which rows are learned from and which are held out, as lists of indices."""

import numpy as np

TEST_SHARE = 0.2


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


def hold_out_test(y: np.ndarray, *, by_class: bool) -> tuple[np.ndarray, np.ndarray]:
    """Row indices (training, test), 4 to 1, for data that came without a test part.

    Drawn class by class where y is labels, (N,) of any kind or one-hot (N, K); at random elsewhere. The only row of a
    class is never held out, as nothing would be left to learn it from. Always the same way for the same y whatever a
    run's seed, so that runs of different seeds are judged by the same rows. N >= 2.
    """
    strata: np.ndarray = np.zeros((len(y), 1))
    rows = np.arange(len(y))
    if by_class and y.ndim <= 2 and y.size:
        strata = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
        several = np.flatnonzero(np.bincount(strata)[strata] > 1)
        rows = several if several.size else rows
    count = max(1, round(TEST_SHARE * len(rows)))
    test = rows[split_off(strata[rows], count, np.random.default_rng(0))[1]]
    return np.setdiff1d(np.arange(len(y)), test), test


def no_test_part(name: str, count: int, rows: int) -> tuple[str, ...]:
    """The notice that belongs to `hold_out_test`; none without a name."""
    kept = f"{count} of its {rows} rows, always the same, {'is' if count == 1 else 'are'} kept for the test"
    return (f"{name} holds no test part: {kept}.",) if name else ()
