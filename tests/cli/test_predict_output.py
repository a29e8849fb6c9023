"""predict.py --output: predictions as a table, read back by pandas, pyarrow and polars."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import evaluate, predict, prediction_output, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from tests.cli.commands import hide_module, run_command

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

QUICK = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0"]
READERS = {
    "csv": lambda path: pd.read_csv(path, dtype=str),
    "tsv": lambda path: pd.read_csv(path, sep="\t", dtype=str),
    "parquet": pd.read_parquet,
    "json": lambda path: pd.DataFrame(json.loads(Path(path).read_text())),
    "ndjson": lambda path: pd.DataFrame([json.loads(line) for line in Path(path).read_text().splitlines()]),
    "arrow": pd.read_feather,
    "feather": pd.read_feather,
    "xlsx": lambda path: pl.read_excel(path).to_pandas(),
}


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Train the run `people` on a table with ids, categories and missing cells; return its folder and other rows."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(4)
    n = 500
    age = rng.integers(1, 80, n).astype(float)
    sex = rng.choice(["female", "male"], n)
    port = rng.choice(["S", "C", "Q"], n)
    alive = np.where(rng.random(n) < 0.15 + 0.6 * (sex == "female") + 0.2 * (port == "C"), "yes", "no")
    table = pd.DataFrame({"id": [f"{i:04d}" for i in range(n)], "age": age, "sex": sex, "port": port, "alive": alive})
    table.loc[rng.random(n) < 0.1, "age"] = np.nan
    table.loc[rng.random(n) < 0.1, "port"] = None
    table[:400].to_csv(folder / "train.csv", index=False)
    words = ["--data", str(folder / "train.csv"), "--label", "alive", "--id", "id", "-e", "15", "-b", "20"]
    assert train.main([*QUICK, *words, "--hidden", "8", "--name", "people", "-o", str(folder / "runs")]) == 0
    return folder / "runs", table[400:].reset_index(drop=True)


@pytest.fixture
def run_output(working_folder, capsys):
    """Return a function that runs predict.py and returns exit code, stdout and stderr."""

    def run_output(runs, *words):
        capsys.readouterr()
        code = run_cli(predict.main, [*map(str, words), "--runs-dir", str(runs)])
        return code, *capsys.readouterr()

    return run_output


@pytest.mark.parametrize("ending", READERS)
def test_predict_output_every_format_reads_back_as_json_predicted(people, run_output, ending):
    runs, rows = people
    rows.to_csv("rows.csv", index=False)
    name = f"answers.{ending}"
    code, out, err = run_output(runs, "people", "rows.csv", "-o", name, "--proba", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["output"] == str(Path(name).absolute())
    table = READERS[ending](name)
    assert table.columns.to_list() == ["id", "answer", "no", "yes"]
    assert table["id"].to_list() == rows["id"].to_list()
    assert table["answer"].to_list() == [p["answer"] for p in found["predictions"]]
    for class_name in ("no", "yes"):
        expected = [p["probabilities"][class_name] for p in found["predictions"]]
        if ending == "xlsx":  # a workbook keeps 16 digits
            np.testing.assert_allclose(table[class_name], expected, rtol=1e-15)
        else:
            assert [float(value) for value in table[class_name]] == expected


def test_predict_output_accuracy_equals_evaluate(people, run_output, capsys):
    """The columns have another order, some cells are missing, and two categories are unknown to the network."""
    runs, rows = people
    changed = rows[["port", "alive", "id", "age", "sex"]].copy()
    changed.loc[:4, "port"] = "X"
    changed.loc[5, "sex"] = "unknown"
    changed.to_csv("rows.csv", index=False)
    assert run_output(runs, "people", "rows.csv", "-o", "answers.csv")[0] == 0
    accuracy = (pd.read_csv("answers.csv")["answer"] == changed["alive"]).mean()
    words = ["people", "--data", "rows.csv", "--device", "cpu", "--json", "--runs-dir", str(runs)]
    assert run_cli(evaluate.main, words) == 0
    assert accuracy == json.loads(capsys.readouterr().out)["test_accuracy"]
    run_output(runs, "people", "rows.csv", "-o", "ordered.csv", "--proba")
    changed[["id", "age", "sex", "port"]].to_csv("other.csv", index=False)
    run_output(runs, "people", "other.csv", "-o", "other-answers.csv", "--proba")
    assert Path("ordered.csv").read_bytes() == Path("other-answers.csv").read_bytes()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predict_output_in_pieces_equals_the_file_at_once(people, run_output, monkeypatch, ending):
    """Unseen levels, values out of range and missing cells in several pieces are reported in one line each."""
    runs, rows = people
    changed = pd.concat([rows.assign(id=rows["id"] + f"-{i}") for i in range(30)], ignore_index=True)
    changed.loc[::700, "port"] = "X"
    changed.loc[500::700, "port"] = "Y"
    changed.loc[::900, "sex"] = None
    changed.loc[[20, 2900], "age"] = [900.0, 2000.0]
    getattr(changed, {"csv": "to_csv", "parquet": "to_parquet"}[ending])(f"rows.{ending}", index=False)
    whole = run_output(runs, "people", f"rows.{ending}", "-o", "whole.csv", "--proba", "--json")
    calls = []
    monkeypatch.setattr(prediction_output, "piece_rows", lambda *_: 1000)
    predicted = prediction_output.predict_batches
    monkeypatch.setattr(prediction_output, "predict_batches", lambda *a: calls.append(1) or predicted(*a))
    pieces = run_output(runs, "people", f"rows.{ending}", "-o", "pieces.csv", "--proba", "--json")
    assert len(calls) == 4  # the last has the warnings
    assert Path("whole.csv").read_bytes() == Path("pieces.csv").read_bytes()
    assert whole[2] == pieces[2]
    assert whole[2].count("\n") == 3
    assert pieces[1] == whole[1].replace("whole.csv", "pieces.csv")
    assert "'port' (X, Y: 9 rows)" in whole[2]
    assert "most of all 2000 in column 'age', row 2,901" in whole[2]


def test_predict_output_of_several_files_has_one_column_of_ids(people, run_output):
    """Without a header the id is found by its place, and has the name of training; a file without ids is an error."""
    runs, rows = people
    rows[:5].to_csv("a.csv", index=False)
    rows[5:9].drop(columns="alive").to_csv("b.csv", index=False, header=False)
    rows.drop(columns="id").to_csv("c.csv", index=False)
    code, out, err = run_output(runs, "people", "a.csv", "b.csv", "c.csv", "-o", "answers.csv")
    assert (code, out) == (3, "answers.csv: 9 rows of id, answer\n")
    assert pd.read_csv("answers.csv", dtype=str)["id"].to_list() == rows["id"].to_list()[:9]
    assert "error: c.csv lacks id, which names the rows of the files before it" in err
    code, out, err = run_output(runs, "people", "c.csv", "-o", "answers.csv")
    assert (code, out) == (0, "answers.csv: 100 rows of row, answer\n")
    assert "c.csv has no column id; its rows are numbered.\n" in err


def test_predict_output_kaggle_digits_is_one_command(working_folder, runs, run_output):
    x = load_dataset("mnist").x_test[:30]
    pd.DataFrame(x, columns=[f"pixel{i}" for i in range(784)]).to_csv("test.csv", index=False)
    code, out, _ = run_output(runs, "digits", "test.csv", "--output", "submission.csv", "--columns", "ImageId,Label")
    assert (code, out) == (0, "submission.csv: 30 rows of ImageId, Label\n")
    lines = Path("submission.csv").read_text().splitlines()
    assert lines[:3] == ["ImageId,Label", "1,7", "2,2"]
    assert pd.read_csv("submission.csv").dtypes.to_list() == [np.dtype("int64")] * 2


def test_predict_output_regression_has_a_column_for_each_target(runs, run_output):
    x = np.random.default_rng(0).normal(5, 2, (4, 3))
    np.savez("rows.npz", x=x)
    code, out, _ = run_output(runs, "line", "rows.npz", "rows.npz", "-o", "t.parquet", "--json")
    assert code == 0
    table = pd.read_parquet("t.parquet")
    assert table.columns.to_list() == ["file", "row", "near", "far"]
    assert table["row"].to_list() == [1, 2, 3, 4] * 2
    assert table["near"].to_list() == [p["values"]["near"] for p in json.loads(out)["predictions"]]
    code, _, err = run_output(runs, "line", "rows.npz", "-o", "t.csv", "--proba")
    assert (code, err) == (2, "error: the network predicts numbers, which have no probabilities; leave --proba out\n")


def test_predict_output_id_option_is_copied_as_written(runs, table, run_output):
    lines = ["a,code,b,c", "1,007,2,50", "3,=1+1,4,50", '5,"x, y",4,50', "6,,4,50", "6,NA,4,50", "6, x ,4,50"]
    Path("t.csv").write_text("\n".join(lines) + "\n")
    assert run_output(runs, "table", "t.csv", "--id", "code", "-o", "a.csv")[:2] == (
        0,
        "a.csv: 6 rows of code, answer\n",
    )
    assert [line.rpartition(",")[0] for line in Path("a.csv").read_text().splitlines()] == [
        "code", "007", "=1+1", '"x, y"', "", "NA", " x "
    ]  # fmt: skip
    assert run_output(runs, "table", "t.csv", "--id", "2", "-o", "b.csv")[0] == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    code, _, err = run_output(runs, "table", "t.csv", "--id", "cod", "-o", "b.csv")
    assert code == 3
    assert "t.csv has no column 'cod' for --id" in err


@pytest.mark.parametrize("ending", ["parquet", "xlsx", "ndjson", "arrow"])
def test_predict_output_id_of_typed_file_keeps_its_type(runs, table, run_output, ending):
    rows = pl.DataFrame({"code": ["007", "NA", "8"], "n": [3, 2**53 + 1, 1], "a": 1.0, "b": [2.0, 3, 4], "c": 50.0})
    write = {"parquet": rows.write_parquet, "xlsx": rows.write_excel, "ndjson": rows.write_ndjson}
    write.get(ending, rows.write_ipc)(f"t.{ending}")
    code, _, err = run_output(runs, "table", f"t.{ending}", "--id", "code", "-o", "a.parquet")
    assert (code, err) == (0, f"t.{ending}: not used: n.\n")
    assert pl.read_parquet("a.parquet")["code"].to_list() == ["007", "NA", "8"]
    if ending != "xlsx":  # a workbook has no whole numbers above 2**53
        assert run_output(runs, "table", f"t.{ending}", "--id", "n", "-o", "a.parquet")[0] == 0
        assert pl.read_parquet("a.parquet")["n"].to_list() == [3, 2**53 + 1, 1]


def test_predict_output_pictures_have_a_row_each(runs, run_output):
    """Those that are blank or cannot be read keep their place, without an answer."""
    digits = load_dataset("mnist").x_test[:20].reshape(-1, 28, 28)
    Path("phone").mkdir()
    Image.fromarray(digits[0]).save("phone/1.png")
    Path("phone/2.png").write_text("a poem")
    Image.new("L", (28, 28)).save("phone/3.png")
    Image.fromarray(digits[1]).save("phone/4.png")
    code, out, err = run_output(
        runs, "digits", "phone", "-o", "answers.csv", "--proba", "--columns", "f,a,0,1,2,3,4,5,6,7,8,9"
    )
    assert (code, out) == (3, "answers.csv: 4 rows of f, a, 0, 1, 2, 3, 4, 5, ...\n")
    assert "1 of 3 pictures has no answer, the first is phone/3.png: " in err
    assert "error: phone/2.png is not a picture" in err
    lines = Path("answers.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["phone/1.png", "7"], ["phone/2.png", ""], ["phone/3.png", ""], ["phone/4.png", "2"]
    ]  # fmt: skip
    assert lines[2] == "phone/2.png" + "," * 11


def test_predict_output_row_too_large_has_no_answer(runs, run_output):
    Path("t.csv").write_text("a,b,c\n1,2,3\n1e300,2,3\n4,5,6\n")
    code, _, err = run_output(runs, "line", "t.csv", "-o", "t.json", "--no-range-check")
    assert code == 3
    assert "error: t.csv, row 2 holds numbers too large for the network" in err
    found = json.loads(Path("t.json").read_text())
    assert [row["near"] is None for row in found] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "a.doc"], 2, "--output {0}/a.doc does not end in one of .csv, .tsv, .parquet, .json, .ndjson, .jsonl,"),
        (["-o", "a"], 2, "does not end in one of .csv"),
        (["-o", "t.csv"], 2, "is an input (t.csv), which would be lost"),
        (["-o", "a.csv", "--columns", "id"], 2, "--columns gives 1 name, the predictions have 2 columns: row, answer"),
        (["-o", "a.csv", "--columns", "x,x"], 2, "two columns of the predictions would be called 'x'"),
        (["-o", "gone/a.csv"], 7, "a.csv cannot be written (No such file or directory); nothing was changed"),
        (["-o", "."], 2, "is a folder; name a file, and the folder of runs with --runs-dir"),
        (["-o", "folder.csv"], 7, "folder.csv is a folder, not a file; choose another path"),
        (["--proba"], 2, "--proba belongs to --output FILE, which is missing"),
        (["--id", "a"], 2, "--id belongs to --output FILE"),
        (["--columns", "a"], 2, "--columns belongs to --output FILE"),
    ],
)
def test_predict_output_unusable_request_is_refused_and_changes_nothing(
    runs, table, run_output, working_folder, capsys, words, code, message
):
    Path("t.csv").write_text("a,b,c\n1,2,3\n")
    Path("folder.csv").mkdir()
    before = sorted(path.name for path in working_folder.rglob("*"))
    try:
        found, out, err = run_output(runs, "table", "t.csv", *words)
    except SystemExit as error:  # of the parser
        found, out, err = error.code, *capsys.readouterr()
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert message.format(working_folder) in err
    assert sorted(path.name for path in working_folder.rglob("*")) == before


def test_predict_output_table_that_cannot_be_read_leaves_the_old_file(runs, table, run_output):
    Path("a.csv").write_text("old\n")
    code, out, err = run_output(runs, "table", "gone.csv", "-o", "a.csv")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert Path("a.csv").read_text() == "old\n"
    Path("t.csv").write_text("a,b,c\n1,2,3\n")
    assert run_output(runs, "table", "gone.csv", "t.csv", "-o", "a.csv")[0] == 3
    assert Path("a.csv").read_text().splitlines()[1].startswith("t.csv,1,")


def test_predict_output_xlsx_without_xlsxwriter_names_the_extra(runs, table, working_folder):
    Path("t.csv").write_text("a,b,c\n1,2,3\n")
    changes = hide_module(working_folder, "xlsxwriter")
    done = run_command("predict", "table", "t.csv", "-o", "a.xlsx", "--runs-dir", runs, cwd=working_folder, **changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs xlsxwriter, which is not installed; pip install 'lagvis[excel]'" in done.stderr
