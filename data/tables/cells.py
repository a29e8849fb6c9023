"""Decide what the columns of a table as text hold, and parse their cells: numbers, dates, true and false, or text."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lagvis.data.messages import shorten
from lagvis.data.tables.dialect import MISSING_VALUES, THOUSANDS_PATTERN, Dialect, is_missing
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

# Missing in a column of numbers; in a column of text they are a level.
MISSING_NUMBERS = (".", "-")
# A column of which at least half are numbers, with at most so many other cells, holds numbers and mistakes.
MAX_STRAY_CELLS, MAX_STRAY_SHARE = 5, 0.1
MAX_DISTINCT_SHARE = 0.2  # of the cells: up to it, cleaning each text once is faster
# Patterns of Rust's regex crate, for cells without blanks at their ends.
WHOLE = r"^[+-]?[0-9]+$"
CODE = r"^0[0-9]+$"
POINT_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
COMMA_NUMBER = r"^[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$"
INFINITE = r"^[+-]?(?i:inf|infinity)$"
STARTS_AS_NUMBER = r"^[+-]?([.,]?[0-9]|(?i:inf))"  # each of the patterns of numbers, of thousands and of infinity does
AMBIGUOUS_THOUSAND = r"^[+-]?[0-9]{1,3},[0-9]{3}$"  # 1,234 may be 1234 or 1.234
THOUSANDS = f"^{THOUSANDS_PATTERN}$"


@dataclass(frozen=True)
class Stray:
    """A cell that is not a number in a column of numbers: its row, its text and the reason."""

    row: int
    cell: str
    reason: str


@dataclass(frozen=True)
class StraySentence:
    """Build the sentence about a stray cell, without a remedy, when it is needed: its line may have to be counted.

    file       name of the file
    locate     describes a row by its index
    described  description of the column
    """

    file: str
    locate: Callable[[int], str]
    described: str
    stray: Stray

    def __call__(self) -> str:
        """Return the sentence."""
        return (
            f"{self.file}, {self.locate(self.stray.row)}, {self.described} is {shorten(self.stray.cell)!r}, "
            f"{self.stray.reason}"
        )


@dataclass(frozen=True)
class ParsedColumn:
    """Cells of a column, parsed.

    stray          first cell that keeps the column from being numbers, if most of its cells are numbers
    decimal_comma  row of the first number with a decimal comma, None without one; likewise decimal_point
    """

    cells: "pl.Series"
    stray: Stray | None = None
    decimal_comma: int | None = None
    decimal_point: int | None = None


def parse_column(cells: "pl.Series", separator: str, *, keep_text: bool, classes: Collection[str] = ()) -> ParsedColumn:
    """Return a column of text (String) parsed as what it holds; with `keep_text` it stays text.

    A text among `classes` is no missing cell in a column of text.
    """
    import polars as pl

    distinct = cells.drop_nulls().unique()
    few = len(distinct) <= MAX_DISTINCT_SHARE * len(cells)

    def clean(classes: Collection[str]) -> pl.Series:
        if not few:
            return clean_text(cells, classes)
        return cells.replace_strict(distinct, clean_text(distinct, classes), return_dtype=pl.String)

    with_classes = clean(classes)
    if keep_text:
        return ParsedColumn(with_classes)
    cells = clean(()) if classes else with_classes
    if cells.null_count() == len(cells):
        return ParsedColumn(with_classes if with_classes.null_count() < len(cells) else cells.cast(pl.Float64))
    if (cells.unique() if few else cells).str.contains(STARTS_AS_NUMBER).any() and (
        numbers := parse_numbers(cells, separator)
    ):
        return numbers
    return ParsedColumn(parse_booleans(with_classes))


def clean_text(cells: "pl.Series", classes: Collection[str] = ()) -> "pl.Series":
    """Return texts without blanks of any kind at their ends, composed (NFC), null where they stand for no value.

    A text among `classes` is kept, whatever it is.
    """
    import polars as pl

    stripped = cells.str.strip_chars().str.normalize("NFC")
    missing = stripped.str.to_lowercase().is_in(list(MISSING_VALUES)) & ~stripped.is_in(list(classes))
    return stripped.to_frame("cells").select(pl.when(~missing).then(pl.col("cells"))).to_series().rename(cells.name)


def parse_numbers(cells: "pl.Series", separator: str) -> ParsedColumn | None:
    """Return a column parsed as numbers, or as text with its first stray cell; None where it is a column of text."""
    import polars as pl

    table = cells.to_frame("cells")
    cell = pl.col("cells")
    ambiguous = cell.str.contains(AMBIGUOUS_THOUSAND) if separator == "," else pl.lit(value=False)
    by_comma = cell.str.contains(COMMA_NUMBER) & ~ambiguous
    by_point = cell.str.contains(POINT_NUMBER)
    table = table.with_columns(
        comma=by_comma,
        value=pl.when(by_point)
        .then(cell)
        .when(by_comma)
        .then(cell.str.replace(",", ".", literal=True))
        .cast(pl.Float64, strict=False),
        thousands=ambiguous | cell.str.contains(THOUSANDS),
        infinite=cell.str.contains(INFINITE),
        dash=cell.is_in(MISSING_NUMBERS),
    )
    value = pl.col("value")
    table = table.with_columns(
        number=value.is_finite().fill_null(value=False),
        infinite=pl.col("infinite") | value.is_infinite().fill_null(value=False),
    )
    present = cells.len() - cells.null_count() - int(table["dash"].sum())
    numeric = int((table["number"] | table["thousands"] | table["infinite"]).sum())
    others = present - numeric
    if 2 * numeric < max(1, present) or others > max(MAX_STRAY_CELLS, MAX_STRAY_SHARE * present):
        return None
    stray_rows = ~table["number"] & ~table["dash"] & cells.is_not_null()
    if stray_rows.any():
        row = int(stray_rows.arg_max() or 0)
        reason = "expected a finite number"
        if table["thousands"][row]:
            reason = "with a mark for thousands; write numbers without"
        return ParsedColumn(cells, Stray(row, cells[row], reason))
    whole = cells.filter(table["number"]).str.contains(WHOLE).all()
    if whole and cells.str.contains(CODE).any():
        return ParsedColumn(cells)
    numbers = cells.set(table["dash"].fill_null(value=False), None)
    if whole:
        integers = numbers.str.strip_prefix("+").cast(pl.Int64, strict=False)
        if integers.null_count() == numbers.null_count():
            return ParsedColumn(integers)
    point = cells.str.contains(".", literal=True) & table["number"]
    return ParsedColumn(
        table["value"].rename(cells.name),
        decimal_comma=first_true(table["comma"]),
        decimal_point=first_true(point),
    )


def first_true(values: "pl.Series") -> int | None:
    """Return the index of the first true value; None where there is none."""
    return int(values.arg_max() or 0) if values.any() else None


def parse_booleans(cells: "pl.Series") -> "pl.Series":
    """Return texts as booleans if each is true or false, in any case."""
    lowered = cells.str.to_lowercase()
    if not lowered.drop_nulls().is_in(["true", "false"]).all():
        return cells
    return lowered == "true"


def check_names_among_numbers(
    parsed: Mapping[int, ParsedColumn],
    row_cells: Callable[[int], list[str]],
    dialect: Dialect,
    line: Callable[[int], str],
) -> None:
    """Raise DataError for a header that is repeated among the rows, and for a row of units below the header."""
    strays = [column.stray.row for column in parsed.values() if column.stray]
    for row in sorted(set(strays)):
        cells = row_cells(row)
        if dialect.has_header and tuple(cells) == tuple(name.strip() for name in dialect.names):
            raise DataError(
                f"{dialect.file.name}, {line(row)} holds the names of the columns among numbers, as where files were "
                "joined with their headers; remove the line"
            )
        holds_numbers = [c for c, column in parsed.items() if column.stray or column.cells.dtype.is_numeric()]
        texts = [cells[c] for c in holds_numbers if cells[c] and not is_missing(cells[c])]
        if row == 0 and strays.count(0) >= max(2, len(texts)):
            raise DataError(
                f"{dialect.file.name}, {line(row)} holds {', '.join(map(repr, map(shorten, texts[:3])))} above "
                "numbers, as a line of units or of further names; remove the line"
            )


def check_decimal_marks(parsed: Mapping[int, ParsedColumn], dialect: Dialect, line: Callable[[int], str]) -> None:
    """Raise DataError where some numbers have a decimal comma and others a decimal point."""
    commas = [column.decimal_comma for column in parsed.values() if column.decimal_comma is not None]
    points = [column.decimal_point for column in parsed.values() if column.decimal_point is not None]
    if commas and points:
        raise DataError(
            f"{dialect.file.name}: the decimal mark is a comma in {line(min(commas))} and a point in "
            f"{line(min(points))}; write all numbers in one way"
        )
