import csv
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from lagvis.backends.cuda import driver_version
from lagvis.cli import train
from lagvis.cli.errors import run_cli
from lagvis.errors import DeviceError
from tests.cli.commands import (
    ROOT,
    assert_matches,
    environment,
    hide_module,
    run_command,
    running_process,
    write_dataset,
)
from tests.conftest import skip_or_fail

KEYS = {
    "run", "backend", "device", "dtype", "seed", "epochs", "seconds", "train_loss", "validation_loss",
    "validation_accuracy", "test_loss", "test_accuracy",
}  # fmt: skip
QUICK = ("--device", "cpu", "--hidden", "16", "-e", "2", "--no-plots")


def test_train_two_epochs_on_mnist_prints_and_writes_as_documented(tmp_path):
    done = run_command("train", *QUICK[:-1], "--name", "first", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_matches(
        done.stderr,
        """
        784-16-10, 12,730 parameters: 55,000 rows to train on, 5,000 for validation, 2 epochs of 550 steps
        epoch 1/2   train loss <0.4..0.8>, <75..90>%   validation loss <0.25..0.5>, <88..94>%   <0..60> s
        epoch 2/2   train loss <0.2..0.4>, <90..95>%   validation loss <0.22..0.4>, <92..96>%   <0..60> s
        """,
    )
    assert_matches(
        done.stdout,
        f"""
        network 784-16-10, 12,730 parameters (numpy, cpu, float32, seed 0)
        trained 2 epochs, 1,100 steps, <0..60> s
        train loss <0.2..0.4>, accuracy <90..95>% (minimised: <0.7..0.9>)
        validation loss <0.22..0.4>, accuracy <92..96>%
        test loss <0.22..0.4>, accuracy <92..96>%
        balanced accuracy <92..96>%; always predicting 1 gives 11.35%
        run {tmp_path / "runs" / "first"}
        """,
    )
    folder = tmp_path / "runs" / "first"
    assert {path.name for path in folder.iterdir()} == {
        "recipe.toml", "environment.json", "metrics.csv", "last.safetensors", "best.safetensors",
        "report.json", "report.md", "report.html", "plots", "run.lock",
    }  # fmt: skip
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "curves.png", "confusion.png", "mistakes.png", "weights.png", "calibration.png", "activity.png",
    }  # fmt: skip
    assert (folder / "report.html").stat().st_size < 1_500_000
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [(row["epoch"], row["step"], row["samples"]) for row in rows] == [
        ("1", "550", "55000"),
        ("2", "1100", "110000"),
    ]
    recorded = json.loads((folder / "environment.json").read_text())
    assert recorded["sha256"]["train-images-idx3-ubyte"].startswith("ba891046e6505d7a")
    assert recorded["seed"] == 0
    assert recorded["steps_per_call"] == 275

    evaluated = run_command("evaluate", "first", "--device", "cpu", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert (
        f"accuracy {100 * json.loads((folder / 'report.json').read_text())['test_accuracy']:.2f}%" in evaluated.stdout
    )

    again = run_command(
        "train",
        "--device",
        "cpu",
        "--recipe",
        folder / "recipe.toml",
        "--quiet",
        "--no-plots",
        "--name",
        "again",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    last = [(tmp_path / "runs" / name / "last.safetensors").read_bytes() for name in ("first", "again")]
    assert last[0] == last[1]


def flags_of(backend, folder):
    """Return the flags of a short run on a backend, with the data in a folder."""
    return ["--device", "cpu", "--backend", backend, "--data", str(folder / "data.npz"), "--quiet", "--no-plots"]


@pytest.fixture
def train_here(tmp_path, monkeypatch, capsys):
    """Train in this process, in a folder with data: `train_here(backend, name, *flags)` returns the arrays' file."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")

    def train_run(backend, name, *flags):
        code = run_cli(train.main, [*flags_of(backend, tmp_path), "--name", name, *flags])
        printed = capsys.readouterr().err
        if code == 4:
            skip_or_fail(backend, printed.strip())
        assert code == 0, printed
        return tmp_path / "runs" / name / "last.safetensors"

    return train_run


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_train_same_seed_same_bytes(train_here, tmp_path, backend):
    other = train_here(backend, "other", "-e", "2", "--seed", "4")
    for name in ("a", "b"):
        flags = (*flags_of(backend, tmp_path), "-e", "2", "--json", "--seed", "3", "--name", name)
        done = run_command("train", *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result.keys() >= KEYS
        assert (result["backend"], result["seed"], result["epochs"]) == (backend, 3, 2)
    a, b = ((tmp_path / "runs" / name / "last.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b
    assert a != other.read_bytes()


@pytest.mark.slow
def test_train_all_backends_start_from_the_same_bytes(train_here):
    start = {name: train_here(name, name, "-e", "0").read_bytes() for name in ("numpy", "torch", "jax")}
    assert start["numpy"] == start["torch"] == start["jax"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_train_float64_on_every_backend_writes_float64(train_here, backend):
    arrays = load_file(train_here(backend, "run", "-e", "1", "--dtype", "float64"))
    assert {str(a.dtype) for a in arrays.values()} == {"float64"}


@pytest.mark.slow
def test_train_jump_recipe_is_far_better_than_the_mean(tmp_path):
    done = run_command("train", "--recipe", "jump", "--device", "cpu", "--json", "--name", "j", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["test_loss"] < 0.1 * result["baseline_loss"]
    assert result["test_accuracy"] is None
    assert result["unit"] == "m"
    assert 0.14 < result["test_errors"]["long jump"] < 0.25
    assert 0.045 < result["test_errors"]["high jump"] < 0.08
    evaluated = run_command("evaluate", "j", "--device", "cpu", "--json", cwd=tmp_path)
    assert json.loads(evaluated.stdout)["test_loss"] == pytest.approx(result["test_loss"], rel=1e-12)


def no_gpu():
    if driver_version() is not None:
        pytest.skip("this machine has an NVIDIA driver; the test needs one without")


@pytest.mark.parametrize("cupy", ["absent", "installed"])
def test_train_without_gpu_refuses_cuda_and_trains_on_auto(tmp_path, cupy):
    no_gpu()
    changes = hide_module(tmp_path, "cupy") if cupy == "absent" else {}
    if cupy == "installed":
        try:
            import cupy as _  # noqa: F401
        except ImportError as error:
            skip_or_fail("cupy-signatures", f"CuPy is not installed: {error}")
    reason = (
        "CuPy is not installed, and no NVIDIA driver" if cupy == "absent" else "CuPy is installed, but no NVIDIA driver"
    )
    for device in ("cuda", "cuda:0"):
        refused = run_command("train", "--device", device, cwd=tmp_path, **changes)
        assert refused.returncode == 4
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
        assert refused.stderr.startswith(f"error: {reason}")
        assert "To fix it: " in refused.stderr
        assert not (tmp_path / "runs").exists()
    trained = run_command(
        "train", "--device", "auto", "-e", "1", "--hidden", "none", "--json", "--no-plots", cwd=tmp_path, **changes
    )
    assert trained.returncode == 0
    assert trained.stderr.startswith(f"No GPU is used: {reason}")
    assert json.loads(trained.stdout)["backend"] == "numpy"


USAGE = [
    (["--hiden", "3"], "did you mean --hidden"),
    (["--shuffle", "false"], "takes no value: --NAME, or --no-NAME"),
    (["--optimizer", "adam", "--betas", "0.9"], "betas is [0.9]; expected two numbers"),
    (["--hidden", "784,0,10"], "hidden is 0"),
    (["--hidden", "-3"], "hidden"),
    (["--hidden", "a"], "hidden"),
    (["--lr", "0"], "lr is 0.0"),
    (["--lr", "nan"], "lr is nan"),
    (["--lr", "inf"], "lr is inf"),
    (["--lr", "-1"], "lr is -1.0"),
    (["-b", "0"], "batch_size is 0"),
    (["-b", "1.5"], "1.5"),
    (["-e", "-1"], "epochs is -1"),
    (["--seed", "-1"], "seed is -1"),
    (["--momentum", "1"], "momentum is 1.0"),
    (["--activation", "rely"], "did you mean relu"),
    (["--validation", "60000"], "hold out fewer"),
    (["--recipe", "papr"], "did you mean paper"),
    (["--device", "cuda", "--backend", "numpy"], "NumPy has no device cuda"),
    (["--device", "cpu", "--backend", "cupy"], "CuPy has no device cpu"),
    (["--device", "gpu"], "no device 'gpu'"),
    (["--device", "mps", "--backend", "jax"], "JAX has no device mps; for mps, use --backend torch"),
    (["--device", "mps", "--dtype", "float64"], "mps has no float64"),
    (["--backend", "tensorflow"], "tensorflow"),
    (["--name", "../x"], "--name"),
    (["--target-accuracy", "x"], "target-accuracy"),
    (["--target-accuracy", "97"], "expected a share from 0 to 1"),
    (["--target-accuracy", "nan"], "expected a share from 0 to 1"),
    (["--recipe", "jump", "--target-accuracy", "0.9"], "is for classification"),
    (["--hidden", "1e9"], "found '1e9', expected layer widths such as 64,64, or none"),
    (["--lr", "1e300"], "which float32 cannot hold"),
    (["--lr", "1e-50"], "which float32 cannot hold"),
    (["--threads", "0"], "threads is 0"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_train_usage_error_is_one_sentence_and_exits_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    device = [] if "--device" in arguments else ["--device", "cpu"]
    try:
        code = run_cli(train.main, [*device, *arguments])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert words in printed.err.splitlines()[-1]
    assert len(printed.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [("nothing", "does not exist"), (".", "holds no data set"), ("text.npz", "cannot be read as NPZ")],
)
def test_train_unusable_data_exits_3(tmp_path, monkeypatch, capsys, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    assert run_cli(train.main, ["--device", "cpu", "--data", path]) == 3
    printed = capsys.readouterr()
    assert words in printed.err
    assert str(tmp_path) in printed.err
    assert not (tmp_path / "runs").exists()


def test_train_diverged_exits_6_and_keeps_last_finite_state(tmp_path):
    data_file = write_dataset(tmp_path / "data.npz")
    arguments = ("--data", data_file, "--device", "cpu", "--lr", "1e20", "--json", "--name", "d")
    done = run_command("train", *arguments, cwd=tmp_path)
    assert done.returncode == 6
    assert "error: the loss is not a finite number" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["test_accuracy"] is None
    assert all(np.isfinite(a).all() for a in load_file(tmp_path / "runs" / "d" / "last.safetensors").values())


def test_train_below_target_accuracy_exits_8(tmp_path):
    data_file = write_dataset(tmp_path / "data.npz")
    arguments = ("--data", data_file, "--device", "cpu", "-e", "0", "--quiet", "--no-plots")
    assert run_command("train", *arguments, "--target-accuracy", "0.99", cwd=tmp_path).returncode == 8
    assert run_command("train", *arguments, "--target-accuracy", "0.0", cwd=tmp_path).returncode == 0


def test_train_dry_run_prints_facts_and_writes_nothing(tmp_path):
    done = run_command("train", "--device", "cpu", "--dry-run", "--json", "--batch_size=500", cwd=tmp_path)
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["network"] == "784-64-64-64-10"
    assert (facts["parameters"], facts["steps_per_epoch"], facts["training_rows"]) == (59210, 110, 55000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_train_signal_saves_state_and_reports_it(tmp_path, number, code):
    command = [sys.executable, str(ROOT / "train.py"), "--device", "cpu", "-e", "1000", "--name", "long"]
    metrics = tmp_path / "runs" / "long" / "metrics.csv"
    deadline = time.monotonic() + 60
    with running_process(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (metrics.exists() and metrics.read_text().count("\n") >= 2) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Stopped after step" in err
    assert "Traceback" not in err
    assert (tmp_path / "runs" / "long" / "last.safetensors").exists()
    assert "test " not in out
    report = json.loads((tmp_path / "runs" / "long" / "report.json").read_text())
    assert report["finished"] == "interrupted"
    assert report["steps"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"TERM": "xterm"},
        {"TERM": "xterm", "COLUMNS": "20"},
        {"TERM": "xterm", "NO_COLOR": "1"},
        {"TERM": "dumb"},
        {"TERM": ""},
        {"TERM": "xterm-color", "JPY_PARENT_PID": "1", "FORCE_COLOR": "1"},
    ],
)
def test_train_in_terminal_shows_panel_and_clean_result(tmp_path, changes):
    data_file = write_dataset(tmp_path / "data.npz")
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "--device",
        "cpu",
        "--data",
        str(data_file),
        "-e",
        "3",
        "--json",
        "--no-plots",
    ]
    with running_process(
        command, cwd=tmp_path, env=environment(**changes), stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:
                    break
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, seen
    assert json.loads(out)["epochs"] == 3
    assert b"Traceback" not in seen
    assert (b"\x1b[?25l" in seen) == (changes["TERM"] == "xterm"), "a live panel hides the cursor while it draws"
    assert changes["TERM"] == "xterm" or b"\x1b" not in seen
    if "NO_COLOR" in changes:
        assert b"\x1b[3" not in seen


def test_train_closed_terminal_does_not_end_the_run(tmp_path):
    data_file = write_dataset(tmp_path / "data.npz")
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "--device",
        "cpu",
        "--data",
        str(data_file),
        "-e",
        "40",
        "--json",
    ]
    with running_process(
        command, cwd=tmp_path, env=environment(TERM="xterm"), stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        os.read(ours, 1)  # wait until the panel draws
        os.close(ours)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["epochs"] == 40


def test_train_in_pipe_prints_plain_text_with_force_color(tmp_path):
    data_file = write_dataset(tmp_path / "data.npz")
    done = run_command(
        "train",
        "--device",
        "cpu",
        "--data",
        data_file,
        "-e",
        "2",
        "--no-plots",
        cwd=tmp_path,
        FORCE_COLOR="1",
        PYTHONIOENCODING="ascii",
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stderr.count("epoch ") == 2


def test_train_help_names_every_default_and_exit_code(capsys):
    with pytest.raises(SystemExit) as end:
        train.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    described = [line for line in text.splitlines() if line.strip().startswith("-") and "--help" not in line]
    assert len(described) > 20
    assert text.count("(default:") >= len(described) - 2
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 143):
        assert f" {code} " in text


def test_run_cli_unexpected_error_is_one_sentence(monkeypatch, capsys):
    def broken(argv):
        raise RuntimeError("something else")

    assert run_cli(broken) == 1
    assert capsys.readouterr().err == (
        "error: unexpected RuntimeError: something else; this is a bug in Lagvis; LAGVIS_TRACEBACK=1 shows where\n"
    )

    def out_of_memory(argv):
        raise MemoryError("Unable to allocate 1 TiB")

    assert run_cli(out_of_memory) == 5

    def no_device(argv):
        raise DeviceError("why", "the fix")

    assert run_cli(no_device) == 4


def test_train_regression_with_loss_mse_over_default_recipe(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    np.savez(tmp_path / "line.npz", x=x, y=x @ [1.0, -2.0, 0.5] + 7.0)
    arguments = ("--data", "line.npz", "--loss", "mse", "--lr", "0.02", "--device", "cpu", "--quiet", "--json")
    done = run_command("train", *arguments, "-e", "30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["test_loss"] < 0.05 * result["baseline_loss"]


@pytest.mark.parametrize("redirection", ["| head -c 0", "2>/dev/full", "2>&-", "1>&-"])
def test_train_broken_streams_keep_the_run(tmp_path, redirection):
    data_file = write_dataset(tmp_path / "data.npz")
    command = f"{sys.executable} {ROOT / 'train.py'} --device cpu --data {data_file} -e 2 --name kept {redirection}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug in Lagvis" not in done.stderr
    assert json.loads((tmp_path / "runs" / "kept" / "report.json").read_text())["test_accuracy"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_train_name_outside_encoding_is_printed_as_escape(tmp_path, encoding):
    data_file = write_dataset(tmp_path / "data.npz")
    arguments = ("--device", "cpu", "--data", data_file, "-e", "1", "--quiet", "--name", "kørsel \N{PARTY POPPER}")
    done = run_command("train", *arguments, cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "\\U0001f389" in done.stdout


def test_run_cli_out_of_memory_of_a_library_exits_5(capsys):
    def torch_style(argv):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 GB")

    assert run_cli(torch_style) == 5
    assert "out of memory" in capsys.readouterr().err


def test_train_jax_without_cpu_platform_exits_4(tmp_path):
    arguments = ("--backend", "jax", "--device", "cpu", "-e", "1")
    refused = run_command("train", *arguments, cwd=tmp_path, JAX_PLATFORMS="rubbish")
    if "JAX is not installed" in refused.stderr:
        skip_or_fail("jax", refused.stderr.strip())
    assert refused.returncode == 4
    assert refused.stderr.startswith("error: JAX has no cpu device")
    assert refused.stderr.rstrip().endswith("unset JAX_PLATFORMS.")
