import contextlib
import io
import os
import pty
import re
import textwrap
import threading
import time

import pytest
from rich.console import Console

from lagvis.report.terminal.lines import start_line
from lagvis.report.terminal.live import LivePanel, in_foreground
from lagvis.report.terminal.progress import make_view
from tests.factories import classes, quick, run
from tests.report.terminal import fake_terminals
from tests.report.terminal.fake_terminals import Terminal, shown

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
EVENTS = run(quick(epochs=12, validation=20), classes(120))


@pytest.fixture(autouse=True)
def terminal_environment(monkeypatch):
    monkeypatch.setattr("lagvis.report.terminal.live.FRAME_SECONDS", 0.005)
    return fake_terminals.terminal_environment(monkeypatch)


def live(events=EVENTS, encoding="utf-8") -> str:
    stream = Terminal(encoding)
    shown(make_view(stream, quiet=False), events)
    return stream.text()


def screen(written, columns=80):
    """Return the lines that a terminal displays, for the control codes used by a panel; long lines are wrapped."""
    lines, row, column = [""], 0, 0
    for code, character in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|(.|\n)", written, re.DOTALL):
        if code.endswith("A"):
            row = max(row - int(code[2:-1]), 0)
        elif code == "\x1b[0K":
            lines[row] = lines[row][:column]
        elif character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
        elif character:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
        else:
            assert code.endswith(("m", "l", "h")), code
        lines += [""] * (row + 1 - len(lines))
    return lines


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_live_panel_leaves_its_last_frame_alone(terminal_environment, width, encoding):
    terminal_environment.setenv("COLUMNS", str(width))
    lines = screen(live(encoding=encoding), width)
    first = textwrap.wrap(start_line(EVENTS[0]), width, break_on_hyphens=False)
    start = len(first)
    assert [line.rstrip() for line in lines[:start]] == first
    assert lines[start].startswith("epoch 12/12")
    assert sum("epoch 12/12" in line for line in lines) == sum("100%" in line for line in lines) == 1
    assert lines[-1] == ""
    assert all(lines[-2:-1])
    assert max(map(len, lines[start:])) < width


def frames(*sizes):
    """Return the output of one frame of the whole run at each size."""
    console = Console(file=io.StringIO(), force_terminal=True)
    view = LivePanel(Terminal())
    for event in EVENTS:
        view._panel.update(event)
    written = []
    for size in sizes:
        console.size = size
        before = len(console.file.getvalue())
        view._draw(console)
        written.append(console.file.getvalue()[before:])
    return written


def test_live_panel_shorter_frame_erases_the_longer_one():
    tall, low = frames((80, 24), (80, 6))
    lines = screen(tall + low)
    assert len(lines) == len(screen(tall)) > 10
    assert lines[:4] == screen(low)[:4]
    assert all(lines[:4])
    assert not any(lines[4:])
    # further output goes below the frame
    assert screen(tall + low + "next")[4] == "next"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
@pytest.mark.parametrize("typed", ["^C", "^C^C^C", "what are you doing?"])
def test_live_panel_typed_text_leaves_no_trace(width, typed):
    first, second = frames((width, 24), (width, 24))
    assert screen(first + typed + second, width) == screen(first, width)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 6)])
def test_live_panel_note_stands_above_the_panel(size):
    console = Console(file=io.StringIO(), force_terminal=True)
    view = LivePanel(Terminal())
    for event in EVENTS:
        view._panel.update(event)
    console.size = size
    view._draw(console)
    panel = screen(console.file.getvalue(), size[0])
    view.note("a tracker does not take this run any more (\x1b[2J no answer)")
    for _ in range(2):
        view._draw(console)
    lines = screen(console.file.getvalue(), size[0])
    noted = lines[: len(lines) - len(panel)]
    assert " ".join(line.strip() for line in noted) == "a tracker does not take this run any more (\\x1b[2J no answer)"
    assert lines[len(noted) :] == panel


def test_live_panel_narrowed_terminal_is_redrawn():
    wide, narrow = frames((80, 24), (40, 24))
    wrapped = "\n".join(line[first : first + 40] for line in screen(wide) for first in range(0, max(len(line), 1), 40))
    assert wrapped.count("\n") > len(screen(wide))
    lines = screen(wrapped + narrow, 40)
    assert lines[0].startswith("epoch 12/12")
    assert sum("100%" in line for line in lines) == 1


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_live_panel_no_color_is_monochrome(terminal_environment):
    assert COLOUR.search(live())
    terminal_environment.setenv("NO_COLOR", "1")
    written = live()
    assert not COLOUR.search(written)
    assert re.search(r"\x1b\[\d+A", written)
    assert "100%" in written


@pytest.mark.parametrize("variable", [{"FORCE_COLOR": ""}, {"TTY_COMPATIBLE": "0"}], ids=str)
def test_live_panel_colour_variables_keep_it_in_place(terminal_environment, variable):
    for name, value in variable.items():
        terminal_environment.setenv(name, value)
    assert live().startswith("\x1b[?25l")


def test_live_panel_end_shows_the_cursor():
    written = live()
    assert written.startswith("\x1b[?25l")
    assert written.endswith("\x1b[?25h")
    assert written.count("\x1b[?25") == 2


def test_live_panel_error_in_the_run_shows_the_cursor_and_is_raised():
    stream = Terminal()
    view = make_view(stream, quiet=False)
    with pytest.raises(ZeroDivisionError):
        shown(view, (event if number < 3 else 1 // 0 for number, event in enumerate(EVENTS)))
    assert stream.text().endswith("\x1b[?25h")


def test_live_panel_fault_in_drawing_ends_only_the_drawing(terminal_environment, capsys):
    drawn = []

    def broken(panel, *size, **options):
        drawn.append(size)
        return [[("a frame", "")]] if len(drawn) == 1 else 1 // 0

    terminal_environment.setattr("lagvis.report.terminal.live.Panel.lines", broken)
    stream = Terminal()
    with make_view(stream, quiet=False) as view:
        for event in EVENTS:
            view.show(event)
        wait_until(lambda: not view._thread.is_alive())
    assert len(drawn) == 2
    assert stream.text().endswith(
        "a frame\x1b[0K\n\x1b[0K\x1b[?25h"
    )  # further output goes below, and the cursor is visible
    assert "Traceback" not in stream.text() + "".join(capsys.readouterr())


def test_live_panel_without_events_writes_nothing():
    assert live([]) == ""


def test_live_panel_run_without_epochs_shows_the_start_line():
    lines = screen(live(run(quick(epochs=0), classes(120))))
    assert "0 epochs of 6 steps" in "".join(lines)
    assert lines[-1] == ""
    assert len(lines) == 2 + 1


def test_live_panel_leaves_no_thread():
    before = threading.active_count()
    live()
    assert threading.active_count() == before


def test_live_panel_draws_frames_without_events():
    stream = Terminal()
    with LivePanel(stream) as view:
        view.show(EVENTS[0])
        wait_until(lambda: stream.text().count("epoch  0/12") > 3)


# --- pseudo-terminals


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    with contextlib.suppress(OSError), open(theirs, "w", encoding="utf-8") as stream:
        yield ours, stream


def test_live_panel_keeps_the_stream_open(terminal):
    ours, stream = terminal
    shown(make_view(stream, quiet=False), EVENTS[:1])
    print("after", file=stream, flush=True)
    seen = b""
    while b"after" not in seen:
        seen += os.read(ours, 65536)
    assert b"epoch  0/12" in seen
    os.close(ours)


def test_live_panel_closed_terminal_ends_nothing(terminal):
    ours, stream = terminal
    view = make_view(stream, quiet=False)
    with view:
        view.show(EVENTS[0])
        wait_until(lambda: b"\x1b[" in os.read(ours, 100))
        os.close(ours)
        for event in EVENTS[1:]:
            view.show(event)
            time.sleep(0.005)
    assert not view._thread.is_alive()


def test_live_panel_blocked_terminal_slows_nothing(terminal, terminal_environment):
    terminal_environment.setattr("lagvis.report.terminal.live.MAX_LAST_FRAME_SECONDS", 0.2)
    ours, stream = terminal
    view = make_view(stream, quiet=False)
    begun = time.monotonic()
    with view:
        view.show(EVENTS[0])
        time.sleep(0.3)  # enough frames to fill the system's output buffer
        for _ in range(100):
            for event in EVENTS[1:-1]:
                view.show(event)
    took = time.monotonic() - begun
    assert view._thread.is_alive()
    assert took < 3.0
    os.close(ours)
    view._thread.join(10)
    assert not view._thread.is_alive()


def test_live_panel_background_job_draws_nothing(terminal_environment):
    terminal_environment.setattr("lagvis.report.terminal.live.in_foreground", lambda stream: False)
    lines = screen(live())
    assert "".join(lines) == start_line(EVENTS[0])


def test_in_foreground_without_a_controlling_terminal_is_true(terminal_environment, terminal):
    ours, stream = terminal
    assert in_foreground(Terminal())
    assert in_foreground(stream)
    terminal_environment.setattr(os, "tcgetpgrp", lambda number: os.getpgrp() + 1)
    assert not in_foreground(stream)
    os.close(ours)
