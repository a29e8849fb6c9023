import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lagvis.data.datasets import load_dataset
from lagvis.data.detect import read
from lagvis.data.read_options import ReadOptions
from lagvis.errors import DataError

ROOT = Path(__file__).resolve().parent.parent.parent.parent
RNG = np.random.default_rng(11)
X = RNG.integers(0, 256, (12, 5, 9), dtype=np.uint8)


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(pixels, mode) if mode else Image.fromarray(pixels)).save(path, **options)
    return path


def folder(root, names=("cat", "dog"), each=6, pixels=X, suffix="png"):
    for i in range(each * len(names)):
        save(root / names[i // each] / f"{i % each}.{suffix}", pixels[i % len(pixels)])
    return root


def by_name(source_or_folder):
    """Return the images of a data set by the path that `where` returns."""
    source = read(source_or_folder, regression=False, options=ReadOptions())
    parts = (("training", source.x_train, source.y_train), ("test", source.x_test, source.y_test))
    return {source.row_location(part, i): (x[i], y[i]) for part, x, y in parts for i in range(len(y))}


def error_message(path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(path))
    return str(caught.value)


def test_read_image_folder_classes_by_folder_name(tmp_path):
    found = by_name(folder(tmp_path))
    assert len(found) == 12
    for i in range(12):
        pixels, label = found[str(tmp_path / ("cat", "dog")[i // 6] / f"{i % 6}.png")]
        np.testing.assert_array_equal(pixels, X[i])
        assert label == ("cat", "dog")[i // 6]
    dataset = load_dataset(str(tmp_path))
    assert dataset.shape == (5, 9)
    assert dataset.class_names == ("cat", "dog")
    assert sum("held out for the test" in line for line in dataset.all_notices) == 1


@pytest.mark.parametrize("suffix", ["bmp", "gif", "png", "pgm", "tiff", "webp"])
def test_read_image_folder_detects_format_by_content(tmp_path, suffix):
    for i in range(4):
        path = save(tmp_path / f"c{i % 2}" / f"{i}.{suffix}", X[i], **({"lossless": True} if suffix == "webp" else {}))
        path.rename(path.with_suffix(".png"))
    for i in range(4):
        pixels, _ = by_name(tmp_path)[str(tmp_path / f"c{i % 2}" / f"{i}.png")]
        assert np.abs(pixels.astype(int) - X[i]).max() <= (
            suffix == "webp"
        )  # the conversion to RGB and back may change a value by 1


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Training", "TESTING"), ("train", "val"), ("train", "valid")]
)
def test_read_image_folder_training_and_test_folders(tmp_path, train, test):
    folder(tmp_path / train)
    save(tmp_path / test / "dog" / "1.png", X[3])
    (tmp_path / test / "cat").mkdir()
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.x_train) == 12
    assert dataset.y_test.tolist() == [1]
    np.testing.assert_array_equal(dataset.x_test[0], X[3].ravel())


def test_read_image_folder_training_folder_only_and_third_folder(tmp_path):
    folder(tmp_path / "train")
    assert len(load_dataset(str(tmp_path)).x_train) + len(load_dataset(str(tmp_path)).x_test) == 12
    folder(tmp_path / "test", each=1)
    folder(tmp_path / "val", each=1)
    assert any("val is not used" in line for line in load_dataset(str(tmp_path)).notices)


def test_read_image_folder_natural_order_and_digest(tmp_path):
    for root in (tmp_path / "a", tmp_path / "b"):
        for i in list(range(12)) if root.name == "a" else list(reversed(range(12))):
            save(root / "train" / "1" / f"p{i}.png", X[i])
            save(root / "train" / "2" / f"p{i}.png", X[i])
            save(root / "test" / "1" / f"p{i}.png", X[i])
    one, two = load_dataset(str(tmp_path / "a")), load_dataset(str(tmp_path / "b"))
    np.testing.assert_array_equal(one.x_train[:12], X.reshape(12, -1))
    np.testing.assert_array_equal(one.x_train, two.x_train)
    assert list(one.sha256.values()) == list(two.sha256.values())
    (tmp_path / "b" / "train" / "1" / "p3.png").rename(tmp_path / "b" / "train" / "1" / "q3.png")
    assert list(load_dataset(str(tmp_path / "b")).sha256.values()) != list(one.sha256.values())


def grey_of(tmp_path, pixels, name="x.png", **options):
    if isinstance(pixels, Image.Image):
        (tmp_path / "a").mkdir(exist_ok=True)
        pixels.save(tmp_path / "a" / name, **options)
    else:
        save(tmp_path / "a" / name, pixels, **options)
    save(tmp_path / "b" / "y.png", np.zeros(by_size(tmp_path / "a" / name), np.uint8))
    return by_name(tmp_path)[str(tmp_path / "a" / name)][0]


def by_size(path):
    with Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return image.size if turned else image.size[::-1]


def test_read_image_folder_colour_becomes_luma_with_notice(tmp_path):
    pixels = RNG.integers(0, 256, (5, 9, 3), dtype=np.uint8)
    found = grey_of(tmp_path, pixels)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found - luma).max() <= 1
    source = read(tmp_path, regression=False, options=ReadOptions())
    assert "1 of 2 pictures are in colour" in source.notices[0]


def test_read_image_folder_transparency_becomes_white(tmp_path):
    alpha = np.array([[0, 255, 128]], np.uint8)
    for shape in ("LA", "RGBA"):
        black = Image.merge(
            shape, [Image.fromarray(np.zeros((1, 3), np.uint8))] * (len(shape) - 1) + [Image.fromarray(alpha)]
        )
        assert np.abs(grey_of(tmp_path, black).astype(int) - [[255, 0, 127]]).max() <= 1


def test_read_image_folder_palettes_and_single_bits(tmp_path):
    bits = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert grey_of(tmp_path, bits).tolist() == [[0, 255, 255]]
    palette = Image.fromarray(np.array([[0, 100, 200]], np.uint8)).convert("P")
    assert grey_of(tmp_path, palette).tolist() == [[0, 100, 200]]


def test_read_image_folder_16_bits_are_scaled(tmp_path):
    deep = np.array([[0, 65535, 32768, 257, 128, 129]], np.uint16)
    assert grey_of(tmp_path, deep).tolist() == [[0, 255, 128, 1, 0, 1]]
    assert grey_of(tmp_path, deep, "x.tiff").tolist() == [[0, 255, 128, 1, 0, 1]]


@pytest.mark.parametrize("turn", range(1, 9))
def test_read_image_folder_applies_exif_orientation(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    found = grey_of(tmp_path, X[0], exif=exif)
    turned = {
        1: X[0],
        2: X[0][:, ::-1],
        3: X[0][::-1, ::-1],
        4: X[0][::-1],
        5: X[0].T,
        6: np.rot90(X[0], -1),
        7: X[0][::-1, ::-1].T,
        8: np.rot90(X[0]),
    }
    np.testing.assert_array_equal(found, turned[turn])


def test_read_image_folder_two_sizes_raise_data_error(tmp_path):
    folder(tmp_path)
    path = save(tmp_path / "dog" / "9.png", X[0].T)
    message = error_message(tmp_path)
    assert str(path) in message
    assert "9 wide and 5 high" in message
    assert "5 wide and 9 high" in message


def test_read_image_folder_ignores_junk(tmp_path):
    folder(tmp_path)
    before = load_dataset(str(tmp_path))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7junk")
        (tmp_path / "cat" / name).write_bytes(b"\0\5\x16\7junk")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".cache" / "x").mkdir(parents=True)
    (tmp_path / "README.txt").write_text("words")
    after = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(before.x_train, after.x_train)
    assert before.sha256 == after.sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"just words", "not a picture"), (b"", "empty"), (b"\x89PNG\r\n\x1a\n", "picture"), (None, "picture")],
)
def test_read_image_folder_invalid_image_is_named(tmp_path, content, words):
    path = folder(tmp_path) / "cat" / "7.png"
    path.write_bytes((tmp_path / "cat" / "0.png").read_bytes()[:-30] if content is None else content)
    message = error_message(tmp_path)
    assert str(path) in message
    assert words in message


def test_read_image_folder_decompression_bomb_is_refused_by_header(tmp_path):
    folder(tmp_path)
    path = tmp_path / "cat" / "7.png"
    for side in (5000, 12000, 40000):
        chunks = [
            b"IHDR" + struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0),
            b"IDAT" + zlib.compress(bytes(100)),
            b"IEND",
        ]
        packed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
        message = error_message(tmp_path)
        assert str(path) in message
        assert "smaller" in message


def test_read_image_folder_too_large_for_memory_raises_data_error(tmp_path, monkeypatch):
    monkeypatch.setattr("lagvis.data.images.image_folder.memory_bytes", lambda: 500)
    assert "540 bytes" in error_message(folder(tmp_path))


def test_read_image_folder_animation_raises_data_error(tmp_path):
    folder(tmp_path)
    frames = [Image.fromarray(x) for x in X[:3]]
    frames[0].save(tmp_path / "cat" / "7.gif", save_all=True, append_images=frames[1:])
    assert "several pictures" in error_message(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_read_image_folder_pipes_and_broken_links_raise_data_error(tmp_path):
    os.mkfifo(folder(tmp_path / "a") / "cat" / "7.png")
    assert "regular" in error_message(tmp_path / "a")
    (folder(tmp_path / "b") / "cat" / "7.png").symlink_to(tmp_path / "nothing")
    assert "regular" in error_message(tmp_path / "b")
    (folder(tmp_path / "c") / "cat" / "loop").symlink_to(tmp_path / "c")
    assert "holds a folder, loop" in error_message(tmp_path / "c")


def test_read_image_folder_invalid_layout_raises_data_error(tmp_path):
    for i in range(3):
        save(tmp_path / "flat" / f"{i}.png", X[i])
    assert "without class folders" in error_message(tmp_path / "flat")
    assert f"--data {tmp_path}" in error_message(tmp_path / "flat")
    folder(tmp_path / "mixed")
    save(tmp_path / "mixed" / "a.png", X[0])
    assert "beside" in error_message(tmp_path / "mixed")
    folder(tmp_path / "empty")
    (tmp_path / "empty" / "cow").mkdir()
    assert "cow holds no picture" in error_message(tmp_path / "empty")
    folder(tmp_path / "outer" / "inner")
    assert f"use --data {tmp_path / 'outer' / 'inner'}" in error_message(tmp_path / "outer")


def test_load_dataset_two_kinds_in_one_folder_names_both(tmp_path):
    folder(tmp_path)
    (tmp_path / "a.csv").write_text("label,a\n1,2\n3,4\n")
    message = error_message(tmp_path)
    assert "a.csv" in message
    assert "pictures (cat/)" in message


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_load_dataset_heic_in_class_folder_is_named_with_remedy(tmp_path, name):
    for label in "01":
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_bytes(bytes.fromhex("00000018") + b"ftypheic" + bytes(400))
    with pytest.raises(DataError, match=rf"0/{name} is a HEIC picture; send it as JPEG"):
        load_dataset(str(tmp_path))


def test_read_image_folder_regression_raises_data_error(tmp_path):
    with pytest.raises(DataError, match="use --loss cross-entropy"):
        load_dataset(str(folder(tmp_path)), regression=True)


def test_read_image_folder_names_of_any_letters(tmp_path):
    dataset = load_dataset(str(folder(tmp_path / "mine æøå 😀", names=("rød grød", "😀"))))
    assert dataset.class_names == ("rød grød", "😀")
    assert dataset.name == "mine æøå 😀"


def test_read_image_folder_damaged_images_raise_data_error_only(tmp_path):
    folder(tmp_path, each=1)
    rng = np.random.default_rng(5)
    good = (tmp_path / "cat" / "0.png").read_bytes()
    for _ in range(150):
        content = bytearray(good)
        for at in rng.integers(0, len(good), 3):
            content[at] = rng.integers(256)
        (tmp_path / "cat" / "0.png").write_bytes(content[: rng.integers(1, len(good) + 1)])
        try:
            load_dataset(str(tmp_path))
        except DataError:
            continue


def test_looks_like_image_by_suffix_else_by_content(tmp_path):
    for i in range(4):
        path = save(tmp_path / f"c{i % 2}" / f"{i}.png", X[i])
        path.rename(path.with_suffix(""))
    assert load_dataset(str(tmp_path)).class_names == ("c0", "c1")
    (tmp_path / "other" / "c").mkdir(parents=True)
    (tmp_path / "other" / "c" / "1.JPG").write_text("words")
    assert "1.JPG is not a picture" in error_message(tmp_path / "other")


# Found by fuzzing (docs/fuzzing.md): libtiff writes to stderr itself and reports only a failure to Pillow.
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_open_image_damaged_tiff_leaves_stderr_empty(tmp_path, capfd, compression):
    folder(tmp_path, each=2)
    path = save(tmp_path / "cat" / "0.tiff", X[0], compression=compression)
    path.write_bytes(path.read_bytes()[:8] + b"\xff" * 4 + path.read_bytes()[12:])
    assert "0.tiff cannot be read as a picture" in error_message(tmp_path)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_open_image_tiff_with_closed_stderr(tmp_path):
    folder(tmp_path, suffix="tiff")
    code = (
        "import os; os.close(2); from lagvis.data.datasets import load_dataset; "
        f"print(len(load_dataset({str(tmp_path)!r}).x_train))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"10\n")
