"""The panel of a running training: a progress bar, its numbers and curves, as lines of text of any width and height."""

import time
from pathlib import Path

from lagvis.data.messages import decimals, percent
from lagvis.report.terminal.curve import LABEL_WIDTH, Line, Points, crop_line, draw_chart
from lagvis.report.text import display_name, duration, escape_control, metrics_text
from lagvis.training.evaluation import Metrics
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started

MAX_WIDTH = 200
MIN_TWO_CHARTS_WIDTH = 120
MIN_CHART_ROWS, MAX_CHART_ROWS = 3, 8
FIELD_WIDTH, NAME_WIDTH = 38, 14  # of a number with its name, and of the name; fields stand side by side where they fit
MAX_FIELD_ROWS = 4
MAX_ERROR_FIELDS = 3  # targets
MIN_FIELDS_WIDTH = 34  # below it names are cut
MIN_BAR_WIDTH = 10  # of a bar on the line of the counter
TIME_WIDTH = 16  # 59 min 59 s left
MAX_READINGS = 120  # for speed and time left
MIN_READING_SECONDS = 0.25  # between two readings, but the newest two
CHARACTERS = "━─⠒"  # beyond ASCII
END_WORDS = {"completed": "in ", "interrupted": "stopped at ", "diverged": "diverged at "}


class Panel:
    """The numbers of a run, updated from its events by one thread, and drawn as lines by any thread."""

    def __init__(self, device: str = "") -> None:
        self._device = display_name(device)
        self._started: Started | None = None
        self._finished: Finished | None = None
        self._metrics: dict[str, Metrics] = {}
        self._best: tuple[int, float] = (0, 0.0)
        self._best_metrics: Metrics | None = None
        self._waited = 0  # epochs since the best one
        self._curves = {(part, kind): Points() for part in ("train", "validation") for kind in ("loss", "accuracy")}
        # A tuple that is replaced as a whole, because a frame may be drawn at any instant of an update.
        self._readings: tuple[tuple[float, Progress], ...] = ()
        self._from_epoch = 0

    def update(self, event: Event) -> None:
        """Store the numbers of an event."""
        match event:
            case Started():
                self._started = event
            case Progress():
                readings = self._readings
                if not readings:
                    self._from_epoch = event.epoch - 1  # a resumed run does not begin with the first epoch
                elif len(readings) > 1 and readings[-1][0] - readings[-2][0] < MIN_READING_SECONDS:
                    readings = readings[:-1]
                self._readings = (*readings[1 - MAX_READINGS :], (time.monotonic(), event))
                self._store("train", event, event.metrics)
            case EpochEnded():
                self._metrics["train"] = event.train
                if event.validation:
                    self._store("validation", event, event.validation)
                self._best = event.checkpoint.best_epoch, event.checkpoint.best_loss
                self._waited = event.epoch - event.checkpoint.best_epoch
                if event.checkpoint.best_epoch == event.epoch:
                    self._best_metrics = event.validation
            case Finished():
                self._finished = event

    @property
    def _progress(self) -> Progress | None:
        readings = self._readings
        return readings[-1][1] if readings else None

    def _store(self, part: str, event: Progress | EpochEnded, metrics: Metrics) -> None:
        assert self._started is not None, "the first event is Started"
        self._metrics[part] = metrics
        epochs = event.step / self._started.plan.steps_per_epoch
        for kind in ("loss", "accuracy"):
            if (value := getattr(metrics, kind)) is not None:
                self._curves[part, kind].add(epochs, value)

    def lines(self, width: int, height: int, *, unicode: bool) -> list[Line]:
        """Return at most `height` lines of at most `width` characters: bar, numbers, chart, as far as there is room."""
        started = self._started
        if started is None or not started.plan.epochs:
            return []
        width = min(width, MAX_WIDTH)
        lines = [*self._bar(started, width, unicode), *self._fields(started, width)][: max(height, 1)]
        rows = min(height - len(lines) - 3, MAX_CHART_ROWS)
        if rows >= MIN_CHART_ROWS and width > 2 * LABEL_WIDTH:
            lines += [[], *self._chart(started, width, rows, unicode)]
        return [crop_line(line, width) for line in lines]

    def _bar(self, started: Started, width: int, unicode: bool) -> list[Line]:
        plan, progress, finished = started.plan, self._progress, self._finished
        epoch, step = (progress.epoch, progress.step) if progress else (self._from_epoch, 0)
        done = step / (plan.epochs * plan.steps_per_epoch)
        counter = f"epoch {epoch:{len(str(plan.epochs))}}/{plan.epochs}"
        end = self._time_left(started)
        if finished:
            words = "stopped early, " if finished.stopped_early else END_WORDS[finished.reason]
            end = words + duration(finished.seconds)
        percentage = f"{100 * done:3.0f}%"
        tail = f"{percentage}  {end:{TIME_WIDTH}}"
        bar_width = width - len(counter) - len(tail) - 4
        if bar_width >= MIN_BAR_WIDTH:
            return [[(counter + "  ", "strong"), *progress_bar(done, bar_width, unicode), ("  " + tail, "")]]
        fits = len(counter) + 1 + len(tail.rstrip()) <= width
        return [[(counter, "strong"), (" " + (tail if fits else percentage), "")], progress_bar(done, width, unicode)]

    def _time_left(self, started: Started) -> str:
        readings = self._readings
        if len(readings) < 2:
            return ""
        (first_time, first), (newest_time, newest) = readings[0], readings[-1]
        steps_left = started.plan.epochs * started.plan.steps_per_epoch - newest.step
        return f"{duration(steps_left * (newest_time - first_time) / (newest.step - first.step))} left"

    def _speed(self) -> str:
        readings = self._readings
        if not readings:
            return "-"
        first, newest = readings[0][1], readings[-1][1]
        samples, seconds = newest.samples, newest.seconds
        if len(readings) > 1 and not self._finished:
            samples, seconds = samples - first.samples, seconds - first.seconds
        return f"{samples / seconds:,.0f} samples/s" if seconds > 0 else "-"

    def _fields(self, started: Started, width: int) -> list[Line]:
        fields = [("train", metrics_text(self._metrics["train"]) if "train" in self._metrics else "-")]
        if len(started.plan.validation_rows):
            validation, (epoch, loss) = self._metrics.get("validation"), self._best
            fields.append(("validation", metrics_text(validation) if validation else "-"))
            fields.append(("best epoch", f"{epoch}, loss {decimals(loss)}" if epoch else "-"))
            if started.plan.patience:
                fields.append(("patience", f"{self._waited} of {started.plan.patience} epochs"))
        fields.append(("speed", self._speed()))
        fields += self._error_fields(started)
        progress = self._progress
        fields.append(("learning rate", f"{progress.learning_rate:.4g}" if progress else "-"))
        fields += [("device", self._device)] if self._device else []
        fields += [("memory", f"{memory:,.0f} MB")] if (memory := host_memory()) else []
        across = max(1, width // FIELD_WIDTH)
        rows = [fields[first : first + across] for first in range(0, len(fields), across)][:MAX_FIELD_ROWS]
        if width < MIN_FIELDS_WIDTH:
            short = [(name, drop_words(value.removeprefix("loss "), width - 6)) for ((name, value),) in rows]
            return [[(f"{name[:5]:6}", "faint"), (value, "")] for name, value in short]
        return [[cell for field in row for cell in field_cells(*field)] for row in rows]

    def _error_fields(self, started: Started) -> list[tuple[str, str]]:
        """Return the error of each target in its unit, of the validation part if there is one, for numbers."""
        model, metrics = started.model, self._metrics.get("validation") or self._metrics.get("train")
        if metrics is None or not metrics.errors:
            return []
        unit = f" {escape_control(model.unit)}" if model.unit else ""
        pairs = zip(model.target_names, metrics.errors, strict=True)
        names = NAME_WIDTH - 1
        return [(escape_control(name)[:names], f"off by {error:.4g}{unit}") for name, error in pairs][:MAX_ERROR_FIELDS]

    def _chart(self, started: Started, width: int, rows: int, unicode: bool) -> list[Line]:
        plan, progress, regression = started.plan, self._progress, started.model.y_scaling is not None
        now = progress.step / plan.steps_per_epoch if progress else 0.0
        first, last = float(self._from_epoch), float(plan.epochs)
        while (last - first) / 2 >= max(now - first, 1.0):  # so that the beginning of a long run is more than a dot
            last -= (last - first) / 2
        kinds = ("loss",) if regression else ("accuracy", "loss") if width >= MIN_TWO_CHARTS_WIDTH else ("accuracy",)
        charts = [
            draw_chart(
                kind,
                self._curves["train", kind].snapshot(),
                self._curves["validation", kind].snapshot() if len(plan.validation_rows) else None,
                (float(self._best[0]), getattr(self._best_metrics, kind)) if self._best_metrics else None,
                x_range=(first, last),
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


def host_memory() -> float | None:
    """Return the resident memory of this process in megabytes, or None where /proc does not have it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
