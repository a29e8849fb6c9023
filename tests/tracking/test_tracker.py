import contextlib
import sys
import threading
import time

import pytest

from lagvis.errors import UsageError
from lagvis.storage.filenames import RUN_FILES
from lagvis.tracking import mlflow, tensorboard
from lagvis.tracking import tracker as tracking
from lagvis.tracking.tracker import TrackedRun, Tracker, Trackers, open_tracker, parse_tracker_names, result_metrics

METHODS = ("begin", "log_epochs", "log_results", "log_file", "end")


class Recorder(Tracker):
    """Keeps the names of the calls; `fault` is called in the method of its name."""

    name = "recorder"

    def __init__(self, **faults):
        self.calls, self.faults, self.threads = [], faults, set()

    def _call(self, name, *arguments):
        self.threads.add(threading.current_thread())
        self.calls.append((name, *arguments))
        self.faults.get(name, lambda: None)()

    def begin(self, run):
        self._call("begin", run)

    def log_epochs(self, rows):
        self._call("log_epochs", *rows)

    def log_results(self, results, epoch):
        self._call("log_results", results, epoch)

    def log_file(self, path, name):
        self._call("log_file", name)

    def end(self, status):
        self._call("end", status)


def fail(error):
    def fault():
        raise error

    return fault


def send_run(tmp_path, *trackers, stopped=lambda: False):
    """Send two epochs, results and a file to trackers; return the sentences about them."""
    lines = []
    (tmp_path / "a.png").write_bytes(b"png")
    with Trackers(trackers, lines.append, stopped) as sent:
        sent.begin(TrackedRun(tmp_path, {}, {}))
        sent.log_epoch({"epoch": 1})
        sent.log_epoch({"epoch": 2})
        sent.log_results({"test_loss": 0.5}, 2, "completed")
        sent.log_files(tmp_path, ["a.png", "missing.png"])
    return lines


def test_trackers_two_of_them_get_every_event_in_order(tmp_path):
    one, two = Recorder(), Recorder()
    assert send_run(tmp_path, one, two) == []
    expected = [
        ("begin", TrackedRun(tmp_path, {}, {})), ("log_epochs", {"epoch": 1}), ("log_epochs", {"epoch": 2}),
        ("log_results", {"test_loss": 0.5}, 2), ("log_file", "a.png"), ("end", "completed"),
    ]  # fmt: skip
    for recorder in (one, two):  # of which one may get both epochs at once
        calls = [(call[0], row) for call in recorder.calls if call[0] == "log_epochs" for row in call[1:]]
        assert [recorder.calls[0], *calls, *recorder.calls[-3:]] == expected
    assert len(one.threads) == 1
    assert threading.main_thread() not in one.threads


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("method", METHODS)
def test_trackers_failing_method_is_one_sentence_and_the_other_tracker_goes_on(tmp_path, method, error):
    bad, good = Recorder(**{method: fail(error)}), Recorder()
    (line,) = send_run(tmp_path, bad, good)
    assert line.startswith(f"recorder is left out from now on ({type(error).__name__}")
    assert [call[0] for call in good.calls][-1] == "end"
    assert [call[0] for call in bad.calls][-1] == method


def test_trackers_hanging_tracker_is_given_up_and_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "MAX_JOB_SECONDS", 0.3)
    release = threading.Event()
    started = time.monotonic()
    lines = []
    hanging, good = Recorder(log_epochs=release.wait), Recorder()
    with Trackers([hanging, good], lines.append) as sent:
        sent.begin(TrackedRun(tmp_path, {}, {}))
        for epoch in range(1000):
            sent.log_epoch({"epoch": epoch})
        assert time.monotonic() < started + 5
    release.set()
    assert lines == [
        "recorder is left out from now on (no answer in 0.3 seconds or more); the run folder holds everything."
    ]
    rows = [row for name, *arguments in good.calls if name == "log_epochs" for row in arguments]
    assert [row["epoch"] for row in rows] == list(range(1000))


def test_trackers_slow_tracker_gets_several_epochs_at_once(tmp_path):
    slow = Recorder(log_epochs=lambda: time.sleep(0.05))
    with Trackers([slow], print) as sent:
        sent.begin(TrackedRun(tmp_path, {}, {}))
        for epoch in range(1000):
            sent.log_epoch({"epoch": epoch})
    calls = [arguments for name, *arguments in slow.calls if name == "log_epochs"]
    assert [row["epoch"] for rows in calls for row in rows] == list(range(1000))
    assert len(calls) < 50


def test_trackers_too_many_waiting_jobs_give_the_tracker_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "MAX_JOBS", 10)
    release, lines = threading.Event(), []
    with Trackers([Recorder(begin=release.wait)], lines.append) as sent:
        sent.begin(TrackedRun(tmp_path, {}, {}))
        for epoch in range(100):
            sent.log_epoch({"epoch": epoch})
    release.set()
    assert lines == ["recorder is left out from now on (10 epochs behind); the run folder holds everything."]


def test_trackers_after_a_signal_hanging_tracker_is_left_at_once(tmp_path):
    release = threading.Event()
    started = time.monotonic()
    (line,) = send_run(tmp_path, Recorder(begin=release.wait), stopped=lambda: True)
    release.set()
    assert "the wait was stopped" in line
    assert time.monotonic() - started < 3.5


def test_trackers_run_that_raises_ends_as_failed(tmp_path):
    recorder = Recorder()
    with contextlib.suppress(MemoryError), Trackers([recorder], print) as sent:
        sent.begin(TrackedRun(tmp_path, {}, {}))
        raise MemoryError
    assert recorder.calls[-1] == ("end", "failed")


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["csv"], ()), (["mlflow,tensorboard"], ("mlflow", "tensorboard")), (["mlflow", "csv", " mlflow"], ("mlflow",))],
)
def test_parse_tracker_names_valid_values_return_names_once(values, expected):
    assert parse_tracker_names(values) == expected


def test_parse_tracker_names_unknown_name_names_the_one_that_is_meant():
    with pytest.raises(UsageError, match=r"'tensorbord'; expected csv, .*; did you mean tensorboard\?"):
        parse_tracker_names(["csv,tensorbord"])


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_open_tracker_package_missing_raises_usage_error_with_pip_command(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for module in [module for module in sys.modules if module.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"--logger {name} needs a package .*; pip install {name}"):
        open_tracker(name)


def test_run_files_hold_what_trackers_write_into_a_run_folder():
    assert {tensorboard.FOLDER, mlflow.STORED} <= {*RUN_FILES}


def test_result_metrics_report_of_numbers_has_errors_by_number():
    report = {"test_loss": 0.5, "test_accuracy": None, "best_epoch": 3, "test_errors": {"near": 1.0, "far": None}}
    assert result_metrics(report) == {"test_loss": 0.5, "best_epoch": 3.0, "test_error_1": 1.0}
