"""The points of a scatter figure: their colours, their texts, and the image of their density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz import scale as sizes
from pellucid.viz.attributions import dots
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column, date
from pellucid.viz.data.prepare import Groups, Rows
from pellucid.viz.theme import Theme, escape, shorten

_GRID = (150, 200)  # rows and columns of cells, in one panel
_SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down",
)  # fmt: skip
_NAMED = 30  # points of groups up to which each is named
_CLASSES = 8  # numbers of no more values than this are classes


# -- colours -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paint:
    """What colours the points: nothing, groups, or numbers between two ends."""

    groups: Groups | None = None
    numbers: Column | None = None
    ends: tuple[float, float] = (0.0, 1.0)
    note: str | None = None
    ticks: tuple[tuple[float, str], ...] = ()

    @classmethod
    def of(cls, column: Column | None, look: Theme) -> tuple[Paint, str | None]:
        """Return what a column colours points with, and a note on its groups."""
        if column is None:
            return cls(), None
        known = column.finite
        if column.kind == "category" or len(np.unique(known)) <= _CLASSES:
            groups, note = prepare.grouped(column, look)
            return cls(groups=groups), note
        low, high = (float(end) for end in np.percentile(known, [1, 99]))
        if low == high:
            low, high = float(known.min()), float(known.max())
        beyond = int(((known < low) | (known > high)).sum())
        name = shorten(column.name, 40)
        note = f"colours of {name} end at its 1st and 99th percentile ({beyond:,} beyond)"
        ticks: tuple[tuple[float, str], ...] = ()
        if column.kind == "date":
            ticks = tuple((end, date(end).split(" ")[0]) for end in (low, high))
        return cls(numbers=column, ends=(low, high), note=note, ticks=ticks), None

    def scale(self, look: Theme, plot: float, *, beside: bool) -> dict[str, Any]:
        """Return the colour axis, with its bar below the plot."""
        assert self.numbers is not None
        axis = dots.color_bar(look, self.numbers.label, plot, 52, self.ends)
        if self.ticks:
            values, texts = zip(*self.ticks, strict=True)
            axis["colorbar"] |= {"tickvals": np.array(values), "ticktext": list(texts)}
        if beside:
            axis["colorbar"] |= {"len": 0.45, "x": 0.77}
        return axis

    def shares(self, rows: np.ndarray, look: Theme) -> list[tuple[int, np.ndarray, dict[str, Any]]]:
        """Return which points look alike: a number, the points, and how they look."""
        if self.groups is not None:
            codes = self.groups.codes[rows]
            return [
                (k, rows[codes == k], {"color": color, "symbol": _SYMBOLS[k % len(_SYMBOLS)]})
                for k, color in enumerate(self.groups.colors)
            ]
        if self.numbers is None:
            return [(0, rows, {"color": look.classes[0]})]
        values = self.numbers.values[rows]
        known = np.isfinite(values)
        colored = {"color": sizes.typed(values[known]), "coloraxis": "coloraxis"}
        return [
            (0, rows[known], colored),
            (1, rows[~known], {"color": look.missing, "symbol": "circle-open"}),
        ]


# -- traces ------------------------------------------------------------------------------------


@dataclass
class Drawn:
    """What was drawn, for the caption and the colour bar."""

    most: int = 0  # points in a cell
    sampled: int = 0
    dense: int = 0
    webgl: int = 0

    def density(
        self,
        figure: go.Figure,
        rows: np.ndarray,
        places: tuple[np.ndarray, np.ndarray],
        data: Rows,
        logs: tuple[str, ...],
        look: Theme,
        axes: dict[str, str],
    ) -> None:
        """Draw how many points each cell holds."""
        x, y = (
            np.log10(values[rows]) if role in logs else values[rows]
            for role, values in zip("xy", places, strict=True)
        )
        ends = [(float(v.min()), float(v.max())) for v in (x, y)]
        counts = sizes.density(x, y, ends[0], ends[1], _GRID)
        self.dense += len(rows)
        self.most = max(self.most, int(counts.max()))
        with np.errstate(divide="ignore"):
            shade = np.where(counts > 0, np.log10(counts), np.nan)
        x_edges, y_edges = (
            _edges(end, n, role in logs)
            for end, n, role in zip(ends, _GRID[::-1], "xy", strict=True)
        )
        kind = np.uint8 if counts.max() < 2**8 else np.uint16 if counts.max() < 2**16 else np.int32
        figure.add_heatmap(
            z=sizes.typed(shade),
            x=sizes.typed(x_edges),
            y=sizes.typed(y_edges),
            customdata=counts.astype(kind),
            coloraxis="coloraxis2",
            zsmooth=False,
            hoverongaps=False,
            hovertemplate="<br>".join(
                [
                    *_hover(data, np.arange(sizes.GL_POINTS), {}),
                    "%{customdata:,} points in this cell<extra></extra>",
                ]
            ),
            **axes,
        )

    def points(
        self,
        figure: go.Figure,
        rows: np.ndarray,
        places: tuple[np.ndarray, np.ndarray],
        data: Rows,
        paint: Paint,
        kind: str,
        whiskers: dict[str, np.ndarray] | None,
        axes: dict[str, str],
        first: bool,
        look: Theme,
    ) -> None:
        """Draw points, a trace for each group of colours."""
        dense = kind == "density"
        self.sampled += len(rows) if dense else 0
        self.webgl += kind == "webgl"
        legend = panels.Legend.of(paint.groups)
        make = go.Scattergl if kind == "webgl" else go.Scatter
        size = 8 if len(rows) <= 200 else 6 if len(rows) <= 1000 else 4 if not dense else 3
        for k, members, style in paint.shares(rows, look):
            if not members.size and (paint.groups is None or not first):
                continue
            who, head = prepare.identity(data.ids[members])
            lines = _hover(data, members, who)
            if paint.groups is not None:
                lines.append(f"{escape(paint.groups.title)} {legend.name(k)}")
            elif paint.numbers is not None and k == 0:
                lines.append(f"{escape(paint.numbers.label)} {paint.numbers.hover('marker.color')}")
            named = whiskers is not None and len(rows) <= _NAMED
            if named:
                who["text"] = [escape(shorten(one, 28)) for one in data.ids[members]]
            errors: dict[str, Any] = {}
            if whiskers is not None:
                for role in ("x", "y"):
                    values = data.columns[role].values
                    errors |= _whiskers(whiskers, role, values, members, look)
            marker = {"size": size, "opacity": 0.8 if not dense else 0.9, **style}
            if dense and paint.groups is None and paint.numbers is None:
                marker |= {"color": look.ink, "opacity": 0.25}
            figure.add_trace(
                make(
                    x=sizes.typed(places[0][members]),
                    y=sizes.typed(places[1][members]),
                    mode="markers+text" if named else "markers",
                    textposition=_inward(places[0], members),
                    **({"cliponaxis": False} if named else {}),
                    marker=marker,
                    name=legend.name(k),
                    legendgroup=str(k),
                    showlegend=first and paint.groups is not None,
                    hovertemplate=f"{head}{'<br>'.join(lines)}<extra></extra>",
                    **who,
                    **errors,
                    **axes,
                )
            )

    def notes(self, count: int) -> list[str | None]:
        """Return what the caption says of the points."""
        if not self.dense:
            return [None]
        what = "colours: how many points a cell holds, on a logarithmic scale"
        dots_said = f"dots: {self.sampled:,} of {self.dense:,} points, chosen at random"
        return [what, dots_said]

    def scale(self, look: Theme, plot: float) -> dict[str, Any]:
        """Return the colour axis of counts, with its bar below the plot."""
        top = max(np.log10(self.most), 1e-3)
        axis = dots.color_bar(look, "points in a cell", plot, 52, (0.0, float(top)))
        powers = np.arange(int(top) + 1)
        marks = np.unique(np.append(10.0**powers, self.most if top - int(top) > 0.3 else 1))
        axis["colorbar"] |= {
            "tickvals": np.log10(marks),
            "ticktext": [f"{mark:,.0f}" for mark in marks],
            "len": 0.45,
            "x": 0.23,
        }
        return axis | {"colorscale": look.sequential}


def _edges(ends: tuple[float, float], count: int, logarithmic: bool) -> np.ndarray:
    low, high = ends
    if low == high:
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    found = np.linspace(low, high, count + 1)
    return 10**found if logarithmic else found


def _hover(data: Rows, members: np.ndarray, who: dict[str, Any]) -> list[str]:
    """Return the lines of a hover text that say x and y; of categories, their names."""
    lines, named = [], []
    for role in ("x", "y"):
        column = data.columns[role]
        label = escape(column.label)
        if column.kind != "category":
            lines.append(f"{label} {column.hover(role)}")
        # A text for each of very many points would be longer than the points.
        elif len(members) <= sizes.SVG_POINTS:
            values = column.values[members]
            named.append([f"{label} {escape(column.said(value))}" for value in values])
    if named:
        who["hovertext"] = ["<br>".join(parts) for parts in zip(*named, strict=True)]
        lines.insert(0, "%{hovertext}")
    return lines


def _whiskers(
    ends: dict[str, np.ndarray], role: str, values: np.ndarray, members: np.ndarray, look: Theme
) -> dict[str, Any]:
    """Return the options that draw intervals along an axis; none where none is known."""
    low, high = ends[f"{role} low"][members], ends[f"{role} high"][members]
    if not np.isfinite(low).any():
        return {}
    return {
        f"error_{role}": {
            "array": sizes.typed(np.nan_to_num(high - values[members])),
            "arrayminus": sizes.typed(np.nan_to_num(values[members] - low)),
            "symmetric": False,
            "color": look.neutral,
            "thickness": 1.2,
            "width": 3,
        }
    }


def _inward(x: np.ndarray, members: np.ndarray) -> list[str] | str:
    """Return on which side of a point its name stands: towards the middle of the plot."""
    if len(members) > _NAMED:
        return "top right"
    middle = (np.nanmin(x) + np.nanmax(x)) / 2
    return ["top right" if at <= middle else "top left" for at in x[members]]
