"""What can be known of CUDA without any array library: the driver, and what the environment hides."""

import ctypes
import os
import sys

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def driver_version() -> int | None:
    """The newest CUDA version the installed driver serves, as 1000 * major + 10 * minor; None without a driver."""
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value if status == 0 else None


def extra_for_driver(version: int | None) -> str:
    """The extra of pyproject.toml that holds CuPy for this driver; the newest where there is none yet."""
    return "cuda12" if version is not None and version < 13000 else "cuda13"


def hidden_devices() -> str:
    """What CUDA_VISIBLE_DEVICES does to the count of devices, as the tail of a sentence; empty where it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if value is None else f" (CUDA_VISIBLE_DEVICES is set to {value!r}, which hides the others)"
