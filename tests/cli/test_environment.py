"""Working folders, file names and standard streams of the commands. One run covers several cases."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lagvis.cli import backends, compare, train
from lagvis.cli.errors import run_cli
from tests.cli.commands import ROOT, environment, hide_module, run_command, write_dataset
from tests.cli.test_train import no_gpu
from tests.conftest import skip_or_fail

QUICK = ("--device", "cpu", "--hidden", "8", "-e", "1", "--no-plots")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SMILE = "\N{SLIGHTLY SMILING FACE}"


def report(run):
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def test_train_in_empty_folder_finds_shipped_data_and_writes_there(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    trained = run_command("train", *QUICK, "--recipe", "paper", "--quiet", "--name", "e", cwd=empty, HOME="/proc")
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.rstrip().endswith(str(empty / "runs" / "e"))
    evaluated = run_command("evaluate", "e", "--device", "cpu", "--json", cwd=empty)
    assert json.loads(evaluated.stdout)["test_accuracy"] == report(empty / "runs" / "e")["test_accuracy"]


@pytest.mark.parametrize(
    ("path", "words"),
    [(ROOT / "data", f"use --data {ROOT / 'data' / 'mnist'}"), ("no/such", "{here}/no/such does not exist")],
)
def test_train_wrong_data_folder_is_named_with_the_right_one(tmp_path, monkeypatch, capsys, path, words):
    monkeypatch.chdir(tmp_path)
    assert run_cli(train.main, [*QUICK, "--data", str(path)]) == 3
    assert words.format(here=tmp_path) in capsys.readouterr().err


def test_train_deleted_working_folder_exits_2(tmp_path):
    command = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} {ROOT / 'train.py'} -e 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: the current folder no longer exists")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "cp1252"}], ids=["utf-8", "C", "cp1252"])
def test_train_unicode_and_blanks_in_names_work(tmp_path, changes):
    home = tmp_path / f"mine ting æøå {SMILE}"
    home.mkdir()
    write_dataset(home / f"tøj {SMILE}.npz")
    (home / f"opskrift æ {SMILE}.toml").write_bytes(
        f"\ufeff# blåbærgrød\r\nhidden = [8]\r\nepochs = 1\r\ndata = 'tøj {SMILE}.npz'\r\n".encode()
    )
    arguments = ("--recipe", f"opskrift æ {SMILE}.toml", "-o", f"kørsler {SMILE}", "--name", f"kørsel {SMILE}")
    trained = run_command("train", "--device", "cpu", *arguments, cwd=home, **changes)
    assert trained.returncode == 0, trained.stderr
    run = home / f"kørsler {SMILE}" / f"kørsel {SMILE}"
    assert report(run)["run"] == str(run)
    evaluated = run_command("evaluate", run, "--device", "cpu", "--json", cwd=tmp_path, **changes)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["run"] == str(run / "last.safetensors")


def test_train_path_not_utf8_writes_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lagvis.report.plots.figure.DPI", 20)
    monkeypatch.setattr("lagvis.report.plot_processes.MAX_PROCESSES", 0)  # they would draw in the usual size
    write_dataset(tmp_path / "data.npz")
    flags = ["--device", "cpu", "--hidden", "none", "-e", "1", "--data", "data.npz", "--name", "u", "--quiet"]
    assert run_cli(train.main, [*flags, "-o", os.fsdecode(b"o\xff")]) == 0, capsys.readouterr().err
    text, page = (Path(os.fsdecode(b"o\xff"), "u", f"report.{end}").read_text("utf-8") for end in ("md", "html"))
    assert "o\\udcff/u/recipe.toml" in text
    assert "o\\udcff/u/recipe.toml" in page


def test_error_escapes_control_characters(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("\x1b[31mred\n.npz").touch()
    assert run_cli(train.main, [*QUICK, "--data", "\x1b[31mred\n.npz"]) == 3
    err = capsys.readouterr().err
    assert "\\x1b[31mred\\n.npz" in err
    assert err[:-1].isprintable()
    with pytest.raises(SystemExit) as end:
        train.main(["--\x1b[31m"])
    err = capsys.readouterr().err
    assert (end.value.code, err[:-1].isprintable()) == (2, True)
    assert err.startswith("error: there is no flag --\\x1b[31m")


def test_train_in_ascii_locale_refuses_other_letters_only(tmp_path):
    write_dataset(tmp_path / "data.npz")
    refused = run_command("train", *QUICK, "--data", "tøj.npz", cwd=tmp_path, **ASCII)
    assert refused.returncode == 2
    assert refused.stderr.rstrip().endswith("cannot be recorded; set PYTHONUTF8=1, or a locale of UTF-8")
    trained = run_command("train", *QUICK, "--data", "data.npz", cwd=tmp_path, **ASCII)
    assert trained.returncode == 0, trained.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (("-O",), {"TERM": "dumb", "NO_COLOR": "1", "HOME": "/nonexistent"}),
        (("-W", "error", "-bb"), {"TERM": "", "FORCE_COLOR": "1", "CI": "1", "HOME": "/proc"}),
    ],
    ids=["optimised", "warnings are errors"],
)
def test_train_python_and_terminal_settings_do_not_change_the_run(tmp_path, changes, flags):
    data_file = write_dataset(tmp_path / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert train.main([*QUICK, "--data", str(data_file), "--quiet", "--name", "plain"]) == 0
    command = [sys.executable, *flags, str(ROOT / "train.py"), *QUICK[:-1], "--data", str(data_file), "--name", "other"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(**changes), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "atplotlib" not in done.stderr
    assert (tmp_path / "runs" / "other" / "report.html").exists()
    one, other = ((tmp_path / "runs" / name / "last.safetensors").read_bytes() for name in ("plain", "other"))
    assert one == other


@pytest.mark.parametrize(
    ("redirection", "code"), [("2>&1 | head -1", 0), (">&- 2>&-", 0), (">/dev/full", 1), (">/dev/full --json", 1)]
)
def test_train_closed_or_full_stream_keeps_the_run(tmp_path, redirection, code):
    data_file = write_dataset(tmp_path / "data.npz")
    command = f"{sys.executable} {ROOT / 'train.py'} {' '.join(QUICK)} --data {data_file} --name kept {redirection}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "bug in Lagvis" not in done.stderr
    assert ("error: the result cannot be written to stdout" in done.stderr) == bool(code)
    assert report(tmp_path / "runs" / "kept")["finished"] == "completed"


REFUSED = ["../x", "/abs", "a/b", "a\\b", "", ".", "..", "a:b", "C:x"]
# Names that Windows forbids or changes, and characters that terminals do not display.
REFUSED += ["con", "CON.txt", "nul", "lpt1", "x.", "x ", "  ", "a\nb", "\x1b[2Jx", "*", "last?", 'a"b', "\udcff"]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_train_invalid_name_exits_2_and_writes_nothing(tmp_path, monkeypatch, capsys, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    data_file = write_dataset(tmp_path / "data.npz")
    assert run_cli(train.main, [*QUICK, "--data", str(data_file), "--quiet", f"--name={name}"]) == 2
    assert capsys.readouterr().err.startswith("error: --name is ")
    assert list(inner.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"inner", "data.npz"}


@pytest.mark.parametrize("name", ["-x", "~", "plain", "a.b", f"kørsel {SMILE}", "x" * 200])
def test_train_unusual_valid_name_is_kept(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data_file = write_dataset(tmp_path / "data.npz")
    assert run_cli(train.main, [*QUICK, "-e", "0", "--data", str(data_file), "--quiet", f"--name={name}"]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]


def test_train_name_of_a_link_exits_2_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data_file = write_dataset(tmp_path / "data.npz")
    (tmp_path / "runs").mkdir()
    (tmp_path / "real").mkdir()
    for name, target in (("link", "real"), ("dangling", "nowhere")):
        (tmp_path / "runs" / name).symlink_to(tmp_path / target)
        assert run_cli(train.main, [*QUICK, "--data", str(data_file), "--quiet", "--name", name]) == 2
        assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "real").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("folder", ["file", "file/sub", "/proc/x", "y" * 300])
def test_train_unusable_output_dir_exits_7(tmp_path, monkeypatch, capsys, folder):
    monkeypatch.chdir(tmp_path)
    data_file = write_dataset(tmp_path / "data.npz")
    (tmp_path / "file").write_text("kept")
    assert run_cli(train.main, [*QUICK, "--data", str(data_file), "--quiet", "-o", folder]) == 7
    err = capsys.readouterr().err
    assert "choose another --runs-dir" in err
    assert err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"


def test_train_linked_output_dir_is_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_file = write_dataset(tmp_path / "data.npz")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert run_cli(train.main, [*QUICK, "--data", str(data_file), "--quiet", "-o", "link", "--name", "r"]) == 0
    assert report(tmp_path / "real" / "r")["finished"] == "completed"


def two_wheels(folder):
    """Return a folder for PYTHONPATH with the metadata of a second CuPy wheel and none of its code."""
    (folder / "cupy_cuda12x-13.0.dist-info").mkdir()
    (folder / "cupy_cuda12x-13.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: cupy-cuda12x\nVersion: 13.0\n"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("half", "words"),
    [
        (two_wheels, "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install"),
        (lambda folder: {"HOME": "/proc", "CUPY_CACHE_DIR": "/proc/x"}, "set CUPY_CACHE_DIR to a writable folder"),
        (lambda folder: {"HOME": "/proc"}, "set CUPY_CACHE_DIR to a writable folder"),
    ],
    ids=["two wheels", "no cache", "no home"],
)
def test_train_broken_cupy_is_named_for_cuda_and_auto_trains(tmp_path, half, words):
    no_gpu()
    try:
        import cupy as _  # noqa: F401
    except ImportError as error:
        skip_or_fail("cupy-signatures", f"CuPy is not installed: {error}")
    changes = half(tmp_path)
    data_file = write_dataset(tmp_path / "data.npz")
    trained = run_command(
        "train", *QUICK[2:], "--device", "auto", "--data", data_file, "--json", cwd=tmp_path, **changes
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.startswith("No GPU is used: ")
    assert "no NVIDIA driver was found" in trained.stderr.splitlines()[0], "without one CuPy is not imported"
    refused = run_command("train", "--device", "cuda", cwd=tmp_path, **changes)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (4, "", 1)
    assert words in refused.stderr


def test_train_without_cupy_needs_no_writable_home(tmp_path):
    data_file = write_dataset(tmp_path / "data.npz")
    trained = run_command(
        "train", *QUICK[2:], "--data", data_file, cwd=tmp_path, HOME="/proc", **hide_module(tmp_path, "cupy")
    )
    assert trained.returncode == 0, trained.stderr


OVERRIDE = (
    "DNNL_DEFAULT_FPMATH_MODE is set to 'unknown', so oneDNN may round float32 products; unset it to prevent that."
)


def test_train_reports_and_records_a_variable_that_can_change_the_result(tmp_path, monkeypatch, capsys, torch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    flags = [*QUICK, "--backend", "torch", "--data", "data.npz"]
    assert run_cli(train.main, [*flags, "--name", "r", "--quiet"]) == 0
    before = json.loads(Path("runs/r/environment.json").read_text(encoding="utf-8"))
    assert (before["overrides"], before["float32_products"]) == ({}, "full")

    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "unknown")  # oneDNN ignores this value
    capsys.readouterr()
    for quiet in ([], ["--quiet"]):
        name = f"quiet{len(quiet)}"
        assert run_cli(train.main, [*flags, "--name", name, *quiet]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert lines[:1] == ([] if quiet else [OVERRIDE])
        environment = json.loads(Path(f"runs/{name}/environment.json").read_text(encoding="utf-8"))
        assert environment["overrides"] == {"DNNL_DEFAULT_FPMATH_MODE": "unknown"}

    assert run_cli(train.main, ["--resume", "r", "-e", "2", "--no-plots"]) == 0
    sentence = "overrides {} -> {'DNNL_DEFAULT_FPMATH_MODE': 'unknown'}: the bytes may differ"
    assert sentence in capsys.readouterr().err


def test_backends_and_compare_report_a_variable_that_can_change_results(tmp_path, monkeypatch, capsys, torch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "unknown")
    assert run_cli(compare.main, ["--backends", "numpy,torch", "--device", "cpu", "--data", "data.npz"]) == 0
    assert capsys.readouterr().err == f"{OVERRIDE}\n"
    assert run_cli(backends.main, []) == 0
    out = capsys.readouterr().out
    assert OVERRIDE in out
    assert "float32 products full" in out
