"""The documentation refers to files, functions, recipes and commands that exist."""

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*/README.md")]
    if path.name != "CHANGELOG.md"
)
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]


def heading_anchors(page):
    """Return the anchors that GitHub creates for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page_links_lead_to_existing_files_and_headings(page):
    targets = re.findall(r'(?:\]\(|src=")([^)"]+)[)"]', page.read_text(encoding="utf-8"))
    for target in targets:
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in heading_anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page_names_existing_paths(page):
    text = page.read_text(encoding="utf-8")
    names = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
    folders = "|".join(
        name for name in names if name not in ("runs", "site", "build")
    )  # these are not of the repository
    for path in re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]*[\w/])", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page_names_functions_of_the_linked_file(page):
    for dotted, link in re.findall(r"\[`((?:\w+\.)+\w+)`\]\(([^)]+\.py)\)", page.read_text(encoding="utf-8")):
        tree = ast.parse((page.parent / link).resolve().read_text(encoding="utf-8"))
        module = Path(link).as_posix().removeprefix("../").removesuffix(".py").replace("/", ".")
        name = dotted.removeprefix(module).removeprefix(".")
        defined = {
            prefix + node.name
            for prefix, nodes in [("", tree.body), *((f"{c.name}.", c.body) for c in tree.body if hasattr(c, "body"))]
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert not name or name in defined, dotted


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python train.py",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest",
        ".venv/bin/python train.py --device cuda",
    ],
)
def test_readme_holds_the_commands_that_ci_and_people_copy(command):
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page_external_links_are_whole_https_addresses(page):
    text = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"(?:\]\(|<)(\w+:[^)>\s]*)[)>]", text):
        parts = urlsplit(target)
        assert parts.scheme in ("https", "mailto"), target
        assert parts.scheme == "mailto" or re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), target
    assert "http://" not in text
