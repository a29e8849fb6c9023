import pytest

from lagvis.tree import named_leaves, tree_from_names, tree_map

TREE = {"params": [{"W": 1, "b": 2}, {"W": 3, "b": 4}], "totals": {"loss": 5}}
NAMES = {"params.0.W": 1, "params.0.b": 2, "params.1.W": 3, "params.1.b": 4, "totals.loss": 5}


def test_the_path_in_the_tree_is_the_name():
    assert dict(named_leaves(TREE)) == NAMES


def test_names_make_the_tree_again():
    assert tree_from_names(NAMES) == TREE


def test_more_than_ten_layers_keep_their_order():
    tree = {"params": [{"W": i} for i in range(12)]}
    assert tree_from_names(dict(sorted(named_leaves(tree)))) == tree


def test_map_goes_leaf_by_leaf_through_trees_of_equal_structure():
    doubled = tree_map(lambda a, b: a + b, TREE, TREE)
    assert dict(named_leaves(doubled)) == {name: 2 * value for name, value in NAMES.items()}


def test_map_refuses_lists_of_unequal_length():
    with pytest.raises(ValueError, match="shorter"):
        tree_map(lambda a, b: a, [1, 2], [1])
