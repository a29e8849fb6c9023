"""Text for error messages and notices: names cut to what a sentence can hold."""

import re
from collections.abc import Sequence

MAX_NAME_LENGTH, MAX_NAMES = 40, 6


def shorten(text: str) -> str:
    """Cut text to 40 characters."""
    return text if len(text) <= MAX_NAME_LENGTH else text[: MAX_NAME_LENGTH - 3] + "..."


def join_names(names: Sequence[str]) -> str:
    """Join class names for a sentence: 1..4, or cat, dog, or the first, the last and the count."""
    first, last = shorten(names[0]), shorten(names[-1])
    if len(names) > 1 and re.fullmatch(r"-?[0-9]{1,20}", names[0]):
        start = int(names[0])
        if all(name == str(start + i) for i, name in enumerate(names)):
            return f"{first}..{last}"
    return ", ".join(map(shorten, names)) if len(names) <= MAX_NAMES else f"{first} to {last} ({len(names)} of them)"
