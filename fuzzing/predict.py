"""Files to predict from and to evaluate on, as predict.py and evaluate.py take them: seeds and the readers."""

from pathlib import Path

import numpy as np

from fuzzing.case import Files
from fuzzing.idx import PIXELS, idx
from fuzzing.images import all_images
from fuzzing.npz import npz_seeds
from lagvis.data.datasets import load_dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.images.transposed import YES
from lagvis.data.input_spec import MNIST_STYLE, RAW, RESIZE, InputSpec
from lagvis.data.predict_input import read_inputs
from lagvis.errors import DataError

DIGITS = tuple("0123456789")


def ranges_from(low: float, high: float, shape: tuple[int, ...]) -> FeatureRanges:
    """Return the ranges of three rows from `low` to `high`, the first feature constant; of bytes if `low` is an int."""
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
    InputSpec((2,), is_bytes=False, image_mode=RAW, class_names=("1", "2", "0.5"), label_columns=(3,)),
    InputSpec((2,), is_bytes=False, target_names=("a", "c"), recipe_label="1,4", label_columns=(1, 4)),
    InputSpec((2, 2), is_bytes=True, class_names=("0", "1"), transpose=YES),
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


def evaluate_seeds() -> list[Files]:
    """Return tables with the labels of `INPUT_SPECS`, and a data set of arrays."""
    tables = [b"a,b,c,y\n1,2,0.5,1\n0,3,1.5,0\n", b"1,2,2\n1,5,1\n2,3,2\n", b"a;b;c;d\n1,5;2;3;1\n2;1;1;7\n"]
    pictures = [b"0,1,2,3,4\n1,5,6,7,8\n0,9,8,7,6\n"]
    return [[("given", content)] for content in (*tables, *pictures, npz_seeds()[0][0][1])]


def read_to_evaluate(folder: Path, files: Files, option: int) -> None:
    """Read a file as evaluate.py does, by the first network of several that takes it."""
    for spec in INPUT_SPECS[option % len(INPUT_SPECS) :] + INPUT_SPECS[: option % len(INPUT_SPECS)]:
        try:
            dataset = load_dataset(
                str(folder / files[0][0]), regression=spec.is_regression, class_names=spec.class_names, spec=spec
            )
        except DataError as found:
            error = found
            continue
        assert len(dataset.x_test) == len(dataset.y_test) > 0
        assert np.isfinite(dataset.x_test).all()
        return
    raise error
