"""Read tables from JSON: a list of objects, an object of lists of equal length, or an object a line (NDJSON)."""

import io
import json
from typing import TYPE_CHECKING, Any

from lagvis.data.messages import shorten
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.text import TextFile, inspect_text, open_maybe_gzip, read_lines
from lagvis.data.tables.typed_table import TableSource, column_of_values, typed_table
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

EXPECTED = "expected a list of objects, as pandas writes it with to_json(path, orient='records')"


def read_json(source: TableSource) -> TableFrame:
    """Read a JSON file that is one value. DataError for other values than those above."""
    file = inspect_text(source.path, source.name)
    with open_maybe_gzip(source.path, source.name) as raw:
        content = raw.read()
    try:
        value = json.loads(content.decode(file.encoding))
    except (ValueError, RecursionError) as error:
        is_longer = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
        if is_longer and content.lstrip()[:1] == b"{":  # NDJSON with a first line that is very long
            return read_ndjson(source)
        raise DataError(f"{source.name} is not valid JSON ({describe(error)}); {EXPECTED}") from None
    if isinstance(value, dict):
        names, columns = columns_of_lists(source.name, value)
    else:
        names, columns = columns_of_records(source.name, value)
    return typed_table(source, columns, names, "JSON", sha256=file.sha256)


def read_ndjson(source: TableSource) -> TableFrame:
    """Read a file with a JSON object in each line. DataError names the first line that holds anything else."""
    import polars as pl

    file = inspect_text(source.path, source.name)
    with open_maybe_gzip(source.path, source.name) as raw:
        content = raw.read()
    if not file.encoding.startswith("utf-8"):
        content = content.decode(file.encoding, "replace").encode()
    try:
        frame = pl.read_ndjson(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), infer_schema_length=None)
        names, columns = frame.columns, frame.get_columns()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        names, columns = columns_of_records(source.name, parse_lines(file))
    return typed_table(source, columns, names, "NDJSON", sha256=file.sha256)


def parse_lines(file: TextFile) -> list[Any]:
    """Return the values of an NDJSON file, parsed line by line; DataError names a line that is not JSON."""
    return [parse_line(file.name, line, text) for line, text in read_lines(file, join_quoted=False)]


def parse_line(name: str, line: int, text: str) -> Any:
    """Return the value in a line of a file; DataError where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name}, line {line} is not valid JSON ({describe(error)}); expected an object in each line"
        ) from None


def describe(error: Exception) -> str:
    """Return the reason why text is not JSON."""
    return "brackets nested too deeply" if isinstance(error, RecursionError) else str(error)


def columns_of_records(name: str, records: Any) -> "tuple[list[str], list[pl.Series]]":
    """Return names and columns of a list of objects, in the order in which their keys appear first."""
    if not isinstance(records, list):
        raise DataError(f"{name} holds {shorten(json.dumps(records))}; {EXPECTED}")
    values: dict[str, list[Any]] = {}
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f"{name}, row {row + 1} is {shorten(json.dumps(record))}; {EXPECTED}")
        for key, value in record.items():
            values.setdefault(key, []).extend([None] * (row - len(values[key])) + [value])
    for column in values.values():
        column.extend([None] * (len(records) - len(column)))
    return list(values), [column_of_values(column) for column in values.values()]


def columns_of_lists(name: str, value: dict[str, Any]) -> "tuple[list[str], list[pl.Series]]":
    """Return names and columns of an object of lists; DataError unless they have one length."""
    for key, column in value.items():
        if not isinstance(column, list):
            raise DataError(f"{name}: {shorten(key)!r} holds {shorten(json.dumps(column))}; {EXPECTED}")
    lengths = {len(column): key for key, column in value.items()}
    if len(lengths) > 1:
        (first, a), (second, b), *_ = lengths.items()
        raise DataError(
            f"{name}: {shorten(a)!r} has {first:,} values and {shorten(b)!r} {second:,}, which are no columns of one "
            f"table; {EXPECTED}"
        )
    return list(value), [column_of_values(column) for column in value.values()]
