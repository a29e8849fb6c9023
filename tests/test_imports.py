"""Importing a module of Lagvis changes nothing of the process that imports it, such as a notebook."""

import json
import os
import subprocess
import sys

import pytest

from tests.test_architecture import PACKAGES, ROOT, imports, module_of, sources

FILES = sorted({path for package in (*PACKAGES, "lagvis") for path in sources(package)})
MODULES = ["lagvis"] + [
    "lagvis." + module_of(path).removeprefix("lagvis.") for path in FILES if path != ROOT / "lagvis" / "__init__.py"
]

# Libraries are imported first, so their changes do not count. The global state of the process is compared after each
# module of Lagvis. A module whose library is not installed is only listed.
PROGRAM = """
import importlib, json, logging, os, signal, sys, warnings

def import_all(names):
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return missing

def loggers():
    known = {"": logging.root} | {n: l for n, l in logging.root.manager.loggerDict.items() if hasattr(l, "handlers")}
    changed = {n: l for n, l in known.items() if l is logging.root or l.handlers or l.filters or l.disabled or l.level}
    return {n: str((l.level, l.handlers, l.filters, l.disabled, l.propagate)) for n, l in changed.items()}

def process():
    return {
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "environment": dict(os.environ),
        "loggers": loggers(),
        "warnings": list(map(str, warnings.filters)),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "hooks": [str(hook) for hook in (sys.excepthook, sys.displayhook, sys.unraisablehook)],
        "streams": [str(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
    }

libraries, modules = json.loads(sys.argv.pop())
import_all(libraries)
before, changes, missing = process(), [], []
for name in modules:
    missing += import_all([name])
    after = process()
    changes += [f"{name} changes {part}" for part in before if before[part] != after[part]]
    before = after
print(json.dumps([changes, missing]))
"""


def import_in_a_process(libraries, modules, path):
    """Return [changes, modules that cannot be imported] of a new process."""
    words = [sys.executable, "-c", PROGRAM, json.dumps([libraries, modules])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_import_of_every_module_changes_nothing_of_the_process():
    names = {module for path in FILES for module, _ in imports(path)}
    libraries = sorted(name for name in names if name.partition(".")[0] not in {"lagvis", *sys.stdlib_module_names})
    changes, missing = import_in_a_process(libraries, MODULES, [ROOT])
    assert changes == []
    assert {*missing} <= {
        f"lagvis.backends.{name}" for name in ("torch_backend", "jax_backend", "replay.torch_recorder")
    }
    assert len(MODULES) > 60


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("import signal; signal.signal(signal.SIGINT, lambda *_: None)", "signals"),
        ("import os; os.environ['MPLBACKEND'] = 'agg'", "environment"),
        ("import logging; logging.getLogger('other').setLevel(10)", "loggers"),
        ("import logging; logging.basicConfig()", "loggers"),
        ("import warnings; warnings.simplefilter('ignore')", "warnings"),
        ("import sys; sys.path.insert(0, '/')", "path"),
    ],
)
def test_import_that_changes_the_process_is_found(tmp_path, line, part):
    (tmp_path / "module_with_effect.py").write_text(line)
    changes, _ = import_in_a_process([], ["module_with_effect"], [tmp_path])
    assert changes == [f"module_with_effect changes {part}"]
