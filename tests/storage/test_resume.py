"""A resumed run has the result of an uninterrupted run; with changed settings it reports the differences."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from lagvis.errors import CheckpointError, DataError, RecipeError
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from lagvis.storage.init_from import init_from
from lagvis.storage.resume import CHANGEABLE, changed_settings, check_data, resume_message, resume_record, resume_state
from lagvis.training.events import Progress
from lagvis.training.model import Model
from lagvis.training.plan import make_plan
from lagvis.tree import named_leaves
from tests.conftest import GPU_PARAMS, open_backend
from tests.factories import at_step, classes, compile_once, epochs, last, numbers, quick, run

PLAIN = quick(epochs=3, validation=20)
RECIPES = {
    "plain": PLAIN,
    "momentum": dataclasses.replace(PLAIN, momentum=0.9, nesterov=True, schedule="linear", label_smoothing=0.1),
    "weights": dataclasses.replace(PLAIN, class_weights="balanced", momentum=0.5),
    "adamw": quick(
        epochs=3, validation=20, optimizer="adamw", momentum=None, nesterov=None, schedule="one-cycle",
        l1=1e-4, clip_norm=1.0, max_norm=2.0, lr=0.01,
    ),
    "everything": quick(
        epochs=3, validation=20, optimizer="adamw", momentum=None, nesterov=None, lr=0.01, batch_size=10, accumulate=2,
        normalization="batch", dropout=0.3, input_dropout=0.1, input_noise=0.1, mixup=0.3, ema=0.9, clip_norm=1.0,
    ),
    "muon": quick(epochs=3, validation=20, optimizer="muon", hidden=(8, 8), nesterov=None, momentum=0.9, lr=0.01),
}  # fmt: skip


@pytest.fixture
def one_step_per_call(monkeypatch):
    """Make every call one step long, so that a run can stop after any step."""
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)


def bytes_of(checkpoint, path) -> bytes:
    write_checkpoint(path, checkpoint)
    return path.read_bytes()


def round_trip(checkpoint, path):
    """Write a checkpoint to a file and read it again."""
    write_checkpoint(path, checkpoint)
    return read_checkpoint(path)


# --- equal bytes


@functools.cache
def compiled_once(name: str, recipe: str):
    """Return a JAX backend that compiles once per recipe, for all its seeds."""
    return compile_once(open_backend(name, "float32"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
@pytest.mark.parametrize("recipe", ["plain", "momentum", "adamw", "everything"])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax", *GPU_PARAMS])
def test_resume_at_random_step_equals_uninterrupted_run(one_step_per_call, tmp_path, name, recipe, seed):
    def open_once(key=recipe):
        return compiled_once(name, key) if name.startswith("jax") else open_backend(name, "float32")

    recipe, dataset = dataclasses.replace(RECIPES[recipe], seed=seed), classes(123)
    uninterrupted = run(recipe, dataset, backend=open_once())
    step = int(np.random.default_rng(seed).integers(1, 19))  # three epochs, each of five full batches and a smaller one
    first = run(recipe, dataset, backend=open_once(), stop_at=at_step(step))
    assert (last(first).reason, last(first).step) == ("interrupted", step)
    start = round_trip(last(first).checkpoint, tmp_path / "half")
    rest = run(recipe, dataset, backend=open_once(), start=start)
    assert bytes_of(last(rest).checkpoint, tmp_path / "a") == bytes_of(last(uninterrupted).checkpoint, tmp_path / "b")
    for again, before in zip(epochs(rest)[::-1], epochs(uninterrupted)[::-1], strict=False):
        assert dataclasses.replace(again, seconds=0, checkpoint=None) == dataclasses.replace(
            before, seconds=0, checkpoint=None
        )
    assert [event.epoch for event in epochs(first) + epochs(rest)] == [1, 2, 3]
    assert last(rest).test.loss == last(uninterrupted).test.loss


def test_resume_regression_equals_uninterrupted_run(one_step_per_call, tmp_path):
    recipe, dataset = quick(loss="mse", momentum=0.5, epochs=2), numbers(120)
    uninterrupted = run(recipe, dataset)
    start = round_trip(last(run(recipe, dataset, stop_at=at_step(4))).checkpoint, tmp_path / "half")
    rest = run(recipe, dataset, start=start)
    assert bytes_of(last(rest).checkpoint, tmp_path / "a") == bytes_of(last(uninterrupted).checkpoint, tmp_path / "b")
    assert epochs(rest)[0].train == epochs(uninterrupted)[0].train


@pytest.mark.parametrize("recipe", RECIPES)
def test_resume_at_every_step_equals_uninterrupted_run(one_step_per_call, tmp_path, recipe):
    recipe, dataset = RECIPES[recipe], classes(123)
    expected = bytes_of(last(run(recipe, dataset)).checkpoint, tmp_path / "a")
    start = None
    for step in range(1, 19):
        start = round_trip(last(run(recipe, dataset, start=start, stop_at=at_step(step))).checkpoint, tmp_path / "h")
        assert start.step == step
    assert bytes_of(last(run(recipe, dataset, start=start)).checkpoint, tmp_path / "b") == expected


def test_progress_checkpoint_equals_that_of_a_stop(one_step_per_call, tmp_path):
    kept = []

    def keep(event):
        if isinstance(event, Progress) and event.step == 4 and not kept:
            kept.append(event.checkpoint())
        return False

    recipe, dataset = RECIPES["momentum"], classes(123)
    uninterrupted = run(recipe, dataset, stop_at=keep)
    stopped = last(run(recipe, dataset, stop_at=at_step(4))).checkpoint
    assert bytes_of(kept[0], tmp_path / "a") == bytes_of(stopped, tmp_path / "b")
    rest = run(recipe, dataset, start=kept[0])
    assert bytes_of(last(rest).checkpoint, tmp_path / "a") == bytes_of(last(uninterrupted).checkpoint, tmp_path / "b")


def test_resume_more_epochs_constant_schedule_equals_longer_run(tmp_path):
    dataset = classes(123)
    start = last(run(PLAIN, dataset)).checkpoint
    longer = dataclasses.replace(PLAIN, epochs=5)
    rest, uninterrupted = run(longer, dataset, start=start), run(longer, dataset)
    assert bytes_of(last(rest).checkpoint, tmp_path / "a") == bytes_of(last(uninterrupted).checkpoint, tmp_path / "b")


def test_resume_keeps_the_best_epoch(tmp_path):
    # the validation loss decreases in every epoch here, so the last epoch is the best
    events = run(quick(epochs=4, validation=20, lr=0.02), classes(120))
    losses = [event.validation.loss for event in epochs(events)]
    assert losses == sorted(losses, reverse=True)
    assert [event.checkpoint.best_epoch for event in epochs(events)] == [1, 2, 3, 4]
    assert last(events).checkpoint.best_loss == losses[-1]
    worse = dataclasses.replace(last(events).checkpoint, best_epoch=2, best_loss=losses[-1] / 1e6)
    rest = run(quick(epochs=5, validation=20, lr=0.02), classes(120), start=round_trip(worse, tmp_path / "x"))
    assert (last(rest).checkpoint.best_epoch, last(rest).checkpoint.best_loss) == (2, losses[-1] / 1e6)


def test_resume_stopped_during_validation_loses_no_step(monkeypatch, tmp_path):
    monkeypatch.setattr("lagvis.training.evaluation.CHUNK_ROWS", 5)
    stop_checks = []

    def stop(event):
        if isinstance(event, Progress) and event.step == 5:  # the last step of an epoch of 100 rows
            stop_checks.append(event)
        return len(stop_checks) > 3  # one check after the call, then one after each of three of the four chunks

    recipe, dataset = PLAIN, classes(120)
    stopped = last(run(recipe, dataset, stop_at=stop))
    assert (stopped.reason, stopped.epoch, stopped.step) == ("interrupted", 0, 5)
    rest = run(recipe, dataset, start=round_trip(stopped.checkpoint, tmp_path / "x"))
    uninterrupted = run(recipe, dataset)
    assert bytes_of(last(rest).checkpoint, tmp_path / "a") == bytes_of(last(uninterrupted).checkpoint, tmp_path / "b")


# --- settings that may change, and the message about them


def other_settings(key):
    """Return the settings that another optimizer does not take, as not given."""
    return {"momentum": None, "nesterov": None} if key == "optimizer" else {}


@pytest.mark.parametrize("key", sorted({*dataclasses.asdict(quick())} - {*CHANGEABLE}))
def test_changed_settings_fixed_setting_raises_recipe_error(key):
    other = {
        "hidden": (9,), "activation": "tanh", "loss": "mse", "batch_size": 7, "shuffle": False,
        "validation": 3, "seed": 1, "dtype": "float64", "label": "x", "class_weights": "balanced",
        "feature_type": "numbers", "transpose": "yes", "pixel_scaling": "centred",
        "number_scaling": "robust", "features": ("a",), "drop": ("a",), "category": ("a",), "number": ("a",),
        "log": ("a",), "id": ("a",), "weight_column": "x", "sheet": "x", "table": "x",
        "normalization": "batch", "ema": 0.9, "accumulate": 2, "optimizer": "adam",
        "huber_delta": 2.0,
    }[key]  # fmt: skip
    taker = {"loss": "huber"} if key == "huber_delta" else {}
    old, new = quick(**taker), quick(**taker | {key: other} | other_settings(key))
    with pytest.raises(RecipeError, match=rf"{key} is .* in this run, not .*; begin a new run without --resume"):
        changed_settings(old, new)


def test_changed_settings_returns_old_and_new():
    new = quick(lr=0.5, epochs=7, momentum=0.9)
    assert changed_settings(quick(), new) == {"lr": (0.1, 0.5), "epochs": (2, 7), "momentum": (0.0, 0.9)}
    assert changed_settings(quick(), quick()) == {}


def message_of(old, new, *, step=0, earlier=None, now=None) -> str:
    dataset = classes(120)
    checkpoint = last(run(old, dataset, stop_at=at_step(step))).checkpoint if step else None
    return resume_message(checkpoint, make_plan(new, dataset), old, new, earlier or {}, now or {})


def test_resume_message_names_step_and_epochs(one_step_per_call):
    assert message_of(quick(), quick(), step=8) == "Resuming after step 8, 1 of 2 epochs done."
    assert message_of(quick(), quick()) == "This run has no checkpoint yet: it starts from the beginning."


def test_resume_message_names_the_learning_rate(one_step_per_call):
    text = message_of(quick(lr=0.1), quick(lr=0.5), step=8)
    assert "lr 0.1 -> 0.5" in text
    assert "the learning rate of the next step is 0.5 instead of 0.1" in text
    assert "as before" in message_of(quick(), quick(epochs=9), step=8)
    linear = quick(schedule="linear", warmup=0.0, lr=0.1)
    text = message_of(linear, dataclasses.replace(linear, epochs=4), step=6)
    assert "epochs 2 -> 4" in text
    # step 6 is half of twelve steps and a quarter of twenty-four
    assert "is 0.075 instead of 0.05" in text


def test_resume_message_writes_several_values_as_a_recipe_does(one_step_per_call):
    text = message_of(quick(optimizer="adam"), quick(optimizer="adam", betas=(0.8, 0.9)), step=4)
    assert "betas [0.9, 0.999] -> [0.8, 0.9]" in text


def test_resume_message_other_schedule_names_the_learning_rate_of_the_next_step(one_step_per_call):
    old = quick(schedule="linear", warmup=0.0, lr=0.1, momentum=0.9)
    text = message_of(old, dataclasses.replace(old, min_lr_ratio=0.5), step=6)
    assert "min_lr_ratio 0.0 -> 0.5" in text
    assert "the learning rate of the next step is 0.075 instead of 0.05" in text
    other = quick(schedule="one-cycle", warmup=0.5, lr=0.1, momentum=0.9)
    text = message_of(old, other, step=6)
    assert "schedule linear -> one-cycle" in text
    assert "base_momentum 0.0 -> 0.85" in text
    assert "is 0.0933013 instead of 0.05" in text  # one step of six after the peak: 0.1 (1 + cos(pi / 6)) / 2


def test_resume_record_other_momentum_of_the_schedule_is_a_change(one_step_per_call):
    old = quick(schedule="one-cycle", lr=0.1, momentum=0.9, base_momentum=0.85)
    new, dataset = dataclasses.replace(old, base_momentum=0.5), classes(120)
    start = last(run(old, dataset, stop_at=at_step(3))).checkpoint
    plan = make_plan(old, dataset)
    record = resume_record(start, plan, old, new, {"threads": 1, "resumed": []}, {"threads": 1})
    assert record == [{"step": 3, "epoch": 0, "changed": {"base_momentum": (0.85, 0.5)}}]
    assert resume_record(start, plan, old, old, {"threads": 1, "resumed": []}, {"threads": 1}) == []


def test_resume_betas_and_eps_can_change_and_the_moments_stay(one_step_per_call, tmp_path):
    recipe = quick(optimizer="adam", momentum=None, nesterov=None, epochs=1)
    new, dataset = dataclasses.replace(recipe, betas=(0.5, 0.9), eps=1e-4), classes(120)
    start = round_trip(last(run(recipe, dataset, stop_at=at_step(3))).checkpoint, tmp_path / "x")
    assert changed_settings(recipe, new) == {"betas": ((0.9, 0.999), (0.5, 0.9)), "eps": (1e-8, 1e-4)}
    plan = make_plan(new, dataset)
    resumed = resume_state(start, Model.of(new, dataset, plan.training_rows), plan, new)
    for name, leaf in named_leaves(start.state):
        assert dict(named_leaves(resumed.state))[name].tobytes() == leaf.tobytes()


def test_resume_message_names_changed_environment(one_step_per_call):
    text = message_of(
        quick(), quick(), step=8,
        earlier={"threads": 1, "blas_threads": 1, "command": ["a"]},
        now={"threads": 2, "blas_threads": 2, "command": ["b"]},
    )  # fmt: skip
    assert text.endswith("done; blas_threads 1 -> 2: the bytes may differ from those of an unbroken run.")
    assert "command" not in text


@pytest.mark.parametrize(("threads", "reported"), [(1, False), (2, True)])
def test_resume_message_of_a_run_without_blas_threads_compares_its_threads(one_step_per_call, threads, reported):
    now = {"threads": 2, "blas_threads": 1}
    text = message_of(quick(), quick(), step=8, earlier={"threads": threads}, now=now)
    assert ("blas_threads 2 -> 1: the bytes may differ" in text) == reported
    assert ("bytes" in text) == reported


def test_resume_state_new_momentum_starts_at_zero(one_step_per_call, tmp_path):
    recipe, dataset = quick(epochs=1), classes(120)
    start = round_trip(last(run(recipe, dataset, stop_at=at_step(3))).checkpoint, tmp_path / "x")
    new = dataclasses.replace(recipe, momentum=0.9)
    plan = make_plan(new, dataset)
    model = Model.of(new, dataset, plan.training_rows)
    start = resume_state(start, model, plan, new)
    assert {name for name, _ in named_leaves(start.state)} > {"velocity.0.W", "velocity.1.b"}
    assert not any(leaf.any() for _, leaf in named_leaves(start.state["velocity"]))
    assert last(run(new, dataset, start=start)).reason == "completed"
    without = resume_state(last(run(new, dataset)).checkpoint, model, plan, quick(epochs=1))
    assert set(without.state) == {"params"}


# --- checkpoints that do not fit


def start_for(checkpoint, recipe, dataset):
    plan = make_plan(recipe, dataset)
    return resume_state(checkpoint, Model.of(recipe, dataset, plan.training_rows), plan, recipe)


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden", (9,)), ("activation", "tanh"), ("dtype", "float64")],
)
def test_resume_state_other_network_raises(key, value):
    checkpoint = last(run(quick(), classes(120))).checkpoint
    with pytest.raises(CheckpointError, match={"hidden": "widths"}.get(key, key)):
        start_for(checkpoint, quick(**{key: value}), classes(120))


def test_resume_state_other_classes_raise():
    checkpoint = last(run(quick(), classes(120))).checkpoint
    named = dataclasses.replace(classes(120), class_names=("a", "b", "c", "d"))
    with pytest.raises(CheckpointError, match="class_names"):
        start_for(checkpoint, quick(), named)


def test_resume_state_without_needed_scaling_raises():
    recipe, dataset = quick(loss="mse"), numbers(120)
    checkpoint = last(run(recipe, dataset)).checkpoint
    assert start_for(checkpoint, recipe, dataset).step == checkpoint.step
    without = dataclasses.replace(checkpoint, model=dataclasses.replace(checkpoint.model, x_scaling=None))
    with pytest.raises(CheckpointError, match="x_scaling"):
        start_for(without, recipe, dataset)


def test_init_from_keeps_the_scaling_of_the_network(tmp_path):
    recipe, dataset = quick(loss="mse", momentum=0.5, dtype="float64"), numbers(120)
    network = last(run(recipe, dataset)).checkpoint
    fewer = {"x_train": dataset.x_train[:90], "y_train": dataset.y_train[:90], "sha256": {"some": "aa"}}
    other = dataclasses.replace(dataset, **fewer)
    plan = make_plan(recipe, other)
    start = init_from(network, Model.of(recipe, other, plan.training_rows), recipe, other)
    assert (start.epoch, start.step, set(start.state)) == (0, 0, {"params", "velocity"})
    assert not any(leaf.any() for _, leaf in named_leaves(start.state["velocity"]))
    finished = last(run(dataclasses.replace(recipe, epochs=0), other, start=start))
    # the test loss is unchanged: the weights keep their own scaling
    assert finished.test.loss == pytest.approx(
        last(run(dataclasses.replace(recipe, epochs=0), dataset, start=network)).test.loss
    )
    assert finished.checkpoint.model.x_scaling is network.model.x_scaling
    assert finished.checkpoint.data == other.digest != network.data


@pytest.mark.parametrize("scaling", ["unit", "centred"])
def test_init_from_keeps_the_mean_pixel_of_the_network(scaling):
    network = last(run(quick(pixel_scaling=scaling), classes(120))).checkpoint
    dark = dataclasses.replace(classes(120), x_train=255 - classes(120).x_train)
    plan = make_plan(quick(), dark)
    start = init_from(network, Model.of(quick(pixel_scaling="centred"), dark, plan.training_rows), quick(), dark)
    assert start.model.pixel_mean == network.model.pixel_mean
    assert (start.model.pixel_mean > 0) == (scaling == "centred")


def test_init_from_weights_too_large_for_dtype_raise():
    network = last(run(quick(dtype="float64"), classes(120))).checkpoint
    params = [{name: leaf * 1e300 for name, leaf in layer.items()} for layer in network.state["params"]]
    network = dataclasses.replace(network, state={"params": params})
    model = Model.of(quick(), classes(120), np.arange(120))
    with pytest.raises(CheckpointError, match="use --dtype float64"):
        init_from(network, model, quick(), classes(120))


def test_resume_state_fewer_epochs_than_done_raise(one_step_per_call):
    dataset = classes(120)
    checkpoint = last(run(quick(epochs=3), dataset, stop_at=at_step(8))).checkpoint
    with pytest.raises(RecipeError, match=r"epochs is 1, but 8 steps \(1 full epochs of 6\)"):
        start_for(checkpoint, quick(epochs=1), dataset)
    assert start_for(checkpoint, quick(epochs=2), dataset).step == 8


@pytest.mark.parametrize(("epoch", "step"), [(0, 8), (1, 3), (0, 6)])
def test_resume_state_step_of_another_epoch_raises(epoch, step):
    dataset = classes(120)
    checkpoint = dataclasses.replace(last(run(quick(epochs=3), dataset)).checkpoint, epoch=epoch, step=step)
    with pytest.raises(CheckpointError, match="6 steps an epoch, never has"):
        start_for(checkpoint, quick(epochs=3), dataset)


@pytest.mark.parametrize("keys", [{}, {"batch_size": 50}, {"batch_size": 10, "accumulate": 2}], ids=str)
@pytest.mark.parametrize("step", [1, 4, 8, 10])
def test_resume_checkpoint_within_a_call_ends_with_the_same_parameters(step, keys, monkeypatch):
    """Another version may have stopped where this one does not: its calls may have had other lengths."""
    dataset, recipe = classes(120), quick(epochs=4, **keys)
    assert make_plan(recipe, dataset).steps_per_call > 1
    whole = last(run(recipe, dataset)).checkpoint
    with monkeypatch.context() as shorter:
        shorter.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
        stopped = last(run(recipe, dataset, stop_at=at_step(step))).checkpoint
    assert stopped.step == step
    resumed = last(run(recipe, dataset, start=start_for(stopped, recipe, dataset))).checkpoint
    assert resumed.step == whole.step
    for (name, a), (_, b) in zip(named_leaves(resumed.state), named_leaves(whole.state), strict=True):
        assert np.array_equal(a, b), name


def test_check_data_changed_files_raise_with_names():
    dataset = dataclasses.replace(classes(120), sha256={"images": "aa", "labels": "bb"})
    checkpoint = last(run(quick(epochs=0), dataset)).checkpoint
    assert checkpoint.data == dataset.digest
    renamed = dataclasses.replace(dataset, sha256={"renamed": "aa", "labels": "bb"})
    changed = dataclasses.replace(dataset, sha256={"images": "aa", "labels": "cc"})
    check_data(renamed, checkpoint, {}, Path("runs/r"))
    check_data(changed, None, {}, Path("runs/r"))
    environment = {"sha256": dataset.sha256, "rows": {"training": 1234, "test": 56}}
    with pytest.raises(DataError) as error:
        check_data(changed, checkpoint, environment, Path("runs/r"))
    assert str(error.value) == (
        "the data of this run have changed since it began (sha256 of labels): 1,234 training and 56 test rows then, "
        f"{len(dataset.x_train)} and {len(dataset.x_test)} now; restore them, begin a new run without --resume, or "
        "train on from its weights in a new run with train.py --init-from runs/r"
    )
    other = dataclasses.replace(changed, class_names=("a", *changed.class_names[:-1]))
    with pytest.raises(DataError, match=r"now, a is new, . is missing; restore them, or begin a new run without"):
        check_data(other, checkpoint, environment, Path("runs/r"))
    with pytest.raises(DataError, match=r"\(sha256 of its files\); restore"):  # even without environment.json
        check_data(changed, checkpoint, {}, Path("runs/r"))


def test_resume_record_change_that_no_step_followed_is_undone(one_step_per_call):
    first, second = quick(lr=0.1, epochs=4), quick(lr=0.5, epochs=4)
    dataset = classes(120)
    plan = make_plan(first, dataset)
    start = last(run(first, dataset, stop_at=at_step(3))).checkpoint

    def record(old, new, earlier):
        return resume_record(start, plan, old, new, {"threads": 1, "resumed": earlier}, {"threads": 1})

    changed = record(first, second, [])
    assert changed == [{"step": 3, "epoch": 0, "changed": {"lr": (0.1, 0.5)}}]
    assert record(second, second, changed) == changed, "resumed again at the same step with the changed settings"
    assert record(second, first, changed) == [], "resumed at the same step with the first settings"
    before = [{"step": 2, "epoch": 0, "changed": {"momentum": [0.5, 0.0]}}]
    assert record(second, first, [*before, *changed]) == before
