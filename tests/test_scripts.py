"""scripts/gpu-check with replaced parts, a short scripts/test-kill, and scripts/test-onnx."""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from lagvis.errors import DeviceError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
PARTS = {
    "test suite": ["-m", "pytest", "-q"],
    "compare float32": ["compare.py", "--device", "cuda"],
    "compare float64": ["compare.py", "--device", "cuda", "--dtype", "float64"],
    "benchmarks": ["-m", "benchmarks", "--device", "cuda", "--output"],
}
BACKENDS = """\
numpy  cpu     computes
torch  cuda:0  computes
jax    cuda    cannot run
jax    cpu     computes"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """scripts/gpu-check as a module, which writes its results into a temporary folder."""
    loader = importlib.machinery.SourceFileLoader("test_gpu_script", str(SCRIPTS / "gpu-check"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("test_gpu_script", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    module.RESULTS = tmp_path / "results"
    return module


def test_gpu_script_without_a_gpu_prints_the_reason_and_writes_nothing(script, monkeypatch, capsys):
    def no_gpu(*_):
        raise DeviceError("there is no GPU", "buy one")

    monkeypatch.setattr(script, "select", no_gpu)
    assert script.main() == 0
    assert capsys.readouterr().out == "No GPU was tested: there is no GPU. To fix it: buy one.\n"
    assert not script.RESULTS.exists()


@pytest.mark.parametrize("failing", [None, *PARTS])
def test_gpu_script_runs_all_parts_and_marks_the_failed_one(script, monkeypatch, capsys, failing):
    started = []

    def run(arguments, **environment):
        if arguments == ["-m", "lagvis", "backends"]:
            return 0, BACKENDS, 0.5
        assert environment["LAGVIS_REQUIRE"].split(",") == ["numpy", "cupy", "cupy-signatures", "torch-cuda"]
        (name,) = [name for name, expected in PARTS.items() if arguments[: len(expected)] == expected][-1:]
        started.append(name)
        return int(name == failing), "first\nlast line\n\n", 1.25

    monkeypatch.setattr(script, "select", lambda *_: types.SimpleNamespace(versions=lambda: {"cupy": "14.2.0"}))
    monkeypatch.setattr(script, "run", run)
    assert script.main() == int(failing is not None)
    assert started == list(PARTS)
    table = capsys.readouterr().out.splitlines()[-5:-1]
    for name, line in zip(PARTS, table, strict=True):
        assert line == f"{'FAILED' if name == failing else 'passed':7} {name:16} {1.25:6.1f} s   last line"
    written = json.loads(next(script.RESULTS.iterdir()).read_text())
    assert written["versions"] == {"cupy": "14.2.0"}
    assert {name: part["exit"] for name, part in written["parts"].items()} == {
        name: int(name == failing) for name in PARTS
    }


def test_gpu_script_run_shows_and_returns_output_and_exit_code(script, capsys):
    code, output, seconds = script.run(["-c", "import os; print(os.environ['A']); raise SystemExit(3)"], A="øæå")
    assert (code, output) == (3, "øæå\n")
    assert seconds > 0
    assert capsys.readouterr().out == "øæå\n"


@pytest.mark.slow
def test_kill_script_killed_runs_are_resumed_without_loss():
    command = [sys.executable, str(SCRIPTS / "test-kill"), "--kills", "4", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["kills"], counts["losses"], counts["mismatches"]) == (4, 0, 0)
    assert counts["hit a save"] + counts["within an epoch"] > 0


@pytest.mark.slow
def test_onnx_script_all_predictions_equal_those_of_onnxruntime(onnxruntime):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "test-onnx", "-e", "1", "--hidden", "16"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 0 of 10000 predictions differ") == 6
    assert done.stdout.endswith("all passed\n")
