"""Every reader that is fuzzed, by name, and the mutation of a whole case."""

import json
import os
from pathlib import Path

import numpy as np

from fuzzing.case import MAX_CASE_BYTES, Files, pack, unpack
from fuzzing.checkpoint import checkpoint_seeds, mutate_checkpoint, read_checkpoint_case
from fuzzing.idx import STANDARD_NAMES, gzip_seeds, idx_seeds, mutate_gzip
from fuzzing.images import folder_seeds, image_folder_seeds, mutate_png
from fuzzing.mutator import Mutator, mutate_json
from fuzzing.npz import NAMES, mutate_npy, mutate_zip, npz_seeds
from fuzzing.paper import paper_seeds, read_paper
from fuzzing.predict import evaluate_seeds, predict_seeds, read_to_evaluate, read_to_predict
from fuzzing.reader import NUMPY_WORDS, Reader, valid_cases
from fuzzing.recipe import read_recipe, recipe_seeds
from fuzzing.run_folder import read_run, run_seeds
from fuzzing.table_formats import (
    arff_seeds,
    arrow_seeds,
    json_seeds,
    libsvm_seeds,
    npy_seeds,
    parquet_seeds,
    sqlite_seeds,
    workbook_seeds,
)
from fuzzing.tables import csv_seeds
from lagvis.data.datasets import load_dataset
from lagvis.data.describe import describe_dataset
from lagvis.data.images.transposed import TRANSPOSE
from lagvis.report.terminal.dataset_summary import dataset_summary
from lagvis.training.recipe_keys import KEYS

CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"  # what the targets are taken for
# How a data set is read: what its targets are, the value of --label, the classes of a network.
DATA_OPTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (CLASSES, "", ()), (NUMBERS, "", ()), (CLASSES, "", ("0", "1", "2")), (CLASSES, "", ("a", "b", "c")),
    (CLASSES, "last", ()), (NUMBERS, "last", ()), (CLASSES, "a,b", ()), (NUMBERS, "length,width", ()),
    (CLASSES, "-2", ()), (LABELS, "", ()), (LABELS, "a,b", ()), (LABELS, "last", ("it",)),
)  # fmt: skip


def read_data(folder: Path, files: Files, option: int) -> None:
    """Read a data set and print its facts, as `python -m data` does."""
    path = folder / files[0][0] if len(files) == 1 and (folder / files[0][0]).is_file() else folder
    targets, label, names = DATA_OPTIONS[option % len(DATA_OPTIONS)]
    transpose = TRANSPOSE[option // len(DATA_OPTIONS) % len(TRANSPOSE)]
    dataset = load_dataset(
        str(path),
        regression=targets == NUMBERS,
        multi_label=targets == LABELS,
        label=label,
        transpose=transpose,
        class_names=names,
    )
    assert len(dataset.x_train) == len(dataset.y_train) > 0
    assert len(dataset.x_test) == len(dataset.y_test) > 0
    assert np.isfinite(dataset.x_train).all()
    assert np.isfinite(dataset.y_train).all()
    facts = {"path": str(path), "kind": "", **describe_dataset(dataset)}
    json.dumps(facts, allow_nan=False)
    dataset_summary(facts)


READERS = {
    "idx": Reader(read_data, idx_seeds),
    "gzip": Reader(read_data, gzip_seeds),
    "npz": Reader(read_data, npz_seeds, (*NAMES, *NUMPY_WORDS)),
    "csv": Reader(read_data, csv_seeds, ("y", "species", "target", '""', '"a\nb"', "1e308", "9" * 25, "1,234")),
    "parquet": Reader(read_data, parquet_seeds, ("PAR1", "ARROW:schema", "pandas")),
    "arrow": Reader(read_data, arrow_seeds, ("ARROW1", "pandas")),
    "json": Reader(read_data, json_seeds, ('{"a":', "[[", "1e999", "NaN", "\\ud800", '"":')),
    "sqlite": Reader(read_data, sqlite_seeds, ("create table", "t0", "SQLite format 3", "create view v as select")),
    "workbook": Reader(read_data, workbook_seeds, ("<c r=", "XFD1048576", 't="s"', 't="e"', "<row r=", "</sheetData>")),
    "libsvm": Reader(read_data, libsvm_seeds, ("qid:1", "100000:1", "1:", "#", ":nan", ":1e308")),
    "arff": Reader(read_data, arff_seeds, ("@data", "@attribute", "{0 1}", "?", "'", "\\'", "numeric", "date", "%")),
    "npy": Reader(read_data, npy_seeds, NUMPY_WORDS, ("X.npy", "y.npy", "x_test.npy", "y_test.npy", "x.npy")),
    "checkpoint": Reader(read_checkpoint_case, checkpoint_seeds,
                         ("params", "totals.loss", "F64", "BF16", "F8_E4M3", '"shape":[0]', '"label_columns":[1]',
                          '"transposed":true', '"encoding":', '"kind":"date"', '"levels":[', '"position":-1', '1e999')),
    "paper": Reader(read_paper, paper_seeds, NUMPY_WORDS, ("weightlayer1.npy", "biaslayer2.npy", "weightlayer9.npy")),
    "recipe": Reader(read_recipe, recipe_seeds,
                     (*KEYS, "= ", "[[a]]", "1979-05-27T07:32:00Z", "'''", "linear")),
    "pictures": Reader(read_data, image_folder_seeds,
                       ("IHDR", "tRNS", "eXIf", "acTL", "Exif\0\0", "GIF89a", "VP8X", "ANIM")),
    "predict": Reader(read_to_predict, predict_seeds, ("IHDR", "Exif\0\0", "1e308", '""', "(2,3)")),
    "evaluate": Reader(read_to_evaluate, evaluate_seeds, ("1e308", '""', "label", "a,b,c,d", "(2,3)")),
    "folder": Reader(read_data, folder_seeds,
                     ("train", "test", "t10k", "images", "labels", "val", ".csv", ".gz", ".npz"),
                     (*STANDARD_NAMES, "train", "test/x", "a/b/c.png", "x.csv", "test.csv", ".hidden", "Thumbs.db")),
    "run": Reader(read_run, run_seeds, ("epoch", "backend", "torch", "cuda", "threads", "completed", "1,3,12,", "\n1,"),
                  ("report.json", "metrics.csv", "environment.json", "recipe.toml", "last.safetensors", "run.lock")),
}  # fmt: skip

MUTATIONS = (
    (b"\x1f\x8b", mutate_gzip), (b"PK", mutate_zip), (b"\x93NUMPY", mutate_npy),
    (b"\x89PNG\r\n\x1a\n", mutate_png), (b"{", mutate_json),
)  # fmt: skip


def mutate_content(content: bytes, m: Mutator) -> bytes:
    """Mutate the content of a packed file (recognised by its first bytes); mutate other files byte by byte."""
    for start, mutation in MUTATIONS:
        if content.startswith(start):
            return mutation(content, m)
    return mutate_checkpoint(content, m) if content[8:9] == b"{" else m.bytes(content)


def mutate(reader: Reader, case: bytes, m: Mutator) -> bytes:
    """Return a case with one file changed or, where names matter, renamed, copied, left out or exchanged."""
    files, option = unpack(case), case[0] if case else 0
    if (
        not files or m.random.random() < 0.5
    ):  # a mutant of a rejected case is usually rejected, too: start from a valid case
        files = list(m.pick(valid_cases(reader)))
    if m.random.random() < 0.1:
        option = m.random.randrange(len(DATA_OPTIONS) * len(TRANSPOSE))
    at = m.random.randrange(len(files))
    name, content = files[at]
    if reader.names and m.random.random() < 0.4:
        other = m.pick(
            (m.pick(reader.names), m.text(name), m.bytes(os.fsencode(name)).decode("utf-8", "surrogateescape"))
        )
        match m.random.randrange(5):
            case 0:
                del files[at]
            case 1:
                files.append((other, content))
            case 2:
                files[at] = (name, m.pick(files)[1])
            case _:
                files[at] = (other, content)
    else:
        try:
            content = mutate_content(content, m) if m.random.random() < 0.5 else m.bytes(content)
        except Exception:  # the packing is already broken
            content = m.bytes(content)
        files[at] = (name, content)
    made = pack(files, option)
    return made if len(made) <= MAX_CASE_BYTES else case
