import re
from pathlib import Path

import numpy as np
import pytest

from lagvis.backends.backend import plain_scan
from lagvis.tree import named_leaves, tree_map
from tests.conftest import PARAMS, UNCOMPILED, open_backend


@pytest.fixture(params=[*PARAMS, UNCOMPILED])
def backend_of(request):
    """Each backend in turn, as a function: `backend_of(dtype)` opens it."""
    return lambda dtype: open_backend(request.param, dtype)


@pytest.fixture
def backend(backend_of):
    """Each backend in turn, in float64."""
    return backend_of("float64")


def step(state, rows, rate, data):
    """Pure step with matrix products, broadcasting, an unchanged leaf and a counter."""
    moved = state["W"] - rate * (data["x"] @ state["W"] + rows[..., None])
    return {"W": moved, "still": state["still"], "count": state["count"] + 1.0}


def example(dtype):
    rng = np.random.default_rng(0)
    state = {"W": rng.normal(size=(3, 2)), "still": rng.normal(size=(4,)), "count": np.zeros(())}
    inputs = (rng.normal(size=(5, 3)), np.linspace(0.1, 0.5, 5))
    constants = ({"x": rng.normal(size=(3, 3))},)
    return (
        tree_map(lambda a: a.astype(dtype), state),
        [a.astype(dtype) for a in inputs],
        tuple(tree_map(lambda a: a.astype(dtype), tree) for tree in constants),
    )


def run(backend, scan, dtype):
    state, inputs, constants = example(dtype)
    inputs = tuple(backend.asarray(a) for a in inputs)
    constants = tuple(tree_map(backend.asarray, tree) for tree in constants)
    return tree_map(backend.to_numpy, scan(tree_map(backend.asarray, state), inputs, constants))


def test_scan_equals_plain_scan(backend_of, dtype):
    backend = backend_of(dtype)
    found, expected = run(backend, backend.scan(step), dtype), run(backend, plain_scan(step), dtype)
    state, inputs, constants = example("float64")
    for i in range(5):
        state = step(state, inputs[0][i], inputs[1][i], *constants)
    for name, leaf in named_leaves(found):
        assert leaf.dtype == dtype
        eps = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(leaf, dict(named_leaves(expected))[name], rtol=eps, atol=eps)
        np.testing.assert_allclose(leaf, dict(named_leaves(state))[name], rtol=eps, atol=eps)
    assert found["count"] == 5.0


@pytest.mark.parametrize("kind", ["uint8", "int32", "float32", "float64"])
def test_asarray_and_to_numpy_copy_and_keep_dtype(backend, kind):
    host = np.arange(6).reshape(2, 3).astype(kind)
    array = backend.asarray(host)
    host[0, 0] = 77
    back = backend.to_numpy(array)
    assert back.dtype == kind
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]
    back[0, 1] = 77
    assert backend.to_numpy(array).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert backend.to_numpy(backend.asarray(np.array(3, kind))).shape == ()


def mapping_flags(address):
    """Return the flags of the memory mapping that holds an address of this process, as Linux lists them."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError(f"no mapping holds {address:#x}")


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this system has no large pages")
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_asarray_large_array_is_a_copy_on_large_pages(name):
    backend = open_backend(name, "float32")
    host = np.arange(8 << 20, dtype=np.uint8).reshape(2048, 4096)
    expected = host.copy()
    array = backend.asarray(host)
    backend.synchronize()
    host[...] = 0
    np.testing.assert_array_equal(backend.to_numpy(array), expected)
    assert "hg" in mapping_flags(np.asarray(array).ctypes.data + host.nbytes // 2)


def test_scan_constants_unchanged_and_state_usable_in_next_run(backend):
    state, inputs, constants = example("float64")
    scan = backend.scan(step)
    state = tree_map(backend.asarray, state)
    constants = tuple(tree_map(backend.asarray, tree) for tree in constants)
    for _ in range(3):
        state = scan(state, tuple(backend.asarray(a) for a in inputs), constants)
    assert backend.to_numpy(state["count"]) == 15.0
    assert np.isfinite(backend.to_numpy(state["W"])).all()
    np.testing.assert_array_equal(backend.to_numpy(constants[0]["x"]), example("float64")[2][0]["x"])


def test_backend_reports_dtype_and_versions_as_text(backend_of, dtype):
    backend = backend_of(dtype)
    assert backend.dtype == dtype
    assert backend.versions()
    assert all(isinstance(value, str) and value for value in backend.versions().values())


@pytest.mark.parametrize("name", ["jax", "jax-uncompiled"])
def test_synchronize_waits_for_jax(name):
    backend = open_backend(name, "float64")
    product = backend.scan(lambda state, rate: {"W": (state["W"] @ state["W"]) * rate})
    state = {"W": backend.asarray(np.full((600, 600), 1e-3))}
    result = product(state, (backend.asarray(np.ones(60)),), ())
    backend.synchronize()
    assert result["W"].is_ready()


def test_jax_scan_compiles_once_for_each_shape_and_donates_state(request):
    backend = open_backend("jax", "float64")
    traced = []

    def counting(state, rate):
        traced.append(rate.shape)
        return {"W": state["W"] * rate}

    scan = backend.scan(counting)
    state = {"W": backend.asarray(np.ones(3))}
    for length, rates in ((4, [0.1, 0.2]), (4, [0.3, 0.9]), (2, [0.5, 0.6]), (4, [1.0, 2.0])):
        state = scan(state, (backend.asarray(np.linspace(*rates, length)),), ())
    assert len(traced) == 2
    before = state
    scan(state, (backend.asarray(np.ones(4)),), ())
    assert before["W"].is_deleted(), "the memory of the old state is donated"
