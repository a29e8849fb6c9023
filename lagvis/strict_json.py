"""JSON that every reader accepts: null in place of NaN and infinity, which the standard does not have."""

import json
import math
from typing import Any


def without_non_finite(value: Any) -> Any:
    """Return a value of dicts, lists, tuples and scalars with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dumps(value: Any, indent: int | None = None) -> str:
    """Return a value as strict JSON."""
    return json.dumps(without_non_finite(value), allow_nan=False, indent=indent)
