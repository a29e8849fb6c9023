import dataclasses
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss

from lagvis.backends.numpy_backend import NumpyBackend
from lagvis.backends.registry import select
from lagvis.data.dataset import Dataset
from lagvis.network.schedules import SCHEDULES, Schedule, ScheduleEntry
from lagvis.network.step import make_step
from lagvis.training.evaluation import Evaluator
from lagvis.training.events import EpochEnded, Finished, Progress, Started
from lagvis.training.factory import initial_state
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.training.plan import make_plan
from lagvis.tree import named_leaves, tree_map
from tests.conftest import open_backend
from tests.factories import at_step, classes, epochs, last, logits, numbers, quick, run

INFINITE = ScheduleEntry(lambda: Schedule(lambda t, steps, *, xp: xp.full(t.shape, xp.inf)), {})

# Another test checks that a diverging run raises no NumPy warnings.
QUIETLY = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture
def one_step_per_call(monkeypatch):
    """Make every call one step long."""
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)


def kinds(events) -> str:
    return "".join({Started: "S", Progress: "p", EpochEnded: "E", Finished: "F"}[type(event)] for event in events)


def equal(a, b) -> bool:
    """Return whether two states are equal bit for bit."""
    a, b = dict(named_leaves(a)), dict(named_leaves(b))
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


def finite(state) -> bool:
    return all(np.isfinite(leaf).all() for _, leaf in named_leaves(state))


def start_of(recipe, dataset):
    model = Model.of(recipe, dataset, make_plan(recipe, dataset).training_rows)
    return initial_state(recipe, model)


def pixels(x: np.ndarray) -> np.ndarray:
    return x / 255.0


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# --- order and values of the events


def test_fit_yields_events_in_order(one_step_per_call):
    assert kinds(run(quick(batch_size=50), classes(120))) == "S" + "pppE" * 2 + "F"


def test_fit_call_of_several_steps_yields_one_progress(monkeypatch):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 0.0009)  # four steps of 0.2 ms
    events = run(quick(batch_size=12, epochs=1), classes(125))
    assert [event.step for event in events if isinstance(event, Progress)] == [4, 8, 10, 11]


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_fit_compiles_the_step_at_most_once_per_shape(monkeypatch, name):
    backend = open_backend(name, "float32")
    monkeypatch.setattr(
        "lagvis.training.plan.CALL_SECONDS", 0.0009
    )  # an epoch: calls of 4, 4 and 2 steps, then the smaller last batch
    made = []

    def counted(**parts):
        step = make_step(**parts)

        def counting(state, indices, rate, data):
            made.append(tuple(indices.shape))
            return step(state, indices, rate, data)

        return counting

    monkeypatch.setattr("lagvis.training.factory.make_step", counted)
    for seed, lr in ((0, 0.1), (1, 0.3)):
        recipe = quick(batch_size=12, epochs=4, schedule="linear", seed=seed, lr=lr, pixel_scaling="centred")
        dataset = classes(125)
        events = list(fit(recipe, dataset, make_plan(recipe, dataset), backend))
        assert len([event for event in events if isinstance(event, Progress)]) == 4 * 4
        assert 2 <= len(made) <= 3
        made.clear()


def test_fit_counts_steps_samples_and_epochs(one_step_per_call):
    events = run(quick(batch_size=50), classes(120))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.epoch for event in progress] == [1, 1, 1, 2, 2, 2]
    assert [event.step for event in progress] == [1, 2, 3, 4, 5, 6]
    assert [event.samples for event in progress] == [50, 100, 120, 170, 220, 240]
    assert [(event.epoch, event.step, event.samples) for event in epochs(events)] == [(1, 3, 120), (2, 6, 240)]
    finished = last(events)
    assert (finished.reason, finished.epoch, finished.step) == ("completed", 2, 6)


def test_started_holds_model_and_plan():
    recipe, dataset = quick(hidden=(7, 5), validation=20), classes(120)
    started = run(recipe, dataset)[0]
    assert started.model.widths == (36, 7, 5, 4)
    assert started.model.parameters == 37 * 7 + 8 * 5 + 6 * 4
    assert len(started.plan.validation_rows) == 20


def test_progress_learning_rate_follows_the_schedule(one_step_per_call):
    recipe = quick(batch_size=30, epochs=2, schedule="linear", warmup=0.25, lr=0.8)
    progress = [event.learning_rate for event in run(recipe, classes(120)) if isinstance(event, Progress)]
    # 8 steps: warm-up in 2, decay in 6
    assert progress == pytest.approx([0.4, 0.8, 0.8, 0.8 * 5 / 6, 0.8 * 4 / 6, 0.8 * 3 / 6, 0.8 * 2 / 6, 0.8 / 6])
    assert epochs(run(recipe, classes(120)))[-1].learning_rate == progress[-1]


def test_event_seconds_never_decrease(one_step_per_call):
    events = run(quick(), classes(120))
    seconds = [event.seconds for event in events if not isinstance(event, Started)]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_epoch_metrics_are_the_mean_of_progress_metrics(one_step_per_call):
    events = run(quick(batch_size=50, epochs=1), classes(120))
    parts = [event.metrics for event in events if isinstance(event, Progress)]
    ended = epochs(events)[0].train
    assert ended.loss == pytest.approx(np.average([part.loss for part in parts], weights=[50, 50, 20]))
    assert ended.accuracy == pytest.approx(np.average([part.accuracy for part in parts], weights=[50, 50, 20]))


def test_finished_holds_metrics_and_state_of_the_last_epoch():
    events = run(quick(validation=20), classes(120))
    ended, finished = epochs(events)[-1], last(events)
    assert finished.train == ended.train
    assert finished.validation == ended.validation
    assert finished.validation.accuracy > 0
    assert equal(finished.state, ended.state)


def test_fit_without_validation_rows_has_no_validation_metrics():
    events = run(quick(), classes(120))
    assert [event.validation for event in [*epochs(events), last(events)]] == [None] * 3


def test_fit_reads_the_test_part_only_after_the_last_epoch():
    happened = []

    class RecordingDataset(Dataset):
        def __getattribute__(self, name):
            if name in ("x_test", "y_test"):
                happened.append("test part read")
            return super().__getattribute__(name)

    recipe, dataset = quick(epochs=3, validation=20), classes(120)
    watched = RecordingDataset(**{field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)})
    plan = make_plan(recipe, dataset)
    happened.clear()
    for event in fit(recipe, watched, plan, select("cpu")):
        happened.append(type(event).__name__)
    last_epoch = len(happened) - happened[::-1].index("EpochEnded")
    assert happened.count("EpochEnded") == 3
    assert "test part read" not in happened[:last_epoch]
    assert "test part read" in happened[last_epoch:]
    assert event.test.confusion.sum() == 30
    assert event.test.accuracy == np.trace(event.test.confusion) / 30


def test_fit_zero_epochs_only_evaluates():
    recipe, dataset = quick(epochs=0, validation=20), classes(120)
    events = run(recipe, dataset)
    finished = last(events)
    assert kinds(events) == "SF"
    assert (finished.reason, finished.epoch, finished.step) == ("completed", 0, 0)
    assert finished.train is None
    assert finished.test.confusion.sum() == 30
    assert equal(finished.state, start_of(recipe, dataset))


# --- stopping


def test_fit_stopped_within_an_epoch_keeps_the_current_state(one_step_per_call):
    dataset = classes(120)
    recipe = quick(epochs=1, shuffle=False, momentum=0.9)
    events = run(recipe, dataset, stop_at=at_step(3))
    finished = last(events)
    assert kinds(events) == "SpppF"
    assert (finished.reason, finished.epoch, finished.step) == ("interrupted", 0, 3)
    assert finished.test is None
    # three steps in the order of the file are an epoch of the first three batches
    first = dataclasses.replace(dataset, x_train=dataset.x_train[:60], y_train=dataset.y_train[:60])
    assert equal(finished.state, last(run(recipe, first)).state)


def test_fit_stopped_within_a_later_epoch_counts_finished_epochs(one_step_per_call):
    events = run(quick(epochs=3), classes(120), stop_at=at_step(8))
    finished = last(events)
    assert kinds(events) == "S" + "p" * 6 + "E" + "pp" + "F"
    assert (finished.reason, finished.epoch, finished.step) == ("interrupted", 1, 8)
    assert finished.train == epochs(events)[0].train
    assert not equal(finished.state, epochs(events)[0].state)


def test_fit_stopped_between_epochs_keeps_the_epoch(one_step_per_call):
    events = run(quick(epochs=3), classes(120), stop_at=lambda event: isinstance(event, EpochEnded))
    finished = last(events)
    assert kinds(events) == "S" + "p" * 6 + "E" + "F"
    assert (finished.reason, finished.epoch, finished.step) == ("interrupted", 1, 6)
    assert equal(finished.state, epochs(events)[0].state)


def test_fit_stopped_after_the_last_call_of_an_epoch_keeps_its_totals(one_step_per_call):
    recipe, dataset = quick(epochs=3), classes(120)
    events = run(recipe, dataset, stop_at=at_step(6))
    finished = last(events)
    # all steps of the epoch are done but it is not evaluated: a resumed run begins with the evaluation
    assert (finished.reason, finished.epoch, finished.step) == ("interrupted", 0, 6)
    rest = run(recipe, dataset, start=finished.checkpoint)
    assert kinds(rest) == "S" + "E" + "pppppp" + "E" + "pppppp" + "E" + "F"
    assert epochs(rest)[0].train == epochs(run(recipe, dataset))[0].train


# --- diverging


@QUIETLY
def test_fit_diverged_ends_with_the_state_of_the_last_epoch():
    recipe = quick(lr=1000.0, epochs=9, batch_size=120, activation="identity")
    events = run(recipe, classes(120))
    finished, ended = last(events), epochs(events)[-1]
    assert finished.reason == "diverged"
    assert 0 < finished.epoch == ended.epoch < 9
    assert finished.step == ended.step
    assert finished.test is None
    assert finite(finished.state)
    assert equal(finished.state, ended.state)


@QUIETLY
@pytest.mark.parametrize(
    ("recipe", "dataset"),
    [(quick(lr=1e30, hidden=(8, 8)), classes(120)), (quick(lr=1e30, loss="mse"), numbers(120))],
    ids=["classes", "numbers"],
)
def test_fit_diverged_in_first_epoch_ends_with_the_initial_state(one_step_per_call, recipe, dataset):
    events = run(recipe, dataset)
    finished = last(events)
    assert (finished.reason, finished.epoch, finished.step) == ("diverged", 0, 0)
    assert equal(finished.state, start_of(recipe, dataset))
    # detected at the first call with a value that is not finite, not at the end of the epoch
    calls = [event for event in events if isinstance(event, Progress)]
    assert len(calls) < 5
    assert all(event.metrics.finite for event in calls)


@QUIETLY
def test_fit_last_step_not_finite_is_diverged(monkeypatch):
    # one step per epoch: its loss is that of the initial state, and no later step would reveal the broken parameters
    monkeypatch.setitem(SCHEDULES, "constant", INFINITE)
    recipe, dataset = quick(schedule="constant", epochs=1, batch_size=120), classes(120)
    finished = last(run(recipe, dataset))
    assert (finished.reason, finished.epoch, finished.step) == ("diverged", 0, 0)
    assert finite(finished.state)
    assert (finished.train, finished.validation) == (None, None)


def test_fit_diverged_raises_no_warnings(recwarn):
    warnings.simplefilter("always")
    assert last(run(quick(lr=1e30, hidden=(8, 8)), classes(120))).reason == "diverged"
    assert [str(warning.message) for warning in recwarn] == []


# --- learning


def test_fit_separable_classes_reaches_full_accuracy():
    finished = last(run(quick(epochs=30, momentum=0.9, nesterov=True, schedule="linear"), classes(120)))
    assert finished.train.accuracy == 1.0
    assert finished.test.accuracy == 1.0
    assert finished.test.confusion.tolist() == np.diag([8, 8, 7, 7]).tolist()


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "identity"])
def test_fit_every_activation_reaches_full_accuracy(activation):
    recipe = quick(epochs=40, momentum=0.9, batch_size=10, activation=activation)
    assert last(run(recipe, classes(120))).test.accuracy == 1.0


def test_fit_without_hidden_layers_reaches_full_accuracy():
    assert last(run(quick(hidden=(), epochs=20, batch_size=10), classes(120))).test.accuracy == 1.0


def test_fit_linear_targets_reaches_the_noise():
    finished = last(run(quick(loss="mse", hidden=(), epochs=60, batch_size=10, lr=0.02), numbers(400)))
    # the noise has deviation 0.1 in both targets, whose own deviations are 4 and 700
    assert finished.test.errors[0] == pytest.approx(0.1, rel=0.3)
    assert finished.test.errors[1] < 0.5


@pytest.mark.parametrize(
    ("recipe", "dataset"),
    [(quick(momentum=0.9), classes(120)), (quick(loss="mse"), numbers(120)), (quick(dtype="float64"), classes(120))],
    ids=["classes", "numbers", "float64"],
)
def test_fit_same_seed_same_bytes(recipe, dataset):
    state = last(run(recipe, dataset)).state
    assert equal(last(run(recipe, dataset)).state, state)
    assert not equal(last(run(dataclasses.replace(recipe, seed=1), dataset)).state, state)
    assert {str(leaf.dtype) for _, leaf in named_leaves(state)} == {recipe.dtype}


def test_initial_state_float32_is_rounded_float64():
    wide = start_of(quick(dtype="float64"), classes(120))
    assert equal(start_of(quick(), classes(120)), tree_map(np.float32, wide))


def test_fit_other_steps_per_call_same_bytes(monkeypatch):
    dataset = classes(120)
    state = last(run(quick(), dataset)).state
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    assert equal(last(run(quick(), dataset)).state, state)


def test_epoch_states_are_independent_copies():
    ended = epochs(run(quick(epochs=3), classes(120)))
    assert not equal(ended[0].state, ended[1].state)
    assert equal(ended[0].state, last(run(quick(epochs=1), classes(120))).state)


# --- metrics, compared with plain NumPy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", ["numpy", "strict", "torch", "jax"])
def test_epoch_metrics_smoothed_have_plain_loss_and_objective(name, smoothing):
    dataset = classes(120)
    # one batch of all rows: the loss of the epoch is that of the initial parameters
    recipe = quick(dtype="float64", epochs=1, batch_size=100, validation=20, label_smoothing=smoothing)
    plan = make_plan(recipe, dataset)
    events = run(recipe, dataset, backend=open_backend(name, "float64"))
    z = logits(start_of(recipe, dataset)["params"], pixels(dataset.x_train[plan.training_rows]))
    y = dataset.y_train[plan.training_rows]
    train = epochs(events)[0].train
    assert train.loss == pytest.approx(log_loss(y, softmax(z), labels=range(4)), rel=1e-12)
    target = np.eye(4)[y] * (1 - smoothing) + smoothing / 4
    objective = train.loss if train.objective is None else train.objective
    assert (train.objective is None) == (smoothing == 0.0)
    assert objective == pytest.approx(-np.mean(np.sum(target * np.log(softmax(z)), axis=1)), rel=1e-12)
    z = logits(last(events).state["params"], pixels(dataset.x_train[plan.validation_rows]))
    expected = log_loss(dataset.y_train[plan.validation_rows], softmax(z), labels=range(4))
    assert last(events).validation.objective is None
    assert last(events).validation.loss == pytest.approx(expected, rel=1e-12)


def test_test_metrics_equal_scikit_learn():
    dataset = classes(120, classes=5, test_rows=203)
    finished = last(run(quick(epochs=1, dtype="float64", lr=0.02), dataset))
    z = logits(finished.state["params"], pixels(dataset.x_test))
    predicted = z.argmax(axis=1)
    assert 0.2 < np.mean(predicted == dataset.y_test) < 1  # otherwise the matrix below could be right by chance
    assert finished.test.confusion.tolist() == confusion_matrix(dataset.y_test, predicted, labels=range(5)).tolist()
    assert finished.test.loss == pytest.approx(log_loss(dataset.y_test, softmax(z)), rel=1e-12)
    assert finished.test.accuracy == np.mean(predicted == dataset.y_test)


def predictions(dataset: Dataset, params, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return predictions in the user's unit, standardised here with the statistics of the training rows."""
    x_known, y_known = dataset.x_train[rows], dataset.y_train[rows]
    z = logits(params, (x - x_known.mean(axis=0)) / x_known.std(axis=0))
    return z * y_known.std(axis=0) + y_known.mean(axis=0)


def test_metrics_regression_loss_is_standardised_errors_are_not():
    dataset = numbers(120)
    recipe = quick(loss="mse", dtype="float64", validation=30)
    plan, finished = make_plan(recipe, dataset, strict_validation=True), last(run(recipe, dataset))
    deviation = dataset.y_train[plan.training_rows].std(axis=0)
    parts = (
        (finished.test, dataset.x_test, dataset.y_test),
        (finished.validation, dataset.x_train[plan.validation_rows], dataset.y_train[plan.validation_rows]),
    )
    for metrics, x, y in parts:
        errors = predictions(dataset, finished.state["params"], plan.training_rows, x) - y
        assert metrics.objective is None
        assert metrics.loss == pytest.approx(np.mean((errors / deviation) ** 2), rel=1e-10)
        assert metrics.errors == pytest.approx(np.sqrt(np.mean(errors**2, axis=0)), rel=1e-10)
        assert metrics.accuracy is None
        assert metrics.confusion is None


def test_train_loss_regression_is_the_standardised_error():
    dataset = numbers(120)
    recipe = quick(loss="mse", dtype="float64", epochs=1, batch_size=120)
    predicted = predictions(dataset, start_of(recipe, dataset)["params"], np.arange(120), dataset.x_train)
    expected = np.mean(((predicted - dataset.y_train) / dataset.y_train.std(axis=0)) ** 2)
    assert epochs(run(recipe, dataset))[0].train.loss == pytest.approx(expected, rel=1e-10)


def test_best_epoch_several_targets_have_equal_weight():
    recipe, dataset = quick(loss="mse", epochs=6, validation=30, lr=0.2, seed=3, batch_size=30), numbers(120)
    events = run(recipe, dataset)
    deviation = events[0].model.y_scaling.deviation
    errors = np.array([event.validation.errors for event in epochs(events)])
    standardised, raw = np.mean((errors / deviation) ** 2, axis=1), np.mean(errors**2, axis=1)
    assert np.argmin(standardised) != np.argmin(raw), "otherwise any choice would pass"
    assert last(events).checkpoint.best_epoch == 1 + np.argmin(standardised)
    assert last(events).checkpoint.best_loss == pytest.approx(np.min(standardised), rel=1e-6)


def test_baseline_regression_is_the_loss_of_the_training_mean():
    dataset, recipe = numbers(120), quick(loss="mse")
    known = dataset.y_train[:60]
    model = Model.of(recipe, dataset, np.arange(60))
    expected = np.mean(((dataset.y_test - known.mean(axis=0)) / known.std(axis=0)) ** 2)
    assert model.baseline(dataset.y_test) == pytest.approx(expected)
    assert Model.of(quick(), classes(120), np.arange(60)).baseline(classes(120).y_test) is None


def evaluated(dataset, recipe, params, rows):
    model = Model.of(recipe, dataset, np.arange(len(dataset.x_train)))
    evaluator = Evaluator(model, select("cpu", dtype=recipe.dtype))
    prepared = model.prepare(dataset.x_test, dataset.y_test, recipe.dtype)
    return evaluator.evaluate(params, prepared, rows, details=True)


@pytest.mark.parametrize("pieces", [1, 7, 50, 99, 100, 10**6])
@pytest.mark.parametrize("regression", [False, True], ids=["classes", "numbers"])
def test_evaluate_every_chunk_size_same_metrics(monkeypatch, pieces, regression):
    dataset = (numbers if regression else classes)(120, test_rows=100)
    recipe = quick(loss="mse") if regression else quick()
    params = start_of(recipe, dataset)["params"]
    whole = evaluated(dataset, recipe, params, np.arange(100))
    monkeypatch.setattr("lagvis.training.evaluation.CHUNK_ROWS", pieces)
    parts = evaluated(dataset, recipe, params, np.arange(100))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert parts.errors == pytest.approx(whole.errors, rel=1e-5)
    assert parts.accuracy == whole.accuracy
    np.testing.assert_array_equal(parts.confusion, whole.confusion)


def test_evaluate_wide_network_takes_smaller_chunks(monkeypatch):
    sizes = []
    backend = select("cpu", compiled=False)
    dataset, recipe = classes(120, test_rows=100), quick(hidden=(1000,))
    model = Model.of(recipe, dataset, np.arange(120))
    monkeypatch.setattr("lagvis.training.evaluation.CHUNK_VALUES", 30_000)
    monkeypatch.setattr(
        "lagvis.training.evaluation.make_evaluation",
        lambda **_: lambda totals, indices, params, data: sizes.append(len(indices)) or totals | {"weight": 1.0},
    )
    params = start_of(recipe, dataset)["params"]
    Evaluator(model, backend).evaluate(params, model.prepare(dataset.x_test, dataset.y_test, "float32"), np.arange(100))
    assert sizes == [30, 30, 30, 10]


def test_evaluate_counts_only_the_given_rows():
    dataset = classes(120, test_rows=100)
    scores = evaluated(dataset, quick(), start_of(quick(), dataset)["params"], np.array([3, 50, 99]))
    assert scores.confusion.sum() == 3
    assert scores.confusion.sum(axis=1).tolist() == np.bincount(dataset.y_test[[3, 50, 99]], minlength=4).tolist()


def test_evaluate_large_logits_have_a_finite_loss():
    dataset = classes(120)
    params = tree_map(lambda a: a * np.float32(1e5), start_of(quick(), dataset)["params"])
    scores = evaluated(dataset, quick(), params, np.arange(30))
    assert math.isfinite(scores.loss)
    assert scores.loss > 1000


@pytest.mark.parametrize("keys", [{"batch_size": 1}, {"batch_size": 119}, {"batch_size": 10**6}])
def test_fit_every_batch_size_takes_all_rows(keys):
    assert epochs(run(quick(epochs=1, **keys), classes(120)))[0].samples == 120


def test_fit_single_row_is_learned():
    dataset = classes(120)
    one = dataclasses.replace(dataset, x_train=dataset.x_train[:1], y_train=dataset.y_train[:1])
    finished = last(run(quick(epochs=50), one))
    assert finished.train.accuracy == 1.0
    assert finished.train.loss < 0.1


@QUIETLY
def test_fit_stopped_in_a_state_not_finite_is_diverged(one_step_per_call, monkeypatch):
    monkeypatch.setitem(SCHEDULES, "constant", INFINITE)
    recipe, dataset = quick(schedule="constant", epochs=3), classes(120)
    finished = last(run(recipe, dataset, stop_at=at_step(1)))
    assert (finished.reason, finished.epoch, finished.step) == ("diverged", 0, 0)
    assert equal(finished.state, start_of(recipe, dataset))


def test_fit_seconds_exclude_evaluations(monkeypatch):
    whole, clock = Evaluator.evaluate, [0.0]

    def slow(*arguments, **options):
        clock[0] += 100.0
        return whole(*arguments, **options)

    monkeypatch.setattr(Evaluator, "evaluate", slow)
    monkeypatch.setattr("lagvis.training.loop.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert last(run(quick(epochs=2, validation=20), classes(120))).seconds == 0.0
    assert clock == [300.0]


class Clock:
    """Clock that advances only when a test changes `now`."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lagvis.training.loop.time", clock)
    return clock


def test_fit_seconds_exclude_a_slow_consumer(clock, one_step_per_call):
    recipe, dataset = quick(epochs=2, validation=20), classes(120)
    seconds = []
    for event in fit(recipe, dataset, make_plan(recipe, dataset), select("cpu"), seconds=7.0):
        clock.now += 100.0  # like a caller that writes to a slow disk
        if not isinstance(event, Started):
            seconds.append(event.seconds)
    assert seconds == [7.0] * len(seconds)


def test_fit_seconds_include_copies_from_the_device(clock):
    class SlowDevice(NumpyBackend):
        def to_numpy(self, array):
            clock.now += 1.0
            return super().to_numpy(array)

    recipe, dataset = quick(epochs=2, batch_size=120), classes(120)
    events = run(recipe, dataset, backend=SlowDevice("cpu", "float32", True))
    sums, leaves = 3, 4  # loss, weight and correct of the only call of an epoch; W and b of two layers
    assert [event.seconds for event in epochs(events)] == [1.0 * (sums + leaves), 2.0 * (sums + leaves)]
    assert last(events).seconds == 2.0 * (sums + leaves), "evaluating the test part is not timed"


def test_progress_checkpoint_adds_to_training_seconds(clock, one_step_per_call):
    class SlowDevice(NumpyBackend):
        def to_numpy(self, array):
            clock.now += 1.0
            return super().to_numpy(array)

    recipe, dataset = quick(epochs=1, batch_size=60), classes(120)
    events = fit(recipe, dataset, make_plan(recipe, dataset), SlowDevice("cpu", "float32", True))
    seconds = []
    for event in events:
        if isinstance(event, Progress):
            seconds.append(event.seconds)
            event.checkpoint()
    assert seconds == [3.0, 3.0 + 4.0 + 3.0], "the second value includes totals, checkpoint, totals"
