"""NumPy, the reference backend: `scan` replays a recorded step and returns the bits of the plain loop.

NumPy's own namespace is that of the standard since NumPy 2.1. array_api_compat would wrap the same functions, and its
import takes 40 ms more: it imports every part of NumPy, down to the compiler for Fortran.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_info

from lagvis.arrays import Array
from lagvis.backends.backend import Backend, Run, Step, plain_scan
from lagvis.backends.blas_threads import blas_threads
from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.numpy_recorder import NumpyRecorder
from lagvis.backends.replay.tape import recorded_loop, recorded_scan
from lagvis.backends.row_blocks import blas_has_blocks
from lagvis.backends.thread_pool import thread_pool
from lagvis.tree import Tree

xp = RecordableNamespace(np)


class NumpyBackend(Backend):
    """NumPy arrays in host memory."""

    name: ClassVar[str] = "numpy"
    sets_threads: ClassVar[bool] = True
    xp = xp
    loop: ClassVar[Callable[..., Tree]] = staticmethod(recorded_loop)

    def asarray(self, host: np.ndarray) -> np.ndarray:
        return np.array(host)

    def as_constant(self, host: np.ndarray) -> np.ndarray:
        return host

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        pass

    @contextmanager
    def limited_threads(self, threads: int) -> Iterator[None]:
        by_blas = self.blas_threads(threads)
        with blas_threads().limited(by_blas), thread_pool().limited(threads if by_blas == 1 else 1):
            yield

    def blas_threads(self, threads: int) -> int:
        return 1 if threads == 1 or blas_has_blocks() else threads

    def scan(self, step: Step) -> Run:
        run = recorded_scan(step, lambda: NumpyRecorder(xp)) if self.compiled else plain_scan(step)

        def without_warnings(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
            # Training checks its totals for NaN and infinity. Of all libraries NumPy alone would also warn, even of the
            # numbers in the gaps of flat arrays.
            with np.errstate(all="ignore"):
                return run(state, inputs, constants)

        return without_warnings

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__, "blas": blas_library()}


def blas_library() -> str:
    """Return the BLAS library that NumPy calls, with its version and the kernel it chose for this CPU.

    For example "openblas 0.3.31 SkylakeX". Only NumPy itself knows a library that threadpoolctl does not know.
    """
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in pools if "numpy" in pool["filepath"]] or pools  # others may be those of SciPy
    if own:
        return " ".join(str(own[0][key]) for key in ("internal_api", "version", "architecture") if own[0].get(key))
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


def find_devices() -> list[str]:
    """List the devices of this backend, fastest first."""
    return ["cpu"]


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open NumPy on "cpu"."""
    return NumpyBackend(device, dtype, compiled)
