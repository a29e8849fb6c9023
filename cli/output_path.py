"""The file that --output names, in the commands that write one."""

import os
import shlex
from pathlib import Path

from lagvis.errors import CheckpointError
from lagvis.storage.filenames import RECIPE, RUN_FILES
from lagvis.storage.lookup import StoredNetwork, load_network


def find_network(run: str, runs_dir: str, output: str | None) -> StoredNetwork:
    """Find and read the network of RUN; if it is not found but lies in the folder `output`, name --runs-dir."""
    try:
        return load_network(run, runs_dir)
    except CheckpointError as error:
        is_found = os.path.isabs(run) or os.path.exists(run)
        if output is not None and not is_found and os.path.exists(Path(os.path.expanduser(output)) / run):
            raise CheckpointError(
                f"{error}; -o is the file to write, and {run!r} lies in {output!r}: use --runs-dir "
                f"{shlex.quote(output)}"
            ) from None
        raise


def output_path(output: str, source: Path) -> Path:
    """Return the absolute path of --output; CheckpointError if it is a file that a run needs, or `source`."""
    path = Path(os.path.expanduser(output)).absolute()
    for candidate in (path, Path(os.path.realpath(path))):
        in_run = candidate.name in RUN_FILES and os.path.isfile(candidate.parent / RECIPE)
        is_source = any(os.path.exists(one) and os.path.samefile(one, source) for one in (candidate, candidate.parent))
        if in_run or is_source:
            raise CheckpointError(f"{path} belongs to a run, which would lose it; choose another --output")
    return path
