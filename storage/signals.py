"""SIGINT (Ctrl-C), SIGTERM and SIGHUP: how they stop a command, and how they stop a run between two groups of steps.

SIGHUP comes when a terminal or its connection is gone. It is treated as SIGTERM.
"""

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Time for a process to save and clean up after the signal: containers and batch queues send SIGKILL soon after.
GRACE_SECONDS = 4.0

# Windows has no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

SLOW_COMMAND = "Stopped."
SLOW_RUN = "\nStopped in the middle of a step that took too long; the saved checkpoint is complete."


class StopSignal:
    """The signal that asked a command or a run to stop; `number` is 0 as long as there is none."""

    number = 0

    def received(self) -> bool:
        """Return whether a signal came."""
        return self.number != 0

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + self.number


@contextlib.contextmanager
def interrupt_on_signals(stop: StopSignal) -> Iterator[None]:
    """While open, the signals raise KeyboardInterrupt, so that `finally` and `with` clean up.

    `stop` records the first signal, because a library may replace the exception or ignore it. Later signals do not
    disturb the cleanup. The process ends GRACE_SECONDS after the signal in any case.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not stop.received():
            stop.number = number
            raise KeyboardInterrupt

    with handled_by(interrupt, SLOW_COMMAND, SIGNALS):
        yield


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """While open, record the first signal for the run to see between two groups of steps.

    A second SIGINT raises KeyboardInterrupt. After SIGTERM or SIGHUP the process ends within GRACE_SECONDS in any case.
    """
    stop = StopSignal()

    def record(number: int, frame: FrameType | None) -> None:
        if stop.received() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.number = stop.number or number

    with handled_by(record, SLOW_RUN, tuple(number for number in SIGNALS if number != signal.SIGINT)):
        yield stop


@contextlib.contextmanager
def handled_by(handler: Any, message: str, limited: tuple[int, ...]) -> Iterator[None]:
    """While open, `handler` takes the signals, and those in `limited` end the process in time.

    An ignored signal stays ignored, as in the background of a shell or under nohup. Outside of the main
    thread, where Python allows no handlers, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        with exit_in_time(message, tuple(number for number in limited if number in numbers)):
            yield
    finally:
        for number, previous in before.items():
            if previous is not None:  # a handler that was not installed by Python cannot be put back
                signal.signal(number, previous)


@contextlib.contextmanager
def exit_in_time(message: str, limited: tuple[int, ...]) -> Iterator[None]:
    """While open, end the process GRACE_SECONDS after one of the signals, with `message` on stderr.

    A thread watches the signals, since handlers wait while the main thread is inside a library and runs no Python.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    closed = threading.Event()

    def watch() -> None:
        while received := reader.recv(1):
            if received[0] in limited and not closed.wait(GRACE_SECONDS):
                with contextlib.suppress(OSError, ValueError):
                    if select.select([], [2], [], 0)[1]:  # do not wait for a pipe that is full
                        os.write(2, f"{message}\n".encode())
                os._exit(128 + received[0])

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        closed.set()
        writer.close()
        watcher.join()
        reader.close()
