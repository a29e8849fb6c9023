import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lagvis.data.images.filters import (
    connected_components,
    downsample,
    max_filter,
    min_filter,
    pool,
    resample,
    resample_matrix,
)

RNG = np.random.default_rng(5)


def test_connected_components_equal_scipy():
    for _ in range(20):
        mask = RNG.random((30, 25)) < 0.3
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        components, k = connected_components(mask)
        assert k == 1
        assert {frozenset(component) for component in components} == {
            frozenset(map(tuple, np.argwhere(labels == n + 1).tolist())) for n in range(count)
        }


def test_max_filter_and_min_filter_equal_scipy():
    g = RNG.random((17, 23))
    for r in (1, 2, 3, 7):
        np.testing.assert_array_equal(max_filter(g, r), ndimage.maximum_filter(g, 2 * r + 1, mode="nearest"))
        np.testing.assert_array_equal(min_filter(g, r), ndimage.minimum_filter(g, 2 * r + 1, mode="nearest"))


@pytest.mark.parametrize("new", [(20, 20), (7, 20), (40, 3), (100, 100)])
def test_resample_pixel_is_mean_of_its_area(new):
    """Repeat the pixels until old and new pixels share a grid: each new pixel is the mean of a block of equal size."""
    v = RNG.random((30, 22))
    tall = v.repeat(new[0], axis=0).repeat(new[1], axis=1)
    blocks = tall.reshape(new[0], 30, new[1], 22).mean(axis=(1, 3))
    np.testing.assert_allclose(resample(v, *new), blocks, rtol=1e-12)
    np.testing.assert_allclose(resample_matrix(30, new[0]).sum(axis=1), 1, rtol=1e-12)


def test_downsample_equals_pillow_reduce():
    picture = RNG.integers(0, 256, (2501, 1900), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture.astype(np.float32)).reduce(3))
    np.testing.assert_allclose(downsample(picture), expected, rtol=1e-6)


def test_downsample_uses_less_than_3_bytes_per_pixel():
    page = np.zeros((3000, 4000), np.uint8)
    tracemalloc.start()
    downsample(page)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * page.size


@pytest.mark.parametrize("combine", [np.add, np.maximum])
def test_pool_equals_each_block_at_the_edges_too(combine):
    g = np.random.default_rng(2).random((11, 7))
    of_block = {np.add: np.sum, np.maximum: np.max}[combine]
    expected = [[of_block(g[i : i + 3, j : j + 3]) for j in range(0, 7, 3)] for i in range(0, 11, 3)]
    np.testing.assert_allclose(pool(g, 3, combine), expected, rtol=1e-14)
