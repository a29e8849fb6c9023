"""Exports of a network that has learned from the columns of a table, by the commands."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from lagvis.cli import evaluate, export, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.split import hold_out_test

pd = pytest.importorskip("pandas")

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "export.md"


def people(rows, seed=1):
    """Return a table with columns of every kind, with cells missing, and a label."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(float),
            "city": rng.choice(["Köln", "Paris", "New York"], rows),
            "income": np.round(np.exp(rng.normal(8, 2, rows)), 2),
            "stamp": 1_700_000_000 + rng.integers(0, 40, rows),
            "member": (rng.random(rows) < 0.5).astype(object),
            "joined": pd.Series(
                pd.Timestamp("1999-12-30 07:30") + pd.to_timedelta(rng.integers(0, 9000, rows), "h")
            ).dt.strftime("%d.%m.%Y %H:%M"),
        }
    )
    table["label"] = np.where((table["age"] > 50) ^ (table["city"] == "Paris"), "yes", "no")
    for name in ("age", "city", "income", "member", "joined"):
        table.loc[rng.random(rows) < 0.1, name] = np.nan
    return table


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Train a network on people.csv, in runs/r of the current folder."""
    monkeypatch.chdir(tmp_path)
    people(150).to_csv("people.csv", index=False)
    flags = ["--device", "cpu", "--data", "people.csv", "-e", "3", "--quiet", "--no-plots", "--name", "r"]
    assert train.main([*flags, "--hidden", "8"]) == 0
    capsys.readouterr()
    return tmp_path / "runs" / "r"


def documented_example():
    """Return the program of docs/export.md that feeds a CSV file, here new.csv, to an ONNX network."""
    program = re.search(r"```python\n(import json.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "titanic/test.csv" in program
    return program.replace("titanic/test.csv", "new.csv")


def test_export_documented_example_equals_predict(run, onnxruntime, capsys):
    new = people(40, seed=2)
    new.loc[3:5, "city"] = ["Oslo", "?", "N/A"]
    new.drop(columns="label").to_csv("new.csv", index=False)
    assert export.main(["r", "--format", "onnx"]) == 0
    shutil.copy(run / "export" / "model.onnx", "model.onnx")
    assert "takes an array (N, 1) for each column, 5 double (NaN for a missing cell) and 1 string" in (
        capsys.readouterr().err
    )
    names = {}
    exec(documented_example(), names)
    assert predict.main(["r", "new.csv", "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    expected = [list(row["probabilities"].values()) for row in predictions]
    np.testing.assert_allclose(names["probabilities"], expected, rtol=0, atol=2e-6)
    assert names["labels"].tolist() == [row["answer"] for row in predictions]


def test_export_documented_example_reads_a_table_with_blanks_and_question_marks(
    tmp_path, monkeypatch, onnxruntime, capsys
):
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{age}, {work} , {'>50K' if age > 40 else '<=50K'}" for age in range(20, 60) for work in ("State", "?", "É")
    ]
    Path("new.csv").write_text("age, work, label\n" + "\n".join(rows).replace("45,", "?,") + "\n")
    assert train.main(["--device", "cpu", "--data", "new.csv", "-e", "2", "--quiet", "--no-plots", "--name", "r"]) == 0
    assert export.main(["r", "--format", "onnx", "-o", "model.onnx"]) == 0
    table = Path("new.csv").read_text()
    Path("new.csv").write_text(table.replace("É", "E\u0301"))  # decomposed, as macOS writes names
    names = {}
    exec(documented_example(), names)
    capsys.readouterr()
    assert predict.main(["r", "new.csv", "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    expected = [list(row["probabilities"].values()) for row in predictions]
    np.testing.assert_allclose(names["probabilities"], expected, rtol=0, atol=2e-6)


def test_export_onnx_labels_give_the_confusion_of_evaluate(run, onnxruntime, capsys):
    assert export.main(["r", "--format", "onnx", "-o", "model.onnx"]) == 0
    capsys.readouterr()
    shutil.copy("people.csv", "new.csv")
    names = {}
    exec(documented_example(), names)
    assert evaluate.main(["r", "--device", "cpu", "--data", "new.csv", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    truth, found = names["table"]["label"].to_numpy(str), names["labels"]
    test = hold_out_test(truth, by_class=True)[1]
    assert result["confusion"] == confusion_matrix(truth[test], found[test], labels=["no", "yes"]).tolist()


def test_export_onnx_numbers_equal_those_of_predict(tmp_path, monkeypatch, onnxruntime, capsys):
    monkeypatch.chdir(tmp_path)
    people(150).drop(columns="label").to_csv("new.csv", index=False)
    flags = ["--device", "cpu", "--data", "new.csv", "--label", "stamp,age", "--loss", "mse", "--dtype", "float64"]
    assert train.main([*flags, "-e", "2", "--quiet", "--no-plots", "--name", "r"]) == 0
    assert export.main(["r", "--format", "onnx", "-o", "model.onnx"]) == 0
    capsys.readouterr()
    names = {}
    exec(documented_example().replace("probabilities, labels =", "(numbers,) ="), names)
    assert predict.main(["r", "new.csv", "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    expected = [list(row["values"].values()) for row in predictions]
    np.testing.assert_allclose(names["numbers"], expected, rtol=0, atol=1e-6)


def test_export_safetensors_of_a_table_predicts_as_the_run(run, capsys):
    assert export.main(["r", "--format", "safetensors", "-o", "model.safetensors"]) == 0
    answers = []
    for network in ("model.safetensors", "r"):
        capsys.readouterr()
        assert predict.main([network, "people.csv", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["predictions"])
    assert answers[0] == answers[1]


def test_export_npz_of_a_table_has_the_encoding(run):
    assert export.main(["r", "--format", "npz", "-o", "model.npz"]) == 0
    with np.load("model.npz") as arrays:
        encoding = json.loads(str(arrays["lagvis"]))["encoding"]
    assert [(column["name"], column["kind"]) for column in encoding["columns"]] == [
        ("age", "number"),
        ("city", "category"),
        ("income", "number"),
        ("stamp", "number"),
        ("member", "boolean"),
        ("joined", "date"),
    ]
    assert encoding["columns"][1]["levels"] == ["Köln", "New York", "Paris"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "html"], "a page to draw on needs one that classifies grey images"),
        (["--format", "paper"], "the paper's program supports ReLU networks that classify images"),
        (["--format", "npz", "--onnx-inputs", "columns"], "--onnx-inputs columns needs --format onnx"),
    ],
)
def test_export_of_a_table_to_a_format_without_columns_exits_2(run, capsys, arguments, words):
    assert run_cli(export.main, ["r", *arguments]) == 2
    out = capsys.readouterr()
    assert (out.out, out.err.count("\n")) == ("", 1)
    assert words in out.err


def test_export_onnx_input_with_another_name_than_its_column_is_said(tmp_path, monkeypatch, onnxruntime, capsys):
    monkeypatch.chdir(tmp_path)
    table = people(60).rename(columns={"age": "numbers", "city": "probabilities"})
    table.to_csv("people.csv", index=False)
    flags = ["--device", "cpu", "--data", "people.csv", "--label", "label", "-e", "1", "--quiet", "--no-plots"]
    assert train.main([*flags, "--name", "r"]) == 0
    capsys.readouterr()
    assert export.main(["r", "--format", "onnx"]) == 0
    err = capsys.readouterr().err
    assert err.splitlines()[1] == (
        "An input has another name than its column where that is taken: 'numbers_2' for 'numbers', and 1 more (in the "
        "metadata)."
    )
