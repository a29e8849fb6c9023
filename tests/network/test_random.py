"""Philox4x32-10 on every backend, against the known answers of Random123 and an implementation in whole numbers."""

import numpy as np
import pytest
from scipy.stats import chi2

from lagvis.network.random import philox, random_words, round_keys
from tests.conftest import open_backend, skip_or_fail

# Counter, key and words of Philox4x32-10 in the known answers of Random123.
KNOWN_ANSWERS = [
    ([0x00000000] * 4, 0x00000000_00000000, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, 0xFFFFFFFF_FFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0_A4093822, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def as_int32(numbers):
    """Return numbers of 32 bits in two's complement."""
    return np.array(numbers, np.uint32).view(np.int32)


def words_of(backend, seed, steps, rows, columns, purpose):
    """Return the four words (R, C) of the last of several steps, which NumPy and PyTorch replay."""
    xp = backend.xp

    def step(state, number, data):
        words = random_words(purpose, number, data["rows"], data["columns"], data["keys"], xp=xp)
        return {"words": xp.stack([xp.astype(word - 2**31, xp.int32) for word in words], axis=0)}

    data = {"rows": as_int32(rows), "columns": as_int32(columns), "keys": as_int32(round_keys(seed))}
    state = {"words": backend.asarray(np.zeros((4, len(rows), len(columns)), np.int32))}
    constants = ({name: backend.asarray(a) for name, a in data.items()},)
    found = backend.to_numpy(backend.scan(step)(state, (backend.asarray(as_int32(steps)),), constants)["words"])
    assert found.dtype == np.int32
    return found.astype(np.int64) + 2**31


def reference(seed, step, row, column, purpose):
    """Philox4x32-10 in Python's whole numbers, written from the paper alone."""
    counter, key = [step, row, purpose, column], [seed % 2**32, seed >> 32]
    for _ in range(10):
        product0, product1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            product1 // 2**32 ^ counter[1] ^ key[0],
            product1 % 2**32,
            product0 // 2**32 ^ counter[3] ^ key[1],
            product0 % 2**32,
        ]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


@pytest.mark.parametrize(("counter", "seed", "answer"), KNOWN_ANSWERS)
def test_philox_known_answers_of_random123(backend_of, dtype, counter, seed, answer):
    backend = backend_of(dtype)
    xp = backend.xp

    def step(state, counters, keys):
        counters, keys = (xp.astype(a, xp.int64) & 0xFFFFFFFF for a in (counters, keys))
        words = philox(tuple(counters[..., i] for i in range(4)), keys)
        return {"words": xp.stack([xp.astype(word - 2**31, xp.int32) for word in words], axis=-1)}

    counters = backend.asarray(np.tile(as_int32(counter), (2, 3, 1)))  # two steps of three rows
    state = {"words": backend.asarray(np.zeros((3, 4), np.int32))}
    state = backend.scan(step)(state, (counters,), (backend.asarray(as_int32(round_keys(seed))),))
    for row in backend.to_numpy(state["words"]):
        assert " ".join(f"{word + 2**31:08x}" for word in row.tolist()) == answer


def test_random_words_equal_whole_numbers_of_python(backend_of, dtype):
    seed, rows, columns = 2**63 - 12345, [0, 1, 2, 70_000], [0, 1, 5]
    found = words_of(backend_of(dtype), seed, [8, 2**31 - 1], rows, columns, purpose=2)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            assert found[:, i, j].tolist() == reference(seed, 2**31 - 1, row, column, 2)


def test_random_words_of_jax_without_x64_are_equal_and_change_no_setting():
    try:
        import jax
    except ImportError as error:
        skip_or_fail("jax", f"JAX is the subject of this test: {error}")
    with jax.enable_x64(False):
        found = words_of(open_backend("jax", "float32"), 5, [1, 2], range(3), range(4), purpose=0)
        assert not jax.config.jax_enable_x64
        assert jax.numpy.arange(3).dtype == np.int32
    np.testing.assert_array_equal(found, words_of(open_backend("numpy", "float32"), 5, [1, 2], range(3), range(4), 0))


def test_random_words_bytes_are_uniform():
    words = words_of(open_backend("numpy", "float64"), 1, [0, 3], range(400), range(100), purpose=0)
    for shift in (0, 8, 16, 24):
        counts = np.bincount(((words >> shift) & 255).ravel(), minlength=256)
        statistic = float(np.sum((counts - counts.mean()) ** 2) / counts.mean())
        assert 1e-4 < chi2.sf(statistic, 255) < 1 - 1e-4


@pytest.mark.parametrize("other", [{"seed": 4}, {"step": 8}, {"purpose": 1}, {"first_row": 1}, {"first_column": 1}])
def test_random_words_of_another_counter_or_key_are_independent(other):
    """The bits of two draws that differ in one number agree in half of their places."""

    def draw(*, seed=3, step=7, purpose=0, first_row=0, first_column=0):
        rows, columns = range(first_row, first_row + 50), range(first_column, first_column + 50)
        return words_of(open_backend("numpy", "float64"), seed, [0, step], rows, columns, purpose)

    differing = np.bitwise_count(draw() ^ draw(**other))
    bits = differing.size * 32
    assert abs(differing.sum() / bits - 0.5) < 4 * 0.5 / np.sqrt(bits)
