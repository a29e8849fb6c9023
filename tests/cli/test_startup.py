"""Signals before a run has begun. The first array library to be imported is a stand-in that sends them."""

import signal
import subprocess
import sys

import pytest

from tests.cli.commands import ROOT, environment

# As in a shell's background: what is ignored stays so in the program that takes over.
IGNORING = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""
DOORS = [["train.py"], ["evaluate.py", "r"], ["compare.py"], ["-m", "backends"]]


def signalled_while_importing(folder, command, number, *, ignored=False):
    """The finished process of a door that gets a signal while it imports NumPy."""
    (folder / "numpy.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(0.05)\nraise Exit\n"
    )
    return python(command, PYTHONPATH=str(folder), ignored=ignored)


def python(arguments, *, ignored=False, **changes):
    """The finished process of a Python that begins with Ctrl-C as usual, or ignored."""
    return subprocess.run(
        [sys.executable, *(["-c", IGNORING] if ignored else []), *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", DOORS, ids=" ".join)
def test_sigint_during_imports_exits_130_with_one_line(tmp_path, command):
    done = signalled_while_importing(tmp_path, command, signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_sigterm_during_imports_ends_the_process(tmp_path):
    done = signalled_while_importing(tmp_path, ["train.py"], signal.SIGTERM)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", ""), "a shell calls it 143"


def test_ignored_sigint_during_imports_stays_ignored(tmp_path):
    done = signalled_while_importing(tmp_path, ["train.py"], signal.SIGINT, ignored=True)
    assert "name 'Exit' is not defined" in done.stderr, "the stand-in was imported to its end"


def test_importing_commands_keeps_the_sigint_handler():
    code = "import signal, train, compare, evaluate, backends; print(signal.getsignal(signal.SIGINT).__name__)"
    done = python(["-c", code], PYTHONPATH=str(ROOT))
    assert done.stdout == "default_int_handler\n"
