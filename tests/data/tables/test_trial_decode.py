import pytest

from lagvis.data.tables import trial_decode
from lagvis.errors import DataError
from tests.data.tables.table_files import read

pl = pytest.importorskip("polars")


def stop():
    if trial_decode.start_worker.cache_info().currsize and (process := trial_decode.start_worker()):
        trial_decode.stop_worker(process)
    trial_decode.start_worker.cache_clear()


@pytest.fixture
def worker(monkeypatch):
    """Replace what the process that decodes does with each file."""

    def replace(action, start="print('ready', flush=True)"):
        source = f"import os, sys\n{start}\nfor line in sys.stdin:\n    {action}\n"
        monkeypatch.setattr(trial_decode, "WORKER", source)

    stop()
    yield replace
    stop()


@pytest.fixture
def path(tmp_path):
    pl.DataFrame({"a": [1, 2], "b": [3, 4]}).write_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_read_frame_file_that_aborts_polars_raises_data_error_and_the_next_is_read(worker, path, tmp_path):
    worker("os.abort() if 'bad' in line else print('done', flush=True)")
    bad = path.rename(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as a Parquet file \(a damaged length\)"):
        read(bad)
    assert read(bad.rename(path)).frame.rows() == [(1, 3), (2, 4)]


def test_read_frame_without_a_process_that_decodes_reads_the_file(worker, path):
    worker("pass", start="sys.exit(1)")
    assert read(path).frame.rows() == [(1, 3), (2, 4)]


def test_survives_decoding_damaged_file_that_polars_refuses_survives(path):
    path.write_bytes(path.read_bytes()[:50])
    assert trial_decode.survives_decoding(path, "a Parquet file")
