"""The formats that a trained network can be exported to."""

from collections.abc import Callable
from typing import NamedTuple

from lagvis.formats.arrays import npz_bytes, safetensors_bytes
from lagvis.formats.onnx_model import onnx_bytes
from lagvis.formats.page import page_html
from lagvis.formats.paper import paper_files
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import widths_text


class Format(NamedTuple):
    """Export format: default name of the output, and the function that returns its file or the files of its folder."""

    name: str
    make: Callable[[Checkpoint], bytes | dict[str, bytes]]


def page_file(checkpoint: Checkpoint) -> bytes:
    """Return the web page that runs a network; ExportError if there is no page for such a network."""
    return page_html(checkpoint.model, checkpoint.layers, widths_text(checkpoint.model.widths)).encode()


FORMATS = {
    "safetensors": Format("model.safetensors", safetensors_bytes),
    "npz": Format("model.npz", npz_bytes),
    "onnx": Format("model.onnx", onnx_bytes),
    "paper": Format("saved_network", paper_files),
    "html": Format("page.html", page_file),
}
