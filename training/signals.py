"""Ctrl-C and SIGTERM, kept for a run to see between spans."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any


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
    """While open, a first Ctrl-C or SIGTERM is kept for the run to see between spans; a second Ctrl-C stops at once."""
    stop = StopSignal()

    def keep(number: int, frame: FrameType | None) -> None:
        if stop.asked() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.number = number

    before: dict[int, Any] = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
