import sqlite3
from contextlib import closing

import pytest

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.data.tables.table_files import read, sample, write_sqlite

pd = pytest.importorskip("pandas")


def database(path, *statements):
    """Write a database with SQL statements."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def two_tables(tmp_path):
    write_sqlite(sample(), tmp_path / "t.db", "birds")
    write_sqlite(sample(9), tmp_path / "t.db", "Old birds")
    return tmp_path / "t.db"


def test_read_sqlite_several_tables_without_option_are_named(two_tables):
    message = refusal(two_tables)
    assert "holds the tables Old birds, birds; choose one with --table 'Old birds', or" in message


@pytest.mark.parametrize(("table", "rows"), [("birds", 60), ("BIRDS", 60), ("Old birds", 9)])
def test_read_sqlite_table_option_selects_table(two_tables, table, rows):
    assert read(two_tables, table=table).frame.height == rows


@pytest.mark.parametrize(
    "query",
    [
        'select length, "count" from birds where length > 0',
        "SELECT length, class FROM birds ORDER BY length",
        "with long as (select * from birds where length > 1) select * from long",
    ],
)
def test_read_sqlite_query_equals_pandas(two_tables, query):
    with closing(sqlite3.connect(two_tables)) as connection:
        expected = pd.read_sql(query, connection)
    table = read(two_tables, table=query)
    assert table.names == tuple(expected.columns)
    rows = [tuple(None if pd.isna(cell) else cell for cell in row) for row in expected.itertuples(index=False)]
    assert table.frame.rows() == rows


def test_read_sqlite_unknown_table_raises_data_error_with_proposal(two_tables):
    assert "has no table 'brids'; it has Old birds, birds: did you mean birds?" in refusal(two_tables, table="brids")


def test_read_sqlite_failing_query_raises_data_error_with_tables(two_tables):
    message = refusal(two_tables, table="select weight from birds")
    assert "no such column: weight" in message
    assert "the tables are Old birds, birds" in message


@pytest.mark.parametrize(
    "query", ["drop table birds", "with a as (select 1) delete from birds", "select 1; drop table birds"]
)
def test_read_sqlite_query_that_writes_changes_nothing(two_tables, query):
    before = two_tables.read_bytes()
    refusal(two_tables, table=query)
    assert two_tables.read_bytes() == before


def test_read_sqlite_columns_of_several_types_are_numbers_or_stray(tmp_path):
    rows = "".join(f", ({i}, '{i}', {i}.5)" for i in range(40))
    path = database(tmp_path / "t.db", "create table t (a, b, c)", f"insert into t values ('x', 'NA', 1){rows}")
    table = read(path)
    assert table.column(1).to_list() == [None, *range(40)]
    assert table.column(2).to_list() == [1, *(i + 0.5 for i in range(40))]
    with pytest.raises(DataError, match=r"row 1, column 1 \('a'\) is 'x', expected a finite number"):
        table.check_column(0)


def test_read_sqlite_blobs_are_left_out(tmp_path):
    path = database(tmp_path / "t.db", "create table t (a, b)", "insert into t values (1, x'00ff'), (2, null)")
    assert read(path).unreadable == {1: "bytes"}


def test_read_sqlite_views_are_read_where_there_are_no_tables_of_that_name(tmp_path):
    path = database(
        tmp_path / "t.db", "create table t (a, b)", "insert into t values (1, 2)", "create view v as select * from t"
    )
    assert read(path).description == "SQLite, table t"
    assert "name one of them" in refusal(path, table="w")


@pytest.mark.parametrize("statements", [[], ["create table t (a, b)"]])
def test_read_sqlite_empty_database_raises_data_error(tmp_path, statements):
    path = database(tmp_path / "t.db", "create table x (a)", "drop table x", *statements)
    assert "without a table" in refusal(path) or "no rows" in refusal(path)


def test_load_dataset_name_of_table_with_quotes_is_read(tmp_path):
    write_sqlite(sample(), tmp_path / "a?b#c.db", 'the "birds"')
    assert len(load_dataset(str(tmp_path / "a?b#c.db"), table='the "birds"').x_train) == 48


def test_read_sqlite_view_beside_tables_is_read_by_its_name(tmp_path):
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "create table a(x, y); insert into a values (1, 'p'), (2, 'q');"
            "create view Half as select x / 2.0, y from a;"
        )
    assert read(path).frame.rows() == [(1, "p"), (2, "q")]
    for name in ("Half", "half"):
        assert read(path, table=name).frame.rows() == [(0.5, "p"), (1.0, "q")]
    with pytest.raises(DataError, match="has no table 'none'; it has a, Half"):
        read(path, table="none")
