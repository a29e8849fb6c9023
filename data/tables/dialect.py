"""Detect how a table is written: separator, header, kinds of columns."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path

from lagvis.data.messages import shorten
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.text import MAX_LINE_LENGTH, TextFile, inspect_text, read_lines
from lagvis.errors import DataError
from lagvis.option_text import option

SEPARATORS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "blanks"}
MISSING_VALUES = {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "null", "?"}
COMMENT = re.compile(r"\s*(#|%|//|\|)\s*")
COMMENTED_NAME = re.compile(r"#\s+(\w+)")  # numpy.savetxt writes a header so
NUMBER = re.compile(r"\s*[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*")
THOUSANDS_PATTERN = (  # 1.234,5 and 1,234.5, or several marks, or one that is no decimal mark
    "[+-]?[0-9]{1,3}(([.'\u2019 \u00a0\u202f][0-9]{3})+,[0-9]+|([,'\u2019 \u00a0\u202f][0-9]{3})+\\.[0-9]+"
    "|([.][0-9]{3}){2,}|([,][0-9]{3}){2,}|(['\u2019 \u00a0\u202f][0-9]{3})+)"
)
THOUSANDS = re.compile(rf"\s*{THOUSANDS_PATTERN}\s*")
SAMPLE_LINES, SAMPLE_LENGTH = 100, 2**21
MAX_COLUMNS = 100_000
MIN_EQUAL_SHARE = 0.9  # of the lines, of one width by a separator, if names above them are to be a header
Line = tuple[int, str]  # the line's number in the file, from 1, and its text


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    first_row_line       number of the line that the first row stands in, from 1
    names                of the columns; "column 1", "column 2", ... without a header
    trailing_delimiters  separators at the end of each line with nothing behind them
    remarks              lines above the header that are no part of the table
    has_decimal_comma    whether a number of the first rows has one
    sample               cells of the first rows
    """

    file: TextFile
    separator: str
    has_header: bool
    first_row_line: int
    names: tuple[str, ...]
    trailing_delimiters: int = 0
    remarks: tuple[str, ...] = ()
    has_decimal_comma: bool = False
    sample: Sequence[Sequence[str]] = field(default=(), repr=False)

    @property
    def lines_above(self) -> int:
        """Return the number of lines of the file above the first row."""
        return self.first_row_line - self.file.first_line

    def describe_column(self, c: int) -> str:
        """Return the number of a column, from 1, and its name."""
        return f"column {c + 1} ({shorten(self.names[c])!r})" if self.has_header else f"column {c + 1}"

    def describe(self) -> str:
        """Return separator, header and an unusual encoding in words."""
        encoding = "" if self.file.encoding.startswith("utf-8") else f", encoding {self.file.encoding}"
        remarks = ""
        if self.remarks:
            count = "the first line" if len(self.remarks) == 1 else f"the first {len(self.remarks)} lines"
            remarks = f", {count} skipped as remarks ({shorten(self.remarks[0].strip())!r})"
        header = "a header" if self.has_header else "no header"
        return f"separator {SEPARATORS[self.separator]}, {header}{remarks}{encoding}"


def detect_dialect(
    path: Path,
    label: str = "",
    training: TableFrame | None = None,
    *,
    allow_single_column: bool = False,
    display_name: str = "",
) -> Dialect:
    """Detect the dialect of a table from its first lines.

    A first line that holds `label`, or the names of the `training` table, is a header. `display_name` stands for the
    path in messages. Raises DataError for text that is no table, and for a single column unless allowed.
    """
    return dialect_of(inspect_text(path, display_name), label, training, allow_single_column=allow_single_column)


def dialect_of(
    file: TextFile, label: str = "", training: TableFrame | None = None, *, allow_single_column: bool = False
) -> Dialect:
    """Detect the dialect of a table that is known to be text; the arguments are those of `detect_dialect`."""
    sample = read_sample(file)
    declared = declared_separator(sample)
    if declared:
        del sample[0]
    reject_other_formats(file, sample)
    separator = choose_separator(file, sample, declared, allow_single_column)
    min_width = 1 if allow_single_column else 2
    remarks = sample[: count_remarks(split_sample(file, sample, separator), min_width)]
    sample = sample[len(remarks) :]
    trailing = count_common_trailing(sample, separator)
    if trailing:
        sample = [(line, strip_trailing(text, separator, trailing)) for line, text in sample]
    rows = split_sample(file, sample, separator)
    width = table_width(file, rows, min_width)
    if is_header(rows[1:], width, label, training) and COMMENT.match(rows[0][0]):
        remarks.append(sample.pop(0))
        del rows[0]
    elif header := commented_header(file, remarks, separator, width):
        sample, rows = [remarks.pop(), *sample], [header, *rows]
    has_header = is_header(rows, width, label, training)
    names = [name.strip() for name in rows[0]]
    if commented := COMMENTED_NAME.fullmatch(names[0]):
        names[0] = commented[1]
    return Dialect(
        file,
        separator,
        has_header,
        first_row_line=sample[min(has_header, len(sample) - 1)][0] + (has_header and len(sample) == 1),
        names=tuple(name or f"column {c + 1}" for c, name in enumerate(names if has_header else [""] * width)),
        trailing_delimiters=trailing,
        remarks=tuple(text for _, text in remarks),
        has_decimal_comma=separator != ","
        and any("," in cell and NUMBER.fullmatch(cell) for row in rows for cell in row),
        sample=rows[has_header:],
    )


def count_remarks(rows: list[list[str]], min_width: int) -> int:
    """Count the lines above a table: those of a single cell, or that begin as comments do and have another width."""
    widths = Counter(map(len, rows))
    width = max(widths, key=lambda width: (width >= min_width, widths[width]))
    remarks = (len(row) != width and (len(row) == 1 or bool(COMMENT.match(row[0]))) for row in rows)
    return next((i for i, is_remark in enumerate(remarks) if not is_remark), 0)


def commented_header(file: TextFile, remarks: Sequence[Line], separator: str, width: int) -> list[str]:
    """Return the names in the last remark, if it is a header behind a comment sign; an empty list otherwise."""
    if not remarks or not (sign := COMMENT.match(remarks[-1][1])):
        return []
    (names,) = split_sample(file, [(remarks[-1][0], remarks[-1][1][sign.end() :])], separator)
    return names if len(names) == width > 1 and all(map(is_name, names)) else []


def read_sample(file: TextFile) -> list[Line]:
    """Return the first lines: at most SAMPLE_LINES, and about SAMPLE_LENGTH characters, but two lines at least."""
    sample: list[Line] = []
    length = 0
    for line in islice(read_lines(file), SAMPLE_LINES):
        sample.append(line)
        length += len(line[1])
        if length > SAMPLE_LENGTH and len(sample) > 1:
            break
    return sample


def declared_separator(sample: Sequence[Line]) -> str:
    """Return the separator that a first line `sep=;` declares, as Excel writes it; empty without such a line."""
    declared = re.fullmatch(r'"?sep=(.)"?', sample[0][1]) if sample else None
    return declared[1] if declared else ""


def reject_other_formats(file: TextFile, sample: Sequence[Line]) -> None:
    """Raise DataError for blank text, a web page or JSON."""
    if not sample:
        raise DataError(f"{file.name} holds only blank lines; expected a table, a row a line")
    start = sample[0][1].lstrip()
    if start[:1] in "<{":
        raise DataError(f"{file.name} begins with {shorten(start)!r}: a web page or JSON; expected a table")


def choose_separator(file: TextFile, sample: Sequence[Line], declared: str, allow_single_column: bool) -> str:
    """Return the declared separator, or the one by which the sample looks most like a table of numbers."""
    if allow_single_column and is_single_column(file, sample):
        return "\t"
    if declared in SEPARATORS:
        return declared
    rows = {separator: split_sample(file, sample, separator) for separator in SEPARATORS}
    scores = {separator: score_separator(separator, rows[separator]) for separator in SEPARATORS}
    # A tab is a blank too. auto-mpg.data of UCI has blanks between its numbers, and a tab before the name of the car.
    mixed = not scores["\t"][0] and scores[" "][0] > 0.5
    if 2 * sum("\t" in text for _, text in sample) > len(sample) and not mixed:
        del scores[" "]
    regular = [other for other in "\t;|," if scores[other][1] >= MIN_EQUAL_SHARE]
    unlikely = {
        separator
        for separator in scores
        for other in regular
        if (separator == "," != other and has_commas_in_numbers_alone(rows[other]))
        or has_names_above(rows[other], rows[separator])
    }
    if {*scores} > unlikely:
        scores = {separator: score for separator, score in scores.items() if separator not in unlikely}
    return max(scores, key=lambda separator: scores[separator])


def has_names_above(rows: list[list[str]], otherwise: list[list[str]]) -> bool:
    """Tell whether the first row of the common width holds names, and is no row if lines are split `otherwise`.

    Numbers between blanks, as in "5 x 3 inches", do not make blanks the separator below such a header, and decimal
    commas do not make the comma one.
    """
    width, other_width = (Counter(map(len, split)).most_common(1)[0][0] for split in (rows, otherwise))
    first = next(i for i, row in enumerate(rows) if len(row) == width)
    return width > 1 and all(map(is_name, rows[first])) and len(otherwise[first]) != other_width


def has_commas_in_numbers_alone(rows: list[list[str]]) -> bool:
    """Tell whether there are commas below the first row, each the decimal mark of a number."""
    cells = [cell for row in rows[1:] or rows for cell in row if "," in cell]
    return bool(cells) and all(map(has_decimal_comma, cells))


def split_sample(file: TextFile, sample: Sequence[Line], separator: str) -> list[list[str]]:
    """Split every line into cells; a line with broken quotes stays one cell."""
    rows = []
    for line, text in sample:
        try:
            rows.append(split_cells(file, line, text, separator))
        except csv.Error:
            rows.append([text])
    return rows


def is_single_column(file: TextFile, sample: Sequence[Line]) -> bool:
    """Tell whether each line is one number, the first perhaps a name; DataError where it may as well be two numbers."""
    unsplit, by_comma = split_sample(file, sample, "\t"), split_sample(file, sample, ",")
    numbers = [len(row) == 1 and bool(NUMBER.fullmatch(row[0])) for row in unsplit]
    if not all(numbers[1:] or numbers):
        return False
    if any(len(row) != 2 for row in by_comma):
        return True
    if numbers[0] and all(map(all, by_comma)):
        raise DataError(
            f"{file.name}, line {sample[0][0]} may be one number with a decimal comma or two numbers; write a decimal "
            f"point, or name the label column with {option('label')}"
        )
    return False


def count_common_trailing(sample: Sequence[Line], separator: str) -> int:
    """Count the separators that end every line of the sample."""
    return 0 if separator == " " else min(count_trailing_delimiters(text, separator) for _, text in sample)


def count_trailing_delimiters(line: str, separator: str) -> int:
    """Count the separators that end a line with nothing behind them."""
    # A separator inside quotes is followed by the closing quote, so it is never at the end.
    return line[len(line.rstrip(f"{separator} ")) :].count(separator)


def strip_trailing(line: str, separator: str, count: int) -> str:
    """Remove `count` separators from the end of a line, or as many as it has."""
    left = count_trailing_delimiters(line, separator) - count
    return line.rstrip(f"{separator} ") + separator * max(0, left)


def split_cells(file: TextFile, line: int, text: str, separator: str) -> list[str]:
    """Return the cells of a line; raises csv.Error for broken quotes."""
    blanks = separator == " "
    if blanks:
        text = " ".join(text.split())
    if text.count(separator) >= MAX_COLUMNS:
        raise DataError(
            f"{file.name}, line {line} has {text.count(separator) + 1:,} fields; expected at most {MAX_COLUMNS:,}"
        )
    csv.field_size_limit(MAX_LINE_LENGTH)
    return next(csv.reader([text], delimiter=separator, skipinitialspace=not blanks, strict=True))


def score_separator(separator: str, rows: list[list[str]]) -> tuple[float, float, bool, int]:
    """Rate a separator by the share of lines of one width and the share of cells that are numbers."""
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2:
        return 0.0, 0.0, False, 1
    cells = [cell for row in rows for cell in row]
    numbers = sum(map(is_number, cells)) / len(cells)
    return count / len(rows) * numbers, count / len(rows), separator != " ", width


def table_width(file: TextFile, rows: list[list[str]], min_width: int) -> int:
    """Return the width of most rows; DataError where they agree on none, or for a single line without numbers."""
    width, count = Counter(map(len, rows)).most_common(1)[0]
    has_numbers = any(map(is_number, (cell for row in rows for cell in row)))
    if width < min_width or count * 2 < len(rows) or not (has_numbers or count == len(rows)):
        raise DataError(
            f"{file.name} is not a table: its lines do not split into equally many fields by "
            f"{', '.join(SEPARATORS.values())}; expected a label and the features of one row in each line"
        )
    if len(rows) == 1 and not has_numbers:
        raise DataError(f"{file.name} holds a single line, of text; expected a row of numbers and a label in each line")
    return width


def is_header(rows: list[list[str]], width: int, label: str, training: TableFrame | None) -> bool:
    """Tell whether the first row holds names: by the columns below it, the label and the training table."""
    cells = [cell.strip() for cell in rows[0]] if rows else []
    if len(cells) != width:
        return False
    body = [row for row in rows[1:] or rows if len(row) == width]
    columns = [[row[c] for row in body if not is_missing(row[c])] for c in range(width)]
    numeric = [bool(column) and 2 * sum(map(is_number, column)) >= len(column) for column in columns]
    if any(is_name(cell) and (numeric[c] or cell in (label, *label.split(","))) for c, cell in enumerate(cells)):
        return True
    if training is not None and training.has_header and sorted(cells) == sorted(training.names):
        return True
    # In a table of text alone, names are no cells of their columns.
    if len(rows) > 1 and not any(numeric) and all(map(is_name, cells)) and len({*cells}) == width:
        return not any(cell in map(str.strip, column) for cell, column in zip(cells, columns, strict=True))
    if len(rows) > 1 and not cells[0] and is_index(columns[0], cells[1:]):
        return len({*cells}) == width and not any(map(is_missing, cells[1:]))
    # pandas writes the columns of a bare array under their numbers
    return width > 3 and cells in ([*map(str, range(width))], [*map(str, range(1, width + 1))])


def is_index(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether cells name rows, as the first column that pandas and R write: all different, and no measurements.

    Measurements may name the rows where the columns have ascending numbers for `names`, as in a table of frequencies.
    """
    if len({*map(str.strip, cells)}) < len(cells):
        return False
    measured = any(is_number(cell) and not cell.strip().isdecimal() for cell in cells)
    return not measured or (all(map(is_number, names)) and ascend([cell.replace(",", ".") for cell in names]))


def ascend(numbers: Sequence[str]) -> bool:
    """Tell whether numbers as text stand in ascending order; not, if one has marks for thousands."""
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        return False
    return len(values) > 2 and all(a < b for a, b in pairwise(values))


@lru_cache(maxsize=2**12)  # pixels and codes repeat
def is_number(cell: str) -> bool:
    """Tell whether a cell is meant as a number, with a decimal comma or marks for thousands too."""
    return bool(NUMBER.fullmatch(cell) or THOUSANDS.fullmatch(cell))


def has_decimal_comma(cell: str) -> bool:
    """Tell whether a cell is a number with a decimal comma."""
    return "," in cell and bool(NUMBER.fullmatch(cell))


def is_name(cell: str) -> bool:
    """Tell whether a cell could stand only in a header."""
    return not is_missing(cell) and not is_number(cell)


@lru_cache(maxsize=2**12)
def is_missing(cell: str) -> bool:
    """Tell whether a cell stands for an unknown value."""
    return cell.strip().lower() in MISSING_VALUES
