"""Make one call of elementwise calls that do the same to several arrays, as an update does to all parameters.

The arrays that these calls read and write are laid side by side, as parts of flat arrays. A function that is exact or
rounds correctly gives the same bits however the elements are grouped. It computes the gaps between the parts too, whose
numbers mean nothing.
"""

import math
from collections import defaultdict
from collections.abc import Hashable

from lagvis.backends.replay.recorder import Node, Recorder

MAX_SIZE = 2**16  # elements of an array; for larger ones the time of a call itself does not matter

Readers = dict[Node, list[Node]]


class Group:
    """Calls that may become one.

    columns  the arrays that the calls read, for each place of their arguments, and at last their results
    """

    def __init__(self, calls: list[Node]) -> None:
        self.calls = calls
        self.position = calls[-1].position  # where the one call is made
        self.columns = [*map(list, zip(*map(array_operands, calls), strict=True)), calls]


class AdjacentArrays:
    """Arrays that lie side by side in memory, as parts of the flat array of the node `flat` once that is made."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.flat: Node | None = None

    def lie_in(self, flat: Node, recorder: Recorder) -> Node:
        """Let the arrays be parts of the array of `flat`, and return it."""
        self.flat, first = flat, 0
        for node in self.nodes:
            node.owner, node.offset = flat, first
            first += recorder.part_size(node)
            if node.function is None:  # an argument, whose memory is final
                recorder.place_part(node)
            else:
                recorder.parts.append(node)
        return flat


def size(node: Node) -> int:
    """Return the number of elements of a node's array."""
    return math.prod(node.value.shape)


def array_operands(call: Node) -> list[Node]:
    """Return the operands of an elementwise call that have its shape; all others are numbers or arrays ().

    For a view of all elements of an array, as of a sum with an axis of length 1 more, it is that array.
    """
    arrays = [a for a in call.arguments[0] if isinstance(a, Node) and a.value.shape == call.value.shape]
    return [a.owner if size(a.owner) == size(a) else a for a in arrays]


def fuse_calls(recorder: Recorder, state: list[Node]) -> None:
    """Make one call of each group of alike calls that a recorder has recorded; `state` are its first arguments.

    Calls are left as they are where the step has a loop.
    """
    if recorder.loops:
        return
    readers: Readers = defaultdict(list)
    for call in recorder.calls:
        for operand in call.operands():
            readers[operand.owner].append(call)
    groups = find_groups(recorder, set(state), readers)
    while True:
        groups = without_early_reads(groups, readers)
        adjacent = find_adjacent_arrays(groups)
        fitting = [group for group in groups if all(adjacent[a].nodes == c for c in group.columns for a in c)]
        if len(fitting) == len(groups):
            break
        groups = fitting
    if groups:
        rewrite(recorder, groups, adjacent)


def find_groups(recorder: Recorder, state: set[Node], readers: Readers) -> list[Group]:
    """Return groups of calls that do the same.

    What they read is made by calls that do the same, and what they make is read by calls that do the same.
    """
    kinds: dict[Node, int] = {}
    numbers: dict[Hashable, int] = defaultdict(lambda: len(numbers))
    for call in recorder.calls:
        kind = kind_of(call, recorder, state, kinds)
        if kind is not None:
            kinds[call] = numbers[kind]
    for call in reversed(recorder.calls):
        if call in kinds:
            kinds[call] = numbers[kinds[call], tuple(sorted(kinds.get(reader, -1) for reader in readers[call]))]
    alike: dict[int, list[Node]] = defaultdict(list)
    for call, number in kinds.items():
        alike[number].append(call)
    several = {call for calls in alike.values() if len(calls) > 1 for call in calls}
    return [Group(part) for calls in alike.values() for part in split(calls, several, readers) if len(part) > 1]


def kind_of(call: Node, recorder: Recorder, state: set[Node], kinds: dict[Node, int]) -> Hashable | None:
    """Return what calls must have in common to become one, with the kinds of operands; None for a call that cannot."""
    fits = call.name in recorder.fusable and call.owner is call and 0 < size(call) <= MAX_SIZE
    if not fits or call.arguments[1] or not recorder.is_contiguous(call.value):
        return None
    found: list[Hashable] = [call.name, str(call.value.dtype), bool(call.value.ndim)]
    arrays = array_operands(call)
    for a in arrays:
        is_own = a.owner is a and (a in state or a.function is not None)  # neither a part of another array nor an input
        if not is_own or not recorder.is_contiguous(a.value):
            return None
        found.append((arrays.index(a), str(a.value.dtype), a in state, kinds.get(a)))
    for a in call.arguments[0]:
        if isinstance(a, int | float):
            found.append(repr(a))  # 1 and 1.0 differ, and 0.0 and -0.0
        elif not isinstance(a, Node):
            return None
        elif a.value.shape == call.value.shape and recorder.is_contiguous(a.value):
            found.append("array")
        elif a.value.ndim == 0:
            found.append(a)
        else:
            return None
    return tuple(found)


def split(calls: list[Node], groupable: set[Node], readers: Readers) -> list[list[Node]]:
    """Split alike calls wherever a result is read, by a call that stays where it is, before the next one is made."""
    parts = [calls[:1]]
    for call in calls[1:]:
        read = (reader for made in parts[-1] for reader in readers[made])
        if any(reader not in groupable and reader.position < call.position for reader in read):
            parts.append([])
        parts[-1].append(call)
    return parts


def without_early_reads(groups: list[Group], readers: Readers) -> list[Group]:
    """Leave out groups with a result that is read before the last call of the group."""
    while True:
        moved = {call: group.position for group in groups for call in group.calls}
        kept = [
            group
            for group in groups
            if all(moved.get(r, r.position) > group.position for call in group.calls for r in readers[call])
        ]
        if len(kept) == len(groups):
            return kept
        groups = kept


def find_adjacent_arrays(groups: list[Group]) -> dict[Node, AdjacentArrays]:
    """Return, for each array that groups read or write, those beside which it lies: the first that it belongs to."""
    adjacent: dict[Node, AdjacentArrays] = {}
    for group in groups:
        for column in group.columns:
            arrays = AdjacentArrays(list(dict.fromkeys(column)))
            for node in column:
                adjacent.setdefault(node, arrays)
    return adjacent


def rewrite(recorder: Recorder, groups: list[Group], adjacent: dict[Node, AdjacentArrays]) -> None:
    """Put one call in the place of each group, and memory for other adjacent arrays before a call writes to them."""
    last_calls = {group.calls[-1]: group for group in groups}
    grouped = {call for group in groups for call in group.calls}
    for node, arrays in adjacent.items():
        if node.function is None and arrays.flat is None:
            arrays.lie_in(Node(recorder.flat(arrays.nodes)), recorder)
    calls: list[Node] = []
    for call in recorder.calls:
        if call in last_calls:
            calls.append(fused(recorder, last_calls[call], adjacent))
        elif call not in grouped:
            result_arrays = adjacent.get(call)
            if result_arrays is not None and result_arrays.flat is None:
                memory = Node(recorder.flat(result_arrays.nodes), name="empty", function=recorder.xp.empty)
                calls.append(result_arrays.lie_in(memory, recorder))
            calls.append(call)
    recorder.reorder(calls)


def fused(recorder: Recorder, group: Group, adjacent: dict[Node, AdjacentArrays]) -> Node:
    """Return the call that takes the place of a group."""
    first = group.calls[0]
    flat_operands = iter([adjacent[column[0]].flat for column in group.columns[:-1]])
    shape = first.value.shape
    arguments = [
        next(flat_operands) if isinstance(a, Node) and a.value.shape == shape else a for a in first.arguments[0]
    ]
    call = Node(recorder.flat(group.calls), name=first.name, function=first.function, arguments=[arguments, {}])
    return adjacent[first].lie_in(call, recorder)
