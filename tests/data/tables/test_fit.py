import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.tables import dates
from lagvis.data.tables.encoding import BooleanEncoding, CategoryEncoding, DateEncoding, NumberEncoding
from lagvis.errors import DataError

pl = pytest.importorskip("polars")

pd = pytest.importorskip("pandas")

ROWS = 400


@pytest.fixture
def load(tmp_path):
    """Return a function that writes columns beside a label as a table and loads it."""

    def write_and_load(columns, rows=ROWS, **options):
        table = pd.DataFrame(columns)
        table["label"] = np.where(np.arange(rows) % 3 == 0, "a", "b")
        table.to_csv(tmp_path / "t.csv", index=False)
        return load_dataset(str(tmp_path / "t.csv"), **{"label": "label"} | options)

    return write_and_load


def random_numbers(rows=ROWS):
    return np.random.default_rng(1).normal(size=rows).round(4)


def fitted(dataset):
    """Return the encoding of each column by its name, and the reason of each that is left out."""
    encoding = dataset.encoding
    return {column.name: column for column in encoding.columns}, {c.name: c.reason for c in encoding.left_out}


def test_fit_encoding_every_kind_of_column_by_its_cells(load):
    rng = np.random.default_rng(0)
    age = random_numbers()
    age[::10] = np.nan
    few_missing = random_numbers()
    few_missing[5] = np.nan
    columns, left_out = fitted(load({
        "age": age, "few missing": few_missing, "grade": rng.integers(1, 4, ROWS),
        "truth": rng.choice(["TRUE", "False"], ROWS), "size": rng.choice(["10", "9", "x"], ROWS),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, ROWS), unit="D"),
        "empty": np.nan, "constant text": "x", "constant number": 7,
    }))  # fmt: skip
    assert columns["age"] == NumberEncoding("age", 0, columns["age"].fill, missing=True, missing_cells=31)
    assert not columns["few missing"].missing
    assert isinstance(columns["grade"], NumberEncoding)
    assert isinstance(columns["truth"], BooleanEncoding)
    assert columns["size"].levels == ("9", "10", "x")
    assert columns["day"].parts == ("month", "weekday")
    assert isinstance(columns["constant number"], NumberEncoding)
    assert left_out == {
        "empty": "has no value in any training row", "constant text": "is 'x' in every training row",
    }  # fmt: skip


def test_fit_encoding_number_is_filled_with_the_mean_of_the_training_rows(load):
    values = random_numbers()
    values[::7] = np.nan
    dataset = load({"x": values, "z": random_numbers()})
    training = dataset.held_out.training_rows
    assert dataset.encoding.columns[0].fill == pytest.approx(np.nanmean(values[training]), rel=1e-12)


@pytest.mark.parametrize("name", ["", "id", "ID", "index", "Unnamed: 0", "row.names", "Zeilennr", "PassengerId"])
@pytest.mark.parametrize("kind", ["numbers", "far apart", "texts"])
def test_fit_encoding_column_that_names_the_rows_is_left_out(load, name, kind):
    rng = np.random.default_rng(2)
    cells = {
        "numbers": np.arange(1, ROWS + 1),
        "far apart": rng.choice(10**12, ROWS, replace=False),
        "texts": [f"t{i}" for i in rng.permutation(ROWS)],
    }[kind]
    columns, left_out = fitted(load({name: cells, "z": random_numbers()}))
    assert [*columns] == ["z"]
    assert list(left_out.values()) == [f"holds another {'text' if kind == 'texts' else 'whole number'} in every row"]


def test_fit_encoding_whole_numbers_of_a_wide_range_are_measurements_unless_the_name_says_otherwise(load):
    far_apart = np.random.default_rng(2).choice(10**9, ROWS, replace=False)
    columns, left_out = fitted(load({"income": far_apart, "z": random_numbers()}))
    assert [*columns] == ["income", "z"]
    assert left_out == {}


def test_fit_encoding_row_numbers_alone(load):
    dataset = load({"year": np.arange(ROWS)})
    assert dataset.encoding.column_names == ("year",)
    with pytest.raises(DataError, match=r"no column to learn from beside the label: column 1 \('column 1'\) holds"):
        load({"": np.arange(ROWS)})


@pytest.mark.parametrize("option", ["features", "number", "category"])
def test_fit_encoding_identity_is_kept_where_the_user_names_it(load, option):
    dataset = load({"id": np.arange(ROWS), "z": random_numbers()}, **{option: ("id",)})
    assert "id" in dataset.encoding.column_names


def test_fit_encoding_rare_levels_share_a_feature(load):
    cells = np.array(["a", "b"] * (ROWS // 2), dtype=object)
    cells[:12] = [f"rare {i}" for i in range(12)]
    columns, _ = fitted(load({"c": cells, "z": random_numbers()}))
    assert columns["c"].levels == ("a", "b")
    assert {*columns["c"].other} <= {f"rare {i}" for i in range(12)}
    assert len(columns["c"].other) > 1


def test_fit_encoding_many_levels_keep_the_commonest_or_are_left_out(load):
    rng = np.random.default_rng(3)
    skewed = [f"l{i}" for i in np.minimum(rng.geometric(0.02, 4000), 400)]
    even = [f"e{i}" for i in rng.integers(0, 1000, 4000)]
    columns, left_out = fitted(load({"skewed": skewed, "even": even, "z": random_numbers(4000)}, 4000))
    assert len(columns["skewed"].levels) == 100
    assert len(columns["skewed"].other) > 1
    assert "the commonest 100 hold less than half of the rows" in left_out["even"]
    columns, _ = fitted(load({"even": even, "z": random_numbers(4000)}, 4000, category=("even",)))
    assert len(columns["even"].levels) == 100


DATES = pd.Series(pd.date_range("2023-11-29 10:15", periods=ROWS, freq="31h"))
WRITTEN = {
    "yyyy-mm-dd": "%Y-%m-%d %H:%M", "yyyy-mm-dd hh:mm with a zone": "%Y-%m-%dT%H:%M:00Z", "yyyy/mm/dd": "%Y/%m/%d",
    "dd.mm.yyyy": "%d.%m.%Y", "dd/mm/yyyy": "%d/%m/%Y", "mm/dd/yyyy": "%m/%d/%Y %I:%M %p", "dd-mm-yyyy": "%d-%m-%Y",
    "27-Nov-2026": "%d-%b-%Y", "Nov 27, 2026": "%B %d, %Y", "hh:mm": "%H:%M:%S",
}  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN)
def test_fit_encoding_dates_of_every_form_equal_pandas(load, form):
    texts = DATES.dt.strftime(WRITTEN[form])
    dataset = load({"d": texts, "z": random_numbers()})
    column = dataset.encoding.columns[0]
    expected = pd.to_datetime(texts if form != "hh:mm" else "1970-01-01 " + texts, format="mixed", utc=True,
                              dayfirst=form.startswith("dd"))  # fmt: skip
    seconds = ((expected - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy()
    assert isinstance(column, DateEncoding)
    assert column.form == form
    assert np.allclose(dataset.x_train[:, 0] + column.origin, seconds[dataset.held_out.training_rows])


def test_fit_encoding_ambiguous_dates_are_left_out_with_the_remedy(load):
    texts = [f"0{i % 9 + 1}/0{i % 7 + 1}/2024" for i in range(ROWS)]
    _, left_out = fitted(load({"d": texts, "z": random_numbers()}))
    assert left_out["d"] == (
        "holds dates such as 02/02/2024, which may be dd/mm/yyyy or mm/dd/yyyy; write them as yyyy-mm-dd"
    )


@pytest.mark.parametrize("cells", [["202611", "202612"], ["20261127", "20261128"], ["1.5", "2.5"]])
def test_fit_encoding_numbers_that_look_like_dates_stay_numbers(load, cells):
    columns, _ = fitted(load({"d": cells * (ROWS // 2), "z": random_numbers()}))
    assert isinstance(columns["d"], NumberEncoding)


def test_fit_encoding_date_that_does_not_parse_raises_data_error_with_its_line(load):
    texts = DATES.dt.strftime("%d.%m.%Y").to_list()
    dataset = load({"d": texts, "z": random_numbers()})
    row = int(dataset.held_out.test_rows[0])
    texts[row] = "soon"
    with pytest.raises(DataError, match=rf"line {row + 2}: column 1 \('d'\) holds 'soon', expected a date as dd.mm"):
        load({"d": texts, "z": random_numbers()})


def test_fit_encoding_number_option_takes_text_or_names_the_cell(load):
    with pytest.raises(
        DataError, match=r"line [23]: column 1 \('c'\) holds '[xy]', and --number takes a column of numbers"
    ):
        load({"c": ["x", "y"] * (ROWS // 2), "z": random_numbers()}, number=("c",))


def test_fit_encoding_log_takes_zeros_and_refuses_negatives(load):
    values = np.abs(random_numbers()) + 0.01
    values[::9] = 0
    column = load({"x": values}, log=("x",)).encoding.columns[0]
    training = load({"x": values}, log=("x",)).x_train
    assert column.log_offset == values[values > 0].min()
    assert np.isfinite(training).all()
    values[7] = -1
    with pytest.raises(DataError, match=r"line 9: column 1 \('x'\) holds -1, and --log takes numbers from 0"):
        load({"x": values}, log=("x",))


CONFLICTS = [
    ({"features": ("x",), "drop": ("x",)}, "in --features and in --drop"),
    ({"category": ("x",), "number": ("x",)}, "in --category and in --number"),
    ({"category": ("x",), "log": ("x",)}, "in --category and in --log"),
    ({"drop": ("x",), "log": ("x",)}, "in --log and in --drop"),
    ({"id": ("x",), "features": ("x", "z")}, "in --features and in --id"),
    ({"features": ("z",), "category": ("x",)}, "in --category and not in --features"),
    ({"drop": ("label",)}, "is the label and in --drop"),
    ({"number": ("label",)}, "is the label and in --number"),
    ({"drop": ("xx",)}, "did you mean x"),
    ({"drop": ("x", "z")}, "no column to learn from"),
]


@pytest.mark.parametrize(("options", "words"), CONFLICTS, ids=str)
def test_load_table_conflicting_options_raise_data_error(load, options, words):
    with pytest.raises(DataError, match=words):
        load({"x": random_numbers(), "z": random_numbers() + 1}, **options)


def test_fit_encoding_dropped_columns_and_ids_are_kept_in_the_encoding(load):
    dataset = load(
        {"a": random_numbers(), "b": random_numbers() + 1, "c": random_numbers() * 2}, drop=("a",), id=("b",)
    )
    assert dataset.encoding.positions == (0, 1, 2)
    assert [(c.name, c.is_id) for c in dataset.encoding.left_out] == [("a", False), ("b", True)]


def test_fit_encoding_category_of_numbers_keeps_their_text(load):
    columns, _ = fitted(load({"zip": ["007", "7", "10"] * 133 + ["7"], "z": random_numbers()}, category=("zip",)))
    assert isinstance(columns["zip"], CategoryEncoding)
    assert columns["zip"].levels == ("007", "7", "10")


def test_fit_encoding_many_ranks_are_measurements(load):
    rng = np.random.default_rng(8)
    columns, left_out = fitted(load({f"rank {i}": rng.permutation(ROWS) + 1 for i in range(3)}))
    assert len(columns) == 3
    assert left_out == {}


def test_fit_encoding_identity_of_a_table_without_a_header_is_left_out(tmp_path):
    rng = np.random.default_rng(9)
    ids = rng.choice(10**8, ROWS, replace=False)
    lines = [f"{i},{'MB'[i % 2]},{x:.4f},{y:.4f}" for i, (x, y) in zip(ids, rng.normal(size=(ROWS, 2)), strict=True)]
    (tmp_path / "t.data").write_text("\n".join(lines))
    dataset = load_dataset(str(tmp_path / "t.data"))
    assert dataset.feature_columns == (3, 4)
    assert dataset.encoding.left_out[0].reason == "holds another whole number in every row"


def test_fit_encoding_dates_of_an_unknown_form_are_left_out_with_the_remedy(load):
    texts = DATES.dt.strftime("%d.%m.%y %H:%M")
    _, left_out = fitted(load({"d": texts, "z": random_numbers()}))
    assert left_out["d"] == "holds another text in every row; write dates as yyyy-mm-dd"


@pytest.mark.parametrize("step", [1, 2**44])
def test_fit_encoding_identities_beyond_float64_are_left_out(load, step):
    ids = 2**53 + step * np.random.default_rng(3).permutation(ROWS)
    columns, left_out = fitted(load({"a": random_numbers(), "tweet_id": ids}))
    assert list(columns) == ["a"]
    assert "another whole number in every row" in left_out["tweet_id"]


def test_fit_encoding_large_numbers_without_a_name_of_identities_are_learned_from(load):
    values = 2**53 + 2**44 * np.random.default_rng(3).permutation(ROWS)
    assert list(fitted(load({"a": random_numbers(), "population": values}))[0]) == ["a", "population"]


def test_find_forms_other_text_is_not_parsed_in_every_form(monkeypatch):
    def parse(cells, form):
        raise AssertionError("parsed as dates")

    monkeypatch.setattr(dates, "parse_dates", parse)
    assert dates.find_forms(pl.Series(["low", "high", None])) == []
