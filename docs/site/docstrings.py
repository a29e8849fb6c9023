"""Docstrings as Markdown, for mkdocstrings: lists of names with aligned descriptions, and examples.

The docstrings are written for `help()`. There a list is

    name   what it is,
           in one line or more
    other  the next one
"""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"(?P<term>\S.*?)(?P<gap> {2,})(?P<text>\S.*)")


class MarkdownDocstrings(griffe.Extension):
    """Convert the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Replace the text of the docstring, if the object has one."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(docstring: str) -> str:
    """Return a docstring with its lists as lists of Markdown, and its examples as blocks of code."""
    lines, converted = docstring.splitlines(), []
    while lines:
        if lines[0].startswith(">>>"):
            end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
            converted += ["", "```pycon", *lines[:end], "```", ""]
            del lines[:end]
        elif entry := ENTRY.fullmatch(lines[0]):
            column = entry.start("text")
            end = next((i for i, line in enumerate(lines) if not belongs_to_list(line, column)), len(lines))
            converted += ["", *list_items(lines[:end], column), ""]
            del lines[:end]
        else:
            converted.append(lines.pop(0))
    return "\n".join(converted).strip()


def belongs_to_list(line: str, column: int) -> bool:
    """Tell whether a line is an entry of a list, or goes on with one, whose descriptions begin at a column.

    Only a term of several names comes as close as one blank to its description.
    """
    term, text = line[:column], line[column:]
    fits = not term.strip() or term.endswith("  ") or (term.endswith(" ") and "," in term)
    return fits and text[:1] not in ("", " ")


def list_items(lines: list[str], column: int) -> list[str]:
    """Return the lines of a list as items of Markdown."""
    items: list[str] = []
    for line in lines:
        term = line[:column].strip()
        items.append(f"- `{term}`: {line[column:]}" if term else f"  {line[column:]}")
    return items
