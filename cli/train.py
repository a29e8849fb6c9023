"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [options]."""

import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from lagvis.cli.errors import print_result, print_stderr
from lagvis.cli.options import finds_rate
from lagvis.cli.setup import (
    RunSetup,
    first_state,
    load_run_data,
    make_parser,
    open_trackers,
    prepare_run,
    read_initial_network,
    reopen_run,
    resolve_recipe,
    with_found_rate,
)
from lagvis.data.dataset import Dataset
from lagvis.data.messages import join_names, pluralize
from lagvis.errors import DataError, OutputError
from lagvis.inference.diagnostics import diagnose
from lagvis.report.plot_processes import SECONDS_TO_WARM_UP, PlotProcesses, TimeLeft
from lagvis.report.run_report import run_report_files
from lagvis.report.summary import (
    complete_report,
    plan_summary,
    rate_search_summary,
    rate_search_text,
    stored_metrics_summary,
    stored_summary_text,
    summarise_run,
    summary_text,
)
from lagvis.report.terminal.progress import make_view
from lagvis.run_warning import RunWarning
from lagvis.storage.filenames import LAST, RECIPE, REPORT
from lagvis.storage.history import recipe_text
from lagvis.storage.metrics_file import epoch_values
from lagvis.storage.resume import changed_settings
from lagvis.storage.run_folder import CheckpointInterval, RunFolder
from lagvis.storage.signals import StopSignal, stop_signals
from lagvis.tracking.tracker import TrackedRun, Tracker, Trackers, result_metrics
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import StopRequestedError
from lagvis.training.events import EpochEnded, Finished, Progress
from lagvis.training.learning_check import TrainedRun
from lagvis.training.loop import fit
from lagvis.training.outcome import judge_run
from lagvis.training.recipe import Recipe
from lagvis.training.threads import thread_limit


def main(argv: list[str] | None = None) -> int:
    """Train a network, or continue or show a run that exists; return the exit code."""
    flags = make_parser().parse(argv)
    every, network = CheckpointInterval.parse(flags.checkpoint_every), read_initial_network(flags)
    with reopen_run(flags, every) if flags.resume is not None else nullcontext() as resumed:
        opened = open_trackers(flags, resumed)
        recipe = resolve_recipe(flags, resumed, network)
        if resumed and (report := resumed.finished(recipe)) and (text := stored_summary_text(report)):
            return show_finished_run(flags, recipe, resumed, report, text, opened)
        run = prepare_run(flags, recipe, resumed, network)
        print_notices((*run.notices, *(warning.message for warning in run.warnings)), quiet=flags.quiet)
        if flags.dry_run:
            facts = run_facts(run) | run.memory.facts() | plan_summary(run.model, run.plan)
            text = "\n".join(f"{key:16} {value}" for key, value in facts.items())
            print_result(facts | warning_facts(run.warnings) if flags.json else text)
            return 0
        if resumed is None and finds_rate(flags):
            print_notices(["Finding the learning rate by a test at rising rates, before the run."], quiet=flags.quiet)
            run = with_found_rate(run)
            print_notices([rate_search_text(run.environment["rate_search"])], quiet=flags.quiet)
        with resumed or RunFolder.claim(flags.runs_dir, flags.name, run.model.widths, every) as folder:
            notice = folder.begin(run.recipe, run.environment, run.start, len(run.model.target_names))
            print_notices([notice], quiet=flags.quiet)
            with (
                stop_signals() as stop,
                Trackers(opened, print_stderr, stop.received) as trackers,
                PlotProcesses(count_plot_processes(flags, run)) as drawing,
            ):
                trackers.begin(TrackedRun(folder.path, asdict(run.recipe), run.environment, folder.history()))
                return train(flags, run, folder, stop, trackers, drawing)


def train(
    flags: Namespace, run: RunSetup, folder: RunFolder, stop: StopSignal, trackers: Trackers, drawing: PlotProcesses
) -> int:
    """Train to the end of the run or until it is stopped, write and print the result; return the exit code."""
    step = run.start.step if run.start else 0
    steps = run.plan.steps_per_epoch * run.plan.epochs
    time_left = TimeLeft(run.plan, run.start)

    def must_stop() -> bool:
        return stop.received() or (flags.stop_after is not None and flags.stop_after <= step < steps)

    with make_view(sys.stderr, quiet=flags.quiet, device=run.backend.device) as view:
        trackers.report = print_stderr if flags.quiet else view.note
        events = fit(
            run.recipe, run.dataset, run.plan, run.backend,
            start=run.start, best=run.best, model=run.model, seconds=folder.previous_seconds, stop=must_stop,
        )  # fmt: skip
        for event in events:
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
            if time_left.least_seconds(event) < SECONDS_TO_WARM_UP:
                drawing.start()
            if isinstance(event, EpochEnded):
                trackers.log_epoch(epoch_values(event, len(run.model.target_names)))
            trackers.report_failures()
    trackers.report = print_stderr
    assert isinstance(event, Finished), "fit ends with Finished"
    facts = {"run": str(folder.path)} | run_facts(run)
    facts["rate_search"] = rate_search_summary(run.environment["rate_search"])
    trained = TrainedRun(
        run.recipe, run.dataset, run.plan, run.model, run.backend, partial(first_state, run), event, stop.received,
        run.warnings,
    )  # fmt: skip
    outcome = judge_run(trained, step, str(folder.path))
    warnings = (*run.warnings, *outcome.warnings)
    summary = summarise_run(
        event, run.model, run.dataset, facts, folder.history(), linear=outcome.linear, warnings=warnings
    )
    if event.train is None:  # the epoch had ended when the run was resumed
        summary |= stored_metrics_summary(folder.metrics_of(event.checkpoint.epoch), run.model)
    folder.finish(summary)
    results = result_metrics(summary) if event.reason == "completed" else {}
    trackers.log_results(results, event.epoch, event.reason)
    printed = print_result_of_run(summary if flags.json else summary_text(summary), folder)
    if event.reason == "interrupted":
        print_stderr(f"Stopped after step {event.step}. {folder.path} holds the state; --resume continues the run.")
        return stop.exit_code if stop.received() else 0
    if outcome.error:
        print_stderr(f"error: {outcome.error}")
    if event.reason == "diverged":
        return outcome.exit_code
    if not flags.no_plots:
        code = write_run_report(folder, run.dataset, event.checkpoint, summary, run.environment, stop, drawing)
        if code:
            return code
    trackers.log_files(folder.path, [*folder.report_files(), RECIPE, LAST])
    return outcome.exit_code or check_target(flags.target_accuracy, summary["test_accuracy"]) or printed


def count_plot_processes(flags: Namespace, run: RunSetup) -> int:
    """Return how many processes may get ready to draw while the run trains; 0 where it draws nothing or has no core."""
    steps = run.plan.steps_per_epoch * run.plan.epochs
    if flags.no_plots or (flags.stop_after is not None and flags.stop_after < steps):
        return 0
    cores = thread_limit().threads
    return cores if cores > run.plan.threads else 0


def show_finished_run(
    flags: Namespace, recipe: Recipe, folder: RunFolder, report: dict[str, Any], text: str, opened: Sequence[Tracker]
) -> int:
    """Print the result of a finished run again, write plots and pages that are missing, and log it where it is not."""
    report = complete_report(report)
    print_notices([finished_notice(flags, recipe, folder, report)], quiet=flags.quiet)
    printed = print_result_of_run(report if flags.json else text, folder)
    if not (flags.no_plots or flags.dry_run or folder.report_complete()) and folder.network:
        try:
            dataset = load_run_data(recipe, folder)
        except DataError as error:
            print_notices([f"Plots are missing and cannot be drawn: {error}."], quiet=flags.quiet)
        else:
            known = {"data": recipe.data, "backend": report["backend"], "device": report["device"]}
            previous = folder.previous_environment
            environment = previous | {key: value for key, value in known.items() if key not in previous}
            with stop_signals() as stop, PlotProcesses(0) as drawing:
                code = write_run_report(folder, dataset, folder.network, report, environment, stop, drawing)
            if code:
                return code
    if opened and not flags.dry_run:
        with stop_signals() as stop, Trackers(opened, print_stderr, stop.received) as trackers:
            trackers.begin(
                TrackedRun(folder.path, asdict(folder.recipe), folder.previous_environment, folder.history())
            )
            trackers.log_results(result_metrics(report), report["epochs"], "completed")
            trackers.log_files(folder.path, [*folder.report_files(), RECIPE, LAST])
    return check_target(flags.target_accuracy, report["test_accuracy"]) or printed


def finished_notice(flags: Namespace, recipe: Recipe, folder: RunFolder, report: dict[str, Any]) -> str:
    """Return the line that says that a run is finished, how it can go on, and which given settings have no effect."""
    epochs = pluralize(report["epochs"], "epoch")
    given = [f"--{key.replace('_', '-')}" for key in changed_settings(folder.recipe, recipe) if key in flags]
    ignored = f" Its result stays as it is: {join_names(given)} had no effect." if given else ""
    if not report["stopped_early"]:
        return f"{folder.path} is finished: {epochs} done. With more --epochs it continues.{ignored}"
    waited = pluralize(recipe.patience, "epoch")
    return (
        f"{folder.path} is finished: it stopped early after {epochs}, {waited} without a lower validation loss. With a "
        f"larger --patience it continues from there.{ignored}"
    )


def print_result_of_run(result: str | dict[str, Any], folder: RunFolder) -> int:
    """Print the result of a run, which is complete without it; return 0, or the exit code if it cannot be printed."""
    try:
        print_result(result)
    except OutputError as error:
        print_stderr(f"error: {error}; it is in {folder.path / REPORT}")
        return error.exit_code
    return 0


def write_run_report(
    folder: RunFolder,
    dataset: Dataset,
    checkpoint: Checkpoint,
    summary: dict[str, Any],
    environment: dict[str, Any],
    stop: StopSignal,
    drawing: PlotProcesses,
) -> int:
    """Write plots and pages of a run, which is complete without them; return 0, or the exit code of a stop signal."""
    if not stop.received():
        model, recipe = checkpoint.model, folder.recipe
        text = recipe_text(recipe, environment.get("resumed") or [])
        diagnostics = diagnose(model, checkpoint.layers, dataset, recipe.seed)
        draw = partial(drawing.draw, stop=stop.received)
        files = run_report_files(summary, model, diagnostics, folder.history(), text, environment, draw=draw)
        with suppress(StopRequestedError):
            folder.write_files(files, stop.received)
    if stop.received():
        print_stderr(f"Stopped while drawing. The run in {folder.path} is complete; --resume draws the missing plots.")
        return stop.exit_code
    return 0


def run_facts(run: RunSetup) -> dict[str, Any]:
    """Return backend, device, seed and dtype of a run, for its result."""
    return {key: run.environment[key] for key in ("backend", "device", "seed")} | {"dtype": run.recipe.dtype}


def warning_facts(warnings: Iterable[RunWarning]) -> dict[str, Any]:
    """Return the warnings of a run, for its JSON result."""
    return {"warnings": [warning.as_json() for warning in warnings]}


def print_notices(lines: Iterable[str], *, quiet: bool) -> None:
    """Print each line that is not empty on stderr, unless `quiet`."""
    for line in lines:
        if line and not quiet:
            print_stderr(line)


def check_target(target: float | None, accuracy: float | None) -> int:
    """Return 8, and print why, if a test accuracy is below --target-accuracy; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    print_stderr(f"The test accuracy {accuracy:.6g} is below --target-accuracy {target}.")
    return 8
