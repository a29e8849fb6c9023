"""`python -m benchmarks [--quick]`: train the same networks on us and on the peers in turn; say what they took.

Each contender lives in a process of its own, so that no library's threads wait inside another's; one trains at a time,
an epoch, then the next (A B C A B C ...). The first epoch, in which libraries compile and warm up, is not counted.
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

from benchmarks.competitors import OURS
from benchmarks.costs import all_costs
from benchmarks.measure import measure
from benchmarks.problem import NETWORKS
from benchmarks.tables import costs_tables, summary_table, training_table

LIBRARIES = ("numpy", "torch", "jax", "scikit-learn", "keras", "cupy-cuda13x", "cupy-cuda12x")
WIDE_ROUNDS = 4  # of the two networks whose epoch takes seconds
SAME_LOSS = 1e-4  # relative: contenders with our weights and batches, mean loss of the first epoch in float32
SAME_ACCURACY = 0.01  # contenders with weights and batches of their own, at the end


def check(result: dict[str, Any], ours: str) -> list[str]:
    """What makes the times incomparable: another loss from the same weights and batches, or another accuracy."""
    reference, goal = result["losses"][ours], result["accuracies"][ours]
    faults = []
    for name, loss in result["losses"].items():
        if loss is not None and abs(loss - reference) > SAME_LOSS * reference:
            faults.append(f"{name} has the loss {loss:.6f} after one epoch, {ours} {reference:.6f}")
    for name, accuracy in result["accuracies"].items():
        if accuracy is not None and abs(accuracy - goal) > SAME_ACCURACY:
            faults.append(f"{name} ends with the accuracy {accuracy:.4f}, {ours} with {goal:.4f}")
    return faults


def machine() -> dict[str, Any]:
    """Where and with what: processor, cores, versions, date."""
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
    """Measure, check that the same was trained, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two networks, 3 rounds, no other costs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--rounds", type=int, default=10, help="epochs counted of each contender (default: 10)")
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    flags = parser.parse_args()
    rounds = min(flags.rounds, 3) if flags.quick else flags.rounds
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    kept: dict[str, Any] = {"machine": facts, "rounds": rounds, "results": {}}
    faults = []
    for i, network in enumerate(list(NETWORKS)[: 2 if flags.quick else None]):
        result = measure(network, flags.device, rounds if i < 2 else min(rounds, WIDE_ROUNDS))
        ours = OURS[flags.device]
        if ours not in result["seconds"]:
            print(f"error: {ours} cannot run: {result['left_out'].get(ours)}", file=sys.stderr)
            return 4
        kept["results"][network] = result
        faults += [f"{network}: {fault}" for fault in check(result, ours)]
        print(f"\n{training_table(network, flags.device, result)}", flush=True)
    print(f"\n{summary_table(flags.device, kept['results'])}", flush=True)
    if not flags.quick:
        kept["costs"] = all_costs(flags.device, 5)
        print(f"\n{costs_tables(kept['costs'])}", flush=True)
    folder = Path(flags.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts['date']}-{flags.device}{'-quick' if flags.quick else ''}.json"
    path.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"\nKept in {path}.")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
