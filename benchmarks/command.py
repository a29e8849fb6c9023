"""`python -m benchmarks command`: seconds from a command to the accuracy on the test digits, as a user waits for it.

MNIST, three hidden layers of 64 units, ten epochs of batches of 100. Every row is a whole process, from its start to
its end, and the processes run one at a time in turn (A B C A B C ...). Lagvis is `train.py` with its defaults and
without pictures, and reads the files that ship; the others are the scripts in benchmarks/tutorials/, and read one .npz
file. On a busy machine the figures mean nothing: libraries that use all cores wait for each other.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import environment
from benchmarks.tables import table_head, table_row
from lagvis.data.datasets import load_dataset

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "benchmarks" / "tutorials"
LAGVIS = "Lagvis, train.py"
PEERS = {
    "scikit-learn, MLPClassifier": "scikit_learn.py",
    "Keras on JAX": "keras_sequential.py",
    "PyTorch with a DataLoader": "torch_dataloader.py",
}


def run(command: list[str], folder: Path) -> tuple[float, str]:
    """Return seconds and stdout of a process; it shares no folder with others."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} exited with {done.returncode}\n{done.stderr}")
    return seconds, done.stdout


def measure(rounds: int) -> dict[str, Any]:
    """Return {name: {"seconds": [...], "accuracy": [...]}} of all commands."""
    found: dict[str, Any] = {name: {"seconds": [], "accuracy": []} for name in (LAGVIS, *PEERS)}
    with tempfile.TemporaryDirectory(prefix="lagvis-command-") as temporary:
        folder, file = Path(temporary), Path(temporary) / "mnist.npz"
        data = load_dataset("mnist")
        np.savez(file, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
        lagvis = [sys.executable, str(ROOT / "train.py"), "--device", "cpu", "--no-plots", "--json"]
        commands = {LAGVIS: lagvis}
        commands |= {name: [sys.executable, str(TUTORIALS / script), str(file)] for name, script in PEERS.items()}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds, printed = run(command, folder)
                accuracy = json.loads(printed)["test_accuracy"] if name == LAGVIS else float(printed)
                found[name]["seconds"].append(seconds)
                found[name]["accuracy"].append(accuracy)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run all commands in turn and print a table of seconds and accuracies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks command", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each command (default: 3)")
    parser.add_argument("--output", type=Path, help="JSON file of all figures (default: none)")
    flags = parser.parse_args(arguments)
    found = measure(flags.rounds)
    print("\n".join(table_head(["command", "seconds", "from .. to", "times Lagvis", "test accuracy"])))
    first = statistics.median(found[LAGVIS]["seconds"])
    for name, figures in found.items():
        seconds = figures["seconds"]
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.1f} .. {max(seconds):.1f}"
        accuracy = statistics.median(figures["accuracy"])
        print(table_row([name, f"{middle:.1f}", spread, f"{middle / first:.1f}", f"{accuracy:.2%}"]))
    if flags.output:
        flags.output.write_text(json.dumps({"environment": environment(), "commands": found}, indent=1) + "\n")
    return 0
