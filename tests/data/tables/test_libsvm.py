import gzip

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.data.tables.table_files import read


@pytest.fixture
def matrix():
    return sparse.random(40, 12, 0.3, random_state=0, format="csr")


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("queries", [True, False])
def test_read_libsvm_equals_sklearn(tmp_path, matrix, zero_based, queries):
    path = tmp_path / "t.svm"
    y = np.arange(40) % 3
    query_id = y if queries else None
    dump_svmlight_file(matrix, y, str(path), zero_based=zero_based, query_id=query_id, comment="by sklearn")
    x, labels = load_svmlight_file(str(path), zero_based=zero_based)
    table = read(path)
    assert table.column(0).to_list() == labels.tolist()
    assert np.array_equal(table.frame[:, 1:].to_numpy(), x.toarray())
    assert table.names[:3] == ("label", *(("feature 0", "feature 1") if zero_based else ("feature 1", "feature 2")))
    assert bool(table.notices) == queries


def test_load_dataset_libsvm_test_file_without_last_features_is_filled(tmp_path):
    (tmp_path / "train.svm").write_bytes(b"+1 1:1 3:2\n-1 2:1 4:0.5\n" * 5)
    (tmp_path / "test.svm").write_bytes(gzip.compress(b"-1 1:1 2:2\n+1 2:3 3:1\n"))
    dataset = load_dataset(str(tmp_path))
    assert dataset.x_test.tolist() == [[1, 2, 0, 0], [0, 3, 1, 0]]
    assert dataset.class_names == ("-1", "1")
    assert dataset.feature_names == ("feature 1", "feature 2", "feature 3", "feature 4")


def test_read_libsvm_time_of_day_behind_number_is_a_table_of_blanks(tmp_path):
    (tmp_path / "t.txt").write_text("".join(f"{i} 12:{i + 10}\n" for i in range(9)))
    assert "LIBSVM" not in read(tmp_path / "t.txt").description


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 3:0.5 x", "holds 'x'; expected index:value"),
        ("1 3:0.5 4:1_0", "holds '4:1_0'; expected index:value"),
        ("1 3:0.5 4:inf", "holds '4:inf'; expected a finite number"),
        ("1 3:0.5 2:1", "the index 2 stands behind 3"),
        ("1,2 3:0.5 4:1", "has the labels 1,2; expected one label a row"),
        ("1 3:0.5 100001:1", "holds the index 100001; expected at most 100,000"),
    ],
)
def test_read_libsvm_other_line_raises_data_error_with_line(tmp_path, line, words):
    path = tmp_path / "t.svm"
    path.write_text("# by hand\n" + "1 1:1 2:1\n" * 20_000 + line + "\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}, line 20002" in str(caught.value)
    assert words in str(caught.value)


def test_read_libsvm_too_large_as_a_dense_table_raises_data_error(tmp_path):
    (tmp_path / "t.svm").write_text("1 1:1 100000:1\n" * 1000)
    with pytest.raises(DataError, match="would take 800,000,000 bytes"):
        read(tmp_path / "t.svm")
