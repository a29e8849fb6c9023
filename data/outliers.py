"""Find rows so far out that the scale of a column is theirs, and next to nothing is left of the other rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.messages import pluralize, sentence_start
from lagvis.data.scaling import Scaling, extremes, median_and_spread
from lagvis.option_text import option
from lagvis.run_warning import RunWarning

# An outlier lies at least so many times as far from the median as every other row, and as the spread of the column.
# Heavy tails have no such gap: of a million log-normal numbers the largest is about twice as large as the second.
MIN_GAP = 100.0
MIN_VARIED_ROWS = 10  # rows that differ from the median; among fewer values a large one is no exception
MAX_SHARE = 0.01  # of the rows; more of them are no exceptions
SAMPLE_ROWS = 1024  # rows by which most columns are ruled out
NEAR = 0.5  # share of MIN_GAP times the spread of the sample, below which no value can be an outlier
MAX_FIGURES = 20  # outliers that the figures of a warning list
HALF = 0.5  # distances are halved, so that they do not overflow


@dataclass(frozen=True)
class Outlier:
    """A value far out: its column and row (from 0), the median of the column, and the gap to the rows within.

    gap   its distance from the median, as a multiple of the largest among the other rows
    left  interquartile range of the column, as a share of its standard deviation
    """

    column: int
    row: int
    value: float
    median: float
    gap: float
    left: float


def check_outliers(
    dataset: Dataset,
    validation_rows: np.ndarray | None = None,
    ranges: FeatureRanges | None = None,
    *,
    standardised: bool = True,
) -> list[RunWarning]:
    """Return a warning about values far out in the features, and one about those in the targets.

    Rows that are held out for validation are left out, since they do not decide the scale. `ranges` are those of the
    features in the other rows, if known. There is no warning about features unless mean and deviation of these rows
    scale them, which `standardised` tells.
    """
    warnings = []
    rows = np.arange(len(dataset.x_train))
    if validation_rows is not None:
        rows = np.delete(rows, validation_rows)
    if dataset.x_train.dtype != np.uint8 and standardised:
        names = [dataset.describe_feature(i) for i in range(dataset.x_train.shape[1])]
        remedy = f"Correct or remove such rows, or use {option('number_scaling', 'robust')}."
        describe = dataset.encoding.describe_value if dataset.encoding else None
        warnings += outlier_warnings(dataset, names, find_outliers(dataset.x_train, rows, ranges), remedy, describe)
    if dataset.target_names:
        names = [dataset.describe_target(i) for i in range(dataset.n_out)]
        warnings += outlier_warnings(
            dataset, names, find_outliers(dataset.y_train, rows), "Correct or remove such rows."
        )
    return warnings


def outlier_warnings(
    dataset: Dataset,
    names: list[str],
    outliers: list[Outlier],
    remedy: str,
    describe_value: Callable[[int, float], str | None] | None = None,
) -> list[RunWarning]:
    """Return the warning about outliers in columns of some names; none without outliers.

    `describe_value` returns a value of a column as the user knows it, such as a date; None for other numbers.
    """
    if not outliers:
        return []
    far = max(outliers, key=lambda outlier: outlier.gap)

    def text(value: float) -> str:
        described = describe_value(far.column, value) if describe_value else None
        return described or f"{value:.6g}"

    rows, columns = {outlier.row for outlier in outliers}, {outlier.column for outlier in outliers}
    others = ""
    if len(outliers) > 1:
        where = f"{pluralize(len(columns), 'column')} of {pluralize(len(rows), 'row')}"
        others = f" There are {len(outliers):,} such values, in {where}."
    message = (
        f"{names[far.column]} is {text(far.value)} in {dataset.locate_row('training', far.row)}, {far.gap:,.0f} times "
        f"as far from the median {text(far.median)} as other rows. Standardised, half of the rows are within "
        f"{far.left:.2g} of each other, and a network hardly sees a difference.{others} {remedy}"
    )
    figures: list[dict[str, Any]] = [
        {
            "column": names[outlier.column],
            "row": dataset.locate_row("training", outlier.row),
            "value": outlier.value,
            "median": outlier.median,
            "gap": outlier.gap,
        }
        for outlier in sorted(outliers, key=lambda outlier: -outlier.gap)[:MAX_FIGURES]
    ]
    return [
        RunWarning("outliers", sentence_start(message), {"rows": len(rows), "columns": len(columns), "values": figures})
    ]


def find_outliers(columns: np.ndarray, rows: np.ndarray, ranges: FeatureRanges | None = None) -> list[Outlier]:
    """Return the outliers among some rows (indices) of columns (N, n), by column; `ranges` saves a pass over them."""
    low, high = (ranges.low, ranges.high) if ranges else extremes(columns, rows)
    varying = np.flatnonzero(low < high)
    if not len(varying):
        return []
    # Sorted along the last axis, which is much faster than to look for quartiles.
    sample = np.sort(columns[rows[:: max(1, len(rows) // SAMPLE_ROWS), None], varying].T * HALF, axis=1)
    lower, median, upper = (sample[:, len(sample[0]) * quarter // 4] for quarter in (1, 2, 3))
    spread = upper - lower
    mostly_equal = np.flatnonzero(spread == 0)
    distances = np.abs(sample[mostly_equal] - median[mostly_equal, None])
    nearest = np.min(distances, axis=1, where=distances > 0, initial=np.inf)  # of the others: at most their spread
    spread[mostly_equal] = np.where(np.isinf(nearest), 0.0, nearest)
    reach = np.maximum(high[varying] * HALF - median, median - low[varying] * HALF)
    found = []
    for i in np.flatnonzero(reach / MIN_GAP >= spread):  # a product could overflow
        found += outliers_of(columns[rows, varying[i]], rows, int(varying[i]), float(spread[i]) * MIN_GAP * NEAR)
    return found


def outliers_of(values: np.ndarray, rows: np.ndarray, column: int, near: float) -> list[Outlier]:
    """Return the outliers of one column with values (N,) in some rows (N,).

    No value whose halved distance from the median is below `near` is one.
    """
    median, spread = median_and_spread(values)
    distances = np.abs(values * HALF - median * HALF)
    if np.count_nonzero(distances) < MIN_VARIED_ROWS:
        return []
    far = np.flatnonzero(distances >= near)
    inner = max(float(np.max(distances, where=distances < near, initial=0.0)), HALF * spread)
    far = far[np.argsort(distances[far])]
    inner_of_each = np.maximum(np.concatenate([[inner], distances[far[:-1]]]), inner)
    gaps = np.flatnonzero(distances[far] >= MIN_GAP * inner_of_each)
    gaps = gaps[len(far) - gaps <= max(1, int(MAX_SHARE * len(values)))]
    if not len(gaps):
        return []
    nearest = float(inner_of_each[gaps[0]])
    deviation = float(Scaling.of(values[:, None]).deviation[0])
    return [
        Outlier(column, int(rows[i]), float(values[i]), median, float(distances[i] / nearest), spread / deviation)
        for i in far[gaps[0] :]
    ]
