"""Trees of arrays as a backend sees them: dicts, lists and tuples in each other, whatever they mean."""

from collections.abc import Iterator
from typing import Any

from backends.backend import Array, Tree


def leaves(tree: Tree) -> list[Array]:
    """The arrays of a tree of dicts, lists and tuples; dicts in the order of their keys."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    return [leaf for child in tree for leaf in leaves(child)] if isinstance(tree, list | tuple) else [tree]


def rebuild(tree: Tree, new: Iterator[Any]) -> Tree:
    """The same tree with other leaves, in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: rebuild(tree[key], new) for key in sorted(tree)}
    return type(tree)(rebuild(child, new) for child in tree) if isinstance(tree, list | tuple) else next(new)
