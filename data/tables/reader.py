"""Tables as text (CSV and its kin), read by the layout that was found (data/tables/dialect.py).

RFC 4180 with what spreadsheets make of it: semicolons and decimal commas, a byte order mark, a line `sep=;`. Blocks of
lines go to NumPy's own parser; a block that it refuses is read cell by cell, which gives the numbers or the sentence.
"""

import csv
import math
import re
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lagvis.data.labels import MAX_EXACT_INT
from lagvis.data.messages import shorten
from lagvis.data.source import Source
from lagvis.data.tables.dialect import (
    NUMBER,
    THOUSANDS,
    Dialect,
    detect_dialect,
    is_missing,
    is_text_label,
    label_columns,
    label_names,
    match_columns,
    split_cells,
    strip_trailing,
)
from lagvis.data.tables.text import read_lines
from lagvis.errors import DataError

ONE_THOUSAND = re.compile(r"\s*[+-]?[0-9]{1,3},[0-9]{3}\s*")
WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
BLOCK_LENGTH = 2**20
MOST_LABEL = 100  # characters: an array of text is as wide as its longest
LEAST_PICTURE = 64  # features of whole numbers 0..255, a square of them, are a picture from here on


@dataclass
class Rows:
    """What was read: numbers (N, columns), text by column, and the line of each row."""

    numbers: np.ndarray
    texts: list[list[str]]
    lines: np.ndarray
    comma: bool


def read_table(path: Path, *, regression: bool, label: str = "") -> Source:
    """A table in one file; the test part is held out from it. `label` names or numbers the label's column."""
    layout = detect_dialect(path, label)
    labels = label_columns(layout, label, regression)
    features, by_text = [c for c in range(len(layout.names)) if c not in labels], is_text_label(labels, regression)
    rows = parse(layout, features, labels, by_text)
    x, (y,) = features_of([rows], len(features))[0], labels_of([(layout, rows)], labels, by_text)
    return Source.hold_out(
        path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name,
        x,
        y,
        {path.name: layout.file.sha256},
        path=path,
        by_class=not regression,
        row_location=lambda row: f"{path}, line {rows.lines[row]}",
        target_names=tuple(layout.names[c] for c in labels) if regression else (),
        label_names=label_names(layout, labels, regression),
        feature_names=tuple(layout.names[c] for c in features) if layout.header else (),
        feature_columns=tuple(c + 1 for c in features),
        notices=(notice(layout, labels, rows, x), *counting(layout, features, x)),
    )


def read_tables(train: Path, test: Path, *, regression: bool, label: str = "") -> Source:
    """A table for training and one for the test, whose columns are matched by name where both have a header."""
    layout = detect_dialect(train, label)
    labels = label_columns(layout, label, regression)
    features, by_text = [c for c in range(len(layout.names)) if c not in labels], is_text_label(labels, regression)
    other = detect_dialect(test, label, layout)
    order, notices = match_columns(layout, other, labels)
    first = parse(layout, features, labels, by_text)
    second = parse(other, [order[c] for c in features], [order[c] for c in labels], by_text)
    x_train, x_test = features_of([first, second], len(features))
    y_train, y_test = labels_of([(layout, first), (other, second)], labels, by_text)
    numbers = {"training": (train, first.lines), "test": (test, second.lines)}
    return Source(
        train.parent.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        sha256={train.name: layout.file.sha256, test.name: other.file.sha256},
        target_names=tuple(layout.names[c] for c in labels) if regression else (),
        label_names=label_names(layout, labels, regression),
        feature_names=tuple(layout.names[c] for c in features) if layout.header else (),
        feature_columns=tuple(c + 1 for c in features),
        notices=(notice(layout, labels, first, x_train), *counting(layout, features, x_train), *notices),
        row_location=lambda part, row: f"{numbers[part][0]}, line {numbers[part][1][row]}",
    )


@dataclass
class Parser:
    """Reads the rows of one table, block by block; numbers are kept as bytes as long as they are bytes."""

    layout: Dialect
    columns: list[int]  # that are numbers, in the order wanted
    text: int | None  # the label's column where it is kept as text
    optional: Collection[int] = ()  # the label's columns where a row may lack them
    dtype: type = np.float64
    data: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    point: int = 0  # the first line with a decimal point, 0 for none
    comma: int = 0

    def read(self, block: list[tuple[int, str]]) -> None:
        """Take a block of lines, by the fast way if it can be."""
        for dtype in dict.fromkeys((self.dtype, np.float64)):
            before = len(self.texts)
            numbers = self.fast(block, dtype)
            if numbers is not None:
                break
            del self.texts[before:]
        else:
            dtype, numbers = np.float64, self.slowly(block)
        if dtype is not self.dtype:
            self.data = bytearray(np.frombuffer(self.data, self.dtype).astype(dtype).data)
            self.dtype = dtype
        self.data += np.ascontiguousarray(numbers).data.cast("B") if numbers.size else b""

    def fast(self, block: list[tuple[int, str]], dtype: type) -> np.ndarray | None:
        """A block by NumPy's parser; None where anything about it is unusual."""

        def keep(cell: str) -> int:
            self.texts.append(cell.strip())
            return 0

        if any('"' in text for _, text in block):  # NumPy takes quotes where RFC 4180 has none
            return None
        separator = None if self.layout.separator == " " else self.layout.separator
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found: np.ndarray = np.loadtxt(
                    [text for _, text in block],
                    dtype=dtype,
                    comments=None,
                    delimiter=separator,
                    ndmin=2,
                    converters=None if self.text is None else {self.text: keep},
                )
        except (ValueError, OverflowError, Warning):
            return None
        labels = () if self.text is None else {*self.texts[-len(block) :]}
        if found.shape != (len(block), len(self.layout.names)) or any(map(self.bad_label, labels)):
            return None
        numbers = found[:, self.columns]
        if dtype is np.float64:
            if not np.isfinite(numbers).all():
                return None
            if not self.point and (numbers != np.floor(numbers)).any():
                self.point = block[0][0]
            if self.comma and self.point:
                return None
        self.lines.extend(line for line, _ in block)
        return numbers

    def slowly(self, block: list[tuple[int, str]]) -> np.ndarray:
        """A block cell by cell; DataError at the first that is not what it should be."""
        numbers: array[float] = array("d")
        path, width = self.layout.file.path, len(self.layout.names)
        for line, text in block:
            try:
                cells = split_cells(self.layout.file, line, text, self.layout.separator)
            except csv.Error as error:
                raise DataError(f"{path}, line {line} cannot be read ({error}); mend its quotes") from None
            if not any(cell.strip() for cell in cells):  # a spreadsheet's empty row
                continue
            if len(cells) != width:
                raise DataError(f"{path}, line {line} has {len(cells)} fields, expected {width} as elsewhere; mend it")
            if self.text is not None:
                self.texts.append(cells[self.text].strip())
                if self.bad_label(self.texts[-1]):
                    raise DataError(
                        f"{path}, line {line}: the label, {self.layout.column(self.text)}, is "
                        f"{shorten(self.texts[-1])!r}; fill it or remove the row, or name another column with --label"
                    )
            numbers.extend(self.values_of(line, cells))
            self.lines.append(line)
        return np.frombuffer(numbers, np.float64).reshape(-1, len(self.columns)) if numbers else np.empty((0, 1))

    def values_of(self, line: int, cells: list[str]) -> list[float]:
        """The numbers of a row; NaN for all of a label of which one is missing and may be."""
        bare = any(is_missing(cells[c]) for c in self.optional)
        joined = "\0".join(["0" if bare and c in self.optional else cells[c] for c in self.columns])
        if "," in joined:
            self.comma = self.comma or line
        if "." in joined:
            self.point = self.point or line
        if "," in joined and ("." in joined or (self.layout.separator == "," and self.one_thousand(cells))):
            self.explain(line, cells)
        try:
            values = list(map(float, joined.replace(",", ".").split("\0")))
        except ValueError:
            self.explain(line, cells)
        if "_" in joined or not all(map(math.isfinite, values)):
            self.explain(line, cells)
        if self.comma and self.point:
            raise DataError(
                f"{self.layout.file.path}: the decimal mark is a comma in line {self.comma} and a point from line "
                f"{self.point} on; write all numbers in one way"
            )
        if bare:
            values = [math.nan if c in self.optional else v for c, v in zip(self.columns, values, strict=True)]
        return values

    def bad_label(self, text: str) -> bool:
        """Whether a label is missing where it may not, or no label at all."""
        return (is_missing(text) and not self.optional) or len(text) > MOST_LABEL

    def one_thousand(self, cells: list[str]) -> bool:
        """Whether a cell could be 1,234 as well as 1.234."""
        return any(ONE_THOUSAND.fullmatch(cells[c]) for c in self.columns)

    def explain(self, line: int, cells: list[str]) -> None:
        """Raise the DataError of the first cell that is no number."""
        for c in self.columns:
            cell = cells[c].strip()
            place = f"{self.layout.file.path}, line {line}, {self.layout.column(c)}"
            if is_missing(cell):
                if c in self.optional:
                    continue
                raise DataError(f"{place} is {repr(cell) if cell else 'empty'}; fill it or remove the row")
            if THOUSANDS.fullmatch(cell) or (self.layout.separator == "," and ONE_THOUSAND.fullmatch(cell)):
                raise DataError(f"{place} is {shorten(cell)!r}, with a mark for thousands; write numbers without")
            if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell.replace(",", "."))):
                raise DataError(
                    f"{place} is {shorten(cell)!r}, expected a finite number; mend it, or remove or code the column"
                )
        raise DataError(
            f"{self.layout.file.path}, line {line} has decimal commas beside decimal points; write numbers in one way"
        )


def parse(layout: Dialect, features: list[int], labels: list[int], by_text: bool, *, unlabelled: bool = False) -> Rows:
    """All rows; where the label is no text its columns are the last of the numbers.

    With `unlabelled` a row may lack its label: the text is then one of those for what is missing, the numbers are NaN.
    """
    columns = features if by_text else features + labels
    parser = Parser(layout, columns, labels[0] if by_text else None, labels if unlabelled else ())
    if picture_side(len(features)):
        parser.dtype = np.uint8
    lines = ((line, text) for line, text in read_lines(layout.file) if line >= layout.body)
    if layout.closing:
        lines = ((line, strip_trailing(text, layout.separator, layout.closing)) for line, text in lines)
    for block in blocks(lines):
        parser.read(block)
    if not parser.lines:
        raise DataError(f"{layout.file.path} holds a header and no rows; expected a row a line")
    return Rows(
        np.frombuffer(parser.data, parser.dtype).reshape(-1, len(columns)),
        [parser.texts] if by_text else [],
        np.frombuffer(parser.lines, np.int64),
        bool(parser.comma),
    )


def blocks(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Lines in lists of about BLOCK_LENGTH characters."""
    block: list[tuple[int, str]] = []
    length = 0
    for line in lines:
        block.append(line)
        length += len(line[1])
        if length >= BLOCK_LENGTH:
            yield block
            block, length = [], 0
    if block:
        yield block


def picture_side(features: int) -> int:
    """The side of a square picture of so many features, 0 where they are none."""
    side = math.isqrt(features)
    return side if features >= LEAST_PICTURE and side * side == features else 0


def features_of(tables: list[Rows], width: int) -> list[np.ndarray]:
    """The features (N, n_in) of each table as float64, or as bytes (N, H, H) where all could be square pictures."""
    arrays = [rows.numbers[:, :width] for rows in tables]
    side = picture_side(width)
    if side and all(map(are_bytes, arrays)):
        return [x.astype(np.uint8, copy=False).reshape(-1, side, side) for x in arrays]
    return [x.astype(np.float64, copy=False) for x in arrays]


def are_bytes(x: np.ndarray) -> bool:
    """Whether all numbers are whole, from 0 to 255."""
    return x.dtype == np.uint8 or bool(x.min() >= 0 and x.max() <= 255 and (x == np.floor(x)).all())


def labels_of(tables: list[tuple[Dialect, Rows]], labels: list[int], by_text: bool) -> list[np.ndarray]:
    """The labels of each table: numbers (N,) or (N, columns), or whole numbers or text (N,), of one kind in all."""
    if not by_text:
        return [rows.numbers[:, -len(labels) :].astype(np.float64) for _, rows in tables]
    known = {text: whole(text) for _, rows in tables for text in rows.texts[0]}
    if all(value is not None for value in known.values()):
        return [np.array([known[text] for text in rows.texts[0]], np.int64) for _, rows in tables]
    if all(NUMBER.fullmatch(text) and not text.isdecimal() for text, value in known.items() if value is None):
        layout, line, text = next(
            (layout, rows.lines[i], text)
            for layout, rows in tables
            for i, text in enumerate(rows.texts[0])
            if known[text] is None
        )
        raise DataError(
            f"{layout.file.path}, line {line}: {layout.column(labels[0])} is taken as the label and holds "
            f"{text}, which is no class; say which column is with --label, or predict numbers with --loss mse"
        )
    return [label_texts(rows.texts[0]) for _, rows in tables]


def label_texts(texts: Sequence[str]) -> np.ndarray:
    """The names of labels (N,): 1 and 1.0 are one, beside text too."""
    names = {text: text if (value := whole(text)) is None else str(value) for text in {*texts}}
    return np.array([names[text] for text in texts])


def whole(text: str) -> int | None:
    """The whole number that a label is, written 3, 3.0 or 3e0; None for others, and for codes such as 007."""
    if WHOLE.fullmatch(text):
        return int(text)
    if not NUMBER.fullmatch(text) or re.match(r"[+-]?0[0-9]", text) or text.isdecimal():
        return None
    value = float(text.replace(",", "."))
    return int(value) if abs(value) < MAX_EXACT_INT and value == math.floor(value) else None


def notice(layout: Dialect, labels: list[int], rows: Rows, x: np.ndarray) -> str:
    """One line on what was found in the table, and the flag that says otherwise."""
    mark = f", decimal {'comma' if rows.comma else 'point'}" if x.dtype != np.uint8 else ""
    shape = f", whole numbers 0..255 taken as pictures of {x.shape[1]}x{x.shape[2]}" if x.ndim == 3 else ""
    which = ", ".join(layout.column(c) for c in labels)
    width = math.prod(x.shape[1:])
    features = f"{width} feature{'' if width == 1 else 's'}"
    return (
        f"{layout.file.path.name}: {len(x):,} rows of {features}{shape}; {layout.words()}"
        f"{mark}; the label is {which} (--label says otherwise)."
    )


def counts_up(column: np.ndarray) -> bool:
    """Whether each number is the one before and 1."""
    return all(np.array_equal(part[1:], part[:-1] + 1) for part in (column[:4], column))


def counting(layout: Dialect, features: list[int], x: np.ndarray) -> list[str]:
    """A line for a column that counts the rows, as an index does; whether it is a feature is not ours to say."""
    flat = x.reshape(len(x), -1)
    if len(flat) < 4 or flat.dtype == np.uint8:
        return []
    found = [features[j] for j in np.flatnonzero(np.isin(flat[0], (0, 1))) if counts_up(flat[:, j])]
    name = layout.file.path.name
    return [f"{name}: {layout.column(c)} counts the rows; if it is no feature, remove it." for c in found]
