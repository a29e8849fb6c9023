"""Read tables as text (CSV and the like) in the dialect that data/tables/dialect.py detects.

RFC 4180, and what spreadsheets make of it: semicolons and decimal commas, a byte order mark, a line `sep=;`. NumPy's
own parser reads blocks of lines; a block that it rejects is read cell by cell, which gives the numbers or a DataError.
"""

import csv
import math
import re
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lagvis.data.input_spec import InputSpec
from lagvis.data.labels import MAX_EXACT_INT
from lagvis.data.messages import shorten
from lagvis.data.source import Source
from lagvis.data.tables.columns import (
    class_column_names,
    columns_for_training,
    is_text_label,
    labelled_columns_for_network,
    list_columns,
    match_columns,
)
from lagvis.data.tables.dialect import (
    NUMBER,
    THOUSANDS,
    Dialect,
    Line,
    detect_dialect,
    is_missing,
    split_cells,
    strip_trailing,
)
from lagvis.data.tables.text import read_lines
from lagvis.errors import DataError

AMBIGUOUS_THOUSAND = re.compile(r"\s*[+-]?[0-9]{1,3},[0-9]{3}\s*")  # 1,234 may be 1234 or 1.234
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
BLOCK_LENGTH = 2**20  # characters
MAX_LABEL_LENGTH = 100  # characters: an array of text is as wide as its longest
AUTO, PIXELS, NUMBERS = FEATURE_TYPES = ("auto", "pixels", "numbers")  # what the feature columns hold
MIN_PIXELS = 64  # from this many feature columns on, AUTO takes a square number of whole numbers 0..255 as an image


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


def read_table(
    path: Path, *, regression: bool, label: str = "", feature_type: str = AUTO, spec: InputSpec | None = None
) -> Source:
    """Read a table in one file and hold out a test part.

    label         name or number of the label column; empty: find it
    feature_type  one of FEATURE_TYPES
    spec          a trained network whose columns are looked up, in its order; it decides about `feature_type`
    """
    table = read_rows(path, regression=regression, label=label, feature_type=feature_type, spec=spec)
    rows, dialect = table.rows, table.dialect
    (x,) = feature_arrays([table], feature_type, spec)
    (y,) = label_arrays([table], regression)
    return Source.hold_out(
        path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name,
        x,
        y,
        {path.name: dialect.file.sha256},
        path=path,
        by_class=not regression,
        row_location=lambda row: f"{path}, line {rows.lines[row]}",
        target_names=target_names(table, regression, spec),
        label_names=class_column_names(dialect, table.labels, regression),
        feature_names=feature_names(table, spec),
        feature_columns=tuple(c + 1 for c in table.features),
        notices=table_notices(table, x, feature_type, spec),
    )


def read_tables(
    train: Path,
    test: Path,
    *,
    regression: bool,
    label: str = "",
    feature_type: str = AUTO,
    spec: InputSpec | None = None,
) -> Source:
    """Read a training and a test table, matched by the names of their columns where both have a header.

    The options are those of `read_table`; with `spec` each is matched with the columns of the network.
    """
    read = partial(read_rows, regression=regression, label=label, feature_type=feature_type, spec=spec)
    first = read(train)
    notices: list[str] = []
    if spec:
        second = read(test)
    else:
        dialect = detect_dialect(test, label, first.dialect)
        order, notices = match_columns(first.dialect, dialect, first.labels)
        features, labels = [order[c] for c in first.features], [order[c] for c in first.labels]
        second = parse_table(dialect, features, labels, regression=regression, feature_type=feature_type)
    x_train, x_test = feature_arrays([first, second], feature_type, spec)
    y_train, y_test = label_arrays([first, second], regression)
    lines = {"training": (train, first.rows.lines), "test": (test, second.rows.lines)}
    return Source(
        train.parent.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        sha256={train.name: first.dialect.file.sha256, test.name: second.dialect.file.sha256},
        target_names=target_names(first, regression, spec),
        label_names=class_column_names(first.dialect, first.labels, regression),
        feature_names=feature_names(first, spec),
        feature_columns=tuple(c + 1 for c in first.features),
        notices=(*table_notices(first, x_train, feature_type, spec), *notices),
        row_location=lambda part, row: f"{lines[part][0]}, line {lines[part][1][row]}",
    )


def read_rows(path: Path, *, regression: bool, label: str, feature_type: str, spec: InputSpec | None) -> Table:
    """Detect the dialect of a table, choose its columns and parse its rows."""
    if spec:
        dialect = detect_dialect(path, spec.label)
        columns = labelled_columns_for_network(dialect, spec)
        feature_type = PIXELS if spec.is_bytes else NUMBERS
    else:
        dialect = detect_dialect(path, label)
        columns = columns_for_training(dialect, label, regression)
    return parse_table(dialect, columns.features, columns.labels, regression=regression, feature_type=feature_type)


def target_names(table: Table, regression: bool, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the numbers to predict; empty for classes."""
    if not regression:
        return ()
    return spec.target_names if spec else tuple(table.dialect.names[c] for c in table.labels)


def feature_names(table: Table, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the feature columns, empty without a header; those of a network that matched by position."""
    if not table.dialect.has_header or (spec and not spec.feature_names):
        return ()
    return tuple(table.dialect.names[c] for c in table.features)


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


def image_side(n_features: int) -> int:
    """Return the side of a square image of so many pixels; 0 where they are too few for AUTO, or no square."""
    side = math.isqrt(n_features)
    return side if n_features >= MIN_PIXELS and side * side == n_features else 0


def feature_arrays(tables: list[Table], feature_type: str, spec: InputSpec | None = None) -> list[np.ndarray]:
    """Return the features of each table: float64 (N, n_features), or uint8 (N, H, H) where they are pixels.

    With `spec` they are of its shape and type. DataError for pixels that are not whole numbers 0..255.
    """
    if spec:
        return [network_rows(table, spec).reshape(-1, *spec.shape) for table in tables]
    width = len(tables[0].features)
    side = image_side(width)
    if feature_type == PIXELS:
        side = math.isqrt(width)
        if side * side != width:
            raise DataError(
                f"{tables[0].dialect.file.name} has {width} feature columns; expected a square number of them for "
                "pictures (64 for 8x8); use --feature-type numbers"
            )
        for table in tables:
            if (row := first_row_not_bytes(table.x)) is not None:
                raise DataError(
                    f"{table.dialect.file.name}, line {table.rows.lines[row]} holds other features than whole numbers "
                    "0..255, which pixels are; use --feature-type numbers"
                )
    elif feature_type == NUMBERS or not side or any(not are_bytes(table.x) for table in tables):
        return [table.x.astype(np.float64, copy=False) for table in tables]
    return [table.x.astype(np.uint8, copy=False).reshape(-1, side, side) for table in tables]


def network_rows(table: Table, spec: InputSpec) -> np.ndarray:
    """Return the features as a network takes them, (N, n_features) uint8 or float64; DataError where they are not."""
    if spec.is_bytes and (row := first_row_not_bytes(table.x)) is not None:
        raise DataError(
            f"{table.dialect.file.name}, line {table.rows.lines[row]} holds other features than whole numbers 0..255, "
            "which the network was trained on"
        )
    return table.x.astype(np.uint8 if spec.is_bytes else np.float64, copy=False)


def are_bytes(x: np.ndarray) -> bool:
    """Tell whether all numbers are whole, from 0 to 255."""
    return x.dtype == np.uint8 or bool(x.min() >= 0 and x.max() <= 255 and (x == np.floor(x)).all())


def first_row_not_bytes(x: np.ndarray) -> int | None:
    """Return the index of the first row that holds another number than 0..255, whole; None where there is none."""
    if are_bytes(x):
        return None
    return int(np.flatnonzero(((x < 0) | (x > 255) | (x != np.floor(x))).any(axis=1))[0])


def label_arrays(tables: list[Table], regression: bool) -> list[np.ndarray]:
    """Return the labels of each table: numbers (N,) or (N, columns), or integers or text (N,), of one kind in all."""
    labels = tables[0].labels
    if not is_text_label(labels, regression):
        return [table.rows.numbers[:, -len(labels) :].astype(np.float64) for table in tables]
    integers = {text: parse_integer(text) for table in tables for text in table.rows.label_texts}
    if all(value is not None for value in integers.values()):
        return [np.array([integers[text] for text in table.rows.label_texts], np.int64) for table in tables]
    others = {text for text, value in integers.items() if value is None}
    if all(NUMBER.fullmatch(text) and not text.isdecimal() for text in others):
        table, row = next(
            (table, row)
            for table in tables
            for row, text in enumerate(table.rows.label_texts)
            if integers[text] is None
        )
        raise DataError(
            f"{table.dialect.file.name}, line {table.rows.lines[row]}: "
            f"{table.dialect.describe_column(table.labels[0])} is taken as the label and holds "
            f"{table.rows.label_texts[row]}, which is not a class; name the label column with --label, or predict "
            "numbers with --loss mse"
        )
    return [canonical_labels(table.rows.label_texts) for table in tables]


def canonical_labels(texts: Sequence[str]) -> np.ndarray:
    """Return labels (N,) of which 1 and 1.0 are one class, beside text too."""
    names = {text: text if (value := parse_integer(text)) is None else str(value) for text in {*texts}}
    return np.array([names[text] for text in texts])


def parse_integer(text: str) -> int | None:
    """Return the integer written 3, 3.0 or 3e0; None for others, and for codes such as 007."""
    if INTEGER.fullmatch(text):
        return int(text)
    if not NUMBER.fullmatch(text) or re.match(r"[+-]?0[0-9]", text) or text.isdecimal():
        return None
    value = float(text.replace(",", "."))
    return int(value) if abs(value) < MAX_EXACT_INT and value == math.floor(value) else None


def table_notices(table: Table, x: np.ndarray, feature_type: str, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the notices about a table: what was detected, with the options that override it; counting columns."""
    dialect, guessed_image = table.dialect, spec is None and feature_type == AUTO and x.ndim == 3
    mark = f", decimal {'comma' if table.rows.decimal_comma else 'point'}" if x.dtype != np.uint8 else ""
    width = len(table.features)
    features = f"{width} feature{'' if width == 1 else 's'}"
    if guessed_image:
        size = f"{x.shape[1]}x{x.shape[2]}"
        features += f", whole numbers 0..255 taken as pictures of {size} (unless --feature-type numbers)"
    labels = ", ".join(dialect.describe_column(c) for c in table.labels)
    detected = (
        f"{table.name}: {len(x):,} rows of {features}; {dialect.describe()}{mark}; "
        f"the label is {labels} (--label names another)."
    )
    unused = [name for c, name in enumerate(dialect.names) if c not in (*table.features, *table.labels)]
    not_used = (f"{table.name}: not used: {list_columns(unused)}.",) if unused else ()
    return (detected, *not_used, *counting_notices(table, x))


def counting_notices(table: Table, x: np.ndarray) -> list[str]:
    """Return a notice for each column that counts the rows, as an index does: the user decides if it is a feature."""
    rows = x.reshape(len(x), -1)
    if len(rows) < 4 or rows.dtype == np.uint8:
        return []
    found = [table.features[j] for j in np.flatnonzero(np.isin(rows[0], (0, 1))) if counts_up(rows[:, j])]
    columns = [table.dialect.describe_column(c) for c in found]
    return [f"{table.name}: {column} counts the rows; if it is not a feature, remove it." for column in columns]


def counts_up(column: np.ndarray) -> bool:
    """Tell whether each number is one more than the number before."""
    return all(np.array_equal(part[1:], part[:-1] + 1) for part in (column[:4], column))
