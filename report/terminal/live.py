"""The panel in a terminal, redrawn in place by a thread of its own: no terminal may stop, slow or end a training."""

import contextlib
import os
import threading
from contextlib import AbstractContextManager
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style

from lagvis.report.terminal.curve import Line
from lagvis.report.terminal.lines import start_line
from lagvis.report.terminal.panel import CHARACTERS, Panel
from lagvis.training.events import Event, Started

SECONDS_A_FRAME = 0.25
PATIENCE = 1.0  # seconds that a finished run waits for the last frame
STYLES = {
    "": Style(),
    "strong": Style(bold=True),
    "faint": Style(dim=True),
    "train": Style(color="bright_blue"),
    "validation": Style(color="yellow"),
    "best": Style(color="bright_green", bold=True),
}


class LivePanel:
    """Shows the panel of a run while it is open, and leaves its last state."""

    def __init__(self, stream: TextIO, device: str = "") -> None:
        self._panel = Panel(device)
        self._stream = stream
        self._unicode = can_write(stream, CHARACTERS)
        self._begun: Started | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_closed, daemon=True)
        self._lengths: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        if self._begun:
            self._thread.join(PATIENCE)

    def show(self, event: Event) -> None:
        """Keep the numbers of an event; they are drawn in their time."""
        self._panel.update(event)
        if isinstance(event, Started):
            self._begun = event
            self._thread.start()

    def _draw_until_closed(self) -> None:
        # A terminal that has gone, or a fault of ours: a picture is not worth a training, nor a traceback across it.
        with contextlib.suppress(Exception), own(self._stream) as stream:
            console = Console(file=stream, force_terminal=True)
            console.show_cursor(False)
            try:
                assert self._begun
                console.print(start_line(self._begun), highlight=False, markup=False)
                self._draw(console)
                while not self._closing.wait(SECONDS_A_FRAME):
                    self._draw(console)
                self._draw(console)
            finally:
                console.show_cursor(True)

    def _draw(self, console: Console) -> None:
        """One frame over the last, in one write."""
        if not in_foreground(self._stream):
            self._lengths = []  # what stands above the next frame is not ours
            return
        width, height = console.size
        lines = [trimmed(line) for line in self._panel.lines(width - 1, height - 1, unicode=self._unicode)]
        # most terminals wrap what stood there when they become narrower
        above = sum(max(1, -(-length // width)) for length in self._lengths)
        console.print(Frame(lines, above), end="")
        self._lengths = [sum(len(text) for text, _ in line) for line in lines]


class Frame:
    """Lines, written over the `above` lines that the cursor is below.

    It is left below them, at the start of a line of its own: what is typed, and the ^C of Ctrl-C, is echoed there and
    can neither spoil the last line nor wrap and move the cursor.
    """

    def __init__(self, lines: list[Line], above: int) -> None:
        self._lines, self._above = lines, above

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Control(ControlType.CARRIAGE_RETURN)
        yield Control.move(y=-self._above)
        extra = max(self._above - len(self._lines), 0)
        for line in self._lines + [[]] * extra:
            yield from (Segment(text, STYLES[style]) for text, style in line)
            yield Control((ControlType.ERASE_IN_LINE, 0))  # after the text, not before: what stays does not flicker
            yield Segment.line()
        yield Control((ControlType.ERASE_IN_LINE, 0))
        yield Control.move(y=-extra)


def trimmed(line: Line) -> Line:
    """Without the blanks at its end."""
    kept = list(line)
    while kept and not kept[-1][0].rstrip():
        kept.pop()
    return [*kept[:-1], (kept[-1][0].rstrip(), kept[-1][1])] if kept else []


def can_write(stream: TextIO, characters: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        characters.encode(stream.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def own(stream: TextIO) -> AbstractContextManager[TextIO]:
    """The stream by a handle of our own: a thread that is stuck in a write then holds no lock that others want."""
    try:
        return open(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    except OSError:
        return contextlib.nullcontext(stream)


def in_foreground(stream: TextIO) -> bool:
    """Whether the terminal is ours at present; of a job in the background a shell's prompt is in its place."""
    try:
        return os.tcgetpgrp(stream.fileno()) in (0, os.getpgrp())
    except (AttributeError, OSError):  # Windows, or no terminal that could control us
        return True
