"""Clean the text of cells, and find what a column of text holds: numbers, true and false, dates, or text."""

from typing import TYPE_CHECKING

from lagvis.data.tables.dialect import MISSING_VALUES

if TYPE_CHECKING:
    import polars as pl

NUMBER_PATTERN = r"^[+-]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$"
CODE_PATTERN = r"^[+-]?0[0-9]|^[+-]?[0-9]{16,}$"  # 007, and whole numbers that float64 does not hold exactly
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
DATETIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?$"
ZONED_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})$"
)


def clean_text(cells: "pl.Series") -> "pl.Series":
    """Return text without blanks at its ends, composed (NFC), and null where it stands for a missing value."""
    import polars as pl

    text = cells.str.strip_chars().str.normalize("NFC")
    missing = text.str.to_lowercase().is_in(list(MISSING_VALUES))
    return pl.select(pl.when(~missing).then(text)).to_series().alias(cells.name)


def convert_text(cells: "pl.Series") -> "pl.Series":
    """Return clean text as what each of its cells is: numbers, true and false, or dates; else as it is.

    Codes with leading zeros, such as 007, stay text.
    """
    import polars as pl

    present = cells.drop_nulls()
    if present.is_empty():
        return cells
    if present.str.contains(NUMBER_PATTERN).all() and not present.str.contains(CODE_PATTERN).any():
        numbers = cells.cast(pl.Float64, strict=False)
        return numbers if numbers.null_count() == cells.null_count() else cells
    if present.str.to_lowercase().is_in(["true", "false"]).all():
        return cells.str.to_lowercase() == "true"
    for pattern, convert in (
        (DATE_PATTERN, lambda text: text.str.to_date("%Y-%m-%d", strict=False)),
        (DATETIME_PATTERN, lambda text: text.str.to_datetime(time_unit="us", strict=False)),
        (ZONED_PATTERN, to_utc),
    ):
        if present.str.contains(pattern).all():
            try:
                dates = convert(cells)
            except pl.exceptions.PolarsError:
                return cells
            return dates if dates.null_count() == cells.null_count() else cells
    return cells


def to_utc(text: "pl.Series") -> "pl.Series":
    """Return times with a zone, such as 2024-05-01T08:00:00+02:00, as times in UTC without one."""
    times = text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    return times.dt.replace_time_zone(None)
