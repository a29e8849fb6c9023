import pytest

from lagvis.tree import named_leaves, tree_from_names, tree_map

TREE = {"params": [{"W": 1, "b": 2}, {"W": 3, "b": 4}], "totals": {"loss": 5}}
NAMES = {"params.0.W": 1, "params.0.b": 2, "params.1.W": 3, "params.1.b": 4, "totals.loss": 5}


def test_named_leaves_name_is_the_path_in_the_tree():
    assert dict(named_leaves(TREE)) == NAMES


def test_tree_from_names_is_the_original_tree():
    assert tree_from_names(NAMES) == TREE


def test_tree_from_names_keeps_the_order_of_more_than_ten_layers():
    tree = {"params": [{"W": i} for i in range(12)]}
    assert tree_from_names(dict(sorted(named_leaves(tree)))) == tree


def test_tree_map_takes_corresponding_leaves_of_several_trees():
    doubled = tree_map(lambda a, b: a + b, TREE, TREE)
    assert dict(named_leaves(doubled)) == {name: 2 * value for name, value in NAMES.items()}


def test_tree_map_lists_of_unequal_length_raise():
    with pytest.raises(ValueError, match="shorter"):
        tree_map(lambda a, b: a, [1, 2], [1])
