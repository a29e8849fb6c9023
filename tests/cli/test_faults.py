"""Inject a fault into every operation of a run: no result is lost, the exit code is right, and the run resumes.

tests/cli/fault_injection.py finds the operations by running once, so new writes and phases are covered as well.
"""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from lagvis.cli.errors import run_cli
from lagvis.cli.train import main
from lagvis.storage.checkpoint_file import read_checkpoint
from tests.cli import fault_injection
from tests.cli.commands import ROOT, environment, write_dataset

pytestmark = pytest.mark.slow  # each test repeats a command for every operation of a run

FLAGS = ("--device", "cpu", "--hidden", "4", "-e", "2", "-b", "100", "--validation", "40", "--momentum", "0.9",
         "--checkpoint-every", "1", "--quiet", "--no-plots")  # fmt: skip


SMALL = 20  # dots per inch


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Return the arguments of a run of two epochs, each with several calls and a checkpoint at its end."""
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    return ["--data", str(write_dataset(tmp_path / "data.npz")), *FLAGS, "--name", "run"]


def final_files(folder):
    """Return the parts of a finished run that must be equal: metrics without the last column, and both checkpoints."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    assert not list(folder.glob("*.writing")), "a partial file remains"
    return rows, (folder / "last.safetensors").read_bytes(), (folder / "best.safetensors").read_bytes()


def finish_run(arguments, runs):
    """Finish a run as a user would: resume it, or repeat the command if the run folder was not yet written."""
    begun = (runs / "run" / "recipe.toml").exists()
    more = ["--resume", "run", "--quiet", "--no-plots"] if begun else arguments
    assert run_cli(main, [*more, "-o", str(runs)]) == 0
    return final_files(runs / "run")


@pytest.fixture
def uninterrupted(arguments, tmp_path, capsys):
    """Return the result of the run without a fault."""
    assert run_cli(main, [*arguments, "-o", str(tmp_path / "uninterrupted")]) == 0
    capsys.readouterr()
    return final_files(tmp_path / "uninterrupted" / "run")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_train_failing_disk_at_any_operation_loses_nothing(arguments, uninterrupted, tmp_path, capsys, code):
    names = fault_injection.operations([*arguments, "-o", str(tmp_path / "counted")], phases=False)
    assert {"mkdir", "lock", "rename", "fsync", "write metrics.csv", "write last.safetensors.writing"} < {*names}
    assert len(names) > 50
    capsys.readouterr()
    for number, name in enumerate(names):
        if code != errno.ENOSPC and number % 7 != code % 7:
            continue
        runs = tmp_path / str(number)
        with fault_injection.inject(fault_injection.failing_disk(number, code), phases=False):
            found = fault_injection.run([*arguments, "-o", str(runs)])
        err = capsys.readouterr().err
        where = f"operation {number}, {name}: exit code {found}, {err!r}"
        if (
            name == "fsync" and found == 0
        ):  # fsync of the folder after the rename is optional: not every system supports it
            assert final_files(runs / "run") == uninterrupted, where
            continue
        assert found == 7, where
        assert err.startswith("error: "), where
        assert err.count("\n") == 1, where
        assert str(runs) in err, where
        assert os.strerror(code) in err, where
        last = runs / "run" / "last.safetensors"
        assert not last.exists() or read_checkpoint(last).step > 0, where
        assert finish_run(arguments, runs) == uninterrupted, where
        capsys.readouterr()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("damaged", [False, True], ids=["undamaged", "metrics lost"])
def test_resume_failing_disk_at_any_operation_loses_nothing(arguments, tmp_path, capsys, code, damaged):
    assert run_cli(main, [*arguments, "-o", str(tmp_path / "start")]) == 0
    if damaged:  # the damaged file is kept under another name
        (tmp_path / "start" / "run" / "metrics.csv").write_text("epoch\n1,2\n")
    resume = ["--resume", "run", "-e", "3", "--quiet", "--no-plots"]
    counted = shutil.copytree(tmp_path / "start", tmp_path / "counted")
    names = fault_injection.operations([*resume, "-o", str(counted)], phases=False)
    expected = final_files(counted / "run")
    assert {"delete", "rename", "write recipe.toml.writing", "write last.safetensors.writing"} < {*names}
    capsys.readouterr()
    for number, name in enumerate(names):
        if code != errno.ENOSPC and number % 4 != code % 4:
            continue
        runs = shutil.copytree(tmp_path / "start", tmp_path / str(number))
        with fault_injection.inject(fault_injection.failing_disk(number, code), phases=False):
            found = fault_injection.run([*resume, "-o", str(runs)])
        err = capsys.readouterr().err
        where = f"operation {number}, {name}: exit code {found}, {err!r}"
        if found:
            assert found == 7, where
            assert err.startswith("error: "), where
            assert err.count("\n") == 1, where
            assert str(runs) in err, where
            assert os.strerror(code) in err, where
        else:
            assert name == "fsync" or number >= len(names) - 1 or code == errno.ENOSPC, where
        assert read_checkpoint(runs / "run" / "last.safetensors").epoch >= 2, where
        assert run_cli(main, [*resume, "-o", str(runs)]) == 0, where
        assert final_files(runs / "run") == expected, where
        capsys.readouterr()


def runs_with_signal(arguments, output, which, times=1, every="1"):
    """Run once per operation, in its own process with a signal there; return [number, name, exit code, seconds]."""
    output.mkdir()
    program = (
        "import sys; sys.argv = ['fault_injection', *sys.argv[1:]]\n"
        "import lagvis.training.plan; lagvis.training.plan.CALL_SECONDS = 1e-9\n"
        f"import lagvis.report.plots.figure; lagvis.report.plots.figure.DPI = {SMALL}\n"
        "import lagvis.report.plot_processes; lagvis.report.plot_processes.MAX_PROCESSES = 0\n"
        "from tests.cli import fault_injection; fault_injection.main()"
    )
    words = [which, str(times), every, str(output), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("which", "times", "every", "expected"),
    [("SIGTERM", 1, "1", 143), ("SIGHUP", 1, "2", 129), ("SIGINT", 1, "3", 130), ("SIGINT", 2, "3", 130)],
)
def test_train_signal_at_any_operation_loses_nothing(arguments, uninterrupted, tmp_path, which, times, every, expected):
    output = tmp_path / "signalled"
    results = runs_with_signal(arguments, output, which, times, every)
    assert len(results) > 30
    last = last_training_operation(results)
    saved = 0
    for number, name, code, seconds in results:
        runs = output / str(number)
        err = (runs / "stderr").read_text()
        where = f"operation {number}, {name}: exit code {code}, {seconds} s, {err!r}"
        assert "Traceback" not in err, where
        # after the evaluation of the test part there is nothing left to stop, and the run finishes
        assert code == expected or (code == 0 and number >= last), where
        assert seconds < 5, where
        assert check_if_present(runs / "run" / "last.safetensors"), where
        saved += "Stopped after step" in err
        assert finish_run(arguments, runs) == uninterrupted, where
    if times == 1:  # a second signal may end the process before the checkpoint is written
        assert saved > len(results) // 3


def last_training_operation(results):
    """Return the last operation of the training itself."""
    phases = ("lagvis.training.loop:", "lagvis.training.evaluation:")
    return [number for number, name, *_ in results if name.startswith(phases)][-1]


@pytest.fixture
def arguments_with_plots(arguments, monkeypatch):
    """Return the arguments of the same run with plots, which are small."""
    fault_injection.import_matplotlib()
    monkeypatch.setattr("lagvis.report.plots.figure.DPI", SMALL)
    monkeypatch.setattr("lagvis.report.plot_processes.MAX_PROCESSES", 0)  # they would draw in the usual size
    return [word for word in arguments if word != "--no-plots"]


def pictures(folder):
    return {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}


def redraw(runs):
    """Resume the finished run, which draws its missing plots, and return the plots."""
    assert run_cli(main, ["--resume", "run", "--quiet", "-o", str(runs)]) == 0
    return pictures(runs / "run")


def test_report_failing_disk_at_any_plot_keeps_the_run(arguments_with_plots, uninterrupted, tmp_path, capsys):
    names = fault_injection.operations([*arguments_with_plots, "-o", str(tmp_path / "counted")], phases=False)
    expected = pictures(tmp_path / "counted" / "run")
    assert len(expected) >= 5
    first = names.index("mkdir", names.index("write report.json.writing"))
    assert {"write curves.png.writing", "write report.md.writing", "write report.html.writing"} < {*names[first:]}
    capsys.readouterr()
    for number in range(first, len(names), 9):
        runs = tmp_path / str(number)
        with fault_injection.inject(fault_injection.failing_disk(number), phases=False):
            found = fault_injection.run([*arguments_with_plots, "-o", str(runs)])
        err = capsys.readouterr().err
        where = f"operation {number}, {names[number]}: exit code {found}, {err!r}"
        assert found == 7 or (found == 0 and names[number] == "fsync"), where
        assert found == 0 or (err.startswith("error: ") and err.count("\n") == 1), where
        assert final_files(runs / "run") == uninterrupted, where
        assert json.loads((runs / "run" / "report.json").read_text())["finished"] == "completed", where
        assert redraw(runs) == expected, where
        capsys.readouterr()


@pytest.mark.parametrize(
    ("which", "times", "every", "expected"),
    [
        ("SIGTERM", 1, "7", 143),
        ("SIGHUP", 1, "9", 129),
        ("SIGINT", 1, "11", 130),
        ("SIGINT", 2, "13", 130),
        ("SIGTERM", 1, "hang", 143),
    ],
)
def test_report_signal_while_drawing_keeps_the_run(
    arguments_with_plots, uninterrupted, tmp_path, which, times, every, expected
):
    output = tmp_path / "signalled"
    results = runs_with_signal(arguments_with_plots, output, which, times, every)
    assert len(results) >= 3
    for number, name, code, seconds in results:
        runs = output / str(number)
        err = (runs / "stderr").read_text()
        where = f"operation {number}, {name}: exit code {code}, {seconds} s, {err!r}"
        assert "Traceback" not in err, where
        assert code == expected, where
        assert seconds < 5, where
        assert every == "hang" or not list(runs.rglob("*.writing")), where
        assert finish_run(arguments_with_plots, runs) == uninterrupted, where
    assert len(redraw(runs)) >= 5


def check_if_present(path):
    return not path.exists() or read_checkpoint(path).step > 0


def test_train_hanging_anywhere_ends_in_time_after_sigterm(arguments, uninterrupted, tmp_path):
    results = runs_with_signal(arguments, tmp_path / "signalled", "SIGTERM", every="hang")
    for number, name, code, seconds in results:
        where = f"operation {number}, {name}: exit code {code} {seconds} s after the signal"
        assert code == 143, where
        assert seconds < 5, where
        assert finish_run(arguments, tmp_path / "signalled" / str(number)) == uninterrupted, where
