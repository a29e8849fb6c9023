"""Check arguments of the library that are not arrays: paths and names."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from lagvis.errors import UsageError


def path_text(value: Any, argument: str) -> str:
    """Return a path as text; UsageError for what is no path.

    >>> from pathlib import Path
    >>> path_text(Path("runs/first"), "run")
    'runs/first'
    """
    found = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise UsageError(f"{argument} is of the type {type(value).__name__}; expected a path, as text or as a Path")
    if not found:
        raise UsageError(f"{argument} is empty; expected a path")
    try:
        encoded = os.fsencode(found)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise UsageError(f"{argument} is {found!r}, which has characters that no path can have; expected a path")
    return found


def names_of(value: Any, argument: str) -> tuple[str, ...]:
    """Return names, in a list or an array of text, as a tuple; () for None. UsageError for what has no names.

    >>> import numpy as np
    >>> names_of(np.array(["width", "height"]), "feature_names")
    ('width', 'height')
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,) if value else ()
    is_list = isinstance(value, Iterable) and getattr(value, "ndim", 1) == 1
    found = [*value] if is_list else []
    if not is_list or not all(isinstance(name, str | int | np.integer) for name in found):
        raise UsageError(f"{argument} is of the type {type(value).__name__}; expected a list of names")
    return tuple(map(str, found))
