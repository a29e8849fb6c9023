"""Faults at every operation of a run: nothing is lost, the exit code is that of its kind, and the run goes on.

tests/cli/fault_injection.py finds the operations by running once, so that a new write or phase is struck too.
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

pytestmark = pytest.mark.slow  # each test runs a command again for every operation of a run

pytestmark = pytest.mark.slow

FLAGS = ("--device", "cpu", "--hidden", "4", "-e", "2", "-b", "100", "--validation", "40", "--momentum", "0.9",
         "--checkpoint-every", "1", "--quiet", "--no-plots")  # fmt: skip


SMALL = 20  # dots an inch


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """A run of two epochs of several calls, with a save after each."""
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    return ["--data", str(write_dataset(tmp_path / "data.npz")), *FLAGS, "--name", "run"]


def ended(folder):
    """What must be equal of runs that have ended."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    assert not list(folder.glob("*.writing")), "a half-written file is left"
    return rows, (folder / "last.safetensors").read_bytes(), (folder / "best.safetensors").read_bytes()


def go_on(arguments, runs):
    """Bring a run to its end by what a user would do: resume it, or, where nothing had begun, the same command."""
    begun = (runs / "run" / "recipe.toml").exists()
    more = ["--resume", "run", "--quiet", "--no-plots"] if begun else arguments
    assert run_cli(main, [*more, "-o", str(runs)]) == 0
    return ended(runs / "run")


@pytest.fixture
def whole(arguments, tmp_path, capsys):
    """The unbroken run."""
    assert run_cli(main, [*arguments, "-o", str(tmp_path / "whole")]) == 0
    capsys.readouterr()
    return ended(tmp_path / "whole" / "run")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_train_failing_disk_at_any_operation_loses_nothing(arguments, whole, tmp_path, capsys, code):
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
        if name == "fsync" and found == 0:  # of a folder, after the rename, which not every system knows
            assert ended(runs / "run") == whole, where
            continue
        assert found == 7, where
        assert err.startswith("error: "), where
        assert err.count("\n") == 1, where
        assert str(runs) in err, where
        assert os.strerror(code) in err, where
        last = runs / "run" / "last.safetensors"
        assert not last.exists() or read_checkpoint(last).step > 0, where
        assert go_on(arguments, runs) == whole, where
        capsys.readouterr()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "metrics lost"])
def test_resume_failing_disk_at_any_operation_loses_nothing(arguments, tmp_path, capsys, code, damaged):
    assert run_cli(main, [*arguments, "-o", str(tmp_path / "start")]) == 0
    if damaged:  # the file is kept under another name
        (tmp_path / "start" / "run" / "metrics.csv").write_text("epoch\n1,2\n")
    resume = ["--resume", "run", "-e", "3", "--quiet", "--no-plots"]
    counted = shutil.copytree(tmp_path / "start", tmp_path / "counted")
    names = fault_injection.operations([*resume, "-o", str(counted)], phases=False)
    expected = ended(counted / "run")
    assert {"delete", "rename", "write recipe.toml.writing", "write last.safetensors.writing"} < {*names}
    capsys.readouterr()
    for number, name in enumerate(names):
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
        assert ended(runs / "run") == expected, where
        capsys.readouterr()


def runs_with_signal(arguments, output, which, times=1, every="1"):
    """Every operation of a run, struck by a signal in a process of its own: [number, name, exit code, seconds]."""
    output.mkdir()
    program = (
        "import sys; sys.argv = ['fault_injection', *sys.argv[1:]]\n"
        "import lagvis.training.plan; lagvis.training.plan.CALL_SECONDS = 1e-9\n"
        f"import lagvis.report.plots.figure; lagvis.report.plots.figure.DPI = {SMALL}\n"
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
    [("SIGTERM", 1, "1", 143), ("SIGINT", 1, "3", 130), ("SIGINT", 2, "3", 130)],
)
def test_train_signal_at_any_operation_loses_nothing(arguments, whole, tmp_path, which, times, every, expected):
    output = tmp_path / "signalled"
    results = runs_with_signal(arguments, output, which, times, every)
    assert len(results) > 30
    first, last = training(results)
    saved = 0
    for number, name, code, seconds in results:
        runs = output / str(number)
        err = (runs / "stderr").read_text()
        where = f"operation {number}, {name}: exit code {code}, {seconds} s, {err!r}"
        assert "Traceback" not in err, where
        # before the first step there is nothing to save, and the system ends the process, which a shell calls 143 too;
        # once the test part is judged there is nothing left to stop, and the run comes to its end
        assert code == expected or (code == -15 and number < first) or (code == 0 and number >= last), where
        assert seconds < 5, where
        assert read_or_nothing(runs / "run" / "last.safetensors"), where
        saved += "Stopped after step" in err
        assert go_on(arguments, runs) == whole, where
    if times == 1:  # a second signal ends the process before it may have saved
        assert saved > len(results) // 3


def training(results):
    """The first and the last operation of the training itself."""
    found = [n for n, name, *_ in results if name.startswith(("lagvis.training.loop:", "lagvis.training.evaluation:"))]
    return found[0], found[-1]


@pytest.fixture
def drawn(arguments, monkeypatch):
    """The same run, with its pictures, small ones."""
    fault_injection.import_matplotlib()
    monkeypatch.setattr("lagvis.report.plots.figure.DPI", SMALL)
    return [word for word in arguments if word != "--no-plots"]


def pictures(folder):
    return {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}


def draw_again(runs):
    """Have the pictures drawn that are missing."""
    assert run_cli(main, ["--resume", "run", "--quiet", "-o", str(runs)]) == 0
    return pictures(runs / "run")


def test_report_failing_disk_at_any_plot_keeps_the_run(drawn, whole, tmp_path, capsys):
    names = fault_injection.operations([*drawn, "-o", str(tmp_path / "counted")], phases=False)
    expected = pictures(tmp_path / "counted" / "run")
    assert len(expected) >= 5
    first = names.index("mkdir", names.index("write report.json.writing"))
    assert {"write curves.png.writing", "write report.md.writing", "write report.html.writing"} < {*names[first:]}
    capsys.readouterr()
    for number in range(first, len(names), 9):
        runs = tmp_path / str(number)
        with fault_injection.inject(fault_injection.failing_disk(number), phases=False):
            found = fault_injection.run([*drawn, "-o", str(runs)])
        err = capsys.readouterr().err
        where = f"operation {number}, {names[number]}: exit code {found}, {err!r}"
        assert found == 7 or (found == 0 and names[number] == "fsync"), where
        assert found == 0 or (err.startswith("error: ") and err.count("\n") == 1), where
        assert ended(runs / "run") == whole, where
        assert json.loads((runs / "run" / "report.json").read_text())["finished"] == "completed", where
        assert draw_again(runs) == expected, where
        capsys.readouterr()


@pytest.mark.parametrize(
    ("which", "times", "every", "expected"),
    [
        ("SIGTERM", 1, "7", 143),
        ("SIGINT", 1, "11", 130),
        ("SIGINT", 2, "13", 130),
        ("SIGTERM", 1, "hang", 143),
    ],
)
def test_report_signal_while_drawing_keeps_the_run(drawn, whole, tmp_path, which, times, every, expected):
    output = tmp_path / "signalled"
    results = runs_with_signal(drawn, output, which, times, every)
    assert len(results) >= 3
    for number, name, code, seconds in results:
        runs = output / str(number)
        err = (runs / "stderr").read_text()
        where = f"operation {number}, {name}: exit code {code}, {seconds} s, {err!r}"
        assert "Traceback" not in err, where
        assert code == expected, where
        assert seconds < 5, where
        assert every == "hang" or not list(runs.rglob("*.writing")), where
        assert go_on(drawn, runs) == whole, where
    assert len(draw_again(runs)) >= 5


def read_or_nothing(path):
    return not path.exists() or read_checkpoint(path).step > 0


def test_train_hanging_anywhere_ends_in_time_after_sigterm(arguments, whole, tmp_path):
    results = runs_with_signal(arguments, tmp_path / "signalled", "SIGTERM", every="hang")
    first, _ = training(results)
    for number, name, code, seconds in results:
        where = f"operation {number}, {name}: exit code {code} {seconds} s after the signal"
        assert code == 143 or (code == -15 and number < first), where
        assert seconds < 5, where
        assert go_on(arguments, tmp_path / "signalled" / str(number)) == whole, where
