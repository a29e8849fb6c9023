"""Backends: array libraries on a device, and how each runs many training steps in one call.

`lagvis.backends` is this package and, as `lagvis.backends()`, the function of the public API.
"""

from __future__ import annotations  # as in lagvis/__init__.py, for `python -m backends`

import sys
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """Package that is also the function `backends` of the public API."""

    def __call__(self) -> list[Any]:
        """Test every array library on every device; return a `BackendStatus` of each."""
        from lagvis.backends.status import backend_statuses
        from lagvis.option_text import messages_for_python

        with messages_for_python():
            return [*backend_statuses()]


sys.modules[__name__].__class__ = CallablePackage
