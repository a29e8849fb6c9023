"""Commands under `ulimit -v`, which limits their memory."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.commands import ROOT, environment

pytest.importorskip("resource", reason="only Unix has limits of a process")
GIGABYTES = 2


def limited(arguments, cwd):
    """Run train.py with 2 GiB of address space and return the completed process."""
    command = f'ulimit -v {GIGABYTES * 2**20} && exec "$@"'
    words = ["bash", "-c", command, "-", sys.executable, str(ROOT / "train.py"), "--device", "cpu", *arguments]
    return subprocess.run(
        words, cwd=cwd, env=environment(OPENBLAS_NUM_THREADS="2"), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_train_large_test_part_is_evaluated_in_pieces(tmp_path):
    """The activations of one layer for all rows at once, 60,000 x 8192 x 4 bytes, exceed the limit."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, 60_000).astype(np.uint8)
    x = rng.integers(0, 60, (60_000, 8, 8), dtype=np.uint8)
    x[np.arange(60_000), y] = 250
    np.savez(tmp_path / "many.npz", x_train=x[:2000], y_train=y[:2000], x_test=x, y_test=y)
    arguments = ("--data", "many.npz", "--hidden", "8192", "-e", "0", "--quiet", "--json")
    done = limited(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.sum(json.loads(done.stdout)["confusion"]) == 60_000


def test_train_network_beyond_ulimit_exits_5(tmp_path):
    done = limited(("--hidden", "16000,16000", "-e", "1"), tmp_path)
    assert done.returncode == 5
    assert "GB are left under ulimit -v; use a smaller --hidden" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
