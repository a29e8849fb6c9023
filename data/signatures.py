"""Identify files of other formats by their first bytes, and say how to convert them."""

PICKLE = "a pickle, which is never opened; save its arrays with numpy.savez"
# (offset, bytes there, format and what to do)
SIGNATURES = (
    (0, b"\x1f\x8b", "a gzip file within a gzip file; unpack it once"),
    (0, b"PK\x03\x04", "a zip archive (an .npz is one too); unpack it, or give an .npz by its own name"),
    (257, b"ustar", "a tar archive; unpack it and give the folder"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (0, b"Rar!", "a rar archive; unpack it"),
    (0, b"\xfd7zXZ\x00", "an xz file; unpack it"),
    (0, b"BZh", "a bzip2 file; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file; unpack it"),
    (0, b"\x93NUMPY", "a single NumPy array (.npy); save x and y together with numpy.savez"),
    (0, b"MATLAB", "a MATLAB file; save its arrays with numpy.savez"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (MATLAB 7.3 writes such too); save its arrays with numpy.savez"),
    (0, b"PAR1", "a Parquet file; write it as CSV"),
    (0, b"ARROW1", "an Arrow file; write it as CSV"),
    (0, b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as CSV in UTF-8"),
    (0, b"\x89PNG", "a PNG picture; pictures belong in a folder of their own"),
    (0, b"\xff\xd8\xff", "a JPEG picture; pictures belong in a folder of their own"),
    (0, b"%PDF", "a PDF; give its numbers as CSV"),
    (0, b"SQLite format 3", "an SQLite database; write its table as CSV"),
    (0, b"version https://git-lfs", "a pointer of Git LFS instead of the file; fetch it with git lfs pull"),
    (0, b"\x7fELF", "a program"),
    *((0, bytes([0x80, n]), PICKLE) for n in (2, 3, 4, 5)),
)
SIGNATURE_BYTES = 512  # bytes that `identify_format` needs


def identify_format(start: bytes) -> str:
    """Return the format of a file that begins with `start`, and what to do; empty where it is unknown."""
    return next(
        (description for offset, signature, description in SIGNATURES if start[offset:].startswith(signature)), ""
    )
