import json
import re
import subprocess
import sys

import pytest

from lagvis.backends import registry
from lagvis.cli import compare
from lagvis.cli.errors import run_cli
from lagvis.errors import DeviceError
from tests.cli.commands import ROOT, environment, hide_module, run_command
from tests.conftest import skip_or_fail


@pytest.mark.slow
def test_compare_default_recipe_all_backends_agree(tmp_path):
    done = run_command("compare", "--device", "cpu", "--json", cwd=tmp_path)
    if done.returncode == 4:
        skip_or_fail("torch", done.stderr.strip())
    result = json.loads(done.stdout)
    assert done.returncode == 0, [d for d in result["differences"] if not d["passed"]]
    assert result["passed"]
    tensors = {d["tensor"] for d in result["differences"]}
    assert {"loss", "params.0.W", "grads.3.b", "velocity.1.W"} <= tensors
    assert all(d["relative"] <= d["bound"] for d in result["differences"])


@pytest.mark.slow
def test_compare_table_names_every_tensor_with_its_bound(tmp_path):
    flags = ("--recipe", "paper-linear", "--dtype", "float64", "--steps", "2", "--device", "cpu")
    done = run_command("compare", *flags, cwd=tmp_path)
    if done.returncode == 4:
        skip_or_fail("torch", done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "params.0.W" in done.stdout
    assert "grads.0.b" in done.stdout
    assert " pass " in done.stdout
    assert "FAIL" not in done.stdout
    assert re.search(r"\n\nThe backends agree: all [0-9]+ bounds hold\.\n$", done.stdout)


@pytest.mark.parametrize("named", ["numpy", "numpy,numpy", " numpy ,"])
def test_compare_numpy_alone_exits_4(monkeypatch, capsys, named):
    assert run_cli(compare.main, ["--backends", named.strip(" ,"), "--device", "cpu"]) == 4
    printed = capsys.readouterr().err
    assert "needs two array libraries" in printed
    assert "To fix it: name another backend of cupy, torch, jax" in printed


def test_compare_device_that_no_library_can_use_has_the_remedies_of_the_device(monkeypatch, capsys):
    def refuse(device, name, dtype, compiled):
        raise DeviceError(f"{name} sees no {device}", "install a driver" if name == "cupy" else f"install {name}")

    monkeypatch.setattr(registry, "select", refuse)
    assert run_cli(compare.main, ["--device", "cuda"]) == 4
    assert capsys.readouterr().err == (
        "error: a comparison needs two array libraries, and only numpy can run here (cupy sees no cuda; torch sees no "
        "cuda; jax sees no cuda). To fix it: install a driver; install torch; install jax.\n"
    )


def test_compare_fewer_than_two_libraries_exits_4(tmp_path):
    changes = hide_module(tmp_path, "torch")
    (tmp_path / "sitecustomize.py").write_text(
        (tmp_path / "sitecustomize.py").read_text().replace("== 'torch'", "in ('torch', 'jax', 'cupy')")
    )
    done = run_command("compare", cwd=tmp_path, **changes)
    assert done.returncode == 4
    assert "PyTorch is not installed" in done.stderr
    assert "To fix it: pip install" in done.stderr


def test_compare_named_backend_not_installed_exits_4(tmp_path):
    done = run_command("compare", "--backends", "numpy,torch", cwd=tmp_path, **hide_module(tmp_path, "torch"))
    assert done.returncode == 4
    assert "PyTorch is not installed" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--steps", "0"], ["--backends", "numpy,theano"], ["--recipe", "nothing"], ["--device", "gpu"]]
)
def test_compare_usage_error_exits_2(tmp_path, arguments):
    done = run_command("compare", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")


def test_backends_lists_devices_and_how_to_fix_the_others(tmp_path):
    changes = hide_module(tmp_path, "torch") | {"LC_ALL": "C"}
    changes["PYTHONPATH"] += f":{ROOT}"
    done = subprocess.run(
        [sys.executable, "-m", "backends"], cwd=tmp_path, env=environment(**changes), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("numpy  cpu     computes (numpy ")
    assert "torch  -       cannot run: PyTorch is not installed" in lines
    assert '               to fix it: pip install -e ".[torch]"' in lines
    assert lines[-1].startswith("--device auto selects ")
