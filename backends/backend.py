"""What a backend is: an array library on one device, and its way to run a step many times over."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.errors import DeviceError
from lagvis.tree import Tree

Step = Callable[..., Tree]
Run = Callable[[Tree, tuple[Array, ...], tuple[Tree, ...]], Tree]


class Backend(ABC):
    """One array library on one device.

    name     "numpy", "cupy", "torch" or "jax"
    xp       its Array API namespace (array_api_compat's, where the library has one)
    device   as a user writes it: "cpu", "cuda:0"
    dtype    "float32" or "float64": what parameters and rows are computed in
    compiled False makes `scan` the plain loop (`--no-compile`)
    fallback why "auto" took this device and not a GPU, as a sentence; None where nobody asked for more
    """

    name: ClassVar[str]
    sets_threads: ClassVar[bool] = False
    xp: Namespace

    def __init__(self, device: str, dtype: str, compiled: bool) -> None:
        self.device = device
        self.dtype = dtype
        self.compiled = compiled
        self.fallback: str | None = None

    @abstractmethod
    def asarray(self, host: np.ndarray) -> Array:
        """A copy of `host` on the device, of the same element type, in a buffer of its own."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy of `array` on the host; waits for whatever computes it."""

    @abstractmethod
    def synchronize(self) -> None:
        """Return once everything that was asked of the device is done."""

    def limited_threads(self, threads: int) -> AbstractContextManager[Any]:
        """A context in which computing on the host takes that many threads, where `sets_threads` says it can be set."""
        return nullcontext()

    @abstractmethod
    def scan(self, step: Step) -> Run:
        """Return `run(state, inputs, constants) -> state`, which computes what `plain_scan` does on the fastest path.

        state      tree of arrays, consumed by the call: keep a host copy of what is needed longer
        inputs     arrays with a leading axis of S steps; new shapes may compile again
        constants  trees of arrays, read and never written
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What computes here, for the record of a run: libraries, driver, device, each with its version or name."""


def plain_scan(step: Step) -> Run:
    """The meaning of a scan, as a loop over the S steps."""

    def run(state: Tree, inputs: tuple[Array, ...], constants: tuple[Tree, ...]) -> Tree:
        for i in range(inputs[0].shape[0]):
            state = step(state, *(a[i, ...] for a in inputs), *constants)
        return state

    return run


def self_test(backend: Backend, remedy: str) -> Backend:
    """`backend` itself, once it has computed a product and an elementwise function rightly; else a DeviceError."""
    a = np.arange(4, dtype=backend.dtype).reshape(2, 2)

    def step(state: Tree, rows: Array) -> Tree:
        return {"a": state["a"] @ backend.xp.matrix_transpose(rows) + backend.xp.exp(rows * 0.0)}

    try:
        state = {"a": backend.asarray(a)}
        answer = backend.to_numpy(backend.scan(step)(state, (backend.asarray(a[None]),), ())["a"]).tolist()
    except Exception as error:  # whatever a half-working driver, compiler or cache folder throws
        raise DeviceError(
            f"{backend.name} found {backend.device}, but it does not compute: {first_line(error)}", remedy
        ) from None
    if answer != [[2.0, 4.0], [4.0, 14.0]]:
        raise DeviceError(f"{backend.name} computes wrong numbers on {backend.device}: {answer}", remedy)
    return backend


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any of the libraries says that the host or the device has no memory left."""
    known = ("out of memory", "resource_exhausted", "allocate memory", "not enough memory", "bad_alloc", "alloc_failed")
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in known)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
