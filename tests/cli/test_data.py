import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lagvis import __version__
from lagvis.cli import train
from lagvis.cli.data import main
from lagvis.cli.errors import run_cli

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*arguments, encoding="utf-8", **options):
    return subprocess.run(
        [sys.executable, "-m", "data", *map(str, arguments)],
        cwd=ROOT,
        capture_output="stdout" not in options,
        encoding=encoding,
        check=False,
        timeout=60,
        **options,
    )


def facts(capsys, *arguments):
    assert run_cli(main, [*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def messages(found):
    return [warning["message"] for warning in found["warnings"]]


@pytest.fixture
def table(tmp_path):
    rows = ["label,a,b,c"] + [f"{'rare' if i % 20 == 0 else 'often'},{i % 7},{i * 1000},5" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    return tmp_path / "t.csv"


def test_data_command_counts_equal_numpy(capsys, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (50, 4, 6), dtype=np.uint8), rng.integers(3, 6, 50)
    x[:, 0, 0] = 7
    x[45] = x[3]
    np.savez(tmp_path / "a.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    found = facts(capsys, tmp_path / "a.npz")
    assert found["kind"] == "an NPZ file"
    assert found["shape"] == [4, 6]
    assert found["range"] == [int(x[:40].min()), int(x[:40].max())]
    assert found["first_constant_features"] == [1]
    assert found["classes"] == {
        str(k): {"training": int((y[:40] == k).sum()), "test": int((y[40:] == k).sum())} for k in (3, 4, 5)
    }
    assert found["test_rows_in_training"] == 1
    assert any("1 of 10 test rows (10.0%)" in line for line in messages(found))


def test_data_command_table_gives_facts_and_warnings(capsys, table):
    found = facts(capsys, table)
    assert found["kind"] == "a table"
    assert found["training_rows"] + found["test_rows"] == 100
    assert found["first_constant_features"] == [2]
    assert [column["becomes"] for column in found["columns"]] == [
        "number", "holds another whole number in every row", "number",
    ]  # fmt: skip
    assert found["feature_spans"][0] == 6
    warnings = " ".join(messages(found))
    assert "Fewer than 10 training rows: rare" in warnings
    assert "--class-weights balanced" in warnings
    assert "95.0%" in warnings


def test_data_command_class_without_test_row_gives_warning(capsys, tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.eye(4), y_train=[0, 1, 0, 1], x_test=np.ones((1, 4)), y_test=[0])
    assert "No test row: 1. The test result says nothing about it." in messages(facts(capsys, tmp_path / "a.npz"))


def test_data_command_loss_mse_equals_regression(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("x,label\n" + "".join(f"{i / 7:.3f},{i % 3}\n" for i in range(60)))
    found = facts(capsys, tmp_path / "a.csv", "--loss", "mse")
    assert found["classes"] is None
    assert found == facts(capsys, tmp_path / "a.csv", "--regression")


@pytest.mark.parametrize("command", [["-m", "data"], ["-m", "lagvis", "data"]])
def test_data_command_version_help_and_unknown_flag(command):
    def run_words(*words):
        return subprocess.run(
            [sys.executable, *command, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )

    assert run_words("--version").stdout == f"lagvis {__version__}\n"
    usage = run_words("--help").stdout
    assert usage.startswith("usage: python -m data" if command[1] == "data" else "usage: lagvis data")
    assert "exit codes:" in usage
    done = run_words("mnist", "--regresion")
    assert done.returncode == 2
    assert "there is no flag --regresion; did you mean --regression?" in done.stderr


@pytest.mark.parametrize("flag", ["--feature-type", "--feature_type"])
def test_data_command_feature_type_decides_what_a_square_table_is(capsys, tmp_path, flag):
    x = np.random.default_rng(0).integers(0, 256, (40, 64))
    (tmp_path / "t.csv").write_text("".join(f"{i % 2},{','.join(map(str, row))}\n" for i, row in enumerate(x.tolist())))
    guessed, numbers = facts(capsys, tmp_path / "t.csv"), facts(capsys, tmp_path / "t.csv", flag, "numbers")
    assert (guessed["shape"], numbers["shape"]) == ([8, 8], [64])
    assert "--feature-type numbers" in guessed["notices"][0]
    assert not any("picture" in notice for notice in numbers["notices"])


def test_train_shared_rows_gives_the_notice_of_the_data_command_once(capsys, tmp_path):
    arrays = {"x_train": np.eye(6), "y_train": [0, 1] * 3, "x_test": np.eye(6)[:2], "y_test": [0, 1]}
    np.savez(tmp_path / "a.npz", **arrays)
    words = ["--data", str(tmp_path / "a.npz"), "--device", "cpu", "--dry-run"]
    sentence = next(
        line for line in messages(facts(capsys, tmp_path / "a.npz")) if "training rows" in line and "test rows" in line
    )
    assert sentence.startswith("2 of 2 test rows (100.0%) are also training rows")
    assert train.main(words) == 0
    assert capsys.readouterr().err.splitlines().count(sentence) == 1
    assert train.main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    np.savez(tmp_path / "a.npz", **arrays | {"x_test": 2 * np.eye(6)[:2]})
    assert train.main(words) == 0
    assert "also training rows" not in capsys.readouterr().err


def test_train_shared_rows_are_in_json_and_reports(capsys, tmp_path):
    arrays = {"x_train": np.eye(6), "y_train": [0, 1] * 3, "x_test": np.eye(6)[:2], "y_test": [0, 1]}
    np.savez(tmp_path / "a.npz", **arrays)
    words = ["--data", str(tmp_path / "a.npz"), "--device", "cpu", "-o", str(tmp_path), "--name", "r", "-e", "1"]
    assert train.main([*words, "--json", "--quiet"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    (warning,) = [warning for warning in warnings if warning["check"] == "shared_rows"]
    assert warning["figures"] == {"shared_rows": 2, "test_rows": 2, "share": 1.0}
    assert json.loads((tmp_path / "r" / "report.json").read_text())["warnings"] == warnings
    assert warning["message"] in (tmp_path / "r" / "report.md").read_text()
    assert warning["message"] in (tmp_path / "r" / "report.html").read_text()


def test_data_command_regression_describes_targets(capsys, tmp_path):
    (tmp_path / "r.csv").write_text("price,a\n1,2\n3,4\n5,7\n7,9\n")
    found = facts(capsys, tmp_path / "r.csv", "--regression", "--label", "price")
    assert list(found["targets"]) == ["price"]
    assert found["training_rows"] == 3
    assert found["classes"] is None


def test_data_command_text_is_aligned(capsys, table):
    assert run_cli(main, [str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line[9] == " " and line[10] != " " for line in lines)
    assert f"path      {table}" == lines[0]


def test_data_command_missing_path_is_exit_3(capsys, tmp_path):
    assert run_cli(main, [str(tmp_path / "none")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "does not exist; --data takes" in captured.err
    assert captured.err.count("\n") == 1


def test_data_command_folder_of_pictures_any_encoding(capsys, tmp_path):
    for name in ("æ", "😀"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(np.full((3, 4), 50 * i, np.uint8)).save(tmp_path / name / f"{i}.png")
    found = facts(capsys, tmp_path)
    assert found["kind"] == "a folder of pictures"
    assert found["shape"] == [3, 4]
    assert list(found["classes"]) == ["æ", "😀"]
    done = run(tmp_path, encoding="ascii", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\\U0001f600" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a shell that closes a stream is needed")
def test_data_command_closed_output_is_exit_0():
    for redirect in (">&-", "2>&- >&-", "| true"):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m data jump --regression {redirect}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, redirect
        assert done.stderr == "", redirect


def test_data_command_real_labels_are_described_as_targets(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(50, 3))
    np.savez(tmp_path / "line.npz", x=x, y=x @ [1.0, 2.0, 3.0])
    assert main([str(tmp_path / "line.npz"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["targets"]) == ["target 0"]
    assert any("--loss mse trains on them" in note for note in facts["notices"])


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([0, 1] * 10, [0, 1, 2], "test row 3 has the label 2, which no training row has"),
        ([1] * 20, [1] * 3, "every training label is 1"),
        ([0.0, 1.0, 2.0, 2.5] + [1.0] * 16, [0.0, 1.0, 2.0], "has the label 2.5, expected a whole number"),
    ],
)
def test_data_command_invalid_classes_are_exit_3(tmp_path, capsys, train, test, words):
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(len(train), 3)), rng.normal(size=(len(test), 3))
    np.savez(tmp_path / "a.npz", x_train=x, y_train=train, x_test=x_test, y_test=test)
    assert run_cli(main, [str(tmp_path / "a.npz")]) == 3
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["prices", "negative", "few halves", "two", "one of them a flag"])
def test_data_command_integer_measurements_are_described_as_targets(tmp_path, capsys, kind):
    rng = np.random.default_rng(0)
    prices, flag = rng.permutation(1000)[:40], rng.integers(0, 2, 40)
    y = {
        "prices": prices,
        "negative": -prices,
        "few halves": prices + 0.5 * (np.arange(40) % 5 == 0),
        "two": rng.integers(0, 50, (40, 2)),
        "one of them a flag": np.column_stack([flag, prices]),
    }[kind]
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(40, 3)), y=y)
    assert "numbers to predict" in "\n".join(facts(capsys, tmp_path / "a.npz")["notices"])


def test_data_command_largest_floats_do_not_overflow(capsys, tmp_path):
    most = np.finfo(np.float64).max
    y = np.full(10, most)
    x = np.array([[most], [-most]] * 5)
    np.savez(tmp_path / "far.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = facts(capsys, tmp_path / "far.npz", "--regression")
    assert found["targets"]["target 0"]["mean"] == pytest.approx(most)
    assert found["feature_spans"] == [most, most]
