"""CuPy backend: one CUDA device, one non-blocking stream, and a probe that reports missing parts."""

import importlib.metadata
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import ClassVar

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.backends.backend import Backend, Run, Step, first_line, plain_scan, self_test
from lagvis.backends.cuda import driver_version, extra_for_driver, hidden_devices
from lagvis.errors import DeviceError
from lagvis.tree import Tree

NEWEST_DRIVER = "install NVIDIA driver 580 or newer, or use --device cpu"
WRITABLE_CACHE = "set CUPY_CACHE_DIR to a writable folder"


class CupyBackend(Backend):
    """CuPy arrays in the memory of one CUDA device."""

    name: ClassVar[str] = "cupy"

    def __init__(self, cupy: ModuleType, xp: Namespace, ordinal: int, dtype: str) -> None:
        super().__init__(f"cuda:{ordinal}", dtype, compiled=False)  # CUDA graphs are not captured yet
        self.xp = xp
        self._cupy = cupy
        self._ordinal = ordinal
        with cupy.cuda.Device(ordinal):
            self._stream = cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        with self._cupy.cuda.Device(self._ordinal), self._stream:
            yield

    def asarray(self, host: np.ndarray) -> Array:
        with self._on_stream():
            return self._cupy.array(host)

    def to_numpy(self, array: Array) -> np.ndarray:
        with self._on_stream():
            return self._cupy.asnumpy(array)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def scan(self, step: Step) -> Run:
        run = plain_scan(step)

        def on_stream(state: Tree, inputs: tuple[Array, ...], constants: tuple[Tree, ...]) -> Tree:
            with self._on_stream():
                return run(state, inputs, constants)

        return on_stream

    def versions(self) -> dict[str, str]:
        runtime = self._cupy.cuda.runtime
        name = runtime.getDeviceProperties(self._ordinal)["name"]
        return {
            "cupy": self._cupy.__version__,
            "cuda": str(runtime.runtimeGetVersion()),
            "driver": str(runtime.driverGetVersion()),
            "gpu": name.decode() if isinstance(name, bytes) else str(name),
        }


def installed_wheels() -> list[str]:
    """List the CuPy distributions of this environment; several overwrite each other's files."""
    names = {(d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith("cupy-cuda"))


def import_cupy() -> ModuleType:
    """Import CuPy; raise DeviceError with the reason if it is missing, broken or installed more than once."""
    failure = None
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about two wheels, reported below
            import cupy
    except (ImportError, OSError) as error:
        failure = error
    driver = driver_version()
    command = f'pip install -e ".[{extra_for_driver(driver)}]"'
    if isinstance(failure, ModuleNotFoundError) and failure.name == "cupy":
        if driver is None:
            raise DeviceError(
                "CuPy is not installed, and no NVIDIA driver was found either",
                f"on a machine with an NVIDIA GPU and its driver, {command}",
            )
        raise DeviceError("CuPy is not installed", command)
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise DeviceError(
            f"{len(wheels)} packages of CuPy are installed over each other, {' and '.join(wheels)}",
            f"pip uninstall -y {' '.join(wheels)} && {command}",
        )
    if isinstance(failure, OSError) and failure.filename:
        raise DeviceError(f"CuPy cannot create its cache {cache_folder()!r} ({failure.strerror})", WRITABLE_CACHE)
    if failure is not None:
        raise DeviceError(f"CuPy is installed but cannot be imported ({first_line(failure)})", command)
    return cupy


def cache_folder() -> str:
    """Return the folder of CuPy's compiled kernels."""
    return os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))


def probe(cupy: ModuleType, ordinal: int) -> None:
    """Raise DeviceError for the first missing part that device `ordinal` needs: driver, device, compiler, cuBLAS."""
    runtime = cupy.cuda.runtime
    driver = runtime.driverGetVersion()
    built_for = int(runtime.runtimeGetVersion()) // 1000
    if driver == 0:
        raise DeviceError("CuPy is installed, but no NVIDIA driver was found", NEWEST_DRIVER)
    if driver // 1000 < built_for:
        wheels = " ".join(installed_wheels()) or "cupy"
        raise DeviceError(
            f"the NVIDIA driver supports CUDA {driver // 1000}.{driver % 1000 // 10}, "
            f"the installed CuPy needs CUDA {built_for}",
            f'pip uninstall -y {wheels} && pip install -e ".[{extra_for_driver(driver)}]" (or a newer driver)',
        )
    try:
        count = runtime.getDeviceCount()
    except RuntimeError as error:
        raise DeviceError(
            f"CUDA finds no usable device: {first_line(error)}{hidden_devices()}",
            "run nvidia-smi to see the devices of the driver",
        ) from None
    if ordinal >= count:
        raise DeviceError(
            f"CUDA sees {count} devices, so there is no cuda:{ordinal}{hidden_devices()}",
            f"use --device cuda:{count - 1} or lower" if count else "run nvidia-smi to see the devices of the driver",
        )
    with_compiler = f'pip install -e ".[cuda{built_for}]", which brings the compiler and cuBLAS'
    try:
        cupy.cuda.nvrtc.getVersion()
    except RuntimeError as error:
        raise DeviceError(f"CuPy finds no CUDA compiler (NVRTC): {first_line(error)}", with_compiler) from None
    try:
        from cupy_backends.cuda.libs import cublas  # noqa: F401  (this import uses CuPy's search for libraries)
    except ImportError as error:
        raise DeviceError(f"CuPy finds no cuBLAS: {first_line(error)}", with_compiler) from None


def set_full_precision(cupy: ModuleType) -> None:
    """Make CuPy compute float32 products in float32, whatever CUPY_TF32 says: it is read only if nothing is set."""
    with suppress(AttributeError):  # private names, which another CuPy may lack; the self-test measures a product
        linalg = cupy._core._routines_linalg
        linalg.set_compute_type("float32", linalg.COMPUTE_TYPE_FP32)


def find_devices() -> list[str]:
    """List the devices that CuPy sees, fastest first; raise DeviceError with the reason if there are none."""
    cupy = import_cupy()
    probe(cupy, 0)
    return [f"cuda:{ordinal}" for ordinal in range(cupy.cuda.runtime.getDeviceCount())]


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open CuPy on "cuda:N" after a self-test there."""
    cupy = import_cupy()
    ordinal = int(device.removeprefix("cuda:"))
    probe(cupy, ordinal)
    import array_api_compat.cupy as xp

    set_full_precision(cupy)
    remedy = "run lagvis backends to see what is missing" if os.access(cache_folder(), os.W_OK) else WRITABLE_CACHE
    return self_test(CupyBackend(cupy, xp, ordinal, dtype), remedy)
