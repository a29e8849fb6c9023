"""ONNX networks with an input for each column of a table, run by onnxruntime and compared with Lagvis."""

import dataclasses
import json
from datetime import date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lagvis.data.dataset import as_classification, as_regression
from lagvis.data.source import Source
from lagvis.data.tables.dates import TIME_OF_DAY, temporal_seconds
from lagvis.data.tables.encoding import (
    HOUR,
    MONTH,
    PARTS,
    WEEKDAY,
    BooleanEncoding,
    CategoryEncoding,
    DateEncoding,
    NumberEncoding,
    TableEncoding,
)
from lagvis.errors import ExportError
from lagvis.formats.onnx_columns import column_inputs, encode_columns, input_names
from lagvis.formats.onnx_graph import GraphBuilder
from lagvis.formats.onnx_model import COLUMNS, IR, MATRIX, OPSET, OUTPUTS, onnx_bytes
from lagvis.inference.prediction import outputs
from tests.factories import classes, last, quick, run

pl = pytest.importorskip("polars")

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
        DateEncoding("joined", 7, origin=-2.2e9, fill=3e9, parts=(MONTH, WEEKDAY, HOUR), missing=True),
        DateEncoding("time", 8, origin=3600.0, fill=40_000.0, parts=(HOUR,), form=TIME_OF_DAY),
        DateEncoding("born", 9, origin=0.0, fill=1e8),
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
        [datetime(1900, 1, 1) + timedelta(seconds=s) for s in rng.uniform(0, 6.3e9, rows).tolist()],
        [
            time(hour, minute)
            for hour, minute in zip(rng.integers(24, size=rows), rng.integers(60, size=rows), strict=True)
        ],
        [date(1970, 1, 1) + timedelta(days=d) for d in rng.integers(-9000, 9000, rows).tolist()],
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
        elif column["kind"] == "date":
            array = temporal_seconds(cells)
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
    session, columns = start(onnxruntime, onnx_bytes(checkpoint, COLUMNS))
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
    unknown = [*nothing[:3], pl.Series(["nowhere"]), nothing[4], pl.Series(["3"]), *nothing[6:]]
    assert_onnx_equals_numpy(onnxruntime, checkpoint, unknown, [1])


@pytest.mark.parametrize("word", ["", "?", "NA", "na", "N/a", "NaN", "NULL"])
def test_onnx_bytes_columns_word_for_a_missing_cell_is_missing(onnxruntime, word):
    series = cells(80)
    checkpoint = trained(ENCODING, series, np.arange(80) % 2)
    session, columns = start(onnxruntime, onnx_bytes(checkpoint))
    arrays = feed(columns, [column[:2] for column in series])
    arrays["city"] = np.array([[""], [word]], object)
    arrays |= {name: array[[0, 0]] for name, array in arrays.items() if name != "city"}
    expected, found = session.run(["probabilities"], arrays)[0]
    np.testing.assert_array_equal(found, expected)


def test_onnx_bytes_columns_inputs_and_metadata(onnxruntime):
    import onnx

    checkpoint = trained(ENCODING, cells(80), np.array(["b", "a"])[np.arange(80) % 2])
    model = onnx.load_from_string(onnx_bytes(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    session, columns = start(onnxruntime, model.SerializeToString())
    double, text = "tensor(double)", "tensor(string)"
    assert [(given.name, given.type, given.shape) for given in session.get_inputs()] == [
        (name, kind, ["N", 1])
        for name, kind in zip(ENCODING.column_names, [*[double] * 3, text, double, text, *[double] * 3], strict=True)
    ]
    assert [(made.name, made.type, made.shape) for made in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["N", 2]),
        ("label", text, ["N"]),
    ]
    assert columns[0] == {"input": "age", "column": "age", "position": 1, "kind": "number"}
    assert columns[3] == {
        "input": "city",
        "column": "city",
        "position": 4,
        "kind": "category",
        "levels": ["Köln", "Paris"],
        "other": ["São Paulo", "New York"],
    }
    assert columns[7] == {"input": "time", "column": "time", "position": 9, "kind": "date", "form": "hh:mm"}
    assert [column["kind"] for column in columns] == ["number"] * 3 + ["category", "boolean", "category"] + ["date"] * 3
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


def test_onnx_bytes_table_outside_float32_needs_columns(onnxruntime):
    encoding = TableEncoding((NumberEncoding("a", 0, 0.0),))
    series = [pl.Series(1e40 * np.linspace(1, 2, 60))]
    checkpoint = trained(encoding, series, np.arange(60) // 30)
    with pytest.raises(ExportError, match=r"outside the range of float32, .*; use --onnx-inputs columns, or train"):
        onnx_bytes(checkpoint)
    assert_onnx_equals_numpy(onnxruntime, checkpoint, series, [60])


def test_onnx_bytes_table_that_lacked_few_cells_takes_columns(onnxruntime):
    encoding = TableEncoding((NumberEncoding("a", 0, 0.5, missing_cells=1),))
    series = [pl.Series([None, *np.linspace(0, 1, 199)])]
    checkpoint = trained(encoding, series, np.arange(200) // 100)
    session, _ = start(onnxruntime, onnx_bytes(checkpoint))
    assert [given.name for given in session.get_inputs()] == ["a"]
    assert_onnx_equals_numpy(onnxruntime, checkpoint, series, [1, 200])


def test_onnx_bytes_checkpoint_without_an_encoding_takes_a_matrix(onnxruntime):
    encoding = TableEncoding((NumberEncoding("a", 0, 0.0), NumberEncoding("b", 1, 0.0)))
    checkpoint = trained(encoding, [pl.Series(np.linspace(0, 1, 60))] * 2, np.arange(60) // 30)
    old = dataclasses.replace(checkpoint, model=dataclasses.replace(checkpoint.model, encoding=None))
    assert onnx_bytes(old) == onnx_bytes(checkpoint)
    with pytest.raises(ExportError, match=r"rows without columns that are known, .* use --onnx-inputs matrix$"):
        onnx_bytes(old, COLUMNS)


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


def test_encode_date_every_day_from_1900_to_2100_equals_the_calendar(onnxruntime):
    days = pl.date_range(date(1900, 1, 1), date(2100, 12, 31), eager=True)
    seconds = [days.cast(pl.Datetime) + timedelta(seconds=offset) for offset in (0, 86399.999999, 43200.25)]
    instants = pl.concat(seconds)
    encoding = TableEncoding((DateEncoding("x", 0, origin=0.0, fill=0.0, parts=PARTS),))
    graph = GraphBuilder(["x", "out"])
    graph.add_output("Identity", encode_columns(graph, column_inputs(encoding, [])), name="out")
    (found,) = run_graph(onnxruntime, graph, {"x": temporal_seconds(instants)[:, None]}, width=7)
    np.testing.assert_array_equal(found[:, 0], temporal_seconds(instants))
    # An independent calendar: that of polars.
    positions = [
        (instants.dt.month().cast(pl.Float64) - 1) / 12,
        (instants.dt.weekday().cast(pl.Float64) - 1) / 7,
        (instants - instants.dt.truncate("1d")).dt.total_microseconds() / 86_400e6,
    ]
    for i, position in enumerate(positions):
        angle = 2 * np.pi * position.to_numpy()
        np.testing.assert_allclose(found[:, 1 + 2 * i], np.sin(angle), rtol=0, atol=1e-10)
        np.testing.assert_allclose(found[:, 2 + 2 * i], np.cos(angle), rtol=0, atol=1e-10)


def run_graph(onnxruntime, graph, inputs, width):
    """Return the outputs of a graph from x (N, 1) double to out (N, width) double."""
    from onnx import TensorProto, helper

    given, made = (
        helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["N", w]) for n, w in (("x", 1), ("out", width))
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "dates", [given], [made], graph.constants),
        ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]) | st.sampled_from("\0\n\t \"'\\\u0301"), max_size=8
)
NAMES = st.sampled_from(["", "x", "label", "numbers", "probabilities", "a", "a/fill", "features", "n" * 3000]) | TEXTS
FILLS = st.floats(-1e9, 1e9)


@st.composite
def encodings(draw):
    """Return a TableEncoding with columns of every kind, under names that occur twice or are those of other values."""
    columns = []
    for position in range(draw(st.integers(1, 5))):
        start = (draw(NAMES), position)
        missing = draw(st.booleans())
        match draw(st.sampled_from(["number", "logarithm", "boolean", "category", "date"])):
            case "number":
                columns.append(NumberEncoding(*start, draw(FILLS), missing))
            case "logarithm":
                columns.append(NumberEncoding(*start, 1.0, missing, draw(st.floats(0, 10)), draw(st.floats(1e-3, 1))))
            case "boolean":
                columns.append(BooleanEncoding(*start, draw(st.floats(0, 1)), missing))
            case "date":
                parts = tuple(draw(st.lists(st.sampled_from(PARTS), unique=True)))
                columns.append(DateEncoding(*start, draw(FILLS), draw(FILLS), parts, missing))
            case "category":
                levels = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=6, unique=True))
                if draw(st.booleans()):
                    levels += [f"level {i}" for i in range(500) if f"level {i}" not in levels]
                other = [text for text in draw(st.lists(TEXTS.filter(bool), max_size=3)) if text not in levels]
                other = list(dict.fromkeys(other))
                columns.append(CategoryEncoding(*start, tuple(levels), tuple(other), missing))
    return TableEncoding(tuple(columns))


def draw_cells(draw, column, rows):
    """Return cells (rows,) for a column, some of them missing or unknown to it."""
    match column:
        case CategoryEncoding():
            cells = st.sampled_from([*column.levels, *column.other]) | TEXTS.filter(bool)
            dtype = pl.String
        case BooleanEncoding():
            cells, dtype = st.booleans(), pl.Boolean
        case DateEncoding():
            cells, dtype = st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31)), pl.Datetime("us")
        case _:
            cells, dtype = st.floats(-1e9, 1e9), pl.Float64
    return pl.Series(draw(st.lists(st.none() | cells, min_size=rows, max_size=rows)), dtype=dtype)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(encodings(), st.data())
def test_onnx_bytes_any_encoding_equals_numpy(onnxruntime, encoding, data):
    series = [draw_cells(data.draw, column, 6) for column in encoding.columns]
    x = encoding.apply(series)
    rng = np.random.default_rng(1)
    y = np.arange(40) % 3
    x_train = np.concatenate([x, x[rng.integers(6, size=34)] + rng.normal(size=(34, x.shape[1]))])
    source = Source("table", x_train, y, x_train, y, {}, encoding=encoding)
    checkpoint = last(run(quick(dtype="float64", epochs=1), as_classification(source))).checkpoint
    assert_onnx_equals_numpy(onnxruntime, checkpoint, series, [1, 6])
