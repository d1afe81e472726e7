"""The boxes of an architecture: what stands in them, and which are drawn within one frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.viz.model.blocks import Block, steps
from pellucid.viz.model.graph import LANE
from pellucid.viz.model.lines import Page
from pellucid.viz.model.paint import UNITS, said
from pellucid.viz.theme import escape, shorten

NARROWEST = 64.0  # pixels of a box
SMALL = 5.3  # pixels of a letter below a name
_LETTER = 6.5  # of a name
_BOX, _FUNCTION, _END = 36.0, 20.0, 22.0  # pixels in height
_TIMES = "\N{MULTIPLICATION SIGN}"
SYMBOLS = {"add": "+", "sub": "\N{MINUS SIGN}", "mul": _TIMES, "div": "÷", "matmul": "·"}
FRAME_SIDE, FRAME_TOP, FRAME_BOTTOM = 9.0, 15.0, 7.0  # pixels around the boxes of one module


@dataclass(frozen=True)
class Box:
    """What stands in a box."""

    name: str
    below: str
    width: float
    height: float


def groups_of(blocks: Sequence[Block]) -> list[str | None]:
    """Return for each box the module that it is drawn within, where that has several boxes.

    The innermost one with a number for a name, which is a block of many alike; else its parent.
    """
    paths = [steps(block.name) if block.role != "end" else [] for block in blocks]
    counts = Counter(".".join(path[:k]) for path in paths for k in range(1, len(path)))
    found = []
    for path in paths:
        above = [".".join(path[:k]) for k in range(len(path) - 1, 0, -1)]
        above = [name for name in above if counts[name] > 1]
        numbered = [name for name in above if steps(name)[-1].isdigit()]
        found.append(next(iter(numbered or above), None))
    return found


def spans_of(
    groups: Sequence[str | None],
    boxes: Sequence[Box],
    page: Page,
    edges: Sequence[tuple[int, int]],
) -> dict[str, tuple[float, float, float, float]]:
    """Return left, top, right and bottom of each module that has a place of its own."""
    half = np.array([(box.width / 2, box.height / 2) for box in boxes])
    low = np.stack([page.x, page.y], axis=1) - half
    high = low + 2 * half
    found = {}
    for name in dict.fromkeys(group for group in groups if group is not None):
        mine = np.array([group == name for group in groups])
        if len(set(page.column[mine])) > 1:
            continue
        # With the lines that stay within it.
        own = [line for line, (a, b) in zip(page.lines, edges, strict=True) if mine[a] and mine[b]]
        start = np.min([low[mine].min(axis=0), *(line.min(axis=0) for line in own)], axis=0)
        end = np.max([high[mine].max(axis=0), *(line.max(axis=0) for line in own)], axis=0)
        for line, (_, b) in zip(page.lines, edges, strict=True):
            # And with those that come in beside its boxes.
            lane = line[(line[:, 1] > start[1]) & (line[:, 1] < end[1]), 0]
            beside = lane[(lane > end[0]) & (lane < end[0] + 2 * LANE)] if mine[b] else lane[:0]
            end[0] = max(end[0], beside.max(initial=-np.inf))
        start -= np.array([FRAME_SIDE, FRAME_TOP])
        end += np.array([FRAME_SIDE, FRAME_BOTTOM])
        inside = (high > start).all(axis=1) & (low < end).all(axis=1)
        if not (inside & ~mine).any():
            found[name] = (*start, *end)
    return found


def ending(path: Sequence[str], most: int) -> str:
    """Return as much of a path's end as fits."""
    whole = ".".join(path)
    if len(whole) <= most:
        return whole
    for k in range(1, len(path)):
        if len(end := "…" + ".".join(path[k:])) <= most:
            return end
    return shorten(path[-1], most)


def boxes_of(blocks: Sequence[Block], groups: Sequence[str | None], most: float) -> list[Box]:
    """Return what stands in each box; all modules have boxes of one size."""
    names = _names(blocks, groups)
    texts = [_texts(block, path) for block, path in zip(blocks, names, strict=True)]
    wanted = max(
        (
            max(len(".".join(name)) * _LETTER, len(below) * SMALL)
            for block, (name, below) in zip(blocks, texts, strict=True)
            if block.role == "module"
        ),
        default=0.0,
    )
    width = min(most, max(NARROWEST, wanted + 16))
    letters, small = max(4, int((width - 8) / _LETTER)), max(4, int((width - 8) / SMALL))
    found = []
    for block, (name, below) in zip(blocks, texts, strict=True):
        if block.role == "function":
            label = ".".join(name)
            found.append(
                Box(label, "", min(width, max(22.0, len(label) * _LETTER + 12)), _FUNCTION)
            )
        else:
            high = _BOX if block.role == "module" else _END
            found.append(Box(ending(name, letters), shorten(below, small), width, high))
    return found


def _names(blocks: Sequence[Block], groups: Sequence[str | None]) -> list[list[str]]:
    """Return the end of each box's path: as much as tells it from others of the same frame."""
    found = []
    inner = [steps(b.name)[len(steps(g or "")) :] for b, g in zip(blocks, groups, strict=True)]
    counts = Counter(
        (group, *path[k:])
        for path, group in zip(inner, groups, strict=True)
        for k in range(len(path))
    )
    for path, group in zip(inner, groups, strict=True):
        k = len(path) - 1
        while k > 0 and (counts[group, *path[k:]] > 1 or path[k].isdigit()):
            k -= 1
        found.append(path[k:])
    return found


def _texts(block: Block, path: list[str]) -> tuple[list[str], str]:
    """Return a box's name, and what stands below it."""
    shape = _TIMES.join(map(str, block.shape[1:])) if block.shape is not None else ""
    if block.role == "end":
        return [block.name], shape
    if block.role == "function":
        return [SYMBOLS.get(block.kind, block.kind)], ""
    if not path or path[-1].isdigit():
        # A number says little: the class tells what it is.
        return [block.kind], " · ".join(part for part in (".".join(path), shape) if part)
    return path, " · ".join(part for part in (block.kind, shape) if part)


def label(box: Box) -> str:
    """Return a box's text as Plotly sets it."""
    name = f"<b>{escape(box.name)}</b>"
    if not box.below:
        return name
    between = "  " if box.height == _END else "<br>"
    return f'{name}{between}<span style="font-size:9px">{escape(box.below)}</span>'


def hover(block: Block) -> str:
    """Return all that is known of a block, line by line."""
    shape = "" if block.shape is None else f" {_TIMES} ".join(map(str, block.shape))
    lines = [f"<b>{escape(shorten(block.name or block.kind, 80))}</b>"]
    if block.kind and block.name:
        lines.append(escape(shorten(block.kind, 60)))
    if shape:
        lines.append(f"{'shape' if block.role == 'end' else 'output'}: {shape}")
    if block.layers > 1:
        lines.append(f"{block.layers} layers within")
    lines += [said(key, block.statistics[key]) for key in UNITS if key in block.statistics]
    return "<br>".join(lines)
