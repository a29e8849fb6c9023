"""stdout and stderr that are full, closed, read in part, or lost with their terminal."""

import contextlib
import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from lagvis.cli import predict, train
from lagvis.cli.errors import run_cli
from lagvis.cli.streams import write_stdout
from lagvis.errors import OutputError
from tests.cli.commands import ROOT, environment, running_process, write_dataset

COMMANDS = {
    "train": "train.py --device cpu --data data.npz --hidden 4 -e 1 --quiet --no-plots",
    "dry run": "train.py --device cpu --data data.npz --quiet --dry-run",
    "evaluate": "evaluate.py r --device cpu",
    "predict": "predict.py r data.npz",
    "predict json": "predict.py r data.npz --json",
    "predict show": "predict.py r data.npz --show",
    "export": "export.py r --format npz --output out.npz",
    "data": "-m lagvis data data.npz",
    "report": "-m lagvis report r --no-plots",
    "help": "train.py --help",
    "version": "train.py --version",
    "lagvis help": "-m lagvis --help",
    "lagvis version": "-m lagvis --version",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train the run `r` in a folder of its own; return the folder."""
    folder = tmp_path_factory.mktemp("streams")
    data = write_dataset(folder / "data.npz")
    flags = ["--device", "cpu", "--data", str(data), "--hidden", "4", "-e", "1", "--quiet", "--no-plots"]
    assert train.main([*flags, "-o", str(folder / "runs"), "--name", "r"]) == 0
    return folder


def shell(folder, arguments, redirection):
    """Run Python with these arguments in bash with a redirection; return the completed process."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} {arguments} {redirection}"],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(name):
    """Return the command line of a command, with the path of its script."""
    return COMMANDS[name] if COMMANDS[name].startswith("-m") else f"{ROOT}/{COMMANDS[name]}"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("name", COMMANDS)
def test_command_full_stdout_exits_1_with_one_sentence(folder, name):
    done = shell(folder, script(name), "> /dev/full")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the result cannot be written to stdout (No space left on device)")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# Every command loses a reader and all its streams; one of each kind also loses a single stream.
ONE_OF_EACH_KIND = ("train", "predict show", "help", "lagvis version")
BROKEN = [(name, how) for name in COMMANDS for how in ("| head -c 9 >/dev/null", ">&- 2>&- <&-")]
BROKEN += [(name, how) for name in ONE_OF_EACH_KIND for how in (">&-", "2>&- >/dev/null")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "redirection"), BROKEN)
def test_command_closed_stream_exits_0_without_a_traceback(folder, name, redirection):
    done = shell(folder, script(name), redirection)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_train_full_stdout_names_the_report_and_draws_the_pages(tmp_path):
    write_dataset(tmp_path / "data.npz")
    arguments = f"{ROOT}/train.py --device cpu --data data.npz --hidden 4 -e 1 --quiet --name full"
    done = shell(tmp_path, arguments, "> /dev/full")
    report = tmp_path / "runs" / "full" / "report.json"
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the result cannot be written to stdout (No space left on device); it is in {report}\n"
    )
    assert json.loads(report.read_text())["epochs"] == 1
    assert (report.parent / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("tool", ["-m benchmarks", f"{ROOT}/scripts/gpu-check"])
def test_tool_full_stdout_exits_1_with_one_sentence(folder, tool):
    done = shell(folder, f"{tool} --help", "> /dev/full")
    expected = "error: the result cannot be written to stdout (No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_predict_standard_input_opened_for_writing_exits_3(folder):
    done = shell(folder, f"{ROOT}/predict.py r -", "0> nothing")
    assert done.returncode == 3
    assert done.stderr.startswith("error: standard input cannot be read (Bad file descriptor); expected ")


def test_predict_standard_input_without_room_names_the_temporary_folder(folder, monkeypatch, capsys):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1,2\n")))
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert run_cli(predict.main, ["r", "-", "--runs-dir", str(folder / "runs")]) == 3
    assert "cannot be copied into a temporary folder (No space left on device); set TMPDIR" in capsys.readouterr().err


def test_train_diverged_in_a_pipe_exits_6(tmp_path):
    write_dataset(tmp_path / "data.npz")
    done = shell(tmp_path, f"{ROOT}/train.py --device cpu --data data.npz -e 1 --lr 1e30 --no-plots", "| tee log")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EAGAIN])
def test_write_stdout_failing_write_raises_output_error(monkeypatch, code):
    class Failing(io.StringIO):
        def write(self, text):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(sys, "stdout", Failing())
    with pytest.raises(OutputError, match=r"^the result cannot be written to stdout \(" + os.strerror(code)):
        write_stdout("text")


def start_in_terminal(folder, name, *, ignore_hangup):
    """Start a long run whose stdin, stdout and stderr are a terminal, in a session of its own.

    Return the process and the descriptor of our end of the terminal; closing it hangs up.
    """
    ours, theirs = pty.openpty()
    # Programs do this, since a preexec_fn forks this process, of which JAX warns once it is imported.
    ignore = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"] if ignore_hangup else []
    words = ["--device", "cpu", "--data", "data.npz", "--hidden", "4", "-e", "60", "-b", "1", "--name", name]
    process = subprocess.Popen(
        ["setsid", "--ctty", *ignore, sys.executable, str(ROOT / "train.py"), *words],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm"),
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def wait_for(path, process):
    """Wait until a file has been written, while a process runs."""
    while not path.exists():
        assert process.poll() is None, "the run has ended"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("ignore_hangup", "code"), [(False, 129), (True, 1)])
def test_train_lost_terminal_saves_or_goes_on(folder, ignore_hangup, code):
    name = f"lost-{code}"
    run = folder / "runs" / name
    process, ours = start_in_terminal(folder, name, ignore_hangup=ignore_hangup)
    try:
        wait_for(run / "last.safetensors", process)
        os.close(ours)
        assert process.wait(60) == code
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    report = json.loads((run / "report.json").read_text())
    assert report["finished"] == ("completed" if ignore_hangup else "interrupted")
    assert (run / "report.html").exists() == ignore_hangup


@pytest.mark.slow
def test_train_nohup_goes_on_to_its_report(folder):
    words = ["nohup", sys.executable, str(ROOT / "train.py"), "--device", "cpu", "--data", "data.npz", "--hidden", "4"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with running_process([*words, "-e", "20", "-b", "1", "--name", "nohup"], cwd=folder, **pipes) as process:
        wait_for(folder / "runs" / "nohup" / "last.safetensors", process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (folder / "runs" / "nohup" / "report.html").exists()
