"""The self-test of recorded steps makes every kind of call that a step of training makes."""

import array_api_compat.numpy
import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.backends.replay import fusion
from lagvis.backends.replay.recorder import Recorder
from lagvis.backends.replay.self_test import run_steps
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.training.recipe import Recipe, target_kind
from tests.factories import classes, numbers, run
from tests.fake_backends import CupyStandInBackend
from tests.training.test_labels import labels

EVERYTHING = {
    "l1": 0.1, "clip_norm": 0.1, "max_norm": 1.0, "dropout": 0.2, "input_dropout": 0.2, "input_noise": 0.1,
    "mixup": 0.2, "ema": 0.9,
}  # fmt: skip

DATASETS = {"classes": classes, "numbers": numbers, "labels": labels}


def recipes():
    """Yield settings that together make every call of a step."""
    yield from ({"activation": name} for name in ACTIVATIONS)
    yield from ({"normalization": name, **EVERYTHING} for name in NORMALIZATIONS)
    yield from ({"optimizer": name, **EVERYTHING} for name in OPTIMIZERS)
    yield {"class_weights": "balanced", "momentum": 0.9, "nesterov": True}
    yield from ({"loss": name} for name in LOSSES)


@pytest.fixture
def recorded(monkeypatch):
    """The calls that are recorded: (name in the standard, kind of dtype of the result, options)."""
    calls = set()
    plain = Recorder.record

    def record(self, name, function, arguments, options, value):
        given = tuple(sorted(options))
        calls.add((name, np.asarray(value).dtype.kind, given))
        return plain(self, name, function, arguments, options, value)

    monkeypatch.setattr(Recorder, "record", record)
    return calls


def test_self_test_makes_every_kind_of_call_of_a_step(recorded):
    run_steps(select("cpu", "numpy", "float32"))
    tested = {*recorded}
    recorded.clear()
    for keys in recipes():
        recipe = Recipe(**({"data": "small", "hidden": (8, 4), "epochs": 1, "batch_size": 20, "validation": 0} | keys))
        run(recipe, DATASETS[target_kind(recipe.loss)]())
    assert recorded - tested == set()


def test_self_test_makes_one_call_of_alike_calls(monkeypatch):
    names, rewrite = set(), fusion.rewrite

    def watched(recorder, groups, adjacent):
        names.update(group.calls[0].name for group in groups)
        rewrite(recorder, groups, adjacent)

    monkeypatch.setattr(fusion, "rewrite", watched)
    run_steps(CupyStandInBackend("float32"))
    assert names >= {"multiply", "subtract"}


def test_numpy_namespace_gives_the_bits_of_array_api_compat(dtype):
    own, wrapped = (select("cpu", "numpy", dtype, compiled=False) for _ in range(2))
    wrapped.xp = array_api_compat.numpy
    expected = run_steps(wrapped)
    for name, leaf in run_steps(own).items():
        assert leaf.dtype == expected[name].dtype
        assert np.array_equal(leaf, expected[name])
