"""What a run looks like while it trains: a bar, its numbers and a curve, as lines of text for any width and height."""

import time
from pathlib import Path

from lagvis.report.terminal.curve import LABEL_WIDTH, Line, Points, cropped, figure
from lagvis.report.text import display_name, duration, metrics_text, percent
from lagvis.training.evaluation import Metrics
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started

WIDEST = 200
TWO_CURVES = 120
CURVE_ROWS = (3, 8)
FIELD_WIDTH = 38  # of a number with its name; as many stand side by side as fit
FIELD_ROWS = 4
NARROW = 34
BAR = 10  # the shortest that shares its line
LEFT = 16  # 59 min 59 s left
READINGS = 120  # which speed and time left are taken from
SECONDS_APART = 0.25  # or more, of all but the newest
CHARACTERS = "━─⠒"  # beyond ASCII
ENDS = {"completed": "in ", "interrupted": "stopped at ", "diverged": "diverged at "}


class Panel:
    """The numbers of a run, kept from its events by one thread, and their picture, drawn by any."""

    def __init__(self, device: str = "") -> None:
        self._device = display_name(device)
        self._started: Started | None = None
        self._finished: Finished | None = None
        self._scores: dict[str, Metrics] = {}
        self._best: tuple[int, float] = (0, 0.0)
        self._best_scores: Metrics | None = None
        self._curves = {(part, kind): Points() for part in ("train", "validation") for kind in ("loss", "accuracy")}
        # One value that is replaced as a whole, for a frame may be drawn at any instant of an update.
        self._readings: tuple[tuple[float, Progress], ...] = ()
        self._from_epoch = 0

    def update(self, event: Event) -> None:
        """Keep what an event tells."""
        match event:
            case Started():
                self._started = event
            case Progress():
                kept = self._readings
                if not kept:
                    self._from_epoch = event.epoch - 1  # of a run that goes on, what came before has not been seen
                elif len(kept) > 1 and kept[-1][0] - kept[-2][0] < SECONDS_APART:
                    kept = kept[:-1]
                self._readings = (*kept[1 - READINGS :], (time.monotonic(), event))
                self._keep("train", event, event.metrics)
            case EpochEnded():
                self._scores["train"] = event.train
                if event.validation:
                    self._keep("validation", event, event.validation)
                self._best = event.checkpoint.best_epoch, event.checkpoint.best_loss
                if event.checkpoint.best_epoch == event.epoch:
                    self._best_scores = event.validation
            case Finished():
                self._finished = event

    @property
    def _progress(self) -> Progress | None:
        readings = self._readings
        return readings[-1][1] if readings else None

    def _keep(self, part: str, event: Progress | EpochEnded, scores: Metrics) -> None:
        assert self._started is not None, "a run begins with Started"
        self._scores[part] = scores
        epochs = event.step / self._started.plan.steps_per_epoch
        for kind in ("loss", "accuracy"):
            if (value := getattr(scores, kind)) is not None:
                self._curves[part, kind].add(epochs, value)

    def lines(self, width: int, height: int, *, unicode: bool) -> list[Line]:
        """The picture, no line wider than `width`, at most `height` lines; what matters least is left out first."""
        started = self._started
        if started is None or not started.plan.epochs:
            return []
        width = min(width, WIDEST)
        lines = [*self._bar(started, width, unicode), *self._fields(started, width)][: max(height, 1)]
        rows = min(height - len(lines) - 3, CURVE_ROWS[1])
        if rows >= CURVE_ROWS[0] and width > 2 * LABEL_WIDTH:
            lines += [[], *self._curve(started, width, rows, unicode)]
        return [cropped(line, width) for line in lines]

    def _bar(self, started: Started, width: int, unicode: bool) -> list[Line]:
        plan, progress, finished = started.plan, self._progress, self._finished
        epoch, step = (progress.epoch, progress.step) if progress else (self._from_epoch, 0)
        done = step / (plan.epochs * plan.steps_per_epoch)
        counter = f"epoch {epoch:{len(str(plan.epochs))}}/{plan.epochs}"
        end = ENDS[finished.reason] + duration(finished.seconds) if finished else self._time_left(started)
        tail = f"{100 * done:3.0f}%  {end:{LEFT}}"
        room = width - len(counter) - len(tail) - 4
        if room >= BAR:
            return [[(counter + "  ", "strong"), *bar(done, room, unicode), ("  " + tail, "")]]
        return [[(counter, "strong"), (" " + tail, "")], bar(done, width, unicode)]

    def _time_left(self, started: Started) -> str:
        readings = self._readings
        if len(readings) < 2:
            return ""
        (then, first), (now, newest) = readings[0], readings[-1]
        left = started.plan.epochs * started.plan.steps_per_epoch - newest.step
        return f"{duration(left * (now - then) / (newest.step - first.step))} left"

    def _speed(self, started: Started) -> str:
        readings = self._readings
        if not readings:
            return "-"
        first, newest = readings[0][1], readings[-1][1]
        images, seconds = newest.samples, newest.seconds
        if len(readings) > 1 and not self._finished:
            images, seconds = images - first.samples, seconds - first.seconds
        thing = "images" if len(started.model.shape) > 1 else "rows"
        return f"{images / seconds:,.0f} {thing}/s" if seconds > 0 else "-"

    def _fields(self, started: Started, width: int) -> list[Line]:
        fields = [("train", metrics_text(self._scores["train"]) if "train" in self._scores else "-")]
        if len(started.plan.validation_rows):
            validation, (epoch, loss) = self._scores.get("validation"), self._best
            fields.append(("validation", metrics_text(validation) if validation else "-"))
            fields.append(("best epoch", f"{epoch}, loss {loss:.4f}" if epoch else "-"))
        fields.append(("speed", self._speed(started)))
        progress = self._progress
        fields.append(("rate", f"{progress.learning_rate:.4g}" if progress else "-"))
        fields += [("device", self._device)] if self._device else []
        fields += [("memory", f"{memory:,.0f} MB")] if (memory := host_memory()) else []
        across = max(1, width // FIELD_WIDTH)
        rows = [fields[first : first + across] for first in range(0, len(fields), across)][:FIELD_ROWS]
        if width < NARROW:
            return [[(f"{name[:5]:6}", "faint"), (value.removeprefix("loss "), "")] for ((name, value),) in rows]
        return [[cell for field in row for cell in field_cells(*field)] for row in rows]

    def _curve(self, started: Started, width: int, rows: int, unicode: bool) -> list[Line]:
        plan, progress, numbers = started.plan, self._progress, started.model.y_scaling is not None
        now = progress.step / plan.steps_per_epoch if progress else 0.0
        first, last = float(self._from_epoch), float(plan.epochs)
        while (last - first) / 2 >= max(now - first, 1.0):  # the beginning of a long run should be more than a dot
            last -= (last - first) / 2
        kinds = ("loss",) if numbers else ("accuracy", "loss") if width >= TWO_CURVES else ("accuracy",)
        drawn = [
            figure(
                kind,
                self._curves["train", kind].seen(),
                self._curves["validation", kind].seen() if len(plan.validation_rows) else None,
                (float(self._best[0]), getattr(self._best_scores, kind)) if self._best_scores else None,
                ends=(first, last),
                width=(width - 2 * len(kinds) + 2) // len(kinds),
                rows=rows,
                falling=kind == "loss",
                label=percent if kind == "accuracy" else "{:.3g}".format,
                braille=unicode,
            )
            for kind in kinds
        ]
        return [[cell for part in side for cell in (*part, ("  ", ""))] for side in zip(*drawn, strict=True)]


def field_cells(name: str, value: str) -> Line:
    """A number with its name, FIELD_WIDTH wide."""
    return [(f"{name:12}", "faint"), (f"{value[: FIELD_WIDTH - 13]:{FIELD_WIDTH - 12}}", "")]


def bar(done: float, width: int, unicode: bool) -> Line:
    """A bar of which a share is done."""
    full = round(done * width)
    return [(("━" if unicode else "#") * full, "train"), (("─" if unicode else "-") * (width - full), "faint")]


def host_memory() -> float | None:
    """Megabytes that this process holds, where the system tells."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
