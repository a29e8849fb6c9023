"""Progress on stderr: a live bar where someone is watching a terminal, plain lines everywhere else."""

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TextIO

from report.text import counted, duration, scores_text
from training.events import EpochEnded, Event, Progress, Started


class View(Protocol):
    """Something that events are shown to, open for the length of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None: ...


def make_view(stream: TextIO, *, quiet: bool) -> View:
    """The view for a stream: nothing, a live bar, or plain lines."""
    if quiet:
        return Silence()
    watched = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return LiveBar(stream) if watched else PlainLines(lambda line: print(line, file=stream, flush=True))


def whatever_becomes_of_the_screen() -> AbstractContextManager[None]:
    """A terminal that has gone, or a full disk behind a redirection, must not end a training."""
    return contextlib.suppress(OSError)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Nothing to see."""


class PlainLines(Silence):
    """One line at the start and one an epoch, without any control codes."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._epochs = 0

    def show(self, event: Event) -> None:
        """Write a line for what is worth one."""
        with whatever_becomes_of_the_screen():
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Started():
                plan, model = event.plan, event.model
                self._epochs = plan.epochs
                self._write(
                    f"{'-'.join(map(str, model.widths))}, {model.parameters:,} parameters: "
                    f"{len(plan.training_rows):,} rows to train on, {len(plan.validation_rows):,} for validation, "
                    f"{counted(plan.epochs, 'epoch')} of {counted(plan.steps_per_epoch, 'step')}"
                )
            case EpochEnded():
                self._write(epoch_line(event, self._epochs))
            case _:
                pass


def epoch_line(event: EpochEnded, epochs: int) -> str:
    """An epoch in one line."""
    counter = f"epoch {event.epoch:{len(str(epochs))}}/{epochs}"
    validation = f"   validation {scores_text(event.validation)}" if event.validation else ""
    return f"{counter}   train {scores_text(event.train)}{validation}   {duration(event.seconds)}"


class LiveBar(PlainLines):
    """The lines of PlainLines above two bars, over the run and over the epoch, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        # rich takes a tenth of a second to import, which a run without a terminal need not pay
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        console = Console(file=stream)

        def cropped() -> Column:  # the dots that rich would end a narrow column with are not in every encoding
            return Column(no_wrap=True, overflow="crop")

        columns = [
            TextColumn("{task.description}", table_column=cropped()),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%", table_column=cropped()),
            TimeRemainingColumn(table_column=cropped()),
            TextColumn("{task.fields[note]}", table_column=cropped()),
        ]
        self._bars = Bars(*columns, console=console, refresh_per_second=8, transient=True, expand=True)
        self._run = self._bars.add_task("run", total=None, note="")
        self._epoch = self._bars.add_task("epoch", total=None, note="")
        super().__init__(lambda line: self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True))
        self._steps = 0

    def __enter__(self) -> Self:
        with whatever_becomes_of_the_screen():
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        with whatever_becomes_of_the_screen():
            self._bars.stop()

    def _show(self, event: Event) -> None:
        super()._show(event)
        match event:
            case Started():
                self._steps = event.plan.steps_per_epoch
                self._bars.update(self._run, total=event.plan.epochs * self._steps)
                self._bars.update(self._epoch, total=self._steps)
            case Progress():
                speed = f"{event.images / max(event.seconds, 1e-9):,.0f} rows/s"
                self._bars.update(self._run, completed=event.step, note=speed)
                done = event.step - (event.epoch - 1) * self._steps
                description = f"epoch {event.epoch}/{self._epochs}"
                self._bars.update(self._epoch, completed=done, description=description, note=scores_text(event.scores))
            case _:
                pass
