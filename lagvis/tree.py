"""Trees of arrays: nested dicts and lists. The path to a leaf is its name: `params.1.W`.

`leaves` and `rebuild` go into tuples too, as the arguments of a call hold them; for the others a tuple is a leaf.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

# Nested dicts, lists and tuples of leaves; a type that names its leaves would need a cast at every key.
Tree: TypeAlias = Any


def tree_map(function: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """Apply `function` leaf by leaf to one or more trees of equal structure; return a tree of that structure."""
    if isinstance(tree, dict):
        return {key: tree_map(function, tree[key], *(other[key] for other in rest)) for key in tree}
    if isinstance(tree, list):
        return [tree_map(function, *children) for children in zip(tree, *rest, strict=True)]
    return function(tree, *rest)


def leaves(tree: Tree) -> list[Any]:
    """List the leaves of a tree, dicts in the order of their sorted keys."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    return [leaf for child in tree for leaf in leaves(child)] if isinstance(tree, list | tuple) else [tree]


def rebuild(tree: Tree, new_leaves: Iterator[Any]) -> Tree:
    """Return a tree of the same structure with other leaves, taken in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: rebuild(tree[key], new_leaves) for key in sorted(tree)}
    if isinstance(tree, list | tuple):
        return type(tree)(rebuild(child, new_leaves) for child in tree)
    return next(new_leaves)


def named_leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its name, in the order of the tree: `("params.0.W", array), ...`."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if children is None:
        yield prefix, tree
        return
    for key, child in children:
        yield from named_leaves(child, f"{prefix}.{key}" if prefix else str(key))


def tree_from_names(leaves: dict[str, Any]) -> Tree:
    """Invert `named_leaves`: a level with keys 0..n-1 becomes a list, any other a dict."""
    if "" in leaves:
        return leaves[""]
    groups: dict[str, dict[str, Any]] = {}
    for name, leaf in leaves.items():
        head, _, tail = name.partition(".")
        groups.setdefault(head, {}).update({tail: leaf})
    children = {head: tree_from_names(group) for head, group in groups.items()}
    positions = [str(position) for position in range(len(children))]
    return [children[position] for position in positions] if set(positions) == set(children) else children
