"""Read a table of any format."""

from collections.abc import Collection
from pathlib import Path

from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.csv_reader import read_csv
from lagvis.data.tables.frame import TableFrame


def read_frame(
    path: Path,
    options: ReadOptions,
    *,
    text: Collection[str] = (),
    training: TableFrame | None = None,
    allow_single_column: bool = False,
    display_name: str = "",
) -> TableFrame:
    """Read a table in the format that its bytes show; the arguments are those of `read_csv`."""
    return read_csv(
        path,
        options.label,
        training,
        text={*text, *options.category},
        allow_single_column=allow_single_column,
        display_name=display_name,
    )
