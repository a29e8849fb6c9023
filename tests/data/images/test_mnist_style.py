import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lagvis.data.datasets import load_dataset
from lagvis.data.images.filters import (
    connected_components,
    downsample,
    max_filter,
    min_filter,
    resample,
    resample_matrix,
)
from lagvis.data.images.image_io import read_greyscale
from lagvis.data.images.mnist_style import (
    BLANK,
    SEVERAL,
    UNEVEN,
    background_shade,
    count_digits,
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
    """Two hundred test digits (200, 28, 28)."""
    return load_dataset("mnist").x_test[:200].reshape(-1, 28, 28)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def enlarged(digit, times):
    return np.asarray(Image.fromarray(digit).resize((28 * times, 28 * times), Image.Resampling.BICUBIC))


def apart(a, b):
    """The mean absolute difference of two pictures in bytes."""
    return np.abs(a.astype(int) - b.astype(int)).mean()


def test_a_digit_of_mnist_comes_back_nearly_itself(digits):
    seen = [to_mnist_style(digit) for digit in digits]
    assert np.mean([apart(one.pixels, digit) for one, digit in zip(seen, digits, strict=True)]) < 0.5
    assert sum(one.notes == () for one in seen) >= 190


def test_what_comes_out_is_as_mnist_was_made(digits):
    """Ink in 20x20, its centre of mass at index 14, full strength on nothing."""
    canvas = np.full((200, 300), 255, np.uint8)
    canvas[40:152, 30:142] = 255 - enlarged(digits[0], 4) // 2
    picture = to_mnist_style(canvas).pixels.astype(float)
    assert picture.shape == (28, 28)
    assert (picture.min(), picture.max()) == (0, 255)
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.abs(np.array(ndimage.center_of_mass(picture)) - 14).max() <= 0.5


@pytest.mark.parametrize("place", [(2, 2), (60, 10), (10, 70)])
def test_the_place_on_the_paper_changes_nothing(digits, place):
    for digit in digits[:20]:
        canvas = np.zeros((100, 100), np.uint8)
        canvas[place[1] : place[1] + 28, place[0] : place[0] + 28] = digit
        np.testing.assert_array_equal(to_mnist_style(canvas).pixels, to_mnist_style(np.pad(digit, 100)).pixels)


def test_ways_to_store_a_picture_that_change_nothing(digits):
    rgba = Image.new("RGBA", (28, 28), "black")
    for digit in digits[:10]:
        wanted = to_mnist_style(digit).pixels
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
            "black ink": (encoded(rgba), "transparency shown on white"),
            "white ink": (encoded(white), "transparency shown on black"),
            "turned": (encoded(lying, exif=lying.getexif()), "turned as its EXIF says"),
            "tiff": (encoded(digit, "TIFF"), None),
        }
        for way, (content, note) in stored.items():
            grey, notes = read_greyscale(content, "x")
            seen = to_mnist_style(grey)
            np.testing.assert_array_equal(seen.pixels, wanted, err_msg=way)
            assert note is None or note in (*notes, *seen.notes), way


def test_faint_ink_is_made_full(digits):
    for digit in digits[:5]:
        assert apart(to_mnist_style(digit // 4 + 90).pixels, to_mnist_style(digit).pixels) < 3


def photograph(digit, side=300):
    """Dark ink on light paper with noise, light that falls off, and a slanting shadow."""
    sheet = np.random.default_rng(3).normal(220, 3, (side, side))
    sheet[60:228, 80:248] *= 1 - 0.8 * enlarged(digit, 6) / 255
    y, x = np.mgrid[:side, :side]
    sheet *= (1 - 0.0008 * y) * (1 - 0.45 / (1 + np.exp((x + 0.4 * y - 200) / 5)))
    return sheet.clip(0, 255).round().astype(np.uint8)


def test_a_sheet_with_a_shadow_is_read_as_without(digits):
    found = []
    for digit in digits[:10]:
        seen, ink = to_mnist_style(photograph(digit)), enlarged(digit, 6) > 64
        assert UNEVEN in seen.notes
        cropped = re.search(r"cropped to (\d+)x(\d+)", " ".join(seen.notes)).groups()
        assert abs(int(cropped[0]) - ink.any(axis=0).sum()) <= 6
        assert abs(int(cropped[1]) - ink.any(axis=1).sum()) <= 6
        found.append(apart(seen.pixels, to_mnist_style(enlarged(digit, 6)).pixels))
    assert np.median(found) < 2  # where the centre of mass lies between two pixels, a picture can land one beside


def test_a_sheet_with_black_beside_it(digits):
    beside = np.zeros((300, 60), np.uint8)
    for digit in digits[:5]:
        seen = to_mnist_style(np.hstack([photograph(digit), beside]))
        assert UNEVEN in seen.notes
        assert apart(seen.pixels, to_mnist_style(photograph(digit)).pixels) < 2


def test_uneven_light_on_dark_paper_too(digits):
    glow = np.linspace(0, 60, 200)[:, None].repeat(200, axis=1)
    glow[40:152, 50:162] += enlarged(digits[0], 4) * 0.7
    seen = to_mnist_style(glow.round().astype(np.uint8))
    assert UNEVEN in seen.notes
    assert "inverted" not in seen.notes
    assert apart(seen.pixels, to_mnist_style(enlarged(digits[0], 4)).pixels) < 8


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
def test_blank_paper_is_said_to_be_blank(picture):
    seen = to_mnist_style(picture.astype(np.uint8))
    assert seen.blank
    assert seen.notes == (BLANK,)
    assert not seen.pixels.any()


@pytest.mark.parametrize("side", [28, 200])
@pytest.mark.parametrize("light", [True, False])
def test_a_digit_cut_out_along_its_ink_is_as_with_its_paper(digits, side, light):
    """But for a 1 that fills its box: which shade is the paper of that, nobody can tell."""
    alike = 0
    for digit in digits[:60]:
        rows, columns = (np.flatnonzero((digit > 50).any(axis=axis)) for axis in (1, 0))
        box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        h, w = (max(1, round(side * length / max(box.shape))) for length in box.shape)
        grey = np.asarray(Image.fromarray(box).resize((w, h), Image.Resampling.BILINEAR))
        seen = to_mnist_style(grey if light else 255 - grey)
        alike += apart(seen.pixels, to_mnist_style(digit).pixels) < 25 and ("inverted" in seen.notes) is not light
        assert not seen.blank
    assert alike >= 59


def test_a_scan_of_one_bit_may_be_packed_tightly(digits):
    sheet = Image.new("1", (4960, 7016), 1)
    sheet.paste(Image.fromarray(255 - digits[0]).resize((560, 560)).convert("1", dither=Image.Dither.NONE), (900, 900))
    content = encoded(sheet, "TIFF", compression="group4")
    assert len(content) < 5000
    grey, _ = read_greyscale(content, "scan.tif")
    assert apart(to_mnist_style(grey).pixels, digits[0]) < 25
    with pytest.raises(DataError, match="claims 4,960x7,316 pixels"):
        read_greyscale(encoded(Image.new("1", (4960, 7316), 1), "TIFF", compression="group4"), "scan.tif")


def test_colour_is_told_where_there_is_some(digits):
    ink = Image.new("RGB", (28, 28), (250, 240, 200))
    ink.paste((20, 30, 120), mask=Image.fromarray(digits[0]))
    photo = io.BytesIO()
    Image.fromarray(np.asarray(digits[0])).convert("RGB").save(photo, "JPEG", quality=60)
    assert read_greyscale(encoded(ink), "x")[1] == ["colour converted to grey"]
    assert read_greyscale(photo.getvalue(), "x")[1] == []


def test_ink_of_any_form_fits():
    for shape, fits in (((1, 200), (1, 20)), ((200, 1), (20, 1)), ((1, 1), (20, 20)), ((3, 40), (2, 20))):
        canvas = np.zeros((300, 300), np.uint8)
        canvas[4 : 4 + shape[0], 90 : 90 + shape[1]] = 255
        picture = to_mnist_style(canvas).pixels
        assert (picture.any(axis=1).sum(), picture.any(axis=0).sum()) == fits


def test_two_digits_are_said(digits):
    for i in range(0, 40, 2):
        canvas = np.zeros((40, 70), np.uint8)
        canvas[6:34, 2:30], canvas[6:34, 35:63] = digits[i], digits[i + 1]
        assert SEVERAL in to_mnist_style(canvas).notes, i
    assert not any(SEVERAL in to_mnist_style(digit).notes for digit in digits)


def test_five_thousand_pixels_square():
    canvas = np.full((5000, 5000), 230, np.uint8)
    canvas[1000:3000, 2400:2600] = 10
    assert to_mnist_style(canvas).notes == ("inverted", "cropped to 200x2000 of 5000x5000", "fitted to 2x20", "centred")


def test_parts_are_those_of_scipy():
    for _ in range(20):
        ink = RNG.random((30, 25)) < 0.3
        labels, count = ndimage.label(ink, np.ones((3, 3)))
        parts, k = connected_components(ink)
        assert k == 1
        assert {frozenset(part) for part in parts} == {
            frozenset(map(tuple, np.argwhere(labels == n + 1).tolist())) for n in range(count)
        }


def test_digits_stand_apart_by_their_columns():
    ink = np.zeros((10, 20), bool)
    ink[:, 2] = ink[0, 2:9] = ink[3:, 6] = True  # two parts, one in the columns of the other
    assert (len(connected_components(ink)[0]), count_digits(ink)) == (2, 1)
    ink[:, 15] = True
    assert count_digits(ink) == 2
    ink[5:, 15] = False
    assert count_digits(ink) == 2
    ink[3:, 15] = False
    assert count_digits(ink) == 1


def test_specks_are_dropped():
    ink = np.zeros((300, 200), bool)
    ink[50:250, 90:110] = True
    ink[20:60, 30:50] = True  # of the same digit, a fifth of it
    wanted = ink.copy()
    ink[5:15, 150:160] = True
    ink[280:, 20:180] = True  # large, on the edge
    np.testing.assert_array_equal(remove_specks(ink) & ink, wanted)


def test_windows_are_those_of_scipy():
    g = RNG.random((17, 23))
    for r in (1, 2, 3, 7):
        np.testing.assert_array_equal(max_filter(g, r), ndimage.maximum_filter(g, 2 * r + 1, mode="nearest"))
        np.testing.assert_array_equal(min_filter(g, r), ndimage.minimum_filter(g, 2 * r + 1, mode="nearest"))


@pytest.mark.parametrize("new", [(20, 20), (7, 20), (40, 3), (100, 100)])
def test_each_new_pixel_is_the_mean_of_its_area(new):
    """Repeated so often that old and new pixels share a grid, all is blocks of one size."""
    v = RNG.random((30, 22))
    tall = v.repeat(new[0], axis=0).repeat(new[1], axis=1)
    blocks = tall.reshape(new[0], 30, new[1], 22).mean(axis=(1, 3))
    np.testing.assert_allclose(resample(v, *new), blocks, rtol=1e-12)
    np.testing.assert_allclose(resample_matrix(30, new[0]).sum(axis=1), 1, rtol=1e-12)


def test_a_reduced_picture_is_that_of_pillow():
    picture = RNG.integers(0, 256, (2501, 1900), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(picture.astype(np.float32)).reduce(3))
    np.testing.assert_allclose(downsample(picture), wanted, rtol=1e-6)


def test_another_size_is_made_and_said():
    picture = np.repeat(np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8), 3, axis=0), 3, axis=1)
    seen = resize(picture, (8, 8))
    np.testing.assert_array_equal(seen.pixels, picture[::3, ::3])
    assert seen.notes == ("resized from 24x24 to 8x8",)
    assert resize(picture, (24, 24)).notes == ()
    assert resize(picture, (8, 4)).notes == ("resized from 24x24 to 4x8, proportions changed",)


PNG = encoded(RNG.integers(0, 256, (20, 20), dtype=np.uint8))


def promising(side):
    """The PNG with another size in its header."""
    head = b"IHDR" + side.to_bytes(4, "big") * 2 + PNG[24:29]
    return PNG[:12] + head + zlib.crc32(head).to_bytes(4, "big") + PNG[33:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "x.png is not a picture (it is empty)"),
        (b"a poem, renamed", "x.png is not a picture (its first bytes are 61 20 70 6f)"),
        (PNG[:-80], "x.png cannot be read as a picture"),
        (PNG[:20] + b"\xff" + PNG[21:], "x.png"),
        (promising(60000), "x.png has more than 67,108,864 pixels"),
        (promising(9000), "x.png has 9,000x9,000 pixels"),
        (encoded(RNG.random((4, 4)).astype(np.float32), "TIFF"), "has 32 bits per pixel"),
    ],
)
def test_what_is_no_picture_is_a_sentence(content, words):
    with pytest.raises(DataError) as caught:
        read_greyscale(content, "x.png")
    assert words in str(caught.value)


def test_damaged_pictures_raise_our_own_error_alone(digits):
    """Bytes changed, cut and doubled at random in every format."""
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
            seen = to_mnist_style(read_greyscale(bytes(content), "x")[0])
        except DataError as error:
            refused.append(str(error))
        else:
            good += 1
            assert seen.pixels.shape == (28, 28)
    assert good > 0
    assert len(refused) > 0
    assert all(sentence.startswith("x ") for sentence in refused)


# What fuzzing found (docs/fuzzing.md).
def test_a_header_of_more_pixels_than_its_file_can_hold_is_refused_before_one_is_made(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    header = struct.pack(">II", 8_092_936, 8) + content[24:29]
    wide = content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]
    with pytest.raises(DataError, match=r"claims 8,092,936x8 pixels in \d+ bytes"):
        read_greyscale(wide, "a.png")


def test_digits_made_as_mnists_are_known_by_how_they_are_made(digits):
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


def test_the_paper_is_the_shade_at_the_edges(digits):
    assert background_shade(digits) == 0
    assert background_shade(255 - digits) == 255
    assert background_shade(np.full((2, 3, 5), 90, np.uint8)) == 90


def test_a_page_of_one_bit_takes_no_eight_bytes_a_pixel():
    page = np.zeros((3000, 4000), np.uint8)
    tracemalloc.start()
    downsample(page)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * page.size


def test_one_bit_in_rows_without_end_is_refused():
    content = encoded(Image.new("1", (8, 8), 1))
    header = b"IHDR" + struct.pack(">II", 8, 4_400_000) + content[24:29]
    with pytest.raises(DataError, match="claims 8x4,400,000 pixels"):
        read_greyscale(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:], "x")
