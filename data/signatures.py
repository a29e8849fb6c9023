"""Identify files of other formats by their first bytes, and say how to convert them."""

from lagvis.data.files import GZIP_MAGIC

SEND_AS_JPEG = "send it as JPEG, or choose Most Compatible under Formats in the camera settings of an iPhone"
SAVE_AS_PNG = "save it as PNG or JPEG"
EXPORT_AS_PNG = "export it as PNG"
RAW_PHOTOGRAPH = f"a raw photograph of a camera; {EXPORT_AS_PNG} or JPEG"
# (offset, bytes there, format and what to do) of pictures that are not read
PICTURE_SIGNATURES = (
    (0, b"\0\0\0\x0cJXL \r\n", f"a JPEG XL picture; {SAVE_AS_PNG}"),
    (0, b"\xff\x0a", f"a JPEG XL picture; {SAVE_AS_PNG}"),
    (0, b"\0\0\0\x0cjP  \r\n", f"a JPEG 2000 picture; {SAVE_AS_PNG}"),
    (0, b"\xff\x4f\xff\x51", f"a JPEG 2000 picture; {SAVE_AS_PNG}"),
    (0, b"\0\0\1\0", f"an icon file of Windows; {SAVE_AS_PNG}"),
    (0, b"8BPS", f"a Photoshop file; {EXPORT_AS_PNG}"),
    (0, b"gimp xcf", f"a GIMP file; {EXPORT_AS_PNG}"),
    (0, b"%!PS", f"a PostScript drawing; {EXPORT_AS_PNG}"),
    (0, b"\xc5\xd0\xd3\xc6", f"a PostScript drawing; {EXPORT_AS_PNG}"),
    (128, b"DICM", f"a medical picture (DICOM); {EXPORT_AS_PNG}"),
    (8, b"CR\2\0", RAW_PHOTOGRAPH),  # Canon CR2, a TIFF file at its start
    (0, b"FUJIFILMCCD-RAW", RAW_PHOTOGRAPH),
    (0, b"IIRO", RAW_PHOTOGRAPH),  # Olympus
    (0, b"IIRS", RAW_PHOTOGRAPH),
    (0, b"MMOR", RAW_PHOTOGRAPH),
    (0, b"IIU\0", RAW_PHOTOGRAPH),  # Panasonic
    (0, b"II\x1a\0\0\0HEAPCCDR", RAW_PHOTOGRAPH),  # Canon CRW
    (0, b"FOVb", RAW_PHOTOGRAPH),  # Sigma
)
# Brands in the first box, `ftyp`, of files of the ISO base media format (ISO/IEC 14496-12)
MEDIA_BRANDS = (
    ((b"avif", b"avis"), f"an AVIF picture; {SAVE_AS_PNG}"),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), f"a HEIC picture; {SEND_AS_JPEG}"),
    ((b"crx ",), RAW_PHOTOGRAPH),  # Canon CR3
    ((b"mif1", b"msf1"), f"a HEIF picture; {SEND_AS_JPEG}"),
)
VIDEO = "a video (MP4 or QuickTime); save the picture that you mean as PNG or JPEG"

EXPORT_IN_R = "export it in R with write.csv(x, 'table.csv', row.names = FALSE)"
EXPORT_WITH_PANDAS = "export it with pandas: pd.{}('{}').to_csv('table.csv', index=False)"
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
    (0, b"MATLAB 5.0", "a MATLAB file; export the table with writetable, or save its arrays with numpy.savez"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (Keras and pandas write such); save its arrays with numpy.savez, or its table as CSV",
    ),
    (0, b"CDF\1", "a NetCDF file; save its arrays with numpy.savez"),
    (0, b"CDF\2", "a NetCDF file; save its arrays with numpy.savez"),
    (0, b"SIMPLE  =", "a FITS file; save its arrays with numpy.savez, or its table as CSV"),
    (0, b"FEA1\0", "a Feather file of version 1; write it again with a current pandas or R (version 2)"),
    (0, b"Obj\1", "an Avro file; write it as Parquet"),
    *(
        (8, b"DUCK" + bytes([version, 0, 0, 0]), "a DuckDB database; export the table: COPY t TO 'table.parquet'")
        for version in range(128)
    ),
    (4, b"Standard Jet DB", "a Microsoft Access database; export the table as CSV"),
    (4, b"Standard ACE DB", "a Microsoft Access database; export the table as CSV"),
    (0, b"$FL2@", f"an SPSS file; {EXPORT_WITH_PANDAS.format('read_spss', 'x.sav')}"),
    (0, b"$FL3@", f"an SPSS file; {EXPORT_WITH_PANDAS.format('read_spss', 'x.sav')}"),
    (0, b"<stata_dta>", f"a Stata file; {EXPORT_WITH_PANDAS.format('read_stata', 'x.dta')}"),
    *(
        (0, bytes([n, order, 1, 0]), f"a Stata file; {EXPORT_WITH_PANDAS.format('read_stata', 'x.dta')}")
        for n in (113, 114, 115)
        for order in (1, 2)
    ),
    (0, bytes(12) + b"\xc2\xea\x81\x60", f"a SAS file; {EXPORT_WITH_PANDAS.format('read_sas', 'x.sas7bdat')}"),
    (0, b"HEADER RECORD*******", f"a SAS transport file; {EXPORT_WITH_PANDAS.format('read_sas', 'x.xpt')}"),
    *((0, b"RDX%d\n" % version, f"an R file (.RData); {EXPORT_IN_R}") for version in (2, 3)),
    *((0, b"RDA%d\n" % version, f"an R file (.RData); {EXPORT_IN_R}") for version in (2, 3)),
    (0, b"X\n\0\0\0", f"an R file (.rds); {EXPORT_IN_R}"),
    (0, b"A\n2\n", f"an R file (.rds); {EXPORT_IN_R}"),
    (0, b"A\n3\n", f"an R file (.rds); {EXPORT_IN_R}"),
    (0, b"\x89PNG", "a PNG picture; pictures belong in a folder of their own"),
    (0, b"\xff\xd8\xff", "a JPEG picture; pictures belong in a folder of their own"),
    (0, b"%PDF", "a PDF; export the page as PNG if it is a picture, or give its numbers as CSV"),
    (0, b"version https://git-lfs", "a pointer of Git LFS instead of the file; fetch it with git lfs pull"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90\0", "a program"),
    (0, b"{\\rtf", "a document (RTF); copy the table into a spreadsheet and save it as CSV in UTF-8"),
    *((0, bytes([0x80, n]), PICKLE) for n in (2, 3, 4, 5)),
)
SIGNATURE_BYTES = 512  # bytes that `identify_format` needs


def identify_format(start: bytes) -> str:
    """Return the format of a file that begins with `start`, and what to do; empty where it is unknown."""
    if is_web_page(start):
        return (
            "a web page; download the file that it links to, or copy its table into a spreadsheet and save that as CSV"
        )
    return find_signature(start, SIGNATURES) or identify_picture(start)


def identify_picture(start: bytes) -> str:
    """Return the format of a picture that is not read, and what to do; empty where it is none that is known."""
    if start[4:8] == b"ftyp":
        size = min(int.from_bytes(start[:4], "big"), len(start))
        brands = [start[at : at + 4] for at in (8, *range(16, size - 3, 4))]  # at 12 is a version
        return next((text for names, text in MEDIA_BRANDS if any(brand in names for brand in brands)), VIDEO)
    if is_svg(start):
        return f"an SVG drawing; {EXPORT_AS_PNG}"
    return find_signature(start, PICTURE_SIGNATURES)


def identify_other_than_picture(start: bytes) -> str:
    """Return the format of a file that stands where a picture is expected, and what to do; empty where unknown."""
    if is_web_page(start):
        return "a web page; open it in a browser and save the picture itself"
    if start.startswith(GZIP_MAGIC):
        return "a gzip file; unpack it"
    return identify_format(start)


def is_web_page(start: bytes) -> bool:
    """Return whether bytes begin as a web page does."""
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<table"))


def is_svg(start: bytes) -> bool:
    """Return whether bytes begin as an SVG drawing does, with or without an XML declaration and a comment."""
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    return text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text)


def find_signature(start: bytes, signatures: tuple[tuple[int, bytes, str], ...]) -> str:
    """Return the description of the first signature that `start` has; empty where it has none."""
    return next((text for offset, signature, text in signatures if start[offset:].startswith(signature)), "")
