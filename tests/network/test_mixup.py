import numpy as np
import pytest

from lagvis.errors import RecipeError
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.mixup import mix_rows
from lagvis.network.optimizers import sgd
from lagvis.network.regularization import Regularization
from lagvis.network.step import make_step
from lagvis.training.factory import step_scalars
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map
from tests.network import torch_reference
from tests.network.problems import data_of, loss_for, problem
from tests.network.test_step import host_state


def mixed_on(backend, batch, share):
    """Return a mixed batch, on the host."""
    found = mix_rows(tree_map(backend.asarray, batch), backend.asarray(np.array(share)), xp=backend.xp)
    return {name: backend.to_numpy(array) for name, array in found.items()}


def test_mix_rows_by_hand(backend):
    """Every row with 3/4 of itself and 1/4 of the row before it; the first with the last."""
    batch = {
        "x": np.array([[0.0, 4.0], [4.0, 8.0], [8.0, 0.0]]),
        "target": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        "y": np.array([0, 1, 0], np.uint8),
        "classes": np.array([0, 1], np.uint8),
        "w": np.array([1.0, 2.0, 0.0]),
    }
    found = mixed_on(backend, batch, 0.75)
    assert found["x"].tolist() == [[2.0, 3.0], [3.0, 7.0], [7.0, 2.0]]
    assert found["target"].tolist() == [[1.0, 0.0], [0.25, 0.75], [0.75, 0.25]]
    assert found["w"].tolist() == [0.75, 1.75, 0.5]
    assert found["y"].tolist() == [0, 1, 0]


def test_mix_rows_numbers_are_mixed_in_the_target(backend):
    numbers = np.array([[0.0], [4.0], [8.0]])
    found = mixed_on(backend, {"x": numbers, "target": numbers, "y": numbers}, 0.5)
    assert found["target"].tolist() == [[4.0], [2.0], [6.0]]


def test_mix_rows_leading_axis_equals_separate_batches(backend):
    rng = np.random.default_rng(0)
    batch = {name: rng.normal(size=(2, 5, 3)) for name in ("x", "target", "y")} | {"w": rng.random((2, 5))}
    together = mixed_on(backend, batch, 0.625)
    for m in range(2):
        alone = mixed_on(backend, {name: array[m] for name, array in batch.items()}, 0.625)
        for name, array in alone.items():
            np.testing.assert_array_equal(together[name][m], array)


def test_mix_rows_of_one_row_changes_nothing(backend):
    batch = {"x": np.array([[1.5, 2.5]]), "target": np.array([[0.0, 1.0]]), "y": np.array([1], np.uint8)}
    found = mixed_on(backend, batch, 0.7)
    for name, array in batch.items():
        np.testing.assert_array_equal(found[name], array)


def test_mix_rows_labels_are_mixed_in_the_target_alone(backend):
    batch = {"x": np.zeros((2, 1)), "target": np.array([[1.0, 0.0], [0.0, 0.0]])}
    found = mixed_on(backend, batch | {"labels": np.array([[1, 0], [0, 0]], np.uint8)}, 0.75)
    assert found["target"].tolist() == [[0.75, 0.0], [0.25, 0.0]]
    assert found["labels"].tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_step_with_mixup_gradient_equals_torch(backend, torch, kind, weighted):
    """The loss of the mixed rows against mixed targets; for classes PyTorch takes them as probabilities."""
    params, x, y = problem((5,), "tanh", kind, rows=8)
    share, w = 0.8, np.linspace(0.5, 1.5, 8) if weighted else None
    regularization = Regularization(mixup=True)
    step = make_step(
        activation=ACTIVATIONS["tanh"], loss=loss_for(kind), optimizer=sgd(), regularization=regularization,
        keep_gradients=True, xp=backend.xp,
    )  # fmt: skip
    state = host_state(params, sgd(), kind) | {"grads": tree_map(np.zeros_like, params)}
    scalars = {"learning_rate": np.array([0.0]), "mixup": np.array([share])}
    inputs = (backend.asarray(np.arange(8, dtype=np.int32)[None]), tree_map(backend.asarray, scalars))
    data = tree_map(backend.asarray, data_of(x, y) | ({"w": w} if weighted else {}))
    found = tree_map(backend.to_numpy, backend.scan(step)(tree_map(backend.asarray, state), inputs, (data,)))

    def mixed(a):
        return share * a + (1 - share) * np.roll(a, 1, axis=0)

    target = torch.tensor(mixed(np.eye(3)[y] if kind == "classes" else y))
    leaves, forward = torch_reference.network(torch, params, "tanh")
    z = forward(torch.tensor(mixed(x)))
    if kind == "classes":
        rows = torch.nn.functional.cross_entropy(z, target, reduction="none")
    else:
        rows = torch.nn.functional.mse_loss(z, target, reduction="none").mean(dim=-1)
    loss = (rows * torch.tensor(mixed(w))).mean() if weighted else rows.mean()
    loss.backward()
    for ours, theirs in zip(found["grads"], leaves, strict=True):
        for name, leaf in theirs.items():
            np.testing.assert_allclose(ours[name], leaf.grad.numpy(), rtol=1e-11, atol=1e-14)
    assert float(found["totals"]["loss"]) / 8 == pytest.approx(rows.mean().item(), rel=1e-12)


def test_mixup_shares_are_those_of_beta_and_at_least_a_half():
    """The larger part of Beta(A, A) has the mean that is computed here from many draws of NumPy."""
    shares = step_scalars(Recipe(mixup=0.4, dtype="float64"), np.arange(20_000), 20_000)["mixup"]
    assert shares.min() >= 0.5
    assert shares.max() <= 1.0
    drawn = np.random.default_rng(8).beta(0.4, 0.4, 200_000)
    expected = np.maximum(drawn, 1 - drawn)
    assert abs(shares.mean() - expected.mean()) < 4 * expected.std() * np.sqrt(1 / 20_000 + 1 / 200_000)
    assert abs(np.mean(shares > 0.9) - np.mean(expected > 0.9)) < 4 * 0.5 * np.sqrt(1 / 20_000)


def test_mixup_shares_depend_on_seed_and_step_alone():
    recipe = Recipe(mixup=0.2)
    whole = step_scalars(recipe, np.arange(3000), 3000)["mixup"]
    parts = [step_scalars(recipe, np.arange(a, b), 3000)["mixup"] for a, b in ((0, 7), (7, 1025), (1025, 3000))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole)) > 2500
    other = step_scalars(Recipe(mixup=0.2, seed=1), np.arange(3000), 3000)["mixup"]
    assert abs(np.corrcoef(whole, other)[0, 1]) < 4 / np.sqrt(3000)


@pytest.mark.parametrize(
    ("settings", "reason", "remedy"),
    [
        ({"mixup": 0.2, "batch_size": 1}, "batch_size is 1", {"batch_size": 2}),
        ({"mixup": 0.2, "shuffle": False}, "shuffle is false", {"shuffle": True}),
        ({"dropout": 0.5, "hidden": ()}, "there is no hidden layer", {"hidden": (8,)}),
        ({"dropout": 0.5, "hidden": ()}, "use input_dropout", {"dropout": 0.0, "input_dropout": 0.5}),
        ({"max_norm": 2.0, "hidden": ()}, "there is no hidden layer", {"max_norm": 0.0}),
        ({"normalization": "batch", "hidden": ()}, "there is no hidden layer", {"normalization": "none"}),
        ({"normalization": "layer", "hidden": ()}, "add one", {"hidden": (8,)}),
    ],
)
def test_recipe_setting_without_effect_raises_recipe_error_with_a_remedy_that_works(settings, reason, remedy):
    with pytest.raises(RecipeError, match=reason):
        Recipe(**settings)
    Recipe(**(settings | remedy))
