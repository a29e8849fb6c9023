"""Draw the plots of a report in processes of their own, which start and warm up while the run trains.

To import matplotlib and to draw a first figure take as long as all figures of a run. Whatever happens to such a process
costs nothing but time: a plot without an answer is drawn here.
"""

import contextlib
import math
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from lagvis.report.plot_worker import READY, read_message, write_message
from lagvis.report.plots.figure import Plot
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import StopRequestedError
from lagvis.training.events import EpochEnded, Event, Progress, Started
from lagvis.training.plan import Plan
from lagvis.training.system_memory import free_memory
from lagvis.training.threads import THREAD_VARIABLES

MAX_PROCESSES = 2  # which draw in half the time; more gain little
SECONDS_TO_WARM_UP = 10.0  # before the end of a run; it takes 0.6 s on an idle core
# The parent's sys.path instead of a folder that -c would put first: the same packages, whatever the current folder is.
PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from lagvis.report.plot_worker import serve; serve()"
FREE_MEMORY = 1_000_000_000  # bytes without which no process is started; two take a fifth of it
MAX_SILENT_SECONDS = 3.0  # without an answer, after which the processes count as hanging: other programs have all cores
POLL_SECONDS = 0.05  # between two looks at the stop signal
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Process = subprocess.Popen[bytes]


class PlotProcesses:
    """Up to `count` processes that draw plots; they end with the `with` block.

    Until `start` is called, and where no process can be started, `draw` draws in this process. Each process has a
    thread here, which waits for it and gives it one plot after the other.
    """

    def __init__(self, count: int) -> None:
        self._count = min(count, MAX_PROCESSES)  # that may still be started
        self._started = False
        self._lock = threading.Lock()  # held while a process starts
        self._processes: list[Process] = []
        self._threads: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[tuple[int, Plot] | None] = queue.SimpleQueue()  # None: no more
        self._answers: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()  # None: a process has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the first process, and when it is ready the next: two at once would take more than an idle core.

        At the second call do nothing, and where memory is scarce.
        """
        if not self._started:
            self._started = True
            free = free_memory()
            if free is None or free[0] > FREE_MEMORY:
                self._start_next()

    def _start_next(self) -> None:
        with self._lock:
            if not self._count:
                return
            self._count -= 1
            with contextlib.suppress(Exception):  # no memory, no more processes or threads, an embedded Python
                process = start_process()
                self._processes.append(process)
                thread = threading.Thread(target=self._serve, args=(process,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, process: Process) -> None:
        """Give a process the plots until there are no more or it fails."""
        with contextlib.suppress(Exception):  # the plot is drawn by `draw`, which raises what there is to say
            if read_message(process.stdout) == READY:
                self._start_next()
                while (job := self._jobs.get()) is not None:
                    number, plot = job
                    write_message(process.stdin, pickle.dumps(plot))
                    png = read_message(process.stdout)
                    if png.startswith(PNG_SIGNATURE):
                        self._answers.put((number, png))
        self._answers.put(None)

    def draw(self, plots: Sequence[Plot], stop: Callable[[], bool] = lambda: False) -> list[bytes]:
        """Return the PNG file of each plot; the processes are closed then.

        Raises StopRequestedError as soon as `stop` returns true, and DrawingError if matplotlib cannot be imported.
        """
        self._forbid_start()
        drawn = self._collect(plots, stop)
        self.close()
        for number, plot in enumerate(plots):
            if number not in drawn:
                check_stop(stop)
                drawn[number] = plot.draw()
        return [drawn[number] for number in range(len(plots))]

    def _collect(self, plots: Sequence[Plot], stop: Callable[[], bool]) -> dict[int, bytes]:
        """Return by number the plots that the processes draw: all of them, unless a process fails or hangs."""
        drawn: dict[int, bytes] = {}
        active, heard = len(self._threads), time.monotonic()
        for job in [*enumerate(plots), *[None] * active]:
            self._jobs.put(job)
        while active and len(drawn) < len(plots) and time.monotonic() - heard < MAX_SILENT_SECONDS:
            check_stop(stop)
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=POLL_SECONDS)
                heard = time.monotonic()
                if answer is None:
                    active -= 1
                else:
                    drawn[answer[0]] = answer[1]
        return drawn

    def _forbid_start(self) -> None:
        """Let no further process start."""
        with self._lock:
            self._count = 0

    def close(self) -> None:
        """End the processes; they have nothing to clean up."""
        self._forbid_start()
        for process in self._processes:
            process.kill()
            self._jobs.put(None)  # for its thread, if that waits for a plot
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1.0)
        for thread in self._threads:
            thread.join(timeout=1.0)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # a request that nobody has read
                    if pipe is not None:
                        pipe.close()
        self._processes, self._threads = [], []


class TimeLeft:
    """Estimates how long a run takes at least, from its events so far."""

    def __init__(self, plan: Plan, start: Checkpoint | None) -> None:
        self._plan = plan
        self._first = self._step = start.step if start else 0
        self._best_epoch = start.best_epoch if start else 0
        self._started = time.perf_counter()

    def least_seconds(self, event: Event) -> float:
        """Return the seconds to the last step, with patience to the first at which the run may stop early."""
        if isinstance(event, Started):
            self._started = time.perf_counter()
        if isinstance(event, Progress):
            self._step = event.step
        if isinstance(event, EpochEnded):
            self._best_epoch = event.checkpoint.best_epoch
        done = self._step - self._first
        if not done:
            return math.inf
        plan = self._plan
        epochs = min(plan.epochs, self._best_epoch + plan.patience) if plan.patience else plan.epochs
        return (time.perf_counter() - self._started) / done * (epochs * plan.steps_per_epoch - self._step)


def check_stop(stop: Callable[[], bool]) -> None:
    """Raise StopRequestedError if `stop` returns true."""
    if stop():
        raise StopRequestedError


def start_process() -> Process:
    """Start a process that draws. Its messages are of no use: a plot that it fails to draw is drawn here."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *filter(None, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
    )
