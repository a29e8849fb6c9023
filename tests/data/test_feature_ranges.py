import numpy as np
import pytest

from lagvis.data import scaling
from lagvis.data.feature_ranges import BYTES, REAL, WHOLE, FeatureRanges

PIXELS = np.random.default_rng(5).integers(0, 256, (40, 64)).astype(np.uint8)
ALL = np.arange(40)


@pytest.mark.parametrize("block_bytes", [1, 64, 1000, 2**18])
def test_of_every_block_size_gives_the_ranges_of_the_training_rows(monkeypatch, block_bytes):
    monkeypatch.setattr(scaling, "BLOCK_BYTES", block_bytes)
    rows = np.arange(0, 40, 3)
    found = FeatureRanges.of(PIXELS, rows, (8, 8))
    np.testing.assert_array_equal(found.low, PIXELS[rows].min(axis=0).astype(np.float64), strict=True)
    np.testing.assert_array_equal(found.high, PIXELS[rows].max(axis=0).astype(np.float64), strict=True)
    assert (found.kind, found.rows, found.picture_range) == (BYTES, 14, (0.0, 255.0))


@pytest.mark.parametrize(
    ("convert", "kind", "picture_range"),
    [
        (lambda x: x, BYTES, (0, 255)),
        (lambda x: x // 16, BYTES, (0, 15)),
        (lambda x: x // 15 - x // 255, BYTES, (0, 16)),
        (lambda x: x // 3, BYTES, (0, 255)),
        (lambda x: x.astype("f4") // 3, WHOLE, None),
        (lambda x: x > 127, WHOLE, (0, 1)),
        (lambda x: x.astype("f4"), WHOLE, (0, 255)),
        (lambda x: x * 0.99, REAL, (0, 255)),
        (lambda x: x.astype("u2") * 257, WHOLE, (0, 65535)),
        (lambda x: x.astype("f4") / 255, REAL, (0, 1)),
        (lambda x: (x / 255).astype("f2"), REAL, (0, 1)),
        (lambda x: x / 127.5 - 1, REAL, (-1, 1)),
        (lambda x: x / 255 - 0.5, REAL, (-0.5, 0.5)),
        (lambda x: x.view("i1"), WHOLE, (-128, 127)),
        (lambda x: (x / 255 - 0.1307) / 0.3081, REAL, None),
        (lambda x: x.astype("f4") * 2, WHOLE, None),
    ],
)
def test_of_pictures_names_the_range_of_their_values(convert, kind, picture_range):
    x = convert(PIXELS)
    x = x if x.dtype == np.uint8 else x.astype(np.float64)
    for shape in ((8, 8), (64,)):
        found = FeatureRanges.of(x, ALL, shape)
        assert (found.kind, found.picture_range) == (kind, picture_range)


def test_of_columns_that_are_no_picture_has_no_picture_range():
    found = FeatureRanges.of(PIXELS[:, :5] / 255, ALL, (5,))
    assert found.picture_range is None
    assert found.kind == REAL


def test_has_shared_scale_pixels_have_one_and_columns_of_several_units_have_none():
    assert FeatureRanges.of(PIXELS / 17 - 3, ALL, (8, 8)).has_shared_scale
    assert not FeatureRanges.of(PIXELS[:, :5] * np.array([1.0, 10, 100, 1e3, 1e4]), ALL, (5,)).has_shared_scale
    assert not FeatureRanges.of(PIXELS[:, :1] * 1.0, ALL, (1,)).has_shared_scale


def test_has_shared_scale_largest_numbers_do_not_overflow():
    most = np.finfo(np.float64).max
    assert FeatureRanges.of(np.array([[most, -most] * 32, [-most, most] * 32]), np.arange(2), (64,)).has_shared_scale
