"""`python -m benchmarks [--quick]`: train the same networks on us and on the peers, in turn, and print what they took.

Each contender lives in a process of its own, so that no library's threads wait inside another's; one trains at a time,
an epoch, then the next (A B C A B C ...). The first epoch, in which libraries compile and warm up, is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.measure import measure
from benchmarks.problem import NETWORKS

LIBRARIES = ("numpy", "torch", "jax", "scikit-learn")
SAME_LOSS = 1e-4  # relative: contenders with our weights and batches, mean loss of the first epoch in float32
SAME_ACCURACY = 0.01  # contenders with weights and batches of their own, at the end


def check(result: dict[str, Any]) -> list[str]:
    """What makes the times incomparable: another loss from the same weights and batches, or another accuracy."""
    reference, goal = result["losses"]["lagvis numpy"], result["accuracies"]["lagvis numpy"]
    faults = []
    for name, loss in result["losses"].items():
        if loss is not None and abs(loss - reference) > SAME_LOSS * reference:
            faults.append(f"{name} has the loss {loss:.6f} after one epoch, lagvis numpy {reference:.6f}")
    for name, accuracy in result["accuracies"].items():
        if accuracy is not None and abs(accuracy - goal) > SAME_ACCURACY:
            faults.append(f"{name} ends with the accuracy {accuracy:.4f}, lagvis numpy with {goal:.4f}")
    return faults


def table(network: str, result: dict[str, Any]) -> str:
    """Medians, spread, and how many times ours on NumPy fits into each."""
    ours = statistics.median(result["seconds"]["lagvis numpy"])
    lines = [f"| {network} | median s | fastest | slowest | / lagvis numpy | accuracy |", "|---|---|---|---|---|---|"]
    for name, times in result["seconds"].items():
        median, accuracy = statistics.median(times), result["accuracies"][name]
        shown = "" if accuracy is None else f"{100 * accuracy:.2f} %"
        lines.append(f"| {name} | {median:.3f} | {min(times):.3f} | {max(times):.3f} | {median / ours:.2f} | {shown} |")
    return "\n".join(lines + [f"Left out: {name} ({reason})." for name, reason in result["left_out"].items()])


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
            versions[library] = "not installed"
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
    parser.add_argument("--quick", action="store_true", help="two networks, 3 rounds (default: all, 7 rounds)")
    parser.add_argument("--rounds", type=int, default=None, help="epochs counted of each contender")
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    flags = parser.parse_args()
    rounds = flags.rounds or (3 if flags.quick else 7)
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    results, faults = {}, []
    for network in list(NETWORKS)[: 2 if flags.quick else None]:
        results[network] = measure(network, list(CONTENDERS), rounds)
        faults += [f"{network}: {fault}" for fault in check(results[network])]
        print(f"\n{table(network, results[network])}", flush=True)
    folder = Path(flags.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts['date']}-cpu{'-quick' if flags.quick else ''}.json"
    path.write_text(json.dumps({"machine": facts, "rounds": rounds, "results": results}, indent=1) + "\n")
    print(f"\nKept in {path}.")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
