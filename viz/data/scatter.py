"""Two columns against each other: points, or for very many an image of how dense they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz import scale as sizes
from pellucid.viz.attributions import dots
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.points import Drawn, Paint
from pellucid.viz.data.prepare import Groups, Rows
from pellucid.viz.data.table import read
from pellucid.viz.theme import Frame, Theme, drawn_from, escape, shorten, theme_of

_PLOT = 400
_JITTER = 0.28  # of a category's room, up and down


def scatter(
    data: Any,
    *,
    x: str | int | None = None,
    y: str | int | None = None,
    color: str | int | None = None,
    facet: str | int | None = None,
    group: str | int | None = None,
    aggregate: str = "mean",
    missing: str = "drop",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw two columns against each other, a point for each row.

    Up to 5,000 points are drawn one by one, up to 200,000 with WebGL. More become an image of how
    many points each cell holds, with some 2,000 of them, chosen at random, to point at; the figure
    says so.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame, a dict of columns, or a Dataset.
    x, y
        The columns' names or positions; None for the first and second.
    color
        A column that colours the points: numbers by a scale, anything else by groups.
    facet
        A column that divides the rows into panels.
    group
        A column whose values become one point each, in place of one for each row.
    aggregate
        What a group's point shows: ``"mean"`` (with two standard errors), ``"median"`` (with a 95 %
        interval) or ``"sum"`` of `x` and `y`.
    missing
        ``"drop"`` leaves rows without a value out and says how many; ``"show"`` draws rows without
        `x` or `y` at the edge of the plot, and those without a colour grey.
    scale
        Of numbers on both axes: ``"standard"``, ``"minmax"``, ``"log"`` (logarithmic axes) or None.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. ``customdata[0]`` of a point is its row's id.

    Raises
    ------
    InputError
        If there is no such column, no row is left, or an option is not one of its values.
    InputTypeError
        If the data are of a type that has no columns.
    """
    look = theme_of(theme)
    prepare.check_option(scale, "scale", prepare.SCALES, none=True)
    prepare.check_option(aggregate, "aggregate", ("mean", "median", "sum"))
    table = read(data)
    across = table.required(x, "x")
    up = table.required(y, "y", default=_other(table.names, across.name))
    sides = {"x": across, "y": up}
    logs = tuple(r for r, c in sides.items() if scale == "log" and c.kind == "number")
    others = {"color": color, "facet": facet, "group": group}
    used = {**sides, **{role: table.optional(one, role) for role, one in others.items()}}
    rows = prepare.clean(used, table.ids, missing=missing, positive=logs)
    said: list[str | None] = []
    for role in ("x", "y"):
        column, note = prepare.rescale(rows.columns[role], scale)
        rows = rows.swap(role, column)
        said.append(note)
    whiskers = None
    if group is not None:
        rows, whiskers, merged = _merge(rows, aggregate)
        said.append(merged)
    facets, facet_note = prepare.grouped(rows.get("facet"), look, panels.MOST)
    paint, color_note = Paint.of(rows.get("color"), look)

    grid = panels.Panels.of(facets, width)
    places, jitter_note = _places(rows)
    edge = _edge(rows, places, logs) if missing == "show" else None
    figure = go.Figure()
    drawn = Drawn()
    for panel in range(grid.count):
        here = np.arange(len(rows)) if facets is None else np.flatnonzero(facets.codes == panel)
        axes = panels.Panels.axes(panel)
        known = here[np.isfinite(places[0][here]) & np.isfinite(places[1][here])]
        kind = sizes.cloud(len(known))
        if kind == "density":
            drawn.density(figure, known, places, rows, logs, look, axes)
            known = known[sizes.sample(len(known), sizes.HOVER_POINTS)]
        drawn.points(figure, known, places, rows, paint, kind, whiskers, axes, panel == 0, look)
    if edge is not None:
        edge.draw(figure, facets, rows, look)
    left = panels.left_of(rows.columns["y"])
    legend = panels.Legend.of(paint.groups, width, left)
    bar = paint.numbers is not None or drawn.most > 0
    frame = Frame(
        title=title if title is not None else _title(rows, facets),
        caption=prepare.caption(
            table, rows, prepare.scale_note(scale), *said, *drawn.notes(grid.count),
            None if whiskers is None else f"whiskers: {prepare.interval_note(aggregate)}",
            edge.note if edge is not None else None,
            jitter_note, color_note, paint.note, facet_note,
        ),
        left=left, right=legend.right, above=legend.above, axis=52 + (dots.BAR + 4) * bar,
        width=width, height=height,
    )  # fmt: skip
    natural = grid.natural(_PLOT)
    axes_of = [panels.axis_of(rows.columns[role], scale) for role in ("x", "y")]
    axes_of[0]["nticks"] = 7
    plot = frame.plot_height(natural)
    grid.arrange(
        figure, axes_of[0], axes_of[1], (panels.plain_size(width, left, frame.right), plot)
    )
    figure.update_layout(hovermode="closest")
    legend.set(figure)
    if drawn.most:
        figure.update_layout(coloraxis2=drawn.scale(look, plot))
    if paint.numbers is not None:
        figure.update_layout(coloraxis=paint.scale(look, plot, beside=drawn.most > 0))
    settings = {"x": across.name, "y": up.name, "color": color, "facet": facet, "group": group,
                "aggregate": aggregate if group is not None else None, "missing": missing,
                "scale": scale}  # fmt: skip
    return frame.apply(
        figure, look, drawn_from(table.title or "data", "scatter", settings), natural
    )


def _other(names: tuple[str, ...], taken: str) -> int:
    """Return the position of the first column beside one."""
    return next((k for k, name in enumerate(names) if name != taken), 1)


def _title(rows: Rows, facets: Groups | None) -> str:
    x, y = (shorten(rows.columns[role].name, 40) for role in ("x", "y"))
    return f"{y} against {x}" + (f", by {facets.title}" if facets is not None else "")


# -- places ------------------------------------------------------------------------------------


def _merge(rows: Rows, how: str) -> tuple[Rows, dict[str, np.ndarray], str]:
    """Return one row for each group, and the ends of the intervals of x and y."""
    for role in ("x", "y"):
        prepare.numeric(rows.columns[role], role)
    group = rows.columns["group"]
    found, codes, counts = np.unique(
        group.values, return_inverse=True, return_counts=True, equal_nan=True
    )
    first = np.array([np.flatnonzero(codes == k)[0] for k in range(len(found))])
    merged = rows.take(first)
    ends: dict[str, np.ndarray] = {}
    for role in ("x", "y"):
        part = prepare.aggregate(rows.columns[role].values, codes, len(found), how)
        column = Column(f"{how} of {rows.columns[role].name}", "number", part.values,
                        unit=rows.columns[role].unit)  # fmt: skip
        merged = merged.swap(role, column)
        ends |= {f"{role} low": part.low, f"{role} high": part.high}
    names = np.array(
        [
            f"{shorten(group.said(value), 18)} (n {n:,})"
            for value, n in zip(found, counts, strict=True)
        ]
    )
    merged = Rows(merged.columns, names, merged.notes)
    note = f"{len(rows):,} rows merged by {shorten(group.name, 40)}: {how}"
    return merged, ends, note


def _places(rows: Rows) -> tuple[tuple[np.ndarray, np.ndarray], str | None]:
    """Return where the points stand; those of categories side by side."""
    found = []
    jittered = []
    generator = np.random.default_rng(0)
    for role in ("x", "y"):
        column = rows.columns[role]
        if column.kind != "category":
            found.append(column.values)
            continue
        # Missing ones stay so.
        moved = column.values + generator.uniform(-_JITTER, _JITTER, len(rows))
        found.append(moved)
        jittered.append(shorten(column.name, 40))
    note = f"within a category of {' and '.join(jittered)}, points are spread at random"
    return (found[0], found[1]), note if jittered else None


@dataclass(frozen=True)
class _Edge:
    """Where points without x or y stand: below and left of the others."""

    at: dict[str, float]
    note: str | None

    def draw(self, figure: go.Figure, facets: Groups | None, rows: Rows, look: Theme) -> None:
        """Draw them, at most some hundreds."""
        missing = {role: rows.columns[role].missing for role in ("x", "y")}
        broken = np.flatnonzero(missing["x"] | missing["y"])
        broken = broken[sizes.sample(len(broken), sizes.HOVER_POINTS)]
        codes = np.zeros(len(broken), int) if facets is None else facets.codes[broken]
        for panel in np.unique(codes):
            members = broken[codes == panel]
            place = {
                role: np.where(missing[role][members], self.at[role],
                               rows.columns[role].values[members])
                for role in ("x", "y")
            }  # fmt: skip
            who, head = prepare.identity(rows.ids[members])
            said = [
                " and ".join(
                    f"{escape(shorten(rows.columns[r].name, 40))} missing"
                    for r in ("x", "y") if missing[r][i]
                )
                for i in members
            ]  # fmt: skip
            figure.add_scatter(
                **{role: sizes.typed(values) for role, values in place.items()},
                mode="markers",
                marker={"symbol": "x-thin-open", "size": 7, "color": look.missing},
                hovertext=said,
                hovertemplate=f"{head}%{{hovertext}}<extra></extra>",
                showlegend=False,
                **who,
                **panels.Panels.axes(int(panel)),
            )


def _edge(rows: Rows, places: tuple[np.ndarray, np.ndarray], logs: tuple[str, ...]) -> _Edge | None:
    at = {}
    for role, values in zip("xy", places, strict=True):
        known = values[np.isfinite(values)]
        if not known.size:
            raise InputError(f"{role}: column {rows.columns[role].name!r} has no values")
        if role in logs:
            low, high = np.log10(known.min()), np.log10(known.max())
            at[role] = float(10 ** (low - 0.06 * ((high - low) or 1)))
        else:
            low, high = float(known.min()), float(known.max())
            at[role] = low - 0.06 * ((high - low) or abs(low) or 1)
    broken = rows.columns["x"].missing | rows.columns["y"].missing
    if not broken.any():
        return None
    count = int(broken.sum())
    shown = f", {sizes.HOVER_POINTS:,} of them drawn" if count > sizes.HOVER_POINTS else ""
    return _Edge(at, f"✕ at the edge: {count:,} rows with a missing x or y{shown}")
