import copy
import functools

import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.mlp import forward
from lagvis.network.step import gradients, take_batch
from lagvis.tree import named_leaves, tree_map
from tests.network import torch_reference
from tests.network.problems import HIDDEN, data_of, loss_for, problem

KINDS = ("classes", "numbers")
# Every activation in one depth, every depth with one activation and both kinds of target: (depth, activation, kind).
CASES = [("two", activation, "classes") for activation in ACTIVATIONS]
CASES += [(depth, "silu", kind) for depth in HIDDEN for kind in KINDS if (depth, kind) != ("two", "classes")]
every_case = pytest.mark.parametrize(("depth", "activation", "kind"), CASES)


def our_gradients(backend, params, x, y, activation, loss, **extra):
    """Return mean loss and gradient, computed on a backend, as host numbers."""
    data = tree_map(backend.asarray, data_of(x, y) | extra)
    batch = take_batch(data, backend.asarray(np.arange(len(x), dtype=np.int32)), data["x"].dtype, xp=backend.xp)
    on_device = tree_map(backend.asarray, params)
    grads, totals, _ = gradients(on_device, batch, activation=ACTIVATIONS[activation], loss=loss, xp=backend.xp)
    return float(backend.to_numpy(totals["objective"])) / totals["rows"], tree_map(backend.to_numpy, grads)


def assert_trees_agree(found, expected, rtol):
    expected = dict(named_leaves(expected))
    for name, leaf in named_leaves(found):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(leaf, expected[name], rtol=rtol, atol=rtol * scale, err_msg=name)
        assert leaf.shape == expected[name].shape


@functools.cache
def slopes(hidden, activation, kind):
    """Return the central differences of a loss written here in NumPy, for every parameter: [(name, slopes), ...]."""
    params, x, y = problem(hidden, activation, kind)
    h = 1e-5

    def loss(changed):
        done = forward(changed, x, activation=ACTIVATIONS[activation], xp=np)
        z = done.z
        sides.append([a > 0 for a in done.inputs[1:]])
        if kind == "numbers":
            return np.mean((z - y) ** 2)
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])

    found = []
    for name, leaf in named_leaves(params):
        slope = np.empty_like(leaf)
        for index in np.ndindex(leaf.shape):
            sides, values = [], []
            for sign in (-1, 1):
                changed = copy.deepcopy(params)
                dict(named_leaves(changed))[name][index] += sign * h
                values.append(loss(changed))
            crossed = ACTIVATIONS[activation].has_kink and any(
                not np.array_equal(a, b) for a, b in zip(*sides, strict=True)
            )
            assert not crossed, "the problem of this test must stay away from the kink"
            slope[index] = (values[1] - values[0]) / (2 * h)
        found.append((name, slope))
    return found


@every_case
def test_gradients_equal_central_differences(backend, depth, activation, kind):
    hidden = HIDDEN[depth]
    params, x, y = problem(hidden, activation, kind)
    _, grads = our_gradients(backend, params, x, y, activation, loss_for(kind))
    for (name, slope), (_, gradient) in zip(slopes(hidden, activation, kind), named_leaves(grads), strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9, err_msg=name)


@every_case
def test_gradients_equal_autograd(backend, torch, depth, activation, kind):
    params, x, y = problem(HIDDEN[depth], activation, kind, seed=1)
    loss, grads = our_gradients(backend, params, x, y, activation, loss_for(kind))
    expected_loss, expected = torch_reference.gradients(torch, params, x, y, activation)
    assert loss == pytest.approx(expected_loss, rel=1e-14)
    assert_trees_agree(grads, expected, 1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_row_weights_equal_autograd(backend, torch, kind):
    params, x, y = problem((4, 3), "tanh", kind, seed=2)
    w = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 0.25])
    loss, grads = our_gradients(backend, params, x, y, "tanh", loss_for(kind), w=w)
    expected_loss, expected = torch_reference.gradients(torch, params, x, y, "tanh", w=w)
    assert loss == pytest.approx(expected_loss, rel=1e-14)
    assert_trees_agree(grads, expected, 1e-13)


def test_gradients_label_smoothing_equal_autograd(backend, torch):
    params, x, y = problem((5,), "relu", "classes", seed=3)
    loss, grads = our_gradients(backend, params, x, y, "relu", loss_for("classes", 0.1))
    expected_loss, expected = torch_reference.gradients(torch, params, x, y, "relu", smoothing=0.1)
    assert loss == pytest.approx(expected_loss, rel=1e-14)
    assert_trees_agree(grads, expected, 1e-13)


def test_gradients_network_of_the_papers_size_equal_autograd(backend_of, torch, dtype):
    backend = backend_of(dtype)
    params, x, y = problem((32, 32), "relu", "classes", rows=200, n_in=784, n_out=10)
    bytes_ = (np.abs(x) * 100).clip(0, 255).astype(np.uint8)
    data = {"x": bytes_, "y": y, "classes": np.arange(10, dtype=np.uint8)}
    on_device = tree_map(lambda a: backend.asarray(a.astype(dtype)), params)
    data = tree_map(backend.asarray, data)
    indices = backend.asarray(np.arange(200, dtype=np.int32))
    batch = take_batch(data, indices, on_device[0]["W"].dtype, xp=backend.xp)
    found, _, _ = gradients(on_device, batch, activation=ACTIVATIONS["relu"], loss=loss_for("classes"), xp=backend.xp)
    _, expected = torch_reference.gradients(torch, params, bytes_ / 255.0, y, "relu")
    scale = {"float32": 24 * np.finfo("f4").eps, "float64": 24 * np.finfo("f8").eps}[dtype]
    expected = dict(named_leaves(expected))
    for name, leaf in named_leaves(found):
        host = backend.to_numpy(leaf)
        assert host.dtype == dtype
        assert np.abs(host - expected[name]).max() <= scale * np.abs(expected[name]).max(), name
