"""What replay.py must know of PyTorch: how its calls are seen, and which of them write into given memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lagvis.backends.replay.tape import Recorded, Recorder
from lagvis.tree import leaves

# functions of torch that take out=; those of the first two lines work number by number
ELEMENTWISE = {"add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "tanh", "maximum", "minimum"}
COMPARISONS = {"eq", "ne", "gt", "ge", "lt", "le"}
OTHERS = {"matmul", "sum", "amax", "amin", "argmax", "index_select"}
# what takes a value to the host, where a replay would find it frozen
VALUES = {"__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy"}
# what Python calls them where they are operators
OPERATORS = {"truediv": "div", "true_divide": "div", "radd": "add", "rmul": "mul"}


def name_of(function: Any) -> str:
    """The name that a function, method or operator has in `torch`."""
    name = getattr(function, "__name__", "").strip("_")
    return OPERATORS.get(name, name)


def numbers_as_tensors(arguments: list[Any]) -> list[Any]:
    """Python's numbers beside floating-point tensors as tensors, which PyTorch would make of them in every call."""
    kinds = {a.dtype for a in arguments if isinstance(a, torch.Tensor)}
    if len(kinds) != 1 or not next(iter(kinds)).is_floating_point:
        return arguments
    (kind,) = kinds
    return [torch.tensor(a, dtype=kind) if isinstance(a, int | float) else a for a in arguments]


class TorchRecorder(Recorder):
    """Records the calls of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, Recorded] = {}

    def recording(self) -> AbstractContextManager[Any]:
        recorder = self

        class Mode(TorchFunctionMode):  # type: ignore[misc]
            def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
                return recorder.call(function, arguments, options or {})

        return Mode()

    def handle(self, array: Recorded) -> torch.Tensor:
        self._found[id(array.value)] = array
        return array.value

    def find(self, handle: Any) -> Recorded | None:
        return self._found.get(id(handle))

    def call(self, function: Any, arguments: Any, options: dict[str, Any]) -> Any:
        """Compute once, and record if the answer is an array."""
        name = getattr(function, "__name__", "")
        if name.startswith("__i") and hasattr(torch.Tensor, "__" + name[3:]):
            function = getattr(torch.Tensor, "__" + name[3:])  # `a *= b` makes a new array: see replay.py
        elif name in VALUES:
            raise TypeError("a step cannot ask for the value of an array")
        elif name.endswith("_") and not name.endswith("__"):
            raise TypeError(f"a step must not write into its arrays: {name}")
        value = function(*arguments, **options)
        if isinstance(value, torch.Tensor) and any(self.find(a) for a in leaves([arguments, options])):
            self.handle(self.record(function, arguments, options, value))
        return value

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        return array.clone()

    def share_memory(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()

    def elementwise(self, call: Recorded) -> bool:
        return name_of(call.function) in ELEMENTWISE

    def copying(self, to: torch.Tensor, source: torch.Tensor) -> Callable[[], Any]:
        return partial(to.copy_, source)

    def into(
        self, out: torch.Tensor, function: Any, arguments: list[Any], options: dict[str, Any]
    ) -> Callable[[], Any]:
        name = name_of(function)
        options = {key: value for key, value in options.items() if value is not None}
        if name == "to":
            return self.copying(out, arguments[0])
        if name in ELEMENTWISE | COMPARISONS:
            arguments = numbers_as_tensors(arguments)
        if name in ELEMENTWISE | COMPARISONS | OTHERS:
            call = partial(getattr(torch, name), *arguments, **options, out=out)
            with suppress(TypeError):  # some forms of these functions take no out=: a sum over all axes
                call()
                return call
        return lambda: out.copy_(function(*arguments, **options))
