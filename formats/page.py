"""A web page that runs a network: one HTML file with a drawing area, on which every layer is shown.

The page loads and sends nothing. Its Content-Security-Policy allows only its own style and script, by their digests, so
that a class name stays text whatever it contains.
"""

import base64
import hashlib
import html
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.data.feature_ranges import SIGNED_BYTE, to_bytes
from lagvis.errors import ExportError
from lagvis.network.normalization import EPSILON
from lagvis.option_text import setting
from lagvis.training.model import Model

HERE = Path(__file__).resolve().parent
MAX_DARK = 127  # mean of the border pixels up to which a background counts as dark
# Whether page.js computes each activation.
PAGE_ACTIVATIONS = dict.fromkeys(
    ("relu", "leaky-relu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh", "identity"), True
)


def page_html(model: Model, params: Any, name: str) -> str:
    """Return the page of a network that classifies grey images, under its name.

    Weights are float32 in the page, whatever their type: probabilities agree with NumPy's to 1e-5. Raises ExportError
    for any other kind of network, and for an activation that the page cannot compute.
    """
    check_drawable(model)
    layers = model.for_pixels_from_0_to_1(params)  # page.js divides by 255 and does nothing else
    network = {
        "shape": model.shape,
        "activation": model.activation,
        "classes": model.class_names,
        "mnist_style": model.mnist_style,
        "background": model.background,
        "ink": ink_shade(model),
        "epsilon": EPSILON,
        "layers": [{name: encode_array(a) for name, a in layer.items()} for layer in layers],
    }
    rows, columns = model.shape
    limits = "It always answers with one of its classes, whatever is drawn."
    if not model.mnist_style:
        limits += (
            f" It learned from images of {rows}x{columns} pixels: the drawing is scaled to them where it stands. "
            "Its answers mean little unless those images are lines on an even background."
        )
    style, script = (read_part(part) for part in ("page.css", "page.js"))
    parts = {
        "POLICY": f"default-src 'none'; img-src data:; style-src {digest_source(style)}; "
        f"script-src {digest_source(script)}; base-uri 'none'; form-action 'none'",
        "TITLE": "Draw a digit" if model.mnist_style else "Draw",
        "NAME": html.escape(name),
        "LIMITS": limits,
        "STYLE": style,
        "NETWORK": script_json(network),
        "SCRIPT": script,
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: parts[found[1]], read_part("page.html"))


def ink_shade(model: Model) -> int:
    """Return the shade of a line, 0..255: the one in the training images that is farthest from their background."""
    darkest, lightest = 0, 255
    if model.ranges is not None:
        shades = np.array([model.ranges.low.min(), model.ranges.high.max()])
        if model.x_scaling is not None and model.ranges.picture_range is not None:
            shades = to_bytes(shades, model.ranges.picture_range)
        darkest, lightest = map(int, shades)
    return darkest if model.background > MAX_DARK else lightest


def check_drawable(model: Model) -> None:
    """Raise ExportError unless the network classifies grey images and the page can compute its activation."""
    if model.multi_label:
        raise ExportError(
            "the network gives each label a probability of its own, and the page shows one class of several; use "
            f"{setting('format')} onnx, safetensors or npz"
        )
    if model.y_scaling is not None or len(model.shape) != 2 or not is_of_pictures(model):
        found = "predicts numbers"
        if model.y_scaling is None:
            found = f"reads rows of {'x'.join(map(str, model.shape))} numbers"
            if model.ranges is not None:
                found += f" from {model.ranges.low.min():.6g} to {model.ranges.high.max():.6g}"
        raise ExportError(
            f"the network {found}, and a page to draw on needs one that classifies grey images (of 0..255, 0..1 or "
            f"-1..1); use another {setting('format')}"
        )
    if model.x_scaling is not None and math.isfinite(model.x_scaling.limit):
        raise ExportError(
            f"the page cannot cut off values as robust scaling does; use {setting('format')} safetensors or npz"
        )
    if len(model.widths) > 2 and not PAGE_ACTIVATIONS.get(model.activation):
        raise ExportError(
            f"the page cannot compute the activation {model.activation}; use {setting('format')} safetensors or npz"
        )


def is_of_pictures(model: Model) -> bool:
    """Tell whether the values of a network's training rows were those of pictures: bytes, or in a usual range."""
    return model.x_scaling is None or (
        model.ranges is not None and model.ranges.picture_range not in (None, SIGNED_BYTE)
    )


def read_part(name: str) -> str:
    """Return the text of a part of the page, a file beside this module."""
    return (HERE / name).read_text(encoding="utf-8")


def encode_array(array: Any) -> str:
    """Return an array as base64 of its float32 bytes, in row-major order and little endian."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")


def digest_source(text: str) -> str:
    """Return the source expression by which a Content-Security-Policy allows one style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_json(value: Any) -> str:
    """Return ASCII JSON for a script element, with nothing in it that could end the element or begin a comment."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
