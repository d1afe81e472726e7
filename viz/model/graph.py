"""A layered layout of a directed graph: who stands in which row, and where in it.

Rows by longest path, their order by barycentres (Sugiyama et al. 1981), places by alignment along
the longest paths and compaction (after Brandes and Köpf 2002). Edges that pass rows get a lane in
each of them, one for all edges of a source, so that no line runs through a box.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_SWEEPS = 8
_SETTLE = 24
_STILL = 0.25  # pixels
LANE = 16.0  # pixels that a passing line keeps free
_CLOSE = 4.0  # pixels between a lane and what is beside it
GAP = 22.0  # pixels between boxes of a row


@dataclass
class Rows:
    """A graph in rows.

    Items are its nodes, and from there on the places where lines pass a row.

    Attributes
    ----------
    nodes
        How many of the items are nodes.
    rank
        Row of each item.
    rows
        Items of each row, from left to right.
    paths
        For each edge the items from its upper to its lower end.
    reversed
        For each edge whether it goes upwards: it closes a cycle.
    widths
        Of each item, in pixels.
    slack
        By how many rows each item could stand lower.
    x
        Where each item's centre is.
    """

    nodes: int
    rank: list[int]
    rows: list[list[int]]
    paths: list[list[int]]
    reversed: list[bool]
    widths: list[float]
    slack: list[int]
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def segments(self) -> list[list[tuple[int, int]]]:
        """Return for each row the pairs of items that lines join it to the next row by."""
        found: list[dict[tuple[int, int], None]] = [{} for _ in self.rows]
        for path in self.paths:
            for pair in itertools.pairwise(path):
                found[self.rank[pair[0]]][pair] = None
        return [list(pairs) for pairs in found]


def layered(edges: Sequence[tuple[int, int]], widths: Sequence[float]) -> Rows:
    """Lay a graph out in rows: every line goes downwards, but for those that close a cycle.

    Parameters
    ----------
    edges
        Pairs of nodes, which are numbered in the order in which they should be read.
    widths
        Of each node, in pixels.

    Returns
    -------
    Rows
        With `x` in pixels from the left.
    """
    count = len(widths)
    turned = _upward(count, edges)
    downward = [
        (b, a) if up else (a, b) for (a, b), up in zip(edges, turned, strict=True) if a != b
    ]
    rank, slack = _ranks(count, downward)
    found = _with_lanes(rank, slack, downward, widths)
    found.reversed = [up for (a, b), up in zip(edges, turned, strict=True) if a != b]
    _reorder(found)
    _place(found)
    return found


def _upward(count: int, edges: Sequence[tuple[int, int]]) -> list[bool]:
    """Say of each edge whether it closes a cycle, searching in depth from the first node on."""
    after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for k, (a, b) in enumerate(edges):
        after[a].append((b, k))
    turned = [False] * len(edges)
    state = [0] * count  # 1 while it is on the way from the start, 2 when it is done
    for start in range(count):
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(after[start]))]
        while stack:
            node, rest = stack[-1]
            for target, k in rest:
                if state[target] == 1:
                    turned[k] = True
                elif not state[target]:
                    state[target] = 1
                    stack.append((target, iter(after[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return turned


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return each node's row, and by how many rows it could stand lower."""
    after: list[list[int]] = [[] for _ in range(count)]
    before = [0] * count
    for a, b in edges:
        after[a].append(b)
        before[b] += 1
    has_source = [bool(n) for n in before]
    order = [node for node in range(count) if not before[node]]
    rank = [0] * count
    for node in order:  # grows while it is read
        for target in after[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            before[target] -= 1
            if not before[target]:
                order.append(target)
    last = max(rank, default=0)
    lowest = [last] * count
    for node in reversed(order):
        for target in after[node]:
            lowest[node] = min(lowest[node], lowest[target] - 1)
    for node in range(1, count):
        # What comes from nowhere (a table of positions) stands right above where it goes to.
        if not has_source[node] and after[node]:
            rank[node] = min(rank[target] for target in after[node]) - 1
    return rank, [low - high for low, high in zip(lowest, rank, strict=True)]


def _with_lanes(
    rank: list[int], slack: list[int], edges: Sequence[tuple[int, int]], widths: Sequence[float]
) -> Rows:
    """Add the places where lines pass rows, and put the items of a row into a first order."""
    ranks, all_widths = list(rank), [float(w) for w in widths]
    lanes: dict[int, list[int]] = {}
    paths = []
    for a, b in edges:
        lane = lanes.setdefault(a, [])
        for row in range(rank[a] + 1 + len(lane), rank[b]):
            lane.append(len(ranks))
            ranks.append(row)
            all_widths.append(LANE)
        paths.append([a, *lane[: rank[b] - rank[a] - 1], b])
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for node in range(len(rank)):
        rows[rank[node]].append(node)
    # Lanes to the right: the latest, which is left first, next to the boxes.
    for source in sorted(lanes, key=lambda node: -rank[node]):
        for item in lanes[source]:
            rows[ranks[item]].append(item)
    slack = slack + [0] * (len(ranks) - len(rank))
    return Rows(len(rank), ranks, rows, paths, [], all_widths, slack)


def _reorder(found: Rows) -> None:
    """Order the rows so that fewer lines cross; as they are if none does."""
    segments = found.segments()
    below: dict[int, list[int]] = defaultdict(list)
    above: dict[int, list[int]] = defaultdict(list)
    for pairs in segments:
        for a, b in pairs:
            below[a].append(b)
            above[b].append(a)
    best, fewest = [list(row) for row in found.rows], _crossings(found.rows, segments)
    in_vain = 0
    for sweep in range(_SWEEPS):
        if not fewest or in_vain == 2:
            break
        down = sweep % 2 == 0
        neighbours = above if down else below
        rows = found.rows if down else found.rows[::-1]
        for fixed, moved in itertools.pairwise(rows):
            place = {item: k for k, item in enumerate(fixed)}
            own = {item: k for k, item in enumerate(moved)}

            centre = {}
            for item in moved:
                known = [place[other] for other in neighbours[item]]
                centre[item] = sum(known) / len(known) if known else float(own[item])
            moved.sort(key=centre.__getitem__)
        count = _crossings(found.rows, segments)
        if count < fewest:
            best, fewest, in_vain = [list(row) for row in found.rows], count, 0
        else:
            in_vain += 1
    found.rows = best


def _crossings(rows: list[list[int]], segments: list[list[tuple[int, int]]]) -> int:
    """Count the pairs of lines that cross: one begins left of the other and ends right of it."""
    total = 0
    for k, pairs in enumerate(segments[:-1]):
        if len(pairs) < 2:
            continue
        upper = {item: i for i, item in enumerate(rows[k])}
        lower = {item: i for i, item in enumerate(rows[k + 1])}
        ends: list[int] = []
        for _, end in sorted((upper[a], lower[b]) for a, b in pairs):
            place = bisect_right(ends, end)
            total += len(ends) - place
            ends.insert(place, end)
    return total


# -- where in the row ------------------------------------------------------------------------


def _place(found: Rows) -> None:
    """Give every item its place: straight lines first, then as close together as may be."""
    segments = found.segments()
    block = _aligned(found, segments)
    members: dict[int, list[int]] = defaultdict(list)
    for item, root in enumerate(block):
        members[root].append(item)
    right: dict[int, dict[int, float]] = defaultdict(dict)
    left: dict[int, dict[int, float]] = defaultdict(dict)
    for row in found.rows:
        for a, b in itertools.pairwise(row):
            gap = (found.widths[a] + found.widths[b]) / 2 + _between(found, a, b)
            first, second = block[a], block[b]
            right[first][second] = max(gap, right[first].get(second, 0.0))
            left[second][first] = right[first][second]
    order = _in_order(list(members), right, left)
    x = dict.fromkeys(order, 0.0)
    for root in order:
        x[root] = max((x[a] + gap for a, gap in left[root].items()), default=0.0)
    pull: dict[int, list[int]] = defaultdict(list)
    for pairs in segments:
        for a, b in pairs:
            for one, other in ((a, b), (b, a)):
                # Boxes stay where boxes want them; lanes come to them.
                if block[one] != block[other] and (one >= found.nodes or other < found.nodes):
                    pull[block[one]].append(block[other])
    for sweep in range(_SETTLE):
        moved = 0.0
        for root in order if sweep % 2 else reversed(order):
            if not pull[root]:
                continue
            wanted = sum(x[other] for other in pull[root]) / len(pull[root])
            low = max((x[a] + gap for a, gap in left[root].items()), default=-np.inf)
            high = min((x[b] - gap for b, gap in right[root].items()), default=np.inf)
            wanted = min(max(wanted, low), high)
            moved = max(moved, abs(wanted - x[root]))
            x[root] = wanted
        if moved < _STILL:
            break
    places = np.array([x[root] for root in block])
    found.x = places - (places - np.array(found.widths) / 2).min() if len(places) else places


def _between(found: Rows, a: int, b: int) -> float:
    """Return how far apart two neighbours of a row stand: lanes lie close together."""
    return GAP if max(a, b) < found.nodes else _CLOSE


def _aligned(found: Rows, segments: list[list[tuple[int, int]]]) -> list[int]:
    """Return for each item the first of those that stand in one straight line with it."""
    real = [item < found.nodes for item in range(len(found.rank))]
    block = list(range(len(found.rank)))
    for k, pairs in enumerate(segments):
        if not pairs:
            continue
        upper = {item: i for i, item in enumerate(found.rows[k])}
        lower = {item: i for i, item in enumerate(found.rows[k + 1])}
        children: dict[int, list[int]] = defaultdict(list)
        parents: dict[int, list[int]] = defaultdict(list)
        for a, b in pairs:
            if real[a] and real[b]:
                children[a].append(b)
                parents[b].append(a)
        chosen = []
        for a, b in pairs:
            if real[a] and real[b]:
                if (
                    _middle(children[a], lower, found) != b
                    or _middle(parents[b], upper, found) != a
                ):
                    continue
                chosen.append((0, a, b))
            elif not real[b] and (not real[a] or not children[a]):
                chosen.append((1, a, b))  # a lane; or what has nothing else below it, and its lane
        kept: list[tuple[int, int]] = []
        for _, a, b in sorted(chosen):
            i, j = upper[a], lower[b]
            if all((i - p) * (j - q) > 0 for p, q in kept):
                kept.append((i, j))
                block[b] = block[a]
    return block


def _middle(items: list[int], place: dict[int, int], found: Rows) -> int | None:
    """Return the middle one of those on the longest way; None if there are two of them."""
    least = min(found.slack[item] for item in items)
    tight = sorted((i for i in items if found.slack[i] == least), key=place.__getitem__)
    return tight[len(tight) // 2] if len(tight) % 2 else None


def _in_order(
    roots: list[int], right: dict[int, dict[int, float]], left: dict[int, dict[int, float]]
) -> list[int]:
    """Return the lines from left to right: each after those that it stands right of."""
    waiting = {root: len(left[root]) for root in roots}
    order = [root for root in roots if not waiting[root]]
    for root in order:  # grows while it is read
        for other in right[root]:
            waiting[other] -= 1
            if not waiting[other]:
                order.append(other)
    return order
