"""State of a run in memory: the model, its parameters and optimizer state, and how far training has come."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors.numpy import save

from lagvis.errors import NotFiniteError
from lagvis.training.model import Model
from lagvis.tree import named_leaves

FORMAT = 3
# Metadata that format 2 called otherwise: {its name: today's}.
FORMAT_2_NAMES = {"as_digits": "mnist_style", "paper": "background", "rate": "learning_rate"}
SCALINGS = ("x_scaling", "y_scaling")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: a model and its state (host arrays) after `epoch` whole epochs and `step` steps.

    learning_rate  of the last step
    totals   sums of the epoch that has begun, float64; empty between epochs
    best_*   the epoch with the lowest validation loss so far, and that loss; 0 and infinity before there is one
    data     `Dataset.digest` of what it learned from; empty for a network from elsewhere
    """

    model: Model
    state: Any
    epoch: int
    step: int
    learning_rate: float = 0.0
    totals: dict[str, np.ndarray] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    data: str = ""


def all_finite(state: Any) -> bool:
    """Whether a host state holds numbers and nothing else."""
    return all(bool(np.isfinite(leaf).all()) for _, leaf in named_leaves(state))


def checkpoint_digest(meaning: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over everything a checkpoint says: its meaning, and every array by name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def arrays_and_metadata(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
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
        "mnist_style": model.mnist_style,
        "background": model.background,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "learning_rate": checkpoint.learning_rate,
        "best_epoch": checkpoint.best_epoch,
        "best_loss": checkpoint.best_loss if checkpoint.best_epoch else None,
        "data": checkpoint.data,
    }
    return arrays, meaning | {"digest": checkpoint_digest(meaning, arrays)}


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the bytes of its file; NotFiniteError if it holds numbers that are none."""
    arrays, meaning = arrays_and_metadata(checkpoint)
    # One key only: the library writes several in an order of its own, and equal runs would differ.
    return save(arrays, metadata={"lagvis": json.dumps(meaning, sort_keys=True)})
