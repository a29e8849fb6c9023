"""`python -m benchmarks [--quick]`: train the same networks with Lagvis and with other libraries, and print the times.

Each competitor runs in a process of its own, so that the threads of one library do not disturb another. They train one
at a time, an epoch each in turn (A B C A B C ...). The first epoch, in which libraries compile, is not counted.
"""

import argparse
import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.competitors import REFERENCE
from benchmarks.costs import all_costs
from benchmarks.measure import measure
from benchmarks.problem import NETWORKS
from benchmarks.tables import costs_tables, summary_table, training_table

LIBRARIES = ("numpy", "torch", "jax", "scikit-learn", "keras", "cupy-cuda13x", "cupy-cuda12x")
MAX_WIDE_ROUNDS = 4  # for the two networks whose epoch takes seconds
LOSS_TOLERANCE = 1e-4  # relative; mean loss of the first epoch in float32, from equal weights and batches
ACCURACY_TOLERANCE = 0.01  # absolute; at the end, also with weights and batches of their own


def check(result: dict[str, Any], reference: str) -> list[str]:
    """Return a sentence for each competitor whose loss or accuracy differs, so that its times cannot be compared."""
    expected_loss, expected_accuracy = result["losses"][reference], result["accuracies"][reference]
    faults = []
    for name, loss in result["losses"].items():
        if loss is not None and abs(loss - expected_loss) > LOSS_TOLERANCE * expected_loss:
            faults.append(f"{name} has the loss {loss:.6f} after one epoch, {reference} {expected_loss:.6f}")
    for name, accuracy in result["accuracies"].items():
        if accuracy is not None and abs(accuracy - expected_accuracy) > ACCURACY_TOLERANCE:
            faults.append(f"{name} ends with the accuracy {accuracy:.4f}, {reference} with {expected_accuracy:.4f}")
    return faults


def environment() -> dict[str, Any]:
    """Return processor, cores, versions, date and command."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "date": date.today().isoformat(),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def main() -> int:
    """Measure, print tables, write JSON; return 1 if a competitor trained something else."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two networks, 3 rounds, no further costs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--rounds", type=int, default=10, help="epochs counted for each competitor (default: 10)")
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    flags = parser.parse_args()
    rounds = min(flags.rounds, 3) if flags.quick else flags.rounds
    facts = environment()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    record: dict[str, Any] = {"machine": facts, "rounds": rounds, "results": {}}
    faults = []
    for i, network in enumerate(list(NETWORKS)[: 2 if flags.quick else None]):
        result = measure(network, flags.device, rounds if i < 2 else min(rounds, MAX_WIDE_ROUNDS))
        reference = REFERENCE[flags.device]
        if reference not in result["seconds"]:
            print(f"error: {reference} cannot run: {result['left_out'].get(reference)}", file=sys.stderr)
            return 4
        record["results"][network] = result
        faults += [f"{network}: {fault}" for fault in check(result, reference)]
        print(f"\n{training_table(network, flags.device, result)}", flush=True)
    print(f"\n{summary_table(flags.device, record['results'])}", flush=True)
    if not flags.quick:
        record["costs"] = all_costs(flags.device, 5)
        print(f"\n{costs_tables(record['costs'])}", flush=True)
    folder = Path(flags.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts['date']}-{flags.device}{'-quick' if flags.quick else ''}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nWritten: {path}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
