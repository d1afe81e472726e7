"""How the values of a column are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz import scale as sizes
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.table import read
from pellucid.viz.theme import (
    Frame,
    drawn_from,
    number,
    percent,
    positive_whole,
    shorten,
    theme_of,
)

_PLOT = 340
_FAR = 0.95  # of the values in one bin: a few far ones stretch the axis
_DATES = 36  # bins of dates, at least, where there are so many
# Bins of dates: what each is called, its unit in NumPy, and how many of them.
_SPANS = (
    ("one second", "s", 1), ("one minute", "m", 1), ("ten minutes", "m", 10), ("one hour", "h", 1),
    ("six hours", "h", 6), ("one day", "D", 1), ("one week", "W", 1), ("one month", "M", 1),
    ("three months", "M", 3), ("one year", "Y", 1), ("ten years", "Y", 10),
    ("a hundred years", "Y", 100),
)  # fmt: skip


def histogram(
    data: Any,
    *,
    x: str | int | None = None,
    color: str | int | None = None,
    facet: str | int | None = None,
    bins: int | None = None,
    share: bool = False,
    missing: str = "drop",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how often the values of a column occur, counted before they are drawn.

    Whole numbers have bins of their own where they fit, dates bins of the calendar, other numbers
    those of the rule of Freedman and Diaconis. Categories are drawn by `pellucid.viz.data.bar`.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame, a dict of columns, or a Dataset.
    x
        The column's name or position; None for the first.
    color
        A column that divides the rows into groups, each a line over the same bins. Of many
        categories the most frequent are drawn apart; numbers are divided at their quartiles.
    facet
        A column that divides the rows into panels.
    bins
        How many; None for the rule.
    share
        Whether to draw shares of the group in place of counts.
    missing
        ``"drop"`` leaves rows without a value out and says how many; ``"show"`` gives them a bar of
        their own.
    scale
        ``"standard"`` (mean 0, standard deviation 1), ``"minmax"`` (0 to 1), ``"log"`` (bins of
        equal ratio on a logarithmic axis), or None.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. A million values take some kilobytes.

    Raises
    ------
    InputError
        If there is no such column, no row is left, or an option is not one of its values.
    InputTypeError
        If the data are of a type that has no columns.
    """
    look = theme_of(theme)
    prepare.check_option(scale, "scale", prepare.SCALES, none=True)
    if bins is not None:
        positive_whole(bins, "bins", "how many bins to draw")
    table = read(data)
    column = table.required(x, "x")
    if column.kind == "category":
        raise InputError(
            f"column {column.name!r} holds categories: viz.data.bar(data, x={column.name!r}) "
            "counts them"
        )
    logarithmic = scale == "log" and column.kind == "number"
    rows = prepare.clean(
        {"x": column, "color": table.optional(color, "color"),
         "facet": table.optional(facet, "facet")},
        table.ids, missing=missing, positive=("x",) if logarithmic else (),
    )  # fmt: skip
    if not rows.columns["x"].finite.size:
        raise InputError(f"column {column.name!r} has no values: all {len(rows):,} are missing")
    column, said = prepare.rescale(rows.columns["x"], scale)
    groups, color_note = prepare.grouped(rows.get("color"), look)
    facets, facet_note = prepare.grouped(rows.get("facet"), look, panels.MOST)
    grid, legend = panels.Panels.of(facets, width), panels.Legend.of(groups, width)

    values = np.log10(column.values) if logarithmic else column.values
    known = values[np.isfinite(values)]
    if column.kind == "date":
        edges, binned = _dates(known, bins)
    else:
        edges = sizes.bin_edges(known, bins)
        binned = _said(edges, logarithmic)
    ends = 10**edges if logarithmic else edges
    figure = go.Figure()
    most = 0
    split = groups.members() if groups else [np.arange(len(rows))]
    for panel in range(grid.count):
        here = np.ones(len(rows), bool) if facets is None else facets.codes == panel
        for k, members in enumerate(split):
            part = values[members[here[members]]]
            counts = sizes.counts(part[np.isfinite(part)], edges)
            most = max(most, int(counts.max(initial=0)))
            style = {
                "name": legend.name(k),
                "legendgroup": str(k),
                "showlegend": panel == 0,
                **panels.Panels.axes(panel),
            }
            add = _bars if groups is None else _steps
            add(figure, counts, ends, column, panels.look_of(k, groups, look), len(part), share,
                style)  # fmt: skip
    empty = int(np.isnan(column.values).sum())
    unit = "share of the rows" + (" of the group" if groups or facets else "")
    frame = Frame(
        title=title if title is not None else f"Distribution of {shorten(column.name, 60)}",
        caption=prepare.caption(
            table,
            rows,
            prepare.scale_note(scale) if column.kind == "number" else None,
            said,
            binned,
            f"{empty:,} of them missing" + (", the grey bar" if not groups else "")
            if empty
            else None,
            color_note,
            facet_note,
            f"{percent(most / known.size)} of the values lie in one bin: a few far ones stretch "
            "the axis"
            if len(edges) > 4 and most > _FAR * known.size and known.min() < known.max()
            else None,
        ),
        left=70,
        right=legend.right,
        above=legend.above,
        axis=52,
        width=width,
        height=height,
    )
    natural = grid.natural(_PLOT)
    across = panels.axis_of(column, scale)
    plain = panels.plain_size(width, frame.left, frame.right)
    if empty and groups is None:
        _missing(figure, column, facets, ends, share, look.missing, look.ink, logarithmic)
    up = {"title": {"text": unit if share else "rows"}, "rangemode": "tozero", "nticks": 6}
    if share:
        up["tickformat"] = ".0%"
    grid.arrange(figure, across, up, (plain, frame.plot_height(natural)))
    figure.update_layout(bargap=0, barmode="overlay", hovermode="closest")
    legend.set(figure)
    settings = {"x": column.name, "color": color, "facet": facet, "bins": bins, "share": share,
                "missing": missing, "scale": scale}  # fmt: skip
    return frame.apply(
        figure, look, drawn_from(table.title or "data", "histogram", settings), natural
    )


def _said(edges: np.ndarray, logarithmic: bool) -> str:
    """Return what the bins are, in words."""
    count, step = len(edges) - 1, float(edges[1] - edges[0])
    if logarithmic:
        return f"{count} bins of equal ratio, {number(10**step)}"
    return f"{count} bin{'s' if count > 1 else ''} of {number(step)}"


def _dates(values: np.ndarray, bins: int | None) -> tuple[np.ndarray, str]:
    """Return bins of whole days, months or years, in milliseconds, and what they are."""
    wanted = bins or max(_DATES, sizes.rule(values))
    low, high = (np.datetime64(int(end), "ms") for end in (values.min(), values.max()))
    for said, unit, step in _SPANS:
        first = int(low.astype(f"datetime64[{unit}]").astype(np.int64)) // step * step
        last = int(high.astype(f"datetime64[{unit}]").astype(np.int64)) // step * step
        count = (last - first) // step + 1
        if count <= wanted or (said, unit, step) == _SPANS[-1]:
            break
    starts = first + step * np.arange(count + 1)
    edges = starts.astype(f"datetime64[{unit}]").astype("datetime64[ms]").astype(np.int64)
    return edges.astype(np.float64), f"{count} bin{'s' if count > 1 else ''} of {said}"


def _heights(counts: np.ndarray, total: int, share: bool) -> np.ndarray:
    return sizes.typed(counts / max(1, total) if share else counts)


def _bars(
    figure: go.Figure,
    counts: np.ndarray,
    ends: np.ndarray,
    column: Column,
    color: str,
    total: int,
    share: bool,
    style: dict[str, Any],
) -> None:
    """Draw counts as bars."""
    middles, widths = (ends[1:] + ends[:-1]) / 2, np.diff(ends)
    figure.add_bar(
        x=sizes.typed(middles),
        y=_heights(counts, total, share),
        width=sizes.typed(widths) if np.ptp(widths) > 1e-6 * widths[0] else float(widths[0]),
        customdata=np.column_stack([ends[:-1], ends[1:], counts]),
        marker={"color": color, "line_width": 0},
        hovertemplate=f"{_range(column)}<br>%{{customdata[2]}} rows"
        + (", %{y:.2%}" if share else "")
        + "<extra></extra>",
        **style,
    )


def _range(column: Column) -> str:
    """Return the part of a hover text that says where a bin is."""
    form = "|%Y-%m-%d %H:%M" if column.kind == "date" else ":.5g"
    return f"%{{customdata[0]{form}}} to %{{customdata[1]{form}}}"


def _steps(
    figure: go.Figure,
    counts: np.ndarray,
    ends: np.ndarray,
    column: Column,
    color: str,
    total: int,
    share: bool,
    style: dict[str, Any],
) -> None:
    """Draw counts as a line with steps, over those of other groups."""
    heights = _heights(counts, total, share).astype(np.float64)
    figure.add_scatter(
        x=sizes.typed(np.concatenate([ends[:1], ends])),
        y=sizes.typed(np.concatenate([[0.0], heights, [0.0]])),
        mode="lines",
        line={"shape": "hv", "color": color, "width": 1.8},
        fill="tozeroy",
        fillcolor=panels.faint(color),
        customdata=np.concatenate([[0], counts, [0]]),
        hovertemplate=f"{style['name']}<br>from {column.hover('x')}: %{{customdata}} rows"
        + (", %{y:.2%}" if share else "")
        + "<extra></extra>",
        **style,
    )


def _missing(
    figure: go.Figure,
    column: Column,
    facets: prepare.Groups | None,
    ends: np.ndarray,
    share: bool,
    color: str,
    ink: str,
    logarithmic: bool,
) -> None:
    """Draw the missing values as a bar of their own, left of the others."""
    if logarithmic:
        first = float(np.log10(ends[0]))
        room = 0.06 * (float(np.log10(ends[-1])) - first)
        place, wide = 10 ** (first - room), 10 ** (first - 0.5 * room) - 10 ** (first - 1.5 * room)
    else:
        room = 0.06 * float(ends[-1] - ends[0])
        place, wide = float(ends[0]) - room, room
    for panel in range(1 if facets is None else len(facets.labels)):
        here = np.ones(len(column), bool) if facets is None else facets.codes == panel
        count = int((column.missing & here).sum())
        figure.add_bar(
            x=np.array([place]),
            y=np.array([count / max(1, int(here.sum())) if share else count], dtype=np.float64),
            width=wide,
            marker={"color": color, "line_width": 0},
            text=["missing"],
            textposition="inside",
            textangle=-90,
            insidetextanchor="start",
            constraintext="none",
            textfont={"color": ink, "size": 11},
            hovertemplate=f"missing: {count:,} rows<extra></extra>",
            **panels.Panels.axes(panel),
        )
