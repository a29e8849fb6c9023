import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from lagvis.data.dataset import as_classification
from lagvis.data.source import Source
from lagvis.errors import RecipeError
from lagvis.inference.comparison import compare
from lagvis.training.events import Progress
from lagvis.training.factory import initial_state
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.training.plan import epoch_order, make_plan
from lagvis.training.sample_weights import row_weights
from lagvis.tree import named_leaves
from tests.conftest import open_backend
from tests.factories import epochs, last, logits, quick
from tests.fake_backends import ReadOnlyBackend
from tests.network import torch_reference


def skewed(sizes=(60, 25, 15)):
    """Return uint8 rows, bright at the index of the class; some classes are rare. The test rows equal them."""
    rng = np.random.default_rng(1)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = rng.integers(0, 60, (len(y), 12)).astype(np.uint8)
    x[np.arange(len(y)), y] = 250
    return as_classification(Source("skewed", x, y, x, y, {}))


def rare():
    """Return two classes; 4% of the rows are of the rare one, shifted by 1.2 deviations in two of ten features."""
    rng = np.random.default_rng(7)
    y = (rng.random(4000) < 0.04).astype(int)
    x = rng.normal(0, 1, (4000, 10))
    x[y == 1, :2] += 1.2
    return as_classification(Source("rare", x[:3000], y[:3000], x[3000:], y[3000:], {}))


def trained(recipe, dataset, backend):
    return list(fit(recipe, dataset, make_plan(recipe, dataset, strict_validation=True), backend))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.data())
def test_row_weights_balanced_equal_scikit_learn(sizes, data):
    dataset = skewed(sizes)
    held_out = data.draw(st.integers(0, len(dataset.y_train) - 1))
    recipe = quick(class_weights="balanced", validation=held_out)
    rows = make_plan(recipe, dataset, strict_validation=True).training_rows
    y = dataset.y_train[rows]
    w = row_weights(recipe, dataset, rows, "float64")["w"]
    expected = dict(zip(np.unique(y), compute_class_weight("balanced", classes=np.unique(y), y=y), strict=True))
    np.testing.assert_allclose(w[rows], [expected[k] for k in y], rtol=1e-15)
    assert w.shape == dataset.y_train.shape
    assert np.isfinite(w).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_row_weights_have_the_dtype_of_the_run(dtype):
    dataset = skewed()
    recipe = quick(class_weights="balanced", dtype=dtype)
    assert row_weights(recipe, dataset, np.arange(100), dtype)["w"].dtype == dtype


def test_fit_only_training_steps_get_weights():
    seen = {}

    class RecordingBackend(ReadOnlyBackend):
        def scan(self, step):
            right = super().scan(step)

            def run(state, inputs, constants):
                seen.setdefault("steps" if "params" in state else "evaluation", set()).update(constants[-1])
                return right(state, inputs, constants)

            return run

    trained(quick(validation=20), skewed(), RecordingBackend("float32"))
    assert seen == {"steps": {"x", "y", "classes"}, "evaluation": {"x", "y", "classes"}}
    recipe, dataset = quick(validation=20, class_weights="balanced"), skewed()
    trained(recipe, dataset, RecordingBackend("float32"))
    assert seen == {"steps": {"x", "y", "classes", "w"}, "evaluation": {"x", "y", "classes"}}
    seen.clear()
    compare(recipe, dataset, make_plan(recipe, dataset, strict_validation=True), [RecordingBackend("float32")], 1)
    assert seen == {"steps": {"x", "y", "classes", "w"}}


@pytest.mark.parametrize("scaling", ["unit", "centred"])
@pytest.mark.parametrize("name", ["numpy", "strict", "torch", "jax"])
def test_fit_weighted_epoch_equals_torch(name, torch, monkeypatch, scaling):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)  # one step per call
    backend = open_backend(name, "float64")
    dataset = skewed()
    recipe = quick(
        class_weights="balanced", dtype="float64", epochs=1, batch_size=15, validation=20, lr=0.2, pixel_scaling=scaling
    )
    plan = make_plan(recipe, dataset, strict_validation=True)
    pixels = dataset.x_train / 255.0
    if scaling == "centred":
        pixels -= pixels[plan.training_rows].mean()
    order = epoch_order(recipe, plan, 1)
    y = torch.tensor(dataset.y_train.astype(np.int64))
    x = torch.tensor(pixels)
    weight = compute_class_weight("balanced", classes=np.arange(3), y=dataset.y_train[plan.training_rows])
    start = initial_state(recipe, Model.of(recipe, dataset, plan.training_rows))["params"]
    leaves, forward = torch_reference.network(torch, start, "relu")
    optimizer = torch.optim.SGD([p for layer in leaves for p in layer.values()], lr=0.2)
    losses, right, plain = [], [], []
    for first in range(0, len(order), 15):
        rows = order[first : first + 15]
        optimizer.zero_grad()
        z = forward(x[rows])
        rows_losses = torch.nn.functional.cross_entropy(z, y[rows], reduction="none")
        loss = (torch.tensor(weight)[y[rows]] * rows_losses).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        plain.append(rows_losses.mean().item())
        right.append(int((z.argmax(dim=1) == y[rows]).sum()))

    events = trained(recipe, dataset, backend)
    expected = dict(named_leaves([{name: p.detach().numpy() for name, p in layer.items()} for layer in leaves]))
    for path, leaf in named_leaves(last(events).state["params"]):
        np.testing.assert_allclose(leaf, expected[path], rtol=1e-12, atol=1e-14, err_msg=path)
    train, validation = epochs(events)[0].train, epochs(events)[0].validation
    sizes = (15,) * 5 + (5,)
    assert train.objective == pytest.approx(np.average(losses, weights=sizes), rel=1e-12)
    assert train.loss == pytest.approx(np.average(plain, weights=sizes), rel=1e-12)
    assert 0 < sum(right) < 80
    assert train.accuracy == sum(right) / 80  # evaluation counts rows without weights
    calls = [event.metrics for event in events if isinstance(event, Progress)]
    assert [call.objective for call in calls] == pytest.approx(losses, rel=1e-12)
    assert [call.loss for call in calls] == pytest.approx(plain, rel=1e-12)
    assert [call.accuracy for call in calls] == [n / rows for n, rows in zip(right, sizes, strict=True)]

    z = logits(last(events).state["params"], pixels[plan.validation_rows])
    held_out = dataset.y_train[plan.validation_rows]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert validation.loss == pytest.approx(log_loss(held_out, p, labels=range(3)), rel=1e-12)
    assert validation.accuracy == np.mean(z.argmax(axis=1) == held_out)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_fit_balanced_weights_raise_recall_of_a_rare_class(name):
    backend, dataset = open_backend(name, "float32"), rare()
    recalls, balanced = {}, {}
    for weights in ("none", "balanced"):
        recipe = quick(class_weights=weights, hidden=(), batch_size=100, validation=300, epochs=3)
        counts = last(trained(recipe, dataset, backend)).test.confusion
        recalls[weights], balanced[weights] = (
            counts[1, 1] / counts[1].sum(),
            np.diag(counts / counts.sum(axis=1)).mean(),
        )
    assert recalls["none"] < 0.4
    assert recalls["balanced"] > 0.6
    assert balanced["balanced"] > balanced["none"] + 0.1


def test_recipe_class_weights_with_mse_raises():
    with pytest.raises(RecipeError, match="class_weights belongs to classes"):
        quick(class_weights="balanced", loss="mse")
