"""Where arrays live and how many steps run in one call: one module for each array library.

`lagvis.backends` is this package and, as `lagvis.backends()`, the function of the public API.
"""

import sys
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """Package that is also the function `backends` of the public API."""

    def __call__(self) -> list[Any]:
        """Test every array library on every device; return a `BackendStatus` of each."""
        from lagvis.backends.status import backend_statuses

        return [*backend_statuses()]


sys.modules[__name__].__class__ = CallablePackage
