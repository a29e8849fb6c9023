"""Read folders of images: one folder per class, or training and test folders of those.

Every image becomes shades of grey 0..255 of one common size: colour by its luma (ITU-R 601), 16 bits scaled to 8,
transparency shown on white, as viewers do, and upright by its EXIF orientation. Nothing is resized.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lagvis.data.files import is_junk
from lagvis.data.images.image_io import (
    apply_orientation,
    has_image_signature,
    is_stored_in_colour,
    open_image,
    read_image_bytes,
    to_greyscale,
)
from lagvis.data.images.prepare import check_takes_pictures, prepare_picture
from lagvis.data.input_spec import InputSpec
from lagvis.data.labels import clean_label, natural_order
from lagvis.data.signatures import SIGNATURE_BYTES, identify_picture
from lagvis.data.source import Source
from lagvis.errors import DataError
from lagvis.option_text import predict_command, targets_option

if TYPE_CHECKING:
    from PIL import Image

READ_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# of pictures that are not read: they are reported instead of left out
OTHER_SUFFIXES = {
    ".arw",
    ".avif",
    ".cr2",
    ".cr3",
    ".dng",
    ".heic",
    ".heif",
    ".jp2",
    ".jxl",
    ".nef",
    ".orf",
    ".raf",
    ".rw2",
}
SUFFIXES = READ_SUFFIXES | OTHER_SUFFIXES
TRAINING_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing", "val", "valid", "validation")
MAX_PIXELS = 2**24  # of one image: the first layer for more would not fit into memory
ASSUMED_MEMORY = 2**35  # bytes, if the system does not report it
EXPECTED = "expected a folder for each class, cat/*.png and dog/*.png, or train/cat/*.png and test/cat/*.png"


@dataclass
class ImagePaths:
    """The image files of one part, and the class of each."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


@dataclass
class ImageReader:
    """Decodes the `count` images of a folder one by one; all must have the size of the first.

    With `spec`, that of a trained network, they have any size and are prepared as the network takes them.
    """

    folder: Path
    count: int
    spec: InputSpec | None = None
    first: Path | None = None
    shape: tuple[int, int] = (0, 0)
    coloured: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def read(self, paths: list[Path]) -> np.ndarray:
        """Return the images (N, H, W) uint8."""
        content = bytearray()
        for path in paths:
            content += self.read_image(path)
        return np.frombuffer(content, np.uint8).reshape(len(paths), *self.shape)

    def read_image(self, path: Path) -> bytes:
        """Return the shades of grey of one image, row by row; its size is checked before a pixel is decoded."""
        content = read_image_bytes(path)
        self.digest.update(os.fsencode(path.relative_to(self.folder).as_posix()) + b"\0")
        self.digest.update(hashlib.sha256(content).digest())
        if self.spec:
            return prepare_picture(content, path, self.spec).pixels.tobytes()
        with open_image(content, path, MAX_PIXELS) as image:
            self.check_size(path, image)
            self.coloured += is_stored_in_colour(image)
            grey = to_greyscale(apply_orientation(image), path)
        if self.first is None:
            self.first, self.shape = path, grey.shape
        elif grey.shape != self.shape:
            raise self.size_error(path, grey.shape)
        return grey.tobytes()

    def check_size(self, path: Path, image: "Image.Image") -> None:
        """Raise DataError if all images as large as the first do not fit into memory, or another has another size."""
        width, height = image.size
        if self.first is None:
            if self.count * width * height > memory_bytes():
                raise DataError(
                    f"{self.folder} holds {self.count:,} pictures; as large as {path} ({width}x{height}) they need "
                    f"{self.count * width * height:,} bytes, more than this machine has; make them smaller"
                )
        elif sorted(image.size) != sorted(self.shape):  # the orientation may exchange width and height
            raise self.size_error(path, (height, width))

    def size_error(self, path: Path, shape: tuple[int, int]) -> DataError:
        """Return the error for an image of another size than the first."""
        return DataError(
            f"{self.first} is {self.shape[1]} wide and {self.shape[0]} high, {path} is {shape[1]} wide and {shape[0]} "
            "high; make all pictures the same size"
        )


def memory_bytes() -> int:
    """Return the memory of this machine in bytes, or a guess if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return ASSUMED_MEMORY


def is_image_file(path: Path) -> bool:
    """Return whether a file begins with the signature of an image format."""
    return has_image_signature(read_start(path))


def is_other_picture(path: Path) -> bool:
    """Return whether a file is a picture or a PDF by its content, and of a format that is not read."""
    start = read_start(path)
    return bool(identify_picture(start)) or start.startswith(b"%PDF")


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file; none where it cannot be read, or is none."""
    try:
        if not path.is_file():  # reading a pipe would block
            return b""
        with path.open("rb") as file:
            return file.read(SIGNATURE_BYTES)
    except OSError:  # without read permission it is not the file that is looked for
        return b""


def looks_like_image(path: Path) -> bool:
    """Return whether a file is an image by its suffix, or by its content if it has none; no other file is opened."""
    return path.suffix.lower() in SUFFIXES or (not path.suffix and is_image_file(path))


def sorted_entries(folder: Path) -> list[Path]:
    """Return the files and folders in a folder except junk, "2.png" before "10.png"."""
    entries = {path.name: path for path in folder.iterdir() if not is_junk(path.name)}
    return [entries[name] for name in natural_order(entries)]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder except junk, in natural order."""
    return [path for path in sorted_entries(folder) if path.is_dir()]


def holds_image(folder: Path) -> bool:
    """Return whether an image lies directly in a folder."""
    return any(looks_like_image(path) for path in folder.iterdir() if not is_junk(path.name))


def class_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders of classes, directly in a folder or in its training and test folders, that hold an image."""
    for child in subfolders(folder):
        if holds_image(child):
            yield child
        elif child.name.lower() in TRAINING_NAMES + TEST_NAMES:
            yield from filter(holds_image, subfolders(child))


def read_image_folder(folder: Path, *, regression: bool = False, spec: InputSpec | None = None) -> Source:
    """Return the images of a folder as x (N, H, W) uint8, and the names of their class folders as y (N,), text.

    With `spec`, that of a trained network, they are prepared as predict.py prepares them.
    """
    if regression:
        raise DataError(
            f"{folder} is a folder of pictures, whose classes are not numbers; use {targets_option('classes')}"
        )
    train, test, notices = find_parts(folder)
    reader = ImageReader(folder, len(train.paths) + len(test.paths if test else ()), spec)
    if spec:
        check_takes_pictures(train.paths[0], spec)
        reader.shape = spec.shape[0], spec.shape[1]
        notices.append(f"{folder.name}: the pictures are prepared for the network, as {predict_command()} does.")
    x_train, y_train = reader.read(train.paths), np.array(train.classes)
    x_test = reader.read(test.paths if test else [])
    sha256 = {folder.name: reader.digest.hexdigest()}
    if reader.coloured:
        notices.insert(0, f"{reader.coloured:,} of {reader.count:,} pictures are in colour and converted to grey.")
    if test is None:
        return Source.hold_out(
            folder.name,
            x_train,
            y_train,
            sha256,
            path=folder,
            by_class=True,
            allow_single_row=spec is not None,
            row_location=lambda row: str(train.paths[row]),
            notices=tuple(notices),
        )
    paths = {"training": train.paths, "test": test.paths}
    return Source(
        folder.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=np.array(test.classes),
        sha256=sha256,
        notices=tuple(notices),
        row_location=lambda part, row: str(paths[part][row]),
    )


def find_parts(folder: Path) -> tuple[ImagePaths, ImagePaths | None, list[str]]:
    """Return the training and test images by the names of the folders, and notices on folders that are not used."""
    children = subfolders(folder)
    by_name = {path.name.lower(): path for path in children}
    training = [by_name[name] for name in TRAINING_NAMES if name in by_name]
    tests = [by_name[name] for name in TEST_NAMES if name in by_name]
    if not training or len(training) + len(tests) < len(children):
        return find_images(folder, children, empty_allowed=False), None, []
    if len(training) > 1:
        raise DataError(f"{folder} holds both {training[0].name} and {training[1].name}; which is meant? Keep one")
    notices = [f"{path.name} is not used: the test part is {tests[0].name}." for path in tests[1:]]
    train = find_images(training[0], subfolders(training[0]), empty_allowed=False)
    return train, find_images(tests[0], subfolders(tests[0]), empty_allowed=True) if tests else None, notices


def find_images(folder: Path, classes: list[Path], *, empty_allowed: bool) -> ImagePaths:
    """Return the images of class folders, whose names are the labels; an empty one is an error unless allowed."""
    found = ImagePaths()
    loose = next((path for path in sorted_entries(folder) if looks_like_image(path)), None)
    if loose or not classes:
        what = f"the picture {loose.name} beside" if loose else "no"
        raise DataError(f"{folder} holds {what} class folders; {EXPECTED}")
    for child in classes:
        label = clean_label(child.name)
        if not label or not label.isprintable():
            raise DataError(f"{child.parent} has a class folder called {child.name!a}; rename it as text in UTF-8")
        files = sorted_entries(child)
        inner = next((path for path in files if path.is_dir()), None)
        if inner:
            raise DataError(f"{child} is taken as a class and holds a folder, {inner.name}; {EXPECTED}")
        if not files and not empty_allowed:
            raise DataError(f"{child} holds no picture; fill or remove this class folder")
        found.paths += files
        found.classes += [label] * len(files)
    if not found.paths:
        raise DataError(f"{folder} holds no picture; {EXPECTED}")
    return found
