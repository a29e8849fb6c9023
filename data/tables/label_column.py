"""Find the label column of a table where the user names none: by its name, else by what the columns hold.

`find_label` returns a column with the reason, which is reported, or raises LabelNotFoundError with the columns, what
they hold, and the commands that name the likeliest ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lagvis.data.messages import pluralize, shorten
from lagvis.data.tables.dates import find_forms
from lagvis.data.tables.feature_type import image_side
from lagvis.data.tables.frame import BOOLEAN, DATE, NUMBER, TEXT, TableFrame
from lagvis.data.tables.label_names import is_label_name, is_weak_label_name, simplify_name
from lagvis.errors import LabelNotFoundError
from lagvis.option_text import join_options, option, targets_option

if TYPE_CHECKING:
    import polars as pl

MAX_CLASSES = 100  # values of a column that may be a label of classes without having the name of one
FEW_CLASSES, FEW_CLASS_ROWS = 10, 10  # more classes of whole numbers than the first have as many rows as the second
MAX_SINGLE_VALUE_SHARE = 0.9  # of a label beside pixels: pixels at the border of a picture are mostly of one value
MAX_VALUES_RATIO = 4  # of the last column over the first, which is the label: a pixel has more values than a label
MAX_LISTED_COLUMNS = 8


@dataclass(frozen=True)
class LabelColumn:
    """A label column that was found: its index, and the reason in words, for a notice."""

    index: int
    reason: str


@dataclass(frozen=True)
class CellSummary:
    """What the cells of a column are.

    kind     one of COLUMN_KINDS
    values   number of different cells, missing ones not counted
    cells    number of cells that are not missing
    whole    whether all are whole numbers
    """

    kind: str
    values: int
    cells: int
    whole: bool

    @classmethod
    def of(cls, table: TableFrame, c: int) -> "CellSummary":
        """Return the summary of a column."""
        column, kind = table.column(c).drop_nulls(), table.kind(c)
        if kind == TEXT and {*column.unique().str.to_lowercase()} <= {"true", "false"}:
            kind = BOOLEAN
        elif kind == TEXT and find_forms(column):
            kind = DATE
        return cls(kind, column.n_unique(), len(column), is_whole(column))

    @property
    def is_identity(self) -> bool:
        """Tell whether each cell is another text or whole number, as those that name a row are."""
        return self.values == self.cells > 1 and (self.kind == TEXT or self.whole)

    @property
    def may_be_classes(self) -> bool:
        """Tell whether the cells may be classes: text, true and false, or whole numbers, of few values."""
        most = self.cells // 2
        if self.whole:
            most = min(most, max(FEW_CLASSES, self.cells // FEW_CLASS_ROWS))
        return 2 <= self.values <= min(most, MAX_CLASSES) and (self.kind in (TEXT, BOOLEAN) or self.whole)

    def describe(self) -> str:
        """Return what the column holds, in words."""
        if self.kind == DATE:
            return "dates"
        if self.values <= 1:
            return "one value" if self.values else "no value"
        if self.is_identity:
            return f"another {'text' if self.kind == TEXT else 'whole number'} in every row"
        if self.kind == TEXT:
            return f"text, {pluralize(self.values, 'level')}"
        if self.kind == BOOLEAN:
            return "true and false"
        return f"whole numbers, {pluralize(self.values, 'value')}" if self.whole else "numbers"


def find_label(
    table: TableFrame, candidates: Sequence[int], regression: bool, features: Sequence[int] = ()
) -> LabelColumn:
    """Return the label column among `candidates` (indices of columns, ascending); `features` are known not to be it.

    The column that the format declares is taken. For classes the other rules are, in this order: its name; the only
    text column of a table of numbers; the first column of a table without names whose others are pixels; the last of a
    table without names, if it is text. Numbers to predict (`regression`) are found by the name, or as the only column
    of numbers. LabelNotFoundError where no rule finds it, DataError for a text among the numbers of a column.
    """
    if table.label is not None and table.label in candidates:
        return LabelColumn(table.label, "as its format has it")
    if len(candidates) == 1:
        return LabelColumn(candidates[0], "the only column that the options leave for it")
    may_be_label = [c for c in candidates if not regression or table.kind(c) in (NUMBER, BOOLEAN)]
    finder = LabelFinder(table, may_be_label, features)
    found = finder.by_name(regression)
    if found is None:
        for c in candidates:  # numbers with a mistake are no column of text, which could be the label
            table.check_column(c)
        found = finder.only_number() if regression else finder.by_content()
    if found is None:
        raise finder.error("no column is surely the label", finder.likeliest(regression), regression)
    return found


class LabelFinder:
    """The rules that find the label column of a table among the columns `candidates`.

    The method of a rule returns None if the rule does not apply, and raises LabelNotFoundError where two columns fit.
    """

    def __init__(self, table: TableFrame, candidates: Sequence[int], features: Sequence[int]) -> None:
        self.table = table
        self.candidates = candidates
        self.features = features
        self.summaries: dict[int, CellSummary] = {}
        # pandas writes the columns of a bare array under their numbers, which are no names
        self.has_names = table.has_header and not all(name.isdecimal() for name in table.names)

    def summary(self, c: int) -> CellSummary:
        """Return the summary of a column, computed once."""
        if c not in self.summaries:
            self.summaries[c] = CellSummary.of(self.table, c)
        return self.summaries[c]

    def by_name(self, regression: bool) -> LabelColumn | None:
        """Return the only column with the name of a label; a weak name counts if the column may be a label."""
        named = [c for c in self.candidates if self.has_names and is_label_name(self.table.names[c])]
        if len(named) == 1:
            return LabelColumn(named[0], "by its name")
        if named:
            raise self.error(f"{self.join(named)} each have the name of a label", named, regression)
        weak = self.weakly_named()
        if len(weak) == 1 and self.fits_weak_name(weak[0], regression):
            return LabelColumn(weak[0], "by its name")
        if weak:
            what = f"has the name of a label and {'one value' if regression else 'too many values for classes'}"
            if len(weak) > 1:
                what = "may each be the label by their names"
            raise self.error(f"{self.join(weak)} {what}", [*weak, *self.likeliest(regression)], regression)
        return None

    def fits_weak_name(self, c: int, regression: bool) -> bool:
        """Tell whether a column with a weak name of a label holds what labels are: few values, or numbers."""
        summary = self.summary(c)
        if regression:
            return summary.values > 1
        return summary.may_be_classes and (summary.values <= FEW_CLASSES or not summary.whole)

    def weakly_named(self) -> list[int]:
        """Return the columns with a weak name of a label.

        `y` beside `x` and others is a coordinate. An income in numbers is mostly a feature; as text, of two levels, it
        is the label of Adult.
        """
        names = [simplify_name(name) for name in self.table.names]
        coordinates = {"x", "y"} <= {*names} and len(names) > 2
        return [
            c
            for c in self.candidates
            if self.has_names
            and is_weak_label_name(self.table.names[c])
            and not (coordinates and names[c] == "y")
            and not (names[c] == "income" and self.table.kind(c) == NUMBER)
        ]

    def only_number(self) -> LabelColumn | None:
        """Return the only column of numbers that name no row."""
        numbers = [c for c in self.candidates if not self.summary(c).is_identity]
        return LabelColumn(numbers[0], "the only column of numbers") if len(numbers) == 1 else None

    def by_content(self) -> LabelColumn | None:
        """Return the label by what the columns hold."""
        return self.only_text() if self.has_names else self.beside_pixels() or self.only_text() or self.last_text()

    def only_text(self) -> LabelColumn | None:
        """Return the only column of text, or of true and false, that may be classes.

        Text that names a row or is the same in all does not count. A column of few whole numbers at the end of the
        table may be the label as well.
        """
        texts = [c for c in self.candidates if self.is_text(c)]
        if any(self.is_text(c) for c in self.features if c not in self.candidates):
            return None  # one text of several, of which others are features
        if len(texts) != 1 or not self.summary(texts[0]).may_be_classes:
            return None
        last = self.table_end()
        if last not in (None, texts[0]) and self.summary(last).may_be_classes:
            raise self.error(f"{self.join([texts[0], last])} may each be the label", [last, texts[0]], False)
        return LabelColumn(texts[0], f"the only column of {self.word(texts[0])}")

    def is_text(self, c: int) -> bool:
        """Tell whether a column holds text, or true and false, that neither names a row nor is always the same."""
        if self.table.kind(c) not in (TEXT, BOOLEAN) or self.summary(c).kind == DATE:
            return False
        return self.summary(c).values > 1 and not self.summary(c).is_identity

    def word(self, c: int) -> str:
        """Return what a column of `is_text` holds."""
        return "text" if self.summary(c).kind == TEXT else "true and false"

    def table_end(self) -> int | None:
        """Return the last column of the table if it is a candidate."""
        last = len(self.table.names) - 1
        return last if last in self.candidates else None

    def last_text(self) -> LabelColumn | None:
        """Return the last column if it is text that may be classes."""
        last = self.table_end()
        if last is None or not self.is_text(last) or not self.summary(last).may_be_classes:
            return None
        return LabelColumn(last, f"the last column, of {self.word(last)}")

    def beside_pixels(self) -> LabelColumn | None:
        """Return the first column if all others are the pixels of a square picture and it may be classes."""
        first, last = 0, len(self.table.names) - 1
        if [*self.candidates] != [*range(last + 1)] or not image_side(last) or not self.is_label_beside_pixels(first):
            return None
        if not all(is_pixels(self.table.column(c)) for c in range(1, last + 1)):
            return None
        last_has_few = self.summary(last).values <= MAX_VALUES_RATIO * self.summary(first).values
        if last_has_few and self.is_label_beside_pixels(last) and is_pixels(self.table.column(first)):
            raise self.error(
                f"{self.join([first, last])} may each be the label, the others being whole numbers 0..255",
                [first, last],
                False,
            )
        return LabelColumn(first, "the first column, the others being whole numbers 0..255")

    def is_label_beside_pixels(self, c: int) -> bool:
        """Tell whether a column may be the label of pictures, rather than a pixel at their border."""
        if not self.summary(c).may_be_classes:
            return False
        counts = self.table.column(c).drop_nulls().value_counts()["count"]
        return int(counts.max()) <= MAX_SINGLE_VALUE_SHARE * self.summary(c).cells  # type: ignore[arg-type]

    def likeliest(self, regression: bool) -> list[int]:
        """Return the columns that may be the label, the likeliest first: the last, columns of text, the first."""
        backwards = [c for c in reversed(self.candidates) if self.may_be_label(c)]
        texts = [c for c in backwards if self.is_text(c)]
        others = [c for c in self.candidates if not self.summary(c).is_identity]
        ends = [c for c in (*self.candidates[-1:], *others[:1]) if c in backwards]
        places = [*dict.fromkeys((*ends[:1], *texts, *ends))] or backwards
        last = self.candidates[-1] if self.candidates else None

        # A column that may name a row comes last, and before it those that are no classes where classes are wanted. The
        # last column is where most tables have what is to be predicted, classes or numbers.
        def order(c: int) -> tuple[bool, bool]:
            summary = self.summary(c)
            return summary.is_identity, not (regression or summary.may_be_classes or c == last)

        return sorted(places, key=order)

    def may_be_label(self, c: int) -> bool:
        """Tell whether a column may be the label at all: numbers, or text that neither names a row nor is one value."""
        return self.is_text(c) or (self.table.kind(c) == NUMBER and self.summary(c).values > 1)

    def error(self, what: str, likeliest: Sequence[int], regression: bool) -> LabelNotFoundError:
        """Return the error that lists the columns and the commands for the likeliest ones; `what` was found."""
        commands = self.commands(likeliest, regression)
        remedy = f"name it with {' or '.join(commands)}" if commands else f"name it with {option('label')}"
        return LabelNotFoundError(f"{self.table.name}: {what}; its columns are {self.list_columns()}; {remedy}")

    def commands(self, likeliest: Sequence[int], regression: bool) -> list[str]:
        """Return the options that name the likeliest label: of two columns, or of one as classes and as numbers."""
        columns = [*dict.fromkeys(likeliest)]
        if regression:
            return [join_options(self.label_option(c), targets_option("numbers")) for c in columns[:2]]
        found = [self.as_classes(c) if self.is_called_classes(c) else self.as_numbers(c) for c in columns[:2]]
        # The numbers of a column that may be classes are likelier than those of another one.
        if len(columns) > 1 and self.is_called_classes(columns[1]):
            return found
        if columns and self.is_called_classes(columns[0]) and self.table.kind(columns[0]) == NUMBER:
            return [found[0], self.as_numbers(columns[0])]
        return found

    def is_called_classes(self, c: int) -> bool:
        """Tell whether a column is proposed as classes: by what it holds, or by its name."""
        named = self.has_names and is_label_name(self.table.names[c])
        return named or self.summary(c).may_be_classes or self.table.kind(c) != NUMBER

    def as_classes(self, c: int) -> str:
        """Return the option that names a column as the label of classes."""
        count = self.summary(c).values
        return f"{self.label_option(c)} ({pluralize(count, 'class')})"

    def as_numbers(self, c: int) -> str:
        """Return the options that name a column as numbers to predict."""
        return f"{join_options(self.label_option(c), targets_option('numbers'))} (numbers to predict)"

    def label_option(self, c: int) -> str:
        """Return the option that names a column."""
        named = self.table.option_for("label", c)
        last = option("label", str(len(self.table.names)))
        return option("label", "last") if named == last else named

    def join(self, columns: Sequence[int]) -> str:
        """Return the numbers and names of columns, for a sentence."""
        return " and ".join(map(self.table.describe_column, columns))

    def list_columns(self) -> str:
        """Return the first columns, and the last, with what they hold."""
        count = len(self.table.names)
        shown = [*range(count)]
        if count > MAX_LISTED_COLUMNS:
            shown = [*range(MAX_LISTED_COLUMNS - 2), count - 1]
        pieces = [f"{self.short_name(c)} ({self.summary(c).describe()})" for c in shown]
        if count > MAX_LISTED_COLUMNS:
            pieces.insert(-1, "...")
        return ", ".join(pieces)

    def short_name(self, c: int) -> str:
        """Return the name of a column, or its number where it has none."""
        return shorten(self.table.names[c]) if self.table.has_header else str(c + 1)


def is_whole(cells: "pl.Series") -> bool:
    """Tell whether cells without missing ones are whole numbers."""
    if cells.dtype.is_integer():
        return True
    return cells.dtype.is_float() and bool((cells == cells.floor()).all())


def is_pixels(cells: "pl.Series") -> bool:
    """Tell whether cells are whole numbers 0..255, none missing."""
    if not cells.dtype.is_numeric() or cells.null_count() or not len(cells):
        return False
    return bool(cells.is_between(0, 255).all()) and is_whole(cells)
