import numpy as np
import pytest

from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.optimizers import sgd
from lagvis.tree import tree_map

CASES = [(0.0, False), (0.9, False), (0.9, True), (0.5, True), (0.99, False)]


def run(backend, optimizer, params, gradient, steps, rate):
    """Take steps along `gradient(params)` on a backend; return the parameters on the host."""
    state = tree_map(backend.asarray, params)
    optimizer_state = tree_map(backend.asarray, zero_optimizer_state(optimizer, params))
    scalars = {"learning_rate": backend.asarray(np.array(rate))}
    for _ in range(steps):
        state, optimizer_state = optimizer.update(state, gradient(state), optimizer_state, scalars, xp=backend.xp)
    return tree_map(backend.to_numpy, state)


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize(("momentum", "nesterov"), CASES)
def test_sgd_steps_equal_torch_optim(backend, torch, momentum, nesterov, steps):
    start = np.random.default_rng(0).normal(size=(3, 2))
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([theirs], lr=0.05, momentum=momentum, nesterov=nesterov)
    for _ in range(steps):
        optimizer.zero_grad()
        (theirs**3 + theirs**2).sum().backward()
        optimizer.step()
    ours = run(
        backend,
        sgd(momentum=momentum, nesterov=nesterov),
        [{"W": start}],
        lambda tree: tree_map(lambda p: 3.0 * p * p + 2.0 * p, tree),
        steps,
        0.05,
    )
    np.testing.assert_allclose(ours[0]["W"], theirs.detach().numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("momentum", "nesterov"), CASES)
def test_sgd_on_parabola_reaches_minimum(backend, momentum, nesterov):
    target = np.array([[1.0, -2.0, 3.0]])
    there = backend.asarray(target)
    optimizer = sgd(momentum=momentum, nesterov=nesterov)
    steps = 3000 if momentum == 0.99 else 300
    found = run(backend, optimizer, [{"W": np.zeros((1, 3))}], lambda t: [{"W": t[0]["W"] - there}], steps, 0.1)
    np.testing.assert_allclose(found[0]["W"], target, atol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_on_rosenbrock_reaches_minimum(nesterov):
    def gradient(tree):
        x, y = tree[0]["W"]
        return [{"W": np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])}]

    state, optimizer_state = [{"W": np.array([-1.2, 1.0])}], {"velocity": [{"W": np.zeros(2)}]}
    optimizer = sgd(momentum=0.95, nesterov=nesterov)
    for _ in range(5000):
        state, optimizer_state = optimizer.update(
            state, gradient(state), optimizer_state, {"learning_rate": np.array(2e-4)}, xp=np
        )
    np.testing.assert_allclose(state[0]["W"], [1.0, 1.0], atol=1e-3)


def test_sgd_without_momentum_keeps_no_state():
    assert sgd(momentum=0.0, nesterov=True).state_names == ()
    assert sgd(momentum=0.9).state_names == ("velocity",)
