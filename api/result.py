"""The result of `lagvis.train`."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lagvis.api.setup import PreparedRun
from lagvis.api.trained_model import TrainedModel
from lagvis.report.summary import Summary, rate_search_summary, summarise_run, summary_text
from lagvis.run_warning import RunWarning
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.outcome import Outcome
from lagvis.training.recipe import Recipe

if TYPE_CHECKING:
    from lagvis.api.report import Report


class TrainingResult:
    """A finished training.

    model                     the trained network
    history                   {name: one number an epoch}: epoch, step, learning_rate, train_loss, validation_accuracy,
                              ..., as the columns of metrics.csv; None where there is no number
    train, validation, test   Metrics of each part: `loss`, `accuracy`, `errors`, `confusion`; None without such a part
    recipe                    all settings of the training
    reason                    "completed" or "interrupted"
    seconds                   of training, without loading and evaluation
    notices                   sentences on what was decided about the data and the device
    warnings                  what makes the result look better, or mean less, than it seems

    `print` shows it as train.py does, a notebook as a table.
    """

    def __init__(
        self, run: PreparedRun, finished: Finished, history: Sequence[dict[str, float | None]], outcome: Outcome
    ) -> None:
        self._run, self._finished, self._outcome, self._epochs = run, finished, outcome, history
        self.model = TrainedModel(finished.checkpoint)
        self.train: Metrics | None = finished.train
        self.validation: Metrics | None = finished.validation
        self.test: Metrics | None = finished.test
        self.recipe: Recipe = run.recipe
        self.reason = finished.reason
        self.seconds = finished.seconds
        self.notices = run.notices
        self.warnings: tuple[RunWarning, ...] = (*run.warnings, *outcome.warnings)

    @property
    def history(self) -> dict[str, list[float | None]]:
        """Return one list of numbers for each column of metrics.csv, with a number for each epoch."""
        return {name: [epoch[name] for epoch in self._epochs] for name in (self._epochs[0] if self._epochs else ())}

    @cached_property
    def summary(self) -> Summary:
        """The result as one object of plain values, with the keys of `train.py --json` (docs/json.md)."""
        run = self._run
        facts = {
            "run": None, "backend": run.backend.name, "device": run.backend.device, "seed": run.recipe.seed,
            "dtype": run.recipe.dtype, "rate_search": rate_search_summary(run.rate_search),
        }  # fmt: skip
        return summarise_run(
            self._finished, run.model, run.dataset, facts, self._epochs,
            linear=self._outcome.linear, warnings=self.warnings,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained network to a .safetensors file; see `TrainedModel.save`."""
        self.model.save(path)

    def report(self) -> "Report":
        """Draw the report of the training, as the command writes it into its run folder: a notebook shows it.

        It is about the test part; without one, about the validation rows. Nothing is written until `Report.save`.
        Raises DrawingError if matplotlib cannot be imported.

        >>> import numpy as np
        >>> import lagvis as lv
        >>> pictures = np.zeros((60, 8, 8), np.uint8)
        >>> pictures[::2, 2:6] = pictures[1::2, :, 2:6] = 255
        >>> data = lv.Dataset.from_arrays(pictures, ["flat", "upright"] * 30, test=0.2)
        >>> report = lv.train(data, epochs=2).report()
        >>> "weights" in report.figures, report.figures["curves"][1:4]
        (True, b'PNG')
        """
        from lagvis.api.report import make_report

        return make_report(self._run, self._finished, self.summary, [*self._epochs])

    def _repr_html_(self) -> str:
        from lagvis.report.notebook.result import result_html

        return result_html(self.summary, self._run.model, [*self._epochs])

    def __str__(self) -> str:
        return summary_text(self.summary)

    def __repr__(self) -> str:
        shown: dict[str, Any] = {"reason": self.reason, "epochs": self._finished.epoch}
        for part in ("train", "validation", "test"):
            metrics: Metrics | None = getattr(self, part)
            if metrics is not None:
                name = "loss" if metrics.accuracy is None else "accuracy"
                shown[f"{part}_{name}"] = round(getattr(metrics, name), 4)
        if self.warnings:
            shown["warnings"] = len(self.warnings)
        values = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"TrainingResult({self.summary['network']}, {values})"
