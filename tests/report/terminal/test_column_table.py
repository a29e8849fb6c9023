"""The table of columns that is printed before the first step."""

from lagvis.report.terminal.column_table import column_lines


def facts(name, column=1):
    return {"column": column, "name": name, "kind": "number", "becomes": "number", "features": 1, "missing": 2}


def test_column_lines_control_characters_in_a_name_stay_in_one_line():
    lines = column_lines([facts("first\nsecond\x1b[2J\t"), facts("blå 😀", 2)])
    assert [line.split("number")[0].strip() for line in lines[1:]] == ["1 first\\nsecond\\x1b[2J\\t", "2 blå 😀"]
    assert not any({*line} & {*"\n\t\x1b"} for line in lines)
