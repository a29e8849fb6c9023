"""Ticks of axes: numbers of any size and dates, with labels that are short and differ."""

from typing import Any

import numpy as np

from lagvis.data.tables.dates import SECONDS_OF_DAY

MAX_LONG_LABEL = 7  # characters of a tick, of which more than a few would touch
STEPS = {"Y": (1, 2, 5, 10, 20, 50, 100, 500, 1000), "M": (1, 2, 3, 6), "D": (1, 2, 5, 10), "h": (1, 2, 3, 6, 12)}
UNIT_SECONDS = {"Y": 366 * SECONDS_OF_DAY, "M": 31 * SECONDS_OF_DAY, "D": SECONDS_OF_DAY, "h": 3600}
UNIT_LENGTHS = {"Y": 4, "M": 7, "D": 10, "h": 16}  # characters of a date in a unit
MAX_DATE_TICKS = 4


def linear_ticks(count: int) -> Any:
    """Return a locator of at most `count` ticks, so that their numbers do not touch."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])


def log_ticks() -> Any:
    """Return a locator of ticks at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def decade_ticks() -> Any:
    """Return a locator of at most five ticks at powers of ten."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0,), numticks=6)


def short_number(value: float) -> str:
    """Return a number with a suffix: 250000 -> 250k; 1500000 -> 1.5M; 2e+15 stays."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def set_number_ticks(axis: Any, limits: tuple[float, float], count: int) -> list[str]:
    """Set ticks whose labels differ, however near to each other the numbers are; return the labels."""
    ticks = [tick for tick in linear_ticks(count).tick_values(*limits) if limits[0] <= tick <= limits[1]]
    labels = tick_labels(ticks)
    if max(map(len, labels), default=0) > MAX_LONG_LABEL and count > 3:
        return set_number_ticks(axis, limits, 3)
    axis.set_ticks(ticks, labels)
    return labels


def tick_labels(ticks: list[float]) -> list[str]:
    """Return ascending numbers as short texts that all differ: near to each other, by what is added to the first."""
    labels = [short_number(tick) for tick in ticks]
    if len(set(labels)) == len(labels):
        return labels
    step = ticks[1] - ticks[0]
    digits = next((n for n in range(6, 17) if abs(float(f"{ticks[0]:.{n}g}") - ticks[0]) < 1e-3 * step), 17)
    return [f"{ticks[0]:.{digits}g}", *(f"+{short_number(float(f'{i * step:.6g}'))}" for i in range(1, len(ticks)))]


def date_ticks(low: float, high: float, *, only_time: bool) -> tuple[list[float], list[str]]:
    """Return ticks between seconds since 1970, at the beginnings of years, months, days or hours, and their labels."""
    for unit, steps in STEPS.items():
        if high - low < UNIT_SECONDS[unit] and unit != "h":
            continue
        first, last = (np.datetime64(int(np.floor(end)), "s").astype(f"datetime64[{unit}]") for end in (low, high))
        for step in steps:
            shift = 1970 if unit == "Y" else 0  # so that years are whole tens
            start = (first.astype(np.int64) + shift) // step * step - shift
            dates = np.arange(start, last.astype(np.int64) + 1, step).astype(f"datetime64[{unit}]")
            seconds = dates.astype("datetime64[s]").astype(np.int64)
            inside = (seconds >= low) & (seconds <= high)
            if 2 <= inside.sum() <= MAX_DATE_TICKS:
                texts = [str(date)[: UNIT_LENGTHS[unit]] for date in dates[inside]]
                texts = [f"{text}:00" if unit == "h" else text for text in texts]
                return seconds[inside].tolist(), [time_first(text, only_time=only_time) for text in texts]
    ticks = [low + 0.15 * (high - low), high - 0.15 * (high - low)]
    return ticks, [time_first(str(np.datetime64(int(tick), "s")), only_time=only_time) for tick in ticks]


def time_first(text: str, *, only_time: bool) -> str:
    """Return a date with a time as two lines, the time first; only this if the column holds no dates."""
    date, _, time = text.partition("T")
    if only_time:
        return time or "00:00"
    return f"{time}\n{date}" if time else date
