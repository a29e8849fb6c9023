"""Prepare a training from Python: the recipe of its settings, the backend, the plan and the checks of the data."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lagvis.arguments import path_text
from lagvis.backends.backend import Backend
from lagvis.backends.registry import select
from lagvis.data.array_source import LABELS, NUMBERS
from lagvis.data.checks import check_dataset
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import REGRESSION_SETS, load_dataset
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.column_facts import column_facts
from lagvis.errors import RecipeError, UsageError
from lagvis.option_text import DEFAULT_LOSSES
from lagvis.report.summary import rate_search_text
from lagvis.report.terminal.column_table import column_lines
from lagvis.run_warning import RunWarning
from lagvis.training import recipe as recipes
from lagvis.training.factory import initial_state
from lagvis.training.float32_precision import check_float32_precision
from lagvis.training.memory import estimate_memory
from lagvis.training.model import Model
from lagvis.training.plan import Plan, describe_few_steps, make_plan
from lagvis.training.rate_search import find_rate
from lagvis.training.recipe import Recipe, target_kind
from lagvis.training.recipe_hints import key_hint
from lagvis.training.recipe_keys import KEYS

DEFAULT = "default"  # recipe of `train` and `fit`
READING_KEYS = tuple(field.name for field in fields(ReadOptions) if field.name in KEYS)


@dataclass(frozen=True)
class PreparedRun:
    """All that a training needs.

    notices      sentences for the user
    warnings     what makes its result mean less
    rate_search  the test that found the learning rate, as in environment.json; None where the rate was given
    """

    recipe: Recipe
    backend: Backend
    dataset: Dataset
    plan: Plan
    model: Model
    notices: tuple[str, ...]
    warnings: tuple[RunWarning, ...]
    rate_search: dict[str, Any] | None


def as_dataset(data: Any, recipe: Any, settings: dict[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """Return a data set and the settings of its training; UsageError for anything that is no data set.

    A name or path is read as train.py reads it: the loss and the keys of `recipe` and `settings` that are about reading
    say how. The settings that are returned are without these.
    """
    if isinstance(data, Dataset):
        return data, settings
    if isinstance(data, str | os.PathLike):
        given = recipe_values(recipe) | settings
        options = check_options({key: value for key, value in given.items() if key in READING_KEYS})
        kind = target_kind(given.get("loss", Recipe.loss))
        if data in REGRESSION_SETS and "loss" not in settings:
            kind = NUMBERS
        regression, multi_label = kind == NUMBERS, kind == LABELS
        dataset = load_dataset(path_text(data, "data"), regression=regression, multi_label=multi_label, **options)
        return dataset, {key: value for key, value in settings.items() if key not in READING_KEYS}
    raise UsageError(
        f"data is of the type {type(data).__name__}; expected a Dataset (Dataset.from_arrays makes one of arrays, "
        "Dataset.from_frame of a data frame), or the name or path of one"
    )


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of reading data as the recipe has them; UsageError for unknown ones, RecipeError for values."""
    check_keywords("load_dataset", options, READING_KEYS)
    return {name: KEYS[name].check(name, value) for name, value in options.items()}


def check_keywords(function: str, options: Iterable[str], known: Sequence[str]) -> None:
    """Raise UsageError for an option that a function does not have."""
    for name in options:
        if name not in known:
            raise UsageError(f"{function} has no option {name!r}{key_hint(name, known)}")


def plain_value(value: Any) -> Any:
    """Return a setting as a recipe has it: a scalar of NumPy as Python's, an array as a list."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as keys of a recipe; RecipeError for one that is no key, or that belongs to reading the data."""
    for key in settings:
        if key == "data" or key in READING_KEYS:
            raise RecipeError(f"{key} says how data are read, which is done already; give it to load_dataset")
        if key not in KEYS:
            raise RecipeError(f"there is no setting {key!r}{key_hint(key, KEYS)}")
    values = {key: plain_value(value) for key, value in settings.items()}
    if isinstance(values.get("hidden"), int):
        values["hidden"] = (values["hidden"],)
    return values


def recipe_values(recipe: Any) -> dict[str, Any]:
    """Return the keys and values of a Recipe, of one that ships, of a TOML file, or of a dict of settings."""
    if isinstance(recipe, Recipe):
        return {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    if isinstance(recipe, str | os.PathLike):
        return recipes.read(path_text(recipe, "recipe"))
    if isinstance(recipe, Sequence):
        raise RecipeError(f"recipe is {recipe!r}; expected a Recipe, a name, a path or a dict; did you mean hidden=?")
    if isinstance(recipe, Mapping):
        return check_settings(dict(recipe))
    raise RecipeError(f"recipe is of the type {type(recipe).__name__}; expected a Recipe, a name, a path or a dict")


def resolve_recipe(dataset: Dataset, recipe: Any, settings: dict[str, Any]) -> Recipe:
    """Return the recipe of a training on a data set, overridden by settings; `lr` may be "find", and is left out.

    The loss follows from the targets of the data, unless the settings or the recipe name one for them.
    """
    values = recipes.without_find(recipe_values(recipe))
    overrides = recipes.without_find(check_settings(settings))
    overrides["data"] = dataset.name
    loss = overrides.get("loss", values.get("loss", Recipe.loss))
    if target_kind(loss) != dataset.targets:
        if "loss" in overrides:
            raise RecipeError(
                f"loss is {loss!r}, which is for {target_kind(loss)}, and the targets of {dataset.name} are "
                f"{dataset.targets}; leave it out, or give the data with targets={target_kind(loss)!r}"
            )
        overrides["loss"] = DEFAULT_LOSSES[dataset.targets]
    return recipes.merge({key: value for key, value in values.items() if key not in READING_KEYS}, overrides)


def prepare_run(
    data: Any,
    recipe: Any,
    settings: dict[str, Any],
    device: str = "auto",
    backend: str | None = None,
    threads: int | None = None,
    model: Model | None = None,
) -> PreparedRun:
    """Read the data, open the backend, plan the training and check the data; each raises the error of its kind.

    `model` describes the network of an earlier training, if that goes on: its scalings and ranges stay in force, and
    the data are not checked again.
    """
    dataset, settings = as_dataset(data, recipe, settings)
    resolved = resolve_recipe(dataset, recipe, settings)
    opened = select(device, backend, resolved.dtype)
    plan = make_plan(resolved, dataset, strict_validation="validation" in settings, threads=plain_value(threads))
    resolved = replace(resolved, epochs=plan.epochs, validation=len(plan.validation_rows))
    on_host = opened.device in ("cpu", "mps")
    memory = estimate_memory(resolved, dataset, plan, on_host=on_host, backend=opened.name).check()
    warnings: list[RunWarning] = []
    if model is None:
        model = Model.of(resolved, dataset, plan.training_rows)
        assert model.ranges is not None, "the ranges of a new model are measured"
        standardised = resolved.number_scaling == "standard"
        warnings += check_dataset(dataset, model.ranges, plan.validation_rows, standardised=standardised)
        warnings += check_float32_precision(dataset, model, resolved.dtype)
    notices = [opened.fallback or "", *opened.notices, *plan.notices, memory.notice()]
    notices += column_lines(column_facts(dataset.encoding)) if dataset.encoding else []
    is_table = len(dataset.shape) == 1 and dataset.x_train.dtype != np.uint8
    if recipe == DEFAULT and "epochs" not in settings and is_table:
        notices.append(describe_few_steps(plan))
    search = None
    if recipes.finds_rate(recipe_values(recipe), settings):
        with opened.limited_threads(plan.threads):
            found = find_rate(resolved, dataset, plan, model, opened, initial_state(resolved, model))
        resolved, search = replace(resolved, lr=found.rate), found.as_json()
        notices.append(rate_search_text(search))
    return PreparedRun(resolved, opened, dataset, plan, model, tuple(filter(None, notices)), tuple(warnings), search)
