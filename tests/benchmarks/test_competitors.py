import importlib.util

import numpy as np
import pytest

from benchmarks.__main__ import SAME_LOSS, check
from benchmarks.competitors import CONTENDERS, accuracy_of
from benchmarks.costs import checkpoint, epoch_seconds, evaluation, peak_memory, start_up
from benchmarks.problem import PLAIN, RATE, Problem
from benchmarks.tables import costs_tables, summary_table, training_table
from lagvis.training.recipe import Recipe
from tests.conftest import skip_or_fail

NETWORK = "784-32-32-10, batch 200"
LIBRARY = {"lagvis torch": "torch", "lagvis jax": "jax", "JAX jit a step": "jax", "JAX jit + scan": "jax"}
SMALL = Recipe(hidden=(8,), batch_size=100, validation=0, epochs=1000, lr=RATE, **PLAIN)


@pytest.fixture(scope="module")
def problem():
    return Problem(NETWORK)


@pytest.mark.parametrize("name", [name for name, (_, devices) in CONTENDERS.items() if "cpu" in devices])
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # Keras's own
def test_every_contender_trains_the_same_thing(problem, name):
    if name == "torch.compile":
        pytest.skip("it compiles for half a minute, and wants a C++ compiler; python -m benchmarks checks it")
    if name == "Keras 3 on JAX" and importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed (extra bench)")
    library = LIBRARY.get(name, "torch" if name.startswith("PyTorch") else "numpy")
    try:
        contender = CONTENDERS[name][0](problem)
    except Exception as error:
        skip_or_fail(library, f"{name} cannot run: {error}")
    reference = CONTENDERS["lagvis numpy"][0](problem)
    loss, expected = contender.epoch(problem.batches(1)), reference.epoch(problem.batches(1))
    accuracy = accuracy_of(reference.weights(), problem)
    if loss is not None:
        assert loss == pytest.approx(expected, rel=SAME_LOSS)
        assert accuracy_of(contender.weights(), problem) == pytest.approx(accuracy, abs=2e-3)
    elif name == "products alone":
        assert contender.weights() is None
    else:
        assert accuracy_of(contender.weights(), problem) == pytest.approx(accuracy, abs=0.05)


def test_the_rows_of_an_epoch_are_all_rows_once(problem):
    assert sorted(np.concatenate(problem.batches(3))) == list(range(60_000))


RESULT = {
    "seconds": {"lagvis numpy": [0.2, 0.1, 0.3], "peer": [0.4, 0.5, 0.6]},
    "first": {"lagvis numpy": 0.25, "peer": 31.0},
    "losses": {"lagvis numpy": 0.5, "peer": 0.5},
    "accuracies": {"lagvis numpy": 0.93, "peer": 0.925},
    "left_out": {"other": "ModuleNotFoundError: no such library"},
}


def test_a_contender_that_trained_something_else_is_an_error():
    assert check(RESULT, "lagvis numpy") == []
    assert len(check(RESULT | {"losses": {"lagvis numpy": 0.5, "peer": 0.5002}}, "lagvis numpy")) == 1
    assert len(check(RESULT | {"accuracies": {"lagvis numpy": 0.93, "peer": 0.91}}, "lagvis numpy")) == 1


def test_tables_show_medians_ratios_and_who_was_left_out():
    shown = training_table("net", "cpu", RESULT)
    assert "| peer | 0.500 | 0.400 | 0.600 | 2.50 | 31.00 | 92.50 % |" in shown
    assert "Left out: other (ModuleNotFoundError: no such library)." in shown
    side_by_side = summary_table("cpu", {"net": RESULT, "other net": RESULT | {"seconds": {"lagvis numpy": [0.4]}}})
    assert "| lagvis numpy | 0.200 (1.00) | 0.400 (1.00) |" in side_by_side
    assert "| peer | 0.500 (2.50) | left out |" in side_by_side


def test_the_costs_are_measured_and_shown():
    costs = {
        "start-up": {"numpy": start_up("numpy", "cpu", 1)},
        "memory": {"numpy": peak_memory("numpy", "cpu")},
        "evaluation": {"numpy": {NETWORK: evaluation(NETWORK, "numpy", "cpu", 1)}},
        "checkpoint": {NETWORK: checkpoint(NETWORK, 2)},
        "growth": {
            "numpy": {"samples": {str(rows): epoch_seconds(SMALL, rows, 1, "numpy", "cpu") for rows in (500, 1000)}}
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
