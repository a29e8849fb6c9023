"""Ctrl-C and SIGTERM, kept for a run to see between calls; and an end in time where it cannot see them."""

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# After SIGTERM a process has this long to save; a long call, a compiler or a full disk may not take more.
GRACE_SECONDS = 4.0


class StopSignal:
    """The signal that asked a run to stop; 0 for none."""

    number = 0

    def asked(self) -> bool:
        """Whether one has come."""
        return self.number != 0

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """While open, a first Ctrl-C or SIGTERM is kept for the run to see between calls; a second Ctrl-C stops at once.

    One that was ignored before, as in a shell's background, stays so.
    """
    stop = StopSignal()

    def keep(number: int, frame: FrameType | None) -> None:
        if stop.asked() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.number = number

    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, keep) for number in heeded}
    try:
        with ended_in_time():
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_in_time() -> Iterator[None]:
    """While open, the process ends GRACE_SECONDS after SIGTERM, even if no line of Python runs in its main thread."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    over = threading.Event()

    def watch() -> None:
        while number := reader.recv(1):
            if number[0] == signal.SIGTERM and not over.wait(GRACE_SECONDS):
                with contextlib.suppress(OSError, ValueError):
                    if select.select([], [2], [], 0)[1]:  # a reader that does not read may hold nothing up
                        os.write(2, b"\nStopped in the middle of a step, as it took too long; what was saved stands.\n")
                os._exit(128 + signal.SIGTERM)

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        writer.close()
        watcher.join()
        reader.close()
