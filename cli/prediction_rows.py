"""Predict the rows of inputs, and describe each prediction as a JSON object."""

from typing import Any

import numpy as np

from lagvis.data.predict_input import InputBatch, InputError, Inputs
from lagvis.inference.prediction import outputs as network_outputs
from lagvis.report.terminal.prediction_table import row_name
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import LABEL_THRESHOLD, Model

TOO_LARGE = "holds numbers too large for the network; are they in the unit that it was trained on?"
# Of every prediction; null where a key belongs to classes, labels or numbers and the network predicts others.
PREDICTION_KEYS = (
    "file", "row", "answer", "probability", "runner_up", "runner_up_probability", "labels", "probabilities", "values",
    "unit", "label", "notes",
)  # fmt: skip


def prediction_rows(model: Model, batch: InputBatch, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Return a JSON object for each row of a batch; outputs (N, n_out) are those of the network.

    A blank picture, and a row whose outputs are not finite, have no answer.
    """
    rows = []
    for i, output in enumerate(outputs.tolist()):
        row: dict[str, Any] = dict.fromkeys(PREDICTION_KEYS)
        row |= {"file": batch.file, "row": None if batch.image else batch.first_row + i + 1}
        if model.y_scaling is not None:
            row |= {"values": dict(zip(model.target_names, output, strict=True)), "unit": model.unit or None}
        elif model.multi_label:
            blank = is_blank(batch, outputs[i])
            found = [name for name, p in zip(model.class_names, output, strict=True) if p > LABEL_THRESHOLD]
            row["labels"] = None if blank else found
            row["probabilities"] = None if blank else dict(zip(model.class_names, output, strict=True))
        else:
            blank = is_blank(batch, outputs[i])
            order = () if blank else np.argsort(-outputs[i], kind="stable")[:2]
            best = [*((model.class_names[k], output[k]) for k in order), (None, None), (None, None)]
            row |= {"answer": best[0][0], "probability": best[0][1]}
            row |= {"runner_up": best[1][0], "runner_up_probability": best[1][1]}
            row["probabilities"] = None if blank else dict(zip(model.class_names, output, strict=True))
        if batch.labels is not None:
            label = batch.labels[i]
            names = model.target_names or model.class_names
            row["label"] = dict(zip(names, label, strict=True)) if isinstance(label, list) else label
        rows.append(row | {"notes": list(batch.image.notes) if batch.image else []})
    return rows


def is_blank(batch: InputBatch, output: np.ndarray) -> bool:
    """Return whether a row, with its outputs (n_out,), has no answer."""
    return (batch.image is not None and batch.image.blank) or not np.isfinite(output).all()


def predict_batches(checkpoint: Checkpoint, inputs: Inputs) -> list[np.ndarray]:
    """Return the outputs (N, n_out) of each batch; all rows are predicted at once."""
    if not inputs.batches:
        return []
    with np.errstate(all="ignore"):
        outputs = network_outputs(
            checkpoint.model, checkpoint.layers, np.concatenate([batch.x for batch in inputs.batches])
        )
    return np.split(outputs, np.cumsum([len(batch.x) for batch in inputs.batches])[:-1])


def predict_inputs(checkpoint: Checkpoint, inputs: Inputs) -> list[dict[str, Any]]:
    """Predict all batches; one with numbers too large for the network becomes an error of its file."""
    rows: list[dict[str, Any]] = []
    predicted: list[InputBatch] = []
    for batch, output in zip(inputs.batches, predict_batches(checkpoint, inputs), strict=True):
        not_finite = np.flatnonzero(~np.isfinite(output).all(axis=1))
        if len(not_finite):
            name = row_name(batch.file, None if batch.image else int(not_finite[0]) + 1)
            inputs.errors.append(InputError(batch.file, f"{name} {TOO_LARGE}"))
        else:
            predicted.append(batch)
            rows += prediction_rows(checkpoint.model, batch, output)
    inputs.batches = predicted
    return rows
