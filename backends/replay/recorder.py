"""Recorder of a step: its calls in order, the memory of each result, and how a call writes into memory that stays."""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.backends.replay.namespace import ArrayHandle
from lagvis.tree import Tree, leaves, rebuild

# Functions of the standard whose every element depends on the same element of the operands alone. `pow` is left out:
# libraries compute `a ** 2` in another way than pow(a, 2).
ELEMENTWISE = frozenset(
    (
        "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
        "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "cos", "cosh", "divide",
        "equal", "exp", "expm1", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal",
        "log", "log1p", "log2", "log10", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
        "maximum", "minimum", "multiply", "negative", "not_equal", "positive", "remainder", "sign", "sin", "sinh",
        "sqrt", "square", "subtract", "tan", "tanh",
    )
)  # fmt: skip

# Elementwise functions whose results are exact or rounded correctly, wherever an element lies. Libraries may compute
# others in another way beyond the last full vector, even a maximum of 0.0 and -0.0.
FUSABLE = frozenset(
    (
        "abs", "add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not",
        "logical_or", "multiply", "negative", "not_equal", "sqrt", "square", "subtract",
    )
)  # fmt: skip


class Node:
    """An array of the recorded step: its memory and, unless it is an argument of the step, the call that computes it.

    position   of the call in the step, -1 for an argument
    name       name of the function in the standard, or "getitem"
    function   what computes it in the plain loop
    arguments  [positional, by name], with nodes for recorded arrays
    owner      node whose memory this is: itself, or for a view or a part of a flat array the node of that
    offset     of a part: its first element in the flat array
    last_read  position of the last call that reads this memory
    """

    def __init__(
        self, value: Array, position: int = -1, name: str = "", function: Any = None, arguments: Tree = ()
    ) -> None:
        self.value = value
        self.position, self.name, self.function = position, name, function
        self.arguments = arguments
        self._viewed: Node | None = None  # not itself: an array in a cycle of references is freed late
        self.offset: int | None = None
        self.last_read = -1

    @property
    def owner(self) -> "Node":
        node = self
        while node._viewed is not None:  # a view of a part of a flat array
            node = node._viewed
        return node

    @owner.setter
    def owner(self, node: "Node") -> None:
        self._viewed = node

    def operands(self) -> list["Node"]:
        """Return the nodes among the arguments."""
        return [a for a in leaves(self.arguments) if isinstance(a, Node)]


class BoundCall(NamedTuple):
    """A recorded call, and its arguments with arrays in place of nodes."""

    call: Node
    positional: list[Any]
    options: dict[str, Any]


class Loop:
    """Recorded calls that are repeated for each slice of some arrays.

    start, end  the calls from one position to before the other are those of the loop
    slices      memory of a slice, and the array (K, ...) that it is a slice of
    carry       the array that is carried from slice to slice, and the result of a slice that takes its place
    """

    def __init__(self, start: int, slices: list[tuple[Node, Node]]) -> None:
        self.start, self.end = start, start
        self.slices = slices
        self.carry: list[tuple[Node, Node]] = []

    def keep_memory(self, calls: list[Node]) -> None:
        """Note that the memory from before the loop, and what is carried, is read until its end, in each slice."""
        for node in {node.owner for call in calls for node in call.operands()}:
            if node.position < self.start:
                node.last_read = max(node.last_read, self.end)
        for node in [node for _, node in self.carry] + [whole for _, whole in self.slices]:
            node.owner.last_read = max(node.owner.last_read, self.end)

    def program(self, body: list[Callable[[], Any]], copy_call: Callable[..., Any]) -> Callable[[], None]:
        """Return a function that repeats the functions of the loop for all slices."""
        carried = [copy_call(old.value, new.value) for old, new in self.carry if old.value is not new.value]
        repeated = [*body, *carried]
        count = self.slices[0][1].value.shape[0]
        copies = [[copy_call(part.value, whole.value[k, ...]) for part, whole in self.slices] for k in range(count)]

        def run() -> None:
            for copy_slices in copies:
                for call in copy_slices:
                    call()
                for call in repeated:
                    call()

        return run


class Recorder(ABC):
    """Records the calls of one step on any array namespace, and makes calls that write into given memory.

    The standard itself knows no memory to write to but `out[...] = result`; a subclass adds the functions of its
    library that take `out=`.

    in_place        names of functions whose result may overwrite an operand without a change of its bits
    fusable         names of elementwise functions whose bits do not depend on the place of an element in its array
    part_alignment  elements of which each part of a flat array begins at a multiple: with at least the alignment of an
                    array of its own, on which the last bits of a product may depend (MKL on a processor of AMD)
    """

    in_place: ClassVar[frozenset[str]] = ELEMENTWISE
    fusable: frozenset[str] = FUSABLE
    part_alignment: ClassVar[int] = 1

    def __init__(self, xp: Namespace) -> None:
        self.xp = xp
        self.calls: list[Node] = []
        self.loops: list[Loop] = []
        self.placed: set[Node] = set()  # results that lie in the memory of the array whose place they take
        self.parts: list[Node] = []  # nodes whose memory is part of a flat array

    @abstractmethod
    def share_memory(self, a: Array, b: Array) -> bool:
        """Whether one array is a view of the other, or both are views of a third."""

    @abstractmethod
    def strides(self, array: Any) -> tuple[int, ...]:
        """Return the distance in memory between neighbours along each axis."""

    def copy(self, array: Array) -> Array:
        """Return a copy in new memory."""
        return self.xp.asarray(array, copy=True)

    def copy_into(self, to: Array) -> Callable[[Array], Any]:
        """Return a function that copies an array into `to`."""
        return partial(operator.setitem, to, ...)

    def copy_call(self, to: Array, source: Array) -> Callable[[], Any]:
        """Return a function that copies `source` into `to`."""
        return partial(self.copy_into(to), source)

    def call_into(self, out: Array, call: Node, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        """Return a function that makes the call with these arguments and writes its result into `out`."""
        if call.name == "copy":
            return self.copy_call(out, arguments[0])

        def compute_and_copy() -> None:
            self.copy_call(out, call.function(*arguments, **options))()

        return compute_and_copy

    def handle(self, node: Node) -> ArrayHandle:
        """Return the object that the step gets in place of the array of a node."""
        return ArrayHandle(node, self)

    def call(self, name: str, function: Any, arguments: Any, options: dict[str, Any]) -> Any:
        """Compute a call of the step once and record it; return a handle of its result."""
        values = (a.node.value if type(a) is ArrayHandle else a for a in leaves([arguments, options]))
        positional, named = rebuild([arguments, options], values)
        value = function(*positional, **named)
        if isinstance(value, tuple | list):
            raise TypeError(f"a step cannot use {name}, which returns several arrays")
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            return value  # a dtype, or a fact about one
        return self.handle(self.record(name, function, arguments, options, value))

    def record(self, name: str, function: Any, arguments: Any, options: Any, value: Array) -> Node:
        """Append a call and its result `value`; return the node."""
        operands = [a.node if type(a) is ArrayHandle else a for a in leaves([arguments, options])]
        result = Node(value, len(self.calls), name, function, rebuild([arguments, options], iter(operands)))
        self.calls.append(result)
        for operand in result.operands():
            operand.owner.last_read = result.position
            if self.share_memory(value, operand.value):
                result.owner = operand.owner
        return result

    def loop(self, body: Callable[..., Tree], carry: Tree, inputs: tuple[ArrayHandle, ...]) -> Tree:
        """Record `body`, whose calls `plain_loop` repeats, once for all slices, which share the memory of one.

        The carry has memory of its own, which the result of each slice is written to.
        """
        carried = [self.record("copy", self.copy, [leaf], {}, self.copy(leaf.node.value)) for leaf in leaves(carry)]
        slices = [(Node(self.copy(a.node.value[0, ...])), a.node) for a in inputs]
        found = Loop(len(self.calls), slices)
        new = leaves(body(rebuild(carry, map(self.handle, carried)), *(self.handle(part) for part, _ in slices)))
        for old, leaf in zip(carried, new, strict=True):
            node = leaf.node
            if node is not old and node.owner in carried:
                # the memory of another carried array would be overwritten before it is copied
                node = self.record("copy", self.copy, [leaf], {}, self.copy(node.value))
            found.carry.append((old, node))
        found.end = len(self.calls)
        for old, node in found.carry:
            if node not in self.placed and self._may_replace(old, node):
                node.value = old.value
                self.placed.add(node)
        found.keep_memory(self.calls[found.start : found.end])
        self.loops.append(found)
        return rebuild(carry, map(self.handle, carried))

    def reorder(self, calls: list[Node]) -> None:
        """Put the recorded calls into another order, in which each loop keeps its place."""
        self.calls = calls
        for position, call in enumerate(calls):
            call.position = position
            call.last_read = -1
        for call in calls:
            for operand in call.operands():
                operand.owner.last_read = call.position
        for loop in self.loops:
            loop.keep_memory(calls[loop.start : loop.end])

    def separate(self, old: Node, new: Any) -> Node:
        """Return the node of a leaf of the new state; a copy of it if it lies in the memory of another argument."""
        if type(new) is not ArrayHandle:
            raise TypeError("a step must return an array for each array of the state")
        node = new.node
        if node is old or node.owner.function is not None:
            return node
        # the memory of another leaf would be overwritten while the state is copied back
        return self.record("copy", self.copy, [new], {}, self.copy(node.value))

    def reuse_memory(self, state: list[Node], results: list[Node]) -> None:
        """Let calls write where no later call reads: into the old state, an operand, or memory of an earlier call.

        Fewer arrays stay in a nearer cache.
        """
        for result in results:
            result.owner.last_read = len(self.calls)
        ends = self.ends_of_phases()
        for old, result in zip(state, results, strict=True):
            if self._may_replace(old, result):
                result.value = old.value
                self.placed.add(result)
        self._replace_flat_arrays(state, results)
        released: dict[int, list[Node]] = {}
        for call in self.calls:
            if call.owner is call and call not in self.placed:
                position = max(call.last_read, call.position)
                released.setdefault(ends.get(position, position), []).append(call)
        passed_on: set[Node] = set()
        unused: dict[Any, list[Array]] = {}
        for call in self.calls:
            if call.owner is call and call not in self.placed:
                free = [a for a in call.operands() if a.function is not None and self._may_replace(a, call)]
                memory = unused.get(self._kind(call.value))
                if free:
                    call.value = free[0].value
                    passed_on.add(free[0])
                elif memory:
                    call.value = memory.pop()  # the one last used
            for node in released.get(call.position, []):
                if node not in passed_on:
                    unused.setdefault(self._kind(node.value), []).append(node.value)

    def _replace_flat_arrays(self, state: list[Node], results: list[Node]) -> None:
        """Let a flat array of results take the place of that of the old state, where each part takes its old place."""
        parts: dict[Node, list[tuple[Node, Node]]] = {}
        for old, result in zip(state, results, strict=True):
            if old.offset is not None:
                parts.setdefault(old.owner, []).append((old, result))
        for flat, pairs in parts.items():
            new = pairs[0][1].owner
            in_order = all(result.owner is new and result.offset == old.offset for old, result in pairs)
            if in_order and new is not flat and self._may_replace(flat, new):
                new.value = flat.value
                self.placed.add(new)
                for old, result in pairs:
                    result.value = old.value
                    self.placed.add(result)

    def part_size(self, node: Node) -> int:
        """Return how many elements a node's array takes in a flat array, with the gap after it."""
        return -(-math.prod(node.value.shape) // self.part_alignment) * self.part_alignment

    def flat(self, nodes: list[Node]) -> Array:
        """Return new memory for the arrays of all nodes, one after the other, with zeros in the gaps."""
        parts: list[Array] = []
        for node in nodes:
            elements = self.xp.reshape(node.value, (-1,))
            gap = self.part_size(node) - elements.shape[0]
            parts += [elements, self.xp.zeros(gap, dtype=elements.dtype, device=elements.device)]
        return self.xp.concat(parts)

    def is_contiguous(self, array: Array) -> bool:
        """Whether an array without its shape is a view of it."""
        return self.share_memory(self.xp.reshape(array, (-1,)), array)

    def place_part(self, node: Node) -> None:
        """Make a node's array the view of its part of a flat array."""
        shape = node.value.shape
        node.value = self.xp.reshape(node.owner.value[node.offset : node.offset + math.prod(shape)], shape)

    def ends_of_phases(self) -> dict[int, int]:
        """Return the positions of calls that run at the same time as others, and the position after which none does."""
        return {}

    def _kind(self, array: Array) -> tuple[Any, ...]:
        """Return what two arrays must have in common for one to be written in place of the other."""
        return tuple(array.shape), str(array.dtype), self.strides(array)

    def _may_replace(self, old: Node, call: Node) -> bool:
        """Whether a call may write its result into the memory of a node."""
        if old.owner is not old or old.last_read > call.position or call.owner is not call or call.function is None:
            return False
        views = [a for a in call.operands() if a.owner is old and a is not old]
        alike = old.value.shape == call.value.shape and old.value.dtype == call.value.dtype
        # in another order of the elements a later reshape is a copy instead of a view, and a sum adds in another order
        alike = alike and self.strides(old.value) == self.strides(call.value)
        return alike and not views and call.name in self.in_place

    def program(self) -> list[Callable[[], Any]]:
        """Return the recorded calls as functions that compute into the memory of their nodes."""
        for node in self.parts:
            if node not in self.placed:
                self.place_part(node)
        functions: list[Callable[[], Any]] = []
        calls: list[BoundCall] = []
        for call in self.calls:
            if call.name == "empty":
                continue
            for loop in self.loops:
                if call.position == loop.start:
                    functions, calls = [*functions, *self.functions(calls)], []
            memory = (a.value if isinstance(a, Node) else a for a in leaves(call.arguments))
            positional, options = rebuild(call.arguments, memory)
            if call.owner is call or call.offset is not None:
                calls.append(BoundCall(call, positional, options))
            else:  # a view is made once and stays a view
                call.value = call.function(*positional, **options)
            for loop in self.loops:
                if call.position == loop.end - 1:
                    functions, calls = [*functions, loop.program(self.functions(calls), self.copy_call)], []
        return [*functions, *self.functions(calls)]

    def functions(self, calls: list[BoundCall]) -> list[Callable[[], Any]]:
        """Return functions that make these calls, in order."""
        return [self.call_into(bound.call.value, *bound) for bound in calls]
