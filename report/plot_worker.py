"""The program of a process that draws plots for a run (`plot_processes`): it gets ready, and draws what it is given.

This module imports the standard library only, so that the priority is low before the other imports begin.
"""

import contextlib
import gc
import os
import pickle
import queue
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

LENGTH = struct.Struct(">Q")  # before each request and each answer
MAX_LENGTH = 2**28  # bytes of a message
READY = b"ready"  # the first message of a process


def serve() -> None:
    """Answer requests until stdin is closed, or until that fails, as without matplotlib."""
    try:
        answer_requests()
    finally:
        os._exit(1)  # a usual exit would abort, with a core dump, since a thread waits for stdin


def answer_requests() -> None:
    """Get ready and say so on stdout; then draw each plot that comes on stdin.

    The answer is the PNG file, or nothing where the plot cannot be drawn.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the run decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=read_requests, args=(sys.stdin.buffer, requests), daemon=True).start()
    with idle_priority():
        warm_up()
        gc.disable()  # looking for garbage takes a tenth of the drawing, and the process ends soon
        write_message(answers, READY)
        request = requests.get()
    while True:
        plot = pickle.loads(request)  # noqa: S301  (of the process that started this one)
        try:
            png = plot.draw()
        except Exception:
            png = b""
        write_message(answers, png)
        request = requests.get()


@contextlib.contextmanager
def idle_priority() -> Iterator[None]:
    """While open, run only on cores that are idle, so that the training does not wait; where Linux allows it.

    Without the right to raise a priority (RLIMIT_NICE) that cannot be ended: the process then draws on idle cores too.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # another system; or one that forbids it
        yield
        return
    yield
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def read_requests(pipe: BinaryIO, requests: "queue.SimpleQueue[bytes]") -> None:
    """Read requests; when the run has ended, in whatever way, end this process at once, even amid a figure."""
    with contextlib.suppress(Exception):
        while True:
            requests.put(read_message(pipe))
    os._exit(0)


def warm_up() -> None:
    """Import what the plots need and draw a figure, which fills the caches of fonts and glyphs."""
    from lagvis.report.plots import dependence_plots, image_plots, metric_plots  # noqa: F401
    from lagvis.report.plots.figure import Plot

    history = [{"epoch": n, "samples": n, "train_loss": 1.0 / n, "train_accuracy": 0.5} for n in (1.0, 2.0)]
    Plot(metric_plots.plot_curves, (history,)).draw()


def write_message(pipe: Any, content: bytes) -> None:
    """Write a message with its length before it."""
    pipe.write(LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def read_message(pipe: Any) -> bytes:
    """Read a message; EOFError if the pipe is closed, or if what comes is no message."""
    header = pipe.read(LENGTH.size)
    if len(header) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(header)
    content: bytes = pipe.read(length) if length <= MAX_LENGTH else b""
    if len(content) < length:
        raise EOFError
    return content
