"""Turn the label columns of tables into arrays of classes or numbers."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.label_columns import holds_pair
from lagvis.data.tables.cell_values import cells_as_text
from lagvis.data.tables.dialect import NUMBER
from lagvis.data.tables.frame import BOOLEAN, TableFrame
from lagvis.data.tables.frame import NUMBER as NUMBER_COLUMN
from lagvis.errors import DataError
from lagvis.option_text import join_options, option, targets_option

if TYPE_CHECKING:
    import polars as pl

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")


def is_text_label(labels: list[int], regression: bool) -> bool:
    """Tell whether labels are kept as text: one column of classes, neither numbers to predict nor one-hot columns."""
    return len(labels) == 1 and not regression


def label_arrays(
    tables: list[tuple[TableFrame, list[int]]],
    regression: bool,
    *,
    as_text: bool = False,
    multi_label: bool = False,
) -> list[np.ndarray]:
    """Return the labels of tables with their label columns: numbers (N,) or (N, columns), or text (N,), of one kind.

    With `as_text` classes stay text, whatever they hold; with `multi_label` all columns become text (N, columns).
    """
    if multi_label:
        return [
            np.column_stack([canonical_labels(label_texts(table.column(c))) for c in labels])
            for table, labels in tables
        ]
    if not is_text_label(tables[0][1], regression):
        return [number_labels(table, labels) for table, labels in tables]
    texts = [label_texts(table.column(labels[0])) for table, labels in tables]
    if as_text:
        return [canonical_labels(part) for part in texts]
    integers = {text: parse_integer(text) for text in {text for part in texts for text in part}}
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
            f"{label_texts(table.column(labels[0]))[row]}, which is not a class; name the label column with "
            f"{option('label')}, or predict the numbers of this one with {targets_option('numbers')}"
        )
    return [canonical_labels(part) for part in texts]


def label_texts(cells: "pl.Series") -> list[str]:
    """Return the cells of a column as texts; that of a missing cell is empty."""
    return list(cells_as_text(cells).fill_null("").to_list())


def number_labels(table: TableFrame, labels: list[int]) -> np.ndarray:
    """Return label columns of numbers as (N, columns) float64, NaN where a cell is missing."""
    import polars as pl

    for c in labels:
        if table.kind(c) not in (NUMBER_COLUMN, BOOLEAN):
            hint = ""
            if len(labels) > 1 and all(holds_pair({*label_texts(table.column(c).drop_nulls())}) for c in labels):
                names = ",".join(table.names[c] for c in labels)
                hint = f", or {join_options(option('label', names), targets_option('labels'))} for labels of two values"
            raise DataError(
                f"{table.name}: {table.describe_column(c)} is the label and holds {table.kind(c)}; expected "
                f"numbers{hint}"
            )
    return np.column_stack([table.column(c).cast(pl.Float64).fill_null(np.nan).to_numpy() for c in labels])


def canonical_labels(texts: Sequence[str]) -> np.ndarray:
    """Return labels (N,) with 1 and 1.0 as one class."""
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
