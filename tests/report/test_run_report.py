"""The report of a run: its commands reproduce the same bytes, and it states what no command can repeat."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate, train
from lagvis.cli.errors import run_cli
from lagvis.report.plots import figure
from lagvis.report.run_report import reproduction_notes, training_difference
from lagvis.storage.environment import is_valid_init_from, is_valid_resumed
from tests.factories import bands

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--quiet", "--hidden", "8", "--lr", "0.05")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return the path of a small data set and make its folder the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figure, "DPI", 20)
    (x, y), (x_test, y_test) = bands(200), bands(60, seed=8)
    np.savez(tmp_path / "bands.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return "bands.npz"


def train_run(name, *flags, folder="runs"):
    assert train.main(["--name", name, "-o", folder, "--device", "cpu", *FLAGS, *flags]) == 0
    return Path(folder) / name


def resume(name, *flags):
    assert train.main(["--resume", name, "--quiet", *flags]) == 0


def section(folder):
    """Return the section of report.md that holds the commands."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    return re.search(r"^## To do it again\n(.*?)^## Settings", text, re.S | re.M)[1]


def commands(folder):
    """Return the commands of the report, split as in a shell, without `python -m lagvis`."""
    (block,) = re.findall(r"^```\n(.*?)^```$", section(folder), re.S | re.M)
    words = [shlex.split(line) for line in block.splitlines()]
    expected = ["train"] * (len(words) - 1) + ["evaluate"]
    assert [command[:4] for command in words] == [["python", "-m", "lagvis", name] for name in expected]
    return [command[4:] for command in words]


def assert_repeats(folder):
    """Run the commands of a report and check that the weights have the same bytes."""
    first, *later, look = commands(folder)
    named = [] if later else ["--name", "again"]
    again = Path("runs", f"{folder.name}-again" if later else "again")
    for command in ([*first, *named], *later):
        assert train.main([*command, "--no-plots", "--quiet"]) == 0
    for name in ("last.safetensors", "best.safetensors"):
        assert (folder / name).exists() == (again / name).exists()
        if (folder / name).exists():
            assert (folder / name).read_bytes() == (again / name).read_bytes(), name
    assert evaluate.main(look) == 0
    assert ("was resumed with other settings" in section(folder)) == bool(later)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--validation", "0"),
        ("--validation", "50"),
        ("--threads", "1"),
        ("--no-compile",),
        ("--seed", "7", "--dtype", "float64", "--label-smoothing", "0.1", "--sched", "linear"),
    ],
    ids=" ".join,
)
def test_reproduction_commands_new_run_give_the_same_bytes(data, flags):
    folder = train_run("a run's name æ", "--data", data, "-e", "3", *flags, folder="some runs")
    assert_repeats(folder)


@pytest.mark.parametrize(
    ("flags", "minimised"),
    [
        (("--label-smoothing", "0.1"), True),
        (("--label-smoothing", "0"), False),
        (("--loss", "mse"), False),
    ],
)
def test_training_caption_names_the_objective_where_it_differs_from_the_loss(data, flags, minimised):
    folder = train_run("captioned", "--data", data, "-e", "1", *flags)
    assert ("the minimised objective" in (folder / "report.md").read_text(encoding="utf-8")) == minimised


def test_training_caption_of_weighted_numbers_names_no_cross_entropy(data):
    arrays = dict(np.load(data))
    arrays["w_train"] = np.linspace(0.5, 2.0, len(arrays["y_train"]))
    np.savez("weighted.npz", **arrays)
    folder = train_run("weighted", "--data", "weighted.npz", "-e", "1", "--loss", "mse")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "The losses are without label smoothing and weights; the minimised objective, which is with them" in text
    assert "cross-entropy" not in text.partition("## Settings")[0]


def test_reproduction_commands_no_compile_is_repeated(data):
    assert "--no-compile" in commands(train_run("plain", "--data", data, "-e", "1", "--no-compile"))[0]
    assert "--no-compile" not in commands(train_run("compiled", "--data", data, "-e", "1"))[0]


@pytest.mark.parametrize("name", ["last", "best"])
def test_reproduction_commands_init_from_give_the_same_bytes(data, name):
    start = train_run("start", "--data", data, "-e", "2", "--no-plots", "--activation", "tanh")
    flags = ("--data", data, "-e", "3", "--init-from", f"runs/start/{name}.safetensors", "--quiet", "--lr", "0.05")
    assert train.main(["--name", "r", "--device", "cpu", *flags]) == 0
    environment = json.loads(Path("runs/r/environment.json").read_text())
    assert environment["init_from"]["path"] == str((start / f"{name}.safetensors").absolute())
    (digest,) = environment["init_from"]["sha256"].values()
    assert digest in section(Path("runs/r"))
    assert_repeats(Path("runs/r"))


@pytest.mark.slow
def test_reproduction_commands_init_from_paper_folder_give_the_same_bytes(data):
    rng = np.random.default_rng(1)
    Path("saved_network").mkdir()
    for i, (n_in, n_out) in enumerate([(36, 8), (8, 4)], start=1):
        np.save(f"saved_network/weightlayer{i}.npy", rng.normal(0, 0.3, (n_out, n_in)))
        np.save(f"saved_network/biaslayer{i}.npy", np.zeros((n_out, 1)))
    flags = ["--data", data, "-e", "2", "--init-from", "saved_network", "--quiet", "--device", "cpu", "--name", "r"]
    assert train.main(flags) == 0
    environment = json.loads(Path("runs/r/environment.json").read_text())
    assert sorted(environment["init_from"]["sha256"]) == [
        "biaslayer1.npy", "biaslayer2.npy", "weightlayer1.npy", "weightlayer2.npy"
    ]  # fmt: skip
    assert_repeats(Path("runs/r"))


def test_reproduction_commands_resumed_init_from_run_keeps_init_from(data):
    train_run("start", "--data", data, "-e", "2", "--no-plots")
    flags = ["--data", data, "--init-from", "start", "--quiet", "--lr", "0.05", "--sched", "constant"]
    assert train.main([*flags, "-e", "1", "--name", "r", "--device", "cpu", "--no-plots"]) == 0
    resume("r", "-e", "3")
    assert "--init-from" in commands(Path("runs/r"))[0]
    assert_repeats(Path("runs/r"))


@pytest.mark.slow
def test_reproduction_commands_more_epochs_at_a_constant_rate_give_the_same_bytes(data):
    folder = train_run("r", "--data", data, "-e", "1", "--no-plots", "--sched", "constant")
    resume("r", "-e", "3")
    assert_repeats(folder)


@pytest.mark.slow
def test_reproduction_commands_run_moved_use_the_new_path(data):
    train_run("r", "--data", data, "-e", "1", "--no-plots")
    Path("moved").mkdir()
    Path("runs/r").rename("moved/r")
    resume("moved/r")
    assert_repeats(Path("moved/r"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((), ("--lr", "0.01"), "lr 0.05 -> 0.01"),
        (("--sched", "linear"), ("--no-nesterov", "--warmup", "0.6"), "nesterov True -> False"),
        (("--sched", "linear"), ("--lr", "0.05"), "after step 6: epochs 2 -> 4"),
        ((), ("--momentum", "0.5"), "momentum "),
        (("--threads", "1"), ("--threads", "2"), "epochs 2 -> 4"),
        ((), ("--no-compile",), "compiled True -> False"),
    ],
    ids=str,
)
def test_reproduction_commands_resumed_with_changes_give_the_same_bytes(data, first, second, words):
    folder = train_run("r", "--data", data, "-e", "2", "--no-plots", "--batch-size", "64", "--validation", "20", *first)
    resume("r", "-e", "4", *second)
    resume("r", "-e", "5")  # without another change of the environment
    text = section(folder).replace("\\", "")
    assert words in text
    assert "after step 6: " in text
    assert "epochs 2 -> 4" in text
    assert_repeats(folder)


def test_recipe_of_run_resumed_with_changes_names_its_stretches(data, capsys):
    """recipe.toml says what was in force before, and a run by it says so and names commands that repeat the run."""
    folder = train_run("r", "--data", data, "-e", "2", "--no-plots", "--batch-size", "64", "--validation", "20")
    resume("r", "-e", "4", "--lr", "0.01")
    comment = "".join(line for line in (folder / "recipe.toml").read_text().splitlines(keepends=True) if line[0] == "#")
    assert "#   steps 1 to 6: lr 0.05, epochs 2\n#   from step 7 on: lr 0.01, epochs 4\n" in comment
    capsys.readouterr()
    assert train.main(["--recipe", str(folder / "recipe.toml"), "--name", "other", "--dry-run"]) == 0
    err = capsys.readouterr().err
    assert "was resumed with other settings (after step 6: lr 0.05 -> 0.01, epochs 2 -> 4)" in err
    for command in commands(folder)[:-1]:
        assert shlex.join(command) in err
    assert_repeats(folder)


def test_reproduction_commands_changed_within_an_epoch_give_the_same_bytes(data, monkeypatch):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    keys = ("--batch-size", "20", "--validation", "20", "--sched", "linear", "--momentum", "0.9")
    folder = train_run("r", "--data", data, "-e", "2", *keys, "--stop-after", "4")
    resume("r", "--lr", "0.02", "--stop-after", "11")
    resume("r", "--momentum", "0.5", "-e", "3")
    entries = json.loads((folder / "environment.json").read_text())["resumed"]
    assert [(entry["step"], entry["epoch"]) for entry in entries] == [(4, 0), (11, 1)]
    assert len(commands(folder)) == 4
    assert_repeats(folder)


def test_stop_after_step_that_is_done_exits_2(data, capsys):
    train_run("r", "--data", data, "-e", "1", "--no-plots", "--batch-size", "64", "--validation", "20")
    assert run_cli(train.main, ["--resume", "r", "-e", "2", "--stop-after", "3"]) == 2
    assert "--stop-after is 3; expected a step after 3, the last that is done" in capsys.readouterr().err


@pytest.mark.slow
def test_reproduction_commands_run_in_a_shell(data):
    folder = train_run("r", "--data", data, "-e", "1")
    again, _ = commands(folder)
    words = [sys.executable, "-m", "lagvis", "train", *again, "--name", "again", "-o", str(Path("runs").absolute())]
    done = subprocess.run([*words, "--no-plots"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("runs/again/last.safetensors").read_bytes() == (folder / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({}, None),
        ({"XLA_FLAGS": "--a --b", "NVIDIA_TF32_OVERRIDE": "1"}, "XLA_FLAGS='--a --b' NVIDIA_TF32_OVERRIDE=1."),
    ],
)
def test_reproduction_notes_variables_that_can_change_results_are_stated(overrides, sentence):
    _, *notes = reproduction_notes({"overrides": overrides})
    expected = [f"The run was made with these environment variables, which can change its results: {sentence}"]
    assert notes == (expected if sentence else [])


INVALID = [
    3, [1], [{"step": 1}], [{"step": 1, "changed": {"lr": 1}}], {"path": 1}, {"path": "a", "sha256": {"a": 1}}
]  # fmt: skip


@pytest.mark.parametrize("value", INVALID, ids=str)
def test_is_valid_init_from_and_resumed_refuse_other_values(value):
    assert not is_valid_init_from(value)
    assert not is_valid_resumed(value)


@pytest.mark.slow
def test_run_report_environment_edited_by_hand_is_ignored(data):
    folder = train_run("r", "--data", data, "-e", "1", "--no-plots")
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"init_from": INVALID[-2], "resumed": INVALID[2]}))
    resume("r")
    assert (folder / "report.html").exists()
    resume("r", "-e", "2")
    assert isinstance(json.loads(path.read_text())["resumed"], list)


def test_report_of_a_run_that_diverged_has_no_empty_plots_and_no_nan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figure, "DPI", 20)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    np.savez(tmp_path / "numbers.npz", x=x, y=x.sum(axis=1))
    flags = ["--name", "r", "-o", "runs", "--device", "cpu", "--quiet", "--hidden", "8", "--data", "numbers.npz"]
    assert train.main([*flags, "--loss", "mse", "-e", "1", "--lr", "1e8", "--opt", "sgd", "--momentum", "0"]) == 6
    text = (tmp_path / "runs" / "r" / "report.md").read_text(encoding="utf-8")
    results = text[: text.index("## To do it again")]
    assert not re.search(r"\bnan\b", results)
    assert "without a finite prediction left out" in results
    assert "plots/importance.png" not in results


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, ""),
        ({"dropout": 0.0, "ema": 0.0}, ""),
        ({"input_dropout": 0.1, "mixup": 0.2}, " Training is with input dropout, mixup, validation without."),
        ({"ema": 0.9}, " Validation is that of the moving average of the weights."),
    ],
)
def test_training_difference_names_what_validation_does_without(settings, text):
    assert training_difference(settings) == text
