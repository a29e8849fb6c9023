"""A whole HTML page inside the output of a notebook cell."""

import html

from lagvis.report.html.document import escape_html


def page_frame(page: str, title: str, height: int, *, scripts: bool = False) -> str:
    """Return an iframe that holds a page, `height` CSS pixels high.

    The page has its own styles, and its sandbox keeps it from the notebook: it has no origin, and its scripts run only
    with `scripts`.
    """
    sandbox = "allow-scripts" if scripts else ""
    style = (
        f"display: block; box-sizing: border-box; width: 100%; height: {height}px; "
        "border: 1px solid rgba(128, 128, 128, .4); border-radius: 6px"
    )
    return (
        f'<div><iframe title="{escape_html(title)}" sandbox="{sandbox}" style="{style}" '
        f'srcdoc="{html.escape(page)}"></iframe></div>'
    )
