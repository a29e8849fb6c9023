"""The export command: its output, the files it writes, and the requests it rejects."""

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate, export, train
from lagvis.cli.errors import run_cli
from lagvis.formats.export_formats import Format
from lagvis.storage.filenames import BEST, LAST
from tests.cli import fault_injection
from tests.cli.commands import ROOT, environment, hide_module, run_command, write_dataset

NAMES = {
    "safetensors": "model.safetensors",
    "npz": "model.npz",
    "onnx": "model.onnx",
    "paper": "saved_network",
    "html": "page.html",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Train a network on the shared data file, in runs/r of the current folder."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    flags = ["--device", "cpu", "--data", "data.npz", "-e", "2", "--quiet", "--no-plots", "--name", "r", "--lr", "0.05"]
    assert train.main(flags) == 0
    capsys.readouterr()
    return tmp_path / "runs" / "r"


def exit_code(arguments):
    """Return the exit code of the command; argparse exits by SystemExit."""
    try:
        return run_cli(export.main, arguments)
    except SystemExit as end:
        return end.code


def content_of(path):
    return {p.name: p.read_bytes() for p in path.iterdir()} if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize(("format_", "name"), NAMES.items())
def test_export_every_format_is_written_and_its_path_printed(run, tmp_path, capsys, request, format_, name):
    if format_ == "onnx":
        request.getfixturevalue("onnxruntime")
    assert export.main(["r", "--format", format_]) == 0
    out = capsys.readouterr()
    assert out.out == f"{run / 'export' / name}\n"
    notices = {
        "paper": "The paper's program does not subtract the mean",
        "onnx": "The ONNX network takes float32 arrays x, a row per example, and returns probabilities (float32) ",
    }
    assert out.err.startswith(notices[format_]) if format_ in notices else not out.err
    first = content_of(run / "export" / name)
    assert export.main(["runs/r/last.safetensors", "--format", format_, "--output", f"other-{name}", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"] == str(tmp_path / f"other-{name}")
    assert (result["format"], result["run"]) == (format_, str(run / LAST))
    assert content_of(tmp_path / f"other-{name}") == first
    assert result["bytes"] == (sum(map(len, first.values())) if format_ == "paper" else len(first))


def test_export_best_has_a_folder_of_its_own(run, capsys):
    assert export.main([f"runs/r/{BEST}", "--format", "npz"]) == 0
    assert capsys.readouterr().out == f"{run / 'export' / 'best' / 'model.npz'}\n"


def test_export_evaluated_again_equals_the_run(run, capsys):
    assert evaluate.main(["r", "--device", "cpu", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    for format_ in ("safetensors", "paper"):
        assert export.main(["r", "--format", format_]) == 0
        capsys.readouterr()
        path = str(run / "export" / NAMES[format_])
        assert evaluate.main([path, "--device", "cpu", "--json", "--data", "data.npz"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["confusion"] == expected["confusion"]


def test_export_paper_network_to_npz(run, tmp_path, capsys):
    assert export.main(["r", "--format", "paper", "--output", "saved_network"]) == 0
    assert export.main(["saved_network", "--format", "npz"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == str(tmp_path / "saved_network-export" / "model.npz")
    assert (
        export.main(["r", "--format", "paper", "--output", "saved_network"]) == 0
    )  # still a valid network of the paper's format
    assert evaluate.main(["saved_network", "--device", "cpu", "--data", "data.npz"]) == 0


def test_export_paper_class_names_are_lost_with_a_notice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    np.savez(
        "named.npz", x=rng.integers(0, 256, (60, 4, 4)).astype(np.uint8), y=np.array(["dog", "cat"])[np.arange(60) % 2]
    )
    assert (
        train.main(["--device", "cpu", "--data", "named.npz", "-e", "1", "--quiet", "--no-plots", "--name", "r"]) == 0
    )
    assert export.main(["r", "--format", "paper"]) == 0
    assert "output 0 is cat" in capsys.readouterr().err


def test_export_onnx_float32_precision_is_a_notice_or_error(tmp_path, monkeypatch, capsys, onnxruntime):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(2).normal(size=(60, 3))
    flags = ["--device", "cpu", "-e", "1", "--quiet", "--no-plots"]
    for name, scales in (("rough", [1.7e9 + 1e-2 * x[:, 0], 1e6 + x[:, 1], x[:, 2]]), ("beyond", list(1e40 * x.T))):
        np.savez(f"{name}.npz", x=np.stack(scales, axis=1), y=np.arange(60) % 2)
        assert train.main([*flags, "--data", f"{name}.npz", "--name", name]) == 0
    capsys.readouterr()
    assert run_cli(export.main, ["rough", "--format", "onnx"]) == 0
    err = capsys.readouterr().err
    assert "\nIn float32 column 1 (mean 1.7e+09, deviation 0.0" in err
    assert ", and 1 more, loses digits" in err
    assert err.endswith("train with --dtype float64.\n")
    assert err.count("\n") == 2
    assert run_cli(export.main, ["beyond", "--format", "onnx"]) == 2
    out = capsys.readouterr()
    assert (out.out, out.err.count("\n")) == ("", 1)
    assert out.err.startswith("error: column 1 (mean ")
    assert not (tmp_path / "runs" / "beyond" / "export").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["r"], 2, "the following arguments are required: --format"),
        (["r", "--format", "pickle"], 2, "invalid choice: 'pickle'"),
        (["nowhere", "--format", "npz"], 7, "there is no run 'nowhere'"),
        (["r", "--format", "npz", "--output", "no/such/folder/x.npz"], 7, "cannot be written (No such file"),
        (["r", "--format", "npz", "--output", "runs"], 7, "is a folder, not a file"),
        (["r", "--format", "paper", "--output", "runs"], 7, "not a network of the paper's program"),
        (["r", "--format", "paper", "--output", "/"], 7, "/ exists and is not a network of the paper's program"),
        (["r", "--format", "paper", "--output", "data.npz"], 7, "not a network of the paper's program"),
        (["r", "--format", "paper", "--output", "no/such"], 7, "cannot be written (No such file"),
        (["r", "--format", "npz", "--output", "data.npz/x"], 7, "cannot be written (Not a directory)"),
        (["r", "--format", "npz", "--output", "a" * 300], 7, "cannot be written (File name too long)"),
        (["r", "--format", "paper", "--output", "a" * 300], 7, "cannot be written (File name too long)"),
        (["r", "--format", "npz", "--output", "~nobody-here/x.npz"], 7, "cannot be written (No such file"),
        (["r", "--format", "npz", "--output", "a" * 250], 7, "cannot be written (File name too long)"),
        (["r", "--format", "npz", "--output", ""], 7, "is a folder, not a file"),
        (["r", "--format", "safetensors", "--output", "runs/r/last.safetensors"], 7, "belongs to a run"),
        (["r", "--format", "npz", "--output", "runs/r/metrics.csv"], 7, "belongs to a run"),
        (["copy.safetensors", "--format", "npz", "--output", "copy.safetensors"], 7, "belongs to a run"),
        (["r", "--format", "npz", "--output", "to-metrics"], 7, "belongs to a run"),
        (["r", "--format", "npz", "--output", "to-run/best.safetensors"], 7, "belongs to a run"),
        (["r", "--format", "npz", "--output", "runs/moved/last.safetensors"], 7, "belongs to a run"),
        (["saved", "--format", "npz", "--output", "saved/weightlayer1.npy"], 7, "belongs to a run"),
        (["r", "--format", "npz", "--output", "loop"], 7, "cannot be written (Too many levels of symbolic links)"),
    ],
)
def test_export_invalid_request_is_one_sentence_and_changes_nothing(run, tmp_path, capsys, arguments, code, words):
    (tmp_path / "copy.safetensors").write_bytes((run / LAST).read_bytes())
    for name, leads_to in (("to-metrics", run / "metrics.csv"), ("to-run", run), ("loop", "loop")):
        (tmp_path / name).symlink_to(leads_to)
    moved = run.with_name("moved")  # a run whose checkpoint was moved
    moved.mkdir()
    (moved / "recipe.toml").write_bytes((run / "recipe.toml").read_bytes())
    (moved / LAST).symlink_to(tmp_path / "copy.safetensors")
    assert export.main(["r", "--format", "paper", "--output", "saved"]) == 0
    capsys.readouterr()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert exit_code(arguments) == code
    out = capsys.readouterr()
    assert words in out.err
    assert (out.out, out.err.count("\n")) == ("", 1)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("source", ["r", "runs/r/best.safetensors"])
@pytest.mark.parametrize("link", ["export", "export/best"])
def test_export_default_place_through_a_link_exits_7(run, tmp_path, capsys, source, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(outside)
    expected = 7 if link == "export" or source != "r" else 0
    assert exit_code([source, "--format", "npz"]) == expected
    assert ("is a link; remove it, or choose a file by --output" in capsys.readouterr().err) == (expected == 7)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["table", "numbers"])
def test_export_html_table_or_regression_exits_2(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 4))
    np.savez("table.npz", x=x, y=np.arange(60) % 2 if kind == "table" else x[:, :1])
    more = [] if kind == "table" else ["--loss", "mse"]
    assert (
        train.main(["--device", "cpu", "--data", "table.npz", "-e", "1", "--quiet", "--no-plots", "--name", "r", *more])
        == 0
    )
    capsys.readouterr()
    assert run_cli(export.main, ["r", "--format", "html"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(
        "error: the network " + ("predicts numbers" if kind == "numbers" else "reads rows of 4 numbers")
    )
    assert err.endswith("use another --format\n")
    assert not (tmp_path / "runs" / "r" / "export").exists()


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("format_", ["npz", "paper", "html"])
@pytest.mark.parametrize("again", [False, True])
def test_export_full_disk_leaves_the_earlier_export(run, capsys, format_, code, again):
    target = run / "export" / NAMES[format_]
    if again:
        assert export.main(["r", "--format", format_]) == 0
    before = content_of(target) if again else None
    names = []
    with fault_injection.inject(names.append, phases=False):
        assert export.main(["r", "--format", format_]) == 0
    after = content_of(target)
    assert {"rename", "fsync"} <= set(names)
    for number, name in enumerate(names):
        if not again:
            shutil.rmtree(run / "export", ignore_errors=True)
        capsys.readouterr()
        with fault_injection.inject(fault_injection.failing_disk(number, code), phases=False):
            found = run_cli(export.main, ["r", "--format", format_])
        err = capsys.readouterr().err
        where = f"operation {number}, {name}: exit code {found}, {err!r}"
        if found == 0:
            assert name == "fsync", where
            assert content_of(target) == after, where
            continue
        assert found == 7, where
        assert err.count("\n") == 1, where
        assert os.strerror(code) in err, where
        for old in target.parent.glob("saved_network.*.writing/old"):
            # the second rename failed, and so did the one that restores the old folder
            assert f"the old folder is in {old}\n" in err, where
            old.rename(target)
            old.parent.rmdir()
        assert "the old folder is in" in err or "nothing was changed" in err or "cannot be made" in err, where
        assert (content_of(target) if target.exists() else None) == before, where
        left = {path.name for path in (run / "export").iterdir()} if (run / "export").exists() else set()
        assert left <= {NAMES[format_]}, where


def test_export_single_disk_failure_leaves_the_earlier_folder(run, capsys):
    target = run / "export" / "saved_network"
    assert export.main(["r", "--format", "paper"]) == 0
    before, names = content_of(target), []
    with fault_injection.inject(names.append, phases=False):
        assert export.main(["r", "--format", "paper"]) == 0
    for number, name in enumerate(names):
        capsys.readouterr()
        errors = iter([None] * number + [OSError(errno.EIO, os.strerror(errno.EIO))])

        def raise_once(words, errors=errors):
            if error := next(errors, None):
                raise error

        with fault_injection.inject(raise_once, phases=False):
            found = run_cli(export.main, ["r", "--format", "paper"])
        where = f"operation {number}, {name}: exit code {found}"
        assert found == 7 or name == "fsync", where
        assert content_of(target) == before, where
        assert [path.name for path in target.parent.iterdir()] == ["saved_network"], where


@pytest.mark.parametrize("kind", ["device", "pipe", "socket"])
@pytest.mark.parametrize("link", [False, True])
def test_export_onto_device_pipe_or_socket_exits_7(run, tmp_path, capsys, monkeypatch, kind, link):
    monkeypatch.setitem(export.FORMATS, "onnx", Format("model.onnx", lambda checkpoint: b""))  # needs no onnx package
    place = tmp_path / "p"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(place)
        elif kind == "socket":
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind("p")
        else:  # a pseudo-terminal: an unused device in a folder where no file can be created
            master, slave = os.openpty()
            place = Path(os.ttyname(slave))
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
        before = place.stat()
        if link:
            (tmp_path / "l").symlink_to(place)
            place = tmp_path / "l"
        for format_ in NAMES:
            assert run_cli(export.main, ["r", "--format", format_, "--output", str(place)]) == 7
            words = "not a network of the paper's program" if format_ == "paper" else "is a device, a pipe or a socket"
            out = capsys.readouterr()
            assert (out.out, out.err.count("\n"), words in out.err) == ("", 1, True)
            after = place.stat()
            assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("format_", ["npz", "paper"])
def test_export_onto_a_link_writes_its_target(run, tmp_path, capsys, format_):
    (tmp_path / "far").mkdir()
    (tmp_path / "l").symlink_to("middle")
    (tmp_path / "middle").symlink_to(tmp_path / "far" / "it")
    for _ in range(2):  # first to a new path, then over the existing export
        assert export.main(["r", "--format", format_, "--output", "l"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'l'}\n"
        assert (os.readlink("l"), os.readlink("middle")) == ("middle", str(tmp_path / "far" / "it"))
        assert [path.name for path in (tmp_path / "far").iterdir()] == ["it"]
        assert not (tmp_path / "far" / "it").is_symlink()
    assert export.main(["r", "--format", format_]) == 0
    assert content_of(tmp_path / "far" / "it") == content_of(run / "export" / NAMES[format_])


def test_export_leaves_other_files_alone(run, tmp_path, capsys):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "m.npz.writing").symlink_to("precious")
    assert export.main(["r", "--format", "npz", "--output", "m.npz"]) == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert os.readlink("m.npz.writing") == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"m.npz", "m.npz.writing", "precious", "runs", "data.npz"}


def test_export_paper_leaves_other_folders_alone(run, tmp_path, capsys):
    for name in ("n.old", "n.writing", "n.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("precious")
    (tmp_path / "n.writing" / "notes.txt").rename(tmp_path / "n.writing" / "weightlayer1.npy")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    for _ in range(2):  # first to a new path, then over the existing export
        assert export.main(["r", "--format", "paper", "--output", "n"]) == 0
        after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
        assert {path: after.get(path) for path in before} == before
        assert {path.relative_to(tmp_path).parts[0] for path in set(after) - set(before)} == {"n"}


def test_export_paper_killed_between_renames_keeps_old_and_new(run, tmp_path, capsys):
    assert export.main(["r", "--format", "paper"]) == 0
    target = run / "export" / "saved_network"
    before = content_of(target)
    killed = (
        "import os, pathlib\nfrom lagvis.cli import export\n"
        "replace = pathlib.Path.replace\n"
        f"pathlib.Path.replace = lambda a, b: os._exit(9) if str(b) == {str(target)!r} else replace(a, b)\n"
        "export.main(['r', '--format', 'paper'])\n"
    )
    command = [sys.executable, "-c", killed]
    done = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), check=False)
    assert (done.returncode, target.exists()) == (9, False)
    (left,) = target.parent.iterdir()
    assert (content_of(left / "old"), content_of(left / "new")) == (before, before)
    assert export.main(["r", "--format", "paper"]) == 0
    assert (content_of(target), content_of(left / "old")) == (before, before)


def test_export_onnx_missing_package_exits_2(run, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    done = run_command("export", "r", "--format", "onnx", cwd=tmp_path, **hide_module(hidden, "onnx"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the format onnx needs the package onnx")
    assert done.stderr.endswith("pip install -e '.[onnx]'\n")
    done = run_command("export", "r", "--format", "npz", cwd=tmp_path, **hide_module(hidden, "onnx"))
    assert (done.returncode, done.stdout) == (0, f"{run / 'export' / 'model.npz'}\n")


def test_export_folder_in_the_way_exits_7(run, capsys):
    (run / "export").write_text("in the way")
    assert run_cli(export.main, ["r", "--format", "npz"]) == 7
    assert "choose a file by --output" in capsys.readouterr().err
