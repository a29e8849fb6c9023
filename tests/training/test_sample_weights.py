from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from lagvis.data.dataset import as_classification, as_regression
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
from tests.factories import at_step, classes, epochs, last, logits, numbers, quick, run
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


# --- weights of the data


def weighted(dataset, w):
    """Return a data set whose training rows have the weights w."""
    return replace(dataset, w_train=np.asarray(w, np.float64), weights_name="w_train")


def full_batches(dataset, *, model=None, **keys):
    """Return the parameters after ten steps with all training rows in each batch, in float64."""
    recipe = quick(**{"epochs": 10, "batch_size": 1000, "dtype": "float64"} | keys)
    plan = make_plan(recipe, dataset)
    model = model or Model.of(recipe, dataset, plan.training_rows)
    return dict(
        named_leaves(last(list(fit(recipe, dataset, plan, open_backend("numpy", "float64"), model=model))).state)
    )


def assert_equal_within(found, expected, rtol):
    assert found.keys() == expected.keys()
    for name, leaf in found.items():
        np.testing.assert_allclose(
            leaf, expected[name], rtol=rtol, atol=rtol * np.abs(expected[name]).max(), err_msg=name
        )


@pytest.mark.parametrize("keys", [{}, {"class_weights": "balanced"}, {"loss": "mse"}], ids=str)
def test_fit_weight_2_equals_two_copies_of_the_row(keys):
    dataset = numbers() if "loss" in keys else skewed()
    rows = np.arange(len(dataset.x_train))
    twice = np.concatenate([rows, rows[::3]])
    copies = replace(dataset, x_train=dataset.x_train[twice], y_train=dataset.y_train[twice])
    model = Model.of(quick(**keys), dataset, rows)  # one scaling for both
    w = np.where(rows % 3 == 0, 2.0, 1.0)
    found = full_batches(weighted(dataset, w), model=model, **keys)
    assert_equal_within(found, full_batches(copies, model=model, **keys), 1e-12)
    plain = full_batches(dataset, model=model, **keys)
    assert any(np.abs(found[name] - plain[name]).max() > 1e-4 for name in found), "weights change the result"


@pytest.mark.parametrize("keys", [{}, {"class_weights": "balanced"}, {"loss": "mse"}, {"validation": 20}], ids=str)
def test_fit_rows_of_weight_0_equal_rows_left_out(keys):
    """Equal bit by bit, in batches too: scaling, validation part and order are those of the other rows."""
    dataset = numbers() if "loss" in keys else skewed()
    w = np.random.default_rng(3).uniform(0.5, 2.0, len(dataset.x_train))
    w[::4] = 0.0
    left = w > 0
    fewer = replace(dataset, x_train=dataset.x_train[left], y_train=dataset.y_train[left])
    found, expected = (
        full_batches(data, batch_size=16, **keys) for data in (weighted(dataset, w), weighted(fewer, w[left]))
    )
    for name, leaf in found.items():
        np.testing.assert_array_equal(leaf, expected[name], err_msg=name)


@pytest.mark.parametrize("factor", [1e-300, 0.1, 1e300])
def test_row_weights_scaled_change_nothing(factor):
    dataset = skewed()
    w = np.random.default_rng(3).uniform(0.1, 20.0, len(dataset.x_train))
    rows = np.arange(0, 100, 2)
    found = row_weights(quick(), weighted(dataset, w * factor), rows, "float64")["w"]
    np.testing.assert_allclose(found, w / w[rows].mean(), rtol=1e-14)


def test_row_weights_balanced_times_weights_equal_scikit_learn():
    dataset = skewed()
    w = np.random.default_rng(3).uniform(0.0, 3.0, len(dataset.x_train))
    y = dataset.y_train
    per_class = compute_class_weight("balanced", classes=np.arange(3), y=y, sample_weight=w)
    found = row_weights(quick(class_weights="balanced"), weighted(dataset, w), np.arange(len(y)), "float64")["w"]
    expected = per_class[y] * w
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-13)
    np.testing.assert_allclose(np.bincount(y, found), found.sum() / 3, rtol=1e-13)


def test_fit_batch_of_one_row_knows_its_weight():
    dataset = skewed()
    w = np.where(dataset.y_train == 0, 0.01, 1.0)
    found = full_batches(weighted(dataset, w), batch_size=1, epochs=1)
    plain = full_batches(dataset, batch_size=1, epochs=1)
    assert any(np.abs(found[name] - plain[name]).max() > 1e-2 for name in found)


def test_fit_weights_without_hidden_layers_equal_logistic_regression_of_scikit_learn():
    x, y = load_iris(return_X_y=True)
    x, y = x[y > 0, :2], y[y > 0] - 1  # two classes that overlap, so that the optimum is finite
    w = np.random.default_rng(5).uniform(0.1, 5.0, len(y))
    dataset = weighted(as_classification(Source("iris", x, y, x, y, {})), w)
    keys = {"hidden": (), "lr": 1.0, "momentum": 0.95, "nesterov": True, "epochs": 1000}
    recipe = quick(**keys, batch_size=1000, dtype="float64")
    plan = make_plan(recipe, dataset)
    network = last(list(fit(recipe, dataset, plan, open_backend("numpy", "float64")))).checkpoint
    z = logits(network.state["params"], network.model.x_scaling.apply(x))
    found = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    regression = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000)
    expected = regression.fit(x, y, sample_weight=w).predict_proba(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    unweighted = regression.fit(x, y).predict_proba(x)
    assert np.abs(unweighted - expected).max() > 0.02


def test_fit_weights_without_hidden_layers_equal_linear_regression_of_scikit_learn():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + x[:, 0] ** 2 + rng.normal(size=200)
    w = rng.uniform(0.1, 5.0, 200)
    dataset = weighted(as_regression(Source("line", x, y, x, y, {})), w)
    recipe = quick(loss="mse", hidden=(), lr=0.1, momentum=0.9, epochs=500, batch_size=1000, dtype="float64")
    network = last(list(fit(recipe, dataset, make_plan(recipe, dataset), open_backend("numpy", "float64")))).checkpoint
    z = logits(network.state["params"], network.model.x_scaling.apply(x))
    found = network.model.y_scaling.mean + network.model.y_scaling.deviation * z
    expected = LinearRegression().fit(x, y, sample_weight=w).predict(x)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("data", [classes, numbers])
def test_fit_weighted_run_continues_within_an_epoch(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)  # one step per call
    dataset = weighted(data(), np.random.default_rng(3).uniform(0.1, 20.0, 120))
    recipe = quick(loss="mse" if dataset.target_names else "cross-entropy", lr=0.01)
    whole = last(run(recipe, dataset))
    stopped = last(run(recipe, dataset, stop_at=at_step(3))).checkpoint
    rest = last(run(recipe, dataset, start=stopped))
    assert rest.train == whole.train
    assert whole.train.objective != whole.train.loss
    for (name, leaf), (_, other) in zip(named_leaves(rest.state), named_leaves(whole.state), strict=True):
        np.testing.assert_array_equal(leaf, other, err_msg=name)


@pytest.mark.parametrize("data", [classes, numbers])
def test_compare_weighted_rows_passes(data):
    dataset = weighted(data(), np.random.default_rng(3).uniform(0.1, 20.0, 120))
    recipe = quick(loss="mse" if dataset.target_names else "cross-entropy", lr=0.01)
    found = compare(recipe, dataset, make_plan(recipe, dataset), [open_backend("torch", "float32")], 3)
    assert found.passed
