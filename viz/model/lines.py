"""Where the boxes of a layered graph stand on the page, and how the lines run between them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.viz.model.graph import LANE, Rows

GAP = 26.0  # pixels between two rows
GUTTER = 34.0  # between two columns
_ROUND = 7.0  # radius of a corner
_TRACK = 7.0  # between lines that run side by side from one column to the next
_PORT = 13.0  # between lines that come into one box
_WORTH = 0.8  # of the height that there would be, at most, for more columns to be worth it
_COST = 220.0  # pixels that a column may be too long or too short to have one line less cut

Point = tuple[float, float]


@dataclass(frozen=True)
class Page:
    """A graph on the page: pixels from the left and from the top.

    Attributes
    ----------
    x, y
        Centres of the boxes.
    column
        Of each box.
    lines
        For each edge its points, from the source to the target.
    arrows
        For each edge where its head is, and where that points to: ``"down"``, ``"left"``, ...
    width, height
        Of all together.
    """

    x: np.ndarray
    y: np.ndarray
    column: np.ndarray
    lines: list[np.ndarray]
    arrows: list[tuple[float, float, str]]
    width: float
    height: float


def page(
    rows: Rows,
    heights: Sequence[float],
    *,
    room: float,
    tall: float,
    together: Sequence[object] | None = None,
    sides: Sequence[bool] | None = None,
) -> Page:
    """Put rows onto a page, in several columns side by side where they are many.

    Parameters
    ----------
    rows
        With places.
    heights
        Of each node, in pixels.
    room
        Pixels in width; no more columns than fit are made.
    tall
        Pixels in height from which on another column is wanted.
    together
        For each node what it is a part of; columns are not cut within these if it can be helped.
    sides
        For each node whether lines that pass by may come in from its sides.
    """
    return _Drawing(rows, heights, together, sides).page(room, tall)


class _Drawing:
    def __init__(
        self,
        rows: Rows,
        heights: Sequence[float],
        together: Sequence[object] | None,
        sides: Sequence[bool] | None,
    ) -> None:
        self.rows = rows
        self.count = rows.nodes
        self.heights = list(heights)
        self.together = together
        self.sides = list(sides) if sides is not None else [False] * self.count
        self.row_heights = [
            max((self.heights[i] for i in row if i < self.count), default=0.0) for row in rows.rows
        ]

    def page(self, room: float, tall: float) -> Page:
        """Return everything in its place."""
        cuts = self._cuts(room, tall)
        self.tracks = self._share()
        self.column: list[int] = []
        self.top: list[float] = []
        column, down = 0, 0.0
        deepest = 0.0
        for row, height in enumerate(self.row_heights):
            if row in cuts:
                column, down = column + 1, 0.0
            self.column.append(column)
            self.top.append(down)
            down += height + GAP
            deepest = max(deepest, down - GAP)
        self.starts = self._starts(cuts)
        shifts = np.array([start - low for start, low, _ in self.starts])
        self.x = self.rows.x + shifts[[self.column[r] for r in self.rows.rank]]
        crossing = self._crossing(cuts)
        tracks = max((len(found) for found in crossing.values()), default=0)
        # Lines from one column to the next run below it and above the next one.
        above = _TRACK * tracks + _ROUND if cuts else 0.0
        self.top = [top + above for top in self.top]
        self.bottom = deepest + above
        self.crossing = crossing
        ports = self._ports()
        lines, arrows = [], []
        for k, path in enumerate(self.rows.paths):
            points, arrow = self._line(path, ports[k])
            if self.rows.reversed[k]:
                points = points[::-1]
                x, y = points[-1]
                arrow = (x, y, "up")
            lines.append(np.array(points, dtype=np.float64).reshape(-1, 2))
            arrows.append(arrow)
        centres = np.array([self._middle(i) for i in range(self.count)])
        return Page(
            x=self.x[: self.count],
            y=centres,
            column=np.array([self.column[self.rows.rank[i]] for i in range(self.count)], dtype=int),
            lines=lines,
            arrows=arrows,
            width=self._wide(self.starts),
            height=self.bottom + above,
        )

    # -- columns -----------------------------------------------------------------------------

    def _cuts(self, room: float, tall: float) -> set[int]:
        """Return the rows that begin a new column."""
        total = sum(height + GAP for height in self.row_heights)
        for columns in range(math.ceil(total / tall), 1, -1):
            cuts = self._cut_into(columns, total)
            if self._wide(self._starts(cuts)) <= room and self._tallest(cuts) < _WORTH * total:
                return cuts
        return set()

    def _cut_into(self, columns: int, total: float) -> set[int]:
        crossing = self._lines_into()
        reach = np.cumsum([0.0, *(height + GAP for height in self.row_heights)])
        cuts: set[int] = set()
        first = 1
        for k in range(1, columns):
            rows = range(first, len(self.row_heights))
            if not rows:
                break

            def cost(row: int, wanted: float = total * k / columns) -> float:
                return abs(float(reach[row]) - wanted) + _COST * crossing[row]

            best = min(rows, key=cost)
            cuts.add(best)
            first = best + 1
        return cuts

    def _tallest(self, cuts: set[int]) -> float:
        bounds = [0, *sorted(cuts), len(self.row_heights)]
        heights = np.array(self.row_heights) + GAP
        return max(float(heights[a:b].sum()) for a, b in itertools.pairwise(bounds))

    def _starts(self, cuts: set[int]) -> list[tuple[float, float, float]]:
        """Return for each column where it begins, and from where to where its items were."""
        half = np.array(self.rows.widths) / 2
        found: list[tuple[float, float, float]] = []
        start = 0.0
        bounds = [0, *sorted(cuts), len(self.rows.rows)]
        for first, last in itertools.pairwise(bounds):
            items = [item for row in self.rows.rows[first:last] for item in row]
            low = float((self.rows.x - half)[items].min()) if items else 0.0
            high = float((self.rows.x + half)[items].max()) if items else 0.0
            found.append((start, low, high))
            start += high - low + GUTTER
        return found

    def _wide(self, starts: list[tuple[float, float, float]]) -> float:
        start, low, high = starts[-1]
        return start + high - low

    def _lines_into(self) -> list[float]:
        """Return for each row how many lines come into it, with half a line for a torn group."""
        found: list[set[int]] = [set() for _ in self.row_heights]
        for path in self.rows.paths:
            for item in path[1:]:
                found[self.rows.rank[item]].add(path[0])
        torn = [0.0] * len(self.row_heights)
        if self.together is not None:
            spans: dict[object, list[int]] = defaultdict(list)
            for item, group in enumerate(self.together):
                if group is not None:
                    spans[group].append(self.rows.rank[item])
            for ranks in spans.values():
                for row in range(min(ranks) + 1, max(ranks) + 1):
                    torn[row] += 0.5
        return [len(sources) + more for sources, more in zip(found, torn, strict=True)]

    def _crossing(self, cuts: set[int]) -> dict[int, dict[int, int]]:
        """Return for each cut the track of each source whose lines go over it."""
        found: dict[int, dict[int, int]] = {row: {} for row in cuts}
        for path in self.rows.paths:
            for item in path[1:]:
                row = self.rows.rank[item]
                if row in found:
                    found[row].setdefault(path[0], len(found[row]))
        return found

    # -- lines -------------------------------------------------------------------------------

    def _middle(self, item: int) -> float:
        row = self.rows.rank[item]
        return self.top[row] + self.row_heights[row] / 2

    def _ports(self) -> list[float | str]:
        """Return for each line where it comes into its box: an offset, or a side."""
        into: dict[int, list[int]] = defaultdict(list)
        for k, path in enumerate(self.rows.paths):
            into[path[-1]].append(k)
        found: list[float | str] = [0.0] * len(self.rows.paths)
        for target, edges in into.items():
            if len(edges) == 1:
                continue
            x = self.x[target]
            offsets = {k: float(self.x[self.rows.paths[k][-2]] - x) for k in edges}
            new_column = self.rows.rank[target] in self.crossing
            for side, sign in (("left", -1), ("right", 1)):
                mine = sorted(
                    (k for k in edges if sign * offsets[k] > 1), key=lambda k: abs(offsets[k])
                )
                if mine and not new_column and self._is_free(self.rows.paths[mine[-1]], sign):
                    found[mine.pop()] = side
                most = self.rows.widths[target] * 0.42
                step = min(_PORT, most / max(1, len(mine)))
                for n, k in enumerate(mine, 1):
                    found[k] = sign * step * n
        return found

    def _is_free(self, path: Sequence[int], sign: int) -> bool:
        """Whether a line in its lane may go on down and come into its target from the side."""
        target, lane = path[-1], path[-2]
        if not self.sides[target] or lane < self.count:
            return False
        reach = sign * (self.x[lane] - self.x[target])
        if reach < self.rows.widths[target] / 2 + _ROUND:
            return False
        for other in self.rows.rows[self.rows.rank[target]]:
            if other == target:
                continue
            near = sign * (self.x[other] - self.x[target]) - self.rows.widths[other] / 2
            if near + self.rows.widths[other] > 0 and near < reach + LANE / 4:
                return False
        return True

    def _share(self) -> list[dict[int, float]]:
        """Return for each row at what share of the gap above it each item's lines go aside.

        Those that would run over each other take turns.
        """
        spans: list[dict[int, tuple[float, float]]] = [{} for _ in self.row_heights]
        for path in self.rows.paths:
            for a, b in itertools.pairwise(path):
                low, high = sorted((float(self.rows.x[a]), float(self.rows.x[b])))
                before = spans[self.rows.rank[b]].get(a, (low, high))
                spans[self.rows.rank[b]][a] = min(low, before[0]), max(high, before[1])
        found = []
        for row in spans:
            tracks: list[float] = []  # where each of them ends
            taken: dict[int, int] = {}
            aside = [(span, item) for item, span in row.items() if span[1] - span[0] > 0.5]
            for (low, high), item in sorted(aside):
                free = (k for k, end in enumerate(tracks) if end < low - LANE / 2)
                track = next(free, len(tracks))
                tracks[track : track + 1] = [high]
                taken[item] = track
            found.append({item: (k + 1) / (len(tracks) + 1) for item, k in taken.items()})
        return found

    def _line(
        self, path: Sequence[int], port: float | str
    ) -> tuple[list[Point], tuple[float, float, str]]:
        source, target = path[0], path[-1]
        points: list[Point] = [
            (float(self.x[source]), self._middle(source) + self.heights[source] / 2)
        ]
        for a, b in itertools.pairwise(path):
            row = self.rows.rank[b]
            end = float(self.x[b])
            if b == target and isinstance(port, float):
                end += port
            if b == target and isinstance(port, str):
                return self._from_side(points, target, port)
            if row in self.crossing:
                self._over(points, path[0], row, end)
            else:
                self._across(points, a, row, end)
            if b < self.count:
                points.append((end, self._middle(b) - self.heights[b] / 2))
            else:
                points.append((end, self.top[row] + self.row_heights[row]))
        x, y = points[-1]
        return _tidy(points), (x, y, "down")

    def _from_side(
        self, points: list[Point], target: int, side: str
    ) -> tuple[list[Point], tuple[float, float, str]]:
        sign = -1 if side == "left" else 1
        x, y = points[-1][0], self._middle(target)
        end = float(self.x[target]) + sign * self.rows.widths[target] / 2
        _corner(points, (x, y), (end, y))
        points.append((end, y))
        return _tidy(points), (end, y, "left" if sign > 0 else "right")

    def _across(self, points: list[Point], item: int, row: int, end: float) -> None:
        """Lead a line to the next row: down, aside on its source's track, and down again."""
        start = points[-1][0]
        if abs(start - end) < 0.5:
            return
        above = self.top[row - 1] + self.row_heights[row - 1]
        level = above + (self.top[row] - above) * self.tracks[row].get(item, 0.5)
        _corner(points, (start, level), (end, level))
        _corner(points, (end, level), (end, self.top[row]))

    def _over(self, points: list[Point], source: int, row: int, end: float) -> None:
        """Lead a line from below one column to above the next."""
        track = self.crossing[row][source]
        column = self.column[row]
        below = self.top[row - 1] + self.row_heights[row - 1] + _ROUND + _TRACK * (track + 1)
        between = (
            self.starts[column][0]
            - GUTTER / 2
            + _TRACK * (track - len(self.crossing[row]) / 2 + 0.5)
        )
        above = self.top[row] - _ROUND - _TRACK * (track + 1)
        x = points[-1][0]
        for corner, to in (
            ((x, below), (between, below)),
            ((between, below), (between, above)),
            ((between, above), (end, above)),
            ((end, above), (end, self.top[row])),
        ):
            _corner(points, corner, to)
        points.append((end, self.top[row]))


def _corner(points: list[Point], corner: Point, to: Point) -> None:
    """Come to a corner and round it, in the direction of what follows."""
    before = points[-1]
    lengths = [math.hypot(corner[0] - p[0], corner[1] - p[1]) for p in (before, to)]
    radius = min(_ROUND, *(length / 2 for length in lengths))
    if radius < 0.5:
        points.append(corner)
        return
    first, last = (
        (
            corner[0] + (p[0] - corner[0]) * radius / length,
            corner[1] + (p[1] - corner[1]) * radius / length,
        )
        for p, length in zip((before, to), lengths, strict=True)
    )
    for t in (0.0, 0.33, 0.67, 1.0):
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append(
            (
                a * first[0] + b * corner[0] + c * last[0],
                a * first[1] + b * corner[1] + c * last[1],
            )
        )


def _tidy(points: list[Point]) -> list[Point]:
    """Leave out what lies on the way between its neighbours."""
    kept: list[Point] = []
    for point in points:
        if kept and math.dist(kept[-1], point) < 0.05:
            continue
        if len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2], kept[-1]
            aside = abs((bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax))
            if aside < 0.02 * math.dist(kept[-2], point):
                kept[-1] = point
                continue
        kept.append(point)
    return kept
