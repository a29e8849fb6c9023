import pytest

from benchmarks import table_accuracy
from benchmarks.table_accuracy import (
    LAGVIS_BEST,
    LINEAR,
    MODELS,
    Problem,
    best_of_epochs,
    measure,
    read_problem,
    report,
    score_cell,
)


@pytest.mark.slow
def test_measure_every_model_learns_iris_from_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(table_accuracy, "MIN_STEPS", 200)
    problem = Problem("iris", "label")
    frame = read_problem(problem, tmp_path)
    frame.insert(0, "Unnamed: 0", range(len(frame)))
    scores, deviations = measure(problem, frame, list(MODELS), 1)
    assert deviations == []
    assert set(scores) == set(MODELS)
    assert min(scores[LAGVIS_BEST][0], scores[LINEAR][0]) > 0.85


@pytest.mark.parametrize(("rows", "epochs"), [(100, 3000), (5000, 60), (100000, 10)])
def test_best_of_epochs_is_enough_steps_and_at_least_the_recipe(rows, epochs):
    assert best_of_epochs(rows) == epochs


def test_score_cell_shows_mean_deviation_and_r2():
    assert score_cell([0.5, 0.7], []) == "60.0 ± 14.1"
    assert score_cell([1000.0, 1200.0], [2000.0, 3000.0]) == "1,100 ± 141 (0.79)"
    assert score_cell([0.1, 0.1], [0.1, 0.2]) == "0.100 ± 0.000 (0.38)"


def test_report_leaves_models_that_were_not_run_empty():
    found = {"rows": 1797, "deviations": [], "Lagvis": [0.9, 0.9]}
    assert "| digits | 1,797 | label | 90.0 ± 0.0 |  |  |  |  |  |" in report({"digits": found})
