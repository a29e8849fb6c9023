import bz2
import gzip
import hashlib
import io
import lzma
import os
import pickle
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lagvis.data.formats.idx import idx_axes, read_idx
from lagvis.errors import DataError
from tests.factories import IDX_CODES, idx_bytes

PICTURES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx_bytes(PICTURES)
PACKED = gzip.compress(GOOD, mtime=0)
PAGE = b"<!DOCTYPE html><title>403</title>"


def header(code: int, *lengths: int) -> bytes:
    return bytes([0, 0, code, len(lengths)]) + b"".join(n.to_bytes(4, "big") for n in lengths)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 0xFF
    return bytes(changed)


def extremes(kind: str) -> np.ndarray:
    limits = np.finfo(kind) if kind.startswith("f") else np.iinfo(kind)
    return np.array([[limits.min, 0, 1], [2, 3, limits.max]], dtype=kind)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", IDX_CODES)
def test_read_idx_every_type_keeps_values_in_native_order(tmp_path, kind, pack):
    path = tmp_path / "a"
    path.write_bytes(pack(idx_bytes(extremes(kind), kind)))
    array, _ = read_idx(path)
    assert array.dtype == np.dtype(kind)
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, extremes(kind))


def test_read_idx_numbers_are_big_endian(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes.fromhex("00000c01 00000002 00000005 fffffffe"))
    assert read_idx(path)[0].tolist() == [5, -2]


@pytest.mark.parametrize(("name", "content"), [("a.gz", GOOD), ("a", PACKED)], ids=["plain.gz", "gzip-unnamed"])
def test_read_idx_detects_gzip_by_content_not_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    np.testing.assert_array_equal(read_idx(path)[0], PICTURES)


@pytest.mark.parametrize("content", [GOOD, PACKED], ids=["plain", "gzip"])
def test_read_idx_sha256_is_of_unpacked_bytes(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    assert read_idx(path)[1] == hashlib.sha256(GOOD).hexdigest()


def test_read_idx_gzip_of_two_members(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(GOOD[:21]) + gzip.compress(GOOD[21:]))
    np.testing.assert_array_equal(read_idx(path)[0], PICTURES)


class FailsWhenUnpickled:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def saved(save, *arguments, **options) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **options)
    return file.getvalue()


def npz() -> bytes:
    return saved(np.savez, x=PICTURES)


def npy() -> bytes:
    return saved(np.save, PICTURES)


def picture(kind: str) -> bytes:
    return saved(Image.fromarray(PICTURES[0]).save, kind)


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train-images-idx3-ubyte"), io.BytesIO())
    return file.getvalue()


BROKEN = {
    "empty": (b"", ["empty"]),
    "gzip of nothing": (gzip.compress(b""), ["empty"]),
    "one byte": (b"\0", ["00"]),
    "cut in the magic": (GOOD[:3], ["00 00 08"]),
    "cut in the header": (GOOD[:9], ["9 bytes", "16"]),
    "packed and cut in the header": (gzip.compress(GOOD[:9]), ["9 bytes", "16"]),
    "unknown type": (header(0x07, 2) + b"ab", ["00 00 07 01"]),
    "no axes": (header(0x08) + b"a", ["00 00 08 00"]),
    "little-endian magic": (bytes.fromhex("03080000") + GOOD[4:], ["03 08 00 00", "big-endian"]),
    "more axes than an array has": (header(0x08, *[1] * 100) + b"a", ["100"]),
    "dimension of zero": (header(0x08, 0, 3, 4), ["(0, 3, 4)"]),
    "giant": (header(0x08, 2**32 - 1, 65535, 65535) + b"abc", ["(4294967295, 65535, 65535)"]),
    "packed giant": (gzip.compress(header(0x08, 2**32 - 1, 65535, 65535)), ["(4294967295, 65535, 65535)"]),
    "one byte short": (GOOD[:-1], ["24", "23", "(2, 3, 4)"]),
    "packed and one byte short": (gzip.compress(GOOD[:-1]), ["24", "23", "(2, 3, 4)"]),
    "one byte too many": (GOOD + b"\0", ["24", "(2, 3, 4)"]),
    "packed and one byte too many": (gzip.compress(GOOD + b"\0"), ["24", "(2, 3, 4)"]),
    "gzip cut in its end": (PACKED[:-4], ["gzip"]),
    "gzip cut in its data": (PACKED[:20], ["gzip"]),
    "gzip cut in its header": (PACKED[:5], ["gzip"]),
    "gzip with a wrong CRC": (flipped(PACKED, -8), ["gzip", "CRC"]),
    "gzip with a wrong length": (flipped(PACKED, -4), ["gzip", "length"]),
    "gzip with garbage after it": (PACKED + b"garbage", ["gzip"]),
    "gzip in its first bytes only": (b"\x1f\x8b" + GOOD, ["gzip"]),
    "web page": (PAGE, ["web page", "33 bytes", "data/mnist", "ossci-datasets.s3.amazonaws.com"]),
    "web page after blank lines": (b"\r\n " + PAGE, ["web page"]),
    "packed web page": (gzip.compress(PAGE), ["web page"]),
    "zip": (npz(), ["zip archive", "unpack"]),
    "tar": (tar(), ["tar archive", "unpack"]),
    "packed tar": (gzip.compress(tar()), ["tar archive", "unpack"]),
    "packed twice": (gzip.compress(PACKED), ["a gzip file within a gzip file", "unpack it once"]),
    "xz": (lzma.compress(GOOD), ["xz", "unpack"]),
    "bzip2": (bz2.compress(GOOD), ["bzip2", "unpack"]),
    "npy": (npy(), [".npy", "savez"]),
    "PNG": (picture("PNG"), ["PNG picture"]),
    "JPEG": (picture("JPEG"), ["JPEG picture"]),
    "MATLAB 5": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", ["MATLAB", "savez"]),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), ["HDF5", "savez"]),
    "text": (b"label,p0\r\n3,0.5\r\n", ["plain text", "label,p0"]),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ["Git LFS", "git lfs pull"]),
    **{
        f"pickle {n}": (pickle.dumps(FailsWhenUnpickled(), protocol=n), ["pickle", "never opened"])
        for n in (2, 3, 4, 5)
    },
    "strange bytes": (b"\xc3\x28\xa0\xa1", ["c3 28 a0 a1"]),
}


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_read_idx_broken_file_raises_data_error(tmp_path, content, words):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert str(path) in message
    # a temporary path may contain the number by chance
    assert [word for word in words if word not in message.replace(str(path), "")] == []


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "folder"])
def test_read_idx_not_a_file_raises_data_error(tmp_path, make):
    path = tmp_path / "train-images-idx3-ubyte"
    make(path)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made by POSIX systems alone")
def test_read_idx_pipe_raises_data_error(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    os.mkfifo(path)
    assert idx_axes(path) is None
    with pytest.raises(DataError, match="regular file") as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_idx_axes_empty_file_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "kmsg"
    path.touch()
    monkeypatch.setattr("pathlib.Path.open", lambda *_, **__: pytest.fail("it was opened, and might never answer"))
    assert idx_axes(path) is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_idx_axes_reads_header(tmp_path, axes, pack):
    path = tmp_path / "a"
    path.write_bytes(pack(idx_bytes(np.zeros([2] * axes), "f4")))
    assert idx_axes(path) == axes


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_idx_axes_without_header_is_none(tmp_path, content, words):
    path = tmp_path / "a"
    path.write_bytes(content)
    if idx_axes(path) is not None:
        with pytest.raises(DataError, match=r"header|shape|axes|gzip"):
            read_idx(path)


@pytest.mark.parametrize(
    "content",
    [
        header(0x08, 2**32 - 1, 65535, 65535) + bytes(100),
        gzip.compress(header(0x08, 2**32 - 1, 65535, 65535) + bytes(100)),
        # the header announces one gigabyte, the most that a gzip file of this size could hold
        gzip.compress(header(0x0E, 2**27)) + bytes(2**20),
        gzip.compress(GOOD + bytes(2**26), compresslevel=1),
    ],
    ids=["giant", "packed giant", "believable giant", "bomb"],
)
def test_read_idx_giant_header_allocates_no_memory(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


EDITS = st.lists(
    st.tuples(st.sampled_from(["flip", "insert", "delete", "cut"]), st.integers(0, 80), st.integers(1, 255)),
    min_size=1,
    max_size=4,
)


def mutate(content: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(content)
    for edit, place, byte in edits:
        position = place % (len(changed) or 1)
        if edit == "flip" and changed:
            changed[position] ^= byte
        elif edit == "insert":
            changed.insert(position, byte)
        elif edit == "delete":
            del changed[position : position + 1]
        elif edit == "cut":
            del changed[position:]
    return bytes(changed)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated") / "a"


@settings(max_examples=300, deadline=None)
@given(content=st.sampled_from([GOOD, PACKED, idx_bytes(extremes("f8"), "f8")]), edits=EDITS)
def test_read_idx_mutated_file_gives_array_or_data_error(scratch, content, edits):
    scratch.write_bytes(mutate(content, edits))
    try:
        array, checksum = read_idx(scratch)
    except DataError as error:
        assert str(scratch) in str(error)  # noqa: PT017  (either outcome is right)
    else:
        assert array.size > 0
        assert array.dtype.isnative
        assert len(checksum) == 64
