"""Name what prevented a run from learning: the suspect that short trainings at other learning rates point to."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.checks import check_dark_pixels, check_many_classes, find_constant_targets
from lagvis.data.dataset import Dataset
from lagvis.data.messages import decimals, percent, pluralize
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.step import evaluated_layers
from lagvis.option_text import option, setting, targets_option
from lagvis.run_warning import RunWarning
from lagvis.training.baseline import CHANCE_DEVIATIONS, beats_constant
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.linear_model import mean_label_entropy, mean_recall
from lagvis.training.model import Model
from lagvis.training.not_finite import RowWithoutLoss, find_row_without_loss
from lagvis.training.plan import Plan
from lagvis.training.rate_trials import RATES, TRIAL_STEPS, RateTrials, Trial, best_trial, lower_rates
from lagvis.training.recipe import Recipe

MAX_SEARCH_SECONDS = 3.0  # for a training row without a finite loss
MIN_GAIN = 0.05  # of the baseline's loss, by which a trial must do better than the run; few judged rows need more
# Keys that hold the weights or the steps back, or disturb what is learned from.
REGULARIZING_KEYS = (
    "weight_decay", "dropout", "input_dropout", "input_noise", "mixup", "l1", "max_norm", "clip_norm",
)  # fmt: skip

Suspect = tuple[str | None, str, dict[str, Any]]  # its name, a sentence without its full stop, and figures


@dataclass(frozen=True)
class TrainedRun:
    """A run that has ended, and what is needed to train copies of it.

    `first_state` returns its state before the first step, `warnings` are those about the data.
    """

    recipe: Recipe
    dataset: Dataset
    plan: Plan
    model: Model
    backend: Backend
    first_state: Callable[[], Any]
    finished: Finished
    stop: Callable[[], bool]
    warnings: tuple[RunWarning, ...] = ()

    @property
    def other_scale(self) -> bool:
        """Whether rows are on another scale than those that this run, or the one that it began with, learned from."""
        return any(warning.check == "input_scale" for warning in self.warnings)

    def stop_or_timeout(self) -> Callable[[], bool]:
        """Return a function that is true once a stop was requested or MAX_SEARCH_SECONDS from now have passed."""
        deadline = time.monotonic() + MAX_SEARCH_SECONDS
        return lambda: self.stop() or time.monotonic() > deadline

    def trials(self) -> RateTrials:
        """Return the trials on a sample of the training rows."""
        return RateTrials(self.recipe, self.dataset, self.plan, self.model, self.backend, self.stop)


def explain_baseline(warning: RunWarning, run: TrainedRun) -> RunWarning:
    """Return the warning that a run is no better than the baseline, with its suspect in message and figures.

    The suspects: "no_steps", "learning_rate_too_high", "learning_rate_too_low", "too_few_steps", "features",
    "not_general" (the training rows are learned, others are not), "test_part_differs", "input_scale",
    "constant_targets" and "dark_pixels"; None if the trials had no time.
    """
    suspect, sentence, figures = find_suspect(warning, run)
    message = f"{warning.message} Suspect: {sentence}." if suspect else warning.message
    return replace(warning, message=message, figures={**warning.figures, "suspect": suspect, **figures})


def find_suspect(warning: RunWarning, run: TrainedRun) -> Suspect:
    """Return the suspect of a run that is no better than the baseline."""
    finished = run.finished
    if known := find_known_cause(run):
        return known
    names = run.model.target_names or (run.model.class_names if run.model.multi_label else ())
    unlearned = warning.figures.get("targets") or warning.figures.get("labels")
    if unlearned and len(unlearned) < len(names) and beats_baseline_in_all(warning, run):
        kind = "targets" if run.model.target_names else "labels"
        return "features", f"the other {kind} are learned, so the features may say nothing about these", {}
    trials = run.trials()
    final = trials.judge(finished.state)
    if final.finite and trials.beats(final):
        return explain_learned_training(run, final)
    own, others = try_rates(trials, run)
    if own is None:
        return None, "", {}
    return compare_trials(run, trials, final, own, others)


def beats_baseline_in_all(warning: RunWarning, run: TrainedRun) -> bool:
    """Return whether a result of targets or labels is better than the baseline, although some of them are not."""
    figures = warning.figures
    if run.model.multi_label:
        return bool(figures["accuracy"] > figures["baseline_accuracy"])
    return beats_constant(run.model.loss, figures["loss"], figures["baseline_loss"], len(run.dataset.y_test))


def find_known_cause(run: TrainedRun) -> Suspect | None:
    """Return the suspect that is known without trials; None where there is none."""
    if run.finished.step == 0:
        return "no_steps", f"no step was taken; train with {option('epochs', 1)} or more", {}
    if run.other_scale:
        return "input_scale", "the values are on another scale than those learned from, as a warning above says", {}
    names = run.dataset.target_names
    if names and len(find_constant_targets(run.dataset)) == len(names):
        return "constant_targets", "there is nothing to learn, as no target varies in the training rows", {}
    return None


def explain_learned_training(run: TrainedRun, final: Metrics) -> Suspect:
    """Return the suspect of a run that learned its training rows."""
    result = f"loss {decimals(final.loss)}" if final.accuracy is None else f"accuracy {percent(final.accuracy)}"
    if run.recipe.class_weights != "none" and final.confusion is not None:  # the accuracy may be that of no answer
        result = f"mean recall of the classes {percent(mean_recall(final.confusion))}"
    validation, y = run.finished.validation, run.dataset.y_train[run.plan.validation_rows]
    if validation is not None and validation.finite and validation_beats_baseline(validation, run.model, y):
        return (
            "test_part_differs",
            "the validation rows are predicted well and the test rows are not, so the test part differs from the "
            "training part (other columns, labels or units?)",
            {},
        )
    amounts = f"; labels that are amounts are predicted as numbers with {targets_option('numbers')}"
    return (
        "not_general",
        f"the training rows are learned ({result}) and the test rows are not: there are too few training rows, or the "
        f"features say nothing about the label{amounts if check_many_classes(run.dataset) else ''}",
        {},
    )


def validation_beats_baseline(metrics: Metrics, model: Model, y: np.ndarray) -> bool:
    """Return whether the metrics of the validation part, without confusion counts, are better than the baseline."""
    if (baseline := model.baseline(y)) is not None:
        return beats_constant(model.loss, metrics.loss, baseline, len(y))
    assert metrics.accuracy is not None, "classes have an accuracy"
    shares = y.mean(axis=0) if model.multi_label else np.bincount(y) / len(y)
    share = float(np.maximum(shares, 1 - shares).mean() if model.multi_label else shares.max())
    return metrics.accuracy > share + CHANCE_DEVIATIONS * math.sqrt(share * (1 - share) / y.size)


def try_rates(trials: RateTrials, run: TrainedRun) -> tuple[Trial | None, list[Trial]]:
    """Return the trial at the rate of the run, and those at other rates, all from the first state of the run."""
    start = run.first_state()
    own = trials.run(start, run.recipe.lr)
    allowed = [rate for rate in RATES if rate < run.recipe.rate_limit]
    others = trials.run_all(start, [rate for rate in allowed if not math.isclose(rate, run.recipe.lr)])
    return own, others


def compare_trials(run: TrainedRun, trials: RateTrials, final: Metrics, own: Trial, others: list[Trial]) -> Suspect:
    """Return the suspect that the trials point to.

    A trial is better than the run if its loss is clearly lower, and either it beats the baseline or the run does not
    even reach the loss of a constant answer.
    """
    reached = final.loss if final.finite else math.inf
    constant = constant_loss(run, trials)
    margin = (MIN_GAIN + 1 / math.sqrt(len(trials.judged_rows))) * constant
    rate, steps = run.recipe.lr, run.finished.step

    better = [
        trial
        for trial in (own, *others)
        if reached - trial.loss > margin and (trial.beats_baseline or reached - constant > margin)
    ]
    best = best_trial(better)
    if best is None:
        if run.model.ranges and (dark := check_dark_pixels(run.dataset, run.model.ranges)):
            return "dark_pixels", dark[0].message.removesuffix("."), {}
        tried = sorted(trial.rate for trial in (own, *others))
        return (
            "features",
            f"no learning rate from {tried[0]:g} to {tried[-1]:g} did better in {own.steps} steps; the features may "
            f"say nothing about the label, or the network may not suit them ({setting('hidden')})"
            f"{held_back_by(run.recipe)}",
            {"tried_rates": tried},
        )
    own_is_enough = own in better and (best.loss >= own.loss or reached - own.loss > 0.5 * (reached - best.loss))
    too_few = f"{pluralize(steps, 'step')} {'is' if steps == 1 else 'are'} too few"
    if own_is_enough and steps < TRIAL_STEPS:
        return (
            "too_few_steps",
            f"{too_few}: after {own.steps} the loss is {decimals(own.loss)}, instead of {decimals(reached)}; use more "
            f"{setting('epochs')} or a smaller {setting('batch_size')}",
            {"steps": steps},
        )
    lower = best_trial([trial for trial in better if trial.rate < rate])
    if lower is not None and (own_is_enough or best.rate < rate):
        return suspected_rate("high", rate, lower, reached)
    if best.rate > rate:
        return suspected_rate("low", rate, best, reached)
    shorter = f" or less {setting('warmup')}" if run.recipe.warmup else ""
    return (
        "too_few_steps",
        f"{too_few} at the rates of the schedule; use more {setting('epochs')}{shorter}",
        {"steps": steps},
    )


def held_back_by(recipe: Recipe) -> str:
    """Return the end of a sentence that names what regularises the steps of a recipe, beyond the optimizer's default.

    It is the same in every trial.
    """
    usual = dict.fromkeys(REGULARIZING_KEYS, 0.0) | OPTIMIZERS[recipe.optimizer].settings
    used = {key: getattr(recipe, key) for key in REGULARIZING_KEYS if getattr(recipe, key) > usual[key]}
    options = [option(key, value) for key, value in used.items()]
    return f", or too much holds it back ({', '.join(options)})" if options else ""


def suspected_rate(which: str, rate: float, trial: Trial, reached: float) -> Suspect:
    """Return the suspect of a rate that is too "high" or too "low" for a run with the loss `reached`."""
    return (
        f"learning_rate_too_{which}",
        f"the learning rate {rate:g} is too {which}; with {option('lr', trial.rate)} the loss falls to "
        f"{decimals(trial.loss)} in {trial.steps} steps, instead of {decimals(reached)}",
        {"learning_rate": rate, "suggested_learning_rate": trial.rate},
    )


def constant_loss(run: TrainedRun, trials: RateTrials) -> float:
    """Return the loss on the judged rows of the best constant answer."""
    y = run.dataset.y_train
    if (baseline := run.model.baseline(y[trials.judged_rows])) is not None:
        return baseline
    if run.model.multi_label:
        return mean_label_entropy(y[run.plan.training_rows].mean(axis=0))
    if run.recipe.class_weights != "none":
        return math.log(run.model.widths[-1])
    shares = np.bincount(y[run.plan.training_rows], minlength=run.model.widths[-1]) / len(run.plan.training_rows)
    return float(-np.log(shares[y[trials.judged_rows]]).mean())


@dataclass(frozen=True)
class Divergence:
    """Why a loss was not finite: a learning rate that was too high, or rows that have no finite loss at any rate.

    trial     the best lower rate; None if none was found
    from_end  whether the trial continued the last finite state of the run, and not its first state
    before    loss on the judged rows before the trial
    found     the row of the training part without a finite loss, if there is no trial
    """

    trial: Trial | None = None
    from_end: bool = True
    before: float = math.inf
    found: RowWithoutLoss | None = None


def explain_divergence(run: TrainedRun) -> Divergence:
    """Return why the loss of a run was not finite: lower rates are tried from its last finite state, then its first."""
    data, rows = run.dataset, run.plan.training_rows
    starts = [(run.finished.state, True)] + ([(run.first_state(), False)] if run.finished.step else [])
    trials = run.trials()
    found = None
    for state, from_end in starts:
        layers = evaluated_layers(state)
        found = find_row_without_loss(
            run.model, run.backend, layers, data.x_train, data.y_train, rows, run.stop_or_timeout()
        )
        if found is None:
            before = trials.judge(state).loss
            best = best_trial(trials.run_all(state, lower_rates(run.recipe.lr)))
            if best is not None and best.loss < before:
                return Divergence(best, from_end, before)
    return Divergence(found=found)
