"""Batch and layer normalisation against PyTorch's modules, central differences, and formulas written out here."""

import copy

import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import first_running
from lagvis.network.mlp import forward
from lagvis.network.normalization import EPSILON, NORMALIZATIONS, fold, normalize, normalize_backward, update_running
from lagvis.network.optimizers import sgd
from lagvis.network.step import evaluated_layers, gradients, make_evaluation, make_step, take_batch
from lagvis.tree import named_leaves, tree_map
from tests.network import torch_reference
from tests.network.problems import data_of, loss_for, problem
from tests.network.test_step import host_state

KINDS = [name for name, kind in NORMALIZATIONS.items() if kind is not None]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_target = pytest.mark.parametrize("target", ["classes", "numbers"])
RATES = np.linspace(0.3, 0.05, 6)
SHARES = np.array([1.0, 0.5, 0.25, 0.1, 0.1, 0.1])  # of a batch in the running statistics


def our_gradients(backend, params, x, y, activation, kind, target, **extra):
    """Return the mean objective and the gradient, computed on a backend, as host numbers."""
    data = tree_map(backend.asarray, data_of(x, y) | extra)
    indices = backend.asarray(np.arange(len(x), dtype=np.int32))
    batch = take_batch(data, indices, data["x"].dtype, xp=backend.xp)
    grads, metrics, _ = gradients(
        tree_map(backend.asarray, params), batch, activation=ACTIVATIONS[activation], loss=loss_for(target),
        normalization=NORMALIZATIONS[kind], xp=backend.xp,
    )  # fmt: skip
    return float(backend.to_numpy(metrics["objective"])), tree_map(backend.to_numpy, grads)


def assert_trees_agree(found, expected, rtol):
    expected, found = dict(named_leaves(expected)), dict(named_leaves(found))
    assert found.keys() == expected.keys()
    for name, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[name], rtol=rtol, atol=rtol * np.abs(expected[name]).max() + 1e-15)


@every_kind
@every_target
@pytest.mark.parametrize("hidden", [(5,), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradients_of_normalised_network_equal_pytorch(backend, torch, hidden, activation, kind, target):
    params, x, y = problem(hidden, activation, target, rows=9, normalized=True)
    _, grads = our_gradients(backend, params, x, y, activation, kind, target)
    module = torch_reference.normalized_network(torch, params, activation, kind)
    torch_reference.loss_of(torch, module(torch.tensor(x)), y).backward()
    assert_trees_agree(grads, torch_reference.parameter_tree(module, lambda parameter: parameter.grad), 1e-12)


@every_kind
@every_target
def test_gradients_of_normalised_network_equal_central_differences(backend, kind, target):
    params, x, y = problem((4, 3), "tanh", target, rows=7, normalized=True)
    _, grads = our_gradients(backend, params, x, y, "tanh", kind, target)
    h = 1e-5

    def loss(changed):
        """Return the mean loss, with the normalisation written with NumPy's own mean and variance."""
        a, axis = x, {"batch": 0, "layer": 1}[kind]
        for layer in changed[:-1]:
            p = a @ layer["W"]
            values = (p - p.mean(axis=axis, keepdims=True)) / np.sqrt(p.var(axis=axis, keepdims=True) + EPSILON)
            a = np.tanh(layer["gamma"] * values + layer["b"])
        z = a @ changed[-1]["W"] + changed[-1]["b"]
        if target == "numbers":
            return np.mean((z - y) ** 2)
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])

    for name, leaf in named_leaves(params):
        slope = np.empty_like(leaf)
        for index in np.ndindex(leaf.shape):
            values = []
            for sign in (-1, 1):
                changed = copy.deepcopy(params)
                dict(named_leaves(changed))[name][index] += sign * h
                values.append(loss(changed))
            slope[index] = (values[1] - values[0]) / (2 * h)
        np.testing.assert_allclose(dict(named_leaves(grads))[name], slope, rtol=1e-6, atol=1e-9, err_msg=name)


@every_kind
def test_gradients_row_weights_weigh_the_loss_and_not_the_statistics(backend, torch, kind):
    params, x, y = problem((4, 3), "tanh", "classes", normalized=True)
    w = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 0.25])
    _, grads = our_gradients(backend, params, x, y, "tanh", kind, "classes", w=w)
    module = torch_reference.normalized_network(torch, params, "tanh", kind)
    rows = torch.nn.functional.cross_entropy(
        module(torch.tensor(x)), torch.tensor(y.astype(np.int64)), reduction="none"
    )
    (rows * torch.tensor(w)).mean().backward()
    assert_trees_agree(grads, torch_reference.parameter_tree(module, lambda parameter: parameter.grad), 1e-12)


def start_of(params, kind, target):
    """Return the first state of a run with plain gradient descent, on the host."""
    running = {"running": first_running(params)} if NORMALIZATIONS[kind].has_running else {}
    return host_state(params, sgd(), target) | running


def steps_on(backend, params, data, batches, kind, target, activation="tanh"):
    """Return the host state after a step of gradient descent for each batch, with RATES, in calls of equal shapes."""
    step = make_step(
        activation=ACTIVATIONS[activation], loss=loss_for(target), optimizer=sgd(), xp=backend.xp,
        normalization=NORMALIZATIONS[kind],
    )  # fmt: skip
    run = backend.scan(step)
    state, data = tree_map(backend.asarray, start_of(params, kind, target)), tree_map(backend.asarray, data)
    for rows, rate, share in zip(batches, RATES, SHARES, strict=True):
        inputs = (
            backend.asarray(np.asarray(rows, np.int32)[None]),
            {"learning_rate": backend.asarray(np.array([rate])), "running_rate": backend.asarray(np.array([share]))},
        )
        state = run(state, inputs, (data,))
    return tree_map(backend.to_numpy, state)


@every_kind
@every_target
def test_steps_of_normalised_network_and_its_evaluation_equal_pytorch(backend, torch, kind, target):
    params, x, y = problem((5, 4), "tanh", target, rows=24, normalized=True)
    rng = np.random.default_rng(5)
    batches = [rng.permutation(24)[:size] for size in (8, 8, 8, 8, 2, 8)]  # with a smaller last batch of an epoch
    state = steps_on(backend, params, data_of(x, y), batches, kind, target)

    module = torch_reference.normalized_network(torch, params, "tanh", kind)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for rows, rate, share in zip(batches, RATES, SHARES, strict=True):
        for norm in module.norm:
            norm.momentum = share  # that of batch normalisation; LayerNorm has none
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        torch_reference.loss_of(torch, module(torch.tensor(x[rows])), y[rows]).backward()
        optimizer.step()
    assert_trees_agree(state["params"], torch_reference.parameter_tree(module), 1e-11)
    if kind == "batch":
        expected = [{"mean": norm.running_mean.numpy(), "variance": norm.running_var.numpy()} for norm in module.norm]
        assert_trees_agree(state["running"], expected, 1e-12)

    module.eval()
    rows = np.random.default_rng(6).normal(size=(1, 4))  # one row: evaluation does not look at other rows
    layers = tree_map(backend.asarray, evaluated_layers(state))
    done = forward(
        fold(layers, xp=backend.xp), backend.asarray(rows), activation=ACTIVATIONS["tanh"],
        normalization=NORMALIZATIONS[kind], xp=backend.xp,
    )  # fmt: skip
    z = module(torch.tensor(rows)).detach().numpy()
    np.testing.assert_allclose(backend.to_numpy(done.z), z, rtol=1e-10, atol=1e-12)


@every_kind
def test_make_evaluation_of_normalised_network_equals_pytorch_in_eval_mode(backend, torch, kind):
    params, x, y = problem((5, 4), "tanh", "classes", rows=12, normalized=True)
    batches = np.arange(12).reshape(6, 2)
    state = steps_on(backend, params, data_of(x, y), batches, kind, "classes")
    module = torch_reference.normalized_network(torch, state["params"], "tanh", kind)
    for norm, running in zip(module.norm, state.get("running", []), strict=False):
        norm.running_mean.copy_(torch.tensor(running["mean"]))
        norm.running_var.copy_(torch.tensor(running["variance"]))
    expected = 12 * torch_reference.loss_of(torch, module.eval()(torch.tensor(x)), y).item()
    evaluation = make_evaluation(
        activation=ACTIVATIONS["tanh"], loss=loss_for("classes"), normalization=NORMALIZATIONS[kind], xp=backend.xp
    )
    totals = tree_map(backend.asarray, {"loss": np.zeros(()), "weight": np.zeros(())})
    constants = tree_map(backend.asarray, [evaluated_layers(state), data_of(x, y)])
    indices = backend.asarray(np.arange(12, dtype=np.int32).reshape(2, 6))
    totals = backend.scan(evaluation)(totals, (indices,), tuple(constants))
    assert float(backend.to_numpy(totals["loss"])) == pytest.approx(expected, rel=1e-12)


@every_kind
def test_step_of_two_normalised_networks_in_one_equals_each_alone(backend, kind):
    (one, x, y), (two, _, _) = (problem((5, 4), "tanh", "classes", seed=seed, normalized=True) for seed in (0, 1))
    batches = np.random.default_rng(0).permuted(np.tile(np.arange(6), (6, 1)), axis=1)[:, :2]
    alone = [steps_on(backend, params, data_of(x, y), batches, kind, "classes") for params in (one, two)]
    both = tree_map(lambda a, b: np.stack([a, b]), one, two)
    state = start_of(both, kind, "classes")
    state["totals"] = {name: np.zeros(2) for name in state["totals"]}
    step = make_step(
        activation=ACTIVATIONS["tanh"], loss=loss_for("classes"), optimizer=sgd(), xp=backend.xp,
        normalization=NORMALIZATIONS[kind],
    )  # fmt: skip
    inputs = (
        np.tile(batches[:, None, :], (1, 2, 1)).astype(np.int32),
        {"learning_rate": RATES, "running_rate": SHARES},
    )
    state, inputs, data = (tree_map(backend.asarray, tree) for tree in (state, list(inputs), data_of(x, y)))
    state = tree_map(backend.to_numpy, backend.scan(step)(state, tuple(inputs), (data,)))
    for m in range(2):
        for name in ("params", *(["running"] if kind == "batch" else [])):
            assert_trees_agree(tree_map(lambda a, m=m: a[m], state[name]), alone[m][name], 1e-11)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize(("mean", "deviation"), [(1e3, 1e-2), (-1e3, 1e-2), (0.0, 1e-2), (1e4, 1.0)])
def test_normalize_in_float32_far_from_zero_keeps_its_digits(backend_of, axis, mean, deviation):
    backend = backend_of("float32")
    p = np.random.default_rng(0).normal(mean, deviation, (200, 50)).astype(np.float32)
    exact = p.astype(np.float64)
    variance = exact.var(axis=axis, keepdims=True)
    expected = (exact - exact.mean(axis=axis, keepdims=True)) / np.sqrt(variance + EPSILON)
    found = normalize(backend.asarray(p), axis, xp=backend.xp)
    np.testing.assert_allclose(backend.to_numpy(found.values), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(backend.to_numpy(found.variance), variance, rtol=1e-5)


@pytest.mark.parametrize("axis", [-1, -2])
def test_normalize_equal_values_give_zero_and_a_finite_gradient(backend_of, axis, dtype):
    backend = backend_of(dtype)
    p, gamma = np.full((3, 3), 7.0, dtype), np.ones(3, dtype)
    found = normalize(backend.asarray(p), axis, xp=backend.xp)
    delta = backend.asarray(np.arange(9, dtype=dtype).reshape(3, 3))
    back = normalize_backward(delta, backend.asarray(gamma), found, axis, xp=backend.xp)
    assert not backend.to_numpy(found.values).any()
    assert all(np.isfinite(backend.to_numpy(a)).all() for a in back)


def test_fold_gives_the_values_of_normalisation_by_running_statistics(backend):
    params, x, _ = problem((5, 4), "relu", "classes", rows=8, normalized=True)
    rng = np.random.default_rng(2)
    running = [
        {"mean": rng.normal(size=layer["b"].shape), "variance": rng.random(layer["b"].shape)} for layer in params[:-1]
    ]
    a = x
    for layer, statistics in zip(params[:-1], running, strict=True):
        values = (a @ layer["W"] - statistics["mean"]) / np.sqrt(statistics["variance"] + EPSILON)
        a = np.maximum(layer["gamma"] * values + layer["b"], 0.0)
    z = a @ params[-1]["W"] + params[-1]["b"]
    layers = tree_map(backend.asarray, evaluated_layers({"params": params, "running": running}))
    folded = fold(layers, xp=backend.xp)
    assert [{*layer} for layer in folded] == [{"W", "b"}] * 3
    done = forward(folded, backend.asarray(x), activation=ACTIVATIONS["relu"], xp=backend.xp)
    np.testing.assert_allclose(backend.to_numpy(done.z), z, rtol=1e-12, atol=1e-13)


def test_update_running_batch_of_one_row_is_finite(backend):
    batch = normalize(backend.asarray(np.array([[1.0, 2.0]])), -2, xp=backend.xp)
    running = {"mean": backend.asarray(np.zeros(2)), "variance": backend.asarray(np.ones(2))}
    moved = tree_map(backend.to_numpy, update_running(running, batch, 1, backend.asarray(np.array(0.1))))
    np.testing.assert_allclose(moved["mean"], [0.1, 0.2])
    np.testing.assert_allclose(moved["variance"], [0.9, 0.9])
