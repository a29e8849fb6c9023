"""Read tables for a trained network: with its columns, each as the network takes it, whole or in pieces."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from lagvis.data.input_spec import InputSpec
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.columns import Columns
from lagvis.data.tables.encoding import CategoryEncoding, NumberEncoding, TableEncoding
from lagvis.data.tables.files import iter_frames, read_frame
from lagvis.data.tables.frame import NUMBER, TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.data.tables.label_arrays import parse_integer
from lagvis.data.tables.network_columns import columns_for_network, labelled_columns_for_network
from lagvis.errors import DataError


def read_network_table(
    path: Path, spec: InputSpec, *, label_required: bool = True, display_name: str = ""
) -> tuple[TableFrame, Columns]:
    """Read a table and match its columns with those of a trained network; return it and the columns.

    Where no label is required the table may hold the features alone. `display_name` stands for the path in messages.
    """
    options = network_options(spec)

    def read(hints: TableHints) -> TableFrame:
        return read_frame(path, options, hints, display_name=display_name)

    return match_network_table(read, spec, label_required=label_required)


def match_network_table(
    read: Callable[[TableHints], TableFrame], spec: InputSpec, *, label_required: bool = True
) -> tuple[TableFrame, Columns]:
    """Return what `read_network_table` does for a table that `read` reads by what the network knows about it.

    It is read a second time where columns that were matched by position must be read as text.
    """
    match = labelled_columns_for_network if label_required else columns_for_network
    hints = network_hints(spec, label_required=label_required)
    table = read(hints)
    columns = match(table, spec)
    if (matched := hints_by_position(hints, table, columns, spec)) != hints:
        table = read(matched)
    return table, columns


def iter_network_table(path: Path, spec: InputSpec, rows: int) -> Iterator[tuple[TableFrame, Columns]]:
    """Yield a table as `read_network_table` returns it, without need of a label, in pieces of `rows` rows.

    The first piece decides about the columns.
    """
    options, hints = network_options(spec), network_hints(spec, label_required=False)
    tables = iter_frames(path, options, rows, hints)
    table = next(tables)
    columns = columns_for_network(table, spec)
    if (matched := hints_by_position(hints, table, columns, spec)) != hints:
        tables = iter_frames(path, options, rows, matched)
        table = next(tables)
    yield table, columns
    for table in tables:
        yield table, columns


def network_options(spec: InputSpec) -> ReadOptions:
    """Return the options by which a table is read for a network."""
    return ReadOptions(label=spec.label, sheet=spec.sheet, table=spec.table)


def network_hints(spec: InputSpec, *, label_required: bool) -> TableHints:
    """Return what a network knows about the tables that it takes."""
    return TableHints(
        text={*category_columns(spec.encoding), *text_label_columns(spec)},
        verbatim={*spec.id_names},
        classes=spec.class_names,
        known_names=spec.column_names,
        default_sheet=spec.recipe_sheet,
        default_table=spec.recipe_table,
        allow_single_column=not label_required and spec.n_columns == 1 and not spec.label_option,
    )


def hints_by_position(hints: TableHints, table: TableFrame, columns: Columns, spec: InputSpec) -> TableHints:
    """Return the hints with the columns of a table that were matched by position, and must be read as text.

    A column of categories is one that was read as numbers, so that 1.50 became 1.5; the columns that name a row are
    others. The hints are the same where no column is.
    """
    pairs = zip(columns.features, spec.encoding.columns if spec.encoding else (), strict=False)
    categories = [str(c + 1) for c, column in pairs if isinstance(column, CategoryEncoding) and table.kind(c) == NUMBER]
    return hints.with_text(categories, verbatim=changed_ids(table, columns, spec))


def changed_ids(table: TableFrame, columns: Columns, spec: InputSpec) -> list[str]:
    """Return the numbers, from 1, of columns that name a row and were not read as they are written.

    Features and labels are read as the network needs them.
    """
    used = (*columns.features, *columns.labels)
    return [str(c + 1) for c in columns.ids if c not in used and table.names[c] not in spec.id_names]


def text_label_columns(spec: InputSpec) -> Collection[str]:
    """Return the name of the label column of a network whose classes are texts, as 41.20 is one beside 41.2."""
    names = [spec.label_option] if spec.label_option else spec.label_names
    is_one_hot = len(spec.label_names) > 1  # columns of 0 and 1, whose names are the classes
    return names if has_text_classes(spec) and not is_one_hot else ()


def has_text_classes(spec: InputSpec) -> bool:
    """Tell whether a network knows a class that is no whole number."""
    return any(parse_integer(name) is None for name in spec.class_names)


def category_columns(encoding: TableEncoding | None) -> Collection[str]:
    """Return the names of the columns that are categories, which are read as text whatever they hold."""
    columns = encoding.columns if encoding else ()
    return [column.name for column in columns if isinstance(column, CategoryEncoding)]


def network_encoding(spec: InputSpec, table: TableFrame, columns: Columns) -> TableEncoding:
    """Return the encoding of a network; for one of an older version, every column is a number."""
    return spec.encoding or all_numbers(table, columns)


def all_numbers(table: TableFrame, columns: Columns) -> TableEncoding:
    """Return the encoding of feature columns that are all numbers; DataError for a missing cell or another column."""
    for c in columns.features:
        if table.kind(c) != NUMBER:
            table.check_column(c, is_trained=True)
            raise DataError(
                f"{table.name}: {table.describe_column(c)} holds {table.kind(c)}, and the network learned from numbers "
                "alone, in arrays or with an older version; give numbers, or train on a table"
            )
        if table.column(c).null_count():
            row = int(table.column(c).is_null().to_numpy().argmax())
            raise DataError(
                f"{table.locate_row(row)}, {table.describe_column(c)} is missing, and the network learned from "
                "numbers alone, in arrays or with an older version; fill it or remove the row, or train on a table"
            )
    return TableEncoding(tuple(NumberEncoding(table.names[c], c, 0.0) for c in columns.features))
