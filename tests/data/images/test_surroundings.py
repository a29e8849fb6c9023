import importlib.machinery
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from lagvis.data.datasets import load_dataset
from lagvis.data.images import surroundings
from lagvis.data.images.filters import label_components
from lagvis.data.images.mnist_style import CLUTTERED, EMPTY_FRAME, SEVERAL, SPECKS, to_mnist_style
from lagvis.data.images.surroundings import FRAME, RIM, RULED, SHADOW, UNDERLINE, remove_surroundings

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "make-image-table"


@pytest.fixture(scope="module")
def table():
    """Return scripts/make-image-table as a module, which draws digits on paper."""
    loader = importlib.machinery.SourceFileLoader("make_image_table", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits():
    """Return a 0, a 1, a 4 and a 7 (4, 28, 28): a ring and straight strokes."""
    test = load_dataset("mnist")
    return np.stack([test.x_test[np.flatnonzero(test.y_test == label)[1]] for label in (0, 1, 4, 7)]).reshape(
        -1, 28, 28
    )


def as_grey(image):
    return np.asarray(image.convert("L"))


def overlap(a, b):
    """Return the correlation of two prepared pictures, at the shift of one pixel at most that fits best."""
    shifts = [np.roll(a, (i, j), (0, 1)).ravel() for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return max(np.corrcoef(shifted, b.ravel())[0, 1] for shifted in shifts)


def test_label_components_equals_scipy():
    rng = np.random.default_rng(0)
    for _ in range(100):
        mask = rng.random(rng.integers(1, 30, 2)) < rng.choice([0.2, 0.4, 0.6, 0.9])
        for diagonal in (True, False):
            labels, count = label_components(mask, diagonal=diagonal)
            expected, expected_count = ndimage.label(mask, np.ones((3, 3)) if diagonal else None)
            assert count == expected_count
            assert len({*zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True)}) == len(
                np.unique(expected)
            )


@pytest.mark.parametrize(
    ("case", "note"),
    [
        ("in a thin frame", FRAME),
        ("in a thick frame", FRAME),
        ("in a dashed frame", FRAME),
        ("in a rounded frame", FRAME),
        ("in a frame that is open on one side", FRAME),
        ("on squared paper, grey lines", RULED),
        ("on squared paper, blue lines", RULED),
        ("on squared paper, dark lines", RULED),
        ("on ruled paper, dark lines", RULED),
        ("black rim of a scan", RIM),
        ("a sheet on a dark table", RIM),
        ("shadow of a hand", SHADOW),
        ("framed on squared paper", FRAME),
        ("photograph of squared paper, turned by 2 degrees", RULED),
        ("framed, on a dark table", FRAME),
        ("ruled paper, with the black rim of a scan", RIM),
    ],
)
def test_to_mnist_style_digit_in_surroundings_equals_digit_alone(table, digits, case, note):
    for label, digit in enumerate(digits):
        prepared = to_mnist_style(as_grey(table.CASES[case](digit)))
        assert note in prepared.notes, label
        assert not prepared.blank, label
        assert overlap(prepared.pixels, to_mnist_style(as_grey(table.on_paper(digit))).pixels) > 0.85, label


def test_remove_surroundings_keeps_digits_alone(table, digits):
    """A 1 and a 7 are straight strokes, a 0 is a closed ring: none of them is a line or a frame."""
    mnist = load_dataset("mnist").x_test[:150].reshape(-1, 28, 28)
    for grey in (*mnist, *(255 - mnist[:40])):
        kept = remove_surroundings(grey.astype(np.float64))
        assert kept.notes == ()
        np.testing.assert_array_equal(kept.g, grey)
    for digit in digits:
        for image in (table.on_paper(digit), table.cropped(digit), table.pasted(digit, 2, (10, 70))):
            assert remove_surroundings(as_grey(image).astype(np.float64)).notes == ()


def test_remove_surroundings_one_cropped_to_a_bar_is_kept():
    bar = np.full((200, 70), 255.0)
    bar[:, 20:50] = 0
    assert remove_surroundings(bar).notes == ()


def test_to_mnist_style_underlined_digit(table, digits):
    for digit in digits:
        sheet = table.on_paper(digit)
        ImageDraw.Draw(sheet).line((100, 312, 310, 306), 30, 5)
        prepared = to_mnist_style(as_grey(sheet))
        assert UNDERLINE in prepared.notes
        assert overlap(prepared.pixels, to_mnist_style(as_grey(table.on_paper(digit))).pixels) > 0.85


def test_to_mnist_style_small_stain_is_removed_and_text_is_doubted(table, digits):
    stained, written = table.on_paper(digits[2]), table.on_paper(digits[2])
    ImageDraw.Draw(stained).ellipse((340, 30, 350, 40), 40)
    ImageDraw.Draw(written).text((20, 335), "Number of persons", 40, font_size=36)
    prepared = to_mnist_style(as_grey(stained))
    assert SPECKS in prepared.notes
    assert not prepared.blank
    prepared = to_mnist_style(as_grey(written))
    assert prepared.notes[-1] == CLUTTERED
    assert prepared.blank


def test_to_mnist_style_frame_without_one_digit_has_no_answer(table, digits):
    empty = table.framed(Image.new("L", (400, 400), 255), "plain", 4)
    two = Image.new("L", (400, 400), 255)
    for at, digit in zip((75, 200), digits[2:4], strict=True):
        two.paste(table.inverted(digit).resize((120, 120)), (at, 120))
    for sheet, note in ((empty, EMPTY_FRAME), (table.framed(two, "plain", 4), SEVERAL)):
        prepared = to_mnist_style(as_grey(sheet))
        assert prepared.notes[-1] == note
        assert prepared.blank


def test_remove_surroundings_many_slanted_lines_take_bounded_work(monkeypatch):
    """Lines at every angle are many sides of many rectangles: only the longest are tried."""
    tried = []
    original = surroundings.Line.extent
    monkeypatch.setattr(surroundings.Line, "extent", lambda line: tried.append(line) or original(line))
    rng = np.random.default_rng(1)
    sheet = Image.new("L", (400, 400), 255)
    for _ in range(150):
        ImageDraw.Draw(sheet).line(tuple(rng.integers(0, 400, 4).tolist()), 0, 1)
    remove_surroundings(np.asarray(sheet).astype(np.float64))
    assert len(tried) <= 8 * surroundings.MAX_SIDES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("side", "rim"), [(5, 1), (6, 1), (8, 2)])
def test_to_mnist_style_sheet_a_few_pixels_wide_on_a_rim_gives_no_warning(side, rim):
    grey = np.zeros((side, side), np.uint8)
    grey[rim : side - rim, rim : side - rim] = 255
    grey[:, side // 2] = 0
    assert to_mnist_style(grey).pixels.shape == (28, 28)


@pytest.mark.filterwarnings("error")
def test_to_mnist_style_tiny_random_images_give_no_warning():
    rng = np.random.default_rng(0)
    for _ in range(500):
        grey = np.where(rng.random(rng.integers(1, 14, 2)) < rng.random(), 255, 0).astype(np.uint8)
        to_mnist_style(grey)
