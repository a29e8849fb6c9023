"""Tables as text (CSV and its kin): separator, decimal mark, quotes, header and label column are found or told.

RFC 4180 with what spreadsheets make of it: semicolons and decimal commas, a byte order mark, a line `sep=;`. Blocks of
lines go to NumPy's own parser; a block that it refuses is read cell by cell, which gives the numbers or the sentence.
"""

import csv
import difflib
import math
import re
import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from data.dataset import LARGEST_WHOLE, Source, short
from data.errors import DataError
from data.lines import TextFile, lines_of, survey
from data.split import hold_out_test, no_test_part

SEPARATORS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "blanks"}
# What the label's column may be called, in any case. The weak names serve where none of the others is there.
LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets", "species", "category", "klasse", "etiket")
WEAK_LABEL_NAMES = ("y",)
MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "?"}
NUMBER = re.compile(r"\s*[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*")
THOUSANDS = re.compile(
    r"\s*[+-]?[0-9]{1,3}(([.'\u2019 \u00a0][0-9]{3})+,[0-9]+|([,'\u2019 \u00a0][0-9]{3})+\.[0-9]+"
    r"|([.][0-9]{3}){2,}|([,][0-9]{3}){2,}|(['\u2019 \u00a0][0-9]{3})+)\s*"
)
ONE_THOUSAND = re.compile(r"\s*[+-]?[0-9]{1,3},[0-9]{3}\s*")
WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
SAMPLE_LINES, SAMPLE_LENGTH = 100, 2**21
BLOCK_LENGTH = 2**20
MOST_COLUMNS = 100_000
MOST_LABEL = 100  # characters: an array of text is as wide as its longest
LEAST_PICTURE = 64  # features of whole numbers 0..255, a square of them, are a picture from here on


@dataclass(frozen=True)
class Layout:
    """How a table is written; `names` are those of its columns, and numeric[c] says whether column c holds numbers."""

    file: TextFile
    separator: str
    header: bool
    body: int  # number of the first line of rows
    names: tuple[str, ...]
    numeric: tuple[bool, ...]

    def column(self, c: int) -> str:
        """A column in words."""
        return f"column {c + 1} ({short(self.names[c])!r})" if self.header else f"column {c + 1}"

    def words(self) -> str:
        """What was found, for the notice."""
        encoding = "" if self.file.encoding.startswith("utf-8") else f", encoding {self.file.encoding}"
        return f"separator {SEPARATORS[self.separator]}, {'a header' if self.header else 'no header'}{encoding}"


@dataclass
class Rows:
    """What was read: numbers (N, columns), text by column, and the line of each row."""

    numbers: np.ndarray
    texts: list[list[str]]
    lines: np.ndarray
    comma: bool


def read_table(path: Path, *, regression: bool, label: str = "") -> Source:
    """A table in one file; the test part is held out from it. `label` names or numbers the label's column."""
    layout = sniff(path, label)
    labels = find_labels(layout, label, regression)
    features, by_text = [c for c in range(len(layout.names)) if c not in labels], text_label(labels, regression)
    rows = parse(layout, features, labels, by_text)
    if len(rows.lines) < 2:
        raise DataError(f"{path} holds one row alone; a training and a test part need one each at least")
    x, (y,) = features_of([rows], len(features))[0], labels_of([(layout, rows)], labels, by_text)
    train, test = hold_out_test(y, by_class=not regression)
    numbers = {"training": rows.lines[train], "test": rows.lines[test]}
    return Source(
        path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name,
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
        sha256={path.name: layout.file.sha256},
        target_names=tuple(layout.names[c] for c in labels) if regression else (),
        label_names=label_names(layout, labels, regression),
        feature_names=tuple(layout.names[c] for c in features) if layout.header else (),
        feature_columns=tuple(c + 1 for c in features),
        notices=(
            notice(layout, labels, rows, x),
            *counting(layout, features, x),
            no_test_part(path.name, len(test), len(y)),
        ),
        where=lambda part, row: f"{path}, line {numbers[part][row]}",
    )


def read_tables(train: Path, test: Path, *, regression: bool, label: str = "") -> Source:
    """A table for training and one for the test, whose columns are matched by name where both have a header."""
    layout = sniff(train, label)
    labels = find_labels(layout, label, regression)
    features, by_text = [c for c in range(len(layout.names)) if c not in labels], text_label(labels, regression)
    other = sniff(test, label, layout)
    order, notices = match(layout, other, labels)
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
        where=lambda part, row: f"{numbers[part][0]}, line {numbers[part][1][row]}",
    )


def sniff(path: Path, label: str = "", like: Layout | None = None) -> Layout:
    """Separator, header and kinds of columns by the first lines; `like` is the layout of the training part."""
    file = survey(path)
    sample, length = [], 0
    for line in islice(lines_of(file), SAMPLE_LINES):
        sample.append(line)
        length += len(line[1])
        if length > SAMPLE_LENGTH and len(sample) > 1:
            break
    told = re.fullmatch(r'"?sep=(.)"?', sample[0][1]) if sample else None
    if told:  # Excel's own way to say it
        del sample[0]
    if not sample:
        raise DataError(f"{path} holds blank lines alone; expected a table, a row a line")
    if sample[0][1].lstrip()[:1] in "<{":
        raise DataError(f"{path} begins with {short(sample[0][1].lstrip())!r}: a web page or JSON; expected a table")
    separators = [told[1]] if told and told[1] in SEPARATORS else list(SEPARATORS)
    separator, rows = max(((s, divided(file, sample, s)) for s in separators), key=lambda found: quality(found[1]))
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2 or count * 2 < len(rows):
        raise DataError(
            f"{path} is not a table: its lines do not fall into equally many fields by "
            f"{', '.join(SEPARATORS.values())}; expected a label and the features of one row in each line"
        )
    if not any(map(is_number, (cell for row in rows for cell in row))):
        raise DataError(f"{path} holds no numbers in its first lines; expected a row of numbers and a label a line")
    first, body = rows[0], [row for row in rows[1:] or rows if len(row) == width]
    known = [[row[c] for row in body if row[c].strip().lower() not in MISSING] for c in range(width)]
    numeric = tuple(2 * sum(map(is_number, cells)) >= len(cells) for cells in known)
    cells = [cell.strip() for cell in first]
    header = len(first) == width and (
        any(is_name(cell) and known[c] and numeric[c] for c, cell in enumerate(cells))
        or any(is_name(cell) and cell in (label, *label.split(",")) for cell in cells)
        or (like is not None and like.header and sorted(cells) == sorted(like.names))
        # pandas writes the columns of a bare array under their numbers
        or (width > 3 and cells in ([*map(str, range(width))], [*map(str, range(1, width + 1))]))
    )
    names = cells if header else [""] * width
    return Layout(
        file,
        separator,
        header,
        body=sample[0][0] + 1 if header else sample[0][0],
        names=tuple(name or f"column {c + 1}" for c, name in enumerate(names)),
        numeric=numeric,
    )


def divided(file: TextFile, sample: Sequence[tuple[int, str]], separator: str) -> list[list[str]]:
    """The sample by a separator; a line that cannot be divided stays whole."""
    rows = []
    for line, text in sample:
        try:
            rows.append(cells_of(file, line, text, separator))
        except csv.Error:
            rows.append([text])
    return rows


def cells_of(file: TextFile, line: int, text: str, separator: str) -> list[str]:
    """The fields of a line."""
    blanks = separator == " "
    if blanks:
        text = " ".join(text.split())
    if text.count(separator) >= MOST_COLUMNS:
        raise DataError(
            f"{file.path}, line {line} has {text.count(separator) + 1:,} fields; expected {MOST_COLUMNS:,} at most"
        )
    return next(csv.reader([text], delimiter=separator, skipinitialspace=not blanks, strict=True))


def quality(rows: list[list[str]]) -> tuple[float, float, int]:
    """How well a separator divides: lines of one width, and cells that are numbers."""
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2:
        return 0.0, 0.0, 1
    cells = [cell for row in rows for cell in row]
    return count / len(rows) * sum(map(is_number, cells)) / len(cells), count / len(rows), width


def is_number(cell: str) -> bool:
    """Whether a cell is meant as a number, however it is written."""
    return bool(NUMBER.fullmatch(cell) or THOUSANDS.fullmatch(cell))


def is_name(cell: str) -> bool:
    """Whether a cell could stand in a header only."""
    return cell.strip().lower() not in MISSING and not is_number(cell)


def find_labels(layout: Layout, label: str, regression: bool) -> list[int]:
    """The label's column, or columns, as indices: told, or by name, or the only one of text, or the first."""
    found = columns_told(layout, label) if label else [label_unasked(layout, regression)]
    text = [c for c, numeric in enumerate(layout.numeric) if not numeric and c not in found]
    if text:
        taken = " and ".join(layout.column(c) for c in found)
        label_too = f" ({taken} is taken as the label; --label says otherwise)"
        raise DataError(
            f"{layout.file.path}: {layout.column(text[0])} holds text, and features are numbers; remove it or code it "
            f"as numbers{label_too}"
        )
    return found


def columns_told(layout: Layout, label: str) -> list[int]:
    """The columns that --label names or numbers, as indices."""
    path, names = layout.file.path, layout.names
    whole = column_told(layout, label)
    told = [whole] if whole is not None else [column_told(layout, part.strip()) for part in label.split(",")]
    for part, c in zip(label.split(","), told, strict=False):
        if c is None:
            near = difflib.get_close_matches(part.strip(), names, n=1) if layout.header else []
            have = f"the columns {listed_columns(names)}" if layout.header else f"{len(names)}, no header"
            raise DataError(
                f"{path} has no column {part.strip()!r} for --label: it has {have}; give a name"
                f" or a number from 1 to {len(names)}{f'; did you mean {near[0]}?' if near else ''}"
            )
    found = [c for c in told if c is not None]
    if len(set(found)) < len(found):
        raise DataError(f"{path}: --label {label} names one column twice; name each once")
    if len(found) == len(names):
        raise DataError(f"{path}: --label {label} leaves no column as a feature; name fewer")
    return found


def column_told(layout: Layout, label: str) -> int | None:
    """The index of a column by its name, else by its number from 1, or from the end by -1 or last."""
    width = len(layout.names)
    if layout.header:
        for names, wanted in ((layout.names, label), ([name.casefold() for name in layout.names], label.casefold())):
            matches = [c for c, name in enumerate(names) if name == wanted]
            if len(matches) > 1:
                raise DataError(f"{layout.file.path} has {len(matches)} columns {label!r}; give one by its number")
            if matches:
                return matches[0]
    if label.lower() == "last":
        return width - 1
    number = int(label) if re.fullmatch(r"-?[0-9]{1,9}", label) else 0
    return (number - 1 if number > 0 else width + number) if 1 <= abs(number) <= width else None


def label_unasked(layout: Layout, regression: bool) -> int:
    """The label's column where nobody has told it."""
    if layout.header:
        for table in (LABEL_NAMES, WEAK_LABEL_NAMES):
            named = [c for c, name in enumerate(layout.names) if name.casefold() in table]
            if len(named) > 1:
                both = " and ".join(repr(layout.names[c]) for c in named)
                raise DataError(f"{layout.file.path}: {both} could each be the label; say which with --label")
            if named:
                return named[0]
    text = [c for c, numeric in enumerate(layout.numeric) if not numeric]
    return text[0] if len(text) == 1 and not regression else 0


def listed_columns(names: Sequence[str]) -> str:
    """The names of columns in a few words."""
    return ", ".join(short(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")


def text_label(labels: list[int], regression: bool) -> bool:
    """Whether the label is kept as text at first: one column of classes, and neither numbers nor one-hot columns."""
    return len(labels) == 1 and not regression


def label_names(layout: Layout, labels: list[int], regression: bool) -> tuple[str, ...]:
    """The names of the columns that classes are read from; those of one-hot rows also where they are numbers only."""
    named = not regression and (layout.header or len(labels) > 1)
    return tuple(layout.names[c] for c in labels) if named else ()


def match(layout: Layout, other: Layout, labels: list[int]) -> tuple[list[int], list[str]]:
    """For each column of the training table, the index of its column in the test table; and what to say of it."""
    path, names = other.file.path, other.names
    by_name = layout.header and other.header
    absent = [layout.names[c] for c in range(len(layout.names)) if layout.names[c] not in names] if by_name else []
    if absent:
        of_label = " (the label)" if any(layout.names[c] in absent for c in labels) else ""
        raise DataError(
            f"{path} lacks the columns {listed_columns(absent)}{of_label}, which {layout.file.path.name} has; add "
            f"them, or give {layout.file.path.name} alone to --data"
        )
    if names == layout.names or not by_name:
        if len(names) != len(layout.names):
            raise DataError(
                f"{path} has {len(names)} columns, {layout.file.path.name} has {len(layout.names)}; make them "
                f"equal, or give {layout.file.path.name} alone to --data"
            )
        return list(range(len(names))), []
    if len(set(layout.names)) < len(layout.names):
        raise DataError(f"{layout.file.path} has two columns of one name; give each its own")
    more = [name for name in names if name not in layout.names]
    notices = [f"{path.name}: not used: {listed_columns(more)}, which {layout.file.path.name} lacks."] if more else []
    return [names.index(name) for name in layout.names], notices


@dataclass
class Parser:
    """Reads the rows of one table, block by block; numbers are kept as bytes as long as they are bytes."""

    layout: Layout
    columns: list[int]  # that are numbers, in the order wanted
    text: int | None  # the label's column where it is kept as text
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
        labels = () if self.text is None else self.texts[-len(block) :]
        if found.shape != (len(block), len(self.layout.names)) or any(map(bad_label, labels)):
            return None
        numbers = found[:, self.columns]
        if dtype is np.float64:
            if not self.point and (numbers != np.floor(numbers)).any():
                self.point = block[0][0]
            if not np.isfinite(numbers).all() or (self.comma and self.point):
                return None
        self.lines.extend(line for line, _ in block)
        return numbers

    def slowly(self, block: list[tuple[int, str]]) -> np.ndarray:
        """A block cell by cell; DataError at the first that is not what it should be."""
        numbers: array[float] = array("d")
        path, width = self.layout.file.path, len(self.layout.names)
        for line, text in block:
            try:
                cells = cells_of(self.layout.file, line, text, self.layout.separator)
            except csv.Error as error:
                raise DataError(f"{path}, line {line} cannot be read ({error}); mend its quotes") from None
            if not any(cell.strip() for cell in cells):  # a spreadsheet's empty row
                continue
            if len(cells) != width:
                raise DataError(f"{path}, line {line} has {len(cells)} fields, expected {width} as elsewhere; mend it")
            if self.text is not None:
                self.texts.append(cells[self.text].strip())
                if bad_label(self.texts[-1]):
                    raise DataError(
                        f"{path}, line {line}: the label, {self.layout.column(self.text)}, is "
                        f"{short(self.texts[-1])!r}; fill it or remove the row, or name another column with --label"
                    )
            joined = "\0".join([cells[c] for c in self.columns])
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
                    f"{path}: the decimal mark is a comma in line {self.comma} and a point from line {self.point} on; "
                    "write all numbers in one way"
                )
            numbers.extend(values)
            self.lines.append(line)
        return np.frombuffer(numbers, np.float64).reshape(-1, len(self.columns)) if numbers else np.empty((0, 1))

    def one_thousand(self, cells: list[str]) -> bool:
        """Whether a cell could be 1,234 as well as 1.234."""
        return any(ONE_THOUSAND.fullmatch(cells[c]) for c in self.columns)

    def explain(self, line: int, cells: list[str]) -> None:
        """Raise the DataError of the first cell that is no number."""
        for c in self.columns:
            cell = cells[c].strip()
            place = f"{self.layout.file.path}, line {line}, {self.layout.column(c)}"
            if cell.lower() in MISSING:
                raise DataError(f"{place} is {repr(cell) if cell else 'empty'}; fill it or remove the row")
            if THOUSANDS.fullmatch(cell) or (self.layout.separator == "," and ONE_THOUSAND.fullmatch(cell)):
                raise DataError(f"{place} is {short(cell)!r}, with a mark for thousands; write numbers without")
            if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell.replace(",", "."))):
                raise DataError(
                    f"{place} is {short(cell)!r}, expected a finite number; mend it, or remove or code the column"
                )
        raise DataError(
            f"{self.layout.file.path}, line {line} has decimal commas beside decimal points; write numbers in one way"
        )


def bad_label(text: str) -> bool:
    """Whether a label is missing or no label at all."""
    return text.lower() in MISSING or len(text) > MOST_LABEL


def parse(layout: Layout, features: list[int], labels: list[int], by_text: bool) -> Rows:
    """All rows; where the label is no text its columns are the last of the numbers."""
    columns = features if by_text else features + labels
    parser = Parser(layout, columns, labels[0] if by_text else None)
    if picture_side(len(features)):
        parser.dtype = np.uint8
    for block in blocks((line, text) for line, text in lines_of(layout.file) if line >= layout.body):
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


def labels_of(tables: list[tuple[Layout, Rows]], labels: list[int], by_text: bool) -> list[np.ndarray]:
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
    return int(value) if abs(value) < LARGEST_WHOLE and value == math.floor(value) else None


def notice(layout: Layout, labels: list[int], rows: Rows, x: np.ndarray) -> str:
    """One line on what was found in the table, and the flag that says otherwise."""
    mark = f", decimal {'comma' if rows.comma else 'point'}" if x.dtype != np.uint8 else ""
    shape = f", whole numbers 0..255 taken as pictures of {x.shape[1]}x{x.shape[2]}" if x.ndim == 3 else ""
    which = ", ".join(layout.column(c) for c in labels)
    return (
        f"{layout.file.path.name}: {len(x):,} rows of {math.prod(x.shape[1:])} features{shape}; {layout.words()}"
        f"{mark}; the label is {which} (--label says otherwise)."
    )


def counts_up(column: np.ndarray) -> bool:
    """Whether each number is the one before and 1."""
    return all(np.array_equal(part[1:], part[:-1] + 1) for part in (column[:4], column))


def counting(layout: Layout, features: list[int], x: np.ndarray) -> list[str]:
    """A line for a column that counts the rows, as an index does; whether it is a feature is not ours to say."""
    flat = x.reshape(len(x), -1)
    if len(flat) < 4 or flat.dtype == np.uint8:
        return []
    found = [features[j] for j in np.flatnonzero(np.isin(flat[0], (0, 1))) if counts_up(flat[:, j])]
    name = layout.file.path.name
    return [f"{name}: {layout.column(c)} counts the rows; if it is no feature, remove it." for c in found]
