"""Count test rows that are also training rows, exactly and fast: hash every row, compare only rows of equal hash."""

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import percent
from lagvis.run_warning import RunWarning

BLOCK_BYTES = 2**18  # of rows hashed or compared at a time, which the cache of a core holds


def check_shared_rows(dataset: Dataset) -> list[RunWarning]:
    """Return the warning about test rows that are also training rows; none where there are none."""
    shared, test_rows = count_shared_rows(dataset.x_train, dataset.x_test), len(dataset.x_test)
    if not shared:
        return []
    share = shared / test_rows
    are = "is also a training row" if shared == 1 else "are also training rows"
    message = (
        f"{shared:,} of {test_rows:,} test rows ({percent(share, digits=1)}) {are}: the test result will look "
        "better than it is."
    )
    return [RunWarning("shared_rows", message, {"shared_rows": shared, "test_rows": test_rows, "share": share})]


def count_shared_rows(x_train: np.ndarray, x_test: np.ndarray) -> int:
    """Count the rows of x_test (M, n) that equal a row of x_train (N, n).

    Both are uint8 or both are finite float64, in C order.
    """
    train_hashes, test_hashes = hash_rows(x_train), hash_rows(x_test)
    # A table of the first bits of the test hashes drops most training rows without a sort.
    bits = (16 * len(x_test)).bit_length()
    shift = np.uint64(64 - bits)
    in_test = np.zeros(2**bits, bool)
    in_test[test_hashes >> shift] = True
    train_rows = np.flatnonzero(in_test[train_hashes >> shift])
    train_rows = train_rows[np.argsort(train_hashes[train_rows])]
    sorted_hashes = train_hashes[train_rows]
    candidates = np.flatnonzero(np.isin(test_hashes, sorted_hashes))
    # train_rows[first[i]] to train_rows[end[i] - 1] have the hash of candidate i; mostly they all equal it.
    first = np.searchsorted(sorted_hashes, test_hashes[candidates], side="left")
    end = np.searchsorted(sorted_hashes, test_hashes[candidates], side="right")
    shared = 0
    while len(candidates):
        equal = rows_equal(x_train, train_rows[first], x_test, candidates)
        shared += int(equal.sum())
        first += 1
        left = ~equal & (first < end)
        candidates, first, end = candidates[left], first[left], end[left]
    return shared


def hash_rows(x: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash (N,) of each row (N, n); equal rows have equal hashes, and -0.0 equals 0.0."""
    row_bytes = x.shape[1] * x.itemsize
    words = -(-row_bytes // 8)
    factors = np.random.default_rng(0).integers(0, 2**64, words, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(x), np.uint64)
    step = max(1, BLOCK_BYTES // (8 * words))
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        block = (rows if rows.dtype == np.uint8 else rows + 0.0).view(np.uint8)
        if row_bytes < 8 * words:
            block = np.pad(block, ((0, 0), (0, 8 * words - row_bytes)))
        raw = block.view(np.uint64)
        mixed = raw ^ (raw >> np.uint64(32))  # brings high bits down: small whole numbers in float64 have no others
        hashes[start : start + step] = mixed @ factors
    return hashes


def rows_equal(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return whether row i[k] of a equals row j[k] of b, as bool (len(i),)."""
    step = max(1, BLOCK_BYTES // max(1, a.shape[1] * a.itemsize))
    equal = np.empty(len(i), bool)
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        equal[part] = (a[i[part]] == b[j[part]]).all(axis=1)
    return equal
