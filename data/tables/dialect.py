"""How a table is written: its separator, header, kinds of columns, and which of them is the label; found, or told."""

import csv
import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lagvis.data.messages import shorten
from lagvis.data.tables.text import TextFile, inspect_text, read_lines
from lagvis.errors import DataError

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
SAMPLE_LINES, SAMPLE_LENGTH = 100, 2**21
MOST_COLUMNS = 100_000


@dataclass(frozen=True)
class Dialect:
    """How a table is written; `names` are those of its columns, and numeric[c] says whether column c holds numbers."""

    file: TextFile
    separator: str
    header: bool
    body: int  # number of the first line of rows
    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    closing: int = 0  # separators at the end of each line, with nothing behind them

    def column(self, c: int) -> str:
        """A column in words."""
        return f"column {c + 1} ({shorten(self.names[c])!r})" if self.header else f"column {c + 1}"

    def words(self) -> str:
        """What was found, for the notice."""
        encoding = "" if self.file.encoding.startswith("utf-8") else f", encoding {self.file.encoding}"
        return f"separator {SEPARATORS[self.separator]}, {'a header' if self.header else 'no header'}{encoding}"


def detect_dialect(path: Path, label: str = "", like: Dialect | None = None, *, narrow: bool = False) -> Dialect:
    """Separator, header and kinds of columns by the first lines; `like` is the layout of the training part.

    A table of one column is none, unless it is looked for: `narrow`.
    """
    file = inspect_text(path)
    sample, length = [], 0
    for line in islice(read_lines(file), SAMPLE_LINES):
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
        raise DataError(f"{path} begins with {shorten(sample[0][1].lstrip())!r}: a web page or JSON; expected a table")
    separators = [told[1]] if told and told[1] in SEPARATORS else list(SEPARATORS)
    if narrow and is_single_column(file, sample):
        separators = ["\t"]
    separator, rows = max(
        ((s, split_sample(file, sample, s)) for s in separators), key=lambda found: score_separator(found[1])
    )
    closing = 0 if separator == " " else min(count_trailing_delimiters(text, separator) for _, text in sample)
    if closing:
        rows = split_sample(
            file, [(line, strip_trailing(text, separator, closing)) for line, text in sample], separator
        )
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if (width < 2 and not narrow) or count * 2 < len(rows):
        raise DataError(
            f"{path} is not a table: its lines do not fall into equally many fields by "
            f"{', '.join(SEPARATORS.values())}; expected a label and the features of one row in each line"
        )
    if not any(map(is_number, (cell for row in rows for cell in row))):
        raise DataError(f"{path} holds no numbers in its first lines; expected a row of numbers and a label a line")
    first, body = rows[0], [row for row in rows[1:] or rows if len(row) == width]
    known = [[row[c] for row in body if not is_missing(row[c])] for c in range(width)]
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
    return Dialect(
        file,
        separator,
        header,
        body=sample[0][0] + 1 if header else sample[0][0],
        names=tuple(name or f"column {c + 1}" for c, name in enumerate(names)),
        numeric=numeric,
        closing=closing,
    )


def split_sample(file: TextFile, sample: Sequence[tuple[int, str]], separator: str) -> list[list[str]]:
    """The sample by a separator; a line that cannot be divided stays whole."""
    rows = []
    for line, text in sample:
        try:
            rows.append(split_cells(file, line, text, separator))
        except csv.Error:
            rows.append([text])
    return rows


def is_single_column(file: TextFile, sample: Sequence[tuple[int, str]]) -> bool:
    """Whether each line is one number, the first perhaps its name; DataError where it may as well be two."""
    whole, by_comma = split_sample(file, sample, "\t"), split_sample(file, sample, ",")
    numbers = [len(row) == 1 and bool(NUMBER.fullmatch(row[0])) for row in whole]
    if not all(numbers[1:] or numbers):
        return False
    if any(len(row) != 2 for row in by_comma):
        return True
    if numbers[0] and all(map(all, by_comma)):
        raise DataError(
            f"{file.path}, line {sample[0][0]} may be one number with a decimal comma or two numbers; write a decimal "
            "point, or say with --label which column is the label"
        )
    return False


def count_trailing_delimiters(line: str, separator: str) -> int:
    """How many separators end a line with nothing behind them; a quote that holds one would end behind it."""
    return line[len(line.rstrip(f"{separator} ")) :].count(separator)


def strip_trailing(line: str, separator: str, closing: int) -> str:
    """A line without so many separators at its end, of those that it has."""
    left = count_trailing_delimiters(line, separator) - closing
    return line.rstrip(f"{separator} ") + separator * max(0, left)


def split_cells(file: TextFile, line: int, text: str, separator: str) -> list[str]:
    """The fields of a line."""
    blanks = separator == " "
    if blanks:
        text = " ".join(text.split())
    if text.count(separator) >= MOST_COLUMNS:
        raise DataError(
            f"{file.path}, line {line} has {text.count(separator) + 1:,} fields; expected {MOST_COLUMNS:,} at most"
        )
    return next(csv.reader([text], delimiter=separator, skipinitialspace=not blanks, strict=True))


def score_separator(rows: list[list[str]]) -> tuple[float, float, int]:
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
    return not is_missing(cell) and not is_number(cell)


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a value that is not known."""
    return cell.strip().lower() in MISSING


def label_columns(layout: Dialect, label: str, regression: bool) -> list[int]:
    """The label's column, or columns, as indices: told, or by name, or the only one of text, or the first."""
    found = parse_label_option(layout, label) if label else [guess_label_column(layout, regression)]
    text = [c for c, numeric in enumerate(layout.numeric) if not numeric and c not in found]
    if text:
        taken = " and ".join(layout.column(c) for c in found)
        label_too = f" ({taken} is taken as the label; --label says otherwise)"
        raise DataError(
            f"{layout.file.path}: {layout.column(text[0])} holds text, and features are numbers; remove it or code it "
            f"as numbers{label_too}"
        )
    return found


def parse_label_option(layout: Dialect, label: str) -> list[int]:
    """The columns that --label names or numbers, as indices."""
    path, names = layout.file.path, layout.names
    whole = find_column(layout, label)
    told = [whole] if whole is not None else [find_column(layout, part.strip()) for part in label.split(",")]
    for part, c in zip(label.split(","), told, strict=False):
        if c is None:
            near = difflib.get_close_matches(part.strip(), names, n=1) if layout.header else []
            have = f"the columns {list_columns(names)}" if layout.header else f"{len(names)}, no header"
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


def find_column(layout: Dialect, label: str) -> int | None:
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


def guess_label_column(layout: Dialect, regression: bool) -> int:
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


def list_columns(names: Sequence[str]) -> str:
    """The names of columns in a few words."""
    return ", ".join(shorten(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")


def is_text_label(labels: list[int], regression: bool) -> bool:
    """Whether the label is kept as text at first: one column of classes, and neither numbers nor one-hot columns."""
    return len(labels) == 1 and not regression


def label_names(layout: Dialect, labels: list[int], regression: bool) -> tuple[str, ...]:
    """The names of the columns that classes are read from; those of one-hot rows also where they are numbers only."""
    named = not regression and (layout.header or len(labels) > 1)
    return tuple(layout.names[c] for c in labels) if named else ()


def match_columns(layout: Dialect, other: Dialect, labels: list[int]) -> tuple[list[int], list[str]]:
    """For each column of the training table, the index of its column in the test table; and what to say of it."""
    path, names = other.file.path, other.names
    by_name = layout.header and other.header
    absent = [layout.names[c] for c in range(len(layout.names)) if layout.names[c] not in names] if by_name else []
    if absent:
        of_label = " (the label)" if any(layout.names[c] in absent for c in labels) else ""
        raise DataError(
            f"{path} lacks the columns {list_columns(absent)}{of_label}, which {layout.file.path.name} has; add "
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
    notices = [f"{path.name}: not used: {list_columns(more)}, which {layout.file.path.name} lacks."] if more else []
    return [names.index(name) for name in layout.names], notices
