import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from lagvis.report.label_summary import LABEL_KEYS
from lagvis.report.summary import (
    BINARY_KEYS,
    CLASS_KEYS,
    EPOCH_KEYS,
    LINEAR_KEYS,
    evaluation_text,
    metrics_summary,
    recall_summary,
    run_details,
    stored_summary_text,
    summarise,
    summary_text,
)
from lagvis.report.validation_turn import describe_rise
from lagvis.run_warning import RunWarning
from lagvis.training.evaluation import Metrics
from tests.factories import classes, epochs, last, numbers, quick, run

WHERE = {"run": "/runs/mine", "backend": "numpy", "device": "cpu", "dtype": "float32", "seed": 5}
PROMISED = {
    "run", "backend", "device", "dtype", "seed", "epochs", "seconds", "train_loss", "validation_loss",
    "validation_accuracy", "test_loss", "test_accuracy",
}  # fmt: skip

RARE = run(quick(epochs=0), classes(120, classes=3))
DIGITS = run(quick(validation=20, epochs=3), classes(120))
LINES = run(quick(loss="mse", epochs=3), numbers(120))
BASELINE = LINES[0].model.baseline(numbers(120).y_test)


def summary_of(events, baseline=None, **changes):
    return summarise(dataclasses.replace(last(events), **changes), events[0].model, WHERE, baseline)


def test_summarise_has_the_documented_keys():
    summary, finished = summary_of(DIGITS), last(DIGITS)
    assert set(summary) >= PROMISED
    assert {key: summary[key] for key in WHERE} == WHERE
    assert (summary["epochs"], summary["steps"], summary["finished"]) == (3, 15, "completed")
    assert (summary["network"], summary["parameters"]) == ("36-8-4", 332)
    for part in ("train", "validation", "test"):
        scores = getattr(finished, part)
        assert (summary[f"{part}_loss"], summary[f"{part}_accuracy"]) == (scores.loss, scores.accuracy)
    assert summary["seconds"] == pytest.approx(finished.seconds, abs=1e-4)
    assert summary["train_loss"] == epochs(DIGITS)[-1].train.loss


@pytest.mark.parametrize(
    ("low", "high", "rise"),
    [
        (0.5, 0.75, " (50.00% higher)"),
        (0.1, 0.9, " (800.00% higher)"),
        (0.5, 6.0, " (12 times as high)"),
        (47.0415, 3.259e6, " (69,279 times as high)"),
        (1e-3, 2e9, " (2e+12 times as high)"),
        (0.0, 1.0, ""),
    ],
)
def test_describe_rise_of_a_multiple_is_no_percentage(low, high, rise):
    assert describe_rise(low, high) == rise


def test_summarise_accuracy_is_a_fraction():
    summary = summary_of(DIGITS, test=Metrics(0.1, 0.975))
    assert summary["test_accuracy"] == 0.975


def test_summarise_classification_has_names_and_confusion_counts():
    summary = summary_of(DIGITS)
    assert summary["classes"] == ["0", "1", "2", "3"]
    assert np.sum(summary["confusion"]) == 30
    assert np.trace(summary["confusion"]) / 30 == summary["test_accuracy"]


ANSWERS = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=40)
)


# scikit-learn warns about cases that are intended here
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@given(ANSWERS)
@example([(0, 0)] * 90 + [(1, 0)] * 4 + [(1, 1)])
def test_recall_summary_equals_scikit_learn(answers):
    true, predicted_classes = np.array(answers).T
    names = tuple(f"c{k}" for k in range(7))  # the last class never occurs
    found = recall_summary(confusion_matrix(true, predicted_classes, labels=range(7)).tolist(), names)
    expected = recall_score(true, predicted_classes, labels=range(7), average=None, zero_division=np.nan)
    assert list(found["recall"]) == list(found["counts"]) == list(names)
    for recall, theirs in zip(found["recall"].values(), expected, strict=True):
        assert recall == (None if np.isnan(theirs) else pytest.approx(theirs, rel=1e-15))
    assert found["recall"]["c6"] is None
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted_classes), rel=1e-14)
    counts = np.bincount(true, minlength=7)
    assert list(found["counts"].values()) == counts.tolist()
    assert found["commonest_share"] == counts.max() / len(true)


def test_summary_text_has_balanced_accuracy_and_baseline():
    confusion = np.array([[959, 3, 0], [33, 5, 0], [0, 0, 0]])
    summary = summary_of(RARE, test=Metrics(0.15, 0.964, confusion=confusion))
    assert summary["recall"] == {"0": 959 / 962, "1": 5 / 38, "2": None}
    assert summary["counts"] == {"0": 962, "1": 38, "2": 0}
    lines = summary_text(summary).splitlines()
    assert lines[-2].strip() == "balanced accuracy 56.42%; always predicting 0 gives 96.20%"


def test_summary_text_no_better_than_baseline_is_one_row():
    warning = RunWarning("no_better_than_baseline", "No better.\n", {})
    other = RunWarning("shared_rows", "printed before the first step", {})
    summary = summarise(last(DIGITS), DIGITS[0].model, WHERE, None, warnings=[warning, other])
    lines = summary_text(summary).splitlines()
    assert lines[-2] == r"warning     No better.\n"
    assert "before the first step" not in summary_text(summary)


def test_summarise_loss_not_finite_has_no_accuracy_and_no_confusion():
    summary = summary_of(DIGITS, test=Metrics(math.inf, 0.9, confusion=np.eye(4, dtype=np.int64)))
    assert summary["test_loss"] is summary["test_accuracy"] is summary["confusion"] is summary["recall"] is None
    assert stored_summary_text(summary) == ""


def test_summarise_regression_has_errors_in_the_unit():
    summary = summary_of(LINES, BASELINE)
    assert [summary[f"{part}_accuracy"] for part in ("train", "validation", "test")] == [None] * 3
    assert summary["test_errors"] == dict(zip(("near", "far"), last(LINES).test.errors, strict=True))
    assert summary["unit"] == "m"
    assert summary["baseline_loss"] == BASELINE
    assert summary["loss_unit"] == "standardised"
    standardised = np.array([*summary["test_errors"].values()]) / LINES[0].model.y_scaling.deviation
    assert np.mean(standardised**2) == pytest.approx(summary["test_loss"])


def test_summarise_without_unit_is_null():
    model = dataclasses.replace(LINES[0].model, unit="")
    assert summarise(last(LINES), model, WHERE, BASELINE)["unit"] is None


@pytest.mark.parametrize("events", [DIGITS, LINES], ids=["classes", "numbers"])
def test_summarise_without_metrics_has_nulls(events):
    summary = summary_of(events, BASELINE, train=None, validation=None, test=None, reason="interrupted")
    for part in ("train", "validation", "test"):
        assert summary[f"{part}_loss"] is None
        assert summary[f"{part}_accuracy"] is None
    for key in ("confusion", "recall", "counts", "balanced_accuracy", "commonest_share"):
        assert summary.get(key) is None
    assert "balanced" not in summary_text(summary)
    assert summary.get("test_errors") in (None, {"near": None, "far": None})


@pytest.mark.parametrize("events", [DIGITS, LINES], ids=["classes", "numbers"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_summarise_non_finite_values_are_null(events, value):
    accuracy, errors = (None, (value, 1.0)) if events is LINES else (value, ())
    summary = summary_of(events, value, test=Metrics(value, accuracy, errors), validation=Metrics(value, accuracy))
    read = json.loads(json.dumps(summary, allow_nan=False))
    assert read["test_loss"] is None
    assert read["validation_loss"] is None
    assert read["train_loss"] == last(events).train.loss
    if events is LINES:
        assert read["test_errors"] is None
        assert read["baseline_loss"] is None
        overflown = summary_of(events, test=Metrics(0.5, errors=(value, 1.0)))
        assert overflown["test_errors"] == {"near": None, "far": 1.0}
    else:
        assert read["test_accuracy"] is None


@pytest.mark.parametrize(("events", "baseline"), [(DIGITS, None), (LINES, BASELINE)], ids=["classes", "numbers"])
def test_summarise_json_round_trip_is_equal(events, baseline):
    summary = summary_of(events, baseline)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_text_classification_has_the_metrics():
    summary = summary_of(DIGITS)
    lines = summary_text(summary).splitlines()
    assert lines[0] == "network     36-8-4, 332 parameters (numpy, cpu, float32, seed 5)"
    assert lines[1].startswith("trained     3 epochs, 15 steps, ")
    for line, part in zip(lines[2:5], ("train", "validation", "test"), strict=True):
        accuracy = 100 * summary[f"{part}_accuracy"]
        assert line == f"{part:12}loss {summary[f'{part}_loss']:.4f}, accuracy {accuracy:.2f}%"
    assert lines[5].startswith(f"            balanced accuracy {100 * summary['balanced_accuracy']:.2f}%; ")
    assert lines[6] == "run         /runs/mine"


def test_summary_text_regression_has_errors_and_baseline():
    text = summary_text(summary_of(LINES, 1234.5))
    near, far = last(LINES).test.errors
    assert f"near: off by {near:.3f} m" in text
    assert f"far: off by {far:.3f} m" in text
    assert "1234.5000" in text
    assert "accuracy" not in text
    assert "validation" not in text


def test_summary_text_baseline_not_finite_has_no_baseline_line():
    text = summary_text(summary_of(LINES, math.inf))
    assert "off by" in text
    assert "predicting the mean" not in text


@pytest.mark.parametrize(("events", "baseline"), [(DIGITS, None), (LINES, BASELINE)], ids=["classes", "numbers"])
def test_stored_summary_text_valid_report_is_summary_text(events, baseline):
    report = json.loads(json.dumps(summary_of(events, baseline)))
    assert stored_summary_text(report) == summary_text(report) != ""


# Keys that earlier versions did not write, or not for the other kind of run.
EARLIER = {"train_objective", "warnings", "targets", "train_errors", "validation_errors", "baseline_errors", "unit"}
EARLIER |= {*BINARY_KEYS, *LINEAR_KEYS, *EPOCH_KEYS, "stopped_early"}
EARLIER |= {*LABEL_KEYS, "loss", "test_absolute_errors", "baseline", "baseline_absolute_errors"}
EARLIER_OF_CLASSES = EARLIER | {"test_errors", "loss_unit", "baseline_loss"}
EARLIER_OF_NUMBERS = EARLIER | {"baseline_loss", *CLASS_KEYS}


@pytest.mark.parametrize("value", ["missing", "text", [1], {"a": "b"}, True, math.nan, 10**400], ids=repr)
@pytest.mark.parametrize(("events", "baseline"), [(DIGITS, None), (LINES, BASELINE)], ids=["classes", "numbers"])
def test_stored_summary_text_invalid_value_is_empty(events, baseline, value):
    whole = json.loads(json.dumps(summary_of(events, baseline)))
    assert stored_summary_text(whole)
    texts = {"run", "network", "backend", "device", "dtype", "unit"} if value == "text" else set()
    earlier = EARLIER_OF_CLASSES if events is DIGITS else EARLIER_OF_NUMBERS
    texts |= earlier if value == "missing" else {"stopped_early"} if value is True else set()
    for key in set(whole) - {"finished"} - texts - ({"seed"} if value == 10**400 else set()):
        report = {k: v for k, v in whole.items() if k != key} if value == "missing" else whole | {key: value}
        assert stored_summary_text(report) == "", key


def test_summary_text_missing_parts_are_left_out():
    text = summary_text(summary_of(LINES, BASELINE, validation=None, test=None))
    assert "None" not in text
    assert "test" not in text
    assert "off by" not in text


def test_summary_text_accuracy_zero_is_printed():
    assert "accuracy 0.00%" in summary_text(summary_of(DIGITS, test=Metrics(2.0, 0.0)))


def evaluation(events):
    test = last(events).test
    place = {"run": "/runs/mine", "data": "toy", "rows": 1030, "backend": "numpy", "device": "cpu", "dtype": "float32"}
    return place | metrics_summary("test", test, events[0].model) | run_details(test, events[0].model, 2.5)


def test_evaluation_text_classification_ends_in_the_matrix():
    text = evaluation_text(evaluation(DIGITS))
    head, matrix = text.split("\n\n")
    assert head.splitlines()[1].split() == ["data", "toy,", "1,030", "test", "rows"]
    counts = [[int(cell) for cell in line.split()[1:-2]] for line in matrix.splitlines()[1:]]
    assert counts == last(DIGITS).test.confusion.tolist()
    assert f"accuracy {100 * last(DIGITS).test.accuracy:.2f}%" in head


def test_evaluation_text_regression_ends_in_the_errors():
    text = evaluation_text(evaluation(LINES))
    assert text.count("off by") == 2
    assert "2.5000" in text.splitlines()[-1]
    assert "recall" not in text
    assert "balanced" not in text
