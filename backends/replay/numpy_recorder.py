"""Recorders for the libraries whose functions take NumPy's `out=`: NumPy itself, and CuPy."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from lagvis.arrays import Array, Namespace
from lagvis.backends.host_memory import ALIGNMENT, LARGE_BYTES, aligned_copy
from lagvis.backends.replay.recorder import ELEMENTWISE, BoundCall, Node, Recorder
from lagvis.backends.replay.schedule import Phase
from lagvis.backends.replay.shared_calls import share_calls, shared_functions
from lagvis.backends.thread_pool import thread_pool

# Names of the standard that NumPy's libraries know under another one.
NAMES = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
    "concat": "concatenate",
}
WITH_OUT = ELEMENTWISE | {"argmax", "argmin", "concat", "matmul", "max", "mean", "min", "take"}
REDUCTIONS = {"sum": np.add, "max": np.maximum, "min": np.minimum}
SHORT_ROW = 64  # elements; longer rows are reduced faster where they lie


class OutRecorder(Recorder):
    """Recorder for a library with NumPy's functions: those that take `out=` write into it without a copy."""

    part_alignment: ClassVar[int] = ALIGNMENT

    def __init__(self, xp: Namespace, library: ModuleType) -> None:
        super().__init__(xp)
        self.library = library

    def share_memory(self, a: Array, b: Array) -> bool:
        return self.library.may_share_memory(a, b)

    def strides(self, array: Any) -> tuple[int, ...]:
        return array.strides

    def copy_into(self, to: Array) -> Callable[[Array], Any]:
        return partial(self.library.copyto, to, casting="unsafe")

    def call_into(self, out: Array, call: Node, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        if call.name == "astype":
            return self.copy_call(out, arguments[0])
        if call.name == "sum":
            kind = {} if arguments[0].dtype == out.dtype else {"dtype": out.dtype}  # small integers are summed as large
            return partial(self.library.sum, *arguments, **options, **kind, out=out)
        if call.name in WITH_OUT:
            function = getattr(self.library, NAMES.get(call.name, call.name))
            return partial(function, *arguments, **options, out=out)
        return super().call_into(out, call, arguments, options)


def numbers_as_arrays(arguments: list[Any]) -> list[Any]:
    """Turn Python numbers beside arrays of one dtype into arrays (), which NumPy would do again in every call."""
    kinds = {a.dtype for a in arguments if isinstance(a, np.ndarray)}
    if len(kinds) != 1 or next(iter(kinds)).kind not in "fi":
        return arguments
    (kind,) = kinds
    numbers = (int, float) if kind.kind == "f" else (int,)  # a float beside integers makes floats of them
    return [np.array(a, kind) if type(a) in numbers else a for a in arguments]


def is_plain_product(matrices: list[Any]) -> bool:
    """Whether `dot` makes the same call of BLAS as `matmul` for two operands and a result.

    It does for matrices of several rows and columns each, of one dtype and without gaps in memory.
    """
    plain = all(a.ndim == 2 and min(a.shape) > 1 and a.flags.forc for a in matrices)
    return plain and len({a.dtype for a in matrices}) == 1 and matrices[-1].flags.c_contiguous


def reduce_short_rows(reduce: Callable[..., Any], rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """Write the largest or smallest element of each row into `out`, by way of `columns`, memory for a copy of `rows`.

    NumPy reduces rows one by one, and columns all at once.
    """
    columns[...] = rows
    reduce(columns, 0, None, out)


class NumpyRecorder(OutRecorder):
    """Recorder for NumPy, whose functions it calls in the form with the least overhead.

    Positional arguments and methods are a third faster on small arrays than `out=` and the functions of the module.
    """

    def __init__(self, xp: Namespace) -> None:
        super().__init__(xp, np)
        self.phases: list[Phase] = []  # of calls that several threads share
        if thread_pool().threads > 1:  # large calls, which the threads share one by one, gain nothing by fusion
            self.fusable = frozenset()

    def copy_into(self, to: Any) -> Callable[[Array], Any]:
        return partial(to.__setitem__, ...)

    def copy(self, array: Any) -> np.ndarray:
        """Return a copy in new memory, which begins with a line of the cache if the array has no gaps."""
        return aligned_copy(array) if array.flags.c_contiguous else np.array(array)

    def flat(self, nodes: list[Node]) -> np.ndarray:
        return self.copy(super().flat(nodes))

    def record(self, name: str, function: Any, arguments: Any, options: Any, value: Array) -> Node:
        # NumPy returns a number where the result has no axes; its memory must be that of an array
        array = np.asarray(value)
        node = super().record(name, function, arguments, options, array)
        if node.owner is node and array.nbytes < LARGE_BYTES:  # a large one should not be in memory twice
            node.value = self.copy(node.value)
        return node

    def call_into(self, out: Any, call: Node, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        axis, keepdims = options.get("axis"), options.get("keepdims", False)
        found: Callable[[], Any] | None = None
        if call.name in REDUCTIONS:
            found = reduction(REDUCTIONS[call.name].reduce, arguments[0], axis, keepdims, out)
        elif call.name == "argmax" and not keepdims:
            found = partial(arguments[0].argmax, axis, out)
        elif call.name == "take":
            found = partial(arguments[0].take, arguments[1], axis, out, "clip")  # other modes go through a copy
        elif call.name == "matmul" and is_plain_product([*arguments, out]):
            found = partial(arguments[0].dot, arguments[1], out)
        elif call.name == "vecdot":
            found = partial(np.vecdot, *arguments, out, **options)
        elif call.name in ELEMENTWISE:
            arguments = numbers_as_arrays(arguments)
            if call.name not in ("maximum", "minimum"):  # these take no positional out
                found = partial(getattr(np, NAMES.get(call.name, call.name)), *arguments, out)
        return found or super().call_into(out, call, arguments, options)

    def reuse_memory(self, state: list[Node], results: list[Node]) -> None:
        self.phases = share_calls(self, dict(zip(results, state, strict=True)))
        super().reuse_memory(state, results)

    def ends_of_phases(self) -> dict[int, int]:
        return {
            i: phase.end - 1 for phase in self.phases if len(phase.works) > 1 for i in range(phase.start, phase.end)
        }

    def functions(self, calls: list[BoundCall]) -> list[Callable[[], Any]]:
        return shared_functions(self, calls, self.phases) if self.phases else super().functions(calls)


def reduction(reduce: Callable[..., Any], array: np.ndarray, axis: Any, keepdims: bool, out: Any) -> Callable[[], Any]:
    """Return a function that writes the reduction of `array` along `axis`, by the method of a ufunc, into `out`."""
    if reduce != np.add.reduce and array.ndim > 1 and axis in (-1, array.ndim - 1) and array.shape[-1] <= SHORT_ROW:
        # the order of the elements matters to no maximum but that of 0.0 and -0.0, whose sign softmax does not read
        rows = np.moveaxis(array, -1, 0)
        columns = np.empty(rows.shape, rows.dtype)
        return partial(reduce_short_rows, reduce, rows, columns, out.reshape(rows.shape[1:]))
    return partial(reduce, array, axis, out.dtype, out, keepdims)


class CupyRecorder(OutRecorder):
    """Recorder for CuPy. `library` is cupy; a test gives NumPy in its place."""

    def call_into(self, out: Array, call: Node, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        if call.name == "vecdot" and options.get("axis", -1) == -1 and arguments[0].shape == arguments[1].shape:
            # array_api_compat makes it a stack of products of a row and a column; so do these views, without its copies
            a, b = arguments
            return partial(self.library.matmul, a[..., None, :], b[..., None], out=out[..., None, None])
        return super().call_into(out, call, arguments, options)
