"""Checkpoints: the whole state and what it means in one safetensors file, replaced as a whole or not at all.

Nothing in it tells a time, a name or a place, so that equal runs write equal files.
"""

import errno
import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from data.picture import SIDE
from data.scaling import Scaling
from network.activations import ACTIVATIONS
from network.losses import LOSSES
from network.optimizers import OPTIMIZERS
from network.tree import named_leaves, tree_from_names
from training.files import replace_file
from training.model import Model

FORMAT = 2
SCALINGS = ("x_scaling", "y_scaling")


class CheckpointError(Exception):
    """A checkpoint that cannot be read or written; the text names it, what was found and what to do."""

    exit_code = 7


class NotFiniteError(Exception):
    """A loss or a state that holds numbers that are none."""

    exit_code = 6


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: a model and its state (host arrays) after `epoch` whole epochs and `step` steps.

    rate     of the last step
    totals   sums of the epoch that has begun, float64; empty between epochs
    best_*   the epoch with the lowest validation loss so far, and that loss; 0 and infinity before there is one
    data     `Dataset.digest` of what it learned from; empty for a network from elsewhere
    """

    model: Model
    state: Any
    epoch: int
    step: int
    rate: float = 0.0
    totals: dict[str, np.ndarray] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    data: str = ""


def all_finite(state: Any) -> bool:
    """Whether a host state holds numbers and nothing else."""
    return all(bool(np.isfinite(leaf).all()) for _, leaf in named_leaves(state))


def digest_of(meaning: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over everything a checkpoint says: its meaning, and every array by name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def parts_of(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Every array of a checkpoint by name, and their meaning, with a digest; NotFiniteError if one is no number."""
    model = checkpoint.model
    # The library writes the memory of an array as it lies, and says nothing where that is not row by row.
    leaves = named_leaves(checkpoint.state | ({"totals": checkpoint.totals} if checkpoint.totals else {}))
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves}
    for name in SCALINGS:
        scaling = getattr(model, name)
        if scaling is not None:
            arrays |= {f"{name}.mean": scaling.mean, f"{name}.deviation": scaling.deviation}
    if not all_finite(arrays):
        raise NotFiniteError(f"the state after step {checkpoint.step} holds numbers that are none")
    meaning = {
        "format": FORMAT,
        "activation": model.activation,
        "loss": model.loss,
        "shape": model.shape,
        "class_names": model.class_names,
        "target_names": model.target_names,
        "unit": model.unit,
        "feature_names": model.feature_names,
        "label_names": model.label_names,
        "as_digits": model.as_digits,
        "paper": model.paper,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "rate": checkpoint.rate,
        "best_epoch": checkpoint.best_epoch,
        "best_loss": checkpoint.best_loss if checkpoint.best_epoch else None,
        "data": checkpoint.data,
    }
    return arrays, meaning | {"digest": digest_of(meaning, arrays)}


def file_of(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the bytes of its file; NotFiniteError if it holds numbers that are none."""
    arrays, meaning = parts_of(checkpoint)
    # One key only: the library writes several in an order of its own, and equal runs would differ.
    return save(arrays, metadata={"lagvis": json.dumps(meaning, sort_keys=True)})


def why(error: OSError) -> str:
    """What is in the way of a file, in words."""
    return "its folder is gone" if error.errno == errno.ENOENT else str(error.strerror)


def write_checkpoint(path: Path, checkpoint: Checkpoint, also: Path | None = None) -> None:
    """Write beside `path`, flush to the disk, rename: at every instant `path` is the old file or the new one, whole.

    Then the same to `also`.
    """
    try:
        content = file_of(checkpoint)
    except NotFiniteError as error:
        raise NotFiniteError(f"{error}; {path} stays as it is") from None
    for target in (path, also) if also else (path,):
        try:
            replace_file(target, content)
        except OSError as error:
            kept = "; the checkpoint before it stands" if os.path.exists(target) else ""
            raise CheckpointError(f"{target} cannot be written ({why(error)}){kept}") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; CheckpointError if it is none of ours, or its arrays do not form a network."""
    try:
        with safe_open(path, framework="numpy") as file:
            meaning = json.loads((file.metadata() or {}).get("lagvis", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no dict)
    except MemoryError:
        raise
    except Exception as error:  # the library's own errors, NumPy's for types it lacks, the system's, json's
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}); use another run or an older copy"
        ) from None
    if not isinstance(meaning, dict) or meaning.get("format") != FORMAT:
        found = "no Lagvis header" if not isinstance(meaning, dict) else f"format {meaning.get('format')!r}"
        raise CheckpointError(
            f"{path} has {found}, expected format {FORMAT}; it was written by another program or version"
        )
    claimed = meaning.pop("digest", None)
    if claimed != digest_of(meaning, arrays):
        raise CheckpointError(
            f"{path} is damaged: its digest does not fit what it holds; use another run or an older copy"
        )
    try:
        scalings = {name: take_scaling(arrays, name) for name in SCALINGS}
        state = tree_from_names(arrays)
        if lost := {*arrays} - {name for name, _ in named_leaves(state)}:
            raise ValueError(f"{', '.join(sorted(lost))} within another array")
        totals = state.pop("totals", {})
        check_names(state)
        widths = check_layers(state["params"])
        model = Model(
            widths=widths,
            activation=one_of(ACTIVATIONS, meaning["activation"]),
            loss=one_of(LOSSES, meaning["loss"]),
            shape=tuple(whole(n, least=1) for n in meaning["shape"]),
            class_names=names(meaning["class_names"]),
            target_names=names(meaning["target_names"]),
            unit=str(meaning["unit"]),
            feature_names=texts(meaning["feature_names"]),
            label_names=texts(meaning["label_names"]),
            as_digits=meaning["as_digits"] is True,
            paper=whole(meaning["paper"]),
            **scalings,
        )
        check_meaning(model, state)
        check_rows(model)
        check_totals(model, totals)
        epoch, step, best_epoch = (whole(meaning[name]) for name in ("epoch", "step", "best_epoch"))
        rate, best_loss = finite(meaning["rate"]), finite(meaning["best_loss"]) if best_epoch else math.inf
        if best_epoch > epoch or rate < 0:
            raise ValueError(f"a best epoch {best_epoch} of {epoch}, a rate of {rate}")
        return Checkpoint(model, state, epoch, step, rate, totals, best_epoch, best_loss, str(meaning["data"]))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not hold a whole network ({error}); use another run or an older copy"
        ) from None


def take_scaling(arrays: dict[str, np.ndarray], name: str) -> Scaling | None:
    """The scaling of that name, taken out of `arrays`; None where there is none."""
    parts = [arrays.pop(f"{name}.{part}") for part in ("mean", "deviation") if f"{name}.{part}" in arrays]
    if len(parts) == 1:
        raise ValueError(f"half of {name} is missing")
    return Scaling(*parts) if parts else None


def whole(value: Any, *, least: int = 0) -> int:
    """A whole number from `least`; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} where a whole number from {least} belongs")
    return value


def finite(value: Any) -> float:
    """A finite number; ValueError for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a number belongs")
    return float(value)


def texts(value: Any) -> tuple[str, ...]:
    """Texts; ValueError for anything else."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{value!r} where names belong")
    return tuple(value)


def names(value: Any) -> tuple[str, ...]:
    """Texts, each once; ValueError for anything else."""
    found = texts(value)
    if len({*found}) < len(found):
        raise ValueError(f"{value!r} where names belong, each once")
    return found


def check_names(state: Any) -> None:
    """ValueError unless there are parameters, known slots, W and b in every layer and nothing else, of one dtype."""
    known = {"params"}.union(*(optimizer(momentum=0.5, nesterov=False).slots for optimizer in OPTIMIZERS.values()))
    strange = {*state} - known
    for slot in {*state} & known:
        layers = state[slot] if isinstance(state[slot], list) else [{}]
        strange |= {f"{slot}.{i}.{name}" for i, layer in enumerate(layers) for name in {*layer} ^ {"W", "b"}}
    if strange:
        raise ValueError(f"{', '.join(sorted(strange))} beside what belongs there, or missing")
    dtypes = sorted({str(leaf.dtype) for _, leaf in named_leaves(state)})
    if dtypes not in (["float32"], ["float64"]):
        raise ValueError(f"numbers of type {' and '.join(dtypes)}, expected float32 or float64 throughout")


def check_layers(params: Any) -> tuple[int, ...]:
    """The widths of layers that fit each other; ValueError if they do not."""
    widths: list[int] = []
    for i, layer in enumerate(params):
        n_in, n_out = layer["W"].shape
        if layer["b"].shape != (n_out,) or (widths and widths[-1] != n_in):
            raise ValueError(
                f"layer {i} has W {layer['W'].shape} and b {layer['b'].shape} after a width of {widths[-1:]}"
            )
        widths += [n_out] if widths else [n_in, n_out]
    if not widths:
        raise ValueError("no layers")
    return tuple(widths)


def check_meaning(model: Model, state: Any) -> None:
    """ValueError unless shape, names, scalings and optimizer slots fit the layers, and every number is finite."""
    n_in, n_out = model.widths[0], model.widths[-1]
    if math.prod(model.shape) != n_in:
        raise ValueError(f"rows of shape {model.shape} for {n_in} inputs")
    if len(model.class_names or model.target_names) != n_out or (model.class_names and model.target_names):
        raise ValueError(f"{len(model.class_names)} classes and {len(model.target_names)} targets for {n_out} outputs")
    for scaling, width in ((model.x_scaling, n_in), (model.y_scaling, n_out)):
        if scaling is None:
            continue
        if not scaling.mean.shape == scaling.deviation.shape == (width,):
            raise ValueError(f"a scaling of {scaling.mean.shape} for {width} columns")
        if not all_finite(vars(scaling)) or not (scaling.deviation > 0).all():
            raise ValueError("a scaling by numbers that are none, or by 0")
    if (model.y_scaling is not None) != bool(model.target_names):
        raise ValueError("numbers are predicted with a scaling, classes without")
    shapes = {name: leaf.shape for name, leaf in named_leaves(state["params"])}
    for slot, tree in state.items():
        if {name: leaf.shape for name, leaf in named_leaves(tree)} != shapes:
            raise ValueError(f"{slot} does not fit the parameters")
    for name, leaf in named_leaves(state):
        if not np.isfinite(leaf).all():
            raise ValueError(f"{name} holds numbers that are none")


def check_rows(model: Model) -> None:
    """ValueError unless what is said of the rows that the network learned from can be."""
    if len(model.feature_names) not in (0, model.widths[0]) or model.paper > 255:
        raise ValueError(f"{len(model.feature_names)} names for {model.widths[0]} columns, a paper of {model.paper}")
    if model.as_digits and (model.shape != (SIDE, SIDE) or model.x_scaling is not None):
        raise ValueError(f"rows of shape {model.shape} as digits of {SIDE}x{SIDE} bytes")


def check_totals(model: Model, totals: Any) -> None:
    """ValueError unless the sums of an epoch that has begun are those of such a model, or there are none."""
    kind = {"squared_error": (model.widths[-1],)} if model.target_names else {"correct": ()}
    plain: dict[str, Any] = {"loss": (), "weight": ()} | kind
    found = {name: leaf.shape for name, leaf in named_leaves(totals)}
    if totals and found not in (plain, plain | {"rows": ()}):
        raise ValueError("sums that do not belong to such a network")
    if not all_finite(totals):
        raise ValueError("sums that are no numbers")


def one_of(known: Any, name: str) -> str:
    """`name`, if it is known; ValueError if not."""
    if name not in known:
        raise ValueError(f"unknown function {name!r}")
    return name
