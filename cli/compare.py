"""Command `compare`: compare every backend with NumPy in float64, step by step."""

import argparse
from contextlib import ExitStack

from lagvis.backends.registry import BACKENDS, select, select_several
from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.data.datasets import load_dataset
from lagvis.data.messages import pluralize
from lagvis.errors import RecipeError
from lagvis.inference.comparison import compare
from lagvis.inference.gradient_check import check_gradients
from lagvis.report.terminal.comparison_table import (
    comparison_json,
    comparison_text,
    gradient_check_json,
    gradient_check_text,
)
from lagvis.training.memory import estimate_memory
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe


def make_parser() -> options.Parser:
    """Return the parser of the command's options."""
    parser = options.Parser(
        "compare",
        "Take each of N steps on every backend from the state of the reference (NumPy, float64); compare all tensors. "
        "Exit 0 if all bounds hold, 1 if not, 4 with fewer than two array libraries.",
    )
    parser.add_argument("--backends", metavar="A,B,..", help=f"of {','.join(BACKENDS)} (default: all that can run)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps to take (default: 10)")
    parser.add_argument(
        "--device", default="auto", metavar=options.DEVICES, help="where each backend computes (default: auto)"
    )
    parser.add_argument(
        "--gradients",
        action="store_true",
        help="check backpropagation instead: on NumPy in float64, against central differences, before the first step "
        "and after --steps",
    )
    parser.add_argument("--no-compile", action="store_true", help="the plain loop everywhere (default: compile)")
    options.add_recipe_flags(parser)
    options.add_output_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Compare, print the table and return 0 if all bounds hold, else 1."""
    flags = make_parser().parse(argv)
    if flags.steps < 1:
        raise RecipeError(f"--steps is {flags.steps}; expected a whole number from 1")
    recipe = options.resolve_recipe(flags)
    if flags.gradients:
        return print_gradient_check(flags, recipe)
    names = [name.strip() for name in flags.backends.split(",")] if flags.backends else None
    opened = select_several(names, flags.device, recipe.dtype, not flags.no_compile)
    for notice in dict.fromkeys(notice for backend in opened for notice in backend.notices):
        print_stderr(notice)
    dataset = load_dataset(recipe.data, **recipe.data_options)
    plan = make_plan(recipe, dataset, strict_validation=options.is_explicit(flags, "validation"))
    estimate_memory(recipe, dataset, plan, on_host=True).check()
    with ExitStack() as threads:
        for backend in [*opened, select("cpu", "numpy", "float64")]:
            threads.enter_context(backend.limited_threads(plan.threads))
        comparison = compare(recipe, dataset, plan, opened, flags.steps)
    facts = {
        "recipe": flags.recipe,
        "dtype": recipe.dtype,
        "steps": flags.steps,
        "backends": {f"{b.name} {b.device}": b.versions() for b in opened},
    }
    if flags.json:
        print_result(facts | comparison_json(comparison))
    else:
        libraries = ", ".join(
            f"{place} ({', '.join(f'{k} {v}' for k, v in vs.items())})" for place, vs in facts["backends"].items()
        )
        steps = pluralize(flags.steps, "step")
        print_result(f"{steps} of recipe {flags.recipe} in {recipe.dtype} against NumPy in float64: {libraries}\n")
        print_result(comparison_text(comparison))
    return 0 if comparison.passed else 1


def print_gradient_check(flags: argparse.Namespace, recipe: Recipe) -> int:
    """Check the gradients, print the table and return 0 if all bounds hold, else 1."""
    if flags.backends:
        raise RecipeError(
            "--gradients checks NumPy in float64, to which compare.py holds the other backends; leave --backends out"
        )
    dataset = load_dataset(recipe.data, **recipe.data_options)
    plan = make_plan(recipe, dataset, strict_validation=options.is_explicit(flags, "validation"))
    estimate_memory(recipe, dataset, plan, on_host=True).check()
    with select("cpu", "numpy", "float64").limited_threads(plan.threads):
        check = check_gradients(recipe, dataset, plan, flags.steps)
    if flags.json:
        facts = {"recipe": flags.recipe, "dtype": "float64", "steps": flags.steps}
        print_result(facts | gradient_check_json(check))
    else:
        print_result(f"Gradients of recipe {flags.recipe} in float64 against central differences of the loss\n")
        print_result(gradient_check_text(check))
    return 0 if check.passed else 1
