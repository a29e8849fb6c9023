import gzip

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.tables.table_format import ARFF, CSV, JSON, LIBSVM, NDJSON, PARQUET, table_format
from lagvis.errors import DataError


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"a,b\n1,2\n", CSV),
        (b"", CSV),
        (b"\xef\xbb\xbf[{}]", JSON),
        (b"\n [1, 2]", JSON),
        (b'{"a": [1, 2]}', JSON),
        (b'{\n "a": [1, 2]}', JSON),
        (b'{"a": 1}', NDJSON),
        (b'{"a": 1}\n\n{"a": 2}\n', NDJSON),
        (b"[a] b c\n1 2 3\n", CSV),
        (b"{a},b\n1,2\n", CSV),
        (b"%%% by Weka\n\n@Relation x\n", ARFF),
        (b"@relations,b\n1,2\n", CSV),
        (b"# by hand\n1 3:0.5 7:1\n-1 2:1\n2\n", LIBSVM),
        (b"1 qid:3 1:0.5 2:1\n", LIBSVM),
        (b"5 12:30\n6 12:45\n", CSV),
        (b"1 7:1 3:0.5\n", CSV),
        (b"1 3:0.5 7:1\n2 a:1\n", CSV),
        (b"PAR1\x15\x04", PARQUET),
        (b"PAR1,PAR2\n1,2\n", CSV),
        (b"ARROW1 ARROW2\n1 2\n", CSV),
    ],
)
def test_table_format_first_bytes_decide(tmp_path, content, kind):
    (tmp_path / "t").write_bytes(content)
    assert table_format(tmp_path / "t") == kind
    if kind != PARQUET:
        (tmp_path / "t").write_bytes(gzip.compress(content))
        assert table_format(tmp_path / "t") == kind


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"<!DOCTYPE html><html>", "a web page; download the file"),
        (b"\xef\xbb\xbf\n<html>", "a web page; download the file"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
        (b"$FL2@(#) SPSS DATA FILE", "an SPSS file; export it with pandas: pd.read_spss"),
        (b"<stata_dta><header>", "a Stata file; export it with pandas: pd.read_stata"),
        (b"\x72\2\1\0", "a Stata file"),
        (gzip.compress(b"X\n\0\0\0\2\0\3\6\3", mtime=0), "an R file"),
        (gzip.compress(b"RDX3\nX\n", mtime=0), "an R file"),
        (bytes(12) + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf", "a SAS file"),
        (b"HEADER RECORD*******LIBRARY", "a SAS transport file"),
        (bytes(8) + b"DUCK\x40\0\0\0", "a DuckDB database"),
        (b"\0\1\0\0Standard ACE DB", "a Microsoft Access database"),
        (b"FEA1\0\0\0\0", "a Feather file of version 1"),
        (b"\x80\5\x95", "a pickle, which is never opened"),
        (gzip.compress(b"PAR1\x15\x04", mtime=0), "a Parquet file within a gzip file; unpack it"),
    ],
)
def test_load_dataset_other_format_raises_data_error_with_remedy(tmp_path, start, words):
    path = tmp_path / "t.csv"
    path.write_bytes(start)
    with pytest.raises(DataError) as caught:
        load_dataset(str(path))
    assert f"{path} is {words}" in str(caught.value)


def test_load_dataset_header_like_a_signature_is_a_table(tmp_path):
    for name in ("animals,DUCK", "ORC,b", "RDA,b", "MATLAB,b", "FEA1,FEA2"):
        (tmp_path / "t.csv").write_text(f"{name},class\n" + "1,2,x\n2,5,y\n" * 5)
        assert load_dataset(str(tmp_path / "t.csv")).x_train.shape[1] >= 1


def test_load_dataset_folder_with_pictures_and_json_is_pictures(tmp_path):
    from PIL import Image

    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / kind / f"{i}.png")
    (tmp_path / "about.json").write_text('[{"a": 1}]')
    assert load_dataset(str(tmp_path)).class_names == ("a", "b")
