"""Turn the cells of tables into arrays of features."""

import math

import numpy as np

from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import shorten
from lagvis.data.tables.cell_values import CellError
from lagvis.data.tables.encoding import ColumnEncoding, TableEncoding
from lagvis.data.tables.feature_type import MIN_BRIGHTEST, NUMBERS, PIXELS, image_side
from lagvis.data.tables.frame import NUMBER, TableFrame
from lagvis.errors import DataError
from lagvis.option_text import option, setting


def feature_array(
    table: TableFrame, features: list[int], encoding: TableEncoding, feature_type: str, spec: InputSpec | None = None
) -> np.ndarray:
    """Return the features of a table: float64 (N, n_features), or uint8 (N, H, H) where they are pixels.

    `features` are the indices of the columns of `encoding`. With `spec` the result has its shape and type. DataError
    for pixels that are not whole numbers 0..255.
    """
    x = encoded(table, features, encoding)
    if spec:
        return network_rows(table, x, spec).reshape(-1, *spec.shape)
    side = image_side(x.shape[1]) if encoding.is_plain else 0
    if feature_type == PIXELS:
        side = math.isqrt(x.shape[1])
        if side * side != x.shape[1]:
            raise DataError(
                f"{table.name} has {x.shape[1]} feature columns; expected a square number of them for "
                f"pictures (64 for 8x8); use {option('feature_type', NUMBERS)}"
            )
        if (row := first_row_not_bytes(x)) is not None:
            raise DataError(
                f"{table.locate_row(row)} holds other features than whole numbers 0..255, which pixels are; use "
                f"{option('feature_type', NUMBERS)}"
            )
    elif feature_type == NUMBERS or not side or not are_bytes(x) or x.max() < MIN_BRIGHTEST:
        return x.astype(np.float64, copy=False)
    return x.astype(np.uint8, copy=False).reshape(-1, side, side)


def encoded(table: TableFrame, features: list[int], encoding: TableEncoding) -> np.ndarray:
    """Return the features (N, n_features) of a table: float64, or uint8 where polars stores all of them so.

    DataError for cells that the columns do not take.
    """
    for c in features:
        if c in table.unreadable:
            raise DataError(
                f"{table.name}: {table.describe_column(c)} holds {table.unreadable[c]}, and the network learned from "
                "numbers or texts there; give those, or leave its cells empty"
            )
    complete = not any(table.column(c).null_count() for c in features)
    if encoding.is_plain and complete and all(table.kind(c) == NUMBER for c in features):
        cells = table.frame.select([str(c) for c in features]).to_numpy(order="c")
        return cells if cells.dtype == np.uint8 else np.ascontiguousarray(cells, np.float64)
    try:
        return encoding.apply([table.column(c) for c in features])
    except CellError as error:
        c, column = features[error.column], encoding.columns[error.column]
        table.check_column(c, is_trained=True)
        raise DataError(
            f"{table.locate_row(error.row)}: {table.describe_column(c)} holds {shorten(error.text)!r}, expected "
            f"{error.expected}, as in training; correct the cell or empty it{remedy(column)}"
        ) from None


def remedy(column: ColumnEncoding) -> str:
    """Return how else a column of dates could be learned from; empty for other columns."""
    return (
        f", or train with {setting('category')} or {setting('drop')} for this column" if column.kind == "date" else ""
    )


def network_rows(table: TableFrame, x: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the features as a network may take them, (N, n_features): uint8 where it takes bytes, or float64.

    DataError for other numbers where the network takes bytes and the values in training are not known.
    """
    if not spec.is_bytes or are_bytes(x):
        return x.astype(np.uint8 if spec.is_bytes else np.float64, copy=False)
    if spec.ranges is None and (row := first_row_not_bytes(x)) is not None:
        raise DataError(
            f"{table.locate_row(row)} holds other features than whole numbers 0..255, which the network was trained on"
        )
    return x


def are_bytes(x: np.ndarray) -> bool:
    """Tell whether all numbers are whole, from 0 to 255."""
    return x.dtype == np.uint8 or bool(x.min() >= 0 and x.max() <= 255 and (x == np.floor(x)).all())


def first_row_not_bytes(x: np.ndarray) -> int | None:
    """Return the index of the first row that holds another number than 0..255, whole; None where there is none."""
    if are_bytes(x):
        return None
    return int(np.flatnonzero(((x < 0) | (x > 255) | (x != np.floor(x))).any(axis=1))[0])
