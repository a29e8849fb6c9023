"""Share the calls of a recorded step of NumPy among the threads of `ThreadPool`, with the bits of one thread."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from lagvis.backends.replay.recorder import BoundCall, Node, Recorder
from lagvis.backends.replay.schedule import Operands, Phase, Work, arrange, numpy_array
from lagvis.backends.row_blocks import BLOCKS, may_be_cut, row_bounds
from lagvis.backends.thread_pool import thread_pool
from lagvis.tree import leaves, rebuild

MIN_PART_OPERATIONS = 1.5e7  # of a part, where there are more than two: about 0.1 ms of one thread


def share_calls(recorder: Recorder, replaced: dict[Node, Node]) -> list[Phase]:
    """Reorder the calls of a recorded step for the threads of the caller; return the phases that they share.

    `replaced` are the arrays of the state by the results that take their place.
    """
    threads = thread_pool().threads
    if threads == 1:
        return []
    uncut: set[Node] = set()
    edges = sorted({0, len(recorder.calls), *(edge for loop in recorder.loops for edge in (loop.start, loop.end))})
    while True:
        phases = [phase for start, end in pairwise(edges) for phase in arrange(recorder.calls[start:end], uncut)]
        groups = [group for phase in phases for group in phase.groups]
        failing = {call for group in groups for call in choose_parts(group, threads)}
        if not failing:
            break
        uncut |= failing
    if not groups:
        return []
    recorder.reorder([call for phase in phases for call in phase.calls])
    position = 0
    for phase in phases:
        phase.start = position
        position = phase.end = position + sum(len(work.calls) for work in phase.works)
    shared = [phase for phase in phases if phase.groups]
    for phase in shared:
        keep_memory(phase, replaced)
    return shared


def keep_memory(phase: Phase, replaced: dict[Node, Node]) -> None:
    """Note that memory is read until the end of a phase, if it is read as a whole or used by works that run together.

    `replaced` is the array of the state in whose place a result may be written.
    """
    users: dict[Node, set[int]] = {}
    for i, work in enumerate(phase.works):
        for call in work.calls:
            read_whole = work.operands[call].read_whole if call in work.operands else []
            for node in read_whole:
                node.owner.last_read = max(node.owner.last_read, phase.end)
            for node in [*call.operands(), *([replaced[call]] if call in replaced else [])]:
                users.setdefault(node.owner, set()).add(i)
    for owner, works in users.items():
        if len(works) > 1:
            owner.last_read = max(owner.last_read, phase.end)


def choose_parts(group: Work, threads: int) -> list[Node]:
    """Set the bounds of the parts of a group; return products that have other bits in whatever parts."""
    # one for each thread: with more, each multiplies fewer rows, while BLAS copies all of the other matrix for each
    parts = max(2, min(threads, int(group.operations() / MIN_PART_OPERATIONS)))
    products = [call for call in group.calls if call.name == "matmul" and call in group.operands]
    failing: list[Node] = []
    for block in BLOCKS:
        bounds = row_bounds(group.rows, parts, block)
        failing = [call for call in products if not has_bits(call, bounds)]
        if not failing:
            group.bounds = bounds
            break
    return failing


def has_bits(call: Node, bounds: list[int]) -> bool:
    """Return whether the parts of a recorded product have the bits of the whole."""
    a, b = map(numpy_array, call.operands())
    return may_be_cut(a, b, numpy_array(call), bounds)


def shared_functions(recorder: Recorder, calls: list[BoundCall], phases: list[Phase]) -> list[Callable[[], Any]]:
    """Return functions that make these calls, one for each phase and for each call between them."""
    bound = {call.call: call for call in calls}
    phase_at = {position: phase for phase in phases for position in range(phase.start, phase.end)}
    functions: list[Callable[[], Any]] = []
    position = -1  # before which all calls are done
    for call in calls:
        if call.call.position < position:
            continue
        phase = phase_at.get(call.call.position)
        if phase is None:
            functions.append(recorder.call_into(call.call.value, *call))
        else:
            functions.append(partial(thread_pool().run, tasks_of(recorder, phase, bound)))
            position = phase.end
    return functions


def tasks_of(recorder: Recorder, phase: Phase, bound: dict[Node, BoundCall]) -> list[Callable[[], Any]]:
    """Return the tasks of a phase: its chain, and each part of each group."""
    tasks: list[Callable[[], Any]] = []
    chain = [recorder.call_into(call.value, *bound[call]) for call in phase.chain.calls if call in bound]
    if chain:
        tasks.append(partial(run_all, chain))
    for group in phase.groups:
        for start, end in pairwise(group.bounds):
            parts = [part_of(recorder, call, operands, start, end) for call, operands in group.operands.items()]
            tasks.append(partial(run_all, parts))
    return tasks


def part_of(recorder: Recorder, call: Node, operands: Operands, start: int, end: int) -> Callable[[], Any]:
    """Return a function that makes a call for the rows start .. end of its result."""
    arguments = (
        (a.value[start:end] if a in operands.by_row else a.value) if isinstance(a, Node) else a
        for a in leaves(call.arguments)
    )
    positional, options = rebuild(call.arguments, arguments)
    return recorder.call_into(call.value[start:end], call, positional, options)


def run_all(functions: list[Callable[[], Any]]) -> None:
    """Call functions one after the other."""
    for function in functions:
        function()
