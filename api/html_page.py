"""A page that a notebook shows below its cell, and that can be saved."""

import os
from pathlib import Path

from lagvis.arguments import path_text
from lagvis.report.notebook.frame import page_frame
from lagvis.storage.atomic import write_export_file


class HtmlPage:
    """One HTML file that needs nothing else, and no network.

    A notebook shows it in a frame, whose styles and scripts are kept from the notebook.

    title  of the page
    html   its text
    """

    def __init__(self, title: str, html: str, height: int, *, scripts: bool = False) -> None:
        self.title, self.html = title, html
        self._height, self._scripts = height, scripts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, which is replaced as a whole; CheckpointError if it cannot be written."""
        write_export_file(user_path(path), self.html.encode())

    def _repr_html_(self) -> str:
        return page_frame(self.html, self.title, self._height, scripts=self._scripts)

    def __repr__(self) -> str:
        return f"HtmlPage({self.title!r}, {len(self.html):,} characters; a notebook shows it, .save(path) writes it)"


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path that a user has named; ~ is the home folder. UsageError for what is no path."""
    return Path(os.path.expanduser(path_text(path, "path"))).absolute()
