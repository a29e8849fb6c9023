"""MLflow: a run in the store and experiment that the user has set by MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME.

Only `MlflowClient` is used, with the identifier of the run: an active run of the caller is left as it is.
"""

import contextlib
import getpass
import json
import logging
import os
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lagvis.tracking.tracker import Row, TrackedRun, Tracker
from lagvis.training.recipe_checks import setting_text

STORED = "mlflow.json"  # in the run folder: where its run is in MLflow, for a resume
MAX_TEXT = 5000  # characters of a parameter or tag; MLflow refuses longer ones
MAX_METRICS = 500  # in one request
EVERY_EPOCH = "seconds"  # metric that every epoch has
STATUS = {"completed": "FINISHED", "interrupted": "KILLED"}  # anything else is FAILED
NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
LOGGERS = ("mlflow", "alembic")  # that print on stderr, the second while a local store is made


def open_tracker() -> Tracker:
    """Return the tracker; ImportError if MLflow is not installed."""
    return MLflow()


class MLflow(Tracker):
    """Run in MLflow; a resumed run continues it where it has been in the same store.

    The recipe becomes parameters, the environment tags, and the step of a metric is the epoch.
    """

    name = "mlflow"

    def __init__(self) -> None:
        import mlflow

        self._mlflow = mlflow
        self._client: Any = None
        self._run_id = ""

    def begin(self, run: TrackedRun) -> None:
        """Begin or continue the run, with its parameters and tags, and log the epochs that it lacks."""
        silence_thread()
        stored = read_stored(run.path / STORED)
        uri = self._mlflow.get_tracking_uri()
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        found = self._find_run(stored.get("run_id")) if stored.get("tracking_uri") == without_password(uri) else None
        if found is None:
            found = self._client.create_run(self._experiment(), run_name=run.path.name, tags=user_tags())
            content = {"tracking_uri": without_password(uri), "run_id": found.info.run_id}
            (run.path / STORED).write_text(json.dumps(content) + "\n", encoding="utf-8")
        else:
            self._client.update_run(found.info.run_id, status="RUNNING")
        self._run_id = found.info.run_id
        known = found.data.params  # a parameter cannot change; the tag `resumed` says what a resume has changed
        params = [
            self._mlflow.entities.Param(key, setting_text(value)[:MAX_TEXT])
            for key, value in run.recipe.items()
            if key not in known
        ]
        tags = [
            self._mlflow.entities.RunTag(key, tag_text(value))
            for key, value in run.environment.items()
            if value is not None and value not in ([], {})
        ]
        self._client.log_batch(self._run_id, params=params, tags=tags)
        logged = self._logged_steps(EVERY_EPOCH) if run.history else set()
        self.log_epochs([row for row in run.history if row["epoch"] not in logged])

    def log_epochs(self, rows: Sequence[Row]) -> None:
        """Log the metrics of epochs."""
        metrics = [metric for row in rows for metric in self._metrics(row)]
        for first in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[first : first + MAX_METRICS])

    def log_results(self, results: dict[str, float], epoch: int) -> None:
        """Log the numbers of the finished run, unless they are there."""
        if epoch not in self._logged_steps(next(iter(results))):
            self._client.log_batch(self._run_id, metrics=self._metrics({"epoch": epoch, **results}))

    def log_file(self, path: Path, name: str) -> None:
        """Upload a file as an artifact."""
        self._client.log_artifact(self._run_id, str(path), os.path.dirname(name) or None)

    def end(self, status: str) -> None:
        """Set how the run ended."""
        with without_links():
            self._client.set_terminated(self._run_id, STATUS.get(status, "FAILED"))

    def _find_run(self, run_id: Any) -> Any:
        """Return a run of the store that can be continued; None if it is not there, or deleted."""
        try:
            found = self._client.get_run(str(run_id))
        except self._mlflow.exceptions.MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _experiment(self) -> str:
        """Return the identifier of the experiment that the environment names, which is made if it is not there."""
        if identifier := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return identifier
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _logged_steps(self, key: str) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(self._run_id, key)}

    def _metrics(self, row: Row | dict[str, float]) -> list[Any]:
        """Return the numbers of an epoch as metrics."""
        epoch, now = int(row["epoch"] or 0), time.time_ns() // 1_000_000
        return [
            self._mlflow.entities.Metric(key, value, now, epoch)
            for key, value in row.items()
            if key != "epoch" and value is not None
        ]


def read_stored(path: Path) -> dict[str, Any]:
    """Read where a run is in MLflow; {} if it is not known."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def without_password(uri: str) -> str:
    """Return an address without user and password, which do not belong into a run folder."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.username else uri


def user_tags() -> dict[str, str]:
    """Return the tags from which MLflow shows who started a run, and with what."""
    tags = {"mlflow.source.name": "lagvis", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(Exception):  # no user database in a container
        tags["mlflow.user"] = getpass.getuser()
    return tags


def tag_text(value: Any) -> str:
    """Return an entry of environment.json as the text of a tag."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        text = shlex.join(value)  # the command
    else:
        text = json.dumps(value)
    return text[:MAX_TEXT]


@contextlib.contextmanager
def without_links() -> Iterator[None]:
    """Keep the links that MLflow prints at the end of a run off stdout, where the result is; only a variable does."""
    before = os.environ.get(NO_LINKS)
    os.environ[NO_LINKS] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_LINKS]
        else:
            os.environ[NO_LINKS] = before


def silence_thread() -> None:
    """Keep what MLflow logs in this thread off stderr, where the progress of the run is; errors are exceptions too."""
    ident = threading.get_ident()
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(lambda record: record.thread != ident)
