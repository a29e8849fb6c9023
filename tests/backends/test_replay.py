"""Compare replay with the plain loop, bit for bit, on steps that are difficult to record."""

from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.backends.replay.numpy_recorder import NumpyRecorder
from lagvis.backends.replay.tape import Tape, recorded_loop
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.losses import LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS, sgd
from lagvis.network.step import make_step, update
from lagvis.training.factory import first_state, make_optimizer, make_training_step, step_scalars
from lagvis.training.recipe import Recipe
from lagvis.tree import named_leaves, tree_map
from tests.conftest import MARKS, OPENERS, open_backend
from tests.fake_backends import CupyStandInBackend, SharingBackend, open_dpnp, open_strict
from tests.network.problems import data_of
from tests.network.problems import problem as problem_of_training

Tree = Any


def swap(xp, state, i, r, x):
    return {"a": state["b"], "b": state["a"]}


def unchanged_state(xp, state, i, r, x):
    return state


def same_result_in_two_leaves(xp, state, i, r, x):
    new = state["a"] * r + i
    return {"a": new, "b": new}


def view_of_another_leaf(xp, state, i, r, x):
    return {"a": xp.matrix_transpose(state["b"]), "b": state["b"] + 1.0}


def view_of_a_result(xp, state, i, r, x):
    return {"a": xp.matrix_transpose(state["b"] @ x), "b": state["b"] * 0.5}


def old_state_read_late(xp, state, i, r, x):
    a = state["a"] * r
    return {"a": a, "b": state["a"] + a}


def each_leaf_from_the_old_other(xp, state, i, r, x):
    return {"a": state["a"] - r * state["b"], "b": state["b"] - r * state["a"]}


def operand_and_its_transpose(xp, state, i, r, x):
    a = state["a"] * 0.5
    return {"a": (a + xp.matrix_transpose(a)) * r, "b": state["b"]}


def transpose_of_memory_that_is_free_afterwards(xp, state, i, r, x):
    a = state["a"] * r
    b = xp.matrix_transpose(a) + state["b"]  # a row of it needs all rows of `a`, in whose memory `scaled` may be
    scaled = b * r
    return {"a": scaled + b, "b": b}


def factors_of_both_zeros(xp, state, i, r, x):
    return {"a": state["a"] * 0.0, "b": state["b"] * -0.0}


def view_outlives_its_base(xp, state, i, r, x):
    base = state["a"] + i
    row = base[0:1, :]
    moved = base * 0.25
    return {"a": moved + row, "b": state["b"]}


def reshaped_sum_of_both_orders(xp, state, i, r, x):
    turned = xp.matrix_transpose(state["b"]) * 0.5  # column by column in memory, the sum row by row
    flat = xp.reshape(state["a"] + turned, (16,))
    return {"a": xp.reshape(flat * r, (4, 4)), "b": state["b"] * 0.9}


def writes_in_place(xp, state, i, r, x):
    a = state["a"] @ x
    a *= r
    a += i
    b = state["b"]
    b -= 0.125 * a
    return {"a": a, "b": b}


def every_operator(xp, state, i, r, x):
    a, b = state["a"], state["b"]
    total = (1.0 - a) + 2.0 / (3.0 + abs(b)) - (0.5 * (+a)) * -b + (1.0 + a) + a // 0.75 + a % 0.5 + abs(a) ** 2
    total = total + 7.0 // (1.0 + abs(b)) + 7.0 % (1.0 + abs(b)) + 2.0 ** -abs(a)
    either = (a < b) ^ (a <= 0.1) | (a > 0.2) & (b >= a) | ~((a == b) | (a != x))
    return {"a": xp.tanh(total), "b": xp.tanh(xp.where(either, total @ x, b) + x)}


def functions_of_a_list_and_of_a_submodule(xp, state, i, r, x):
    rows = xp.concat([state["a"][0:2, :], state["b"][2:4, :]], axis=0)
    stacked = xp.stack([state["a"], rows])
    return {"a": stacked[1, ...] + xp.linalg.matmul(state["b"], x), "b": xp.linalg.outer(i, i) + xp.zeros_like(rows)}


def facts_about_types(xp, state, i, r, x):
    real = xp.isdtype(state["a"].dtype, "real floating")
    smallest = float(xp.finfo(state["a"].dtype).eps) if real and state["a"].ndim == 2 else 1.0
    return {"a": state["a"] * smallest + xp.astype(state["b"], xp.result_type(state["a"], x)), "b": state["b"]}


def all_kinds_of_calls(xp, state, i, r, x):
    z = state["a"] @ x + i[None, :]
    top = xp.max(z, axis=-1, keepdims=True)
    low = xp.min(z, axis=0)
    e = xp.exp(-xp.abs(z - top))
    picked = xp.take(e, xp.argmax(z, axis=-1), axis=0)
    chosen = xp.where(z > 0, e, picked) + xp.where(z <= 0.5, 1.0, e)
    mean = xp.mean(chosen, axis=-2)
    both = xp.concat([low[None, :], mean[None, :]], axis=0)
    root = 1.0 / (2.0 - xp.sqrt(chosen / (1.0 + xp.sum(chosen))))
    return {"a": xp.tanh(root) + xp.sum(both, axis=0), "b": xp.astype(z >= 0, z.dtype) * r + state["b"]}


def loop_swaps_its_carry(xp, state, i, r, x):
    def body(carry, row):
        return {"a": carry["b"], "b": carry["a"] * 0.5 + row[None, :]}

    return recorded_loop(body, state, (x,))


def loop_reads_arrays_from_before_it(xp, state, i, r, x):
    outer = state["a"] * r  # every slice reads it, so no slice may write into its memory

    def body(carry, row):
        return {"sum": carry["sum"] + (outer + row[None, :]), "unchanged": carry["unchanged"]}

    found = recorded_loop(body, {"sum": xp.zeros_like(outer), "unchanged": state["b"]}, (x,))
    total = found["sum"] * 0.25
    return {"a": total + outer, "b": found["unchanged"] + found["sum"]}


def loop_of_one_result_in_two_leaves_and_a_view(xp, state, i, r, x):
    def body(carry, row, other):
        new = carry["a"] * 0.5 + row[None, :] * other[:, None]
        return {"a": new, "b": xp.matrix_transpose(new) + carry["c"], "c": new}

    found = recorded_loop(body, {"a": state["a"], "b": state["b"], "c": state["a"]}, (x, x @ x))
    return {"a": found["a"] + found["c"], "b": found["b"] * r}


def loop_reads_the_transpose_of_its_carry(xp, state, i, r, x):
    def body(carry, row):
        b = xp.matrix_transpose(carry["a"]) + carry["b"]
        return {"a": b * 0.5, "b": b - row[None, :]}  # "a" may be written where its old value was

    return recorded_loop(body, state, (x,))


def two_loops_of_other_sizes(xp, state, i, r, x):
    def body(carry, rows):
        shifted = carry["a"] - xp.sum(rows, axis=0, keepdims=True)
        return {"a": xp.tanh(shifted * shifted) + carry["a"]}

    first = recorded_loop(body, {"a": state["a"]}, (xp.reshape(x, (2, 2, 4)),))
    second = recorded_loop(body, first, (xp.reshape(x[0:3, :], (3, 1, 4)),))
    return {"a": second["a"], "b": state["b"] + second["a"] * i[None, :]}


def products_in_the_memory_of_earlier_calls(xp, state, i, r, x):
    first = state["a"] @ x
    view = xp.matrix_transpose(first)
    second = (first + 1.0) @ x
    third = (second * second) @ x  # the first product is still read, by its view
    kept = third @ x
    fourth = xp.tanh((kept + view) @ x)
    fifth = xp.concat([fourth[0:2, :], kept[2:4, :]], axis=0) @ x
    return {"a": xp.tanh(fifth + r), "b": xp.tanh(kept @ x) + state["b"] * 0.5}


def bits_of_integers(xp, state, i, r, x):
    words = xp.astype(state["a"] * 1e6, xp.int64) & 0xFFFFFFFF
    for shift in (3, 17, 30):
        words = ((words * 5 + (words >> shift)) ^ (words << 2)) & 0xFFFFFFFF | 1
    lanes = xp.concat([(words & (255 << shift)) >= (99 << shift) for shift in (0, 8)], axis=-1)
    mask = xp.astype(lanes, state["a"].dtype) * 1.25
    return {"a": state["a"] * mask[:, 2:6] + r, "b": state["b"] + mask[:, 0:4]}


STEPS = [f for f in list(globals().values()) if getattr(f, "__module__", "") == __name__ and callable(f)]


def problem(backend, seed=0):
    rng = np.random.default_rng(seed)
    state = {name: backend.asarray(rng.normal(size=(4, 4)).astype(backend.dtype)) for name in "ab"}
    inputs = (rng.normal(size=(6, 4)).astype(backend.dtype), rng.random(6).astype(backend.dtype))
    constants = (backend.asarray(rng.normal(size=(4, 4)).astype(backend.dtype)),)
    return state, tuple(map(backend.asarray, inputs)), constants


def to_host(backend, tree: Tree):
    return {name: backend.to_numpy(leaf) for name, leaf in named_leaves(tree)}


def assert_same_bits(found, expected):
    assert sorted(found) == sorted(expected)
    for name, leaf in found.items():
        assert leaf.dtype == expected[name].dtype
        np.testing.assert_array_equal(leaf, expected[name], err_msg=name)
        assert leaf.tobytes() == expected[name].tobytes(), f"{name}: the signs of zeros or the bits of NaN differ"


RECORDERS = {
    "numpy": lambda dtype, compiled=True: select("cpu", "numpy", dtype, compiled),
    "numpy-threads": SharingBackend,
    "torch": lambda dtype, compiled=True: select("cpu", "torch", dtype, compiled),
    "cupy-stand-in": CupyStandInBackend,
    "strict": lambda dtype, compiled=True: open_strict(dtype, "cpu", compiled),
    "strict-device1": lambda dtype, compiled=True: open_strict(dtype, "device1", compiled),
    "dpnp": lambda dtype, compiled=True: open_dpnp(dtype, compiled),
    "cupy": lambda dtype, compiled=True: select("cuda", "cupy", dtype, compiled),
}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in RECORDERS])
def open_recorder(request, monkeypatch):
    """Return `open_recorder(dtype, compiled)` for each backend whose scan records the step."""
    if request.param == "numpy-threads":  # even the smallest calls are shared, row by row
        monkeypatch.setattr("lagvis.backends.replay.schedule.MIN_OPERATIONS", 0.0)
        monkeypatch.setattr("lagvis.backends.replay.schedule.MIN_CALL_OPERATIONS", 0.0)
        monkeypatch.setattr("lagvis.backends.replay.shared_calls.MIN_PART_OPERATIONS", 1.0)
        monkeypatch.setattr("lagvis.backends.replay.shared_calls.BLOCKS", (1,))
    if request.param in OPENERS:
        open_backend(request.param, "float64")  # skips the test where the library is missing
    return RECORDERS[request.param]


@pytest.mark.parametrize("hard", STEPS, ids=lambda step: step.__name__)
def test_replay_equals_plain_loop_bit_for_bit(open_recorder, hard, dtype):
    results = []
    for compiled in (True, False):
        backend = open_recorder(dtype, compiled)
        run = backend.scan(partial(hard, backend.xp))
        results.append([])
        for seed in (0, 1):  # other data of the same shapes
            state, inputs, constants = problem(backend, seed)
            given = {"inputs": list(inputs), "constants": list(constants)}
            before = to_host(backend, given)
            for steps in (6, 1, 1, 3, 1):
                state = run(state, tuple(a[:steps, ...] for a in inputs), constants)
                results[-1].append(to_host(backend, state))
            assert_same_bits(to_host(backend, given), before)
    for found, expected in zip(*results, strict=True):
        assert_same_bits(found, expected)


# Every activation once, and one of them in every combination of the others: (activation, momentum, dtype, weighted).
TRAINING = [(activation, 0.9, "float32", False) for activation in ACTIVATIONS if activation != "relu"]
TRAINING += [("relu", *rest) for rest in product([0.0, 0.9], ["float32", "float64"], [False, True])]


@pytest.mark.parametrize(("activation", "momentum", "dtype", "weighted"), TRAINING)
def test_replay_of_training_equals_plain_loop_bit_for_bit(open_recorder, activation, momentum, dtype, weighted):
    rng = np.random.default_rng(0)
    widths = (7, 5, 4, 3)
    params = [{"W": rng.normal(size=shape).astype(dtype), "b": np.zeros(shape[1], dtype)} for shape in pairwise(widths)]
    zero = {name: np.zeros((), dtype) for name in ("loss", "weight", "correct", *(["rows"] * weighted))}
    results = []
    for compiled in (True, False):
        backend = open_recorder(dtype, compiled)
        optimizer = sgd(momentum=momentum, nesterov=True)
        loss = LOSSES["cross-entropy"].function
        step = make_step(activation=ACTIVATIONS[activation], loss=loss, optimizer=optimizer, xp=backend.xp)
        state = {"params": params, "totals": zero} | zero_optimizer_state(optimizer, params)
        data = {
            "x": np.random.default_rng(1).integers(0, 256, (40, 7), dtype=np.uint8),
            "y": np.arange(40, dtype=np.uint8) % 3,
            "classes": np.arange(3, dtype=np.uint8),
        }
        data |= {"w": np.linspace(0.5, 2.0, 40, dtype=dtype)} if weighted else {}
        inputs = (
            np.random.default_rng(2).integers(0, 40, (20, 8), dtype=np.int32),
            {"learning_rate": np.linspace(1.0, 0.1, 20, dtype=dtype)},
        )
        state, data, inputs = (tree_map(backend.asarray, tree) for tree in (state, data, list(inputs)))
        with np.errstate(over="ignore", invalid="ignore"):  # the network without activation diverges
            results.append(to_host(backend, backend.scan(step)(state, tuple(inputs), (data,))))
    assert_same_bits(*results)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replay_of_every_optimizer_equals_plain_loop_bit_for_bit(open_recorder, name, dtype):
    """With penalties, and with the momentum of one-cycle, which is a scalar of each step."""
    momentum = {} if name in ("adam", "adamw", "lion") else {"momentum": 0.9}
    recipe = Recipe(
        optimizer=name, schedule="one-cycle", weight_decay=0.1, l1=1e-3, clip_norm=0.5, max_norm=1.0, dtype=dtype,
        activation="tanh", **momentum,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    widths = (7, 5, 6, 4, 3)
    params = [{"W": rng.normal(size=shape).astype(dtype), "b": np.zeros(shape[1], dtype)} for shape in pairwise(widths)]
    zero = {name: np.zeros((), dtype) for name in ("loss", "weight", "correct", "objective")}
    data = {
        "x": rng.integers(0, 256, (40, 7), dtype=np.uint8),
        "y": np.arange(40, dtype=np.uint8) % 3,
        "classes": np.arange(3, dtype=np.uint8),
    }
    scalars = step_scalars(recipe, np.arange(20), 20)
    assert {"momentum", "beta1"} & {*scalars}
    results = []
    for compiled in (True, False):
        backend = open_recorder(dtype, compiled)
        state = {"params": params, "totals": zero} | zero_optimizer_state(make_optimizer(recipe), params)
        inputs = [np.arange(160, dtype=np.int32).reshape(20, 8) % 40, scalars]
        state, on_device, inputs = (tree_map(backend.asarray, tree) for tree in (state, data, inputs))
        step = make_training_step(recipe, xp=backend.xp)
        results.append(to_host(backend, backend.scan(step)(state, tuple(inputs), (on_device,))))
    assert_same_bits(*results)


@pytest.mark.parametrize("normalization", [name for name, kind in NORMALIZATIONS.items() if kind is not None])
def test_replay_of_normalised_training_equals_plain_loop_bit_for_bit(open_recorder, normalization, dtype):
    recipe = Recipe(normalization=normalization, ema=0.9, dtype=dtype)
    params, x, y = problem_of_training((5, 4), "relu", "classes", rows=40, normalized=True)
    params = tree_map(lambda a: a.astype(dtype), params)
    zero = {name: np.zeros((), dtype) for name in ("loss", "weight", "correct")}
    state = first_state(recipe, params) | {"totals": zero}
    inputs = [
        np.random.default_rng(2).integers(0, 40, (20, 8), dtype=np.int32),
        step_scalars(recipe, np.arange(20), 20),
    ]
    results = []
    for compiled in (True, False):
        backend = open_recorder(dtype, compiled)
        run = backend.scan(make_training_step(recipe, xp=backend.xp))
        given = tree_map(backend.asarray, [state, inputs, data_of(x.astype(dtype), y)])
        results.append(to_host(backend, run(given[0], tuple(given[1]), (given[2],))))
    assert_same_bits(*results)


SHAPES = [(4, 3), (3,), (), (1, 5), (3, 3), (2, 2, 2), (7,)]


def random_step(seed):
    """Return a step and shapes of its state: calls for all arrays of two lists, some read early, swapped or viewed."""

    def squash(a):
        return a / (abs(a) + 1.0)

    def step(xp, state, r, x):
        rng = np.random.default_rng(seed)
        lists = [state["p"], state["v"], [squash(p * r + 0.25) for p in state["p"]]]
        lists.append([xp.reshape(xp.sum(p, keepdims=True) + p, p.shape) for p in state["p"]])
        extra = r * 0.0
        for _ in range(rng.integers(3, 10)):
            kind, first, second = rng.integers(8), *(lists[k] for k in rng.integers(0, len(lists), 2))
            if kind == 0:
                new = [0.5 * a + b for a, b in zip(first, second, strict=True)]
            elif kind == 1:
                new = [squash(a * a - r * b) for a, b in zip(first, second, strict=True)]
            elif kind == 2:  # for some of the arrays
                new = [a * (1.0 - r) if a.ndim > 1 else a for a in first]
            elif kind == 3:  # in another order
                new = [a - 0.125 * b for a, b in [*zip(first, second, strict=True)][::-1]][::-1]
            elif kind == 4:  # each result is read before the next is computed
                new = []
                for a in first:
                    new.append(a * 0.75)
                    extra = extra + xp.sum(new[-1])
            elif kind == 5:  # views of operands and of results
                new = [xp.matrix_transpose(xp.matrix_transpose(a) + 0.5) if a.ndim == 2 else a + 0.5 for a in first]
            elif kind == 6:  # one array beside all others of its shape
                new = [a * second[k] - first[0] if a.shape == first[0].shape else a for k, a in enumerate(first)]
            else:
                new = [xp.sqrt(abs(a) + xp.astype(a > b, a.dtype)) for a, b in zip(first, second, strict=True)]
            lists.append(new)
        chosen = [lists[k] for k in rng.integers(0, len(lists), 2)]
        return {"p": [squash(p + extra) for p in chosen[0]], "v": chosen[1]}

    rng = np.random.default_rng([seed, 1])
    return step, [SHAPES[k] for k in rng.integers(0, len(SHAPES), rng.integers(1, 7))]


@pytest.mark.parametrize("seeds", [range(first, first + 10) for first in range(0, 40, 10)], ids=str)
def test_replay_of_random_steps_on_lists_equals_plain_loop_bit_for_bit(open_recorder, seeds):
    for seed in seeds:
        step, shapes = random_step(seed)
        rng = np.random.default_rng(seed)
        state = {name: [rng.normal(size=shape).astype("float32") for shape in shapes] for name in "pv"}
        results = []
        for compiled in (True, False):
            backend = open_recorder("float32", compiled)
            run = backend.scan(partial(step, backend.xp))
            inputs, constant = (backend.asarray(np.linspace(0.1, 0.9, 6, dtype="float32")) for _ in range(2))
            on_device = tree_map(backend.asarray, state)
            results.append([])
            for steps in (2, 3, 1):
                on_device = run(on_device, (inputs[:steps, ...],), (constant,))
                results[-1].append(to_host(backend, on_device))
        for found, expected in zip(*results, strict=True):
            assert_same_bits(found, expected)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_recorded_update_arrays_begin_at_a_line_of_the_cache(backend):
    opened = open_backend(backend, "float32")
    recipe = Recipe(optimizer="adam")
    optimizer = make_optimizer(recipe)
    params = [{"W": np.ones((7, 5), "f4"), "b": np.ones(5, "f4")}, {"W": np.ones((5, 6), "f4"), "b": np.ones(6, "f4")}]

    def step(state, scalars, x):
        grads = tree_map(lambda a: a * 0.5, x)
        return update(state, grads, scalars, optimizer=optimizer, xp=opened.xp)

    state = {"params": params} | zero_optimizer_state(optimizer, params)
    state, scalars, x = (tree_map(opened.asarray, a) for a in (state, step_scalars(recipe, np.arange(2), 10), params))
    new = opened.scan(step)(state, (scalars,), (x,))
    for name, array in named_leaves(new):
        assert np.from_dlpack(array).__array_interface__["data"][0] % 64 == 0, name


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_recorded_update_makes_as_many_calls_for_any_number_of_layers(name):
    recipe = Recipe(optimizer=name)
    optimizer, backend = make_optimizer(recipe), select("cpu", "numpy")
    counts = set()
    for widths in ((4, 3), (5, 4, 3), (6, 5, 4, 3)):
        params = [{"W": np.ones(shape, "f4"), "b": np.ones(shape[1], "f4")} for shape in pairwise(widths)]

        def step(state, scalars, x):
            grads = tree_map(lambda a: backend.xp.concat([a], axis=0), x)
            return update(state, grads, scalars, optimizer=optimizer, xp=backend.xp)

        state = {"params": params} | zero_optimizer_state(optimizer, params)
        tape = Tape(step, state, (step_scalars(recipe, np.arange(1), 10),), (params,), NumpyRecorder(backend.xp))
        counts.add(len(tape.program) - len([*named_leaves(params)]))
    assert len(counts) == 1


def replayed_and_plain(step, array):
    """Return the state "a" of some steps on NumPy, replayed and in the plain loop, from an array of zeros."""
    found = []
    for compiled in (True, False):
        backend = select("cpu", "numpy", str(array.dtype), compiled)
        run = backend.scan(lambda state, i, constant, backend=backend: {"a": state["a"] + step(backend.xp, constant)})
        zeros = np.zeros_like(step(backend.xp, array))
        found.append(run({"a": zeros}, (np.zeros((2, 1), array.dtype),), (array,))["a"])
    return found


@pytest.mark.parametrize("order", ["row by row", "column by column", "every second column"])
def test_replay_of_products_of_all_shapes_equals_plain_loop_bit_for_bit(order, dtype):
    rng = np.random.default_rng(0)
    sizes = [1, 2, 3, 10, 16, 33, 200]
    for m, k, n in [*product(sizes[:4], repeat=3), *rng.choice(sizes, (40, 3)).tolist(), (200, 784, 32), (16, 16, 16)]:
        whole = rng.normal(size=(m + n, 2 * k)).astype(dtype)
        rows = {"row by row": np.ascontiguousarray(whole[:, :k]), "every second column": whole[:, ::2]}
        given = rows.get(order, np.asfortranarray(whole[:, :k]))

        def products(xp, a, m=m):
            first, second = a[:m, ...], a[m:, ...]
            product_ = first @ xp.matrix_transpose(second)
            gram = xp.matrix_transpose(first) @ first  # BLAS has another function for a matrix and its own transpose
            back = xp.matrix_transpose(first) @ (product_ * 0.5)
            return xp.concat([xp.reshape(part, (-1,)) for part in (product_, gram, back, product_ @ second)])

        np.testing.assert_array_equal(*replayed_and_plain(products, given), err_msg=str((m, k, n)))


@pytest.mark.parametrize("columns", [1, 2, 10, 33, 64, 65])
def test_replay_of_extremes_of_rows_equals_plain_loop_with_ties_zeros_and_nan(columns, dtype):
    rng = np.random.default_rng(columns)
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5], dtype)
    rows = np.concatenate([rng.choice(values[:k], (100, columns)) for k in (2, 4, 6, 8)])

    def extremes(xp, a):
        real = a.dtype
        parts = [xp.max(a, axis=-1), xp.min(a, axis=1), xp.astype(xp.argmax(a, axis=-1), real)]
        kept = [xp.max(a, axis=-1, keepdims=True), xp.min(xp.reshape(a, (20, 20, columns)), axis=-1)]
        return xp.concat([xp.reshape(part, (-1,)) for part in (*parts, *kept, xp.max(a, axis=0))])

    np.testing.assert_array_equal(*replayed_and_plain(extremes, rows))


@pytest.mark.parametrize("columns", [2, 10, 20, 47])
def test_replay_of_softmax_of_zeros_of_both_signs_equals_plain_loop_bit_for_bit(columns, dtype):
    """The largest of a row of zeros may have another sign there, which no result of a softmax shows."""
    logits = np.random.default_rng(columns).choice(np.array([0.0, -0.0, -1e4], dtype), (200, columns))

    def losses(xp, z):
        found = LOSSES["cross-entropy"].function(z, xp.astype(z == 0, z.dtype), xp=xp)
        return xp.concat([xp.reshape(part, (-1,)) for part in (found[0], found[2])])

    replayed, plain = replayed_and_plain(losses, logits)
    assert replayed.tobytes() == plain.tobytes()


def test_recorded_scan_records_once_for_each_shape(open_recorder):
    backend = open_recorder("float64")
    assert backend.compiled, backend.notices
    seen = []

    def counting(state, i, r, x):
        seen.append(tuple(i.shape))
        return {"a": state["a"] * r, "b": state["b"] @ x + i}

    run = backend.scan(counting)
    state, inputs, constants = problem(backend)
    for steps in (6, 6, 4, 1, 6):
        state = run(state, tuple(a[:steps, ...] for a in inputs), constants)
    assert len(seen) == 1


def test_recorded_scan_results_stay_in_the_same_memory(open_recorder):
    backend = open_recorder("float64")
    run = backend.scan(partial(all_kinds_of_calls, backend.xp))
    state, inputs, constants = problem(backend)
    first = run(state, inputs, constants)
    before = to_host(backend, first)
    second = run(first, inputs, constants)
    assert all(second[name] is first[name] for name in "ab")
    assert all((to_host(backend, second)[name] != before[name]).any() for name in "ab")


def test_recorded_scan_single_step_is_not_recorded(open_recorder):
    backend = open_recorder("float64")
    seen = []

    def counting(state, i, r, x):
        seen.append(type(state["a"]))
        return state

    run = backend.scan(counting)
    state, inputs, constants = problem(backend)
    run(state, tuple(a[:1, ...] for a in inputs), constants)
    assert seen == [type(state["a"])]


def test_recorded_scan_result_without_array_raises(open_recorder):
    backend = open_recorder("float64")
    state, inputs, constants = problem(backend)
    with pytest.raises(TypeError, match="an array for each array"):
        backend.scan(lambda state, i, r, x: {"a": 1.0, "b": state["b"]})(state, inputs, constants)


def test_recorded_scan_branch_on_value_raises(open_recorder):
    backend = open_recorder("float64")
    state, inputs, constants = problem(backend)
    with pytest.raises(TypeError, match="cannot use the value"):
        backend.scan(lambda state, i, r, x: state if r > 0 else {})(state, inputs, constants)


@pytest.mark.parametrize("ask", [float, int, lambda r: r.item()], ids=["float", "int", "item"])
def test_recorded_scan_value_to_host_raises(open_recorder, ask):
    backend = open_recorder("float64")
    state, inputs, constants = problem(backend)
    with pytest.raises((TypeError, AttributeError)):
        backend.scan(lambda state, i, r, x: {"a": state["a"] * ask(r), "b": state["b"]})(state, inputs, constants)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # of PyTorch 2.6
def test_recorded_scan_several_results_raise(open_recorder):
    def splitting(state, i, r, x):
        first, second = backend.xp.meshgrid(i, i)
        return {"a": first, "b": second}

    backend = open_recorder("float64")
    state, inputs, constants = problem(backend)
    with pytest.raises(TypeError, match="cannot use meshgrid, which returns several arrays"):
        backend.scan(splitting)(state, inputs, constants)


def test_recorded_scan_array_that_is_no_argument_is_a_constant():
    backend = select("cpu", "numpy", "float64")
    state, inputs, constants = problem(backend)
    other = np.arange(16.0).reshape(4, 4)
    expected = to_host(backend, state)["a"] + 6 * other
    run = backend.scan(lambda state, i, r, x: {"a": other + state["a"], "b": state["b"]})
    np.testing.assert_allclose(run(state, inputs, constants)["a"], expected, rtol=1e-15)


def test_recorded_scan_write_into_an_array_raises(open_recorder):
    def writing(state, i, r, x):
        state["a"][0, :] = 1.0
        return state

    backend = open_recorder("float64")
    state, inputs, constants = problem(backend)
    with pytest.raises(TypeError, match="must not write"):
        backend.scan(writing)(state, inputs, constants)
