"""`python -m gpu_check`, or `scripts/gpu-check`: check everything that needs a GPU, in stages within a time limit.

Every stage has its own limit and is written to gpu-check.json in the output folder before the next begins, so that an
interruption loses only the stage that was running. Exit code 0 if all stages passed, else 1. Without a GPU that
computes, one line says why, and the exit code is 0. `--device cpu` rehearses all stages without a GPU.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType

from gpu_check.processes import GRACE_SECONDS, ROOT, Runner
from gpu_check.record import FAILED, INTERRUPTED, PASSED, RUNNING, Record, StageResult, cores
from gpu_check.stage import DEFAULT_BACKENDS, Context, Stage
from gpu_check.stages import STAGES, NoDeviceError
from gpu_check.wheels import MissingPackageError, unpack_missing
from lagvis.cli.streams import print_line, run_tool, write_stderr
from lagvis.installation import missing_package_sentence
from lagvis.storage.signals import SIGNALS

MINUTES = 5.0  # for which the limits of the stages are written; in less time a stage starts no faster
RESERVE_SECONDS = 2 * GRACE_SECONDS + 1  # to end the last command and write the record
MIN_SHARE_OF_LIMIT = 1 / 3  # a stage is not begun with less time than this share of its limit


class Clock:
    """The time limit of the whole check, and the limits of its stages."""

    def __init__(self, minutes: float) -> None:
        self.started = time.monotonic()
        self.scale = max(1.0, minutes / MINUTES)
        self.end = self.started + minutes * 60 - RESERVE_SECONDS

    def limit(self, stage: Stage) -> float:
        """Return the seconds that a stage may take if it begins now; 0 if it no longer fits."""
        remaining = self.end - time.monotonic()
        if remaining < MIN_SHARE_OF_LIMIT * stage.limit * self.scale:
            return 0.0
        return min(remaining, max(stage.limit * self.scale, stage.share * remaining))


@contextmanager
def signals_interrupt() -> Iterator[list[str]]:
    """While open, the first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt; the list gets the name of the signal.

    An ignored signal stays ignored.
    """
    received: list[str] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number).name)
            raise KeyboardInterrupt

    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_stage(stage: Stage, limit: float, context: Context, result: StageResult) -> None:
    """Run one stage, whatever happens in it; KeyboardInterrupt and NoDeviceError are raised again."""
    started = time.monotonic()
    result.status, result.limit = RUNNING, round(limit, 1)
    context.runner.finished.clear()
    try:
        stage.run(context, started + limit, result)
    except NoDeviceError:
        raise
    except KeyboardInterrupt:
        result.status = INTERRUPTED
        raise
    except Exception:  # a fault of the check itself must not lose the later stages
        result.faults.append(traceback.format_exc())
    finally:
        commands = context.runner.finished
        result.commands = [finished.record() for finished in commands]
        result.seconds = round(time.monotonic() - started, 2)
        if result.status == RUNNING and any(finished.cut for finished in commands):
            result.status = f"cut at {limit:.0f} s"
            result.faults = result.faults or ["a command was cut"]
        elif result.status == RUNNING:
            result.status = FAILED if result.faults else PASSED


def check(stages: Sequence[Stage], context: Context, record: Record, clock: Clock) -> int:
    """Run all stages that fit, write the record after each and print the table; return the exit code."""
    with signals_interrupt() as received:
        result = record.stages[0]
        try:
            for stage, result in zip(stages, record.stages, strict=True):
                limit = clock.limit(stage)
                if not limit:
                    continue
                if stage is not stages[0]:  # the first finds out whether there is anything to check
                    print_line(f"{stage.name}: at most {limit:.0f} s")
                    result.status = RUNNING
                    record.write()
                run_stage(stage, limit, context, result)
                print_line(f"{stage.name}: {result.status} after {result.seconds:.1f} s")
                record.write()
        except KeyboardInterrupt:
            context.runner.stop()
            if result.status in (INTERRUPTED, RUNNING):
                result.status = f"cut by {received[0]}"
        record.facts["seconds"] = round(time.monotonic() - clock.started, 1)
        record.write()
    from lagvis.cli.errors import print_result  # as in `main`

    versions = record.facts["versions"]
    print_result(f"\n{', '.join(f'{name} {value}' for name, value in versions.items())}\n{record.table()}")
    print_result(f"Not written: {record.unwritten}" if record.unwritten else f"Written: {record.path}")
    return int(record.unwritten is not None or not all(result.succeeded for result in record.stages))


def positive(text: str) -> float:
    """Return a positive number of minutes."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value


def can_be_written(folder: Path) -> bool:
    """Return whether a folder, which may not exist yet, can be written."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def main() -> int:
    """Prepare the packages and the folders, and run the stages."""
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=positive, default=MINUTES, help="for everything (default: 5)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal (default: cuda)")
    parser.add_argument("--output", type=Path, help="folder of the results (default: benchmarks/results/DATE-gpu)")
    flags = parser.parse_args()
    clock = Clock(flags.minutes)
    output = (flags.output or ROOT / "benchmarks" / "results" / f"{date.today().isoformat()}-gpu").resolve()
    if not can_be_written(output):
        parser.error(f"--output {output} cannot be written; name a folder that can be")
    names = [DEFAULT_BACKENDS[flags.device], "torch", "jax"]
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        packages = Path(folder) / "packages"
        try:
            used = unpack_missing(packages)
        except MissingPackageError as error:
            write_stderr(f"error: {error}\n")
            return 1
        sys.path.append(str(packages))
        try:  # what prints the result needs the packages that `unpack_missing` may have unpacked, and others
            from lagvis.cli.errors import print_result
        except ImportError as error:
            write_stderr(f"error: {missing_package_sentence(error)}\n")
            return 1
        path = [str(ROOT), str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share the GPU
            # the home folder may not be writable
            "CUPY_CACHE_DIR": os.environ.get("CUPY_CACHE_DIR", str(Path(folder) / "cupy")),
        }
        context = Context(flags.device, names, Runner(environment), Path(folder), output, cores())
        record = Record(flags.device, flags.minutes, context.output, [stage.name for stage in STAGES])
        record.facts["wheels"] = used
        try:
            return check(STAGES, context, record, clock)
        except NoDeviceError as error:
            print_result(f"No {'GPU' if flags.device == 'cuda' else 'backend'} was checked: {error}")
            return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
