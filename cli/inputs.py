"""Describe the input of a trained network from its model and the recipe beside its checkpoint."""

from lagvis.data.input_spec import RESIZE, InputSpec
from lagvis.storage.lookup import StoredNetwork


def make_input_spec(
    network: StoredNetwork, label_option: str, image_mode: str = RESIZE, *, check_ranges: bool = True
) -> InputSpec:
    """Return what a network takes; `label_option` is the label column that the user names, or empty."""
    model, recipe = network.checkpoint.model, network.read_recipe()
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
        ranges=model.ranges,
        check_ranges=check_ranges,
    )
