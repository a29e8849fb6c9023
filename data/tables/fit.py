"""Decide by the training rows how the columns of a table become features."""

from typing import TYPE_CHECKING

import numpy as np

from lagvis.data.labels import natural_order
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.encoding import (
    MIN_MISSING_SHARE,
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    LeftOut,
    NumberEncoding,
    TableEncoding,
)
from lagvis.data.tables.frame import BOOLEAN, NUMBER, TableFrame

if TYPE_CHECKING:
    import polars as pl


def fit_encoding(
    table: TableFrame, features: list[int], ids: list[int], training_rows: np.ndarray, options: ReadOptions
) -> TableEncoding:
    """Return how the columns `features` (indices) become features, by the training rows (indices) of a table.

    Columns that hold nothing to learn from are left out. DataError where none remains, or an option does not fit.
    """
    training = table.take(training_rows)
    columns: list[ColumnEncoding] = []
    left_out = [LeftOut(table.names[c], c, "names a row", is_id=True) for c in ids]
    for c in features:
        cells, name = training.column(c), table.names[c]
        missing = cells.null_count() > MIN_MISSING_SHARE * len(cells)
        if table.kind(c) == NUMBER:
            columns.append(NumberEncoding(name, c, mean_of(cells), missing))
        elif table.kind(c) == BOOLEAN:
            columns.append(BooleanEncoding(name, c, mean_of(cells), missing))
        else:
            levels = natural_order(cells.drop_nulls().unique().to_list())
            columns.append(CategoryEncoding(name, c, levels, missing=cells.null_count() > 0))
    return TableEncoding(tuple(columns), tuple(left_out))


def mean_of(cells: "pl.Series") -> float:
    """Return the mean of the cells that are not missing; 0 if there is none."""
    import polars as pl

    values = cells.drop_nulls().cast(pl.Float64).to_numpy()
    return float(values.mean()) if len(values) else 0.0
