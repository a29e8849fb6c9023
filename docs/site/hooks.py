"""Hooks of MkDocs: links that leave docs/, formulas as MathML, and the package as mkdocstrings expects it.

The pages are written for GitHub: they link to source files, and formulas stand in $...$ and ```math blocks. On the site
a linked file outside of docs/ becomes a page of its own, a notebook one with its outputs. Formulas become MathML, which
browsers draw without scripts. `<!-- api: NAME: MEMBER MEMBER -->` becomes the docstring of a name of the API, with
these members of a class.
"""

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "repository"  # of the site: the pages of files outside of docs/

CODE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1[ ]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
DISPLAY = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\$(?! )([^$\n]+)(?<! )\$")
LINK = re.compile(r"(\]\(|src=\")(?!https?:|data:|#)([^)#\"\s]+)")
API = re.compile(r"^<!-- api: ([\w.]+)(:?)([\w ]*) -->$", re.MULTILINE)
FUNCTION = re.compile(r"(<mi>(?:cos|exp|log|max|min|sin|tanh)</mi>)(?=<m[is])")  # as in log p, which needs a space
PLACEHOLDER = "formula{}formula"  # of a formula until the page is HTML, so that Markdown leaves it alone

repository_paths: dict[str, str] = {}  # path of a page in the site -> path of its file in the repository
formulas: dict[str, list[str]] = {}  # path of a page in the site -> its formulas as MathML


@event_priority(100)  # before mkdocstrings, which reads the path
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make a folder in which the package lies as in the wheel, and give it to mkdocstrings."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    folder = Path(tempfile.mkdtemp(prefix="lagvis-docs-"))
    for name, path in settings.items():
        package = folder / name.replace(".", "/")
        package.mkdir(parents=True)
        for module in (ROOT / path).glob("*.py"):
            (package / module.name).symlink_to(module)
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [str(folder)]
    config.extra["package_folder"] = str(folder)
    return config


def on_post_build(config: MkDocsConfig) -> None:
    """Remove the folder of `on_config`."""
    shutil.rmtree(config.extra["package_folder"])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of docs/ that a page links to, or that one of these links to."""
    repository_paths.clear()
    pages = []
    for file in files.documentation_pages():
        repository_paths[file.src_uri] = f"docs/{file.src_uri}"
        pages.append((f"docs/{file.src_uri}", (ROOT / "docs" / file.src_uri).read_text("utf-8")))
    while pages:
        path, text = pages.pop()
        for target in links(text, path):
            page = site_path(target)
            if target.startswith("docs/") or page in repository_paths:
                continue
            repository_paths[page] = target
            content = page_content(target)
            files.append(File.generated(config, page, content=content))
            pages.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the pages of the site, and replace formulas by placeholders."""
    path, found = page.file.src_uri, []

    def hold(formula: re.Match[str], display: str) -> str:
        math = convert(formula[1].strip(), display=display)
        found.append(FUNCTION.sub(r'\1<mspace width="0.17em"/>', math))
        return PLACEHOLDER.format(len(found) - 1)

    def rewrite(text: str) -> str:
        text = INLINE.sub(lambda formula: hold(formula, "inline"), text)
        return LINK.sub(lambda link: link[1] + site_link(link[2], path), text)

    markdown = API.sub(api_directive, markdown)
    markdown = DISPLAY.sub(lambda formula: hold(formula, "block"), markdown)
    formulas[path] = found
    return outside_code(markdown, rewrite)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the formulas of the page at the places of their placeholders."""
    found = formulas.pop(page.file.src_uri)
    return re.sub(PLACEHOLDER.format(r"(\d+)"), lambda place: found[int(place[1])], html)


def api_directive(comment: re.Match[str]) -> str:
    """Return the directive of mkdocstrings for a name of the API."""
    members = f"[{', '.join(comment[3].split())}]" if comment[2] else "[]"
    return f"\n::: lagvis.api.{comment[1]}\n    options:\n      members: {members}\n"


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return a page with a function applied to its text, but not to its code."""
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [change(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(markdown[end:])])


def links(markdown: str, path: str) -> list[str]:
    """Return the files and folders that a page links to, relative to the repository; `path` is that of the page."""
    found: list[str] = []
    outside_code(markdown, lambda text: found.extend(target(link[2], path) for link in LINK.finditer(text)) or "")
    return found


def target(link: str, path: str) -> str:
    """Return the path in the repository that a relative link leads to."""
    base = path if (ROOT / path).is_dir() else os.path.dirname(path)
    return os.path.normpath(os.path.join(base, link))


def site_link(link: str, page: str) -> str:
    """Return a relative link of a page of the site, by the link in the page's source."""
    return os.path.relpath(site_path(target(link, repository_paths[page])), os.path.dirname(page) or ".")


def site_path(path: str) -> str:
    """Return the path in the site of a file or folder of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{FOLDER}/{path if path.endswith('.md') else path + '.md'}"


def page_content(path: str) -> str:
    """Return a page for a file or folder of the repository: itself, its source code, or the list of its files."""
    file = ROOT / path
    if path.endswith(".md"):
        return file.read_text("utf-8")
    if path.endswith(".ipynb"):
        return f"# {path}\n\n{notebook_markdown(json.loads(file.read_text('utf-8')))}\n"
    if file.is_dir():
        names = sorted(entry.name for entry in file.iterdir() if not entry.name.startswith(("_", ".")))
        text = "\n".join(f"- [{name}]({name})" for name in names)
    else:
        text = f"``````{file.suffix[1:]}\n{file.read_text('utf-8')}\n``````"
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{text}\n"


def notebook_markdown(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook with the text and the pictures of their outputs."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"^#", "##", source, flags=re.MULTILINE))
            continue
        parts.append(f"``````python\n{source}\n``````")
        for output in cell["outputs"]:
            data = output.get("data", {})
            text = "".join(output.get("text") or data.get("text/plain", ""))
            if "image/png" in data:
                parts.append(f'<img alt="{escape(text)}" src="data:image/png;base64,{data["image/png"].strip()}">')
            else:
                parts.append(f"``````text\n{text.rstrip()}\n``````")
    return "\n\n".join(parts)
