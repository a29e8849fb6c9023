"""A signal while a command runs: its cleanup runs, one line is printed, the exit code is 128 and its number."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lagvis.cli import export, train
from lagvis.cli.errors import run_cli
from tests.cli.commands import ROOT, environment, running_process, write_dataset

# Start a command in which one function hangs; argv[1] holds the statement that replaces the function.
PROGRAM = """
import sys, time
command, replacement = sys.argv[1:3]
import importlib, os
importlib.import_module(f"lagvis.cli.{command}")
def hang(*arguments, **options):
    print("hangs", flush=True)
    time.sleep(60)
def hang_and_raise(*arguments, **options):
    try:
        hang()
    except KeyboardInterrupt:
        raise RuntimeError("Inference was stopped by a signal") from None
def hang_on(*arguments, **options):
    try:
        hang()
    except KeyboardInterrupt:
        time.sleep(60)
exec(replacement)
sys.argv[1:3] = []
from lagvis.cli.startup import run
run(command)
"""
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture
def trained(tmp_path, monkeypatch, capsys):
    """Train the run `r` in a temporary folder and make that folder the current one."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    flags = ["--device", "cpu", "--data", "data.npz", "--hidden", "4", "-e", "1", "--quiet", "--no-plots"]
    assert train.main([*flags, "--name", "r"]) == 0
    capsys.readouterr()
    return tmp_path


def interrupt(number, replacement, command, *arguments, content="", **changes):
    """Run a command that hangs in `replacement`, send it a signal there, and return (exit code, stdout, stderr)."""
    words = [sys.executable, "-c", PROGRAM, command, replacement, *arguments]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with running_process(words, env=environment(PYTHONPATH=str(ROOT), **changes), **pipes) as process:
        process.stdin.write(content)
        process.stdin.close()
        process.stdin = None
        assert process.stdout.readline() == "hangs\n", process.communicate()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_predict_interrupted_leaves_no_copy_of_standard_input(trained, number, code):
    temporary = trained / "tmp"
    temporary.mkdir()
    table = "\n".join(",".join(map(str, row)) for row in np.zeros((50, 64), dtype=int))
    replacement = "import lagvis.data.predict_input as module; module.read_file = hang"
    found = interrupt(number, replacement, "predict", "r", "-", content=table, TMPDIR=str(temporary))
    assert found == (code, "", "Stopped.\n")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("format_", ["npz", "paper"])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_export_interrupted_keeps_the_old_export_and_no_half_file(trained, number, code, format_):
    arguments = ["r", "--format", format_, "--output", "here"]
    assert run_cli(export.main, arguments) == 0
    before = {str(path): path.is_dir() or path.read_bytes() for path in sorted(trained.rglob("*"))}
    assert interrupt(number, "os.fsync = hang", "export", *arguments) == (code, "", "Stopped.\n")
    assert {str(path): path.is_dir() or path.read_bytes() for path in sorted(trained.rglob("*"))} == before


# A function in which each command hangs, and arguments.
COMMANDS = {
    "train": ("lagvis.cli.setup.load_dataset", ["--device", "cpu"]),
    "evaluate": ("lagvis.cli.evaluate.load_dataset", ["r", "--device", "cpu"]),
    "predict": ("lagvis.cli.predict.read_inputs", ["r", "data.npz"]),
    "export": ("lagvis.cli.output_path.load_network", ["r", "--format", "npz"]),
    "compare": ("lagvis.cli.compare.load_dataset", ["--backends", "numpy,torch", "--device", "cpu"]),
    "data": ("lagvis.cli.data.detect_format", ["mnist"]),
    "backends": ("lagvis.backends.status.load", []),
}
# Every command hangs; a command that trains and one that does not also raise another error, or hang on.
INTERRUPTED = [(command, "hang") for command in COMMANDS]
INTERRUPTED += [(command, how) for command in ("train", "predict") for how in ("hang_and_raise", "hang_on")]


@pytest.mark.parametrize(("command", "how"), INTERRUPTED)
def test_command_interrupted_in_any_way_returns_130(trained, request, command, how):
    function, arguments = COMMANDS[command]
    if command == "compare":
        request.getfixturevalue("torch")  # the second library that it compares
    module, _, name = function.rpartition(".")
    short_grace = "import lagvis.storage.signals as signals; signals.GRACE_SECONDS = 0.3"
    replacement = f"{short_grace}; import {module} as module; module.{name} = {how}"
    started = time.monotonic()
    code, _, err = interrupt(signal.SIGINT, replacement, command, *arguments)
    assert (code, err.splitlines()[-1]) == (130, "Stopped.")
    assert err.count("Stopped.") == 1
    assert "Traceback" not in err
    assert time.monotonic() - started < 30


def test_command_interrupted_twice_still_cleans_up(trained):
    cleanup = (
        "import lagvis.cli.output_path as module\n"
        "def slow(*arguments, **options):\n"
        "    try: hang()\n"
        "    finally:\n"
        "        os.kill(os.getpid(), 2); time.sleep(0.1)\n"
        "        print('cleaned', flush=True)\n"
        "module.load_network = slow"
    )
    found = interrupt(signal.SIGINT, cleanup, "export", "r", "--format", "npz")
    assert found == (130, "cleaned\n", "Stopped.\n")


def test_run_cli_restores_the_signal_handlers():
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    during = []
    assert run_cli(lambda argv: during.extend(signal.getsignal(number) for number, _ in SIGNALS) or 0) == 0
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before
    assert all(handler not in before for handler in during)


@pytest.mark.parametrize("number", [number for number, _ in SIGNALS])
def test_run_cli_leaves_ignored_signal_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert run_cli(lambda argv: os.kill(os.getpid(), number) or 0) == 0
    finally:
        signal.signal(number, before)
