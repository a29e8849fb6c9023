import numpy as np
import pytest

from benchmarks.__main__ import SAME_LOSS, check, table
from benchmarks.contenders import CONTENDERS
from benchmarks.problem import Problem
from tests.conftest import skip_or_fail

NETWORK = "784-32-32-10, batch 200"
LIBRARY = {"lagvis torch": "torch", "lagvis jax": "jax", "JAX jit a step": "jax", "JAX jit + scan": "jax"}


@pytest.fixture(scope="module")
def problem():
    return Problem(NETWORK)


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_trains_the_same_thing(problem, name):
    library = LIBRARY.get(name, "torch" if name.startswith("PyTorch") else "numpy")
    try:
        contender = CONTENDERS[name](problem)
    except Exception as error:
        skip_or_fail(library, f"{name} cannot run: {error}")
    reference = CONTENDERS["lagvis numpy"](problem)
    loss, expected = contender.epoch(problem.batches(1)), reference.epoch(problem.batches(1))
    if loss is not None:
        assert loss == pytest.approx(expected, rel=SAME_LOSS)
        assert contender.accuracy() == pytest.approx(reference.accuracy(), abs=2e-3)
    elif name == "products alone":
        assert contender.accuracy() is None
    else:
        assert contender.accuracy() == pytest.approx(reference.accuracy(), abs=0.05)


def test_the_rows_of_an_epoch_are_all_rows_once(problem):
    assert sorted(np.concatenate(problem.batches(3))) == list(range(60_000))


def test_a_contender_that_trained_something_else_is_an_error():
    result = {
        "seconds": {"lagvis numpy": [0.2, 0.1, 0.3], "peer": [0.4, 0.5, 0.6]},
        "losses": {"lagvis numpy": 0.5, "peer": 0.5},
        "accuracies": {"lagvis numpy": 0.93, "peer": 0.925},
        "left_out": {"other": "ModuleNotFoundError: no such library"},
    }
    assert check(result) == []
    assert len(check(result | {"losses": {"lagvis numpy": 0.5, "peer": 0.5002}})) == 1
    assert len(check(result | {"accuracies": {"lagvis numpy": 0.93, "peer": 0.91}})) == 1
    shown = table("net", result)
    assert "| peer | 0.500 | 0.400 | 0.600 | 2.50 | 92.50 % |" in shown
    assert "Left out: other (ModuleNotFoundError: no such library)." in shown
