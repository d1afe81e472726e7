"""Many columns at once: a line for each row of the data, an axis for each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz import bars
from pellucid.viz.attributions import dots
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.prepare import Rows
from pellucid.viz.data.table import Table, read
from pellucid.viz.scale import evenly, sample, typed
from pellucid.viz.theme import (
    Frame,
    Theme,
    drawn_from,
    escape,
    number,
    positive_whole,
    shorten,
    theme_of,
)

_MOST = 500  # lines
_COLUMNS = 30
_STEPS = 12  # colours of a scale of numbers
_TRACES = 24  # at most, if there are no more colours
_ROW = 46  # pixels from one axis to the next
_GAP = -0.09  # where a missing value stands on its axis, which goes from 0 to 1
_SPREAD = 0.12  # of the room of a category, left and right of its place
_LETTER = 6.2
_LEVELS = 8  # of a category that are named on its axis
_SCALES = ("minmax", "standard", "log")


def parallel_coordinates(
    data: Any,
    *,
    columns: Sequence[str | int] | None = None,
    color: str | int | None = None,
    lines: int = _MOST,
    missing: str = "drop",
    scale: str | None = "minmax",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw every row as a line across axes, one for each column.

    The axes lie one below another, so that long names have room: a line runs from the first column
    at the top to the last.

    Parameters
    ----------
    data
        An array of shape (rows, columns), a data frame, a dict of columns, or a Dataset.
    columns
        Names or positions, from top to bottom; None for all (at most 30) but the one that colours.
        Categories stand evenly along their axis.
    color
        A column that colours the lines: numbers by a scale in twelve steps, anything else by
        groups.
    lines
        How many rows to draw at most, chosen at random.
    missing
        ``"drop"`` leaves rows without a value out and says how many; ``"show"`` draws what is
        missing left of its axis.
    scale
        ``"minmax"`` gives each axis its column's own range, ``"log"`` that of the logarithms;
        ``"standard"`` gives all of them standard deviations from the mean, and None one range of
        the numbers as they are. Ends are those of all rows, not only of those drawn.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the axes need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. ``customdata[0]`` of a point is its row's id.

    Raises
    ------
    InputError
        If there are fewer than two columns, no row is left, or an option is not one of its values.
    InputTypeError
        If the data are of a type that has no columns.
    """
    look = theme_of(theme)
    prepare.check_option(scale, "scale", _SCALES, none=True)
    positive_whole(lines, "lines", "how many rows to draw")
    table = read(data)
    chosen, left_out = _chosen(table, columns, color)
    tint = table.optional(color, "color")
    used: dict[str, Column | None] = {f"{k}": column for k, column in enumerate(chosen)}
    logs = tuple(r for r, c in used.items() if scale == "log" and c is not None
                 and c.kind == "number")  # fmt: skip
    rows = prepare.clean({**used, "color": tint}, table.ids, missing=missing, positive=logs)
    axes = [_Axis.of(rows.columns[f"{k}"], scale) for k in range(len(chosen))]
    if scale in (None, "standard"):
        axes = _shared(axes)
    kept = sample(len(rows), lines)
    drawn = rows.take(kept)
    letters = 28 if (width or 700) >= 560 else 16
    names = [shorten(axis.column.name, letters) for axis in axes]
    sides = bars.sides(names, [])

    figure = go.Figure()
    paint = _paint(rows.get("color"), kept, look, width, sides["left"])
    places = np.column_stack(
        [axis.place(drawn.columns[f"{k}"].values) for k, axis in enumerate(axes)]
    )
    # In turns, so that no colour lies above all others.
    turns = max(1, _TRACES // len(paint.shares))
    for turn in range(turns):
        for k, members, color_of in paint.shares:
            part = members[turn::turns]
            _lines(figure, places, drawn, part, color_of, paint.legend, k, axes, turn == 0)
    if paint.ends is not None:
        # A scale is drawn by a trace: this one has no point.
        figure.add_scatter(
            x=np.array([np.nan]), y=np.array([np.nan]), mode="markers", showlegend=False,
            marker={"color": np.array([0.0], np.float32), "coloraxis": "coloraxis"},
            hoverinfo="skip",
        )  # fmt: skip
    empty = bool(np.isnan(places).any())
    frame = Frame(
        title=title if title is not None else f"{len(rows):,} rows over {len(axes)} columns",
        caption=prepare.caption(
            table, rows,
            {
                "minmax": "each axis goes from its column's lowest value to its highest",
                "log": "each axis goes from its column's lowest value to its highest, "
                "logarithmically",
                "standard": "axes are in standard deviations from each column's mean",
            }.get(scale or "", "all axes share one range"),
            left_out, paint.note,
            f"{len(drawn):,} of {len(rows):,} rows drawn, chosen at random"
            if len(drawn) < len(rows) else None,
            "within a category, lines are spread"
            if any(axis.column.kind == "category" for axis in axes)
            else None,
            "left of an axis: missing" if empty else None,
        ),
        left=sides["left"], right=max(24, paint.legend.right), above=paint.legend.above + 6,
        axis=20 + (dots.BAR if paint.ends is not None else 0), width=width, height=height,
    )  # fmt: skip
    _ticks(figure, axes, panels.plain_size(width, frame.left, frame.right), look)
    bars.set_rows(figure, names, [], look)
    figure.update_yaxes(range=[len(axes) - 0.55, -0.35], showgrid=True)
    figure.update_xaxes(range=[_GAP - 0.03 if empty else -0.04, 1.04], visible=False)
    figure.update_layout(hovermode="closest")
    paint.legend.set(figure)
    natural = _ROW * len(axes)
    if paint.ends is not None:
        bar = dots.color_bar(look, paint.title, frame.plot_height(natural), 16, paint.ends)
        figure.update_layout(coloraxis=bar)
    settings = {"columns": len(axes), "color": color, "lines": lines, "missing": missing,
                "scale": scale}  # fmt: skip
    origin = drawn_from(table.title or "data", "parallel_coordinates", settings)
    return frame.apply(figure, look, origin, natural)


def _chosen(table: Table, columns: Any, color: Any) -> tuple[list[Column], str | None]:
    """Return the columns that have an axis, and a note on those that do not."""
    if columns is not None:
        places = [table.find(one, "columns") for one in columns]
    else:
        tint = None if color is None else table.find(color, "color")
        places = [k for k in range(len(table.names)) if k != tint]
    if len(places) < 2:
        raise InputError(
            f"parallel coordinates need at least two columns; there {'is' if places else 'are'} "
            f"{len(places)}"
        )
    note = None
    if len(places) > _COLUMNS:
        if columns is not None:
            raise InputError(f"columns= names {len(places)}; at most {_COLUMNS} axes can be read")
        note = f"the first {_COLUMNS} of {len(places):,} columns; columns= names others"
    return [table.column(k) for k in places[:_COLUMNS]], note


# -- axes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """One column's axis: which values stand at 0 and at 1."""

    column: Column
    low: float
    high: float
    mean: float = 0.0
    deviation: float = 1.0
    logarithmic: bool = False

    @classmethod
    def of(cls, column: Column, scale: str | None) -> _Axis:
        known = column.finite
        if not known.size:
            return cls(column, 0.0, 1.0)
        if column.kind == "category":
            return cls(column, 0.0, max(1.0, len(column.levels) - 1.0))
        logarithmic = scale == "log" and column.kind == "number"
        if logarithmic:
            known = np.log10(known)
        # In units of the largest, squares of huge numbers stay finite.
        size = float(np.abs(known).max()) or 1.0
        mean, deviation = float((known / size).mean()) * size, float((known / size).std()) * size
        if scale != "standard" or column.kind != "number":
            mean, deviation = 0.0, 1.0
        elif not deviation > 0:
            deviation = 1.0
        low, high = ((float(end) - mean) / deviation for end in (known.min(), known.max()))
        return cls(column, low, high, mean, deviation, logarithmic)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return where values stand; a constant in the middle."""
        moved = (np.log10(values) if self.logarithmic else values - self.mean) / self.deviation
        if self.column.kind == "category":
            # Lines that pass through a category lie side by side, not all on one point.
            room = _SPREAD / len(self.column.levels)
            moved = moved + np.random.default_rng(0).uniform(-room, room, len(moved))
        if self.high == self.low:
            return np.where(np.isnan(moved), np.nan, 0.5)
        # Halves: the range of huge numbers overflows.
        found: np.ndarray = (moved / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return found

    def ends(self, room: float) -> list[tuple[float, str]]:
        """Return what is written along an axis of so many pixels, and where."""
        column = self.column
        if not column.finite.size:
            return []
        if column.kind == "category":
            shown = evenly(len(column.levels), _LEVELS)
            letters = int(np.clip(0.75 * room / len(shown) / _LETTER, 3, 20))
            return [
                (level / self.high, shorten(column.levels[level], letters))
                for level in shown.tolist()
            ]
        values = [self.low * self.deviation + self.mean, self.high * self.deviation + self.mean]
        if self.logarithmic:
            values = [10**value for value in values]
        if self.low == self.high:
            return [(0.5, column.said(values[0]))]
        return [(0.0, column.said(values[0])), (1.0, column.said(values[1]))]


def _shared(axes: list[_Axis]) -> list[_Axis]:
    """Return axes of numbers with one range, the widest."""
    known = [axis.column.kind == "number" and axis.column.finite.size > 0 for axis in axes]
    ends = [(a.low, a.high) for a, is_known in zip(axes, known, strict=True) if is_known]
    if not ends:
        return axes
    low, high = min(end for end, _ in ends), max(end for _, end in ends)
    return [
        replace(axis, low=low, high=high) if is_known else axis
        for axis, is_known in zip(axes, known, strict=True)
    ]


def _ticks(figure: go.Figure, axes: list[_Axis], room: float, look: Theme) -> None:
    """Write along each axis what stands where, on the colour of the paper: lines pass below."""
    style = {
        "yanchor": "top",
        "yshift": -1,
        "showarrow": False,
        "bgcolor": look.paper,
        "opacity": 0.85,
        "borderpad": 0,
        "font": {"size": 10, "color": look.ink},
    }
    anchors = {0.0: "left", 1.0: "right"}
    figure.update_layout(
        annotations=[
            {"text": escape(text), "x": x, "y": row, "xanchor": anchors.get(x, "center"), **style}
            for row, axis in enumerate(axes)
            for x, text in axis.ends(room)
        ]
    )


# -- lines -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Paint:
    """Which lines have which colour."""

    shares: list[tuple[int, np.ndarray, str]]
    legend: panels.Legend
    title: str = ""
    ends: tuple[float, float] | None = None
    note: str | None = None


def _paint(
    column: Column | None, kept: np.ndarray, look: Theme, width: int | None, left: int
) -> _Paint:
    """Return the colours of the rows that are kept, which are those of the whole column."""
    if column is None:
        return _Paint([(0, np.arange(len(kept)), look.classes[0])], panels.Legend(None))
    known = column.finite
    if column.kind == "number" and len(np.unique(known)) > len(look.classes):
        low, high = (float(end) for end in np.percentile(known, [1, 99]))
        if low == high:
            low, high = float(known.min()), float(known.max())
        share = np.clip((column.values[kept] - low) / (high - low), 0, 1)
        steps = np.minimum((np.nan_to_num(share) * _STEPS).astype(int), _STEPS - 1)
        steps[np.isnan(share)] = _STEPS
        colors = [*(_between(look, (k + 0.5) / _STEPS) for k in range(_STEPS)), look.missing]
        shares = [(k, np.flatnonzero(steps == k), color) for k, color in enumerate(colors)]
        said = f"colours end at the 1st and 99th percentile, {number(low)} and {number(high)}"
        return _Paint(shares, panels.Legend(None), column.label, (low, high), said)
    groups, note = prepare.grouped(column, look)
    assert groups is not None
    codes = groups.codes[kept]
    shares = [(k, np.flatnonzero(codes == k), color) for k, color in enumerate(groups.colors)]
    return _Paint(shares, panels.Legend.of(groups, width, left), groups.title, None, note)


def _between(look: Theme, share: float) -> str:
    """Return a colour of the scale for points."""
    stops = np.array([stop for stop, _ in look.points])
    parts = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for _, c in look.points])
    mixed = [round(float(np.interp(share, stops, parts[:, k]))) for k in range(3)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _lines(
    figure: go.Figure,
    places: np.ndarray,
    rows: Rows,
    members: np.ndarray,
    color: str,
    legend: panels.Legend,
    k: int,
    axes: list[_Axis],
    first: bool,
) -> None:
    """Draw lines of one colour as one trace, with interruptions between them."""
    if not members.size:
        return
    count = len(axes)
    x = np.full((len(members), count + 1), np.nan)
    x[:, :count] = np.where(np.isnan(places[members]), _GAP, places[members])
    y = np.tile(np.append(np.arange(count), np.nan), len(members))
    said = [
        [f"{escape(shorten(axis.column.name, 60))}: {escape(axis.column.said(value))}"
         for value in rows.columns[f"{row}"].values[members]]
        for row, axis in enumerate(axes)
    ]  # fmt: skip
    texts = [text for line in zip(*said, strict=True) for text in (*line, "")]
    who, head = prepare.identity(np.repeat(rows.ids[members], count + 1))
    named = f"<br>{legend.name(k)}" if legend.groups is not None else ""
    figure.add_scatter(
        x=typed(x.ravel()),
        y=typed(y),
        mode="lines",
        line={"color": color, "width": 1},
        opacity=float(np.clip(60 / len(rows), 0.5, 0.9)),
        name=legend.name(k),
        legendgroup=str(k),
        showlegend=first and legend.groups is not None,
        hovertext=texts,
        hovertemplate=f"{head}%{{hovertext}}{named}<extra></extra>",
        **who,
    )
