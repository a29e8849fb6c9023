"""Recorder for PyTorch: how its calls are intercepted, and which functions write into given memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lagvis.backends.replay.tape import Node, Recorder
from lagvis.tree import leaves

# Functions of torch that take out=; the first two sets work element by element.
ELEMENTWISE = {"add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "tanh", "maximum", "minimum"}
COMPARISONS = {"eq", "ne", "gt", "ge", "lt", "le"}
OTHERS = {"matmul", "sum", "amax", "amin", "argmax", "index_select"}
# Methods that take a value to the host, where a replay would find it frozen.
VALUES = {"__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy"}
# Names of Python's operators where they differ from torch's functions.
OPERATORS = {"truediv": "div", "true_divide": "div", "radd": "add", "rmul": "mul"}


def torch_name(function: Any) -> str:
    """Return the name that a function, method or operator has in `torch`."""
    name = getattr(function, "__name__", "").strip("_")
    return OPERATORS.get(name, name)


def numbers_as_tensors(arguments: list[Any]) -> list[Any]:
    """Turn Python numbers beside floating-point tensors into tensors, which PyTorch would do again in every call."""
    kinds = {a.dtype for a in arguments if isinstance(a, torch.Tensor)}
    if len(kinds) != 1 or not next(iter(kinds)).is_floating_point:
        return arguments
    (kind,) = kinds
    return [torch.tensor(a, dtype=kind) if isinstance(a, int | float) else a for a in arguments]


class TorchRecorder(Recorder):
    """Records the calls of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[int, Node] = {}

    def recording(self) -> AbstractContextManager[Any]:
        recorder = self

        class Mode(TorchFunctionMode):  # type: ignore[misc]
            def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
                return recorder.call(function, arguments, options or {})

        return Mode()

    def proxy(self, node: Node) -> torch.Tensor:
        self._nodes[id(node.value)] = node
        return node.value

    def node_of(self, proxy: Any) -> Node | None:
        return self._nodes.get(id(proxy))

    def call(self, function: Any, arguments: Any, options: dict[str, Any]) -> Any:
        """Compute the call once; record it if the result is a tensor that depends on a node."""
        name = getattr(function, "__name__", "")
        if name.startswith("__i") and hasattr(torch.Tensor, "__" + name[3:]):
            function = getattr(torch.Tensor, "__" + name[3:])  # `a *= b` makes a new array, as in NumpyRecorder
        elif name in VALUES:
            raise TypeError("a step cannot use the value of an array in Python")
        elif name.endswith("_") and not name.endswith("__"):
            raise TypeError(f"a step must not write into its arrays: {name}")
        value = function(*arguments, **options)
        if isinstance(value, torch.Tensor) and any(self.node_of(a) for a in leaves([arguments, options])):
            self.proxy(self.record(function, arguments, options, value))
        return value

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        return array.clone()

    def share_memory(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()

    def elementwise(self, call: Node) -> bool:
        return torch_name(call.function) in ELEMENTWISE

    def copy_call(self, to: torch.Tensor, source: torch.Tensor) -> Callable[[], Any]:
        return partial(to.copy_, source)

    def call_into(
        self, out: torch.Tensor, function: Any, arguments: list[Any], options: dict[str, Any]
    ) -> Callable[[], Any]:
        name = torch_name(function)
        options = {key: value for key, value in options.items() if value is not None}
        if name == "to":
            return self.copy_call(out, arguments[0])
        if name in ELEMENTWISE | COMPARISONS:
            arguments = numbers_as_tensors(arguments)
        if name in ELEMENTWISE | COMPARISONS | OTHERS:
            call = partial(getattr(torch, name), *arguments, **options, out=out)
            with suppress(TypeError):  # some forms of these functions take no out=: a sum over all axes
                call()
                return call
        return lambda: out.copy_(function(*arguments, **options))
