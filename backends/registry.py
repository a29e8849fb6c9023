"""Table of backends, and `select`, which opens one by name and device.

An array library is imported when its backend is selected, never before.
"""

import importlib
import os
import platform
import re
import sys
from collections.abc import Sequence
from types import ModuleType

from lagvis.backends.backend import Backend, first_line, missing_own_package
from lagvis.backends.cuda import AMD_DRIVER, driver_version, fitting_extra
from lagvis.backends.cuda_faults import Build
from lagvis.backends.precision import precision_notices
from lagvis.errors import DeviceError, DeviceUsageError
from lagvis.option_text import option, setting

DTYPES = ("float32", "float64")
# name: (module, name of the library in sentences, kinds of device)
BACKENDS = {
    "numpy": ("lagvis.backends.numpy_backend", "NumPy", ("cpu",)),
    "cupy": ("lagvis.backends.cupy_backend", "CuPy", ("cuda",)),
    "torch": ("lagvis.backends.torch_backend", "PyTorch", ("cpu", "cuda", "xpu", "mps")),
    "jax": ("lagvis.backends.jax_backend", "JAX", ("cpu", "cuda")),
}
# kind of device: backend that computes on it unless another is named
DEFAULT_BACKENDS = {"cpu": "numpy", "cuda": "cupy", "xpu": "torch", "mps": "torch"}
DEVICE_NAMES = r"auto|cpu|(cuda|xpu)(:\d+)?|mps"
# kinds of device on which nothing of Lagvis has run
UNTRIED_DEVICES = {"mps": "an Apple GPU", "xpu": "an Intel GPU"}


def select(device: str = "auto", backend: str | None = None, dtype: str = "float32", compiled: bool = True) -> Backend:
    """Open the backend for a device ("auto", "cpu", "cuda", "cuda:N", "mps", ...) and, if given, a named backend.

    Without a name, "cpu" is NumPy, "cuda" is CuPy, and "xpu" (Intel) and "mps" (Apple) are PyTorch. "auto" is a GPU
    that has passed a self-test, else the CPU with the reason in `fallback`. An explicit device never falls back. Raise
    DeviceError if the device cannot compute, DeviceUsageError for unknown names or a backend without such a device.
    """
    check_device(device)
    if backend is not None and (not isinstance(backend, str) or backend not in BACKENDS):
        raise DeviceUsageError(f"there is no backend {backend!r}; it is one of {', '.join(BACKENDS)}")
    if dtype not in DTYPES:
        raise DeviceUsageError(f"there is no dtype {dtype!r}; it is one of {', '.join(DTYPES)}")
    opened = _automatic(backend, dtype, compiled) if device == "auto" else _explicit(device, backend, dtype, compiled)
    opened.notices += precision_notices(opened.name, opened.device, opened.float32_products)
    return opened


def select_several(
    names: Sequence[str] | None, device: str = "auto", dtype: str = "float32", compiled: bool = True
) -> list[Backend]:
    """Open the named backends, or all that can compute on a device, for a comparison.

    Raise DeviceError if a named one cannot compute, or if there is no other library than NumPy.
    """
    check_device(device)
    opened: list[Backend] = []
    errors: list[DeviceError] = []
    kind = device.partition(":")[0]
    for name in dict.fromkeys(names or BACKENDS):
        if not names and kind != "auto" and kind not in BACKENDS[name][2]:
            continue
        try:
            opened.append(select(device, name, dtype, compiled))
        except DeviceError as error:
            if names:
                raise
            errors.append(error)
    if len({"numpy", *(backend.name for backend in opened)}) >= 2:  # the reference is NumPy whatever is named
        return opened
    needed = "a comparison needs two array libraries, and only numpy"
    if names:
        others = ", ".join(name for name in BACKENDS if name != "numpy")
        raise DeviceError(f"{needed} was named", f"name another backend of {others}")
    if kind in ("auto", "cpu"):
        remedy = f'pip install -e ".[jax]" (or torch, {fitting_extra()})'
    else:
        remedy = "; ".join(dict.fromkeys(error.remedy for error in errors))
    raise DeviceError(f"{needed} can run here ({'; '.join(error.reason for error in errors)})", remedy)


def check_device(device: str) -> None:
    """Raise DeviceUsageError for the name of a device that no backend has."""
    if not isinstance(device, str):
        raise DeviceUsageError(f"device is {device!r}; expected text, as 'cpu' or 'cuda:0'")
    if not re.fullmatch(DEVICE_NAMES, device):
        hint = f"; did you mean {device.lower()}?" if re.fullmatch(DEVICE_NAMES, device.lower()) else ""
        if device.lower().startswith("gpu"):
            hint = "; a GPU of NVIDIA is cuda, of Apple mps, of Intel xpu"
        raise DeviceUsageError(
            f"there is no device {device!r}; it is one of auto, cpu, cuda, cuda:0, cuda:1, ..., mps, xpu, xpu:0, ..."
            f"{hint}"
        )


def no_float64() -> str:
    """Return why a network in float64 cannot train on an Apple GPU, for messages."""
    return f"mps has no float64; expected {option('dtype', 'float32')}, or another device for a network in float64"


def _explicit(device: str, backend: str | None, dtype: str, compiled: bool) -> Backend:
    kind = device.partition(":")[0]
    name = backend or DEFAULT_BACKENDS[kind]
    _, library, kinds = BACKENDS[name]
    if kind not in kinds:
        others = [other for other, (_, _, devices) in BACKENDS.items() if kind in devices]
        choice = f"{setting('backend')} is one of {', '.join(others)}"
        if len(others) == 1:
            choice = f"use {option('backend', others[0])}"
        raise DeviceUsageError(f"{library} has no device {kind}; for {kind}, {choice}")
    if kind == "mps" and dtype == "float64":
        raise DeviceUsageError(no_float64())
    try:
        return load(name).open_backend(f"{kind}:0" if device in ("cuda", "xpu") else device, dtype, compiled)
    except DeviceError as error:
        hint = _libraries_that_see_a_gpu() if backend is None and kind == "cuda" else ""
        raise type(error)(error.reason, error.remedy + hint) from None


def load(name: str) -> ModuleType:
    """Import the module of a backend; raise DeviceError if its library is missing or broken."""
    module, library, _ = BACKENDS[name]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        command = f'pip install -e ".[{fitting_extra() if name == "cupy" else name}]"'
        if missing := missing_own_package(error):
            raise missing from None
        if isinstance(error, ModuleNotFoundError) and error.name in (name, "jaxlib"):
            raise DeviceError(f"{library} is not installed", command) from None
        if known := Build(library).explain(error, "cuda"):
            raise known from None
        raise DeviceError(f"{library} is installed but cannot be imported ({first_line(error)})", command) from None
    except ValueError as error:  # JAX reads its settings from variables such as JAX_DEFAULT_MATMUL_PRECISION
        variables = [variable for variable in os.environ if variable.startswith(f"{name.upper()}_")]
        raise DeviceError(
            f"{library} cannot be imported ({first_line(error)})", f"unset or correct {' or '.join(variables) or 'it'}"
        ) from None


def _automatic(backend: str | None, dtype: str, compiled: bool) -> Backend:
    name = backend or "cupy"
    if backend is not None:
        load(backend)  # a missing library is an error if it was named; only a missing GPU is a reason to fall back
    try:
        module = load(name)
        fastest = module.find_devices()[0]
        if fastest == "mps" and dtype == "float64":
            reason = no_float64()
        elif fastest != "cpu" or name == "numpy":
            opened: Backend = module.open_backend(fastest, dtype, compiled)
            if gpu := UNTRIED_DEVICES.get(fastest.partition(":")[0]):
                opened.notices.append(
                    f"{option('device', 'auto')} has chosen {fastest}, {gpu}: Lagvis was never tried on one."
                )
            return opened
        elif _has_gpu_driver():
            return module.open_backend("cuda:0", dtype, compiled)  # raises DeviceError, which says why
        else:
            reason = f"{BACKENDS[name][1]} sees no CUDA device"
    except DeviceError as error:
        if backend is not None and "cpu" not in BACKENDS[backend][2]:
            raise
        reason = str(error)
    chosen = _explicit("cpu", backend, dtype, compiled)
    chosen.fallback = f"No GPU is used: {reason}"
    if backend is None and sys.platform == "darwin" and platform.machine() == "arm64":
        chosen.fallback += f" On an Apple GPU, {option('device', 'mps')} computes with PyTorch."
    return chosen


def _has_gpu_driver() -> bool:
    return driver_version() is not None or os.path.exists(AMD_DRIVER)


def _libraries_that_see_a_gpu() -> str:
    if not _has_gpu_driver():
        return ""
    seeing = []
    for name in ("torch", "jax"):
        try:
            if load(name).find_devices()[0] != "cpu":
                seeing.append(option("backend", name))
        except Exception:  # noqa: S112  (a hint about another library must not hide the error of this one)
            continue
    return f"; {' and '.join(seeing)} can use the GPU already" if seeing else ""
