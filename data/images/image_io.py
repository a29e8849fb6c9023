"""Open image files safely and turn them into shades of grey (H, W) uint8.

Sizes are checked by the header before a pixel is decoded; whatever a decoder raises becomes a DataError.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lagvis.data.files import stderr_to_null
from lagvis.data.images.filters import MAX_SIDE
from lagvis.data.signatures import RAW_PHOTOGRAPH, SIGNATURE_BYTES, identify_other_than_picture, identify_picture
from lagvis.errors import DataError

if TYPE_CHECKING:  # Pillow is imported where a picture is opened: every command imports this module at its start
    from PIL import Image

# Formats that Pillow decodes by itself: EPS, for one, would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SIGNATURES = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
    *(b"II*\0", b"MM\0*"),
)
MAX_PIXELS = 2**26  # what the largest cameras take
# deflate shrinks by about 1032 to 1 at most, and a byte holds eight pixels at most; small images may be one colour
MAX_PIXELS_PER_BYTE, ALWAYS_ALLOWED_PIXELS = 8 * 1032, 2**22
ONE_BIT_PIXELS = 36_000_000  # A4 scanned at 600 dots an inch, which the codes of fax machines pack into very little
MAX_ONE_BIT_SIDE = 2**14  # Pillow keeps an address for each row
MAX_IMAGE_BYTES = 2**28  # of one file
EXIF_ORIENTATION = 0x0112  # 5 to 8 exchange rows and columns
MAX_CHANNEL_DIFFERENCE = 8  # shades by which the channels of a grey JPEG may differ
NEW_SUBFILE_TYPE, DNG_VERSION = 254, 50706  # TIFF tags
MIN_CONTRAST = 16  # shades: below, nothing would be seen of a transparent image on white


@contextmanager
def open_image(content: bytes, name: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator["Image.Image"]:
    """Open the image in the bytes of a file, not decoded yet; DataError names the file for every error inside.

    More than `max_pixels`, or more than `content` can hold, is refused by the header.
    """
    from PIL import Image

    if other := identify_picture(content[:SIGNATURE_BYTES]):
        raise DataError(f"{name} is {other}")
    try:
        with warnings.catch_warnings(), pillow_log_discarded():
            warnings.simplefilter("ignore")  # about metadata that is not used
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise DataError(
                        f"{name} has {width:,}x{height:,} pixels; expected {max_pixels:,} at most; make it smaller"
                    )
                is_scan = image.mode == "1" and max(width, height) <= MAX_ONE_BIT_SIDE
                allowed = ONE_BIT_PIXELS if is_scan else ALWAYS_ALLOWED_PIXELS
                if width * height > max(allowed, MAX_PIXELS_PER_BYTE * len(content)):
                    raise DataError(
                        f"{name} claims {width:,}x{height:,} pixels in {len(content):,} bytes, more than they can "
                        "hold; save it again or remove it"
                    )
                if image.format == "TIFF" and is_preview(image):
                    raise DataError(f"{name} is {RAW_PHOTOGRAPH}")
                if image.format in ("GIF", "PNG", "TIFF", "WEBP") and getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{name} holds several pictures; expected one per file")
                with stderr_to_null() if image.format == "TIFF" else nullcontext():
                    yield image
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{name} has more than {max_pixels:,} pixels; make it smaller") from None
    except Image.UnidentifiedImageError:
        if has_image_signature(content):
            raise DataError(
                f"{name} begins like a picture but cannot be decoded; it may be cut off: save it again or remove it"
            ) from None
        if other := identify_other_than_picture(content[:SIGNATURE_BYTES]):
            raise DataError(f"{name} is not a picture but {other}") from None
        raise DataError(
            f"{name} is not a picture ({describe_start(content)}); remove it, or save it as PNG or JPEG"
        ) from None
    except Exception as error:  # each decoder of Pillow raises its own types for broken bytes
        raise DataError(f"{name} cannot be read as a picture ({error}); save it again or remove it") from None


@contextmanager
def pillow_log_discarded() -> Iterator[None]:
    """Keep Pillow's log records off stderr meanwhile, where Python prints them if no handler is set.

    Handlers of the program that imports Lagvis still get them.
    """
    logger, handler = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def read_image_bytes(path: Path) -> bytes:
    """Read the bytes of an image file; DataError unless it is a regular file of at most MAX_IMAGE_BYTES."""
    if not path.is_file():  # reading a pipe would block, a link may be broken
        raise DataError(f"{path} is not a regular file; remove it")
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; expected a picture of {MAX_IMAGE_BYTES:,} at most")
    return path.read_bytes()


def has_image_signature(content: bytes) -> bool:
    """Return whether bytes begin with the signature of an image format."""
    return content.startswith(SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def is_preview(image: "Image.Image") -> bool:
    """Return whether a TIFF image is the small preview with which the raw photographs of many cameras begin."""
    tags = getattr(image, "tag_v2", {})
    return DNG_VERSION in tags or bool(tags.get(NEW_SUBFILE_TYPE, 0) & 1)


def describe_start(content: bytes) -> str:
    """Describe the first bytes of a file for an error message."""
    return f"its first bytes are {content[:4].hex(' ')}" if content else "it is empty"


def has_exif_orientation(image: "Image.Image") -> bool:
    """Return whether the EXIF orientation rotates or mirrors the image for display."""
    return image.getexif().get(EXIF_ORIENTATION, 1) != 1


def apply_orientation(image: "Image.Image") -> "Image.Image":
    """Apply the EXIF orientation."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if has_exif_orientation(image) else image


def is_stored_in_colour(image: "Image.Image") -> bool:
    """Return whether the image is stored in colour."""
    return image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I")


def has_visible_colour(image: "Image.Image") -> bool:
    """Return whether the channels differ visibly, by more than JPEG makes of grey."""
    from PIL import ImageChops

    if image.mode not in ("RGB", "RGBA"):
        image = image.convert("RGB")
    small = image.reduce(-(-max(image.size) // MAX_SIDE))  # at full size a photograph would take three times its memory
    red, green, blue = small.convert("RGB").split()
    return any(ImageChops.difference(red, other).getextrema()[1] > MAX_CHANNEL_DIFFERENCE for other in (green, blue))


def to_greyscale(image: "Image.Image", name: str | Path, background: str = "white") -> np.ndarray:
    """Return (H, W) uint8: the luma of colour (ITU-R 601), 16 bits scaled to 8, transparency on `background`."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        deep = np.asarray(image).astype(np.uint32)
        return ((deep + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
    if image.mode in ("I", "F"):
        raise DataError(f"{name} has 32 bits per pixel; save it with 8 or 16 bits per pixel")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))
    if image.mode not in ("1", "L", "RGB", "RGBA"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def read_greyscale(content: bytes, name: str | Path) -> tuple[np.ndarray, list[str]]:
    """Return the bytes of an image file as upright shades of grey (H, W) uint8, and notes on what was done.

    Transparency is shown on white, as viewers do; on black where nothing would be seen on white, as of a white digit.
    DataError if it is not an image.
    """
    notes = []
    with open_image(content, name) as image:
        if has_exif_orientation(image):
            notes.append("turned as its EXIF says")
        upright = apply_orientation(image)
        if is_stored_in_colour(image) and has_visible_colour(upright):
            notes.append("colour converted to grey")
        grey = to_greyscale(upright, name)
        if upright.has_transparency_data:
            background = "white"
            if np.ptp(grey) < MIN_CONTRAST:
                background, grey = "black", to_greyscale(upright, name, "black")
            notes.append(f"transparency shown on {background}")
    return grey, notes
