"""Parse dates and times of day that are written as text, in one known form for a whole column."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

SECONDS_OF_DAY = 86400
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH_NAMES = "january|february|march|april|may|june|july|august|september|october|november|december"

YEAR, MONTH, DAY = r"(?P<year>[0-9]{4})", r"(?P<month>[0-9]{1,2})", r"(?P<day>[0-9]{1,2})"
MONTH_NAME = rf"(?i:(?P<name>{MONTH_NAMES}|{'|'.join(MONTHS)}|sept)\.?)"
TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
ZONE = r" ?(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)"
OPTIONAL_TIME = rf"(?:(?:[Tt]|,? +){TIME})?"

ISO, ISO_WITH_ZONE, TIME_OF_DAY = "yyyy-mm-dd", "yyyy-mm-dd hh:mm with a zone", "hh:mm"
DAY_FIRST, MONTH_FIRST = "dd/mm/yyyy", "mm/dd/yyyy"
# Every form may have a time behind the date; each date of a column is written in one of them.
FORMS = {
    ISO: rf"{YEAR}-{MONTH}-{DAY}{OPTIONAL_TIME}",
    ISO_WITH_ZONE: rf"{YEAR}-{MONTH}-{DAY}(?:[Tt]| +){TIME}{ZONE}",
    "yyyy/mm/dd": rf"{YEAR}/{MONTH}/{DAY}{OPTIONAL_TIME}",
    "yyyy.mm.dd": rf"{YEAR}\.{MONTH}\.{DAY}{OPTIONAL_TIME}",
    "dd.mm.yyyy": rf"{DAY}\.{MONTH}\.{YEAR}{OPTIONAL_TIME}",
    DAY_FIRST: rf"{DAY}/{MONTH}/{YEAR}{OPTIONAL_TIME}",
    MONTH_FIRST: rf"{MONTH}/{DAY}/{YEAR}{OPTIONAL_TIME}",
    "dd-mm-yyyy": rf"{DAY}-{MONTH}-{YEAR}{OPTIONAL_TIME}",
    "mm-dd-yyyy": rf"{MONTH}-{DAY}-{YEAR}{OPTIONAL_TIME}",
    "27-Nov-2026": rf"{DAY}[ -]{MONTH_NAME}[ -]{YEAR}{OPTIONAL_TIME}",
    "Nov 27, 2026": rf"{MONTH_NAME} {DAY},? {YEAR}{OPTIONAL_TIME}",
    TIME_OF_DAY: TIME,
}
AMBIGUOUS = ((DAY_FIRST, MONTH_FIRST), ("dd-mm-yyyy", "mm-dd-yyyy"))  # where every number could be day or month


def parse_dates(cells: "pl.Series", form: str) -> np.ndarray:
    """Return seconds since 1970 (N,) float64 of cells of text in one of FORMS; NaN for others and for missing cells.

    A time with a zone is converted to UTC. Times of day count from 0 on the first day of 1970.
    """
    import polars as pl

    parts = cells.str.extract_groups(f"^{FORMS[form]}$").struct.unnest()

    def whole(name: str, default: int) -> np.ndarray:
        if name not in parts.columns:
            return np.full(len(cells), default)
        return parts[name].cast(pl.Int64).fill_null(default).to_numpy()

    matched = parts["hour" if form == TIME_OF_DAY else "year"].is_not_null().to_numpy()
    month = whole("month", 1)
    if "name" in parts.columns:
        numbers = dict(zip(MONTHS, range(1, 13), strict=True))
        names = parts["name"].str.to_lowercase().str.head(3)
        month = names.replace_strict(numbers, default=1, return_dtype=pl.Int64).to_numpy()
    year, day = whole("year", 1970), whole("day", 1)
    in_year = matched & (month >= 1) & (month <= 12)
    first_of_month = ((year - 1970) * 12 + np.where(in_year, month, 1) - 1).astype("datetime64[M]")
    date = first_of_month.astype("datetime64[D]") + (day - 1)
    valid = in_year & (day >= 1) & (date.astype("datetime64[M]") == first_of_month)
    seconds, is_time = seconds_of_day(parts, whole)
    result = date.astype(np.int64) * float(SECONDS_OF_DAY) + seconds
    return np.where(valid & is_time, result, np.nan)


def seconds_of_day(parts: "pl.DataFrame", whole: Callable[[str, int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds since midnight (N,), in UTC where there is a zone, and which are times of day (N,) bool."""
    import polars as pl

    hour, minute, second = (whole(name, 0) for name in ("hour", "minute", "second"))
    is_time = (hour < 24) & (minute < 60) & (second < 60)
    half = parts["half"].str.to_lowercase()
    if half.is_not_null().any():
        has_half = half.is_not_null().to_numpy()
        is_time &= ~has_half | ((hour >= 1) & (hour <= 12))
        hour = np.where(has_half, hour % 12 + 12 * (half == "p").fill_null(value=False).to_numpy(), hour)
    fraction = ("0." + parts["fraction"]).cast(pl.Float64).fill_null(0.0).to_numpy()
    seconds = hour * 3600 + minute * 60 + second + fraction
    if "zone" in parts.columns:
        zone = parts["zone"].str.replace_all(":", "").str.replace("^[Zz]$", "+0000")
        hours = zone.str.slice(0, 3).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
        minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
        sign = np.where(zone.str.starts_with("-").fill_null(value=False).to_numpy(), -1, 1)
        is_time &= (np.abs(hours) < 24) & (minutes < 60)
        seconds = seconds - hours * 3600 - sign * minutes * 60
    return seconds, is_time


def temporal_seconds(cells: "pl.Series") -> np.ndarray:
    """Return seconds since 1970 (N,) float64 of cells of a polars type of dates or times; NaN for missing cells.

    Times with a zone are those of UTC; times of day and durations are seconds.
    """
    import polars as pl

    dtype = cells.dtype
    unit = {"ms": 1e3, "us": 1e6, "ns": 1e9}[getattr(dtype, "time_unit", None) or "ns"]
    if dtype == pl.Date:
        unit = 1 / SECONDS_OF_DAY
    return cells.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy() / unit


def temporal_form(cells: "pl.Series") -> str:
    """Return the form of text in which cells of a polars type of dates or times could be written."""
    import polars as pl

    if cells.dtype == pl.Time:
        return TIME_OF_DAY
    return ISO_WITH_ZONE if getattr(cells.dtype, "time_zone", None) else ISO


def find_forms(cells: "pl.Series") -> list[str]:
    """Return the forms in which every cell of text is written that is not missing; none without such a cell."""
    texts = cells.drop_nulls().unique()
    if not len(texts):
        return []
    # One text tells most columns of other texts apart, in a fraction of the time that polars takes for all forms.
    likely = [form for form, pattern in FORMS.items() if re.fullmatch(pattern, texts[0])]
    start = texts.head(20)
    possible = [form for form in likely if not np.isnan(parse_dates(start, form)).any()]
    return [form for form in possible if not np.isnan(parse_dates(texts, form)).any()]


def format_date(seconds: float, form: str) -> str:
    """Return seconds since 1970 as a date, with the time unless it is midnight; a time of day as such."""
    limit = 1e11  # beyond the year 5000, and far within what datetime64 holds
    if not abs(seconds) < limit:
        return f"{seconds:.6g} seconds since 1970"
    text = str(np.datetime64(round(seconds), "s")).replace("T", " ")
    if form == TIME_OF_DAY:
        return text.partition(" ")[2]
    return text.removesuffix(" 00:00:00")
