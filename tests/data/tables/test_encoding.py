import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from lagvis.data.tables.cell_values import CellError
from lagvis.data.tables.encoding import (
    CAUSES,
    BooleanEncoding,
    CategoryEncoding,
    DateEncoding,
    LeftOut,
    NumberEncoding,
    TableEncoding,
)

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
COUNTS = st.integers(0, 2**31 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def encodings(draw):
    name, missing, count = draw(TEXTS), draw(st.booleans()), draw(COUNTS)
    match draw(st.integers(0, 3)):
        case 0:
            log = draw(st.none() | st.floats(0, 1e100))
            floor = draw(st.floats(1e-300, 1e300))
            return NumberEncoding(name, 0, draw(st.floats(-1e300, 1e300)), missing, log, floor, count)
        case 1:
            return BooleanEncoding(name, 0, draw(st.floats(0, 1)), missing, count)
        case 2:
            levels = draw(st.lists(TEXTS, min_size=1, max_size=6, unique=True))
            n = draw(st.integers(1, len(levels)))
            return CategoryEncoding(name, 0, tuple(levels[:n]), tuple(levels[n:]), missing, count)
        case _:
            parts = tuple(draw(st.lists(st.sampled_from(("month", "weekday", "hour")), unique=True)))
            return DateEncoding(name, 0, draw(NUMBERS), draw(NUMBERS), parts, missing, "dd.mm.yyyy", count)


@st.composite
def table_encodings(draw):
    columns = draw(st.lists(encodings(), min_size=1, max_size=5))
    positions = draw(st.permutations(range(len(columns) + 2)))
    placed = tuple(type(column)(**{**column.__dict__, "position": positions[i]}) for i, column in enumerate(columns))
    return TableEncoding(placed, (LeftOut(draw(TEXTS), positions[-1], draw(st.sampled_from(CAUSES)), draw(TEXTS)),))


@given(table_encodings())
def test_from_json_of_as_json_is_the_same_encoding(encoding):
    text = json.dumps(encoding.as_json(), allow_nan=False)
    assert TableEncoding.from_json(json.loads(text)) == encoding
    assert len(encoding.feature_names) == len(encoding.feature_kinds) == len(encoding.feature_columns)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Yield the path of every value within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@given(table_encodings(), st.data())
def test_from_json_any_damage_raises_value_error_or_gives_a_usable_encoding(encoding, data):
    value = json.loads(json.dumps({"encoding": encoding.as_json()}))
    *parents, last = data.draw(st.sampled_from([path for path in places(value) if path]))
    place = value
    for key in parents:
        place = place[key]
    place[last] = data.draw(JSON)
    try:
        found = TableEncoding.from_json(value["encoding"])
    except ValueError:
        return
    features = found.apply([pl.Series([None], dtype=pl.Null)] * len(found.columns))
    assert features.shape == (1, len(found.feature_names))
    assert np.isfinite(features).all()


CATEGORY = {"kind": "category", "name": "a", "position": 0, "levels": ["x", "y"], "other": [], "missing": False,
            "missing_cells": 0}  # fmt: skip
NUMBER = {"kind": "number", "name": "a", "position": 0, "fill": 1.5, "missing": False, "log_offset": None,
          "log_floor": 0.0, "missing_cells": 0}  # fmt: skip
DATE = {"kind": "date", "name": "a", "position": 0, "origin": 0.0, "fill": 1.5, "parts": ["month"], "missing": False,
        "form": "yyyy-mm-dd", "missing_cells": 0}  # fmt: skip
DAMAGED = [
    {**CATEGORY, "levels": []}, {**CATEGORY, "levels": ["x", "x"]}, {**CATEGORY, "other": ["x"]},
    {**CATEGORY, "levels": "xy"}, {**CATEGORY, "levels": ["x", 1]}, {**CATEGORY, "levels": ["x", None]},
    {**CATEGORY, "position": -1}, {**CATEGORY, "position": 1.0}, {**CATEGORY, "position": True},
    {**CATEGORY, "position": 10**30}, {**CATEGORY, "missing": 1}, {**CATEGORY, "missing_cells": -1},
    {**CATEGORY, "name": None}, {**CATEGORY, "kind": "text"}, {**CATEGORY, "kind": ["category"]},
    {**CATEGORY, "more": 1}, {key: value for key, value in CATEGORY.items() if key != "levels"},
    {**NUMBER, "fill": float("nan")}, {**NUMBER, "fill": float("inf")}, {**NUMBER, "fill": "1"},
    {**NUMBER, "fill": 10**400}, {**NUMBER, "fill": True}, {**NUMBER, "log_offset": -1.0, "log_floor": 1.0},
    {**NUMBER, "log_offset": 1.0, "log_floor": 0.0}, {**DATE, "parts": ["year"]}, {**DATE, "parts": ["hour", "hour"]},
    {**DATE, "form": "yy"}, {**DATE, "form": None}, {**DATE, "origin": float("-inf")},
    {**NUMBER, "kind": "boolean"}, [], None, 5, "number",
]  # fmt: skip


@pytest.mark.parametrize("column", DAMAGED, ids=str)
def test_from_json_damaged_column_raises_value_error(column):
    with pytest.raises(ValueError):  # noqa: PT011
        TableEncoding.from_json({"columns": [column], "left_out": []})


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, "x", {"columns": [NUMBER]}, {"columns": [], "left_out": []},
        {"columns": [NUMBER, NUMBER], "left_out": []}, {"columns": {"0": NUMBER}, "left_out": []},
        {"columns": [NUMBER], "left_out": [{"name": "b", "position": 0, "cause": "id", "reason": ""}]},
        {"columns": [NUMBER], "left_out": [{"name": "b", "position": 1, "cause": "id", "reason": 3}]},
        {"columns": [NUMBER], "left_out": [{"name": "b", "position": 1, "cause": "whim", "reason": ""}]},
        {"columns": [NUMBER], "left_out": None}, {"columns": [NUMBER], "left_out": [], "more": []},
    ],
)  # fmt: skip
def test_from_json_damaged_table_raises_value_error(value):
    with pytest.raises(ValueError):  # noqa: PT011
        TableEncoding.from_json(value)


def apply(column, values, dtype=None):
    return TableEncoding((column,)).apply([pl.Series(values, dtype=dtype)])


@given(st.lists(st.sampled_from(["a", "b", "c", "D", "10", "9"]), min_size=1, max_size=30))
def test_apply_category_equals_one_hot_encoder(values):
    levels = ("9", "10", "a", "b")
    expected = OneHotEncoder(categories=[list(levels)], handle_unknown="ignore", sparse_output=False)
    expected.fit(np.array(levels)[:, None])
    found = apply(CategoryEncoding("x", 0, levels), values, pl.String)
    assert np.array_equal(found, expected.transform(np.array(values)[:, None]))


@given(st.lists(st.sampled_from(["a", "b", "r1", "r2", None]), min_size=1, max_size=30))
def test_apply_category_with_other_and_missing_equals_get_dummies(values):
    column = CategoryEncoding("x", 0, ("a", "b"), ("r1", "r2"), missing=True)
    series = pd.Series(values, dtype=object).replace({"r1": "other", "r2": "other"}).fillna("missing")
    expected = pd.get_dummies(pd.Categorical(series, categories=["a", "b", "other", "missing"]), dtype=float)
    assert np.array_equal(apply(column, values, pl.String), expected.to_numpy())
    assert column.feature_names == ("x=a", "x=b", "x=other", "x is missing")


def test_apply_category_unseen_and_missing_without_a_level_are_zero_everywhere():
    column = CategoryEncoding("x", 0, ("a", "b"))
    assert np.array_equal(apply(column, ["b", "c", None]), [[0, 1], [0, 0], [0, 0]])
    assert column.unseen(pl.Series(["b", "c", None, "c"])).to_list() == ["c", "c"]


@pytest.mark.parametrize("values", [[1, 2, None], [1.0, 2.0, None], ["1", "2", None]], ids=["int", "float", "text"])
def test_apply_category_of_numbers_of_any_type_is_one_level(values):
    assert np.array_equal(apply(CategoryEncoding("x", 0, ("1", "2")), values), [[1, 0], [0, 1], [0, 0]])


def test_apply_number_equals_simple_imputer_with_indicator():
    values = np.array([1.5, np.nan, -3.0, np.nan])
    imputer = SimpleImputer(add_indicator=True).fit(values[:, None])
    column = NumberEncoding("x", 0, float(np.nanmean(values)), missing=True)
    found = apply(column, pl.Series(values).fill_nan(None))
    assert np.array_equal(found, imputer.transform(values[:, None]))


def test_apply_number_log_of_zero_and_below_is_finite():
    column = NumberEncoding("x", 0, 1.0, log_offset=0.5, log_floor=0.01)
    assert np.allclose(apply(column, [0.5, 0.0, -9.0, None])[:, 0], np.log([1.0, 0.5, 0.01, 1.5]))


@pytest.mark.parametrize(("values", "row", "text"), [(["1", None, "x"], 2, "x"), ([1.0, float("inf")], 1, "inf")])
def test_apply_number_other_cell_raises_cell_error(values, row, text):
    with pytest.raises(CellError) as caught:
        apply(NumberEncoding("x", 0, 0.0), values)
    assert (caught.value.row, caught.value.text) == (row, text)


@pytest.mark.parametrize("values", [["TRUE", "false", None], [True, False, None], [1, 0, None], [1.0, 0.0, None]])
def test_apply_boolean_of_any_type_is_one_feature(values):
    assert np.array_equal(apply(BooleanEncoding("x", 0, 0.25), values), [[1], [0], [0.25]])


def test_apply_boolean_other_cell_raises_cell_error():
    with pytest.raises(CellError, match="holds maybe, expected true or false"):
        apply(BooleanEncoding("x", 0, 0.25), ["true", "maybe"])


@given(st.lists(st.datetimes(pd.Timestamp("1800-01-01"), pd.Timestamp("2200-01-01")), min_size=1, max_size=9))
def test_apply_dates_of_text_and_of_polars_equal_pandas(dates):
    stamps = pd.DatetimeIndex(dates)
    column = DateEncoding("x", 0, 1e9, 0.0, ("month", "weekday", "hour"))
    found = apply(column, dates, pl.Datetime("us"))
    as_text = apply(column, [date.isoformat() for date in dates], pl.String)
    seconds = (stamps - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    day = (stamps - stamps.normalize()) / pd.Timedelta(days=1)
    expected = [seconds - 1e9]
    for position in ((stamps.month - 1) / 12, stamps.day_of_week / 7, day):
        expected += [np.sin(2 * np.pi * position), np.cos(2 * np.pi * position)]
    for part in (found, as_text):
        assert np.allclose(part, np.column_stack(expected), rtol=1e-12, atol=1e-6)


def test_apply_dates_missing_cell_is_the_mean_and_no_direction():
    column = DateEncoding("x", 0, 0.0, 500.0, ("hour",), missing=True)
    found = apply(column, ["1970-01-01T06:00", None])
    assert np.allclose(found, [[21600, 1, 0, 0], [500, 0, 0, 1]])


def test_apply_dates_in_another_form_raises_cell_error():
    with pytest.raises(CellError, match=r"holds 01\.02\.2024, expected a date as yyyy-mm-dd"):
        apply(DateEncoding("x", 0, 0.0, 0.0), ["2024-02-01", "01.02.2024"])
    with pytest.raises(CellError, match="expected a date"):
        apply(DateEncoding("x", 0, 0.0, 0.0), [5.0])


@pytest.mark.parametrize(
    "column",
    [NumberEncoding("x", 0, 2.5), BooleanEncoding("x", 0, 0.5), DateEncoding("x", 0, 0.0, 7.0),
     CategoryEncoding("x", 0, ("a",), missing=True)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [pl.Null, pl.String, pl.Float64])
def test_apply_column_without_any_value_is_missing_in_every_row(column, dtype):
    filled = 1.0 if isinstance(column, CategoryEncoding) else column.fill
    found = apply(column, [None, None], dtype)
    assert found[:, -1].tolist() == [filled, filled]
