"""Recorder for NumPy: proxies that intercept every call on an array, and calls that write into given memory."""

import operator
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from lagvis.arrays import Array
from lagvis.backends.replay.tape import Node, Recorder
from lagvis.tree import leaves, rebuild

REDUCTIONS: dict[Any, np.ufunc] = {np.sum: np.add, np.max: np.maximum, np.min: np.minimum}


class ArrayProxy(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array in the recorded step and passes every NumPy call on it to the recorder."""

    def __init__(self, node: Node, recorder: "NumpyRecorder") -> None:
        self.node, self.recorder = node, recorder
        self.shape, self.ndim, self.dtype = node.value.shape, node.value.ndim, node.value.dtype

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *arguments: Any, **options: Any) -> "ArrayProxy":
        options.pop("out", None)  # `a *= b` makes a new array, as in every library whose arrays cannot be written
        return self.recorder.call(getattr(ufunc, method) if method != "__call__" else ufunc, arguments, options)

    def __array_function__(self, function: Any, _: Any, arguments: Any, options: Any) -> "ArrayProxy":
        return self.recorder.call(function, arguments, options)

    def __getitem__(self, key: Any) -> "ArrayProxy":
        return self.recorder.call(operator.getitem, (self, key), {})

    def astype(self, dtype: Any, copy: bool = True) -> "ArrayProxy":
        return self.recorder.call(np.ndarray.astype, (self, dtype), {})

    def __bool__(self) -> bool:
        raise TypeError("a step cannot use the value of an array in Python")


class NumpyRecorder(Recorder):
    """Records the calls of NumPy."""

    def recording(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def proxy(self, node: Node) -> ArrayProxy:
        return ArrayProxy(node, self)

    def node_of(self, proxy: Any) -> Node | None:
        return proxy.node if isinstance(proxy, ArrayProxy) else None

    def call(self, function: Any, arguments: Any, options: dict[str, Any]) -> ArrayProxy:
        """Compute the call once and record it."""
        plain = (a.node.value if isinstance(a, ArrayProxy) else a for a in leaves([arguments, options]))
        positional, named = rebuild([arguments, options], plain)
        return ArrayProxy(self.record(function, arguments, options, np.asarray(function(*positional, **named))), self)

    def copy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def share_memory(self, a: Array, b: Array) -> bool:
        return np.may_share_memory(a, b)

    def elementwise(self, call: Node) -> bool:
        return isinstance(call.function, np.ufunc) and call.function.signature is None

    def copy_call(self, to: Any, source: Any) -> Callable[[], Any]:
        return partial(np.copyto, to, source, casting="unsafe")

    def call_into(self, out: Any, function: Any, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        if isinstance(function, np.ufunc):
            return partial(function, *arguments, **options, out=out)
        if function is np.ndarray.astype:
            return self.copy_call(out, arguments[0])
        if function in REDUCTIONS:
            options = {"axis": None, **options, "dtype": out.dtype, "out": out}
            return partial(REDUCTIONS[function].reduce, *arguments, **options)
        if function is np.take:
            return partial(np.take, *arguments, **options, out=out, mode="clip")  # other modes go through a copy
        if function is np.argmax:
            return partial(np.argmax, *arguments, **options, out=out)
        return lambda: np.copyto(out, function(*arguments, **options))
