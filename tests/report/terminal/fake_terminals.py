"""Terminals in memory."""

import io

VARIABLES = (
    "CI", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "JUPYTER_COLUMNS", "DATABRICKS_RUNTIME_VERSION", "JPY_PARENT_PID", "MPLBACKEND",
)  # fmt: skip


class Terminal(io.TextIOWrapper):
    """Stream in memory whose isatty() is configurable."""

    def __init__(self, encoding: str = "utf-8", *, watched: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def terminal_environment(monkeypatch):
    """Set the environment of a colour terminal with 80 columns and 24 lines."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return monkeypatch


def shown(view, events):
    """Open a view, show every event in it, and close it."""
    with view:
        for event in events:
            view.show(event)
