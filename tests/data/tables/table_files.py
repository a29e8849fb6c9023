"""One table written in every format by other libraries, and the readers of them."""

import gzip
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.files import read_frame

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def sample(rows=60):
    """Return a table of numbers, text and missing cells, whose label is its column `class`."""
    rng = np.random.default_rng(0)
    length = rng.normal(0, 1, rows).round(4)
    table = pd.DataFrame(
        {
            "length": length,
            "count": rng.integers(0, 9, rows),
            "colour": rng.choice(["red", "green", "blå"], rows),
            "class": np.where(length > 0, "yes", "no"),
        }
    )
    table.loc[3, "length"] = np.nan
    table.loc[5, "colour"] = None
    return table


def write_sqlite(table, path, name="birds"):
    with closing(sqlite3.connect(path)) as connection:
        table.to_sql(name, connection, index=False)


def write_columns(table, path):
    columns = {name: table[name].astype(object).where(table[name].notna(), None).tolist() for name in table}
    path.write_text(json.dumps(columns))


def write_arff(table, path):
    lines = ["@relation birds"]
    for name in table:
        levels = ",".join(f"'{level}'" for level in sorted(table[name].dropna().unique())) if name == "colour" else ""
        kind = "numeric" if table[name].dtype.kind in "if" else f"{{{levels}}}" if levels else "string"
        lines.append(f"@attribute {name} {kind}")
    lines.append("@data")
    for row in table.itertuples(index=False):
        lines.append(
            ",".join("?" if pd.isna(cell) else f"'{cell}'" if isinstance(cell, str) else str(cell) for cell in row)
        )
    path.write_text("\n".join(lines) + "\n")


def write_gzip(table, path):
    path.write_bytes(gzip.compress(table.to_json(orient="records", lines=True).encode()))


WRITERS = {
    "t.csv": lambda table, path: table.to_csv(path, index=False),
    "t.parquet": lambda table, path: table.to_parquet(path),
    "t.feather": lambda table, path: table.to_feather(path),
    "t.arrows": lambda table, path: pl.from_pandas(table).write_ipc_stream(path),
    "t.json": lambda table, path: table.to_json(path, orient="records"),
    "columns.json": write_columns,
    "t.ndjson": lambda table, path: table.to_json(path, orient="records", lines=True),
    "t.ndjson.gz": write_gzip,
    "t.xlsx": lambda table, path: table.to_excel(path, index=False, engine="xlsxwriter"),
    "t.db": write_sqlite,
    "t.arff": write_arff,
}


def read(path, **options):
    """Return the table in a file."""
    return read_frame(path, ReadOptions(**options))
