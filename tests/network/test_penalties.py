"""L1, weight decay, bound of the gradient and bound of the weights, alone and together, against PyTorch."""

from itertools import pairwise

import numpy as np
import pytest

from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.optimizers import adam, adamw, sgd
from lagvis.network.regularization import Regularization, add_l1, bound_weights, clip_by_norm
from lagvis.network.step import update
from lagvis.tree import named_leaves, tree_map

LR, STEPS = 0.05, 10
WIDTHS = (4, 3, 5, 2)
EPS_OF_CLIP = 1e-6  # torch divides by norm + 1e-6, which the tests undo
EPS_OF_RENORM = 1e-7


def layers(seed=0, scale=0.5, leading=()):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return scale * rng.normal(size=(*leading, *shape))

    return [{"W": draw(n, m), "gamma": draw(m), "b": draw(m)} for n, m in pairwise(WIDTHS)]


# id: (our optimizer, class of torch.optim, its options for W and for the rest, our regularization)
CASES = {
    "l1": (sgd(), "SGD", {}, {}, {"l1": 0.1}),
    "l1, adam": (adam(betas=(0.9, 0.999), eps=1e-8), "Adam", {}, {}, {"l1": 0.1}),
    "clip that acts": (sgd(), "SGD", {}, {}, {"clip_norm": 0.5}),
    "clip that never acts": (sgd(), "SGD", {}, {}, {"clip_norm": 1e6}),
    "clip, momentum": (sgd(momentum=0.9), "SGD", {"momentum": 0.9}, {"momentum": 0.9}, {"clip_norm": 0.5}),
    "max-norm": (sgd(), "SGD", {}, {}, {"max_norm": 0.7}),
    "l2, then max-norm": (sgd(weight_decay=0.3), "SGD", {"weight_decay": 0.3}, {}, {"max_norm": 0.7}),
    "clip, then l2": (sgd(weight_decay=0.3), "SGD", {"weight_decay": 0.3}, {}, {"clip_norm": 0.5}),
    "all, sgd": (
        sgd(momentum=0.9, nesterov=True, weight_decay=0.3), "SGD",
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3}, {"momentum": 0.9, "nesterov": True},
        {"l1": 0.1, "clip_norm": 0.5, "max_norm": 0.7},
    ),
    "all, adamw": (
        adamw(betas=(0.9, 0.999), eps=1e-8, weight_decay=0.3), "AdamW", {"weight_decay": 0.3}, {"weight_decay": 0.0},
        {"l1": 0.1, "clip_norm": 0.5, "max_norm": 0.7},
    ),
}  # fmt: skip


def ours(backend, optimizer, regularization):
    """Take the steps with the parts of a training step; return the parameters on the host."""
    params = tree_map(backend.asarray, layers())
    state = {"params": params} | tree_map(backend.asarray, zero_optimizer_state(optimizer, layers()))
    for step in range(1, STEPS + 1):
        own = optimizer.scalars(np.array([step]), {})
        host = {"learning_rate": np.array(LR)} | {name: np.asarray(values[0]) for name, values in own.items()}
        grads = tree_map(lambda p: 3.0 * p * p + 2.0 * p, state["params"])
        scalars = tree_map(backend.asarray, host)
        state = update(state, grads, scalars, optimizer=optimizer, regularization=regularization, xp=backend.xp)
    return tree_map(backend.to_numpy, state["params"])


def theirs(torch, name, of_weights, of_rest, l1=0.0, clip_norm=0.0, max_norm=0.0):
    """Take the same steps with autograd, clip_grad_norm_, torch.optim and renorm."""
    tensors = [{name: torch.tensor(a, requires_grad=True) for name, a in layer.items()} for layer in layers()]
    weights = [layer["W"] for layer in tensors]
    rest = [layer[name] for layer in tensors for name in ("gamma", "b")]
    groups = [{"params": weights, **of_weights}, {"params": rest, **of_rest}]
    optimizer = getattr(torch.optim, name)(groups, lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = sum((p**3 + p**2).sum() for p in [*weights, *rest])
        (loss + l1 * sum(p.abs().sum() for p in weights)).backward()
        if clip_norm:
            norm = torch.nn.utils.get_total_norm([p.grad for p in [*weights, *rest]])
            if norm > clip_norm:
                torch.nn.utils.clip_grad_norm_([*weights, *rest], clip_norm * float((norm + EPS_OF_CLIP) / norm))
        optimizer.step()
        if max_norm:
            with torch.no_grad():
                for p in weights[:-1]:
                    norms = p.norm(dim=0)
                    bounded = torch.renorm(p, 2, 1, max_norm)
                    p.copy_(torch.where(norms > max_norm, bounded * ((norms + EPS_OF_RENORM) / norms), p))
    return [{name: p.detach().numpy() for name, p in layer.items()} for layer in tensors]


@pytest.mark.parametrize("case", CASES)
def test_ten_steps_equal_torch(backend, torch, case):
    optimizer, name, of_weights, of_rest, regularization = CASES[case]
    found = dict(named_leaves(ours(backend, optimizer, Regularization(**regularization))))
    expected = dict(named_leaves(theirs(torch, name, of_weights, of_rest, **regularization)))
    assert found.keys() == expected.keys()
    for key, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[key], rtol=1e-12, atol=1e-14, err_msg=key)


def test_clip_by_norm_longer_gradient_has_the_norm_and_the_direction(backend):
    grads = layers(scale=30.0)
    found = tree_map(backend.to_numpy, clip_by_norm(tree_map(backend.asarray, grads), 2.0, xp=backend.xp))
    flat, before = (np.concatenate([leaf.ravel() for _, leaf in named_leaves(tree)]) for tree in (found, grads))
    np.testing.assert_allclose(np.linalg.norm(flat), 2.0, rtol=1e-14)
    np.testing.assert_allclose(flat * np.linalg.norm(before), before * 2.0, rtol=1e-13)


def test_clip_by_norm_shorter_gradient_and_zero_are_unchanged(backend):
    for grads in (layers(scale=1e-3), tree_map(np.zeros_like, layers())):
        found = tree_map(backend.to_numpy, clip_by_norm(tree_map(backend.asarray, grads), 2.0, xp=backend.xp))
        for (name, leaf), (_, expected) in zip(named_leaves(found), named_leaves(grads), strict=True):
            assert leaf.tolist() == expected.tolist(), name


def test_bound_weights_bounds_units_that_are_longer_and_not_the_last_layer(backend):
    params = layers(scale=2.0)
    found = tree_map(backend.to_numpy, bound_weights(tree_map(backend.asarray, params), 3.0, xp=backend.xp))
    for before, after in zip(params[:-1], found[:-1], strict=True):
        norms = np.linalg.norm(before["W"], axis=0)
        assert (norms > 3.0).any()
        np.testing.assert_allclose(np.linalg.norm(after["W"], axis=0), np.minimum(norms, 3.0), rtol=1e-14)
        assert after["b"].tolist() == before["b"].tolist()
    assert found[-1]["W"].tolist() == params[-1]["W"].tolist()


@pytest.mark.parametrize(
    "part",
    [
        lambda tree, xp: clip_by_norm(tree, 0.5, xp=xp),
        lambda tree, xp: bound_weights(tree, 0.5, xp=xp),
        lambda tree, xp: add_l1(tree, tree, 0.1, xp=xp),
    ],
    ids=["clip_by_norm", "bound_weights", "add_l1"],
)
def test_part_with_a_leading_axis_equals_each_network_alone(backend, part):
    stacked = layers(leading=(2,))
    # the second network is so much larger that a norm over both would show
    stacked = tree_map(lambda a: a * np.array([1.0, 100.0]).reshape(2, *[1] * (a.ndim - 1)), stacked)
    together = tree_map(backend.to_numpy, part(tree_map(backend.asarray, stacked), backend.xp))
    for i in range(2):
        alone = tree_map(lambda a, i=i: backend.asarray(a[i].copy()), stacked)
        alone = tree_map(backend.to_numpy, part(alone, backend.xp))
        for (name, leaf), (_, both) in zip(named_leaves(alone), named_leaves(together), strict=True):
            np.testing.assert_allclose(both[i], leaf, rtol=1e-13, err_msg=name)


class CountingNamespace:
    """Array namespace that counts the functions which are called."""

    def __init__(self, namespace):
        self.namespace, self.calls = namespace, []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(self.namespace, name)


def test_update_without_penalties_makes_no_call():
    xp, params = CountingNamespace(np), layers()
    state = {"params": params, "velocity": tree_map(np.zeros_like, params)}
    update(state, params, {"learning_rate": np.array(0.1)}, optimizer=sgd(momentum=0.9, nesterov=True), xp=xp)
    assert xp.calls == []
