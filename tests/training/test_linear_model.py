"""The linear model that a run on a table is compared with."""

import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.training import linear_model
from lagvis.training.evaluation import Metrics
from lagvis.training.linear_model import LinearModel, check_linear_model, has_linear_model, train_linear_model
from lagvis.training.model import Model
from lagvis.training.plan import make_plan
from tests.factories import classes, last, numbers, quick, run


def trained(recipe, dataset, stop=lambda: False):
    plan = make_plan(recipe, dataset, strict_validation=True)
    model = Model.of(recipe, dataset, plan.training_rows)
    return train_linear_model(recipe, dataset, plan, model, select("cpu", dtype=recipe.dtype), stop)


@pytest.mark.parametrize("keys", [{}, {"validation": 30}, {"class_weights": "balanced", "label_smoothing": 0.1}])
def test_train_linear_model_is_the_run_without_hidden_layers(keys):
    dataset = classes(120)
    found = trained(quick(hidden=(8, 8), **keys), dataset)
    expected = last(run(quick(hidden=(), **keys, epochs=found.epochs), dataset)).test
    assert (found.test.loss, found.test.accuracy) == (expected.loss, expected.accuracy)
    np.testing.assert_array_equal(found.test.confusion, expected.confusion)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_train_linear_model_has_no_dropout_and_nothing_to_normalise(normalization):
    dataset = classes(120)
    found = trained(quick(hidden=(8,), dropout=0.5, normalization=normalization), dataset)
    assert found.test.loss == last(run(quick(hidden=(), epochs=found.epochs), dataset)).test.loss


def test_train_linear_model_of_numbers_is_the_run_without_hidden_layers():
    dataset = numbers(200, test_rows=100)
    keys = {"loss": "mse", "lr": 0.05}
    found = trained(quick(**keys, epochs=20), dataset)
    assert found.test.errors == last(run(quick(**keys, epochs=found.epochs, hidden=()), dataset)).test.errors
    least_squares = np.linalg.lstsq(np.c_[dataset.x_train, np.ones(200)], dataset.y_train)[0]
    best = np.sqrt(np.mean((np.c_[dataset.x_test, np.ones(100)] @ least_squares - dataset.y_test) ** 2, axis=0))
    np.testing.assert_array_less(found.test.errors, best + 1e-3 * dataset.y_test.std(axis=0))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lion", "rmsprop", "muon"])
def test_train_linear_model_of_another_optimizer_is_trained_by_sgd(optimizer):
    """Ten epochs of adam at its default rate would leave a linear model worse than the mean."""
    dataset = numbers(400)
    keys = {"momentum": None, "nesterov": None, "loss": "mse"}
    found = trained(quick(**keys, optimizer=optimizer, lr=None, weight_decay=0.01, epochs=10), dataset)
    assert found.test.errors == last(run(quick(**keys, lr=None, hidden=(), epochs=found.epochs), dataset)).test.errors
    assert found.test.loss < 0.1


def test_train_linear_model_too_high_a_rate_is_lowered():
    found = trained(quick(loss="mse", lr=20.0, epochs=20), numbers(200))
    assert found.test.loss < 0.1


def test_train_linear_model_of_a_short_run_is_trained_all_the_same():
    """One step left every answer wrong; ten epochs of 400 rows gave a higher loss than the network on linear data."""
    dataset = numbers(200)
    found = trained(quick(loss="mse", lr=0.05, epochs=1), dataset)
    steps = make_plan(quick(), dataset).steps_per_epoch
    assert found.epochs * steps >= linear_model.MIN_STEPS > (found.epochs - 1) * steps
    assert found.test.loss < 0.01
    assert trained(quick(epochs=1), classes(120)).test.accuracy > 0.9


def test_train_linear_model_long_run_has_fewer_epochs(monkeypatch):
    monkeypatch.setattr(linear_model, "MAX_STEPS", 13)
    assert trained(quick(epochs=9), classes(120)).epochs == 2
    monkeypatch.setattr(linear_model, "MAX_STEPS", 1)
    assert trained(quick(epochs=9), classes(120)).epochs == 1


def test_train_linear_model_stopped_is_none():
    assert trained(quick(), classes(120), stop=lambda: True) is None


def test_has_linear_model_pictures_arrays_and_linear_networks_have_none(tmp_path):
    from lagvis.data.datasets import load_dataset

    (tmp_path / "t.csv").write_text("a,b,label\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(40)))
    table = load_dataset(str(tmp_path / "t.csv"), regression=False, label="label")
    for dataset, keys, expected in (
        (table, {}, True), (table, {"hidden": ()}, False), (table, {"activation": "identity"}, False),
        (table, {"epochs": 0}, False), (classes(120), {}, False), (numbers(120), {"loss": "mse"}, False),
    ):  # fmt: skip
        recipe = quick(**keys)
        model = Model.of(recipe, dataset, np.arange(len(dataset.x_train)))
        assert has_linear_model(recipe, dataset, model) is expected, (dataset.name, keys)


@pytest.mark.parametrize(
    ("network", "linear", "weights", "figures"),
    [
        ([[8, 2], [1, 9]], [[8, 2], [1, 9]], "none", {"accuracy": 0.85, "linear_accuracy": 0.85}),
        ([[8, 2], [1, 9]], [[9, 1], [1, 9]], "none", {"accuracy": 0.85, "linear_accuracy": 0.9}),
        ([[8, 2], [1, 9]], [[7, 3], [1, 9]], "none", None),
        ([[5, 5], [5, 5]], [[6, 4], [5, 5]], "none", None),  # neither has learned anything
        ([[9, 0], [0, 0]], [[9, 0], [0, 0]], "none", None),  # a single class in the rows
        ([[90, 5], [4, 1]], [[80, 15], [1, 4]], "none", None),
        ([[90, 5], [4, 1]], [[95, 0], [1, 4]], "balanced",
         {"balanced_accuracy": 0.573684, "linear_balanced_accuracy": 0.9}),
    ],
)  # fmt: skip
def test_check_linear_model_as_good_or_better_is_a_warning(network, linear, weights, figures):
    found, other = (Metrics(1.0, np.trace(c) / np.sum(c), confusion=np.array(c)) for c in (network, linear))
    warning = check_linear_model(found, LinearModel(other, 2), quick(class_weights=weights), None, 20)
    assert (warning and warning.figures) == (figures and pytest.approx(figures, abs=1e-6))


@pytest.mark.parametrize(("loss", "warned"), [(0.2, False), (0.3, True), (0.4, True)])
def test_check_linear_model_of_numbers_compares_the_losses(loss, warned):
    warning = check_linear_model(
        Metrics(loss, errors=(1.0,)), LinearModel(Metrics(0.3, errors=(1.0,)), 2), quick(), 1.0, 100
    )
    assert (warning is not None) == warned


def test_check_linear_model_of_numbers_that_learned_nothing_is_no_warning():
    linear = LinearModel(Metrics(0.99, errors=(1.0,)), 2)
    assert check_linear_model(Metrics(1.5, errors=(1.0,)), linear, quick(), 1.0, 100) is None
