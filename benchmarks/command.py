"""`python -m benchmarks.command`: from the command to the result, as a user waits for it.

MNIST, three hidden layers of 64 units, ten epochs of batches of 100. Each row of the table is a whole process, and the
processes run one at a time in turn (A B C ... A B C ...). Lagvis is `train.py` with its defaults, with pictures and
page and without; the others are the scripts in benchmarks/tutorials/, each with the recipe of its own documentation.
All of them train on the same rows and are judged by the same ones: those that train.py holds out for validation by the
seed of the round, and the test images. Every round has another seed.

Seconds count from the start of a process, with imports and reading. An epoch counts as ready when train.py prints its
line, and when a script has computed its last step; what the scripts need to evaluate is taken out of their clock, and
of the times of train.py nothing is taken out. train.py does not tell the test accuracy of every epoch, and no time is
measured while it is found: a process before each round trains the same network again (benchmarks/lagvis_epochs.py).

Ratios are taken within a round. Without --rounds there are more rounds until the ratio of every row is known within 5 %
(benchmarks/ratios.py) or --minutes are over. On a busy machine the figures mean nothing: libraries that use all cores
wait for each other.
"""

import argparse
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.__main__ import environment
from benchmarks.command_tables import ratios_of_all, report
from benchmarks.ratios import MIN_PAIRS
from benchmarks.tutorials.epoch_report import PARTS
from benchmarks.watched_process import ProcessError, WatchedProcess, energy_counters, watch
from lagvis.cli.streams import run_tool, write_stderr, write_stdout
from lagvis.storage.atomic import replace_file

ROOT = Path(__file__).resolve().parent.parent
MAX_SECONDS = 300.0  # of one process
DEFAULT_MINUTES = 20.0
EPOCH_LINE = re.compile(r"epoch +(\d+)/\d+ ")  # of train.py, on stderr


@dataclass(frozen=True)
class Command:
    """A row of the table.

    key        its name on the command line
    arguments  of Python: a script or module with its options; {data} and {seed} stand for file and seed of the round
    library    the module that is imported once before the first round: whether it is there, and to warm the disk
    """

    key: str
    title: str
    arguments: tuple[str, ...]
    library: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_lagvis(self) -> bool:
        """Whether it is train.py, which is read in another way than the scripts."""
        return self.arguments[0].endswith("train.py")


def tutorial(key: str, title: str, script: str, library: str, **variables: str) -> Command:
    """Return the command of a script in benchmarks/tutorials/."""
    return Command(key, title, ("-m", f"benchmarks.tutorials.{script}", "{data}", "{seed}"), library, variables)


TRAIN = (str(ROOT / "train.py"), "--device", "cpu", "--seed", "{seed}", "--json")
COMMANDS = (
    Command("lagvis", "Lagvis, train.py", TRAIN, "matplotlib.pyplot"),
    Command("lagvis-no-plots", "Lagvis, train.py --no-plots", (*TRAIN, "--no-plots"), "lagvis"),
    tutorial("scikit-learn", "scikit-learn, MLPClassifier", "scikit_learn", "sklearn.neural_network"),
    tutorial("keras-jax", "Keras on JAX", "keras_sequential", "keras", KERAS_BACKEND="jax"),
    tutorial("keras-torch", "Keras on PyTorch", "keras_sequential", "keras", KERAS_BACKEND="torch"),
    tutorial("torch-dataloader", "PyTorch with a DataLoader", "torch_dataloader", "torch"),
    tutorial("torch", "PyTorch by hand", "torch_by_hand", "torch"),
    tutorial("jax-optax", "JAX with optax by hand", "jax_optax", "optax"),
)


@dataclass(frozen=True)
class Epoch:
    """An epoch: the seconds from the command until its network was ready, and the accuracies of that network."""

    seconds: float
    validation: float
    test: float


@dataclass(frozen=True)
class Run:
    """A process of a round: its epochs, the seconds to its end, its peak memory and the energy meanwhile."""

    seed: int
    epochs: list[Epoch]
    seconds: float
    peak_mb: float | None
    joules: float | None


def epochs_of_script(process: WatchedProcess) -> tuple[list[Epoch], float]:
    """Return the epochs that a script reports on stdout (epoch_report.py), and the seconds that it evaluated."""
    lines = [json.loads(text) for _, text in process.stdout if text.startswith("{")]
    epochs = [Epoch(line["time"] - process.started, *(line[part] for part in PARTS)) for line in lines]
    return epochs, lines[-1]["seconds_evaluating"] if lines else 0.0


def epochs_of_lagvis(process: WatchedProcess, known: list[Epoch]) -> list[Epoch]:
    """Return the epochs of train.py by the times of its lines, with the accuracies of the same run (`known`).

    Raise ProcessError if train.py does not end with the accuracies of that run.
    """
    times = [seconds for seconds, text in process.stderr if EPOCH_LINE.match(text)]
    result = json.loads(process.stdout[-1][1])
    found = tuple(result[f"{part}_accuracy"] for part in PARTS)
    expected = tuple(getattr(known[-1], part) for part in PARTS)
    if len(times) != len(known) or found != expected:
        raise ProcessError(
            f"has {len(times)} epochs and ends with the accuracies {found} (validation, test); the same seed gave "
            f"{len(known)} and {expected} in benchmarks/lagvis_epochs.py"
        )
    return [Epoch(seconds, epoch.validation, epoch.test) for seconds, epoch in zip(times, known, strict=True)]


class CommandBenchmark:
    """The rounds of the benchmark, what they found and what was left out."""

    def __init__(self, commands: list[Command], folder: Path, max_seconds: float = MAX_SECONDS) -> None:
        self.commands, self.folder, self.max_seconds = commands, folder, max_seconds
        self.data = folder / "mnist.npz"
        self.runs: dict[str, list[Run]] = {command.title: [] for command in commands}
        self.left_out: dict[str, str] = {}
        self.lagvis_epochs: list[Epoch] = []

    @property
    def running(self) -> list[Command]:
        """The commands that have not failed."""
        return [command for command in self.commands if command.title not in self.left_out]

    def watch(self, arguments: tuple[str, ...], variables: dict[str, str], seed: int = 0) -> WatchedProcess:
        """Run Python with these arguments. train.py makes its run folders in the temporary folder."""
        values = {"{data}": str(self.data), "{seed}": str(seed)}
        command = [sys.executable, *(values.get(argument, argument) for argument in arguments)]
        folder = ROOT if arguments[0] == "-m" else self.folder
        return watch(command, folder, variables, self.max_seconds)

    def leave_out(self, command: Command, reason: str) -> None:
        """Run a command no more."""
        self.left_out[command.title] = reason
        write_stderr(f"{command.title} is left out: {reason}\n")

    def import_libraries(self) -> None:
        """Import the library of each command once; leave out the commands whose library cannot be imported."""
        for command in self.commands:
            try:
                self.watch(("-c", f"import {command.library}"), command.environment)
            except ProcessError as error:
                self.leave_out(command, f"{command.library} cannot be imported ({error}); the extra bench has it")

    def prepare_round(self, seed: int) -> None:
        """Write the rows of a seed, and find the accuracies of the epochs of Lagvis; ProcessError if that fails."""
        process = self.watch(("-m", "benchmarks.lagvis_epochs", "{data}", "{seed}"), {}, seed)
        self.lagvis_epochs, _ = epochs_of_script(process)

    def run(self, command: Command, seed: int) -> Run:
        """Run a command with a seed; ProcessError if it fails or reports no epochs."""
        process, evaluating = self.watch(command.arguments, command.environment, seed), 0.0
        if command.is_lagvis:
            epochs = epochs_of_lagvis(process, self.lagvis_epochs)
        else:
            epochs, evaluating = epochs_of_script(process)
        if not epochs:
            raise ProcessError("reported no epoch")
        peak = None if process.peak_bytes is None else process.peak_bytes / 1e6
        return Run(seed, epochs, process.seconds - evaluating, peak, process.joules)

    def round(self, seed: int) -> None:
        """Run every command once with a seed."""
        self.prepare_round(seed)
        for command in self.running:
            try:
                run = self.run(command, seed)
            except ProcessError as error:
                self.leave_out(command, str(error))
                continue
            self.runs[command.title].append(run)
            accuracy = run.epochs[-1].test
            write_stderr(f"round {seed + 1}, {command.title}: {run.seconds:.1f} s, test accuracy {accuracy:.2%}\n")

    def is_known(self) -> bool:
        """Whether the ratio of every command that still runs is known as well as benchmarks/ratios.py asks for."""
        runs = {command.title: self.runs[command.title] for command in self.running}
        enough = all(len(found) >= MIN_PAIRS for found in runs.values())
        return enough and all(ratios.is_known for ratios in ratios_of_all(runs).values())

    def measure(self, rounds: int | None, minutes: float, after_round: Callable[[], None]) -> None:
        """Run rounds: so many, or until all ratios are known; none begins that would not end within `minutes`."""
        end, longest = time.monotonic() + 60 * minutes, 0.0
        self.import_libraries()
        seed = 0
        while self.running and (seed < rounds if rounds else not (seed and self.is_known())):
            started = time.monotonic()
            if seed and started + longest > end:
                break
            self.round(seed)
            after_round()
            longest, seed = max(longest, time.monotonic() - started), seed + 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.command", description=__doc__.splitlines()[0])
    keys = ",".join(command.key for command in COMMANDS)
    parser.add_argument("--only", metavar="NAME,NAME", default=keys, help="commands to run (default: all of --list)")
    parser.add_argument("--list", action="store_true", help="print the names of the commands")
    parser.add_argument("--rounds", type=int, help="processes of each command (default: until the ratios are known)")
    parser.add_argument(
        "--minutes", type=float, default=DEFAULT_MINUTES,
        help=f"begin no round that would end later (default: {DEFAULT_MINUTES:g})",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="JSON file of all figures (default: none)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the commands in turn and print the tables; return 1 if Lagvis failed, 130 after Ctrl-C."""
    parser = make_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = parser.parse_args(arguments)
    if flags.list:
        write_stdout("".join(f"{command.key:18}{command.title}\n" for command in COMMANDS))
        return 0
    known = {command.key: command for command in COMMANDS}
    chosen = flags.only.split(",")
    if unknown := [key for key in chosen if key not in known]:
        parser.error(f"there is no command {unknown[0]!r}; it is one of {', '.join(known)}")
    if flags.rounds is not None and flags.rounds < 1:
        parser.error(f"--rounds is {flags.rounds}; expected a whole number from 1")
    if not (flags.minutes > 0 and math.isfinite(flags.minutes)):
        parser.error(f"--minutes is {flags.minutes}; expected a number above 0")
    commands = [command for command in COMMANDS if command.key in chosen]
    with tempfile.TemporaryDirectory(prefix="lagvis-command-") as folder:
        return measure_and_report(CommandBenchmark(commands, Path(folder)), flags, arguments)


def measure_and_report(benchmark: CommandBenchmark, flags: argparse.Namespace, arguments: list[str]) -> int:
    """Measure, write the JSON after each round, print the tables; also after Ctrl-C or a failure of Lagvis."""
    facts = environment() | {"command": " ".join(["python -m benchmarks.command", *arguments])}
    write_stdout(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n")
    if not energy_counters():
        write_stdout("This machine does not tell the energy that it takes (/sys/class/powercap).\n")

    def write_json() -> None:
        if flags.output:
            record: dict[str, Any] = {"environment": facts, "left out": benchmark.left_out}
            record["commands"] = {name: [asdict(run) for run in runs] for name, runs in benchmark.runs.items()}
            record["ratios"] = {name: asdict(found) for name, found in ratios_of_all(benchmark.runs).items()}
            replace_file(flags.output, (json.dumps(record, indent=1) + "\n").encode())

    code = 0
    try:
        benchmark.measure(flags.rounds, flags.minutes, write_json)
    except KeyboardInterrupt:
        code = 130
    except ProcessError as error:
        write_stderr(f"error: benchmarks/lagvis_epochs.py: {error}\n")
        code = 1
    write_json()
    write_stdout(f"\n{report(benchmark.runs, benchmark.left_out)}\n")
    failed = any(command.is_lagvis and command.title in benchmark.left_out for command in benchmark.commands)
    return code or int(failed)


if __name__ == "__main__":
    sys.exit(run_tool(main))
