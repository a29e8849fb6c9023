"""Strike a run at each of its operations in turn: a full disk, or a signal.

An operation is whatever touches the disk (a folder made, a lock taken, a file opened, written, flushed, renamed) or
begins a phase (reading data, a call of the backend, an evaluation, ...). They are counted by running once; then each
has its strike.
As a program, `python fault_injection.py SIGNAL TIMES EVERY OUTPUT ARGUMENTS`, it imports the trainer once and forks a
run for each operation (or every second, third, ...), which sends itself the signal there, and prints a JSON list. With
"hang" for EVERY it takes one operation of each kind, which does not go on after the signal. Of a run that is drawn,
only what comes after its end is struck, and one picture stands for all.
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

ENDED, DRAWING = (
    "lagvis.cli.train:summarise",
    "lagvis.cli.train:diagnose",
)  # what comes after the last step, and with which the pictures begin
PHASES = (
    "lagvis.cli.options:select",
    "lagvis.cli.setup:load_dataset",
    "lagvis.cli.setup:make_plan",
    "lagvis.cli.setup:Model.of",
    "lagvis.runs.run_folder:RunFolder.claim",
    "lagvis.runs.run_folder:RunFolder.begin",
    "lagvis.training.loop:Run._take",
    "lagvis.training.loop:Run._close",
    "lagvis.training.loop:Run.checkpoint",
    "lagvis.training.evaluation:Evaluator.evaluate",
    "lagvis.training.evaluation:Metrics.of",
    ENDED,
    "lagvis.runs.run_folder:RunFolder.finish",
    "lagvis.cli.train:summary_text",
    DRAWING,
    "lagvis.report.run_report:png_bytes",
)

Strike = Callable[[str], None]


class File:
    """A file whose every write and flush is told first; a write that is struck has written half of it."""

    def __init__(self, file: Any, name: str, strike: Strike) -> None:
        self._file, self._name, self._strike = file, name, strike

    def write(self, content: Any) -> int:
        try:
            self._strike(f"write {self._name}")
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
def struck(strike: Strike, *, phases: bool) -> Iterator[None]:
    """While open, `strike` is called with the words for each operation before it happens."""
    path_open, mkdir, rename, fsync = Path.open, Path.mkdir, Path.replace, os.fsync
    acquire = filelock.FileLock.acquire

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wa"):
            return path_open(self, mode, *arguments, **options)
        strike(f"open {self.name}")
        return File(path_open(self, mode, *arguments, **options), self.name, strike)

    def told(words: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            strike(words)
            return original(*arguments, **options)

        return wrapped

    with contextlib.ExitStack() as stack:
        put = stack.enter_context
        put(mock.patch.object(Path, "open", opened))
        put(mock.patch.object(Path, "mkdir", told("mkdir", mkdir)))
        put(mock.patch.object(Path, "replace", told("rename", rename)))
        put(mock.patch.object(os, "fsync", told("fsync", fsync)))
        put(mock.patch.object(filelock.FileLock, "acquire", told("lock", acquire)))
        for phase in PHASES if phases else ():
            module, _, path = phase.partition(":")
            *owner, name = path.split(".")
            target = pkgutil.resolve_name(":".join([module, *owner]) if owner else module)
            original = vars(target)[name]
            if isinstance(original, classmethod):
                put(mock.patch.object(target, name, classmethod(told(phase, original.__func__))))
            else:
                put(mock.patch.object(target, name, told(phase, original)))
        yield


def import_matplotlib() -> None:
    """Its first import makes folders of its own, which are no operations of a run."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def run(arguments: list[str]) -> int:
    """The exit code of train.py in this process."""
    try:
        return run_cli(train.main, arguments)
    except SystemExit as end:
        return int(end.code or 0)


def operations(arguments: list[str], *, phases: bool) -> list[str]:
    """The words of every operation of a run, in order."""
    found: list[str] = []
    with struck(found.append, phases=phases):
        assert run(arguments) == 0
    return found


def full_disk(number: int, code: int = errno.ENOSPC) -> Strike:
    """From operation `number` on, everything fails that needs room on the disk."""
    count = [0]

    def strike(words: str) -> None:
        count[0] += 1
        if count[0] > number:
            raise OSError(code, os.strerror(code))

    return strike


def strike_with(number: int, which: signal.Signals, times: int, hang: bool, note: Path) -> Strike:
    """At operation `number`, note the time, send this process a signal, and perhaps do not go on."""
    count = [0]

    def strike(words: str) -> None:
        count[0] += 1
        if count[0] == number + 1:
            note.write_text(str(time.monotonic()))
            for _ in range(times):
                os.kill(os.getpid(), which)
            if hang:
                time.sleep(60)

    return strike


def child(number: int, which: signal.Signals, times: int, hang: bool, output: Path, arguments: list[str]) -> None:
    """A run that is struck at operation `number`, in a process of its own; never returns."""
    folder = output / str(number)
    folder.mkdir()
    err = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(err, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    code = 99
    try:
        with struck(strike_with(number, which, times, hang, folder / "struck"), phases=True):
            code = run([*arguments, "-o", str(folder)])
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    which, times, hang = signal.Signals[sys.argv[1]], int(sys.argv[2]), sys.argv[3] == "hang"
    output, arguments = Path(sys.argv[4]), sys.argv[5:]
    if "--no-plots" not in arguments:
        import_matplotlib()
    names = operations([*arguments, "-o", str(output / "whole"), "--quiet"], phases=True)
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
            took = time.monotonic() - float((output / str(number_done) / "struck").read_text())
            results.append([number_done, names[number_done], os.waitstatus_to_exitcode(status), round(took, 2)])
    print(json.dumps(sorted(results)))


if __name__ == "__main__":
    main()
