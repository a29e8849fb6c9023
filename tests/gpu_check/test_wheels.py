"""The wheels for a machine without a network, and the size of what travels there."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu_check import wheels
from gpu_check.wheels import PACKAGES, MissingPackageError, requirements, unpack_missing

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_TRAVELLING_BYTES = 40e6


@pytest.fixture
def script(tmp_path, monkeypatch):
    """scripts/gpu-wheels as a module, with a temporary folder of wheels."""
    loader = importlib.machinery.SourceFileLoader("gpu_wheels", str(ROOT / "scripts" / "gpu-wheels"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_wheels", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path])
    loader.exec_module(module)
    module.FOLDER = tmp_path / ".whl"
    return module


def test_requirements_name_each_package_once_in_the_versions_of_pyproject():
    assert len(set(PACKAGES)) == len(PACKAGES)
    assert [text.partition(">=")[0] for text in requirements()] == list(PACKAGES)


def test_gpu_wheels_replaces_earlier_wheels_and_prints_sizes(script, monkeypatch, capsys):
    script.FOLDER.mkdir()
    (script.FOLDER / "tomli_w-0.9-py3-none-any.whl").write_bytes(b"old")
    asked = []

    def download(command, check):
        asked.extend(command)
        folder = Path(command[command.index("--dest") + 1])
        for name in PACKAGES:
            (folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl").write_bytes(bytes(5000))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(script.subprocess, "run", download)
    assert script.main() == 0
    assert asked[-len(PACKAGES) :] == requirements()
    assert {"--no-deps", "--only-binary=:all:", "3.12"} <= set(asked)
    names = sorted(path.name for path in script.FOLDER.iterdir())
    assert names == ["array_api_compat-1.0-py3-none-any.whl", "tomli_w-1.0-py3-none-any.whl"]
    output = capsys.readouterr().out
    assert output.count("5 kB") == 2
    assert "10 kB  in" in output


def test_gpu_wheels_pip_that_fails_keeps_the_folder(script, monkeypatch, capsys):
    script.FOLDER.mkdir()
    (script.FOLDER / "tomli_w-0.9-py3-none-any.whl").write_bytes(b"old")
    monkeypatch.setattr(script.subprocess, "run", lambda command, check: SimpleNamespace(returncode=1))
    assert script.main() == 1
    assert len(list(script.FOLDER.iterdir())) == 1
    assert "is unchanged" in capsys.readouterr().out


def write_wheel(folder, name, version):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"version = {version!r}\n")


def test_unpack_missing_makes_packages_importable(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "missing", lambda: ["tomli-w"])
    write_wheel(tmp_path / "wheels", "tomli_w", "9.9")
    assert unpack_missing(tmp_path / "site", tmp_path / "wheels") == ["tomli_w-9.9-py3-none-any.whl"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import tomli_w; print(tomli_w.version)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "9.9\n"


def test_unpack_missing_without_a_wheel_names_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "missing", lambda: ["array-api-compat", "tomli-w"])
    write_wheel(tmp_path / "wheels", "tomli_w", "9.9")
    with pytest.raises(MissingPackageError, match=r"^array-api-compat is not installed .* run scripts/gpu-wheels"):
        unpack_missing(tmp_path / "site", tmp_path / "wheels")


def test_unpack_missing_broken_wheel_names_it_and_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "missing", lambda: ["tomli-w"])
    (tmp_path / "tomli_w-9.9-py3-none-any.whl").write_text("no archive")
    with pytest.raises(MissingPackageError, match=r"tomli_w-9\.9.*cannot be unpacked .* run scripts/gpu-wheels again"):
        unpack_missing(tmp_path / "site", tmp_path)


def test_unpack_missing_installed_packages_need_no_wheels(tmp_path):
    assert unpack_missing(tmp_path / "site", tmp_path / "none") == []


def test_what_travels_to_another_machine_is_small():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in listed.decode().split("\0") if name]
    files += (ROOT / ".whl").glob("*.whl")
    total = sum(path.stat().st_size for path in files if path.exists())
    assert 10e6 < total < MAX_TRAVELLING_BYTES
