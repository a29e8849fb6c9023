"""Report what a table holds that the training rows did not: levels of categories, and missing cells."""

from typing import Any

from lagvis.data.messages import pluralize, shorten
from lagvis.data.tables.encoding import CategoryEncoding, TableEncoding
from lagvis.data.tables.frame import TableFrame
from lagvis.run_warning import RunWarning

MAX_NAMED_LEVELS, MAX_FIGURE_LEVELS, MAX_NAMED_COLUMNS = 3, 20, 3


def check_unseen(table: TableFrame, features: list[int], encoding: TableEncoding, name: str = "") -> list[RunWarning]:
    """Return warnings about levels, and missing cells, that no training row had.

    `features` are the indices of the columns of `encoding` in the table; `name` is that of the rows in the sentences,
    by default that of the table.
    """
    unseen = Unseen(encoding)
    unseen.add(table, features)
    return unseen.warnings(name or table.short_name)


class Unseen:
    """Levels, and missing cells, that no training row had, in the pieces of a table."""

    def __init__(self, encoding: TableEncoding) -> None:
        """Begin without rows."""
        self._encoding = encoding
        self._levels: list[dict[str, None]] = [{} for _ in encoding.columns]  # in the order of the rows
        self._rows = [0] * len(encoding.columns)
        self._missing = [0] * len(encoding.columns)

    def add(self, table: TableFrame, features: list[int]) -> None:
        """Add the rows of a piece; `features` are the indices of the columns of the encoding in it."""
        for i, (c, column) in enumerate(zip(features, self._encoding.columns, strict=True)):
            cells = table.column(c)
            if isinstance(column, CategoryEncoding) and len(unseen := column.unseen(cells)):
                self._levels[i] |= dict.fromkeys(unseen.unique(maintain_order=True).to_list())
                self._rows[i] += len(unseen)
            if not column.missing_cells:
                self._missing[i] += cells.null_count()

    def warnings(self, name: str) -> list[RunWarning]:
        """Return the warnings about all rows, which are called `name`."""
        levels: list[dict[str, Any]] = []
        missing: list[dict[str, Any]] = []
        for i, column in enumerate(self._encoding.columns):
            if found := list(self._levels[i]):
                levels.append({"column": column.name, "levels": found[:MAX_FIGURE_LEVELS], "level_count": len(found),
                               "rows": self._rows[i]})  # fmt: skip
            if self._missing[i]:
                missing.append({"column": column.name, "rows": self._missing[i]})
        return [*levels_warning(name, levels), *missing_warning(name, missing)]


def levels_warning(name: str, columns: list[dict[str, Any]]) -> list[RunWarning]:
    """Return the warning about levels that training did not have, given those of each column; none without any."""
    if not columns:
        return []
    texts = [f"{shorten(column['column'])!r} ({level_text(column)}: {pluralize(column['rows'], 'row')})"
             for column in columns]  # fmt: skip
    message = (
        f"{name} holds values that no training row has, in {join_columns(texts)}: they count as no known "
        "level, and predictions are less certain."
    )
    return [RunWarning("unseen_levels", message, {"columns": columns})]


def level_text(column: dict[str, Any]) -> str:
    """Return the first levels of a column, for a sentence."""
    levels = ", ".join(shorten(level) for level in column["levels"][:MAX_NAMED_LEVELS])
    return levels + (", ..." if column["level_count"] > MAX_NAMED_LEVELS else "")


def missing_warning(name: str, columns: list[dict[str, Any]]) -> list[RunWarning]:
    """Return the warning about missing cells in columns that are complete in training; none without any."""
    if not columns:
        return []
    texts = [f"{shorten(column['column'])!r} ({pluralize(column['rows'], 'row')})" for column in columns]
    message = (
        f"{name} has missing cells in columns that are complete in every training row, "
        f"{join_columns(texts)}: a missing number counts as the training mean, a missing text as no known level."
    )
    return [RunWarning("unseen_missing", message, {"columns": columns})]


def join_columns(texts: list[str]) -> str:
    """Return the first of some columns, for a sentence."""
    more = len(texts) - MAX_NAMED_COLUMNS
    return ", ".join(texts[:MAX_NAMED_COLUMNS]) + (f" and {more} more" if more > 0 else "")
