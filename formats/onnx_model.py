"""A network as an ONNX model."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lagvis.data.tables.encoding import TableEncoding
from lagvis.errors import ExportError
from lagvis.formats.onnx_columns import ColumnInput, column_inputs, encode_columns
from lagvis.formats.onnx_graph import ML_DOMAIN, GraphBuilder
from lagvis.formats.onnx_layers import ONNX_ACTIVATIONS, OnnxActivation, add_layers
from lagvis.network.step import PIXEL_SCALE
from lagvis.option_text import option, setting
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import Model

# Softmax has its present meaning since operator set 13, which onnxruntime supports since 1.6; IR 7 and version 2 of
# ai.onnx.ml, in which LabelEncoder got its present attributes, go with it.
OPSET, ML_OPSET, IR = 13, 2, 7
MAX_ONNX_BYTES = 2**31 - 2**20  # a protobuf message ends at 2 GB
MAX_DEVIATIONS = 10  # from the mean, within which values must be finite in float32
MAX_RELATIVE_MEAN = 1e4  # |mean| / deviation, above which float32 rounds by more than a thousandth of a deviation
MATRIX, COLUMNS, AUTO = "matrix", "columns", "auto"
ONNX_INPUTS = (AUTO, COLUMNS, MATRIX)
PROBABILITIES, LABEL, NUMBERS = OUTPUTS = ("probabilities", "label", "numbers")
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")  # as int64 writes it again


def onnx_bytes(checkpoint: Checkpoint, inputs: str = AUTO) -> bytes:
    """Return an ONNX file of a network.

    `inputs`, one of ONNX_INPUTS, says what it takes:

    MATRIX   `x` (N, n_in) in the network's dtype: bytes as 0..255, numbers as in the data, the encoded features of a
             table
    COLUMNS  an input (N, 1) for each column of the training table, a `ColumnInput`; the graph encodes and scales the
             columns, in double
    AUTO     COLUMNS for a table that holds more than numbers, MATRIX for everything else

    Outputs: `probabilities` (N, K) in the network's dtype and `label` (N,), the likeliest class, int64 if all classes
    are whole numbers and otherwise strings; or `numbers` (N, n_out) in their unit, double beside COLUMNS and otherwise
    in the network's dtype.

    Raises ExportError if onnx is not installed, the network is too large, its activation has no ONNX operator, the
    scaling is outside the range of float32, or the network has no columns to take.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise ExportError(f"the format onnx needs the package onnx ({error}); pip install -e '.[onnx]'") from None
    model, params = checkpoint.model, checkpoint.layers
    dtype = params[0]["W"].dtype
    if model.parameters * dtype.itemsize > MAX_ONNX_BYTES:
        raise ExportError(
            f"an ONNX file holds at most 2 GB, and this network is larger; use {option('format', 'safetensors')}"
        )
    activation = onnx_activation(model)
    columns = onnx_columns(model, inputs)
    if columns:
        graph = GraphBuilder([*(column.name for column in columns), *OUTPUTS])
        given = [tensor_info(column.name, column.dtype, ["N", 1]) for column in columns]
        scaled = add_scaling(graph, encode_columns(graph, columns), model, np.dtype(np.float64))
        scaled = graph.cast(scaled, dtype, "a0")
    else:
        check_float32_range(checkpoint)
        graph = GraphBuilder(["x", *OUTPUTS])
        given = [tensor_info("x", dtype, ["N", model.widths[0]])]
        scaled = add_scaling(graph, "x", model, dtype)
    z = add_layers(graph, scaled, params, activation)
    onnx_model = helper.make_model(
        helper.make_graph(
            graph.nodes, "network", given, add_outputs(graph, z, model, dtype, as_double=bool(columns)), graph.constants
        ),
        producer_name="lagvis",
        ir_version=IR,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            *([helper.make_opsetid(ML_DOMAIN, ML_OPSET)] if columns else []),
        ],
    )
    helper.set_model_props(onnx_model, onnx_metadata(model, columns))
    onnx.checker.check_model(onnx_model, full_check=True)
    return bytes(onnx_model.SerializeToString(deterministic=True))


def onnx_columns(model: Model, inputs: str) -> list[ColumnInput]:
    """Return the inputs of a network for the columns of a table; none where it takes a matrix.

    ExportError where columns are asked for and the network has learned from no table, or from pictures.
    """
    encoding = model.encoding
    if inputs == MATRIX or (inputs == AUTO and not needs_columns(encoding)):
        return []
    if encoding is None or not has_columns(model):
        found = "pictures" if len(model.shape) > 1 else "rows without columns that are known"
        raise ExportError(
            f"the network has learned from {found}, and --onnx-inputs columns needs one that has learned from the "
            "columns of a table; use --onnx-inputs matrix"
        )
    return column_inputs(encoding, OUTPUTS)


def has_columns(model: Model) -> bool:
    """Tell whether a network has learned from the columns of a table, and not from pictures."""
    return model.encoding is not None and len(model.shape) == 1


def needs_columns(encoding: TableEncoding | None) -> bool:
    """Tell whether training had columns of a table that are no numbers as they are, or lacked cells."""
    if encoding is None:
        return False
    return not encoding.is_plain or any(column.missing_cells for column in encoding.columns)


def add_scaling(graph: GraphBuilder, value: str, model: Model, dtype: np.dtype) -> str:
    """Add the scaling of rows (N, n_in) in `dtype` and return the name of the scaled rows."""
    scaling = model.x_scaling
    if scaling is None:
        value = graph.add("Mul", value, graph.constant("pixel_scale", PIXEL_SCALE, dtype), name="scaled")
        if not model.pixel_mean:
            return value
        return graph.add("Sub", value, graph.constant("pixel_mean", model.pixel_mean, dtype), name="centred")
    # A column that was constant in training becomes 0 by its deviation, infinity; float32 may not hold its mean.
    mean = graph.constant("x_scaling.mean", np.where(scaling.constant, 0.0, scaling.mean), dtype)
    deviation = graph.constant("x_scaling.deviation", scaling.deviation, dtype)
    value = graph.add("Div", graph.add("Sub", value, mean, name="centred"), deviation, name="scaled")
    if math.isinf(scaling.limit):
        return value
    limits = (("x_scaling.lowest", -scaling.limit), ("x_scaling.highest", scaling.limit))
    return graph.add("Clip", value, *(graph.constant(name, limit, dtype) for name, limit in limits), name="limited")


def add_outputs(graph: GraphBuilder, z: str, model: Model, dtype: np.dtype, *, as_double: bool) -> list[Any]:
    """Add what follows the last layer and return the outputs of the graph; numbers are computed in double if asked."""
    from onnx import helper

    if model.y_scaling is not None:
        if as_double:
            z, dtype = graph.cast(z, np.float64, "z_double"), np.dtype(np.float64)
        deviation = graph.constant("y_scaling.deviation", model.y_scaling.deviation, dtype)
        mean = graph.constant("y_scaling.mean", model.y_scaling.mean, dtype)
        graph.add_output("Add", graph.add("Mul", z, deviation, name="z_scaled"), mean, name=NUMBERS)
        return [tensor_info(NUMBERS, dtype, ["N", model.widths[-1]])]
    if model.multi_label:
        graph.add_output("Sigmoid", z, name=PROBABILITIES)
        above = graph.add("Greater", z, graph.constant("zero", 0.0, dtype), name="above_zero")
        graph.add_output("Cast", above, name=LABEL, to=helper.np_dtype_to_tensor_dtype(np.dtype(np.int64)))
        shape = ["N", model.widths[-1]]
        return [tensor_info(PROBABILITIES, dtype, shape), tensor_info(LABEL, np.int64, shape)]
    graph.add_output("Softmax", z, name=PROBABILITIES, axis=-1)
    classes = label_values(model.class_names)
    likeliest = graph.add("ArgMax", z, name="class_index", axis=-1, keepdims=0)
    graph.add_output("Gather", graph.constant("class_labels", classes), likeliest, name=LABEL)
    return [tensor_info(PROBABILITIES, dtype, ["N", model.widths[-1]]), tensor_info(LABEL, classes.dtype, ["N"])]


def label_values(class_names: Sequence[str]) -> np.ndarray:
    """Return the classes as the output `label` gives them: int64 if all are whole numbers, otherwise strings."""
    if all(WHOLE_NUMBER.fullmatch(name) for name in class_names):
        return np.array(list(map(int, class_names)), np.int64)
    return np.array(class_names, object)


def tensor_info(name: str, dtype: Any, shape: list[Any]) -> Any:
    """Return the description of an input or output; the NumPy type object stands for strings."""
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def onnx_activation(model: Model) -> OnnxActivation:
    """Return how the activation of a model is built; ExportError if Lagvis does not know it."""
    activation = ONNX_ACTIVATIONS.get(model.activation) if len(model.widths) > 2 else ONNX_ACTIVATIONS["identity"]
    if activation is None:
        raise ExportError(
            f"the activation {model.activation} has no ONNX operator in Lagvis; use {setting('format')} "
            "safetensors or npz"
        )
    return activation


def onnx_metadata(model: Model, columns: Sequence[ColumnInput] = ()) -> dict[str, str]:
    """Return the meaning of inputs and outputs as the metadata of an ONNX file; every value is JSON."""
    meaning: dict[str, Any] = {"shape": model.shape}
    if columns:
        meaning |= {"input": "columns of a table", "columns": [column.as_json() for column in columns]}
    elif model.encoding is not None and not model.encoding.is_plain:
        meaning |= {"input": "encoded features", "encoding": model.encoding.as_json()}
    else:
        meaning["input"] = "bytes, 0 to 255" if model.x_scaling is None else "numbers as given"
    if model.y_scaling is None:
        meaning["class_names"] = model.class_names
        if model.multi_label:
            meaning["multi_label"] = True
    else:
        meaning |= {"target_names": model.target_names, "unit": model.unit}
    if model.feature_names:
        meaning["feature_names"] = model.feature_names
    if model.ranges is not None:
        meaning |= {
            "feature_kind": model.ranges.kind,
            "picture_range": model.ranges.picture_range,
            "training_low": model.ranges.low.tolist(),
            "training_high": model.ranges.high.tolist(),
        }
    return {key: json.dumps(value) for key, value in meaning.items()}


def check_float32_range(checkpoint: Checkpoint) -> None:
    """Raise ExportError if a mean or deviation of a float32 network is outside the range of float32."""
    limits = np.finfo(np.float32)
    for name, mean, deviation in float32_scalings(checkpoint):
        if abs(mean) + MAX_DEVIATIONS * deviation > float(limits.max) or deviation < float(limits.tiny):
            raise ExportError(
                f"{name} (mean {mean:.6g}, deviation {deviation:.3g}) is outside the range of float32, in which an "
                f"ONNX file of this network scales; {'use --onnx-inputs columns, or ' * has_columns(checkpoint.model)}"
                f"train with {option('dtype', 'float64')}, or use {setting('format')} safetensors or npz"
            )


def float32_scalings(checkpoint: Checkpoint) -> Iterator[tuple[str, float, float]]:
    """Yield name, mean and deviation of each column, then of each target, that an ONNX file standardises in float32.

    Nothing is yielded for a float64 network, and for columns that were constant in training, which count as nothing.
    Lagvis itself standardises in float64, whatever the network's type.
    """
    model = checkpoint.model
    if checkpoint.dtype != np.float32:
        return
    columns = [f"column {name}" for name in model.feature_names or range(1, model.widths[0] + 1)]
    targets = [f"target {name}" for name in model.target_names]
    for names, scaling in ((columns, model.x_scaling), (targets, model.y_scaling)):
        if scaling is not None:
            found = zip(names, scaling.mean.tolist(), scaling.deviation.tolist(), strict=True)
            yield from ((name, mean, deviation) for name, mean, deviation in found if math.isfinite(deviation))


def imprecise_in_float32(checkpoint: Checkpoint) -> list[tuple[str, float, float]]:
    """Return the `float32_scalings` that float32 rounds by more than a thousandth of their deviation."""
    return [scaling for scaling in float32_scalings(checkpoint) if abs(scaling[1]) > MAX_RELATIVE_MEAN * scaling[2]]
