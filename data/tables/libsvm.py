"""Read LIBSVM (SVMlight) text: a label and pairs index:value in each line, `1 3:0.5 7:1`, as a dense table.

An index that a line lacks is 0. Indices begin at 0 or 1: the columns are called by the index of the file, "feature 3".
"""

import math
import re
from array import array
from collections.abc import Sequence

import numpy as np

from lagvis.data.messages import shorten
from lagvis.data.tables.cells import parse_column
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.text import inspect_text, read_lines
from lagvis.data.tables.typed_table import NO_SEPARATOR, TableSource, typed_table
from lagvis.errors import DataError

MAX_INDEX = 100_000
MAX_DENSE_RATIO, MIN_DENSE_LIMIT, MAX_DENSE_BYTES = 1000, 2**24, 2**33  # of the dense table
FEATURE_NAME = re.compile(r"feature ([0-9]{1,6})")


def read_libsvm(source: TableSource) -> TableFrame:
    """Read a file in the LIBSVM format. DataError names the line that is not in it."""
    import polars as pl

    file = inspect_text(source.path, source.name)
    labels: list[str] = []
    lines: list[int] = []
    rows, indices, values = array("q"), array("q"), array("d")
    has_queries = False
    for line, text in read_lines(file, join_quoted=False):
        label, *pairs = text.partition("#")[0].split() or [""]
        if not label:
            continue
        if pairs and pairs[0].startswith("qid:"):
            has_queries = True
            del pairs[0]
        last = -1
        for pair in pairs:
            index, value = parse_pair(f"{source.name}, line {line}", pair)
            if index <= last:
                raise DataError(
                    f"{source.name}, line {line}: the index {index} stands behind {last}; expected ascending indices"
                )
            last = index
            rows.append(len(labels))
            indices.append(index)
            values.append(value)
        if "," in label:
            raise DataError(f"{source.name}, line {line} has the labels {shorten(label)}; expected one label a row")
        labels.append(label)
        lines.append(line)
    low, high = index_range(indices, source.hints.column_names)
    check_dense_size(source, len(labels), high + 1 - low)
    x = np.zeros((len(labels), high + 1 - low))
    x[np.frombuffer(rows, np.int64), np.frombuffer(indices, np.int64) - low] = np.frombuffer(values, np.float64)
    label_column = parse_column(pl.Series(labels, dtype=pl.String), NO_SEPARATOR, keep_text=False).cells
    return typed_table(
        source,
        [label_column, *pl.from_numpy(x, orient="row").get_columns()],
        ["label", *(f"feature {index}" for index in range(low, high + 1))],
        f"LIBSVM, indices from {low}",
        row_location=lambda row: f"line {lines[row]}",
        notices=[f"{source.short_name}: the query numbers (qid) are not used."] if has_queries else [],
        label=0,
        sha256=file.sha256,
    )


def parse_pair(place: str, pair: str) -> tuple[int, float]:
    """Return index and value of a pair index:value; `place` names the line in messages."""
    index, colon, value = pair.partition(":")
    try:
        if not colon or not index.isascii() or not index.isdigit() or "_" in value:
            raise ValueError
        number = float(value)
    except ValueError:
        raise DataError(f"{place} holds {shorten(pair)!r}; expected index:value, such as 3:0.5") from None
    if not math.isfinite(number):
        raise DataError(f"{place} holds {shorten(pair)!r}; expected a finite number")
    if len(index) > len(str(MAX_INDEX)) or int(index) > MAX_INDEX:
        raise DataError(f"{place} holds the index {shorten(index)}; expected at most {MAX_INDEX:,}")
    return int(index), number


def index_range(indices: Sequence[int], known_names: Sequence[str]) -> tuple[int, int]:
    """Return the first and the last index of the columns: those of the file and of the training table."""
    known = [int(found[1]) for name in known_names if (found := FEATURE_NAME.fullmatch(name))]
    every = [*(indices[:] and (min(indices), max(indices))), *known]
    return (0 if 0 in every else 1), max([*every, 1])


def check_dense_size(source: TableSource, n_rows: int, n_columns: int) -> None:
    """Raise DataError for a sparse file that would be too large as a dense table."""
    size = 8 * n_rows * n_columns
    limit = min(MAX_DENSE_BYTES, max(MIN_DENSE_LIMIT, source.path.stat().st_size * MAX_DENSE_RATIO))
    if size > limit:
        raise DataError(
            f"{source.name} is sparse: {n_rows:,} rows of its {n_columns:,} columns would take {size:,} bytes; "
            f"expected at most {limit:,}: give fewer features, as of sklearn.decomposition.TruncatedSVD"
        )
