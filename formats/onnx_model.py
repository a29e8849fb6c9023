"""A network as an ONNX model."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from lagvis.errors import ExportError
from lagvis.network.step import PIXEL_SCALE
from lagvis.training.checkpoint import Checkpoint

# Softmax has had its present meaning since operator set 13, which onnxruntime knows since 1.6; IR 7 goes with it.
OPSET, IR = 13, 7
LARGEST_ONNX = 2**31 - 2**20  # a protobuf message ends at 2 GB
REACH = 10  # deviations from the mean within which numbers must be finite
ROUGH = 1e4  # deviations from zero where float32 rounds by more than a thousandth of one
# ONNX operator of each activation: "" needs no node, None means that there is none.
ONNX_ACTIVATIONS: dict[str, str | None] = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": ""}


def onnx_bytes(checkpoint: Checkpoint) -> bytes:
    """One graph from rows as a data set has them, `x` (N, n_in), to `probabilities` (N, K), or `numbers` in their unit.

    One element type throughout, the network's own. All scaling is inside: pixels are given as 0..255. ExportError
    where that type does not hold the numbers that are scaled.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ExportError(f"--format onnx needs the package onnx ({error}); pip install -e '.[onnx]'") from None
    model, params = checkpoint.model, checkpoint.state["params"]
    dtype = params[0]["W"].dtype
    if model.parameters * dtype.itemsize > LARGEST_ONNX:
        raise ExportError("an ONNX file holds at most 2 GB, and this network is larger; use --format safetensors")
    operator = ONNX_ACTIVATIONS.get(model.activation)
    if operator is None and len(params) > 1:
        raise ExportError(
            f"the activation {model.activation} has no ONNX operator in Lagvis; use --format safetensors or npz"
        )
    limits = np.finfo(np.float32)
    for name, mean, deviation in scaled_in_float32(checkpoint):
        if abs(mean) + REACH * deviation > float(limits.max) or deviation < float(limits.tiny):
            raise ExportError(
                f"{name} (mean {mean:.6g}, deviation {deviation:.3g}) is beyond float32, this network's type, in which "
                f"an ONNX file scales too; train with --dtype float64, or use --format safetensors or npz"
            )
    nodes, constants = [], []
    value = "x"

    def apply(operator: str, result: str, *arrays: tuple[str, Any], **attributes: Any) -> None:
        nonlocal value
        for name, array in arrays:
            constants.append(numpy_helper.from_array(np.array(array, dtype), name))
        inputs = [value, *(name for name, _ in arrays)]
        nodes.append(helper.make_node(operator, inputs, [result], result, **attributes))
        value = result

    classes = model.y_scaling is None
    if model.x_scaling is None:
        apply("Mul", "scaled", ("pixel_scale", PIXEL_SCALE))
    else:
        apply("Sub", "centred", ("x_scaling.mean", model.x_scaling.mean))
        apply("Div", "scaled", ("x_scaling.deviation", model.x_scaling.deviation))
    for i, layer in enumerate(params):
        apply("Gemm", f"z{i + 1}", (f"params.{i}.W", layer["W"]), (f"params.{i}.b", layer["b"]))
        if i < len(params) - 1 and operator:
            apply(operator, f"a{i + 1}")
    if model.y_scaling is None:
        apply("Softmax", "probabilities", axis=-1)
    else:
        apply("Mul", "z_scaled", ("y_scaling.deviation", model.y_scaling.deviation))
        apply("Add", "numbers", ("y_scaling.mean", model.y_scaling.mean))
    element = helper.np_dtype_to_tensor_dtype(dtype)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", element, ["N", model.widths[0]])],
        [helper.make_tensor_value_info(value, element, ["N", model.widths[-1]])],
        constants,
    )
    made = helper.make_model(
        graph, producer_name="lagvis", ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    names = {"class_names": model.class_names} if classes else {"target_names": model.target_names, "unit": model.unit}
    told = names | {"shape": model.shape, "input": "bytes, 0 to 255" if model.x_scaling is None else "numbers as given"}
    if model.feature_names:
        told |= {"feature_names": model.feature_names}
    helper.set_model_props(made, {key: json.dumps(fact) for key, fact in told.items()})
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))


def scaled_in_float32(checkpoint: Checkpoint) -> Iterator[tuple[str, float, float]]:
    """Name, mean and deviation of each column, then of each target, that an ONNX file standardises in float32.

    None of a float64 network; Lagvis itself standardises in float64, whatever the network's type.
    """
    model = checkpoint.model
    if checkpoint.state["params"][0]["W"].dtype != np.float32:
        return
    columns = [f"column {i}" for i in range(model.widths[0])]
    targets = [f"target {name}" for name in model.target_names]
    for names, scaling in ((columns, model.x_scaling), (targets, model.y_scaling)):
        if scaling is not None:
            yield from zip(names, scaling.mean.tolist(), scaling.deviation.tolist(), strict=True)


def imprecise_in_float32(checkpoint: Checkpoint) -> list[tuple[str, float, float]]:
    """Of `scaled_in_float32`, what loses more than a thousandth of its deviation there."""
    return [scale for scale in scaled_in_float32(checkpoint) if abs(scale[1]) > ROUGH * scale[2]]
