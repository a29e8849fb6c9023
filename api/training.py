"""Run a training to its end for the caller of `lagvis.train`."""

import sys
from collections.abc import Callable
from functools import partial

from lagvis.api.result import TrainingResult
from lagvis.api.setup import PreparedRun
from lagvis.errors import NotFiniteError
from lagvis.report.notebook.progress import NotebookProgress, notebook_display
from lagvis.report.terminal.progress import View, make_view
from lagvis.storage.metrics_file import epoch_values
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import EpochEnded, Finished
from lagvis.training.factory import initial_state
from lagvis.training.learning_check import TrainedRun
from lagvis.training.loop import fit
from lagvis.training.outcome import Outcome, judge_run


def run_training(
    run: PreparedRun,
    *,
    verbose: bool = False,
    start: Checkpoint | None = None,
    epoch_ended: Callable[[EpochEnded], bool] = lambda event: False,
) -> TrainingResult:
    """Train, and return the result; NotFiniteError if there is none.

    start        state to train from, as `fit` takes it; None: that of the recipe
    epoch_ended  called after each epoch; once it returns true, the training ends as "interrupted"

    After KeyboardInterrupt the result is that of the last whole epoch; before the first of them the interrupt goes on.
    """
    history: list[dict[str, float | None]] = []
    last: EpochEnded | None = None
    finished: Finished | None = None
    stopped = False
    with progress_view(run.backend.device, verbose=verbose) as view:
        for sentence in (*run.notices, *(warning.message for warning in run.warnings)):
            view.note(sentence)
        try:
            events = fit(
                run.recipe, run.dataset, run.plan, run.backend, start=start, model=run.model, stop=lambda: stopped
            )
            for event in events:
                view.show(event)
                if isinstance(event, EpochEnded):
                    last = event
                    history.append(epoch_values(event, len(run.model.target_names)))
                    stopped = epoch_ended(event)
                if isinstance(event, Finished):
                    finished = event
        except KeyboardInterrupt:
            if last is None:
                raise
    if finished is None:
        assert last is not None, "a run ends with Finished, or is interrupted after an epoch"
        finished = Finished(
            "interrupted", last.seconds, last.train, last.validation, None, last.checkpoint, last.checkpoint
        )
    return TrainingResult(run, finished, history, judge(run, finished))


def progress_view(device: str, *, verbose: bool) -> View:
    """Return the view of a training: below the cell of a notebook, on stderr elsewhere, silent unless `verbose`."""
    display = notebook_display() if verbose else None
    if display is not None:
        return NotebookProgress(display, device)
    return make_view(sys.stderr, quiet=not verbose, device=device)


def judge(run: PreparedRun, finished: Finished) -> Outcome:
    """Return the outcome of a training; NotFiniteError where there is no result."""
    trained = TrainedRun(
        run.recipe, run.dataset, run.plan, run.model, run.backend, partial(initial_state, run.recipe, run.model),
        finished, stop=lambda: False, warnings=run.warnings,
    )  # fmt: skip
    outcome = judge_run(trained, finished.step)
    if outcome.error:
        raise NotFiniteError(outcome.error)
    return outcome
