"""The panel in a terminal, redrawn in place by a thread of its own, so that no terminal stops or slows a training."""

import contextlib
import os
import queue
import textwrap
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
from lagvis.report.text import escape_control
from lagvis.training.events import Event, Started

FRAME_SECONDS = 0.25
MAX_LAST_FRAME_SECONDS = 1.0  # that a finished run waits for the last frame
STYLES = {
    "": Style(),
    "strong": Style(bold=True),
    "faint": Style(dim=True),
    "train": Style(color="bright_blue"),
    "validation": Style(color="yellow"),
    "best": Style(color="bright_green", bold=True),
}


class LivePanel:
    """Shows the panel of a run, and leaves its last state on the terminal."""

    def __init__(self, stream: TextIO, device: str = "") -> None:
        self._panel = Panel(device)
        self._stream = stream
        self._unicode = can_write(stream, CHARACTERS)
        self._started: Started | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_closed, daemon=True)
        self._lengths: list[int] = []
        self._notes: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        if self._started:
            self._thread.join(MAX_LAST_FRAME_SECONDS)

    def show(self, event: Event) -> None:
        """Store the numbers of an event; the thread draws them with its next frame."""
        self._panel.update(event)
        if isinstance(event, Started):
            self._started = event
            self._thread.start()

    def note(self, line: str) -> None:
        """Show a line above the panel, with its next frame."""
        self._notes.put(escape_control(line))

    def _draw_until_closed(self) -> None:
        # A closed terminal, or a fault in the drawing, must neither end the training nor print a traceback into it.
        with contextlib.suppress(Exception), duplicate_stream(self._stream) as stream:
            console = Console(file=stream, force_terminal=True)
            console.show_cursor(False)
            try:
                assert self._started
                console.print(start_line(self._started), highlight=False, markup=False)
                self._draw(console)
                while not self._closing.wait(FRAME_SECONDS):
                    self._draw(console)
                self._draw(console)
            finally:
                console.show_cursor(True)

    def _draw(self, console: Console) -> None:
        """Draw a frame over the last one, in one write."""
        if not in_foreground(self._stream):
            self._lengths = []  # the lines above the next frame are from other programs
            return
        width, height = console.size
        lines = [strip_line(line) for line in self._panel.lines(width - 1, height - 1, unicode=self._unicode)]
        notes: list[Line] = []
        while not self._notes.empty():
            notes += [[(text, "")] for text in textwrap.wrap(self._notes.get(), width - 1)]
        # most terminals wrap the old lines when they become narrower
        above = sum(max(1, -(-length // width)) for length in self._lengths)
        console.print(Frame([*notes, *lines], above), end="")
        self._lengths = [sum(len(text) for text, _ in line) for line in lines]


class Frame:
    """Lines that are written over the `above` lines over the cursor.

    The cursor is left below them at the start of an empty line, where typed text and the ^C of Ctrl-C are echoed: they
    cannot spoil the last line, nor wrap it and so move the cursor.
    """

    def __init__(self, lines: list[Line], above: int) -> None:
        self._lines, self._above = lines, above

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Control(ControlType.CARRIAGE_RETURN)
        yield Control.move(y=-self._above)
        extra = max(self._above - len(self._lines), 0)
        for line in self._lines + [[]] * extra:
            yield from (Segment(text, STYLES[style]) for text, style in line)
            yield Control((ControlType.ERASE_IN_LINE, 0))  # after the text: erasing before it would flicker
            yield Segment.line()
        yield Control((ControlType.ERASE_IN_LINE, 0))
        yield Control.move(y=-extra)


def strip_line(line: Line) -> Line:
    """Return a line without trailing blanks."""
    stripped = list(line)
    while stripped and not stripped[-1][0].rstrip():
        stripped.pop()
    return [*stripped[:-1], (stripped[-1][0].rstrip(), stripped[-1][1])] if stripped else []


def can_write(stream: TextIO, characters: str) -> bool:
    """Return whether the encoding of a stream has these characters."""
    try:
        characters.encode(stream.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def duplicate_stream(stream: TextIO) -> AbstractContextManager[TextIO]:
    """Open a stream a second time: a thread that is stuck in a write then holds no lock that other threads need."""
    try:
        return open(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    except OSError:
        return contextlib.nullcontext(stream)


def in_foreground(stream: TextIO) -> bool:
    """Return whether this process is in the foreground of its terminal, and not a background job of a shell."""
    try:
        return os.tcgetpgrp(stream.fileno()) in (0, os.getpgrp())
    except (AttributeError, OSError):  # Windows, or no controlling terminal
        return True
