"""Detect the format of a table by its first bytes, whatever the name of its file."""

import json
import re
import zipfile
from pathlib import Path

from lagvis.data.files import is_gzip
from lagvis.data.tables.text import open_maybe_gzip
from lagvis.errors import DataError

CSV, PARQUET, ARROW, ARROW_STREAM, NDJSON, JSON, WORKBOOK, SQLITE, LIBSVM, ARFF = (
    "a table as text",
    "a Parquet file",
    "an Arrow file",
    "an Arrow stream",
    "NDJSON",
    "JSON",
    "a workbook",
    "an SQLite database",
    "a LIBSVM file",
    "an ARFF file",
)
BINARY_SIGNATURES = (
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW),
    (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"SQLite format 3\0", SQLITE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK),  # Excel 97 to 2003, in a container that other programs use too
)
NOT_TEXT = bytes([*range(9), *range(14, 32), *range(128, 256)])  # a header of a table may begin with PAR1 as well
BINARY = {kind for _, kind in BINARY_SIGNATURES}
START_BYTES = 2**16
TABLE_ENDINGS = (
    *(".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".arrows", ".ndjson", ".jsonl", ".xlsx"),
    *(".xlsm", ".xlsb", ".xls", ".ods", ".sqlite", ".sqlite3", ".db", ".db3", ".arff", ".libsvm", ".svmlight", ".svm"),
)
WEAK_ENDINGS = (".json",)  # of files that mostly describe others
LIBSVM_LINE = re.compile(
    r"\s*[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?(?:,[+-]?[0-9.]+)*(?:\s+qid:[0-9]+)?((?:\s+[0-9]+:[^\s:#]+)*)\s*(?:#.*)?"
)
MIN_PAIRS = 2  # of index:value in one line: a single one may be a time, as in "5 12:30"


def table_format(path: Path, name: str = "") -> str:
    """Return the format of a file, one of the names above; CSV for text that is none of the others.

    `name` stands for the path in messages. DataError for a damaged gzip file.
    """
    with open_maybe_gzip(path, name) as file:
        start = file.read(START_BYTES)
    kind = format_of_bytes(start, is_workbook(path) if start.startswith(b"PK") else False)
    if kind in BINARY and is_gzip(path):
        raise DataError(f"{name or path} is {kind} within a gzip file; unpack it")
    return kind


def format_of_bytes(start: bytes, is_workbook: bool = False) -> str:
    """Return the format of a file that begins with these bytes (a whole file, or START_BYTES of it)."""
    if is_workbook:
        return WORKBOOK
    for signature, kind in BINARY_SIGNATURES:
        if start.startswith(signature) and (signature[-1] in NOT_TEXT or start[len(signature) :][:1] in NOT_TEXT):
            return kind
    text = start.decode("utf-8-sig", "replace")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start[: len(start) // 2 * 2].decode("utf-16", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return CSV
    if re.match(r"\s*[\[{]", text) and (kind := json_kind(lines)):
        return kind
    remarks_removed = (line for line in lines if not line.lstrip().startswith("%"))
    if re.match(r"\s*@relation\b", next(remarks_removed, ""), re.IGNORECASE):
        return ARFF
    if len(start) == START_BYTES and len(lines) > 1:
        del lines[-1]  # it may be cut off
    return LIBSVM if looks_like_libsvm(lines) else CSV


def json_kind(lines: list[str]) -> str:
    """Return NDJSON for a JSON object in the first line and another below it, JSON for other text that begins so.

    The empty text stands for neither: a line such as {a},1 or [x] 2.
    """
    first = lines[0].strip()
    if first.startswith("["):
        return JSON if re.match(r"\[\s*(?:[\[{\]\"0-9.-]|true|false|null|$)", first) else ""
    if not re.match(r"\{\s*(?:\"|\}|$)", first):
        return ""
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return NDJSON if len(lines) > 1 and first.endswith("}") and lines[1].lstrip().startswith("{") else JSON
    if (
        len(lines) == 1
        and isinstance(value, dict)
        and value
        and all(isinstance(v, list | dict) for v in value.values())
    ):
        return JSON
    return NDJSON


def looks_like_libsvm(lines: list[str]) -> bool:
    """Tell whether every line is a label and ascending pairs index:value, several in one of them at least."""
    most = 0
    for line in lines:
        if line.lstrip().startswith("#"):
            continue
        found = LIBSVM_LINE.fullmatch(line)
        if not found:
            return False
        indices = [int(pair.partition(":")[0][:18]) for pair in found[1].split()]
        if indices != sorted(indices):
            return False
        most = max(most, len(indices))
    return most >= MIN_PAIRS


def is_workbook(path: Path) -> bool:
    """Tell whether a zip archive is a workbook of Excel (.xlsx, .xlsm, .xlsb) or OpenDocument (.ods)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if {"content.xml", "mimetype"} <= names:
                return b"spreadsheet" in archive.read("mimetype")[:200]
    except Exception:  # zipfile raises many types for broken bytes; the reader of NPZ files says what is wrong
        return False
    return any(name.lower().startswith("xl/workbook") for name in names)
