"""Data frames with columns of text, categories or dates, for the estimators."""

from typing import Any

import numpy as np

from lagvis.data.array_source import LABELS, NUMBERS
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.tables.data_frame import ARROW, PANDAS, column_names, frame_library
from lagvis.data.tables.frame_source import read_source

DEFAULT_LABEL = "target"  # name of targets that have none


def has_columns_without_numbers(data: Any) -> bool:
    """Return whether rows are a data frame or Arrow table of which a column holds text, categories or dates."""
    library = frame_library(data)
    if not library or type(data).__name__ == "LazyFrame":
        return False
    types = as_polars(data.slice(0, 0)).dtypes if library == ARROW else data.dtypes
    return not all(map(holds_numbers, types))


def as_polars(table: Any) -> Any:
    """Return an Arrow table as a data frame of polars."""
    import polars as pl

    return pl.from_arrow(table)


def holds_numbers(kind: Any) -> bool:
    """Return whether a type of a column of pandas or polars holds numbers or truth values."""
    if callable(getattr(kind, "is_numeric", None)):  # of polars
        return bool(kind.is_numeric()) or str(kind) == "Boolean"
    return getattr(kind, "kind", "O") in "biuf"  # of NumPy and pandas


def source_of_frame(frame: Any, targets: np.ndarray, kind: str, name: str | None) -> Source:
    """Return a data frame and its targets (N,) or (N, n) as the source of a data set, as `Dataset.from_frame` reads it.

    kind  "classes", "labels" or "numbers"
    name  of the targets, if they have one
    """
    columns = targets.reshape(len(targets), -1).T
    names = label_names(name, len(columns), {str(known) for known in column_names(frame)})
    options = ReadOptions(label=",".join(names), multi_label=kind == LABELS)
    table = with_columns(frame, dict(zip(names, columns, strict=True)))
    return read_source(table, None, regression=kind == NUMBERS, options=options, test=0.0, name="X")


def label_names(name: str | None, count: int, known: set[str]) -> list[str]:
    """Return so many names of targets that are not those of columns."""
    label = name if name and name.isidentifier() else DEFAULT_LABEL
    while any(column.startswith(label) for column in known):
        label += "_"
    return [label] if count == 1 else [f"{label}_{i}" for i in range(count)]


def with_columns(frame: Any, columns: dict[str, np.ndarray]) -> Any:
    """Return a data frame with more columns; the frame itself stays as it is."""
    library = frame_library(frame)
    if library == PANDAS:
        return frame.assign(**columns)
    import polars as pl

    made = as_polars(frame) if library == ARROW else frame
    return made.with_columns([pl.Series(name, values) for name, values in columns.items()])
