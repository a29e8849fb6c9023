"""Trees of arrays: nested dicts and lists whose leaves are arrays. The path to a leaf is its name: `params.1.W`."""

from collections.abc import Callable, Iterator
from typing import Any


def tree_map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply `function` leaf by leaf to one or more trees of equal structure; the result has that structure too."""
    if isinstance(tree, dict):
        return {key: tree_map(function, tree[key], *(other[key] for other in rest)) for key in tree}
    if isinstance(tree, list):
        return [tree_map(function, *children) for children in zip(tree, *rest, strict=True)]
    return function(tree, *rest)


def named_leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its name, in the order of the tree: `("params.0.W", array), ...`."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if children is None:
        yield prefix, tree
        return
    for key, child in children:
        yield from named_leaves(child, f"{prefix}.{key}" if prefix else str(key))


def tree_from_names(leaves: dict[str, Any]) -> Any:
    """The inverse of `named_leaves`: a level whose keys are 0..n-1 becomes a list, any other a dict."""
    if "" in leaves:
        return leaves[""]
    groups: dict[str, dict[str, Any]] = {}
    for name, leaf in leaves.items():
        head, _, tail = name.partition(".")
        groups.setdefault(head, {}).update({tail: leaf})
    children = {head: tree_from_names(group) for head, group in groups.items()}
    positions = [str(position) for position in range(len(children))]
    return [children[position] for position in positions] if set(positions) == set(children) else children
