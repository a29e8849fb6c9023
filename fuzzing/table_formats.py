"""Tables in formats other than text: seeds."""

import io
import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xlsxwriter

from fuzzing.case import Files

ROWS = 12


def frames() -> list[pl.DataFrame]:
    """Return tables of many types of columns."""
    i = range(ROWS)
    plain = pl.DataFrame({"a": [k / 4 for k in i], "b": [k % 5 for k in i], "class": ["xyz"[k % 3] for k in i]})
    missing = plain.with_columns(pl.when(pl.col("b") != 3).then(pl.col("a")), pl.lit("NA").alias("c"))
    types: dict[str, list[Any]] = {
        "day": [date(2024, 1, 1 + k) for k in i],
        "moment": [datetime(2024, 1, 1 + k, k) for k in i],
        "time": [time(k, 30) for k in i],
        "long": [timedelta(hours=k) for k in i],
        "money": [Decimal(k) / 4 for k in i],
        "flag": [k % 2 == 0 for k in i],
        "list": [[k] for k in i],
        "record": [{"a": k} for k in i],
        "bytes": [bytes([k]) for k in i],
        "nothing": [None] * ROWS,
    }
    typed = pl.DataFrame(types).with_columns(
        pl.col("flag").cast(pl.String).cast(pl.Categorical).alias("kind"),
        pl.Series("large", [2**64 - 1 - k for k in i], dtype=pl.UInt64),
        pl.col("moment").dt.replace_time_zone("Europe/Copenhagen").alias("zoned"),
        pl.Series("class", [k % 3 for k in i]),
    )
    return [plain, missing, typed]


def written(write: Callable[[pl.DataFrame, io.BytesIO], object], name: str) -> list[Files]:
    """Return the files that `write` makes of each table."""
    files: list[Files] = []
    for frame in frames():
        file = io.BytesIO()
        write(frame, file)
        files.append([(name, file.getvalue())])
    return files


def parquet_seeds() -> list[Files]:
    """Return Parquet files of several compressions and row groups."""
    codecs: tuple[Any, ...] = ("uncompressed", "snappy", "zstd", "gzip", "lz4")
    seeds = [
        seed
        for codec in codecs
        for seed in written(lambda f, file, codec=codec: f.write_parquet(file, compression=codec), "a.parquet")  # type: ignore[misc]
    ]
    return seeds + written(lambda f, file: f.write_parquet(file, row_group_size=5, statistics=False), "a.parquet")


def arrow_seeds() -> list[Files]:
    """Return Arrow files and streams."""
    codecs: tuple[Any, ...] = ("uncompressed", "zstd", "lz4")
    seeds = [
        seed
        for codec in codecs
        for seed in written(lambda f, file, codec=codec: f.write_ipc(file, compression=codec), "a.arrow")  # type: ignore[misc]
    ]
    return seeds + written(lambda f, file: f.write_ipc_stream(file), "a.arrows")


def json_seeds() -> list[Files]:
    """Return JSON of records and of lists, and NDJSON."""
    plain, missing, _ = frames()
    texts = [json.dumps(frame.to_dicts()) for frame in (plain, missing)]
    texts += [json.dumps(plain.to_dict(as_series=False)), plain.write_ndjson(), missing.write_ndjson()]
    nested = [{"a": k, "b": {"c": [k]}, "class": "xy"[k % 2]} for k in range(8)]
    texts += [json.dumps(nested), "\n".join(map(json.dumps, nested)), json.dumps(nested, indent=1)]
    return [[("a.json", text.encode())] for text in texts]


def sqlite_seeds() -> list[Files]:
    """Return databases of one and of two tables."""
    plain, missing, _ = frames()
    files: list[Files] = []
    with tempfile.TemporaryDirectory() as folder:
        for n, tables in enumerate(([plain], [missing], [plain, missing])):
            path = Path(folder, f"{n}.db")
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("pragma page_size = 512")
                for t, frame in enumerate(tables):
                    names = ", ".join(f'"{name}"' for name in frame.columns)
                    connection.execute(f"create table t{t} ({names})")
                    marks = ", ".join("?" * frame.width)
                    connection.executemany(f"insert into t{t} values ({marks})", frame.rows())  # noqa: S608
                connection.commit()
            files.append([("a.db", path.read_bytes())])
    return files


def workbook_seeds() -> list[Files]:
    """Return workbooks of one and of two sheets, with remarks and an empty column."""
    plain, missing, typed = frames()
    files: list[Files] = []
    for sheets in ([plain], [missing], [typed.drop("list", "record", "bytes", "zoned", "large")], [plain, missing]):
        file = io.BytesIO()
        with xlsxwriter.Workbook(file, {"in_memory": True, "default_date_format": "yyyy-mm-dd"}) as book:
            for frame in sheets:
                sheet = book.add_worksheet()
                sheet.write(0, 1, "a remark")
                for r, row in enumerate([frame.columns, *frame.rows()]):
                    for c, cell in enumerate(row):
                        if cell is not None:
                            sheet.write(r + 2, c + 1, cell)
        files.append([("a.xlsx", file.getvalue())])
    return files


def libsvm_seeds() -> list[Files]:
    """Return LIBSVM files."""
    lines = [f"{k % 3} 1:{k} 3:{k / 7:.3f} {4 + k % 4}:1" for k in range(ROWS)]
    queries = [line.replace(" ", f" qid:{k} ", 1) for k, line in enumerate(lines)]
    texts = ["\n".join(lines), "# x\n" + "\n".join(queries), "\n".join(line.replace(" 1:", " 0:") for line in lines)]
    return [[("a.svm", text.encode())] for text in texts]


def arff_seeds() -> list[Files]:
    """Return ARFF files, dense and sparse."""
    head = "% remark\n@relation r\n@attribute a numeric\n@attribute 'b c' {x,'y z'}\n@attribute d string\n"
    head += "@attribute e date 'yyyy-MM-dd'\n@attribute class {p,q}\n@data\n"
    levels = ("x", "'y z'", "?")
    dense = [f"{k / 2},{levels[k % 3]},'it\\'s {k}',2024-01-{k + 1:02},{'pq'[k % 2]}" for k in range(ROWS)]
    sparse = [f"{{0 {k}, 4 {'pq'[k % 2]}}}" for k in range(ROWS)]
    return [[("a.arff", (head + "\n".join(rows) + "\n").encode())] for rows in (dense, sparse, [*dense, *sparse])]


def npy_seeds() -> list[Files]:
    """Return folders of NumPy arrays."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 3)), np.arange(ROWS) % 2
    pairs = [{"X": x, "y": y}, {"x_train": x, "y_train": y, "x_test": x[:4], "y_test": y[:4]}]
    files: list[Files] = []
    for arrays in pairs:
        folder: Files = []
        for name, array in arrays.items():
            file = io.BytesIO()
            np.save(file, array)
            folder.append((f"{name}.npy", file.getvalue()))
        files.append(folder)
    return files
