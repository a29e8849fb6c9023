"""Turn the parsed rows of tables into arrays of features and labels."""

import math
import re
from collections.abc import Sequence

import numpy as np

from lagvis.data.input_spec import InputSpec
from lagvis.data.labels import MAX_EXACT_INT
from lagvis.data.tables.columns import is_text_label
from lagvis.data.tables.dialect import NUMBER
from lagvis.data.tables.feature_type import NUMBERS, PIXELS, image_side
from lagvis.data.tables.parser import Table
from lagvis.errors import DataError

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")


def feature_arrays(tables: list[Table], feature_type: str, spec: InputSpec | None = None) -> list[np.ndarray]:
    """Return the features of each table: float64 (N, n_features), or uint8 (N, H, H) where they are pixels.

    With `spec` they are of its shape and type. DataError for pixels that are not whole numbers 0..255.
    """
    if spec:
        return [network_rows(table, spec).reshape(-1, *spec.shape) for table in tables]
    width = len(tables[0].features)
    side = image_side(width)
    if feature_type == PIXELS:
        side = math.isqrt(width)
        if side * side != width:
            raise DataError(
                f"{tables[0].dialect.file.name} has {width} feature columns; expected a square number of them for "
                "pictures (64 for 8x8); use --feature-type numbers"
            )
        for table in tables:
            if (row := first_row_not_bytes(table.x)) is not None:
                raise DataError(
                    f"{table.dialect.file.name}, line {table.rows.lines[row]} holds other features than whole numbers "
                    "0..255, which pixels are; use --feature-type numbers"
                )
    elif feature_type == NUMBERS or not side or any(not are_bytes(table.x) for table in tables):
        return [table.x.astype(np.float64, copy=False) for table in tables]
    return [table.x.astype(np.uint8, copy=False).reshape(-1, side, side) for table in tables]


def network_rows(table: Table, spec: InputSpec) -> np.ndarray:
    """Return the features as a network may take them, (N, n_features): uint8 where it takes bytes, or float64.

    DataError for other numbers where the network takes bytes and the values in training are not known.
    """
    if not spec.is_bytes or are_bytes(table.x):
        return table.x.astype(np.uint8 if spec.is_bytes else np.float64, copy=False)
    if spec.ranges is None and (row := first_row_not_bytes(table.x)) is not None:
        raise DataError(
            f"{table.dialect.file.name}, line {table.rows.lines[row]} holds other features than whole numbers 0..255, "
            "which the network was trained on"
        )
    return table.x.astype(np.float64, copy=False)


def are_bytes(x: np.ndarray) -> bool:
    """Tell whether all numbers are whole, from 0 to 255."""
    return x.dtype == np.uint8 or bool(x.min() >= 0 and x.max() <= 255 and (x == np.floor(x)).all())


def first_row_not_bytes(x: np.ndarray) -> int | None:
    """Return the index of the first row that holds another number than 0..255, whole; None where there is none."""
    if are_bytes(x):
        return None
    return int(np.flatnonzero(((x < 0) | (x > 255) | (x != np.floor(x))).any(axis=1))[0])


def label_arrays(tables: list[Table], regression: bool) -> list[np.ndarray]:
    """Return the labels of each table: numbers (N,) or (N, columns), or integers or text (N,), of one kind in all."""
    labels = tables[0].labels
    if not is_text_label(labels, regression):
        return [table.rows.numbers[:, -len(labels) :].astype(np.float64) for table in tables]
    integers = {text: parse_integer(text) for table in tables for text in table.rows.label_texts}
    if all(value is not None for value in integers.values()):
        return [np.array([integers[text] for text in table.rows.label_texts], np.int64) for table in tables]
    others = {text for text, value in integers.items() if value is None}
    if all(NUMBER.fullmatch(text) and not text.isdecimal() for text in others):
        table, row = next(
            (table, row)
            for table in tables
            for row, text in enumerate(table.rows.label_texts)
            if integers[text] is None
        )
        raise DataError(
            f"{table.dialect.file.name}, line {table.rows.lines[row]}: "
            f"{table.dialect.describe_column(table.labels[0])} is taken as the label and holds "
            f"{table.rows.label_texts[row]}, which is not a class; name the label column with --label, or predict "
            "the numbers of this one with --loss mse"
        )
    return [canonical_labels(table.rows.label_texts) for table in tables]


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
