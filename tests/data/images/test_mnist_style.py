import io
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lagvis.data.datasets import load_dataset
from lagvis.data.images.filters import (
    connected_components,
)
from lagvis.data.images.image_io import read_greyscale
from lagvis.data.images.mnist_style import (
    BLANK,
    CLUTTERED,
    NOT_SEPARATED,
    SEVERAL,
    UNEVEN,
    background_shade,
    doubt_single_digit,
    is_mnist_style,
    remove_specks,
    resize,
    to_mnist_style,
)
from lagvis.errors import DataError

RNG = np.random.default_rng(5)
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def digits():
    """Return two hundred test digits (200, 28, 28)."""
    return load_dataset("mnist").x_test[:200].reshape(-1, 28, 28)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def enlarged(digit, times):
    return np.asarray(Image.fromarray(digit).resize((28 * times, 28 * times), Image.Resampling.BICUBIC))


def mean_difference(a, b):
    """Return the mean absolute difference of two uint8 images."""
    return np.abs(a.astype(int) - b.astype(int)).mean()


def test_to_mnist_style_mnist_digit_is_almost_unchanged(digits):
    prepared = [to_mnist_style(digit) for digit in digits]
    assert np.mean([mean_difference(one.pixels, digit) for one, digit in zip(prepared, digits, strict=True)]) < 0.5
    assert sum(one.notes == () for one in prepared) >= 190


def test_to_mnist_style_fits_20x20_centred_by_mass(digits):
    """The foreground fits in 20x20, has its centre of mass at index 14 and maximum 255; the background is 0."""
    canvas = np.full((200, 300), 255, np.uint8)
    canvas[40:152, 30:142] = 255 - enlarged(digits[0], 4) // 2
    picture = to_mnist_style(canvas).pixels.astype(float)
    assert picture.shape == (28, 28)
    assert (picture.min(), picture.max()) == (0, 255)
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.abs(np.array(ndimage.center_of_mass(picture)) - 14).max() <= 0.5


@pytest.mark.parametrize("place", [(2, 2), (60, 10), (10, 70)])
def test_to_mnist_style_does_not_depend_on_position(digits, place):
    for digit in digits[:20]:
        canvas = np.zeros((100, 100), np.uint8)
        canvas[place[1] : place[1] + 28, place[0] : place[0] + 28] = digit
        np.testing.assert_array_equal(to_mnist_style(canvas).pixels, to_mnist_style(np.pad(digit, 100)).pixels)


def test_to_mnist_style_does_not_depend_on_file_format(digits):
    rgba = Image.new("RGBA", (28, 28), "black")
    for digit in digits[:10]:
        expected = to_mnist_style(digit).pixels
        lying = Image.fromarray(np.rot90(digit))
        lying.getexif()[ORIENTATION] = 6
        rgba.putalpha(Image.fromarray(digit))
        white = Image.new("LA", (28, 28), 255)
        white.putalpha(Image.fromarray(digit))
        stored = {
            "inverted": (encoded(255 - digit), "inverted"),
            "stored as colour": (encoded(Image.fromarray(digit).convert("RGB")), None),
            "palette": (encoded(Image.fromarray(digit).convert("P")), None),
            "16 bits": (encoded(digit.astype(np.uint16) * 257), None),
            "16 bits, inverted": (encoded(65535 - digit.astype(np.uint16) * 257), "inverted"),
            "black digit": (encoded(rgba), "transparency shown on white"),
            "white digit": (encoded(white), "transparency shown on black"),
            "turned": (encoded(lying, exif=lying.getexif()), "turned as its EXIF says"),
            "tiff": (encoded(digit, "TIFF"), None),
        }
        for way, (content, note) in stored.items():
            grey, notes = read_greyscale(content, "x")
            prepared = to_mnist_style(grey)
            np.testing.assert_array_equal(prepared.pixels, expected, err_msg=way)
            assert note is None or note in (*notes, *prepared.notes), way


def test_to_mnist_style_faint_digit_gets_full_strength(digits):
    for digit in digits[:5]:
        assert mean_difference(to_mnist_style(digit // 4 + 90).pixels, to_mnist_style(digit).pixels) < 3


def photograph(digit, side=300):
    """Return a dark digit on a light background with noise, a brightness gradient and a diagonal shadow."""
    sheet = np.random.default_rng(3).normal(220, 3, (side, side))
    sheet[60:228, 80:248] *= 1 - 0.8 * enlarged(digit, 6) / 255
    y, x = np.mgrid[:side, :side]
    sheet *= (1 - 0.0008 * y) * (1 - 0.45 / (1 + np.exp((x + 0.4 * y - 200) / 5)))
    return sheet.clip(0, 255).round().astype(np.uint8)


def test_to_mnist_style_photograph_with_shadow(digits):
    found = []
    for digit in digits[:10]:
        prepared, mask = to_mnist_style(photograph(digit)), enlarged(digit, 6) > 64
        assert UNEVEN in prepared.notes
        cropped = re.search(r"cropped to (\d+)x(\d+)", " ".join(prepared.notes)).groups()
        assert abs(int(cropped[0]) - mask.any(axis=0).sum()) <= 6
        assert abs(int(cropped[1]) - mask.any(axis=1).sum()) <= 6
        found.append(mean_difference(prepared.pixels, to_mnist_style(enlarged(digit, 6)).pixels))
    assert np.median(found) < 2  # if the centre of mass lies between two pixels, the image may be shifted by one


def test_to_mnist_style_photograph_with_black_margin(digits):
    beside = np.zeros((300, 60), np.uint8)
    for digit in digits[:5]:
        prepared = to_mnist_style(np.hstack([photograph(digit), beside]))
        assert UNEVEN in prepared.notes
        assert mean_difference(prepared.pixels, to_mnist_style(photograph(digit)).pixels) < 2


def test_to_mnist_style_uneven_light_on_dark_background(digits):
    glow = np.linspace(0, 60, 200)[:, None].repeat(200, axis=1)
    glow[40:152, 50:162] += enlarged(digits[0], 4) * 0.7
    prepared = to_mnist_style(glow.round().astype(np.uint8))
    assert UNEVEN in prepared.notes
    assert "inverted" not in prepared.notes
    assert mean_difference(prepared.pixels, to_mnist_style(enlarged(digits[0], 4)).pixels) < 8


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((28, 28)),
        np.full((28, 28), 255),
        np.full((1, 1), 77),
        np.full((50, 3), 128),
        np.array([[0, 15]]),
        RNG.normal(200, 4, (200, 200)),
        RNG.normal(1, 1, (1, 300)).clip(0),
    ],
)
def test_to_mnist_style_blank_image(picture):
    prepared = to_mnist_style(picture.astype(np.uint8))
    assert prepared.blank
    assert prepared.notes == (BLANK,)
    assert not prepared.pixels.any()


def test_to_mnist_style_noise_is_blank_but_not_empty():
    prepared = to_mnist_style(RNG.integers(0, 256, (100, 100), dtype=np.uint8))
    assert prepared.blank
    assert prepared.notes == (NOT_SEPARATED,)


@pytest.mark.parametrize("side", [28, 200])
@pytest.mark.parametrize("light", [True, False])
def test_to_mnist_style_cropped_digit_equals_digit_with_margin(digits, side, light):
    """A 1 that fills its box is excluded: its background is ambiguous."""
    alike = 0
    for digit in digits[:60]:
        rows, columns = (np.flatnonzero((digit > 50).any(axis=axis)) for axis in (1, 0))
        box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        h, w = (max(1, round(side * length / max(box.shape))) for length in box.shape)
        grey = np.asarray(Image.fromarray(box).resize((w, h), Image.Resampling.BILINEAR))
        prepared = to_mnist_style(grey if light else 255 - grey)
        alike += (
            mean_difference(prepared.pixels, to_mnist_style(digit).pixels) < 25
            and ("inverted" in prepared.notes) is not light
        )
        assert not prepared.blank
    assert alike >= 59


def test_to_mnist_style_foreground_of_any_proportions():
    for shape, fits in (((1, 200), (1, 20)), ((200, 1), (20, 1)), ((1, 1), (20, 20)), ((3, 40), (2, 20))):
        canvas = np.zeros((300, 300), np.uint8)
        canvas[4 : 4 + shape[0], 90 : 90 + shape[1]] = 255
        picture = to_mnist_style(canvas).pixels
        assert (picture.any(axis=1).sum(), picture.any(axis=0).sum()) == fits


def test_to_mnist_style_two_digits_are_noted(digits):
    for i in range(0, 40, 2):
        canvas = np.zeros((40, 70), np.uint8)
        canvas[6:34, 2:30], canvas[6:34, 35:63] = digits[i], digits[i + 1]
        prepared = to_mnist_style(canvas)
        assert SEVERAL in prepared.notes, i
        assert prepared.blank
    assert not any(SEVERAL in to_mnist_style(digit).notes for digit in digits)


def test_to_mnist_style_large_image():
    canvas = np.full((5000, 5000), 230, np.uint8)
    canvas[1000:3000, 2400:2600] = 10
    assert to_mnist_style(canvas).notes == ("inverted", "cropped to 200x2000 of 5000x5000", "fitted to 2x20", "centred")


def test_doubt_single_digit_separates_by_columns_and_rows():
    mask = np.zeros((10, 20), bool)
    mask[:, 2] = mask[0, 2:9] = mask[3:, 6] = True  # two components whose columns overlap
    assert (len(connected_components(mask)[0]), doubt_single_digit(mask)) == (2, "")
    mask[:, 15] = True
    assert doubt_single_digit(mask) == SEVERAL
    mask[5:, 15] = False
    assert doubt_single_digit(mask) == SEVERAL
    mask[3:, 15] = False
    assert doubt_single_digit(mask) == ""
    below = np.zeros((20, 8), bool)
    below[:9, :7] = below[12:, :7] = True
    assert doubt_single_digit(below) == CLUTTERED


def test_doubt_single_digit_part_inside_another_is_clutter():
    mask = np.zeros((40, 40), bool)
    mask[0] = mask[:, 0] = mask[39] = mask[:20, 39] = True
    assert doubt_single_digit(mask) == ""
    mask[10:30, 20] = True
    assert doubt_single_digit(mask) == CLUTTERED


def test_remove_specks_keeps_large_components():
    mask = np.zeros((300, 200), bool)
    mask[50:250, 90:110] = True
    mask[20:60, 30:50] = True  # a part of the same digit, of a fifth of its size
    expected = mask.copy()
    mask[5:15, 150:160] = True
    mask[280:, 20:180] = True  # large, and at the edge
    np.testing.assert_array_equal(remove_specks(mask) & mask, expected)


def test_resize_notes_sizes():
    picture = np.repeat(np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8), 3, axis=0), 3, axis=1)
    prepared = resize(picture, (8, 8))
    np.testing.assert_array_equal(prepared.pixels, picture[::3, ::3])
    assert prepared.notes == ("resized from 24x24 to 8x8",)
    assert resize(picture, (24, 24)).notes == ()
    assert resize(picture, (8, 4)).notes == ("resized from 24x24 to 4x8, proportions changed",)


def test_to_mnist_style_damaged_files_raise_data_error_only(digits):
    """Change, remove and duplicate bytes at random in every format."""
    rng = np.random.default_rng(1)
    image = Image.fromarray(digits[0])
    whole = [encoded(image, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")] + [
        encoded(image.convert(mode)) for mode in ("P", "RGBA", "1", "LA")
    ]
    good, refused = 0, []
    for i in range(660):
        content = bytearray(whole[i % len(whole)])
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(len(content))] = rng.integers(256)
        if i % 3 == 0:
            del content[rng.integers(len(content)) :]
        try:
            prepared = to_mnist_style(read_greyscale(bytes(content), "x")[0])
        except DataError as error:
            refused.append(str(error))
        else:
            good += 1
            assert prepared.pixels.shape == (28, 28)
    assert good > 0
    assert len(refused) > 0
    assert all(message.startswith("x ") for message in refused)


def test_is_mnist_style_only_for_mnist_like_images(digits):
    assert is_mnist_style(digits)
    blank = np.zeros_like(digits)
    for others in (
        255 - digits,
        np.roll(digits, 2, axis=1),
        np.pad(digits, ((0, 0), (0, 2), (0, 0)))[:, 2:],
        digits[:, ::-1, ::2].repeat(2, axis=2) | 1,
        blank,
        digits[:, :20],
        digits.transpose(0, 2, 1)[:, 4:24, 4:24].repeat(2, axis=1).repeat(2, axis=2)[:, 6:34, 6:34],
    ):
        assert not is_mnist_style(others)
    few = np.concatenate([digits, blank])
    assert is_mnist_style(few[: len(digits) + 1])
    assert not is_mnist_style(few)


def test_background_shade_is_median_of_borders(digits):
    assert background_shade(digits) == 0
    assert background_shade(255 - digits) == 255
    assert background_shade(np.full((2, 3, 5), 90, np.uint8)) == 90
