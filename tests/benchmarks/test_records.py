import json

import pytest

from benchmarks import records, small_tables
from benchmarks.records import RECORDS, main, missed, report
from benchmarks.table_accuracy import Problem
from lagvis.training import recipe as recipes


def runs(*accuracies):
    network = {"network": "784-10", "parameters": 7850, "seconds": 6.0, "epochs": 30}
    return {str(seed): {**network, "test_accuracy": accuracy} for seed, accuracy in enumerate(accuracies)}


def test_records_are_shipped_recipes():
    assert {record.recipe for record in RECORDS} <= {*recipes.shipped()}


def test_report_shows_mean_deviation_least_and_most_of_the_seeds():
    row = report({"mnist-linear": runs(0.92, 0.93, 0.94)}).splitlines()[-1]
    assert row == (
        "| 784-10 | 7,850 | 93.00 ± 1.00 | 92.00 | 94.00 | 3 | 6 | 90.69 |  | `python train.py --recipe mnist-linear` |"
    )


def test_missed_names_only_recipes_below_their_target():
    assert missed({"mnist-linear": runs(0.9262)}) == []
    assert missed({"mnist-linear": runs(0.9262, 0.9256)}) == [
        "mnist-linear has a mean accuracy of 92.59 %, below 92.6 %"
    ]


def test_main_trains_only_the_seeds_that_the_json_lacks(tmp_path, monkeypatch, capsys):
    trained = []

    def train(recipe, seed, flags):
        trained.append((recipe, seed, flags))
        return runs(0.95)["0"]

    monkeypatch.setattr(records, "train", train)
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"mnist-linear": runs(0.95, 0.96)}))
    arguments = ["--only", "mnist-linear", "--seeds", "3", "--output", str(path), "--backend", "torch"]
    assert main(arguments) == 0
    assert trained == [("mnist-linear", 2, ["--backend", "torch"])]
    assert list(json.loads(path.read_text())["mnist-linear"]) == ["0", "1", "2"]
    assert "| 784-10 |" in capsys.readouterr().out


def test_main_unknown_recipe_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "mnist"])
    assert "there is no record 'mnist'" in capsys.readouterr().err


@pytest.mark.slow
def test_train_returns_the_result_of_the_command():
    result = records.train("mnist-linear", 3, ["-e", "1"])
    assert result["network"] == "784-10"
    assert result["epochs"] == 1
    assert result["test_accuracy"] > 0.85


@pytest.mark.slow
def test_small_tables_measure_every_model_learns_iris():
    problem = Problem("iris", "label")
    found = small_tables.measure(problem, small_tables.read_problem(problem, None), 1, "table")
    assert min(found[model][0] for model in small_tables.MODELS) > 0.8
    assert "| iris | 150 | 4-128-3 |" in small_tables.report({"iris": found})
