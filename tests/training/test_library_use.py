"""Lagvis as a library in a process with its own signals, loggers and environment, such as a notebook or a thread."""

import json
import subprocess
import sys

import numpy as np

from tests.cli.commands import ROOT, environment

# Trains twice in a thread, where signal.signal raises, and prints what importing and training changed in the process.
SCRIPT = """
import json, logging, os, signal, sys, threading, warnings
import numpy as np  # adds filters of warnings
import threadpoolctl  # sets KMP_DUPLICATE_LIB_OK

def state():
    handlers = {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()}
    root = logging.getLogger()
    return [handlers, dict(os.environ), root.level, len(root.handlers), warnings.filters[:], sys.excepthook.__name__]

before = state()
import lagvis
import lagvis.backends.registry
import lagvis.cli.train
import lagvis.inference.prediction
import lagvis.report.run_report
from lagvis.backends.registry import select
from lagvis.data.dataset import as_classification
from lagvis.data.source import Source
from lagvis.training.events import Finished
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe

x = np.random.default_rng(0).integers(0, 256, (150, 6, 6)).astype(np.uint8)
y = np.arange(150) % 3
x[np.arange(150), y] = 250
dataset = as_classification(Source("rows", x[:120], y[:120], x[120:], y[120:], {}))
recipe = Recipe(data="rows", hidden=(8,), epochs=2, batch_size=20, validation=20, lr=0.1)
digests, errors = [], []

def train():
    try:
        for _ in range(2):
            events = list(fit(recipe, dataset, make_plan(recipe, dataset), select("cpu")))
            assert isinstance(events[-1], Finished)
            digests.append([events[-1].reason, events[-1].state["params"][0]["W"].tobytes().hex()])
    except BaseException as error:
        errors.append(repr(error))

thread = threading.Thread(target=train)
thread.start()
thread.join()
after = state()
changed = [name for name, a, b in zip(("signals", "environment", "level", "handlers", "filters", "hook"), before, after)
           if a != b]
print(json.dumps({"digests": digests, "errors": errors, "changed": changed}))
"""


def test_fit_twice_in_a_thread_gives_the_same_bytes_and_changes_no_signals():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["changed"] == []
    (reason, first), second = found["digests"]
    assert reason == "completed"
    assert [reason, first] == second
    assert np.isfinite(np.frombuffer(bytes.fromhex(first), np.float32)).all()
