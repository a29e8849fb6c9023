"""Number of threads of the BLAS under NumPy: one setting for the whole process, shared by several trainings."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from threadpoolctl import ThreadpoolController


@dataclass(eq=False)
class Block:
    """A `with` block of `limited`, and the number of threads that it asks for."""

    number: int


class BlasThreads:
    """Sets the number of BLAS threads while a `with` block of `limited` is open.

    Blocks of different Python threads that ask for the same number are open together. A block that asks for another
    number waits for them, since the number of threads decides the last bits of a product. Blocks open in the order in
    which they were asked for. Once no block is open, the number is again what it was.
    """

    def __init__(self) -> None:
        self._libraries = ThreadpoolController().select(user_api="blas")
        self._before: list[int] = []  # number of threads of each library before the first block; empty: in force
        self._own = threading.local()  # `blocks`: those of this Python thread, outermost first
        self._forget_blocks()

    def _forget_blocks(self) -> None:
        self._lock = threading.RLock()  # not `with self._changed`, within whose Python code an interrupt may come
        self._changed = threading.Condition(self._lock)
        self._open: set[Block] = set()
        self._queue: list[Block] = []  # blocks that wait, the next one first

    @contextmanager
    def limited(self, number: int) -> Iterator[None]:
        """Set the number of threads for a `with` block; within another block of the same Python thread, too."""
        blocks: list[Block] = self._own.__dict__.setdefault("blocks", [])
        block = Block(number)
        try:
            if blocks:  # the outer block is closed meanwhile, so that two blocks never wait for each other
                self._leave(blocks[-1])
            blocks.append(block)
            self._enter(block)
            yield
        finally:  # an interrupt may come before any of the lines above, and within the first `_leave`
            try:
                if block in blocks:
                    blocks.remove(block)
                self._leave(block)
            finally:
                self._leave(block)
                if blocks:
                    self._enter(blocks[-1])

    def reset_after_fork(self) -> None:
        """Close the blocks of the parent process, whose threads a forked process does not have."""
        self._forget_blocks()
        self._restore()

    def _enter(self, block: Block) -> None:
        with self._lock:
            try:
                self._queue.append(block)
                self._changed.wait_for(lambda: self._may_open(block))
                if not self._open:
                    self._before = self._before or [library.num_threads for library in self._libraries.lib_controllers]
                    self._set([block.number] * len(self._before))
                self._open.add(block)
            finally:
                if block in self._queue:
                    self._queue.remove(block)
                self._changed.notify_all()

    def _may_open(self, block: Block) -> bool:
        """Return whether a block is the first of those that wait, and the open ones ask for the same number."""
        return self._queue[0] is block and all(other.number == block.number for other in self._open)

    def _leave(self, block: Block) -> None:
        """Close a block, if it is open, and restore the number after the last one; again where that was interrupted."""
        with self._lock:
            self._open.discard(block)
            if not self._open:
                self._restore()
            self._changed.notify_all()

    def _restore(self) -> None:
        """Set the numbers before the first block, unless that is done."""
        if self._before:
            self._set(self._before)
            self._before = []

    def _set(self, numbers: list[int]) -> None:
        """Set the number of threads of each library, from whatever Python thread."""
        for library, number in zip(self._libraries.lib_controllers, numbers, strict=True):
            release = getattr(library, "clear_controlling_thread", None)
            if release is None:
                library.set_num_threads(number)
                continue
            # threadpoolctl 3.8 sets the number of OpenBLAS from one thread alone, the first that asked, and silently
            # not from others. Blocks of several threads share one number here, and any of them may be the last.
            release(force=True)
            library.set_num_threads(number)
            release(force=True)


@cache
def blas_threads() -> BlasThreads:
    """Return the one object of this process."""
    threads = BlasThreads()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=threads.reset_after_fork)
    return threads
