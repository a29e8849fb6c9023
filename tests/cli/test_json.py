"""The JSON of the commands: strict, with the documented keys, whatever was asked."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lagvis import strict_json
from lagvis.cli import compare, data, evaluate, export, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from tests.cli.commands import write_dataset

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
SMALL = ("--device", "cpu", "--no-plots", "--quiet", "--hidden", "8", "-b", "20", "--json")
TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "share": (int, float),
    "boolean": bool,
    "by class": dict,
    "by target": dict,
    "object": dict,
    "string, or by target": (str, dict),
}


def documented(heading):
    """Return {key: (type, whether it may be null)} of the table under a heading of docs/json.md."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .*? \| (.*?) ?\|$", section, re.MULTILINE)
    return {key: (TYPES.get(re.sub(r"[\[\]]|\(#.*?\)", "", kind), list), bool(null)) for key, kind, null in rows}


def check(found, heading):
    """Check keys and types of an object against the table under a heading; return the object."""
    keys = documented(heading)
    assert [*found] == [*keys] or sorted(found) == sorted(keys)
    for key, value in found.items():
        kind, may_be_null = keys[key]
        assert (value is None and may_be_null) or isinstance(value, kind), (key, value)
    for threshold in (found.get("thresholds") or {}).values():
        check(threshold, "A threshold")
    if heading == "python -m data":
        for column in found["columns"] or ():
            check(column, "A column")
    for warning in found.get("warnings", ()):
        check(warning, "Warnings")
    return found


def strict(text):
    """Parse exactly one line of strict JSON."""
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"the JSON holds {constant}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("json")
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1, (200, 4))
    classes = (x @ [1.0, 2.0, -1.0, 1.5] > 0).astype(int)
    np.savez(path / "classes.npz", x=x, y=classes)
    np.savez(path / "line.npz", x=x, y=x[:, :2] @ [[1.0, 2.0], [3.0, 400.0]], target_names=["near", "far"], unit="m")
    np.savez(path / "bare.npz", x=x, y=x[:, :1] * 3)
    np.savez(path / "rows.npz", x=x[:5])
    return path


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def output(capsys, command, *words):
    """Run a command; return exit code, and what it printed on stdout."""
    capsys.readouterr()
    code = run_cli(command.main, [*map(str, words)])
    return code, capsys.readouterr().out


KINDS = {
    "classes": ("--data", "classes.npz", "-e", "3"),
    "numbers": ("--data", "line.npz", "--loss", "mse", "-e", "3"),
    "numbers without a unit": ("--data", "bare.npz", "--loss", "mse", "-e", "3"),
    "no epoch": ("--data", "classes.npz", "-e", "0"),
    "no epoch, numbers": ("--data", "line.npz", "--loss", "mse", "-e", "0"),
    "no validation": ("--data", "classes.npz", "-e", "1", "--validation", "0"),
    "no validation, numbers": ("--data", "line.npz", "--loss", "mse", "-e", "1", "--validation", "0"),
    "diverged": ("--data", "classes.npz", "--lr", "1e30", "-e", "1"),
    "diverged, numbers": ("--data", "line.npz", "--loss", "mse", "--lr", "1e30", "-e", "1"),
    "too low": ("--data", "classes.npz", "--lr", "1e-7", "-e", "1"),
    "jump": ("--recipe", "jump", "-e", "1"),
    "weights": ("--data", "classes.npz", "--class-weights", "balanced", "-e", "1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_train_json_has_the_documented_keys(inside, capsys, kind, tmp_path):
    code, text = output(capsys, train, *SMALL, *KINDS[kind], "-o", tmp_path, "--name", "r")
    assert code == (6 if "diverged" in kind else 0)
    found = check(strict(text), "train.py")
    report = (tmp_path / "r" / "report.json").read_text()
    assert strict_json_of(report) == found
    assert found["finished"] == ("diverged" if "diverged" in kind else "completed")
    assert (found["classes"] is None) == ("--loss" in KINDS[kind] or kind == "jump")
    code, again = output(capsys, train, "--resume", tmp_path / "r", "--no-plots", "--quiet", "--json")
    repeated = check(strict(again), "train.py")
    assert repeated | {"seconds": 0} == found | {"seconds": 0}


def strict_json_of(text):
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"report.json holds {constant}"))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_train_json_stopped_run_has_the_documented_keys(inside, capsys, tmp_path, kind):
    _, text = output(capsys, train, *SMALL, *KINDS[kind], "-o", tmp_path, "--name", "r", "--stop-after", "1")
    found = check(strict(text), "train.py")
    assert (found["finished"], found["test_loss"]) == ("interrupted", None)


@pytest.mark.parametrize("kind", ["classes", "numbers", "jump"])
def test_train_dry_run_json_has_the_documented_keys(inside, capsys, kind):
    code, text = output(capsys, train, *SMALL, *KINDS[kind], "--dry-run")
    assert code == 0
    check(strict(text), "train.py --dry-run")


def test_train_json_finished_run_of_older_version_has_the_documented_keys(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(__file__).with_name("old_run"), tmp_path / "runs" / "run")
    write_dataset(tmp_path / "data.npz")
    words = ("--resume", "run", "--device", "cpu", "--data", "data.npz", "--no-plots", "--quiet", "--json")
    code, text = output(capsys, train, *words)
    assert code == 0
    found = check(strict(text), "train.py")
    assert found["test_accuracy"] == 0.9
    assert found["warnings"] == []


@pytest.mark.parametrize(
    ("words", "code"), [(("--data", "nowhere"), 3), (("--lr", "x"), 2), (("--resume", "nowhere"), 7)], ids=str
)
def test_train_json_error_leaves_stdout_empty(inside, capsys, words, code):
    capsys.readouterr()
    try:
        found = run_cli(train.main, ["--json", *words])
    except SystemExit as error:
        found = error.code
    assert (found, capsys.readouterr().out) == (code, "")


@pytest.mark.parametrize("kind", ["classes", "numbers", "numbers without a unit"])
def test_other_commands_json_has_the_documented_keys(inside, capsys, kind, tmp_path):
    assert output(capsys, train, *SMALL, *KINDS[kind], "-o", tmp_path, "--name", "r")[0] == 0
    run, name = tmp_path / "r", KINDS[kind][1]
    code, text = output(capsys, evaluate, run, "--device", "cpu", "--json")
    assert code == 0
    check(strict(text), "evaluate.py")
    for files, expected in (((name,), 0), (("rows.npz", "nowhere.csv"), 3)):
        code, text = output(capsys, predict, run, *files, "--json")
        assert code == expected
        found = check(strict(text), "predict.py")
        for prediction in found["predictions"]:
            check(prediction, "A prediction")
            assert (prediction["answer"] is None) == (prediction["values"] is not None) == (kind != "classes")
        assert [*map(sorted, found["errors"])] == [["file", "message"]] * (expected == 3)
    code, text = output(capsys, export, run, "--format", "npz", "-o", tmp_path / "out.npz", "--json")
    assert code == 0
    assert check(strict(text), "export.py")["dtype"] == "float32"
    numbers = ("--regression",) if kind != "classes" else ()
    code, text = output(capsys, data, name, *numbers, "--json")
    assert code == 0
    check(strict(text), "python -m data")


@pytest.mark.parametrize("name", ["mnist", "jump"])
def test_data_json_of_shipped_data_has_the_documented_keys(inside, capsys, name):
    load_dataset(name, regression=name == "jump")
    code, text = output(capsys, data, name, "--json")
    assert code == 0
    check(strict(text), "python -m data")


def test_compare_json_has_the_documented_keys(inside, capsys):
    pytest.importorskip("torch")
    words = ("--backends", "torch", "--steps", "2", "--data", "classes.npz", "--hidden", "4", "-b", "20", "--json")
    code, text = output(capsys, compare, *words)
    assert code == 0
    found = check(strict(text), "compare.py")
    for difference in found["differences"]:
        keys = {"backend", "device", "tensor", "absolute", "relative", "bound", "undecided", "free_run", "passed"}
        assert set(difference) == keys
    assert found["digests"] == []
    code, text = output(capsys, compare, *words[2:], "--dropout", "0.5", "--gradients")
    assert code == 0
    for difference in check(strict(text), "compare.py --gradients")["gradients"]:
        keys = {"step", "layer", "tensor", "size", "checked", "replaced", "difference", "bound", "passed"}
        assert set(difference) == keys


def test_every_number_that_is_not_finite_is_null():
    nested = {"a": [float("nan"), {"b": (float("inf"), 1.5)}], "c": np.float64("-inf"), "d": True, "e": "NaN"}
    assert json.loads(strict_json.dumps(nested)) == {"a": [None, {"b": [None, 1.5]}], "c": None, "d": True, "e": "NaN"}
