"""Send a run to experiment trackers, so that none of them can stop or delay its training.

Each tracker works in a thread of its own, which takes its jobs from a queue. A tracker that raises an exception, or is
not done in time at the end, is left out from then on and reported in one sentence.
"""

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from lagvis.backends.backend import first_line
from lagvis.data.messages import nearest_name, shorten
from lagvis.errors import UsageError

CSV = "csv"  # metrics.csv, which every run writes
# name: (module with a function open_tracker(), which imports the library; packages to install, those of the extra)
TRACKERS = {
    "tensorboard": ("lagvis.tracking.tensorboard", "tensorboard"),
    "mlflow": ("lagvis.tracking.mlflow", "mlflow-skinny sqlalchemy alembic"),
}

MAX_JOB_SECONDS = 30.0  # that the end of a run waits for one job
BYTES_PER_SECOND = 1e6  # of a file that is uploaded at least, before the tracker is given up
STOPPED_SECONDS = 1.0  # that a run waits for all trackers after a signal
POLL_SECONDS = 0.05
SILENT_SECONDS = 2.0  # of a wait that nothing is said about
MAX_REASON = 200  # characters of an error message
MAX_JOBS = 100_000  # that wait for a tracker

# Of report.json: the numbers that a tracker gets at the end, beside the errors of the targets.
RESULTS = (
    "test_loss", "test_accuracy", "test_exact_match", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision",
    "best_epoch", "best_validation_loss",
)  # fmt: skip
TARGET_RESULTS = {"test_error": "test_errors", "test_absolute_error": "test_absolute_errors"}

Row = dict[str, float | None]


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker gets of a run before the first event.

    path         the run folder
    recipe       every setting
    environment  the content of environment.json
    history      the epochs of metrics.csv by its columns, of a run that is resumed; they are logged if they are missing
    """

    path: Path
    recipe: dict[str, Any]
    environment: dict[str, Any]
    history: Sequence[Row] = ()


class Tracker(ABC):
    """Place that shows runs. The methods are called in one thread, `begin` first and `end` last; they may raise."""

    name: str

    @abstractmethod
    def begin(self, run: TrackedRun) -> None:
        """Begin a run, or continue it if it is there; then log the epochs of its history that are not there."""

    @abstractmethod
    def log_epochs(self, rows: Sequence[Row]) -> None:
        """Log the metrics of one or more epochs by the columns of metrics.csv; None where a column does not apply."""

    @abstractmethod
    def log_results(self, results: dict[str, float], epoch: int) -> None:
        """Log the numbers of the finished run, of which `epoch` is the last epoch."""

    @abstractmethod
    def log_file(self, path: Path, name: str) -> None:
        """Log a file of the run folder, whose name there is `name`: a picture, the report or the checkpoint."""

    @abstractmethod
    def end(self, status: str) -> None:
        """End the run: "completed", "interrupted", "diverged" or "failed"."""


def parse_tracker_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the trackers that --logger names, each value several joined by commas; UsageError for an unknown one.

    >>> parse_tracker_names(["csv,mlflow", "tensorboard"])
    ('mlflow', 'tensorboard')
    """
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name not in (CSV, *TRACKERS):
            meant = nearest_name(name, (CSV, *TRACKERS))
            hint = f"; did you mean {meant}?" if meant else ""
            raise UsageError(f"--logger is {name!r}; expected {', '.join((CSV, *TRACKERS))}, or several of them{hint}")
    return tuple(dict.fromkeys(name for name in names if name != CSV))


def open_tracker(name: str) -> Tracker:
    """Import the library of a tracker and return the tracker; UsageError if it cannot be imported."""
    module, packages = TRACKERS[name]
    try:
        tracker: Tracker = import_module(module).open_tracker()
    except Exception as error:  # a library that is damaged raises anything
        raise UsageError(
            f"--logger {name} needs a package that cannot be imported ({first_line(error)}); pip install {packages}, "
            f"or leave {name} out"
        ) from None
    return tracker


def result_metrics(report: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a report; errors of the targets are numbered as in metrics.csv: test_error_1, ..."""
    found = {key: report.get(key) for key in RESULTS}
    for name, key in TARGET_RESULTS.items():
        found |= {f"{name}_{i}": error for i, error in enumerate((report.get(key) or {}).values(), start=1)}
    return {key: float(value) for key, value in found.items() if value is not None}


class Worker:
    """Thread that does the jobs of one tracker in their order, until one fails; `failure` then says why."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.failure = ""
        self._rows: deque[Row] = deque()  # epochs to log
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None] | None, float]] = queue.SimpleQueue()
        self._job_ends = float("inf")  # when the current job has taken too long
        self._thread = threading.Thread(target=self._work, name=f"lagvis-{tracker.name}", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None] | None, extra_seconds: float = 0.0) -> None:
        """Add a job, and how much longer than usual the end of the run waits for it; None ends the thread."""
        if self._jobs.qsize() > MAX_JOBS:
            self.failure = f"{MAX_JOBS:,} epochs behind"
        if not self.failure:
            self._jobs.put((job, MAX_JOB_SECONDS + extra_seconds))

    def put_epoch(self, row: Row) -> None:
        """Add the job of logging an epoch; a tracker that is behind gets several epochs at once."""
        self._rows.append(row)
        self.put(self._log_epochs)

    def _log_epochs(self) -> None:
        if rows := [self._rows.popleft() for _ in range(len(self._rows))]:
            self.tracker.log_epochs(rows)

    def wait(self, stopped: Callable[[], bool], report: Callable[[str], None]) -> None:
        """Wait until all jobs are done; give the tracker up if one takes too long, or soon after a signal.

        `report` takes a sentence if the wait is not short.
        """
        silent_until = time.monotonic() + SILENT_SECONDS
        since_stop: float | None = None
        while self._thread.is_alive() and not self.failure:
            self._thread.join(POLL_SECONDS)
            now = time.monotonic()
            since_stop = now if since_stop is None and stopped() else since_stop
            if now > silent_until:
                report(f"The run is done and waits for {self.tracker.name}; Ctrl-C ends the wait.")
                silent_until = float("inf")
            if now > self._job_ends:
                self.failure = f"no answer in {MAX_JOB_SECONDS:g} seconds or more"
            elif since_stop is not None and now > since_stop + STOPPED_SECONDS:
                self.failure = "the wait was stopped"

    def _work(self) -> None:
        while not self.failure:
            job, seconds = self._jobs.get()
            if job is None:
                return
            self._job_ends = time.monotonic() + seconds
            try:
                job()
            except BaseException as error:  # a library may even call sys.exit; it must not end the run
                name, text = type(error).__name__, first_line(error)
                self.failure = self.failure or shorten(text if text == name else f"{name}: {text}", MAX_REASON)
            self._job_ends = float("inf")


class Trackers:
    """The trackers of a run; `report` takes a sentence about each that fails.

    Without a tracker it does nothing. Use it as a context manager: a run that is left without `end` has failed.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        report: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.report = report
        self._stopped = stopped
        self._workers = [Worker(tracker) for tracker in trackers]
        self._status = "failed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._for_each(lambda tracker: partial(tracker.end, self._status))
        for worker in self._workers:
            worker.put(None)
        for worker in self._workers:
            worker.wait(self._stopped, self.report)
        self.report_failures()

    def begin(self, run: TrackedRun) -> None:
        """Begin or continue the run."""
        self._for_each(lambda tracker: partial(tracker.begin, run))

    def log_epoch(self, row: Row) -> None:
        """Log the metrics of an epoch."""
        for worker in self._workers:
            worker.put_epoch(row)
        self.report_failures()

    def log_results(self, results: dict[str, float], epoch: int, status: str) -> None:
        """Log the numbers at the end of the run, and how it ended."""
        self._status = status
        if results:
            self._for_each(lambda tracker: partial(tracker.log_results, results, epoch))

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Log files of the run folder."""
        for name in names:
            path = folder / name
            try:
                extra = path.stat().st_size / BYTES_PER_SECOND
            except OSError:
                continue
            self._for_each(lambda tracker, path=path, name=name: partial(tracker.log_file, path, name), extra)

    def report_failures(self) -> None:
        """Report every tracker that has failed, and forget it."""
        for worker in [worker for worker in self._workers if worker.failure]:
            self._workers.remove(worker)
            self.report(
                f"{worker.tracker.name} is left out from now on ({worker.failure}); the run folder holds everything."
            )

    def _for_each(self, make_job: Callable[..., Callable[[], None]], extra_seconds: float = 0.0) -> None:
        for worker in self._workers:
            worker.put(make_job(worker.tracker), extra_seconds)
        self.report_failures()
