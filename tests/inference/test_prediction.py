"""Predictions, compared with scikit-learn with the same weights and with the counts of an evaluation."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from lagvis.inference.prediction import outputs, predict, predictions
from lagvis.training.model import Model
from tests.factories import bands, classes, last, numbers, quick, run
from tests.network import torch_reference


def trained(recipe, dataset):
    events = run(recipe, dataset)
    return events[0].model, last(events)


def test_predict_probabilities_equal_scikit_learn():
    x, y = bands(50)
    oracle = MLPClassifier((8,), random_state=0).partial_fit(x.reshape(50, -1) / 255.0, y, classes=range(4))
    params = [{"W": w, "b": b} for w, b in zip(oracle.coefs_, oracle.intercepts_, strict=True)]
    model = Model((36, 8, 4), "relu", "cross-entropy", (6, 6), ("0", "1", "2", "3"), (), "", None, None)
    found = predict(model, params, x.reshape(50, -1))
    np.testing.assert_allclose(found.outputs, oracle.predict_proba(x.reshape(50, -1) / 255.0), rtol=1e-12)
    assert [layer.shape for layer in found.layers] == [(50, 36), (50, 8)]
    assert (found.layers[1] >= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_classes_equal_confusion_of_evaluation(dtype):
    dataset = classes(120, test_rows=50)
    model, finished = trained(quick(dtype=dtype, epochs=1), dataset)
    predicted = outputs(model, finished.state["params"], dataset.x_test).argmax(axis=1)
    assert np.trace(finished.test.confusion) == np.sum(predicted == dataset.y_test)


def test_outputs_regression_in_users_unit():
    dataset = numbers(120)
    model, finished = trained(quick(loss="mse", dtype="float64"), dataset)
    error = outputs(model, finished.state["params"], dataset.x_test) - dataset.y_test
    np.testing.assert_allclose(np.sqrt((error**2).mean(axis=0)), finished.test.errors, rtol=1e-10)


def test_predictions_chunks_equal_one_prediction(monkeypatch):
    dataset = classes(120, test_rows=50)
    model, finished = trained(quick(dtype="float64"), dataset)
    whole = outputs(model, finished.state["params"], dataset.x_test)
    monkeypatch.setattr("lagvis.training.evaluation.CHUNK_ROWS", 7)
    pieces = list(predictions(model, finished.state["params"], dataset.x_test))
    assert [len(piece.outputs) for piece in pieces] == [7] * 7 + [1]
    np.testing.assert_allclose(outputs(model, finished.state["params"], dataset.x_test), whole, rtol=1e-12)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_outputs_of_a_normalised_run_equal_pytorch_in_eval_mode(normalization, torch):
    dataset = classes(120, test_rows=50)
    recipe = quick(normalization=normalization, hidden=(8, 5), dtype="float64", epochs=3)
    model, finished = trained(recipe, dataset)
    found = outputs(model, finished.checkpoint.layers, dataset.x_test)
    module = torch_reference.normalized_network(torch, finished.state["params"], "relu", normalization)
    for norm, running in zip(module.norm, finished.state.get("running", []), strict=False):
        norm.running_mean.copy_(torch.tensor(running["mean"]))
        norm.running_var.copy_(torch.tensor(running["variance"]))
    z = module.eval()(torch.tensor(dataset.x_test / 255.0))
    np.testing.assert_allclose(found, torch.softmax(z, dim=-1).detach().numpy(), rtol=1e-9, atol=1e-14)
    assert np.trace(finished.test.confusion) == np.sum(found.argmax(axis=1) == dataset.y_test)


def test_predict_batch_normalisation_that_is_not_folded_raises():
    dataset = classes(120)
    model, finished = trained(quick(normalization="batch"), dataset)
    with pytest.raises(ValueError, match=r"pass Checkpoint\.layers"):
        predict(model, finished.state["params"], dataset.x_test)
    assert predict(model, finished.checkpoint.layers, dataset.x_test[:1]).outputs.shape == (1, 4)


def test_outputs_huge_logits_are_probabilities():
    dataset = classes(120)
    model, finished = trained(quick(), dataset)
    params = [{name: leaf * np.float32(1e4) for name, leaf in layer.items()} for layer in finished.state["params"]]
    found = outputs(model, params, dataset.x_test)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
