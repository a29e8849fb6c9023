"""A network as an ONNX model."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lagvis.errors import ExportError
from lagvis.network.step import PIXEL_SCALE
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import Model

# Softmax has its present meaning since operator set 13, which onnxruntime supports since 1.6; IR 7 goes with it.
OPSET, IR = 13, 7
MAX_ONNX_BYTES = 2**31 - 2**20  # a protobuf message ends at 2 GB
MAX_DEVIATIONS = 10  # from the mean, within which values must be finite in float32
MAX_RELATIVE_MEAN = 1e4  # |mean| / deviation, above which float32 rounds by more than a thousandth of a deviation
# ONNX operator of each activation: "" needs no node, None means that there is none.
ONNX_ACTIVATIONS: dict[str, str | None] = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": ""}


def onnx_bytes(checkpoint: Checkpoint) -> bytes:
    """Return an ONNX file that maps `x` (N, n_in) to `probabilities` (N, K), or to `numbers` (N, n_out) in their unit.

    All arrays have the network's own type. Scaling is part of the graph: pixels are given as 0..255, values as in the
    data. Raises ExportError if onnx is not installed, the network is too large, its activation has no ONNX operator,
    or the scaling is outside the range of float32.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ExportError(f"--format onnx needs the package onnx ({error}); pip install -e '.[onnx]'") from None
    model, params = checkpoint.model, checkpoint.state["params"]
    dtype = params[0]["W"].dtype
    if model.parameters * dtype.itemsize > MAX_ONNX_BYTES:
        raise ExportError("an ONNX file holds at most 2 GB, and this network is larger; use --format safetensors")
    operator = activation_operator(model)
    check_float32_range(checkpoint)
    nodes, constants = [], []
    value = "x"

    def add_node(operator: str, result: str, *arrays: tuple[str, Any], **attributes: Any) -> None:
        """Add a node that takes the last result and the arrays (name, values)."""
        nonlocal value
        for name, array in arrays:
            constants.append(numpy_helper.from_array(np.array(array, dtype), name))
        inputs = [value, *(name for name, _ in arrays)]
        nodes.append(helper.make_node(operator, inputs, [result], result, **attributes))
        value = result

    if model.x_scaling is None:
        add_node("Mul", "scaled", ("pixel_scale", PIXEL_SCALE))
        if model.pixel_mean:
            add_node("Sub", "centred", ("pixel_mean", model.pixel_mean))
    else:
        scaling = model.x_scaling
        # A constant column is not scaled, since float32 may not hold its mean; its weights are 0.
        add_node("Sub", "centred", ("x_scaling.mean", np.where(scaling.constant, 0.0, scaling.mean)))
        add_node("Div", "scaled", ("x_scaling.deviation", np.where(scaling.constant, 1.0, scaling.deviation)))
        if math.isfinite(scaling.limit):
            add_node("Clip", "limited", ("x_scaling.lowest", -scaling.limit), ("x_scaling.highest", scaling.limit))
        first = params[0]["W"] * ~scaling.constant[:, None]
        params = [params[0] | {"W": first}, *params[1:]]
    for i, layer in enumerate(params):
        add_node("Gemm", f"z{i + 1}", (f"params.{i}.W", layer["W"]), (f"params.{i}.b", layer["b"]))
        if i < len(params) - 1 and operator:
            add_node(operator, f"a{i + 1}")
    if model.y_scaling is None:
        add_node("Softmax", "probabilities", axis=-1)
    else:
        add_node("Mul", "z_scaled", ("y_scaling.deviation", model.y_scaling.deviation))
        add_node("Add", "numbers", ("y_scaling.mean", model.y_scaling.mean))
    element = helper.np_dtype_to_tensor_dtype(dtype)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", element, ["N", model.widths[0]])],
        [helper.make_tensor_value_info(value, element, ["N", model.widths[-1]])],
        constants,
    )
    onnx_model = helper.make_model(
        graph, producer_name="lagvis", ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    helper.set_model_props(onnx_model, onnx_metadata(model))
    onnx.checker.check_model(onnx_model, full_check=True)
    return bytes(onnx_model.SerializeToString(deterministic=True))


def activation_operator(model: Model) -> str:
    """Return the ONNX operator of a model's activation, "" for none; ExportError if Lagvis knows no operator for it."""
    operator = ONNX_ACTIVATIONS.get(model.activation)
    if operator is None and len(model.widths) > 2:
        raise ExportError(
            f"the activation {model.activation} has no ONNX operator in Lagvis; use --format safetensors or npz"
        )
    return operator or ""


def onnx_metadata(model: Model) -> dict[str, str]:
    """Return the meaning of inputs and outputs as the metadata of an ONNX file; every value is JSON."""
    meaning: dict[str, Any] = {
        "shape": model.shape,
        "input": "bytes, 0 to 255" if model.x_scaling is None else "numbers as given",
    }
    if model.y_scaling is None:
        meaning["class_names"] = model.class_names
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
                f"ONNX file of this network scales; train with --dtype float64, or use --format safetensors or npz"
            )


def float32_scalings(checkpoint: Checkpoint) -> Iterator[tuple[str, float, float]]:
    """Yield name, mean and deviation of each column, then of each target, that an ONNX file standardises in float32.

    Nothing is yielded for a float64 network, and for columns that were constant in training, which count as nothing.
    Lagvis itself standardises in float64, whatever the network's type.
    """
    model = checkpoint.model
    if checkpoint.state["params"][0]["W"].dtype != np.float32:
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
