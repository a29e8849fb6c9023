"""train.py --resume: its messages, the requests it rejects, and the files it writes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli.errors import run_cli
from lagvis.cli.train import main
from lagvis.inference import diagnostics
from lagvis.storage.checkpoint_file import read_checkpoint
from lagvis.storage.metrics_file import COLUMNS
from tests.cli.commands import ROOT, environment, running_process, write_dataset


@pytest.fixture
def data_file(tmp_path, monkeypatch):
    """Write a data file and change to the folder of its runs; each backend call runs one step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    return write_dataset(tmp_path / "data.npz")


def train(*flags):
    return run_cli(main, ["--device", "cpu", "--no-plots", *map(str, flags)])


def train_new(data_file, *flags):
    keys = ("--hidden", "4", "-b", "100", "--validation", "40", "--sched", "constant", "--lr", "0.02")
    return train("--data", data_file, *keys, "--name", "run", "--quiet", *flags)


def metrics(folder="runs/run"):
    with open(f"{folder}/metrics.csv", newline="") as file:
        return list(csv.reader(file))


def files(folder="runs/run"):
    return {name: Path(f"{folder}/{name}").read_bytes() for name in sorted(os.listdir(folder))}


def test_resume_finished_run_changes_nothing(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    before = files()
    capsys.readouterr()
    assert train("--resume", "run", "--json") == 0
    out, err = capsys.readouterr()
    assert "run is finished: 2 epochs done. With more --epochs it continues." in err
    assert json.loads(out) == json.loads(before["report.json"])
    assert files() == before
    assert train("--resume", "run", "--target-accuracy", "1.0") in (0, 8)
    assert files() == before


def test_resume_finished_run_names_the_options_that_have_no_effect(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    before = files()
    assert train("--resume", "run", "--lr", "0.5", "--data", "other.csv") == 0
    assert "Its result stays as it is: --data, --lr had no effect." in capsys.readouterr().err
    assert train("--resume", "run", "--schedule", "cosine") == 0  # which has another default of warmup
    assert "Its result stays as it is: --schedule had no effect." in capsys.readouterr().err
    assert files() == before


def test_resume_finished_run_with_more_min_steps_continues(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    steps = json.loads(Path("runs/run/report.json").read_text())["steps"]
    assert train("--resume", "run", "--min-steps", steps) == 0
    assert "run is finished: 2 epochs done" in capsys.readouterr().err
    assert train("--resume", "run", "--min-steps", 2 * steps) == 0
    assert json.loads(Path("runs/run/report.json").read_text())["epochs"] == 4
    assert train_new(data_file, "-e", "4", "--name", "unbroken") == 0
    assert files()["last.safetensors"] == files("runs/unbroken")["last.safetensors"]


def test_resume_finished_run_of_a_recipe_without_epochs_changes_nothing(data_file, capsys):
    Path("none.toml").write_text("epochs = 0\nmin_steps = 100\n")
    assert train_new(data_file, "--recipe", "none.toml") == 0
    assert train("--resume", "run") == 0
    assert "run is finished: 0 epochs done" in capsys.readouterr().err


def test_resume_more_epochs_of_a_recipe_with_min_steps_is_no_change_of_the_weights(data_file):
    assert train_new(data_file, "--min-steps", "4") == 0
    epochs = json.loads(Path("runs/run/report.json").read_text())["epochs"]
    assert train("--resume", "run", "-e", epochs + 1) == 0
    assert json.loads(Path("runs/run/environment.json").read_text())["resumed"] == []


@pytest.mark.parametrize("lost", [["last.safetensors"], ["last.safetensors", "best.safetensors"]])
@pytest.mark.parametrize("epochs", ["1", "2"])
def test_resume_missing_checkpoint_exits_7_and_changes_nothing(data_file, capsys, lost, epochs):
    assert train_new(data_file, "-e", epochs) == 0
    for name in lost:
        os.unlink(f"runs/run/{name}")
    before = files()
    capsys.readouterr()
    assert train("--resume", "run", "-e", "3") == 7
    err = capsys.readouterr().err
    assert "is missing; restore it" in err
    assert ("--init-from" in err) == (len(lost) == 1)
    assert files() == before


def test_resume_more_epochs_reports_the_learning_rate(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    capsys.readouterr()
    assert train("--resume", "run", "-e", "3", "--lr", "0.01") == 0
    assert (
        "Resuming after step 6, 2 of 3 epochs done; lr 0.02 -> 0.01, epochs 2 -> 3; "
        "the learning rate of the next step is 0.01 instead of 0.02.\n"
    ) in capsys.readouterr().err
    assert [row[0] for row in metrics()] == ["epoch", "1", "2", "3"]
    assert "lr = 0.01" in Path("runs/run/recipe.toml").read_text()
    assert json.loads(Path("runs/run/report.json").read_text())["epochs"] == 3


def test_resume_without_name_takes_the_newest_run(data_file, capsys):
    for name in ("older", "newer"):
        assert train_new(data_file, "-e", "1", "--name", name) == 0
        time.sleep(0.02)
    capsys.readouterr()
    assert train("--resume") == 0
    err = capsys.readouterr().err
    assert err.startswith(f"--resume takes the newest run, {Path('runs/newer').absolute()}.\n")
    assert f"{os.sep}newer is finished" in err


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--resume", "nothing"], 7, "there is no run 'nothing'"),
        (["--resume", "run", "--name", "other"], 2, "leave out --name, --recipe and"),
        (["--resume", "run", "--recipe", "paper"], 2, "leave out --name, --recipe and"),
        (["--resume", "run", "--hidden", "5"], 2, "hidden is [4] in this run, not [5]; begin a new run"),
        (["--resume", "run", "--seed", "5"], 2, "seed is 0 in this run, not 5"),
        (["--resume", "run", "-e", "1"], 2, "expected at least as many epochs"),
        (["--resume", "run", "-e", "9", "--data", "other.npz"], 3, "have changed since it began (sha256 of data.npz"),
        (["--resume", "--output-dir", "empty"], 7, "there is no run to resume in"),
        (["--checkpoint-every", "0"], 2, "expected a number of steps (500) or of minutes (10m)"),
        (["--checkpoint-every", "soon"], 2, "--checkpoint-every is 'soon'"),
        (["--checkpoint-every", "-1m"], 2, "expected"),
        (["--checkpoint-every", "nanm"], 2, "--checkpoint-every is 'nanm'"),
    ],
    ids=str,
)
def test_resume_invalid_request_is_one_sentence(data_file, capsys, flags, code, words):
    assert train_new(data_file, "-e", "2") == 0
    write_dataset(data_file.with_name("other.npz"), rows=500)
    before = files()
    capsys.readouterr()
    try:
        found = train(*flags)
    except SystemExit as end:
        found = end.code
    out, err = capsys.readouterr()
    assert (found, out) == (code, "")
    assert words in err
    assert err.startswith("error: ")
    assert files() == before


def test_resume_moved_data_are_accepted(data_file, capsys):
    assert train_new(data_file, "-e", "1") == 0
    os.mkdir("elsewhere")
    shutil.move(data_file, "elsewhere/data.npz")
    assert train("--resume", "run", "-e", "2", "--quiet") == 3
    assert train("--resume", "run", "-e", "2", "--quiet", "--data", "elsewhere/data.npz") == 0


@pytest.mark.parametrize(("key", "value"), [("blas", "openblas 0.3.1 Haswell"), ("cpu", "Pentium(R)")])
def test_resume_other_processor_or_blas_reports_that_bytes_may_differ(data_file, capsys, key, value):
    assert train_new(data_file, "-e", "1", "--backend", "numpy") == 0
    path = Path("runs/run/environment.json")
    now = json.loads(path.read_text())
    assert now[key]
    path.write_text(json.dumps(now | {key: value}))
    capsys.readouterr()
    assert train("--resume", "run", "-e", "2") == 0
    expected = f"{key} {value} -> {now[key]}: the bytes may differ from those of an unbroken run."
    assert expected in capsys.readouterr().err


def test_train_more_threads_than_allowed_says_so(data_file, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert train("--data", data_file, "--hidden", "4", "-e", "1", "--name", "run", "--threads", "2") == 0
    assert "--threads 2 is used, although OMP_NUM_THREADS is 1." in capsys.readouterr().err
    assert json.loads(Path("runs/run/environment.json").read_text())["threads"] == 2
    assert train("--resume", "run", "-e", "2") == 0
    expected = "The run goes on with its 2 threads, although OMP_NUM_THREADS is 1; --threads changes that."
    assert expected in capsys.readouterr().err


def test_resume_other_threads_on_numpy_same_bytes_without_notice(data_file, capsys):
    assert train_new(data_file, "-e", "2", "--threads", "1") == 0
    unbroken = read_checkpoint(Path("runs/run/last.safetensors"))
    shutil.rmtree("runs/run")
    assert train_new(data_file, "-e", "1", "--threads", "1") == 0
    capsys.readouterr()
    assert train("--resume", "run", "-e", "2", "--threads", "2") == 0
    assert "threads" not in capsys.readouterr().err
    resumed = read_checkpoint(Path("runs/run/last.safetensors"))
    for layer, expected in zip(resumed.layers, unbroken.layers, strict=True):
        assert all(layer[name].tobytes() == expected[name].tobytes() for name in expected)


@pytest.mark.parametrize("old", [{"threads": 2, "blas_threads": "gone"}, {"threads": 2, "blas_threads": 2}])
def test_resume_run_of_two_blas_threads_reports_different_bytes(data_file, capsys, old):
    assert train_new(data_file, "-e", "1") == 0
    change("environment.json", **old)  # as earlier versions wrote it, or on a BLAS whose products have no blocks
    capsys.readouterr()
    assert train("--resume", "run", "-e", "2") == 0
    assert "blas_threads 2 -> 1: the bytes may differ from those of an unbroken run." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_resume_keeps_the_backend_unless_another_is_named(data_file, capsys, name):
    pytest.importorskip(name)
    assert train_new(data_file, "-e", "1", "--backend", name) == 0
    assert train("--resume", "run", "-e", "2", "--quiet") == 0
    assert json.loads(Path("runs/run/environment.json").read_text())["backend"] == name
    capsys.readouterr()
    assert train("--resume", "run", "-e", "3", "--backend", "numpy") == 0
    assert f"backend {name} -> numpy" in capsys.readouterr().err
    assert [row[0] for row in metrics()] == ["epoch", "1", "2", "3"]


# --- metrics.csv after interruptions and damage (CASES: interrupt_after, half a row)


@pytest.mark.parametrize("tail", ["3,0.1", "3,9,280", "\n", "2,6,560,0.02,1,1,1,1,1,1\n", "3,9,840,0.02,1,1,1,1,1,1\n"])
def test_resume_metrics_hold_every_epoch_once(data_file, tail):
    assert train_new(data_file, "-e", "5") == 0
    expected = [row[:-1] for row in metrics()]
    shutil.rmtree("runs/run")
    assert train_new(data_file, "-e", "2") == 0
    with open("runs/run/metrics.csv", "a") as file:
        file.write(tail)
    assert train("--resume", "run", "-e", "5", "--quiet") == 0
    assert metrics()[0] == list(COLUMNS)
    assert [row[:-1] for row in metrics()] == expected
    seconds = [float(row[-1]) for row in metrics()[1:]]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("content", [None, b"", b"epoch,st", b"\xff\xfe\0", b"epoch\n1,2\n"])
def test_resume_lost_metrics_cost_their_rows_only(data_file, content):
    assert train_new(data_file, "-e", "2") == 0
    os.unlink("runs/run/metrics.csv")
    if content is not None:
        with open("runs/run/metrics.csv", "wb") as file:
            file.write(content)
    assert train("--resume", "run", "-e", "3", "--quiet") == 0
    assert [row[0] for row in metrics()] == ["epoch", "3"]


@pytest.mark.parametrize("name", ["environment.json", "report.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff"])
def test_resume_broken_json_file_is_rewritten(data_file, name, content):
    assert train_new(data_file, "-e", "2") == 0
    os.unlink(f"runs/run/{name}")
    if content is not None:
        with open(f"runs/run/{name}", "wb") as file:
            file.write(content)
    assert train("--resume", "run", "-e", "3", "--quiet") == 0
    assert isinstance(json.loads(Path(f"runs/run/{name}").read_text()), dict)


def test_resume_without_report_writes_the_same_report(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    report = json.loads(Path("runs/run/report.json").read_text())
    os.unlink("runs/run/report.json")
    assert train("--resume", "run", "--quiet") == 0
    again = json.loads(Path("runs/run/report.json").read_text())
    timeless = [{key: value for key, value in r.items() if key != "seconds"} for r in (report, again)]
    assert timeless[0] == timeless[1]


def test_resume_writes_missing_best_checkpoint(data_file):
    assert train_new(data_file, "-e", "2") == 0
    best = Path("runs/run/best.safetensors").read_bytes()
    os.unlink("runs/run/best.safetensors")
    os.unlink("runs/run/report.json")
    assert read_checkpoint_of("last").best_epoch == 2
    assert train("--resume", "run", "--quiet") == 0
    assert Path("runs/run/best.safetensors").read_bytes() == best


def read_checkpoint_of(name):
    return read_checkpoint(Path("runs/run") / f"{name}.safetensors")


def test_resume_diverged_run_with_smaller_lr_continues(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    assert train("--resume", "run", "-e", "4", "--lr", "1e30", "--quiet") == 6
    err = capsys.readouterr().err
    assert "last.safetensors holds step 6, of epoch 2; from that state, --lr " in err
    assert read_checkpoint_of("last").step == 6
    assert train("--resume", "run", "--lr", "0.01", "--quiet") == 0
    assert [row[0] for row in metrics()] == ["epoch", "1", "2", "3", "4"]


# --- checkpoints that are broken, of another run, or in use


@pytest.mark.parametrize("content", [b"", b"random bytes", None])
def test_resume_broken_checkpoint_exits_7_and_keeps_it(data_file, capsys, content):
    assert train_new(data_file, "-e", "2") == 0
    path = "runs/run/last.safetensors"
    broken = bytearray(Path(path).read_bytes())
    broken[-5] ^= 1
    content = bytes(broken) if content is None else content
    Path(path).write_bytes(content)
    before = files()
    capsys.readouterr()
    assert train("--resume", "run", "-e", "3") == 7
    assert "use another run or an older copy" in capsys.readouterr().err
    assert files() == before


def test_resume_run_in_use_exits_7_until_its_process_ends(data_file):
    command = [sys.executable, str(ROOT / "train.py"), "--device", "cpu", "--data", str(data_file), "-e", "100000"]
    command += ["--name", "run", "--checkpoint-every", "20", "--hidden", "4"]
    with running_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while not os.path.exists("runs/run/best.safetensors") and time.monotonic() < deadline:
            time.sleep(0.01)
        resume = [sys.executable, str(ROOT / "train.py"), "--resume", "run", "--no-plots"]
        second = subprocess.run(resume, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 7
        assert "another process is training in" in second.stderr
        assert second.stderr.count("\n") == 1
        assert first.poll() is None
        # killing the process releases its lock
        first.send_signal(signal.SIGKILL)
        first.wait()
    epochs = len(metrics()) - 1
    done = subprocess.run(
        [*resume, "-e", str(epochs + 2), "--lr", "0.01", "--quiet"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in metrics()] == ["epoch", *map(str, range(1, epochs + 3))]


def test_resume_broken_recipe_exits_2(data_file, capsys):
    assert train_new(data_file, "-e", "2") == 0
    Path("runs/run/recipe.toml").write_text("lr = [")
    assert train("--resume", "run") == 2
    assert "is not TOML" in capsys.readouterr().err


def test_checkpoint_every_writes_within_the_epoch(data_file, monkeypatch):
    from lagvis.storage import run_folder

    steps = []
    original = run_folder.write_checkpoint
    monkeypatch.setattr(
        run_folder,
        "write_checkpoint",
        lambda path, c, also=None: steps.append((path.name, c.epoch, c.step)) or original(path, c, also),
    )
    assert train_new(data_file, "-e", "1", "-b", "40", "--checkpoint-every", "3") == 0
    # seven steps per epoch
    assert steps == [
        ("last.safetensors", 0, 3), ("last.safetensors", 0, 6), ("last.safetensors", 1, 7),
    ]  # fmt: skip
    steps.clear()
    clock = iter(np.arange(0.0, 1e6, 40.0))
    monkeypatch.setattr("lagvis.storage.run_folder.time.monotonic", lambda: next(clock))
    assert train_new(data_file, "-e", "1", "-b", "40", "--checkpoint-every", "2m", "--name", "minutes") == 0
    assert steps[0][2] in (2, 3)
    assert len(steps) in (3, 4)


# --- regression tests of faults found in review


@pytest.mark.parametrize("validation", ["150", "200"])
def test_resume_large_validation_part_is_kept(data_file, validation):
    assert train_new(data_file, "-e", "1", "--validation", validation) == 0
    assert f"validation = {validation}" in Path("runs/run/recipe.toml").read_text()
    assert train("--resume", "run", "-e", "2", "--quiet") == 0
    assert train_new(data_file, "-e", "2", "--validation", validation, "--name", "uninterrupted") == 0
    assert files()["last.safetensors"] == files("runs/uninterrupted")["last.safetensors"]
    assert train("--recipe", "runs/uninterrupted/recipe.toml", "--name", "again", "--quiet") == 0
    assert files("runs/again")["last.safetensors"] == files("runs/uninterrupted")["last.safetensors"]


def test_train_reduced_validation_part_is_recorded(data_file, capsys):
    assert train("--data", data_file, "--hidden", "4", "-e", "1", "--name", "run") == 0
    assert "are held out for validation instead of 5,000" in capsys.readouterr().err
    assert "validation = 32" in Path("runs/run/recipe.toml").read_text()


def test_train_diverged_keeps_newest_checkpoint_of_the_epoch(data_file, capsys):
    # warm-up from 0 to a huge learning rate: the first steps are finite
    flags = ("--sched", "linear", "--warmup", "0.99", "--lr", "1e30", "-b", "10", "-e", "1", "--checkpoint-every", "1")
    assert train_new(data_file, *flags) == 6
    steps = int(capsys.readouterr().err.split("holds step ")[1].split(",")[0])
    assert read_checkpoint_of("last").step == steps > 0


def test_resume_report_of_fewer_epochs_is_replaced(data_file, monkeypatch, capsys):
    assert train_new(data_file, "-e", "1") == 0
    old = Path("runs/run/report.json").read_bytes()
    assert train("--resume", "run", "-e", "3", "--quiet") == 0
    new_report = json.loads(Path("runs/run/report.json").read_text())
    Path("runs/run/report.json").write_bytes(old)
    capsys.readouterr()
    assert train("--resume", "run", "--json", "--quiet") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["epochs"], shown["test_loss"]) == (3, new_report["test_loss"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("environment.json", '{"threads": "two", "device": 5, "backend": "abacus", "compiled": 3, "sha256": [1]}'),
        ("report.json", '{"finished": "completed"}'),
        ("metrics.csv", "epoch\n1,3,240,0.02,1,1,1,1,1,abc\n2,6,480,0.02,1,1,1,1,1,1\n"),
        ("metrics.csv", "epoch\n1,3,240,0.02,1,1,1,1,1," + "9" * 140_000 + "\n"),
        ("metrics.csv", 'epoch\n"1,3\n'),
    ],
)
def test_resume_files_edited_by_hand_work(data_file, capsys, name, content):
    assert train_new(data_file, "-e", "2") == 0
    Path("runs/run", name).write_text(content)
    capsys.readouterr()
    assert train("--resume", "run", "-e", "3") == 0
    err = capsys.readouterr().err
    assert "unexpected" not in err
    assert ("metrics.csv.old" in err) == (name == "metrics.csv")
    if name == "metrics.csv":
        assert Path("runs/run/metrics.csv.old").read_text() == content


def test_resume_changed_data_exits_3_without_environment(data_file, capsys):
    assert train_new(data_file, "-e", "1") == 0
    Path("runs/run/environment.json").write_text("{")
    write_dataset(data_file, rows=404)
    capsys.readouterr()
    assert train("--resume", "run", "-e", "2") == 3
    assert "have changed since it began" in capsys.readouterr().err


def test_resume_name_prefers_a_run_to_an_empty_folder(data_file):
    assert train_new(data_file, "-e", "1") == 0
    os.mkdir("run")
    assert train("--resume", "run", "-e", "2", "--quiet") == 0


def test_resume_file_instead_of_folder_names_the_folder(data_file, capsys):
    assert train_new(data_file, "-e", "1") == 0
    capsys.readouterr()
    assert train("--resume", "runs/run/last.safetensors", "-e", "2") == 7
    assert f"a run is resumed by its folder, here {Path('runs/run').absolute()}" in capsys.readouterr().err


def test_resume_moved_run_reports_its_new_path(data_file, capsys):
    assert train_new(data_file, "-e", "1") == 0
    os.rename("runs/run", "runs/moved")
    capsys.readouterr()
    assert train("--resume", "moved", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(Path("runs/moved").absolute())


def test_resume_infinite_loss_is_null_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x @ [1.0, 2.0]
    np.savez("line.npz", x=x, y=y)
    assert train("--data", "line.npz", "--loss", "mse", "--hidden", "none", "-e", "1", "--name", "run", "--quiet") == 0
    rows = metrics()
    rows[1][rows[0].index("validation_loss")] = "inf"
    Path("runs/run/metrics.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    os.unlink("runs/run/report.json")
    capsys.readouterr()
    assert train("--resume", "run", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["validation_loss"] is None


def test_init_from_killed_before_first_epoch_gives_the_same_run(data_file, monkeypatch):
    assert train_new(data_file, "-e", "1", "--name", "first") == 0
    flags = ["--data", data_file, "--init-from", "first", "--quiet", "--validation", "40"]
    assert train(*flags, "-e", "2", "--name", "uninterrupted") == 0
    for last_written in ("environment.json", "metrics.csv", "last.safetensors", "recipe.toml"):
        name = last_written.split(".")[0]
        from lagvis.storage import atomic, run_folder

        def interrupt_after(path, content, original=atomic.replace_file, at=last_written):
            original(path, content)
            if path.name == at:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(run_folder, "replace_file", interrupt_after)
            patch.setattr("lagvis.storage.checkpoint_file.replace_file", interrupt_after)
            assert train(*flags, "-e", "2", "--name", name) == 130
        begun = Path(f"runs/{name}/recipe.toml").exists()
        assert train(*(["--resume", name, "--quiet"] if begun else [*flags, "-e", "2", "--name", name])) == 0
        assert files_equal(name, "uninterrupted")


def files_equal(a, b):
    return Path(f"runs/{a}/last.safetensors").read_bytes() == Path(f"runs/{b}/last.safetensors").read_bytes()


def test_train_name_too_long_exits_2(data_file, capsys):
    assert train_new(data_file, "--name", "x" * 300) == 2
    assert "shorten it" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "code"), [(["--lr", "1e30"], 6), (["--target-accuracy", "1"], 8), ([], 0)])
def test_train_exit_code_is_kept_when_the_reader_leaves(data_file, flags, code):
    command = [sys.executable, str(ROOT / "train.py"), "--device", "cpu", "--data", str(data_file), "--hidden", "4"]
    shell = f"{' '.join([*command, '-e', '1', '--quiet', *flags])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr


def test_train_ignored_sigint_stays_ignored(data_file):
    command = [sys.executable, str(ROOT / "train.py"), "--device", "cpu", "--data", str(data_file), "--hidden", "4"]
    shell = f"trap '' INT; exec {' '.join([*command, '-e', '100000', '--name', 'run'])}"
    with running_process(["bash", "-c", shell], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not os.path.exists("runs/run/last.safetensors") and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err


# --- plots


@pytest.fixture
def files_with_plots(data_file, monkeypatch):
    """Train a run with small plots and return the bytes of all its files."""
    monkeypatch.setattr("lagvis.report.plots.figure.DPI", 20)
    monkeypatch.setattr("lagvis.report.plot_processes.MAX_PROCESSES", 0)  # they would draw in the usual size
    flags = ("--data", data_file, "--hidden", "4", "-e", "1", "--validation", "40", "--name", "run", "--quiet")
    assert run_cli(main, ["--device", "cpu", *map(str, flags)]) == 0
    assert len(run_files()) > 10
    return run_files()


def run_files():
    return {str(path): path.read_bytes() for path in sorted(Path("runs/run").rglob("*")) if path.is_file()}


def resume(*flags):
    return run_cli(main, ["--device", "cpu", "--resume", "run", *flags])


LACKING = {"plots": ("plots",), "one": ("plots/curves.png",), "page": ("report.html",), "text": ("report.md",)}


@pytest.mark.parametrize("lacking", LACKING)
def test_resume_draws_missing_files_only(files_with_plots, capsys, lacking):
    for name in LACKING[lacking]:
        path = Path("runs/run", name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    drawn = (".png", ".md", ".html", ".lock")  # older versions of filelock write into the lock
    there = {name: os.stat(name).st_mtime_ns for name in run_files() if not name.endswith(drawn)}
    capsys.readouterr()
    assert resume("--no-plots") == 0
    assert resume("--dry-run") == 0
    assert run_files() != files_with_plots
    capsys.readouterr()
    assert resume("--json", "--quiet") == 0
    stored = json.loads(files_with_plots["runs/run/report.json"])
    del stored["report_files"]  # of the folder, and no part of the result
    assert json.loads(capsys.readouterr().out) == stored
    assert run_files() == files_with_plots
    assert {name: os.stat(name).st_mtime_ns for name in there} == there


def test_resume_complete_report_is_not_drawn_again(files_with_plots, monkeypatch):
    monkeypatch.setattr(
        "lagvis.cli.train.diagnose", lambda *_: pytest.fail("the report is complete, nothing is to be drawn")
    )
    assert resume("--quiet") == 0
    assert run_files() == files_with_plots


def test_resume_finished_run_without_data_prints_its_result(files_with_plots, data_file, capsys):
    os.unlink("runs/run/report.html")
    os.mkdir("elsewhere")
    shutil.move(data_file, "elsewhere/data.npz")
    capsys.readouterr()
    assert resume() == 0
    out, err = capsys.readouterr()
    assert "test        loss " in out
    assert err.splitlines()[1].startswith(f"Plots are missing and cannot be drawn: {data_file} does not exist")
    assert resume("--target-accuracy", "1", "--quiet") in (0, 8)
    write_dataset(data_file, rows=404)
    assert resume() == 0
    assert "cannot be drawn: the data of this run have changed" in capsys.readouterr().err
    assert "runs/run/report.html" not in run_files()
    assert resume("--data", "elsewhere/data.npz", "--quiet") == 0
    assert run_files() == files_with_plots


def test_run_folder_is_locked_until_plots_are_drawn(data_file, monkeypatch):
    from lagvis.errors import CheckpointError
    from lagvis.storage.run_folder import CheckpointInterval, RunFolder

    monkeypatch.setattr("lagvis.report.plots.figure.DPI", 20)
    monkeypatch.setattr("lagvis.report.plot_processes.MAX_PROCESSES", 0)  # they would draw in the usual size
    tried = []

    def diagnose_while_locked(*arguments, original=diagnostics.diagnose):
        half = Path("runs/run/plots/half.png.writing")
        half.parent.mkdir(exist_ok=True)
        half.touch()
        with pytest.raises(CheckpointError, match="another process is training in"):
            RunFolder.reopen(Path("runs/run"), CheckpointInterval())
        tried.append(half.exists())
        return original(*arguments)

    monkeypatch.setattr("lagvis.cli.train.diagnose", diagnose_while_locked)
    flags = ("--data", data_file, "--hidden", "4", "-e", "1", "--validation", "40", "--name", "run", "--quiet")
    assert run_cli(main, ["--device", "cpu", *map(str, flags)]) == 0
    os.unlink("runs/run/report.html")
    assert resume("--quiet") == 0
    assert tried == [True, True]
    with RunFolder.reopen(Path("runs/run"), CheckpointInterval()):
        pass


# --- regression tests of faults found by fuzzing (docs/fuzzing.md)


def change(name, **values):
    path = Path("runs/run") / name
    facts = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in facts.items() if value != "gone"}))


WRONG = {"threads": "two", "backend": ["numpy"], "device": 3, "sha256": {"data.npz": 5}}


@pytest.mark.parametrize("key", WRONG)
def test_resume_environment_of_wrong_types_is_ignored(data_file, key):
    assert train_new(data_file, "-e", "1") == 0
    change("environment.json", **{key: WRONG[key]})
    assert (
        run_cli(main, ["--resume", "run", "-e", "2", "--quiet"]) == 0
    )  # without --device: the device is read from the file


@pytest.mark.parametrize("name", ["environment.json", "report.json"])
def test_resume_deeply_nested_json_is_ignored(data_file, name):
    assert train_new(data_file, "-e", "1") == 0
    Path(f"runs/run/{name}").write_text("[" * 100_000)
    assert train("--resume", "run", "-e", "2", "--quiet") == 0


@pytest.mark.parametrize(
    "values",
    [
        {"test_accuracy": "gone"}, {"test_accuracy": "much"}, {"parameters": "many"},
        {"test_loss": [1]}, {"counts": [1]}, {"seconds": None}, {"commonest_share": "all"},
        {"confusion": [[1, 2]]}, {"confusion": "many"}, {"confusion": [["a"] * 4] * 4}, {"classes": [1]},
        {"confusion": None}, {"balanced_accuracy": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_resume_damaged_report_is_rewritten(data_file, capsys, values):
    assert train_new(data_file, "-e", "1") == 0
    report = json.loads(Path("runs/run/report.json").read_text())
    change("report.json", **values)
    assert train("--resume", "run", "--target-accuracy", "0", "--quiet") == 0
    assert capsys.readouterr().err.count("error") == 0
    again = json.loads(Path("runs/run/report.json").read_text())
    assert report | {"seconds": 0} == again | {"seconds": 0}


@pytest.mark.parametrize("cell", ["0.\1", "soon", "1_0", "\u0663", '"0.5"', " 1", "0x1", "1" * 200_000 + "x"], ids=len)
@pytest.mark.parametrize("column", ["step", "train_loss", "validation_accuracy", "seconds"])
def test_resume_metrics_rows_without_numbers_are_left_out(data_file, cell, column):
    assert train_new(data_file, "-e", "2") == 0
    header, first, second = Path("runs/run/metrics.csv").read_text().splitlines()
    cells = second.split(",")
    cells[COLUMNS.index(column)] = cell
    Path("runs/run/metrics.csv").write_text("\n".join([header, first, ",".join(cells), ""]), encoding="utf-8")
    assert train("--resume", "run", "-e", "3", "--quiet") == 0
    kept = metrics()
    assert [row[0] for row in kept] == ["epoch", "1", "3"]
    assert ",".join(kept[1]) == first


def test_resume_plots_folder_as_link_exits_7(files_with_plots, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    Path("runs/run/plots").rename(elsewhere)
    Path("runs/run/plots").symlink_to(elsewhere)
    (elsewhere / "curves.png").write_text("precious")
    capsys.readouterr()
    assert resume("-e", "2", "--quiet") == 7
    err = capsys.readouterr().err
    assert "plots is a link" in err
    assert "the run is complete, and --resume draws the missing plots" in err
    assert (elsewhere / "curves.png").read_text() == "precious"
    Path("runs/run/plots").unlink()
    assert resume("--quiet") == 0
    assert Path("runs/run/plots/curves.png").exists()
