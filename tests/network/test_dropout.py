"""Dropout and noise: the same bytes on every backend, their statistics, and gradients against PyTorch."""

import hashlib
from itertools import pairwise
from math import log
from statistics import NormalDist

import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.dropout import dropout_masks, input_noise, noise_values
from lagvis.network.losses import cross_entropy
from lagvis.network.optimizers import sgd
from lagvis.network.random import round_keys
from lagvis.network.regularization import Regularization
from lagvis.network.step import make_evaluation, make_step
from lagvis.tree import tree_map
from tests.conftest import open_backend
from tests.network import torch_reference
from tests.network.problems import data_of, problem
from tests.network.test_step import host_state

WIDTHS = (37, 21, 16, 5)

# sha256 of masks and noise of step 3 and seed 7, rows 0 to 9, of a network of WIDTHS.
DIGESTS = {
    "mask 0": "bb6d4d56a8c2449797c0b3fd8e0b781ce395745c62a3de2937824a2c8b71bfd3",
    "mask 1": "e21144ef633d9a0df7a8924ff477065e3de0470188eab249fdf6f853a73988d7",
    "mask 2": "5d5129769750befcd67e25356dedd2fd7b2476c693b89325d6a42f1a41542bfe",
    "noise": "f99842abc02ac1a378f3f11a1d3d5bb8eca66eac1907656f2bc62185000b0093",
}


def constants(seed, dtype, *, rows=10, noise=1.0):
    """Return the constants of a step that draws random numbers, on the host."""
    return {
        "random_keys": np.array(round_keys(seed), np.uint32).view(np.int32),
        "counters": np.arange(max(rows, 100), dtype=np.int32),
        "noise": np.array(noise_values(noise), dtype),
    }


def draw(backend, seed, step, *, rows=slice(0, 10), dropout=0.5, input_dropout=0.2, widths=WIDTHS):
    """Return masks and noise of a step, on the host, by name: the last of two steps, which NumPy and PyTorch replay."""
    xp, dtype, count = backend.xp, backend.dtype, rows.stop - rows.start

    def take_step(state, number, data):
        numbers = data["counters"][rows]
        masks = dropout_masks(
            state["params"], numbers, dropout=dropout, input_dropout=input_dropout, step=number, data=data, xp=xp
        )
        new = {f"mask {i}": mask for i, mask in enumerate(masks) if mask is not None}
        return state | new | {"noise": input_noise(widths[0], numbers, step=number, data=data, xp=xp)}

    state = {f"mask {i}": np.zeros((count, n), dtype) for i, n in enumerate(widths[:-1])}
    state["noise"] = np.zeros((count, widths[0]), dtype)
    state["params"] = [{"W": np.zeros((n_in, n_out), dtype)} for n_in, n_out in pairwise(widths)]
    data = tree_map(backend.asarray, constants(seed, dtype, rows=rows.stop))
    numbers = backend.asarray(np.array([step + 1, step], np.int32))
    found = backend.scan(take_step)(tree_map(backend.asarray, state), (numbers,), (data,))
    return {name: backend.to_numpy(found[name]) for name in state if name != "params"}


def numpy_draw(seed, step, **options):
    """Return `draw` on NumPy in float64."""
    return draw(open_backend("numpy", "float64"), seed, step, **options)


def digest(array):
    """Return the sha256 of an array's numbers, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest()


def philox_bytes(seed, purpose, step, rows, columns):
    """Philox4x32-10 with NumPy's uint64: the bytes (R, 16 C), the first bytes of the first words first."""
    words = np.broadcast_arrays(*np.ix_([step], rows, [purpose], columns))
    c = [word.reshape(len(rows), len(columns)).astype(np.uint64) for word in words]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        high, low = [part >> np.uint64(32) for part in p], [part & np.uint64(0xFFFFFFFF) for part in p]
        c = [high[1] ^ c[1] ^ np.uint64(k[0]), low[1], high[0] ^ c[3] ^ np.uint64(k[1]), low[0]]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    four = np.stack([word.astype("<u4").view(np.uint8).reshape(*word.shape, 4) for word in c])  # (4, R, C, 4)
    return four.transpose(1, 0, 3, 2).reshape(len(rows), -1)


def test_masks_and_noise_have_the_golden_digests_on_every_backend(backend_of):
    """These bytes must never change: a run that is resumed by a later version draws the same numbers."""
    found = draw(backend_of("float32"), 7, 3)
    assert {name: digest(array) for name, array in found.items()} == DIGESTS


def test_masks_equal_reference_in_numpy():
    found = numpy_draw(2**62 + 11, 4, dropout=0.3, input_dropout=0.1)
    rows = np.arange(10)
    inputs = philox_bytes(2**62 + 11, 0, 4, rows, np.arange(3))  # 37 bytes need three counters of 16
    hidden = philox_bytes(2**62 + 11, 1, 4, rows, np.arange(3))  # 21 + 16 bytes too
    np.testing.assert_array_equal(found["mask 0"], np.where(inputs[:, :37] >= 26, 256 / 230, 0.0))
    expected = np.where(hidden >= 77, 256 / 179, 0.0)
    np.testing.assert_array_equal(found["mask 1"], expected[:, :21])
    np.testing.assert_array_equal(found["mask 2"], expected[:, 21:37])


@pytest.mark.parametrize("parts", [(3, 10), (1, 2, 3, 10), (9, 10)])
def test_masks_and_noise_of_parts_of_a_batch_equal_those_of_the_batch(parts):
    whole = numpy_draw(1, 2)
    pieces = [numpy_draw(1, 2, rows=slice(a, b)) for a, b in zip((0, *parts), parts, strict=False)]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), array)


@pytest.mark.parametrize("share", [1 / 256, 0.1, 0.2, 0.5, 0.8, 255 / 256])
def test_masks_drop_the_share_and_keep_the_mean(share):
    rounded = round(share * 256) / 256
    found = numpy_draw(3, 5, rows=slice(0, 100), dropout=share, input_dropout=share, widths=(784, 400, 300, 10))
    for name in ("mask 0", "mask 1", "mask 2"):
        mask = found[name]
        assert set(np.unique(mask)) == {0.0, 1 / (1 - rounded)}
        bound = 4 * np.sqrt(rounded * (1 - rounded) / mask.size)
        assert abs((mask == 0).mean() - rounded) < bound
        assert abs(mask.mean() - 1) < bound / (1 - rounded)
        # no row and no unit is dropped more often than the others
        for axis, count in ((0, 100), (1, mask.shape[1])):
            deviation = (np.mean(mask == 0, axis=axis) - rounded) / np.sqrt(rounded * (1 - rounded) / count)
            assert abs(np.mean(deviation**2) - 1) < 6 * np.sqrt(2 / len(deviation))


def correlation(a, b):
    """Return the correlation of two arrays in units of its deviation for independent ones."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1] * np.sqrt(a.size))


@pytest.mark.parametrize("name", ["mask 0", "mask 1", "mask 2", "noise"])
def test_masks_and_noise_are_independent_over_steps_seeds_rows_and_layers(name):
    options = {"rows": slice(0, 64), "dropout": 0.5, "input_dropout": 0.5, "widths": (96, 96, 96, 3)}
    draws = {seed: [numpy_draw(seed, step, **options) for step in (0, 1, 2)] for seed in (0, 1)}
    here = draws[0][0][name]
    others = [draws[0][1][name], draws[0][2][name], draws[1][0][name], here[::-1], here[:, ::-1]]
    others += [np.roll(here, shift, axis) for shift in (1, 2, 16, 24) for axis in (0, 1)]
    others += [array for other, array in draws[0][0].items() if other != name]
    assert max(abs(correlation(here, other)) for other in others) < 4


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_step_with_dropout_gradient_equals_torch(backend, torch, activation):
    hidden, rate = (21, 16), 0.25
    params, x, y = problem(hidden, activation, "classes", rows=10, n_in=37, n_out=5)
    masks = numpy_draw(7, 3, dropout=rate, input_dropout=rate)
    regularization = Regularization(dropout=rate, input_dropout=rate)
    step = make_step(
        activation=ACTIVATIONS[activation], loss=cross_entropy, optimizer=sgd(), regularization=regularization,
        keep_gradients=True, xp=backend.xp,
    )  # fmt: skip
    state = host_state(params, sgd()) | {"grads": tree_map(np.zeros_like, params)}
    scalars = {"learning_rate": np.array([0.0, 0.0]), "step": np.array([0, 3], np.int32)}
    inputs = (backend.asarray(np.tile(np.arange(10, dtype=np.int32), (2, 1))), tree_map(backend.asarray, scalars))
    data = tree_map(backend.asarray, data_of(x, y, 5) | constants(7, "float64"))
    found = tree_map(backend.to_numpy, backend.scan(step)(tree_map(backend.asarray, state), inputs, (data,)))
    leaves = [{name: torch.tensor(a, requires_grad=True) for name, a in layer.items()} for layer in params]
    a = torch.tensor(x)
    for i, layer in enumerate(leaves):
        a = (a * torch.tensor(masks[f"mask {i}"])) @ layer["W"] + layer["b"]
        if i < 2:
            a = torch_reference.ACTIVATIONS[activation](torch, a)
    torch_reference.loss_of(torch, a, y).backward()
    for ours, theirs in zip(found["grads"], leaves, strict=True):
        for name, leaf in theirs.items():
            np.testing.assert_allclose(ours[name], leaf.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_evaluation_draws_no_random_numbers(backend):
    """An evaluation takes no keys and no step: it could not draw any."""
    params, x, y = problem((5,), "relu", "classes")
    evaluate = make_evaluation(activation=ACTIVATIONS["relu"], loss=cross_entropy, xp=backend.xp)
    totals = tree_map(backend.asarray, host_state(params, sgd())["totals"])
    arguments = (tree_map(backend.asarray, params), tree_map(backend.asarray, data_of(x, y)))
    found = backend.scan(evaluate)(totals, (backend.asarray(np.arange(6, dtype=np.int32)[None]),), arguments)
    assert float(backend.to_numpy(found["weight"])) == 6


def test_noise_values_are_the_quantiles_of_the_normal_distribution():
    values = np.array(noise_values(1.0))
    assert values.shape == (65536,)
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(values, -values[::-1])
    expected = [NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(0, 65536, 257)]
    np.testing.assert_allclose(values[::257], expected, rtol=5e-5, atol=1e-6)
    assert abs(np.mean(values**2) - 1) < 1e-8
    assert abs(np.mean(values**4) - 3) < 1e-3
    np.testing.assert_allclose(noise_values(0.1), 0.1 * values, rtol=1e-15)


def test_input_noise_is_normal():
    """Moments and the distribution function (Kolmogorov and Smirnov) of a fixed draw."""
    noise = np.sort(numpy_draw(11, 9, rows=slice(0, 100), widths=(784, 3))["noise"].ravel())
    n = noise.size
    for power, moment, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)):
        assert abs(np.mean(noise**power) - moment) < 4 * np.sqrt(variance / n)
    expected = np.array([NormalDist().cdf(value) for value in noise])
    distance = np.max(np.abs(expected - (np.arange(n) + 0.5) / n))
    assert distance < np.sqrt(-0.5 * log(1e-3 / 2) / n)


def test_step_with_input_noise_equals_step_on_noisy_inputs(backend):
    params, x, y = problem((5,), "tanh", "classes", rows=10, n_in=37)
    noise = 0.3 * numpy_draw(7, 3)["noise"]
    results = []
    for regularization, inputs in ((Regularization(input_noise=0.3), x), (Regularization(), x + noise)):
        step = make_step(
            activation=ACTIVATIONS["tanh"], loss=cross_entropy, optimizer=sgd(), regularization=regularization,
            xp=backend.xp,
        )  # fmt: skip
        data = tree_map(backend.asarray, data_of(inputs, y) | constants(7, "float64", noise=0.3))
        scalars = {"learning_rate": np.array([0.1]), "step": np.array([3], np.int32)}
        given = (backend.asarray(np.arange(10, dtype=np.int32)[None]), tree_map(backend.asarray, scalars))
        state = backend.scan(step)(tree_map(backend.asarray, host_state(params, sgd())), given, (data,))
        results.append(tree_map(backend.to_numpy, state["params"]))
    for ours, theirs in zip(*results, strict=True):
        for name, leaf in theirs.items():
            np.testing.assert_allclose(ours[name], leaf, rtol=1e-13, atol=1e-15)
