"""A page that runs a network: one file of HTML, on which one draws and sees every layer answer.

It loads nothing and sends nothing. Its policy allows only the style and the script whose digests it names, so that
whatever a class is called, it stays text.
"""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.errors import ExportError
from lagvis.training.model import Model

HERE = Path(__file__).resolve().parent
# Whether page.js computes each activation.
PAGE_ACTIVATIONS = {"relu": True, "sigmoid": True, "tanh": True, "identity": True}


def page_html(model: Model, params: Any, name: str) -> str:
    """The page of a network that tells pictures in grey (bytes) apart, under its name; ValueError for any other.

    Weights are float32 in it, whatever they were: probabilities agree with NumPy's to 1e-5.
    """
    if model.y_scaling is not None or model.x_scaling is not None or len(model.shape) != 2:
        rows = f"reads rows of {'x'.join(map(str, model.shape))} numbers"
        kind = "predicts numbers" if model.y_scaling is not None else rows
        raise ValueError(f"the network {kind}, and one can draw only for one that tells pictures in grey (bytes) apart")
    if len(params) > 1 and not PAGE_ACTIVATIONS.get(model.activation):
        raise ExportError(f"the page cannot compute the activation {model.activation}; use --format safetensors or npz")
    network = {
        "shape": model.shape,
        "activation": model.activation,
        "classes": model.class_names,
        "digits": model.mnist_style,
        "dark_ink": model.background > 127,
        "layers": [{name: packed(layer[name]) for name in ("W", "b")} for layer in params],
    }
    style, script = (source(name) for name in ("page.css", "page.js"))
    parts = {
        "POLICY": f"default-src 'none'; img-src data:; style-src {allowed(style)}; script-src {allowed(script)}; "
        "base-uri 'none'; form-action 'none'",
        "TITLE": "Draw a digit" if model.mnist_style else "Draw",
        "NAME": html.escape(name),
        "STYLE": style,
        "NETWORK": in_script(network),
        "SCRIPT": script,
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: parts[found[1]], source("page.html"))


def source(name: str) -> str:
    """A part of the page as it lies beside this file."""
    return (HERE / name).read_text(encoding="utf-8")


def packed(array: Any) -> str:
    """An array as its float32 bytes, row by row and the lowest first, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")


def allowed(text: str) -> str:
    """How a policy names the one style or script that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def in_script(value: Any) -> str:
    """JSON that stays within its element: nothing in it can end a script or begin a comment."""
    text = json.dumps(value)  # ASCII alone
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
