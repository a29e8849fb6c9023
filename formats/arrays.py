"""A network as arrays: a safetensors file or an NPZ file.

`params.i.W` (n_in, n_out) and `params.i.b` (n_out,) are the layers, i from 0: z = a W + b. Before the first layer, rows
are scaled: bytes as x / 255 - pixel_mean, where a missing `pixel_mean` is 0, numbers as (x - x_scaling.mean) /
x_scaling.deviation, where the deviation infinity belongs to a column that was constant in training and counts as 0, cut
off at -x_scaling.limit and x_scaling.limit if there is such an array. The numbers of a table are the features that its
`encoding`, in the metadata, makes of its columns. After the last layer comes softmax for classes (loss
cross-entropy in the metadata), a sigmoid for labels (binary-cross-entropy), and z * y_scaling.deviation +
y_scaling.mean for numbers.
"""

import io
import json
from dataclasses import replace

import numpy as np

from lagvis.network.step import evaluated_layers
from lagvis.training.checkpoint import Checkpoint, arrays_and_metadata, checkpoint_bytes


def without_optimizer_state(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with its layers alone, which is all that prediction needs."""
    model = checkpoint.model
    if any("mean" in layer for layer in evaluated_layers(checkpoint.state)):  # they become part of W and b
        model = replace(model, normalization="none")
    return Checkpoint(model, {"params": checkpoint.layers}, checkpoint.epoch, checkpoint.step)


def safetensors_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a safetensors file whose metadata key `lagvis` holds the meaning of the arrays as JSON.

    Lagvis reads the file again as a network.
    """
    return checkpoint_bytes(without_optimizer_state(checkpoint))


def npz_bytes(checkpoint: Checkpoint) -> bytes:
    """Return an NPZ file without pickle; its text array `lagvis` holds the meaning of the arrays as JSON."""
    arrays, meaning = arrays_and_metadata(without_optimizer_state(checkpoint))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays, lagvis=np.array(json.dumps(meaning, sort_keys=True)))
    return file.getvalue()
