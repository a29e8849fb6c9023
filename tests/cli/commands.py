"""Run a command in its own process and compare its output with a template of ranges."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
UNSET = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LAGVIS_TRACEBACK", "CUDA_VISIBLE_DEVICES", "JPY_PARENT_PID")


def environment(**changes):
    """Return the environment without variables that change the output of a command.

    A PYTHONPATH among the changes comes before the inherited one, where packages of the environment may lie.
    """
    if "PYTHONPATH" in changes and "PYTHONPATH" in os.environ:
        changes["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    return {key: value for key, value in os.environ.items() if key not in UNSET} | changes


def run_command(name, *arguments, cwd, **changes):
    """Run a command until it exits and return the completed process. `changes` are environment variables."""
    command = [sys.executable, str(ROOT / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        encoding=changes.get("PYTHONIOENCODING", "utf-8"),
        timeout=120,
        check=False,
    )


@contextlib.contextmanager
def running_process(command, **options):
    """Start a process and yield it while it runs; kill it at the end of the test."""
    with subprocess.Popen(command, text=True, **({"env": environment()} | options)) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_matches(text, template):
    """Compare line by line: literal words, <low..high> for a number in that range, <*> for any text."""
    lines, wanted = text.strip().splitlines(), template.strip().splitlines()
    assert len(lines) == len(wanted), f"{len(lines)} lines, {len(wanted)} expected:\n{text}"
    for line, pattern in zip(lines, wanted, strict=True):
        ranges = re.findall(r"<([\d.]+)\.\.([\d.]+)>", pattern)
        expression = re.escape(pattern.strip()).replace(r"<\*>", ".*")
        expression = re.sub(r"<[\d\\.]+?\\\.\\\.[\d\\.]+?>", r"([\\d,]+(?:\\.\\d+)?)", expression)
        expression = re.sub(r"(\\ )+", r"\\s+", expression)
        found = re.fullmatch(expression, line.strip())
        assert found, f"{line!r} does not match {pattern!r}"
        for value, (low, high) in zip(found.groups(), ranges, strict=True):
            assert float(low) <= float(value.replace(",", "")) <= float(high), f"{line!r} is outside {pattern!r}"


def hide_module(folder, name):
    """Return environment changes under which `import name` fails as if it were not installed."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {name!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    return {"PYTHONPATH": str(folder)}


def write_dataset(path, rows=400):
    """Save noisy 8x8 images with one bright pixel row, whose position is the class (4 classes); return `path`."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, rows)
    x = rng.integers(0, 60, (rows, 8, 8)).astype(np.uint8)
    x[np.arange(rows), y] = 250
    np.savez(path, x=x, y=y)
    return path
