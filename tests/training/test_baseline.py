"""What counts as no better than always giving one answer."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score, confusion_matrix, root_mean_squared_error

from lagvis.training.baseline import beats_commonest_class, beats_mean, beats_mean_error, check_baseline
from lagvis.training.evaluation import Metrics
from tests.factories import classes, last, numbers, quick, run

LINES = run(quick(loss="mse", epochs=20), numbers(400, 200))


@pytest.mark.parametrize(
    ("confusion", "beats"),
    [
        ([[10, 0], [0, 10]], True),
        ([[10, 0], [10, 0]], False),  # every row is answered alike
        ([[95, 0], [5, 0]], False),  # as often right as the commonest class
        ([[80, 15], [1, 4]], True),  # class weights: less often right than the commonest class, but on both classes
        ([[6, 5], [5, 4]], False),
        ([[5, 5], [4, 6]], False),  # 55 % of 20 rows is what chance gives
        ([[500, 400], [400, 500]], True),  # of 1,800 rows it is not
        ([[7, 3], [0, 0]], True),  # a single class in the rows: nothing to be better than
        ([[1, 0], [0, 2]], True),  # all correct, however few
        ([[0, 10], [10, 0]], False),
    ],
)
def test_beats_commonest_class_counts(confusion, beats):
    assert beats_commonest_class(np.array(confusion)) is beats


@pytest.mark.parametrize("k", [2, 3, 10])
def test_beats_commonest_class_random_answers_almost_never_do(k):
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(400):
        y, answers = rng.integers(0, k, (2, 300))
        found += beats_commonest_class(confusion_matrix(y, answers, labels=range(k)))
    assert found / 400 < 0.06


def test_check_baseline_commonest_share_is_that_of_scikit_learn():
    rng = np.random.default_rng(6)
    y, answers = rng.integers(0, 4, (2, 200)).clip(0, 2)
    confusion = confusion_matrix(y, answers, labels=range(3))
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((200, 1)), y)
    expected = accuracy_score(y, dummy.predict(np.zeros((200, 1))))
    model = run(quick(epochs=0), classes(classes=3))[0].model
    metrics = Metrics(1.0, accuracy_score(y, answers), confusion=confusion)
    warning = check_baseline(metrics, model, y)
    assert warning is not None
    assert warning.check == "no_better_than_baseline"
    assert warning.figures["baseline_accuracy"] == pytest.approx(expected)
    assert warning.figures["only_answer"] is None


def test_baseline_errors_are_those_of_scikit_learns_dummy():
    data, model = numbers(400, 200), LINES[0].model
    dummy = DummyRegressor(strategy="mean").fit(data.x_train, data.y_train)
    expected = root_mean_squared_error(data.y_test, dummy.predict(data.x_test), multioutput="raw_values")
    np.testing.assert_allclose(model.baseline_errors(data.y_test), expected)


def test_check_baseline_learned_numbers_are_no_warning():
    assert check_baseline(last(LINES).test, LINES[0].model, numbers(400, 200).y_test) is None


def test_check_baseline_one_of_two_targets_is_named():
    data, model = numbers(400, 200), LINES[0].model
    near, far = model.baseline_errors(data.y_test)
    warning = check_baseline(Metrics(0.4, errors=(near, far / 10)), model, data.y_test)
    assert warning is not None
    assert warning.figures["targets"] == ["near"]
    assert "predicted no better than by the mean: near" in warning.message


def test_check_baseline_loss_of_the_mean_is_a_warning():
    data, model = numbers(400, 200), LINES[0].model
    loss = model.baseline(data.y_test)
    warning = check_baseline(Metrics(loss, errors=model.baseline_errors(data.y_test)), model, data.y_test)
    assert warning is not None
    assert "no better than that of always predicting the mean" in warning.message


@pytest.mark.parametrize(("loss", "beats"), [(0.5, True), (0.995, False), (1.2, False), (0.0, True)])
def test_beats_mean_needs_a_share_of_the_variance(loss, beats):
    assert beats_mean(loss, 1.0, 10_000) is beats


def test_beats_mean_few_rows_need_more_than_noise():
    assert beats_mean(0.9, 1.0, 1000)
    assert not beats_mean(0.9, 1.0, 25)


@pytest.mark.parametrize(
    ("error", "mean_error", "beats"),
    [(1e299, 1e300, True), (1e300, 1e299, False), (0.0, 0.0, True), (1.0, 0.0, False), (0.0, 1.0, True)],
)
def test_beats_mean_error_of_any_size(error, mean_error, beats):
    assert beats_mean_error(error, mean_error, 1000) is beats


def test_check_baseline_loss_not_finite_is_no_warning():
    assert check_baseline(Metrics(np.inf, errors=(1.0, 1.0)), LINES[0].model, numbers(400, 200).y_test) is None
