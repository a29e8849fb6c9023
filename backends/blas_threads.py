"""Number of threads of the BLAS under NumPy: one setting for the whole process, shared by several trainings."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


class BlasThreads:
    """Sets the number of BLAS threads while a `with` block of `limited` is open.

    Blocks of different Python threads that ask for the same number are open together. A block that asks for another
    number waits for them, since the number of threads decides the last bits of a product. Blocks open in the order in
    which they were asked for. Once no block is open, the number is again what it was.
    """

    def __init__(self) -> None:
        self._libraries = ThreadpoolController().select(user_api="blas")
        self._changed = threading.Condition()
        self._open = 0  # blocks
        self._queue: deque[object] = deque()  # of the blocks that wait, the next one first
        self._number = 0  # of threads, in the open blocks
        self._before: list[int] = []  # number of threads of each library before the first block
        self._own = threading.local()  # `numbers`: those of the open blocks of this Python thread, outermost first

    @contextmanager
    def limited(self, number: int) -> Iterator[None]:
        """Set the number of threads for a `with` block; within another block of the same Python thread, too."""
        numbers: list[int] = self._own.__dict__.setdefault("numbers", [])
        outer = numbers[-1] if numbers else None
        if outer is not None:  # the outer block is closed meanwhile, so that two blocks never wait for each other
            self._leave()
        try:
            self._enter(number)
            numbers.append(number)
            try:
                yield
            finally:
                numbers.pop()
                self._leave()
        finally:
            if outer is not None:
                self._enter(outer)

    def _enter(self, number: int) -> None:
        with self._changed:
            ticket = object()
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and (not self._open or self._number == number))
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
            if not self._open:
                self._before = [library.num_threads for library in self._libraries.lib_controllers]
                for library in self._libraries.lib_controllers:
                    library.set_num_threads(number)
                self._number = number
            self._open += 1

    def _leave(self) -> None:
        with self._changed:
            self._open -= 1
            if not self._open:
                for library, before in zip(self._libraries.lib_controllers, self._before, strict=True):
                    library.set_num_threads(before)
            self._changed.notify_all()


@cache
def blas_threads() -> BlasThreads:
    """Return the one object of this process."""
    return BlasThreads()
