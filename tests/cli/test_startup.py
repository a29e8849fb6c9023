"""Signals before a run has begun. A fake of the first imported array library, NumPy, sends them."""

import signal
import subprocess
import sys

import pytest

from tests.cli.commands import ROOT, environment

# As in the background of a shell: a signal ignored before exec stays ignored afterwards.
IGNORING = """import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""
COMMANDS = [["train.py"], ["evaluate.py", "r"], ["compare.py"], ["-m", "backends"]]


def signalled_while_importing(folder, command, number, *, ignored=False):
    """Run a command that receives a signal while it imports NumPy; return the completed process."""
    (folder / "numpy.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(0.05)\nraise Exit\n"
    )
    return python(command, PYTHONPATH=str(folder), ignored=ignored)


def python(arguments, *, ignored=False, **changes):
    """Run Python with the signals handled as usual, or ignored; return the completed process."""
    return subprocess.run(
        [sys.executable, *(["-c", IGNORING] if ignored else []), *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_signal_during_imports_exits_with_its_code_and_one_line(tmp_path, command, number, code):
    done = signalled_while_importing(tmp_path, command, number)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ignored_signal_during_imports_stays_ignored(tmp_path, number):
    done = signalled_while_importing(tmp_path, ["train.py"], number, ignored=True)
    assert "name 'Exit' is not defined" in done.stderr, "the fake module was executed completely"


def test_importing_commands_keeps_the_sigint_handler():
    code = "import signal, train, compare, evaluate, backends; print(signal.getsignal(signal.SIGINT).__name__)"
    done = python(["-c", code], PYTHONPATH=str(ROOT))
    assert done.stdout == "default_int_handler\n"
