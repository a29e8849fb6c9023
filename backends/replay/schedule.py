"""Arrange the recorded calls of a step for several threads: which may be cut into blocks of rows, and what runs beside.

Most calls of a step compute each row of their result from the same row of an operand and from other operands as a
whole: a product x @ W, an activation, an update. Calls of the same number of rows that need nothing else of each other
form a group, which a thread runs for a block of rows from its first call to its last. Groups that do not depend on each
other, and the calls between them, form a phase, whose tasks run at the same time. A step of a dense network has
three phases for its matrices: the batch forward to the last hidden layer, its way back, then gradients and updates of
the weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from lagvis.backends.replay.recorder import ELEMENTWISE, Node

ROW_REDUCTIONS = frozenset(("argmax", "argmin", "max", "mean", "min", "sum", "vecdot"))
# Work is counted in multiplications and additions of a product; other calls move memory: so many for each element.
OPERATIONS_AN_ELEMENT = 50
MIN_CALL_OPERATIONS = 1e6  # of a call: about 10 us, below which threads wait for the interpreter lock
MIN_OPERATIONS = 3e7  # of a group: about 0.2 ms of one thread; for less it does not pay to wake others


@dataclass
class Operands:
    """Operands of a call: arrays of which row i of the result needs row i alone, and others."""

    by_row: list[Node] = field(default_factory=list)
    whole: list[Node] = field(default_factory=list)

    @property
    def read_whole(self) -> list[Node]:
        """Return the operands in whose memory a row of the result may need any row: also views like a transpose."""
        return [*self.whole, *(node for node in self.by_row if not has_own_rows(node))]


@dataclass
class Work:
    """Calls in order, and the memory that they read and write, as ids of arrays.

    rows        number of rows of each result of a group; 0: the calls are not cut
    bounds      rows at which a group is cut, 0 and `rows` among them
    operands    those of each call that is cut
    read_whole  memory of which each row of a result may need any row
    """

    rows: int = 0
    bounds: list[int] = field(default_factory=list)
    calls: list[Node] = field(default_factory=list)
    operands: dict[Node, Operands] = field(default_factory=dict)
    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)
    read_whole: set[int] = field(default_factory=set)

    def add(self, call: Node, operands: Operands | None = None) -> None:
        """Append a call; `operands` are those of a call that is cut."""
        self.calls.append(call)
        if is_view(call):
            return
        self.reads |= read_memory(call)
        self.writes.add(memory(call))
        if operands is not None:
            self.operands[call] = operands
            self.read_whole |= {memory(node) for node in operands.read_whole}

    def must_precede(self, call: Node) -> bool:
        """Return whether a call that comes later reads or writes what this work writes, or writes what it reads."""
        if is_view(call):
            return memory(call) in self.writes
        return bool(read_memory(call) & self.writes) or memory(call) in self.reads | self.writes

    def is_independent_of(self, other: "Work") -> bool:
        """Return whether two works may run at the same time."""
        return not (self.writes & (other.reads | other.writes) or self.reads & other.writes)

    def takes(self, operands: Operands, call: Node) -> bool:
        """Return whether a group may append a call: it needs no other rows of what the group writes."""
        return memory(call) not in self.read_whole and not any(memory(a) in self.writes for a in operands.read_whole)

    def operations(self) -> float:
        """Return the work of the calls, in operations of a product."""
        return sum(operations(call) for call in self.calls if not is_view(call))


@dataclass
class Phase:
    """Groups, and a chain of calls in order, all independent of each other; positions start .. end of its calls."""

    groups: list[Work]
    chain: Work
    start: int = 0
    end: int = 0

    @property
    def works(self) -> list[Work]:
        """Return the chain, if it has calls, and the groups."""
        return [*([self.chain] if self.chain.calls else []), *self.groups]

    @property
    def calls(self) -> list[Node]:
        """Return all calls: first the views in their recorded order, which any work of the phase may read."""
        calls = [call for work in self.works for call in work.calls]
        views = sorted(filter(is_view, calls), key=lambda call: call.position)
        return [*views, *(call for call in calls if not is_view(call))]


def is_view(call: Node) -> bool:
    """Return whether a call returns a view, which is made once, before the steps."""
    return call.owner is not call


def numpy_array(node: Node) -> np.ndarray:
    """Return the array of a node, which is one of NumPy."""
    return cast("np.ndarray", node.value)


def memory(node: Node) -> int:
    """Return the id of the array in whose memory a node lies."""
    return id(node.owner.value)


def read_memory(call: Node) -> set[int]:
    """Return the ids of the arrays that a call reads."""
    return {memory(node) for node in call.operands()}


def operations(call: Node) -> float:
    """Return the work of a call, in operations of a product."""
    result, operands = numpy_array(call), [numpy_array(node) for node in call.operands()]
    if call.name == "matmul" and operands[0].ndim == 2:
        return 2.0 * result.size * operands[0].shape[-1]
    return float(OPERATIONS_AN_ELEMENT * max(result.size, *(a.size for a in operands if call.name != "take"), 0))


def row_operands(call: Node) -> Operands | None:
    """Return the operands of a call whose result may be computed by blocks of rows; None if it may not."""
    value = numpy_array(call)
    if is_view(call) or value.ndim == 0 or value.shape[0] < 2 or not value.flags.c_contiguous:
        return None
    if operations(call) < MIN_CALL_OPERATIONS:
        return None
    operands = split_operands(call, call.operands(), call.arguments[1].get("axis"))
    by_rows = operands is not None and all(node.value.shape[0] == value.shape[0] for node in operands.by_row)
    return operands if by_rows else None


def split_operands(call: Node, nodes: list[Node], axis: int | None) -> Operands | None:
    """Return the operands of a call, `nodes`, by the name of its function; None if rows of its result need others."""
    if call.name == "matmul" and [node.value.ndim for node in nodes] == [2, 2] and nodes[0] is not nodes[1]:
        return Operands([nodes[0]], [nodes[1]])
    if call.name == "take" and axis == 0 and len(nodes) == 2 and nodes[1].value.ndim == 1:
        return Operands([nodes[1]], [nodes[0]])
    last_axis = axis == -1 or (axis is None and call.name == "vecdot")
    if call.name in ROW_REDUCTIONS and last_axis and all(node.value.ndim > 1 for node in nodes):
        return Operands(nodes)
    if call.name in ELEMENTWISE or call.name in ("astype", "copy"):
        spread = [a.value.ndim < call.value.ndim or a.value.shape[0] != call.value.shape[0] for a in nodes]
        by_row = [node for node, is_spread in zip(nodes, spread, strict=True) if not is_spread]
        return Operands(by_row, [node for node, is_spread in zip(nodes, spread, strict=True) if is_spread])
    return None


def has_own_rows(node: Node) -> bool:
    """Return whether row i of an operand lies in row i of the array whose memory it is."""
    value, owner = numpy_array(node), numpy_array(node.owner)
    same_start = value.__array_interface__["data"][0] == owner.__array_interface__["data"][0]
    return bool(same_start and value.shape[:1] == owner.shape[:1] and value.strides[:1] == owner.strides[:1])


def arrange(calls: list[Node], uncut: Iterable[Node] = ()) -> list[Phase]:
    """Return phases that compute what the calls compute in their order. `uncut` are products that must not be cut."""
    return join_phases(find_groups(calls, set(uncut)))


def find_groups(calls: list[Node], uncut: set[Node]) -> list[Work]:
    """Return groups and single calls in an order that respects what each call needs.

    The first call begins a group, which takes all later calls of its rows that may be moved before those in between.
    """
    found, pending = [], calls
    while pending:
        operands = None if pending[0] in uncut else row_operands(pending[0])
        group = Work(pending[0].value.shape[0] if operands else 0)
        group.add(pending[0], operands)
        later = Work()
        for call in pending[1:]:
            if joins(group, later, call, uncut):
                group.add(call, row_operands(call))
            else:
                later.add(call)
        if group.rows and group.operations() < MIN_OPERATIONS:
            group.rows = 0
        found.append(group)
        pending = later.calls
    return found


def joins(group: Work, later: Work, call: Node, uncut: set[Node]) -> bool:
    """Return whether a group may take a call before the calls `later`, which stand between them."""
    if not group.rows or later.must_precede(call):
        return False
    if is_view(call):
        return True
    operands = None if call in uncut else row_operands(call)
    return operands is not None and call.value.shape[0] == group.rows and group.takes(operands, call)


def join_phases(works: list[Work]) -> list[Phase]:
    """Join works that follow each other and are independent into phases; calls that are not cut into its chain."""
    phases = [Phase([], Work())]
    for work in works:
        phase = phases[-1]
        if not all(work.is_independent_of(group) for group in phase.groups) or (
            work.rows and not work.is_independent_of(phase.chain)
        ):
            phase = Phase([], Work())
            phases.append(phase)
        if work.rows:
            phase.groups.append(work)
        else:
            for call in work.calls:
                phase.chain.add(call)
    return phases
