import pytest

from lagvis.data.read_options import ReadOptions
from lagvis.data.tables import trial_decode
from lagvis.data.tables.files import iter_frames
from lagvis.errors import DataError
from tests.data.tables.table_files import read

pl = pytest.importorskip("polars")


@pytest.fixture
def worker(monkeypatch):
    """Replace what the process that decodes does with each file."""

    def replace(action, start="print('ready', flush=True)"):
        source = f"import os, sys\n{start}\nfor line in sys.stdin:\n    {action}\n"
        monkeypatch.setattr(trial_decode, "WORKER", source)

    trial_decode.stop_trial_process()
    yield replace
    trial_decode.stop_trial_process()


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


def test_read_frame_file_whose_decoding_does_not_end_raises_data_error(worker, path, monkeypatch):
    worker("import time; time.sleep(60)")
    monkeypatch.setattr(trial_decode, "MAX_SECONDS", 0.5)
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as a Parquet file \(a damaged length\)"):
        read(path)


def test_survives_decoding_interrupted_starts_another_process(worker, path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial_decode.TrialProcess, "decode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trial_decode.survives_decoding(path, "a Parquet file")
    assert trial_decode.survives_decoding(path, "a Parquet file")


def test_read_frame_without_a_process_that_decodes_reads_the_file(worker, path):
    worker("pass", start="sys.exit(1)")
    assert read(path).frame.rows() == [(1, 3), (2, 4)]


def test_survives_decoding_damaged_file_that_polars_refuses_survives(path):
    path.write_bytes(path.read_bytes()[:50])
    assert trial_decode.survives_decoding(path, "a Parquet file")


def test_iter_frames_in_pieces_starts_no_process(path, monkeypatch):
    monkeypatch.setattr(trial_decode, "TrialProcess", lambda: pytest.fail("a process is started"))
    trial_decode.stop_trial_process()
    assert [part.frame.rows() for part in iter_frames(path, ReadOptions(), 1, max_whole_bytes=0)] == [
        [(1, 3)],
        [(2, 4)],
    ]
