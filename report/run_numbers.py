"""The numbers of a running training, from its events, for the views that show them."""

import time
from pathlib import Path

from lagvis.data.messages import decimals
from lagvis.report.terminal.curve import Points
from lagvis.report.text import display_name, duration, escape_control, metrics_text
from lagvis.training.evaluation import Metrics
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started

MAX_ERROR_FIELDS = 3  # targets
MAX_NAME = 13  # characters of a target
MAX_READINGS = 120  # for speed and time left
MIN_READING_SECONDS = 0.25  # between two readings, but the newest two
END_WORDS = {"completed": "in ", "interrupted": "stopped at ", "diverged": "diverged at "}


class RunNumbers:
    """The numbers of a run, updated from its events by one thread, and read by any thread."""

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

    def _position(self, started: Started) -> tuple[str, float, str]:
        """Return the counter of the epochs, the share of the run that is done, and the time left or taken."""
        plan, progress, finished = started.plan, self._progress, self._finished
        epoch, step = (progress.epoch, progress.step) if progress else (self._from_epoch, 0)
        end = self._time_left(started)
        if finished:
            words = "stopped early, " if finished.stopped_early else END_WORDS[finished.reason]
            end = words + duration(finished.seconds)
        counter = f"epoch {epoch:{len(str(plan.epochs))}}/{plan.epochs}"
        return counter, step / (plan.epochs * plan.steps_per_epoch), end

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

    def fields(self, started: Started) -> list[tuple[str, str]]:
        """Return the numbers of the run as they are now, each with its name."""
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
        return fields

    def _error_fields(self, started: Started) -> list[tuple[str, str]]:
        """Return the error of each target in its unit, of the validation part if there is one, for numbers."""
        model, metrics = started.model, self._metrics.get("validation") or self._metrics.get("train")
        if metrics is None or not metrics.errors:
            return []
        unit = f" {escape_control(model.unit)}" if model.unit else ""
        pairs = zip(model.target_names, metrics.errors, strict=True)
        shown = [(escape_control(name)[:MAX_NAME], f"off by {error:.4g}{unit}") for name, error in pairs]
        return shown[:MAX_ERROR_FIELDS]

    def _shown_epochs(self, started: Started) -> tuple[float, float]:
        """Return the first and the last epoch of a chart of the run so far."""
        progress = self._progress
        now = progress.step / started.plan.steps_per_epoch if progress else 0.0
        first, last = float(self._from_epoch), float(started.plan.epochs)
        while (last - first) / 2 >= max(now - first, 1.0):  # so that the beginning of a long run is more than a dot
            last -= (last - first) / 2
        return first, last


def host_memory() -> float | None:
    """Return the resident memory of this process in megabytes, or None where /proc does not have it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
