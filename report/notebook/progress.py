"""Progress below the cell of a notebook, updated in place by IPython's display handles."""

import sys
import time
from collections.abc import Callable
from typing import Any

from lagvis.data.messages import percent
from lagvis.report.html.document import escape_html
from lagvis.report.notebook.chart import svg_chart
from lagvis.report.run_numbers import RunNumbers
from lagvis.report.terminal.lines import epoch_line, start_line
from lagvis.report.terminal.progress import SilentView
from lagvis.report.text import escape_control
from lagvis.training.events import EpochEnded, Event, Started

FRAME_SECONDS = 0.25  # between two updates

Display = Callable[..., Any]


def notebook_display() -> Display | None:
    """Return IPython's `display` in the kernel of a notebook; None in a terminal, in a script, and without IPython.

    IPython is not imported here: in its kernel it has been. The shells of all kernels, Colab's too, have a `kernel`.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return display


class NotebookProgress(SilentView):
    """Shows a bar, the newest numbers and curves below the cell, and leaves their last state there.

    They are drawn at most every FRAME_SECONDS. Nothing is written to stdout or stderr. A display that fails is not used
    again, and the training goes on.
    """

    def __init__(self, display: Display, device: str = "") -> None:
        self._display: Display | None = display
        self._page = ProgressPage(device)
        self._handle: Any = None
        self._drawn = -FRAME_SECONDS

    def __exit__(self, *error: object) -> None:
        self._page.closed = True
        self._draw()

    def show(self, event: Event) -> None:
        """Store the numbers of an event, and draw them if the last frame is old enough."""
        self._page.update(event)
        if time.monotonic() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def note(self, line: str) -> None:
        """Show a line above the numbers, with the next frame."""
        self._page.notes.append(line)

    def _draw(self) -> None:
        if self._display is None:
            return
        try:
            content = self._page.content()
            if not content["text/plain"]:
                return
            if self._handle is None:
                self._handle = self._display(content, raw=True, display_id=True)
            else:
                self._handle.update(content, raw=True)
            self._drawn = time.monotonic()
        except Exception:  # whatever the front end or its connection does, it must not end a training
            self._display = None


class ProgressPage(RunNumbers):
    """The numbers of a run as HTML, and as text for a front end that shows no HTML."""

    def __init__(self, device: str = "") -> None:
        super().__init__(device)
        self.notes: list[str] = []
        self.closed = False
        self._line = ""  # of the newest epoch

    def update(self, event: Event) -> None:
        """Store the numbers of an event."""
        super().update(event)
        if isinstance(event, EpochEnded) and self._started is not None:
            self._line = epoch_line(event, self._started.plan.epochs)

    def content(self) -> dict[str, str]:
        """Return the present state by media type, for IPython."""
        lines = [escape_control(note) for note in self.notes]
        if self._started is not None:
            lines += [start_line(self._started), self._line]
        return {"text/html": self.html(), "text/plain": "\n".join(filter(None, lines))}

    def html(self) -> str:
        """Return the present state as HTML, which needs no other style and suits light and dark pages."""
        parts = [f'<div style="margin-bottom: .3em">{escape_html(note)}</div>' for note in self.notes]
        started = self._started
        if started is not None:
            parts.append(f"<div>{escape_html(start_line(started))}</div>")
            if started.plan.epochs:
                parts += [self._bar(started), self._numbers(started), self._charts(started)]
        return f'<div style="max-width: 60em; font-size: 13px; line-height: 1.5">{"".join(parts)}</div>'

    def _bar(self, started: Started) -> str:
        counter, done, end = self._position(started)
        if self.closed and self._finished is None:
            end = "stopped"
        return (
            '<div style="display: flex; gap: 1em; align-items: center; margin: .3em 0">'
            f"<b>{counter}</b> "
            f'<progress value="{done:.4f}" max="1" style="flex: 1; min-width: 4em">{done:.0%}</progress> '
            f'<span style="min-width: 9em">{done:.0%}&ensp;{end}</span></div>'
        )

    def _numbers(self, started: Started) -> str:
        fields = "".join(
            f'<div style="flex: 0 0 19em"><span style="opacity: .7; display: inline-block; min-width: 7.5em">{name}'
            f"</span> {value}</div>"
            for name, value in ((escape_html(name), escape_html(value)) for name, value in self.fields(started))
        )
        return f'<div style="display: flex; flex-wrap: wrap; font-variant-numeric: tabular-nums">{fields}</div>'

    def _charts(self, started: Started) -> str:
        kinds = ("loss",) if started.model.y_scaling is not None else ("loss", "accuracy")
        charts = [
            svg_chart(
                kind,
                self._curves["train", kind].snapshot(),
                self._curves["validation", kind].snapshot() if len(started.plan.validation_rows) else None,
                x_range=self._shown_epochs(started),
                lower_is_better=kind == "loss",
                label=percent if kind == "accuracy" else "{:.3g}".format,
            )
            for kind in kinds
        ]
        return f'<div style="display: flex; flex-wrap: wrap; gap: 1em; margin-top: .4em">{"".join(charts)}</div>'
