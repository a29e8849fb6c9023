"""ema: the average of the weights, against PyTorch's AveragedModel, and who is judged by it."""

from dataclasses import replace

import numpy as np
import pytest

from lagvis.inference.prediction import predictions
from lagvis.training.events import Progress
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.tree import named_leaves
from tests.conftest import open_backend
from tests.factories import classes, epochs, last, quick

RECIPE = quick(hidden=(6,), dtype="float64", epochs=3, ema=0.8, normalization="batch", validation=20, lr=0.3)


def states_of(recipe, dataset, backend, monkeypatch):
    """Return the events of a run, and the state after every step."""
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)  # a call of the backend is one step
    events, states = [], []
    for event in fit(recipe, dataset, make_plan(recipe, dataset), backend):
        events.append(event)
        if isinstance(event, Progress):
            states.append(event.checkpoint().state)
    return events, states


@pytest.mark.parametrize("name", ["numpy", "strict", "torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_ema_equals_averaged_model_of_torch_with_running_statistics(torch, monkeypatch, name):
    events, states = states_of(RECIPE, classes(120), open_backend(name, "float64"), monkeypatch)
    network = torch.nn.Sequential(torch.nn.Linear(36, 6, bias=False), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 4))
    network = network.double()

    def load(state):
        (hidden, output), running = state["params"], state["running"][0]
        arrays = (hidden["W"].T, hidden["gamma"], hidden["b"], output["W"].T, output["b"])
        with torch.no_grad():
            for parameter, array in zip(network.parameters(), arrays, strict=True):
                parameter.copy_(torch.tensor(np.array(array)))
            network[1].running_mean.copy_(torch.tensor(running["mean"]))
            network[1].running_var.copy_(torch.tensor(running["variance"]))

    def average(old, new, count):
        return old + max(1 - 0.8, 1 / (int(count) + 1)) * (new - old)

    averaged = torch.optim.swa_utils.AveragedModel(network, avg_fn=average, use_buffers=True)
    for state in states:
        load(state)
        averaged.update_parameters(network)
    hidden, output = last(events).state["ema"]
    module = averaged.module
    found = (
        hidden["W"].T,
        hidden["gamma"],
        hidden["b"],
        hidden["mean"],
        hidden["variance"],
        output["W"].T,
        output["b"],
    )
    expected = (
        module[0].weight, module[1].weight, module[1].bias, module[1].running_mean, module[1].running_var,
        module[2].weight, module[2].bias,
    )  # fmt: skip
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-13, atol=1e-15)


def loss_of(checkpoint, dataset):
    """Return the cross-entropy of the predictions for the test part."""
    outputs = [part.outputs for part in predictions(checkpoint.model, checkpoint.layers, dataset.x_test)]
    return -np.log(np.concatenate(outputs)[np.arange(len(dataset.y_test)), dataset.y_test]).mean()


def test_ema_is_what_validation_test_and_predictions_are_judged_by(monkeypatch):
    dataset = classes(120)
    events, _ = states_of(RECIPE, dataset, open_backend("numpy", "float64"), monkeypatch)
    checkpoint = last(events).checkpoint
    outputs = np.concatenate(
        [part.outputs for part in predictions(checkpoint.model, checkpoint.layers, dataset.x_test)]
    )
    loss = -np.log(outputs[np.arange(len(dataset.y_test)), dataset.y_test]).mean()
    assert last(events).test.loss == pytest.approx(loss, rel=1e-12)
    plain = replace(checkpoint, state={name: tree for name, tree in checkpoint.state.items() if name != "ema"})
    assert abs(loss_of(plain, dataset) - last(events).test.loss) > 1e-3
    assert epochs(events)[-1].validation.loss == last(events).validation.loss


def test_ema_does_not_change_the_weights(monkeypatch):
    with_average, _ = states_of(RECIPE, classes(120), open_backend("numpy", "float64"), monkeypatch)
    without, _ = states_of(replace(RECIPE, ema=0.0), classes(120), open_backend("numpy", "float64"), monkeypatch)
    found = {name: leaf for name, leaf in named_leaves(last(with_average).state) if not name.startswith("ema")}
    expected = dict(named_leaves(last(without).state))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)
