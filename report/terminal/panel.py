"""The panel of a running training: a progress bar, its numbers and curves, as lines of text of any width and height."""

from lagvis.data.messages import percent
from lagvis.report.run_numbers import RunNumbers
from lagvis.report.terminal.curve import LABEL_WIDTH, Line, crop_line, draw_chart
from lagvis.training.events import Started

MAX_WIDTH = 200
MIN_TWO_CHARTS_WIDTH = 120
MIN_CHART_ROWS, MAX_CHART_ROWS = 3, 8
FIELD_WIDTH, NAME_WIDTH = 38, 14  # of a number with its name, and of the name; fields stand side by side where they fit
MAX_FIELD_ROWS = 4
MIN_FIELDS_WIDTH = 34  # below it names are cut
MIN_BAR_WIDTH = 10  # of a bar on the line of the counter
TIME_WIDTH = 16  # 59 min 59 s left
CHARACTERS = "━─⠒"  # beyond ASCII


class Panel(RunNumbers):
    """The numbers of a run, updated from its events by one thread, and drawn as lines by any thread."""

    def lines(self, width: int, height: int, *, unicode: bool) -> list[Line]:
        """Return at most `height` lines of at most `width` characters: bar, numbers, chart, as far as there is room."""
        started = self._started
        if started is None or not started.plan.epochs:
            return []
        width = min(width, MAX_WIDTH)
        lines = [*self._bar(started, width, unicode), *self._field_lines(started, width)][: max(height, 1)]
        rows = min(height - len(lines) - 3, MAX_CHART_ROWS)
        if rows >= MIN_CHART_ROWS and width > 2 * LABEL_WIDTH:
            lines += [[], *self._chart(started, width, rows, unicode)]
        return [crop_line(line, width) for line in lines]

    def _bar(self, started: Started, width: int, unicode: bool) -> list[Line]:
        counter, done, end = self._position(started)
        percentage = f"{100 * done:3.0f}%"
        tail = f"{percentage}  {end:{TIME_WIDTH}}"
        bar_width = width - len(counter) - len(tail) - 4
        if bar_width >= MIN_BAR_WIDTH:
            return [[(counter + "  ", "strong"), *progress_bar(done, bar_width, unicode), ("  " + tail, "")]]
        fits = len(counter) + 1 + len(tail.rstrip()) <= width
        return [[(counter, "strong"), (" " + (tail if fits else percentage), "")], progress_bar(done, width, unicode)]

    def _field_lines(self, started: Started, width: int) -> list[Line]:
        fields = self.fields(started)
        across = max(1, width // FIELD_WIDTH)
        rows = [fields[first : first + across] for first in range(0, len(fields), across)][:MAX_FIELD_ROWS]
        if width < MIN_FIELDS_WIDTH:
            short = [(name, drop_words(value.removeprefix("loss "), width - 6)) for ((name, value),) in rows]
            return [[(f"{name[:5]:6}", "faint"), (value, "")] for name, value in short]
        return [[cell for field in row for cell in field_cells(*field)] for row in rows]

    def _chart(self, started: Started, width: int, rows: int, unicode: bool) -> list[Line]:
        plan, regression = started.plan, started.model.y_scaling is not None
        kinds = ("loss",) if regression else ("accuracy", "loss") if width >= MIN_TWO_CHARTS_WIDTH else ("accuracy",)
        charts = [
            draw_chart(
                kind,
                self._curves["train", kind].snapshot(),
                self._curves["validation", kind].snapshot() if len(plan.validation_rows) else None,
                (float(self._best[0]), getattr(self._best_metrics, kind)) if self._best_metrics else None,
                x_range=self._shown_epochs(started),
                width=(width - 2 * len(kinds) + 2) // len(kinds),
                rows=rows,
                lower_is_better=kind == "loss",
                label=percent if kind == "accuracy" else "{:.3g}".format,
                braille=unicode,
            )
            for kind in kinds
        ]
        return [[cell for part in side for cell in (*part, ("  ", ""))] for side in zip(*charts, strict=True)]


def field_cells(name: str, value: str) -> Line:
    """Return a number with its name, FIELD_WIDTH characters wide."""
    width = FIELD_WIDTH - NAME_WIDTH
    return [(f"{name:{NAME_WIDTH}}", "faint"), (f"{drop_words(value, width - 1):{width}}", "")]


def drop_words(value: str, width: int) -> str:
    """Return a value without the last words that do not fit into `width`, so that no number is cut; "" if none fits."""
    while value and len(value) > width:
        value = value.rpartition(" ")[0].rstrip(",").removesuffix(", loss")
    return value


def progress_bar(done: float, width: int, unicode: bool) -> Line:
    """Return a bar of `width` characters of which the share `done` is filled."""
    full = round(done * width)
    return [(("━" if unicode else "#") * full, "train"), (("─" if unicode else "-") * (width - full), "faint")]
