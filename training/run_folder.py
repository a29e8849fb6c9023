"""The folder of a run: claimed once, written as events come in, found again by name."""

import csv
import json
import os
import time
from pathlib import Path
from typing import Any

from training import recipe as recipes
from training.checkpoint import Checkpoint, CheckpointError, write_checkpoint
from training.events import EpochEnded, Event, Finished, Started
from training.model import Model
from training.recipe import Recipe, RecipeError

COLUMNS = (
    "epoch", "step", "images", "rate",
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds",
)  # fmt: skip
LAST = "last.safetensors"
LONGEST_WIDTHS = 100


class RunFolder:
    """A folder that belongs to one run. `record` takes every event of it; `close` adds the report."""

    def __init__(self, path: Path, recipe: Recipe, environment: dict[str, Any]) -> None:
        self.path = path
        self._model: Model | None = None
        self._saved_step = -1
        self._write("recipe.toml", recipes.dumps(recipe))
        self._write("environment.json", json.dumps(environment, indent=2) + "\n")
        self._write("metrics.csv", ",".join(COLUMNS) + "\n")

    @classmethod
    def claim(
        cls, output_dir: str, name: str | None, recipe: Recipe, widths: tuple[int, ...], environment: dict[str, Any]
    ) -> "RunFolder":
        """Make the folder, by `name` or by time and widths; whoever makes it owns it, so no two runs share one."""
        if name is not None and (name in ("", ".", "..") or set(name) & set("/\\\0:")):
            raise RecipeError(f"--name is {name!r}; expected a plain name, without slashes or colons")
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
                if name is not None:
                    raise RecipeError(f"{path} exists already; choose another --name, or delete it") from None
                attempt += 1
            except OSError as error:
                raise CheckpointError(
                    f"the run folder {path} cannot be made ({error.strerror}); choose another --output-dir"
                ) from None
            else:
                return cls(path, recipe, environment)

    def record(self, event: Event) -> None:
        """Keep what the event says: a row of metrics and a checkpoint an epoch, and the state the run ended with."""
        match event:
            case Started():
                self._model = event.model
            case EpochEnded():
                self._append_metrics(event)
                self._save(event)
            case Finished():
                self._save(event)
            case _:
                pass

    def close(self, report: dict[str, Any]) -> None:
        """Write the report."""
        self._write("report.json", json.dumps(report, indent=2) + "\n")

    def _save(self, event: EpochEnded | Finished) -> None:
        assert self._model is not None, "Started comes first"
        if event.step != self._saved_step:
            write_checkpoint(self.path / LAST, Checkpoint(self._model, event.state, event.epoch, event.step))
            self._saved_step = event.step

    def _append_metrics(self, event: EpochEnded) -> None:
        train, validation = event.train, event.validation
        row = (
            event.epoch, event.step, event.images, event.rate, train.loss, train.accuracy,
            validation and validation.loss, validation and validation.accuracy, round(event.seconds, 3),
        )  # fmt: skip
        try:
            with (self.path / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow("" if value is None else value for value in row)
        except OSError as error:
            raise CheckpointError(f"{self.path / 'metrics.csv'} cannot be written ({error.strerror})") from None

    def _write(self, name: str, content: str) -> None:
        try:
            (self.path / name).write_text(content, encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{self.path / name} cannot be written ({error.strerror})") from None


def widths_text(widths: tuple[int, ...]) -> str:
    """784-64-64-10, or, where that would be too long for a file name, 784-100-layers-10."""
    text = "-".join(map(str, widths))
    return text if len(text) <= LONGEST_WIDTHS else f"{widths[0]}-{len(widths) - 2}-layers-{widths[-1]}"


def find_checkpoint(run: str, output_dir: str = "runs") -> Path:
    """The checkpoint that RUN means: a .safetensors file, a run folder, or a run's name under `output_dir`."""
    given = Path(os.path.expanduser(run)).absolute()
    candidates = [given, Path(os.path.expanduser(output_dir)).absolute() / run]
    for candidate in candidates:
        for path in (candidate, candidate / LAST):
            if path.suffix == ".safetensors" and os.path.isfile(path):
                return path
    raise CheckpointError(
        f"there is no run {run!r}: neither {given} nor {candidates[1]} is a .safetensors file or a folder with {LAST}"
    )
