"""Count test rows that are also training rows, exactly and fast: hash every row, compare only rows of equal hash."""

from dataclasses import dataclass

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import percent
from lagvis.run_warning import RunWarning

BLOCK_BYTES = 2**18  # of rows hashed or compared at a time, which the cache of a core holds
CHECKS = {"test": "shared_rows", "validation": "shared_validation_rows"}  # by the part whose rows are counted


@dataclass(frozen=True)
class HashedRows:
    """Rows of an array, with the hash of each.

    x       (N, n) uint8 or finite float64, in C order
    rows    indices (M,) of the rows meant
    hashes  (M,) of these rows, by `hash_rows`
    """

    x: np.ndarray
    rows: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "HashedRows":
        """Return all rows of an array (N, n)."""
        return cls(x, np.arange(len(x)), hash_rows(x))

    def take(self, chosen: np.ndarray) -> "HashedRows":
        """Return the rows that an index or a mask of `rows` chooses."""
        return HashedRows(self.x, self.rows[chosen], self.hashes[chosen])


def check_shared_rows(dataset: Dataset, validation_rows: np.ndarray | None = None) -> list[RunWarning]:
    """Return the warnings about test rows, and validation rows, that are also training rows.

    `validation_rows` are the indices of those that a run holds out of x_train; None before a run is planned. A table
    whose columns hold so few values that rows must repeat has none.
    """
    training = HashedRows.of(dataset.x_train)
    parts = [("test", training, HashedRows.of(dataset.x_test), "the test result")]
    if validation_rows is not None and len(validation_rows):
        held_out = np.zeros(len(dataset.x_train), bool)
        held_out[validation_rows] = True
        result = "the validation result, by which the best epoch is chosen,"
        parts.append(("validation", training.take(~held_out), training.take(held_out), result))
    warnings = []
    for part, learned, judged, result in parts:
        shared, rows = count_equal_rows(learned, judged), len(judged.rows)
        if shared and not must_repeat(dataset):
            are = "is also a training row" if shared == 1 else "are also training rows"
            message = (
                f"{shared:,} of {rows:,} {part} rows ({percent(shared / rows, digits=1)}) {are}: {result} will look "
                "better than it is, unless these are other samples with equal values."
            )
            figures = {"shared_rows": shared, f"{part}_rows": rows, "share": shared / rows}
            warnings.append(RunWarning(CHECKS[part], message, figures))
    return warnings


def must_repeat(dataset: Dataset) -> bool:
    """Tell whether the columns of a table hold so few values that there are fewer different rows than training rows."""
    if not dataset.feature_columns:
        return False
    columns = np.array(dataset.feature_columns)
    possible, rows = 1, len(dataset.x_train)
    for column in np.unique(columns):
        possible *= len(np.unique(dataset.x_train[:, columns == column], axis=0))
        if possible > rows:
            return False
    return True


def count_equal_rows(learned: HashedRows, judged: HashedRows) -> int:
    """Count the rows of `judged` that equal a row of `learned`; both are uint8, or both are float64."""
    # A table of the first bits of the judged hashes drops most of the other rows without a sort.
    bits = (16 * len(judged.rows)).bit_length()
    shift = np.uint64(64 - bits)
    is_judged = np.zeros(2**bits, bool)
    is_judged[judged.hashes >> shift] = True
    learned = learned.take(is_judged[learned.hashes >> shift])
    learned = learned.take(np.argsort(learned.hashes))
    candidates = judged.take(np.isin(judged.hashes, learned.hashes))
    # learned.rows[first[i]] to learned.rows[end[i] - 1] have the hash of candidate i; mostly they all equal it.
    first = np.searchsorted(learned.hashes, candidates.hashes, side="left")
    end = np.searchsorted(learned.hashes, candidates.hashes, side="right")
    shared, left = 0, candidates.rows
    while len(left):
        equal = rows_equal(learned.x, learned.rows[first], judged.x, left)
        shared += int(equal.sum())
        first += 1
        remaining = ~equal & (first < end)
        left, first, end = left[remaining], first[remaining], end[remaining]
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
