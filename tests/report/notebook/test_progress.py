"""The progress of a training below the cell of a notebook, with a display that keeps what it is given."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

import lagvis as lv
from lagvis.report.notebook import progress
from lagvis.report.notebook.progress import NotebookProgress, notebook_display
from tests.factories import classes, numbers, quick, run

EVENTS = run(quick(epochs=12, validation=20), classes(120))
REGRESSION = run(quick(epochs=3, loss="mse"), numbers(120))
SMALL = {"hidden": 4, "epochs": 2, "device": "cpu", "verbose": True}
HOSTILE = "<script>alert(1)</script>"


class FakeDisplay:
    """Stands for IPython's `display`: keeps the content of the first call and of each update."""

    def __init__(self):
        self.shown = []

    def __call__(self, content, *, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(content)
        return SimpleNamespace(update=self.update)

    def update(self, content, *, raw):
        assert raw
        self.shown.append(content)


def shown(events, device="cpu"):
    """Return the content of each frame, with a frame for each event."""
    display = FakeDisplay()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "FRAME_SECONDS", 0.0)
        with NotebookProgress(display, device) as view:
            for event in events:
                view.show(event)
    return display.shown


class Tags(HTMLParser):
    """The names of the elements of a text, which must be closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.names = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.names.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("events", [EVENTS[:1], EVENTS[:2], EVENTS[:5], EVENTS, REGRESSION[:2], REGRESSION])
def test_progress_html_of_every_state_is_well_formed(events):
    for content in shown(events):
        assert {"svg", "progress"} <= set(Tags(content["text/html"]).names)


def test_progress_last_frame_has_result_and_no_time_left():
    last = shown(EVENTS)[-1]
    assert "epoch 12/12" in last["text/html"]
    assert re.search(r"100%&ensp;in \d+\.\d s", last["text/html"])
    assert " left" not in last["text/html"]
    first, line = last["text/plain"].splitlines()
    assert first.startswith("36-8-4, ")
    assert line.startswith("epoch 12/12   train loss ")


def test_progress_of_a_training_that_ends_early_says_stopped():
    assert "stopped</span>" in shown(EVENTS[:5])[-1]["text/html"]


def test_progress_of_numbers_has_one_chart_and_the_error_of_each_target():
    last = shown(REGRESSION)[-1]["text/html"]
    assert last.count("<svg") == 1
    assert "off by" in last


def test_progress_note_is_shown_above_the_numbers():
    display = FakeDisplay()
    with NotebookProgress(display) as view:
        view.note("a note & more")
        view.show(EVENTS[0])
    assert display.shown[0]["text/html"].index("a note &amp; more") < display.shown[0]["text/html"].index("36-8-4")
    assert display.shown[0]["text/plain"].startswith("a note & more\n36-8-4")


def test_progress_names_are_escaped():
    model = replace(REGRESSION[0].model, target_names=(HOSTILE, "x"), unit=HOSTILE)
    events = [replace(REGRESSION[0], model=model), *REGRESSION[1:]]
    for content in shown(events, device=HOSTILE):
        assert "<script" not in content["text/html"]


def test_progress_frames_are_at_most_four_a_second(monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 0.01))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    display = FakeDisplay()
    with NotebookProgress(display) as view:
        for event in EVENTS:
            view.show(event)
    seconds = 1000.0 - 0.01 * sum(1 for _ in clock)
    assert 1 < len(display.shown) <= 2 + seconds / 0.25


class BrokenDisplay(FakeDisplay):
    """Fails at an update, as a kernel does whose front end has gone."""

    def __call__(self, content, *, raw, display_id):
        return super().__call__(content, raw=raw, display_id=display_id)

    def update(self, content, *, raw):
        super().update(content, raw=raw)
        raise RuntimeError("the connection is closed")


@pytest.fixture
def kernel(monkeypatch):
    """Stand for IPython in the kernel of a notebook; return its display."""
    display = FakeDisplay()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return SimpleNamespace(display=display, shell=shell)


def train(**options):
    x = np.random.default_rng(0).normal(size=(60, 3))
    return lv.train(lv.Dataset.from_arrays(x, (x[:, 0] > 0).astype(int)), **SMALL | options)


def test_train_verbose_in_a_kernel_shows_progress_and_writes_no_stream(kernel, capsys):
    train()
    assert capsys.readouterr() == ("", "")
    assert "epoch 2/2" in kernel.display.shown[-1]["text/html"]


def test_train_quiet_in_a_kernel_shows_nothing(kernel, capsys):
    train(verbose=False)
    assert kernel.display.shown == []
    assert capsys.readouterr() == ("", "")


def test_train_whose_display_fails_goes_on(kernel, monkeypatch):
    broken = BrokenDisplay()
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=broken))
    assert train().reason == "completed"
    assert len(broken.shown) == 2


@pytest.mark.parametrize("module", [None, SimpleNamespace(), SimpleNamespace(get_ipython=lambda: None)])
def test_notebook_display_without_a_shell_is_none(monkeypatch, module):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if module:
        monkeypatch.setitem(sys.modules, "IPython", module)
    assert notebook_display() is None


def test_notebook_display_in_ipython_of_a_terminal_is_none(kernel):
    del kernel.shell.kernel
    assert notebook_display() is None
