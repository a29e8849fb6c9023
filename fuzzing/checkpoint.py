"""Checkpoints: seeds, mutations and the reader."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fuzzing.case import Files
from fuzzing.idx import LABELS, PIXELS
from fuzzing.mutator import Mutator
from lagvis.data.dataset import Dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.scaling import Scaling
from lagvis.data.tables.column_facts import column_facts
from lagvis.data.tables.encoding import (
    BooleanEncoding,
    CategoryEncoding,
    DateEncoding,
    LeftOut,
    NumberEncoding,
    TableEncoding,
)
from lagvis.report.terminal.column_table import column_lines
from lagvis.storage.checkpoint_file import read_checkpoint, write_checkpoint
from lagvis.training.checkpoint import Checkpoint, checkpoint_digest
from lagvis.training.factory import first_state
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe


@cache
def small_datasets() -> tuple[Dataset, Dataset]:
    """Return data sets of twelve rows: bytes with classes, numbers with one target."""
    x, y = PIXELS.reshape(12, 6), LABELS
    classes = Dataset(
        x_train=x, y_train=y, x_test=x, y_test=y, class_names=("0", "1", "2"), target_names=(),
        name="small", shape=(6,), unit="", sha256={"small": "0" * 64}, notices=(),
    )  # fmt: skip
    x, y = x * 1.0, y[:, None] * 1.0
    numbers = replace(classes, x_train=x, y_train=y, x_test=x, y_test=y, class_names=(), target_names=("t",))
    return classes, numbers


ENCODING = TableEncoding(
    (
        NumberEncoding("a", 0, 0.5, missing=True, log_offset=1.0, log_floor=0.5, missing_cells=3),
        CategoryEncoding("c", 2, ("x", "y"), ("p", "q")),
        BooleanEncoding("b", 1, 0.25),
    ),
    (LeftOut("id", 3, "row number", "holds another whole number in every row"), LeftOut("key", 5, "id", "names a row")),
)
DATES = TableEncoding(
    (DateEncoding("d", 0, 1e9, 5.0, ("month", "hour"), form="dd.mm.yyyy"), NumberEncoding("a", 2, 1.0))
)


def checkpoint_bytes(
    *,
    regression: bool,
    totals: bool,
    momentum: bool,
    encoding: TableEncoding | None = None,
    normalization: str = "none",
) -> bytes:
    """Return a checkpoint of a network 6-2-K, after one epoch or within its second.

    With a normalisation it holds every state that a run may keep: gamma, running statistics, moments and an average.
    """
    k = 1 if regression else 3
    params = [{"W": np.full((i, o), 0.5, np.float32), "b": np.zeros(o, np.float32)} for i, o in ((6, 2), (2, k))]
    pixels, small = small_datasets()
    x = small.x_train if regression else pixels.x_train
    ranges = FeatureRanges.of(x, np.arange(len(x)), (2, 3)) if momentum else None
    scaling = [Scaling.of(columns) if regression else None for columns in (small.x_train, small.y_train)]
    model = Model(
        widths=(6, 2, k), activation="relu", loss="mse" if regression else "cross-entropy", shape=(6,),
        class_names=() if regression else ("0", "1", "2"), target_names=("t",) if regression else (), unit="",
        x_scaling=scaling[0], y_scaling=scaling[1], ranges=ranges, encoding=encoding,
        normalization=normalization,
    )  # fmt: skip
    state: dict[str, Any] = {"params": params} | ({"velocity": params} if momentum else {})
    if normalization != "none":
        recipe = Recipe(normalization=normalization, optimizer="adamw", ema=0.9, loss=model.loss)
        gamma = [{**params[0], "gamma": np.ones(2, np.float32)}, params[1]]
        state = first_state(recipe, gamma) | ({"velocity": gamma} if momentum else {})
    sums = {"loss": np.array(1.0), "weight": np.array(4.0)}
    sums |= {"squared_error": np.ones(k)} if regression else {"correct": np.array(1.0)}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "last.safetensors"
        write_checkpoint(path, Checkpoint(model, state, 1, 3, 0.05, sums if totals else {}, 1, 0.5))
        return path.read_bytes()


def checkpoint_seeds() -> list[Files]:
    """Return checkpoints of both tasks, with and without momentum and ranges, between epochs and within one."""
    flags = (False, True)
    made = [checkpoint_bytes(regression=r, totals=t, momentum=m) for r in flags for t in flags for m in flags]
    made += [checkpoint_bytes(regression=True, totals=False, momentum=False, encoding=e) for e in (ENCODING, DATES)]
    made += [
        checkpoint_bytes(regression=r, totals=r, momentum=r, normalization=kind)
        for r in flags
        for kind in ("batch", "layer")
    ]
    return [[("last.safetensors", content)] for content in made]


def mutate_checkpoint(content: bytes, m: Mutator) -> bytes:
    """Mutate the header and its length, or the metadata or the arrays with a valid digest."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    if m.random.random() < 0.3:
        header = m.bytes(header) if m.random.random() < 0.5 else json.dumps(m.value(json.loads(header))).encode()
        return len(header).to_bytes(8, "little") + header + content[8 + length :]
    metadata = json.loads(json.loads(header)["__metadata__"]["lagvis"])
    metadata.pop("digest", None)
    arrays = dict(load_tensors(content))
    for _ in range(m.random.randint(1, 2)):
        name = m.pick(arrays)
        a = arrays[name]
        match m.random.randrange(8):
            case 0:
                del arrays[name]
            case 1:
                name = m.pick(arrays)
                others = ("", "x_scaling.mean", "x_scaling.limit", "ranges.low", "pixel_mean")
                arrays[m.pick((m.text(name), f"{name}.0", name.replace("0", "1"), *others))] = a
            case 2:
                arrays[name] = a.reshape(m.pick(((-1,), (-1, 1), (1, *a.shape), a.shape[::-1])))
            case 3:
                arrays[name] = a.reshape(-1)[: m.random.randrange(3)]
            case 4:
                arrays[name] = a.astype(m.pick(("f2", "f4", "f8", "i1", "i8", "u1", "u8", "?", "c8")))
            case 5:
                raw = m.bytes(a.tobytes())[: a.nbytes].ljust(a.nbytes, b"\xff")
                arrays[name] = np.frombuffer(raw, a.dtype).reshape(a.shape)
            case _:
                metadata = m.value(metadata)
    if isinstance(metadata, dict):
        metadata["digest"] = checkpoint_digest(metadata, arrays)
    return save_tensors(arrays, metadata={"lagvis": json.dumps(metadata, sort_keys=True)})


def read_checkpoint_case(folder: Path, files: Files, _: int) -> None:
    """Read a checkpoint; write an accepted one again."""
    checkpoint = read_checkpoint(folder / files[0][0])
    if checkpoint.model.encoding:
        assert len(checkpoint.model.encoding.feature_names) == checkpoint.model.widths[0]
        columns = column_facts(checkpoint.model.encoding)
        column_lines(columns)
        json.dumps(columns, allow_nan=False)
        empty = [pl.Series([None], dtype=pl.Null)] * len(checkpoint.model.encoding.columns)
        assert np.isfinite(checkpoint.model.encoding.apply(empty)).all()
    write_checkpoint(folder / "again.safetensors", checkpoint)
