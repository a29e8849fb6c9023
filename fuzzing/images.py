"""Images, and folders that hold images beside other files: seeds and mutations."""

import gzip
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.case import Files
from fuzzing.idx import LABELS, PIXELS, STANDARD_NAMES, idx
from fuzzing.mutator import Mutator
from fuzzing.npz import npz_seeds

Image.init()


def image(mode: str, kind: str, size: tuple[int, int] = (8, 8), **options: Any) -> bytes:
    """Return an image file of one mode and format."""
    x = (np.arange(size[0] * size[1] * 4) * 7 % 256).astype(np.uint8)
    image = Image.frombytes("RGBA", size, x.tobytes())
    image = Image.fromarray((x[::4].astype(np.uint16) * 250).reshape(size)) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def all_images() -> list[bytes]:
    """Return images of 8x8 in the formats and modes that Pillow writes."""
    kinds = [("L", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("I;16", "PNG"),
             ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("L", "BMP"), ("RGB", "BMP"), ("P", "BMP"),
             ("1", "BMP"), ("L", "PPM"), ("RGB", "PPM"), ("1", "PPM"), ("L", "TIFF"), ("RGB", "TIFF"), ("F", "TIFF"),
             ("I;16", "TIFF"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("RGB", "WEBP"), ("RGBA", "WEBP")]  # fmt: skip
    pictures = [image("RGB" if mode == "LAB" else mode, kind) for mode, kind in kinds]
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures += [image("RGB", kind, (6, 8), exif=exif.tobytes()) for kind in ("JPEG", "PNG", "TIFF", "WEBP")]
    pictures += [image("L", "TIFF", compression=c) for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    pictures += [image("1", "TIFF", compression=c) for c in ("group3", "group4")]
    pictures += [image("RGB", "JPEG", progressive=True), image("P", "PNG", transparency=3)]
    pictures += [b"P2 8 8 255 " + b"7 " * 64, b"P3 8 8 15 " + b"7 " * 192, b"P1 8 8 " + b"1 0 " * 32]
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 90)]
    for kind in ("GIF", "PNG", "TIFF", "WEBP"):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        pictures.append(file.getvalue())
    return pictures


def image_folder_seeds() -> list[Files]:
    """Return folders of two classes; the first file is of each format and mode in turn."""
    good = image("L", "PNG")
    return [[("a/1.png", content), ("b/1.png", good), ("b/2.png", good)] for content in all_images()]


def folder_seeds() -> list[Files]:
    """Return folders in which the names of files and subfolders decide what is read."""
    x, y = idx(PIXELS), idx(LABELS)
    names = [STANDARD_NAMES, ("train_images/train-images.idx3-ubyte", "train_images/train-labels.idx1-ubyte",
                        "test_images/test-images.idx3-ubyte", "test_images/test-labels.idx1-ubyte"),
             ("trainImages.bin", "trainLabels.bin", "valImages.bin", "valLabels.bin"),
             ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte", "a", "b"),
             ("images (1)", "labels (1)", "images-copy", "labels-copy"),
             ("sub/train-images", "sub/train-labels")]  # fmt: skip
    folders: list[Files] = [list(zip(some, (x, y, x, y), strict=False)) for some in names]
    folders.append([(f"{name}.gz", gzip.compress(content, mtime=0)) for name, content in folders[0]])
    table = b"y,a\n" + b"1,2\n0,3\n" * 4
    grey, colour = image("L", "BMP"), image("RGB", "PNG")
    folders += [[("train.csv", table), ("test.csv", table)], [("a.tsv.gz", gzip.compress(table)), ("README", b"words")],
                [("kat/1.bmp", grey), ("hund/2.bmp", grey), ("hund/.DS_Store", b"x")],
                [("train/a/1.png", colour), ("train/b/1.png", colour), ("test/a/1", colour), ("val/b/2", colour)],
                [("a.npz", npz_seeds()[0][0][1]), ("a.csv", table)],
                [("10/1.bmp", grey), ("2/1.bmp", grey)]]  # fmt: skip
    return folders


def mutate_png(content: bytes, m: Mutator) -> bytes:
    """Mutate a chunk of a PNG with a valid checksum, or its pixels before compression."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    at = m.random.randrange(len(chunks))
    kind, inner = chunks[at]
    match m.random.randrange(6):
        case 0:
            del chunks[at]
        case 1:
            kinds = (b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iCCP", b"gAMA", b"sBIT", b"IDAT")
            chunks.insert(at, (m.pick(kinds), m.bytes(m.pick(chunks)[1])))
        case 2:
            chunks[at] = (m.bytes(kind)[:4].ljust(4, b"a"), inner)
        case 3 if kind == b"IDAT":
            chunks[at] = (kind, zlib.compress(m.bytes(zlib.decompress(inner)), 1))
        case _:
            chunks[at] = (kind, m.bytes(inner))
    made = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return content[:8] + b"".join(made)
