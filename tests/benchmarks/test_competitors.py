import importlib.util
import multiprocessing

import numpy as np
import pytest

from benchmarks.__main__ import LOSS_TOLERANCE, check
from benchmarks.competitors import COMPETITORS, accuracy_of
from benchmarks.costs import checkpoint_cost, evaluation_speed, measure_epoch, peak_memory, startup_seconds
from benchmarks.measure import ProcessEndedError, ask
from benchmarks.problem import LEARNING_RATE, PLAIN, Problem
from benchmarks.tables import costs_tables, summary_table, training_table
from lagvis.training.recipe import Recipe
from tests.conftest import skip_or_fail

NETWORK = "784-32-32-10, batch 200"
LIBRARY = {"lagvis torch": "torch", "lagvis jax": "jax", "JAX jit a step": "jax", "JAX jit + scan": "jax"}
SMALL = Recipe(hidden=(8,), batch_size=100, validation=0, epochs=1000, lr=LEARNING_RATE, **PLAIN)


@pytest.fixture(scope="module")
def problem():
    return Problem(NETWORK)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, devices) in COMPETITORS.items() if "cpu" in devices])
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # the defaults of Keras
def test_competitor_one_epoch_gives_the_loss_and_accuracy_of_lagvis(problem, name):
    if name == "torch.compile":
        pytest.skip("it compiles for half a minute, and wants a C++ compiler; python -m benchmarks checks it")
    if name == "Keras 3 on JAX" and importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed (extra bench)")
    library = LIBRARY.get(name, "torch" if name.startswith("PyTorch") else "numpy")
    try:
        competitor = COMPETITORS[name][0](problem)
    except Exception as error:
        skip_or_fail(library, f"{name} cannot run: {error}")
    reference = COMPETITORS["lagvis numpy"][0](problem)
    loss, expected = competitor.epoch(problem.batches(1)), reference.epoch(problem.batches(1))
    accuracy = accuracy_of(reference.weights(), problem)
    if loss is not None:
        assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE)
        assert accuracy_of(competitor.weights(), problem) == pytest.approx(accuracy, abs=2e-3)
    elif name == "products alone":
        assert competitor.weights() is None
    else:
        assert accuracy_of(competitor.weights(), problem) == pytest.approx(accuracy, abs=0.05)


def test_problem_batches_hold_each_row_once(problem):
    assert sorted(np.concatenate(problem.batches(3))) == list(range(60_000))


def answer_once(pipe):
    pipe.send(None)


@pytest.mark.parametrize("message", [None, "epoch"])
def test_ask_process_that_ended_raises_with_its_exit_code(message):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=answer_once, args=(there,))
    process.start()
    there.close()
    assert ask(here, process) is None
    process.join()
    with pytest.raises(ProcessEndedError, match="ended with exit code 0"):
        ask(here, process, message)


RESULT = {
    "seconds": {"lagvis numpy": [0.2, 0.1, 0.3], "other library": [0.4, 0.5, 0.6]},
    "first": {"lagvis numpy": 0.25, "other library": 31.0},
    "losses": {"lagvis numpy": 0.5, "other library": 0.5},
    "accuracies": {"lagvis numpy": 0.93, "other library": 0.925},
    "left_out": {"other": "ModuleNotFoundError: no such library"},
}


def test_check_other_loss_or_accuracy_is_a_fault():
    assert check(RESULT, "lagvis numpy") == []
    assert len(check(RESULT | {"losses": {"lagvis numpy": 0.5, "other library": 0.5002}}, "lagvis numpy")) == 1
    assert len(check(RESULT | {"accuracies": {"lagvis numpy": 0.93, "other library": 0.91}}, "lagvis numpy")) == 1


def test_tables_show_medians_ratios_and_missing_competitors():
    shown = training_table("net", "cpu", RESULT)
    assert "| other library | 0.500 | 0.400 | 0.600 | 2.50 | 31.00 | 92.50% |" in shown
    assert "Left out: other (ModuleNotFoundError: no such library)." in shown
    side_by_side = summary_table("cpu", {"net": RESULT, "other net": RESULT | {"seconds": {"lagvis numpy": [0.4]}}})
    assert "| lagvis numpy | 0.200 (1.00) | 0.400 (1.00) |" in side_by_side
    assert "| other library | 0.500 (2.50) | left out |" in side_by_side


@pytest.mark.slow
def test_costs_tables_show_what_was_measured():
    costs = {
        "start-up": {"numpy": startup_seconds("numpy", "cpu", 1)},
        "memory": {"numpy": peak_memory("numpy", "cpu")},
        "evaluation": {"numpy": {NETWORK: evaluation_speed(NETWORK, "numpy", "cpu", 1)}},
        "checkpoint": {NETWORK: checkpoint_cost(NETWORK, 2)},
        "growth": {
            "numpy": {"samples": {str(rows): measure_epoch(SMALL, rows, 1, "numpy", "cpu") for rows in (500, 1000)}}
        },
        "left_out": {"torch": "PyTorch is not installed"},
    }
    assert 0 < costs["start-up"]["numpy"]["ready"] < costs["start-up"]["numpy"]["first call"]
    assert costs["memory"]["numpy"] > 50
    assert costs["growth"]["numpy"]["samples"]["1000"][1] == 2 * costs["growth"]["numpy"]["samples"]["500"][1]
    shown = costs_tables(costs)
    for line in (
        "s from the command to the first step",
        "images evaluated a second",
        "| its operations, times |  | 2.00 |",
    ):
        assert line in shown
    assert "Left out: torch" in shown
