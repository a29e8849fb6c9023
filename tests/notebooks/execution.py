"""Execute the notebook in a kernel of its own, as Jupyter does."""

import hashlib
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOK = ROOT / "notebooks" / "lagvis.ipynb"
CELL_SECONDS = 200  # at most, on a busy machine


def execute(notebook, folder):
    """Execute the cells of a notebook, which get their outputs, with this repository as Lagvis and `folder` as theirs."""
    from nbclient import NotebookClient

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute(env=environment)


def source_digest(notebook):
    """Return the SHA-256 of the code of a notebook."""
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def without_frames(cell):
    """Remove the pages in frames from the outputs of a cell, whose text stays."""
    for output in cell.get("outputs", []):
        if "<iframe" in output.get("data", {}).get("text/html", ""):
            del output["data"]["text/html"]
