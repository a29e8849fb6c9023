import pytest

from lagvis.report.terminal.live import LivePanel
from lagvis.report.terminal.progress import PlainLines, SilentView, make_view
from tests.factories import classes, numbers, quick, run
from tests.report.terminal import fake_terminals
from tests.report.terminal.fake_terminals import Terminal, shown


@pytest.fixture(autouse=True)
def terminal_environment(monkeypatch):
    return fake_terminals.terminal_environment(monkeypatch)


EVENTS = run(quick(epochs=12, validation=20), classes(120))


def lines_of(events=EVENTS):
    lines = []
    shown(PlainLines(lines.append), events)
    return lines


# --- plain lines


def test_plain_lines_one_at_the_start_and_one_per_epoch():
    lines = lines_of()
    assert len(lines) == 1 + 12
    # 36-8-4: 37 * 8 + 9 * 4
    assert lines[0] == ("36-8-4, 332 parameters: 100 rows to train on, 20 for validation, 12 epochs of 5 steps")
    assert lines[1].startswith("epoch  1/12   train loss ")
    assert lines[12].startswith("epoch 12/12   train loss ")


def test_plain_lines_note_is_a_line_without_control_characters():
    lines = []
    PlainLines(lines.append).note("no answer\n\x1b[2J")
    assert lines == ["no answer\\n\\x1b[2J"]


def test_plain_lines_have_the_metrics_of_the_epoch():
    ended = [event for event in EVENTS if type(event).__name__ == "EpochEnded"]
    for line, event in zip(lines_of()[1:], ended, strict=True):
        train, validation = event.train, event.validation
        assert f"train loss {train.loss:.4f}, {100 * train.accuracy:.2f}%" in line
        assert f"validation loss {validation.loss:.4f}, {100 * validation.accuracy:.2f}%" in line
        assert line.endswith(" s")


def test_plain_lines_regression_has_no_accuracy_or_validation():
    line = lines_of(run(quick(epochs=1, loss="mse"), numbers(120)))[1]
    assert "validation" not in line
    assert "%" not in line
    assert line.startswith("epoch 1/1   train loss ")


def test_plain_lines_are_ascii_without_control_codes():
    stream = Terminal("ascii", watched=False)
    shown(make_view(stream, quiet=False), EVENTS)
    assert stream.text() == "".join(line + "\n" for line in lines_of())
    assert all(" " <= character <= "~" or character == "\n" for character in stream.text())


def test_plain_lines_are_flushed_at_once():
    stream = Terminal(watched=False)
    with make_view(stream, quiet=False) as view:
        view.show(EVENTS[0])
        assert stream.buffer.getvalue().endswith(b"steps\n")


# --- choice of the view


def test_make_view_terminal_is_a_panel():
    assert type(make_view(Terminal(), quiet=False)) is LivePanel


@pytest.mark.parametrize(
    ("watched", "variables"),
    [
        (False, {}),
        (True, {"TERM": "dumb"}),
        (True, {"TERM": ""}),
        (True, {"TERM": "unknown"}),
        (True, {"TERM": "", "FORCE_COLOR": "1"}),
        (True, {"TERM": "xterm-color", "JPY_PARENT_PID": "7", "FORCE_COLOR": "1", "CLICOLOR": "1"}),
        (True, {"TERM": "xterm-color", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}),
        (True, {"CI": "true"}),
        (True, {"CI": "1", "FORCE_COLOR": "1"}),
        (False, {"FORCE_COLOR": "1"}),
        (False, {"TTY_COMPATIBLE": "1"}),
    ],
    ids=str,
)
def test_make_view_no_terminal_ci_or_notebook_is_plain_lines(terminal_environment, watched, variables):
    for name, value in variables.items():
        terminal_environment.setenv(name, value)
    stream = Terminal(watched=watched)
    view = make_view(stream, quiet=False)
    assert type(view) is PlainLines
    shown(view, EVENTS)
    assert "\x1b" not in stream.text()


def test_make_view_terminal_without_term_is_plain_lines(terminal_environment):
    terminal_environment.delenv("TERM")
    assert type(make_view(Terminal(), quiet=False)) is PlainLines
    terminal_environment.setattr("lagvis.report.terminal.progress.os.name", "nt")
    assert type(make_view(Terminal(), quiet=False)) is LivePanel


def test_make_view_empty_ci_variable_is_a_panel(terminal_environment):
    terminal_environment.setenv("CI", "")
    assert type(make_view(Terminal(), quiet=False)) is LivePanel


@pytest.mark.parametrize("watched", [True, False])
def test_make_view_quiet_shows_nothing(watched):
    stream = Terminal(watched=watched)
    view = make_view(stream, quiet=True)
    assert type(view) is SilentView
    shown(view, EVENTS)
    assert stream.text() == ""
