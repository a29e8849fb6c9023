"""Progress on stderr: a live panel in a terminal, plain lines everywhere else."""

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TextIO

from lagvis.report.terminal.lines import epoch_line, start_line
from lagvis.training.events import EpochEnded, Event, Started


class View(Protocol):
    """Shows the events of a run; entered before the first and left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None: ...


def make_view(stream: TextIO, *, quiet: bool, device: str = "") -> View:
    """Return the view for a stream: silent, a live panel (which names the device), or plain lines."""
    if quiet:
        return SilentView()
    if stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI"):
        from lagvis.report.terminal.live import LivePanel  # rich takes a tenth of a second to import

        return LivePanel(stream, device)
    return PlainLines(lambda line: print(line, file=stream, flush=True))


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


class PlainLines(SilentView):
    """Writes one line at the start and one per epoch, without control codes."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._epochs = 0

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        with ignore_stream_errors():
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Started():
                self._epochs = event.plan.epochs
                self._write(start_line(event))
            case EpochEnded():
                self._write(epoch_line(event, self._epochs))
            case _:
                pass
