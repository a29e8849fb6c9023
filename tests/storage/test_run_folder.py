import csv
import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from lagvis.errors import CheckpointError, NotFiniteError, RecipeError
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from lagvis.storage.lookup import find_checkpoint, find_run
from lagvis.storage.run_folder import CheckpointInterval, RunFolder
from lagvis.training import recipe as recipes
from lagvis.training.events import EpochEnded, Finished, Started
from lagvis.tree import tree_map
from tests.factories import at_step, classes, last, numbers, quick, run

WIDTHS = (36, 8, 4)
NEVER = CheckpointInterval()
HEADER = (
    "epoch,step,samples,learning_rate,train_loss,train_objective,train_accuracy,validation_loss,validation_accuracy,"
    "seconds"
)


def claim(folder, name="mine", recipe=None, widths=WIDTHS, every=NEVER) -> RunFolder:
    claimed = RunFolder.claim(str(folder), name, widths, every)
    claimed.begin(recipe or quick(), {"seed": 0})
    return claimed


def recorded(folder, recipe, dataset, **options) -> tuple[Path, list]:
    run_folder, events = claim(folder, recipe=recipe), run(recipe, dataset, **options)
    for event in events:
        run_folder.record(event)
    return run_folder.path, events


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


# --- claiming a folder


def test_claim_makes_folder_and_parents(tmp_path):
    assert claim(tmp_path / "a" / "b").path == tmp_path / "a" / "b" / "mine"
    assert (tmp_path / "a" / "b" / "mine").is_dir()


def test_claim_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert claim("runs").path == tmp_path / "runs" / "mine"


def test_claim_taken_name_raises_and_keeps_files(tmp_path):
    first = claim(tmp_path, recipe=quick(lr=0.3)).path
    with pytest.raises(RecipeError, match="exists already") as caught:
        claim(tmp_path, recipe=quick(lr=0.4))
    assert str(first) in str(caught.value)
    assert recipes.load(str(first / "recipe.toml")).lr == 0.3


def test_claim_same_second_makes_numbered_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20260102-030405")
    paths = [claim(tmp_path, None).path.name for _ in range(3)]
    assert paths == ["20260102-030405-36-8-4", "20260102-030405-36-8-4-2", "20260102-030405-36-8-4-3"]
    assert names(tmp_path) == sorted(paths)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../out", "a/b", "/tmp/out", "a\\b", "..\\out", "C:out", "a\0b", "/", "~/../out"]
)
def test_claim_name_outside_the_folder_raises(tmp_path, name):
    parent = tmp_path / "runs"
    with pytest.raises(RecipeError, match="--name is ") as caught:
        claim(parent, name)
    assert repr(name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["min kørsel", "a.b", "..a", "-x", "run 1"])
def test_claim_unusual_valid_names(tmp_path, name):
    assert claim(tmp_path, name).path == tmp_path / name


def test_claim_name_too_long_raises(tmp_path):
    with pytest.raises((RecipeError, CheckpointError), match="x" * 300):
        claim(tmp_path, "x" * 300)


def test_claim_without_name_for_a_hundred_layers(tmp_path):
    assert claim(tmp_path, None, widths=(784, *(64,) * 100, 10)).path.is_dir()


@pytest.mark.parametrize("name", ["mine", None])
def test_claim_output_dir_is_a_file_raises(tmp_path, name):
    (tmp_path / "runs").write_text("")
    with pytest.raises((RecipeError, CheckpointError), match="--runs-dir") as caught:
        claim(tmp_path / "runs", name)
    assert str(tmp_path / "runs") in str(caught.value)


def test_claim_output_dir_below_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="choose another --runs-dir"):
        claim(tmp_path / "file" / "runs")


def test_claim_home_of_unknown_user_raises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((RecipeError, CheckpointError), match="no-such-user"):
        claim("~no-such-user/runs")


def test_begin_data_path_not_utf8_raises(tmp_path):
    # Python's representation of a folder name that is not UTF-8
    with pytest.raises((RecipeError, CheckpointError), match=r"data|recipe"):
        claim(tmp_path, recipe=quick(data="/data/m\udcf8nster"))


# --- recording events


def test_record_writes_files_after_each_event(tmp_path):
    recipe, dataset = quick(), classes(120)
    folder = claim(tmp_path, recipe=recipe)
    claimed = ["environment.json", "metrics.csv", "recipe.toml", "run.lock"]
    assert names(folder.path) == claimed
    counts = []
    for event in run(recipe, dataset):
        folder.record(event)
        match event:
            case Started():
                assert names(folder.path) == claimed
            case EpochEnded():
                counts.append(len(rows(folder.path)))
                assert read_checkpoint(folder.path / "last.safetensors").epoch == event.epoch == counts[-1]
            case Finished():
                assert read_checkpoint(folder.path / "last.safetensors").step == event.step
    assert counts == [1, 2]
    folder.finish({"test_accuracy": None, "run": "æ"})
    assert names(folder.path) == sorted([*claimed, "last.safetensors", "report.json"])
    assert json.loads((folder.path / "report.json").read_text(encoding="utf-8")) == {"test_accuracy": None, "run": "æ"}
    assert json.loads((folder.path / "environment.json").read_text(encoding="utf-8")) == {"seed": 0}


def test_record_metrics_one_row_per_epoch(tmp_path):
    recipe = quick(epochs=3, validation=20, batch_size=30)
    path, events = recorded(tmp_path, recipe, classes(120))
    lines = (path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 1 + 3
    ended = [event for event in events if isinstance(event, EpochEnded)]
    for row, event in zip(rows(path), ended, strict=True):
        assert (int(row["epoch"]), int(row["step"]), int(row["samples"])) == (event.epoch, event.step, event.samples)
        assert float(row["learning_rate"]) == event.learning_rate
        assert float(row["train_loss"]) == event.train.loss
        assert float(row["train_objective"]) == float(row["train_loss"])
        assert float(row["train_accuracy"]) == event.train.accuracy
        assert float(row["validation_loss"]) == event.validation.loss
        assert float(row["validation_accuracy"]) == event.validation.accuracy
        assert float(row["seconds"]) == pytest.approx(event.seconds, abs=0.0006)


def test_record_metrics_missing_values_are_empty(tmp_path):
    path, _ = recorded(tmp_path, quick(loss="mse", epochs=1), numbers(120))
    (row,) = rows(path)
    assert [key for key, value in row.items() if value == ""] == [
        "train_accuracy", "validation_loss", "validation_accuracy",
    ]  # fmt: skip


def test_record_metrics_zero_is_written(tmp_path):
    # a score of 0 must not be treated as missing
    folder, events = claim(tmp_path), run(quick(epochs=1, validation=20), classes(120))
    event = next(event for event in events if isinstance(event, EpochEnded))
    object.__setattr__(event.validation, "accuracy", 0.0)
    object.__setattr__(event.validation, "loss", 0.0)
    folder.record(events[0])
    folder.record(event)
    assert (rows(folder.path)[0]["validation_loss"], rows(folder.path)[0]["validation_accuracy"]) == ("0.0", "0.0")


def test_run_files_have_unix_line_endings(tmp_path):
    path, _ = recorded(tmp_path, quick(), classes(120))
    assert b"\r" not in b"".join((path / name).read_bytes() for name in ("metrics.csv", "recipe.toml"))


@pytest.mark.parametrize(
    "recipe",
    [quick(data="/some/ø folder/it's", momentum=0.9, nesterov=True), quick(hidden=(), lr=1e-7, seed=2**62, loss="mse")],
)
def test_begin_recipe_loads_equal(tmp_path, recipe):
    assert recipes.load(str(claim(tmp_path, recipe=recipe).path / "recipe.toml")) == recipe


def test_record_zero_epochs_writes_checkpoint(tmp_path):
    path, events = recorded(tmp_path, quick(epochs=0), classes(120))
    checkpoint = read_checkpoint(path / "last.safetensors")
    assert (checkpoint.epoch, checkpoint.step) == (0, 0)
    assert checkpoint.state["params"][0]["W"].tobytes() == last(events).state["params"][0]["W"].tobytes()
    assert rows(path) == []


def test_record_interrupted_run_writes_its_state(tmp_path, monkeypatch):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    path, events = recorded(tmp_path, quick(), classes(120), stop_at=at_step(8))
    checkpoint = read_checkpoint(path / "last.safetensors")
    assert (checkpoint.epoch, checkpoint.step) == (1, 8)
    assert checkpoint.state["params"][1]["b"].tobytes() == last(events).state["params"][1]["b"].tobytes()
    assert len(rows(path)) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_record_diverged_run_keeps_last_finite_state(tmp_path):
    recipe = quick(lr=1000.0, epochs=9, batch_size=120, activation="identity")
    path, events = recorded(tmp_path, recipe, classes(120))
    assert last(events).reason == "diverged"
    checkpoint = read_checkpoint(path / "last.safetensors")
    assert checkpoint.epoch == last(events).epoch == len(rows(path)) > 0


@pytest.mark.parametrize("name", ["metrics.csv", "last.safetensors"])
def test_record_deleted_folder_raises(tmp_path, name):
    folder, events = claim(tmp_path), run(quick(epochs=1), classes(120))
    folder.record(events[0])
    for file in folder.path.iterdir():
        file.unlink()
    folder.path.rmdir()
    with pytest.raises(CheckpointError) as caught:
        folder.record(next(e for e in events if isinstance(e, EpochEnded if name == "metrics.csv" else Finished)))
    assert str(folder.path / name) in str(caught.value)
    with pytest.raises(CheckpointError, match=r"report\.json"):
        folder.finish({})


# --- finding runs and checkpoints


@pytest.fixture
def ended(tmp_path):
    return recorded(tmp_path / "runs", quick(epochs=0), classes(120))[0]


def test_find_checkpoint_by_folder_name_and_file(ended, tmp_path, monkeypatch):
    expected = ended / "last.safetensors"
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint(str(ended)) == expected
    assert find_checkpoint("runs/mine") == expected
    assert find_checkpoint("mine") == expected
    assert find_checkpoint(str(expected)) == expected
    assert find_checkpoint("runs/mine/last.safetensors") == expected
    best = expected.rename(ended / "best.safetensors")
    assert find_checkpoint("mine/best.safetensors") == best


def test_find_checkpoint_in_other_runs_dir(ended, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert find_checkpoint("mine", str(tmp_path / "runs")) == ended / "last.safetensors"


@pytest.mark.parametrize("what", ["other", "mine/recipe.toml", ".", "~no-such-user/mine", "x" * 5000])
def test_find_checkpoint_nothing_there_names_both_paths(ended, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(what)
    assert caught.value.exit_code == 7
    assert repr(what)[:20] in str(caught.value)
    if what == "other":
        assert str(tmp_path / "other") in str(caught.value)
        assert str(tmp_path / "runs" / "other") in str(caught.value)


def test_find_checkpoint_run_without_checkpoint_raises(tmp_path):
    path = claim(tmp_path).path
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        find_checkpoint(str(path))


# --- the best network, the lock, the newest run


def test_record_writes_best_and_last_checkpoint(tmp_path):
    recipe = quick(epochs=3, validation=20)
    folder, events = claim(tmp_path, recipe=recipe), run(recipe, classes(120))
    for event in events:
        if isinstance(event, EpochEnded) and event.epoch == 3:  # pretend that the second epoch was the best
            worse = dataclasses.replace(event.checkpoint, best_epoch=2)
            folder.record(dataclasses.replace(event, checkpoint=worse))
        elif not isinstance(event, Finished):
            folder.record(event)
    assert read_checkpoint(folder.path / "best.safetensors").epoch == 2
    assert read_checkpoint(folder.path / "last.safetensors").epoch == 3


def test_record_without_validation_writes_no_best(tmp_path):
    path, _ = recorded(tmp_path, quick(), classes(120))
    assert not (path / "best.safetensors").exists()


def test_write_checkpoint_nan_state_raises_and_keeps_file(tmp_path):
    path, events = recorded(tmp_path, quick(), classes(120))
    before = (path / "last.safetensors").read_bytes()
    state = tree_map(lambda a: a * np.float32(np.nan), last(events).state)
    with pytest.raises(NotFiniteError) as caught:
        write_checkpoint(path / "last.safetensors", dataclasses.replace(last(events).checkpoint, state=state))
    assert caught.value.exit_code == 6
    assert (path / "last.safetensors").read_bytes() == before


def test_reopen_locked_folder_raises_until_closed(tmp_path):
    with claim(tmp_path) as folder:
        folder.finish({})
        with pytest.raises(CheckpointError, match="another process is training in"):
            RunFolder.reopen(folder.path, NEVER)
    assert RunFolder.reopen(folder.path, NEVER).recipe == quick()


def test_claim_unused_folder_is_taken(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "run.lock").touch()
    (path / "recipe.toml.writing").write_text("lr =")
    assert claim(tmp_path).path == path
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    with pytest.raises(RecipeError, match="exists already"):
        claim(tmp_path, "theirs")


@pytest.mark.parametrize(
    ("words", "every"),
    [
        ("500", CheckpointInterval(steps=500)),
        ("10m", CheckpointInterval(seconds=600.0)),
        ("0.5m", CheckpointInterval(seconds=30.0)),
    ],
)
def test_checkpoint_interval_parse_steps_and_minutes(words, every):
    assert CheckpointInterval.parse(words) == every


@pytest.mark.parametrize("words", ["", "m", "0", "-5", "1.5", "0m", "-1m", "infm", "nanm", "5s"])
def test_checkpoint_interval_parse_invalid_raises(words):
    with pytest.raises(RecipeError, match=r"expected a number of steps \(500\) or of minutes \(10m\)"):
        CheckpointInterval.parse(words)


def test_find_run_newest_is_written_last(tmp_path):
    first, second = claim(tmp_path, "b"), claim(tmp_path, "a")
    (tmp_path / "no-run").mkdir()
    os.utime(second.path / "metrics.csv", (1e9, 1e9))
    assert find_run("", str(tmp_path)) == first.path
    assert find_run("a", str(tmp_path)) == find_run(str(second.path)) == second.path
    with pytest.raises(CheckpointError, match="there is no run 'c'"):
        find_run("c", str(tmp_path))
    with pytest.raises(CheckpointError, match="no run to resume"):
        find_run("", str(tmp_path / "no-run"))


def test_metrics_with_label_smoothing_hold_loss_and_objective(tmp_path):
    path, events = recorded(tmp_path, quick(epochs=2, label_smoothing=0.2), classes(120))
    for row, event in zip(rows(path), [event for event in events if isinstance(event, EpochEnded)], strict=True):
        assert float(row["train_loss"]) == event.train.loss
        assert float(row["train_objective"]) == event.train.objective != event.train.loss


BEFORE = "epoch,step,images,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,seconds"


def reopened_with_columns_of_before(tmp_path, recipe, dataset):
    """Return a run of one epoch, reopened after its metrics became those of an earlier version, and its row."""
    path, _ = recorded(tmp_path, recipe, dataset)
    old = "1,6,120,0.1,0.75,0.5,0.25,0.5,1.5" if not recipe.regression else "1,6,120,0.1,32.0,,8.0,,1.5"
    (path / "metrics.csv").write_text(f"{BEFORE}\n{old}\n")
    folder = RunFolder.reopen(path, NEVER)
    notice = folder.begin(recipe, {})
    assert (path / "metrics.csv").read_text().splitlines()[0] == HEADER
    (row,) = rows(path)
    assert (row["epoch"], row["samples"], row["learning_rate"], row["seconds"]) == ("1", "120", "0.1", "1.5")
    assert folder.history()[0]["epoch"] == 1.0
    kept = path / "metrics.csv.old"
    if row["train_loss"] == "":
        assert "metrics.csv.old" in notice
        assert kept.read_text() == f"{BEFORE}\n{old}\n"
    else:
        assert notice == ""
        assert not kept.exists()
    return folder, row


def test_begin_metrics_of_before_keeps_the_plain_loss_as_loss_and_objective(tmp_path):
    _, row = reopened_with_columns_of_before(tmp_path, quick(epochs=1), classes(120))
    assert (row["train_loss"], row["train_objective"]) == ("0.75", "0.75")
    assert (row["train_accuracy"], row["validation_loss"], row["validation_accuracy"]) == ("0.5", "0.25", "0.5")


@pytest.mark.parametrize("keys", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}], ids=str)
def test_begin_metrics_of_before_keeps_a_smoothed_or_weighted_loss_as_objective(tmp_path, keys):
    folder, row = reopened_with_columns_of_before(tmp_path, quick(epochs=1, **keys), classes(120))
    assert (row["train_loss"], row["train_objective"], row["validation_loss"]) == ("", "0.75", "0.25")
    assert folder.metrics_of(folder.checkpoint.epoch)["train_loss"] is None


def test_begin_metrics_of_before_drops_the_losses_of_several_targets(tmp_path):
    _, row = reopened_with_columns_of_before(tmp_path, quick(epochs=1, loss="mse"), numbers(120))
    assert (row["train_loss"], row["train_objective"], row["validation_loss"]) == ("", "", "")


def test_begin_metrics_of_before_standardises_the_losses_of_one_target(tmp_path):
    dataset = numbers(120)
    one = dataclasses.replace(
        dataset, y_train=dataset.y_train[:, :1], y_test=dataset.y_test[:, :1], target_names=("near",)
    )
    _, row = reopened_with_columns_of_before(tmp_path, quick(epochs=1, loss="mse"), one)
    variance = np.var(one.y_train)
    assert float(row["train_loss"]) == float(row["train_objective"]) == pytest.approx(32.0 / variance)
    assert float(row["validation_loss"]) == pytest.approx(8.0 / variance)


def test_recipe_of_an_older_run_with_constant_rate_has_no_warmup(tmp_path):
    """Its recipe.toml holds `warmup`, which the schedule constant did not use then."""
    old = Path(__file__).parents[1] / "cli" / "old_run"
    folder = RunFolder.reopen(Path(shutil.copytree(old, tmp_path / "run")), NEVER)
    assert "warmup = 0.3" in (folder.path / "recipe.toml").read_text()
    assert (folder.recipe.schedule, folder.recipe.warmup) == ("constant", 0.0)
    folder.close()
