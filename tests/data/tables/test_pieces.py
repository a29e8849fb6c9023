"""Tables that are read in pieces, beside the same tables read at once."""

import gzip

import numpy as np
import pytest

from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.files import iter_frames, read_frame
from lagvis.data.tables.hints import TableHints
from lagvis.errors import DataError

ROWS = [f"{i},{i / 8},{'ab'[i % 2]}" for i in range(60)]
TABLES = {
    "header": "n,x,label\n" + "\n".join(ROWS) + "\n",
    "no header": "\n".join(ROWS),
    "windows": "n,x,label\r\n" + "\r\n".join(ROWS) + "\r\n\r\n\r\n",
    "remarks": "# logger 7\n# started today\nn,x,label\n" + "\n".join(ROWS) + "\n",
    "decimal comma": "n;x;label\n" + "\n".join(f"{i};{i},5;a" for i in range(60)) + "\n",
    "cells of several lines": "n,x,text\n" + "\n".join(f'{i},{i},"a\nb ""{i}"", c"' for i in range(60)) + "\n",
    "lone quotes": "n,x,text\n" + "\n".join(f'{i},{i},5" pipe {i}' for i in range(60)) + "\n",
    "accents": "n,x,stad\n" + "\n".join(f"{i},{i},{'Århus' if i > 50 else 'Ribe'}" for i in range(60)) + "\n",
    "a column that is empty at first": "n,x,y\n"
    + "\n".join(f"{i},{i},{i if i > 40 else ''}" for i in range(60))
    + "\n",
    "blank lines": "n,x,label\n" + "\n\n".join(ROWS) + "\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "gzip"])
@pytest.mark.parametrize("name", TABLES)
def test_iter_frames_text_in_pieces_equals_the_file_at_once(tmp_path, name, encoding):
    path = tmp_path / "t.csv"
    if encoding == "gzip":
        path.write_bytes(gzip.compress(TABLES[name].encode()))
    else:
        path.write_bytes(TABLES[name].encode(encoding))
    whole = read_frame(path, ReadOptions(), TableHints(text=["label"]))
    parts = list(iter_frames(path, ReadOptions(), 25, TableHints(text=["label"]), max_whole_bytes=0))
    assert len(parts) >= 3
    rows = [row for part in parts for row in part.frame.rows()]
    assert rows == whole.frame.rows()
    assert {(part.names, part.has_header, part.sha256, part.path) for part in parts} == {
        (whole.names, whole.has_header, whole.sha256, whole.path)
    }
    places = [part.row_location(row) for part in parts for row in range(part.frame.height)]
    assert places == [whole.row_location(row) for row in range(60)]


def test_iter_frames_broken_line_of_a_later_piece_has_the_sentence_of_the_whole_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLES["header"].replace("\n50,", "\n50,7,"))
    with pytest.raises(DataError) as expected:
        read_frame(path, ReadOptions())
    assert "line 52" in str(expected.value)
    with pytest.raises(DataError) as found:
        list(iter_frames(path, ReadOptions(), 25, max_whole_bytes=0))
    assert str(found.value) == str(expected.value)


def test_iter_frames_text_among_numbers_of_a_later_piece_is_named_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLES["header"].replace("\n50,", "\nfifty,"))
    sentences = []
    for part in iter_frames(path, ReadOptions(), 25, max_whole_bytes=0):
        try:
            part.check_column(0)
        except DataError as error:
            sentences.append(str(error))
    with pytest.raises(DataError) as expected:
        read_frame(path, ReadOptions()).check_column(0)
    assert sentences == [str(expected.value)]
    assert "line 52" in sentences[0]


def test_iter_frames_random_cells_in_pieces_equal_the_file_at_once(tmp_path):
    rng = np.random.default_rng(0)
    cells = ["1", "2.5", "", "a", '"b, c"', '"d\ne"', "NA", '"say ""x"""', " 7 "]
    for _ in range(20):
        lines = [",".join([str(i), *rng.choice(cells, 3)]) for i in range(40)]
        path = tmp_path / "t.csv"
        path.write_text("\n".join(["id,p,q,r", *lines]) + "\n")
        hints = TableHints(text=["p", "q", "r"], verbatim=["id"])
        whole = read_frame(path, ReadOptions(), hints)
        parts = list(iter_frames(path, ReadOptions(), 7, hints, max_whole_bytes=0))
        assert [row for part in parts for row in part.frame.rows()] == whole.frame.rows()
