"""Child processes with a deadline, each a process group of its own, which is ended as a whole."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 3.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.01
MAX_KEPT_CHARACTERS = 6000  # of stdout and of stderr, each, in the record

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    exit     its exit code, negative for a signal; None if no time was left to start it, or if it survived SIGKILL
    seconds  from start to end
    cut      whether it was ended at its deadline
    """

    command: str
    exit: int | None
    seconds: float
    cut: bool
    stdout: str
    stderr: str

    def record(self) -> dict[str, Any]:
        """Return the command for the JSON record, with the ends of its output."""
        return {
            "command": self.command,
            "exit": self.exit,
            "seconds": round(self.seconds, 2),
            "cut": self.cut,
            "stdout": self.stdout[-MAX_KEPT_CHARACTERS:],
            "stderr": self.stderr[-MAX_KEPT_CHARACTERS:],
        }

    def reason(self) -> str:
        """Return why it counts as failed, in a few words."""
        if self.exit is None and self.seconds == 0.0:
            return "no time was left to start it"
        if self.cut:
            return f"cut after {self.seconds:.0f} s"
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return f"exit code {self.exit}: {lines[-1].strip()[:200] if lines else 'no output'}"


class Runner:
    """Runs commands with this Python in the root of the project, with the variables of `environment` added.

    `finished` collects the commands that have ended; the caller empties it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.finished: list[Finished] = []
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def python(self, *arguments: str, deadline: float, **options: Any) -> Finished:
        """Run this Python with these arguments; see `run`."""
        return self.run([sys.executable, *arguments], deadline=deadline, **options)

    def run(
        self,
        arguments: Sequence[str],
        *,
        deadline: float,
        kill_when: Callable[[], bool] | None = None,
        **environment: str,
    ) -> Finished:
        """Run a command to its end and return it.

        At the deadline (by time.monotonic) its process group gets SIGTERM, and SIGKILL GRACE_SECONDS later. As soon as
        `kill_when()` is true it gets SIGKILL. `environment` adds variables for this command.
        """
        started = time.monotonic()
        words = [Path(arguments[0]).name, *arguments[1:]]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with self._lock:
                if self._stopped or started >= deadline:
                    return self._keep(Finished(" ".join(words), None, 0.0, True, "", ""))
                try:
                    process = subprocess.Popen(
                        arguments,
                        cwd=ROOT,
                        env=os.environ | self.environment | environment,
                        stdin=subprocess.DEVNULL,
                        stdout=stdout,
                        stderr=stderr,
                        process_group=0,
                    )
                except OSError as error:  # the program does not exist
                    return self._keep(Finished(" ".join(words), 127, 0.0, False, "", str(error)))
                self._running.add(process)
            cut = True
            try:
                cut = self._wait(process, deadline, kill_when)
            finally:  # also after Ctrl-C
                _signal_group(process, signal.SIGKILL)  # what the command may have left running
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)  # a driver that hangs can keep a killed process
                with self._lock:
                    self._running.discard(process)
                seconds, texts = time.monotonic() - started, [_text(file) for file in (stdout, stderr)]
                cut = cut or self._stopped
                finished = self._keep(Finished(" ".join(words), process.returncode, seconds, cut, *texts))
        return finished

    def together(self, jobs: Sequence[Callable[[], Result]], at_once: int | None = None) -> list[Result]:
        """Call functions in threads, `at_once` at a time (default: all), and return their results in order."""
        with ThreadPoolExecutor(max(1, at_once or len(jobs))) as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                return [future.result() for future in futures]
            except KeyboardInterrupt:
                self.stop()  # the pool waits for its threads
                raise

    def stop(self) -> None:
        """Kill all running commands; commands that are run later are not started."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _signal_group(process, signal.SIGKILL)

    def _keep(self, finished: Finished) -> Finished:
        self.finished.append(finished)
        return finished

    def _wait(self, process: subprocess.Popen[bytes], deadline: float, kill_when: Callable[[], bool] | None) -> bool:
        """Wait for the end of a process, ending it at the deadline; return whether it was ended."""
        while kill_when is not None and process.poll() is None and time.monotonic() < deadline:
            if kill_when():
                _signal_group(process, signal.SIGKILL)
                return False
            time.sleep(POLL_SECONDS)
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
            return True
        return False


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the process group that the process leads, if any process is left in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _text(file: Any) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
