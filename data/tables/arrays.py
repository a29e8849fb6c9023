"""Turn the parsed rows of tables into arrays of features and labels."""

import math
import re
from collections.abc import Sequence

import numpy as np

from lagvis.data.input_spec import InputSpec
from lagvis.data.labels import MAX_EXACT_INT
from lagvis.data.tables.columns import is_text_label
from lagvis.data.tables.dialect import NUMBER
from lagvis.data.tables.encoding import ColumnEncoding, TableEncoding
from lagvis.data.tables.feature_type import NUMBERS, PIXELS, image_side
from lagvis.data.tables.frame import BOOLEAN, TableFrame
from lagvis.data.tables.frame import NUMBER as COLUMN_NUMBER
from lagvis.errors import DataError

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")


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
                "pictures (64 for 8x8); use --feature-type numbers"
            )
        if (row := first_row_not_bytes(x)) is not None:
            raise DataError(
                f"{table.locate_row(row)} holds other features than whole numbers 0..255, which pixels are; use "
                "--feature-type numbers"
            )
    elif feature_type == NUMBERS or not side or not are_bytes(x):
        return x
    return x.astype(np.uint8, copy=False).reshape(-1, side, side)


def encoded(table: TableFrame, features: list[int], encoding: TableEncoding) -> np.ndarray:
    """Return the features (N, n_features) float64 of a table; DataError for cells that its columns do not take."""
    complete = not any(table.column(c).null_count() for c in features)
    if encoding.is_plain and complete and all(table.kind(c) == COLUMN_NUMBER for c in features):
        cells = table.frame.select([str(c) for c in features])
        return np.ascontiguousarray(cells.to_numpy(order="c"), np.float64)
    for c, column in zip(features, encoding.columns, strict=True):
        check_kind(table, c, column)
    return encoding.apply([table.column(c) for c in features])


def check_kind(table: TableFrame, c: int, column: ColumnEncoding) -> None:
    """Raise DataError if a column cannot be encoded as it was in training."""
    found = table.kind(c)
    if column.kind not in ("category", found):
        table.check_column(c)
        raise DataError(
            f"{table.name}: {table.describe_column(c)} holds {found}s, the network learned from {column.kind}s there"
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


def label_arrays(tables: list[tuple[TableFrame, list[int]]], regression: bool) -> list[np.ndarray]:
    """Return the labels of tables with their label columns: numbers (N,) or (N, columns), or text (N,), of one kind."""
    if not is_text_label(tables[0][1], regression):
        return [number_labels(table, labels) for table, labels in tables]
    texts = [label_texts(table, labels[0]) for table, labels in tables]
    integers = {text: parse_integer(text) for part in texts for text in part}
    if all(value is not None for value in integers.values()):
        return [np.array([integers[text] for text in part], np.int64) for part in texts]
    others = {text for text, value in integers.items() if value is None}
    if all(NUMBER.fullmatch(text) and not text.isdecimal() for text in others):
        (table, labels), row = next(
            (read, row)
            for read, part in zip(tables, texts, strict=True)
            for row, text in enumerate(part)
            if integers[text] is None
        )
        raise DataError(
            f"{table.locate_row(row)}: {table.describe_column(labels[0])} is taken as the label and holds "
            f"{label_texts(table, labels[0])[row]}, which is not a class; name the label column with --label, or "
            "predict the numbers of this one with --loss mse"
        )
    return [canonical_labels(part) for part in texts]


def label_texts(table: TableFrame, c: int) -> list[str]:
    """Return the cells of a column as texts; that of a missing cell is empty."""
    import polars as pl

    cells = table.column(c)
    if cells.dtype.is_float() and cells.drop_nulls().floor().eq(cells.drop_nulls()).all():
        cells = cells.cast(pl.Int64)
    return list(cells.cast(pl.String).fill_null("").to_list())


def number_labels(table: TableFrame, labels: list[int]) -> np.ndarray:
    """Return label columns of numbers as (N, columns) float64, NaN where a cell is missing."""
    import polars as pl

    for c in labels:
        if table.kind(c) not in (COLUMN_NUMBER, BOOLEAN):
            raise DataError(
                f"{table.name}: {table.describe_column(c)} is the label and holds {table.kind(c)}; expected numbers"
            )
    return np.column_stack([table.column(c).cast(pl.Float64).fill_null(np.nan).to_numpy() for c in labels])


def canonical_labels(texts: Sequence[str]) -> np.ndarray:
    """Return labels (N,) of which 1 and 1.0 are one class, beside text too."""
    names = {text: text if (value := parse_integer(text)) is None else str(value) for text in {*texts}}
    return np.array([names[text] for text in texts])


def parse_integer(text: str) -> int | None:
    """Return the integer written 3, 3.0 or 3e0; None for others, and for codes such as 007."""
    if INTEGER.fullmatch(text):
        return int(text)
    if not NUMBER.fullmatch(text) or re.match(r"[+-]?0[0-9]", text) or text.isdecimal():
        return None
    value = float(text.replace(",", "."))
    return int(value) if abs(value) < MAX_EXACT_INT and value == math.floor(value) else None
