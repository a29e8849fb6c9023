"""A network as arrays: a safetensors file or an NPZ file.

`params.i.W` (n_in, n_out) and `params.i.b` (n_out,) are the layers, i from 0: z = a W + b. Batch normalisation is part
of W and b. Hidden layers with layer normalisation also have `params.i.gamma` (n_out,): with p = a W and the mean and
variance (divisor n_out) of each row of p, z = gamma (p - mean) / sqrt(variance + 1e-5) + b.

Before the first layer, rows are scaled: bytes as x / 255 - pixel_mean, where a missing `pixel_mean` is 0, numbers as
(x - x_scaling.mean) / x_scaling.deviation, where the deviation infinity belongs to a column that was constant in
training and counts as 0, cut off at -x_scaling.limit and x_scaling.limit if there is such an array. The numbers of a
table are the features that its `encoding`, in the metadata, makes of its columns. After the last layer comes softmax
for classes, a sigmoid for labels (the loss binary-cross-entropy in the metadata), and z * y_scaling.deviation +
y_scaling.mean for numbers.
"""

import io
import json
from dataclasses import replace

import numpy as np

from lagvis.training.checkpoint import Checkpoint, arrays_and_metadata, checkpoint_bytes


def without_optimizer_state(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with its layers alone, all that prediction needs; batch normalisation is folded."""
    model = checkpoint.model
    if not any("gamma" in layer for layer in checkpoint.layers):
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
