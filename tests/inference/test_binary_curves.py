"""ROC and precision-recall curves, compared with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from lagvis.inference import binary_curves as module
from lagvis.inference.binary_curves import binary_curves, binary_summary, find_binary_curves
from lagvis.inference.prediction import outputs
from tests.factories import classes, last, quick, run

# Few different probabilities, so that rows share them.
ROWS = st.lists(st.tuples(st.integers(0, 8).map(lambda p: p / 8), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


@given(ROWS)
def test_binary_curves_equal_scikit_learn(rows):
    probability, positive = (np.array(values) for values in zip(*rows, strict=True))
    found = binary_curves(probability, positive)
    false, true, thresholds = roc_curve(positive, probability, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, false)
    np.testing.assert_allclose(found.recall, true)
    np.testing.assert_array_equal(found.thresholds, thresholds[1:])
    precision, recall, _ = precision_recall_curve(positive, probability)
    np.testing.assert_allclose(found.precision, precision[:-1][::-1])
    np.testing.assert_allclose(found.recall[1:], recall[:-1][::-1])
    assert found.roc_auc == pytest.approx(roc_auc_score(positive, probability))
    assert found.average_precision == pytest.approx(average_precision_score(positive, probability))


@given(ROWS)
def test_threshold_metrics_equal_scikit_learn(rows):
    probability, positive = (np.array(values) for values in zip(*rows, strict=True))
    found = binary_curves(probability, positive)
    for metrics, answered in (
        (found.most_probable, probability > 0.5),
        (found.balanced, probability >= found.balanced.threshold),
        (found.best_f1, probability >= found.best_f1.threshold),
    ):
        assert metrics.accuracy == pytest.approx(accuracy_score(positive, answered))
        assert metrics.recall == pytest.approx(recall_score(positive, answered))
        assert metrics.specificity == pytest.approx(recall_score(~positive, ~answered))
        assert metrics.f1 == pytest.approx(f1_score(positive, answered))
        if answered.any():
            assert metrics.precision == pytest.approx(precision_score(positive, answered))
        else:
            assert metrics.precision is None
    differences = [abs(found.at(i).recall - found.at(i).specificity) for i in range(len(found.thresholds))]
    assert abs(found.balanced.recall - found.balanced.specificity) == pytest.approx(min(differences))
    assert found.best_f1.f1 == pytest.approx(max(found.at(i).f1 for i in range(len(found.thresholds))))


@pytest.mark.parametrize(
    ("probability", "positive"),
    [([0.1, 0.9], [True, True]), ([0.1, 0.9], [False, False]), ([0.1, np.nan], [True, False])],
)
def test_binary_curves_one_class_or_no_numbers_are_none(probability, positive):
    assert binary_curves(np.array(probability), np.array(positive)) is None


def test_binary_curves_one_probability_for_all_rows_is_chance():
    found = binary_curves(np.full(4, 0.3), np.array([True, False, False, False]))
    assert (found.roc_auc, found.average_precision) == (0.5, 0.25)
    assert found.balanced.threshold == 0.3


def test_find_binary_curves_positive_class_is_the_second(monkeypatch):
    dataset = classes(120, classes=2, test_rows=60)
    events = run(quick(), dataset)
    model, params = events[0].model, last(events).state["params"]
    found = find_binary_curves(model, params, dataset.x_test, dataset.y_test)
    p = outputs(model, params, dataset.x_test)[:, 1]
    assert found.roc_auc == pytest.approx(roc_auc_score(dataset.y_test == 1, p))
    assert found.most_probable.accuracy == last(events).test.accuracy
    assert binary_summary(found, model)["positive_class"] == "1"
    monkeypatch.setattr(module, "MAX_PRODUCTS", 40 * model.parameters)
    sample = find_binary_curves(model, params, dataset.x_test, dataset.y_test)
    assert (sample.rows, sample.of) == (40, 60)


def test_find_binary_curves_more_classes_are_none():
    dataset = classes(120, classes=3)
    events = run(quick(epochs=0), dataset)
    model, params = events[0].model, last(events).state["params"]
    assert find_binary_curves(model, params, dataset.x_test, dataset.y_test) is None
    assert set(binary_summary(None, model).values()) == {None}
