"""A table in memory: its cells as polars columns, whatever the format of its file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lagvis.data.messages import shorten
from lagvis.errors import DataError
from lagvis.option_text import option

if TYPE_CHECKING:
    import polars as pl  # imported only where a table is read

NUMBER, TEXT, BOOLEAN, DATE = COLUMN_KINDS = ("number", "text", "boolean", "date")


@dataclass(frozen=True)
class TableFrame:
    """Cells of a table, as read.

    frame        columns named "0", "1", ... in the order of the file, each of a polars type: Int64 and other integers,
                 Float64, String, Boolean, Date, Datetime, Time. A missing cell is null. Text has no blanks at its ends
                 and is composed (NFC), except in columns that are copied to predictions; numbers are finite.
    path         of the file, `name` its name in messages (the path, or "standard input")
    names        of the columns; "column 1", "column 2", ... without a header
    has_header   whether the names are the user's
    sha256       digest of the file (unpacked, if it is packed with gzip)
    description  how the table is written, for a notice: "separator comma, a header"
    row_location describes a row by its index: "line 17" of a text file, "row 17" of another
    strays       for a column of text, mostly of numbers: the sentence, but its remedy, that names the first other cell
    notices      on how cells were read, one sentence each
    label        index of the column that the format declares as the label (LIBSVM, ARFF); None: it declares none
    unreadable   columns whose cells cannot be learned from, and what they hold: {2: "lists"}; their cells are null
    """

    frame: "pl.DataFrame"
    path: Path
    name: str
    names: tuple[str, ...]
    has_header: bool
    sha256: str
    description: str
    row_location: Callable[[int], str] = field(compare=False)
    strays: Mapping[int, Callable[[], str]] = field(default_factory=dict, compare=False)
    notices: tuple[str, ...] = ()
    unreadable: Mapping[int, str] = field(default_factory=dict)
    label: int | None = None

    @property
    def short_name(self) -> str:
        """Return the name without its folder."""
        return Path(self.name).name

    def column(self, c: int) -> "pl.Series":
        """Return the cells of a column, by its index."""
        return self.frame.get_column(str(c))

    @cached_property
    def indices(self) -> Mapping[str, list[int]]:
        """Indices of the columns of each name, ascending."""
        return index_names(self.names)

    @cached_property
    def folded_indices(self) -> Mapping[str, list[int]]:
        """Indices of the columns of each name without its case, ascending."""
        return index_names(name.casefold() for name in self.names)

    def kind(self, c: int) -> str:
        """Return what a column holds, one of COLUMN_KINDS, by its type."""
        import polars as pl

        dtype = self.column(c).dtype
        if dtype.is_temporal():
            return DATE
        if dtype.is_numeric():
            return NUMBER
        return BOOLEAN if dtype == pl.Boolean else TEXT

    def check_column(self, c: int, *, is_trained: bool = False) -> None:
        """Raise DataError for a column to learn from that has a few texts among numbers.

        is_trained  a network has learned from the column, so that it cannot be taken as text
        """
        if stray := self.strays.get(c):
            as_text = f"take the column as text with {self.option_for('category', c)}"
            raise DataError(f"{stray()}; correct it{' or empty it' if is_trained else f', or {as_text}'}")

    def option_for(self, key: str, c: int) -> str:
        """Return the option that names a column, as the user gives it: by its name, or its number where need be."""
        name = self.names[c]
        has_name = self.has_header and self.names.count(name) == 1 and name.isprintable()
        return option(key, name if has_name else str(c + 1))

    def describe_column(self, c: int) -> str:
        """Return the number of a column, from 1, and its name."""
        return f"column {c + 1} ({shorten(self.names[c])!r})" if self.has_header else f"column {c + 1}"

    def locate_row(self, row: int) -> str:
        """Return the file and the place of a row in it, for a message."""
        return f"{self.name}, {self.row_location(row)}"

    def take(self, rows: np.ndarray) -> "TableFrame":
        """Return the table with the rows of these indices (M,)."""
        return replace(self, frame=self.frame[rows], row_location=lambda row: self.row_location(int(rows[row])))


def index_names(names: Iterable[str]) -> dict[str, list[int]]:
    """Return the indices of each name."""
    indices: dict[str, list[int]] = {}
    for c, name in enumerate(names):
        indices.setdefault(name, []).append(c)
    return indices
