"""Count test rows that are also training rows, exactly and fast: hash every row, compare only rows of equal hash."""

from dataclasses import dataclass

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import percent
from lagvis.data.tables.encoding import TableEncoding
from lagvis.run_warning import RunWarning

BLOCK_BYTES = 2**18  # of rows hashed or compared at a time, which the cache of a core holds
MAX_CHANCE_ROWS = 5000  # of the samples by which the share of equal rows that chance gives is estimated
MAX_CHANCE_RATIO = 10.0  # columns depend on each other, so that more rows are equal than if they did not
NO_OTHER_ROW = 1e-9  # stands for a frequency of 0
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

    `validation_rows` are the indices of those that a run holds out of x_train; None before a run is planned.
    Rows of a table that are equal by chance, as its columns hold few values, give none.
    """
    training = HashedRows.of(dataset.x_train)
    parts = [("test", training, HashedRows.of(dataset.x_test), "the test result")] if len(dataset.x_test) else []
    if validation_rows is not None and len(validation_rows):
        held_out = np.zeros(len(dataset.x_train), bool)
        held_out[validation_rows] = True
        result = "the validation result, by which the best epoch is chosen,"
        parts.append(("validation", training.take(~held_out), training.take(held_out), result))
    warnings = []
    for part, learned, judged, result in parts:
        shared, rows = count_equal_rows(learned, judged), len(judged.rows)
        if shared and not is_by_chance(dataset.encoding, learned, judged, shared / rows):
            are = "is also a training row" if shared == 1 else "are also training rows"
            message = (
                f"{shared:,} of {rows:,} {part} rows ({percent(shared / rows, digits=1)}) {are}: {result} will look "
                "better than it is, unless these are other samples with equal values."
            )
            figures = {"shared_rows": shared, f"{part}_rows": rows, "share": shared / rows}
            warnings.append(RunWarning(CHECKS[part], message, figures))
    return warnings


def count_shared_test_rows(dataset: Dataset) -> int:
    """Count the test rows that are also training rows."""
    return count_equal_rows(HashedRows.of(dataset.x_train), HashedRows.of(dataset.x_test))


def is_by_chance(encoding: TableEncoding | None, learned: HashedRows, judged: HashedRows, share: float) -> bool:
    """Tell whether so few different rows are possible that a `share` of those judged would equal one learned anyway.

    As in a table of a few categories, where every row has its like. A judged row equals one of the n rows learned from
    with probability 1 - (1 - product of p_j)^n, if columns are independent. p_j is the frequency of the value in column
    j among the rows learned from, without a copy of the row. A share that is at most MAX_CHANCE_RATIO times the mean
    shows no copies. In a table of a single column equal values are no copies.
    """
    if encoding is None or len(encoding.columns) == 1:
        return encoding is not None
    sample = learned.take(np.arange(0, len(learned.rows), max(1, len(learned.rows) // MAX_CHANCE_ROWS)))
    asked = judged.take(np.arange(0, len(judged.rows), max(1, len(judged.rows) // MAX_CHANCE_ROWS)))
    has_copy = count_values(sample.hashes, asked.hashes) > 0
    log_probability = np.zeros(len(asked.rows))
    for _, place in encoding.slices():
        values, wanted = (hash_rows(np.ascontiguousarray(part.x[part.rows, place])) for part in (sample, asked))
        others = np.maximum(count_values(values, wanted) - has_copy, NO_OTHER_ROW)
        log_probability += np.log(others / len(sample.rows))
    probability = np.minimum(np.exp(log_probability), 1 - NO_OTHER_ROW)
    expected = -np.expm1(len(learned.rows) * np.log1p(-probability))
    return bool(share <= MAX_CHANCE_RATIO * expected.mean())


def count_values(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how often each of the wanted numbers (M,) is among values (N,)."""
    different, counts = np.unique(values, return_counts=True)
    index = np.minimum(np.searchsorted(different, wanted), len(different) - 1)
    return np.where(different[index] == wanted, counts[index], 0)


def count_equal_rows(learned: HashedRows, judged: HashedRows) -> int:
    """Count the rows of `judged` that equal a row of `learned`; both are uint8, or both are float64."""
    # A table of the first bits of the judged hashes drops most of the other rows without a sort.
    bits = (16 * len(judged.rows)).bit_length()
    shift = np.uint64(64 - bits)
    is_judged = np.zeros(2**bits, bool)
    is_judged[judged.hashes >> shift] = True
    learned = learned.take(is_judged[learned.hashes >> shift])
    learned = learned.take(np.argsort(learned.hashes))
    # learned.rows[first[i]] to learned.rows[end[i] - 1] have the hash of judged row i; mostly they all equal it.
    first = np.searchsorted(learned.hashes, judged.hashes, side="left")
    end = np.searchsorted(learned.hashes, judged.hashes, side="right")
    has_candidate = first < end
    shared, left, first, end = 0, judged.rows[has_candidate], first[has_candidate], end[has_candidate]
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
