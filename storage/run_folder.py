"""The folder of a run: created once, written as the run proceeds, and reopened to resume it."""

import contextlib
import errno
import json
import os
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock

from lagvis import strict_json
from lagvis.errors import CheckpointError, NotFiniteError, RecipeError
from lagvis.storage import metrics_file
from lagvis.storage.atomic import WRITING, replace_file
from lagvis.storage.checkpoint_file import os_error_reason, read_checkpoint, write_checkpoint
from lagvis.storage.environment import is_valid_init_from, is_valid_rate_search, is_valid_resumed
from lagvis.storage.filenames import BEST, ENVIRONMENT, LAST, LOCK, METRICS, PAGE, PLOTS, RECIPE, REPORT, RESUME, TEXT
from lagvis.storage.history import recipe_text
from lagvis.training import recipe as recipes
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import EpochEnded, Event, Finished, Progress
from lagvis.training.model import widths_text
from lagvis.training.recipe import Recipe

# The entries of environment.json that a resumed run or a report of several runs uses, with their types.
ENVIRONMENT_TYPES = {
    "backend": str, "device": str, "compiled": bool, "threads": int, "blas_threads": int, "sha256": dict,
    "overrides": dict, "logger": list, "rows": dict,
}  # fmt: skip
REPORT_FILES = "report_files"  # in report.json: the names of the files that the complete report consists of
# What Windows forbids in file names, and the names that it reserves for devices.
FORBIDDEN_CHARACTERS = '<>:"|?*'
RESERVED_NAMES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


@dataclass(frozen=True)
class CheckpointInterval:
    """Interval between checkpoints within an epoch, in steps or in seconds; neither: only at the end of epochs."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "CheckpointInterval":
        """Parse 500 (steps) or 10m (minutes); RecipeError for anything else."""
        with contextlib.suppress(ValueError):
            if text.endswith("m") and 0 < float(text[:-1]) < float("inf"):
                return cls(seconds=60 * float(text[:-1]))
            if int(text) >= 1:
                return cls(steps=int(text))
        raise RecipeError(f"--checkpoint-every is {text!r}; expected a number of steps (500) or of minutes (10m)")


class RunFolder:
    """Folder of one run, locked for one process while it is open.

    `begin` writes the settings, `record` takes every event of the training, `finish` writes the result, and
    `write_files` the plots and pages. All of them raise CheckpointError if a file cannot be written.
    """

    def __init__(self, path: Path, every: CheckpointInterval) -> None:
        self.path = path
        self.checkpoint: Checkpoint | None = None  # the newest, if the run is resumed
        self.network: Checkpoint | None = None  # that of last.safetensors: the newest or, with patience, the best
        self.previous_environment: dict[str, Any] = {}
        self.previous_seconds = 0.0  # of training before it was resumed
        self._every = every
        self._targets = 0  # of which metrics.csv has errors
        self._saved = (-1, -1)  # epoch and step of the newest checkpoint
        self._saved_at = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without file locks of the system the library uses a lock file
                self._lock = filelock.FileLock(path / LOCK)
                self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise CheckpointError(f"another process is training in {path}; wait for it, or stop it") from None
        except OSError as error:
            action = "locked" if error.errno == errno.ENOLCK else "written"
            raise CheckpointError(
                f"the run folder {path} cannot be {action} ({error.strerror}); choose another --runs-dir"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        with contextlib.suppress(OSError):
            self._lock.release()

    @classmethod
    def claim(cls, runs_dir: str, name: str | None, widths: tuple[int, ...], every: CheckpointInterval) -> "RunFolder":
        """Make a folder in `runs_dir`, named `name` or by time and layer widths, and lock it.

        Raise RecipeError if the name is invalid or taken, CheckpointError if the folder cannot be made.
        """
        if name is not None and not is_valid_name(name):
            raise RecipeError(
                f"--name is {name!r}; expected a folder name that every system allows: no slashes, none of "
                f"{FORBIDDEN_CHARACTERS}, no control characters, no dot or blank at the end, no device such as con"
            )
        parent = Path(os.path.expanduser(runs_dir)).absolute()
        if os.path.expanduser(runs_dir).startswith("~"):
            raise RecipeError(f"there is no home folder for {runs_dir!r}; choose another --runs-dir")
        base = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{widths_text(widths)}"
        attempt = 1
        while True:
            path = parent / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except FileExistsError:
                if not os.path.isdir(parent):
                    raise CheckpointError(f"{parent} is a file, not a folder; choose another --runs-dir") from None
                if name is not None:
                    return cls._claim_unused(path, every)
                attempt += 1
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG and name is not None:
                    raise RecipeError(f"--name is too long for this system ({name!r}); shorten it") from None
                raise CheckpointError(
                    f"the run folder {path} cannot be made ({error.strerror}); choose another --runs-dir"
                ) from None
            else:
                return cls(path, every)

    @classmethod
    def _claim_unused(cls, path: Path, every: CheckpointInterval) -> "RunFolder":
        """Lock a folder that exists, in which no run has begun; RecipeError if it holds anything else."""
        if is_unused(path):
            folder = cls(path, every)
            if is_unused(path):  # still so, now that it is locked
                return folder
            folder.close()
        raise RecipeError(f"{path} exists already; choose another --name, continue it by --resume, or delete it")

    @classmethod
    def reopen(cls, path: Path, every: CheckpointInterval) -> "RunFolder":
        """Open and lock the folder of a run that has begun, and read its newest checkpoint.

        Raise CheckpointError if no run has begun there, or if its checkpoint is damaged or missing.
        """
        try:
            (path / RECIPE).open("rb").close()
        except FileNotFoundError:
            raise CheckpointError(f"{path} holds no {RECIPE}: no run has begun there; train without --resume") from None
        except OSError as error:
            raise CheckpointError(f"{path / RECIPE} cannot be read ({error.strerror})") from None
        folder = cls(path, every)
        try:
            folder._read_state()
        except BaseException:
            folder.close()
            raise
        return folder

    def _read_state(self) -> None:
        """Read environment and newest checkpoint; delete the partial files of a process that was killed."""
        self.previous_environment = read_environment(self.path)
        for partial in (*self.path.glob(f"*{WRITING}"), *self.path.glob(f"{PLOTS}/*{WRITING}")):
            with contextlib.suppress(OSError):
                partial.unlink()
        if os.path.lexists(self.path / LAST):
            self.checkpoint = self.network = read_checkpoint(self.path / LAST)
            if os.path.lexists(self.path / RESUME):
                newest = read_checkpoint(self.path / RESUME)
                self.checkpoint = newest if newest.step > self.network.step else self.network
            elif self._read_json(REPORT).get("restored_epoch") is not None:
                raise CheckpointError(
                    f"{RESUME}, from which the run {self.path} continues, is missing ({LAST} holds its best "
                    f"epoch); restore it, or begin a new run with --init-from {self.path}"
                )
            return
        best = self.path / BEST
        trained = os.path.exists(best) or len(self._metrics()) > 1 or self._read_json(REPORT).get("steps")
        if trained:
            alternative = f", or begin a new run with --init-from {best}" if os.path.exists(best) else ""
            raise CheckpointError(
                f"the checkpoint {LAST} of the trained run {self.path} is missing; restore it{alternative}"
            )

    @property
    def recipe(self) -> Recipe:
        """The recipe in recipe.toml.

        That of a run from before `pixel_scaling` says nothing of it, and has "unit"; before `min_lr_ratio` the schedule
        "constant" had no warm-up, whatever `warmup` was.
        """
        return read_recipe(self.path)

    def finished(self, recipe: Recipe) -> dict[str, Any]:
        """Return the report if the run has ended by this recipe and its report agrees; else {}."""
        report, checkpoint, network = self._read_json(REPORT), self.checkpoint, self.network
        if checkpoint is None or network is None or checkpoint.totals:
            return {}
        early = recipe.patience and checkpoint.epoch - checkpoint.best_epoch >= recipe.patience
        kept = (recipe.patience and checkpoint.best_epoch) or checkpoint.epoch
        enough = checkpoint.step >= recipe.min_steps or not recipe.epochs  # more steps than before may be wanted
        if network.epoch != kept or not (early or (checkpoint.epoch == recipe.epochs and enough)):
            return {}
        expected = {"finished": "completed", "steps": checkpoint.step, "classes": [*checkpoint.model.class_names]}
        found = report | {"classes": report.get("classes") or report.get("labels") or []}  # those of numbers have none
        if not expected.items() <= found.items():
            return {}
        return {key: value for key, value in report.items() if key != REPORT_FILES} | {"run": str(self.path)}

    def report_complete(self) -> bool:
        """Return whether all plots and pages of the report exist."""
        return all(os.path.isfile(self.path / name) for name in self.report_files() or [PAGE, TEXT])

    def report_files(self) -> list[str]:
        """Return the names of the files of the complete report; [] if it is not drawn, or by an older version."""
        names = self._read_json(REPORT).get(REPORT_FILES)
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []

    def begin(
        self, recipe: Recipe, environment: dict[str, Any], start: Checkpoint | None = None, targets: int = 0
    ) -> str:
        """Write the settings, and with `start` the checkpoint that the run starts from; `targets` counts the numbers.

        The recipe is written last: a folder that holds it has begun. Keep the rows of metrics.csv for the epochs of
        the checkpoint. If lines of it cannot be read, keep it as metrics.csv.old and return a notice, else return "".
        """
        self._targets = targets
        epochs = self.checkpoint.epoch if self.checkpoint else 0
        rows, damaged = self._read_metrics()
        rows = [row for row in rows if int(row[0]) <= epochs]
        if rows:
            self.previous_seconds = metrics_file.values(rows[-1])["seconds"] or 0.0
        notice = ""
        if damaged:
            with file_errors(self.path / METRICS, "renamed"):
                (self.path / METRICS).replace(self.path / f"{METRICS}.old")
            notice = f"{METRICS} has lines that cannot be read; it is kept as {METRICS}.old."
        elif metrics_file.has_old_columns(self.path / METRICS) and any(
            not metrics_file.has_train_loss(r) for r in rows
        ):
            with file_errors(self.path / METRICS, "read"):
                self._write(f"{METRICS}.old", (self.path / METRICS).read_bytes())
            notice = (
                f"{METRICS} has losses of an earlier version that cannot be converted; it is kept as {METRICS}.old."
            )
        self._delete(PAGE)  # it describes the run as it was, and so does the text, the last file of a report
        self._delete(TEXT)
        self._write(ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
        self._write(METRICS, metrics_file.table_text(rows, targets))
        if start is not None and self.checkpoint is None:
            write_checkpoint(self.path / LAST, start)
        self._write(RECIPE, recipe_text(recipe, environment.get("resumed") or []))
        self._delete(REPORT)  # as the page
        if self.checkpoint is not None and self.network is not None:
            self._saved = (self.network.epoch, self.network.step)
            if self.checkpoint.best_epoch == epochs > 0 and not self.checkpoint.totals:
                write_checkpoint(self.path / BEST, self.checkpoint)
        return notice

    def history(self) -> list[dict[str, float | None]]:
        """Return the metrics of all epochs by the names of the columns; None for an empty cell."""
        return [metrics_file.values(row) for row in self._metrics()]

    def metrics_of(self, epoch: int) -> dict[str, float | None]:
        """Return the metrics of an epoch by the names of the columns; {} if they are not known."""
        return next((row for row in self.history() if row["epoch"] == epoch), {})

    def record(self, event: Event) -> None:
        """Write what an event brings: the metrics and the checkpoint of an epoch, or a checkpoint that is due."""
        match event:
            case Progress():
                if self._is_due(event.step):
                    with contextlib.suppress(NotFiniteError):  # keep the older checkpoint; the run reports it next
                        self._save(event.checkpoint())
            case EpochEnded():
                with file_errors(self.path / METRICS):
                    metrics_file.append_epoch(self.path / METRICS, event, self._targets)
                self._save(event.checkpoint, best=event.checkpoint.best_epoch == event.epoch)
            case Finished():
                if event.restored:  # before the weights of the best epoch take its place
                    write_checkpoint(self.path / RESUME, event.newest)
                self._save(event.checkpoint, keep_resume=event.restored)
            case _:
                pass

    def finish(self, report: dict[str, Any]) -> None:
        """Write report.json."""
        self._write(REPORT, strict_json.dumps(report, indent=2) + "\n")

    def write_files(self, files: Iterable[tuple[str, bytes]], stop: Callable[[], bool]) -> None:
        """Write the plots and pages of the report, given as (name, content), until `stop` returns true between two.

        Then list them in report.json, from which `report_complete` knows what belongs to the report.
        """
        names = []
        for name, content in files:
            try:
                self._make_folder((self.path / name).parent)
                self._write(name, content)
            except CheckpointError as error:
                raise CheckpointError(f"{error}; the run is complete, and --resume draws the missing plots") from None
            names.append(name)
            if stop():
                return
        report = self._read_json(REPORT)
        if report.get(REPORT_FILES) != names:
            self.finish(report | {REPORT_FILES: names})

    def _read_json(self, name: str) -> dict[str, Any]:
        return read_json(self.path / name)

    def _metrics(self) -> list[metrics_file.Row]:
        return self._read_metrics()[0]

    def _read_metrics(self) -> tuple[list[metrics_file.Row], bool]:
        model = self.checkpoint.model if self.checkpoint else None
        return metrics_file.read_rows(
            self.path / METRICS, lambda row: metrics_file.convert_losses(row, self.recipe, model)
        )

    def _is_due(self, step: int) -> bool:
        if self._every.steps is not None:
            return step - max(self._saved[1], 0) >= self._every.steps
        return self._every.seconds is not None and time.monotonic() - self._saved_at >= self._every.seconds

    def _save(self, checkpoint: Checkpoint, *, best: bool = False, keep_resume: bool = False) -> None:
        if (checkpoint.epoch, checkpoint.step) != self._saved:
            write_checkpoint(self.path / LAST, checkpoint, self.path / BEST if best else None)
            self._saved = (checkpoint.epoch, checkpoint.step)
            self._saved_at = time.monotonic()
        if not keep_resume and os.path.lexists(self.path / RESUME):  # the newest state is in LAST now
            self._delete(RESUME)

    def read_best(self) -> Checkpoint | None:
        """Read the checkpoint of the best epoch before the newest one; None if there is none, or no such file."""
        checkpoint, path = self.checkpoint, self.path / BEST
        if checkpoint is None or not checkpoint.best_epoch or not os.path.lexists(path):
            return None
        best = read_checkpoint(path)
        return best if (best.epoch, best.best_loss) == (checkpoint.best_epoch, checkpoint.best_loss) else None

    def _make_folder(self, folder: Path) -> None:
        if folder != self.path and os.path.islink(folder):
            raise CheckpointError(f"{folder} is a link, and a run writes nothing outside of its folder; remove it")
        with file_errors(folder, "made"):
            folder.mkdir(exist_ok=True)

    def _write(self, name: str, content: str | bytes) -> None:
        with file_errors(self.path / name):
            replace_file(self.path / name, content.encode() if isinstance(content, str) else content)

    def _delete(self, name: str) -> None:
        with file_errors(self.path / name, "deleted"):
            (self.path / name).unlink(missing_ok=True)


@contextlib.contextmanager
def file_errors(path: Path, action: str = "written") -> Iterator[None]:
    """Turn an OSError into a CheckpointError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path} cannot be {action} ({os_error_reason(error)})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} if there is none or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_recipe(folder: Path) -> Recipe:
    """Read recipe.toml of a run folder, in which an earlier version may have left out keys (`RunFolder.recipe`)."""
    values = {"pixel_scaling": "unit"} | recipes.read(str(folder / RECIPE))
    if values.get("schedule") == "constant" and "min_lr_ratio" not in values:
        values["warmup"] = 0.0
    return recipes.merge(values, {})


def read_environment(folder: Path) -> dict[str, Any]:
    """Read environment.json of a run folder, without entries that have a wrong type; {} if there is none."""
    return valid_entries(read_json(folder / ENVIRONMENT))


def run_of_recipe(name: str) -> Path | None:
    """Return the run folder whose recipe.toml --recipe names; None for another recipe."""
    path = Path(os.path.expanduser(name)).absolute()
    return path.parent if path.name == RECIPE and read_environment(path.parent) else None


def valid_entries(environment: dict[str, Any]) -> dict[str, Any]:
    """Return environment.json without the entries that have a wrong type."""
    valid = {key: value for key, value in environment.items() if type(value) is ENVIRONMENT_TYPES.get(key, type(value))}
    digests = valid.get("sha256")
    if isinstance(digests, dict) and not all(isinstance(digest, str) for digest in digests.values()):
        del valid["sha256"]
    checks = {"init_from": is_valid_init_from, "resumed": is_valid_resumed, "rate_search": is_valid_rate_search}
    for key, is_valid in checks.items():
        if valid.get(key) is not None and not is_valid(valid[key]):
            del valid[key]
    return valid


def is_valid_name(name: str) -> bool:
    """Return whether a folder of this name can be made on every system and prints as it is in a terminal."""
    forbidden = any(c in "/\\" or c in FORBIDDEN_CHARACTERS or unicodedata.category(c) in ("Cc", "Cs") for c in name)
    reserved = name.split(".", maxsplit=1)[0].upper() in RESERVED_NAMES
    return name.strip() != "" and name[-1] not in ". " and not forbidden and not reserved


def is_unused(path: Path) -> bool:
    """Return whether a folder holds only what a run writes before it has begun."""
    if os.path.islink(path):
        return False
    try:
        if not all(
            child.name in (LOCK, ENVIRONMENT, METRICS, LAST) or child.suffix == WRITING for child in path.iterdir()
        ):
            return False
        # Initial parameters may be there, but no trained ones: metrics.csv is written before and grows with each epoch.
        return (path / METRICS).read_bytes().count(b"\n") <= 1
    except FileNotFoundError:
        return not os.path.lexists(path / LAST)
    except OSError:
        return False
