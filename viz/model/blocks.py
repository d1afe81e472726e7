"""The architecture seen from some distance: modules as blocks of what is within them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pellucid.interpret.results import Node, Snapshot

MOST = 150  # boxes of one picture
_ENDS = ("input", "output")
_NORMS = ("gradient norm",)
_SUMS = ("parameters", "operations")


@dataclass(frozen=True)
class Block:
    """A box: a module with all that is within it, a function, or an end of the model.

    Attributes
    ----------
    name
        The module's path; ``"input"`` or ``"output"`` of an end.
    kind
        Its class; empty for an end.
    shape
        Of what it puts out.
    statistics
        Of all that is within it.
    role
        ``"module"``, ``"function"`` or ``"end"``.
    layers
        How many modules and functions without others there are within it.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    statistics: dict[str, float] = field(default_factory=dict)
    role: str = "module"
    layers: int = 1


@dataclass(frozen=True)
class View:
    """The architecture at one depth.

    Attributes
    ----------
    depth
        Down to how many steps of a path modules are told apart.
    blocks
        The boxes, the model's ends among them.
    edges
        Between positions of boxes.
    """

    depth: int
    blocks: tuple[Block, ...]
    edges: tuple[tuple[int, int], ...]


def steps(name: str) -> list[str]:
    """Return the steps of a path."""
    return name.split(".") if name else []


def views(snapshot: Snapshot) -> tuple[list[View], int]:
    """Return the architecture at every depth at which it looks different, and has boxes to draw.

    A model whose parts are more than can be drawn even at the first depth is shown by its first and
    last parts, with those between them in one box.

    Returns
    -------
    views
        From coarse to fine, each of at most `MOST` boxes.
    left_out
        How many depths have more.
    """
    leaves = list(dict.fromkeys(name for pair in snapshot.edges for name in pair))
    order = {node.name: k for k, node in enumerate(snapshot.nodes)}
    known = {node.name: node for node in snapshot.nodes}
    leaves = sorted((n for n in leaves if n in order), key=order.__getitem__)
    # A model that is one module has the empty path.
    deepest = max([1, *(len(steps(name)) for name in leaves)])
    found: list[View] = []
    seen: set[frozenset[str]] = set()
    left_out = 0
    for depth in range(1, deepest + 1):
        groups = {name: ".".join(steps(name)[:depth]) for name in leaves}
        names = frozenset(groups.values())
        if names in seen:
            continue
        seen.add(names)
        # One box for everything says nothing, unless there is nothing else to say.
        if len(names) == 1 and depth < deepest:
            continue
        if len(names) + 2 > MOST:
            if found:
                left_out += 1
                continue
            groups = _middle_in_one(groups)
        found.append(_view(depth, snapshot, groups, known))
    return found, left_out


def _middle_in_one(groups: dict[str, str]) -> dict[str, str]:
    names = list(dict.fromkeys(groups.values()))
    side = MOST // 2 - 2
    middle = set(names[side:-side])
    label = f"… {len(middle)} more"
    return {leaf: label if name in middle else name for leaf, name in groups.items()}


def _view(depth: int, snapshot: Snapshot, groups: dict[str, str], known: dict[str, Node]) -> View:
    within: dict[str, list[Node]] = {}
    for leaf, group in groups.items():
        within.setdefault(group, []).append(known[leaf])
    # The modules around the leaves have statistics of their own: a parameter, a time.
    around: dict[str, list[Node]] = {group: [] for group in within}
    for node in snapshot.nodes:
        above = steps(node.name)
        group = ".".join(above[:depth])
        if group in around and len(above) >= depth:
            around[group].append(node)
    shape = _input_shape(snapshot)
    joined = _joined(snapshot)
    blocks = [Block("input", "", shape, role="end")]
    blocks += [_block(name, within[name], around[name], known.get(name), joined) for name in within]
    last = next((known[a].shape for a, b in snapshot.edges if b == "output" and a in known), None)
    blocks.append(Block("output", "", last, role="end"))
    place = {name: k for k, name in enumerate(within, 1)}
    ends = {"input": 0, "output": len(blocks) - 1}
    edges: dict[tuple[int, int], None] = {}
    for a, b in snapshot.edges:
        first, second = (
            ends[e] if e in _ENDS and e not in groups else place[groups[e]] for e in (a, b)
        )
        if first != second:
            edges[first, second] = None
    return View(depth, tuple(blocks), tuple(edges))


def _input_shape(snapshot: Snapshot) -> tuple[int, ...] | None:
    shape = getattr(snapshot.inputs, "shape", None)
    return None if shape is None else tuple(shape)


def _joined(snapshot: Snapshot) -> set[str]:
    """Return the names of what only joins other outputs, as a residual sum does."""
    sources: dict[str, int] = {}
    for _, target in snapshot.edges:
        sources[target] = sources.get(target, 0) + 1
    return {
        node.name
        for node in snapshot.nodes
        if sources.get(node.name, 0) > 1
        and node.kind == node.kind.lower()
        and not node.statistics.get("parameters")
    }


def _block(
    name: str, leaves: Sequence[Node], nodes: Sequence[Node], own: Node | None, joined: set[str]
) -> Block:
    if len(leaves) == 1 and leaves[0].name == name:
        role = "function" if name in joined else "module"
        return Block(name, leaves[0].kind, leaves[0].shape, dict(leaves[0].statistics), role)
    nodes = nodes or leaves
    statistics = combined(nodes)
    if own is not None and "seconds" in own.statistics:
        statistics["seconds"] = max(own.statistics["seconds"], statistics.get("seconds", 0.0))
    if own is not None and "relevance" in own.statistics:
        statistics["relevance"] = own.statistics["relevance"]
    shape = own.shape if own is not None and own.shape is not None else leaves[-1].shape
    kind = own.kind if own is not None else f"{len(leaves)} layers"
    return Block(name, kind, shape, statistics, layers=len(leaves))


def combined(nodes: Iterable[Node]) -> dict[str, float]:
    """Return what the statistics of modules amount to together.

    Parameters and operations add up, and so do the times of modules that are not within each other;
    gradients are of one long vector; of shares and relevances the largest is taken.
    """
    found: dict[str, float] = {}
    timed: list[str] = []
    for node in nodes:
        for key, value in node.statistics.items():
            if key in _SUMS:
                found[key] = found.get(key, 0.0) + value
            elif key in _NORMS:
                found[key] = math.hypot(found.get(key, 0.0), value)
            elif key == "seconds":
                # Parents come before their children, whose time they hold.
                if not any(node.name.startswith(f"{name}.") for name in timed):
                    timed.append(node.name)
                    found[key] = found.get(key, 0.0) + value
            else:
                found[key] = max(found.get(key, -math.inf), value)
    return found
