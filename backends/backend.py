"""Backend interface: an array library on one device, and how it runs many steps in one call."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.backends.precision import MAX_PRODUCT_ERROR, precision_name, product_error, product_operand
from lagvis.errors import DeviceError, DeviceMemoryError
from lagvis.installation import missing_package
from lagvis.tree import Tree, leaves, tree_map

Step = Callable[..., Tree]
Explain = Callable[[BaseException], DeviceError | None]
Run = Callable[[Tree, tuple[Tree, ...], tuple[Tree, ...]], Tree]


def plain_loop(body: Callable[..., Tree], carry: Tree, inputs: tuple[Array, ...]) -> Tree:
    """Return the carry after `carry = body(carry, *slices)` for each slice of the inputs along their first axis.

    `body` returns a carry of the shapes and dtypes that it takes. This is the definition that every backend must match.
    """
    for i in range(inputs[0].shape[0]):
        carry = body(carry, *(a[i, ...] for a in inputs))
    return carry


class Backend(ABC):
    """One array library on one device.

    name              "numpy", "cupy", "torch" or "jax"
    sets_threads      whether `limited_threads` has an effect
    xp                its Array API namespace (from array_api_compat where the library's own is not the standard's)
    device            "cpu", "cuda:N", "xpu:N" or "mps"
    dtype             "float32" or "float64", of parameters and computation
    compiled          if False, `scan` is the plain loop (`--no-compile`)
    fallback          why "auto" did not choose a GPU, as a sentence; None if it did, or if the device was given
    float32_products  precision of float32 products, as `self_test` measured it: "full", "TF32" or another error; None
                      if it was not measured
    loop              `loop(body, carry, inputs) -> carry` within a step, which computes what `plain_loop` does
    notices           sentences for the user: lower precision, a device that "auto" chose untried, a step in the plain
                      loop because its recording failed the self-test
    """

    name: ClassVar[str]
    sets_threads: ClassVar[bool] = False
    loop: ClassVar[Callable[..., Tree]] = staticmethod(plain_loop)
    xp: Namespace

    def __init__(self, device: str, dtype: str, compiled: bool) -> None:
        self.device = device
        self.dtype = dtype
        self.compiled = compiled
        self.fallback: str | None = None
        self.float32_products: str | None = None
        self.notices: list[str] = []

    @abstractmethod
    def asarray(self, host: np.ndarray) -> Array:
        """Copy `host` to a new buffer on the device, with the same element type."""

    def as_constant(self, host: np.ndarray) -> Array:
        """Return `host` as an array on the device for the constants of `scan`; it may be `host` itself."""
        return self.asarray(host)

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """Copy `array` to the host, after waiting for its computation."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all computation on the device is done."""

    def limited_threads(self, threads: int) -> AbstractContextManager[Any]:
        """Return a context in which host computation uses `threads` threads, if `sets_threads`."""
        return nullcontext()

    def blas_threads(self, threads: int) -> int:
        """Return how many threads of the BLAS library compute a product within `limited_threads(threads)`.

        They decide its last bits. The backend's own threads, which share products at equal bits, do not count.
        """
        return threads

    @abstractmethod
    def scan(self, step: Step) -> Run:
        """Return `run(state, inputs, constants) -> state`, which computes what `plain_scan` does on the fastest path.

        state      tree of arrays, consumed by the call: keep a host copy of what is needed longer
        inputs     trees of arrays with a leading axis of S steps; new shapes may compile again
        constants  trees of arrays, read and never written
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of libraries and driver and the name of the device, for the record of a run."""


def plain_scan(step: Step) -> Run:
    """Return a scan as a loop over the S steps: the definition that every backend must match."""

    def run(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
        for i in range(leaves(inputs)[0].shape[0]):
            state = step(state, *(tree_map(lambda a, i=i: a[i, ...], tree) for tree in inputs), *constants)
        return state

    return run


PRODUCT_SIZE = 256  # rows and columns of the product of the self-test: cuBLAS may compute smaller ones without TF32


def self_test(backend: Backend, remedy: str, explain: Explain | None = None) -> Backend:
    """Return `backend` after it has computed a product and an elementwise function correctly; else raise DeviceError.

    In float32 a larger product is measured too: its precision becomes `float32_products`. `explain` returns the
    DeviceError of an exception that it knows, else None; `remedy` is the remedy of any other error.
    """
    a = np.arange(4, dtype=backend.dtype).reshape(2, 2)
    operand = product_operand(PRODUCT_SIZE if backend.dtype == "float32" else 2).astype(backend.dtype)

    def step(state: Tree, rows: Array, identity: Array) -> Tree:
        return {
            "a": state["a"] @ backend.xp.matrix_transpose(rows) + backend.xp.exp(rows * 0.0),
            "product": state["product"] @ identity,
        }

    try:
        inputs = (backend.asarray(a[None]), backend.asarray(np.eye(len(operand), dtype=backend.dtype)[None]))
        state = backend.scan(step)({"a": backend.asarray(a), "product": backend.asarray(operand)}, inputs, ())
        answer = backend.to_numpy(state["a"]).tolist()
        product = backend.to_numpy(state["product"])
    except Exception as error:  # a half-working driver, compiler or cache folder raises errors of any type
        raise opening_error(error, backend.name, backend.device, remedy, explain) from None
    if answer != [[2.0, 4.0], [4.0, 14.0]]:
        raise DeviceError(f"{backend.name} computes wrong numbers on {backend.device}: {answer}", remedy)
    rounding = product_error(operand, product)
    if not rounding <= MAX_PRODUCT_ERROR:  # true for NaN
        raise DeviceError(
            f"{backend.name} computes wrong numbers on {backend.device}: a product is wrong by {rounding:.1e}", remedy
        )
    if backend.dtype == "float32":
        backend.float32_products = precision_name(rounding)
    return backend


def opening_error(
    error: BaseException, name: str, device: str, remedy: str, explain: Explain | None = None
) -> DeviceError:
    """Return the DeviceError of a device that was found and raised `error` at its first use; as for `self_test`."""
    if is_out_of_memory(error):
        return DeviceMemoryError(
            f"{name} found {device}, but it has no free memory ({first_line(error)})",
            "end other programs that use its memory, or use another device",
        )
    known = missing_own_package(error) or (explain(error) if explain else None)
    return known or DeviceError(f"{name} found {device}, but it does not compute: {first_line(error)}", remedy)


# Packages that backends import beside their library, which an installation of Lagvis brings.
OWN_PACKAGES = ("numpy", "array_api_compat", "threadpoolctl")


def missing_own_package(error: BaseException) -> DeviceError | None:
    """Return the DeviceError of an import that failed for want of one of OWN_PACKAGES; None for any other error.

    What a library itself lacks comes with the extra of that library.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name not in OWN_PACKAGES:
        return None
    missing = missing_package(error)
    return DeviceError(*missing) if missing else None


# Libraries whose own error types may mean out of memory, and the texts by which they do. PyTorch's C++ code also raises
# plain RuntimeError with these texts.
LIBRARIES = ("torch", "jax", "jaxlib", "cupy", "cupy_backends")
OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "resource_exhausted",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",
)


def is_library_error(error: BaseException) -> bool:
    """Whether an error has a type that array libraries raise for many causes, so that its text decides."""
    return type(error) is RuntimeError or type(error).__module__.partition(".")[0] in LIBRARIES


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, the system or an array library means that host or device memory is exhausted.

    Decided by the type; by the text only for types that a library raises for many causes.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if is_library_error(error):
        text = str(error).lower()
        return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY_TEXTS)
    return isinstance(error, MemoryError)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if the text is empty."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
