"""`python -m benchmarks records`: train the recipes of MNIST with several seeds, and print how accurate they are.

Each run is a train.py of its own; the accuracy is that of the last epoch on the 10,000 test images. The recipes were
chosen by their validation parts (docs/records.md). With --output, the results of earlier calls are kept, and a call
that is interrupted goes on with the runs that are missing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.__main__ import environment
from benchmarks.tables import table_head, table_row
from lagvis.storage.atomic import replace_file

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Record:
    """A recipe, and what others report for the same network.

    paper      accuracy in percent of the paper that Lagvis started from; None if it has no such network
    published  accuracy in percent, and `source`; None if none is known
    target     mean accuracy in percent that the recipe is to reach
    """

    recipe: str
    paper: float | None
    published: float | None
    source: str
    target: float


RECORDS = (
    Record("mnist-linear", 90.69, None, "", 92.6),
    Record("mnist-32-32", 96.61, 97.3, "Whitelam, arXiv:2509.15324", 97.4),
    Record("mnist-64-64-64", 97.41, 97.78, "FINN, its network TFC", 98.1),
    Record("mnist-800", None, 98.4, "Simard et al. 2003", 98.7),
)


def train(recipe: str, seed: int, flags: list[str]) -> dict[str, Any]:
    """Train in a separate process, and return what the table needs of its result; RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["--recipe", recipe, "--seed", str(seed), "--json", "--quiet", "--no-plots", "-o", folder, *flags]
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *command], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"train.py {' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    keys = ("test_accuracy", "validation_accuracy", "train_accuracy", "seconds", "parameters", "network", "epochs")
    return {key: result.get(key) for key in keys}


def percent_cell(accuracy: float | None) -> str:
    """Return an accuracy in percent with two decimals; empty without one."""
    return "" if accuracy is None else f"{accuracy:.2f}"


def record_row(record: Record, runs: list[dict[str, Any]]) -> str:
    """Return the row of a recipe: accuracy over its seeds, median time of a run, what others report, command."""
    accuracies = [100 * run["test_accuracy"] for run in runs]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    published = f"{record.published:g} ({record.source})" if record.published is not None else ""
    cells = [
        runs[0]["network"],
        f"{runs[0]['parameters']:,}",
        f"{statistics.mean(accuracies):.2f} ± {spread:.2f}",
        f"{min(accuracies):.2f}",
        f"{max(accuracies):.2f}",
        str(len(runs)),
        f"{statistics.median(run['seconds'] for run in runs):.0f}",
        percent_cell(record.paper),
        published,
        f"`python train.py --recipe {record.recipe}`",
    ]
    return table_row(cells)


def report(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    head = ["network", "parameters", "accuracy, %", "least", "most", "seeds", "s a run", "the paper", "published"]
    rows = [record_row(record, list(found.values())) for record in RECORDS if (found := results.get(record.recipe))]
    return "\n".join([*table_head([*head, "command"]), *rows])


def missed(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return a sentence for each recipe whose mean accuracy is below its target."""
    sentences = []
    for record in RECORDS:
        runs = results.get(record.recipe, {}).values()
        if runs and (mean := 100 * statistics.mean(run["test_accuracy"] for run in runs)) < record.target:
            sentences.append(f"{record.recipe} has a mean accuracy of {mean:.2f} %, below {record.target} %")
    return sentences


def main(arguments: list[str] | None = None) -> int:
    """Train the recipes that are asked for, print the table; return 1 if one is below its target."""
    names = [record.recipe for record in RECORDS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks records", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(names), help=f"recipes, with commas (default: {','.join(names)})")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... (default: 5)")
    parser.add_argument("--output", type=Path, help="JSON of the results; runs in it are not repeated")
    flags, others = parser.parse_known_args(arguments)
    chosen = flags.only.split(",")
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"there is no record {unknown[0]!r}; it is one of {', '.join(names)}")
    if flags.seeds < 1:
        parser.error(f"--seeds is {flags.seeds}; expected a whole number from 1")
    facts = environment() | {"command": " ".join(["python -m benchmarks records", *(arguments or [])])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    results: dict[str, dict[str, Any]] = {}
    if flags.output and flags.output.exists():
        results = json.loads(flags.output.read_text())
    for name in chosen:
        for seed in range(flags.seeds):
            runs = results.setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = train(name, seed, others)
                accuracy, seconds = 100 * runs[str(seed)]["test_accuracy"], runs[str(seed)]["seconds"]
                print(f"{name}, seed {seed}: {accuracy:.2f} %, {seconds:.0f} s", file=sys.stderr, flush=True)
                if flags.output:
                    replace_file(flags.output, (json.dumps(results, indent=1) + "\n").encode())
    print(f"\n{report(results)}")
    sentences = missed(results)
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 1 if sentences else 0
