"""Training on labels of which a row may have several."""

import numpy as np
import pytest
from sklearn.metrics import multilabel_confusion_matrix

from lagvis.backends.registry import select
from lagvis.data.dataset import as_multi_label
from lagvis.data.source import Source
from lagvis.inference.prediction import outputs
from lagvis.training.baseline import check_baseline
from lagvis.training.evaluation import Metrics
from lagvis.training.linear_model import constant_loss
from lagvis.training.model import Model
from tests.factories import last, quick, run

LABELS = quick(loss="binary-cross-entropy", epochs=8, lr=0.5, dtype="float64")


def labels(rows=240, test_rows=80, noise=False):
    """Return a data set of three labels, each of which follows one of four features; the last is noise if asked."""
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, (rows + test_rows, 4))
    y = (x[:, :3] > [0.0, 0.5, -0.5]).astype(int)
    if noise:
        y[:, 2] = rng.integers(0, 2, rows + test_rows)
    return as_multi_label(Source("made", x[:rows], y[:rows], x[rows:], y[rows:], {}, label_names=("a", "b", "c")))


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1, "momentum": 0.9}, {"normalization": "batch"}])
def test_fit_labels_on_every_backend_equals_numpy(backend_of, settings):
    recipe, dataset = quick(loss="binary-cross-entropy", dtype="float64", **settings), labels()
    numpy = select("cpu", "numpy", "float64")
    expected, found = (last(run(recipe, dataset, backend=backend)) for backend in (numpy, backend_of("float64")))
    for one, other in zip(expected.checkpoint.layers, found.checkpoint.layers, strict=True):
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-9, atol=1e-12)
    assert found.test.exact_match == expected.test.exact_match
    assert np.array_equal(found.test.label_confusion, expected.test.label_confusion)
    assert found.train.loss == pytest.approx(expected.train.loss)


def test_fit_labels_counts_are_those_of_scikit_learn():
    dataset = labels()
    finished = last(run(LABELS, dataset))
    probabilities = outputs(finished.checkpoint.model, finished.checkpoint.layers, dataset.x_test)
    answers = (probabilities > 0.5).astype(int)
    assert np.array_equal(finished.test.label_confusion, multilabel_confusion_matrix(dataset.y_test, answers))
    assert finished.test.accuracy == pytest.approx((answers == dataset.y_test).mean())
    assert finished.test.exact_match == (answers == dataset.y_test).all(axis=1).mean()


def test_check_baseline_label_of_noise_is_named():
    dataset = labels(noise=True)
    finished = last(run(LABELS, dataset))
    warning = check_baseline(finished.test, finished.checkpoint.model, dataset.y_test)
    assert warning is not None
    assert warning.figures["labels"] == ["c"]
    assert check_baseline(last(run(LABELS, labels())).test, finished.checkpoint.model, dataset.y_test) is None


def test_check_baseline_no_label_learned_is_a_warning_of_all():
    dataset = labels()
    model = Model.of(LABELS, dataset, np.arange(240))
    positives = dataset.y_test.sum(axis=0)
    counts = np.array([[[80 - p, 0], [p, 0]] for p in positives])  # every label is answered with 0
    warning = check_baseline(Metrics(0.7, 1 - positives.sum() / 240, label_confusion=counts), model, dataset.y_test)
    assert "no better than always answering the commonest value of each label" in warning.message
    slightly_better = check_baseline(Metrics(0.7, 0.9, label_confusion=counts), model, dataset.y_test)
    assert "not clearly better than" in slightly_better.message


def test_constant_loss_of_labels_is_that_of_their_shares():
    dataset = labels()
    model = Model.of(LABELS, dataset, np.arange(240))
    shares = dataset.y_train.mean(axis=0)
    z = np.broadcast_to(np.log(shares / (1 - shares)), dataset.y_train.shape)
    expected = model.loss_function(z, dataset.y_train.astype(float), xp=np)[0].mean()
    assert constant_loss(LABELS, model, dataset.y_train) == pytest.approx(expected)
