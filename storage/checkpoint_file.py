"""Read and write checkpoints: the state of a run and its meaning in one safetensors file, replaced atomically.

A checkpoint holds no time, name or path, so that equal runs write equal files.
"""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load

from lagvis.data.json_fields import (
    require_choice,
    require_float,
    require_int,
    require_positive,
    require_strings,
    require_unique_strings,
)
from lagvis.data.tables.encoding import TableEncoding
from lagvis.errors import CheckpointError, NotFiniteError
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.storage.atomic import replace_file
from lagvis.training.checkpoint import (
    FORMAT,
    FORMAT_2_NAMES,
    SCALINGS,
    Checkpoint,
    checkpoint_bytes,
    checkpoint_digest,
)
from lagvis.training.checkpoint_schema import (
    check_layers,
    check_meaning,
    check_names,
    check_rows,
    check_totals,
    take_pixel_mean,
    take_ranges,
    take_scaling,
)
from lagvis.training.model import Model
from lagvis.tree import named_leaves, tree_from_names

HEADER_SIZE = 8  # bytes of the length of the header of a safetensors file


def os_error_reason(error: OSError) -> str:
    """Return the reason of an OSError in words."""
    return "its folder does not exist" if error.errno == errno.ENOENT else str(error.strerror)


def write_checkpoint(path: Path, checkpoint: Checkpoint, also: Path | None = None) -> None:
    """Write a checkpoint atomically to `path`, then to `also`.

    Raise NotFiniteError if parameters are NaN or infinite, CheckpointError if a file cannot be written.
    """
    try:
        content = checkpoint_bytes(checkpoint)
    except NotFiniteError as error:
        raise NotFiniteError(f"{error}; {path} is unchanged") from None
    for target in (path, also) if also else (path,):
        try:
            replace_file(target, content)
        except OSError as error:
            kept = "; the older checkpoint is unchanged" if os.path.exists(target) else ""
            raise CheckpointError(f"{target} cannot be written ({os_error_reason(error)}){kept}") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; CheckpointError if the file is damaged, of another program, or its arrays form no network."""
    try:
        with safe_open(path, framework="numpy") as file:
            meaning = json.loads((file.metadata() or {}).get("lagvis", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no dict)
    except MemoryError:
        raise
    except Exception as error:  # of safetensors, NumPy (unknown dtypes), the system and json
        raise unreadable(str(path), error) from None
    return make_checkpoint(meaning, arrays, str(path))


def checkpoint_from_bytes(content: bytes, name: str) -> Checkpoint:
    """Return the checkpoint that `checkpoint_bytes` encoded; CheckpointError as for a file, called `name`."""
    try:
        arrays = load(content)
        # safetensors gives no access to the metadata in bytes: after their length, it is a part of a JSON header
        length = int.from_bytes(content[:HEADER_SIZE], "little")
        header = json.loads(content[HEADER_SIZE : HEADER_SIZE + length])
        meaning = json.loads(header.get("__metadata__", {}).get("lagvis", "null"))
    except MemoryError:
        raise
    except Exception as error:  # of safetensors, NumPy (unknown dtypes) and json
        raise unreadable(name, error) from None
    return make_checkpoint(meaning, arrays, name)


def unreadable(name: str, error: Exception) -> CheckpointError:
    """Return the error for a file or bytes that safetensors cannot read."""
    return CheckpointError(f"{name} cannot be read as a checkpoint ({error}); use another run or an older copy")


def make_checkpoint(meaning: Any, arrays: dict[str, np.ndarray], name: str) -> Checkpoint:
    """Return the checkpoint of metadata and arrays by name, which are taken apart; CheckpointError if they are none.

    `name` is where they come from.
    """
    if not isinstance(meaning, dict) or meaning.get("format") not in (2, FORMAT):
        found = "no Lagvis header" if not isinstance(meaning, dict) else f"format {meaning.get('format')!r}"
        raise CheckpointError(
            f"{name} has {found}, expected format {FORMAT}; it was written by another program or version"
        )
    claimed = meaning.pop("digest", None)
    if claimed != checkpoint_digest(meaning, arrays):
        raise CheckpointError(
            f"{name} is damaged: its digest does not match its content; use another run or an older copy"
        )
    if meaning["format"] == 2:
        meaning = {FORMAT_2_NAMES.get(key, key): value for key, value in meaning.items()}
    try:
        scalings = {key: take_scaling(arrays, key) for key in SCALINGS}
        encoding = TableEncoding.from_json(meaning["encoding"]) if "encoding" in meaning else None
        ranges = take_ranges(arrays, meaning, encoding)
        pixel_mean = take_pixel_mean(arrays)
        state = tree_from_names(arrays)
        if lost := {*arrays} - {key for key, _ in named_leaves(state)}:
            raise ValueError(f"{', '.join(sorted(lost))} within another array")
        totals = state.pop("totals", {})
        normalization = require_choice(NORMALIZATIONS, meaning.get("normalization", "none"))
        check_names(state, normalization)
        widths = check_layers(state["params"])
        model = Model(
            widths=widths,
            activation=require_choice(ACTIVATIONS, meaning["activation"]),
            loss=require_choice(LOSSES, meaning["loss"]),
            shape=tuple(require_int(n, minimum=1) for n in meaning["shape"]),
            class_names=require_unique_strings(meaning["class_names"]),
            target_names=require_unique_strings(meaning["target_names"]),
            unit=str(meaning["unit"]),
            feature_names=require_strings(meaning["feature_names"]),
            label_names=require_strings(meaning["label_names"]),
            mnist_style=meaning["mnist_style"] is True,
            background=require_int(meaning["background"]),
            label_columns=tuple(require_int(n, minimum=1) for n in meaning.get("label_columns", ())),
            transposed=meaning.get("transposed") is True,
            encoding=encoding,
            ranges=ranges,
            pixel_mean=pixel_mean,
            normalization=normalization,
            huber_delta=require_positive(meaning.get("huber_delta", 1.0)),
            **scalings,
        )
        check_meaning(model, state)
        check_rows(model)
        check_totals(model, totals)
        epoch, step, best_epoch = (require_int(meaning[key]) for key in ("epoch", "step", "best_epoch"))
        rate, best_loss = (
            require_float(meaning["learning_rate"]),
            require_float(meaning["best_loss"]) if best_epoch else math.inf,
        )
        if best_epoch > epoch or rate < 0:
            raise ValueError(f"a best epoch {best_epoch} of {epoch}, a learning rate of {rate}")
        if meaning["format"] == 2:
            best_epoch, best_loss = best_of_format_2(model, best_epoch, best_loss)
        return Checkpoint(model, state, epoch, step, rate, totals, best_epoch, best_loss, str(meaning["data"]))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{name} does not hold a complete network ({error}); use another run or an older copy"
        ) from None


def best_of_format_2(model: Model, best_epoch: int, best_loss: float) -> tuple[int, float]:
    """Return the best epoch and its loss as format 3 counts them; (0, infinity) if they cannot be known.

    Format 2 kept the loss of regression in the user's unit squared, as a mean over targets, and chose the epoch by it.
    """
    if model.y_scaling is None:
        return best_epoch, best_loss
    if model.widths[-1] > 1:
        return 0, math.inf
    deviation = float(model.y_scaling.deviation[0])
    standardised = best_loss / deviation / deviation  # divided twice: the square may not be a float
    return (best_epoch, standardised) if math.isfinite(standardised) else (0, math.inf)
