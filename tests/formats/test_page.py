"""The text of the exported page; tests/browser tests its behaviour."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.scaling import Scaling
from lagvis.errors import ExportError
from lagvis.formats.page import page_html
from lagvis.training.model import Model

DIGITS = tuple("0123456789")
MODEL = Model((12, 5, 3), "tanh", "cross-entropy", (3, 4), ("a", "b", "c"), (), "", None, None)


def params(dtype=np.float32):
    rng = np.random.default_rng(2)
    return [
        {"W": rng.normal(0, 1, (n, m)).astype(dtype), "b": rng.normal(0, 1, m).astype(dtype)}
        for n, m in ((12, 5), (5, 3))
    ]


def network_in(page):
    return json.loads(re.search(r'<script type="application/json" id="network">(.*?)</script>', page, re.S)[1])


def test_page_html_holds_every_weight_as_float32():
    for dtype in (np.float32, np.float64):
        found = network_in(page_html(MODEL, params(dtype), "12-5-3"))
        for layer, original in zip(found["layers"], params(dtype), strict=True):
            for name in "Wb":
                numbers = np.frombuffer(base64.b64decode(layer[name]), "<f4")
                np.testing.assert_array_equal(numbers, original[name].astype(np.float32).reshape(-1))
        assert (found["shape"], found["activation"], found["classes"]) == ([3, 4], "tanh", ["a", "b", "c"])


def test_page_html_pixel_mean_is_in_the_first_bias():
    layers = params(np.float64)
    found = network_in(page_html(replace(MODEL, pixel_mean=0.25), layers, "12-5-3"))["layers"]
    bias = np.frombuffer(base64.b64decode(found[0]["b"]), "<f4")
    x = np.random.default_rng(3).integers(0, 256, (4, 12))
    expected = (x / 255 - 0.25) @ layers[0]["W"] + layers[0]["b"]
    np.testing.assert_allclose(x / 255 @ layers[0]["W"] + bias, expected, atol=1e-6)
    assert found[1]["b"] == network_in(page_html(MODEL, layers, "12-5-3"))["layers"][1]["b"]


@pytest.mark.parametrize("low_high", [(0, 1), (-1, 1), (-0.5, 0.5), (0, 255), (0, 65535)])
def test_page_html_standardised_pictures_are_scaled_in_the_first_layer(low_high):
    low, high = low_high
    layers = params(np.float64)
    bytes_ = np.random.default_rng(3).integers(0, 256, (40, 12))
    bytes_[:, 3] = 0
    bytes_[0], bytes_[1] = 0, 255
    bytes_[:, 3] = 0
    x = low + (high - low) * (bytes_ / 255)
    scaling = Scaling.of(x)
    model = replace(MODEL, x_scaling=scaling, ranges=FeatureRanges.of(x, np.arange(40), (3, 4)))
    assert model.ranges.picture_range == low_high
    found = network_in(page_html(model, layers, "12-5-3"))
    weights, bias = (np.frombuffer(base64.b64decode(found["layers"][0][name]), "<f4") for name in "Wb")
    expected = scaling.apply(x) @ layers[0]["W"] + layers[0]["b"]
    np.testing.assert_allclose(bytes_ / 255 @ weights.reshape(12, 5) + bias, expected, atol=1e-5)
    assert not weights.reshape(12, 5)[3].any()
    assert (found["background"], found["ink"]) == (0, 255)


def test_page_html_pictures_of_no_usual_range_raise_export_error():
    x = np.random.default_rng(3).normal(size=(40, 12))
    signed = np.random.default_rng(3).integers(-128, 128, (40, 12)) * 1.0
    for rows in (x, signed):
        model = replace(MODEL, x_scaling=Scaling.of(rows), ranges=FeatureRanges.of(rows, np.arange(40), (3, 4)))
        with pytest.raises(ExportError, match="reads rows of 3x4 numbers from -"):
            page_html(model, params(), "12-5-3")
    in_range = np.random.default_rng(3).uniform(size=(40, 12))
    ranges = FeatureRanges.of(in_range, np.arange(40), (3, 4))
    with pytest.raises(ExportError, match="robust"):
        page_html(replace(MODEL, x_scaling=Scaling.robust(in_range), ranges=ranges), params(), "12-5-3")


def test_page_html_policy_allows_only_its_style_and_script():
    page = page_html(MODEL, params(), "12-5-3")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page)


@pytest.mark.parametrize("name", ["</script><b>", "<!-- <script>", "&amp;", "\u2028", "{{NAME}}", "\U0001f600", 'a"b'])
def test_page_html_hostile_class_name_stays_json(name):
    page = page_html(replace(MODEL, class_names=(name, "b", "c")), params(), name)
    assert network_in(page)["classes"][0] == name
    assert page.count("<script") == 2
    assert page.count("</script") == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_scaling": Scaling(np.zeros(3), np.ones(3)), "class_names": ()}, "predicts numbers"),
        ({"x_scaling": Scaling(np.zeros(12), np.ones(12))}, "reads rows of 3x4 numbers"),
        ({"shape": (12,)}, "reads rows of 12 numbers"),
        ({"shape": (2, 2, 3)}, r"reads rows of 2x2x3 numbers, .* classifies grey images \(of 0"),
    ],
)
def test_page_html_other_networks_raise_export_error(change, words):
    with pytest.raises(ExportError, match=words):
        page_html(replace(MODEL, **change), params(), "12-5-3")


def test_page_html_only_mnist_style_asks_for_a_digit():
    digits = Model((784, 10), "relu", "cross-entropy", (28, 28), DIGITS, (), "", None, None, mnist_style=True)
    layers = [{"W": np.zeros((784, 10)), "b": np.zeros(10)}]
    assert "<h1>Draw a digit</h1>" in page_html(digits, layers, "784-10")
    assert "<h1>Draw</h1>" in page_html(MODEL, params(), "12-5-3")
    assert network_in(page_html(digits, layers, "784-10"))["mnist_style"] is True
    assert network_in(page_html(MODEL, params(), "12-5-3"))["mnist_style"] is False
    others = replace(digits, mnist_style=False)  # same size and same classes as MNIST
    assert network_in(page_html(others, layers, "784-10"))["mnist_style"] is False
