"""Results that are none, or no better than the baseline: exit code, sentence, and warnings in JSON."""

import csv
import dataclasses
import json
import re
import signal
import warnings

import numpy as np
import pytest

from lagvis.cli import evaluate, train
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from lagvis.training.linear_model import train_linear_model
from lagvis.tree import tree_map
from tests.cli.commands import write_dataset

QUICK = ("--device", "cpu", "--no-plots", "--hidden", "8", "--batch-size", "20", "--validation", "0")


@pytest.fixture(autouse=True)
def numpy_warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (300, 4))
    y = (x @ [1.0, 2.0, -1.0, -2.0] > 0).astype(int)
    parts = {"x_train": x[:240], "x_test": x[240:]}
    np.savez("classes.npz", **parts, y_train=y[:240], y_test=y[240:])
    np.savez("line.npz", **parts, y_train=x[:240] @ [[1.0], [2], [3], [4]], y_test=x[240:] @ [[1.0], [2], [3], [4]])
    for name in ("classes", "line"):
        arrays = dict(np.load(f"{name}.npz"))
        arrays["x_test"][2, 1] = 1e300
        np.savez(f"{name}-test-row.npz", **arrays)
        arrays["x_test"][2, 1], arrays["x_train"][7, 1] = 0.0, 1e60
        np.savez(f"{name}-training-row.npz", **arrays)
    return tmp_path


def run(command, *words):
    try:
        return command.main([*map(str, words)])
    except SystemExit as error:
        return error.code


def result(capsys):
    printed = capsys.readouterr()
    return json.loads(printed.out, parse_constant=pytest.fail), printed.err


def csv_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize(("name", "loss"), [("classes", "cross-entropy"), ("line", "mse")])
def test_train_test_part_without_loss_exits_6_and_names_the_row(folder, capsys, name, loss):
    arguments = (*QUICK, "--data", f"{name}-test-row.npz", "--loss", loss, "-e", "2", "--quiet", "--json")
    assert run(train, *arguments, "--name", "r") == 6
    report, err = result(capsys)
    assert "error: the test part cannot be judged, because its loss is not a finite number: " in err
    assert f"{name}-test-row.npz: test row 3 has values" in err
    assert report["test_loss"] is report["test_accuracy"] is None
    assert [w["check"] for w in report["warnings"]] == ["outside_range", "not_judged"]
    assert report["warnings"][1]["figures"]["row"] == f"{name}-test-row.npz: test row 3"
    assert run(train, "--resume", "r", "--no-plots", "--quiet", "--json") == 6
    again, err = result(capsys)
    assert "test row 3 has values" in err
    assert again["warnings"] == report["warnings"]


@pytest.mark.parametrize(("name", "loss"), [("classes", "cross-entropy"), ("line", "mse")])
def test_train_advice_float64_makes_a_large_value_a_result(folder, capsys, name, loss):
    arrays = dict(np.load(f"{name}-test-row.npz"))
    arrays["x_test"][2, 1] = 1e39
    np.savez("large.npz", **arrays)
    arguments = (*QUICK, "--data", "large.npz", "--loss", loss, "-e", "2", "--quiet")
    assert run(train, *arguments) == 6
    assert "or use --dtype float64" in capsys.readouterr().err
    assert run(train, *arguments, "--dtype", "float64") == 0


@pytest.mark.parametrize(("name", "loss"), [("classes", "cross-entropy"), ("line", "mse")])
def test_evaluate_part_without_loss_exits_6_and_names_the_row(folder, capsys, name, loss):
    assert run(train, *QUICK, "--data", f"{name}.npz", "--loss", loss, "-e", "2", "--quiet", "--name", "r") == 0
    capsys.readouterr()
    assert run(evaluate, "r", "--data", f"{name}-test-row.npz", "--device", "cpu", "--json") == 6
    found, err = result(capsys)
    assert "test row 3 has values too large for float32" in err
    assert found["test_loss"] is None


def test_evaluate_row_of_a_file_without_test_part_is_named_by_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(4).normal(0, 1, (80, 3))
    lines = ["a,b,c,label", *(f"{a},{b},{c},{int(a > b)}" for a, b, c in x)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    (tmp_path / "other.csv").write_text("\n".join([*lines[:11], "1e300,0,0,1", *lines[40:]]))
    assert run(train, *QUICK, "--data", "train.csv", "-e", "1", "--quiet", "--name", "r") == 0
    capsys.readouterr()
    assert run(evaluate, "r", "--data", "other.csv", "--device", "cpu", "--json") == 6
    found, err = result(capsys)
    far, not_judged = found["warnings"][0], found["warnings"][-1]
    assert "in column 'a', " in far["message"]
    assert "other.csv, line 12 (" in far["message"]
    assert not_judged["figures"]["row"].endswith("other.csv, line 12")
    assert "other.csv, line 12 has values too large for float32" in err


def test_train_init_from_row_too_large_is_named_and_not_the_rate(folder, capsys):
    assert run(train, *QUICK, "--data", "classes.npz", "-e", "2", "--quiet", "--name", "r") == 0
    capsys.readouterr()
    words = [word for word in QUICK if word not in ("--hidden", "8")]
    assert run(train, *words, "--data", "classes-training-row.npz", "--init-from", "r", "-e", "2", "--json") == 6
    report, err = result(capsys)
    assert "training row 8 has values too large for float32" in err
    assert "too high" not in err
    assert report["warnings"][-1]["figures"]["suggested_learning_rate"] is None


@pytest.mark.parametrize("epochs", ["0", "1"])
def test_train_init_from_huge_weights_exits_6_and_blames_the_weights(folder, capsys, epochs):
    assert run(train, *QUICK, "--data", "classes.npz", "-e", "2", "--quiet", "--name", "r") == 0
    stored = read_checkpoint(folder / "runs" / "r" / "last.safetensors")
    params = tree_map(lambda a: a * np.float32(1e20), stored.state["params"])
    write_checkpoint(folder / "huge.safetensors", dataclasses.replace(stored, state={"params": params}))
    capsys.readouterr()
    words = [word for word in QUICK if word not in ("--hidden", "8")]
    arguments = (*words, "--data", "classes.npz", "--init-from", "huge.safetensors", "-e", epochs, "--json")
    assert run(train, *arguments) == 6
    report, err = result(capsys)
    assert "the weights, up to " in err
    assert report["test_loss"] is None
    assert run(evaluate, "huge.safetensors", "--data", "classes.npz", "--device", "cpu") == 6


@pytest.mark.parametrize("lr", ["1e4", "1e30"])
def test_train_diverged_advice_works_as_printed(folder, capsys, lr):
    write_dataset(folder / "data.npz")
    arguments = ("--device", "cpu", "--no-plots", "--quiet", "--data", "data.npz", "-e", "5", "-b", "20")
    assert run(train, *arguments, "--lr", lr, "--name", "d", "--json") == 6
    report, err = result(capsys)
    advice = err.rpartition("Try ")[2].removesuffix(".\n").split()
    assert advice[:2] == ["--resume", str(folder / "runs" / "d")]
    assert float(advice[3]) == report["warnings"][-1]["figures"]["suggested_learning_rate"]
    assert run(train, *advice, "--no-plots", "--quiet", "--json") == 0
    report, err = result(capsys)
    assert report["test_accuracy"] > 0.9
    assert report["warnings"] == []


def test_train_no_better_than_baseline_is_in_text_json_and_report(folder, capsys):
    arguments = (*QUICK, "--data", "classes.npz", "--lr", "1e-7", "-e", "2", "--name", "r")
    assert run(train, *arguments) == 0
    text = capsys.readouterr().out
    assert text.count("Suspect: the learning rate 1e-07 is too low; with --lr ") == 1
    report = json.loads((folder / "runs" / "r" / "report.json").read_text())
    (warning,) = report["warnings"]
    assert (warning["check"], warning["figures"]["suspect"]) == ("no_better_than_baseline", "learning_rate_too_low")
    assert warning["message"] in text
    assert run(train, "--resume", "r", "--no-plots") == 0
    assert warning["message"] in capsys.readouterr().out
    assert run(evaluate, "r", "--device", "cpu", "--json") == 0
    found, _ = result(capsys)
    (warning,) = found["warnings"]
    assert "Suspect" not in warning["message"]


@pytest.mark.parametrize("recipe", ["default", "jump"])
def test_train_shipped_recipe_has_no_warning_after_one_epoch(folder, capsys, recipe):
    assert run(train, "--recipe", recipe, "--device", "cpu", "-e", "1", "--no-plots", "--quiet", "--json") == 0
    report, _ = result(capsys)
    assert "no_better_than_baseline" not in [warning["check"] for warning in report["warnings"]]


def test_train_several_targets_are_reported_for_every_part(folder, capsys):
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, (300, 3))
    np.savez("two.npz", x=x, y=np.c_[x[:, 0], 1e6 * x[:, 1]], target_names=["near", "far"], unit="m")
    words = ("--device", "cpu", "--no-plots", "--loss", "mse", "--data", "two.npz", "-b", "20", "--hidden", "8")
    assert run(train, *words, "--validation", "40", "-e", "3", "--name", "r") == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("epoch")]
    for line in lines:
        assert line.count(" near ") == line.count(" far ") == 2
    for part in ("train", "validation"):
        assert re.search(rf"{part} +loss [\d.]+, near [\d.]+ m, far [\d.e+]+ m", printed.out)
    report = json.loads((folder / "runs" / "r" / "report.json").read_text())
    for key in ("train_errors", "validation_errors", "test_errors", "baseline_errors"):
        assert list(report[key]) == report["targets"] == ["near", "far"]
        assert 1e4 < report[key]["far"] / report[key]["near"] < 1e8
    rows = csv_rows(folder / "runs" / "r" / "metrics.csv")
    assert len(rows) == 3
    assert float(rows[-1]["train_error_2"]) == report["train_errors"]["far"]
    assert float(rows[-1]["validation_error_1"]) == report["validation_errors"]["near"]
    assert run(train, "--resume", "r", "-e", "4", "--no-plots", "--quiet") == 0
    assert len(csv_rows(folder / "runs" / "r" / "metrics.csv")) == 4


def test_train_resume_metrics_without_errors_of_targets_gets_empty_cells(folder, capsys):
    words = (*QUICK, "--loss", "mse", "--data", "line.npz", "-e", "2", "--quiet", "--name", "r")
    assert run(train, *words) == 0
    path = folder / "runs" / "r" / "metrics.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(",".join([*row[:9], row[-1]]) + "\n" for row in rows))  # as an earlier version wrote it
    assert run(train, "--resume", "r", "-e", "3", "--no-plots", "--quiet", "--json") == 0
    found = csv_rows(path)
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    assert [bool(row["train_error_1"]) for row in found] == [False, False, True]


@pytest.mark.parametrize("scale", [1e150, 1e300])
def test_train_huge_targets_have_a_result(folder, capsys, scale):
    arrays = dict(np.load("line.npz"))
    np.savez("huge.npz", **arrays | {"y_train": arrays["y_train"] * scale, "y_test": arrays["y_test"] * scale})
    words = (*QUICK, "--data", "huge.npz", "--loss", "mse", "-e", "9", "--lr", "0.05", "--quiet", "--json")
    code = run(train, *words)
    report, err = result(capsys)
    assert (code, err) == (0, "")
    assert scale / 1000 < report["test_errors"]["target 0"] < report["baseline_errors"]["target 0"]


def test_train_one_huge_test_target_exits_6_and_names_the_row(folder, capsys):
    arrays = dict(np.load("line.npz"))
    arrays["y_test"][59] = 1e300
    np.savez("far.npz", **arrays)
    assert run(train, *QUICK, "--data", "far.npz", "--loss", "mse", "-e", "2", "--quiet", "--json") == 6
    assert "test row 60 has values too large for float32" in result(capsys)[1]


@pytest.fixture
def curved(tmp_path, monkeypatch):
    """Write tables that no linear model fits: of classes and of numbers."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(5).normal(0, 1, (600, 2)).round(4)
    size = (x**2).sum(axis=1).round(4)
    for name, label in (("ring", np.where(size > 1.4, "far", "near")), ("bowl", size)):
        rows = (f"{a},{b},{c}\n" for (a, b), c in zip(x, label, strict=True))
        (tmp_path / f"{name}.csv").write_text("a,b,label\n" + "".join(rows))
    return tmp_path


LEARNING = ("--device", "cpu", "--no-plots", "--quiet", "--label", "label", "-e", "30", "-b", "20", "--json")


@pytest.mark.parametrize(("name", "loss"), [("ring", "cross-entropy"), ("bowl", "mse")])
def test_train_table_is_compared_with_a_linear_model(curved, capsys, name, loss):
    """The figures are those of a run with --hidden none, the checkpoint is not touched, and --resume shows the same."""
    words = (*LEARNING, "--data", f"{name}.csv", "--loss", loss, "--lr", "0.02")
    assert run(train, *words, "--hidden", "16", "--name", "r") == 0
    found, _ = result(capsys)
    assert run(train, *words, "--hidden", "none", "--name", "linear") == 0
    linear, _ = result(capsys)
    assert found["linear_epochs"] == 30  # more than 300 steps, and less than 2,000
    for key in ("loss", "accuracy", "errors"):
        assert found[f"linear_{key}"] == linear[f"test_{key}"]
        assert linear[f"linear_{key}"] is None
    assert found["linear_balanced_accuracy"] == linear["balanced_accuracy"]
    assert found["test_loss"] < found["linear_loss"]
    assert "linear_model_as_good" not in [warning["check"] for warning in found["warnings"]]
    assert run(train, "--resume", "r", "--no-plots", "--quiet", "--json") == 0
    assert result(capsys)[0] == found
    assert run(train, "--resume", "r", "--no-plots", "--quiet") == 0
    printed = capsys.readouterr().out
    assert run(evaluate, "r", "--device", "cpu", "--json") == 0
    evaluated, _ = result(capsys)
    for key in ("positive_class", "roc_auc", "average_precision", "thresholds"):
        assert evaluated[key] == found[key]
        assert (found[key] is None) == (name == "bowl")
    assert ("; a linear model gives " if name == "ring" else "; a linear model: ") in printed


def test_train_table_resumed_run_has_the_linear_model_of_the_whole_run(curved, capsys):
    words = (*LEARNING, "--data", "ring.csv", "--hidden", "16")
    assert run(train, *words, "--name", "whole") == 0
    whole, _ = result(capsys)
    assert run(train, *words, "--name", "parts", "--stop-after", "40") == 0
    assert result(capsys)[0]["linear_loss"] is None
    assert run(train, "--resume", "parts", "--no-plots", "--quiet", "--json") == 0
    parts, _ = result(capsys)
    keys = [key for key in whole if key.startswith(("linear_", "test_", "roc_", "average_", "thresholds"))]
    assert {key: parts[key] for key in keys} == {key: whole[key] for key in keys}
    for name in ("last", "best"):
        first, other = ((curved / "runs" / run / f"{name}.safetensors").read_bytes() for run in ("whole", "parts"))
        assert first == other


def test_train_linear_model_as_good_is_in_text_json_and_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(6).normal(0, 1, (400, 3)).round(4)
    rows = (f"{a},{b},{c},{a - 2 * b}\n" for a, b, c in x)
    (tmp_path / "plane.csv").write_text("a,b,c,label\n" + "".join(rows))
    words = ("--device", "cpu", "--data", "plane.csv", "--label", "label", "--loss", "mse", "-e", "5", "-b", "20")
    assert run(train, *words, "--hidden", "4", "--lr", "0.02", "--quiet", "--name", "r") == 0
    assert (
        "warning     A linear model of the same columns is at least as good as the network: " in capsys.readouterr().out
    )
    report = json.loads((tmp_path / "runs" / "r" / "report.json").read_text())
    (warning,) = (w for w in report["warnings"] if w["check"] == "linear_model_as_good")
    assert warning["figures"] == {"loss": report["test_loss"], "linear_loss": report["linear_loss"]}
    assert warning["message"] in (tmp_path / "runs" / "r" / "report.md").read_text().replace("\\", "")


def test_train_no_memory_for_the_linear_model_keeps_the_result(curved, capsys, monkeypatch):
    monkeypatch.setattr(
        "lagvis.training.outcome.train_linear_model", lambda *arguments: (_ for _ in ()).throw(MemoryError)
    )
    assert run(train, *LEARNING, "--data", "ring.csv", "--hidden", "16", "--name", "r") == 0
    found, _ = result(capsys)
    assert (found["finished"], found["linear_loss"]) == ("completed", None)
    assert found["test_loss"] is not None


def test_train_ctrl_c_during_the_linear_model_keeps_the_result(curved, capsys, monkeypatch):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return train_linear_model(*arguments)

    monkeypatch.setattr("lagvis.training.outcome.train_linear_model", interrupted)
    words = [word for word in LEARNING if word != "--no-plots"]
    assert run(train, *words, "--data", "ring.csv", "--hidden", "16", "--name", "r") == 130
    found, err = result(capsys)
    assert (found["finished"], found["linear_loss"]) == ("completed", None)
    assert found["test_loss"] is not None
    assert "The run in runs/r is complete" in err.replace(str(curved) + "/", "")
