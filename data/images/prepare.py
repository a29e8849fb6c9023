"""Prepare picture files as a trained network takes them, for predict.py and evaluate.py."""

from dataclasses import replace
from pathlib import Path

from lagvis.data.images.image_io import read_greyscale
from lagvis.data.images.mnist_style import SIDE, PreparedImage, resize, to_mnist_style
from lagvis.data.input_spec import MNIST_STYLE, RAW, InputSpec
from lagvis.errors import DataError


def prepare_picture(content: bytes, name: str | Path, spec: InputSpec) -> PreparedImage:
    """Return the picture of a file's bytes by the mode of `spec`."""
    grey, notes = read_greyscale(content, name)
    height, width = spec.shape
    if spec.image_mode == MNIST_STYLE:
        if (height, width) != (SIDE, SIDE):
            raise DataError(
                f"digits are centred in {SIDE}x{SIDE} pixels, the network takes {width}x{height}; leave --centre out"
            )
        image = to_mnist_style(grey)
    elif spec.image_mode == RAW and grey.shape != (height, width):
        raise DataError(
            f"{name} has {grey.shape[1]}x{grey.shape[0]} pixels, the network takes {width}x{height}; leave --raw out"
        )
    else:
        image = resize(grey, (height, width))
    return replace(image, notes=(*notes, *image.notes))


def check_takes_pictures(name: str | Path, spec: InputSpec) -> None:
    """Raise DataError for the picture `name` where the network takes rows that are no grey pictures."""
    if len(spec.shape) != 2 or not spec.takes_pictures:
        shape = "x".join(map(str, spec.shape))
        if len(spec.shape) == 3 and {spec.shape[0], spec.shape[-1]} & {3, 4}:
            raise DataError(
                f"{name} is a picture, the network learned from arrays of {shape} numbers, as of pictures in colour; "
                "give such arrays (.npz): picture files are read in grey only"
            )
        kind = "bytes" if spec.is_bytes else "real numbers"
        learned = f" from {spec.ranges.low.min():.6g} to {spec.ranges.high.max():.6g}" if spec.ranges else ""
        raise DataError(
            f"{name} is a picture; the network takes rows of {shape} {kind}{learned}: give a table or an .npz"
        )
