"""Runs whose cause of failure is known: the suspect that is named, and the learning rate that is suggested."""

from functools import partial

import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.training import learning_check, rate_trials
from lagvis.training.baseline import check_baseline
from lagvis.training.factory import initial_state
from lagvis.training.learning_check import TrainedRun, explain_baseline, explain_divergence, held_back_by, try_rates
from lagvis.training.not_finite import find_row_without_loss
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map
from tests.factories import bands, classes, epochs, last, numbers, quick, run

BANDS, LINE = classes(600, 4, 100), numbers(600, 100)
RNG = np.random.default_rng(1)
FEATURES = RNG.normal(0, 1, (2000, 6))


def labelled(x, y, test_rows=400):
    return as_classification(Source("made", x[test_rows:], y[test_rows:], x[:test_rows], y[:test_rows], {}))


def measured(x, y, test_rows=400):
    names = tuple(f"t{i}" for i in range(y.shape[1]))
    parts = (x[test_rows:], y[test_rows:], x[:test_rows], y[:test_rows])
    return as_regression(Source("made", *parts, {}, target_names=names))


def permuted_test_labels():
    (x, y), (x_test, y_test) = bands(600), bands(100, seed=8)
    return as_classification(Source("made", x, y, x_test, np.random.default_rng(2).permutation(y_test), {}))


def rare_class():
    """Return random features and a rare class of so many rows that a network of one layer learns none by heart."""
    rng = np.random.default_rng(4)
    return labelled(rng.normal(0, 1, (6000, 2)), (rng.random(6000) < 0.1).astype(int), 1000)


def trained(recipe, dataset, backend=None, stop=lambda: False):
    backend = backend or select("cpu", dtype=recipe.dtype)
    events = run(recipe, dataset, backend=backend)
    model = events[0].model
    plan = make_plan(recipe, dataset, strict_validation=True)
    return TrainedRun(recipe, dataset, plan, model, backend, partial(initial_state, recipe, model), last(events), stop)


def warning_of(recipe, dataset, **options):
    ended = trained(recipe, dataset, **options)
    warning = check_baseline(ended.finished.test, ended.model, dataset.y_test)
    return warning and explain_baseline(warning, ended)


TOO_HIGH, TOO_LOW = "learning_rate_too_high", "learning_rate_too_low"


# name: recipe, data, suspect
KNOWN = {
    "rate 30": (quick(lr=30.0, epochs=5), BANDS, TOO_HIGH),
    "rate 300, sigmoid": (quick(lr=300.0, epochs=5, activation="sigmoid"), BANDS, TOO_HIGH),
    "rate 1e-7": (quick(lr=1e-7, epochs=20), BANDS, TOO_LOW),
    "rate 1e-4": (quick(lr=1e-4, epochs=5), BANDS, TOO_LOW),
    "rate 1e-7, numbers": (quick(lr=1e-7, loss="mse"), LINE, TOO_LOW),
    "one step": (quick(epochs=1, batch_size=600), BANDS, "too_few_steps"),
    "three steps": (quick(epochs=3, batch_size=600, lr=0.05), BANDS, "too_few_steps"),
    "one step, numbers": (quick(epochs=1, batch_size=600, lr=0.01, loss="mse"), LINE, "too_few_steps"),
    "no step": (quick(epochs=0), BANDS, "no_steps"),
    "random classes": (quick(epochs=5, lr=0.05), labelled(FEATURES, RNG.integers(0, 2, 2000)), "features"),
    "random rare class": (
        quick(epochs=3, lr=0.05, batch_size=100, hidden=(), class_weights="balanced"),
        rare_class(),
        "features",
    ),
    "random numbers": (
        quick(epochs=5, lr=0.01, loss="mse"), measured(FEATURES, RNG.normal(5, 2, (2000, 1))), "features",
    ),
    "one of two targets random": (
        quick(epochs=10, lr=0.03, loss="mse"),
        measured(FEATURES, np.c_[FEATURES[:, 0] * 3, RNG.normal(5, 2, 2000)]),
        "features",
    ),
    "rate 1e-3, one of two targets above its baseline": (
        quick(lr=1e-3, epochs=1, loss="mse", seed=6), measured(FEATURES, FEATURES[:, :2]), TOO_LOW,
    ),
    "learned by heart": (
        quick(epochs=300, hidden=(64, 64)), labelled(RNG.normal(0, 1, (200, 20)), RNG.integers(0, 2, 200), 60),
        "not_general",
    ),
    "constant target": (
        quick(epochs=3, lr=0.01, loss="mse"), measured(FEATURES, np.full((2000, 1), 7.0)), "constant_targets",
    ),
    "test labels permuted": (quick(epochs=20, validation=60), permuted_test_labels(), "test_part_differs"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_explain_baseline_known_cause_is_the_suspect(name):
    recipe, dataset, suspect = KNOWN[name]
    warning = warning_of(recipe, dataset)
    assert warning is not None
    assert warning.figures["suspect"] == suspect, warning.message
    assert ". Suspect: " in warning.message


def test_explain_baseline_regularisation_that_holds_every_trial_back_is_named():
    warning = warning_of(quick(epochs=5, clip_norm=1e-7, lr=0.05, optimizer="sgd"), BANDS)
    assert warning.figures["suspect"] == "features"
    assert warning.message.endswith("suit them (--hidden), or too much holds it back (--clip-norm 1e-07).")


@pytest.mark.parametrize(
    ("keys", "end"),
    [
        ({}, ""),
        ({"optimizer": "adamw"}, ""),
        ({"optimizer": "lion", "weight_decay": 0.0}, ""),
        ({"weight_decay": 9.0, "dropout": 0.9}, ", or too much holds it back (--weight-decay 9, --dropout 0.9)"),
    ],
)
def test_held_back_by_names_what_is_more_than_the_default(keys, end):
    assert held_back_by(Recipe(**keys)) == end


def test_explain_baseline_weighted_classes_learned_by_heart_have_a_mean_recall():
    dataset = labelled(FEATURES, (np.random.default_rng(5).random(2000) < 0.05).astype(int))
    message = warning_of(quick(epochs=40, lr=0.1, hidden=(32,), class_weights="balanced"), dataset).message
    assert "the training rows are learned (mean recall of the classes " in message


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
@pytest.mark.parametrize("count", [1, 10])
def test_check_baseline_healthy_run_has_no_warning(name, count):
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order], data.target[order]
    numeric = name == "diabetes"
    dataset = measured(x, y[:, None], len(y) // 5) if numeric else labelled(x, y, len(y) // 5)
    recipe = Recipe(data="made", epochs=count, validation=len(y) // 10, loss="mse" if numeric else "cross-entropy")
    if name == "diabetes" and count == 1:
        recipe = Recipe(data="made", epochs=5, validation=len(y) // 10, loss="mse")
    assert warning_of(recipe, dataset) is None


@pytest.mark.parametrize(("lr", "settings"), [(30.0, {}), (1e-7, {}), (1e-7, {"loss": "mse"})])
def test_explain_baseline_suggested_rate_learns(lr, settings):
    dataset = LINE if settings else BANDS
    warning = warning_of(quick(lr=lr, epochs=5, **settings), dataset)
    again = quick(lr=warning.figures["suggested_learning_rate"], epochs=5, **settings)
    assert warning_of(again, dataset) is None
    assert f"--lr {again.lr:g}" in warning.message


DIVERGING = [(1e30, {}), (1e6, {"activation": "identity"}), (3.0, {"loss": "mse"})]
ON_LIBRARIES = [(library, *run) for library in ("numpy", "torch") for run in DIVERGING]


@pytest.mark.parametrize(
    ("library", "lr", "settings"), [*ON_LIBRARIES, pytest.param("jax", *DIVERGING[0], marks=pytest.mark.slow)]
)
def test_explain_divergence_suggested_rate_learns(library, lr, settings):
    pytest.importorskip(library)
    dataset = LINE if "loss" in settings else BANDS
    backend = select("cpu", library, "float32")
    ended = trained(quick(lr=lr, epochs=3, **settings), dataset, backend)
    assert ended.finished.reason == "diverged"
    found = explain_divergence(ended)
    assert found.trial is not None
    events = run(quick(lr=found.trial.rate, epochs=10, **settings), dataset, backend=backend)
    assert last(events).reason == "completed"
    assert epochs(events)[-1].train.loss < epochs(events)[0].train.loss
    assert check_baseline(last(events).test, ended.model, dataset.y_test) is None


def test_explain_baseline_rates_that_weight_decay_forbids_are_not_tried(monkeypatch):
    monkeypatch.setattr(learning_check, "RATES", (0.5, 0.06))
    ended = trained(quick(optimizer="adamw", momentum=None, nesterov=None, lr=1e-7, weight_decay=15.0, epochs=2), BANDS)
    assert ended.recipe.rate_limit == 1 / 15
    assert [trial.rate for trial in try_rates(ended.trials(), ended)[1]] == [0.06]


def test_explain_divergence_late_continues_from_the_last_finite_state():
    recipe = quick(epochs=2)
    first = last(run(recipe, BANDS)).checkpoint
    resumed = quick(epochs=4, lr=1e30)
    backend = select("cpu", dtype="float32")
    finished = last(run(resumed, BANDS, start=first, backend=backend))
    plan = make_plan(resumed, BANDS, strict_validation=True)
    model = first.model
    start = partial(initial_state, resumed, model)
    found = explain_divergence(TrainedRun(resumed, BANDS, plan, model, backend, start, finished, lambda: False))
    assert finished.reason == "diverged"
    assert found.from_end
    assert found.trial is not None
    assert found.trial.loss < found.before


def test_explain_divergence_row_too_large_is_named_and_not_the_rate():
    x = FEATURES.copy()
    y = (x[:, 0] > 0).astype(int)
    dataset = labelled(x, y)
    dataset.x_train[1234] = 1e300  # after the standardisation of the training part was decided
    recipe = quick(lr=0.01)
    backend = select("cpu", dtype="float32")
    model = run(quick(epochs=0), labelled(FEATURES, y))[0].model
    plan = make_plan(recipe, dataset, strict_validation=True)
    finished = last(run(quick(epochs=0), labelled(FEATURES, y)))
    start = partial(initial_state, recipe, model)
    found = explain_divergence(TrainedRun(recipe, dataset, plan, model, backend, start, finished, lambda: False))
    assert found.trial is None
    assert found.found.row == 1234
    assert not found.found.in_most_rows


def test_find_row_without_loss_huge_weights_fail_in_most_rows():
    ended = trained(quick(), BANDS)
    params = tree_map(lambda array: array * np.float32(1e30), ended.first_state()["params"])
    found = find_row_without_loss(
        ended.model, ended.backend, params, BANDS.x_test, BANDS.y_test, np.arange(len(BANDS.x_test))
    )
    assert found.in_most_rows


def test_rate_trials_over_time_or_stopped_end_without_a_suspect(monkeypatch):
    assert warning_of(quick(lr=1e-7, epochs=2), BANDS, stop=lambda: True).figures["suspect"] is None
    monkeypatch.setattr(rate_trials, "MAX_SECONDS", 0.0)
    late = warning_of(quick(lr=1e-7, epochs=2), BANDS)
    assert late.figures["suspect"] is None
    assert "Suspect" not in late.message
