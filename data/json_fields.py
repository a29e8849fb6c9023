"""Check the values of JSON that becomes a part of a network; each function returns the value or raises ValueError."""

import math
from collections.abc import Callable
from typing import Any

from lagvis.arrays import MAX_EXACT_INT


def take_fields(value: Any, checks: dict[str, Callable[[Any], Any]]) -> list[Any]:
    """Return the fields of an object, each checked; it must have these and no others."""
    if not isinstance(value, dict) or {*value} != {*checks}:
        raise ValueError(f"expected an object of {', '.join(checks)}")
    return [check(value[name]) for name, check in checks.items()]


def require_list(value: Any) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise ValueError(f"found {type(value).__name__}, expected a list")
    return value


def require_string(value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise ValueError(f"found {type(value).__name__}, expected a string")
    return value


def require_strings(value: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple."""
    return tuple(require_string(text) for text in (value if isinstance(value, tuple) else require_list(value)))


def require_unique_strings(value: Any) -> tuple[str, ...]:
    """Return a list of different strings as a tuple."""
    found = require_strings(value)
    if len({*found}) < len(found):
        raise ValueError(f"found {value!r}, expected different names")
    return found


def require_choice(known: Any, name: str) -> str:
    """Return `name`, which must be among `known`."""
    if name not in known:
        raise ValueError(f"found {name!r}, expected one of {', '.join(known)}")
    return name


def require_bool(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"found {type(value).__name__}, expected true or false")
    return value


def require_int(value: Any, *, minimum: int = 0, maximum: int | None = None) -> int:
    """Return an integer from `minimum` to `maximum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"found {value!r}, expected a whole number from {minimum}")
    if maximum is not None and value > maximum:
        raise ValueError(f"found {value!r}, expected a whole number up to {maximum}")
    return value


def require_float(value: Any) -> float:
    """Return a finite number, which float64 holds exactly, as a float."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, int) and abs(value) > MAX_EXACT_INT) or not math.isfinite(value):
        raise ValueError(f"found {value!r}, expected a finite number")
    return float(value)


def require_positive(value: Any) -> float:
    """Return a finite number above 0 as a float."""
    found = require_float(value)
    if found <= 0:
        raise ValueError(f"found {value!r}, expected a number above 0")
    return found


def require_optional_float(value: Any) -> float | None:
    """Return a finite number as a float, or None."""
    return None if value is None else require_float(value)
