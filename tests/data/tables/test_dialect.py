import pytest

from lagvis.data.tables.csv_reader import read_csv
from lagvis.errors import DataError


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


def test_detect_dialect_blanks_between_numbers_and_a_tab_before_text_are_one_separator(tmp_path):
    path = tmp_path / "auto-mpg.data"
    path.write_text(
        '18.0   8   307.0      3504.\t"chevrolet chevelle malibu"\n 9.0   8   ?          4732.\t"hi 1200d"\n'
    )
    table = read_csv(path)
    assert table.frame.shape == (2, 5)
    assert table.frame["4"].to_list() == ["chevrolet chevelle malibu", "hi 1200d"]
    assert table.frame["2"].null_count() == 1


def test_detect_dialect_tabs_between_texts_of_several_words_are_the_separator(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("name\tkind\nroom 1\tbig 2\nroom 2\tbig 2\nroom 3\tlow 1\n")
    assert read_csv(path).frame.shape == (3, 2)


def test_read_csv_control_character_is_named_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3,4\x1a\n")
    with pytest.raises(DataError, match=r"holds the byte 1a in line 3; remove it, or save it as CSV in UTF-8"):
        read_csv(path)
