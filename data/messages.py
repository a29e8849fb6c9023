"""Text for messages: names cut to what a sentence can hold, counts, percentages that never round to 0 or 100."""

import difflib
import re
from collections.abc import Iterable, Sequence

MAX_NAME_LENGTH, MAX_NAMES, MAX_LISTED_NAMES = 40, 6, 8
MAX_LOSS = 1e4  # that is printed with decimals
MAX_ERROR = 1e9  # in the unit of the user, that is printed with decimals


def shorten(text: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """Cut text to `max_length` characters."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def list_names(names: Sequence[str], most: int = MAX_LISTED_NAMES) -> str:
    """Return the first names of a list, for a message."""
    return ", ".join(map(shorten, names[:most])) + (", ..." if len(names) > most else "")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like another one; empty if none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def join_names(names: Sequence[str]) -> str:
    """Join class names for a sentence: 1..4, or cat, dog, or the first, the last and the count."""
    first, last = shorten(names[0]), shorten(names[-1])
    if len(names) > 1 and re.fullmatch(r"-?[0-9]{1,20}", names[0]):
        start = int(names[0])
        if all(name == str(start + i) for i, name in enumerate(names)):
            return f"{first}..{last}"
    return ", ".join(map(shorten, names)) if len(names) <= MAX_NAMES else f"{first} to {last} ({len(names)} of them)"


def percent(fraction: float, digits: int = 2) -> str:
    """Return a fraction as a percentage: 0.9786 -> 97.86%.

    Only exactly 0 and 1 are written 0.00% and 100.00%: 0.99996 is >99.99%, and 0.00004 is <0.01%.
    """
    text = f"{100 * fraction:.{digits}f}"
    if fraction < 1 and float(text) >= 100:
        return f">{100 - 10**-digits:.{digits}f}%"
    if fraction > 0 and float(text) == 0:
        return f"<{10**-digits:.{digits}f}%"
    return text.removeprefix("-") + "%" if fraction == 0 else text + "%"


def decimals(number: float, digits: int = 4, limit: float = MAX_LOSS) -> str:
    """Return a number with so many decimals, or in scientific notation from `limit` on and where it would read as zero.

    0.12346 -> 0.1235; 6446555567.55 -> 6.446e+09; 0.00001 -> 1.000e-05
    """
    fixed = f"{number:.{digits}f}"
    reads_as_zero = number != 0 and float(fixed) == 0
    return f"{number:.{min(digits, 3)}e}" if abs(number) >= limit or reads_as_zero else fixed


def pluralize(number: int, noun: str) -> str:
    """Return a count with its noun: 1, epoch -> 1 epoch; 5500, step -> 5,500 steps."""
    if number == 1:
        return f"1 {noun}"
    if re.search("[^aeiou]y$", noun):
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def sentence_start(text: str) -> str:
    """Return text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
