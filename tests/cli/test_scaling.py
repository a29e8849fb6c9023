"""How the commands scale pixels and numbers, and what they say about numbers that scale badly."""

import json
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate, export, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from lagvis.storage.checkpoint_file import read_checkpoint


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def result(capsys):
    """Return a function that runs a command on the CPU and returns its JSON result."""

    def run(command, *flags):
        capsys.readouterr()
        code = run_cli(command.main, [*flags, "--device", "cpu", "--json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


def write_table(path, columns, labels):
    """Write a table of named columns with the column `label` at the end."""
    rows = zip(*(values.tolist() for values in columns.values()), labels.tolist(), strict=True)
    Path(path).write_text("\n".join([",".join([*columns, "label"]), *(",".join(map(str, row)) for row in rows)]) + "\n")


@pytest.mark.slow
def test_train_inverted_mnist_is_as_accurate_as_mnist(result):
    mnist = load_dataset("mnist")
    parts = {"x_train": mnist.x_train, "x_test": mnist.x_test}
    inverted = {name: 255 - x.reshape(-1, 28, 28) for name, x in parts.items()}
    np.savez("inverted.npz", **inverted, y_train=mnist.y_train, y_test=mnist.y_test)
    accuracies = [
        result(train, "--no-plots", "--quiet", *data)["test_accuracy"] for data in ((), ("--data", "inverted.npz"))
    ]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.005)


@pytest.mark.parametrize("light", [False, True])
def test_train_light_paper_learns_and_every_reader_centres(result, light, capsys):
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, 400)
    x = rng.integers(0, 60, (400, 8, 8))
    x[np.arange(400), y] = 250
    x = (255 - x if light else x).astype(np.uint8)
    np.savez("data.npz", x=x, y=y)
    flags = ("--hidden", "16", "-e", "8", "-b", "20", "--no-plots", "--quiet", "--name", "r", "--data", "data.npz")
    trained = result(train, *flags)
    assert trained["test_accuracy"] > 0.95
    assert result(evaluate, "r")["test_accuracy"] == trained["test_accuracy"]
    np.savez("rows.npz", x=x[:40])
    capsys.readouterr()
    assert run_cli(predict.main, ["r", "rows.npz", "--json"]) == 0
    answers = [int(prediction["answer"]) for prediction in json.loads(capsys.readouterr().out)["predictions"]]
    assert np.mean(answers == y[:40]) > 0.95
    for format_ in ("safetensors", "paper"):
        assert run_cli(export.main, ["r", "--format", format_, "-o", f"out-{format_}"]) == 0
    Path("out-safetensors").rename("out.safetensors")
    for network in ("out.safetensors", "out-paper"):
        again = result(evaluate, network, "--data", "data.npz")
        assert again["test_accuracy"] == pytest.approx(trained["test_accuracy"], abs=0.05)


def test_train_init_from_keeps_the_scaling_of_its_network(result, capsys):
    rng = np.random.default_rng(7)
    np.savez("data.npz", x=rng.integers(0, 256, (200, 4, 4)).astype(np.uint8), y=np.arange(200) % 2)
    flags = ("--hidden", "4", "-e", "1", "--no-plots", "--quiet", "--data", "data.npz")
    for scaling in ("unit", "centred"):
        result(train, *flags, "--name", scaling, "--pixel-scaling", scaling)
        result(train, *flags[2:], "--name", f"from-{scaling}", "--init-from", scaling)
        first, second = (read_checkpoint(Path("runs", n, "last.safetensors")) for n in (scaling, f"from-{scaling}"))
        assert first.model.pixel_mean == second.model.pixel_mean
        assert f'pixel_scaling = "{scaling}"' in Path("runs", f"from-{scaling}", "recipe.toml").read_text()
    flags = ["--init-from", "unit", "--data", "data.npz", "--pixel-scaling", "centred"]
    assert run_cli(train.main, flags) == 2
    assert "--init-from keeps the scaling of its network; leave out --pixel-scaling" in capsys.readouterr().err


def test_train_row_far_out_is_named_and_its_remedies_work(result, capsys):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(401, 4))
    y = (x @ [1, -2, 0.5, 1] > 0).astype(int)
    for name, factor in (("far", 1e5), ("good", 1.0)):
        rows = x.copy()
        rows[3] *= factor
        write_table(f"{name}.csv", dict(zip("abcd", rows.T, strict=True)), y)
    flags = ("--hidden", "32,32", "-e", "40", "--no-plots", "--data")
    found = {
        name: result(train, *flags, *data, "--quiet")
        for name, data in {
            "far": ["far.csv"],
            "robust": ["far.csv", "--number-scaling", "robust"],
            "removed": ["good.csv"],
        }.items()
    }
    named = {name: [w for w in r["warnings"] if w["check"] == "outliers"] for name, r in found.items()}
    assert [len(warnings) for warnings in named.values()] == [1, 0, 0]
    assert "far.csv, line 5, " in named["far"][0]["message"]
    assert found["far"]["test_accuracy"] < 0.8
    assert min(found["robust"]["test_accuracy"], found["removed"]["test_accuracy"]) > 0.9


@pytest.mark.parametrize("start", [1_767_225_600, 10**12, 1_767_225_600_000_000, 4_571_000_000_000_000])
def test_train_numbers_far_from_zero_are_learned_and_a_constant_column_counts_as_nothing(result, start):
    rng = np.random.default_rng(7)
    steps = {"data": rng.integers(0, 3600, 1500)} | dict.fromkeys(("same", "changed"), rng.integers(0, 3600, 500))
    for name, seconds in steps.items():
        constant = np.full(len(seconds), 9000 if name == "changed" else 7)
        write_table(f"{name}.csv", {"time": start + seconds, "constant": constant}, (seconds > 1800).astype(int))
    flags = ("--hidden", "8", "-e", "25", "-b", "50", "--no-plots", "--quiet", "--name", "r")
    assert result(train, *flags, "--data", "data.csv")["test_accuracy"] > 0.97
    same, changed = (result(evaluate, "r", "--data", f"{name}.csv") for name in ("same", "changed"))
    assert changed["test_accuracy"] == same["test_accuracy"] > 0.97
    assert changed["test_loss"] == same["test_loss"]
