"""Several runs side by side: the settings that differ, the results, and what cannot be compared."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lagvis.data.messages import decimals, list_names, percent, pluralize
from lagvis.report.html.document import Block, Figure, Heading, Paragraph, Table
from lagvis.report.plots.figure import draw_png, shorten_names
from lagvis.report.plots.run_plots import MAX_RUNS, plot_runs
from lagvis.report.run_report import changes_text
from lagvis.report.summary import is_count, is_number
from lagvis.report.text import align_columns, display_width, escape_control
from lagvis.storage.run_record import RunRecord
from lagvis.training.recipe_checks import as_toml, setting_text

# Of environment.json: what says nothing about a result, or is a setting of the recipe too.
IGNORED_FACTS = (
    "command",
    "data",
    "seed",
    "sha256",
    "rows",
    "rate_search",
    "resumed",
    "init_from",
    "logger",
    "steps_per_call",
)
PARTS = {"test": "test", "validation": "validation", "train": "training"}
STATUS = ("completed", "interrupted", "diverged")  # of report.json
UNFINISHED = "unfinished"
MAX_CELL = 30  # characters of a name or setting in the terminal
MAX_LISTED = 4  # runs in a sentence
MAX_TARGETS = 3  # whose errors are columns
DEFAULT_WIDTH = 120  # characters, outside of a terminal

Columns = dict[str, list[str]]  # the heading of a column, and a cell for each run


@dataclass(frozen=True)
class RunsReport:
    """What there is to say about some runs.

    settings  recipe keys and facts of the environment that are not the same in all runs, with the value of each run
    results   of each run, by the keys of docs/json.md
    caveats   sentences on what cannot be compared
    notices   sentences on what is missing or damaged
    """

    records: tuple[RunRecord, ...]
    names: list[str]
    settings: dict[str, list[Any]]
    results: list[dict[str, Any]]
    caveats: list[str]
    notices: list[str]


def compare_runs(records: Sequence[RunRecord]) -> RunsReport:
    """Return what there is to say about runs, in their order."""
    names = run_names(records)
    notices = [notice for record in records for notice in record.notices]
    results = [run_result(record) for record in records]
    return RunsReport(tuple(records), names, differing_settings(records), results, caveats(records, names), notices)


def run_names(records: Sequence[RunRecord]) -> list[str]:
    """Return the names of the run folders; with the folder above where two have the same, or the whole path."""
    names = [record.path.name for record in records]
    for longer in ([f"{r.path.parent.name}/{r.path.name}" for r in records], [str(r.path) for r in records]):
        counts = Counter(names)
        names = [name if counts[name] == 1 else other for name, other in zip(names, longer, strict=True)]
    return names


def differing_settings(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Return the settings and facts that are not the same in all runs; None where a run does not have one."""
    found: dict[str, list[Any]] = {}
    recipes, facts = [asdict(r.recipe) for r in records], [environment_facts(r.environment) for r in records]
    for columns, known in ((recipes, recipes), (facts, [column for column in facts if column])):
        for key in dict.fromkeys(key for column in columns for key in column):
            if any(column.get(key) != known[0].get(key) for column in known):
                found[key] = [as_toml(column.get(key)) for column in columns]
    return found


def environment_facts(environment: dict[str, Any]) -> dict[str, Any]:
    """Return what environment.json says about device, versions and data."""
    facts = {key: value for key, value in environment.items() if key not in IGNORED_FACTS}
    if environment.get("sha256"):
        facts["data sha256"] = data_digest(environment)[:8]
    for part, rows in (environment.get("rows") or {}).items():
        facts[f"{part} rows"] = rows
    if environment.get("init_from"):
        facts["init from"] = environment["init_from"]["path"]
    if environment.get("resumed"):
        facts["resumed with"] = changes_text(environment["resumed"])
    return facts


def data_digest(environment: dict[str, Any]) -> str:
    """Return one SHA-256 of all files of the data; "" if it is not known."""
    digests = environment.get("sha256")
    return hashlib.sha256(json.dumps(sorted(digests.values())).encode()).hexdigest() if digests else ""


def run_result(record: RunRecord) -> dict[str, Any]:
    """Return the result of a run by the keys of docs/json.md: of report.json, else of the last epoch."""
    report, last = record.report, record.history[-1] if record.history else {}
    finished = report.get("finished")

    def number(key: str) -> Any:
        value = report[key] if key in report else last.get(key)
        return value if is_number(value) else None

    epochs = report.get("epochs") if is_count(report.get("epochs")) else int(last.get("epoch") or 0)
    result = {
        "run": str(record.path),
        "status": finished if finished in STATUS else UNFINISHED,
        "epochs": epochs,
        "planned_epochs": record.recipe.epochs,
        "seconds": number("seconds"),
        "loss": record.recipe.loss,
        "best_epoch": number("best_epoch"),
        "best_validation_loss": number("best_validation_loss"),
    }
    result |= {f"{part}_{metric}": number(f"{part}_{metric}") for part in PARTS for metric in ("loss", "accuracy")}
    errors = report.get("test_errors")
    valid = isinstance(errors, dict) and all(value is None or is_number(value) for value in errors.values())
    return result | {"test_errors": errors if valid else None}


def caveats(records: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return a sentence about each thing that makes results of the runs incomparable."""

    def groups(keys: Sequence[Any]) -> dict[Any, list[str]]:
        """Return the names of the runs by what they have; runs of which it is not known (None) are left out."""
        found: dict[Any, list[str]] = {}
        for key, name in zip(keys, names, strict=True):
            if key is not None:
                found.setdefault(key, []).append(name)
        return found

    def listed(found: dict[Any, list[str]]) -> str:
        return "; ".join(f"{key}: {list_names(runs, MAX_LISTED)}" for key, runs in found.items())

    sentences = []
    if len(losses := groups([record.recipe.loss for record in records])) > 1:
        sentences.append(f"Losses of different kinds cannot be compared ({listed(losses)}); each has its own curves.")
    digests = groups([data_digest(record.environment) or None for record in records])
    if len(digests) > 1:
        data = {
            f"{i}. {escape_control(data_of(records, names, runs))}": runs for i, runs in enumerate(digests.values(), 1)
        }
        sentences.append(
            f"The data are not the same, and results on different rows cannot be compared ({listed(data)})."
        )
    predicted = groups([targets_of(record) for record in records])
    if len(predicted) > 1:
        sentences.append(f"The runs predict different things ({listed(predicted)}).")
    held_out = {(record.recipe.seed, record.recipe.validation) for record in records if record.recipe.validation}
    if len(held_out) > 1 and len(digests) == 1:
        sentences.append("The validation rows are not the same: they depend on seed and validation. The test rows are.")
    return sentences


def data_of(records: Sequence[RunRecord], names: Sequence[str], runs: Sequence[str]) -> str:
    """Return the name of the data of the first of some runs."""
    return next(r.recipe.data for r, name in zip(records, names, strict=True) if name == runs[0]).rsplit("/", 1)[-1]


def targets_of(record: RunRecord) -> str | None:
    """Return the classes, labels or targets of a run; None if they are not known."""
    for kind in ("classes", "labels", "targets"):
        found = record.report.get(kind)
        if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
            return f"{kind} {escape_control(list_names(found))}"
    return None


def setting_columns(report: RunsReport) -> Columns:
    """Return the settings that differ as columns of text; empty where a run does not have one."""
    return {
        key: ["" if value is None else setting_cell(value) for value in values]
        for key, values in report.settings.items()
    }


def setting_cell(value: Any) -> str:
    """Return the value of a setting or a fact as a cell."""
    return escape_control(json.dumps(value) if isinstance(value, dict) else setting_text(value))


def result_columns(report: RunsReport) -> Columns:
    """Return the results as columns of text; a column that no run has is left out."""
    results = report.results
    columns: Columns = {
        "status": [status_text(result) for result in results],
        "epochs": [str(result["epochs"]) for result in results],
        "seconds": [optional(seconds_text, result["seconds"]) for result in results],
    }
    for part, name in PARTS.items():
        columns[f"{name} loss"] = [optional(decimals, result[f"{part}_loss"]) for result in results]
        columns[f"{name} accuracy"] = [optional(percent, result[f"{part}_accuracy"]) for result in results]
    targets = dict.fromkeys(target for result in results for target in result["test_errors"] or {})
    for target in list(targets)[:MAX_TARGETS]:
        errors = [(result["test_errors"] or {}).get(target) for result in results]
        columns[f"test error of {escape_control(target)}"] = [optional("{:.4g}".format, error) for error in errors]
    return {name: cells for name, cells in columns.items() if any(cells)}


def optional(form: Any, value: Any) -> str:
    """Return a number as text, or an empty cell for None."""
    return "" if value is None else form(value)


def seconds_text(seconds: float) -> str:
    """Return seconds with as many decimals as tell short runs apart."""
    return f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def status_text(result: dict[str, Any]) -> str:
    """Return how far a run has come: completed, or unfinished (3 of 10 epochs)."""
    if result["status"] == "completed":
        return "completed"
    return f"{result['status']} ({result['epochs']} of {pluralize(result['planned_epochs'], 'epoch')})"


def runs_text(report: RunsReport, width: int | None = None) -> str:
    """Return settings and results as text for a terminal of `width` columns."""
    names = shorten_names([escape_control(name) for name in report.names], MAX_CELL)
    blocks = []
    if len(report.names) > 1 and not report.settings:
        blocks.append("All settings are the same.")
    for heading, columns in (("Settings that differ", setting_columns(report)), ("Results", result_columns(report))):
        if columns:
            short = {key: shorten_names(cells, MAX_CELL) for key, cells in columns.items()}
            blocks.append(f"{heading}\n\n{columns_text(names, short, width or DEFAULT_WIDTH)}")
    return "\n\n".join([*blocks, *report.caveats])


def columns_text(names: Sequence[str], columns: Columns, width: int) -> str:
    """Return a table with a row for each run, in as many parts below each other as its columns need."""
    numbered = [("no.", "run"), *((str(i), name) for i, name in enumerate(names, start=1))]
    first = sum(max(display_width(row[i]) for row in numbered) + 2 for i in (0, 1))
    parts: list[list[str]] = []
    used = width + 1
    for key, cells in columns.items():
        needed = max(map(display_width, (key, *cells))) + 2
        if used + needed > width + 2:
            parts.append([])
            used = first
        parts[-1].append(key)
        used += needed
    tables = []
    for keys in parts:
        rows = [(*numbered[0], *keys)]
        rows += [(*row, *(columns[key][i] for key in keys)) for i, row in enumerate(numbered[1:])]
        tables.append(align_columns(rows, left=2))
    return "\n\n".join(tables)


def draw_runs(report: RunsReport) -> bytes:
    """Return the picture of the curves, of the first MAX_RUNS runs, as a PNG file; DrawingError without matplotlib."""
    records = report.records[:MAX_RUNS]
    histories, losses = [record.history for record in records], [record.recipe.loss for record in records]
    return draw_png(plot_runs, histories, report.names[:MAX_RUNS], losses)


def runs_blocks(report: RunsReport, png: bytes, png_name: str) -> tuple[str, list[Block]]:
    """Return title and blocks of the page."""
    title = pluralize(len(report.names), "run")
    blocks: list[Block] = [Paragraph(sentence) for sentence in (*report.caveats, *report.notices)]
    caption = "One point per epoch. Training is the mean over the steps of the epoch, validation is computed after it."
    if len(report.names) > MAX_RUNS:
        caption += f" Of the first {MAX_RUNS} runs."
    alt = f"Loss and accuracy over the training samples seen, of {list_names(report.names)}; the table has the results."
    blocks += [Heading("Curves"), Figure(png_name, png, alt, caption)]
    blocks += [Heading("Results"), columns_table("Result of each run", report.names, result_columns(report))]
    blocks.append(Heading("Settings that differ"))
    if report.settings:
        caption = "Settings of the recipe and facts of the environment that are not the same in all runs"
        blocks.append(columns_table(caption, report.names, setting_columns(report)))
    else:
        blocks.append(Paragraph("None: all settings are the same." if len(report.names) > 1 else "There is one run."))
    paths = {"folder": [str(record.path) for record in report.records]}
    return title, [*blocks, Heading("Folders"), columns_table("Where the runs are", report.names, paths, left=3)]


def columns_table(caption: str, names: Sequence[str], columns: Columns, left: int = 2) -> Table:
    """Return columns as a table with a row for each run."""
    cells = zip(names, *columns.values(), strict=True)
    rows: list[tuple[str, ...]] = [(str(i), *row) for i, row in enumerate(cells, start=1)]
    return Table(caption, ("no.", "run", *columns), rows, left=left)
