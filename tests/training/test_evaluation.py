import json
import time
import tracemalloc

import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.report.summary import run_details
from lagvis.training import evaluation
from lagvis.training.evaluation import Evaluator
from lagvis.training.model import Model
from lagvis.tree import tree_map
from tests.conftest import open_backend


@pytest.mark.parametrize("width", [8, 4096])
def test_evaluate_more_rows_take_no_more_memory(width):
    """The activations of one layer for all rows at once would take 50,000 x 4096 x 4 bytes: 800 MB."""
    model = Model((4, width, 3), "relu", "cross-entropy", (4,), ("a", "b", "c"), (), "", None, None)
    rng = np.random.default_rng(0)
    params = [{"W": rng.normal(size=(4, width)).astype("f4"), "b": np.zeros(width, "f4")}]
    params += [{"W": rng.normal(size=(width, 3)).astype("f4"), "b": np.zeros(3, "f4")}]

    def peak(rows):
        x = rng.integers(0, 256, (rows, 4)).astype(np.uint8)
        data = {"x": x, "y": np.zeros(rows, np.uint8), "classes": np.arange(3, dtype=np.uint8)}
        evaluator = Evaluator(model, select("cpu"))
        tracemalloc.start()
        try:
            scores = evaluator.evaluate(params, data, np.arange(rows), details=True)
            assert scores.confusion.sum() == rows
            return tracemalloc.get_traced_memory()[1] - 8 * rows  # the row indices themselves
        finally:
            tracemalloc.stop()

    few, many = peak(2_000), peak(20_000 if width == 4096 else 50_000)
    assert many < 1.2 * few + 100_000
    assert many < 64_000_000


def test_evaluate_other_chunk_size_same_metrics(monkeypatch):
    rng = np.random.default_rng(0)
    model = Model((36, 50, 3), "relu", "cross-entropy", (36,), ("a", "b", "c"), (), "", None, None)
    params = [
        {"W": rng.normal(size=(n_in, n_out)) / 6, "b": rng.normal(size=n_out)} for n_in, n_out in ((36, 50), (50, 3))
    ]
    x, y = rng.integers(0, 256, (5000, 36)).astype(np.uint8), rng.integers(0, 3, 5000).astype(np.uint8)
    data = {"x": x, "y": y, "classes": np.arange(3, dtype=np.uint8)}

    def scores(piece):
        monkeypatch.setattr(evaluation, "CHUNK_ROWS", piece)
        return Evaluator(model, select("cpu", dtype="float64")).evaluate(params, data, np.arange(5000), details=True)

    whole = scores(5000)
    for piece in (1, 7, 1000, 4999):
        pieces = scores(piece)
        assert pieces.loss == pytest.approx(whole.loss, rel=5000 * np.finfo(np.float64).eps)
        assert pieces.accuracy == whole.accuracy
        assert np.array_equal(pieces.confusion, whole.confusion)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_evaluate_10000_classes_counts_confusion_in_seconds(name):
    """A matrix of counts a chunk would take minutes."""
    k, rows = 10_000, 10_000
    model = Model((20, k), "relu", "cross-entropy", (20,), tuple(map(str, range(k))), (), "", None, None)
    backend, rng = open_backend(name, "float32"), np.random.default_rng(0)
    layers = [{"W": rng.normal(size=(20, k)).astype("f4"), "b": np.zeros(k, "f4")}]
    x, y = rng.integers(0, 256, (rows, 20)).astype(np.uint8), rng.integers(0, k, rows).astype(np.int32)
    data = {"x": x, "y": y, "classes": np.arange(k, dtype=np.int32)}
    on_device = tree_map(backend.asarray, data)
    start = time.process_time()  # a busy machine takes none of them
    metrics = Evaluator(model, backend).evaluate(
        tree_map(backend.asarray, layers), on_device, np.arange(rows), details=True
    )
    details = json.dumps(run_details(metrics, model, None))
    seconds = time.process_time() - start
    predicted = np.argmax((x / np.float32(255)) @ layers[0]["W"], axis=1)
    assert metrics.confusion.sum() == rows
    assert np.abs(metrics.confusion.sum(axis=0) - np.bincount(predicted, minlength=k)).sum() <= 4  # ties by rounding
    assert len(details) < 2_000_000
    assert seconds < 15
