"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import json
import sys
from argparse import Namespace
from contextlib import nullcontext
from typing import Any

from lagvis.cli.errors import print_result, print_stderr
from lagvis.cli.setup import (
    RunSetup,
    load_run_data,
    make_parser,
    prepare_run,
    read_initial_network,
    reopen_run,
    resolve_recipe,
)
from lagvis.data.dataset import Dataset
from lagvis.errors import DataError
from lagvis.inference.diagnostics import diagnose
from lagvis.report.run_report import run_report_files
from lagvis.report.summary import plan_summary, stored_summary_text, summarise, summary_text
from lagvis.report.terminal.progress import make_view
from lagvis.report.text import finite_or_none, pluralize
from lagvis.runs.run_folder import CheckpointInterval, RunFolder
from lagvis.runs.signals import StopSignal, stop_signals
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import Finished, Progress
from lagvis.training.loop import fit
from lagvis.training.recipe import Recipe, dumps


def main(argv: list[str] | None = None) -> int:
    """The main door: flags in, a run folder and a result out."""
    flags = make_parser().parse(argv)
    every, network = CheckpointInterval.parse(flags.checkpoint_every), read_initial_network(flags)
    with reopen_run(flags, every) if flags.resume is not None else nullcontext() as resumed:
        recipe = resolve_recipe(flags, resumed, network)
        if resumed and (report := resumed.finished(recipe)) and (words := stored_summary_text(report)):
            return tell(flags, recipe, resumed, report, words)
        run = prepare_run(flags, recipe, resumed, network)
        say_all(run.notices, quiet=flags.quiet)
        if flags.dry_run:
            facts = where(run) | run.need.facts() | plan_summary(run.model, run.plan)
            print_result(json.dumps(facts) if flags.json else "\n".join(f"{k:16} {v}" for k, v in facts.items()))
            return 0
        with resumed or RunFolder.claim(flags.output_dir, flags.name, run.model.widths, every) as folder:
            say_all((folder.begin(run.recipe, run.environment, run.start),), quiet=flags.quiet)
            with stop_signals() as stop:
                return train(flags, run, folder, stop)


def train(flags: Namespace, run: RunSetup, folder: RunFolder, stop: StopSignal) -> int:
    """A run from where it stands to its end, its result, and its pictures; the exit code."""
    step = run.start.step if run.start else 0
    with make_view(sys.stderr, quiet=flags.quiet, device=run.backend.device) as view:
        events = fit(
            run.recipe, run.dataset, run.plan, run.backend, start=run.start, seconds=folder.seconds, stop=stop.received
        )
        for event in events:
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
    assert isinstance(event, Finished), "fit ends with Finished"
    summary = summarise(
        event, run.model, {"run": str(folder.path)} | where(run), run.model.baseline(run.dataset.y_test)
    )
    summary |= {key: finite_or_none(value) for key, value in folder.latest_metrics().items() if summary[key] is None}
    folder.finish(summary)
    print_result(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        print_stderr(
            f"Stopped after step {event.step}; {folder.path} holds what was trained, and --resume goes on with it."
        )
        return stop.exit_code
    if event.reason == "diverged":
        rate = run.recipe.lr
        print_stderr(
            f"error: the loss is no longer a number after step {step}; the rate {rate} is too high. "
            f"Try --lr {rate / 10:g}. last.safetensors holds step {event.step}, of epoch {event.epoch}."
        )
        return 6
    if not flags.no_plots and (code := draw(folder, run.dataset, event.checkpoint, summary, run.environment, stop)):
        return code
    return below(flags.target_accuracy, summary["test_accuracy"])


def tell(flags: Namespace, recipe: Recipe, folder: RunFolder, report: dict[str, Any], words: str) -> int:
    """The result of a finished run once more, and the pictures that it lacks, of which its figures know nothing."""
    done = pluralize(recipe.epochs, "epoch")
    say_all((f"{folder.path} is finished: {done} done. With more --epochs it goes on.",), quiet=flags.quiet)
    print_result(json.dumps(report) if flags.json else words)
    if not (flags.no_plots or flags.dry_run or folder.drawn) and folder.checkpoint:
        try:
            dataset = load_run_data(recipe, folder)
        except DataError as error:
            say_all((f"Pictures are missing and cannot be drawn: {error}.",), quiet=flags.quiet)
        else:
            known = {"data": recipe.data, "backend": report["backend"], "device": report["device"]}
            environment = folder.earlier | {k: v for k, v in known.items() if k not in folder.earlier}
            with stop_signals() as stop:
                if code := draw(folder, dataset, folder.checkpoint, report, environment, stop):
                    return code
    return below(flags.target_accuracy, report["test_accuracy"])


def draw(
    folder: RunFolder,
    dataset: Dataset,
    checkpoint: Checkpoint,
    summary: dict[str, Any],
    environment: dict[str, Any],
    stop: StopSignal,
) -> int:
    """Pictures and pages of a run that is whole without them; 0, or the exit code of the signal that stopped it."""
    if not stop.received():
        model, recipe = checkpoint.model, folder.recipe
        found = diagnose(model, checkpoint.state["params"], dataset, recipe.seed)
        kept = run_report_files(summary, model, found, folder.history(), dumps(recipe), environment)
        folder.keep(kept, stop.received)
    if stop.received():
        print_stderr(f"Stopped while drawing; the run in {folder.path} is whole, and --resume draws what is missing.")
        return stop.exit_code
    return 0


def where(run: RunSetup) -> dict[str, Any]:
    """What a run was computed with, for its result."""
    return {key: run.environment[key] for key in ("backend", "device", "seed")} | {"dtype": run.recipe.dtype}


def say_all(lines: tuple[str, ...], *, quiet: bool) -> None:
    """Each line that says something, on stderr."""
    for line in () if quiet else filter(None, lines):
        print_stderr(line)


def below(target: float | None, accuracy: float | None) -> int:
    """8 where a test accuracy misses --target-accuracy, with a line; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    print_stderr(f"The test accuracy {accuracy:.6g} is below --target-accuracy {target}.")
    return 8
