"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import startup

if __name__ == "__main__":
    startup.stop_quietly()  # the imports below take their time

import json
import sys
from typing import Any

import cli
from opening import Opening, make_parser, open_all, open_run, read_start, recipe_of
from report.keepsakes import keepsakes
from report.progress import make_view
from report.summary import plan_facts, retold, summarise, summary_text
from report.text import counted, finite
from training.events import Finished, Progress
from training.findings import find
from training.loop import fit
from training.recipe import dumps
from training.run_folder import Every, RunFolder
from training.signals import StopSignal, stop_signals


def main(argv: list[str] | None = None) -> int:
    """The main door: flags in, a run folder and a result out."""
    flags = make_parser().parse(argv)
    every, network = Every.parse(flags.checkpoint_every), read_start(flags)
    resumed = open_run(flags, every) if flags.resume is not None else None
    recipe = recipe_of(flags, resumed, network)
    if resumed and (report := resumed.finished(recipe, drawn=not flags.no_plots)) and (words := retold(report)):
        if not flags.quiet:
            done = counted(recipe.epochs, "epoch")
            cli.say(f"{resumed.path} is finished: {done} done. With more --epochs it goes on.")
        cli.result(json.dumps(report) if flags.json else words)
        return below(flags.target_accuracy, report["test_accuracy"])
    run = open_all(flags, recipe, resumed, network)
    say_all(run.notices, quiet=flags.quiet)
    where: dict[str, Any] = {key: run.environment[key] for key in ("backend", "device", "seed")}
    where["dtype"] = recipe.dtype
    if flags.dry_run:
        facts = where | run.need.facts() | plan_facts(run.model, run.plan)
        cli.result(json.dumps(facts) if flags.json else "\n".join(f"{k:16} {v}" for k, v in facts.items()))
        return 0

    folder = resumed or RunFolder.claim(flags.output_dir, flags.name, run.model.widths, every)
    say_all((folder.begin(run.recipe, run.environment, run.start),), quiet=flags.quiet)
    step = run.start.step if run.start else 0
    with stop_signals() as stop, make_view(sys.stderr, quiet=flags.quiet, device=run.backend.device) as view:
        events = fit(
            run.recipe, run.dataset, run.plan, run.backend, start=run.start, seconds=folder.seconds, stop=stop.asked
        )
        for event in events:
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
    assert isinstance(event, Finished), "fit ends with Finished"
    where = {"run": str(folder.path)} | where
    summary = summarise(event, run.model, where, run.model.baseline(run.dataset.y_test))
    summary |= {key: finite(value) for key, value in folder.scores().items() if summary[key] is None}
    folder.close(summary)
    cli.result(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        cli.say(f"Stopped after step {event.step}; {folder.path} holds what was trained, and --resume goes on with it.")
        return stop.exit_code
    if event.reason == "diverged":
        cli.say(
            f"error: the loss is no longer a number after step {step}; the rate {recipe.lr} is too high. "
            f"Try --lr {recipe.lr / 10:g}. last.safetensors holds step {event.step}, of epoch {event.epoch}."
        )
        return 6
    if not flags.no_plots and not stop.asked():
        stop = draw(folder, run, event, summary)
        if stop.asked():
            cli.say(f"Stopped while drawing; the run in {folder.path} is whole, and --resume draws what is missing.")
            return stop.exit_code
    return below(flags.target_accuracy, summary["test_accuracy"])


def say_all(lines: tuple[str, ...], *, quiet: bool) -> None:
    """Each line that says something, on stderr."""
    for line in () if quiet else filter(None, lines):
        cli.say(line)


def draw(folder: RunFolder, run: Opening, finished: Finished, summary: dict[str, Any]) -> StopSignal:
    """Pictures and pages of a run that is whole without them; the signal that may have stopped it."""
    with stop_signals() as stop:
        found = find(run.model, finished.state["params"], run.dataset, run.recipe.seed)
        kept = keepsakes(summary, finished, run.model, found, folder.history(), dumps(run.recipe), run.environment)
        folder.keep(kept, stop.asked)
    return stop


def below(target: float | None, accuracy: float | None) -> int:
    """8 where a test accuracy misses --target-accuracy, with a line; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    cli.say(f"The test accuracy {accuracy} is below --target-accuracy {target}.")
    return 8


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
