"""Find runs and trained networks by the argument RUN of the commands."""

import errno
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from lagvis.errors import CheckpointError
from lagvis.formats.paper import FIRST, read_paper_network
from lagvis.storage.checkpoint_file import read_checkpoint
from lagvis.storage.filenames import LAST, METRICS, RECIPE
from lagvis.storage.run_folder import read_environment
from lagvis.training import recipe as recipes
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.recipe import Recipe


class StoredNetwork(NamedTuple):
    """A trained network, and the checkpoint file or the folder of the paper's program that holds it."""

    path: Path
    checkpoint: Checkpoint

    @property
    def from_paper(self) -> bool:
        """Whether the paper's program saved it."""
        return self.path.is_dir()

    def read_recipe(self) -> Recipe | None:
        """Read the recipe of the run that the file belongs to; None if there is no run folder around it."""
        path = self.path.parent / RECIPE
        return recipes.load(str(path)) if not self.from_paper and os.path.isfile(path) else None

    def read_environment(self) -> dict[str, Any]:
        """Read environment.json of the run that the file belongs to; {} if there is none."""
        return {} if self.from_paper else read_environment(self.path.parent)


def load_network(run: str, runs_dir: str = "runs") -> StoredNetwork:
    """Find and read the network that RUN names; see `find_checkpoint`."""
    path = find_checkpoint(run, runs_dir)
    return StoredNetwork(path, read_network(path))


def read_network(path: Path) -> Checkpoint:
    """Read the network at a path returned by `find_checkpoint`."""
    return read_paper_network(path) if path.is_dir() else read_checkpoint(path)


def find_checkpoint(run: str, runs_dir: str = "runs") -> Path:
    """Return the checkpoint that RUN names, or the folder of a network that the paper's program saved.

    RUN is a .safetensors file, a run folder, the name of a run in `runs_dir`, or a folder of the paper's program. In a
    run folder it is the newest checkpoint. Raise CheckpointError if there is none.
    """
    candidates = run_paths(run, runs_dir)
    for candidate in candidates:
        for path in (candidate, candidate / LAST):
            if path.suffix == ".safetensors" and os.path.isfile(path):
                return path
        if os.path.isfile(candidate / FIRST):
            return candidate
    for path in (path for candidate in candidates for path in (candidate, candidate / LAST)):
        if path.suffix == ".safetensors" and (reason := unreadable_reason(path)):
            raise CheckpointError(f"the checkpoint {path} cannot be read ({reason}); make it readable, or use a copy")
    raise CheckpointError(
        f"there is no run {run!r}: neither {candidates[0]} nor {candidates[1]} is a .safetensors file, a folder with "
        f"{LAST}, or a network of the paper's program with {FIRST}"
    )


def unreadable_reason(path: Path) -> str:
    """Return why a path that is there is no file that can be read; "" if nothing is there."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "it is a folder or a device, not a file"
    except OSError as error:
        if error.errno == errno.ENOENT and path.is_symlink():
            return "it is a link to a file that does not exist"
        return str(error.strerror) if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EIO) else ""


def find_run(run: str, runs_dir: str = "runs") -> Path:
    """Return the run folder that RUN names by its path or by its name in `runs_dir`; for "" the newest run there.

    Raise CheckpointError if there is none.
    """
    if not run:
        return newest_run(Path(os.path.expanduser(runs_dir)).absolute())
    candidates = run_paths(run, runs_dir)
    folders = [path for path in candidates if os.path.isdir(path)]
    if folders:
        return next((path for path in folders if os.path.isfile(path / RECIPE)), folders[0])
    file = next((path for path in candidates if os.path.isfile(path)), None)
    if file:
        raise CheckpointError(f"{file} is a file; a run is resumed by its folder, here {file.parent}")
    raise CheckpointError(f"there is no run {run!r}: neither {candidates[0]} nor {candidates[1]} is a folder")


def run_paths(run: str, runs_dir: str) -> tuple[Path, Path]:
    """Return the two paths that RUN can mean: itself, and its name in `runs_dir`."""
    return Path(os.path.expanduser(run)).absolute(), Path(os.path.expanduser(runs_dir)).absolute() / run


def newest_run(folder: Path) -> Path:
    """Return the run in a folder whose metrics were written last; CheckpointError if the folder holds no run."""

    def written(path: Path) -> tuple[int, Path]:
        try:
            return (path / METRICS).stat().st_mtime_ns, path
        except OSError:
            return 0, path

    runs = [path.parent for path in folder.glob(f"*/{RECIPE}")]
    if not runs:
        raise CheckpointError(f"there is no run to resume in {folder}; name a run, or its folder by --runs-dir")
    return max(runs, key=written)
