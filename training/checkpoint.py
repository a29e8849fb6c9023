"""State of a run in memory: the model, its parameters and optimizer state, and how far training has come."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors.numpy import save

from lagvis.errors import NotFiniteError
from lagvis.network.normalization import fold
from lagvis.network.step import evaluated_layers
from lagvis.training.model import Model
from lagvis.tree import named_leaves

FORMAT = 3
# Metadata names of format 2 and their names since format 3.
FORMAT_2_NAMES = {"as_digits": "mnist_style", "paper": "background", "rate": "learning_rate"}
SCALINGS = ("x_scaling", "y_scaling")


@dataclass(frozen=True)
class Checkpoint:
    """A model and its state (host arrays) after `epoch` finished epochs and `step` steps.

    learning_rate  of the last step
    totals         totals of the current epoch (network/step.py), float64; empty between epochs
    best_epoch     epoch with the lowest validation loss so far; 0 before the first
    best_loss      its validation loss, as `Metrics.loss`; infinity before the first
    data           `Dataset.digest` of the training data; empty for a network of another program
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

    @property
    def layers(self) -> Any:
        """Return the layers by which the network is judged and used, without running statistics.

        They are the moving average of the weights if there is one. Batch normalisation is part of W and b.
        """
        return fold(evaluated_layers(self.state), xp=np)

    def out_of_patience(self, patience: int) -> bool:
        """Return whether the epochs since the best one are as many as the patience; a patience of 0 never ends.

        False within an epoch, whose end may be better.
        """
        return patience > 0 and not self.totals and self.epoch - self.best_epoch >= patience

    @property
    def dtype(self) -> np.dtype:
        """Return the dtype of the parameters."""
        return np.dtype(self.state["params"][0]["W"].dtype)


def all_finite(state: Any) -> bool:
    """Return whether no number of a host state is NaN or infinite."""
    return all(bool(np.isfinite(leaf).all()) for _, leaf in named_leaves(state))


def checkpoint_digest(meaning: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the metadata, and of the name, dtype, shape and bytes of every array."""
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def arrays_and_metadata(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a checkpoint by name, and its metadata with a digest; NotFiniteError if not finite."""
    model = checkpoint.model
    # safetensors writes the memory of an array in its own order, so it must be in row-major order.
    leaves = named_leaves(checkpoint.state | ({"totals": checkpoint.totals} if checkpoint.totals else {}))
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves}
    if not all_finite(arrays):
        raise NotFiniteError(f"the state after step {checkpoint.step} is not finite")
    for name in SCALINGS:
        scaling = getattr(model, name)
        if scaling is not None:
            arrays |= {f"{name}.mean": scaling.mean, f"{name}.deviation": scaling.deviation}
            if math.isfinite(scaling.limit):
                arrays[f"{name}.limit"] = np.array(scaling.limit)
    if model.ranges is not None:
        arrays |= {"ranges.low": model.ranges.low, "ranges.high": model.ranges.high}
    if model.pixel_mean:
        # An array, since a version that does not know it refuses an array, and would overlook a key of the metadata.
        arrays["pixel_mean"] = np.array(model.pixel_mean)
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
    # How files were read is left out where it says nothing, as in checkpoints of older versions.
    reading = {"label_columns": model.label_columns, "transposed": model.transposed}
    meaning |= {name: value for name, value in reading.items() if value}
    if model.normalization != "none":
        meaning["normalization"] = model.normalization
    meaning |= model.loss_settings
    if model.encoding is not None:
        meaning["encoding"] = model.encoding.as_json()
    if model.ranges is not None:
        meaning |= {
            "feature_kind": model.ranges.kind,
            "training_rows": model.ranges.rows,
            "picture_range": model.ranges.picture_range,
        }
    return arrays, meaning | {"digest": checkpoint_digest(meaning, arrays)}


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Encode a checkpoint as the bytes of its file; NotFiniteError if a number is not finite."""
    arrays, meaning = arrays_and_metadata(checkpoint)
    # A single key: safetensors writes several in no fixed order, and the files of equal runs would differ.
    return save(arrays, metadata={"lagvis": json.dumps(meaning, sort_keys=True)})
