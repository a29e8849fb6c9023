"""The stretches of a run that was resumed with other settings: which settings were in force in which steps.

They are read from the entry `resumed` of environment.json, which `storage.resume.resume_record` writes.
"""

import json
from typing import Any, NamedTuple

from lagvis.training import recipe as recipes
from lagvis.training.recipe import Recipe

Entries = list[dict[str, Any]]


class Stretch(NamedTuple):
    """Steps of a run with the same settings.

    first, last  its steps, from 1; last is None where it goes to the end of the run
    settings     values in force here of every setting and fact of the environment that some resume changed
    changed      those that the resume at its beginning changed; {} in the first stretch
    """

    first: int
    last: int | None
    settings: dict[str, Any]
    changed: dict[str, Any]


def stretches(resumed: Entries) -> list[Stretch]:
    """Return the stretches of a run in their order; a single one without settings if no resume changed any."""
    starts = [0, *(entry["step"] for entry in resumed)]
    keys = dict.fromkeys(key for entry in resumed for key in entry["changed"])
    found = []
    for i, start in enumerate(starts):
        settings = {key: value_in_force(key, resumed[:i], resumed[i:]) for key in keys}
        changed = {key: new for key, (_, new) in resumed[i - 1]["changed"].items()} if i else {}
        found.append(Stretch(start + 1, starts[i + 1] if i + 1 < len(starts) else None, settings, changed))
    return found


def value_in_force(key: str, before: Entries, after: Entries) -> Any:
    """Return the value of a setting between the resumes `before` and `after`."""
    new = [entry["changed"][key][1] for entry in before if key in entry["changed"]]
    old = [entry["changed"][key][0] for entry in after if key in entry["changed"]]
    return new[-1] if new else old[0]


def recipe_text(recipe: Recipe, resumed: Entries) -> str:
    """Return the content of recipe.toml: the recipe, below a comment with the stretches if there are several."""
    return history_comment(resumed) + recipes.dumps(recipe)


def history_comment(resumed: Entries) -> str:
    """Return the comment of recipe.toml about the stretches of a run; "" for a run of one stretch."""
    if not resumed:
        return ""
    lines = ["This run was resumed with other settings:"]
    for stretch in stretches(resumed):
        steps = f"steps {stretch.first} to {stretch.last}" if stretch.last else f"from step {stretch.first} on"
        lines.append(f"  {steps}: " + ", ".join(f"{key} {json.dumps(v)}" for key, v in stretch.settings.items()))
    lines += [
        "The last of them are below; a run by this file has them from the first step on.",
        'The commands that repeat this run are in report.html, "To do it again".',
    ]
    return "".join(f"# {printable(line)}\n" for line in lines) + "\n"


def printable(text: str) -> str:
    """Return text with ? for control characters, which a comment of TOML must not hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
