"""What happens before a run has begun: signals, a package that is missing, a Python that is too old.

A fake of the first imported array library, NumPy, sends the signals.
"""

import ast
import signal
import subprocess
import sys

import pytest

from lagvis import installation
from tests.cli.commands import ROOT, environment, hide_module

# As in the background of a shell: a signal ignored before exec stays ignored afterwards.
IGNORING = """import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""
COMMANDS = [["train.py"], ["evaluate.py", "r"], ["compare.py"], ["-m", "backends"]]


def signalled_while_importing(folder, command, number, *, ignored=False):
    """Run a command that receives a signal while it imports NumPy; return the completed process."""
    (folder / "numpy.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(0.05)\nraise Exit\n"
    )
    return python(command, PYTHONPATH=str(folder), ignored=ignored)


def python(arguments, *, ignored=False, **changes):
    """Run Python with the signals handled as usual, or ignored; return the completed process."""
    return subprocess.run(
        [sys.executable, *(["-c", IGNORING] if ignored else []), *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_signal_during_imports_exits_with_its_code_and_one_line(tmp_path, command, number, code):
    done = signalled_while_importing(tmp_path, command, number)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ignored_signal_during_imports_stays_ignored(tmp_path, number):
    done = signalled_while_importing(tmp_path, ["train.py"], number, ignored=True)
    assert "name 'Exit' is not defined" in done.stderr, "the fake module was executed completely"


def test_importing_commands_keeps_the_sigint_handler():
    code = "import signal, train, compare, evaluate, backends; print(signal.getsignal(signal.SIGINT).__name__)"
    done = python(["-c", code], PYTHONPATH=str(ROOT))
    assert done.stdout == "default_int_handler\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("package", "distribution"), [("numpy", "numpy"), ("tomli_w", "tomli-w")])
def test_missing_package_exits_with_one_line_that_installs_it(tmp_path, command, package, distribution):
    """So it is where the array libraries are installed, and nothing of Lagvis: `python train.py` in a fresh clone."""
    done = python(command, **hide_module(tmp_path, package))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: the package {distribution} is not installed for {sys.executable}. To fix it: "
    )
    assert done.stderr.endswith(f"{sys.executable} -m pip install -e {ROOT}.\n")
    assert done.stderr.count("\n") == 1


def test_missing_package_that_is_imported_late_is_no_bug(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,label\n" + "1,x\n2,y\n" * 50)
    done = python(["train.py", "--device", "cpu", "--data", str(table)], **hide_module(tmp_path, "polars"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the package polars is not installed for {sys.executable}. To fix it: ")


def test_broken_package_exits_with_its_first_line_and_a_fault_of_lagvis_with_a_traceback(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('\\n\\nIMPORTANT: broken\\nmore')\n")
    done = python(["train.py"], PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: a package cannot be imported by {sys.executable} (IMPORTANT: broken). To fix "
    )
    assert installation.missing_package_sentence(ModuleNotFoundError("No module", name="lagvis.cli.trian")) is None


def test_environment_of_the_checkout_is_proposed_unless_it_is_this_one(tmp_path, monkeypatch):
    """Whoever follows the README and then types `python train.py` has it beside the command."""
    path = tmp_path / ".venv" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(installation, "CHECKOUT", str(tmp_path))
    error = ModuleNotFoundError("No module named 'numpy'", name="numpy")
    assert f"To fix it: use {path}, or " in installation.missing_package_sentence(error)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert "To fix it: use " not in installation.missing_package_sentence(error)


def test_missing_package_of_an_installed_lagvis_is_installed_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "CHECKOUT", str(tmp_path))
    error = ModuleNotFoundError("No module named 'PIL'", name="PIL")
    assert installation.missing_package_sentence(error).endswith(f"{sys.executable} -m pip install pillow.")


def test_python_that_is_too_old_exits_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(SystemExit) as ended:
        installation.check_python()
    assert ended.value.code == 1
    needed = f"error: Lagvis needs Python 3.11 or newer, and {sys.executable} is 3.9.18. To fix it: use "
    assert capsys.readouterr().err.startswith(needed)


@pytest.mark.parametrize(
    "path",
    [
        "train.py", "lagvis/__init__.py", "cli/__init__.py", "cli/startup.py", "lagvis/installation.py",
        "backends/__init__.py", "backends/__main__.py", "scripts/gpu-check",
    ],
)  # fmt: skip
def test_files_before_the_check_of_python_are_readable_by_python_3_7(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), feature_version=(3, 7))
    annotated = [node for node in ast.walk(tree) if isinstance(node, ast.arg | ast.FunctionDef | ast.AnnAssign)]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert imports or not annotated, "its annotations would be evaluated"
