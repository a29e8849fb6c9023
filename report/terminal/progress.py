"""Progress on stderr: a live panel in a terminal, plain lines everywhere else."""

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TextIO

from lagvis.report.terminal.lines import epoch_line, start_line
from lagvis.report.text import escape_control
from lagvis.training.events import EpochEnded, Event, Started


class View(Protocol):
    """Shows the events of a run; entered before the first and left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None: ...

    def note(self, line: str) -> None: ...


def make_view(stream: TextIO, *, quiet: bool, device: str = "") -> View:
    """Return the view for a stream: silent, a live panel (which names the device), or plain lines."""
    if quiet:
        return SilentView()
    if can_redraw(stream):
        from lagvis.report.terminal.live import LivePanel  # rich takes a tenth of a second to import

        return LivePanel(stream, device)
    return PlainLines(lambda line: print(line, file=stream, flush=True))


def can_redraw(stream: TextIO) -> bool:
    """Return whether a panel can be redrawn in place: in a terminal that moves the cursor, outside of CI and notebooks.

    `!python train.py` in a notebook has a pseudo-terminal, whose output the page shows without moving a cursor. Only
    Windows has terminals without TERM.
    """
    unknown = os.environ.get("TERM", "xterm" if os.name == "nt" else "").lower() in ("", "dumb", "unknown")
    return stream.isatty() and not unknown and not os.environ.get("CI") and not in_notebook()


def in_notebook() -> bool:
    """Return whether this process was started from a cell of a notebook: the kernels of Jupyter set these variables."""
    return "JPY_PARENT_PID" in os.environ or "inline" in os.environ.get("MPLBACKEND", "")


def ignore_stream_errors() -> AbstractContextManager[None]:
    """Suppress OSError: a closed terminal, or a full disk behind a redirection, must not end a training."""
    return contextlib.suppress(OSError)


class SilentView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Show nothing."""

    def note(self, line: str) -> None:
        """Show nothing."""


class PlainLines(SilentView):
    """Writes one line at the start and one per epoch, without control codes."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._epochs = 0

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        with ignore_stream_errors():
            self._show(event)

    def note(self, line: str) -> None:
        """Write a line between those of the epochs."""
        with ignore_stream_errors():
            self._write(escape_control(line))

    def _show(self, event: Event) -> None:
        match event:
            case Started():
                self._epochs = event.plan.epochs
                self._write(start_line(event))
            case EpochEnded():
                self._write(epoch_line(event, self._epochs))
            case _:
                pass
