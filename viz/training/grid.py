"""A statistic of many layers over the steps, reduced to what can be seen on a screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.theme import number
from pellucid.viz.training.steps import Track, clean

COLUMNS = 320  # of a map; more cannot be told apart on a screen
ROWS = 200
_CELLS = 32_000
VALUE, ZERO, BROKEN, MISSING = range(4)  # what a cell holds
_SCORE_ZERO = float(np.finfo(np.float64).max)


def recorded(run: Run, statistic: str) -> dict[str, Track]:
    """Return one statistic of every layer that has values of it; raise where there is none."""
    found = {name: clean(track) for name, track in run.statistic(statistic).items()}
    found = {name: track for name, track in found.items() if len(track[0])}
    if not found:
        raise InputError(f"the run {run.name!r} has no values of the statistic {statistic!r}")
    return found


@dataclass(frozen=True)
class Grid:
    """A statistic of layers (rows) over the steps (columns), reduced to what can be seen.

    Attributes
    ----------
    names
        Of the rows.
    members
        The layers of each row, by their names.
    steps
        Where the columns stand.
    values
        Shape (rows, columns); on a logarithmic scale the logarithms.
    kinds
        What each cell holds: a value, exactly zero (where that has no logarithm), something not
        finite, or nothing.
    across, down
        How many steps and layers one cell stands for.
    logarithmic
        Whether `values` are logarithms to base 10.
    """

    names: list[str]
    members: list[list[str]]
    steps: np.ndarray
    values: np.ndarray
    kinds: np.ndarray
    across: int
    down: int
    logarithmic: bool

    @property
    def known(self) -> np.ndarray:
        """All values."""
        found: np.ndarray = self.values[self.kinds == VALUE]
        return found

    def extent(self) -> str | None:
        """Say from where to where the values go."""
        if not self.known.size:
            return None
        low, high = self.known.min(), self.known.max()
        if self.logarithmic:
            low, high = 10.0**low, 10.0**high
        return f"{number(low)} to {number(high)}"

    def note(self) -> str | None:
        """Say what one cell stands for."""
        if self.across * self.down == 1:
            return None
        of = [f"{self.across} recorded steps"] if self.across > 1 else []
        of += [f"{self.down} neighbouring layers"] if self.down > 1 else []
        return f"a cell shows the value furthest from its layer's median of {' by '.join(of)}"


def reduce(tracks: Mapping[str, Track], logarithmic: bool) -> Grid:
    """Lay tracks out as a map of at most `COLUMNS` by `ROWS` cells, keeping what stands out.

    Of all values of one cell the map shows the first kind that there is: one that is not finite,
    zero on a logarithmic scale, the value furthest from its layer's median. So a short spike, a
    collapse and a single NaN stay visible.
    """
    found = list(tracks.values())
    alike = all(np.array_equal(one[0], found[0][0]) for one in found)
    steps = np.unique(found[0][0] if alike else np.concatenate([one[0] for one in found]))
    most = min(COLUMNS, _CELLS // min(len(found), ROWS))
    across = math.ceil(len(steps) / most)
    columns = math.ceil(len(steps) / across)
    values = np.full((len(found), columns), np.nan)
    scores = np.full(values.shape, -1.0)
    for row, track in enumerate(found):
        where = np.searchsorted(steps, track[0]) // across
        shown, score = _scored(track[1], logarithmic)
        order = np.lexsort((score, where))
        last = np.append(np.flatnonzero(np.diff(where[order])), len(order) - 1)
        kept = order[last] if len(order) else order
        values[row, where[kept]] = shown[kept]
        scores[row, where[kept]] = score[kept]
    down = math.ceil(len(found) / ROWS)
    names = list(tracks)
    members = [names[k : k + down] for k in range(0, len(names), down)]
    if down > 1:
        values, scores = _fewer_rows(values, scores, down)
        names = [f"{part[0]} … {part[-1]}" if len(part) > 1 else part[0] for part in members]
    kinds = np.full(values.shape, VALUE, np.uint8)
    kinds[scores == _SCORE_ZERO] = ZERO
    kinds[np.isposinf(scores)] = BROKEN
    kinds[scores < 0] = MISSING
    starts = steps[::across]
    ends = steps[np.minimum(np.arange(across - 1, columns * across, across), len(steps) - 1)]
    return Grid(names, members, (starts + ends) / 2, values, kinds, across, down, logarithmic)


def _scored(values: np.ndarray, logarithmic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return what is drawn of values, and how much each stands out."""
    broken = ~np.isfinite(values) | (logarithmic & (values < 0))
    zero = logarithmic & (values == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log10(values) if logarithmic else values.copy()
    plain = ~broken & ~zero
    score = np.zeros(len(values))
    if plain.any():
        # Halves: the distance of two float64 of opposite sign may be too large for a float64.
        half = shown[plain] / 2
        score[plain] = np.minimum(np.abs(half - np.median(half)), _SCORE_ZERO / 2)
    score[zero] = _SCORE_ZERO
    score[broken] = np.inf
    return np.where(plain, shown, np.nan), score


def _fewer_rows(values: np.ndarray, scores: np.ndarray, down: int) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbouring layers."""
    rows = math.ceil(len(values) / down)
    more = ((0, rows * down - len(values)), (0, 0))
    scores = np.pad(scores, more, constant_values=-1).reshape(rows, down, -1)
    values = np.pad(values, more, constant_values=np.nan).reshape(rows, down, -1)
    best = scores.argmax(axis=1)[:, None]
    held, score = (np.take_along_axis(a, best, axis=1)[:, 0] for a in (values, scores))
    return held, score


def is_wide(tracks: Mapping[str, Track]) -> bool:
    """Say whether values above zero span so much that only logarithms show them all."""
    known = np.concatenate([values[np.isfinite(values)] for _, values in tracks.values()])
    if not known.size or (known < 0).any() or not (known > 0).any():
        return False
    above = known[known > 0]
    return bool(above.max() > 100 * above.min())


def broken_note(tracks: Mapping[str, Track]) -> str | None:
    """Say how many values are not finite."""
    count = sum(int((~np.isfinite(values)).sum()) for _, values in tracks.values())
    return f"{count:,} of the values are not finite" if count else None
