import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.losses import cross_entropy
from lagvis.network.optimizers import sgd
from lagvis.network.step import make_evaluation, make_step
from lagvis.tree import named_leaves, tree_map
from tests.network import torch_reference
from tests.network.problems import data_of, loss_for, problem

GOLDEN = Path(__file__).with_name("golden.json")


def host_state(params, optimizer, kind="classes", n_out=3):
    """Return a state at the start of a call, on the host."""
    totals = {"loss": np.zeros(()), "weight": np.zeros(())}
    totals |= {"correct": np.zeros(())} if kind == "classes" else {"squared_error": np.zeros(n_out)}
    return {"params": params, "totals": totals} | zero_optimizer_state(optimizer, params)


def take_steps(backend, state, data, indices, rates, *, activation, loss, optimizer):
    """Return the state after S steps in one call, on the host."""
    step = make_step(activation=ACTIVATIONS[activation], loss=loss, optimizer=optimizer, xp=backend.xp)
    inputs = (backend.asarray(indices.astype(np.int32)), {"learning_rate": backend.asarray(rates)})
    data = tree_map(backend.asarray, data)
    return tree_map(backend.to_numpy, backend.scan(step)(tree_map(backend.asarray, state), inputs, (data,)))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_step_ten_steps_equal_torch_optim(backend, torch, kind, momentum, nesterov):
    params, x, y = problem((5, 4), "tanh", kind, rows=24)
    indices = np.random.default_rng(5).permuted(np.tile(np.arange(24), (10, 1)), axis=1)[:, :8]
    rates = np.linspace(0.3, 0.05, 10)
    leaves, forward = torch_reference.network(torch, params, "tanh")
    optimizer = torch.optim.SGD(
        [p for layer in leaves for p in layer.values()], lr=1.0, momentum=momentum, nesterov=nesterov
    )
    losses = []
    for rows, rate in zip(indices, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = torch_reference.loss_of(torch, forward(torch.tensor(x[rows])), y[rows])
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    ours = sgd(momentum=momentum, nesterov=nesterov)
    state = take_steps(
        backend, host_state(params, ours, kind), data_of(x, y), indices, rates,
        activation="tanh", loss=loss_for(kind), optimizer=ours,
    )  # fmt: skip
    expected = dict(named_leaves([{name: p.detach().numpy() for name, p in layer.items()} for layer in leaves]))
    for name, leaf in named_leaves(state["params"]):
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)
    assert float(state["totals"]["weight"]) == 80
    if kind == "classes":
        assert float(state["totals"]["loss"]) / 80 == pytest.approx(np.mean(losses), rel=1e-13)
    else:
        assert float(state["totals"]["squared_error"].mean()) / 80 == pytest.approx(np.mean(losses), rel=1e-13)


def test_step_golden_trajectory(backend):
    """Losses and parameters of ten steps, computed with PyTorch by scripts/make-golden, by the name of the array."""
    golden = json.loads(GOLDEN.read_text())
    start = {name: np.array(values) for name, values in golden["start"].items()}
    params = [{"W": start[f"params.{i}.W"], "b": start[f"params.{i}.b"]} for i in range(len(start) // 2)]
    data = {
        "x": np.array(golden["x"], np.uint8),
        "y": np.array(golden["y"], np.uint8),
        "classes": np.arange(golden["classes"], dtype=np.uint8),
    }
    optimizer = sgd(momentum=golden["momentum"], nesterov=True)
    state = host_state(params, optimizer)
    state["totals"]["objective"] = np.zeros(())
    losses = []
    for rows, rate in zip(golden["indices"], golden["rates"], strict=True):
        before = float(state["totals"]["objective"])
        state = take_steps(
            backend, state, data, np.array([rows]), np.array([rate]),
            activation="relu", loss=partial(cross_entropy, smoothing=golden["smoothing"]), optimizer=optimizer,
        )  # fmt: skip
        losses.append((float(state["totals"]["objective"]) - before) / len(rows))
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-11)
    found = dict(named_leaves({"params": state["params"]}))
    assert found.keys() == golden["end"].keys()
    for name, values in golden["end"].items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_step_leading_axis_equals_separate_networks(backend, kind):
    """Two networks and a batch of two: a broadcast along the wrong axis would raise no error."""
    members = [problem((4, 2), "relu", kind, rows=7, seed=seed) for seed in (0, 1)]
    _, x, y = members[0]
    optimizer = sgd(momentum=0.9, nesterov=True)
    indices = np.array([[[0, 1], [2, 3]], [[4, 5], [6, 0]], [[3, 1], [5, 2]]])  # (S, M, B)
    rates = np.array([0.1, 0.2, 0.05])
    settings = {"activation": "relu", "loss": loss_for(kind), "optimizer": optimizer}
    alone = [
        take_steps(backend, host_state(params, optimizer, kind), data_of(x, y), indices[:, m], rates, **settings)
        for m, (params, _, _) in enumerate(members)
    ]
    starts = [host_state(params, optimizer, kind) for params, _, _ in members]
    stacked = tree_map(lambda a, b: np.stack([a, b]), *starts)
    together = dict(named_leaves(take_steps(backend, stacked, data_of(x, y), indices, rates, **settings)))
    for m in range(2):
        for name, leaf in named_leaves(alone[m]):
            np.testing.assert_allclose(together[name][m], leaf, rtol=1e-13, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_step_pixel_mean_equals_step_on_centred_numbers(backend, kind):
    params, _, y = problem((5, 4), "tanh", kind, rows=24)
    bytes_ = np.random.default_rng(4).integers(0, 256, (24, params[0]["W"].shape[0])).astype(np.uint8)
    indices = np.random.default_rng(5).permuted(np.tile(np.arange(24), (4, 1)), axis=1)[:, :8]
    optimizer = sgd(momentum=0.9, nesterov=True)
    settings = {"activation": "tanh", "loss": loss_for(kind), "optimizer": optimizer}
    both = [
        take_steps(backend, host_state(params, optimizer, kind), data, indices, np.full(4, 0.1), **settings)
        for data in (data_of(bytes_, y) | {"pixel_mean": np.array(0.3)}, data_of(bytes_ / 255.0 - 0.3, y))
    ]
    expected = dict(named_leaves(both[1]))
    for name, leaf in named_leaves(both[0]):
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_evaluation_scales_bytes_and_predicts_classes(backend):
    params, _, _ = problem((), "relu", "classes", n_in=2)
    params[0]["W"], params[0]["b"] = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.zeros(3)
    data = {
        "x": np.array([[255, 0], [0, 255], [51, 102]], np.uint8),
        "y": np.array([0, 0, 1], np.uint8),
        "classes": np.arange(3, dtype=np.uint8),
    }
    evaluation = make_evaluation(activation=ACTIVATIONS["relu"], loss=cross_entropy, xp=backend.xp)
    totals = {"loss": np.zeros(()), "weight": np.zeros(()), "correct": np.zeros(()), "predicted": np.zeros(3, np.int32)}
    arguments = (tree_map(backend.asarray, params), tree_map(backend.asarray, data))
    indices = backend.asarray(np.array([[0, 1, 2]], np.int32))
    found = tree_map(
        backend.to_numpy, backend.scan(evaluation)(tree_map(backend.asarray, totals), (indices,), arguments)
    )
    z = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.4, 0.0]])
    expected = np.log(np.exp(z).sum(axis=1)) - z[[0, 1, 2], [0, 0, 1]]
    assert float(found["loss"]) == pytest.approx(expected.sum(), rel=1e-14)
    assert (float(found["correct"]), float(found["weight"])) == (2.0, 3.0)
    assert found["predicted"].tolist() == [0, 1, 1]


def test_step_equals_hand_calculation(backend):
    """The example of docs/math.md: a 2-2-2 network, two rows, rate 0.5.

    Row 0: z = (1, -0.5), a = (1, 0), z = (0.75, -0.75), p = (0.8176, 0.1824), loss -log 0.8176 = 0.2014
    Row 1: z = (0.75, 1.25) = a, z = (0.3125, 0), p = (0.5775, 0.4225), loss -log 0.4225 = 0.8616, wrong before the step
    delta = (p - t) / 2 = (-0.0912, 0.0912), (0.2887, -0.2887); the inactive hidden unit has gradient 0.
    """
    params = [
        {"W": np.array([[0.5, -1.0], [1.0, 0.5]]), "b": np.array([0.0, 0.25])},
        {"W": np.array([[0.5, -0.5], [-0.25, 0.5]]), "b": np.array([0.25, -0.25])},
    ]
    data = data_of(np.array([[1.0, 0.5], [-0.5, 1.0]]), np.array([0, 1], np.uint8), n_out=2)
    optimizer = sgd()
    state = take_steps(
        backend, host_state(params, optimizer), data, np.array([[0, 1]]), np.array([0.5]),
        activation="relu", loss=cross_entropy, optimizer=optimizer,
    )  # fmt: skip
    assert float(state["totals"]["loss"]) == pytest.approx(0.201413277982752 + 0.861554862270668, rel=1e-14)
    assert float(state["totals"]["correct"]) == 1.0
    expected = {
        "0.W": [[0.6177933015998156, -1.0541401904861698], [0.8784293491793416, 0.6082803809723397]],
        "0.b": [-0.09876746034486383, 0.3582803809723397],
        "1.W": [[0.43732599997924937, -0.43732599997924937], [-0.4304673016205662, 0.6804673016205661]],
        "1.b": [0.15123253965513614, -0.15123253965513617],
    }
    found = dict(named_leaves(state["params"]))
    assert found.keys() == expected.keys()
    for name, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-14, err_msg=name)
