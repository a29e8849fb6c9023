"""report.html in a real browser, on a phone and on paper: nothing is cut."""

import io

import numpy as np
import pytest
from PIL import Image

from lagvis.report.html.document import Figure, Heading, Paragraph, Table, to_html

# A browser takes seconds to start.
pytestmark = pytest.mark.slow

LONG = "a class name of many words that says what the class is about"
UNBROKEN = "aclassnamewithoutanyplacetobreakitwhichgoesonandonandonandonandon"


@pytest.fixture
def report(chrome, tmp_path):
    """Open a report with a wide figure and long names; return the browser."""
    png = io.BytesIO()
    Image.fromarray(np.zeros((300, 1200), np.uint8)).save(png, "PNG")
    rows = [("training", "a", "99.12%"), (LONG, UNBROKEN, "7.00%"), (UNBROKEN, LONG, "1.00%")]
    table = Table(LONG, ("class", "most often mistaken for", "recall"), rows, left=2)
    blocks = [Heading("Warnings"), Paragraph(UNBROKEN * 3), Figure("a.png", png.getvalue(), "words", "words"), table]
    (tmp_path / "report.html").write_text(to_html(UNBROKEN, blocks), encoding="utf-8")
    chrome.get((tmp_path / "report.html").as_uri())
    yield chrome
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def set_window(chrome, width, media="screen", scheme="light"):
    window = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_report_at_every_width_shows_figures_and_words_whole(report, width):
    set_window(report, width)
    page, figure, image, word = report.execute_script(
        "const side = (name) => document.querySelector(name).getBoundingClientRect();"
        "return [document.documentElement.scrollWidth, side('figure').right, side('img').right,"
        " side('tbody th').height]"
    )
    assert page <= width
    assert image <= figure <= width
    assert word < 40, "the name of a row must not be broken into letters"
    caption, region = report.execute_script(
        "const side = (name) => document.querySelector(name).getBoundingClientRect();"
        "return [side('caption span').right, side('.wide').right]"
    )
    assert caption <= region + 1


def test_report_on_paper_is_light_and_its_tables_are_not_cut(report):
    set_window(report, 700, "print", "dark")
    table, page, colour = report.execute_script(
        "return [document.querySelector('table').getBoundingClientRect().right, innerWidth,"
        " getComputedStyle(document.body).color]"
    )
    assert table <= page
    assert colour == "rgb(27, 27, 27)"
