"""A short scripts/test-kill, and scripts/test-onnx."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--everything"]], ids=["plain", "everything"])
def test_kill_script_killed_runs_are_resumed_without_loss(flags):
    command = [sys.executable, str(SCRIPTS / "test-kill"), "--kills", "4", "--seed", "3", *flags]
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
