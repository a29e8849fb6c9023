"""Networks in the format of the paper's program: a folder of weightlayer1.npy, biaslayer1.npy, weightlayer2.npy, ...

Weights are float64 (n_out, n_in), biases float64 (n_out, 1). Bytes are multiplied by 1/255 before the first layer; ReLU
follows the hidden layers, softmax the last one.
"""

import io
import math
import re
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.data.formats.npz import read_npy
from lagvis.errors import CheckpointError, ExportError
from lagvis.option_text import setting
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.checkpoint_schema import check_layers
from lagvis.training.model import MNIST_SHAPE, Model

WEIGHTS, BIASES = "weightlayer{}.npy", "biaslayer{}.npy"
FIRST = WEIGHTS.format(1)


def read_paper_network(folder: Path) -> Checkpoint:
    """Return the network in a folder, at epoch 0 and step 0; CheckpointError if a file is missing or invalid."""
    params: list[dict[str, np.ndarray]] = []
    for i in count(1):
        weights, biases = folder / WEIGHTS.format(i), folder / BIASES.format(i)
        if i > 1 and not (weights.exists() or biases.exists()):
            break
        params.append({"W": read_matrix(weights).T, "b": read_matrix(biases).T})
        n_out = params[-1]["W"].shape[1]
        if params[-1]["b"].shape != (1, n_out):
            raise CheckpointError(
                f"{biases} has the shape {params[-1]['b'].T.shape}, expected {(n_out, 1)} as {weights.name} has it"
            )
        params[-1]["b"] = params[-1]["b"][0]
    try:
        widths = check_layers(params)
    except ValueError as error:
        raise CheckpointError(
            f"the layers in {folder} do not fit each other ({error}); save the network again"
        ) from None
    model = Model(
        widths=widths,
        activation="relu",
        loss="cross-entropy",
        shape=MNIST_SHAPE if widths[0] == math.prod(MNIST_SHAPE) else (widths[0],),
        class_names=tuple(str(i) for i in range(widths[-1])),
        target_names=(),
        unit="",
        x_scaling=None,
        y_scaling=None,
        mnist_style=widths[0] == math.prod(MNIST_SHAPE),  # the paper's program trains on MNIST alone
    )
    return Checkpoint(model, {"params": params}, 0, 0)


def read_matrix(path: Path) -> Any:
    """Return the matrix in an .npy file as float64; CheckpointError for pickles, broken files, non-finite values."""
    try:
        with path.open("rb") as file:
            found = read_npy(file, path.stat().st_size)
    except MemoryError:
        raise
    except Exception as error:  # OSError, and anything that NumPy raises for a broken header
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be read as a matrix ({reason}); save the network again") from None
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = found.astype(np.float64) if found.dtype.kind in "fiu" else np.empty(0)
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise CheckpointError(f"{path} holds {found.dtype} of shape {found.shape}; expected a matrix of finite numbers")
    return matrix


def paper_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files that the paper's program loads, by name; ExportError for a network that it cannot represent."""
    model = checkpoint.model
    reasons = {
        "numbers": model.y_scaling is not None,
        "labels of which a row may have several": model.multi_label,
        "real-valued columns": model.x_scaling is not None,
        f"the activation {model.activation}": model.activation != "relu" and len(model.widths) > 2,
        "layer normalisation": model.normalization == "layer" and len(model.widths) > 2,
    }
    if found := [reason for reason, holds in reasons.items() if holds]:
        raise ExportError(
            f"the paper's program supports ReLU networks that classify images, and this one has "
            f"{' and '.join(found)}; use {setting('format')} safetensors, npz or onnx"
        )
    files: dict[str, bytes] = {}
    for i, layer in enumerate(model.for_pixels_from_0_to_1(checkpoint.layers), start=1):
        for name, matrix in ((WEIGHTS.format(i), layer["W"].T), (BIASES.format(i), layer["b"][:, None])):
            file = io.BytesIO()
            np.save(file, np.ascontiguousarray(matrix, np.float64), allow_pickle=False)
            files[name] = file.getvalue()
    return files


def is_paper_folder(path: Path) -> bool:
    """Return whether a path is a folder, not a link, that holds files of the paper's program and nothing else."""
    named = re.compile(f"{WEIGHTS.format('[0-9]+')}|{BIASES.format('[0-9]+')}")
    if path.is_symlink() or not path.is_dir():
        return False
    return all(named.fullmatch(child.name) for child in path.iterdir())
