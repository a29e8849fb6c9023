"""train.py --patience: where a run stops, which weights it keeps, and how it goes on."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate
from lagvis.cli.errors import run_cli
from lagvis.cli.train import main
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from tests.conftest import open_backend
from tests.factories import compile_once

FILES = ("last.safetensors", "best.safetensors", "resume.safetensors")
SETTINGS = ("--hidden", "16", "--validation", "60", "-b", "40", "--schedule", "constant", "--lr", "0.1", "-e", "30")
STEPS_PER_EPOCH = 6


@pytest.fixture(autouse=True)
def data_file(tmp_path, monkeypatch):
    """Write rows whose labels are mostly noise, which a network memorises, and change to the folder of the runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)  # a call of the backend is one step
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20))
    y = (x[:, 0] + rng.normal(0, 1.5, 400) > 0).astype(int)
    np.savez("data.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])


def train(*flags, backend="numpy"):
    return run_cli(main, ["--device", "cpu", "--backend", backend, "--no-plots", *map(str, flags)])


def train_new(name, *flags, backend="numpy"):
    return train("--data", "data.npz", *SETTINGS, "--name", name, "--quiet", *flags, backend=backend)


def content(name):
    return {file: Path(f"runs/{name}/{file}").read_bytes() for file in FILES if os.path.exists(f"runs/{name}/{file}")}


def report(name):
    return json.loads(Path(f"runs/{name}/report.json").read_text())


def validation_losses(name):
    rows = [line.split(",") for line in Path(f"runs/{name}/metrics.csv").read_text().splitlines()]
    return [float(row[rows[0].index("validation_loss")]) for row in rows[1:]]


def test_train_patience_stops_and_keeps_the_best_epoch():
    assert train_new("run", "--patience", "3") == 0
    losses, found = validation_losses("run"), report("run")
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 3 < 30
    assert (found["epochs"], found["steps"]) == (best + 3, (best + 3) * STEPS_PER_EPOCH)
    assert (found["finished"], found["stopped_early"], found["restored_epoch"]) == ("completed", True, best)
    assert found["validation_loss"] == found["best_validation_loss"] == min(losses)
    files = content("run")
    assert files["last.safetensors"] == files["best.safetensors"] != files["resume.safetensors"]
    assert read_checkpoint(Path("runs/run/last.safetensors")).epoch == best
    assert read_checkpoint(Path("runs/run/resume.safetensors")).epoch == best + 3


def test_train_patience_test_part_is_judged_by_the_best_epoch(capsys):
    assert train_new("run", "--patience", "3") == 0
    capsys.readouterr()
    assert run_cli(evaluate.main, ["runs/run", "--device", "cpu", "--backend", "numpy", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated["test_loss"], evaluated["confusion"]) == (report("run")["test_loss"], report("run")["confusion"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_train_patience_stopped_anywhere_and_resumed_same_bytes(backend, monkeypatch):
    opened = open_backend(backend, "float32")  # skips where it is not installed
    if backend == "jax":
        compile_once(opened)
        monkeypatch.setattr("lagvis.cli.options.select", lambda *arguments: opened)
    flags = ("--patience", "2", "--optimizer", "adamw", "--lr", "0.01", "--ema", "0.9", "--normalization", "batch")
    assert train_new("whole", *flags, backend=backend) == 0
    expected, steps = content("whole"), report("whole")["steps"]
    assert len(expected) == 3
    for at in (1, steps // 2, steps - 2 * STEPS_PER_EPOCH, steps - STEPS_PER_EPOCH - 1, steps - 1):
        name = f"at{at}"
        assert train_new(name, *flags, "--stop-after", at, backend=backend) == 0
        assert train("--resume", name, "--quiet", backend=backend) == 0
        assert content(name) == expected
        same = ("epochs", "steps", "best_epoch", "restored_epoch", "validation_turn", "train_loss", "test_loss")
        assert {key: report(name)[key] for key in same} == {key: report("whole")[key] for key in same}


def test_resume_early_stopped_run_is_finished_and_changes_nothing(capsys):
    assert train_new("run", "--patience", "3") == 0
    before = content("run")
    capsys.readouterr()
    assert train("--resume", "run") == 0
    out, err = capsys.readouterr()
    assert "stopped early after" in err
    assert "3 epochs without a lower validation loss. With a larger --patience it continues" in err
    assert "overfitting" in out
    assert content("run") == before


def test_resume_larger_patience_continues_from_the_last_epoch():
    assert train_new("short", "--patience", "3") == 0
    assert train("--resume", "short", "--patience", "6", "--quiet") == 0
    assert train_new("long", "--patience", "6") == 0
    assert content("short") == content("long")
    assert report("short")["epochs"] == report("long")["epochs"]
    assert json.loads(Path("runs/short/environment.json").read_text())["resumed"] == []


def test_resume_without_patience_trains_to_the_last_epoch():
    assert train_new("run", "--patience", "3") == 0
    assert train("--resume", "run", "--patience", "0", "-e", "9", "--quiet") == 0
    assert train_new("plain", "-e", "9") == 0
    assert content("run") == content("plain")
    assert "resume.safetensors" not in content("run")


def test_resume_finished_run_with_patience_keeps_the_best_epoch():
    assert train_new("run", "-e", "9") == 0
    best = int(np.argmin(validation_losses("run"))) + 1
    assert train("--resume", "run", "--patience", "3", "--quiet") == 0
    assert report("run")["restored_epoch"] == best < 9
    assert train("--resume", "run", "--patience", "0", "--quiet") == 0
    assert report("run")["restored_epoch"] is None
    assert read_checkpoint(Path("runs/run/last.safetensors")).epoch == 9


@pytest.mark.parametrize("restored", [False, True])
def test_resume_killed_while_the_best_epoch_is_restored_same_bytes(restored):
    assert train_new("run", "--patience", "3") == 0
    expected, folder = content("run"), Path("runs/run")
    (folder / "report.json").unlink()
    if not restored:  # killed between the writes of resume.safetensors and last.safetensors
        shutil.copy(folder / "resume.safetensors", folder / "last.safetensors")
    assert train("--resume", "run", "--quiet") == 0
    assert content("run") == expected


def test_resume_lost_state_or_best_epoch_is_one_sentence(capsys):
    assert train_new("run", "--patience", "3") == 0
    os.unlink("runs/run/resume.safetensors")
    assert train("--resume", "run", "--patience", "9", "--quiet") == 7
    assert "resume.safetensors, from which the run" in capsys.readouterr().err
    assert train_new("other", "--patience", "3", "--stop-after", str(8 * STEPS_PER_EPOCH)) == 0
    os.unlink("runs/other/best.safetensors")
    assert train("--resume", "other", "--quiet") == 2
    assert "restore best.safetensors, or set patience to 0" in capsys.readouterr().err
    assert train("--resume", "other", "--quiet", "--patience", "0", "-e", "9") == 0


def test_train_patience_without_validation_rows_exits_2(capsys):
    assert train_new("run", "--patience", "3", "--validation", "0") == 2
    assert "patience is 3, but no rows are held out" in capsys.readouterr().err
    assert not os.path.exists("runs")


def test_train_patience_larger_than_the_run_keeps_the_best_epoch():
    assert train_new("run", "--patience", "100", "-e", "8") == 0
    best = int(np.argmin(validation_losses("run"))) + 1
    assert (report("run")["stopped_early"], report("run")["restored_epoch"], best < 8) == (False, best, True)


def test_train_best_epoch_not_the_last_is_said_with_its_loss(capsys):
    assert train_new("run", "-e", "9") == 0
    losses = validation_losses("run")
    best = int(np.argmin(losses)) + 1
    out = capsys.readouterr().out
    assert f"the validation loss was lowest in epoch {best}: {min(losses):.4f}; " in out
    assert f"{9 - best} epochs later it is {losses[-1]:.4f}" in out
    assert "overfitting. best.safetensors has the weights" in out


def test_write_best_checkpoint_again_same_bytes():
    """A run that was killed while it waited writes the best epoch as it was read."""
    assert train_new("run", "-e", "3", "--ema", "0.9", "--normalization", "batch", "--optimizer", "adamw") == 0
    path = Path("runs/run/best.safetensors")
    write_checkpoint(Path("again.safetensors"), read_checkpoint(path))
    assert Path("again.safetensors").read_bytes() == path.read_bytes()
