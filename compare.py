"""Show that the backends agree: python compare.py [--backends numpy,torch,jax,cupy] [--recipe R] [--steps 10]."""

import startup

if __name__ == "__main__":
    startup.stop_quietly()  # the imports below take their time

import json
import sys
from contextlib import ExitStack

import backends
import cli
import data
from backends import Backend, DeviceError
from report.comparison import comparison_json, comparison_text
from report.text import counted
from training.comparison import compare
from training.memory import estimate
from training.plan import make_plan
from training.recipe import RecipeError


def make_parser() -> cli.Parser:
    """All flags of this door."""
    parser = cli.Parser(
        "Take each of N steps on every backend from the state of the reference (NumPy, float64); compare all tensors. "
        "Exit 0 if all bounds hold, 1 if not, 4 with fewer than two array libraries."
    )
    parser.add_argument(
        "--backends", metavar="A,B,..", help=f"of {','.join(backends.BACKENDS)} (default: all that can run)"
    )
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps to take (default: 10)")
    parser.add_argument(
        "--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help="where each backend computes (default: auto)"
    )
    parser.add_argument("--no-compile", action="store_true", help="the plain loop everywhere (default: compile)")
    cli.add_recipe_flags(parser)
    cli.add_output_flags(parser)
    return parser


def open_backends(names: str | None, device: str, dtype: str, compiled: bool) -> list[Backend]:
    """The backends named, every one of which must run, or all that can; DeviceError with fewer than two."""
    opened, missing = [], []
    wanted = dict.fromkeys(name.strip() for name in names.split(",")) if names else backends.BACKENDS
    for name in wanted:
        kind = device.partition(":")[0]
        if not names and kind != "auto" and kind not in backends.BACKENDS[name][2]:
            continue
        try:
            opened.append(backends.select(device, name, dtype, compiled))
        except DeviceError as error:
            if names:
                raise
            missing.append(error.reason)
    if len({"numpy", *(backend.name for backend in opened)}) < 2:  # the reference is NumPy whatever is named
        raise DeviceError(
            f"a comparison takes two array libraries, and only numpy can run here "
            f"({'; '.join(missing) or 'no other was named'})",
            'pip install -e ".[jax]" (or torch, cuda13)',
        )
    return opened


def main(argv: list[str] | None = None) -> int:
    """Compare, print the table, and let the exit code say whether all bounds hold."""
    flags = make_parser().parse(argv)
    if flags.steps < 1:
        raise RecipeError(f"--steps is {flags.steps}; expected a whole number from 1")
    recipe = cli.recipe(flags)
    opened = open_backends(flags.backends, flags.device, recipe.dtype, not flags.no_compile)
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    plan = make_plan(recipe, dataset, strict_validation=cli.asked_for(flags, "validation"))
    estimate(recipe, dataset, plan, on_host=True).check()
    with ExitStack() as threads:
        for backend in [*opened, backends.select("cpu", "numpy", "float64")]:
            threads.enter_context(backend.limited_threads(plan.threads))
        comparison = compare(recipe, dataset, plan, opened, flags.steps)
    facts = {
        "recipe": flags.recipe,
        "dtype": recipe.dtype,
        "steps": flags.steps,
        "backends": {f"{b.name} {b.device}": b.versions() for b in opened},
    }
    if flags.json:
        cli.result(json.dumps(facts | comparison_json(comparison)))
    else:
        names = ", ".join(
            f"{place} ({', '.join(f'{k} {v}' for k, v in vs.items())})" for place, vs in facts["backends"].items()
        )
        steps = counted(flags.steps, "step")
        cli.result(f"{steps} of recipe {flags.recipe} in {recipe.dtype} against NumPy in float64: {names}\n")
        cli.result(comparison_text(comparison))
    return 0 if comparison.passed else 1


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
