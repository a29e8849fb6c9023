"""Find a run or a trained network by what the user calls it."""

import os
from pathlib import Path

from lagvis.errors import CheckpointError
from lagvis.formats.paper import FIRST, read_paper_network
from lagvis.runs.checkpoint_file import read_checkpoint
from lagvis.runs.filenames import LAST, METRICS, RECIPE
from lagvis.training.checkpoint import Checkpoint


def find_checkpoint(run: str, output_dir: str = "runs") -> Path:
    """What RUN means, for `read_network`: a .safetensors file, a run folder, or a run's name under `output_dir`.

    Also the folder of a network that the paper's program saved.
    """
    given = Path(os.path.expanduser(run)).absolute()
    candidates = [given, Path(os.path.expanduser(output_dir)).absolute() / run]
    for candidate in candidates:
        for path in (candidate, candidate / LAST):
            if path.suffix == ".safetensors" and os.path.isfile(path):
                return path
        if os.path.isfile(candidate / FIRST):
            return candidate
    raise CheckpointError(
        f"there is no run {run!r}: neither {given} nor {candidates[1]} is a .safetensors file, a folder with {LAST}, "
        f"or a network of the paper's program with {FIRST}"
    )


def read_network(path: Path) -> Checkpoint:
    """The network at a path that `find_checkpoint` has found."""
    return read_paper_network(path) if path.is_dir() else read_checkpoint(path)


def find_run(run: str, output_dir: str = "runs") -> Path:
    """The folder that RUN means: a run folder, a run's name under `output_dir`, or, for "", the newest there."""
    parent = Path(os.path.expanduser(output_dir)).absolute()
    if run:
        candidates = [Path(os.path.expanduser(run)).absolute(), parent / run]
        folders = [path for path in candidates if os.path.isdir(path)]
        if not folders:
            file = next((path for path in candidates if os.path.isfile(path)), None)
            raise CheckpointError(
                f"{file} is a file, and a run goes on in its folder; give that: {file.parent}"
                if file
                else f"there is no run {run!r}: neither {candidates[0]} nor {candidates[1]} is a folder"
            )
        return next((path for path in folders if (path / RECIPE).is_file()), folders[0])
    begun = [path.parent for path in parent.glob(f"*/{RECIPE}")]
    if not begun:
        raise CheckpointError(f"there is no run to resume in {parent}; name one, or say --output-dir")
    return max(begun, key=lambda path: ((path / METRICS).stat().st_mtime_ns if (path / METRICS).exists() else 0, path))
