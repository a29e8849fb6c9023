import re
import sys
from dataclasses import replace

import pytest

from lagvis.report.run_numbers import RunNumbers, host_memory
from lagvis.report.terminal.panel import Panel, drop_words
from lagvis.training.events import Progress, Started
from tests.factories import at_step, classes, epochs, last, numbers, quick, run

with pytest.MonkeyPatch.context() as patch:
    patch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)  # one call per step
    EVENTS = run(quick(epochs=12, validation=20), classes(120))
REGRESSION = run(quick(epochs=3, loss="mse"), numbers(120))


def panel_of(events=EVENTS, device="cpu"):
    panel = Panel(device)
    for event in events:
        panel.update(event)
    return panel


def text(lines):
    return ["".join(text for text, _ in line) for line in lines]


def picture(events=EVENTS, width=79, height=23, unicode=True):
    return text(panel_of(events).lines(width, height, unicode=unicode))


def value(name, events=EVENTS, width=37):
    """Return the value after this name; each name has its own line."""
    (line,) = (line for line in picture(events, width) if line.startswith(name))
    return line[14:].rstrip()


def until(step, events=EVENTS):
    return events[: events.index(next(filter(at_step(step), events))) + 1]


@pytest.mark.parametrize("events", [EVENTS[:1], EVENTS[:2], until(13), EVENTS, REGRESSION[:2], REGRESSION])
@pytest.mark.parametrize("unicode", [True, False])
def test_panel_lines_fit_every_width_and_height(events, unicode):
    panel = panel_of(events)
    for width in range(1, 201):
        for height in (1, 6, 23):
            lines = text(panel.lines(width, height, unicode=unicode))
            assert max(map(len, lines)) <= width
            assert 1 <= len(lines) <= height
            assert unicode or all(line.isascii() and line.isprintable() for line in lines)


def test_panel_shows_the_metrics_of_the_epochs():
    ended, best = epochs(EVENTS), last(EVENTS).checkpoint
    assert value("train") == f"loss {ended[-1].train.loss:.4f}, {100 * ended[-1].train.accuracy:.2f}%"
    validation = ended[-1].validation
    assert value("validation") == f"loss {validation.loss:.4f}, {100 * validation.accuracy:.2f}%"
    losses = [event.validation.loss for event in ended]
    assert value("best epoch") == f"{1 + losses.index(min(losses))}, loss {min(losses):.4f}"
    assert best.best_loss == min(losses)


def test_panel_during_an_epoch_shows_the_newest_metrics():
    progress = until(13)[-1]
    assert value("train", until(13)) == f"loss {progress.metrics.loss:.4f}, {100 * progress.metrics.accuracy:.2f}%"
    assert any(re.match(rf"learning rate +{progress.learning_rate:.4g} ", line) for line in picture(until(13)))


def test_panel_speed_and_time_left_are_of_the_newest_readings(monkeypatch):
    clock = iter([100.0, 101.0, 102.0])
    monkeypatch.setattr("lagvis.report.run_numbers.time.monotonic", lambda: next(clock))
    given = [event for event in EVENTS if isinstance(event, Progress)]
    # from the first to the third reading: 2 steps in 2 s of wall time, 1000 samples in 0.5 s of training
    calls = [
        replace(given[0], step=step, samples=samples, seconds=seconds)
        for step, samples, seconds in ((1, 10_000, 9.0), (2, 10_400, 9.2), (3, 11_000, 9.5))
    ]
    events = [EVENTS[0], *calls]
    assert value("speed", events, width=37) == "2,000 samples/s"
    clock = iter([100.0, 101.0, 102.0])
    # 12 epochs of 5 steps
    assert "57.0 s left" in picture(events)[0]


def test_panel_before_the_first_step_has_the_size_of_later_frames():
    assert len(picture(EVENTS[:1])) == len(picture(until(13))) == len(picture())
    assert value("train", EVENTS[:1]) == "-"
    assert picture(EVENTS[:1])[0].startswith("epoch  0/12 ")


@pytest.mark.parametrize("width", [79, 39, 19])
def test_panel_bar_shows_the_share_of_steps_done(width):
    def full(events):
        lines = "".join(picture(events, width, unicode=False)[:2])
        return lines.count("#") / (lines.count("#") + lines.count("-"))

    assert full(EVENTS) == 1.0
    # step 13 of 60 is the third of the five of epoch 3
    assert full(until(13)) == pytest.approx(13 / 60, abs=0.03)
    assert picture(until(13), width)[0].startswith("epoch  3/12 ")
    assert " 22%" in picture(until(13), width)[0]
    assert full(EVENTS[:1]) == 0.0


@pytest.mark.parametrize(
    ("reason", "words"), [("completed", "in"), ("interrupted", "stopped at"), ("diverged", "diverg")]
)
def test_panel_finished_run_shows_how_it_ended(reason, words):
    assert f"  {words}" in picture([*EVENTS[:-1], replace(last(EVENTS), reason=reason)])[0]


def test_panel_regression_shows_only_the_loss():
    lines = picture(REGRESSION, width=150)
    assert not re.search("accuracy|validation|best|%(?<!100%)|images/s", "\n".join(lines))
    assert sum("loss . train" in line for line in picture(REGRESSION, width=150, unicode=False)) == 1
    assert any("samples/s" in line for line in lines)


def test_panel_wide_terminal_has_two_charts():
    assert any(re.search("accuracy .* loss ", line) for line in picture(width=199))
    assert not any(re.search("accuracy .* loss ", line) for line in picture(width=79))


def test_panel_marks_every_epoch_and_the_best_once():
    rows = [line for line in picture() if "validation" not in line and "loss" not in line][4:]
    assert "".join(rows).count("*") == 1
    assert "".join(rows[:-1]).count("o") == 11


def test_panel_best_mark_stays_when_later_epochs_are_worse():
    def worse(event):
        return replace(event, checkpoint=sixth, validation=replace(event.validation, accuracy=0.0))

    sixth = epochs(EVENTS)[5].checkpoint
    lines = picture([worse(e) if e in epochs(EVENTS)[6:] else e for e in EVENTS])
    (row,) = (i for i, line in enumerate(lines) if "*" in line and "best" not in line)
    # the plot has 69 columns for 12 epochs; the later epochs are on its lowest row
    assert lines[row].index("*") == 10 + round(6 / 12 * 68)
    assert lines[-2].count("o") == 6
    assert row < len(lines) - 2


def test_panel_very_wide_terminal_uses_200_columns():
    assert max(map(len, picture(width=400))) == 200


def test_panel_low_terminal_drops_the_chart_first():
    assert len(picture(height=1)) == 1
    assert picture(height=1)[0].startswith("epoch 12/12")
    assert picture(height=3)[1].startswith("train")
    assert not any("⠒" in line for line in picture(height=9))
    assert any("⠒" in line for line in picture(height=11))
    assert len(picture(height=60)) < 20


def test_panel_resumed_run_starts_at_its_epoch():
    resumed = [EVENTS[0], *EVENTS[EVENTS.index(epochs(EVENTS)[5]) + 1 :]]
    assert picture(resumed)[-1].split() == ["6", "12", "epochs"]
    assert picture(resumed[:2])[0].startswith("epoch  7/12")
    # the best epoch is that of the whole run, although its point precedes the resume
    early = [
        replace(e, checkpoint=replace(e.checkpoint, best_epoch=2, best_loss=0.125)) if e in epochs(EVENTS) else e
        for e in resumed[1:]
    ]
    assert value("best epoch", [EVENTS[0], *early]) == "2, loss 0.1250"


def test_panel_long_run_zooms_into_the_first_epochs():
    started = replace(EVENTS[0], plan=replace(EVENTS[0].plan, epochs=100_000))
    lines = picture([started, *until(13)[1:]])
    assert lines[0].startswith("epoch      3/100000 ")
    axis = lines[-1].split()
    assert 2.6 <= float(axis[1]) <= 5.2


def test_panel_run_without_epochs_is_empty():
    assert picture(run(quick(epochs=0), classes(120))) == []


def test_panel_control_characters_are_escaped():
    lines = text(panel_of(device="\x1b[2Jcpu\n").lines(79, 23, unicode=True))
    assert all(line.isprintable() for line in lines)


def test_panel_loss_nan_is_shown_and_not_drawn():
    broken = replace(until(13)[-1], metrics=replace(until(13)[-1].metrics, loss=float("nan")))
    assert value("train", [*until(13), broken]).startswith("loss nan")


def test_panel_memory_is_read_from_proc(monkeypatch):
    assert 10 < host_memory() < 100_000
    monkeypatch.setattr(
        "lagvis.report.run_numbers.Path.read_text", lambda self, **options: "Name: x\nVmRSS:\t  2048 kB\n"
    )
    assert host_memory() == 2.0
    assert any("2 MB" in line for line in picture())
    monkeypatch.setattr("lagvis.report.run_numbers.Path.read_text", lambda self, **options: "")
    assert host_memory() is None
    assert not any("memory" in line for line in picture())


def test_panel_without_events_is_empty():
    assert isinstance(EVENTS[0], Started)
    assert Panel().lines(80, 24, unicode=True) == []


def test_panel_lines_during_an_update_never_fail(monkeypatch):
    monkeypatch.setattr("lagvis.report.run_numbers.MIN_READING_SECONDS", 0.0)
    panel, drawn = Panel("cpu"), []

    def trace(frame, what, value):
        if what == "line":
            drawn.append(panel.lines(79, 23, unicode=True))
        return trace

    before = sys.gettrace()
    sys.settrace(lambda frame, what, value: trace if frame.f_code is RunNumbers.update.__code__ else None)
    try:
        for event in EVENTS[:20]:
            panel.update(event)
    finally:
        sys.settrace(before)
    assert len(drawn) > 100


@pytest.mark.parametrize(
    ("width", "expected"),
    [(24, "196,074 samples/s"), (14, "196,074"), (7, "196,074"), (6, ""), (0, ""), (-3, "")],
)
def test_drop_words_number_is_whole_or_absent(width, expected):
    assert drop_words("196,074 samples/s", width) == expected


def test_drop_words_loss_without_its_number_is_dropped():
    assert [drop_words("12, loss 0.1896", width) for width in (15, 14, 8, 2)] == ["12, loss 0.1896", "12", "12", "12"]
    assert [drop_words("0.1858, 97.28%", width) for width in (14, 13, 6, 5)] == [
        "0.1858, 97.28%",
        "0.1858",
        "0.1858",
        "",
    ]
