"""A scan that records the calls of one step and then replays them into preallocated arrays.

The same functions compute on the same numbers in the same order as in the plain loop, so the results have the same
bits. What is saved is the Python between the calls, and new memory for every result. A Recorder holds what differs from
library to library.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from lagvis.arrays import Array
from lagvis.backends.backend import Run, Step, plain_scan
from lagvis.tree import Tree, leaves, rebuild


class Node:
    """An array of the recorded step: its memory and, unless it is an argument of the step, the call that computes it.

    position   of the call in the step, -1 for an argument
    arguments  [positional, by name], with nodes for recorded arrays
    owner      node whose memory this is: itself, or for a view the node it is a view of
    last_read  position of the last call that reads this memory
    """

    def __init__(self, value: Array, position: int = -1, function: Any = None, arguments: Tree = ()) -> None:
        self.value = value
        self.position, self.function = position, function
        self.arguments = arguments
        self.owner = self
        self.last_read = -1

    def operands(self) -> list["Node"]:
        """Return the nodes among the arguments."""
        return [a for a in leaves(self.arguments) if isinstance(a, Node)]


class Recorder(ABC):
    """Records the calls of one step, and makes calls that write into given memory; one subclass for each library."""

    def __init__(self) -> None:
        self.calls: list[Node] = []

    @abstractmethod
    def recording(self) -> AbstractContextManager[Any]:
        """Return a context in which every call on a proxy goes through `record`."""

    @abstractmethod
    def proxy(self, node: Node) -> Any:
        """Return the object that the step gets in place of the array of a node."""

    @abstractmethod
    def node_of(self, proxy: Any) -> Node | None:
        """Return the node of a proxy; None for any other object."""

    @abstractmethod
    def copy(self, array: Array) -> Array:
        """Return a copy in new memory."""

    @abstractmethod
    def share_memory(self, a: Array, b: Array) -> bool:
        """Whether one array is a view of the other, or both are views of a third."""

    @abstractmethod
    def elementwise(self, call: Node) -> bool:
        """Whether each element of the result depends on the same element of the operands alone."""

    @abstractmethod
    def copy_call(self, to: Array, source: Array) -> Callable[[], Any]:
        """Return a function that copies `source` into `to`."""

    @abstractmethod
    def call_into(self, out: Array, function: Any, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        """Return a function that makes the call and writes its result into `out`."""

    def record(self, function: Any, arguments: Any, options: Any, value: Array) -> Node:
        """Append a call and its result `value`; return the node."""
        operands = [self.node_of(a) or a for a in leaves([arguments, options])]
        result = Node(value, len(self.calls), function, rebuild([arguments, options], iter(operands)))
        self.calls.append(result)
        for operand in result.operands():
            operand.owner.last_read = result.position
            if self.share_memory(value, operand.value):
                result.owner = operand.owner
        return result

    def reuse_memory(self, state: list[Node], results: list[Node]) -> None:
        """Let elementwise calls overwrite an operand that no later call reads, the old state first of all."""
        for result in results:
            result.owner.last_read = len(self.calls)
        placed: set[Node] = set()
        for old, result in zip(state, results, strict=True):
            if self._may_replace(old, result):
                result.value = old.value
                placed.add(result)
        for call in self.calls:
            free = [a for a in call.operands() if a.function is not None and self._may_replace(a, call)]
            if free and call not in placed:
                call.value = free[0].value

    def _may_replace(self, old: Node, call: Node) -> bool:
        if old.owner is not old or old.last_read > call.position or call.owner is not call or call.function is None:
            return False
        views = [a for a in call.operands() if a.owner is old and a is not old]
        alike = old.value.shape == call.value.shape and old.value.dtype == call.value.dtype
        return alike and not views and self.elementwise(call)


class Tape:
    """Recorded calls of a step, for arrays of given shapes and given `constants`, and the memory of all its results."""

    def __init__(
        self, step: Step, state: Tree, inputs: tuple[Array, ...], constants: tuple[Tree, ...], recorder: Recorder
    ) -> None:
        copy = recorder.copy
        self.state = [Node(copy(a)) for a in leaves(state)]
        self.inputs = [Node(copy(a[0, ...])) for a in inputs]
        self.constants = leaves(constants)
        arguments = [*self.state, *self.inputs, *map(Node, self.constants)]
        with recorder.recording():
            proxies = map(recorder.proxy, arguments)
            new = step(rebuild(state, proxies), *(next(proxies) for _ in inputs), *rebuild(constants, proxies))
        nodes = map(recorder.node_of, leaves(new))
        results = [self._separate(old, node, recorder) for old, node in zip(self.state, nodes, strict=True)]
        recorder.reuse_memory(self.state, results)
        self.copy_call = recorder.copy_call
        self.program: list[Callable[[], Any]] = []
        for call in recorder.calls:
            memory = (a.value if isinstance(a, Node) else a for a in leaves(call.arguments))
            positional, options = rebuild(call.arguments, memory)
            if call.owner is call:
                self.program.append(recorder.call_into(call.value, call.function, positional, options))
            else:  # a view is made once and stays a view
                call.value = call.function(*positional, **options)
        moved = [(old.value, new.value) for old, new in zip(self.state, results, strict=True)]
        self.program += [recorder.copy_call(to, source) for to, source in moved if to is not source]

    def _separate(self, old: Node, new: Node | None, recorder: Recorder) -> Node:
        """Return the node of a leaf of the new state; a copy of it if it lies in the memory of another argument."""
        if new is None:
            raise TypeError("a step must return an array for each array of the state")
        if new is old or new.owner.function is not None:
            return new
        # the memory of another leaf would be overwritten while the state is copied back
        return recorder.record(recorder.copy, [recorder.proxy(new)], {}, recorder.copy(new.value))

    def run(self, state: Tree, inputs: tuple[Array, ...]) -> Tree:
        """Run all steps of a call; the returned state is memory of the tape, valid until its next run."""
        for own, a in zip(self.state, leaves(state), strict=True):
            if own.value is not a:
                self.copy_call(own.value, a)()
        for i in range(inputs[0].shape[0]):
            for own, a in zip(self.inputs, inputs, strict=True):
                self.copy_call(own.value, a[i, ...])()
            for call in self.program:
                call()
        return rebuild(state, (own.value for own in self.state))


def recorded_scan(step: Step, recorder: Callable[[], Recorder]) -> Run:
    """Return a scan that records a step as soon as it repeats with the same `constants` arrays."""
    loop = plain_scan(step)
    tapes: dict[str, Tape] = {}
    seen: dict[str, list[Array]] = {}

    def run(state: Tree, inputs: tuple[Array, ...], constants: tuple[Tree, ...]) -> Tree:
        arrays = leaves(constants)
        kinds = ((tuple(a.shape), str(a.dtype)) for a in (*leaves(state), *(a[0, ...] for a in inputs), *arrays))
        key = str(rebuild([state, inputs, constants], kinds))
        tape = tapes.get(key)
        if tape is None or any(a is not b for a, b in zip(tape.constants, arrays, strict=True)):
            known = key in seen and all(a is b for a, b in zip(seen[key], arrays, strict=True))
            seen[key] = arrays
            if inputs[0].shape[0] == 1 and not known:
                return loop(state, inputs, constants)
            tape = tapes[key] = Tape(step, state, inputs, constants, recorder())
        return tape.run(state, inputs)

    return run
