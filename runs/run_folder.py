"""The folder of a run: claimed once, written as events come in, found again by name."""

import contextlib
import csv
import errno
import json
import os
import re
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock

from lagvis.errors import CheckpointError, NotFiniteError, RecipeError
from lagvis.runs.atomic import WRITING, replace_file
from lagvis.runs.checkpoint_file import os_error_reason, read_checkpoint, write_checkpoint
from lagvis.runs.environment import is_valid_init_from, is_valid_resumed
from lagvis.runs.filenames import BEST, ENVIRONMENT, LAST, LOCK, METRICS, PAGE, PLOTS, RECIPE, REPORT, TEXT
from lagvis.training import recipe as recipes
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import EpochEnded, Event, Finished, Progress
from lagvis.training.model import widths_text
from lagvis.training.recipe import Recipe

COLUMNS = (
    "epoch", "step", "samples", "learning_rate",
    "train_loss", "train_objective", "train_accuracy", "validation_loss", "validation_accuracy", "seconds",
)  # fmt: skip
# Of earlier versions: train_loss was the objective, and the losses of regression were in the user's unit squared.
COLUMNS_BEFORE = tuple(name for name in COLUMNS if name != "train_objective")
METRICS_BEFORE = f"{METRICS}.old"
# Of environment.json, what a resume goes by.
TYPES = {"backend": str, "device": str, "compiled": bool, "threads": int, "sha256": dict}
# What Windows has in no file name, and the names it keeps for devices.
FORBIDDEN = '<>:"|?*'
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


@dataclass(frozen=True)
class CheckpointInterval:
    """How often a checkpoint is taken within an epoch: after so many steps, or so many seconds."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, words: str) -> "CheckpointInterval":
        """500 (steps) or 10m (minutes); RecipeError for anything else."""
        with contextlib.suppress(ValueError):
            if words.endswith("m") and 0 < float(words[:-1]) < float("inf"):
                return cls(seconds=60 * float(words[:-1]))
            if int(words) >= 1:
                return cls(steps=int(words))
        raise RecipeError(f"--checkpoint-every is {words!r}; expected a number of steps (500) or of minutes (10m)")


class RunFolder:
    """A folder that belongs to one run, and to one process for as long as it is open.

    `record` takes every event, `finish` adds the report, `keep` the pictures.
    """

    def __init__(self, path: Path, every: CheckpointInterval) -> None:
        self.path = path
        self.seconds = 0.0  # of training in earlier parts of the run
        self.checkpoint: Checkpoint | None = None
        self.earlier: dict[str, Any] = {}  # the environment of the part before
        self._every = every
        self._saved = (-1, -1)
        self._saved_at = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # where there are no locks of the system, the library makes its own
                self._lock = filelock.FileLock(path / LOCK)
                self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise CheckpointError(f"another process is training in {path}; wait for it, or stop it") from None
        except OSError as error:
            what = "locked" if error.errno == errno.ENOLCK else "written"
            raise CheckpointError(
                f"the run folder {path} cannot be {what} ({error.strerror}); choose another --output-dir"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    @classmethod
    def claim(
        cls, output_dir: str, name: str | None, widths: tuple[int, ...], every: CheckpointInterval
    ) -> "RunFolder":
        """Make the folder, by `name` or by time and widths; whoever makes it owns it, so no two runs share one."""
        if name is not None and not is_plain(name):
            raise RecipeError(
                f"--name is {name!r}; expected a name that every system takes for a folder: no slashes, none of "
                f"{FORBIDDEN}, no control characters, no dot or blank at the end, no device such as con"
            )
        parent = Path(os.path.expanduser(output_dir)).absolute()
        if os.path.expanduser(output_dir).startswith("~"):
            raise RecipeError(f"there is no home folder for {output_dir!r}; choose another --output-dir")
        base = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{widths_text(widths)}"
        attempt = 1
        while True:
            path = parent / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except FileExistsError:
                if not parent.is_dir():
                    raise CheckpointError(f"{parent} is a file, not a folder; choose another --output-dir") from None
                if name is not None and never_begun(path):
                    folder = cls(path, every)
                    if never_begun(path):  # still, now that it is ours
                        return folder
                if name is not None:
                    raise RecipeError(
                        f"{path} exists already; choose another --name, go on with it by --resume, or delete it"
                    ) from None
                attempt += 1
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG and name is not None:
                    raise RecipeError(f"--name is too long for this system ({name!r}); shorten it") from None
                raise CheckpointError(
                    f"the run folder {path} cannot be made ({error.strerror}); choose another --output-dir"
                ) from None
            else:
                return cls(path, every)

    @classmethod
    def reopen(cls, path: Path, every: CheckpointInterval) -> "RunFolder":
        """The folder of a run that has begun, with its newest checkpoint; CheckpointError where it holds none."""
        if not (path / RECIPE).is_file():
            raise CheckpointError(f"{path} holds no {RECIPE}: nothing has begun there; train without --resume")
        folder = cls(path, every)
        folder.earlier = valid_fields(folder._read_json(ENVIRONMENT))
        for half in (*path.glob(f"*{WRITING}"), *path.glob(f"{PLOTS}/*{WRITING}")):  # of a process that was killed
            with contextlib.suppress(OSError):
                half.unlink()
        if (path / LAST).exists():
            folder.checkpoint = read_checkpoint(path / LAST)
        elif (path / BEST).exists() or len(folder._metrics()) > 1 or folder._read_json(REPORT).get("steps"):
            best = f", or begin a new run with --init-from {path / BEST}" if (path / BEST).exists() else ""
            raise CheckpointError(f"{path} was trained, and its {LAST} is gone; bring it back{best}")
        return folder

    @property
    def recipe(self) -> Recipe:
        """What the run was begun with."""
        return recipes.load(str(self.path / RECIPE))

    def finished(self, recipe: Recipe) -> dict[str, Any]:
        """The report, if all epochs of a recipe are done and reported; else nothing."""
        report, checkpoint = self._read_json(REPORT), self.checkpoint
        if checkpoint is None or checkpoint.epoch != recipe.epochs:
            return {}
        expected = {"finished": "completed", "steps": checkpoint.step, "classes": [*checkpoint.model.class_names]}
        found = {"classes": []} | report  # of numbers there are none
        return report | {"run": str(self.path)} if expected.items() <= found.items() else {}

    @property
    def drawn(self) -> bool:
        """Whether the page is there, which is written last, and every picture that the text before it shows."""
        try:
            text = (self.path / TEXT).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return False
        pictures = re.findall(rf"^!\[.*\]\(({PLOTS}/\w+\.png)\)$", text, re.MULTILINE)
        return all((self.path / name).is_file() for name in (*pictures, PAGE))

    def _read_json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder; an empty one where there is none, or no whole one."""
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, recipe: Recipe, environment: dict[str, Any], start: Checkpoint | None = None) -> str:
        """Write what is in force, and a `start` of other parameters than those that the seed draws.

        Of earlier metrics the epochs are kept that the checkpoint has, once each; a file that lacks some of them is
        kept beside, which is then said in the line that comes back. The recipe comes last: where it stands, the run
        has begun.
        """
        whole = self.checkpoint.epoch if self.checkpoint else 0
        rows = [row for row in self._metrics() if int(row[0]) <= whole]
        self.seconds = float(rows[-1][COLUMNS.index("seconds")]) if rows else 0.0
        lost = self._keep_earlier_metrics()
        if len(rows) < whole and (self.path / METRICS).exists():
            (self.path / METRICS).replace(self.path / METRICS_BEFORE)
            lost = f"{METRICS} lacks epochs that were trained; it is kept as {METRICS_BEFORE}, and a new one goes on."
        with contextlib.suppress(OSError):
            (self.path / PAGE).unlink()  # it speaks of the run as it was
        self._write(ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
        self._write(METRICS, "".join(",".join(row) + "\n" for row in (COLUMNS, *rows)))
        if start is not None and self.checkpoint is None:
            write_checkpoint(self.path / LAST, start)
        self._write(RECIPE, recipes.dumps(recipe))
        (self.path / REPORT).unlink(missing_ok=True)  # it told of the part before
        if self.checkpoint is not None:
            self._saved = (self.checkpoint.epoch, self.checkpoint.step)
            if self.checkpoint.best_epoch == whole > 0 and not self.checkpoint.totals:
                write_checkpoint(self.path / BEST, self.checkpoint)
        return lost

    def history(self) -> list[dict[str, float | None]]:
        """A row an epoch, by the names of the columns; None for what does not exist."""
        return [
            {name: float(v) if v else None for name, v in zip(COLUMNS, row, strict=True)} for row in self._metrics()
        ]

    def latest_metrics(self) -> dict[str, float | None]:
        """Of the newest whole epoch, by the names of the columns: {"train_loss": 0.52, ...}; empty before the first."""
        rows = self._metrics()
        values = dict(zip(COLUMNS, rows[-1], strict=True)) if rows else {}
        return {k: float(v) if v else None for k, v in values.items() if k.startswith(("train_", "validation_"))}

    def _metrics(self) -> list[list[str]]:
        """Whole rows of earlier parts of the run, an epoch each, in order."""
        try:
            header, *lines = (self.path / METRICS).read_text(encoding="utf-8").split("\n")[:-1] or [""]
        except (OSError, ValueError):
            return []
        before = len(header.split(",")) == len(COLUMNS_BEFORE)
        columns = COLUMNS_BEFORE if before else COLUMNS
        rows: list[list[str]] = []
        for row in (line.split(",") for line in lines):
            if len(row) == len(columns) and row[0] == str(len(rows) + 1) and all(map(is_cell, row[1:])) and row[-1]:
                rows.append(row)
        return [self._converted(dict(zip(columns, row, strict=True))) for row in rows] if before else rows

    def _converted(self, row: dict[str, str]) -> list[str]:
        """Return a row of an earlier version as one of today; a loss that cannot be converted becomes an empty cell."""
        recipe = self.recipe
        objective = row["train_loss"]
        if not recipe.regression:
            plain = not recipe.label_smoothing and recipe.class_weights == "none"
            row = row | {"train_objective": objective, "train_loss": objective if plain else ""}
        else:
            scaling = self.checkpoint.model.y_scaling if self.checkpoint else None
            known = scaling is not None and len(scaling.deviation) == 1
            for name in ("train_loss", "validation_loss"):
                loss = float(row[name]) / float(scaling.deviation[0]) ** 2 if known and scaling and row[name] else ""
                row = row | {name: str(loss)}
            row["train_objective"] = row["train_loss"]
        return [row[name] for name in COLUMNS]

    def _keep_earlier_metrics(self) -> str:
        """Copy a file of an earlier version's columns beside, before its rows are converted; return a notice of it."""
        try:
            content = (self.path / METRICS).read_bytes()
        except OSError:
            return ""
        header = content.partition(b"\n")[0]
        if content.count(b"\n") < 2 or len(header.split(b",")) != len(COLUMNS_BEFORE):
            return ""
        self._write(METRICS_BEFORE, content)
        return (
            f"{METRICS} has the columns of an earlier version; it is kept as {METRICS_BEFORE}, and a new one goes on."
        )

    def record(self, event: Event) -> None:
        """Keep what the event says: a row of metrics and a checkpoint an epoch, one now and then within a long one."""
        match event:
            case Progress():
                if self._is_due(event.step):
                    with contextlib.suppress(NotFiniteError):  # the next call will tell; what is kept is better
                        self._save(event.checkpoint())
            case EpochEnded():
                self._append_metrics(event)
                self._save(event.checkpoint, best=event.checkpoint.best_epoch == event.epoch)
            case Finished():
                self._save(event.checkpoint)
            case _:
                pass

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report."""
        self._write(REPORT, json.dumps(report, indent=2) + "\n")

    def keep(self, files: Iterable[tuple[str, bytes]], stop: Callable[[], bool]) -> None:
        """Write files by name (the page, and pictures under plots/) as they come, until `stop`, asked between them."""
        for name, content in files:
            try:
                self._make((self.path / name).parent)
                self._write(name, content)
            except CheckpointError as error:
                raise CheckpointError(f"{error}; the run is whole, and --resume draws what is missing") from None
            if stop():
                return

    def _is_due(self, step: int) -> bool:
        if self._every.steps is not None:
            return step - max(self._saved[1], 0) >= self._every.steps
        return self._every.seconds is not None and time.monotonic() - self._saved_at >= self._every.seconds

    def _save(self, checkpoint: Checkpoint, *, best: bool = False) -> None:
        if (checkpoint.epoch, checkpoint.step) != self._saved:
            write_checkpoint(self.path / LAST, checkpoint, self.path / BEST if best else None)
            self._saved = (checkpoint.epoch, checkpoint.step)
            self._saved_at = time.monotonic()

    def _append_metrics(self, event: EpochEnded) -> None:
        train, validation = event.train, event.validation
        row = (
            event.epoch, event.step, event.samples, event.learning_rate,
            train.loss, train.loss if train.objective is None else train.objective, train.accuracy,
            validation and validation.loss, validation and validation.accuracy, round(event.seconds, 3),
        )  # fmt: skip
        try:
            with (self.path / METRICS).open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow("" if value is None else value for value in row)
                file.flush()
                os.fsync(file.fileno())  # before the checkpoint that says that the epoch is done
        except OSError as error:
            raise CheckpointError(f"{self.path / METRICS} cannot be written ({os_error_reason(error)})") from None

    def _make(self, folder: Path) -> None:
        if folder != self.path and os.path.islink(folder):
            raise CheckpointError(f"{folder} is a link, and a run writes nothing outside its folder: remove it")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be made ({os_error_reason(error)})") from None

    def _write(self, name: str, content: str | bytes) -> None:
        try:
            replace_file(self.path / name, content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise CheckpointError(f"{self.path / name} cannot be written ({os_error_reason(error)})") from None


def is_cell(text: str) -> bool:
    """Whether it is what stands in a cell of metrics.csv: a number, or nothing."""
    number = r"(-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?|nan|-?inf)?"
    return re.fullmatch(number, text, re.ASCII) is not None


def valid_fields(environment: dict[str, Any]) -> dict[str, Any]:
    """What a resume takes from environment.json, without what is not of its type, as if it were not there."""
    found = {key: value for key, value in environment.items() if type(value) is TYPES.get(key, type(value))}
    digests = found.get("sha256")
    if isinstance(digests, dict) and not all(isinstance(digest, str) for digest in digests.values()):
        del found["sha256"]
    for key, is_valid in (("init_from", is_valid_init_from), ("resumed", is_valid_resumed)):
        if found.get(key) is not None and not is_valid(found[key]):
            del found[key]
    return found


def is_plain(name: str) -> bool:
    """Whether a name is that of a folder right here, on any system, and shows as it is in a terminal."""
    strange = any(c in "/\\" or c in FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs") for c in name)
    device = name.split(".", maxsplit=1)[0].upper() in DEVICES
    return name.strip() != "" and name[-1] not in ". " and not strange and not device


def never_begun(path: Path) -> bool:
    """Whether it is the folder of a run that ended before its recipe stood in it, and nobody put anything there."""
    if path.is_symlink() or not path.is_dir():
        return False
    mine = {LOCK, ENVIRONMENT, METRICS, LAST}
    if not all(child.name in mine or child.suffix == WRITING for child in path.iterdir()):
        return False
    # the weights that it was to begin with may stand there, but none that it trained
    begun = path / METRICS
    return begun.read_bytes().count(b"\n") <= 1 if begun.exists() else not (path / LAST).exists()
