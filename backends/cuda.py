"""Facts about CUDA without any array library: the driver version, and devices that the environment hides."""

import ctypes
import os
import sys

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def driver_version() -> int | None:
    """Return the newest CUDA version that the driver supports, as 1000 * major + 10 * minor; None without a driver."""
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value if status == 0 else None


def extra_for_driver(version: int | None) -> str:
    """Return the extra of pyproject.toml with CuPy for this driver version; the newest extra without a driver."""
    return "cuda12" if version is not None and version < 13000 else "cuda13"


def hidden_devices() -> str:
    """Return a note for the end of a sentence if CUDA_VISIBLE_DEVICES is set, else an empty string."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if value is None else f" (CUDA_VISIBLE_DEVICES is set to {value!r}, which hides the others)"
