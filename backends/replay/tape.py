"""A scan that records one step and then repeats its calls, into arrays made beforehand.

The same functions work on the same numbers in the same order as in the plain loop. What falls away is the Python
between the calls, and fresh memory for every result. What differs from library to library is a Recorder's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from lagvis.arrays import Array
from lagvis.backends.backend import Run, Step, plain_scan
from lagvis.tree import Tree, leaves, rebuild


class Recorded:
    """An array of the recorded step: its memory and, unless the step was given it, the call that computes it."""

    def __init__(self, value: Array, position: int = -1, function: Any = None, arguments: Tree = ()) -> None:
        self.value = value
        self.position, self.function = position, function
        self.arguments = arguments  # [positional, by name], recorded arrays among them
        self.owner = self  # whose memory this is: its own, or for a view another's
        self.last_read = -1

    def operands(self) -> list["Recorded"]:
        """The recorded arrays among the arguments."""
        return [a for a in leaves(self.arguments) if isinstance(a, Recorded)]


class Recorder(ABC):
    """Sees the calls of one step while it is open as a context, and knows how to repeat them."""

    def __init__(self) -> None:
        self.calls: list[Recorded] = []

    @abstractmethod
    def recording(self) -> AbstractContextManager[Any]:
        """While open, every call on an array of `handle` goes through `record`."""

    @abstractmethod
    def handle(self, array: Recorded) -> Any:
        """What the step is handed in the place of an array."""

    @abstractmethod
    def find(self, handle: Any) -> Recorded | None:
        """The array behind a handle; None for anything else."""

    @abstractmethod
    def copy(self, array: Array) -> Array:
        """The same numbers in memory of their own."""

    @abstractmethod
    def share_memory(self, a: Array, b: Array) -> bool:
        """Whether one is a view of the other, or both of a third."""

    @abstractmethod
    def elementwise(self, call: Recorded) -> bool:
        """Whether each number of the result takes only its own number of each operand, so that it may replace it."""

    @abstractmethod
    def copying(self, to: Array, source: Array) -> Callable[[], Any]:
        """The call that copies one array's numbers into another."""

    @abstractmethod
    def into(self, out: Array, function: Any, arguments: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
        """The call with its result in `out`."""

    def record(self, function: Any, arguments: Any, options: Any, value: Array) -> Recorded:
        """Enter a call and the array it made."""
        operands = [self.find(a) or a for a in leaves([arguments, options])]
        result = Recorded(value, len(self.calls), function, rebuild([arguments, options], iter(operands)))
        self.calls.append(result)
        for operand in result.operands():
            operand.owner.last_read = result.position
            if self.share_memory(value, operand.value):
                result.owner = operand.owner
        return result

    def reuse(self, state: list[Recorded], results: list[Recorded]) -> None:
        """Let elementwise calls write over an operand that nothing reads later, and first of all over the state."""
        for result in results:
            result.owner.last_read = len(self.calls)
        placed: set[Recorded] = set()
        for old, result in zip(state, results, strict=True):
            if self._may_replace(old, result):
                result.value = old.value
                placed.add(result)
        for call in self.calls:
            free = [a for a in call.operands() if a.function is not None and self._may_replace(a, call)]
            if free and call not in placed:
                call.value = free[0].value

    def _may_replace(self, old: Recorded, call: Recorded) -> bool:
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
        self.state = [Recorded(copy(a)) for a in leaves(state)]
        self.inputs = [Recorded(copy(a[0, ...])) for a in inputs]
        self.constants = leaves(constants)
        given = [*self.state, *self.inputs, *map(Recorded, self.constants)]
        with recorder.recording():
            handles = map(recorder.handle, given)
            new = step(rebuild(state, handles), *(next(handles) for _ in inputs), *rebuild(constants, handles))
        results = [self._own(old, recorder.find(a), recorder) for old, a in zip(self.state, leaves(new), strict=True)]
        recorder.reuse(self.state, results)
        self.copying = recorder.copying
        self.program: list[Callable[[], Any]] = []
        for call in recorder.calls:
            memory = (a.value if isinstance(a, Recorded) else a for a in leaves(call.arguments))
            arguments, options = rebuild(call.arguments, memory)
            if call.owner is call:
                self.program.append(recorder.into(call.value, call.function, arguments, options))
            else:
                call.value = call.function(*arguments, **options)
        moved = [(old.value, new.value) for old, new in zip(self.state, results, strict=True)]
        self.program += [recorder.copying(to, source) for to, source in moved if to is not source]

    def _own(self, old: Recorded, new: Recorded | None, recorder: Recorder) -> Recorded:
        if new is None:
            raise TypeError("a step must give back an array for each array of the state")
        if new is old or new.owner.function is not None:
            return new
        # memory of another leaf would be overwritten while the state is copied back
        return recorder.record(recorder.copy, [recorder.handle(new)], {}, recorder.copy(new.value))

    def run(self, state: Tree, inputs: tuple[Array, ...]) -> Tree:
        """Run all steps of a call; the state that is returned lives in the tape's memory, until its next run."""
        for own, a in zip(self.state, leaves(state), strict=True):
            if own.value is not a:
                self.copying(own.value, a)()
        for i in range(inputs[0].shape[0]):
            for own, a in zip(self.inputs, inputs, strict=True):
                self.copying(own.value, a[i, ...])()
            for call in self.program:
                call()
        return rebuild(state, (own.value for own in self.state))


def recorded_scan(step: Step, recorder: Callable[[], Recorder]) -> Run:
    """A scan that records a step once it is sure to come again with the same `constants` arrays."""
    loop = plain_scan(step)
    tapes: dict[str, Tape] = {}
    met: dict[str, list[Array]] = {}

    def run(state: Tree, inputs: tuple[Array, ...], constants: tuple[Tree, ...]) -> Tree:
        arrays = leaves(constants)
        kinds = ((tuple(a.shape), str(a.dtype)) for a in (*leaves(state), *(a[0, ...] for a in inputs), *arrays))
        key = str(rebuild([state, inputs, constants], kinds))
        tape = tapes.get(key)
        if tape is None or any(a is not b for a, b in zip(tape.constants, arrays, strict=True)):
            known = key in met and all(a is b for a, b in zip(met[key], arrays, strict=True))
            met[key] = arrays
            if inputs[0].shape[0] == 1 and not known:
                return loop(state, inputs, constants)
            tape = tapes[key] = Tape(step, state, inputs, constants, recorder())
        return tape.run(state, inputs)

    return run
