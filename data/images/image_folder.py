"""Folders of pictures: a folder a class, or training and test folders of those.

Every picture becomes shades of grey 0..255 of one common size: colour by its luma (ITU-R 601), 16 bits scaled to 8,
what is transparent laid on white paper, as a viewer shows it, and turned upright as its EXIF says. Nothing is resized.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from lagvis.data.dataset import Source, natural_order
from lagvis.data.formats.idx_folder import is_junk
from lagvis.data.images.image_io import (
    has_image_signature,
    is_stored_in_colour,
    open_image,
    read_image_bytes,
    to_greyscale,
    upright,
)
from lagvis.data.split import hold_out_test
from lagvis.errors import DataError

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TRAINING, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
MOST_PIXELS = 2**24  # of one picture: a first layer for more would have no room
LAYOUT = "expected a folder for each class, cat/*.png and dog/*.png, or train/cat/*.png and test/cat/*.png"


@dataclass
class Part:
    """The pictures of one part, in the order of their paths."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


@dataclass
class Reader:
    """Decodes pictures one by one, each of the size of the first."""

    folder: Path
    count: int
    first: Path | None = None
    shape: tuple[int, int] = (0, 0)
    coloured: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def read(self, paths: list[Path]) -> np.ndarray:
        """The pictures (N, H, W) uint8."""
        content = bytearray()
        for path in paths:
            content += self.picture(path)
        return np.frombuffer(content, np.uint8).reshape(len(paths), *self.shape)

    def picture(self, path: Path) -> bytes:
        """One picture as its shades of grey, row by row; its size is known good before a pixel is decoded."""
        content = read_image_bytes(path)
        self.digest.update(os.fsencode(path.relative_to(self.folder).as_posix()) + b"\0")
        self.digest.update(hashlib.sha256(content).digest())
        with open_image(content, path, MOST_PIXELS) as image:
            self.check_size(path, image)
            self.coloured += is_stored_in_colour(image)
            grey = to_greyscale(upright(image), path)
        if self.first is None:
            self.first, self.shape = path, grey.shape
        elif grey.shape != self.shape:
            self.refuse_size(path, grey.shape)
        return grey.tobytes()

    def check_size(self, path: Path, image: Image.Image) -> None:
        """Whether all can be as large as the first picture, by its header, and another is of its size."""
        width, height = image.size
        if self.first is None:
            if self.count * width * height > memory():
                raise DataError(
                    f"{self.folder} holds {self.count:,} pictures; as large as {path} ({width}x{height}) they need "
                    f"{self.count * width * height:,} bytes, more than this machine has; make them smaller"
                )
        elif sorted(image.size) != sorted(self.shape):
            self.refuse_size(path, (height, width))

    def refuse_size(self, path: Path, shape: tuple[int, int]) -> None:
        """Two pictures of two sizes."""
        assert self.first is not None
        raise DataError(
            f"{self.first} is {self.shape[1]} wide and {self.shape[0]} high, {path} is {shape[1]} wide and {shape[0]} "
            "high; make all pictures one size"
        )


def memory() -> int:
    """Bytes that this machine has, or a guess where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**35


def is_image_file(path: Path) -> bool:
    """Whether a file begins as a picture does."""
    try:
        if not path.is_file():  # a pipe would never answer
            return False
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:  # not ours to read, so not what is looked for
        return False
    return has_image_signature(start)


def looks_like_image(path: Path) -> bool:
    """Whether a file has the name of a picture, or the content where its name says nothing; no other is opened."""
    return path.suffix.lower() in ENDINGS or (not path.suffix and is_image_file(path))


def sorted_entries(folder: Path) -> list[Path]:
    """What is in a folder and was put there on purpose, "2.png" before "10.png"."""
    found = {path.name: path for path in folder.iterdir() if not is_junk(path.name)}
    return [found[name] for name in natural_order(found)]


def folders(folder: Path) -> list[Path]:
    """The folders in a folder."""
    return [path for path in sorted_entries(folder) if path.is_dir()]


def class_folders(folder: Path) -> Iterator[Path]:
    """The folders inside, at most two levels down, that hold a picture: those of classes."""
    for child in folders(folder):
        if any(looks_like_image(path) for path in child.iterdir() if not is_junk(path.name)):
            yield child
        elif child.name.lower() in TRAINING + TEST:
            for inner in folders(child):
                if any(looks_like_image(path) for path in inner.iterdir() if not is_junk(path.name)):
                    yield inner


def read_image_folder(folder: Path, *, regression: bool = False) -> Source:
    """The pictures of a folder as x (N, H, W) uint8, the names of their class folders as y (N,), text."""
    if regression:
        raise DataError(f"{folder} is a folder of pictures, whose classes are no numbers; leave --loss mse out")
    train, test, notices = find_parts(folder)
    reader = Reader(folder, len(train.paths) + len(test.paths if test else ()))
    x_train = reader.read(train.paths)
    y_train = np.array(train.classes)
    if test is None:
        if len(y_train) < 2:
            raise DataError(f"{folder} holds one picture alone; a training and a test part need one each at least")
        rows = hold_out_test(y_train, by_class=True)
        (x_train, x_test), (y_train, y_test) = [[a[index] for index in rows] for a in (x_train, y_train)]
        paths = {name: [train.paths[i] for i in index] for name, index in zip(("training", "test"), rows, strict=True)}
    else:
        x_test, y_test = reader.read(test.paths), np.array(test.classes)
        paths = {"training": train.paths, "test": test.paths}
    if reader.coloured:
        notices.insert(
            0, f"{reader.coloured:,} of {reader.count:,} pictures are stored in colour and taken as shades of grey."
        )
    return Source(
        folder.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        sha256={folder.name: reader.digest.hexdigest()},
        notices=tuple(notices),
        undivided=folder.name if test is None else "",
        where=lambda part, row: str(paths[part][row]),
    )


def find_parts(folder: Path) -> tuple[Part, Part | None, list[str]]:
    """Training and test pictures by the names of the folders, and what to say of folders that are not used."""
    inside = folders(folder)
    named = {path.name.lower(): path for path in inside}
    training = [named[name] for name in TRAINING if name in named]
    tests = [named[name] for name in TEST if name in named]
    if not training or len(training) + len(tests) < len(inside):
        return read_part_paths(folder, inside, empty_allowed=False), None, []
    if len(training) > 1:
        raise DataError(f"{folder} holds both {training[0].name} and {training[1].name}; which is meant? Keep one")
    notices = [f"{path.name} is not used: the test part is {tests[0].name}." for path in tests[1:]]
    train = read_part_paths(training[0], folders(training[0]), empty_allowed=False)
    return train, read_part_paths(tests[0], folders(tests[0]), empty_allowed=True) if tests else None, notices


def read_part_paths(folder: Path, classes: list[Path], *, empty_allowed: bool) -> Part:
    """The pictures of class folders, whose names are the labels."""
    part = Part()
    loose = next((path for path in sorted_entries(folder) if looks_like_image(path)), None)
    if loose or not classes:
        what = f"the picture {loose.name} beside" if loose else "no"
        raise DataError(f"{folder} holds {what} class folders; {LAYOUT}")
    for child in classes:
        if not child.name.isprintable():
            raise DataError(f"{child.parent} has a class folder called {child.name!a}; rename it as text in UTF-8")
        files = sorted_entries(child)
        inner = next((path for path in files if path.is_dir()), None)
        if inner:
            raise DataError(f"{child} is taken as a class and holds a folder, {inner.name}; {LAYOUT}")
        if not files and not empty_allowed:
            raise DataError(f"{child} holds no picture; fill or remove this class folder")
        part.paths += files
        part.classes += [child.name] * len(files)
    if not part.paths:
        raise DataError(f"{folder} holds no picture; {LAYOUT}")
    return part
