"""A scan that records the calls of one step and then replays them into preallocated arrays.

The same functions compute on the same numbers in the same order as in the plain loop, so the results have the same
bits. What is saved is the Python between the calls, and new memory for every result.
"""

from collections.abc import Callable, Hashable

from lagvis.arrays import Array
from lagvis.backends.backend import Run, Step, plain_loop, plain_scan
from lagvis.backends.replay.fusion import fuse_calls
from lagvis.backends.replay.namespace import ArrayHandle
from lagvis.backends.replay.recorder import Node, Recorder
from lagvis.tree import Tree, leaves, rebuild


class Tape:
    """Recorded calls of a step, for arrays of given shapes and given `constants`, and the memory of all its results.

    program  functions without arguments; each call of all of them takes one step
    """

    def __init__(
        self, step: Step, state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...], recorder: Recorder
    ) -> None:
        self.copy_call = recorder.copy_call
        self.state = [Node(recorder.copy(a)) for a in leaves(state)]
        self.inputs = [Node(recorder.copy(a[0, ...])) for a in leaves(inputs)]
        self.copy_inputs = [recorder.copy_into(own.value) for own in self.inputs]
        self.constants = leaves(constants)
        handles = map(recorder.handle, [*self.state, *self.inputs, *map(Node, self.constants)])
        new = step(rebuild(state, handles), *rebuild(inputs, handles), *rebuild(constants, handles))
        results = [recorder.separate(old, leaf) for old, leaf in zip(self.state, leaves(new), strict=True)]
        fuse_calls(recorder, self.state)
        recorder.reuse_memory(self.state, results)
        self.program: list[Callable[[], object]] = recorder.program()
        moved = [(old.value, result.value) for old, result in zip(self.state, results, strict=True)]
        self.program += [self.copy_call(to, source) for to, source in moved if to is not source]

    def run(self, state: Tree, inputs: tuple[Tree, ...]) -> Tree:
        """Run all steps of a call; the returned state is memory of the tape, valid until its next run."""
        for own, a in zip(self.state, leaves(state), strict=True):
            if own.value is not a:
                self.copy_call(own.value, a)()
        given = leaves(inputs)
        for i in range(given[0].shape[0]):
            for copy_input, a in zip(self.copy_inputs, given, strict=True):
                copy_input(a[i, ...])
            for call in self.program:
                call()
        return rebuild(state, (own.value for own in self.state))


def recorded_loop(body: Callable[..., Tree], carry: Tree, inputs: tuple[Array, ...]) -> Tree:
    """Return what `plain_loop` does; while a step is recorded, the calls of `body` are recorded once for all slices."""
    first = leaves(carry)[0]
    return first.recorder.loop(body, carry, inputs) if type(first) is ArrayHandle else plain_loop(body, carry, inputs)


def signature(tree: Tree, skipped_axes: int = 0) -> Hashable:
    """Return the structure of a tree with the shapes of its arrays, without their first axes, and their dtypes."""
    if isinstance(tree, dict):
        return tuple((key, signature(tree[key], skipped_axes)) for key in sorted(tree))
    if isinstance(tree, list | tuple):
        return tuple(signature(child, skipped_axes) for child in tree)
    return tuple(tree.shape[skipped_axes:]), tree.dtype


def recorded_scan(step: Step, recorder: Callable[[], Recorder]) -> Run:
    """Return a scan that records a step as soon as it repeats with the same `constants` arrays.

    The functions that the step calls must be those of a RecordableNamespace.
    """
    loop = plain_scan(step)
    tapes: dict[Hashable, Tape] = {}
    seen: dict[Hashable, list[Array]] = {}

    def run(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
        arrays = leaves(constants)
        key = signature(state), signature(inputs, skipped_axes=1), signature(constants)
        tape = tapes.get(key)
        if tape is None or any(a is not b for a, b in zip(tape.constants, arrays, strict=True)):
            known = key in seen and all(a is b for a, b in zip(seen[key], arrays, strict=True))
            seen[key] = arrays
            if leaves(inputs)[0].shape[0] == 1 and not known:
                return loop(state, inputs, constants)
            tape = tapes[key] = Tape(step, state, inputs, constants, recorder())
        return tape.run(state, inputs)

    return run
