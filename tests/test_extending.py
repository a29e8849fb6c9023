"""Add an optimizer and an activation to their tables, as docs/extending.md describes, and use them everywhere."""

import numpy as np
import pytest

from lagvis.errors import ExportError
from lagvis.formats import page
from lagvis.formats.onnx_layers import ONNX_ACTIVATIONS
from lagvis.formats.onnx_model import onnx_bytes
from lagvis.formats.page import PAGE_ACTIVATIONS, page_html
from lagvis.inference.comparison import compare
from lagvis.network.activations import ACTIVATIONS, Activation
from lagvis.network.initializers import he_normal, zero_optimizer_state
from lagvis.network.optimizers import OPTIMIZERS, Optimizer, OptimizerEntry, StateShape, descend
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from lagvis.storage.resume import resume_state
from lagvis.training.factory import make_optimizer
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe
from lagvis.training.recipe_checks import check_choice
from lagvis.training.recipe_keys import KEYS
from lagvis.tree import named_leaves, tree_map
from tests.conftest import open_backend
from tests.factories import at_step, classes, last, numbers, quick, run

MOMENTS = {
    "first": StateShape.LIKE_PARAMS,
    "second": StateShape.LIKE_PARAMS,
    "step_count": StateShape.SCALAR,
}


def counting(*, momentum):
    """Adam with beta1 = momentum, beta2 = 0.999, epsilon = 1e-8, that counts its steps in its own state."""

    def update(params, grads, state, scalars, *, xp):
        count = state["step_count"] + 1.0
        first = tree_map(lambda m, g: momentum * m + (1 - momentum) * g, state["first"], grads)
        second = tree_map(lambda v, g: 0.999 * v + 0.001 * (g * g), state["second"], grads)
        bias_1, bias_2 = 1.0 - momentum**count, 1.0 - 0.999**count
        direction = tree_map(lambda m, v: (m / bias_1) / (xp.sqrt(v / bias_2) + 1e-8), first, second)
        moved = descend(params, direction, scalars["learning_rate"])
        return moved, {"first": first, "second": second, "step_count": count}

    return Optimizer(MOMENTS, update)


@pytest.fixture
def counting_recipe(monkeypatch):
    """Make recipes that train with an optimizer of the table's own: `counting_recipe(**keys)`."""
    monkeypatch.setitem(OPTIMIZERS, "counting", OptimizerEntry(counting, {"momentum": 0.9}, MOMENTS, lr=0.01))
    monkeypatch.setitem(KEYS, "optimizer", KEYS["optimizer"]._replace(check=check_choice(*OPTIMIZERS)))
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    return lambda **keys: quick(optimizer="counting", momentum=0.9, lr=0.01, batch_size=40, epochs=1, **keys)


@pytest.fixture
def leaky_recipe(monkeypatch):
    """Make recipes with a leaky ReLU, which no export format declares: `leaky_recipe(**keys)`."""
    leaky = Activation(
        lambda z, xp: xp.where(z > 0, z, 0.1 * z),
        lambda da, z, a, xp: xp.where(a > 0, da, 0.1 * da),
        he_normal,
        has_kink=True,
    )
    monkeypatch.setitem(ACTIVATIONS, "leaky", leaky)
    monkeypatch.setitem(KEYS, "activation", KEYS["activation"]._replace(check=check_choice(*ACTIVATIONS)))
    return lambda **keys: quick(activation="leaky", **keys)


def same_bytes(a, b):
    a, b = dict(named_leaves(a)), dict(named_leaves(b))
    return sorted(a) == sorted(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.slow
def test_new_optimizer_trains_resumes_and_compares_on_every_backend(
    counting_recipe, backend_of, dtype, torch, tmp_path
):
    recipe, dataset = counting_recipe(dtype=dtype), classes(120)
    whole = last(run(recipe, dataset, backend=backend_of(dtype)))
    assert whole.step == 3
    assert whole.state["step_count"] == 3

    stopped = last(run(recipe, dataset, backend=backend_of(dtype), stop_at=at_step(2)))
    assert (stopped.reason, stopped.step) == ("interrupted", 2)
    write_checkpoint(tmp_path / "last.safetensors", stopped.checkpoint)
    saved = read_checkpoint(tmp_path / "last.safetensors")
    plan = make_plan(recipe, dataset, strict_validation=True)
    resumed = last(
        run(recipe, dataset, backend=backend_of(dtype), start=resume_state(saved, saved.model, plan, recipe))
    )
    assert same_bytes(resumed.state, whole.state)

    comparison = compare(recipe, dataset, plan, [backend_of(dtype)], steps=3)
    tensors = [difference.tensor for difference in comparison.differences]
    assert tensors[0] == "loss"
    assert {"first.0.W", "second.1.b", "step_count", "params.0.W"} <= {*tensors}
    assert comparison.passed, [d for d in comparison.differences if not d.passed]


def test_new_optimizer_steps_equal_torch_optim(counting_recipe, torch):
    start = np.random.default_rng(0).normal(size=(3, 2))
    theirs = torch.tensor(start, requires_grad=True)
    reference = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    optimizer = make_optimizer(counting_recipe())
    params = [{"W": start, "b": np.zeros(2)}]
    state = zero_optimizer_state(optimizer, params)
    for _ in range(5):
        reference.zero_grad()
        (theirs**3 + theirs**2).sum().backward()
        reference.step()
        grads = tree_map(lambda p: 3 * p**2 + 2 * p, params)
        params, state = optimizer.update(params, grads, state, {"learning_rate": np.array(0.01)}, xp=np)
    np.testing.assert_allclose(params[0]["W"], theirs.detach().numpy(), rtol=1e-12)


def test_compare_wrong_second_moment_fails(counting_recipe):
    recipe, dataset = counting_recipe(dtype="float32"), classes(120)
    backend = open_backend("numpy", "float32")
    right = backend.scan

    def scan(step):
        def run(state, inputs, constants):
            moved = right(step)(state, inputs, constants)
            return moved | {"second": tree_map(lambda v: v * np.float32(1.0001), moved["second"])}

        return run

    backend.scan = scan
    comparison = compare(recipe, dataset, make_plan(recipe, dataset), [backend], steps=3)
    failed = {difference.tensor.partition(".")[0] for difference in comparison.differences if not difference.passed}
    assert failed == {"second"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_table_compares_on_every_backend(name, backend_of, dtype):
    recipe, dataset = quick(optimizer=name, dtype=dtype, batch_size=40, epochs=1), classes(120)
    comparison = compare(recipe, dataset, make_plan(recipe, dataset), [backend_of(dtype)], steps=3)
    assert comparison.passed, [d for d in comparison.differences if not d.passed]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_table_trains_on_every_backend(name, backend_of):
    recipe = quick(optimizer=name, dtype="float32", batch_size=40, epochs=1)
    assert last(run(recipe, classes(120), backend=backend_of("float32"))).reason == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [classes(120), numbers(120)], ids=["classes", "numbers"])
def test_new_activation_compares_on_every_backend(leaky_recipe, backend_of, dtype, dataset):
    recipe = leaky_recipe(dtype=dtype, loss="mse" if dataset.unit else "cross-entropy", batch_size=40)
    comparison = compare(recipe, dataset, make_plan(recipe, dataset), [backend_of(dtype)], steps=3)
    assert comparison.passed, [d for d in comparison.differences if not d.passed]


@pytest.mark.parametrize("dataset", [classes(120), numbers(120)], ids=["classes", "numbers"])
def test_new_activation_trains_on_every_backend(leaky_recipe, backend_of, dataset):
    recipe = leaky_recipe(dtype="float32", loss="mse" if dataset.unit else "cross-entropy", batch_size=40)
    assert last(run(recipe, dataset, backend=backend_of("float32"))).reason == "completed"


def test_onnx_bytes_undeclared_activation_raises_export_error(leaky_recipe, onnxruntime):
    checkpoint = last(run(leaky_recipe(), classes(120))).checkpoint
    with pytest.raises(ExportError, match=r"^the activation leaky has no ONNX operator in Lagvis; .*--format "):
        onnx_bytes(checkpoint)


def test_page_html_undeclared_activation_raises_export_error(leaky_recipe):
    checkpoint = last(run(leaky_recipe(), classes(120))).checkpoint
    with pytest.raises(ExportError, match=r"^the page cannot compute the activation leaky; .*--format "):
        page_html(checkpoint.model, checkpoint.state["params"], "leaky")


@pytest.mark.parametrize("make", [onnx_bytes, lambda c: page_html(c.model, c.state["params"], "leaky")])
def test_export_undeclared_activation_without_hidden_layers_works(leaky_recipe, onnxruntime, make):
    assert make(last(run(leaky_recipe(hidden=()), classes(120))).checkpoint)


@pytest.mark.parametrize("declared", [ONNX_ACTIVATIONS, PAGE_ACTIVATIONS], ids=["onnx", "page"])
def test_export_formats_declare_every_activation(declared):
    assert {*declared} == {*ACTIVATIONS}


def test_page_activations_are_those_of_the_script():
    script = page.read_part("page.js")
    table = script[script.index("const activations = {") :]
    found = {line.split(":")[0].strip(' "') for line in table[: table.index("};")].splitlines()[1:] if ":" in line}
    assert found == {name for name, supported in PAGE_ACTIVATIONS.items() if supported}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_entry_declares_recipe_keys_and_states(name):
    entry = OPTIMIZERS[name]
    assert {*entry.settings} <= {*KEYS}
    assert not {*entry.states} & {"params", "grads", "totals"}
    params = [{"W": np.ones((2, 3)), "b": np.ones(3)}]
    for settings in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}):
        if not {*settings} <= {*entry.settings}:
            continue
        optimizer = make_optimizer(Recipe(optimizer=name, **settings))
        scalars = {"learning_rate": np.array(0.1)}
        scalars |= {key: value[0] for key, value in optimizer.scalars(np.array([1]), {}).items()}
        assert optimizer.states.items() <= entry.states.items()
        _, state = optimizer.update(params, params, zero_optimizer_state(optimizer, params), scalars, xp=np)
        assert {*state} == {*optimizer.states}
        for key, shape in optimizer.states.items():
            names = [leaf for leaf, _ in named_leaves(state[key])]
            assert names == ([""] if shape is StateShape.SCALAR else ["0.W", "0.b"])


def test_optimizer_entries_agree_on_the_shape_of_a_shared_state():
    shapes = {(name, shape) for entry in OPTIMIZERS.values() for name, shape in entry.states.items()}
    assert len({name for name, _ in shapes}) == len(shapes)
