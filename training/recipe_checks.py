"""Checks of the values of recipe keys, and the parsers of their options.

A check takes the key, for its message, and the value of a TOML file or an option: it returns the value of the `Recipe`,
or raises RecipeError.
"""

import math
import sys
from typing import Any

from lagvis.errors import RecipeError
from lagvis.network.dropout import dropped_of_256
from lagvis.training.recipe_hints import value_hint

MAX_FLOAT = sys.float_info.max
FIND = "find"  # as a learning rate: train.py finds one before it begins a run, whose recipe has the number


def as_toml(value: Any) -> Any:
    """Return a value as TOML has it, for files and messages: several as a list."""
    return list(value) if isinstance(value, tuple) else value


def setting_text(value: Any) -> str:
    """Return a value as one word for a table: "64,64", "none" for no value, "on" and "off".

    >>> setting_text((64, 64)), setting_text(()), setting_text(True), setting_text(0.1)
    ('64,64', 'none', 'on', '0.1')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def check_text(key: str, value: Any) -> str:
    """Return a non-empty text that UTF-8 can encode; RecipeError for anything else."""
    if not isinstance(value, str) or not value:
        raise RecipeError(f"{key} is {value!r}; expected a text{as_text(value)}")
    if value.encode("utf-8", "replace").decode("utf-8") != value:
        suggestion = "rename it" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1, or a locale of UTF-8"
        raise RecipeError(f"{key} is {value!r}, which was not read as UTF-8 and cannot be recorded; {suggestion}")
    return value


def as_text(value: Any) -> str:
    """Return the end of a message about a text that is written as a number or a list: how it is written."""
    if type(value) is int:
        return f', in quotes: "{value}"'
    if isinstance(value, list) and value and all(isinstance(item, str | int) for item in value):
        return f' with commas between several: "{",".join(map(str, value))}"'
    return ""


def check_optional_text(key: str, value: Any) -> str:
    """Return a text that UTF-8 can encode; empty: detect automatically."""
    return "" if isinstance(value, str) and not value else check_text(key, value)


def check_columns(key: str, value: Any) -> tuple[str, ...]:
    """Return columns of a table, by names or numbers, as a tuple of texts; a single text is one of them."""
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list | tuple):
        raise RecipeError(f'{key} is {value!r}; expected a list of columns, ["age", "sex"]')
    return tuple(check_text(key, str(column) if type(column) is int else column) for column in value)


def check_choice(*names: str) -> Any:
    """Return a check for one of `names`."""

    def check(key: str, value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise RecipeError(f"{key} is {value!r}; expected {' or '.join(names)}{value_hint(str(value), names)}")
        return str(value)

    return check


def without_quotes(value: Any) -> str:
    """Return the end of a message about a number or truth value that is written as a text."""
    return ", without quotes" if isinstance(value, str) else ""


def check_bool(key: str, value: Any) -> bool:
    """Return true or false; RecipeError for anything else."""
    if not isinstance(value, bool):
        raise RecipeError(f"{key} is {value!r}; expected true or false{without_quotes(value)}")
    return value


def check_int(minimum: int, maximum: int) -> Any:
    """Return a check for an integer from `minimum` to `maximum`."""

    def check(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise RecipeError(
                f"{key} is {value!r}; expected a whole number from {minimum} to {maximum}{without_quotes(value)}"
            )
        return value

    return check


def check_float(minimum: float, below: float, *, open_below: bool = False, share_of: str = "") -> Any:
    """Return a check for a finite number from `minimum` (above it if `open_below`) and below `below`.

    `share_of` says what the number is a share of, for the message.
    """

    def check(key: str, value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_FLOAT
        if not good or not (minimum < value if open_below else minimum <= value) or value >= below:
            start = f"above {minimum:g}" if open_below else f"from {minimum:g}"
            end = "" if math.isinf(below) else f" and below {below:g}"
            share = f", a share of {share_of}" if share_of else ""
            raise RecipeError(f"{key} is {value!r}; expected a number {start}{end}{share}{without_quotes(value)}")
        return float(value)

    return check


def check_dropout(key: str, value: Any) -> float:
    """Return a share from 0 and below 1 that is 0 or rounds to 1/256 or more and to 255/256 or less."""
    share = check_float(0.0, 1.0)(key, value)
    if share and dropped_of_256(share) in (0, 256):
        raise RecipeError(
            f"{key} is {value!r}, which rounds to {dropped_of_256(share)} of 256; expected 0 for none, or a share from "
            "1/256 (0.0039) to 255/256 (0.9961), in steps of 1/256"
        )
    return share


def check_rate(key: str, value: Any) -> float:
    """Return a number above 0; RecipeError for anything else, and for "find", which no recipe of a run has."""
    if value == FIND:
        raise RecipeError(f"{key} is {FIND!r}, which train.py alone replaces by a number; give a number above 0")
    if isinstance(value, str) and value.strip("+-")[:1].isalpha():
        raise RecipeError(f'{key} is {value!r}; expected a number above 0, or "{FIND}"')
    rate: float = check_float(0.0, math.inf, open_below=True)(key, value)
    return rate


def check_betas(key: str, value: Any) -> tuple[float, ...]:
    """Return two numbers from 0 and below 1, or nothing for an optimizer without them; RecipeError for others."""
    if not isinstance(value, list | tuple) or len(value) not in (0, 2):
        raise RecipeError(
            f"{key} is {as_toml(value)!r}; expected two numbers, such as [0.9, 0.999], or --betas 0.9,0.999"
        )
    return tuple(check_float(0.0, 1.0)(key, beta) for beta in value)


def parse_rate(word: str) -> float | str:
    """Parse a learning rate: a number, or "find"; ValueError for anything else."""
    return FIND if word == FIND else float(word)


def parse_numbers(words: str) -> tuple[float, ...]:
    """Parse the numbers of a flag: 0.9,0.999 -> (0.9, 0.999)."""
    return tuple(float(number) for number in words.split(","))


def check_widths(key: str, value: Any) -> tuple[int, ...]:
    """Return the widths of the hidden layers, integers from 1; RecipeError for anything else."""
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{key} is {value!r}; expected a list of widths, [64, 64], or [] for no hidden layer")
    return tuple(check_int(1, 10**7)(key, width) for width in value)


def parse_widths(words: str) -> tuple[int, ...]:
    """Parse the widths of a flag: 64,64 -> (64, 64), none -> ()."""
    return () if words == "none" else tuple(int(width) for width in words.split(","))
