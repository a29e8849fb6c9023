"""Checkpoints that are there and cannot be read are not reported as missing."""

import os

import pytest

from lagvis.cli import export
from lagvis.errors import CheckpointError
from lagvis.storage.lookup import find_checkpoint, unreadable_reason


def test_find_checkpoint_folder_in_its_place_is_not_missing(tmp_path):
    (tmp_path / "r" / "last.safetensors").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"last\.safetensors cannot be read \(it is a folder or a device"):
        find_checkpoint("r", str(tmp_path))


def test_find_checkpoint_dangling_link_is_not_missing(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "last.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="it is a link to a file that does not exist"):
        find_checkpoint("r", str(tmp_path))


@pytest.mark.parametrize("number", ["EACCES", "EIO"])
def test_find_checkpoint_failing_system_names_the_reason(tmp_path, monkeypatch, number):
    import errno

    (tmp_path / "r").mkdir()
    path = tmp_path / "r" / "last.safetensors"
    path.touch()
    error = OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    monkeypatch.setattr(os.path, "isfile", lambda name: False)

    def fail(self, **options):
        raise error

    monkeypatch.setattr(type(path), "stat", fail)
    with pytest.raises(CheckpointError, match=rf"cannot be read \({error.strerror}\)"):
        find_checkpoint("r", str(tmp_path))


def test_unreadable_reason_nothing_there_is_empty(tmp_path):
    assert unreadable_reason(tmp_path / "nothing" / "last.safetensors") == ""


def test_find_checkpoint_missing_run_keeps_its_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="there is no run 'r'"):
        find_checkpoint("r", str(tmp_path))


def test_export_output_that_holds_the_run_names_runs_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old" / "r").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="-o is the file to write, and 'r' lies in 'old': use --runs-dir old"):
        export.main(["r", "--format", "npz", "-o", "old"])


def test_export_damaged_network_beside_an_output_keeps_its_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = tmp_path / "net.safetensors"
    network.write_bytes(b"damaged")
    for run in (str(network), network.name):
        with pytest.raises(CheckpointError) as caught:
            export.main([run, "--format", "npz", "-o", "."])
        assert "--runs-dir" not in str(caught.value)
