"""ONNX networks with an input for each column of a table, run by onnxruntime and compared with Lagvis."""

import json

import numpy as np
import polars as pl
import pytest

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.data.tables.encoding import BooleanEncoding, CategoryEncoding, NumberEncoding, TableEncoding
from lagvis.errors import ExportError
from lagvis.formats.onnx_columns import input_names
from lagvis.formats.onnx_model import COLUMNS, MATRIX, OUTPUTS, onnx_bytes
from lagvis.inference.prediction import outputs
from tests.factories import classes, last, quick, run

BOUNDS = {"float32": 2e-6, "float64": 1e-12}
CITIES = ("Köln", "Paris", "São Paulo", "New York", "Oslo")
ENCODING = TableEncoding(
    (
        NumberEncoding("age", 0, fill=40.5, missing=True),
        NumberEncoding("stamp", 1, fill=1.7e9),
        NumberEncoding("income", 2, fill=3.0, log_offset=1.0, log_floor=0.5),
        CategoryEncoding("city", 3, levels=("Köln", "Paris"), other=("São Paulo", "New York"), missing=True),
        BooleanEncoding("member", 4, fill=0.25, missing=True),
        CategoryEncoding("zip", 6, levels=("1", "2", "10")),
    )
)


def cells(rows, seed=5):
    """Return a column of cells for each column of ENCODING, a tenth of them missing, with texts that it lacks."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(18, 90, rows).tolist(),
        (1.7e9 + rng.normal(0, 0.01, rows)).tolist(),
        np.exp(rng.normal(0, 5, rows) - 1).tolist(),
        rng.choice(CITIES, rows).tolist(),
        (rng.random(rows) < 0.5).tolist(),
        rng.choice(["1", "2", "10", "007"], rows).tolist(),
    ]
    gaps = rng.random((len(columns), rows)) < 0.1
    return [
        pl.Series([None if gap else cell for gap, cell in zip(row, column, strict=True)])
        for row, column in zip(gaps, columns, strict=True)
    ]


def feed(columns, series):
    """Return the inputs of an ONNX network for columns of cells, as docs/export.md describes them."""
    arrays = {}
    for column, cells in zip(columns, series, strict=True):
        if column["kind"] == "category":
            array = cells.cast(pl.String).fill_null("").to_numpy().astype(object)
        else:
            array = cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
        arrays[column["input"]] = array[:, None]
    return arrays


def trained(encoding, series, y, *, targets=(), **keys):
    """Return the checkpoint of a short run on the encoded columns."""
    x = encoding.apply(series)
    source = Source("table", x, y, x, y, {}, encoding=encoding, target_names=targets)
    dataset = as_regression(source) if targets else as_classification(source)
    return last(run(quick(**({"loss": "mse"} if targets else {}), **keys), dataset)).checkpoint


def start(onnxruntime, content):
    """Return a session and the description of its columns."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["columns"])


def assert_onnx_equals_numpy(onnxruntime, checkpoint, series, sizes):
    """Compare outputs and labels of the ONNX network with those of Lagvis, in batches of each size."""
    model, params = checkpoint.model, checkpoint.state["params"]
    expected = outputs(model, params, model.encoding.apply(series))
    session, columns = start(onnxruntime, onnx_bytes(checkpoint))
    bound = BOUNDS[str(params[0]["W"].dtype)]
    for size in sizes:
        batches = [[column[i : i + size] for column in series] for i in range(0, len(expected), size)]
        results = [session.run(None, feed(columns, batch)) for batch in batches]
        found = np.concatenate([result[0] for result in results])
        if model.y_scaling is not None:
            assert found.dtype == np.float64
            np.testing.assert_allclose((found - expected) / model.y_scaling.deviation, 0, atol=10 * bound)
            continue
        assert found.dtype == params[0]["W"].dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
        labels = np.concatenate([result[1] for result in results])
        assert [str(label) for label in labels] == [model.class_names[i] for i in expected.argmax(axis=1)]


@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("names", [("yes", "no", "über"), (10, -2, 3)], ids=["text", "numbers"])
def test_onnx_bytes_columns_classification_equals_numpy(onnxruntime, dtype, scaling, names):
    series = cells(200)
    y = np.array(names)[np.random.default_rng(6).integers(0, 3, 200)]
    checkpoint = trained(ENCODING, series, y, dtype=dtype, number_scaling=scaling)
    assert_onnx_equals_numpy(onnxruntime, checkpoint, series, [7])
    assert_onnx_equals_numpy(onnxruntime, checkpoint, cells(60, seed=9), [1, 60])


def test_onnx_bytes_columns_regression_equals_numpy(onnxruntime, dtype):
    series = cells(200)
    y = np.random.default_rng(6).normal([1e9, -3.0], [0.1, 1e-6], (200, 2))
    checkpoint = trained(ENCODING, series, y, targets=("far", "near"), dtype=dtype)
    assert_onnx_equals_numpy(onnxruntime, checkpoint, cells(60, seed=9), [1, 7, 60])


def test_onnx_bytes_columns_all_missing_or_unknown_equal_numpy(onnxruntime):
    series = cells(80)
    checkpoint = trained(ENCODING, series, np.arange(80) % 2)
    nothing = [pl.Series([None], dtype=column.dtype) for column in series]
    assert_onnx_equals_numpy(onnxruntime, checkpoint, nothing, [1])
    unknown = [*nothing[:3], pl.Series(["nowhere"]), nothing[4], pl.Series(["3"])]
    assert_onnx_equals_numpy(onnxruntime, checkpoint, unknown, [1])


def test_onnx_bytes_columns_inputs_and_metadata(onnxruntime):
    import onnx

    checkpoint = trained(ENCODING, cells(80), np.array(["b", "a"])[np.arange(80) % 2])
    model = onnx.load_from_string(onnx_bytes(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    session, columns = start(onnxruntime, model.SerializeToString())
    double, text = "tensor(double)", "tensor(string)"
    assert [(given.name, given.type, given.shape) for given in session.get_inputs()] == [
        (name, kind, ["N", 1])
        for name, kind in zip(ENCODING.column_names, [double, double, double, text, double, text], strict=True)
    ]
    assert [(made.name, made.type, made.shape) for made in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["N", 2]),
        ("label", text, ["N"]),
    ]
    assert columns[0] == {"input": "age", "column": "age", "kind": "number"}
    assert columns[3] == {
        "input": "city",
        "column": "city",
        "kind": "category",
        "levels": ["Köln", "Paris"],
        "other": ["São Paulo", "New York"],
    }
    assert [column["kind"] for column in columns] == ["number"] * 3 + ["category", "boolean", "category"]
    assert [(domain.domain, domain.version) for domain in model.opset_import] == [("", 13), ("ai.onnx.ml", 2)]


def test_onnx_bytes_matrix_of_a_table_takes_the_features(onnxruntime):
    series = cells(80)
    checkpoint = trained(ENCODING, series, np.arange(80) % 2, dtype="float64")
    content = onnx_bytes(checkpoint, MATRIX)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = ENCODING.apply(series)
    found = session.run(["probabilities"], {"x": x})[0]
    np.testing.assert_allclose(found, outputs(checkpoint.model, checkpoint.state["params"], x), atol=1e-12)
    meaning = session.get_modelmeta().custom_metadata_map
    assert TableEncoding.from_json(json.loads(meaning["encoding"])) == ENCODING
    assert json.loads(meaning["input"]) == "encoded features"


def test_onnx_bytes_columns_of_plain_numbers_only_if_asked(onnxruntime):
    encoding = TableEncoding((NumberEncoding("a", 0, 0.0), NumberEncoding("b", 1, 0.0)))
    series = [pl.Series(np.linspace(0, 1, 60)), pl.Series(1.7e9 + np.linspace(0, 1e-2, 60))]
    checkpoint = trained(encoding, series, np.arange(60) // 30)
    session = onnxruntime.InferenceSession(onnx_bytes(checkpoint), providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["x"]
    session, columns = start(onnxruntime, onnx_bytes(checkpoint, COLUMNS))
    expected = outputs(checkpoint.model, checkpoint.state["params"], encoding.apply(series))
    np.testing.assert_allclose(session.run(None, feed(columns, series))[0], expected, atol=BOUNDS["float32"])


def test_onnx_bytes_columns_of_pictures_raises_export_error(onnxruntime):
    checkpoint = last(run(quick(), classes())).checkpoint
    with pytest.raises(ExportError, match=r"learned from pictures, .* use --onnx-inputs matrix"):
        onnx_bytes(checkpoint, COLUMNS)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a_2", "a"], ["a", "a_3", "a_2", "a_4"]),
        (["label", "probabilities", "label_2"], ["label_3", "probabilities_2", "label_2"]),
        (["", "x", "", "column 1"], ["column 1", "x", "column 3", "column 1_2"]),
        (["a\0b"], ["a_b"]),
    ],
)
def test_input_names_are_unique_and_the_columns_own_where_possible(columns, expected):
    assert input_names(columns, OUTPUTS) == expected
