"""Labels of tables from training to prediction: folders of two tables, missing labels, labels in two spellings."""

import json

import numpy as np
import pytest

from lagvis.cli import data, evaluate, predict, train
from lagvis.cli.errors import run_cli

QUICK = ("--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0", "-b", "20", "--hidden", "16")


def run_json(capsys, command, *words, code=0):
    """Run a command in this process; return its JSON result, None for an error, and its stderr."""
    capsys.readouterr()
    assert run_cli(command.main, [*map(str, words), "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads(out) if out else None, err


def write(path, rows, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in ([header] if header else []) + rows))


def census(count, dot, seed):
    """Return rows of age, work, hours and income, whose class is known from age and hours."""
    rng = np.random.default_rng(seed)
    people = rng.integers(17, 90, (count, 2)).tolist()
    work = ("Private", "State-gov", "?")
    return [
        [age, work[i % 3], hours, (">50K" if age + hours > 106 else "<=50K") + dot]
        for i, (age, hours) in enumerate(people)
    ]


def test_adult_folder_has_two_classes_in_every_command(working_folder, capsys):
    write(working_folder / "adult" / "adult.data", census(300, "", 1))
    write(working_folder / "adult" / "adult.test", [["|1x3 Cross validator"], *census(100, ".", 2)])
    trained, _ = run_json(capsys, train, *QUICK, "--data", "adult", "-e", 20, "--name", "r")
    assert trained["test_accuracy"] > 0.9
    evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "adult/adult.test")
    assert (evaluated["rows"], evaluated["test_accuracy"]) == (100, trained["test_accuracy"])
    assert err.count("the label '<=50K.' is taken as '<=50K'") == 1
    predicted, err = run_json(capsys, predict, "r", "adult/adult.test")
    assert "the label '>50K.' is taken as '>50K'" in err or "the label '<=50K.' is taken as '<=50K'" in err
    rows = predicted["predictions"]
    assert {row["label"] for row in rows} == {"<=50K", ">50K"}
    assert np.mean([row["answer"] == row["label"] for row in rows]) == trained["test_accuracy"]
    facts, _ = run_json(capsys, data, "adult")
    assert [*facts["classes"]] == ["<=50K", ">50K"]


def test_competition_folder_trains_on_train_and_predicts_test(working_folder, capsys):
    rows = [[i, *row] for i, row in enumerate(census(260, "", 1))]
    header = ["Id", "age", "work", "hours", "Income"]
    write(working_folder / "k" / "train.csv", rows[:200], header)
    write(working_folder / "k" / "test.csv", [row[:-1] for row in rows[200:]], header[:-1])
    write(working_folder / "k" / "sample_submission.csv", [[i, "<=50K"] for i in range(200, 260)], ["Id", "Income"])
    loud = [word for word in QUICK if word != "--quiet"]
    trained, err = run_json(capsys, train, *loud, "--data", "k", "-e", 20, "--name", "r")
    assert "test.csv has no label (Income)" in err
    command = next(line for line in err.splitlines() if "python predict.py RUN" in line)
    path = command.split("python predict.py RUN ")[1]
    predicted, _ = run_json(capsys, predict, "r", path)
    answers = [row["answer"] for row in predicted["predictions"]]
    assert np.mean([answer == row[-1] for answer, row in zip(answers, rows[200:], strict=True)]) > 0.85
    evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu")
    assert evaluated["test_accuracy"] == trained["test_accuracy"]
    evaluated, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "k")
    assert evaluated["test_accuracy"] == trained["test_accuracy"]
    run_json(capsys, train, "--device", "cpu", "--quiet", "--no-plots", "--resume", "r", "-e", 21)


def test_rows_without_a_label_are_counted_by_evaluate_and_predicted(working_folder, capsys):
    rows = census(200, "", 1)
    header = ["age", "work", "hours", "income"]
    write(working_folder / "t.csv", rows, header)
    run_json(capsys, train, *QUICK, "--data", "t.csv", "-e", 20, "--name", "r")
    others = census(50, "", 2)
    others[3][-1] = others[7][-1] = ""
    write(working_folder / "o.csv", others, header)
    evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "o.csv")
    assert evaluated["rows"] == 48
    assert "2 rows without a label left out, the first in line 5" in err
    predicted, _ = run_json(capsys, predict, "r", "o.csv")
    rows = predicted["predictions"]
    assert [i for i, row in enumerate(rows) if row["label"] is None] == [3, 7]
    right = [row["answer"] == row["label"] for row in rows if row["label"] is not None]
    assert np.mean(right) == pytest.approx(evaluated["test_accuracy"])
    write(working_folder / "none.csv", [[*row[:-1], ""] for row in others], header)
    _, err = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "none.csv", code=3)
    assert "no row has a label in column 4 ('income')" in err


def test_label_that_is_not_sure_is_asked_for_by_train_and_data(working_folder, capsys):
    rng = np.random.default_rng(0)
    write(working_folder / "t.csv", [["MFI"[i % 3], *rng.normal(size=2).round(3), i % 9] for i in range(90)])
    for command, words in ((train, (*QUICK, "--data")), (data, ())):
        _, err = run_json(capsys, command, *words, "t.csv", code=3)
        assert "--label last (9 classes) or --label 1 (3 classes)" in err
    for label in ("last", "1"):
        run_json(capsys, train, *QUICK, "-e", 1, "--data", "t.csv", "--label", label)


def test_numbers_as_categories_keep_their_spelling_in_every_command(working_folder, capsys):
    rng = np.random.default_rng(0)
    classes = ["1.20", "1.5", "0.75"]
    rows = [[*(rng.normal(size=2) + i % 3 * 3).round(3), classes[i % 3]] for i in range(120)]
    write(working_folder / "t.csv", rows, ["a", "b", "size"])
    words = (*QUICK, "-e", 20, "--data", "t.csv", "--label", "size", "--category", "size", "--name", "r")
    trained, _ = run_json(capsys, train, *words)
    assert sorted(trained["classes"]) == sorted(classes)
    write(working_folder / "o.csv", rows[:40], ["a", "b", "size"])
    evaluated, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "o.csv")
    predicted, _ = run_json(capsys, predict, "r", "o.csv")
    labels = [row["label"] for row in predicted["predictions"]]
    assert (evaluated["rows"], labels) == (40, [row[-1] for row in rows[:40]])
