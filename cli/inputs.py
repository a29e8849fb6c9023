"""Describe the input of a trained network from its model and the recipe beside its checkpoint."""

from pathlib import Path

from lagvis.data.input_spec import RESIZE, InputSpec
from lagvis.runs.filenames import RECIPE
from lagvis.training import recipe as recipes
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe


def find_recipe(checkpoint: Path) -> Recipe | None:
    """Return the recipe beside a checkpoint file; None without one, and for a network of the paper's program."""
    path = checkpoint.parent / RECIPE
    return recipes.load(str(path)) if path.is_file() and not checkpoint.is_dir() else None


def make_input_spec(model: Model, checkpoint: Path, label_option: str, image_mode: str = RESIZE) -> InputSpec:
    """Return what a network takes; `label_option` is the label column that the user names, or empty."""
    recipe = find_recipe(checkpoint)
    return InputSpec(
        model.shape,
        is_bytes=model.x_scaling is None,
        image_mode=image_mode,
        class_names=model.class_names,
        target_names=model.target_names,
        feature_names=model.feature_names,
        label_names=model.label_names,
        label_option=label_option,
        recipe_label=recipe.label if recipe else "",
    )
