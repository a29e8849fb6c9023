"""Read ARFF, the format of Weka and OpenML: attributes with their types, then rows of cells, dense or sparse."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lagvis.data.messages import shorten
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.libsvm import check_dense_size
from lagvis.data.tables.text import inspect_text, read_lines
from lagvis.data.tables.typed_table import TableSource, typed_table
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MAX_ATTRIBUTES = 100_000
NUMERIC = ("numeric", "real", "integer")
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
ATTRIBUTE = re.compile(rf"\s*@attribute\s+({QUOTED}|[^\s'\"{{]+)\s*(.+?)\s*", re.IGNORECASE | re.DOTALL)
CELL = re.compile(rf"\s*({QUOTED}|(?!['\"])[^,\t]*?)\s*(?:[,\t]|$)", re.DOTALL)
PAIR = re.compile(rf"\s*([0-9]{{1,6}})\s+({QUOTED}|(?!['\"])[^,]*?)\s*(?:,|$)", re.DOTALL)
WEIGHT = re.compile(r",\s*\{[^{}]*\}\s*$")
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# Patterns of Java's SimpleDateFormat, longest first, and those of polars.
DATE_PARTS = (
    *(("yyyy", "%Y"), ("yy", "%y"), ("MMM", "%b"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M")),
    *(("ss", "%S"), ("SSS", "%3f")),
)
DEFAULT_DATE_FORMAT = "yyyy-MM-dd'T'HH:mm:ss"
SPECIAL_CHARACTERS = frozenset("'\"{}\\%\t")


@dataclass(frozen=True)
class Attribute:
    """A declared column: name, kind (numeric, string, nominal or date), levels, and the format of its dates."""

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    date_format: str = ""


def read_arff(source: TableSource) -> TableFrame:
    """Read an ARFF file; its class is the attribute of that name, else the last. DataError names the faulty line."""
    file = inspect_text(source.path, source.name)
    lines = iter(read_lines(file, join_quoted=False))
    attributes = read_header(source.name, lines)
    reader = RowReader(source, attributes)
    for line, text in lines:
        reader.read(line, text)
    names = [attribute.name for attribute in attributes]
    named = [c for c, name in enumerate(names) if name.casefold() == "class"]
    return typed_table(
        source,
        reader.columns(),
        names,
        "ARFF",
        row_location=lambda row: f"line {reader.lines[row]}",
        notices=[f"{source.short_name}: the weights of the rows are not used."] if reader.has_weights else [],
        label=named[0] if named else len(names) - 1,
        sha256=file.sha256,
    )


def read_header(name: str, lines: Iterator[tuple[int, str]]) -> list[Attribute]:
    """Return the attributes up to the line @data, which is taken from `lines` as well."""
    attributes: list[Attribute] = []
    for line, text in lines:
        start = text.strip()
        word = start.partition(" ")[0].partition("\t")[0].lower()
        if start.startswith("%") or word == "@relation":
            continue
        if word == "@data":
            if not attributes:
                raise DataError(f"{name}, line {line}: @data without an @attribute above; expected one a column")
            return attributes
        if word != "@attribute":
            raise DataError(f"{name}, line {line} is {shorten(start)!r}; expected @attribute or @data")
        if len(attributes) == MAX_ATTRIBUTES:
            raise DataError(f"{name}, line {line}: more than {MAX_ATTRIBUTES:,} attributes; expected fewer")
        attributes.append(parse_attribute(f"{name}, line {line}", text))
    raise DataError(f"{name} has no line @data; it may be cut off: fetch it again")


def parse_attribute(place: str, text: str) -> Attribute:
    """Return the attribute that a line declares; DataError for a type that is not read."""
    found = ATTRIBUTE.fullmatch(text)
    if not found:
        raise DataError(f"{place} is {shorten(text.strip())!r}; expected @attribute NAME TYPE")
    name, declared = unquote(found[1]), found[2].strip()
    word = declared.partition(" ")[0].partition("\t")[0].lower()
    if declared.startswith("{"):
        if not declared.endswith("}"):
            raise DataError(f"{place}: the levels of {shorten(name)!r} have no closing bracket; expected {{a, b}}")
        return Attribute(name, "nominal", tuple(split_cells(place, declared[1:-1])))
    if word in NUMERIC:
        return Attribute(name, "numeric")
    if word == "string":
        return Attribute(name, "string")
    if word == "date":
        return Attribute(name, "date", date_format=convert_date_format(unquote(declared[4:].strip())))
    raise DataError(
        f"{place}: the attribute {shorten(name)!r} is of type {shorten(declared)!r}; expected numeric, string, date or "
        "levels in brackets: remove the column in Weka"
    )


def convert_date_format(java: str) -> str:
    """Return the format of polars for one of Java; empty for one with parts that are not known."""
    rest, made = java or DEFAULT_DATE_FORMAT, ""
    while rest:
        part = next(((old, new) for old, new in DATE_PARTS if rest.startswith(old)), None)
        if part:
            made, rest = made + part[1], rest[len(part[0]) :]
        elif rest[0] == "'" and "'" in rest[1:]:
            literal, _, rest = rest[1:].partition("'")
            made += literal.replace("%", "%%")
        elif rest[0].isalpha():
            return ""
        else:
            made, rest = made + rest[0].replace("%", "%%"), rest[1:]
    return made


def unquote(text: str) -> str:
    """Return text without the quotes around it and the backslashes before special characters."""
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return ESCAPE.sub(r"\1", text[1:-1])
    return text


def split_cells(place: str, text: str) -> list[str]:
    """Return the cells of a line, separated by commas or tabs, in quotes or not."""
    if SPECIAL_CHARACTERS.isdisjoint(text):
        return [cell.strip() for cell in text.split(",")]
    cells, at = [], 0
    while True:
        found = CELL.match(text, at)
        if not found:
            raise DataError(f"{place}: quotes that are not closed, or text behind them; correct the line")
        cells.append(unquote(found[1]))
        at = found.end()
        if at == len(text):
            return cells if text[at - 1 : at] not in (",", "\t") else [*cells, ""]


class RowReader:
    """Collect the cells of the rows of an ARFF file, column by column; None where a cell is missing."""

    def __init__(self, source: TableSource, attributes: list[Attribute]) -> None:
        self.source = source
        self.attributes = attributes
        self.cells: list[list[Any]] = [[] for _ in attributes]
        self.lines: list[int] = []
        self.has_weights = False
        self.parsers = [make_parser(source.name, attribute) for attribute in attributes]
        # A value that a sparse row lacks is 0: of nominal attributes the first level.
        self.zeros = [a.levels[0] if a.kind == "nominal" else 0.0 if a.kind == "numeric" else None for a in attributes]

    def read(self, line: int, text: str) -> None:
        """Add the row of a line; a remark is skipped."""
        start = text.strip()
        if start.startswith("%"):
            return
        place = f"{self.source.name}, line {line}"
        if start.endswith("}") and (weight := WEIGHT.search(start)):
            self.has_weights = True
            start = start[: weight.start()]
        row = self.parse_sparse(line, place, start) if start.startswith("{") else self.parse_dense(line, place, start)
        for column, value in zip(self.cells, row, strict=True):
            column.append(value)
        self.lines.append(line)

    def parse_dense(self, line: int, place: str, text: str) -> list[Any]:
        """Return the values of a row that has a cell for each attribute."""
        cells = split_cells(place, text)
        if len(cells) != len(self.cells):
            raise DataError(
                f"{place} has {len(cells)} cells, expected {len(self.cells)}, one for each @attribute; correct the line"
            )
        return [parse(line, cell) for parse, cell in zip(self.parsers, cells, strict=True)]

    def parse_sparse(self, line: int, place: str, text: str) -> list[Any]:
        """Return the values of a row such as {0 1.5, 3 yes}: index and value of the cells that are not 0."""
        if len(text) < 2 or not text.endswith("}"):
            raise DataError(f"{place} is {shorten(text)!r}; expected {{index value, ...}}")
        if len(self.lines) % 1000 == 0:
            check_dense_size(self.source, len(self.lines) + 1000, len(self.cells))
        row, inner, at = list(self.zeros), text[1:-1], 0
        while at < len(inner) and inner[at:].strip():
            found = PAIR.match(inner, at)
            if not found or int(found[1]) >= len(row):
                raise DataError(
                    f"{place} holds {shorten(inner[at:].strip())!r}; expected the index of an attribute, from 0 to "
                    f"{len(row) - 1}, and a value"
                )
            row[int(found[1])] = self.parsers[int(found[1])](line, unquote(found[2]))
            at = found.end()
        return row

    def columns(self) -> "list[pl.Series]":
        """Return the columns with their declared types."""
        return [
            self.make_column(attribute, cells) for attribute, cells in zip(self.attributes, self.cells, strict=True)
        ]

    def make_column(self, attribute: Attribute, cells: Iterable[Any]) -> "pl.Series":
        """Return the cells of an attribute as a column. DataError for a date that is not of the declared format."""
        import polars as pl

        if attribute.kind == "numeric":
            return pl.Series(cells, dtype=pl.Float64)
        text = pl.Series(cells, dtype=pl.String)
        if attribute.kind == "nominal":
            return text.cast(pl.Categorical)
        if attribute.kind == "string" or not attribute.date_format:
            return text
        dates = text.str.to_datetime(attribute.date_format, time_unit="us", strict=False)
        wrong = dates.is_null() & text.is_not_null()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise DataError(
                f"{self.source.name}, line {self.lines[row]}: {shorten(attribute.name)!r} is {shorten(text[row])!r}; "
                f"expected a date of the declared format ({attribute.date_format})"
            )
        return dates


def make_parser(name: str, attribute: Attribute) -> Callable[[int, str], Any]:
    """Return the function that turns a cell of an attribute into its value, given the line; None for a missing one."""
    levels = frozenset(attribute.levels)

    def parse_number(line: int, cell: str) -> float | None:
        if cell in ("?", ""):
            return None
        try:
            if "_" in cell:
                raise ValueError
            return float(cell)
        except ValueError:
            raise DataError(
                f"{name}, line {line}: {shorten(attribute.name)!r} is {shorten(cell)!r}; expected a number, or ? where "
                "it is missing"
            ) from None

    def parse_level(line: int, cell: str) -> str | None:
        if cell == "?" and "?" not in levels:
            return None
        if cell not in levels:
            raise DataError(
                f"{name}, line {line}: {shorten(attribute.name)!r} is {shorten(cell)!r}, which is not a declared "
                "level; correct the cell, or add the level to the line @attribute"
            )
        return cell

    def parse_text(line: int, cell: str) -> str | None:
        return None if cell == "?" else cell

    return {"numeric": parse_number, "nominal": parse_level}.get(attribute.kind, parse_text)
