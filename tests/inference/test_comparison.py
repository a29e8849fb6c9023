"""Backends agree with NumPy in float64, tensor by tensor; a backend that does not is detected."""

from dataclasses import replace
from importlib import import_module

import array_api_compat.numpy as numpy_namespace
import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.cli import compare
from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.inference.comparison import Difference, is_decided, judged_difference
from lagvis.inference.comparison import compare as compare_backends
from lagvis.network.activations import ACTIVATIONS
from lagvis.report.terminal.comparison_table import comparison_text
from lagvis.training import recipe as recipes
from lagvis.training.events import EpochEnded, Finished
from lagvis.training.factory import make_training_step
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.tree import named_leaves, tree_map
from tests.conftest import PARAMS, UNCOMPILED, open_backend
from tests.fake_backends import ReadOnlyBackend

rng = np.random.default_rng(0)


def images(rows=300, classes=5, side=8):
    """Return uint8 images with a bright band at the position of the class."""
    y = rng.integers(0, classes, rows)
    x = rng.integers(0, 60, (rows, side, side)).astype(np.uint8)
    x[np.arange(rows), y] = 250
    return x, y


PICTURES = as_classification(Source("bands", *images(), *images(100), sha256={}))
NUMBERS = as_regression(
    Source("waves", (x := rng.normal(size=(300, 4))), np.sin(x[:, :2] * 2), x[:100], np.sin(x[:100, :2] * 2), sha256={})
)


def recipe_for(regression, dtype, **changes):
    base = {"loss": "mse", "label_smoothing": 0.0} if regression else {}
    settings = {"hidden": (16, 8), "batch_size": 32, "validation": 50, "epochs": 3, "dtype": dtype}
    return recipes.load("default", base | settings | changes)


TOGETHER = {"normalization": "batch", "dropout": 0.5, "input_dropout": 0.2, "input_noise": 0.3, "mixup": 0.4}
TOGETHER |= {"optimizer": "adamw", "ema": 0.9, "l1": 1e-4, "max_norm": 1.0, "clip_norm": 0.1}
# Parts of a step that use different operations; `python -m benchmarks parity` compares all.
PARTS = [
    {"activation": "relu"},
    {"activation": "sigmoid", "optimizer": "lion", "normalization": "layer"},
    TOGETHER,
    {"loss": "mse", "activation": "tanh"},
    {"loss": "huber", "optimizer": "muon", "weight_decay": 0.1},
]


def assert_within_bounds(backend, changes):
    regression = "loss" in changes
    recipe = recipe_for(regression, backend.dtype, **changes)
    dataset = NUMBERS if regression else PICTURES
    found = compare_backends(recipe, dataset, make_plan(recipe, dataset), [backend], 3)
    assert {d.tensor for d in found.differences} >= {"loss", "params.0.W", "grads.2.b"}
    failures = [d for d in found.differences if not d.passed]
    assert not failures, failures


@pytest.mark.parametrize("changes", PARTS, ids=["relu", "lion", "together", "mse", "huber"])
def test_compare_every_backend_within_bounds(backend_of, dtype, changes):
    assert_within_bounds(backend_of(dtype), changes)


@pytest.mark.slow
def test_compare_jax_without_compilation_within_bounds():
    assert_within_bounds(open_backend("jax-uncompiled", "float32"), {"dropout": 0.5})


def test_compare_weighted_loss_within_bounds(backend_of, dtype):
    recipe = recipe_for(False, dtype, class_weights="balanced")
    rare = np.flatnonzero((PICTURES.y_train > 0) | (np.arange(300) % 8 == 0))
    dataset = replace(PICTURES, x_train=PICTURES.x_train[rare], y_train=PICTURES.y_train[rare])
    found = compare_backends(recipe, dataset, make_plan(recipe, dataset), [backend_of(dtype)], 5)
    failures = [d for d in found.differences if not d.passed]
    assert not failures, failures


@pytest.mark.parametrize("name", [*PARAMS, UNCOMPILED])
def test_fit_every_backend_ends_close_to_numpy(name):
    recipe = recipe_for(False, "float64", epochs=2)
    plan = make_plan(recipe, PICTURES)

    def run(backend):
        *events, last = fit(recipe, PICTURES, plan, backend)
        return [event.train.loss for event in events if isinstance(event, EpochEnded)], last

    losses, last = run(open_backend(name, "float64"))
    expected_losses, expected = run(select("cpu", dtype="float64"))
    assert isinstance(last, Finished)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-10)
    assert last.test.confusion.tolist() == expected.test.confusion.tolist()
    for (path, leaf), (_, other) in zip(named_leaves(last.state), named_leaves(expected.state), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-7, atol=1e-9, err_msg=path)


class SwappedSign(ReadOnlyBackend):
    """Backend with a wrong sign: it ascends the gradient."""

    def scan(self, step):
        right = super().scan(step)

        def run(state, inputs, constants):
            moved = right(state, inputs, constants)
            return moved | {"params": tree_map(lambda old, new: 2 * old - new, state["params"], moved["params"])}

        return run


class WrongExponential(ReadOnlyBackend):
    """Backend whose exp is wrong in the fifth digit."""

    class Namespace:
        def __getattr__(self, name):
            return getattr(numpy_namespace, name)

        @staticmethod
        def exp(x):
            return numpy_namespace.exp(x) * (1 + 1e-5 * x)

    xp = Namespace()


class NotANumber(ReadOnlyBackend):
    """Backend whose loss is NaN."""

    def scan(self, step):
        right = super().scan(step)

        def run(state, inputs, constants):
            moved = right(state, inputs, constants)
            return moved | {"totals": moved["totals"] | {"objective": moved["totals"]["objective"] * np.nan}}

        return run


@pytest.mark.parametrize(
    ("broken", "failing"),
    [(SwappedSign, "params.0.W"), (WrongExponential, "grads.2.W"), (NotANumber, "loss")],
)
def test_compare_broken_backend_fails_at_the_broken_tensor(broken, failing, dtype):
    recipe = recipe_for(False, dtype)
    found = compare_backends(recipe, PICTURES, make_plan(recipe, PICTURES), [broken(dtype)], 3)
    assert not found.passed
    assert failing in {d.tensor for d in found.differences if not d.passed}


def scaled(function, factor, index=None):
    """Return a function whose result is multiplied, or of whose results the one with this index is."""

    def wrong(*arguments, **options):
        result = function(*arguments, **options)
        if index is None:
            return tree_map(lambda a: a * factor, result)
        return tuple(a * factor if i == index else a for i, a in enumerate(result))

    return wrong


def flip_one(masks):
    """Return dropout masks of which one value of the first is kept instead of dropped, or the other way round."""
    first = np.array(masks[1])
    first[0, 0] = 2.0 - first[0, 0]
    return [masks[0], first, *masks[2:]]


def with_wrong_scalar(name):
    """Return a change of a step that gives it a scalar that is wrong by 1e-4."""

    def change(step):
        return lambda state, indices, scalars, data: step(
            state, indices, scalars | {name: scalars[name] * (1 + 1e-4)}, data
        )

    return change


# of a large step, which float32 weights resolve
ADAM = {"optimizer": "adam", "lr": 0.3, "schedule": "constant"}
# What is broken: the recipe, the function or the scalar, the change of it, and a tensor that must fail.
MUTATIONS = {
    "derivative of the activation": ({"activation": "tanh"}, "backward", 1e-4, "grads.0.W"),
    "derivative of a kinked activation": ({"activation": "leaky-relu"}, "backward", 1e-4, "grads.0.W"),
    "gradient of gamma": ({"normalization": "batch"}, "mlp.normalize_backward", 1, "grads.0.gamma"),
    "gradient through batch normalisation": ({"normalization": "batch"}, "mlp.normalize_backward", 0, "grads.0.W"),
    "gradient through layer normalisation": ({"normalization": "layer"}, "mlp.normalize_backward", 0, "grads.1.W"),
    "running statistics": ({"normalization": "batch"}, "step.update_running", None, "running.0.variance"),
    "one value of a mask": ({"dropout": 0.5}, "step.dropout_masks", flip_one, "grads.1.W"),
    "noise": ({"input_noise": 0.3}, "step.input_noise", None, "grads.0.W"),
    "bias corrections in the rate of Adam": (ADAM, "rate_scale", None, "params.0.W"),
    "bias correction in eps of Adam": (ADAM | {"eps": 0.1}, "scaled_eps", None, "params.1.W"),
    "learning rate": ({"lr": 0.2, "schedule": "constant"}, "learning_rate", None, "params.2.b"),
    "rate of the average": ({"ema": 0.9, "lr": 0.5, "schedule": "constant"}, "ema_rate", None, "ema.2.b"),
    "share of mixup": ({"mixup": 0.4}, "mixup", None, "grads.0.W"),
    "clipping": ({"clip_norm": 0.01}, "step.clip_by_norm", None, "velocity.0.W"),
    "largest norm": ({"max_norm": 0.5}, "step.bound_weights", None, "params.0.W"),
    "penalty": ({"l1": 0.01, "momentum": 0.9}, "step.add_l1", None, "velocity.1.W"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_compare_one_part_wrong_by_1e_4_fails(monkeypatch, dtype, name):
    changes, what, how, failing = MUTATIONS[name]
    recipe = recipe_for(False, dtype, **changes)
    plan = make_plan(recipe, PICTURES)

    def broken(recipe, **options):
        parts = {}
        if what == "backward":
            right = ACTIVATIONS[recipe.activation]
            parts["activation"] = right._replace(backward=scaled(right.backward, 1 + how))
        step = make_training_step(recipe, **options, **parts)
        if what == "backward":
            return step
        if "." not in what:
            return with_wrong_scalar(what)(step)

        def run(*arguments):
            module, function = what.split(".")
            path = f"lagvis.network.{module}.{function}"
            right = getattr(import_module(f"lagvis.network.{module}"), function)
            wrong = (lambda *a, **o: how(right(*a, **o))) if callable(how) else scaled(right, 1 + 1e-4, how)
            with monkeypatch.context() as patched:
                patched.setattr(path, wrong)
                return step(*arguments)

        return run

    backends = [ReadOnlyBackend(dtype)]
    assert compare_backends(recipe, PICTURES, plan, backends, 3).passed
    monkeypatch.setattr("lagvis.inference.comparison.make_training_step", broken)
    found = compare_backends(recipe, PICTURES, plan, backends, 3)
    assert failing in {d.tensor for d in found.differences if not d.passed}


@pytest.mark.parametrize("as_json", [False, True])
def test_compare_command_broken_backend_returns_1(monkeypatch, capsys, as_json):
    arguments = ["--recipe", "paper", "--steps", "2", "--backends", "numpy,torch", *(["--json"] if as_json else [])]
    monkeypatch.setattr(compare, "select_several", lambda names, device, dtype, compiled: [ReadOnlyBackend(dtype)])
    assert compare.main(arguments) == 0
    assert "FAIL" not in capsys.readouterr().out
    monkeypatch.setattr(compare, "select_several", lambda names, device, dtype, compiled: [SwappedSign(dtype)])
    assert compare.main(arguments) == 1
    printed = capsys.readouterr().out
    assert ('"passed": false' if as_json else "FAIL") in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_compare_cancelling_terms_within_bounds(name, dtype):
    """An overfitted network: p - t is small and p and t are not, so their difference cancels."""
    backend = open_backend(name, dtype)
    noise = np.random.default_rng(1)
    x, y = noise.normal(size=(100, 5)), noise.integers(0, 3, 100)
    dataset = as_classification(Source("noise", x, y, x[:20], y[:20], sha256={}))
    recipe = recipe_for(False, dtype, hidden=(32,), batch_size=20, validation=0, lr=0.3, label_smoothing=0.0)
    found = compare_backends(recipe, dataset, make_plan(recipe, dataset), [backend], 80)
    assert found.passed, [d for d in found.differences if not d.passed]
    one_unit = recipe_for(False, dtype, hidden=(1,))
    found = compare_backends(one_unit, PICTURES, make_plan(one_unit, PICTURES), [backend], 10)
    assert found.passed, [d for d in found.differences if not d.passed]


def test_compare_rows_at_kink_are_counted_and_replaced():
    """A unit has z = 0 in one row: rounding decides the side of the kink, so the comparison excludes the row."""
    recipe = recipe_for(False, "float32", momentum=0.0, schedule="constant", batch_size=300, validation=0)
    recipe = replace(recipe, pixel_scaling="unit")  # so that a black picture is all zeros
    found = compare_backends(recipe, PICTURES, make_plan(recipe, PICTURES), [ReadOnlyBackend("float32")], 1)
    assert found.passed
    blank = replace(PICTURES, x_train=PICTURES.x_train.copy())
    blank.x_train[7] = 0  # with zero biases and zero input every unit of the first layer is at its kink
    found = compare_backends(recipe, blank, make_plan(recipe, blank), [ReadOnlyBackend("float32")], 1)
    assert found.passed
    assert len({kink.row for kink in found.kinks}) >= 1
    assert sum(kink.layer == 0 and kink.z == 0.0 for kink in found.kinks) == 16


def test_compare_several_failures_reports_largest_or_nan():
    class ErrorPerStep(ReadOnlyBackend):
        """Backend with a small error in step 1, a large one in step 2 and a small one in step 3, or NaN in step 2."""

        errors: tuple[float, ...] = (1e-3, 1e-1, 1e-2)

        def scan(self, step):
            right, calls = super().scan(step), []

            def run(state, inputs, constants):
                calls.append(1)
                moved = right(state, inputs, constants)
                error = self.errors[(len(calls) - 1) // 2]  # each step runs twice: compared, and in the free run
                return moved | {"totals": moved["totals"] | {"objective": moved["totals"]["objective"] * (1 + error)}}

            return run

    recipe = recipe_for(False, "float64")

    def loss_difference(backend):
        found = compare_backends(recipe, PICTURES, make_plan(recipe, PICTURES), [backend], 3)
        return next(d for d in found.differences if d.tensor == "loss")

    assert loss_difference(ErrorPerStep("float64")).relative == pytest.approx(1e-1)
    spoilt = ErrorPerStep("float64")
    spoilt.errors = (1e-3, np.nan, 1e-2)
    assert np.isnan(loss_difference(spoilt).relative)


def test_compare_tensor_that_rounding_decides_fails_and_is_counted():
    """Batch normalisation takes away what a bias before it adds: Adam moves it by the sign of rounding errors."""
    changes = {"activation": "identity", "normalization": "batch", "optimizer": "adam"}
    recipe = recipe_for(False, "float32", **changes)
    found = compare_backends(recipe, PICTURES, make_plan(recipe, PICTURES), [ReadOnlyBackend("float32")], 2)
    failed = {d.tensor: d for d in found.differences if not d.passed}
    assert set(failed) == {"params.0.b"}
    assert np.isnan(failed["params.0.b"].relative)
    assert failed["params.0.b"].undecided >= 16
    assert "params.0.b, fewer of others" in comparison_text(found)


def test_is_decided_jump_is_left_out_and_rounding_of_large_numbers_is_not():
    old, new = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.1, 1.1, 1.0 + 1e-9, 1.0])
    bounds = np.array([1e-7, 0.2, 1e-7, 0.0])
    assert is_decided(bounds, new, old, 1e-7).tolist() == [True, False, True, True]


def test_judged_difference_bias_that_rounding_decides_in_few_steps_is_judged_by_the_others():
    found = Difference("torch", "cpu", "params.0.b", 1e-8, 1e-8, bound=1e-7, undecided=3, free_run=0.0)
    assert judged_difference(found, 6).passed
    assert not judged_difference(found, 5).passed
