"""Progress on stderr: a live panel where someone is watching a terminal, plain lines everywhere else."""

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TextIO

from lagvis.report.terminal.lines import epoch_line, start_line
from lagvis.training.events import EpochEnded, Event, Started


class View(Protocol):
    """Something that events are shown to, open for the length of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None: ...


def make_view(stream: TextIO, *, quiet: bool, device: str = "") -> View:
    """The view for a stream: nothing, a live panel (which names the device), or plain lines."""
    if quiet:
        return Silence()
    if stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI"):
        from lagvis.report.terminal.live import LivePanel  # rich takes a tenth of a second to import

        return LivePanel(stream, device)
    return PlainLines(lambda line: print(line, file=stream, flush=True))


def whatever_becomes_of_the_screen() -> AbstractContextManager[None]:
    """A terminal that has gone, or a full disk behind a redirection, must not end a training."""
    return contextlib.suppress(OSError)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Nothing to see."""


class PlainLines(Silence):
    """One line at the start and one an epoch, without any control codes."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._epochs = 0

    def show(self, event: Event) -> None:
        """Write a line for what is worth one."""
        with whatever_becomes_of_the_screen():
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
