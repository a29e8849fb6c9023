from collections import Counter

import array_api_compat.numpy
import numpy as np
import pytest

from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.numpy_recorder import NumpyRecorder
from lagvis.backends.replay.tape import Tape
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import initial_state, make_training_step, step_constants, step_scalars
from lagvis.training.model import Model
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe
from tests.factories import classes

# Calls of a step of the default recipe, all of its layers, before there was any regularisation.
DEFAULT_CALLS = {
    "add": 25, "argmax": 1, "astype": 6, "divide": 1, "equal": 2, "exp": 1, "getitem": 5, "greater": 3, "log": 1,
    "matmul": 11, "matrix_transpose": 7, "max": 1, "maximum": 3, "multiply": 30, "reshape": 4, "subtract": 12, "sum": 8,
    "take": 2, "vecdot": 2,
}  # fmt: skip


class UnfusedRecorder(NumpyRecorder):
    """Recorder that leaves the calls as the step makes them."""

    fusable = frozenset()


def recorded_calls(**settings):
    """Return how often a step of the default recipe with other settings calls each function."""
    recipe, dataset = Recipe(**{"validation": 0} | settings), classes(120)
    plan = make_plan(recipe, dataset)
    model = Model.of(recipe, dataset, plan.training_rows)
    recorder = UnfusedRecorder(RecordableNamespace(array_api_compat.numpy))
    state = initial_state(recipe, model) | {"totals": zero_totals(model, recipe.dtype, objective=True)}
    data = model.prepare(dataset.x_train, dataset.y_train, recipe.dtype)
    data |= step_constants(recipe, model.widths, plan.rows_per_step)
    inputs = (np.zeros((1, 100), np.int32), step_scalars(recipe, np.arange(1), 10))
    Tape(make_training_step(recipe, xp=recorder.xp), state, inputs, (data,), recorder)
    return Counter(call.name for call in recorder.calls)


def test_default_step_makes_the_calls_of_plain_training():
    assert recorded_calls() == DEFAULT_CALLS


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 1e-4}, {"clip_norm": 1.0}, {"l1": 1e-5}, {"max_norm": 3.0}, {"dropout": 0.5},
        {"input_dropout": 0.2}, {"normalization": "batch"}, {"normalization": "layer"}, {"ema": 0.99},
    ],
)  # fmt: skip
def test_step_with_a_setting_makes_further_calls(settings):
    calls = recorded_calls(**settings)
    assert calls.total() > sum(DEFAULT_CALLS.values())
