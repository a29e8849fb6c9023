"""An array namespace whose functions also take handles, the objects that stand for arrays in a recorded step.

NumPy lets a foreign object intercept its functions, PyTorch has a mode for that, CuPy has neither. A namespace of our
own needs no protocol of any library: a call with a handle among its arguments goes to the recorder of that handle, any
other call to the library.
"""

import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

from lagvis.arrays import Namespace

# Python's binary operators, and the function of the standard that each is.
BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}
# Conversions that take the value of an array to the host, where a replay would find it frozen.
CONVERSIONS = ("bool", "float", "int", "index", "complex", "array", "dlpack")


class ArrayHandle:
    """Stands for an array in a recorded step: its operators are recorded, its value cannot be read.

    `a *= b` makes a new array, as in every library whose arrays cannot be written.

    node      the recorder's entry of the array; `node.value` is an array of the same shape and dtype
    recorder  has `call(name, function, arguments, options)`, which records a call and returns a handle of its result
    """

    __slots__ = ("node", "recorder")
    __array_ufunc__ = None  # NumPy leaves `array + handle` to the handle
    __hash__ = None  # type: ignore[assignment]  # == makes an array

    def __init__(self, node: Any, recorder: Any) -> None:
        self.node, self.recorder = node, recorder

    @property
    def shape(self) -> Any:
        return self.node.value.shape

    @property
    def dtype(self) -> Any:
        return self.node.value.dtype

    @property
    def ndim(self) -> int:
        return self.node.value.ndim

    def __getitem__(self, key: Any) -> "ArrayHandle":
        return self.recorder.call("getitem", operator.getitem, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("a step must not write into its arrays")


def _add_operators() -> None:
    """Give ArrayHandle Python's operators, each recorded under the name of its function."""

    def binary(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: self.recorder.call(name, function, (self, other), {})

    def reflected(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: self.recorder.call(name, function, (other, self), {})

    def unary(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self: self.recorder.call(name, function, (self,), {})

    def refuse(self: ArrayHandle, *arguments: Any, **options: Any) -> None:
        raise TypeError("a step cannot use the value of an array in Python")

    for short, name in (BINARY | COMPARISONS).items():
        function = getattr(operator, f"__{short}__")
        setattr(ArrayHandle, f"__{short}__", binary(name, function))
        if short in BINARY:
            setattr(ArrayHandle, f"__r{short}__", reflected(name, function))
    for short, name in UNARY.items():
        setattr(ArrayHandle, f"__{short}__", unary(name, getattr(operator, f"__{short}__")))
    for short in CONVERSIONS:
        setattr(ArrayHandle, f"__{short}__", refuse)


_add_operators()


class RecordableNamespace:
    """The array namespace `xp`, with functions that record a call if an argument is a handle."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp
        self.__name__ = getattr(xp, "__name__", type(xp).__name__)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._xp, name)
        if isinstance(member, ModuleType):
            member = RecordableNamespace(member)
        elif callable(member) and not isinstance(member, type):  # a type is a dtype or a class
            member = recordable(name, member)
        self.__dict__[name] = member  # the next access finds it without a call
        return member


def recordable(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as a function that records its calls with a handle, and makes the others."""

    def call(*arguments: Any, **options: Any) -> Any:
        for argument in (*arguments, *options.values()):
            for item in argument if type(argument) in (list, tuple) else (argument,):
                if type(item) is ArrayHandle:
                    return item.recorder.call(name, function, arguments, options)
        return function(*arguments, **options)

    return call
