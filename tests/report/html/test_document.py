"""report.md and report.html: any name is displayed as text, and the page makes no request."""

import re
from html.parser import HTMLParser

import pytest

from lagvis.report.html.document import Code, Figure, Heading, Paragraph, Table, to_html, to_markdown
from lagvis.report.text import escape_control

NASTY = '<img src="http://x.y/z" onerror=alert(1)> & "quoted" `tick` | *b* $x$ \\ \u202e\x1b[2J\n# h'
BLOCKS = [
    Heading(NASTY), Paragraph(NASTY), Table(NASTY, ("class", NASTY), [(NASTY, "1")]),
    Figure("plots/a.png", b"\x89PNG", NASTY, NASTY), Code("a = 1\n```\n<b>" + NASTY),
]  # fmt: skip


class Reader(HTMLParser):
    """Collect tags with their attributes, and text, as a browser parses them."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))


@pytest.fixture
def read():
    reader = Reader()
    reader.feed(to_html(NASTY, BLOCKS))
    assert reader.open == []
    return reader


def test_to_html_hostile_names_stay_text(read):
    escaped = escape_control(NASTY)
    assert [tag for tag, _ in read.tags].count("img") == 1
    for tag in ("title", "h1", "h2", "p", "span", "figcaption", "th"):
        assert (tag, escaped) in read.text
    assert not {"script", "b", "link", "iframe"} & {tag for tag, _ in read.tags}
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)


def test_to_html_requests_nothing(read):
    sources = [value for _, attributes in read.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    policy = next(a["content"] for _, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    style = "".join(text for tag, text in read.text if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_to_html_has_language_scopes_alt_texts_and_labels(read):
    tags = read.tags
    assert ("html", {"lang": "en"}) in tags
    assert [a["scope"] for tag, a in tags if tag == "th"] == ["col", "col", "row"]
    assert next(a["alt"] for tag, a in tags if tag == "img") == escape_control(NASTY)
    # elements focusable by Tab, for scrolling, have a label
    assert [a for _, a in tags if "tabindex" in a] == [
        {"class": "wide", "role": "region", "aria-label": escape_control(NASTY), "tabindex": "0"}
    ]


def test_code_unprintable_characters_are_escaped():
    """Paths that are not UTF-8 (surrogates in Python) or contain terminal control characters."""
    blocks = [Code("cd '/o\udcff'\n\tls '\x1b[2J\u202e\r'")]
    for text in (to_markdown("title", blocks), to_html("title", blocks)):
        text.encode()
        assert "/o\\udcff" in text
        assert "\\tls" in text
        assert "\\x1b[2J\\u202e\\r" in text
        assert "\\n" not in text


def test_table_empty_columns_are_left_out():
    table = Table("Result", ("part", "unit", "loss", "accuracy"), [("test", "", "1.5", ""), ("mean", "", "2", "")], 2)
    text = to_markdown("title", [table])
    assert "| part | loss |\n| --- | ---: |\n| test | 1.5 |\n| mean | 2 |" in text
    reader = Reader()
    reader.feed(to_html("title", [table]))
    assert [text for tag, text in reader.text if tag in ("th", "td")] == ["part", "loss", "test", "1.5", "mean", "2"]
    # a table without rows keeps its header; a column with a filled cell is kept
    assert "| class | no. |" in to_markdown("title", [Table("none", ("class", "no."), [])])
    assert "| a |  |" in to_markdown("title", [Table("some", ("class", "no."), [("a", ""), ("b", "1")])])


def test_to_markdown_hostile_names_are_escaped():
    text = to_markdown(NASTY, BLOCKS)
    outside = re.sub(r"^````\n.*?^````$", "", text, flags=re.S | re.M)
    assert "\x1b" not in outside
    assert "\u202e" not in outside
    assert not re.search(r"(?<!\\)[<`$]", outside)
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]
    assert "](plots/a.png)" in text
