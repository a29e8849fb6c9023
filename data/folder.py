"""Folders of four IDX files: under MNIST's own names, plain or .gz, or laid out as the paper's program lays them."""

from pathlib import Path

from data.dataset import Source
from data.errors import DataError
from data.idx import read_idx

PARTS = ("x_train", "y_train", "x_test", "y_test")
STANDARD = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PAPER = (
    "train_images/train-images.idx3-ubyte",
    "train_images/train-labels.idx1-ubyte",
    "test_images/test-images.idx3-ubyte",
    "test_images/test-labels.idx1-ubyte",
)
LAYOUTS = (STANDARD, PAPER)


def read_folder(folder: Path) -> Source:
    """The four files of a folder as arrays; DataError names what is missing or doubled."""
    files = [find(folder, layout) for layout in LAYOUTS]
    complete = [found for found in files if all(found.values())]
    if not complete:
        raise DataError(missing(folder, files))
    if len(complete) > 1:
        raise DataError(f"{folder} holds both MNIST's own layout and the paper's; keep one of them")
    arrays, sha256 = {}, {}
    for part, paths in complete[0].items():
        if len(paths) > 1:
            raise DataError(
                f"{folder} holds both {paths[0].name} and {paths[1].name}; which is meant? Keep one of them"
            )
        arrays[part], sha256[str(paths[0].relative_to(folder)).removesuffix(".gz")] = read_idx(paths[0])
        found, is_label = arrays[part].shape, part.startswith("y")
        if (len(found) != 1) if is_label else (len(found) < 2):
            expected = "one axis of labels" if is_label else "three axes: images, rows, columns"
            raise DataError(f"{paths[0]} has the shape {found}, expected {expected}; are images and labels exchanged?")
    return Source(
        folder.name,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256=sha256,
    )


def find(folder: Path, layout: tuple[str, ...]) -> dict[str, list[Path]]:
    """For each part, the files that could be meant: the name itself, and with .gz."""
    return {
        part: [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        for part, name in zip(PARTS, layout, strict=True)
    }


def missing(folder: Path, files: list[dict[str, list[Path]]]) -> str:
    """The sentence for a folder without a complete set of files."""
    for layout, found in zip(LAYOUTS, files, strict=True):
        if any(found.values()):
            absent = [name for name, paths in zip(layout, found.values(), strict=True) if not paths]
            return f"{folder} lacks {' and '.join(absent)} (plain or .gz)"
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        if any(all(find(child, layout).values()) for layout in LAYOUTS):
            return f"{folder} holds no data set, but its folder {child.name} does; use --data {child}"
    return (
        f"{folder} holds no data set; expected the four files {', '.join(STANDARD)} (plain or .gz), "
        "or the layout of the paper's program"
    )
