"""Digests of masks and noise are equal on every backend and in every dtype; a wrong bit is found."""

import numpy as np

from lagvis.inference.comparison import compare
from lagvis.inference.random_digests import random_digests
from lagvis.training.plan import make_plan
from tests.conftest import open_backend
from tests.fake_backends import ReadOnlyBackend
from tests.inference.test_comparison import PICTURES, recipe_for

WIDTHS = (64, 16, 8, 5)
RANDOM = {"dropout": 0.5, "input_dropout": 0.2, "input_noise": 0.3}


def test_random_digests_equal_on_every_backend_and_dtype(backend_of, dtype):
    expected = random_digests(open_backend("numpy", "float64"), recipe_for(False, "float64", **RANDOM), WIDTHS, [32, 7])
    assert list(expected) == ["mask 0", "mask 1", "mask 2", "noise"]
    assert random_digests(backend_of(dtype), recipe_for(False, dtype, **RANDOM), WIDTHS, [32, 7]) == expected


def test_random_digests_change_with_seed_step_and_rows():
    backend, recipe = open_backend("numpy", "float64"), recipe_for(False, "float64", **RANDOM)
    digests = [random_digests(backend, recipe, WIDTHS, rows) for rows in ([32], [31], [32, 32])]
    digests.append(random_digests(backend, recipe_for(False, "float64", seed=1, **RANDOM), WIDTHS, [32]))
    for name in digests[0]:
        assert len({found[name] for found in digests}) == 4


def test_random_digests_of_what_is_used_alone():
    backend = open_backend("numpy", "float32")
    assert random_digests(backend, recipe_for(False, "float32"), WIDTHS, [32]) == {}
    assert list(random_digests(backend, recipe_for(False, "float32", dropout=0.1), WIDTHS, [32])) == [
        "mask 1",
        "mask 2",
    ]
    assert list(random_digests(backend, recipe_for(False, "float32", input_noise=0.1), WIDTHS, [32])) == ["noise"]


class WrongBit(ReadOnlyBackend):
    """Backend that keeps one value of each mask that is dropped, or drops one that is kept."""

    def to_numpy(self, array):
        host = super().to_numpy(array)
        if host.dtype == np.uint8:
            host = np.array(host)
            host[0, 0] ^= 1
        return host


def test_compare_wrong_bit_of_a_mask_fails(dtype):
    recipe = recipe_for(False, dtype, dropout=0.5)
    found = compare(recipe, PICTURES, make_plan(recipe, PICTURES), [ReadOnlyBackend(dtype), WrongBit(dtype)], 2)
    assert [digest.equal for digest in found.digests] == [True, True, False, False]
    assert not found.passed
