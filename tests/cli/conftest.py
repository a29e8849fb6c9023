"""Trained networks that several tests of the commands share."""

import numpy as np
import pytest

from lagvis.cli import train
from tests.factories import write_folder

TABLE_HEADER = "a,b,c,art\n"


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Train three runs: `digits` (MNIST), `bands` (6x6 images, classes 1..4), `line` (two targets, three features)."""
    folder = tmp_path_factory.mktemp("predict")
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-o", str(folder / "runs")]
    assert train.main([*quick, "-e", "3", "--hidden", "32", "--name", "digits"]) == 0
    small = ["--validation", "0", "--batch-size", "20", "--hidden", "16", "--name"]
    bands_ = write_folder(folder / "bands", labels_from=1)
    assert train.main([*quick, *small, "bands", "-e", "60", "--lr", "0.1", "--data", str(bands_)]) == 0
    x = np.random.default_rng(3).normal(5, 2, (100, 3))
    y = x @ [[1.0, 200.0], [-2.0, 100.0], [0.5, -300.0]]
    np.savez(folder / "line.npz", x=x, y=y, target_names=["near", "far"], unit="m")
    line = ["line", "-e", "60", "--loss", "mse", "--data", str(folder / "line.npz")]
    assert train.main([*quick, *small, *line]) == 0
    return folder / "runs"


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def table(runs):
    """Train the run `table` (columns a, b, c; label `art`, cat where a > b); return 20 rows of the same kind."""
    rng = np.random.default_rng(5)
    rows = rng.normal([0, 0, 50], [3, 3, 9], (200, 3))
    lines = [f"{a:.3f},{b:.3f},{c:.3f},{'cat' if a > b else 'dog'}\n" for a, b, c in rows]
    (runs.parent / "table.csv").write_text(TABLE_HEADER + "".join(lines))
    words = ["--data", str(runs.parent / "table.csv"), "-e", "40", "--lr", "0.1", "--batch-size", "20", "--hidden", "8"]
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0"]
    assert train.main([*quick, *words, "--name", "table", "-o", str(runs)]) == 0
    return [line.strip().split(",") for line in lines[:20]]
