import io
import re

import pytest

from report.progress import LiveBar, PlainLines, Silence, make_view
from tests.toys import at_step, classes, numbers, quick, run

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
VARIABLES = (
    "CI", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "JUPYTER_COLUMNS", "DATABRICKS_RUNTIME_VERSION",
)  # fmt: skip


class Terminal(io.TextIOWrapper):
    """A stream in memory that says whether someone is watching."""

    def __init__(self, encoding: str = "utf-8", *, watched: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """A colour terminal of 80 columns, whatever the tests are run in."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return monkeypatch


EVENTS = run(quick(epochs=12, validation=20), classes(120))


def shown(view, events=EVENTS):
    with view:
        for event in events:
            view.show(event)


def lines_of(events):
    lines = []
    shown(PlainLines(lines.append), events)
    return lines


# --- plain lines


def test_plain_lines_are_one_at_the_start_and_one_an_epoch():
    lines = lines_of(EVENTS)
    assert len(lines) == 1 + 12
    # 36-8-4: 37 * 8 + 9 * 4
    assert lines[0] == ("36-8-4, 332 parameters: 100 rows to train on, 20 for validation, 12 epochs of 5 steps")
    assert lines[1].startswith("epoch  1/12   train loss ")
    assert lines[12].startswith("epoch 12/12   train loss ")


def test_an_epoch_is_told_with_its_own_numbers():
    ended = [event for event in EVENTS if type(event).__name__ == "EpochEnded"]
    for line, event in zip(lines_of(EVENTS)[1:], ended, strict=True):
        train, validation = event.train, event.validation
        assert f"train loss {train.loss:.4f}, {100 * train.accuracy:.2f}%" in line
        assert f"validation loss {validation.loss:.4f}, {100 * validation.accuracy:.2f}%" in line
        assert line.endswith(" s")


def test_what_does_not_exist_is_not_told():
    line = lines_of(run(quick(epochs=1, loss="mse"), numbers(120)))[1]
    assert "validation" not in line
    assert "%" not in line
    assert line.startswith("epoch 1/1   train loss ")


def test_plain_lines_are_ascii_without_control_codes():
    stream = Terminal("ascii", watched=False)
    shown(make_view(stream, quiet=False))
    assert stream.text() == "".join(line + "\n" for line in lines_of(EVENTS))
    assert all(" " <= character <= "~" or character == "\n" for character in stream.text())


def test_each_plain_line_is_out_at_once():
    stream = Terminal(watched=False)
    with make_view(stream, quiet=False) as view:
        view.show(EVENTS[0])
        assert stream.buffer.getvalue().endswith(b"steps\n")


# --- the choice


def test_a_watched_terminal_gets_the_bar():
    assert type(make_view(Terminal(), quiet=False)) is LiveBar


@pytest.mark.parametrize(
    ("watched", "variables"),
    [
        (False, {}),
        (True, {"TERM": "dumb"}),
        (True, {"CI": "true"}),
        (True, {"CI": "1", "FORCE_COLOR": "1"}),
        (False, {"FORCE_COLOR": "1"}),
        (False, {"TTY_COMPATIBLE": "1"}),
    ],
    ids=str,
)
def test_everyone_else_gets_plain_lines(surroundings, watched, variables):
    for name, value in variables.items():
        surroundings.setenv(name, value)
    stream = Terminal(watched=watched)
    view = make_view(stream, quiet=False)
    assert type(view) is PlainLines
    shown(view)
    assert "\x1b" not in stream.text()


def test_an_empty_ci_is_none(surroundings):
    surroundings.setenv("CI", "")
    assert type(make_view(Terminal(), quiet=False)) is LiveBar


@pytest.mark.parametrize("watched", [True, False])
def test_quiet_is_quiet(watched):
    stream = Terminal(watched=watched)
    view = make_view(stream, quiet=True)
    assert type(view) is Silence
    shown(view)
    assert stream.text() == ""


# --- the bar


def live(events=EVENTS, encoding="utf-8") -> str:
    stream = Terminal(encoding)
    shown(make_view(stream, quiet=False), events)
    return stream.text()


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_bar_survives_every_width_and_encoding_and_loses_no_line(surroundings, width, encoding):
    surroundings.setenv("COLUMNS", str(width))
    written = CONTROL.sub("", live(encoding=encoding))
    for line in lines_of(EVENTS):
        assert line in written


def test_without_a_known_width_the_bar_survives(surroundings):
    surroundings.delenv("COLUMNS")
    assert lines_of(EVENTS)[1] in CONTROL.sub("", live())


@pytest.mark.parametrize("width", [20, 80, 200])
def test_no_frame_of_the_bar_is_wider_than_the_terminal(surroundings, width):
    surroundings.setenv("COLUMNS", str(width))
    known = lines_of(EVENTS)
    frames = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", live())) if line.rstrip() not in known]
    assert any("epoch" in frame for frame in frames)
    assert max(len(frame) for frame in frames) <= width


def test_the_bars_are_full_at_the_end():
    frames = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", live())) if "100%" in line]
    assert any(line.startswith("run ") for line in frames)
    assert any(line.startswith("epoch 12/12") for line in frames)


def test_the_bars_stand_where_the_run_and_its_epoch_are(surroundings):
    surroundings.setattr("training.plan.SPAN_SECONDS", 1e-9)
    events = run(quick(epochs=4, batch_size=24), classes(120))
    written = CONTROL.sub("", live(events[: events.index(next(filter(at_step(13), events))) + 1]))
    # step 13 of 20 is the third of the five of epoch 3
    frames = re.split(r"[\r\n]+", written)
    assert any(re.match(r"run .* 65% ", frame) for frame in frames)
    assert any(re.match(r"epoch 3/4 .* 60% ", frame) for frame in frames)


def test_no_color_means_a_monochrome_bar_and_not_none(surroundings):
    assert COLOUR.search(live())
    surroundings.setenv("NO_COLOR", "1")
    written = live()
    assert not COLOUR.search(written)
    assert CONTROL.search(written)
    assert "100%" in written


def test_a_bar_that_ends_gives_the_cursor_back():
    written = live()
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_an_error_in_the_run_gives_the_cursor_back_and_passes_through():
    stream = Terminal()
    view = make_view(stream, quiet=False)
    with pytest.raises(ZeroDivisionError):
        shown(view, (event if number < 3 else 1 // 0 for number, event in enumerate(EVENTS)))
    assert stream.text().count("\x1b[?25h") == 1


def test_what_looks_like_markup_is_shown_as_it_is():
    stream = Terminal()
    with LiveBar(stream) as view:
        view._write("[red]not red[/red] [1, 2]")
    assert "[red]not red[/red] [1, 2]" in stream.text()


def test_a_run_of_no_epochs_is_shown():
    written = live(run(quick(epochs=0), classes(120)))
    assert "0 epochs of 6 steps" in CONTROL.sub("", written)
