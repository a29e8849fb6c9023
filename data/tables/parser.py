"""Parse the rows of a table, in the dialect that data/tables/dialect.py detects.

RFC 4180, and what spreadsheets make of it: semicolons and decimal commas, a byte order mark, a line `sep=;`. NumPy's
own parser reads blocks of lines; a block that it rejects is read cell by cell, which gives the numbers or a DataError.
"""

import csv
import math
import re
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from lagvis.data.messages import shorten
from lagvis.data.tables.columns import is_text_label
from lagvis.data.tables.dialect import NUMBER, THOUSANDS, Dialect, Line, is_missing, split_cells, strip_trailing
from lagvis.data.tables.feature_type import AUTO, PIXELS, image_side
from lagvis.data.tables.text import read_lines
from lagvis.errors import DataError

AMBIGUOUS_THOUSAND = re.compile(r"\s*[+-]?[0-9]{1,3},[0-9]{3}\s*")  # 1,234 may be 1234 or 1.234
BLOCK_LENGTH = 2**20  # characters
MAX_LABEL_LENGTH = 100  # characters: an array of text is as wide as its longest


@dataclass
class Rows:
    """Rows of a table: numbers (N, columns), labels kept as text, and the line of each row.

    decimal_comma  whether any number has one
    """

    numbers: np.ndarray
    label_texts: list[str]
    lines: np.ndarray
    decimal_comma: bool


@dataclass(frozen=True)
class Table:
    """Rows of a table with its dialect and the indices of the columns that were read."""

    dialect: Dialect
    features: list[int]
    labels: list[int]
    rows: Rows

    @property
    def name(self) -> str:
        """Return the name of the file without its folder."""
        return self.dialect.file.short_name

    @property
    def x(self) -> np.ndarray:
        """Return the features (N, n_features) as they were parsed."""
        return self.rows.numbers[:, : len(self.features)]


@dataclass
class TableParser:
    """Parse the rows of one table, block by block. Numbers are kept as bytes as long as all of them are bytes.

    columns           of numbers, in the order of the result
    label_column      kept as text; None where labels are numbers
    optional_columns  label columns, where a row may lack its label
    decimal_point     number of the first line with one, 0 for none; likewise decimal_comma
    """

    dialect: Dialect
    columns: list[int]
    label_column: int | None
    optional_columns: Collection[int] = ()
    dtype: type = np.float64
    data: bytearray = field(default_factory=bytearray)
    label_texts: list[str] = field(default_factory=list)
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    decimal_point: int = 0
    decimal_comma: int = 0

    def parse_block(self, block: list[Line]) -> None:
        """Parse a block of lines with NumPy's parser, or cell by cell where it cannot."""
        for dtype in dict.fromkeys((self.dtype, np.float64)):
            before = len(self.label_texts)
            numbers = self.parse_with_numpy(block, dtype)
            if numbers is not None:
                break
            del self.label_texts[before:]
        else:
            dtype, numbers = np.float64, self.parse_by_cell(block)
        if dtype is not self.dtype:
            self.data = bytearray(np.frombuffer(self.data, self.dtype).astype(dtype).data)
            self.dtype = dtype
        self.data += np.ascontiguousarray(numbers).data.cast("B") if numbers.size else b""

    def parse_with_numpy(self, block: list[Line], dtype: type) -> np.ndarray | None:
        """Return the numbers of a block; None where anything about it is unusual."""

        def keep(cell: str) -> int:
            self.label_texts.append(cell.strip())
            return 0

        if any('"' in text for _, text in block):  # NumPy takes quotes where RFC 4180 has none
            return None
        separator = None if self.dialect.separator == " " else self.dialect.separator
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found: np.ndarray = np.loadtxt(
                    [text for _, text in block],
                    dtype=dtype,
                    comments=None,
                    delimiter=separator,
                    ndmin=2,
                    converters=None if self.label_column is None else {self.label_column: keep},
                )
        except (ValueError, OverflowError, Warning):
            return None
        labels = () if self.label_column is None else {*self.label_texts[-len(block) :]}
        if found.shape != (len(block), len(self.dialect.names)) or any(map(self.is_bad_label, labels)):
            return None
        numbers = found[:, self.columns]
        if dtype is np.float64:
            if not np.isfinite(numbers).all():
                return None
            if not self.decimal_point and (numbers != np.floor(numbers)).any():
                self.decimal_point = block[0][0]
            if self.decimal_comma and self.decimal_point:
                return None
        self.lines.extend(line for line, _ in block)
        return numbers

    def parse_by_cell(self, block: list[Line]) -> np.ndarray:
        """Return the numbers of a block; DataError at the first cell that is not what it should be."""
        numbers: array[float] = array("d")
        name, width = self.dialect.file.name, len(self.dialect.names)
        for line, text in block:
            try:
                cells = split_cells(self.dialect.file, line, text, self.dialect.separator)
            except csv.Error as error:
                raise DataError(f"{name}, line {line} cannot be read ({error}); correct its quotes") from None
            if not any(cell.strip() for cell in cells):  # a spreadsheet's empty row
                continue
            if len(cells) != width:
                raise DataError(
                    f"{name}, line {line} has {len(cells)} fields, expected {width} as elsewhere; correct the line"
                )
            if self.label_column is not None:
                label = cells[self.label_column].strip()
                self.label_texts.append(label)
                if self.is_bad_label(label):
                    raise DataError(
                        f"{name}, line {line}: the label, {self.dialect.describe_column(self.label_column)}, is "
                        f"{shorten(label)!r}; fill it or remove the row, or name another column with --label"
                    )
            numbers.extend(self.parse_numbers(line, cells))
            self.lines.append(line)
        return np.frombuffer(numbers, np.float64).reshape(-1, len(self.columns)) if numbers else np.empty((0, 1))

    def parse_numbers(self, line: int, cells: list[str]) -> list[float]:
        """Return the numbers of a row; NaN for all its label columns where one of them is missing and may be."""
        unlabelled = any(is_missing(cells[c]) for c in self.optional_columns)
        skipped = self.optional_columns if unlabelled else ()
        joined = "\0".join("0" if c in skipped else cells[c] for c in self.columns)
        has_comma, has_point = "," in joined, "." in joined
        self.decimal_comma = self.decimal_comma or (line if has_comma else 0)
        self.decimal_point = self.decimal_point or (line if has_point else 0)
        try:
            values = list(map(float, joined.replace(",", ".").split("\0")))
        except ValueError:
            raise self.cell_error(line, cells) from None
        # Python takes 1_000 as a number, and a decimal comma may be a mark for thousands.
        ambiguous = has_comma and (has_point or self.has_ambiguous_thousand(cells))
        if ambiguous or "_" in joined or not all(map(math.isfinite, values)):
            raise self.cell_error(line, cells)
        if self.decimal_comma and self.decimal_point:
            raise DataError(
                f"{self.dialect.file.name}: the decimal mark is a comma in line {self.decimal_comma} and a point from "
                f"line {self.decimal_point} on; write all numbers in one way"
            )
        return [math.nan if c in skipped else value for c, value in zip(self.columns, values, strict=True)]

    def has_ambiguous_thousand(self, cells: list[str]) -> bool:
        """Tell whether a cell of a comma-separated table is like 1,234."""
        return self.dialect.separator == "," and any(AMBIGUOUS_THOUSAND.fullmatch(cells[c]) for c in self.columns)

    def is_bad_label(self, text: str) -> bool:
        """Tell whether a label is too long, or missing where it may not be."""
        return (is_missing(text) and not self.optional_columns) or len(text) > MAX_LABEL_LENGTH

    def cell_error(self, line: int, cells: list[str]) -> DataError:
        """Return the error of the first cell of a row that is not a number."""
        name = self.dialect.file.name
        for c in self.columns:
            cell = cells[c].strip()
            if is_missing(cell) and c in self.optional_columns:
                continue
            if reason := self.reason_not_a_number(cell):
                return DataError(f"{name}, line {line}, {self.dialect.describe_column(c)} is {reason}")
        return DataError(f"{name}, line {line} has decimal commas beside decimal points; write numbers in one way")

    def reason_not_a_number(self, cell: str) -> str:
        """Return why a cell is not a number, and what to do; empty for a number."""
        if is_missing(cell):
            return f"{repr(cell) if cell else 'empty'}; fill it or remove the row"
        if THOUSANDS.fullmatch(cell) or (self.dialect.separator == "," and AMBIGUOUS_THOUSAND.fullmatch(cell)):
            return f"{shorten(cell)!r}, with a mark for thousands; write numbers without"
        if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell.replace(",", "."))):
            return f"{shorten(cell)!r}, expected a finite number; correct it, or remove or code the column"
        return ""


def parse_table(
    dialect: Dialect,
    features: list[int],
    labels: list[int],
    *,
    regression: bool,
    feature_type: str = AUTO,
    allow_unlabelled: bool = False,
) -> Table:
    """Parse all rows. Labels that are not text are the last columns of the numbers.

    With `allow_unlabelled` a row may lack its label: it is then one of MISSING_VALUES, or NaN.
    """
    by_text = is_text_label(labels, regression)
    columns = features if by_text else features + labels
    parser = TableParser(dialect, columns, labels[0] if by_text else None, labels if allow_unlabelled else ())
    if feature_type == PIXELS or (feature_type == AUTO and image_side(len(features))):
        parser.dtype = np.uint8
    lines = ((line, text) for line, text in read_lines(dialect.file) if line >= dialect.first_row_line)
    if dialect.trailing_delimiters:
        lines = ((line, strip_trailing(text, dialect.separator, dialect.trailing_delimiters)) for line, text in lines)
    for block in blocks(lines):
        parser.parse_block(block)
    if not parser.lines:
        raise DataError(f"{dialect.file.name} holds a header and no rows; expected a row a line")
    rows = Rows(
        np.frombuffer(parser.data, parser.dtype).reshape(-1, len(columns)),
        parser.label_texts,
        np.frombuffer(parser.lines, np.int64),
        bool(parser.decimal_comma),
    )
    return Table(dialect, features, labels, rows)


def blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield lines in lists of about BLOCK_LENGTH characters."""
    block: list[Line] = []
    length = 0
    for line in lines:
        block.append(line)
        length += len(line[1])
        if length >= BLOCK_LENGTH:
            yield block
            block, length = [], 0
    if block:
        yield block
