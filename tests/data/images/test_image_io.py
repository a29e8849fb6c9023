import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from lagvis.data.datasets import load_dataset
from lagvis.data.images.image_io import read_greyscale
from lagvis.data.images.mnist_style import to_mnist_style
from lagvis.errors import DataError

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def digit():
    """Return the first test digit (28, 28)."""
    return load_dataset("mnist").x_test[0].reshape(28, 28)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def test_read_greyscale_one_bit_scan_may_be_highly_compressed(digit):
    sheet = Image.new("1", (4960, 7016), 1)
    sheet.paste(Image.fromarray(255 - digit).resize((560, 560)).convert("1", dither=Image.Dither.NONE), (900, 900))
    content = encoded(sheet, "TIFF", compression="group4")
    assert len(content) < 5000
    grey, _ = read_greyscale(content, "scan.tif")
    assert np.abs(to_mnist_style(grey).pixels.astype(int) - digit).mean() < 25
    with pytest.raises(DataError, match="claims 4,960x7,316 pixels"):
        read_greyscale(encoded(Image.new("1", (4960, 7316), 1), "TIFF", compression="group4"), "scan.tif")


def test_read_greyscale_notes_visible_colour(digit):
    blue = Image.new("RGB", (28, 28), (250, 240, 200))
    blue.paste((20, 30, 120), mask=Image.fromarray(digit))
    photo = io.BytesIO()
    Image.fromarray(np.asarray(digit)).convert("RGB").save(photo, "JPEG", quality=60)
    assert read_greyscale(encoded(blue), "x")[1] == ["colour converted to grey"]
    assert read_greyscale(photo.getvalue(), "x")[1] == []


PNG = encoded(RNG.integers(0, 256, (20, 20), dtype=np.uint8))


def with_header_side(side):
    """Return the PNG with another size in its header."""
    head = b"IHDR" + side.to_bytes(4, "big") * 2 + PNG[24:29]
    return PNG[:12] + head + zlib.crc32(head).to_bytes(4, "big") + PNG[33:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "x.png is not a picture (it is empty)"),
        (b"a poem, renamed", "x.png is not a picture (its first bytes are 61 20 70 6f)"),
        (PNG[:-80], "x.png cannot be read as a picture"),
        (PNG[:20] + b"\xff" + PNG[21:], "x.png"),
        (with_header_side(60000), "x.png has more than 67,108,864 pixels"),
        (with_header_side(9000), "x.png has 9,000x9,000 pixels"),
        (encoded(RNG.random((4, 4)).astype(np.float32), "TIFF"), "has 32 bits per pixel"),
    ],
)
def test_read_greyscale_invalid_image_raises_data_error(content, words):
    with pytest.raises(DataError) as caught:
        read_greyscale(content, "x.png")
    assert words in str(caught.value)


HEIC = bytes.fromhex("00000018") + b"ftypheic" + bytes(400)
WHITE = Image.new("L", (28, 28), 255)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEIC, "x.jpg is a HEIC picture; send it as JPEG, or choose Most Compatible"),
        (bytes.fromhex("0000001c") + b"ftypmif1" + bytes(4) + b"mif1heicmiaf" + bytes(40), "a HEIC picture"),
        (bytes.fromhex("00000014") + b"ftypmif1" + bytes(4) + b"mif1" + b"heic", "a HEIF picture"),
        (bytes.fromhex("0000001c") + b"ftypmif1" + bytes(4) + b"avifmiafMA1B" + bytes(40), "an AVIF picture"),
        (bytes.fromhex("00000018") + b"ftypcrx " + bytes(40), "a raw photograph"),
        (bytes.fromhex("00000014") + b"ftypqt  " + bytes(40), "a video"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(200), "a raw photograph"),
        (encoded(WHITE, "TIFF", tiffinfo={254: 1}), "a raw photograph"),
        (encoded(WHITE, "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "a raw photograph"),
        (b"\xff\x0a" + bytes(99), "a JPEG XL picture; save it as PNG"),
        (bytes.fromhex("0000000c4a584c200d0a870a"), "a JPEG XL picture; save it as PNG"),
        (encoded(WHITE, "PDF"), "not a picture but a PDF; export the page as PNG"),
        (b"<?xml version='1.0'?>\n<!-- by hand -->\n<svg/>", "an SVG drawing; export it as PNG"),
        (b"\xef\xbb\xbf<svg/>", "an SVG drawing; export it as PNG"),
        (b"<!DOCTYPE html><p>404", "not a picture but a web page"),
        (b"PK\3\4" + bytes(30), "not a picture but a zip archive"),
    ],
)
def test_read_greyscale_other_format_is_named_by_its_bytes(content, words):
    with pytest.raises(DataError) as caught:
        read_greyscale(content, "x.jpg")
    assert words in str(caught.value)


# Found by fuzzing (docs/fuzzing.md).
def test_read_greyscale_too_many_pixels_for_file_raises_data_error(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    header = struct.pack(">II", 8_092_936, 8) + content[24:29]
    wide = content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]
    with pytest.raises(DataError, match=r"claims 8,092,936x8 pixels in \d+ bytes"):
        read_greyscale(wide, "a.png")


def test_read_greyscale_one_bit_with_too_many_rows_raises_data_error():
    content = encoded(Image.new("1", (8, 8), 1))
    header = b"IHDR" + struct.pack(">II", 8, 4_400_000) + content[24:29]
    with pytest.raises(DataError, match="claims 8x4,400,000 pixels"):
        read_greyscale(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:], "x")


def test_import_image_io_leaves_loggers_untouched():
    code = (
        "import logging, lagvis.data.images.image_io; "
        "assert not logging.getLogger('PIL').handlers and not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_image_pillow_log_stays_off_stderr():
    """Python prints log records of level WARNING and above on stderr if no handler is set."""
    code = (
        "import io, logging; from PIL import Image; from lagvis.data.images.image_io import open_image\n"
        "file = io.BytesIO(); Image.new('L', (2, 2)).save(file, 'PNG')\n"
        "with open_image(file.getvalue(), 'a.png'):\n"
        "    logging.getLogger('PIL.PngImagePlugin').warning('one word')\n"
        "logging.getLogger('PIL.PngImagePlugin').warning('another')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == "another\n"
