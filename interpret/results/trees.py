"""Nested tuples and dicts of arrays: the structure of a model's inputs, and of what explains them.

A *path* names a leaf as a person would type it: ``"image"``, ``"0"``, ``"0.mask"``; the path of a
bare leaf is ``""``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tree = Any  # a leaf, or a tuple, list or dict of trees; a recursive alias gains mypy nothing here


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf) for every leaf, in order."""
    if isinstance(tree, dict):
        items: list[tuple[Any, Any]] = list(tree.items())
    elif isinstance(tree, (tuple, list)):
        items = list(enumerate(tree))
    else:
        yield path, tree
        return
    for key, value in items:
        yield from leaves(value, f"{path}.{key}" if path else str(key))


def rebuild(tree: Tree, replace: Callable[[str, Any], Any], path: str = "") -> Tree:
    """Return the same structure with every leaf replaced by ``replace(path, leaf)``."""
    if isinstance(tree, dict):
        return {k: rebuild(v, replace, f"{path}.{k}" if path else str(k)) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(
            rebuild(v, replace, f"{path}.{i}" if path else str(i)) for i, v in enumerate(tree)
        )
    return replace(path, tree)


def is_leaf(tree: Tree) -> bool:
    """Whether the tree is one bare leaf."""
    return not isinstance(tree, (tuple, list, dict))
