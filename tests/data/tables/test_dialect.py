import pytest

from lagvis.data.tables.csv_reader import read_csv


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('"","sex","survived"\n"1","man","yes"\n"2","woman","no"\n', 2),
        ('"","class"\n"NA","yes"\n"x1","no"\n', 2),
        ('"","1","2"\n"1",50,19\n"2",16,40\n', 2),
        ('"","142.24","144.78","147.32"\n"9.4",0,0,3\n"9.5",0,1,2\n', 2),
        (",5.1,3.5,1.4\n4.9,3.0,1.4,0.2\n4.7,3.2,1.3,0.2\n", 3),  # a missing measurement
        (",5.1,cat\n7,3.0,dog\n7,3.2,cat\n", 3),
    ],
)
def test_detect_dialect_line_with_empty_first_cell_above_an_index_is_header(tmp_path, text, rows):
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert read_csv(path).frame.height == rows
