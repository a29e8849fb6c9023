"""Files to predict from, as predict.py takes them: seeds and the reader."""

from pathlib import Path

import numpy as np

from fuzzing.case import Files
from fuzzing.idx import PIXELS, idx
from fuzzing.images import all_images
from fuzzing.npz import npz_seeds
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.input_spec import MNIST_STYLE, RAW, RESIZE, InputSpec
from lagvis.data.predict_input import read_inputs
from lagvis.errors import DataError

DIGITS = tuple("0123456789")


def ranges_from(low: float, high: float, shape: tuple[int, ...]) -> FeatureRanges:
    """Return the ranges of three rows from `low` to `high`, of which the first feature is constant; bytes for integers."""
    rows = np.array([low, high, low])[:, None].repeat(np.prod(shape), axis=1)
    rows[:, 0] = low
    return FeatureRanges.of(rows.astype(np.uint8) if isinstance(low, int) else rows, np.arange(3), shape)


INPUT_SPECS = (
    InputSpec((28, 28), is_bytes=True, image_mode=MNIST_STYLE, class_names=DIGITS),
    InputSpec((28, 28), is_bytes=True, image_mode=RESIZE, class_names=DIGITS),
    InputSpec((3,), is_bytes=False, image_mode=RAW, class_names=("a", "b", "c")),
    InputSpec(
        (3,), is_bytes=False, image_mode=RAW, class_names=("0", "1"), feature_names=("a", "b", "c"), label_names=("y",)
    ),
    InputSpec((3,), is_bytes=False, image_mode=RAW, target_names=("y",), recipe_label="y"),
    InputSpec((8, 8), is_bytes=True, image_mode=RAW, class_names=("0", "1", "2")),
    InputSpec((28, 28), is_bytes=False, class_names=DIGITS, ranges=ranges_from(0.0, 1.0, (28, 28))),
    InputSpec((28, 28), is_bytes=False, class_names=DIGITS, ranges=ranges_from(-1.0, 1.0, (28, 28))),
    InputSpec((28, 28), is_bytes=True, class_names=DIGITS, ranges=ranges_from(0, 16, (28, 28))),
    InputSpec((3,), is_bytes=False, class_names=("a", "b", "c"), ranges=ranges_from(0.5, 3.5, (3,))),
)


def predict_seeds() -> list[Files]:
    """Return one file each: images, rows with and without labels, arrays, IDX images."""
    table = [b"a,b,c\n1,2,0.5\n0,3,1.5\n", b"a;b;c\n1,5;2;3\n", b"y,a,b,c\n1,2,3,4\n", b"1,2,3\n"]
    files = [*all_images(), *table, idx(PIXELS), npz_seeds()[0][0][1]]
    return [[("given", content)] for content in files]


def read_to_predict(folder: Path, files: Files, option: int) -> None:
    """Read a file as predict.py does, for networks of several kinds."""
    spec = INPUT_SPECS[option % len(INPUT_SPECS)]
    inputs = read_inputs([str(folder / files[0][0])], spec)
    for error in inputs.errors:
        raise DataError(error.message)
    for batch in inputs.batches:
        assert batch.x.shape == (len(batch.x), np.prod(spec.shape))
        assert np.isfinite(batch.x).all()
