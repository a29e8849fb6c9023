"""The result of a run or an evaluation: one object for programs (--json, report.json), and its text for people."""

import math
from collections.abc import Sequence
from typing import Any

from lagvis.data.messages import MAX_ERROR, decimals, percent
from lagvis.report.text import (
    align_columns,
    confusion_text,
    display_name,
    duration,
    escape_control,
    finite_or_none,
    pluralize,
)
from lagvis.run_warning import RunWarning
from lagvis.training.baseline import CHECK as BASELINE_CHECK
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.model import Model
from lagvis.training.plan import Plan

Summary = dict[str, Any]

PARTS = ("train", "validation", "test")
MAX_INTEGER = 2**53  # larger integers of a file are no counts of a run


def metrics_summary(part: str, metrics: Metrics | None) -> Summary:
    """Return loss and accuracy of a part of the data as `<part>_loss` and `<part>_accuracy`, null where undefined."""
    metrics = metrics if metrics is not None and metrics.finite else None  # without a loss the accuracy means nothing
    return {
        f"{part}_loss": metrics and metrics.loss,
        f"{part}_accuracy": finite_or_none(metrics and metrics.accuracy),
    }


def run_details(test: Metrics | None, model: Model, baseline: float | None) -> Summary:
    """Return what the test part shows beyond loss and accuracy.

    For classification: the confusion counts and the recall of each class. For regression: the root mean square error
    of each target, in the user's unit, and the loss of always predicting the mean.
    """
    if model.y_scaling is None:
        counts = test.confusion if test is not None and test.judged else None
        confusion = None if counts is None else counts.tolist()
        return {"classes": list(model.class_names), "confusion": confusion} | recall_summary(
            confusion, model.class_names
        )
    errors = test.errors if test is not None else (None,) * len(model.target_names)
    named = {name: finite_or_none(error) for name, error in zip(model.target_names, errors, strict=True)}
    return {
        "unit": model.unit or None,
        "loss_unit": "standardised",
        "test_errors": named,
        "baseline_loss": finite_or_none(baseline),
    }


def objective_of(metrics: Metrics) -> float:
    """Return what training minimises: the loss, unless label smoothing or class weights change it."""
    return metrics.loss if metrics.objective is None else metrics.objective


def recall_summary(confusion: list[list[int]] | None, names: tuple[str, ...]) -> Summary:
    """Return the number of rows and the recall of each class, from confusion counts; null for a class without rows.

    "balanced_accuracy" is the mean recall of the classes that occur. "commonest_share" is the accuracy of always
    predicting the commonest class.
    """
    if confusion is None:
        return dict.fromkeys(("counts", "recall", "balanced_accuracy", "commonest_share"))
    counts = [sum(row) for row in confusion]
    recall = [row[k] / count if count else None for k, (row, count) in enumerate(zip(confusion, counts, strict=True))]
    occurring = [share for share in recall if share is not None]
    return {
        "counts": dict(zip(names, counts, strict=True)),
        "recall": dict(zip(names, recall, strict=True)),
        "balanced_accuracy": sum(occurring) / len(occurring),
        "commonest_share": max(counts) / sum(counts),
    }


def summarise(
    finished: Finished, model: Model, context: Summary, baseline: float | None, warnings: Sequence[RunWarning] = ()
) -> Summary:
    """Return a finished run as one object; `context` holds run, backend, device, dtype and seed."""
    summary = context | {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "finished": finished.reason,
        "epochs": finished.epoch,
        "steps": finished.step,
        "seconds": round(finished.seconds, 4),
    }
    for part in PARTS:
        summary |= metrics_summary(part, getattr(finished, part))
        if part == "train":
            summary["train_objective"] = finite_or_none(finished.train and objective_of(finished.train))
    summary |= run_details(finished.test, model, baseline)
    return summary | {"warnings": [warning.as_json() for warning in warnings]}


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
            f"{duration(summary['seconds'])}",
        ),
        *(row for part in PARTS for row in part_rows(summary, part)),
        *recall_rows(summary),
        *error_rows(summary),
        *baseline_rows(summary),
        ("run", summary["run"]),
    ]
    return align_columns(rows, left=2)


def stored_summary_text(report: Summary) -> str:
    """Return `summary_text` of a report that was read from a file, or "" if the report is incomplete or invalid."""
    return summary_text(report) if is_valid_report(report) else ""


def is_valid_report(report: Summary) -> bool:
    """Return whether a report that was read from a file holds all that `summary_text` prints, in the right types."""
    return (
        all(isinstance(report.get(key), str) for key in ("run", "network", "backend", "device", "dtype"))
        and all(is_count(report.get(key)) for key in ("parameters", "epochs", "steps"))
        and type(report.get("seed")) is int
        and is_number(report.get("seconds"))
        and all(is_number_or_null(report, f"{part}_{metric}") for part in PARTS for metric in ("loss", "accuracy"))
        and report["test_loss"] is not None  # a run without a result is evaluated again, and gives the reason again
        and is_number_or_null({"train_objective": None} | report, "train_objective")  # earlier versions wrote none
        and are_warnings_valid(report.get("warnings", []))  # earlier versions wrote none
        and (are_classes_valid(report) if "classes" in report else are_errors_valid(report))
    )


def are_warnings_valid(warnings: Any) -> bool:
    """Return whether the warnings of a report that was read from a file are a list of objects with a message each."""
    return isinstance(warnings, list) and all(
        isinstance(warning, dict) and isinstance(warning.get("message"), str) for warning in warnings
    )


def are_classes_valid(report: Summary) -> bool:
    """Return whether the confusion counts of a report are a square of counts, and the recalls follow from them."""
    names, confusion = report["classes"], report.get("confusion")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return False
    if not (isinstance(confusion, list) and len(confusion) == len(names)):
        return False
    for row in confusion:
        if not (isinstance(row, list) and len(row) == len(names) and all(map(is_count, row))):
            return False
    if not any(map(any, confusion)):
        return False
    expected = recall_summary(confusion, tuple(names))
    return all(report.get(key) == value for key, value in expected.items())


def are_errors_valid(report: Summary) -> bool:
    """Return whether unit, errors of the targets and baseline of a report have the right types."""
    errors, unit = report.get("test_errors"), report.get("unit", 0)
    return (
        isinstance(errors, dict)
        and all(is_number_or_null(errors, target) for target in errors)
        and (unit is None or isinstance(unit, str))
        and report.get("loss_unit") == "standardised"
        and is_number_or_null(report, "baseline_loss")
    )


def is_count(value: Any) -> bool:
    """Return whether a value of a file is an integer from 0 to MAX_INTEGER; a bool is not."""
    return type(value) is int and 0 <= value < MAX_INTEGER


def is_number(value: Any) -> bool:
    """Return whether a value of a file is a finite number; a bool is not."""
    return is_count(value) or (type(value) is float and math.isfinite(value))


def is_number_or_null(values: Summary, key: str) -> bool:
    """Return whether a key is there and holds a finite number or null."""
    return key in values and (values[key] is None or is_number(values[key]))


def evaluation_text(result: Summary, width: int | None = None) -> str:
    """Return the result of an evaluation as text, for a terminal of `width` columns or for a file."""
    rows = [
        ("network", f"{result['run']} ({result['backend']}, {result['device']}, {result['dtype']})"),
        ("data", f"{result['data']}, {result['rows']:,} test rows"),
        *part_rows(result, "test"),
        *recall_rows(result),
        *error_rows(result),
        *baseline_rows(result),
    ]
    text = align_columns(rows, left=2)
    if result.get("confusion"):
        text += "\n\n" + confusion_text(result["confusion"], tuple(result["classes"]), width)
    return text


def part_rows(summary: Summary, part: str) -> list[tuple[str, str]]:
    """Return the line of one part with its loss and accuracy, if the part was evaluated."""
    loss, accuracy = summary[f"{part}_loss"], summary[f"{part}_accuracy"]
    if loss is None:
        return []
    text = f"loss {decimals(loss)}" + ("" if accuracy is None else f", accuracy {percent(accuracy)}")
    objective = summary.get(f"{part}_objective")
    if objective is not None and objective != loss:
        text += f" (minimised: {decimals(objective)})"  # with label smoothing or class weights
    return [(part, text)]


def recall_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the balanced accuracy and the accuracy to beat."""
    counts, balanced = summary.get("counts"), summary.get("balanced_accuracy")
    if not counts or balanced is None:
        return []
    commonest, share = display_name(max(counts, key=counts.__getitem__)), percent(summary["commonest_share"])
    return [("", f"balanced accuracy {percent(balanced)}; always predicting {commonest} gives {share}")]


def baseline_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the warning that the result is no better than the baseline, if it is not."""
    warnings = summary.get("warnings", [])
    return [("warning", escape_control(w["message"])) for w in warnings if w.get("check") == BASELINE_CHECK]


def error_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the root mean square error of each target, and the loss of always predicting the mean."""
    unit = f" {escape_control(summary['unit'])}" if summary.get("unit") else ""
    errors = {target: error for target, error in summary.get("test_errors", {}).items() if error is not None}
    rows = [
        ("", f"{escape_control(target)}: off by {decimals(error, 3, MAX_ERROR)}{unit} (root mean square)")
        for target, error in errors.items()
    ]
    if errors and summary["baseline_loss"] is not None:
        baseline = f"always predicting the mean would give the loss {decimals(summary['baseline_loss'])}"
        rows.append(("", f"the loss is the mean squared error in standardised units; {baseline}"))
    return rows
