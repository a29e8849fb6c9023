"""Choose the rows that are held out, as arrays of indices."""

from dataclasses import dataclass

import numpy as np

TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The test part that was held out of the file or folder `name`, which has none.

    training_rows, test_rows  indices in the file of the rows of each part; a single row is in both parts
    """

    name: str
    training_rows: np.ndarray
    test_rows: np.ndarray

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return int(max(self.training_rows.max(), self.test_rows.max())) + 1

    @property
    def notice(self) -> str:
        """The notice for the user, one line."""
        count = len(self.test_rows)
        return (
            f"{self.name}: {count:,} of its {self.rows:,} rows, always the same, "
            f"{'is' if count == 1 else 'are'} held out for the test."
        )

    def in_file_order(self, training: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Return values of the rows of both parts, (N, ...), in the order of the file."""
        values = np.empty((self.rows, *test.shape[1:]), test.dtype)
        values[self.training_rows], values[self.test_rows] = training, test
        return values

    def part_of(self, row: int) -> tuple[str, int]:
        """Return the part, "training" or "test", that holds a row of the file, and the index of the row in it."""
        found = np.flatnonzero(self.test_rows == row)
        if len(found):
            return "test", int(found[0])
        return "training", int(np.flatnonzero(self.training_rows == row)[0])


def split_off(y: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return row indices (rest, held out), both ascending int64, with `count` rows held out at random.

    Class indices y (N,) of an integer type are stratified, see `class_quotas`. Targets (N, n_out) are drawn
    without strata. 0 <= count <= N.
    """
    rows = len(y)
    order = rng.permutation(rows)
    chosen = np.zeros(rows, dtype=bool)
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer):
        sizes = np.bincount(y)
        quota = class_quotas(sizes, count)
        by_class = order[np.argsort(y[order], kind="stable")]  # class after class, each in its random order
        first = np.cumsum(sizes) - sizes
        index_in_class = np.arange(rows) - np.repeat(first, sizes)
        chosen[by_class[index_in_class < np.repeat(quota, sizes)]] = True
    else:
        chosen[order[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def class_quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Return how many rows of each class are held out, (K,) int64, for classes of `sizes` rows and `count` in all.

    Each class gives its share, rounded by largest remainder. A class keeps at least one row where `count` leaves as
    many, and a class of several rows gives at least one where `count` suffices for all of those.
    """
    quota = proportional_quotas(sizes, count)
    several = sizes > 1
    least = several.astype(np.int64) if count >= several.sum() else np.zeros_like(quota)
    most = np.maximum(sizes - 1, 0) if count <= np.maximum(sizes - 1, 0).sum() else sizes
    free = np.ones(len(sizes), bool)
    # Quotas beyond a bound are set to it, and the others share what is left; with its sign the total tells which of the
    # two bounds stays in force.
    while ((quota < least) | (quota > most)).any():
        bounded = np.clip(quota, least, most)
        excess = bounded.sum() - count
        if excess >= 0:
            free &= quota >= least
        if excess <= 0:
            free &= quota <= most
        quota = bounded
        quota[free] = proportional_quotas(sizes[free], count - int(bounded[~free].sum()))
    return quota


def proportional_quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Share out `count` in proportion to `sizes` (K,), rounded by largest remainder, as (K,) int64."""
    shares = sizes * (count / max(1, sizes.sum()))
    quota = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(quota - shares, kind="stable")[: count - quota.sum()]
    quota[by_remainder] += 1
    return quota


def hold_out_test(y: np.ndarray, *, by_class: bool, share: float = TEST_SHARE) -> tuple[np.ndarray, np.ndarray]:
    """Return row indices (training, test), with this share of the rows in the test part, for data without one.

    With `by_class`, labels (N,) of any kind or one-hot (N, K) are stratified, and the only row of a class is never
    held out, as nothing would be left to train on. Otherwise rows are drawn at random. The split depends on y alone
    and not on a run's seed, so that runs of different seeds are evaluated on the same rows. N >= 2.
    """
    strata: np.ndarray = np.zeros((len(y), 1))
    rows = np.arange(len(y))
    if by_class and y.ndim <= 2 and y.size:
        strata = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
        repeated = np.flatnonzero(np.bincount(strata)[strata] > 1)
        rows = repeated if repeated.size else rows
    count = min(max(1, round(share * len(rows))), len(y) - 1)
    test = rows[split_off(strata[rows], count, np.random.default_rng(0))[1]]
    return np.setdiff1d(np.arange(len(y)), test), test
