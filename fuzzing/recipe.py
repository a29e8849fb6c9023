"""Recipes: seeds and the reader."""

from pathlib import Path

from fuzzing.case import Files
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training import recipe as recipes
from lagvis.training.recipe import Recipe


def recipe_seeds() -> list[Files]:
    """Return the recipes that ship, one with all keys, one with a BOM and CRLF, and an empty one."""
    texts = [path.read_text(encoding="utf-8") for path in recipes.FOLDER.glob("*.toml")]
    every_key = recipes.dumps(Recipe(momentum=0.5, schedule="linear"))
    texts += [recipes.dumps(Recipe(optimizer=name, schedule="one-cycle")) for name in OPTIMIZERS]
    texts += [recipes.dumps(Recipe(schedule=name)) for name in SCHEDULES]
    return [[("a.toml", text.encode())] for text in (*texts, every_key, "\ufeff" + every_key.replace("\n", "\r\n"), "")]


def read_recipe(folder: Path, files: Files, _: int) -> None:
    """Read a recipe; write an accepted one and check that it is read again unchanged."""
    recipe = recipes.load(str(folder / files[0][0]))
    (folder / "again.toml").write_bytes(recipes.dumps(recipe).encode())
    assert recipes.load(str(folder / "again.toml")) == recipe
