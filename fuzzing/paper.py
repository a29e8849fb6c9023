"""The folder of a network in the paper's format: seeds and the reader."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from fuzzing.case import Files
from fuzzing.npz import npy
from lagvis.formats.paper import read_paper_network
from lagvis.storage.lookup import find_checkpoint


def paper_seeds() -> list[Files]:
    """Return folders of networks of one, two and three layers."""
    folders: list[Files] = []
    for widths in ((4, 3), (4, 2, 3), (3, 2, 2, 2), (784, 1)):
        files: Files = []
        for i, (n_in, n_out) in enumerate(pairwise(widths), 1):
            for name, shape in ((f"weightlayer{i}.npy", (n_out, n_in)), (f"biaslayer{i}.npy", (n_out, 1))):
                files.append((name, npy("<f8", shape, np.ones(shape).tobytes())))
        folders.append(files)
    return folders


def read_paper(folder: Path, _: Files, __: int) -> None:
    """Read the folder of a network."""
    read_paper_network(find_checkpoint(str(folder)))
