"""The result of a training as HTML for the output of a notebook cell."""

import base64
from typing import Any

import numpy as np

from lagvis.data.messages import pluralize
from lagvis.errors import DrawingError
from lagvis.report.html.document import Table, escape_html, html_table
from lagvis.report.html.tables import classes_table, labels_table, results_table
from lagvis.report.plots import metric_plots
from lagvis.report.plots.figure import draw_png
from lagvis.report.plots.metric_plots import History
from lagvis.report.run_report import describe_curves
from lagvis.report.summary import Summary
from lagvis.report.text import duration
from lagvis.training.model import Model

# Every selector begins with the class of the output, so that nothing else in the notebook changes.
STYLE = """
.lagvis-result { max-width: 60em }
.lagvis-result .wide { overflow-x: auto }
.lagvis-result table { border-collapse: collapse; margin: .5em 0; font-size: 13px; font-variant-numeric: tabular-nums }
.lagvis-result caption { caption-side: top; text-align: left; opacity: .75; white-space: nowrap }
.lagvis-result th, .lagvis-result td { padding: .15em 1em .15em 0; text-align: right; white-space: nowrap }
.lagvis-result th:first-child { text-align: left }
.lagvis-result .long { white-space: normal; overflow-wrap: anywhere; min-width: 10em }
.lagvis-result img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px }
.lagvis-result p { margin: .4em 0 }
"""


def result_html(summary: Summary, model: Model, history: History) -> str:
    """Return what was trained, loss and accuracy of each part, warnings, curves, and a table of the classes or labels.

    Without matplotlib there are no curves.
    """
    parts = [f"<p>{escape_html(run_sentence(summary))}</p>", html_table(results_table(summary))]
    parts += [f"<p><b>Warning.</b> {escape_html(warning['message'])}</p>" for warning in summary["warnings"]]
    if history:
        parts.append(curves_image(history))
    if (table := details_table(summary, model)) is not None:
        parts.append(f"<details><summary>{escape_html(table.caption)}</summary>{html_table(table)}</details>")
    return f'<div class="lagvis-result"><style>{STYLE}</style>{"".join(parts)}</div>'


def run_sentence(summary: Summary) -> str:
    """Return what was trained, on what and for how long."""
    context = f"{summary['backend']}, {summary['device']}, {summary['dtype']}, seed {summary['seed']}"
    epochs, end = pluralize(summary["epochs"], "epoch"), summary["finished"]
    stopped = "" if end == "completed" else f" ({end})"
    return f"{summary['network']}, {summary['parameters']:,} parameters ({context}): {epochs}{stopped} in " + duration(
        summary["seconds"]
    )


def details_table(summary: Summary, model: Model) -> Table | None:
    """Return the table of the classes or of the labels; None for numbers, and without a test part."""
    if summary.get("label_metrics"):
        return labels_table(summary)
    confusion: Any = summary.get("confusion")
    return classes_table(np.asarray(confusion), model.class_names) if confusion else None


def curves_image(history: History) -> str:
    """Return the curves of a run as an image; "" if matplotlib cannot be imported."""
    try:
        png = draw_png(metric_plots.plot_curves, history)
    except DrawingError:
        return ""
    alt = escape_html(describe_curves(history))
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{alt}">'
