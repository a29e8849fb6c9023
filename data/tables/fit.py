"""Decide by the training rows how the columns of a table become features.

What the user says about a column comes first (--features, --category, --number, --log). Else a column is left out that
numbers or names the rows, is empty, or has too many categories; the others become features by their types.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.identity import MAX_WIDE_FEATURES, MIN_WIDE_ROWS, find_identity
from lagvis.data.labels import natural_order
from lagvis.data.messages import pluralize, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.cell_values import CellError, booleans, cells_as_text, date_seconds, numbers
from lagvis.data.tables.columns import Columns, find_columns
from lagvis.data.tables.dates import AMBIGUOUS, SECONDS_OF_DAY, find_forms, temporal_form
from lagvis.data.tables.encoding import (
    AMBIGUOUS_DATES,
    CONSTANT,
    EMPTY,
    HOUR,
    ID,
    MIN_MISSING_SHARE,
    OPTION,
    PARTS,
    RARE_LEVELS,
    ROW_NUMBER,
    ROW_TEXT,
    WEIGHT,
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    DateEncoding,
    LeftOut,
    NumberEncoding,
    TableEncoding,
    cycle_position,
)
from lagvis.data.tables.frame import BOOLEAN, DATE, NUMBER, TEXT, TableFrame
from lagvis.errors import DataError
from lagvis.option_text import option, setting

if TYPE_CHECKING:
    import polars as pl

MAX_LEVELS = 100  # of a column of categories; the most frequent have a feature each
MIN_LEVEL_ROWS, MAX_RARE_ROWS, RARE_SHARE = 2, 10, 0.001  # see `rare_rows`
MIN_COVERED = 0.5  # of the rows that the most frequent levels must hold, where there are more than MAX_LEVELS
MAX_SPELLINGS = 10  # of true and false: True, TRUE, true, ...
LOG_FLOOR = 1e-3  # of the smallest number in training: smaller ones get its logarithm

# Names of columns that number or name the rows, in any case, without blanks, dots and the like.
ROW_NAMES = {
    "", "index", "idx", "id", "ids", "row", "rows", "rowid", "rowname", "rownames", "rownumber", "rownum", "rownr",
    "rowno", "unnamed0", "unnamed", "nr", "no", "num", "number", "sno", "slno", "serial", "serialno", "uuid", "guid",
    "key", "case", "caseid", "record", "recordid", "recordnumber", "observation", "obs", "line",
    "nummer", "lfdnr", "zeile", "zeilennr", "kennung", "schluessel", "schlüssel", "numero", "numéro", "número", "ligne",
    "identifiant", "clef", "clé", "fila", "clave", "identificador", "linha", "riga", "identificativo", "rij", "radnr",
    "rad", "løpenr", "løpenummer", "linje", "номер", "序号", "编号", "番号",
}  # fmt: skip
ID_NAME = re.compile(r".*(?:[ _.-](?i:id|nr|no|key|uuid|code)|[a-z0-9](?:ID|Id))")  # customer_id, PassengerId
LOOKS_LIKE_DATE = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}.*")


@dataclass(frozen=True)
class Choices:
    """Columns (indices) about which the user has decided: the options of ReadOptions with these names."""

    features: frozenset[int]
    category: frozenset[int]
    number: frozenset[int]
    log: frozenset[int]

    @cached_property
    def wanted(self) -> frozenset[int]:
        """The columns that the user names to learn from."""
        return self.features | self.category | self.number | self.log

    @classmethod
    def of(cls, table: TableFrame, options: ReadOptions) -> "Choices":
        """Find the columns that the options name; DataError for a name that the table does not have."""
        named = {key: getattr(options, key) for key in ("features", "category", "number", "log")}
        return cls(**{key: frozenset(find_columns(table, columns, key)) for key, columns in named.items()})


def fit_encoding(table: TableFrame, chosen: Columns, training_rows: np.ndarray, options: ReadOptions) -> TableEncoding:
    """Return how the feature columns that are `chosen` become features, by the training rows (indices) of a table.

    Columns that hold nothing to learn from are left out. DataError where none remains, or an option does not fit.
    """
    choices = Choices.of(table, options)
    training = table if len(training_rows) == table.frame.height else table.take(training_rows)
    columns: list[ColumnEncoding] = []
    left_out = [LeftOut(table.names[c], c, ID, "names a row (`id`)") for c in chosen.ids]
    if chosen.weights is not None:
        left_out.append(
            LeftOut(table.names[chosen.weights], chosen.weights, WEIGHT, "weighs the rows (`weight_column`)")
        )
    by_option = "is not among `features`" if choices.features else "is in `drop`"
    for c in {*range(len(table.names))} - {*chosen.features, *chosen.labels, *chosen.ids, chosen.weights}:
        left_out.append(LeftOut(table.names[c], c, OPTION, by_option))
    numbered = {*row_number_columns(training, chosen.features)}
    for c in sorted({*chosen.features}):
        identity = None if c in choices.wanted else leave_out_identity(training, c, numbered)
        fitted = identity or fit_column(training, table, c, choices)
        if isinstance(fitted, LeftOut):
            left_out.append(fitted)
        else:
            columns.append(fitted)
    if not columns:
        kept = kept_identities(table, left_out)
        columns = [fit_number(training, c) for c in kept]
        left_out = [column for column in left_out if column.position not in {*kept}]
    if not columns:
        reasons = "; ".join(f"{table.describe_column(column.position)} {column.reason}" for column in left_out[:6])
        raise DataError(
            f"{table.name} has no column to learn from beside the label: {reasons or 'there is no other'}; "
            f"{option('features')} names the columns to take"
        )
    return TableEncoding(tuple(columns), tuple(sorted(left_out, key=lambda column: column.position)))


def kept_identities(table: TableFrame, left_out: Sequence[LeftOut]) -> list[int]:
    """Return the columns of row numbers that have a name: they are learned from where there is nothing else."""
    return [
        column.position
        for column in left_out
        if column.cause == ROW_NUMBER and not (table.has_header and is_unnamed(table, column.position))
    ]


def is_unnamed(table: TableFrame, c: int) -> bool:
    """Tell whether a column has no name of its own."""
    return simple_name(table.names[c]) in ("", f"column{c + 1}", f"unnamed{c}")


def simple_name(name: str) -> str:
    """Return a name in lower case, letters and digits alone."""
    return "".join(character for character in name.casefold() if character.isalnum())


def is_row_name(table: TableFrame, c: int) -> bool:
    """Tell whether the name of a column says that it numbers or names the rows."""
    if not table.has_header:
        return False
    name = table.names[c]
    return is_unnamed(table, c) or simple_name(name) in ROW_NAMES or bool(ID_NAME.fullmatch(name))


def leave_out_identity(training: TableFrame, c: int, numbered: Collection[int]) -> LeftOut | None:
    """Return a column that names the rows instead of describing them as left out; None for another column.

    `numbered` are the columns of `row_number_columns`.
    """
    name = training.names[c]
    if c in numbered:
        return LeftOut(name, c, ROW_NUMBER, "holds another whole number in every row")
    cells = training.column(c)
    if len(cells) < 2 or cells.null_count() or training.kind(c) != TEXT:
        return None
    if cells.n_unique() < len(cells) or find_forms(cells):
        return None
    return LeftOut(name, c, ROW_TEXT, "holds another text in every row" + date_hint(str(cells[0])))


def row_number_columns(training: TableFrame, features: Sequence[int]) -> list[int]:
    """Return the columns of whole numbers that identify a row.

    Those are columns with a name that says so, columns in whose order the rows stand, and, where there are no more than
    MAX_WIDE_FEATURES of them, other columns of numbers that are not different by chance: more are ranks. Numbers of a
    wide range, which are different by chance as well, count so in a table without a header.
    """
    named, ordered, others = [], [], []
    for c in sorted({*features}):
        cells = training.column(c)
        if training.kind(c) != NUMBER or cells.null_count() or len(cells) < 2:
            continue
        if (identity := find_identity(identity_values(cells))) is None:
            continue
        if is_row_name(training, c):
            named.append(c)
        elif identity.is_certain and identity.order != "none":
            ordered.append(c)
        elif identity.is_certain or (not training.has_header and len(cells) >= MIN_WIDE_ROWS):
            others.append(c)
    is_few = len(others) <= MAX_WIDE_FEATURES and len(others) < len(features)
    return [*named, *ordered, *(others if is_few else ())]


def identity_values(cells: "pl.Series") -> np.ndarray:
    """Return cells (N,) of numbers as float64 that tells them apart: whole numbers beyond 2^53 count from the smallest.

    Where even these are too large, their ranks stand for them, spread over a range as wide.
    """
    values = numbers(cells)
    if not cells.dtype.is_integer() or np.abs(values).max() < MAX_EXACT_INT:
        return values
    exact = cells.to_numpy()
    shifted = exact.astype(np.uint64) - exact.min().astype(np.uint64)  # differences are exact modulo 2^64
    if shifted.max() < MAX_EXACT_INT:
        return shifted.astype(np.float64)
    ranks = np.unique(shifted, return_inverse=True)[1]
    return np.floor(ranks * (MAX_EXACT_INT / (2 * len(ranks))))


def fit_column(training: TableFrame, table: TableFrame, c: int, choices: Choices) -> ColumnEncoding | LeftOut:
    """Return how a column becomes features; the whole `table` decides only in which form its dates are written."""
    cells, is_wanted = training.column(c), c in choices.wanted
    if cells.null_count() == len(cells):
        reason = f"holds {what}" if (what := table.unreadable.get(c)) else "has no value in any training row"
        if is_wanted:
            raise DataError(f"{table.name}: {table.describe_column(c)} {reason}; leave it out of the options")
        return LeftOut(table.names[c], c, EMPTY, reason)
    if c in choices.category:
        return fit_category(training, c, is_forced=True)
    if c in choices.log:
        return fit_logarithm(training, c)
    if training.kind(c) == NUMBER or c in choices.number:
        return fit_number(training, c)
    if not (is_wanted or cells.null_count()) and cells.n_unique() == 1:
        return LeftOut(table.names[c], c, CONSTANT, f"is {shorten(str(cells[0]))!r} in every training row")
    return fit_text(training, table, c, is_wanted=is_wanted)


def fit_text(training: TableFrame, table: TableFrame, c: int, *, is_wanted: bool) -> ColumnEncoding | LeftOut:
    """Return how a column of true and false, dates or any texts becomes features."""
    cells, kind = training.column(c), training.kind(c)
    forms = [temporal_form(cells)] if kind == DATE else []
    if kind == TEXT:
        texts = cells.drop_nulls().unique()
        if len(texts) <= MAX_SPELLINGS and {*texts.str.to_lowercase().to_list()} <= {"true", "false"}:
            kind = BOOLEAN
        elif forms := find_forms(texts):
            kind = DATE
    if kind == BOOLEAN:
        share = float(np.nanmean(booleans(cells)))
        return BooleanEncoding(table.names[c], c, share, *missing_fields(cells))
    if kind == DATE:
        return fit_dates(training, table, c, forms, is_wanted=is_wanted)
    return fit_category(training, c, is_forced=is_wanted)


def missing_fields(cells: "pl.Series") -> tuple[bool, int]:
    """Return whether a feature tells that a cell is missing, and the number of missing cells."""
    count = cells.null_count()
    return count > MIN_MISSING_SHARE * len(cells), count


def fit_number(training: TableFrame, c: int) -> NumberEncoding:
    """Return the encoding of a column of numbers; DataError for a cell that is not a number."""
    cells = training.column(c)
    values = parse_numbers(training, c, "number")
    missing, count = missing_fields(cells)
    return NumberEncoding(training.names[c], c, mean_of(values), missing, missing_cells=count)


def fit_logarithm(training: TableFrame, c: int) -> NumberEncoding:
    """Return the encoding of a column by its logarithm; DataError for a cell that is no number from 0.

    Where there are zeros, the smallest other number is added. A missing cell has the mean of the logarithms.
    """
    cells = training.column(c)
    values = parse_numbers(training, c, "log")
    given = values[~np.isnan(values)]
    if given.min() < 0:
        row = int(np.nanargmin(values))
        raise DataError(
            f"{training.locate_row(row)}: {training.describe_column(c)} holds {values[row]:.6g}, and {setting('log')} "
            f"takes numbers from 0; leave it out of {setting('log')}"
        )
    positive = given[given > 0]
    if not len(positive):
        raise DataError(
            f"{training.name}: {training.describe_column(c)} holds only zeros; leave it out of {setting('log')}"
        )
    offset = float(positive.min()) if len(positive) < len(given) else 0.0
    fill = float(np.exp(np.log(given + offset).mean()) - offset)
    floor = (float(given.min()) + offset) * LOG_FLOOR
    missing, count = missing_fields(cells)
    return NumberEncoding(training.names[c], c, fill, missing, offset, max(floor, np.finfo(np.float64).tiny), count)


def parse_numbers(training: TableFrame, c: int, key: str) -> np.ndarray:
    """Return the numbers (N,) of a column that an option names, NaN for missing cells; DataError for other cells."""
    try:
        return numbers(training.column(c))
    except CellError as error:
        raise DataError(
            f"{training.locate_row(error.row)}: {training.describe_column(c)} holds {shorten(error.text)!r}, and "
            f"{setting(key)} takes a column of numbers; correct the cell or empty it, or leave the column out of "
            f"{setting(key)}"
        ) from None


def mean_of(values: np.ndarray) -> float:
    """Return the mean of the values (N,) that are not NaN, also where their sum overflows."""
    given = values[~np.isnan(values)]
    scale = max(1.0, float(np.abs(given).max()))
    return float((given / scale).mean() * scale)


def rare_rows(rows: int) -> int:
    """Return the number of training rows below which a level is rare: 2, or of many rows a thousandth, at most 10."""
    return max(MIN_LEVEL_ROWS, min(MAX_RARE_ROWS, int(RARE_SHARE * rows)))


def fit_category(training: TableFrame, c: int, *, is_forced: bool) -> CategoryEncoding | LeftOut:
    """Return the encoding of a column of categories, or why it is left out, unless the user wants it."""
    name, cells = training.names[c], training.column(c)
    texts = cells_as_text(cells).drop_nulls()
    counts = texts.value_counts(sort=False)
    found, rows = counts.to_series(0).to_list(), counts.to_series(1).to_list()
    by_level = dict(sorted(zip(found, rows, strict=True), key=lambda pair: (-pair[1], pair[0])))
    frequent = [level for level, count in by_level.items() if count >= rare_rows(len(cells))][:MAX_LEVELS]
    if len(by_level) > MAX_LEVELS and not is_forced:
        covered = sum(by_level[level] for level in frequent)
        if covered < MIN_COVERED * len(texts):
            share = (
                "no two rows have the same"
                if max(rows) == 1
                else f"the commonest {MAX_LEVELS} hold less than half of the rows"
            )
            reason = f"holds {len(by_level):,} different texts, and {share}{date_hint(next(iter(by_level)))}"
            return LeftOut(name, c, RARE_LEVELS, reason)
    if not frequent:
        if not is_forced:
            reason = f"holds {pluralize(len(by_level), 'text')}, each in fewer than {rare_rows(len(cells))} rows"
            return LeftOut(name, c, RARE_LEVELS, reason + date_hint(next(iter(by_level))))
        frequent = list(by_level)[:MAX_LEVELS]
    shown = {*frequent}
    rare = [level for level in by_level if level not in shown]
    if len(rare) == 1 and len(frequent) < MAX_LEVELS:
        frequent, rare = [*frequent, *rare], []
    missing = cells.null_count()
    return CategoryEncoding(name, c, natural_order(frequent), natural_order(rare), missing > 0, missing)


def date_hint(text: str) -> str:
    """Return what to do about texts that look like dates; empty for others."""
    return "; write dates as yyyy-mm-dd" if LOOKS_LIKE_DATE.fullmatch(text) else ""


def fit_dates(
    training: TableFrame, table: TableFrame, c: int, forms: list[str], *, is_wanted: bool
) -> DateEncoding | LeftOut:
    """Return the encoding of dates, times, or both, that may be written in `forms`.

    The column is left out where day and month cannot be told apart; DataError for that where the user wants it.
    """
    pair = next((pair for pair in AMBIGUOUS if {*pair} <= {*forms}), None)
    if pair:
        forms = [form for form in find_forms(table.column(c)) if form in pair]
        if len(forms) != 1:
            example = shorten(str(training.column(c).drop_nulls()[0]))
            reason = f"holds dates such as {example}, which may be {pair[0]} or {pair[1]}; write them as yyyy-mm-dd"
            if is_wanted:
                raise DataError(f"{table.name}: {table.describe_column(c)} {reason}")
            return LeftOut(table.names[c], c, AMBIGUOUS_DATES, reason)
    cells = training.column(c)
    seconds = date_seconds(cells, forms[0])
    given = seconds[~np.isnan(seconds)]
    origin = float(given.min())
    fill = float((given - origin).mean())
    parts = tuple(part for part in PARTS if varies(given, part))
    missing, count = missing_fields(cells)
    return DateEncoding(table.names[c], c, origin, fill, parts, missing, forms[0], count)


def varies(seconds: np.ndarray, part: str) -> bool:
    """Tell whether a part of the dates (N,) has several values."""
    position = cycle_position(seconds, part)
    tolerance = 0.5 / SECONDS_OF_DAY if part == HOUR else 0.0
    return bool(position.max() - position.min() > tolerance)
