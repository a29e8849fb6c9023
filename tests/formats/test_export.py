"""Exports, read by the libraries that they are made for and compared with predictions of Lagvis."""

import dataclasses
import io
import json
import sys

import numpy as np
import pytest
from safetensors import safe_open

from lagvis.data.dataset import as_regression
from lagvis.data.source import Source
from lagvis.errors import CheckpointError, ExportError
from lagvis.formats.arrays import npz_bytes, safetensors_bytes
from lagvis.formats.onnx_layers import ONNX_ACTIVATIONS
from lagvis.formats.onnx_model import imprecise_in_float32, onnx_bytes
from lagvis.formats.paper import is_paper_folder, paper_files, read_paper_network
from lagvis.inference.prediction import outputs
from lagvis.storage.atomic import write_export_file, write_export_folder
from lagvis.storage.checkpoint_file import read_checkpoint
from lagvis.training.checkpoint import Checkpoint
from tests.factories import classes, last, numbers, quick, run

BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def trained(dataset, **keys):
    """Return a checkpoint of a run, including the momentum."""
    return last(run(quick(momentum=0.9, **keys), dataset)).checkpoint


@pytest.fixture(scope="module")
def classifier():
    return trained(classes())


@pytest.fixture(scope="module")
def centred():
    return trained(classes(), pixel_scaling="centred")


@pytest.fixture(scope="module")
def regressor():
    return trained(numbers(), loss="mse", dtype="float64")


def onnx_outputs(onnxruntime, content, x, sizes):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for size in sizes:
        yield np.concatenate([session.run(None, {"x": x[i : i + size]})[0] for i in range(0, len(x), size)])


@pytest.mark.parametrize("scaling", ["unit", "centred"])
@pytest.mark.parametrize("activation", [name for name, make in ONNX_ACTIVATIONS.items() if make is not None])
@pytest.mark.parametrize("hidden", [(), (8,), (9, 7, 5)])
def test_onnx_bytes_classification_equals_numpy(onnxruntime, activation, hidden, dtype, scaling):
    dataset = classes(test_rows=50)
    checkpoint = trained(dataset, activation=activation, hidden=hidden, dtype=dtype, pixel_scaling=scaling)
    expected = outputs(checkpoint.model, checkpoint.state["params"], dataset.x_test)
    for found in onnx_outputs(onnxruntime, onnx_bytes(checkpoint), dataset.x_test.astype(dtype), (1, 7, 50)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=BOUNDS[dtype])
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("scaling", ["unit", "centred"])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("hidden", [(8,), (9, 7, 5)])
def test_onnx_bytes_normalised_network_equals_numpy(onnxruntime, normalization, hidden, dtype, scaling):
    dataset = classes(test_rows=50)
    checkpoint = trained(
        dataset, normalization=normalization, hidden=hidden, dtype=dtype, pixel_scaling=scaling, ema=0.9
    )
    expected = outputs(checkpoint.model, checkpoint.layers, dataset.x_test)
    for found in onnx_outputs(onnxruntime, onnx_bytes(checkpoint), dataset.x_test.astype(dtype), (1, 7, 50)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=BOUNDS[dtype])


def test_onnx_bytes_normalised_network_needs_only_operators_of_opset_13(onnxruntime):
    import onnx

    for keys in ({"normalization": "layer"}, *({"activation": name} for name in ONNX_ACTIVATIONS)):
        found = onnx.load_from_string(onnx_bytes(trained(classes(), **keys)))
        assert [(entry.domain, entry.version) for entry in found.opset_import] == [("", 13)]
        assert {node.domain for node in found.graph.node} == {""}


def test_onnx_bytes_regression_equals_numpy(onnxruntime, dtype):
    dataset = numbers()
    checkpoint = trained(dataset, loss="mse", dtype=dtype)
    expected = outputs(checkpoint.model, checkpoint.state["params"], dataset.x_test)
    for found in onnx_outputs(onnxruntime, onnx_bytes(checkpoint), dataset.x_test.astype(dtype), (1, 7, 30)):
        np.testing.assert_allclose(found, expected, rtol=10 * BOUNDS[dtype], atol=1000 * BOUNDS[dtype])


@pytest.mark.parametrize("keys", [{}, {"hidden": ()}, {"number_scaling": "robust"}], ids=str)
def test_onnx_bytes_constant_column_and_values_far_out_equal_numpy(onnxruntime, dtype, keys):
    dataset = numbers()
    dataset.x_train[:, 1] = 1e300 if dtype == "float64" else 0.1
    dataset.x_train[3, 0] = 1e6
    checkpoint = trained(dataset, loss="mse", dtype=dtype, **keys)
    x = dataset.x_test.astype(dtype)
    x[:4, 2] = [-1e6, 1e6, 100, -100]
    expected = outputs(checkpoint.model, checkpoint.state["params"], x)
    other = x.copy()
    other[:, 1] = -3e4
    np.testing.assert_array_equal(outputs(checkpoint.model, checkpoint.state["params"], other), expected)
    for rows in (x, other):
        (found,) = onnx_outputs(onnxruntime, onnx_bytes(checkpoint), rows, (30,))
        np.testing.assert_allclose(found, expected, rtol=10 * BOUNDS[dtype], atol=1000 * BOUNDS[dtype])


def test_onnx_bytes_metadata_and_shapes(onnxruntime, classifier, regressor):
    import onnx

    found = onnx.load_from_string(onnx_bytes(classifier))
    props = {entry.key: json.loads(entry.value) for entry in found.metadata_props}
    ranges = classifier.model.ranges
    assert props == {
        "class_names": ["0", "1", "2", "3"],
        "shape": [6, 6],
        "input": "bytes, 0 to 255",
        "feature_kind": "bytes",
        "picture_range": [0, 255],
        "training_low": ranges.low.tolist(),
        "training_high": ranges.high.tolist(),
    }
    (given,), (made, label) = found.graph.input, found.graph.output
    shapes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in (given, made)]
    assert (given.name, made.name, shapes) == ("x", "probabilities", [["N", 36], ["N", 4]])
    types = {given.type.tensor_type.elem_type, made.type.tensor_type.elem_type}
    arrays = {array.data_type for array in found.graph.initializer if array.name != "class_labels"}
    assert types | arrays == {onnx.TensorProto.FLOAT}
    assert (label.name, label.type.tensor_type.elem_type) == ("label", onnx.TensorProto.INT64)
    assert [d.dim_param for d in label.type.tensor_type.shape.dim] == ["N"]
    other = onnx.load_from_string(onnx_bytes(regressor))
    props = {entry.key: json.loads(entry.value) for entry in other.metadata_props}
    assert "feature_names" not in props
    assert (props["feature_kind"], props["picture_range"]) == ("real numbers", None)
    assert (props["target_names"], props["unit"], other.graph.output[0].name) == (["near", "far"], "m", "numbers")


def test_onnx_bytes_metadata_has_feature_names(onnxruntime, regressor):
    import onnx

    named = dataclasses.replace(regressor, model=dataclasses.replace(regressor.model, feature_names=("a", "b", "c")))
    props = {entry.key: json.loads(entry.value) for entry in onnx.load_from_string(onnx_bytes(named)).metadata_props}
    assert props["feature_names"] == ["a", "b", "c"]


def test_onnx_bytes_without_onnx_raises_export_error(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"pip install -e '\.\[onnx\]'"):
        onnx_bytes(classifier)


def test_onnx_bytes_more_than_2_gb_raises_export_error(onnxruntime, classifier, monkeypatch):
    monkeypatch.setattr("lagvis.formats.onnx_model.MAX_ONNX_BYTES", 4 * classifier.model.parameters - 1)
    with pytest.raises(ExportError, match="at most 2 GB"):
        onnx_bytes(classifier)


def table(mean, deviation, target=(0.0, 1.0)):
    """Two features and a regression target: `mean` and `deviation` of the second feature, `target` of the target."""
    z = np.random.default_rng(4).normal(size=(60, 2))
    x, y = np.stack([z[:, 0], mean + deviation * z[:, 1]], axis=1), target[0] + target[1] * z.sum(axis=1, keepdims=True)
    return as_regression(Source("table", x[:40], y[:40], x[40:], y[40:], {}, target_names=("it",)))


BEYOND = {
    "column 2": [(1e40, 1e39), (0.0, 1e38), (1e-41, 1e-41), (0.0, 1e-60)],
    "target it": [(-1e40, 1e39), (0.0, 1e38), (0.0, 1e-41)],
}


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name, scales in BEYOND.items() for scale in scales])
def test_onnx_bytes_outside_float32_raises_and_float64_works(onnxruntime, name, scale):
    dataset = table(*scale) if name == "column 2" else table(0.0, 1.0, scale)
    with pytest.raises(
        ExportError, match=rf"^{name} \(mean .* is outside the range of float32, .* train with --dtype float64"
    ):
        onnx_bytes(trained(dataset, loss="mse"))
    checkpoint = trained(dataset, loss="mse", dtype="float64")
    (found,) = onnx_outputs(onnxruntime, onnx_bytes(checkpoint), dataset.x_test, (20,))
    expected = outputs(checkpoint.model, checkpoint.state["params"], dataset.x_test)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * dataset.y_test.std())


def test_imprecise_in_float32_names_the_scalings_that_lose_digits(onnxruntime):
    for dtype, mean, rough in (("float32", 1e7, ["column 2"]), ("float32", 1e3, []), ("float64", 1e7, [])):
        dataset = table(mean, 0.5)
        checkpoint = trained(dataset, loss="mse", dtype=dtype)
        (found,) = onnx_outputs(onnxruntime, onnx_bytes(checkpoint), dataset.x_test.astype(dtype), (20,))
        off = np.abs(found - outputs(checkpoint.model, checkpoint.state["params"], dataset.x_test)).max()
        assert [name for name, *_ in imprecise_in_float32(checkpoint)] == rough
        assert (off > 1e-2) == bool(rough), off
    assert [scale[0] for scale in imprecise_in_float32(trained(table(0.0, 1.0, (1e6, 2.0)), loss="mse"))] == [
        "target it"
    ]


@pytest.mark.parametrize("which", ["classifier", "centred", "regressor"])
def test_safetensors_bytes_read_again_is_the_network(which, request, tmp_path):
    checkpoint = request.getfixturevalue(which)
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(checkpoint))
    with safe_open(path, framework="numpy") as file:
        meaning, names = json.loads(file.metadata()["lagvis"]), set(file.keys())
    layers = {f"params.{i}.{name}" for i in (0, 1) for name in "Wb"}
    scalings = {f"{axis}_scaling.{part}" for axis in "xy" for part in ("mean", "deviation")}
    ranges = {"ranges.low", "ranges.high"}
    assert names == layers | ranges | {"regressor": scalings, "centred": {"pixel_mean"}}.get(which, set())
    assert meaning["activation"] == "relu"
    again = read_checkpoint(path)
    assert (again.model.class_names, again.epoch, again.step) == (checkpoint.model.class_names, 2, checkpoint.step)
    assert set(again.state) == {"params"}
    assert again.model.pixel_mean == checkpoint.model.pixel_mean
    for layer, original in zip(again.state["params"], checkpoint.state["params"], strict=True):
        np.testing.assert_array_equal(layer["W"], original["W"])


@pytest.mark.parametrize("which", ["classifier", "centred"])
def test_safetensors_bytes_pytorch_equals_numpy(which, request, torch):
    from safetensors.torch import load

    checkpoint = request.getfixturevalue(which)
    arrays = load(safetensors_bytes(checkpoint))
    dataset = classes()
    a = torch.from_numpy(dataset.x_test) / 255 - arrays.get("pixel_mean", 0)
    a = torch.relu(a @ arrays["params.0.W"] + arrays["params.0.b"])
    found = torch.softmax(a @ arrays["params.1.W"] + arrays["params.1.b"], dim=-1)
    expected = outputs(checkpoint.model, checkpoint.state["params"], dataset.x_test)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_npz_bytes_numpy_alone_computes_the_network(scaling):
    dataset = numbers()
    dataset.x_train[:, 1] = 0.1
    dataset.x_test[3] = 1e6
    regressor = trained(dataset, loss="mse", dtype="float64", number_scaling=scaling)
    with np.load(io.BytesIO(npz_bytes(regressor)), allow_pickle=False) as arrays:
        a = (dataset.x_test - arrays["x_scaling.mean"]) / arrays["x_scaling.deviation"]
        if "x_scaling.limit" in arrays:
            a = np.clip(a, -arrays["x_scaling.limit"], arrays["x_scaling.limit"])
        a = np.maximum(0, a @ arrays["params.0.W"] + arrays["params.0.b"])
        z = a @ arrays["params.1.W"] + arrays["params.1.b"]
        found = z * arrays["y_scaling.deviation"] + arrays["y_scaling.mean"]
        meaning = json.loads(str(arrays["lagvis"]))
    np.testing.assert_allclose(found, outputs(regressor.model, regressor.state["params"], dataset.x_test), rtol=1e-12)
    assert (meaning["unit"], meaning["target_names"]) == ("m", ["near", "far"])


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("make", [safetensors_bytes, npz_bytes])
def test_arrays_of_a_normalised_network_alone_compute_it(make, normalization, ema, tmp_path):
    dataset = classes()
    checkpoint = trained(dataset, normalization=normalization, ema=ema, hidden=(6, 5), dtype="float64")
    expected = outputs(checkpoint.model, checkpoint.layers, dataset.x_test)
    content = make(checkpoint)
    if make is npz_bytes:
        arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
        meaning = json.loads(str(arrays["lagvis"]))
    else:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meaning = json.loads(file.metadata()["lagvis"])
        again = read_checkpoint(path)
        np.testing.assert_array_equal(outputs(again.model, again.layers, dataset.x_test), expected)
    assert meaning.get("normalization", "none") == {"batch": "none", "layer": "layer"}[normalization]
    a = dataset.x_test / 255
    for i in range(3):
        z = a @ arrays[f"params.{i}.W"]
        if f"params.{i}.gamma" in arrays:
            z = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
            z = z * arrays[f"params.{i}.gamma"]
        z = z + arrays[f"params.{i}.b"]
        a = np.maximum(z, 0)
    found = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)
    assert not {name for name in arrays if "running" in name or "ema" in name or "mean" in name}


def test_export_equal_networks_give_equal_bytes(classifier):
    for make in (safetensors_bytes, npz_bytes):
        assert make(classifier) == make(classifier)


@pytest.mark.parametrize("hidden", [(), (8,), (9, 7)])
def test_paper_files_keep_every_bit(tmp_path, hidden):
    checkpoint = trained(classes(), hidden=hidden, dtype="float64")
    write_export_folder(tmp_path / "saved_network", paper_files(checkpoint), is_paper_folder)
    again = read_paper_network(tmp_path / "saved_network")
    assert again.model.widths == checkpoint.model.widths
    for layer, original in zip(again.state["params"], checkpoint.state["params"], strict=True):
        assert (layer["W"].tobytes(), layer["b"].tobytes()) == (original["W"].tobytes(), original["b"].tobytes())
    first = np.load(tmp_path / "saved_network" / "biaslayer1.npy")
    assert (first.dtype, first.shape) == (np.float64, (checkpoint.model.widths[1], 1))


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_paper_files_centred_network_has_the_mean_in_the_first_bias(tmp_path, hidden):
    dataset = classes()
    checkpoint = trained(dataset, hidden=hidden, pixel_scaling="centred")
    write_export_folder(tmp_path / "n", paper_files(checkpoint), is_paper_folder)
    again = read_paper_network(tmp_path / "n")
    assert again.model.pixel_mean == 0.0
    found, expected = (outputs(c.model, c.state["params"], dataset.x_test) for c in (again, checkpoint))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    for layer, original in list(zip(again.state["params"], checkpoint.state["params"], strict=True))[1:]:
        np.testing.assert_array_equal(layer["b"], original["b"])


def test_paper_files_float32_becomes_float64(classifier, tmp_path):
    write_export_folder(tmp_path / "n", paper_files(classifier), is_paper_folder)
    again = read_paper_network(tmp_path / "n").state["params"]
    assert again[0]["W"].dtype == np.float64
    np.testing.assert_array_equal(again[0]["W"], classifier.state["params"][0]["W"])


def test_paper_files_other_networks_raise_export_error(regressor):
    with pytest.raises(ExportError, match="has numbers and real-valued columns; use --format"):
        paper_files(regressor)
    with pytest.raises(ExportError, match="has the activation tanh"):
        paper_files(trained(classes(), activation="tanh"))
    assert paper_files(trained(classes(), activation="tanh", hidden=()))  # never used
    with pytest.raises(ExportError, match="has layer normalisation; use --format safetensors, npz or onnx"):
        paper_files(trained(classes(), normalization="layer"))


@pytest.mark.parametrize("scaling", ["unit", "centred"])
def test_paper_files_batch_normalised_network_is_folded(tmp_path, scaling):
    dataset = classes()
    checkpoint = trained(dataset, normalization="batch", hidden=(8, 6), dtype="float64", pixel_scaling=scaling)
    write_export_folder(tmp_path / "n", paper_files(checkpoint), is_paper_folder)
    again = read_paper_network(tmp_path / "n")
    found = outputs(again.model, again.layers, dataset.x_test)
    np.testing.assert_allclose(found, outputs(checkpoint.model, checkpoint.layers, dataset.x_test), rtol=1e-10)


def test_write_export_folder_replaces_an_export(classifier, tmp_path):
    folder = tmp_path / "n"
    write_export_folder(folder, paper_files(trained(classes(), hidden=(5, 4))), is_paper_folder)
    write_export_folder(folder, paper_files(classifier), is_paper_folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(paper_files(classifier))
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


@pytest.mark.parametrize("kind", ["other", "file", "link", "loop", "mixed"])
def test_write_export_folder_other_folder_is_left_alone(classifier, tmp_path, kind):
    folder, elsewhere = tmp_path / "n", tmp_path / "elsewhere"
    write_export_folder(elsewhere, paper_files(classifier), is_paper_folder)
    match kind:
        case "file":
            folder.write_text("mine")
        case "link":
            (elsewhere / "letter.txt").write_text("mine")
            folder.symlink_to(elsewhere)
        case "loop":
            folder.symlink_to(folder)
        case "mixed":
            write_export_folder(folder, paper_files(classifier), is_paper_folder)
            (folder / "letter.txt").write_text("mine")
        case "other":
            folder.mkdir()
            (folder / "letter.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="not a network of the paper's program"):
        write_export_folder(folder, paper_files(classifier), is_paper_folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_write_export_file_folder_raises_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder, not a file"):
        write_export_file(tmp_path, b"")


def test_npz_bytes_leaves_out_the_optimizer_state(classifier):
    assert set(classifier.state) > {"params"}
    alone = Checkpoint(classifier.model, {"params": classifier.state["params"]}, classifier.epoch, classifier.step)
    assert npz_bytes(classifier) == npz_bytes(alone)
