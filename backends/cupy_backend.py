"""CuPy backend: one CUDA device, one non-blocking stream, and a probe that reports missing parts."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.backends.backend import Backend, Run, Step, first_line, opening_error, plain_scan, self_test
from lagvis.backends.cuda import (
    AMD_DRIVER,
    MIN_CAPABILITY,
    TURING,
    describe_card,
    driver_is_missing,
    driver_version,
    extra_for,
    fitting_extra,
    hidden_devices,
    installed_wheels,
    replace_cupy,
    visibility_remedy,
)
from lagvis.backends.cuda_faults import Build, no_such_device
from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.numpy_recorder import CupyRecorder
from lagvis.backends.replay.self_test import use_replay
from lagvis.backends.replay.tape import recorded_loop, recorded_scan
from lagvis.errors import DeviceError
from lagvis.option_text import option
from lagvis.tree import Tree

OLD_DRIVER_REMEDY = "install NVIDIA driver 525 or newer (580 or newer for .[cuda13])"
MIN_DRIVER = 12000  # CUDA 12, driver 525
WRITABLE_CACHE = "set CUPY_CACHE_DIR to a writable folder"
REMEDY = "run lagvis backends to see what is missing"


class CupyBackend(Backend):
    """CuPy arrays in the memory of one CUDA device."""

    name: ClassVar[str] = "cupy"

    loop: ClassVar[Callable[..., Tree]] = staticmethod(recorded_loop)

    def __init__(self, cupy: ModuleType, xp: Namespace, ordinal: int, dtype: str, compiled: bool) -> None:
        super().__init__(f"cuda:{ordinal}", dtype, compiled)
        self.xp = RecordableNamespace(xp)
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
        # the recorded calls are not captured as a CUDA graph yet
        run = recorded_scan(step, partial(CupyRecorder, self.xp, self._cupy)) if self.compiled else plain_scan(step)

        def on_stream(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
            with self._on_stream():
                return run(state, inputs, constants)

        return on_stream

    def versions(self) -> dict[str, str]:
        runtime = self._cupy.cuda.runtime
        versions = {"cupy": self._cupy.__version__, "cuda": str(runtime.runtimeGetVersion())}
        return versions | describe_card(self.device)


def import_cupy() -> ModuleType:
    """Import CuPy; raise DeviceError with the reason if it is missing, broken or installed more than once."""
    failure = None
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about two wheels, reported below
            import cupy
    except (ImportError, OSError) as error:
        failure = error
    command = f'pip install -e ".[{fitting_extra()}]"'
    if isinstance(failure, ModuleNotFoundError) and failure.name == "cupy":
        if driver_version() is None:
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
    if failure is not None:
        if known := cache_error(failure, "create") or Build("CuPy").explain(failure, "cuda"):
            raise known
        raise DeviceError(f"CuPy is installed but cannot be imported ({first_line(failure)})", command)
    return cupy


def cache_folder() -> str:
    """Return the folder of CuPy's compiled kernels."""
    return os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))


def cache_error(error: BaseException, action: str) -> DeviceError | None:
    """Return the DeviceError of an error about a file or folder of CuPy's cache or a full disk; None for any other."""
    if not isinstance(error, OSError) or error.errno is None:  # a library that cannot be loaded has no number
        return None
    folder = Path(cache_folder())
    path = folder if error.filename is None else Path(os.fsdecode(error.filename))
    if path not in (folder, *folder.parents) and folder not in path.parents:
        return None
    return DeviceError(f"CuPy cannot {action} its cache {cache_folder()!r} ({error.strerror})", WRITABLE_CACHE)


def installed_build(cupy: ModuleType, device: str) -> Build:
    """Return the cards that the installed CuPy has code for, and the CuPy for other cards."""
    built_for = int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
    extra = fitting_extra(device)
    newest = installed_wheels() == [f"cupy-{extra}x"]
    return Build(
        "CuPy",
        older=replace_cupy("cuda12")
        if built_for != 12
        else f"use {option('device', 'cpu')}: no CuPy that Lagvis uses has code for it",
        newer=f'pip install -U --upgrade-strategy eager -e ".[{extra}]"' if newest else replace_cupy(extra),
        oldest=MIN_CAPABILITY.get(built_for, TURING),
    )


def probe(cupy: ModuleType, ordinal: int) -> None:
    """Raise DeviceError for the first missing part that device `ordinal` needs.

    The parts are a driver, a device, a card that this CuPy has code for, the compiler and cuBLAS.
    """
    runtime, device = cupy.cuda.runtime, f"cuda:{ordinal}"
    built_for = int(runtime.runtimeGetVersion()) // 1000
    build = installed_build(cupy, device)
    try:
        check_driver(runtime.driverGetVersion(), built_for)
        count = runtime.getDeviceCount()
    except RuntimeError as error:
        raise build.explain(error, device) or DeviceError(
            f"CUDA finds no usable device: {first_line(error)}{hidden_devices()}", visibility_remedy()
        ) from None
    if ordinal >= count:
        raise no_such_device("CuPy", count, device)
    build.check_card(device)
    with_compiler = f'pip install -e ".[cuda{built_for}]", which brings the compiler and cuBLAS'
    try:
        cupy.cuda.nvrtc.getVersion()
    except RuntimeError as error:
        raise DeviceError(f"CuPy finds no CUDA compiler (NVRTC): {first_line(error)}", with_compiler) from None
    try:
        from cupy_backends.cuda.libs import cublas  # noqa: F401  (this import uses CuPy's search for libraries)
    except ImportError as error:
        raise DeviceError(f"CuPy finds no cuBLAS: {first_line(error)}", with_compiler) from None


def check_driver(driver: int, built_for: int) -> None:
    """Raise DeviceError if the driver (1000 * major + 10 * minor, 0: none) is too old for CuPy of a CUDA version."""
    if driver == 0:
        raise DeviceError(
            "CuPy is installed, but no NVIDIA driver was found",
            f"install NVIDIA driver 580 or newer, or use {option('device', 'cpu')}",
        )
    if driver // 1000 < built_for:
        fitting = f"{replace_cupy(extra_for(driver, None))} (or a newer driver)"
        raise DeviceError(
            f"the NVIDIA driver supports CUDA {driver // 1000}.{driver % 1000 // 10}, "
            f"the installed CuPy needs CUDA {built_for}",
            fitting if driver >= MIN_DRIVER else OLD_DRIVER_REMEDY,
        )


def set_full_precision(cupy: ModuleType) -> None:
    """Make CuPy compute float32 products in float32, whatever CUPY_TF32 says: it is read only if nothing is set."""
    with suppress(AttributeError):  # private names, which another CuPy may lack; the self-test measures a product
        linalg = cupy._core._routines_linalg
        linalg.set_compute_type("float32", linalg.COMPUTE_TYPE_FP32)


def find_devices() -> list[str]:
    """List the devices that CuPy sees, fastest first; raise DeviceError with the reason if there are none.

    Without a driver CuPy is not imported, which takes 0.15 s with the search for its packages.
    """
    if driver_is_missing() and not os.path.exists(AMD_DRIVER):
        with suppress(ModuleNotFoundError):  # of a finder that refuses a module; `import_cupy` tells why
            if find_spec("cupy") is not None:
                check_driver(0, built_for=0)
    cupy = import_cupy()
    probe(cupy, 0)
    return [f"cuda:{ordinal}" for ordinal in range(cupy.cuda.runtime.getDeviceCount())]


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open CuPy on "cuda:N" after a self-test there."""
    cupy = import_cupy()
    ordinal = int(device.removeprefix("cuda:"))
    probe(cupy, ordinal)
    explain = partial(explain_error, installed_build(cupy, device), device)
    try:
        import array_api_compat.cupy as xp

        set_full_precision(cupy)
        backend = CupyBackend(cupy, xp, ordinal, dtype, compiled=False)
    except Exception as error:  # the stream is the first thing that needs the card itself
        raise opening_error(error, "cupy", device, REMEDY, explain) from None
    self_test(backend, REMEDY, explain)
    return use_replay(backend, REMEDY, explain) if compiled else backend


def explain_error(build: Build, device: str, error: BaseException) -> DeviceError | None:
    """Return what an error at the first use of a device says about its cache, its card or its driver, else None."""
    return cache_error(error, "write") or build.explain(error, device)
