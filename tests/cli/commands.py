"""Run a door as a user does, in a process of its own, and hold what it printed against a template with ranges."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
UNSET = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LAGVIS_TRACEBACK", "CUDA_VISIBLE_DEVICES")


def environment(**changes):
    """The environment without what would change a door's output."""
    return {key: value for key, value in os.environ.items() if key not in UNSET} | changes


def door(name, *arguments, cwd, **changes):
    """The finished process of a door; `changes` to its environment."""
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
def going(command, **options):
    """A process that is going on; whatever becomes of the test, it does not outlive it."""
    with subprocess.Popen(command, text=True, **({"env": environment()} | options)) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_matches(text, template):
    """Every line of `template` in order: words as they stand, <low..high> a number in that range, <*> anything."""
    lines, wanted = text.strip().splitlines(), template.strip().splitlines()
    assert len(lines) == len(wanted), f"{len(lines)} lines, {len(wanted)} expected:\n{text}"
    for line, pattern in zip(lines, wanted, strict=True):
        ranges = re.findall(r"<([\d.]+)\.\.([\d.]+)>", pattern)
        expression = re.escape(pattern.strip()).replace(r"<\*>", ".*")
        expression = re.sub(r"<[\d\\.]+?\\\.\\\.[\d\\.]+?>", r"([\\d,]+(?:\\.\\d+)?)", expression)
        expression = re.sub(r"(\\ )+", r"\\s+", expression)
        found = re.fullmatch(expression, line.strip())
        assert found, f"{line!r} is not {pattern!r}"
        for value, (low, high) in zip(found.groups(), ranges, strict=True):
            assert float(low) <= float(value.replace(",", "")) <= float(high), f"{line!r} is outside {pattern!r}"


def hide_module(folder, name):
    """An environment in which `import name` finds nothing, as where it is not installed."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {name!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    return {"PYTHONPATH": str(folder)}
