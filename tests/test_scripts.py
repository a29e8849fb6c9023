"""scripts/gpu-check with a GPU that is not there, its table where parts fail; and a short scripts/kill-test."""

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
SCRIPT = SCRIPTS / "gpu-check"


@pytest.fixture
def gpu_check(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    module.RESULTS = tmp_path / "results"
    return module


def test_without_a_gpu_nothing_is_claimed(gpu_check, monkeypatch, capsys):
    def no_gpu(*_):
        raise DeviceError("there is no GPU", "buy one")

    monkeypatch.setattr(gpu_check, "select", no_gpu)
    assert gpu_check.main() == 0
    assert capsys.readouterr().out == "No GPU was checked, nothing is claimed: there is no GPU. To fix it: buy one.\n"
    assert not gpu_check.RESULTS.exists()


@pytest.mark.parametrize("failing", [None, "compare float64"])
def test_every_part_runs_and_the_table_tells_which_failed(gpu_check, monkeypatch, capsys, failing):
    seen = []

    def run(arguments, **environment):
        if arguments == ["-m", "backends"]:
            lines = (
                "numpy  cpu     computes",
                "torch  cuda:0  computes",
                "jax    cuda    cannot run",
                "jax    cpu     computes",
            )
            return 0, "\n".join(lines), 0.5
        assert "torch-cuda" in environment["LAGVIS_REQUIRE"]
        assert "jax-cuda" not in environment["LAGVIS_REQUIRE"]
        assert "cupy" in environment["LAGVIS_REQUIRE"].split(",")
        seen.append(arguments)
        return int("float64" in arguments and failing is not None), "first\nlast line\n\n", 1.25

    monkeypatch.setattr(gpu_check, "select", lambda *_: types.SimpleNamespace(versions=lambda: {"cupy": "14.2.0"}))
    monkeypatch.setattr(gpu_check, "run", run)
    assert gpu_check.main() == int(failing is not None)
    assert len(seen) == 4
    shown = capsys.readouterr().out
    assert ("FAILED  compare float64" in shown) == (failing is not None)
    assert "passed  benchmarks          1.2 s   last line" in shown
    kept = json.loads(next(gpu_check.RESULTS.iterdir()).read_text())
    assert kept["versions"] == {"cupy": "14.2.0"}
    assert [part["exit"] for part in kept["parts"].values()].count(1) == int(failing is not None)


def test_a_part_is_a_process_whose_output_is_shown_and_kept(gpu_check, capsys):
    code, output, seconds = gpu_check.run(["-c", "import os; print(os.environ['A']); raise SystemExit(3)"], A="øæå")
    assert (code, output) == (3, "øæå\n")
    assert seconds > 0
    assert capsys.readouterr().out == "øæå\n"


def test_runs_that_are_killed_anywhere_lose_nothing():
    command = [sys.executable, str(SCRIPTS / "kill-test"), "--kills", "4", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["kills"], counts["losses"], counts["mismatches"]) == (4, 0, 0)
    assert counts["hit a save"] + counts["within an epoch"] > 0


def test_onnx_check_holds_every_answer_against_onnxruntime(onnxruntime):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "onnx-check", "-e", "1", "--hidden", "16"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 0 of 10000 answers differ") == 6
    assert done.stdout.endswith("all hold\n")
