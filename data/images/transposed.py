"""Turn pictures upright that are stored transposed, with rows and columns exchanged, as the files of EMNIST are.

A file does not say how its pictures lie. The name EMNIST says it, and --transpose decides where a name is wrong.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lagvis.data.files import split_words
from lagvis.data.tables.feature_type import image_side
from lagvis.errors import DataError
from lagvis.option_text import option

BY_NAME, YES, NO = TRANSPOSE = ("auto", "yes", "no")
SIDE = 28  # of EMNIST's pictures, whose rows BY_NAME recognises without axes for height and width
COLOUR_CHANNELS = (1, 3, 4)


class Upright(NamedTuple):
    """Pictures x (N, ...) upright, whether they were stored transposed, and the notice for the user about it."""

    x: np.ndarray
    was_transposed: bool
    notices: tuple[str, ...]


def is_named_emnist(path: Path) -> bool:
    """Tell whether a path is EMNIST's by the nearest name that mentions MNIST: of the file or of two folders above.

    A word of a file's name may begin with it, and the name of a folder.
    """
    if "mnist" in path.name.lower():
        return any(word.startswith("emnist") for word in split_words(path.name))
    names = [folder.name.lower() for folder in path.absolute().parents[:2]]
    return next((name for name in names if "mnist" in name), "").startswith("emnist")


def turn_upright(x: np.ndarray, name: str, transpose: str, *paths: Path) -> Upright:
    """Return pictures x (N, ...) upright.

    x          (N, H, W), with one axis more for colour, or rows of pixels (N, H * H)
    name       of the file, for messages
    transpose  one of TRANSPOSE; BY_NAME goes by the names of `paths`, the files of the data set
    Raises DataError for rows that are no pictures where `transpose` is YES.
    """
    named = any(map(is_named_emnist, paths))
    axes = picture_axes(x.shape, None if transpose == YES else SIDE)
    if transpose == YES and axes is None:
        raise DataError(
            f"{name} has rows of shape {x.shape[1:]}; {option('transpose', YES)} is for pictures, expected "
            "(height, width) or a square number of pixels from 64 on: leave that out"
        )
    if axes is None or not (named or transpose == YES):
        return Upright(x, False, ())
    if transpose == NO:
        return Upright(x, False, (f"{name}: EMNIST stores its pictures transposed; they stay so (transpose is no).",))
    pictures = x.reshape(len(x), *axes)
    first = 2 if len(axes) == 3 and axes[0] in COLOUR_CHANNELS else 1
    upright = np.ascontiguousarray(pictures.swapaxes(first, first + 1))
    if x.ndim == 2:
        upright = upright.reshape(x.shape)
    notice = f"{name}: the pictures are turned upright, rows for columns (transpose is yes)."
    if transpose == BY_NAME:
        unless = f"unless {option('transpose', NO)}"
        notice = f"{name}: EMNIST stores its pictures transposed; they are turned upright ({unless})."
    return Upright(upright, True, (notice,))


def picture_axes(shape: tuple[int, ...], side: int | None) -> tuple[int, ...] | None:
    """Return the axes of a picture in an array of shape (N, ...), None where its rows are no pictures.

    Rows of pixels are pictures of `side` x `side`; where `side` is None, of any size that `image_side` takes.
    """
    row = shape[1:]
    if len(row) == 2:
        return row
    if len(row) == 3 and (row[0] in COLOUR_CHANNELS or row[-1] in COLOUR_CHANNELS):
        return row
    found = image_side(row[0]) if len(row) == 1 else 0
    return (found, found) if found and side in (None, found) else None
