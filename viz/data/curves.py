"""One line of a figure of data: what is merged, thinned out and drawn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.prepare import Rows
from pellucid.viz.scale import LIMIT, decimate, evenly, typed
from pellucid.viz.theme import escape

_DASHES = ("solid", "dash", "dot", "dashdot")
_LINES = 500  # of one group, where a group has several
_AS_POINTS = 60  # lines of few points show where they are


@dataclass(frozen=True)
class Curve:
    """What is drawn of one line: points with interruptions, and the ends of a band.

    Attributes
    ----------
    ids
        Of the rows; None where they were merged.
    whole
        How many points there were before the line was thinned.
    repeated
        Whether several rows have the same x.
    lines
        How many lines are drawn of how many.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ids: np.ndarray | None
    whole: int
    repeated: bool
    lines: tuple[int, int] = (1, 1)


def curve(rows: Rows, members: np.ndarray, column: Column, how: str | None) -> Curve:
    """Merge what is asked for, and thin out what no screen shows."""
    x, y = rows.columns["x"].values[members], column.values[members]
    group = rows.get("group")
    if group is not None and how is None:
        return _bundle(x, y, rows.ids[members], group.values[members])
    repeated = bool((np.diff(x) == 0).any())
    ids: np.ndarray | None = rows.ids[members]
    low = high = np.full(len(x), np.nan)
    if how is not None and len(x):
        x, codes = np.unique(x, return_inverse=True)
        found = prepare.aggregate(y, codes, len(x), how)
        y, low, high = found.values, found.low, found.high
        ids = None
    kept = decimate(y)
    return Curve(
        x[kept], y[kept], low[kept], high[kept], None if ids is None else ids[kept], len(y),
        repeated and how is None,
    )  # fmt: skip


def _bundle(x: np.ndarray, y: np.ndarray, ids: np.ndarray, group: np.ndarray) -> Curve:
    """Join the lines of groups into one with interruptions."""
    found, codes = np.unique(group, return_inverse=True)
    shown = found[evenly(len(found), _LINES)]
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    # NaN, a missing group, is one like the others.
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(found) + 1))
    for k in np.flatnonzero(np.isin(found, shown) | np.isnan(found)):
        members = order[ends[k] : ends[k + 1]]
        kept = members[decimate(y[members], max(20, 20 * LIMIT // len(shown)))]
        parts.append((np.append(x[kept], np.nan), np.append(y[kept], np.nan),
                      np.append(ids[kept], ids[:1])))  # fmt: skip
    none = np.zeros(0)
    joined = [np.concatenate(p) for p in zip(*parts, strict=True)] if parts else [none, none, ids]
    gap = np.full(len(joined[0]), np.nan)
    drawn = len(joined[0]) - len(parts)
    return Curve(joined[0], joined[1], gap, gap, joined[2], len(y) if drawn < len(y) else 0,
                  False, (len(parts), len(found)))  # fmt: skip


@dataclass
class Counted:
    """What the caption says of all lines."""

    thinned: int = 0
    repeated: int = 0
    gaps: int = 0
    lines: int = 0
    kept: int = 0
    groups: int = 0
    banded: bool = False

    def add(self, curve: Curve) -> None:
        """Count one line."""
        self.lines += 1
        self.thinned += curve.whole > LIMIT
        self.repeated += curve.repeated
        self.kept += curve.lines[0]
        self.groups += curve.lines[1]
        if curve.lines[1] == 1:
            self.gaps += int(np.isnan(curve.y).sum())
        self.banded |= bool(np.isfinite(curve.low).any())

    def notes(self, how: str | None) -> list[str | None]:
        """Return the sentences."""
        band = prepare.interval_note(how) if how is not None and self.banded else None
        thinned = f"lines of more than {LIMIT:,} points are drawn by the minima and maxima of "
        thinned += f"{LIMIT // 2:,} stretches ({self.thinned} of {self.lines})"
        return [
            f"rows with the same x merged: {how}" if how is not None else None,
            f"band: {band}" if band else None,
            "several rows have the same x: aggregate='mean' merges them" if self.repeated else None,
            thinned if self.thinned else None,
            "a line is interrupted where its value is missing" if self.gaps else None,
            f"{self.kept:,} of {self.groups:,} lines drawn, evenly chosen"
            if self.kept < self.groups
            else None,
        ]


def draw(
    figure: go.Figure,
    curve: Curve,
    color: str,
    k: int,
    first: bool,
    along: Column,
    column: Column,
    style: dict[str, Any],
    how: str | None,
) -> None:
    """Draw one line, over its band."""
    banded = np.isfinite(curve.low) & np.isfinite(curve.high)
    if banded.sum() > 1:
        x = curve.x[banded]
        figure.add_scatter(
            x=typed(np.concatenate([x, x[::-1]])),
            y=typed(np.concatenate([curve.low[banded], curve.high[banded][::-1]])),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=panels.faint(color),
            hoverinfo="skip",
            showlegend=False,
            **{key: part for key, part in style.items() if key != "name"},
        )
    several = curve.lines[1] > 1
    points = len(curve.x) <= _AS_POINTS and not several
    who, head = ({}, "") if curve.ids is None else prepare.identity(curve.ids)
    hover = (
        f"{head}{escape(along.label)} {along.hover('x')}<br>"
        f"{style['name']} {'rows ' if how == 'count' else ''}{column.hover('y')}<extra></extra>"
    )
    figure.add_scatter(
        x=typed(curve.x),
        y=typed(curve.y),
        mode="lines+markers" if points else "lines",
        line={
            "color": color,
            "width": 1 if several else 1.7,
            "dash": "solid" if several else _DASHES[k // 8 % len(_DASHES)],
        },
        marker={"color": color, "size": 5},
        opacity=0.45 if several else 1,
        showlegend=first,
        hovertemplate=hover,
        **who,
        **style,
    )
    # Between two gaps a value has no line: it is marked.
    known = np.isfinite(curve.y)
    alone = known & ~np.append(known[1:], False) & ~np.append(False, known[:-1])
    if alone.any() and not points:
        who, _ = ({}, "") if curve.ids is None else prepare.identity(curve.ids[alone])
        figure.add_scatter(
            x=typed(curve.x[alone]),
            y=typed(curve.y[alone]),
            mode="markers",
            marker={"color": color, "size": 4},
            showlegend=False,
            hovertemplate=hover,
            **who,
            **style,
        )
