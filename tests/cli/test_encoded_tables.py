"""Tables whose columns are categories, dates and truth values, and have missing cells: the commands from end to end."""

import json

import numpy as np
import pytest

from lagvis.cli import evaluate, predict, train
from lagvis.cli.errors import run_cli

pd = pytest.importorskip("pandas")


def people(rows=240, seed=0):
    """Return a table of every kind of column, whose label depends on a category and a number."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "": np.arange(1, rows + 1),
            "city": rng.choice(["Oslo", "Bergen", "Rome"], rows),
            "age": rng.normal(40, 9, rows).round(1),
            "member": rng.choice(["TRUE", "FALSE"], rows),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), unit="D"),
            "name": [f"name {i}" for i in range(rows)],
        }
    )
    table["label"] = np.where((table["city"] == "Oslo") == (table["age"] > 40), "yes", "no")
    return table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)
    assert run_cli(train.main, ["--data", "people.csv", "--name", "r", "-e", "2", "--no-plots", "--quiet"]) == 0
    return tmp_path


def warnings_of(capsys, command, *flags):
    capsys.readouterr()
    assert run_cli(command.main, [*flags, "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    unseen = {w["check"]: w["figures"] for w in result["warnings"] if w["message"] in captured.err}
    assert {*unseen} >= {"unseen_levels", "unseen_missing"}
    return unseen


def test_unseen_levels_are_reported_by_every_command(folder, capsys):
    test = people(60, seed=1)
    test.loc[:2, "city"] = "Paris"
    test.loc[3:4, "age"] = np.nan
    test.to_csv("test.csv", index=False)
    (folder / "both").mkdir()
    people().to_csv("both/train.csv", index=False)
    test.to_csv("both/test.csv", index=False)
    expected = {"column": "city", "levels": ["Paris"], "level_count": 1, "rows": 3}
    for command, flags in (
        (evaluate, ["r", "--data", "test.csv"]),
        (predict, ["r", "test.csv"]),
        (train, ["--data", "both", "-e", "1", "--no-plots", "--validation", "20"]),
    ):
        found = warnings_of(capsys, command, *flags)
        assert found["unseen_levels"] == {"columns": [expected]}
        assert found["unseen_missing"] == {"columns": [{"column": "age", "rows": 2}]}


def test_train_log_of_a_skewed_column_lowers_the_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    income = 10 ** rng.uniform(0, 6, 800)
    table = pd.DataFrame({"income": income, "age": rng.normal(40, 9, 800), "score": np.log10(income)})
    table.to_csv("t.csv", index=False)
    flags = ["--data", "t.csv", "--label", "score", "--loss", "mse", "--lr", "0.02", "-e", "30", "--no-plots"]
    losses = {}
    for name, more in (("plain", []), ("log", ["--log", "income"])):
        capsys.readouterr()
        assert run_cli(train.main, [*flags, *more, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        losses[name] = result["test_loss"]
        skewed = [warning["message"] for warning in result["warnings"] if warning["check"] == "skewed_feature"]
        assert bool(skewed) == (name == "plain")
        assert all("--log income" in message for message in skewed)
    assert losses["log"] < losses["plain"] / 5


def predictions_of(capsys, *files):
    capsys.readouterr()
    assert run_cli(predict.main, ["r", *files, "--json"]) == 0
    return [row["probabilities"] for row in json.loads(capsys.readouterr().out)["predictions"]]


def test_predict_columns_in_another_order_and_format_give_the_same_answers(folder, capsys):
    table = people(40, seed=3)
    table.loc[0, "city"] = "Paris"
    table.loc[1, "age"] = np.nan
    table.to_csv("a.csv", index=False)
    table[table.columns[::-1]].drop(columns=["", "name", "label"]).to_csv("b.csv", index=False, sep=";")
    typed = table.assign(member=table["member"] == "TRUE")
    typed.to_parquet("c.parquet")
    expected = predictions_of(capsys, "a.csv")
    assert len({row["yes"] for row in expected}) > 20
    assert predictions_of(capsys, "b.csv") == expected
    assert predictions_of(capsys, "c.parquet") == expected


def test_predict_one_row_alone_gives_the_answer_that_it_has_among_others(folder, capsys):
    table = people(12, seed=3)
    table.to_csv("a.csv", index=False)
    expected = predictions_of(capsys, "a.csv")
    for i in range(12):
        table.iloc[[i]].to_csv("one.csv", index=False)
        (found,) = predictions_of(capsys, "one.csv")
        assert found == pytest.approx(expected[i], abs=1e-6)


def test_evaluate_other_file_has_the_accuracy_of_the_predictions(folder, capsys):
    table = people(50, seed=4)
    table.loc[0, "city"] = "Paris"
    table.to_csv("a.csv", index=False)
    answers = [max(row, key=row.get) for row in predictions_of(capsys, "a.csv")]
    capsys.readouterr()
    assert run_cli(evaluate.main, ["r", "--data", "a.csv", "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)["test_accuracy"]
    assert accuracy == pytest.approx(np.mean(np.array(answers) == table["label"]), abs=1e-9)


def test_codes_that_look_like_numbers_stay_categories_in_every_file(tmp_path, monkeypatch, capsys):
    """Versions such as 1.5 and 1.50 are two levels, in a test table of numbers alone, and without a header."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    codes = rng.choice(["1.50", "1.5", "A1"], 300)
    table = pd.DataFrame(
        {"code": codes, "x": rng.normal(size=300).round(3), "label": np.where(codes == "1.50", "a", "b")}
    )
    (tmp_path / "both").mkdir()
    table.to_csv("both/train.csv", index=False)
    digits = table[table["code"] != "A1"]
    digits.to_csv("both/test.csv", index=False)
    flags = ["-e", "60", "-b", "20", "--validation", "0", "--no-plots", "--quiet", "--json"]
    for name, data, other in (("r", "both", "both/test.csv"), ("bare", "bare.csv", "digits.csv")):
        table.to_csv("bare.csv", index=False, header=False)
        digits.to_csv("digits.csv", index=False, header=False)
        capsys.readouterr()
        assert run_cli(train.main, ["--data", data, "--label", "last", "--name", name, *flags]) == 0
        assert json.loads(capsys.readouterr().out)["test_accuracy"] == 1
        assert run_cli(evaluate.main, [name, "--data", other, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["test_accuracy"] == 1
