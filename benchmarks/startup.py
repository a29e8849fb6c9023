"""`python -m benchmarks.startup`: from the command to the first step of the default run, stage by stage.

Each process runs `train.py` and ends where its first step begins. Its modules are compiled before it is measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.__main__ import environment
from benchmarks.watched_process import user_environment

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("interpreter", "imports", "options, backend", "data", "plan, checks", "folder, state", "all")

# Starts the command as `train.py` does, and prints when each stage ended, by the clock of the whole machine.
PROGRAM = """
import time
ends = [time.monotonic()]
import importlib, json, os, sys
from lagvis.cli import startup

def mark_end(module, name):
    function = getattr(module, name)
    def call(*arguments, **options):
        result = function(*arguments, **options)
        ends.append(time.monotonic())
        return result
    setattr(module, name, call)

def exit_at_first_step(trainer, epoch):
    ends.append(time.monotonic())
    print(json.dumps(ends), flush=True)
    os._exit(0)

def import_and_mark(name, import_module=importlib.import_module):
    module = import_module(name)
    if name == "lagvis.cli.train":
        ends.append(time.monotonic())
        from lagvis.cli import options, setup
        from lagvis.training.loop import Trainer
        mark_end(options, "select_backend")
        mark_end(setup, "load_dataset")
        mark_end(module, "prepare_run")
        Trainer.run_steps = exit_at_first_step
    return module

importlib.import_module = import_and_mark
startup.run("train", sys.argv[1:])
"""


def measure(tree: Path, words: list[str]) -> list[float]:
    """Start a training of a checkout once; return the seconds of each stage, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, *words, "-o", folder]
        start = time.monotonic()
        done = subprocess.run(command, cwd=tree, env=user_environment(), capture_output=True, text=True, check=True)
    ends = json.loads(done.stdout.splitlines()[-1])
    seconds = [end - before for before, end in zip([start, *ends], ends, strict=False)]
    return [*seconds, ends[-1] - start]


def main() -> int:
    """Print the medians of all processes, in milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="processes of each checkout (default: 20)")
    parser.add_argument("--other", type=Path, help="another checkout, measured in turn with this one")
    flags, words = parser.parse_known_args()
    trees = {"this checkout": ROOT} | ({str(flags.other): flags.other.resolve()} if flags.other else {})
    facts = environment() | {"command": " ".join(["python -m benchmarks.startup", *sys.argv[1:]])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    rounds: dict[str, list[list[float]]] = {name: [] for name in trees}
    for number in range(flags.rounds + 1):  # the first compiles the modules, and reads the files from the disk
        for name, tree in trees.items():
            seconds = measure(tree, words)
            if number:
                rounds[name].append(seconds)
    print(f"\n| medians of {flags.rounds}, ms | {' | '.join(STAGES)} | from .. to |\n|---|{'--:|' * len(STAGES)}---|")
    for name, found in rounds.items():
        medians = [1000 * statistics.median(column) for column in zip(*found, strict=True)]
        whole = [1000 * seconds[-1] for seconds in found]
        cells = " | ".join(f"{value:.0f}" for value in medians)
        print(f"| {name} | {cells} | {min(whole):.0f} .. {max(whole):.0f} |", flush=True)
    if flags.other:
        this, other = rounds.values()
        ratios = [a[-1] / b[-1] for a, b in zip(this, other, strict=True)]
        print(f"\nAll, this checkout to the other, pair by pair: {statistics.median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
