"""Describe the input of a trained network from its model and the recipe beside its checkpoint."""

from typing import Any

from lagvis.data.images.transposed import BY_NAME, NO, YES
from lagvis.data.input_spec import RESIZE, InputSpec
from lagvis.data.tables.encoding import ALL_NUMBERS
from lagvis.data.tables.feature_type import NUMBERS
from lagvis.storage.lookup import StoredNetwork
from lagvis.training.model import Model
from lagvis.training.recipe import Recipe


def make_input_spec(
    network: StoredNetwork,
    label_option: str,
    transpose: str | None,
    image_mode: str = RESIZE,
    *,
    check_ranges: bool = True,
    ids: tuple[str, ...] = (),
    sheet: str = "",
    table: str = "",
) -> InputSpec:
    """Return what a network takes.

    `label_option` is the label column that the user names, or empty, and so `sheet` and `table`; `transpose` is the
    user's --transpose, or None; `ids` are the columns of --id.
    """
    recipe = network.read_recipe()
    return network.checkpoint.model.input_spec(
        image_mode=image_mode,
        label_option=label_option,
        recipe_label=recipe.label if recipe else "",
        check_ranges=check_ranges,
        id=ids,
        sheet=sheet,
        table=table,
        recipe_sheet=recipe.sheet if recipe else "",
        recipe_table=recipe.table if recipe else "",
        transpose=transpose or inherited_transpose(recipe),
    )


def own_data_options(recipe: Recipe, model: Model | None) -> dict[str, Any]:
    """Return the options of `load_dataset` for the data of a run, which are read as they were when it began.

    Files that have moved may have lost the name by which their pictures were turned upright. The columns of a table
    become features as they did then, whatever version of Lagvis it was.
    """
    options = recipe.data_options
    if model is None:
        return options
    encoding = model.encoding or ALL_NUMBERS  # of an older version, which took numbers alone
    return options | {"encoding": encoding} | ({"transpose": YES} if model.transposed else {})


def inherited_transpose(recipe: Recipe | None) -> str:
    """Return how files for a network are read where the user does not say: as `transpose` in the recipe of its run."""
    if recipe is None:
        return BY_NAME
    # Columns that were learned as numbers are no pictures, whatever the file is called.
    return NO if recipe.feature_type == NUMBERS and recipe.transpose == BY_NAME else recipe.transpose
