"""`python -m benchmarks [--quick]`: train the same networks with Lagvis and with other libraries, and print the times.

Each competitor runs in a process of its own, so that the threads of one library do not disturb another. They train one
at a time, an epoch each in turn, and each round in another order. The first epoch, in which libraries compile, is not
counted; on a GPU the first two. Times are compared round by round, and rounds go on until the medians of all ratios are
known within 5 % or the time of a network is up; the tables mark those that are not. With --seconds N the command ends
after about so many seconds: slow competitors are left out, rounds are fitted into the time, and the networks that it
does not reach are listed. The JSON is replaced after each network.

`--only "lagvis jax" "JAX jit + scan" --networks 784-32-32-10` measures these competitors on this network alone.

`python -m benchmarks command` times whole commands instead (benchmarks/command.py), `tables` the reading of tables
(benchmarks/reading.py), `records` trains the recipes of MNIST over several seeds (benchmarks/records.py), and
`small-tables` holds small tables against scikit-learn's networks (benchmarks/small_tables.py).
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.competitors import COMPETITORS, REFERENCE, SLOW, names_of
from benchmarks.costs import all_costs
from benchmarks.measure import Competition, TimeUpError
from benchmarks.problem import Problem, methods_of, networks_of, split_method
from benchmarks.ratios import MAX_SPREAD
from benchmarks.tables import costs_tables, summary_table, training_table
from lagvis.cli.streams import run_tool, write_stderr, write_stdout
from lagvis.errors import OutputError
from lagvis.storage.atomic import replace_file
from lagvis.storage.environment import cpu_model

LIBRARIES = (
    "numpy", "torch", "jax", "scikit-learn", "keras", "optax", "polars", "pandas", "pyarrow", "cupy-cuda13x",
    "cupy-cuda12x", "jax-cuda13-plugin",
)  # fmt: skip
NETWORK_SECONDS = 180.0  # of rounds for one network, without --seconds
STARTS = 3  # of the processes for a network, at least, without --seconds and --quick
QUICK_SECONDS = 20.0  # the same with --quick
MIN_SECONDS = 2.0  # of time left, to begin with a network
MAX_PREPARE_SECONDS = 40.0  # of waiting until all competitors are ready for a network
LOSS_TOLERANCE = 1e-4  # relative; mean loss of the first epoch in float32, from equal weights and batches
# Methods that divide by the size of a gradient or of a batch's deviations make more of rounding. The losses of PyTorch
# itself with one thread and with two differ by 2e-3 with Adam and by 2e-4 with batch norm, otherwise by 6e-9.
METHOD_LOSS_TOLERANCES = {"Adam": 1e-2, "batch norm": 1e-3}
ACCURACY_TOLERANCE = 0.01  # absolute; at the end, also with weights and batches of their own
MIN_ROUNDS_TO_COMPARE = 3  # of accuracies from batches of their own, which vary in the first epochs
MAX_PRODUCT_ERROR = 1e-5  # relative, of a product in float32; TF32 gives 3e-4


def check(result: dict[str, Any], reference: str, loss_tolerance: float = LOSS_TOLERANCE) -> list[str]:
    """Return a sentence for each competitor whose loss or accuracy differs, so that its times cannot be compared."""
    expected_loss, expected_accuracy = result["losses"][reference], result["accuracies"][reference]
    faults = []
    for name, loss in result["losses"].items():
        if loss is not None and abs(loss - expected_loss) > loss_tolerance * expected_loss:
            faults.append(f"{name} has the loss {loss:.6f} after one epoch, {reference} {expected_loss:.6f}")
    for name, accuracy in result["accuracies"].items():
        own_batches = result["losses"][name] is None
        if (
            accuracy is None
            or expected_accuracy is None
            or (own_batches and len(result["seconds"][name]) < MIN_ROUNDS_TO_COMPARE)
        ):
            continue
        if abs(accuracy - expected_accuracy) > ACCURACY_TOLERANCE:
            faults.append(f"{name} ends with the accuracy {accuracy:.4f}, {reference} with {expected_accuracy:.4f}")
    for name, error in result["product errors"].items():
        if error is not None and error > MAX_PRODUCT_ERROR:
            faults.append(f"{name} has an error of {error:.1e} in a product, which is not full float32")
    return faults


def graphics_card() -> str | None:
    """Return name, driver version and UUID of the NVIDIA devices; None without any."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return "; ".join(done.stdout.split("\n")).strip("; ") or None


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return processor, cores, versions, date and command, and the graphics card where it is measured."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        "processor": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **({"gpu": graphics_card()} if device == "cuda" else {}),
        "python": platform.python_version(),
        **versions,
        "date": date.today().isoformat(),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def reference_of(device: str, result: dict[str, Any]) -> str:
    """Return the competitor that the others are compared with: the first one, if the usual one cannot run."""
    usual = REFERENCE[device]
    return usual if usual in result["seconds"] else next(iter(result["seconds"]))


def find_networks(name: str, networks: list[str]) -> list[str]:
    """Return the network of this name, or those of plain gradient descent that begin with it."""
    if name in networks:
        return [name]
    return [network for network in networks if network.startswith(name) and not split_method(network)[1]]


def output_folder(parser: argparse.ArgumentParser, name: str) -> Path:
    """Make the folder of the JSON, and return it; end the command with a sentence if it cannot be made."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--output {name} cannot be made ({error.strerror}); name a folder that can be written")
    return folder


def main() -> int:
    """Measure, print tables, write JSON; return 1 if a competitor trained something else, 4 if none can run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"two networks, each for {QUICK_SECONDS:.0f} s at most, no slow competitors and no further costs",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--only", nargs="+", metavar="COMPETITOR", help="measure these, and no further costs")
    parser.add_argument(
        "--networks",
        nargs="+",
        metavar="NETWORK",
        help="measure these, and no further costs; 784-32-32-10 is enough for a name that begins so",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        help="epochs counted for each competitor (default: until the ratios are known within "
        f"{100 * MAX_SPREAD:.0f} %%, or a network has taken {NETWORK_SECONDS:.0f} s)",
    )
    parser.add_argument(
        "--seconds", type=float, help="time of the whole command; slow competitors and the further costs are left out"
    )
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    flags = parser.parse_args()
    if flags.seconds is not None and not flags.seconds > 0:
        parser.error(f"--seconds is {flags.seconds}; expected a number of seconds above 0")
    if flags.rounds is not None and flags.rounds < 1:
        parser.error(f"--rounds is {flags.rounds}; expected a whole number from 1")
    names = [name for name, (_, devices) in COMPETITORS.items() if flags.device in devices]
    for name in flags.only or ():
        if name not in names:
            parser.error(f"--only {name!r} is no competitor on {flags.device}; choose from {', '.join(names)}")
    networks = networks_of(flags.device) + methods_of(flags.device)
    for name in flags.networks or ():
        if not find_networks(name, networks):
            parser.error(f"--networks {name!r} is not measured on {flags.device}; choose from {'; '.join(networks)}")
    return Benchmark(flags, output_folder(parser, flags.output)).run()


class Benchmark:
    """One run of the command: its flags, its clock and the record that the JSON holds."""

    def __init__(self, flags: argparse.Namespace, folder: Path) -> None:
        self.end = None if flags.seconds is None else time.monotonic() + flags.seconds
        self.device, self.quick, self.limited = flags.device, flags.quick, self.end is not None
        self.rounds = flags.rounds
        self.warm_up = 0.0  # seconds that the last network took
        self.is_part = flags.only is not None or flags.networks is not None
        self.names = names_of(self.device, limited=self.limited or self.quick)
        if flags.only:
            self.names = [name for name in names_of(self.device, limited=False) if name in flags.only]
        self.networks = networks_of(self.device)[: 2 if self.quick else None]
        if not (self.quick or self.limited):
            self.networks += methods_of(self.device)
        if flags.networks:
            every = networks_of(self.device) + methods_of(self.device)
            self.networks = list(
                dict.fromkeys(found for name in flags.networks for found in find_networks(name, every))
            )
        facts = environment(self.device)
        self.record: dict[str, Any] = {"machine": facts, "rounds": self.rounds, "results": {}, "not reached": {}}
        kind = "-part" if self.is_part else "-quick" if self.quick else ""
        self.path = folder / f"{facts['date']}-{self.device}{kind}.json"
        self.faults: list[str] = []

    def left(self) -> float | None:
        """Return the seconds that are left; None without a limit."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    def write(self) -> None:
        """Replace the JSON by the present record."""
        replace_file(self.path, (json.dumps(self.record, indent=1) + "\n").encode())

    def print(self, text: str) -> None:
        """Print a text on stdout; a stdout that cannot take it is a fault, and the measurements go on."""
        try:
            write_stdout(f"{text}\n")
        except OutputError as error:
            self.faults.append(str(error))

    def run(self) -> int:
        """Measure all networks, then the further costs; return the exit code."""
        self.print(", ".join(f"{key} {value}" for key, value in self.record["machine"].items()))
        slow = [name for name in SLOW[self.device] if name not in self.names]
        if slow and not self.is_part:
            self.print(f"Left out to save time: {', '.join(slow)}.")
        with Competition(self.names, self.device, self.end) as competition:
            for i, network in enumerate(self.networks):
                self.measure(competition, network, len(self.networks) - i)
                self.write()
                if not competition.running and not self.record["results"]:
                    name, reason = next(iter(competition.left_out.items()))
                    write_stderr(f"error: no competitor can run; {name}: {reason}\n")
                    return 4
        results = self.record["results"]
        for network, reason in self.record["not reached"].items():
            self.print(f"\nNot reached: {network} ({reason}).")
        plain = {network: result for network, result in results.items() if not split_method(network)[1]}
        for part in (plain, {network: result for network, result in results.items() if network not in plain}):
            if part:
                self.print(f"\n{summary_table(self.device, part)}")
        if not (self.quick or self.limited or self.is_part):
            self.record["costs"] = all_costs(self.device, 5)
            self.write()
            self.print(f"\n{costs_tables(self.record['costs'])}")
        self.print(f"\nWritten: {self.path}")
        for fault in self.faults:
            write_stderr(f"error: {fault}\n")
        return 1 if self.faults else 0

    def compete(self, competition: Competition, network: str, networks_left: int) -> dict[str, Any]:
        """Return what a competition measures on one network; raise TimeUpError as it does."""
        left = self.left()
        competition.prepare(network, None if left is None else min(MAX_PREPARE_SECONDS, left / 2))
        left, started = self.left(), time.monotonic()
        competition.warm_up(None if left is None else left / 2)
        self.warm_up = time.monotonic() - started
        left = self.left()
        seconds: float | None = QUICK_SECONDS if self.quick else NETWORK_SECONDS
        if left is not None:  # the next networks need as much time to warm up
            seconds = max(0.0, (left - self.warm_up * (networks_left - 1)) / networks_left)
        elif self.rounds is not None:
            seconds = None
        starts = 1 if self.quick or self.limited else STARTS
        return competition.measure(REFERENCE[self.device], self.rounds, seconds, starts=starts)

    def measure(self, competition: Competition, network: str, networks_left: int) -> None:
        """Measure one network, note what differs between the competitors, and print its table."""
        left = self.left()
        if left is not None and left < max(MIN_SECONDS, self.warm_up):  # this network warms up no faster
            self.record["not reached"][network] = f"{left:.0f} s were left"
            return
        try:
            result = self.compete(competition, network, networks_left)
        except TimeUpError:
            self.record["not reached"][network] = "the time did not suffice for an epoch of each competitor"
            return
        if not result["seconds"]:
            self.record["not reached"][network] = "no competitor can run"
            return
        problem = Problem(network)
        result |= {"operations": problem.epoch_operations(), "bytes": problem.epoch_bytes()}
        self.record["results"][network] = result
        reference = reference_of(self.device, result)
        if reference != REFERENCE[self.device] and REFERENCE[self.device] in self.names:
            reason = result["left_out"].get(REFERENCE[self.device], "no counted epoch")
            self.faults.append(f"{network}: {REFERENCE[self.device]} cannot run: {reason}")
        tolerance = METHOD_LOSS_TOLERANCES.get(split_method(network)[1], LOSS_TOLERANCE)
        self.faults += [f"{network}: {fault}" for fault in check(result, reference, tolerance)]
        self.print(f"\n{training_table(network, self.device, result, reference)}")


if __name__ == "__main__":
    subcommands = {
        "command": "command",
        "tables": "reading",
        "records": "records",
        "parity": "parity",
        "small-tables": "small_tables",
        "half-precision": "half_precision",
    }
    if sys.argv[1:2] and (module := subcommands.get(sys.argv[1])):
        command = importlib.import_module(f"benchmarks.{module}")
        sys.exit(run_tool(lambda: command.main(sys.argv[2:])))
    sys.exit(run_tool(main))
