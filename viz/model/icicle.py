"""A model as an icicle: how much of it is where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Node, Snapshot
from pellucid.viz.model.blocks import Block, combined, steps
from pellucid.viz.model.paint import UNITS, Paint, add_keys, mix, paint, said, short
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    expect,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_SIZES = ("parameters", "operations", "seconds")
_MOST = 2000  # sectors
_LEVEL = 76  # pixels of a level
_BAR = 50
_NEARLY_ALL = 0.9


def icicle(
    snapshot: Snapshot,
    *,
    size: str = "parameters",
    color: str | None = None,
    levels: int = 4,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how a model's parameters, or its time, are divided among its modules.

    A module is as wide as what it has, with all that is within it; a click opens it.

    Parameters
    ----------
    snapshot
        Taken with inputs, if anything else than the parameters is asked for.
    size
        ``"parameters"``, ``"operations"`` (multiplications and additions) or ``"seconds"`` (of a
        forward pass).
    color
        A statistic as of `viz.architecture`, or ``"kind"``; None for a colour of its own for each
        part.
    levels
        How many levels are shown at once.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the model's name and the size.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If no module has that size or statistic.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "icicle")
    positive_whole(levels, "levels", "how many levels are shown at once")
    if size not in _SIZES:
        raise InputError(f"size={size!r} is not known; give one of {', '.join(map(repr, _SIZES))}")
    totals = _sizes(snapshot, size)
    if not totals.get("", 0.0) > 0:
        raise InputError(
            f"no module of {snapshot.name} has {size}"
            + ("" if size == "parameters" else "; take pl.snapshot(model, inputs)")
        )
    kept = _shown(snapshot, totals)
    left_out = len(snapshot.nodes) - len(kept)
    blocks = _blocks(snapshot, kept)
    parents = _parents(kept)
    colors = _by_part(kept, parents, totals, look) if color is None else paint(blocks, color, look)
    whole = totals[""]
    shares = [totals[node.name] / whole for node in kept]
    labels = [
        shorten(_relative(node.name, parents[node.name]) or snapshot.name, 26) for node in kept
    ]
    figure = go.Figure(
        go.Icicle(
            ids=[_id(node.name) for node in kept],
            labels=[escape(label) for label in labels],
            parents=[_id(parents[node.name]) if node.name else "" for node in kept],
            values=np.array([totals[node.name] for node in kept]),
            branchvalues="total",
            maxdepth=levels,
            sort=False,
            tiling={"orientation": "v", "pad": 1},
            marker={"colors": colors.fills, "line": {"color": look.quiet, "width": 0.8}},
            text=[
                (f"{escape(shorten(node.kind, 24))}<br>" if node.name else "")
                + short(totals[node.name], size)
                for node in kept
            ],
            texttemplate="<b>%{label}</b><br>%{text}",
            textfont={"size": 11, "color": colors.inks},
            hovertext=[
                _hover(snapshot, block, share) for block, share in zip(blocks, shares, strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            pathbar={"visible": True, "thickness": 20, "textfont": {"size": 11}},
        )
    )
    room = _BAR if colors.axis is not None else 40 if colors.legend else 0
    frame = Frame(
        title=_title(snapshot.name, size) if title is None else title,
        caption=sentences(
            [
                f"the whole: {short(whole, size)} {'' if size == 'seconds' else size}".rstrip(),
                f"{levels} levels at once: a click opens a module, one on the path above closes it",
                "times: the least of some forward passes of "
                f"{snapshot.settings.get('samples')} samples; what is left is spent between modules"
                if size == "seconds"
                else None,
                f"{left_out} modules without {size}, or too small to be seen, are not drawn"
                if left_out
                else None,
                "grey: not known" if colors.missing else None,
            ]
        ),
        left=16,
        right=16,
        axis=8 + room,
        above=14,
        width=width,
        height=height,
    )
    add_keys(figure, colors, look, bar_at=0.0)
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(xaxis=hidden, yaxis=hidden)
    deepest = max(len(steps(node.name)) for node in kept) + 1
    figure.update_layout(uniformtext={"minsize": 9, "mode": "hide"})
    return frame.apply(figure, look, snapshot, 20 + _LEVEL * min(levels, deepest))


def _title(name: str, size: str) -> str:
    return f"Where the time of {name} goes" if size == "seconds" else f"Where {name} has its {size}"


def _id(name: str) -> str:
    """Return what a sector is known by: the empty name would mean that it has no parent."""
    return f"/{name}"


def _parent(name: str, known: Iterable[str]) -> str:
    """Return the path of the nearest module around one."""
    path = steps(name)
    return next((n for k in range(len(path) - 1, 0, -1) if (n := ".".join(path[:k])) in known), "")


def _sizes(snapshot: Snapshot, size: str) -> dict[str, float]:
    """Return what each module has, with all that is within it."""
    nodes = {node.name: node for node in snapshot.nodes}
    totals = {name: node.statistics.get(size, 0.0) for name, node in nodes.items()}
    within = dict.fromkeys(totals, 0.0)
    # Children come after their parents.
    for name in reversed(list(nodes)):
        if size == "seconds":
            # A list of modules is never called itself; and medians need not add up exactly.
            totals[name] = max(totals[name], within[name])
        else:
            totals[name] += within[name]
        if name:
            within[_parent(name, nodes)] += totals[name]
    return totals


def _parents(kept: Sequence[Node]) -> dict[str, str]:
    """Return the name of the sector around each."""
    names = {node.name for node in kept}
    return {node.name: _parent(node.name, names) for node in kept}


def _relative(name: str, parent: str) -> str:
    return name[len(parent) + 1 :] if parent else name


def _by_part(
    kept: Sequence[Node], parents: dict[str, str], totals: dict[str, float], look: Theme
) -> Paint:
    """Return a colour for each part of the first module that has several, thinner with depth."""
    children: dict[str, list[str]] = {}
    for node in kept:
        if node.name:
            children.setdefault(parents[node.name], []).append(node.name)
    top = ""
    while children.get(top):
        largest = max(children[top], key=totals.__getitem__)
        if totals[largest] < _NEARLY_ALL * totals[top] or largest not in children:
            break
        top = largest
    part = {name: k for k, name in enumerate(children.get(top, ()))}
    fills = []
    for node in kept:
        name, depth = node.name, 0
        while name and name not in part:
            name, depth = parents[name], depth + 1
        if name in part:
            color = look.classes[part[name] % len(look.classes)]
            fills.append(mix(color, look.paper, max(0.2, 0.5 - 0.08 * depth)))
        else:
            fills.append(mix(look.neutral, look.paper, 0.25))
    return Paint(fills, [look.ink] * len(fills), {})


def _shown(snapshot: Snapshot, totals: dict[str, float]) -> list[Node]:
    """Return the nodes that have a size, the largest ones where there are very many."""
    having = [node for node in snapshot.nodes if totals[node.name] > 0]
    # What is around a module is no smaller than it, so none loses its parent.
    ranked = sorted(having, key=lambda node: (-totals[node.name], len(steps(node.name))))
    kept = {node.name for node in ranked[:_MOST]}
    around = {name: _parent(name, kept) for name in kept if name}
    children = Counter(around.values())

    def is_all_of_another(node: Node) -> bool:
        """Whether it is never called itself, and alone in its parent: a list of layers."""
        known = node.name and node.shape is None and children[node.name]
        return bool(known) and children[around[node.name]] == 1

    return [node for node in having if node.name in kept and not is_all_of_another(node)]


def _blocks(snapshot: Snapshot, kept: Sequence[Node]) -> list[Block]:
    """Return each node with the statistics of all that is within it."""
    within: dict[str, list[Node]] = {node.name: [] for node in kept}
    for node in snapshot.nodes:
        path = steps(node.name)
        for k in range(len(path) + 1):
            name = ".".join(path[:k])
            if name in within:
                within[name].append(node)
    return [
        Block(
            node.name,
            node.kind,
            node.shape,
            combined(within[node.name]),
            layers=len(within[node.name]),
        )
        for node in kept
    ]


def _hover(snapshot: Snapshot, block: Block, share: float) -> str:
    lines = [f"<b>{escape(shorten(block.name or snapshot.name, 80))}</b>", escape(block.kind)]
    lines.append(f"{percent(share)} of the whole")
    lines += [said(key, block.statistics[key]) for key in UNITS if key in block.statistics]
    return "<br>".join(lines)
