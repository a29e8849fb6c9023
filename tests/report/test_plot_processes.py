import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lagvis.cli import train
from lagvis.cli.errors import run_cli
from lagvis.errors import DrawingError
from lagvis.report import plot_processes
from lagvis.report.plot_processes import PlotProcesses, TimeLeft
from lagvis.report.plots import figure, image_plots, metric_plots
from lagvis.report.plots.figure import Plot
from lagvis.training.evaluation import StopRequestedError
from lagvis.training.events import EpochEnded, Progress, Started
from lagvis.training.threads import ThreadLimit
from tests.cli.commands import ROOT, environment, running_process, write_dataset

HISTORY = [{"epoch": n, "samples": n, "train_loss": 1.0 / n, "train_accuracy": 0.5} for n in (1.0, 2.0, 3.0)]
PLOTS = [
    Plot(metric_plots.plot_curves, (HISTORY,)),
    Plot(image_plots.plot_confusion_matrix, (np.eye(3, dtype=int), ("a", "b", "c"))),
    Plot(metric_plots.plot_unit_activity, ((np.array([0.0, 0.5]),),)),
]
MARK = b"\x89PNG\r\n\x1a\nfrom a process"
# Programs of a process that goes wrong; `SERVE` does as it should, and answers every plot by MARK.
FRAMES = (
    "import sys, time; sys.path[:] = sys.argv[1:]\n"
    "from lagvis.report.plot_worker import READY, read_message, write_message\n"
    "out, inp = sys.stdout.buffer, sys.stdin.buffer\n"
)
SERVE = f"{FRAMES}write_message(out, READY)\nwhile True: read_message(inp); write_message(out, {MARK!r})"
FAULTS = {
    "ends at once": "raise SystemExit(1)",
    "writes rubbish": "print('rubbish' * 1000)",
    "writes on stderr and dies": "import sys, os; print('message', file=sys.stderr, flush=True); os.abort()",
    "never ready": "import time; time.sleep(60)",
    "ready and dies": f"{FRAMES}write_message(out, READY)",
    "hangs in a plot": f"{FRAMES}write_message(out, READY); read_message(inp); time.sleep(60)",
    "dies in a plot": f"{FRAMES}write_message(out, READY); read_message(inp); raise SystemExit(1)",
    "dies amid an answer": f"{FRAMES}write_message(out, READY); read_message(inp); out.write({MARK!r})",
    "answers a text": f"{FRAMES}write_message(out, READY)\nwhile True: read_message(inp); write_message(out, b'text')",
    "cannot draw": f"{FRAMES}write_message(out, READY)\nwhile True: read_message(inp); write_message(out, b'')",
}


@pytest.fixture(autouse=True)
def _plenty_of_memory(monkeypatch):
    monkeypatch.setattr(plot_processes, "free_memory", lambda: None)


@pytest.fixture
def drawn_here(monkeypatch):
    """Draw plots in this process as their function's name; return the list of those that were drawn here."""
    names = []
    monkeypatch.setattr(Plot, "draw", lambda plot: names.append(plot.function.__name__) or names[-1].encode())
    return names


def wait_for_two(processes):
    """Wait until the first process is ready, and the second is started therefore."""
    deadline = time.monotonic() + 30
    while len(processes._processes) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_plot_processes_draw_the_bytes_that_this_process_draws(monkeypatch, tmp_path, capfd):
    (tmp_path / "matplotlib.py").write_text("raise SystemExit('the wrong matplotlib')")  # -c would prefer it
    monkeypatch.chdir(tmp_path)
    expected = [plot.draw() for plot in PLOTS]
    with PlotProcesses(2) as processes:
        processes.start()
        wait_for_two(processes)
        process = processes._processes[0]
        process.send_signal(signal.SIGINT)  # of a Ctrl-C, which the run answers
        with monkeypatch.context() as patch:
            patch.setattr(Plot, "draw", lambda plot: pytest.fail("drawn in this process"))
            assert processes.draw(PLOTS) == expected
    assert process.poll() is not None
    assert capfd.readouterr() == ("", "")


def test_plot_processes_two_processes_share_the_plots(monkeypatch, drawn_here):
    monkeypatch.setattr(plot_processes, "PROGRAM", SERVE)
    with PlotProcesses(5) as processes:
        processes.start()
        processes.start()
        wait_for_two(processes)
        started = list(processes._processes)
        assert processes.draw(PLOTS) == [MARK] * 3
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    assert drawn_here == []


@pytest.mark.parametrize("fault", FAULTS)
def test_plot_processes_that_fail_leave_the_plots_to_this_process(monkeypatch, drawn_here, capfd, fault):
    monkeypatch.setattr(plot_processes, "PROGRAM", FAULTS[fault])
    monkeypatch.setattr(plot_processes, "MAX_SILENT_SECONDS", 0.5)
    names = [plot.function.__name__ for plot in PLOTS]
    with PlotProcesses(1) as processes:
        processes.start()
        (process,) = processes._processes
        assert processes.draw(PLOTS) == [name.encode() for name in names]
    assert drawn_here == names
    assert process.poll() is not None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("program", ["/nowhere/python", None])
def test_plot_processes_that_cannot_start_leave_the_plots_to_this_process(monkeypatch, drawn_here, program):
    monkeypatch.setattr(sys, "executable", program)
    with PlotProcesses(2) as processes:
        processes.start()
        assert processes._processes == []
        processes.draw(PLOTS)
    assert len(drawn_here) == 3


def test_plot_processes_without_memory_do_not_start(monkeypatch, drawn_here):
    monkeypatch.setattr(plot_processes, "free_memory", lambda: (10**8, "free on this machine"))
    with PlotProcesses(2) as processes:
        processes.start()
        assert processes._processes == []
        processes.draw(PLOTS)
    assert len(drawn_here) == 3


def test_plot_processes_error_of_a_plot_is_raised_here():
    with PlotProcesses(0) as processes, pytest.raises(ZeroDivisionError):
        processes.draw([Plot(divmod, (1, 0))])


def test_plot_processes_stop_ends_the_wait_and_the_process(monkeypatch, drawn_here):
    monkeypatch.setattr(plot_processes, "PROGRAM", FAULTS["hangs in a plot"])
    begun = time.monotonic()
    with PlotProcesses(1) as processes:
        processes.start()
        (process,) = processes._processes
        with pytest.raises(StopRequestedError):
            processes.draw(PLOTS, lambda: time.monotonic() > begun + 0.3)
    assert process.poll() is not None
    assert drawn_here == []


def test_plot_processes_matplotlib_missing_raises_drawing_error(monkeypatch):
    monkeypatch.setattr(plot_processes, "PROGRAM", FAULTS["cannot draw"])
    monkeypatch.setattr(figure, "import_matplotlib", lambda: (_ for _ in ()).throw(DrawingError("none")))
    with PlotProcesses(1) as processes:
        processes.start()
        with pytest.raises(DrawingError, match="none"):
            processes.draw(PLOTS)


def test_plot_process_without_matplotlib_ends_without_a_core_dump(monkeypatch, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    process = plot_processes.start_process()
    try:
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.communicate()


def is_running(number):
    """Return whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(number, 0)
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks Linux for the state of a process")
@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "in a plot"])
def test_plot_process_ends_when_its_parent_is_killed(busy):
    code = (
        "import time; from lagvis.report import plot_processes as p; from lagvis.report.plots.figure import Plot\n"
        "p.free_memory = lambda: None\n"
        "with p.PlotProcesses(1) as processes:\n"
        "    processes.start(); print(processes._processes[0].pid, flush=True)\n"
        f"    if {busy}: processes.draw([Plot(time.sleep, (60,))])\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    options = {"cwd": ROOT, "env": environment(PYTHONPATH=str(ROOT)), "stdout": subprocess.PIPE}
    with running_process(command, **options) as parent:
        number = int(parent.stdout.readline())
        time.sleep(1.5 if busy else 0.2)
        assert is_running(number)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(number)


def progress(step):
    return Progress(1, step, 0, 0.1, None, 0.0, None)


def epoch_ended(epoch, best_epoch):
    return EpochEnded(epoch, 0, 0, 0.1, None, None, 0.0, SimpleNamespace(best_epoch=best_epoch))


@pytest.mark.parametrize(("patience", "best_epoch", "epochs_left"), [(0, 1, 98), (5, 1, 4), (5, 2, 5), (200, 2, 98)])
def test_time_left_counts_to_the_earliest_end(monkeypatch, patience, best_epoch, epochs_left):
    now = [50.0]
    monkeypatch.setattr(plot_processes.time, "perf_counter", lambda: now[0])
    plan = SimpleNamespace(epochs=100, steps_per_epoch=10, patience=patience)
    left = TimeLeft(plan, None)
    now[0] = 100.0
    assert left.least_seconds(Started(None, plan)) == math.inf
    now[0] = 104.0
    left.least_seconds(progress(20))
    assert left.least_seconds(epoch_ended(2, best_epoch)) == pytest.approx(0.2 * 10 * epochs_left)


def test_time_left_of_a_resumed_run_counts_its_own_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(plot_processes.time, "perf_counter", lambda: now[0])
    plan = SimpleNamespace(epochs=10, steps_per_epoch=10, patience=0)
    left = TimeLeft(plan, SimpleNamespace(step=90, best_epoch=1))
    left.least_seconds(Started(None, plan))
    now[0] = 101.0
    assert left.least_seconds(progress(95)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cores", "threads", "no_plots", "stop_after", "count"),
    [(2, 1, False, None, 2), (1, 1, False, None, 0), (2, 2, False, None, 0), (2, 1, True, None, 0),
     (2, 1, False, 99, 0), (2, 1, False, 100, 2)],
)  # fmt: skip
def test_count_plot_processes_needs_plots_and_an_idle_core(monkeypatch, cores, threads, no_plots, stop_after, count):
    monkeypatch.setattr(train, "thread_limit", lambda: ThreadLimit(cores, ""))
    plan = SimpleNamespace(epochs=10, steps_per_epoch=10, threads=threads)
    flags = SimpleNamespace(no_plots=no_plots, stop_after=stop_after)
    assert train.count_plot_processes(flags, SimpleNamespace(plan=plan)) == count


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Return the arguments of a run on a machine with an idle core."""
    monkeypatch.setattr(train, "thread_limit", lambda: ThreadLimit(2, ""))
    data = write_dataset(tmp_path / "data.npz")
    return ["--device", "cpu", "--data", str(data), "--hidden", "4", "-e", "2", "-o", str(tmp_path), "--quiet"]


def files_of(folder):
    return {path.name: path.read_bytes() for path in (*folder.glob("plots/*"), folder / "report.md")}


def test_train_with_plot_processes_writes_the_files_of_a_run_without(arguments, tmp_path, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(Plot, "draw", lambda plot: pytest.fail("drawn in this process"))
        assert run_cli(train.main, [*arguments, "--name", "with"]) == 0
    monkeypatch.setattr(plot_processes, "MAX_PROCESSES", 0)
    assert run_cli(train.main, [*arguments, "--name", "without"]) == 0
    found, expected = files_of(tmp_path / "with"), files_of(tmp_path / "without")
    assert len(found) >= 6
    assert {name: found[name] for name in found if name.endswith(".png")} == {
        name: expected[name] for name in expected if name.endswith(".png")
    }
    assert capfd.readouterr().err == ""


def test_train_with_dying_plot_processes_is_complete_and_silent(arguments, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(plot_processes, "PROGRAM", FAULTS["dies in a plot"])
    assert run_cli(train.main, [*arguments, "--name", "run"]) == 0
    assert len(files_of(tmp_path / "run")) >= 6
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert capfd.readouterr().err == ""


def test_train_stopped_in_the_plot_processes_keeps_the_run(arguments, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(plot_processes, "PROGRAM", FAULTS["hangs in a plot"])
    collect = PlotProcesses._collect

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return collect(*arguments)

    monkeypatch.setattr(PlotProcesses, "_collect", signalled)
    assert run_cli(train.main, [*arguments, "--name", "run"]) == 143
    assert "Stopped while drawing." in capfd.readouterr().err
    assert not (tmp_path / "run" / "report.html").exists()
    monkeypatch.undo()
    assert run_cli(train.main, ["--resume", "run", "-o", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "run" / "report.html").exists()
