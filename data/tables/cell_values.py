"""Convert the cells of a column, of whatever type, to numbers, booleans, dates or texts."""

from typing import TYPE_CHECKING

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.tables.dates import TIME_OF_DAY, parse_dates, temporal_form, temporal_seconds

if TYPE_CHECKING:
    import polars as pl


class CellError(ValueError):
    """Raised for a cell that its column does not take.

    row       its index
    text      what it holds
    expected  what was expected there
    column    index of the column, where it is one of several
    """

    def __init__(self, row: int, text: str, expected: str, column: int = 0) -> None:
        super().__init__(f"row {row} holds {text}, expected {expected}")
        self.row, self.text, self.expected, self.column = row, text, expected, column


def numbers(cells: "pl.Series") -> np.ndarray:
    """Return cells (N,) as float64, NaN where one is missing; CellError for a cell that is no finite number."""
    import polars as pl

    if cells.dtype.is_temporal():
        values = temporal_seconds(cells)
    else:
        values = cells.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return check_cells(cells, np.where(np.isinf(values), np.nan, values), "a number")


def booleans(cells: "pl.Series") -> np.ndarray:
    """Return cells (N,) of true and false, in any case, as 1 and 0, NaN where one is missing; CellError for others."""
    import polars as pl

    if cells.dtype == pl.String:
        known = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
        values = cells.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Float64)
    else:
        values = cells.cast(pl.Float64, strict=False)
    found = values.fill_null(np.nan).to_numpy()
    return check_cells(cells, np.where((found == 0) | (found == 1), found, np.nan), "true or false")


def date_seconds(cells: "pl.Series", form: str) -> np.ndarray:
    """Return cells (N,) as seconds since 1970, NaN where one is missing; CellError for one in another form."""
    import polars as pl

    expected = f"a date as {form}" if form != TIME_OF_DAY else f"a time as {form}"
    if cells.dtype == pl.String:
        return check_cells(cells, parse_dates(cells, form), expected)
    if not cells.dtype.is_temporal() or (temporal_form(cells) == TIME_OF_DAY) != (form == TIME_OF_DAY):
        return check_cells(cells, np.full(len(cells), np.nan), expected)
    return temporal_seconds(cells)


def check_cells(cells: "pl.Series", values: np.ndarray, expected: str) -> np.ndarray:
    """Return values (N,) of cells; CellError for the first that is NaN although its cell is not missing."""
    wrong = np.isnan(values) & cells.is_not_null().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise CellError(row, str(cells[row]), expected)
    return values


def cells_as_text(cells: "pl.Series") -> "pl.Series":
    """Return cells of any type as texts; whole numbers have no decimals."""
    import polars as pl

    if cells.dtype.is_float():
        values = cells.drop_nulls().to_numpy()
        if ((np.floor(values) == values) & (np.abs(values) < MAX_EXACT_INT)).all():
            cells = cells.cast(pl.Int64)
    return cells.cast(pl.String)
