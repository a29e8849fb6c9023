"""The check of gradients passes for every part of a network, and finds a derivative that is wrong by 1e-4."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lagvis.cli import compare
from lagvis.cli.errors import run_cli
from lagvis.inference import gradient_check
from lagvis.inference.gradient_check import MAX_BOUND, MAX_CHECKED, check_gradients
from lagvis.network import mlp, step
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES, REGRESSION_LOSSES
from lagvis.training.plan import make_plan
from tests.inference.test_comparison import NUMBERS, PICTURES, recipe_for, scaled

CLASS_LOSSES = [name for name in LOSSES if name not in (*REGRESSION_LOSSES, "binary-cross-entropy")]


def check(recipe, steps=2):
    """Check the gradients of a recipe on numbers or pictures."""
    dataset = NUMBERS if recipe.regression else PICTURES
    return check_gradients(recipe, dataset, make_plan(recipe, dataset), steps).differences


# Every activation alone, and one with a kink and one without behind each normalisation.
UNITS = [(name, "none") for name in ACTIVATIONS]
UNITS += [(name, normalization) for name in ("relu", "gelu") for normalization in ("batch", "layer")]


@pytest.mark.parametrize(("activation", "normalization"), UNITS)
def test_check_gradients_every_activation_and_normalisation_pass(activation, normalization):
    found = check(recipe_for(False, "float32", hidden=(8, 6), activation=activation, normalization=normalization))
    assert all(d.passed for d in found), found
    assert {d.step for d in found} == {0, 2}
    assert [(d.layer, d.tensor) for d in found if d.step == 0] == [
        (layer, tensor)
        for layer in range(3)
        for tensor in ("W", "b", *(["gamma"] if normalization != "none" and layer < 2 else []))
    ]
    assert all(d.checked == min(d.size, MAX_CHECKED) for d in found)


@pytest.mark.parametrize("loss", [*CLASS_LOSSES, *REGRESSION_LOSSES])
def test_check_gradients_every_loss_passes(loss):
    regression = loss in REGRESSION_LOSSES
    found = check(recipe_for(regression, "float64", hidden=(8,), activation="tanh", loss=loss))
    assert all(d.passed for d in found), found


def test_check_gradients_random_numbers_are_those_of_the_step():
    changes = {"dropout": 0.4, "input_dropout": 0.2, "input_noise": 0.3, "mixup": 0.5, "class_weights": "balanced"}
    found = check(recipe_for(False, "float32", hidden=(8, 6), normalization="batch", **changes))
    assert all(d.passed for d in found), found


def test_check_gradients_same_seed_is_the_same_and_another_draws_others():
    first, second, third = (check(recipe_for(False, "float64", hidden=(8,), seed=seed), 0) for seed in (1, 1, 2))
    assert first == second
    assert [d.difference for d in first] != [d.difference for d in third]


def broken_activation(monkeypatch):
    right = ACTIVATIONS["tanh"]
    monkeypatch.setitem(ACTIVATIONS, "tanh", right._replace(backward=scaled(right.backward, 1 + 1e-4)))


def broken_gamma(monkeypatch):
    monkeypatch.setattr(mlp, "normalize_backward", scaled(mlp.normalize_backward, 1 + 1e-4, 1))


def broken_normalization(monkeypatch):
    monkeypatch.setattr(mlp, "normalize_backward", scaled(mlp.normalize_backward, 1 + 1e-4, 0))


def broken_loss(monkeypatch):
    monkeypatch.setitem(LOSSES, "cross-entropy", scaled_delta(LOSSES["cross-entropy"]))


def scaled_delta(entry):
    """Return a loss whose delta is wrong by 1e-4."""

    def wrong(*arguments, **options):
        losses, objective, delta = entry.function(*arguments, **options)
        return losses, objective, delta * (1 + 1e-4)

    return entry._replace(function=wrong)


def forgotten_mask(monkeypatch):
    right = step.backward
    monkeypatch.setattr(step, "backward", lambda *a, **o: right(*a, **{**o, "masks": ()}))


@pytest.mark.parametrize(
    ("broken", "tensors"),
    [
        (broken_activation, {(0, "W"), (0, "b"), (0, "gamma")}),
        (broken_gamma, {(0, "gamma")}),
        (broken_normalization, {(0, "W")}),
        (broken_loss, {(0, "W"), (0, "b"), (0, "gamma"), (1, "W"), (1, "b")}),
        (forgotten_mask, {(0, "W"), (0, "b"), (0, "gamma")}),
    ],
)
def test_check_gradients_wrong_derivative_fails_where_it_is_wrong(monkeypatch, broken, tensors):
    broken(monkeypatch)
    recipe = recipe_for(False, "float32", hidden=(8,), activation="tanh", normalization="batch", dropout=0.3)
    found = check(recipe)
    assert {(d.layer, d.tensor) for d in found if not d.passed} == tensors


def test_check_gradients_not_a_number_fails(monkeypatch):
    right = ACTIVATIONS["tanh"]
    monkeypatch.setitem(ACTIVATIONS, "tanh", right._replace(backward=scaled(right.backward, np.nan)))
    found = check(recipe_for(False, "float64", hidden=(8,), activation="tanh"), 0)
    assert {d.layer for d in found if not d.passed} == {0}


def test_check_gradients_row_at_a_kink_is_replaced(monkeypatch):
    """A black picture is all zeros, so that every unit of the first layer is at its kink where biases are 0."""
    monkeypatch.setattr(gradient_check, "BIAS_DEVIATION", 0.0)
    recipe = recipe_for(False, "float64", hidden=(4,), batch_size=300, validation=0, pixel_scaling="unit")
    x = PICTURES.x_train.copy()
    x[7] = 0
    blank = replace(PICTURES, x_train=x)
    found = check_gradients(recipe, blank, make_plan(recipe, blank), 0)
    assert found.passed, found.differences
    assert sum(kink.z == 0.0 for kink in found.kinks) == 4


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_check_gradients_rows_that_reach_no_unit_pass_with_dropout(normalization):
    """With biases of 0, units that nothing reaches would be at their kink, whatever row is taken."""
    recipe = recipe_for(True, "float64", hidden=(3, 3), dropout=0.3, batch_size=20, normalization=normalization)
    found = check(recipe, 0)
    assert all(d.passed for d in found), found


def test_check_gradients_numbers_that_cross_a_kink_are_replaced_and_counted(monkeypatch):
    monkeypatch.setattr(gradient_check, "STEP", 1e-2)
    monkeypatch.setattr(gradient_check, "MAX_HALVINGS", 0)
    found = check(recipe_for(False, "float64", hidden=(8,)), 0)
    assert sum(d.replaced for d in found) > 0
    for d in found:
        assert d.checked == min(MAX_CHECKED, d.size - d.replaced) or d.size > MAX_CHECKED
        assert math.isnan(d.difference) == (d.checked == 0)
        assert d.passed or d.bound > MAX_BOUND or d.checked == 0


def test_check_gradients_of_zero_are_checked_beside_those_of_the_layer():
    """Batch normalisation takes away what a bias before it adds: its gradient is 0 but for rounding."""
    found = check(recipe_for(False, "float64", hidden=(8, 6), activation="identity", normalization="batch"))
    assert all(d.passed for d in found), found


def test_compare_gradients_prints_a_table_and_exits_0_or_1(monkeypatch, capsys):
    arguments = ["--recipe", "jump", "--gradients", "--steps", "2"]
    assert run_cli(compare.main, arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Gradients of recipe jump in float64 against central differences of the loss\n\nafter ")
    assert printed.endswith("\n\nThe gradients are right: all 12 bounds hold.\n")
    monkeypatch.setitem(LOSSES, "mse", scaled_delta(LOSSES["mse"]))
    assert run_cli(compare.main, arguments) == 1
    assert capsys.readouterr().out.endswith("\n\n12 of 12 bounds do not hold.\n")


def test_compare_gradients_with_backends_exits_2(capsys):
    assert run_cli(compare.main, ["--gradients", "--backends", "torch"]) == 2
    assert "leave --backends out" in capsys.readouterr().err
