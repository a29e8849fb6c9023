"""Judge the result of a run or an evaluation: its warnings, and the error where there is no result."""

import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend, is_out_of_memory
from lagvis.data.dataset import Dataset
from lagvis.data.messages import decimals, join_names, sentence_start
from lagvis.errors import NotFiniteError
from lagvis.option_text import option, setting
from lagvis.run_warning import RunWarning
from lagvis.training.baseline import check_baseline
from lagvis.training.evaluation import Metrics
from lagvis.training.learning_check import TrainedRun, explain_baseline, explain_divergence
from lagvis.training.linear_model import LinearModel, check_linear_model, has_linear_model, train_linear_model
from lagvis.training.model import Model
from lagvis.training.not_finite import RowWithoutLoss, find_row_without_loss


@dataclass(frozen=True)
class Outcome:
    """Warnings about a result.

    error   why there is no result; "" if there is one
    linear  result of a linear model of the same table; None where a run is not compared with one
    """

    warnings: tuple[RunWarning, ...] = ()
    error: str = ""
    linear: LinearModel | None = None

    @property
    def exit_code(self) -> int:
        """6 if there is no result, else 0."""
        return NotFiniteError.exit_code if self.error else 0


def judge_run(run: TrainedRun, step: int, path: str = "") -> Outcome:
    """Return the outcome of a run whose newest call of the backend ended with `step`; `path` is its run folder.

    Without a test part the result is not compared with a baseline or a linear model.
    """
    finished, y = run.finished, run.dataset.y_test
    if finished.reason == "interrupted":
        return Outcome()
    with run.backend.limited_threads(run.plan.threads):
        if finished.reason == "diverged":
            return diverged(run, step, path)
        test_rows, params = np.arange(len(y)), finished.checkpoint.layers
        for part, metrics, rows in (
            ("test", finished.test, test_rows), ("validation", finished.validation, run.plan.validation_rows),
        ):  # fmt: skip
            if metrics is not None and not metrics.judged:
                return unjudged(part, metrics, run.dataset, rows, run.model, run.backend, params)
        if finished.test is None:
            return Outcome()
        warning = check_baseline(finished.test, run.model, y)
        warnings = (explain_baseline(warning, run),) if warning else ()
    linear = fit_linear_model(run)
    as_good = linear and check_linear_model(finished.test, linear, run.recipe, run.model.baseline(y), len(y))
    return Outcome((*warnings, as_good) if as_good else warnings, linear=linear)


def fit_linear_model(run: TrainedRun) -> LinearModel | None:
    """Return the result of a linear model of the data of a run; None for pictures, linear networks and no time.

    The run is complete without it: where the memory does not suffice, there is none.
    """
    if not has_linear_model(run.recipe, run.dataset, run.model):
        return None
    try:
        return train_linear_model(run.recipe, run.dataset, run.plan, run.model, run.backend, run.stop)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def judge_evaluation(metrics: Metrics, model: Model, backend: Backend, params: Any, dataset: Dataset) -> Outcome:
    """Return the outcome of an evaluation; the cause of a result below the baseline is not known here."""
    if not metrics.judged:
        rows = np.arange(len(dataset.x_test))
        return unjudged("test", metrics, dataset, rows, model, backend, params)
    warning = check_baseline(metrics, model, dataset.y_test)
    return Outcome((warning,) if warning else ())


def diverged(run: TrainedRun, step: int, path: str) -> Outcome:
    """Return the outcome of a run whose loss was not finite in the call after `step`."""
    finished, rate = run.finished, run.recipe.lr
    divergence = explain_divergence(run)
    trial = divergence.trial
    figures: dict[str, Any] = {"epoch": finished.epoch + 1, "step": step, "learning_rate": rate}
    figures["suggested_learning_rate"] = trial and trial.rate
    sentence = f"the loss is not a finite number in the steps after step {step:,}, in epoch {finished.epoch + 1}"
    kept = f". last.safetensors holds step {finished.step}, of epoch {finished.epoch}" if path else ""
    if trial is not None:
        start = "from that state" if divergence.from_end else "no rate helps from that state; from the beginning"
        way = f"--resume {shlex.quote(path)}" if divergence.from_end else "a new run with"
        falls = f"from {decimals(divergence.before)} to {decimals(trial.loss)} in {trial.steps} steps"
        sentence += f"; the learning rate {rate:g} is too high{kept}"
        if path:
            sentence += f"; {start}, --lr {trial.rate:g} lowers the loss {falls}. Try {way} --lr {trial.rate:g}"
        else:
            sentence += f"; with {option('lr', trial.rate)} the loss falls {falls}"
    elif divergence.found is not None:
        params = run.finished.checkpoint.layers
        cause, figures["row"] = row_cause(divergence.found, run.dataset, params, "training", run.recipe.dtype)
        sentence += f": {cause}{kept}"
    else:
        sentence += f"; the learning rate {rate:g} is too high{kept}. Try a far lower {setting('lr')}"
    return Outcome((RunWarning("diverged", f"{sentence_start(sentence)}.", figures),), f"{sentence}.")


def unjudged(
    part: str, metrics: Metrics, dataset: Dataset, rows: np.ndarray, model: Model, backend: Backend, params: Any
) -> Outcome:
    """Return the outcome of a "test" or "validation" part without finite metrics.

    `rows` are the indices of its rows in the test rows or the training rows of the data set.
    """
    figures: dict[str, Any] = {"part": part, "row": None}
    sentence = f"the {part} part cannot be judged"
    if metrics.finite:
        names = [name for name, error in zip(model.target_names, metrics.errors, strict=True) if not np.isfinite(error)]
        sentence += f": the error of {join_names(names)} is larger than float64 can hold; divide it by a constant"
    else:
        held_in, x, y = "test", dataset.x_test, dataset.y_test
        if part == "validation":
            held_in, x, y = "training", dataset.x_train, dataset.y_train
        found = find_row_without_loss(model, backend, params, x, y, rows)
        cause = "the sum of its losses is too large; predictions are far off in many rows"
        if found is not None:
            cause, figures["row"] = row_cause(found, dataset, params, held_in, backend.dtype)
        sentence += f", because its loss is not a finite number: {cause}"
    return Outcome((RunWarning("not_judged", f"{sentence_start(sentence)}.", figures),), f"{sentence}.")


def row_cause(found: RowWithoutLoss, dataset: Dataset, params: Any, part: str, dtype: str) -> tuple[str, str | None]:
    """Return why rows of a part have no finite loss, and the place of the row that is to blame.

    If most rows have none, the weights are too large, or the values of all rows; the place is then None.
    """
    if found.in_most_rows:
        largest = max(float(np.abs(array).max()) for layer in params for array in layer.values())
        cause = (
            f"the weights, up to {largest:.1e}, or the values of the rows are too large for {dtype} in most rows of "
            f"the {part} part; train with a lower {setting('lr')}, or check that the data are those that the "
            "network takes"
        )
        return cause, None
    place = dataset.locate_row(part, found.row)
    remedy = "correct or remove it" + (f", or use {option('dtype', 'float64')}" if dtype == "float32" else "")
    return f"{place} has values too large for {dtype}; {remedy}", place
