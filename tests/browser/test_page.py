"""The page in a real browser, with mouse, touch and keyboard input; its predictions are compared with NumPy's."""

import base64
import json
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lagvis.api.trained_model import TrainedModel
from lagvis.cli import export, train
from lagvis.data.datasets import load_dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.images import mnist_style
from lagvis.data.scaling import Scaling
from lagvis.formats.page import PAGE_ACTIVATIONS, page_html
from lagvis.inference.prediction import outputs
from lagvis.storage.lookup import read_network
from lagvis.training.model import Model
from tests.factories import bands

HOSTILE = ("</script><script>window.hit = 1</script>", "<img src=x onerror='window.hit = 1'>", "{{SCRIPT}}", "æ & ü")

# A browser takes seconds to start.
pytestmark = pytest.mark.slow


class Page:
    """The page in the browser, and the input sent to it."""

    def __init__(self, chrome):
        self.chrome = chrome
        self.script = chrome.execute_script

    def open(self, path, width=1280, height=1000, scheme="light", ratio=1):
        self.resize(width, height, ratio)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Emulation.setTouchEmulationEnabled", enabled=width < 500)
        self.chrome.get(path.as_uri())
        self.find_pad()
        return self

    def resize(self, width, height, ratio=1):
        """Give the window its size in CSS pixels and its devicePixelRatio."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False
        )

    def find_pad(self):
        self.box = self.script("const b = drawing.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]")

    def send(self, command, **arguments):
        return self.chrome.execute_cdp_cmd(command, arguments)

    def screen_point(self, x, y):
        """Return the screen coordinates of a point of the pad, given as fractions of its sides."""
        left, top, width, height = self.box
        return {"x": left + x * width, "y": top + y * height}

    def stroke(self, points):
        """Press the mouse at the first point, move it over the others, and release it at the last."""
        first, *others = [self.screen_point(*point) for point in points]
        self.send("Input.dispatchMouseEvent", type="mousePressed", button="left", buttons=1, clickCount=1, **first)
        for point in others:
            self.send("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, **point)
        last = self.screen_point(*points[-1])
        self.send("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **last)

    def finger(self, points):
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[self.screen_point(*points[0])])
        for point in points[1:]:
            self.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[self.screen_point(*point)])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def touch(self, kind, *points, radius=2):
        """Send a touchStart, touchMove, touchEnd or touchCancel; points holds every finger on the screen."""
        fingers = [
            {"id": i, "radiusX": radius, "radiusY": radius, **self.screen_point(*point)}
            for i, point in enumerate(points)
        ]
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def pointer(self, kind, point, type_="pen", button="left"):
        """Send mousePressed, mouseMoved or mouseReleased, from a pen or a mouse."""
        arguments = self.screen_point(*point) | {"buttons": {"left": 1, "right": 2}[button], "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=kind, pointerType=type_, button=button, **arguments)

    def pen(self, points):
        """Set the pen down at the first point, move it over the others, and lift it at the last."""
        self.pointer("mousePressed", points[0])
        for point in points[1:]:
            self.pointer("mouseMoved", point)
        self.pointer("mouseReleased", points[-1])

    def keys(self, *names):
        for name in names:
            text = {"text": " "} if name == " " else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=name)

    def settle(self):
        """Wait for two animation frames, after which the prediction of the drawing is shown."""
        self.chrome.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def shown(self):
        self.settle()
        return np.array(self.script("return [...lagvis.state.shown]"), np.uint8)

    def probabilities(self):
        self.settle()
        return self.script("return lagvis.state.probabilities && [...lagvis.state.probabilities]")

    def drawing(self):
        """Return the image on the pad, uint8 (H, W)."""
        height, width, text = self.script(
            "let text = ''; lagvis.drawing.forEach((value) => text += String.fromCharCode(value));"
            "return [lagvis.height, lagvis.width, btoa(text)]"
        )
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)

    def forward(self, bytes_):
        """Return the probabilities that the page's script computes for rows of bytes (N, n_0)."""
        text = base64.b64encode(bytes_.tobytes()).decode()
        return np.array(
            self.script(
                "const [text, n] = arguments, bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));"
                "return Array.from({length: bytes.length / n},"
                " (_, i) => [...lagvis.forward(bytes.subarray(i * n, i * n + n)).probabilities])",
                text,
                bytes_.shape[1],
            )
        )

    def text(self, id_):
        return self.script("return document.getElementById(arguments[0]).innerText", id_)

    def accessibility_tree(self):
        """Return the nodes that a screen reader is given, once the browser has made them."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            shown = [node for node in self.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
            if any(node["role"]["value"] == "StaticText" for node in shown):
                break
            time.sleep(0.05)
        return shown

    def announced(self, words):
        """Wait until the live region holds these words; return its text."""
        deadline = time.monotonic() + 5
        while words not in (text := self.text("announcement")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return text

    def console(self):
        return [entry for entry in self.chrome.get_log("browser") if "favicon" not in entry["message"]]


@pytest.fixture
def page(chrome):
    """Return a page; the test fails if the console holds a message at its end."""
    page = Page(chrome)
    page.console()
    chrome.get_log("performance")
    yield page
    assert page.console() == []


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Export the page of a network trained on MNIST for one epoch; return its path and the network."""
    folder = tmp_path_factory.mktemp("digits")
    flags = ["--device", "cpu", "-e", "1", "--lr", "0.2", "--quiet", "--no-plots", "-o", str(folder), "--name", "r"]
    assert train.main(flags) == 0
    assert export.main(["r", "--runs-dir", str(folder), "--format", "html"]) == 0
    return folder / "r" / "export" / "page.html", read_network(folder / "r" / "last.safetensors")


def strokes_of(picture):
    """Return a digit (28, 28) as strokes along its dark centre, in fractions of the pad; the pen is 2.3 pixels wide."""
    padded = np.pad(picture.astype(int), 1)
    around = np.minimum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    inner = (picture > 180) & (around > 60)
    open_, done = [], []
    for y in range(28):
        edges = np.flatnonzero(np.diff(np.pad(inner[y].astype(int), 1)))
        grown = []
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            above = next((old for old in open_ if old[1] <= end and first <= old[2] and old not in grown), None)
            points = [((x + 0.5) / 28, (y + 0.5) / 28) for x in sorted({first, end - 1})]
            if above:
                open_.remove(above)
            grown.append(((above[0] if above else []) + points, first, end))
        done += [points for points, _, _ in open_]
        open_ = grown
    return done + [points for points, _, _ in open_]


PALM, ONE = (0.9, 0.9), [(0.5, 0.2 + 0.03 * i) for i in range(20)]


@pytest.fixture(scope="module")
def one_alone(chrome, digits):
    """Return the image of the line ONE, drawn alone with a pen on a phone."""
    page = Page(chrome).open(digits[0], 390, 800)
    page.pen(ONE)
    return page.drawing()


def test_page_drawn_digits_equal_numpy(page, digits):
    path, network = digits
    test = load_dataset("mnist")
    right = 0
    page.open(path)
    for row in range(20):
        page.chrome.find_element("id", "clear").click()
        for stroke in strokes_of(test.x_test[row].reshape(28, 28)):
            page.stroke(stroke)
        found = page.probabilities()
        shown = page.shown()
        np.testing.assert_array_equal(
            shown, mnist_style.to_mnist_style(page.drawing()).pixels.reshape(-1), err_msg=f"row {row}"
        )
        (expected,) = outputs(network.model, network.state["params"], shown[None])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        answer = network.model.class_names[expected.argmax()]
        assert page.text("best") == answer
        assert page.script("return document.querySelector('#classes .first .name').textContent") == answer
        right += int(answer) == test.y_test[row]
    assert right >= 16


def test_page_in_the_frame_of_a_notebook_answers_a_drawing(page, digits, tmp_path):
    _, network = digits
    output = f"<!doctype html><h1>A notebook</h1>{TrainedModel(network).draw()._repr_html_()}"
    (tmp_path / "notebook.html").write_text(output, encoding="utf-8")
    page.resize(1000, 1000)
    page.chrome.get((tmp_path / "notebook.html").as_uri())
    frame = page.chrome.find_element("css selector", "iframe")
    left, top = page.script("const b = arguments[0].getBoundingClientRect(); return [b.left + 1, b.top + 1]", frame)
    page.chrome.switch_to.frame(frame)
    page.find_pad()
    page.box = [page.box[0] + left, page.box[1] + top, *page.box[2:]]
    assert page.script("return window.origin") == "null", "the frame has an origin, and so reaches the notebook"
    page.stroke(ONE)
    (expected,) = outputs(network.model, network.layers, page.shown()[None])
    np.testing.assert_allclose(page.probabilities(), expected, atol=1e-5)
    assert page.text("best") == network.model.class_names[expected.argmax()]
    page.chrome.switch_to.default_content()


def test_page_drawing_of_any_strength_is_centred_as_mnist(page, digits):
    page.open(digits[0])
    rng = np.random.default_rng(8)
    test = load_dataset("mnist").x_test.reshape(-1, 28, 28)
    for row, strength in enumerate([1.0, 0.7, 0.4, 0.15, 0.05]):
        drawing = (test[row].repeat(20, axis=0).repeat(20, axis=1) * strength).astype(np.uint8)
        drawing[240:] //= 1 + row % 3
        drawing[tuple(rng.integers(150, 420, (2, 20)))] += row % 2
        page.script(
            "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0)); lagvis.drawing.set(bytes);"
            "document.getElementById('centre').dispatchEvent(new Event('change'))",
            base64.b64encode(drawing.tobytes()).decode(),
        )
        expected = mnist_style.to_mnist_style(drawing).pixels.reshape(-1)
        assert (expected.max() > 0) == (strength > 0.05), "both kinds of character must occur"
        np.testing.assert_array_equal(page.shown(), expected, err_msg=f"strength {strength}")


@pytest.mark.parametrize("activation", PAGE_ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (5,), (30, 9)])
def test_page_forward_equals_numpy(page, tmp_path, activation, hidden, dtype):
    rng = np.random.default_rng(4)
    widths = (35, *hidden, 4)
    params = [
        {"W": rng.normal(0, 1, (n, m)).astype(dtype), "b": rng.normal(0, 1, m).astype(dtype)}
        for n, m in pairwise(widths)
    ]
    model = Model(widths, activation, "cross-entropy", (5, 7), ("0", "1", "2", "3"), (), "", None, None)
    path = tmp_path / "page.html"
    path.write_text(page_html(model, params, "small"), encoding="utf-8")
    x = rng.integers(0, 256, (20, 35)).astype(np.uint8)
    np.testing.assert_allclose(page.open(path).forward(x), outputs(model, params, x), atol=1e-5)


@pytest.mark.parametrize("picture_range", [None, (-1.0, 1.0)], ids=["bytes", "-1..1"])
@pytest.mark.parametrize("hidden", [(5,), (30, 9)])
def test_page_forward_of_layer_normalisation_equals_numpy(page, tmp_path, hidden, picture_range):
    rng = np.random.default_rng(4)
    widths = (35, *hidden, 4)
    params = [{"W": rng.normal(0, 1, (n, m)), "b": rng.normal(0, 1, m)} for n, m in pairwise(widths)]
    for layer in params[:-1]:
        layer["gamma"] = rng.normal(1, 0.5, layer["b"].shape)
    model = Model(
        widths, "relu", "cross-entropy", (5, 7), ("0", "1", "2", "3"), (), "", None, None,
        pixel_mean=0.25, normalization="layer",
    )  # fmt: skip
    x = bytes_ = rng.integers(0, 256, (20, 35)).astype(np.uint8)
    if picture_range:
        scaling = Scaling(rng.normal(0, 0.5, 35), rng.uniform(0.5, 1.5, 35))
        ranges = FeatureRanges(np.full(35, -1.0), np.ones(35), "real numbers", 20, picture_range)
        model = replace(model, x_scaling=scaling, pixel_mean=0.0, ranges=ranges)
        x = bytes_ / 127.5 - 1
    path = tmp_path / "page.html"
    path.write_text(page_html(model, params, "small"), encoding="utf-8")
    np.testing.assert_allclose(page.open(path).forward(bytes_), outputs(model, params, x), atol=1e-5)


def test_page_forward_thousand_digits_equal_numpy(page, digits):
    path, network = digits
    x = load_dataset("mnist").x_test[:1000]
    np.testing.assert_allclose(
        page.open(path).forward(x), outputs(network.model, network.state["params"], x), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1)])
def test_page_of_pictures_of_another_range_answers_drawn_digits(page, tmp_path, low, high):
    test = load_dataset("mnist")
    x, y = low + (high - low) * (test.x_test[:2000].reshape(-1, 28, 28) / 255), test.y_test[:2000]
    np.savez(tmp_path / "data.npz", x_train=x[20:], y_train=y[20:], x_test=x[:20], y_test=y[:20])
    flags = ["--device", "cpu", "-e", "5", "--batch-size", "100", "--quiet", "--no-plots", "-o", str(tmp_path)]
    assert train.main([*flags, "--data", str(tmp_path / "data.npz"), "--name", "r"]) == 0
    assert export.main(["r", "--runs-dir", str(tmp_path), "--format", "html"]) == 0
    network = read_network(tmp_path / "r" / "last.safetensors")
    page.open(tmp_path / "r" / "export" / "page.html")
    right = 0
    for row in range(20):
        page.chrome.find_element("id", "clear").click()
        for stroke in strokes_of(test.x_test[row].reshape(28, 28)):
            page.stroke(stroke)
        shown = low + (high - low) * (page.shown() / 255)
        (expected,) = outputs(network.model, network.state["params"], shown[None])
        np.testing.assert_allclose(page.probabilities(), expected, atol=1e-4)
        right += int(page.text("best")) == y[row]
    assert right >= 14


def test_page_light_background_draws_black_on_the_shade_of_training(page, tmp_path):
    rng = np.random.default_rng(1)
    params = [{"W": rng.normal(0, 0.1, (784, 3)), "b": np.zeros(3)}]
    model = Model((784, 3), "relu", "cross-entropy", (28, 28), ("a", "b", "c"), (), "", None, None, background=250)
    (tmp_path / "page.html").write_text(page_html(model, params, "small"), encoding="utf-8")
    page.open(tmp_path / "page.html")
    assert page.probabilities() is None
    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    page.settle()
    shown = np.array(page.shown())
    assert np.count_nonzero(shown == 250) > 600
    assert shown.min() == 0
    assert shown[0] == shown.max() == 250
    np.testing.assert_allclose(
        list(page.probabilities()), outputs(model, params, shown.astype(np.uint8)[None])[0], atol=1e-5
    )


def test_page_sends_no_request(page, digits):
    page.open(digits[0]).stroke([(0.5, 0.2), (0.5, 0.8)])
    page.settle()
    events = [json.loads(entry["message"])["message"] for entry in page.chrome.get_log("performance")]
    requested = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert requested <= {digits[0].as_uri(), "data:,"}
    assert digits[0].as_uri() in requested
    assert (
        page.script("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:'))") == []
    )


def test_page_policy_blocks_scripts_and_requests(page, digits):
    page.open(digits[0])
    refused = page.chrome.execute_async_script(
        "const done = arguments[0], found = [];"
        "document.addEventListener('securitypolicyviolation', (e) => found.push(e.effectiveDirective));"
        "const script = document.createElement('script'); script.textContent = 'window.hit = 1';"
        "document.body.append(script);"
        "fetch('http://localhost:9/').catch(() => setTimeout(() => done([...found, window.hit === undefined]), 50));"
    )
    assert refused == ["script-src-elem", "connect-src", True]
    assert len(page.console()) >= 2  # the two expected policy violations


def test_page_undo_removes_a_stroke_and_clear_removes_all(page, digits):
    page.open(digits[0])
    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    one = page.drawing()
    page.stroke([(0.2, 0.5), (0.8, 0.5)])
    page.stroke([(0.1, 0.1)])
    page.chrome.find_element("id", "undo").click()
    assert not np.array_equal(page.drawing(), one)
    page.chrome.find_element("id", "undo").click()
    np.testing.assert_array_equal(page.drawing(), one)
    assert page.probabilities() is not None
    page.chrome.find_element("id", "clear").click()
    assert page.probabilities() is None
    assert page.drawing().max() == 0
    assert page.text("sure") == "nothing drawn yet"
    page.chrome.find_element("id", "undo").click()
    assert page.probabilities() is None


def test_page_undo_during_a_stroke_ends_it(page, digits):
    page.open(digits[0])
    page.send(
        "Input.dispatchMouseEvent",
        type="mousePressed",
        button="left",
        buttons=1,
        clickCount=1,
        **page.screen_point(0.3, 0.3),
    )
    page.script("document.getElementById('undo').click()")
    page.send("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, **page.screen_point(0.6, 0.6))
    page.send(
        "Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **page.screen_point(0.6, 0.6)
    )
    assert page.probabilities() is None


def test_page_keyboard_draws_and_reaches_every_control(page, digits):
    page.open(digits[0])
    order = []
    for _ in range(4):
        page.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
        order.append(page.script("return document.activeElement.id"))
    assert order == ["pad", "undo", "clear", "centre"]
    page.script("pad.focus()")
    page.keys(*["ArrowUp"] * 8, " ", *["ArrowDown"] * 15, " ", "ArrowRight")
    drawn = page.drawing()
    columns = np.flatnonzero(drawn.max(axis=0)) / drawn.shape[1] * 28
    assert 13 < columns.min() < columns.max() < 16  # released before it moved to the right
    assert page.text("best") == "1"
    page.keys(" ", "Escape", "ArrowRight")
    assert page.script("return document.getElementById('cursor').classList.contains('down')") is False
    page.script("document.getElementById('clear').focus()")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, text="\r")
    assert page.probabilities() is None


def test_page_held_key_draws_once_and_does_not_scroll(page, digits):
    page.open(digits[0])
    found = page.script(
        "return [false, true, true].map((repeat) => {"
        " const event = new KeyboardEvent('keydown', {key: ' ', repeat, bubbles: true, cancelable: true});"
        " pad.dispatchEvent(event);"
        " return [event.defaultPrevented, document.getElementById('cursor').classList.contains('down')]; })"
    )
    assert found == [[True, True]] * 3


def test_page_answer_is_announced_when_the_pen_rests(page, digits):
    page.open(digits[0]).stroke([(0.5, 0.15), (0.5, 0.85)])
    announced = page.announced("%")
    assert announced.startswith("1, ")
    assert "%" in announced
    roles = page.script(
        "return [...document.querySelectorAll('[role]')].map((e) => [e.getAttribute('role'), e.ariaLabel])"
    )
    assert ["application", "Drawing area"] in roles
    assert all(label for role, label in roles if role == "img")


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_every_width_in_both_colour_schemes(page, digits, tmp_path, width, scheme):
    names = tuple(f"aclassnamewithoutanyplacetobreakit{i}" * 2 for i in range(10))
    params = digits[1].state["params"]
    model = Model(digits[1].model.widths, "relu", "cross-entropy", (28, 28), names, (), "", None, None)
    (tmp_path / "long.html").write_text(page_html(model, params, "784-" * 40 + "10"), encoding="utf-8")
    for path in (digits[0], tmp_path / "long.html"):
        page.open(path, width, 700, scheme)
        page.stroke([(0.5, 0.2), (0.5, 0.8)])
        page.settle()
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.script(
            "return [...document.querySelectorAll('.name')].every((e) => e.scrollWidth <= e.clientWidth)"
        )
        back, text = page.script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        light = [sum(map(int, colour[4:-1].split(","))) > 382 for colour in (back, text)]
        assert light == [scheme == "light", scheme == "dark"]


def test_page_finger_draws_and_does_not_scroll(page, digits):
    page.open(digits[0], width=360, height=640)
    page.finger([(0.5, 0.8), (0.5, 0.6), (0.5, 0.4), (0.5, 0.2)])
    assert page.probabilities() is not None
    rows = np.flatnonzero(page.drawing().max(axis=1))
    assert rows.max() - rows.min() > 300
    assert page.script("return scrollY") == 0


def test_page_hostile_class_names_stay_text(page, tmp_path):
    x, y = bands(100)
    np.savez(tmp_path / "small.npz", x=x, y=np.array(HOSTILE)[y])
    flags = ["--device", "cpu", "--data", str(tmp_path / "small.npz"), "--quiet", "-o", str(tmp_path), "--name", "r"]
    assert train.main([*flags, "-e", "1", "--hidden", "none"]) == 0
    assert export.main(["r", "--runs-dir", str(tmp_path), "--format", "html"]) == 0
    page.open(tmp_path / "r" / "export" / "page.html").stroke([(0.1, 0.1), (0.9, 0.1)])
    assert page.probabilities() is not None
    names = page.script("return [...document.querySelectorAll('#classes .name')].map((e) => e.textContent)")
    assert sorted(names) == sorted(HOSTILE)
    assert page.script("return [typeof window.hit, document.images.length, document.scripts.length]") == [
        "undefined",
        0,
        2,
    ]


def test_page_other_shape_is_scaled_to_its_grid(page, tmp_path):
    rng = np.random.default_rng(5)
    model = Model((15, 3), "relu", "cross-entropy", (3, 5), ("a", "b", "c"), (), "", None, None)
    params = [{"W": rng.normal(0, 1, (15, 3)), "b": np.zeros(3)}]
    path = tmp_path / "page.html"
    path.write_text(page_html(model, params, "small"), encoding="utf-8")
    page.open(path)
    page.stroke([(0.1, 0.5), (0.5, 0.5)])
    drawing, shown = page.drawing(), page.shown().reshape(3, 5)
    assert drawing.shape == (336, 560)
    np.testing.assert_array_equal(shown, np.floor(drawing.reshape(3, 112, 5, 112).mean(axis=(1, 3)) + 0.5))
    assert shown[1, :3].min() > 100
    assert shown[:, 4].max() == 0
    assert page.script("return document.getElementById('centring').hidden")


def test_page_without_centring_keeps_the_position(page, digits):
    page.open(digits[0])
    page.stroke([(0.1, 0.1), (0.1, 0.3)])
    centred = page.shown().reshape(28, 28)
    page.chrome.find_element("id", "centre").click()
    raw = page.shown().reshape(28, 28)
    assert raw[12:, 12:].max() == 0
    assert centred[12:16, 12:16].max() == 255
    np.testing.assert_array_equal(raw, np.floor(page.drawing().reshape(28, 20, 28, 20).mean(axis=(1, 3)) + 0.5))


def test_page_pen_after_palm_takes_over(page, digits, one_alone):
    page.open(digits[0], 390, 800)
    page.touch("touchStart", PALM, radius=40)
    page.touch("touchMove", (0.8, 0.9), radius=40)
    assert page.drawing()[:, 420:].max() == 255, "the palm must have drawn"
    page.pen(ONE)
    page.touch("touchMove", (0.7, 0.9), radius=40)
    page.touch("touchCancel")
    np.testing.assert_array_equal(page.drawing(), one_alone)
    page.settle()
    assert page.text("best") == "1"
    assert page.script("return scrollY") == 0


def test_page_palm_after_pen_draws_nothing(page, digits, one_alone):
    page.open(digits[0], 390, 800)
    page.pointer("mousePressed", ONE[0])
    page.touch("touchStart", PALM, radius=40)
    for point in ONE:
        page.pointer("mouseMoved", point)
    page.touch("touchMove", (0.9, 0.5), radius=40)
    page.pointer("mouseReleased", ONE[-1])
    page.touch("touchMove", (0.9, 0.1), radius=40)
    page.touch("touchEnd")
    np.testing.assert_array_equal(page.drawing(), one_alone)
    page.settle()
    assert page.text("best") == "1"
    assert "palm" in page.text("help")


def test_page_pen_draws_again_while_the_palm_rests(page, digits, one_alone):
    page.open(digits[0], 390, 800)
    page.touch("touchStart", PALM, radius=40)
    page.pen(ONE)
    page.pen([(0.2, 0.5), (0.8, 0.5)])
    page.touch("touchMove", (0.9, 0.5), radius=40)
    page.touch("touchEnd")
    page.touch("touchStart", PALM, radius=40)
    page.touch("touchEnd")
    drawn = page.drawing()
    assert drawn[270:290, 112:448].min(axis=1).max() == 255
    assert drawn[400:].max() == one_alone[400:].max() == 0 or not drawn[400:, 350:].any()
    page.chrome.find_element("id", "undo").click()
    np.testing.assert_array_equal(page.drawing(), one_alone)


def test_page_fingers_draw_again_after_clear(page, digits):
    page.open(digits[0], 390, 800)
    page.pen(ONE)
    page.chrome.find_element("id", "clear").click()
    page.finger(ONE)
    page.settle()
    assert page.text("best") == "1"
    assert "palm" not in page.text("help")


def test_page_mouse_draws_after_the_pen(page, digits, one_alone):
    page.open(digits[0], 390, 800)
    page.pen(ONE[:10])
    page.stroke(ONE[9:])
    np.testing.assert_array_equal(page.drawing(), one_alone)


def test_page_cancelled_touch_is_taken_back_and_finished_lines_stay(page, digits):
    page.open(digits[0], 390, 800)
    page.finger(ONE)
    finished = page.drawing()
    page.touch("touchStart", (0.1, 0.1))
    page.touch("touchMove", (0.9, 0.9))
    assert not np.array_equal(page.drawing(), finished)
    page.touch("touchCancel")
    np.testing.assert_array_equal(page.drawing(), finished)
    page.finger([(0.1, 0.1), (0.2, 0.1)])
    assert not np.array_equal(page.drawing(), finished), "the next touch must draw"


def test_page_each_finger_draws_its_own_line(page, digits):
    page.open(digits[0], 390, 800)
    page.touch("touchStart", (0.9, 0.5))
    page.touch("touchStart", (0.9, 0.5), (0.2, 0.1))
    page.touch("touchMove", (0.9, 0.5), (0.2, 0.9))
    page.touch("touchEnd")
    drawn = page.drawing()
    assert drawn[56:504, 112].min() == 255
    assert drawn[280, 504] == 255
    assert drawn[:, 200:430].max() == 0, "no line from finger to finger"


def test_page_finger_leaves_the_pad_and_comes_back(page, digits):
    page.open(digits[0], 390, 800)
    page.finger([(0.5, 0.5), (0.5, -0.3), (0.2, -0.3), (0.2, 0.5)])
    drawn = page.drawing()
    assert drawn[:280, 280].min() == 255
    assert drawn[:280, 112].min() == 255
    assert drawn[:, 150:240].max() == 0
    assert page.script("return scrollY") == 0


def test_page_right_button_and_lost_release_draw_nothing(page, digits):
    page.open(digits[0])
    page.pointer("mousePressed", (0.2, 0.2), "mouse", "right")
    page.pointer("mouseReleased", (0.2, 0.2), "mouse", "right")
    assert page.drawing().max() == 0
    page.pointer("mousePressed", (0.5, 0.2), "mouse")
    before = page.drawing()
    page.send("Input.dispatchMouseEvent", type="mouseMoved", button="none", buttons=0, **page.screen_point(0.9, 0.9))
    np.testing.assert_array_equal(page.drawing(), before)


@pytest.mark.parametrize(("pressed", "prevented"), [(False, False), (True, True)])
def test_page_menu_of_a_long_press_opens_only_without_a_line(page, digits, pressed, prevented):
    page.open(digits[0], 390, 800)
    if pressed:
        page.touch("touchStart", (0.5, 0.5))
    found = page.script(
        "const event = new MouseEvent('contextmenu', {bubbles: true, cancelable: true});"
        "pad.dispatchEvent(event); return event.defaultPrevented"
    )
    page.touch("touchEnd") if pressed else None
    assert found is prevented


def test_page_touch_on_the_pad_starts_no_gesture_of_the_browser(page, digits):
    page.open(digits[0], 390, 800)
    style = page.script("const s = getComputedStyle(pad); return [s.touchAction, s.userSelect]")
    assert style == ["none", "none"]
    page.script(
        "window.prevented = [];"
        "for (const name of ['touchstart', 'touchmove'])"
        " addEventListener(name, (event) => prevented.push(event.defaultPrevented), {passive: true})"
    )
    page.finger(ONE)
    assert len(page.script("return prevented")) >= 2
    assert all(page.script("return prevented"))
    assert page.script("return String(getSelection())") == ""


def test_page_resized_during_a_line_ends_it(page, digits):
    page.open(digits[0], 390, 800)
    page.touch("touchStart", (0.5, 0.2))
    page.touch("touchMove", (0.5, 0.5))
    before = page.drawing()
    page.resize(800, 390)
    page.settle()
    page.find_pad()
    page.touch("touchMove", (0.9, 0.9))
    page.touch("touchEnd")
    np.testing.assert_array_equal(page.drawing(), before)
    page.finger([(0.2, 0.2), (0.2, 0.4)])
    assert page.drawing()[112:224, 112].min() == 255


@pytest.mark.parametrize(("ratio", "zoom"), [(2, 1), (3, 1), (1, 1.5), (1, 0.5)])
def test_page_every_pixel_ratio_and_zoom_same_picture(page, digits, ratio, zoom):
    page.open(digits[0])
    page.stroke(ONE)
    expected = page.shown()
    page.open(digits[0], round(1280 / zoom), round(1000 / zoom), ratio=ratio * zoom)
    page.stroke(ONE)
    difference = np.abs(page.shown().astype(int) - expected)
    assert difference.max() <= 40, "the same line, to the rounding of mouse positions"
    assert page.text("best") == "1"


def test_page_two_digits_are_reported_as_predict_reports_them(page, digits):
    page.open(digits[0])
    one, two = [(0.3, 0.2), (0.3, 0.8)], [(0.7, 0.25), (0.7, 0.75)]
    for strokes, several in (([one], False), ([one, two], True), ([one, [(0.7, 0.3), (0.7, 0.4)]], False)):
        page.chrome.find_element("id", "clear").click()
        for stroke in strokes:
            page.stroke(stroke)
        page.settle()
        expected = mnist_style.SEVERAL in mnist_style.to_mnist_style(page.drawing()).notes
        assert expected == several, "both kinds must occur"
        assert page.text("note") == (mnist_style.SEVERAL if several else "")
    page.stroke(two)
    page.settle()
    assert mnist_style.SEVERAL in page.announced("more than one")


def test_page_random_lines_are_counted_as_in_python(page, digits):
    page.open(digits[0])
    rng = np.random.default_rng(3)
    found = []
    for _ in range(15):
        page.chrome.find_element("id", "clear").click()
        for _ in range(rng.integers(1, 5)):
            x, y = rng.uniform((0.05, 0.1), (0.95, 0.4))
            page.stroke([(x, y), (x + rng.uniform(-0.1, 0.1), y + rng.uniform(0.2, 0.5))])
        page.settle()
        expected = mnist_style.SEVERAL in mnist_style.to_mnist_style(page.drawing()).notes
        found.append(expected)
        assert (page.text("note") == mnist_style.SEVERAL) == expected
    assert 3 <= sum(found) <= 12, "both kinds must occur"


def test_page_without_scripts_says_what_it_is(page, digits):
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
        page.chrome.get(digits[0].as_uri())
        tree = page.accessibility_tree()
    finally:
        page.send("Emulation.setScriptExecutionDisabled", value=False)
    assert_only_the_text_is_shown(tree)


@pytest.mark.parametrize("fault", ["truncated", "damaged"])
def test_page_whose_script_fails_says_what_it_is(page, digits, tmp_path, fault):
    text = digits[0].read_text(encoding="utf-8")
    cut = text.index('"layers"') + 2000
    (tmp_path / "page.html").write_text(
        text[:cut] + ("" if fault == "truncated" else "!" + text[cut:]), encoding="utf-8"
    )
    page.chrome.get((tmp_path / "page.html").as_uri())
    assert_only_the_text_is_shown(page.accessibility_tree())
    assert len(page.console()) == (fault == "damaged")


def assert_only_the_text_is_shown(tree):
    """Check an accessibility tree: the text for a page without its script is there, and no control."""
    words = " ".join(node["name"]["value"] for node in tree if node["role"]["value"] == "StaticText")
    assert "Its script has not run" in " ".join(words.split())
    assert "open it in a browser" in " ".join(words.split())
    assert not {"button", "application", "status"} & {node["role"]["value"] for node in tree}


def test_page_accessibility_tree_names_pad_pictures_and_answer(page, digits):
    page.open(digits[0])
    assert "script has not run" not in page.script("return document.body.innerText")
    page.stroke(ONE)
    page.announced("1, ")
    shown = page.accessibility_tree()
    names = [(node["role"]["value"], node["name"]["value"]) for node in shown if "name" in node]
    assert ("application", "Drawing area") in names
    pictures = [name for role, name in names if role in ("image", "img", "Canvas", "canvas")]
    assert "your drawing, 1 line" in pictures
    assert len(pictures) == page.script("return document.querySelectorAll('canvas').length")
    assert all(pictures)
    controls = [name for role, name in names if role in ("button", "checkbox", "region", "list")]
    assert all(controls)
    (status,) = [node for node in shown if node["role"]["value"] == "status"]
    assert {"name": "live", "value": {"type": "token", "value": "polite"}} in status["properties"]
    assert any(name.startswith("1, ") for role, name in names if role == "StaticText")


def test_page_long_line_is_answered_without_delay(page, digits):
    page.open(digits[0])
    seconds = page.script(
        "const box = pad.getBoundingClientRect(), send = (kind, i) => pad.dispatchEvent(new PointerEvent(kind, {"
        " pointerId: 1, pointerType: 'mouse', button: kind === 'pointerdown' ? 0 : -1, buttons: 1, bubbles: true,"
        " clientX: box.left + box.width * (0.5 + 0.4 * Math.cos(i / 20)),"
        " clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(i / 33))}));"
        "pad.setPointerCapture = () => {};"
        "const start = performance.now(); send('pointerdown', 0);"
        "for (let i = 1; i < 1000; i++) send('pointermove', i);"
        "document.getElementById('undo').click(); return (performance.now() - start) / 1000"
    )
    assert seconds < 2
    assert page.probabilities() is None


def contrast(first, second):
    """Return the contrast ratio of two colours rgb(r, g, b), by the formula of WCAG 2."""
    luminances = []
    for colour in (first, second):
        shares = np.array([int(part) for part in colour[4:-1].split(",")]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_texts_and_focus_have_contrast(page, digits, scheme):
    page.open(digits[0], scheme=scheme)
    page.stroke(ONE)
    page.settle()
    page.script("document.getElementById('undo').focus()")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    found = page.script(
        "const style = (name) => getComputedStyle(document.querySelector(name)), back = style('body').backgroundColor;"
        "const texts = ['h1', 'header p', '#best', '#sure', '#help', 'figcaption span', '.value', 'label']"
        " .map((name) => [name, style(name).color, back]);"
        "const button = style('#clear'), edges = [['pad', style('#pad').borderTopColor, back],"
        " ['focus', button.outlineColor, back], ['bar', style('.first .fill').backgroundColor,"
        " style('.bar').backgroundColor]];"
        "return [[...texts, ['button', button.color, button.backgroundColor]], edges, button.outlineStyle]"
    )
    texts, edges, outline = found
    assert {name: contrast(*colours) for name, *colours in texts if contrast(*colours) < 4.5} == {}
    assert {name: contrast(*colours) for name, *colours in edges if contrast(*colours) < 3} == {}
    assert outline == "solid"


def test_page_prints_dark_lines_on_light_paper(page, digits):
    page.open(digits[0], scheme="dark")
    page.stroke(ONE)
    page.settle()
    style = "const s = (name) => getComputedStyle(document.querySelector(name));"
    style += "return [s('#drawing').filter, s('h1').color, s('.tools').display]"
    on_screen = page.script(style)
    page.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    printed = page.script(style)
    page.send("Emulation.setEmulatedMedia", media="")
    assert on_screen[0].startswith("invert")
    assert on_screen[2] == "flex"
    assert printed[0] == "none"
    assert printed[2] == "none"
    assert contrast(printed[1], "rgb(255, 255, 255)") > 7


def test_page_pad_fits_a_phone_held_across(page, digits):
    page.open(digits[0], 800, 390)
    _, _, width, height = page.box
    assert width == pytest.approx(height, abs=1)
    assert 250 < height < 390


@pytest.mark.parametrize(
    ("shape", "background", "ink"), [((8, 8), 0, 16), ((12, 8), 255, 0), ((28, 28), 200, 10), ((28, 28), 30, 255)]
)
def test_page_of_other_images_draws_in_their_shades_and_says_so(page, tmp_path, shape, background, ink):
    pixels = shape[0] * shape[1]
    images = np.full((2, pixels), background, np.uint8)
    images[1] = ink
    model = Model((pixels, 3), "relu", "cross-entropy", shape, ("a", "b", "c"), (), "", None, None)
    model = replace(model, background=background, ranges=FeatureRanges.of(images, np.arange(2), shape))
    params = [{"W": np.ones((pixels, 3)), "b": np.zeros(3)}]
    (tmp_path / "page.html").write_text(page_html(model, params, "small"), encoding="utf-8")
    page.open(tmp_path / "page.html")
    words = page.script("return document.querySelector('header').innerText")
    assert f"images of {shape[0]}x{shape[1]} pixels" in words
    assert page.probabilities() is None
    page.stroke([(0.5, 0.1), (0.5, 0.9)])
    shown = page.shown()
    assert shown[0] == background
    drawn = shown.astype(int) - background
    assert 0.5 * abs(ink - background) < np.abs(drawn).max() <= abs(ink - background)
    assert np.sign(drawn).tolist().count(np.sign(ink - background)) == np.count_nonzero(drawn)
    painted = page.script(
        "return [...document.getElementById('shown').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    assert max(painted[::4]) - min(painted[::4]) > 120, "the picture of the input must be visible"
    assert page.probabilities() is not None


def test_page_keyboard_announces_where_the_pen_is(page, digits):
    page.open(digits[0])
    page.script("pad.focus()")
    page.keys("ArrowUp", "ArrowLeft")
    assert page.text("announcement") == "Row 14, column 14."
    page.keys(*["ArrowLeft"] * 20)
    assert page.text("announcement") == "Row 14, column 1."
    page.keys(" ", "ArrowDown")
    assert "%" in page.announced("%"), "the answer follows once the pen rests"


def test_page_names_from_right_to_left_do_not_turn_the_numbers(page, tmp_path):
    model = Model((4, 2), "relu", "cross-entropy", (2, 2), ("a", "\u202e\u05d0 12"), (), "", None, None)
    params = [{"W": np.zeros((4, 2)), "b": np.array([1.0, 0.0])}]
    (tmp_path / "page.html").write_text(page_html(model, params, "small"), encoding="utf-8")
    page.open(tmp_path / "page.html")
    page.stroke([(0.2, 0.2), (0.8, 0.8)])
    page.settle()
    assert page.text("sure") == "73.1 %, else \u202e\u05d0 12 with 26.9 %"
    left = page.script(
        "const range = document.createRange(), texts = document.getElementById('sure').childNodes;"
        "return [...texts].map((node) => (range.selectNodeContents(node), range.getBoundingClientRect().left))"
    )
    assert len(left) == 4
    assert left == sorted(left)
