"""Runs on tables of numbers, text and missing cells, from train.py over --resume and --init-from to predict.py."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate, predict, train
from lagvis.cli.errors import run_cli
from lagvis.storage.checkpoint_file import read_checkpoint

COMMON = ["--device", "cpu"]
TRAIN = [*COMMON, "--no-plots", "--quiet", "--hidden", "8", "-b", "20", "-e", "3"]
HEADER = ["size", "colour", "weight", "label"]


def mixed_rows(count, seed=0, colours=("blue", "green", "red")):
    """Return rows of a number, a text and a number with missing cells; the label depends on all three."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        size, colour, weight = rng.normal(), colours[rng.integers(len(colours))], rng.normal(70, 9)
        label = "big" if size + (colour == "red") > 0.3 else "small"
        rows.append([f"{size:.3f}", colour, "" if rng.random() < 0.1 else f"{weight:.1f}", label])
    return rows


def write_table(path, rows, header=HEADER):
    lines = ([header] if header else []) + rows
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")


def result(command, capsys, *words):
    capsys.readouterr()
    assert run_cli(command.main, [*map(str, words), "--json"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def model_of(run):
    return read_checkpoint(f"runs/{run}/last.safetensors").model


@pytest.fixture
def folder(working_folder):
    write_table(working_folder / "t.csv", mixed_rows(300))
    return working_folder


@pytest.fixture
def run(folder):
    assert run_cli(train.main, [*TRAIN, "--data", "t.csv", "--name", "r"]) == 0
    return folder


def test_train_mixed_table_makes_a_feature_of_each_level_and_of_missing(run):
    model = model_of("r")
    assert model.feature_names == (
        "size", "colour=blue", "colour=green", "colour=red", "weight", "weight is missing",
    )  # fmt: skip
    assert model.encoding.column_names == ("size", "colour", "weight")


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_predict_and_evaluate_columns_in_any_order_agree_row_by_row(run, capsys, order):
    rows = mixed_rows(80, seed=1)
    write_table(run / "new.csv", [[row[c] for c in order] for row in rows], [HEADER[c] for c in order])
    evaluated, _ = result(evaluate, capsys, "r", "--data", "new.csv", *COMMON)
    predicted, _ = result(predict, capsys, "r", "new.csv")
    hits = [row["answer"] == row["label"] for row in predicted["predictions"]]
    assert np.mean(hits) == evaluated["test_accuracy"]
    write_table(run / "plain.csv", rows)
    plain, _ = result(predict, capsys, "r", "plain.csv")
    keys = ("answer", "probabilities")
    assert [[row[k] for k in keys] for row in predicted["predictions"]] == [
        [row[k] for k in keys] for row in plain["predictions"]
    ]


def test_predict_without_label_gives_same_answers(run, capsys):
    rows = mixed_rows(30, seed=2)
    write_table(run / "with.csv", rows)
    write_table(run / "without.csv", [row[:3] for row in rows], HEADER[:3])
    first, second = (result(predict, capsys, "r", name)[0]["predictions"] for name in ("with.csv", "without.csv"))
    assert [row["probabilities"] for row in first] == [row["probabilities"] for row in second]


def test_train_table_without_header_is_matched_by_position(folder, capsys):
    write_table(folder / "bare.csv", mixed_rows(300), header=None)
    assert run_cli(train.main, [*TRAIN, "--data", "bare.csv", "--label", "last", "--name", "bare"]) == 0
    write_table(folder / "new.csv", mixed_rows(40, seed=1), header=None)
    evaluated, _ = result(evaluate, capsys, "bare", "--data", "new.csv", *COMMON)
    predicted, _ = result(predict, capsys, "bare", "new.csv")
    hits = [row["answer"] == row["label"] for row in predicted["predictions"]]
    assert np.mean(hits) == evaluated["test_accuracy"]


def test_train_stopped_and_resumed_on_mixed_table_gives_same_bytes(run, capsys):
    assert run_cli(train.main, [*TRAIN, "--data", "t.csv", "--name", "s", "--stop-after", "12"]) == 0
    assert run_cli(train.main, [*COMMON, "--no-plots", "--quiet", "--resume", "s"]) == 0
    files = [(run / "runs" / name / "last.safetensors").read_bytes() for name in ("r", "s")]
    assert files[0] == files[1]


def test_train_init_from_keeps_the_levels_of_the_first_table(run, capsys):
    write_table(run / "more.csv", mixed_rows(200, seed=3, colours=("green", "yellow")))
    words = [*COMMON, "--no-plots", "--data", "more.csv", "-e", "1", "--name", "m", "--init-from", "r"]
    assert run_cli(train.main, words) == 0
    assert model_of("m").encoding == model_of("r").encoding


def test_train_two_tables_are_matched_by_name(folder, capsys):
    order = [3, 1, 0, 2]
    write_table(folder / "both" / "train.csv", mixed_rows(200))
    write_table(
        folder / "both" / "test.csv",
        [[row[c] for c in order] + ["x"] for row in mixed_rows(60, seed=4)],
        [*(HEADER[c] for c in order), "note"],
    )
    trained, err = result(train, capsys, *COMMON, "--no-plots", "-e", "2", "--data", "both", "--name", "b")
    evaluated, _ = result(evaluate, capsys, "b", "--data", "both", *COMMON)
    assert trained["test_accuracy"] == evaluated["test_accuracy"]
    assert "test.csv: not used: note" in err


@pytest.mark.parametrize("recipe", ["-e 2 --drop colour", "-e 2 --features size,weight"])
def test_train_chosen_columns_are_learned_from_alone(folder, capsys, recipe):
    words = [*COMMON, "--no-plots", "--data", "t.csv", "--name", "c", *recipe.split()]
    assert run_cli(train.main, words) == 0
    assert model_of("c").encoding.column_names == ("size", "weight")
    evaluated, _ = result(evaluate, capsys, "c", *COMMON)
    assert evaluated["rows"] == 60


@pytest.fixture
def old_run(working_folder):
    """The run of a version that took every column beside the label as a number, the row number `id` among them."""
    old = shutil.copytree(Path(__file__).with_name("old_table_run"), working_folder / "runs" / "old")
    (old / "table.csv").rename(working_folder / "table.csv")
    return old


def test_run_of_older_version_predicts_as_it_did_from_all_columns(old_run, capsys):
    predicted, _ = result(predict, capsys, "old", "table.csv")
    expected = json.loads((old_run / "expected.json").read_text())
    assert [row["answer"] for row in predicted["predictions"]] == [answer for answer, _ in expected]
    found = [row["probability"] for row in predicted["predictions"]]
    np.testing.assert_allclose(found, [probability for _, probability in expected], rtol=1e-5)


def test_run_of_older_version_goes_on_learning_from_all_columns(old_run, capsys):
    trained, _ = result(train, capsys, *COMMON, "--no-plots", "--resume", "old", "--data", "table.csv", "-e", "3")
    evaluated, _ = result(evaluate, capsys, "old", *COMMON)
    assert trained["test_accuracy"] == evaluated["test_accuracy"]
    assert model_of("old").widths[0] == 5


def test_run_of_older_version_refuses_missing_cell_with_its_line(old_run, capsys):
    text = Path("table.csv").read_text().splitlines()
    Path("gap.csv").write_text("\n".join([*text[:3], ",".join(["", *text[3].split(",")[1:]]), ""]))
    assert run_cli(predict.main, ["old", "gap.csv"]) == 3
    assert "gap.csv, line 4, column 1 ('id') is missing" in capsys.readouterr().err


def dry_run_notices(tmp_path, capsys, *words, rows=120):
    """Return what --dry-run prints on stderr for a table of so many rows."""
    write_table(tmp_path / "train.csv", mixed_rows(rows))
    flags = ["--device", "cpu", "--data", tmp_path / "train.csv", "--label", "label", "--dry-run", "-o", tmp_path]
    assert run_cli(train.main, [*map(str, flags), *words]) == 0
    return capsys.readouterr().err


def test_train_table_of_few_rows_says_that_the_steps_are_few(tmp_path, capsys):
    few = "10 epochs of 87 rows are 10 steps, which are few to learn in; --recipe table makes 1,000 or more."
    assert few in dry_run_notices(tmp_path, capsys)


@pytest.mark.parametrize("words", [["-e", "10"], ["--recipe", "default"], ["-b", "1", "--validation", "0"]])
def test_train_table_whose_steps_are_many_or_chosen_has_no_notice_of_few_steps(words, tmp_path, capsys):
    assert "few to learn in" not in dry_run_notices(tmp_path, capsys, *words, rows=130)


def test_train_recipe_table_raises_the_epochs_unless_they_are_given(tmp_path, capsys):
    raised = "An epoch of 96 rows is 1 step: 1,000 epochs instead of 10, for at least 1,000 steps (or set --epochs)."
    assert raised in dry_run_notices(tmp_path, capsys, "--recipe", "table")
    assert "An epoch of" not in dry_run_notices(tmp_path, capsys, "--recipe", "table", "-e", "10")
