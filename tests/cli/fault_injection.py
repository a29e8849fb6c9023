"""Inject a fault into each operation of a run in turn: a full disk, or a signal.

An operation touches the disk (make a folder, take a lock, open, write, flush, rename or delete a file) or begins a
phase (read data, train for a while, evaluate, ...). A first run lists the operations; then each gets its fault.
As a program, `python fault_injection.py SIGNAL TIMES EVERY OUTPUT ARGUMENTS`, it imports the trainer once and forks a
process for each operation (or every second, third, ...). The process sends itself the signal at its operation. The
output is a JSON list. EVERY may be "hang": then one operation of each kind is chosen, and it hangs after the signal. In
a run with plots only the operations after the last epoch get a fault, and a single plot represents all plots.
"""

import contextlib
import errno
import functools
import json
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import filelock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from lagvis.cli import train  # noqa: E402
from lagvis.cli.errors import run_cli  # noqa: E402

# The first phase after the last step, and the first phase of the plots.
ENDED, DRAWING = "lagvis.cli.train:summarise_run", "lagvis.cli.train:diagnose"
PHASES = (
    "lagvis.cli.options:select",
    "lagvis.cli.setup:load_dataset",
    "lagvis.cli.setup:make_plan",
    "lagvis.cli.setup:Model.of",
    "lagvis.storage.run_folder:RunFolder.claim",
    "lagvis.storage.run_folder:RunFolder.begin",
    "lagvis.training.loop:Trainer.run_steps",
    "lagvis.training.loop:Trainer.end_epoch",
    "lagvis.training.loop:Trainer.checkpoint",
    "lagvis.training.evaluation:Evaluator.evaluate",
    "lagvis.training.evaluation:Metrics.of",
    ENDED,
    "lagvis.storage.run_folder:RunFolder.finish",
    "lagvis.cli.train:summary_text",
    DRAWING,
    "lagvis.report.plots.figure:Plot.draw",
)

Fault = Callable[[str], None]


class File:
    """File that calls the fault before each write; a failing write has written half of its content."""

    def __init__(self, file: Any, name: str, fault: Fault) -> None:
        self._file, self._name, self._fault = file, name, fault

    def write(self, content: Any) -> int:
        try:
            self._fault(f"write {self._name}")
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextlib.contextmanager
def inject(fault: Fault, *, phases: bool) -> Iterator[None]:
    """Inside the context, call `fault` with the name of each operation before it runs."""
    path_open, mkdir, rename, unlink, fsync = Path.open, Path.mkdir, Path.replace, Path.unlink, os.fsync
    acquire = filelock.FileLock.acquire

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wa"):
            return path_open(self, mode, *arguments, **options)
        fault(f"open {self.name}")
        return File(path_open(self, mode, *arguments, **options), self.name, fault)

    def faulty(words: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            fault(words)
            return original(*arguments, **options)

        return wrapped

    with contextlib.ExitStack() as stack:
        patch = stack.enter_context
        patch(mock.patch.object(Path, "open", opened))
        patch(mock.patch.object(Path, "mkdir", faulty("mkdir", mkdir)))
        patch(mock.patch.object(Path, "replace", faulty("rename", rename)))
        patch(mock.patch.object(Path, "unlink", faulty("delete", unlink)))
        patch(mock.patch.object(os, "fsync", faulty("fsync", fsync)))
        patch(mock.patch.object(filelock.FileLock, "acquire", faulty("lock", acquire)))
        for phase in PHASES if phases else ():
            module, _, path = phase.partition(":")
            *owner, name = path.split(".")
            target = pkgutil.resolve_name(":".join([module, *owner]) if owner else module)
            original = vars(target)[name]
            if isinstance(original, classmethod):
                patch(mock.patch.object(target, name, classmethod(faulty(phase, original.__func__))))
            else:
                patch(mock.patch.object(target, name, faulty(phase, original)))
        yield


def import_matplotlib() -> None:
    """Import matplotlib early: its first import creates folders, which would count as operations of the run."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def run(arguments: list[str]) -> int:
    """Run train.py in this process and return its exit code."""
    try:
        return run_cli(train.main, arguments)
    except SystemExit as end:
        return int(end.code or 0)


def operations(arguments: list[str], *, phases: bool) -> list[str]:
    """Run once and return the names of all operations in order."""
    found: list[str] = []
    with inject(found.append, phases=phases):
        assert run(arguments) == 0
    return found


def failing_disk(number: int, code: int = errno.ENOSPC) -> Fault:
    """Return a fault: from operation `number` on, every operation raises OSError `code`; a full disk still deletes."""
    count = [0]

    def fault(operation: str) -> None:
        count[0] += 1
        if count[0] > number and not (code == errno.ENOSPC and operation == "delete"):
            raise OSError(code, os.strerror(code))

    return fault


def send_signal(number: int, which: signal.Signals, times: int, hang: bool, note: Path) -> Fault:
    """Return a fault: at operation `number`, write the time to `note`, send this process a signal, perhaps hang."""
    count = [0]

    def fault(words: str) -> None:
        count[0] += 1
        if count[0] == number + 1:
            note.write_text(str(time.monotonic()))
            for _ in range(times):
                os.kill(os.getpid(), which)
            if hang:
                time.sleep(60)

    return fault


def child(number: int, which: signal.Signals, times: int, hang: bool, output: Path, arguments: list[str]) -> None:
    """Run in a forked process with a signal at operation `number`; never returns."""
    folder = output / str(number)
    folder.mkdir()
    err = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(err, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    code = 99
    try:
        with inject(send_signal(number, which, times, hang, folder / "signalled"), phases=True):
            code = run([*arguments, "-o", str(folder)])
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    which, times, hang = signal.Signals[sys.argv[1]], int(sys.argv[2]), sys.argv[3] == "hang"
    output, arguments = Path(sys.argv[4]), sys.argv[5:]
    if "--no-plots" not in arguments:
        import_matplotlib()
    names = operations([*arguments, "-o", str(output / "reference"), "--quiet"], phases=True)
    first = names.index(ENDED) if DRAWING in names else 0
    seen = {name.split()[0] if first else name: n for n, name in reversed(list(enumerate(names))) if n >= first}
    kinds = sorted(seen.values())
    chosen = kinds if hang else range(first, len(names), int(sys.argv[3]))
    results, started = [], {}
    for number in chosen:
        process = os.fork()
        if process == 0:
            child(number, which, times, hang, output, arguments)
        started[process] = number
        while started and (not hang or number == chosen[-1]):
            done, status = os.wait()
            number_done = started.pop(done)
            took = time.monotonic() - float((output / str(number_done) / "signalled").read_text())
            results.append([number_done, names[number_done], os.waitstatus_to_exitcode(status), round(took, 2)])
    print(json.dumps(sorted(results)))


if __name__ == "__main__":
    main()
