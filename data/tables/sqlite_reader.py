"""Read a table of an SQLite database, or the result of a query, with the standard library; the file is not changed."""

import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

from lagvis.data.messages import list_names, nearest_name, shorten
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.typed_table import TableSource, column_of_values, typed_table
from lagvis.errors import DataError
from lagvis.option_text import option

QUERY = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)


def read_sqlite(source: TableSource) -> TableFrame:
    """Read the table or query that the options name, else that of the hints, else the only table of the database.

    A table of the hints that the database lacks is ignored.
    """
    address = f"file:{quote(str(source.path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.execute("pragma trusted_schema = off")
            return read_connection(source, connection)
    except (sqlite3.Error, UnicodeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{source.name} cannot be read as an SQLite database ({shorten(str(error), 160)}); it may be damaged or "
            "locked by another program: copy it with the command .backup of sqlite3"
        ) from None


def read_connection(source: TableSource, connection: sqlite3.Connection) -> TableFrame:
    """Read the table or query of an open database."""
    tables, views = list_tables(connection)
    wanted, default_table = source.options.table, source.hints.default_table
    # Views are mostly parts of the tables; without a name they count where there is no table.
    tables = [*tables, *views] if wanted or default_table in views or not tables else tables
    if not wanted and (default_table in tables or QUERY.match(default_table)):
        wanted = default_table
    if QUERY.match(wanted) and wanted not in tables:
        query, description = wanted, "SQLite, a query"
    else:
        table = choose_table(source, tables, wanted)
        query, description = f"select * from {quoted(table)}", f"SQLite, table {shorten(table)}"  # noqa: S608  (quoted)
    try:
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        if wanted != query:
            raise
        raise DataError(
            f"{source.name}: the query {shorten(query)!r} fails ({error}); the tables are "
            f"{list_names(tables) or 'none'}"
        ) from None
    columns = [column_of_values(list(column)) for column in zip(*rows, strict=True)] or [
        column_of_values([]) for _ in names
    ]
    return typed_table(source, columns, names, description)


def list_tables(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Return the names of the tables, without those of SQLite itself, and of the views."""
    query = (
        "select name, type from sqlite_master where type in ('table', 'view') and name not like 'sqlite~_%' escape '~'"
    )
    found = [(str(name), kind) for name, kind in connection.execute(f"{query} order by type, name")]
    return [name for name, kind in found if kind == "table"], [name for name, kind in found if kind == "view"]


def choose_table(source: TableSource, tables: list[str], wanted: str) -> str:
    """Return the table of that name (in any case), or the only one where no name is given."""
    if not tables:
        raise DataError(f"{source.name} is an SQLite database without a table; expected one")
    if not wanted:
        if len(tables) == 1:
            return tables[0]
        raise DataError(
            f"{source.name} holds the tables {list_names(tables)}; choose one with "
            f"{option('table', tables[0])}, or join them with {option('table', 'select ...')}"
        )
    matches = [table for table in tables if table == wanted] or [
        table for table in tables if table.casefold() == wanted.casefold()
    ]
    if matches:
        return matches[0]
    near = nearest_name(wanted, tables)
    raise DataError(
        f"{source.name} has no table {shorten(wanted)!r}; it has {list_names(tables)}"
        f"{f': did you mean {near}?' if near else '; name one of them'}"
    )


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'
