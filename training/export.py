"""A trained network as the files of other programs, and how they are put where they belong.

`params.i.W` (n_in, n_out) and `params.i.b` (n_out,) are the layers, i from 0: z = a W + b. Before the first, a row of a
data set is scaled: bytes by 1/255, numbers as (x - x_scaling.mean) / x_scaling.deviation. After the last comes softmax
for classes, and z * y_scaling.deviation + y_scaling.mean for numbers.
"""

import contextlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from network.step import PIXEL_SCALE
from training.checkpoint import Checkpoint, CheckpointError, file_of, parts_of
from training.files import WRITING, flush_folder, replace_file
from training.paper_network import BIASES, WEIGHTS

# Softmax has had its present meaning since operator set 13, which onnxruntime knows since 1.6; IR 7 goes with it.
OPSET, IR = 13, 7
LARGEST_ONNX = 2**31 - 2**20  # a protobuf message ends at 2 GB
REACH = 10  # deviations from the mean within which numbers must be finite
ROUGH = 1e4  # deviations from zero where float32 rounds by more than a thousandth of one
ONNX_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": ""}


class ExportError(Exception):
    """A network that a format cannot hold, or a format that needs what is not there; the text says why."""

    exit_code = 2


def network_alone(checkpoint: Checkpoint) -> Checkpoint:
    """Without what only going on with the training takes."""
    return Checkpoint(checkpoint.model, {"params": checkpoint.state["params"]}, checkpoint.epoch, checkpoint.step)


def safetensors_file(checkpoint: Checkpoint) -> bytes:
    """The arrays, and under the metadata key `lagvis` what they mean, as JSON; this project reads it again as a run."""
    return file_of(network_alone(checkpoint))


def npz_file(checkpoint: Checkpoint) -> bytes:
    """The same arrays for NumPy, without pickle; what they mean is JSON too, in the text array `lagvis`."""
    arrays, meaning = parts_of(network_alone(checkpoint))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays, lagvis=np.array(json.dumps(meaning, sort_keys=True)))
    return file.getvalue()


def onnx_file(checkpoint: Checkpoint) -> bytes:
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
        if i < len(params) - 1 and ONNX_ACTIVATIONS[model.activation]:
            apply(ONNX_ACTIVATIONS[model.activation], f"a{i + 1}")
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


def rough_in_float32(checkpoint: Checkpoint) -> list[tuple[str, float, float]]:
    """Of `scaled_in_float32`, what loses more than a thousandth of its deviation there."""
    return [scale for scale in scaled_in_float32(checkpoint) if abs(scale[1]) > ROUGH * scale[2]]


def paper_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """What the paper's program loads, by file name; ExportError for a network that it has no words for."""
    model = checkpoint.model
    reasons = {
        "numbers": model.y_scaling is not None,
        "real-valued columns": model.x_scaling is not None,
        f"the activation {model.activation}": model.activation != "relu" and len(model.widths) > 2,
    }
    if found := [reason for reason, holds in reasons.items() if holds]:
        raise ExportError(
            f"the paper's program knows ReLU networks that tell classes of pictures apart, and this one has "
            f"{' and '.join(found)}; use --format safetensors, npz or onnx"
        )
    files: dict[str, bytes] = {}
    for i, layer in enumerate(checkpoint.state["params"], start=1):
        for name, matrix in ((WEIGHTS.format(i), layer["W"].T), (BIASES.format(i), layer["b"][:, None])):
            file = io.BytesIO()
            np.save(file, np.ascontiguousarray(matrix, np.float64), allow_pickle=False)
            files[name] = file.getvalue()
    return files


def write_file(path: Path, content: bytes) -> None:
    """The file at `path`, or where a link there leads, replaced as a whole or not at all.

    CheckpointError where that cannot be done, or where something stands that is no file.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                found = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
                raise CheckpointError(f"{path} is {found}, a file is to be written; name another --output")
        place = Path(os.path.realpath(path))
        with tempfile.TemporaryDirectory(WRITING, f"{place.name}.", place.parent) as work:
            new = Path(work) / "new"
            replace_file(new, content)
            new.replace(place)
        flush_folder(place.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); nothing was changed") from None


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """The folder at `path`, or where a link there leads, with these files.

    One of an earlier export is replaced as a whole, no other is touched. Both stand in a fresh folder beside it
    meanwhile, `new` and `old`, where a kill between two renames leaves them. CheckpointError where it cannot be done,
    which says where an earlier export is, if not in its place.
    """
    place, old = Path(os.path.realpath(path)), None
    try:
        there = os.path.lexists(place)
        if there and not is_paper_folder(place):
            raise CheckpointError(f"{path} is there and no network of the paper's program; name another --output")
        work = Path(tempfile.mkdtemp(WRITING, f"{place.name}.", place.parent))
        new, old = work / "new", work / "old"
        try:
            new.mkdir()
            for name, content in files.items():
                replace_file(new / name, content)
            if there:
                place.replace(old)
            new.replace(place)
            flush_folder(place.parent)
        finally:
            failed = new.exists()
            if failed and not os.path.lexists(place):
                with contextlib.suppress(OSError):
                    old.replace(place)
            shutil.rmtree(new if failed and old.exists() else work, ignore_errors=True)
    except OSError as error:
        left = f"what was there stands in {old}" if old and old.exists() else "nothing was changed"
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); {left}") from None


def is_paper_folder(path: Path) -> bool:
    """Whether it is a folder, of its own, in which nothing lies but what the paper's program saves."""
    named = re.compile(f"{WEIGHTS.format('[0-9]+')}|{BIASES.format('[0-9]+')}")
    if path.is_symlink() or not path.is_dir():
        return False
    return all(named.fullmatch(child.name) for child in path.iterdir())
