"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import startup

if __name__ == "__main__":
    startup.stop_quietly()  # the imports below take their time

import json
import sys
from argparse import Namespace
from contextlib import nullcontext
from typing import Any

import cli
import data
from opening import Opening, make_parser, open_all, open_data, open_run, read_start, recipe_of
from report.keepsakes import keepsakes
from report.progress import make_view
from report.summary import plan_facts, retold, summarise, summary_text
from report.text import counted, finite
from training.checkpoint import Checkpoint
from training.events import Finished, Progress
from training.findings import find
from training.loop import fit
from training.recipe import Recipe, dumps
from training.run_folder import Every, RunFolder
from training.signals import StopSignal, stop_signals


def main(argv: list[str] | None = None) -> int:
    """The main door: flags in, a run folder and a result out."""
    flags = make_parser().parse(argv)
    every, network = Every.parse(flags.checkpoint_every), read_start(flags)
    with open_run(flags, every) if flags.resume is not None else nullcontext() as resumed:
        recipe = recipe_of(flags, resumed, network)
        if resumed and (report := resumed.finished(recipe)) and (words := retold(report)):
            return tell(flags, recipe, resumed, report, words)
        run = open_all(flags, recipe, resumed, network)
        say_all(run.notices, quiet=flags.quiet)
        if flags.dry_run:
            facts = where(run) | run.need.facts() | plan_facts(run.model, run.plan)
            cli.result(json.dumps(facts) if flags.json else "\n".join(f"{k:16} {v}" for k, v in facts.items()))
            return 0
        with resumed or RunFolder.claim(flags.output_dir, flags.name, run.model.widths, every) as folder:
            say_all((folder.begin(run.recipe, run.environment, run.start),), quiet=flags.quiet)
            with stop_signals() as stop:
                return train(flags, run, folder, stop)


def train(flags: Namespace, run: Opening, folder: RunFolder, stop: StopSignal) -> int:
    """A run from where it stands to its end, its result, and its pictures; the exit code."""
    step = run.start.step if run.start else 0
    with make_view(sys.stderr, quiet=flags.quiet, device=run.backend.device) as view:
        events = fit(
            run.recipe, run.dataset, run.plan, run.backend, start=run.start, seconds=folder.seconds, stop=stop.asked
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
    summary |= {key: finite(value) for key, value in folder.scores().items() if summary[key] is None}
    folder.finish(summary)
    cli.result(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        cli.say(f"Stopped after step {event.step}; {folder.path} holds what was trained, and --resume goes on with it.")
        return stop.exit_code
    if event.reason == "diverged":
        rate = run.recipe.lr
        cli.say(
            f"error: the loss is no longer a number after step {step}; the rate {rate} is too high. "
            f"Try --lr {rate / 10:g}. last.safetensors holds step {event.step}, of epoch {event.epoch}."
        )
        return 6
    if not flags.no_plots and (code := draw(folder, run.dataset, event.checkpoint, summary, run.environment, stop)):
        return code
    return below(flags.target_accuracy, summary["test_accuracy"])


def tell(flags: Namespace, recipe: Recipe, folder: RunFolder, report: dict[str, Any], words: str) -> int:
    """The result of a finished run once more, and the pictures that it lacks, of which its figures know nothing."""
    done = counted(recipe.epochs, "epoch")
    say_all((f"{folder.path} is finished: {done} done. With more --epochs it goes on.",), quiet=flags.quiet)
    cli.result(json.dumps(report) if flags.json else words)
    if not (flags.no_plots or flags.dry_run or folder.drawn) and folder.checkpoint:
        try:
            dataset = open_data(recipe, folder)
        except data.DataError as error:
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
    dataset: data.Dataset,
    checkpoint: Checkpoint,
    summary: dict[str, Any],
    environment: dict[str, Any],
    stop: StopSignal,
) -> int:
    """Pictures and pages of a run that is whole without them; 0, or the exit code of the signal that stopped it."""
    if not stop.asked():
        model, recipe = checkpoint.model, folder.recipe
        found = find(model, checkpoint.state["params"], dataset, recipe.seed)
        kept = keepsakes(summary, model, found, folder.history(), dumps(recipe), environment)
        folder.keep(kept, stop.asked)
    if stop.asked():
        cli.say(f"Stopped while drawing; the run in {folder.path} is whole, and --resume draws what is missing.")
        return stop.exit_code
    return 0


def where(run: Opening) -> dict[str, Any]:
    """What a run was computed with, for its result."""
    return {key: run.environment[key] for key in ("backend", "device", "seed")} | {"dtype": run.recipe.dtype}


def say_all(lines: tuple[str, ...], *, quiet: bool) -> None:
    """Each line that says something, on stderr."""
    for line in () if quiet else filter(None, lines):
        cli.say(line)


def below(target: float | None, accuracy: float | None) -> int:
    """8 where a test accuracy misses --target-accuracy, with a line; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    cli.say(f"The test accuracy {accuracy:.6g} is below --target-accuracy {target}.")
    return 8


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
