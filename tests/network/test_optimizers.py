"""Optimizers against torch.optim and published updates, a line a case; each must find the minimum of two functions."""

from itertools import pairwise

import numpy as np
import pytest

from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.optimizers import (
    OPTIMIZERS,
    adam,
    adamw,
    join_hidden,
    lion,
    muon,
    orthogonalize,
    rmsprop,
    sgd,
    sign,
    split_hidden,
)
from lagvis.tree import named_leaves, tree_map

LR = 0.05
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}
# id: (our optimizer, class of torch.optim, its options)
AGAINST_TORCH = {
    "sgd": (sgd(), "SGD", {}),
    "sgd, weight decay": (sgd(weight_decay=0.1), "SGD", {"weight_decay": 0.1}),
    "momentum": (sgd(momentum=0.9), "SGD", {"momentum": 0.9}),
    "momentum 0.99": (sgd(momentum=0.99), "SGD", {"momentum": 0.99}),
    "nesterov": (sgd(momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
    "nesterov, weight decay": (
        sgd(momentum=0.5, nesterov=True, weight_decay=0.1),
        "SGD",
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    ),
    "rmsprop": (rmsprop(rho=0.99, eps=1e-8), "RMSprop", {}),
    "rmsprop, rho and eps": (rmsprop(rho=0.9, eps=0.1), "RMSprop", {"alpha": 0.9, "eps": 0.1}),
    "rmsprop, weight decay": (rmsprop(rho=0.99, eps=1e-8, weight_decay=0.1), "RMSprop", {"weight_decay": 0.1}),
    "rmsprop, momentum": (rmsprop(rho=0.99, eps=1e-8, momentum=0.9), "RMSprop", {"momentum": 0.9}),
    "adam": (adam(**ADAM), "Adam", {}),
    "adam, weight decay": (adam(**ADAM, weight_decay=0.1), "Adam", {"weight_decay": 0.1}),
    "adam, betas": (adam(betas=(0.8, 0.95), eps=1e-8), "Adam", {"betas": (0.8, 0.95)}),
    "adam, betas of 0": (adam(betas=(0.0, 0.0), eps=1e-3), "Adam", {"betas": (0.0, 0.0), "eps": 1e-3}),
    "adam, eps": (adam(betas=(0.9, 0.999), eps=0.1), "Adam", {"eps": 0.1}),
    "adamw": (adamw(**ADAM), "AdamW", {"weight_decay": 0.0}),
    "adamw, weight decay": (adamw(**ADAM, weight_decay=0.1), "AdamW", {"weight_decay": 0.1}),
    "adamw, all": (
        adamw(betas=(0.7, 0.9), eps=0.01, weight_decay=0.5),
        "AdamW",
        {"betas": (0.7, 0.9), "eps": 0.01, "weight_decay": 0.5},
    ),
}
# Its options are those of torch.optim.Muon for the hidden matrix.
MUON = {
    "muon": {"momentum": 0.95, "nesterov": True, "weight_decay": 0.0},
    "muon, weight decay": {"momentum": 0.95, "nesterov": True, "weight_decay": 0.1},
    "muon, without nesterov": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.1},
    "muon, momentum 0": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
}
SHAPES = {"square": (4, 3, 3, 2), "wide": (4, 2, 5, 2), "tall": (4, 5, 2, 2)}
STEPS = (1, 10)  # after these, the parameters are compared


def scalars_of(optimizer, step, rate, backend):
    """Return the scalars of a step, counted from 1, on a backend."""
    own = optimizer.scalars(np.array([step]), {})
    host = {"learning_rate": np.array(rate)} | {name: values[0] for name, values in own.items()}
    return tree_map(lambda a: backend.asarray(np.asarray(a, np.float64)), host)


def run(backend, optimizer, params, gradient, steps, rate):
    """Take steps along `gradient(params)` on a backend; return the parameters after each on the host."""
    seen = []
    state = tree_map(backend.asarray, params)
    optimizer_state = tree_map(backend.asarray, zero_optimizer_state(optimizer, params))
    for step in range(1, steps + 1):
        scalars = scalars_of(optimizer, step, rate, backend)
        state, optimizer_state = optimizer.update(state, gradient(state), optimizer_state, scalars, xp=backend.xp)
        seen.append(tree_map(backend.to_numpy, state))
    return seen


def cubic_gradient(tree):
    """Return the gradient of the sum of p^3 + p^2."""
    return tree_map(lambda p: 3.0 * p * p + 2.0 * p, tree)


def torch_run(torch, starts, optimizers, steps):
    """Take the same steps with optimizers of torch, made by `optimizers(tensors)`; return the parameters after each."""
    seen = []
    tensors = [torch.tensor(start, requires_grad=True) for start in starts]
    made = optimizers(tensors)
    for _ in range(steps):
        for optimizer in made:
            optimizer.zero_grad()
        sum((p**3 + p**2).sum() for p in tensors).backward()
        for optimizer in made:
            optimizer.step()
        seen.append([tensor.detach().numpy().copy() for tensor in tensors])
    return seen


@pytest.mark.parametrize("case", AGAINST_TORCH)
def test_one_and_ten_steps_equal_torch_optim(backend, torch, case):
    optimizer, name, options = AGAINST_TORCH[case]
    start = np.random.default_rng(0).normal(size=(3, 2)) * 0.5
    theirs = torch_run(torch, [start], lambda p: [getattr(torch.optim, name)(p, lr=LR, **options)], max(STEPS))
    ours = run(backend, optimizer, [{"W": start}], cubic_gradient, max(STEPS), LR)
    for steps in STEPS:
        np.testing.assert_allclose(ours[steps - 1][0]["W"], theirs[steps - 1][0], rtol=1e-13, atol=1e-15)


MUON_CASES = [(case, "wide") for case in MUON] + [("muon", shape) for shape in SHAPES if shape != "wide"]


@pytest.mark.parametrize(("case", "shape"), MUON_CASES)
def test_muon_one_and_ten_steps_equal_torch_muon_for_hidden_matrices_and_adamw_for_the_rest(
    backend, torch, monkeypatch, case, shape
):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("PyTorch before 2.9 has no Muon")
    # torch iterates in bfloat16, which would hide a difference, and writes into the copy that it makes
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    rng, widths, options = np.random.default_rng(0), SHAPES[shape], MUON[case]
    params = [{"W": rng.normal(size=shape) * 0.5, "b": rng.normal(size=shape[1]) * 0.5} for shape in pairwise(widths)]
    hidden, biases = [params[1]["W"]], [layer["b"] for layer in params]

    def optimizers(p):
        return [
            torch.optim.Muon(p[:1], lr=LR, adjust_lr_fn="match_rms_adamw", **options),
            torch.optim.AdamW(p[1:3], lr=LR, betas=(0.8, 0.9), eps=1e-6, weight_decay=options["weight_decay"]),
            torch.optim.AdamW(p[3:], lr=LR, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.0),
        ]

    starts = [*hidden, params[0]["W"], params[2]["W"], *biases]
    theirs = torch_run(torch, starts, optimizers, max(STEPS))
    ours = run(backend, muon(betas=(0.8, 0.9), eps=1e-6, **options), params, cubic_gradient, max(STEPS), LR)
    for steps in STEPS:
        layers = ours[steps - 1]
        found = [layers[1]["W"], layers[0]["W"], layers[2]["W"], *[layer["b"] for layer in layers]]
        for mine, their in zip(found, theirs[steps - 1], strict=True):
            np.testing.assert_allclose(mine, their, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_lion_two_steps_equal_the_published_update_by_hand(backend, weight_decay):
    # Algorithm 2 of Chen et al. 2023 with beta1 = 0.9 and beta2 = 0.99, from m = 0 and W = (1, -2, 0.5), rate 0.1.
    # Step 1, g = (3, -1, 0): c = 0.1 g, sign (1, -1, 0); m = 0.01 g = (0.03, -0.01, 0).
    # Step 2, g = (-0.1, 0.5, -2): c = 0.9 m + 0.1 g = (0.017, 0.041, -0.2), sign (1, 1, -1). With m = 0.1 g, from beta1
    # instead of beta2, the second would be 0.9 (-0.1) + 0.05 = -0.04.
    keep = 1.0 - 0.1 * weight_decay
    gradients = iter([[[3.0, -1.0, 0.0]], [[-0.1, 0.5, -2.0]]])
    start = [{"W": np.array([[1.0, -2.0, 0.5]])}]
    found = run(
        backend,
        lion(betas=(0.9, 0.99), weight_decay=weight_decay),
        start,
        lambda _: [{"W": backend.asarray(np.array(next(gradients)))}],
        2,
        0.1,
    )[-1]
    expected = [(1.0 * keep - 0.1) * keep - 0.1, (-2.0 * keep + 0.1) * keep - 0.1, 0.5 * keep * keep + 0.1]
    np.testing.assert_allclose(found[0]["W"], [expected], rtol=1e-14)


# id: (optimizer, learning rate, which falls to 0 in a line, steps on the parabola, rate and steps on Rosenbrock)
MINIMISERS = {
    "sgd": (sgd(), 0.1, 300, 1e-3, 60000),
    "momentum": (sgd(momentum=0.95), 0.01, 1000, 2e-4, 10000),
    "nesterov": (sgd(momentum=0.95, nesterov=True), 0.01, 1000, 2e-4, 10000),
    "rmsprop": (rmsprop(rho=0.99, eps=1e-8), 0.01, 1000, 0.01, 10000),
    "rmsprop, momentum": (rmsprop(rho=0.99, eps=1e-8, momentum=0.9), 0.003, 1000, 0.001, 10000),
    "adam": (adam(**ADAM), 0.1, 500, 0.05, 5000),
    "adamw": (adamw(**ADAM), 0.1, 500, 0.05, 5000),
    "lion": (lion(betas=(0.9, 0.99)), 0.01, 2000, 0.003, 10000),
    "muon": (muon(**ADAM, momentum=0.95), 0.1, 500, 0.02, 10000),
}


def rosenbrock_gradient(point):
    """Return the gradient of (1 - x)^2 + 100 (y - x^2)^2 at (x, y)."""
    x, y = point
    return np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


def minimise(optimizer, start, gradient, rate, steps):
    """Move the numbers of a hidden matrix (1, n) with a rate that falls to 0 in a line, on NumPy; return them."""
    params = [{"W": np.zeros((1, 1))}, {"W": np.array([start])}, {"W": np.zeros((len(start), 1))}]
    still = tree_map(np.zeros_like, params)
    state, t = zero_optimizer_state(optimizer, params), np.arange(1, steps + 1)
    scalars = {"learning_rate": rate * (1.0 - (t - 1) / steps)} | optimizer.scalars(t, {})
    for i in range(steps):
        now = {name: values[i] for name, values in scalars.items()}
        grads = [still[0], {"W": gradient(params[1]["W"][0])[None]}, still[2]]
        params, state = optimizer.update(params, grads, state, now, xp=np)
    return params[1]["W"][0]


@pytest.mark.parametrize("case", MINIMISERS)
def test_on_parabola_reaches_minimum(case):
    optimizer, rate, steps, _, _ = MINIMISERS[case]
    target = np.array([1.0, -2.0, 3.0])
    found = minimise(optimizer, [0.0, 0.0, 0.0], lambda point: point - target, rate, steps)
    np.testing.assert_allclose(found, target, atol=1e-3)


@pytest.mark.parametrize("case", MINIMISERS)
def test_on_rosenbrock_reaches_minimum(case):
    optimizer, _, _, rate, steps = MINIMISERS[case]
    found = minimise(optimizer, [-1.2, 1.0], rosenbrock_gradient, rate, steps)
    np.testing.assert_allclose(found, [1.0, 1.0], atol=1e-2)


# --- the parts


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (1, 5), (5, 1)])
def test_orthogonalize_moves_singular_values_near_1_and_keeps_vectors(backend, shape):
    u, s, v = np.linalg.svd(np.random.default_rng(1).normal(size=shape), full_matrices=False)
    matrix = u @ np.diag(np.linspace(3.0, 0.3, len(s))) @ v
    found = backend.to_numpy(orthogonalize(backend.asarray(matrix), xp=backend.xp))
    values = np.diag(u.T @ found @ v.T)
    np.testing.assert_allclose(u @ np.diag(values) @ v, found, atol=1e-12)
    assert values.min() > 0.68  # docs/math.md
    assert values.max() < 1.21


def test_orthogonalize_of_stacked_matrices_equals_each_alone(backend):
    stack = np.random.default_rng(2).normal(size=(2, 3, 4))
    found = backend.to_numpy(orthogonalize(backend.asarray(stack), xp=backend.xp))
    for i, matrix in enumerate(stack):
        alone = backend.to_numpy(orthogonalize(backend.asarray(matrix), xp=backend.xp))
        np.testing.assert_allclose(found[i], alone, rtol=1e-13)


def test_orthogonalize_of_zeros_is_zero(backend):
    found = backend.to_numpy(orthogonalize(backend.asarray(np.zeros((3, 4))), xp=backend.xp))
    assert not found.any()


def test_sign_is_that_of_numpy(backend):
    values = np.array([-np.inf, -2.0, -1e-300, -0.0, 0.0, 1e-300, 3.0, np.inf])
    found = backend.to_numpy(sign(backend.asarray(values), xp=backend.xp))
    assert found.tolist() == np.sign(values).tolist()


@pytest.mark.parametrize("depth", range(1, 6))
def test_join_hidden_undoes_split_hidden(depth):
    tree = [{"W": f"W{i}", "gamma": f"gamma{i}", "b": f"b{i}"} for i in range(depth)]
    others, matrices = split_hidden(tree)
    assert join_hidden(others, matrices) == tree
    assert [layer["W"] for layer in matrices] == [f"W{i}" for i in range(1, depth - 1)]


def test_muon_second_moment_of_hidden_matrices_stays_zero():
    params = [{"W": np.ones((2, 2)), "b": np.ones(2)} for _ in range(3)]
    optimizer = muon(**ADAM, momentum=0.95)
    scalars = {"learning_rate": np.array(0.1)} | {k: v[0] for k, v in optimizer.scalars(np.array([1]), {}).items()}
    _, state = optimizer.update(params, params, zero_optimizer_state(optimizer, params), scalars, xp=np)
    assert {name for name, leaf in named_leaves(state["second_moment"]) if not leaf.any()} == {"1.W"}


DECAYING = {name: entry for name, entry in OPTIMIZERS.items() if "weight_decay" in entry.settings}


@pytest.mark.parametrize("name", DECAYING)
def test_weight_decay_acts_on_weights_alone(name):
    entry = OPTIMIZERS[name]
    params = [{"W": np.full((2, 2), 3.0), "gamma": np.full(2, 3.0), "b": np.full(2, 3.0)} for _ in range(3)]
    grads = tree_map(np.ones_like, params)
    moved = {}
    for weight_decay in (0.0, 0.3):
        optimizer = entry.make(**entry.settings | {"weight_decay": weight_decay})
        scalars = {"learning_rate": np.array(0.1)} | {k: v[0] for k, v in optimizer.scalars(np.array([1]), {}).items()}
        moved[weight_decay], _ = optimizer.update(
            params, grads, zero_optimizer_state(optimizer, params), scalars, xp=np
        )
    for without, decayed in zip(moved[0.0], moved[0.3], strict=True):
        assert without["b"].tolist() == decayed["b"].tolist()
        assert without["gamma"].tolist() == decayed["gamma"].tolist()
        if entry.decoupled:
            np.testing.assert_allclose(without["W"] - decayed["W"], 0.1 * 0.3 * 3.0, rtol=1e-12)


def test_sgd_without_momentum_keeps_no_state():
    assert sgd(momentum=0.0, nesterov=True).state_names == ()
    assert sgd(momentum=0.9).state_names == ("velocity",)


def test_rmsprop_without_momentum_keeps_no_velocity():
    assert rmsprop(rho=0.99, eps=1e-8).state_names == ("second_moment",)
    assert set(rmsprop(rho=0.99, eps=1e-8, momentum=0.9).state_names) == {"second_moment", "velocity"}
