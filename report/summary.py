"""The result of a run or an evaluation: one object for programs (--json, report.json), and its text for people."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import MAX_ERROR, decimals, percent, pluralize
from lagvis.inference.binary_curves import BinaryCurves, binary_summary, find_binary_curves, find_label_curves
from lagvis.network.losses import LABEL_LOSSES, LOSSES, REGRESSION_LOSSES
from lagvis.report.label_summary import LABEL_KEYS, LABEL_METRICS, label_rows, label_summary, labels_text
from lagvis.report.text import (
    align_columns,
    confusion_text,
    display_name,
    duration,
    errors_text,
    escape_control,
    finite_or_none,
)
from lagvis.report.validation_turn import MIN_RISE, History, turn_sentence, validation_turn
from lagvis.run_warning import RunWarning, is_warning
from lagvis.storage.metrics_file import target_errors
from lagvis.training.baseline import CHECK as BASELINE_CHECK
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.linear_model import CHECK as LINEAR_CHECK
from lagvis.training.linear_model import LinearModel
from lagvis.training.model import Model
from lagvis.training.plan import Plan

Summary = dict[str, Any]

PARTS = ("train", "validation", "test")
MAX_CONFUSION_CLASSES = 1000  # of a report with confusion counts: those of 10,000 classes would be 200 MB of text
MAX_INTEGER = 2**53  # larger integers of a file are no counts of a run


def metrics_summary(part: str, metrics: Metrics | None, model: Model) -> Summary:
    """Return loss, accuracy and the errors of the targets of a part of the data; null where undefined.

    The keys are `<part>_loss`, `<part>_accuracy` and `<part>_errors`, {target: root mean square error in its unit}.
    """
    metrics = metrics if metrics is not None and metrics.finite else None  # without a loss the accuracy means nothing
    return {
        f"{part}_loss": metrics and metrics.loss,
        f"{part}_accuracy": finite_or_none(metrics and metrics.accuracy),
        f"{part}_errors": errors_by_target(metrics.errors if metrics else (), model),
    }


def errors_by_target(errors: Sequence[float | None], model: Model) -> dict[str, float | None] | None:
    """Return errors by the names of the targets, null where one is not finite; None without errors."""
    if not errors:
        return None
    return {name: finite_or_none(error) for name, error in zip(model.target_names, errors, strict=True)}


def stored_metrics_summary(row: dict[str, float | None], model: Model) -> Summary:
    """Return the metrics of an epoch, read from metrics.csv, as `metrics_summary` of both parts does."""
    if not row:
        return {}
    summary: Summary = {"train_objective": finite_or_none(row["train_objective"])}
    for part in ("train", "validation"):
        loss = finite_or_none(row[f"{part}_loss"])
        summary |= {
            f"{part}_loss": loss,
            f"{part}_accuracy": None if loss is None else finite_or_none(row[f"{part}_accuracy"]),
            f"{part}_errors": errors_by_target(target_errors(row, part), model),
        }
    return summary


def run_details(
    test: Metrics | None,
    model: Model,
    baseline: float | None,
    baseline_errors: Sequence[float] = (),
    curves: BinaryCurves | None = None,
    *,
    baseline_absolute_errors: Sequence[float] = (),
    label_curves: Sequence[BinaryCurves | None] = (),
) -> Summary:
    """Return what the test part shows beyond `metrics_summary`; the keys are the same for classes and numbers.

    For classification: the confusion counts of at most MAX_CONFUSION_CLASSES classes, the recall of each class, and
    for two classes the thresholds. For regression: the unit, the absolute errors, and the loss and the errors of
    always predicting the best constant of the loss, as the mean. Keys of the other kind are null.
    """
    classes = model.y_scaling is None and not model.multi_label
    numbers = model.y_scaling is not None
    counts = test.confusion if classes and test is not None and test.judged else None
    judged_test = test if test is not None and test.finite else None
    return {
        "loss": model.loss,
        "classes": list(model.class_names) if classes else None,
        "confusion": None if counts is None or len(counts) > MAX_CONFUSION_CLASSES else counts.tolist(),
        **recall_summary(counts, model.class_names),
        **binary_summary(None if counts is None else curves, model),
        **label_summary(test, model, label_curves),
        "targets": list(model.target_names) if numbers else None,
        "unit": model.unit or None,
        "loss_unit": "standardised" if numbers else None,
        "test_absolute_errors": errors_by_target(judged_test.absolute_errors if judged_test else (), model),
        "baseline": model.constant_prediction or None,
        "baseline_loss": finite_or_none(baseline) if numbers else None,
        "baseline_errors": errors_by_target(baseline_errors, model),
        "baseline_absolute_errors": errors_by_target(baseline_absolute_errors, model),
    }


def objective_of(metrics: Metrics) -> float:
    """Return what training minimises: the loss, unless label smoothing or class weights change it."""
    return metrics.loss if metrics.objective is None else metrics.objective


def recall_summary(confusion: Any, names: tuple[str, ...]) -> Summary:
    """Return the number of rows and the recall of each class, from confusion counts (K, K).

    The recall of a class without rows is null. "balanced_accuracy" is the mean recall of the classes that occur,
    "commonest_share" the accuracy of always predicting the commonest class.
    """
    if confusion is None:
        return dict.fromkeys(("counts", "recall", "balanced_accuracy", "commonest_share"))
    counts, correct = np.sum(confusion, axis=1).tolist(), np.diag(confusion).tolist()
    recall = [right / count if count else None for right, count in zip(correct, counts, strict=True)]
    occurring = [share for share in recall if share is not None]
    return {
        "counts": dict(zip(names, counts, strict=True)),
        "recall": dict(zip(names, recall, strict=True)),
        "balanced_accuracy": sum(occurring) / len(occurring),
        "commonest_share": max(counts) / sum(counts),
    }


def summarise(
    finished: Finished, model: Model, context: Summary, baseline: float | None,
    baseline_errors: Sequence[float] = (), *, baseline_absolute_errors: Sequence[float] = (),
    label_curves: Sequence[BinaryCurves | None] = (),
    curves: BinaryCurves | None = None, linear: LinearModel | None = None,
    turn: dict[str, Any] | None = None, warnings: Sequence[RunWarning] = (),
) -> Summary:  # fmt: skip
    """Return a finished run as one object; `context` holds run, backend, device, dtype and seed.

    `turn` is the result of `validation_turn`.
    """
    summary = context | {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "finished": finished.reason,
        "epochs": finished.epoch,
        "steps": finished.step,
        "seconds": round(finished.seconds, 4),
        "best_epoch": finished.newest.best_epoch or None,
        "best_validation_loss": finite_or_none(finished.newest.best_loss) if finished.newest.best_epoch else None,
        "stopped_early": finished.stopped_early,
        "restored_epoch": finished.checkpoint.epoch if finished.restored else None,
        "validation_turn": turn,
    }
    for part in PARTS:
        summary |= metrics_summary(part, getattr(finished, part), model)
        if part == "train":
            summary["train_objective"] = finite_or_none(finished.train and objective_of(finished.train))
    summary |= run_details(
        finished.test, model, baseline, baseline_errors, curves,
        baseline_absolute_errors=baseline_absolute_errors, label_curves=label_curves,
    )  # fmt: skip
    summary |= linear_summary(linear, model)
    return summary | {"warnings": [warning.as_json() for warning in warnings]}


def summarise_run(
    finished: Finished, model: Model, dataset: Dataset, context: Summary, history: History,
    *, linear: LinearModel | None, warnings: Sequence[RunWarning],
) -> Summary:  # fmt: skip
    """Return a run as `summarise` does, with the baseline and the curves of the test part, if its data have one.

    `history` are the epochs of metrics.csv.
    """
    y, layers, has_test = dataset.y_test, finished.checkpoint.layers, len(dataset.x_test) > 0
    tested = dataset.x_test if finished.test is not None else dataset.x_test[:0]
    return summarise(
        finished, model, context, model.baseline(y) if has_test else None, model.baseline_errors(y) if has_test else (),
        baseline_absolute_errors=model.baseline_absolute_errors(y) if has_test else (),
        curves=find_binary_curves(model, layers, tested, y), label_curves=find_label_curves(model, layers, tested, y),
        linear=linear, turn=validation_turn(history), warnings=warnings,
    )  # fmt: skip


def linear_summary(linear: LinearModel | None, model: Model) -> Summary:
    """Return the result of the linear model that a run is compared with; the keys are null without one."""
    if linear is None:
        return dict.fromkeys(LINEAR_KEYS)
    found = metrics_summary("linear", linear.test, model)
    return {"linear_epochs": linear.epochs, **found, "linear_balanced_accuracy": linear.balanced_accuracy}


LINEAR_KEYS = ("linear_epochs", "linear_loss", "linear_accuracy", "linear_errors", "linear_balanced_accuracy")
CLASS_KEYS = ("classes", "confusion", "counts", "recall", "balanced_accuracy", "commonest_share")
EPOCH_KEYS = ("best_epoch", "best_validation_loss", "restored_epoch", "validation_turn")
BINARY_KEYS = ("positive_class", "roc_auc", "average_precision", "thresholds")
NUMBER_KEYS = (
    "train_errors", "validation_errors", "test_errors", "targets", "unit", "loss_unit", "test_absolute_errors",
    "baseline", "baseline_loss", "baseline_errors", "baseline_absolute_errors",
)  # fmt: skip


def complete_report(report: Summary) -> Summary:
    """Return a report that was read from a file with all the keys of `summarise`: earlier versions wrote fewer."""
    added = dict.fromkeys(
        ("loss", "train_objective", *CLASS_KEYS, *LABEL_KEYS, *BINARY_KEYS, *NUMBER_KEYS, *LINEAR_KEYS)
    )
    added |= dict.fromkeys(("rate_search", *EPOCH_KEYS)) | {"stopped_early": False}
    return added | {"warnings": []} | report


def plan_summary(model: Model, plan: Plan) -> Summary:
    """Return the size of a planned run, for --dry-run."""
    return {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "training_rows": len(plan.training_rows),
        "validation_rows": len(plan.validation_rows),
        "epochs": plan.epochs,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps_per_call": plan.steps_per_call,
        "threads": plan.threads,
    }


def summary_text(summary: Summary) -> str:
    """Return the result of a run as text."""
    context = f"{summary['backend']}, {summary['device']}, {summary['dtype']}, seed {summary['seed']}"
    rows = [
        ("network", f"{summary['network']}, {summary['parameters']:,} parameters ({context})"),
        (
            "trained",
            f"{pluralize(summary['epochs'], 'epoch')}, {pluralize(summary['steps'], 'step')}, "
            f"{duration(summary['seconds'])}{', stopped early' if summary['stopped_early'] else ''}",
        ),
        *turn_rows(summary),
        *(row for part in PARTS for row in part_rows(summary, part)),
        *recall_rows(summary),
        *label_rows(summary),
        *error_rows(summary),
        *baseline_rows(summary),
        *([("run", summary["run"])] if summary["run"] else []),
    ]
    return align_columns(rows, left=2)


def rate_search_summary(search: dict[str, Any] | None) -> Summary | None:
    """Return the result of a range test in environment.json without its curve; None where the rate was given."""
    if search is None:
        return None
    rates = search["rates"]
    return {"rate": search["rate"], "steps": len(rates), "lowest_rate": rates[0], "highest_rate": rates[-1]}


def rate_search_text(search: dict[str, Any]) -> str:
    """Return the sentence about the learning rate that a range test in environment.json found."""
    rates = search["rates"]
    return (
        f"The learning rate is {search['rate']:g}: in {pluralize(len(rates), 'step')} at rates rising from "
        f"{rates[0]:.2g} to {rates[-1]:.2g} the loss reached 95% of its fall at {search['fallen']:.2g}, and half of "
        "that is taken."
    )


def turn_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the line on the epoch where validation turned, if its weights are kept or the loss rose clearly."""
    turn = summary["validation_turn"]
    if turn is None:
        return []
    low, high = turn["validation_loss"]
    clear = summary["restored_epoch"] is not None or high >= (1 + MIN_RISE) * low
    return [("best epoch", f"{turn_sentence(summary)}")] if clear else []


def stored_summary_text(report: Summary) -> str:
    """Return `summary_text` of a report that was read from a file, or "" if the report is incomplete or invalid."""
    return summary_text(complete_report(report)) if is_valid_report(report) else ""


def is_valid_report(report: Summary) -> bool:
    """Return whether a report that was read from a file holds all that `summary_text` prints, in the right types."""
    report = complete_report(report)
    return (
        all(isinstance(report.get(key), str) for key in ("run", "network", "backend", "device", "dtype"))
        and all(is_count(report.get(key)) for key in ("parameters", "epochs", "steps"))
        and type(report.get("seed")) is int
        and is_number(report.get("seconds"))
        and all(is_number_or_null(report, f"{part}_{metric}") for part in PARTS for metric in ("loss", "accuracy"))
        and report["test_loss"] is not None  # a run without a result is evaluated again, and gives the reason again
        and is_number_or_null(report, "train_objective")
        and are_epochs_valid(report)
        and all(is_number_or_null(report, key) for key in LINEAR_KEYS if key != "linear_errors")
        and is_errors(report["linear_errors"])
        and are_thresholds_valid(report)
        and isinstance(report["warnings"], list)
        and all(map(is_warning, report["warnings"]))
        and is_result_valid(report)
    )


def are_epochs_valid(report: Summary) -> bool:
    """Return whether the figures of a report on its best epoch have the right types."""
    turn = report["validation_turn"]
    return (
        type(report["stopped_early"]) is bool
        and all(report[key] is None or is_count(report[key]) for key in ("best_epoch", "restored_epoch"))
        and is_number_or_null(report, "best_validation_loss")
        and (turn is None or (isinstance(turn, dict) and is_turn(turn)))
    )


def is_turn(turn: Summary) -> bool:
    """Return whether an object of a file is the result of `validation_turn`."""

    def are_pair(values: Any, allowed: Callable[[Any], bool]) -> bool:
        return isinstance(values, list) and len(values) == 2 and all(map(allowed, values))

    return (
        is_count(turn.get("epoch"))
        and is_count(turn.get("last_epoch"))
        and type(turn.get("overfitting")) is bool
        and are_pair(turn.get("validation_loss"), is_number)
        and are_pair(turn.get("train_loss"), is_number if turn["overfitting"] else is_number_or_none)
    )


def is_result_valid(report: Summary) -> bool:
    """Return whether a report has what belongs to classes, labels or numbers, and nothing of the others."""
    if report["classes"] is not None:
        return are_classes_valid(report) and all(report[key] is None for key in LABEL_KEYS)
    if report["labels"] is not None:
        return are_labels_valid(report)
    return are_errors_valid(report) and all(report[key] is None for key in LABEL_KEYS)


def are_labels_valid(report: Summary) -> bool:
    """Return whether a report has the figures of every label, in the right types."""
    names, found = report["labels"], report["label_metrics"]
    others = {*CLASS_KEYS, *NUMBER_KEYS} - {"commonest_share"}
    return (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and isinstance(found, dict)
        and list(found) == names
        and all(isinstance(figures, dict) and {*figures} == {*LABEL_METRICS} for figures in found.values())
        and all(map(is_errors, found.values()))
        and all(is_count(figures["rows"]) and is_count(figures["predicted_rows"]) for figures in found.values())
        and is_number(report["test_exact_match"])
        and is_number(report["commonest_share"])
        and is_number_or_null(report, "macro_f1")
        and all(report[key] is None for key in others)
        and report["loss"] in LABEL_LOSSES
    )


def are_classes_valid(report: Summary) -> bool:
    """Return whether the confusion counts of a report are a square of counts, and the recalls follow from them."""
    names, confusion = report["classes"], report.get("confusion")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return False
    if any(report[key] is not None for key in NUMBER_KEYS) or report["loss"] not in (None, "cross-entropy"):
        return False
    if len(names) > MAX_CONFUSION_CLASSES and confusion is None:
        return are_recalls_valid(report, names)
    if not (isinstance(confusion, list) and len(confusion) == len(names)):
        return False
    for row in confusion:
        if not (isinstance(row, list) and len(row) == len(names) and all(map(is_count, row))):
            return False
    expected = recall_summary(confusion, tuple(names)) if any(map(any, confusion)) else {"counts": {}}
    return all(report.get(key) == value for key, value in expected.items())


def are_recalls_valid(report: Summary, names: list[str]) -> bool:
    """Return whether counts and recalls of a report without confusion counts have the right types."""
    counts, recall = report.get("counts"), report.get("recall")
    return (
        isinstance(counts, dict)
        and all(is_count(counts.get(name)) for name in names)
        and any(counts.values())
        and isinstance(recall, dict)
        and all(is_number_or_null(recall, name) for name in names)
        and is_number(report.get("balanced_accuracy"))
        and is_number(report.get("commonest_share"))
    )


def are_errors_valid(report: Summary) -> bool:
    """Return whether unit, errors of the targets and baseline of a report have the right types."""
    unit, targets = report["unit"], report["targets"]
    return (
        all(report[key] is None for key in CLASS_KEYS)
        and report["test_errors"] is not None
        and all(is_errors(report[key]) for key in NUMBER_KEYS if key.endswith("_errors"))
        and (targets is None or targets == list(report["test_errors"]))
        and (unit is None or isinstance(unit, str))
        and report["loss_unit"] == "standardised"
        and report["loss"] in (None, *REGRESSION_LOSSES)
        and report["baseline"] in (None, *(entry.constant for entry in LOSSES.values() if entry.constant))
        and is_number_or_null(report, "baseline_loss")
    )


def are_thresholds_valid(report: Summary) -> bool:
    """Return whether the figures of two classes of a report have the right types, or are all null."""
    name, thresholds = report["positive_class"], report["thresholds"]
    if name is None:
        return all(report[key] is None for key in BINARY_KEYS)
    return (
        report["classes"] is not None
        and name == report["classes"][-1]
        and is_number(report["roc_auc"])
        and is_number(report["average_precision"])
        and isinstance(thresholds, dict)
        and all(isinstance(found, dict) and is_errors(found) for found in thresholds.values())
    )


def is_errors(value: Any) -> bool:
    """Return whether a value of a file is null, or an object of finite numbers and nulls."""
    return value is None or (isinstance(value, dict) and all(is_number_or_null(value, target) for target in value))


def is_count(value: Any) -> bool:
    """Return whether a value of a file is an integer from 0 to MAX_INTEGER; a bool is not."""
    return type(value) is int and 0 <= value < MAX_INTEGER


def is_number(value: Any) -> bool:
    """Return whether a value of a file is a finite number; a bool is not."""
    return is_count(value) or (type(value) is float and math.isfinite(value))


def is_number_or_none(value: Any) -> bool:
    """Return whether a value of a file is a finite number or null."""
    return value is None or is_number(value)


def is_number_or_null(values: Summary, key: str) -> bool:
    """Return whether a key is there and holds a finite number or null."""
    return key in values and (values[key] is None or is_number(values[key]))


def evaluation_text(result: Summary, width: int | None = None) -> str:
    """Return the result of an evaluation as text, for a terminal of `width` columns or for a file."""
    rows = [
        ("network", f"{result['run']} ({result['backend']}, {result['device']}, {result['dtype']})"),
        ("data", f"{result['data']}, {pluralize(result['rows'], 'test row')}"),
        *part_rows(result, "test"),
        *recall_rows(result),
        *label_rows(result),
        *error_rows(result),
        *baseline_rows(result),
    ]
    text = align_columns(rows, left=2)
    if result.get("label_metrics"):
        text += "\n\n" + labels_text(result)
    if result.get("confusion"):
        text += "\n\n" + confusion_text(result["confusion"], tuple(result["classes"]), width)
    return text


def part_rows(summary: Summary, part: str) -> list[tuple[str, str]]:
    """Return the line of one part with its loss and accuracy, or errors, if the part was evaluated."""
    loss, accuracy = summary[f"{part}_loss"], summary[f"{part}_accuracy"]
    if loss is None:
        return []
    text = f"loss {decimals(loss)}" + ("" if accuracy is None else f", accuracy {percent(accuracy)}")
    objective = summary.get(f"{part}_objective")
    if objective is not None and objective != loss:
        text += f" (minimised: {decimals(objective)})"  # with label smoothing or class weights
    if part != "test":  # its errors have lines of their own
        text += errors_text(summary.get(f"{part}_errors") or {}, summary.get("unit") or "")
    return [(part, text)]


def recall_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the balanced accuracy and the accuracies to beat; of two classes also the areas under their curves."""
    counts, balanced = summary.get("counts"), summary.get("balanced_accuracy")
    if not counts or balanced is None:
        return []
    commonest, share = display_name(max(counts, key=counts.__getitem__)), percent(summary["commonest_share"])
    linear = summary.get("linear_accuracy")
    other = "" if linear is None else f"; a linear model gives {percent(linear)}"
    rows = [("", f"balanced accuracy {percent(balanced)}; always predicting {commonest} gives {share}{other}")]
    if summary.get("roc_auc") is not None:
        name = display_name(summary["positive_class"])
        areas = f"area under the ROC curve {summary['roc_auc']:.4f}, average precision"
        rows.append(("", f"{areas} {summary['average_precision']:.4f} (positive: {name})"))
    return rows


def baseline_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the warnings that the result is no better than the baseline, or than a linear model."""
    warnings = summary.get("warnings", [])
    checks = (BASELINE_CHECK, LINEAR_CHECK)
    return [("warning", escape_control(w["message"])) for w in warnings if w["check"] in checks]


def error_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the errors of each target, and the loss of always predicting the best constant of the loss."""
    unit = f" {escape_control(summary['unit'])}" if summary.get("unit") else ""
    found = {target: error for target, error in (summary.get("test_errors") or {}).items() if error is not None}
    constant = summary.get("baseline") or "mean"
    others = {
        f"always its {constant}": summary.get("baseline_errors") or {},
        "a linear model": summary.get("linear_errors") or {},
    }
    absolute = summary.get("test_absolute_errors") or {}
    rows = []
    for target, error in found.items():
        named = [(name, errors.get(target)) for name, errors in others.items()]
        mean = "".join(f"; {name}: {decimals(e, 3, MAX_ERROR)}{unit}" for name, e in named if e is not None)
        text = f"{escape_control(target)}: off by {decimals(error, 3, MAX_ERROR)}{unit} (root mean square{mean})"
        if absolute.get(target) is not None:
            text += f", {decimals(absolute[target], 3, MAX_ERROR)}{unit} (mean absolute)"
        rows.append(("", text))
    if found and summary["baseline_loss"] is not None:
        text = f"always predicting the {constant} would give the loss {decimals(summary['baseline_loss'])}"
        several = ", averaged over the targets" if len(found) > 1 else ""
        kind = LOSSES[summary.get("loss") or "mse"].title
        rows.append(("", f"the loss is the {kind} in standardised units{several}; {text}"))
    return rows
