"""What is known about a table before it is read: by its training table, or by a trained network."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from lagvis.data.tables.frame import TableFrame


@dataclass(frozen=True)
class TableHints:
    """Knowledge about a table to read. Columns are given by name, or by number from 1 as text.

    text                 columns to read as text, whatever they hold
    verbatim             columns whose cells are kept as they are written (007, NA)
    classes              texts that are values, even where they are written as a missing cell is, as NA
    training             training table: a first line of text with the names of its columns is a header
    known_names          names of the columns that a network learned from, which a sparse file may lack
    default_sheet        sheet of a workbook to read if the options name none and the workbook has it
    default_table        table of a database, or query, under the same condition
    allow_single_column  whether a table may have one column
    """

    text: Collection[str] = ()
    verbatim: Collection[str] = ()
    classes: Collection[str] = ()
    training: TableFrame | None = field(default=None, compare=False)
    known_names: Sequence[str] = ()
    default_sheet: str = ""
    default_table: str = ""
    allow_single_column: bool = False

    @property
    def column_names(self) -> Sequence[str]:
        """Return the names of the columns that the table should have; empty where they are not known."""
        return self.training.names if self.training else self.known_names

    def with_text(self, columns: Collection[str], *, verbatim: Collection[str] = ()) -> "TableHints":
        """Return the hints with further columns to read as text, or to keep as they are written."""
        return replace(self, text={*self.text, *columns}, verbatim={*self.verbatim, *verbatim})


NO_HINTS = TableHints()
