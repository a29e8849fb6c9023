"""A pool of threads that compute independent tasks together with the thread that asks for them.

NumPy releases Python's interpreter lock while it computes, so its calls in several threads use several cores. A thread
of the pool sleeps until there are tasks. The calling thread takes tasks, too: it never waits for a thread that has not
begun, and one whose core is busy with another program costs no more than the task that it has begun.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from queue import SimpleQueue

import numpy as np

Task = Callable[[], object]


class ThreadPool:
    """Daemon threads that take part in the calls of `run`; they are started as the first call needs them."""

    def __init__(self) -> None:
        self._own = threading.local()  # `threads`: how many threads `run` uses for calls of this Python thread
        self.forget_threads()

    def forget_threads(self) -> None:
        """Begin without threads, as in a forked process, which has none of those of its parent."""
        self._lock = threading.Lock()
        self._started = 0
        self._jobs: SimpleQueue[Job] = SimpleQueue()

    @property
    def threads(self) -> int:
        """Return the number of threads that compute the calls of this Python thread, itself counted."""
        return getattr(self._own, "threads", 1)

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Let `threads` threads compute the calls of this Python thread in a `with` block."""
        before = self.threads
        self._own.threads = threads
        try:
            yield
        finally:
            self._own.threads = before

    def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks in any order on the threads of the caller; return when none of them is running any more.

        Raise an error of a task, or an interrupt, after which the caller begins no further task.
        """
        job = Job(tasks)
        for _ in range(self._start(min(self.threads, len(tasks)) - 1)):
            self._jobs.put(job)
        job.run()

    def _start(self, count: int) -> int:
        """Start threads until there are `count`; return how many of these there are."""
        if count > self._started:
            with self._lock, suppress(RuntimeError):  # the system has no thread left: the caller runs the tasks
                while self._started < count:
                    threading.Thread(target=work, args=(self._jobs,), name="lagvis", daemon=True).start()
                    self._started += 1
        return min(count, self._started)


class Job:
    """Tasks of one call of `ThreadPool.run`, which the caller and threads of the pool take one by one.

    waiting  tasks that nobody has begun
    begun    has an entry for each thread that has begun to take tasks
    ended    gets an entry from each thread that takes no more
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.waiting = deque(tasks)
        self.begun: list[None] = []
        self.ended: SimpleQueue[None] = SimpleQueue()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """Run tasks until none waits, then wait for the threads that have begun."""
        try:
            self._run_waiting()
        finally:  # an interrupt may come at any line
            self.waiting.clear()
            ended = 0
            while ended < len(self.begun):  # one more may begin meanwhile; it finds no task
                self.ended.get()
                ended += 1
        if self.errors:
            raise self.errors[0]

    def help(self) -> None:
        """Run tasks of the caller until none waits; keep an error for it."""
        self.begun.append(None)
        try:
            self._run_waiting()
        except BaseException as error:
            self.errors.append(error)
        self.ended.put(None)

    def _run_waiting(self) -> None:
        while True:
            try:
                task = self.waiting.popleft()
            except IndexError:  # none waits
                return
            task()


def work(jobs: "SimpleQueue[Job]") -> None:
    """Help with jobs for ever: what a thread of the pool runs."""
    with np.errstate(all="ignore"):  # as NumpyBackend.scan does in the calling thread
        while True:
            jobs.get().help()


@cache
def thread_pool() -> ThreadPool:
    """Return the one pool of this process."""
    pool = ThreadPool()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=pool.forget_threads)
    return pool
