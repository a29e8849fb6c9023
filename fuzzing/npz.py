"""NPY and NPZ files: seeds and mutations."""

import io
import struct
import warnings
import zipfile
from typing import Any

import numpy as np

from fuzzing.case import Files
from fuzzing.idx import LABELS, PIXELS
from fuzzing.mutator import Mutator

TYPES = ("|u1", "|i1", "<i2", ">i4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f8", "<f16", "<c8", "|b1", "<U1", "<U3",
         "<U0", "|S1", "|S4", "|S0", "|V3", "<M8[s]", "<m8[D]", "|O")  # fmt: skip


SHAPES = ((0,), (1,), (2,), (6,), (12,), (), (6, 1), (1, 6), (6, 2), (6, 0), (6, 3, 2), (12, 4), (0, 4), (2**40, 0),
          (2**62,))  # fmt: skip


NAMES = (
    "x_train",
    "y_train",
    "x_test",
    "y_test",
    "x",
    "y",
    "data",
    "target",
    "target_names",
    "unit",
    "X_train",
    "z",
    "w",
    "w_train",
    "sample_weight",
    "w_test",
)


def npy(dtype: str, shape: Any, content: bytes, order: str = "False") -> bytes:
    """Return an NPY file of version 1; its header need not match the content."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape!r}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + content


def npz_seeds() -> list[Files]:
    """Return archives of arrays of many types under many names."""
    x, y = PIXELS, LABELS.astype(np.int64)
    pairs: list[dict[str, Any]] = [
        {"x": x, "y": y}, {"x_train": x, "y_train": y, "x_test": x[:3], "y_test": y[:3]},
        {"data": x.astype("f4").reshape(12, 6), "target": np.array(["kat", "æ", "c"])[y], "unit": "cm"},
        {"x": x.astype("f8"), "y": y / 4, "target_names": np.array(["height"]), "unit": np.array("m")},
        {"X": x.astype(">i2"), "labels": np.array([b"a", b"b", b"cc"])[y]}, {"x": x.astype("f2"), "y": np.eye(3)[y]},
        {"train_images": x, "train_labels": y[:, None], "test_images": x, "test_labels": y[:, None]},
        {"x": np.asfortranarray(x.reshape(12, 6)), "y": y > 1},
        {"x": x.astype("f8"), "y": np.stack([y, y / 3], axis=1)},
        {"x": x, "y": y, "w": y + 1.0}, {"x_train": x, "y_train": y, "x_test": x, "y_test": y, "w_train": y / 3},
    ]  # fmt: skip
    files: list[Files] = []
    for i, arrays in enumerate(pairs):
        file = io.BytesIO()
        (np.savez_compressed if i % 2 else np.savez)(file, **arrays)
        files.append([("a.npz", file.getvalue())])
    return files


def mutate_npy(content: bytes, m: Mutator) -> bytes:
    """Mutate the header and its length, or the numbers behind it, or replace the array by one of another type."""
    (length,) = struct.unpack_from("<H", content, 8)
    header, body = content[10 : 10 + length], content[10 + length :]
    match m.random.randrange(4):
        case 0:
            header = m.bytes(header)[:60000]
            return content[:8] + struct.pack("<H", len(header)) + header + body
        case 1:
            return content[: 10 + length] + m.bytes(body)[: len(body)].ljust(len(body), m.pick((b"\0", b"\xff")))
        case 2:
            return npy(m.pick(TYPES), m.pick(SHAPES), m.bytes(body), m.pick(("False", "True")))
        case _:
            dtype, shape = m.pick(TYPES[:-1]), m.pick(SHAPES[:-2])
            size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
            small = bytes(m.pick(((0, 1), (0,), (1, 2, 0, 0), range(256)))) or b"\0"
            numbers = m.pick((body + b"\1", m.random.randbytes(16), small)) * (size + 1)
            return npy(dtype, shape, numbers[:size])


def mutate_zip(content: bytes, m: Mutator) -> bytes:
    """Mutate a member, a name or the number of members; the checksums are valid."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    at = m.random.randrange(len(members))
    name, inner, compression = members[at]
    match m.random.randrange(8):
        case 0:
            del members[at]
        case 1:
            members.append((f"{m.pick(NAMES)}.npy", inner, compression))
        case 2:
            members[at] = (m.pick((f"{m.pick(NAMES)}.npy", m.text(name).replace("\0", "") or "a")), inner, compression)
        case 3:
            members[at] = (name, m.bytes(inner), m.pick((0, 8, 8, 12, 14)))
        case _:
            members[at] = (name, mutate_npy(inner, m), m.pick((0, 8)))
    return zipped(members)


def zipped(members: list[tuple[str, bytes, int]]) -> bytes:
    """Return a zip archive of (name, content, compression); two members may have one name."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content, compression in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression, 1)
    return file.getvalue()
