"""The parts of the site that MkDocs alone does not check; `scripts/docs` builds it."""

import importlib.util
import re

import pytest

import lagvis
from tests.docs.pages import ROOT


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def docstrings():
    pytest.importorskip("griffe")
    return load("docstrings")


@pytest.fixture
def hooks():
    pytest.importorskip("mkdocs")
    pytest.importorskip("latex2mathml")
    return load("hooks")


def test_api_page_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = [name.rpartition(".")[2] for name in re.findall(r"^<!-- api: ([\w.]+)", page, re.MULTILINE)]
    assert sorted(names) == sorted(name for name in dir(lagvis) if name != "__version__")


def test_to_markdown_aligned_list_becomes_items(docstrings):
    text = "Do it.\n\na, bc  the first,\n       in two lines\nd      the second\nRaises an error.\n\n>>> 1 + 1\n2\n"
    assert docstrings.to_markdown(text) == (
        "Do it.\n\n\n- `a, bc`: the first,\n  in two lines\n- `d`: the second\n\nRaises an error.\n\n\n"
        "```pycon\n>>> 1 + 1\n2\n```"
    )


def test_to_markdown_text_stays(docstrings):
    text = "One sentence. Another one.\n\nA paragraph\nof two lines."
    assert docstrings.to_markdown(text) == text


def test_links_of_page_leave_code_alone(hooks):
    page = "[a](../network/mlp.py), `[b](../none.py)`, [c](data.md#tables), [d](https://example.org)\n```\n[e](x.md)\n```\n"
    assert hooks.links(page, "docs/page.md") == ["network/mlp.py", "docs/data.md"]


@pytest.mark.parametrize(
    ("link", "page", "source", "expected"),
    [
        ("data.md", "index.md", "docs/index.md", "data.md"),
        ("../network/mlp.py", "index.md", "docs/index.md", "repository/network/mlp.py.md"),
        ("docs/data.md", "repository/README.md", "README.md", "../data.md"),
        ("../jump", "repository/data/mnist/README.md", "data/mnist/README.md", "../jump.md"),
    ],
)
def test_site_link_leads_to_page_of_the_site(hooks, link, page, source, expected):
    hooks.repository_paths[page] = source
    assert hooks.site_link(link, page) == expected


def test_outside_code_formula_in_code_stays(hooks):
    page = "$x$ and `$y$`\n\n```sh\necho $z $z\n```\n"
    assert hooks.outside_code(page, str.upper) == "$X$ AND `$y$`\n\n```sh\necho $z $z\n```\n"


def test_notebook_markdown_has_cells_text_and_pictures(hooks):
    picture = {"data": {"image/png": "iVBOR", "text/plain": ["<Image>"]}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}, picture]},
        {"cell_type": "code", "source": ["print()"], "outputs": [{"text": ["a\n", "b\n"]}]},
    ]
    assert hooks.notebook_markdown({"cells": cells}).split("\n\n") == [
        "## Title\nwords",
        "``````python\n1 + 1\n``````",
        "``````text\n2\n``````",
        '<img alt="&lt;Image&gt;" src="data:image/png;base64,iVBOR">',
        "``````python\nprint()\n``````",
        "``````text\na\nb\n``````",
    ]
