"""Show and resume a run folder of an older version, whose metrics.csv has the columns `images` and `rate`."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lagvis.cli import evaluate, train
from lagvis.cli.errors import run_cli
from lagvis.storage.metrics_file import COLUMNS
from tests.cli.commands import write_dataset

OLD_RUN = Path(__file__).with_name("old_run")  # two epochs; expected.safetensors is the state after a third


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    return shutil.copytree(OLD_RUN, tmp_path / "runs" / "run")


def test_train_resumes_run_of_older_version(run, capsys):
    with (run / "metrics.csv").open(newline="") as file:
        header, *old = csv.reader(file)
    assert header[2:4] == ["images", "rate"]
    flags = ["--device", "cpu", "--data", "data.npz", "--quiet", "--no-plots"]
    assert run_cli(train.main, ["--resume", "run", "-e", "3", *flags]) == 0, capsys.readouterr().err
    with (run / "metrics.csv").open(newline="") as file:
        header, *new = csv.reader(file)
    assert header == list(COLUMNS)
    # the old train_loss was the objective with label smoothing; the plain loss is unknown
    assert new[:2] == [[*row[:4], "", *row[4:]] for row in old]
    assert new[2][:4] == ["3", "9", "840", "0.02"]
    assert len(new) == 3
    assert (run / "metrics.csv.old").read_bytes() == (OLD_RUN / "metrics.csv").read_bytes()
    assert 'pixel_scaling = "unit"' in (run / "recipe.toml").read_text()
    found, expected = load_file(run / "last.safetensors"), load_file(run / "expected.safetensors")
    # the ranges of the features are measured on the data of the run, which have not changed
    assert found.keys() == {*expected, "ranges.low", "ranges.high"}
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_train_shows_finished_run_of_older_version_without_drawing_it_again(run, monkeypatch, capsys):
    for name in ("report.html", "report.md"):
        (run / name).write_text("page")
    monkeypatch.setattr("lagvis.cli.train.diagnose", lambda *_: pytest.fail("its plots are complete"))
    assert run_cli(train.main, ["--resume", "run", "--device", "cpu", "--data", "data.npz"]) == 0
    assert "accuracy 90.00%" in capsys.readouterr().out


def test_evaluate_run_of_older_version(run, capsys):
    assert run_cli(evaluate.main, ["run", "--device", "cpu", "--data", "data.npz"]) == 0
    assert "accuracy 90.00%" in capsys.readouterr().out
