"""Execute the notebook in a kernel of its own, as Jupyter does."""

import base64
import hashlib
import io
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOK = ROOT / "notebooks" / "lagvis.ipynb"
CELL_SECONDS = 200  # at most, on a busy machine
COLOURS = 128  # of a picture that is kept


def execute(notebook, folder):
    """Execute the cells of a notebook, which get their outputs, with this repository as Lagvis, in `folder`."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})


def source_digest(notebook):
    """Return the SHA-256 of the code of a notebook."""
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def make_outputs_small(notebook):
    """Remove the pages in frames from the outputs, whose text stays, and make the pictures small."""
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
        data = output.get("data", {})
        data.pop("image/jpeg", None)  # of a picture that is there as PNG too
        if "<iframe" in data.get("text/html", ""):
            del data["text/html"]
        if "image/png" in data:
            data["image/png"] = base64.b64encode(reduce_colours(base64.b64decode(data["image/png"]))).decode()


def reduce_colours(png):
    """Return a PNG file with at most COLOURS colours."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(file, "png", optimize=True)
    return file.getvalue()
