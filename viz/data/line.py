"""How columns change along another one: time series, sequences, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.curves import Counted, curve, draw
from pellucid.viz.data.prepare import Groups, Rows
from pellucid.viz.data.table import Table, read
from pellucid.viz.theme import Frame, drawn_from, escape, shorten, theme_of

_PLOT = 340
_SERIES = 12


def line(
    data: Any,
    *,
    x: str | int | None = None,
    y: str | int | Sequence[str | int] | None = None,
    color: str | int | None = None,
    group: str | int | None = None,
    facet: str | int | None = None,
    aggregate: str | None = None,
    missing: str = "show",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw one or several columns as lines along another.

    Rows are put in the order of `x`. A line of more than 2000 points is drawn by the minima and
    maxima of 1000 stretches, so that no peak is lost.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame, a dict of columns, or a Dataset.
    x
        The name or position of the column along the axis; None for the first column of dates, or
        the position of the rows where there is none.
    y
        The column of numbers, or several; None for all columns of numbers (at most 12).
    color
        A column that divides the rows into lines of their own colour; of one `y` only.
    group
        A column that divides the rows into lines of the same colour: one for each patient, say.
    facet
        A column that divides the rows into panels.
    aggregate
        Merges rows of one line that have the same `x`: ``"mean"`` with a band of two standard
        errors, ``"median"`` with one of its 95 % interval, ``"sum"`` or ``"count"``. None draws
        every row.
    missing
        ``"show"`` interrupts a line where its value is missing; ``"drop"`` leaves such rows out,
        and the line goes on. Rows without `x` are left out either way.
    scale
        Of `y`: ``"standard"`` or ``"minmax"`` (each column by itself), ``"log"`` (a logarithmic
        axis) or None.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there is no such column, no row is left, or an option is not one of its values.
    InputTypeError
        If the data are of a type that has no columns.
    """
    look = theme_of(theme)
    prepare.check_option(scale, "scale", prepare.SCALES, none=True)
    prepare.check_option(missing, "missing", prepare.MISSING)
    prepare.check_option(aggregate, "aggregate", prepare.AGGREGATES, none=True)
    table = read(data)
    along = _along(table, x, y)
    measured, left_out = _measured(table, y, along.name)
    if color is not None and len(measured) > 1:
        raise InputError(
            f"color= divides the lines of one column, but y= has {len(measured)}; name one"
        )
    said: list[str | None] = []
    for k, column in enumerate(measured):
        measured[k], note = prepare.rescale(column, scale)
        said.append(note)
    extra = {"color": table.optional(color, "color"), "group": table.optional(group, "group"),
             "facet": table.optional(facet, "facet")}  # fmt: skip
    rows = _rows(along, measured, extra, table.ids, missing, scale)
    groups, color_note = prepare.grouped(rows.get("color"), look)
    facets, facet_note = prepare.grouped(rows.get("facet"), look, panels.MOST)
    if len(measured) > 1:
        names = tuple(shorten(column.name, 40) for column in measured)
        colors = tuple(look.classes[k % len(look.classes)] for k in range(len(names)))
        series: Groups | None = Groups("", np.zeros(0, int), names, colors)
    else:
        series = groups
    legend, grid = panels.Legend.of(series, width), panels.Panels.of(facets, width)

    figure = go.Figure()
    counted = Counted()
    for panel in range(grid.count):
        here = None if facets is None else facets.codes == panel
        for k, members, column in _lines(rows, groups, here, len(measured)):
            found = curve(rows, members, column, aggregate)
            counted.add(found)
            style = {
                "name": legend.name(k) or escape(shorten(column.name, 40)),
                "legendgroup": str(k),
                **panels.Panels.axes(panel),
            }
            hue = panels.look_of(k, series, look)
            draw(figure, found, hue, k, panel == 0, rows.columns["x"], column, style, aggregate)
    quantity = measured[0].label if len(measured) == 1 else "value"
    if aggregate is not None:
        quantity = "rows" if aggregate == "count" else f"{aggregate} of {quantity}"
    frame = Frame(
        title=title if title is not None else _title(measured, along),
        caption=prepare.caption(
            table, rows, prepare.scale_note(scale), *said[:4], *counted.notes(aggregate),
            f"a line for each {shorten(rows.columns['group'].name, 30)}"
            if "group" in rows.columns and aggregate is None
            else None,
            left_out, color_note, facet_note,
        ),
        left=76, right=legend.right, above=legend.above, axis=52, width=width, height=height,
    )  # fmt: skip
    natural = grid.natural(_PLOT)
    up = {
        "title": {"text": escape(quantity)},
        "type": "log" if scale == "log" else "linear",
        "zeroline": False,
        "nticks": 7,
    }
    plain = panels.plain_size(width, frame.left, frame.right)
    size = (plain, frame.plot_height(natural))
    grid.arrange(figure, panels.axis_of(rows.columns["x"]), up, size)
    figure.update_layout(hovermode="closest")
    legend.set(figure)
    settings = {"x": along.name, "y": ", ".join(c.name for c in measured), "color": color,
                "group": group, "facet": facet, "aggregate": aggregate, "missing": missing,
                "scale": scale}  # fmt: skip
    return frame.apply(figure, look, drawn_from(table.title or "data", "line", settings), natural)


# -- columns -----------------------------------------------------------------------------------


def _along(table: Table, x: Any, y: Any) -> Column:
    """Return the column along the axis: dates where there are any, else the rows' positions."""
    if x is not None:
        return table.column(table.find(x, "x"))
    asked = {table.find(one, "y") for one in _several(y)}
    for k in range(min(len(table.names), 50)):
        if k not in asked and (column := table.column(k)).kind == "date":
            return column
    return Column("row", "number", np.arange(table.count, dtype=np.float64))


def _several(y: Any) -> list[Any]:
    return [] if y is None else list(y) if isinstance(y, (list, tuple)) else [y]


def _measured(table: Table, y: Any, along: str) -> tuple[list[Column], str | None]:
    """Return the columns that are lines, and a note on those that are not."""
    asked = _several(y)
    if asked:
        if len(asked) > _SERIES:
            raise InputError(
                f"y= names {len(asked)} columns; at most {_SERIES} lines are told apart"
            )
        found = [prepare.numeric(table.column(table.find(one, "y")), "y") for one in asked]
        return found, None
    found = []
    numbers = 0
    for k in range(len(table.names)):
        if table.names[k] == along and len(table.names) > 1:
            continue
        column = table.column(k) if numbers < _SERIES else None
        if column is None or column.kind == "number":
            numbers += 1
            found += [column] if column is not None else []
    if not found:
        raise InputError("there is no column of numbers to draw as a line; name it with y=")
    note = f"the first {_SERIES} columns of numbers; y= names others" if numbers > _SERIES else None
    return found, note


def _rows(
    along: Column,
    measured: list[Column],
    extra: dict[str, Column | None],
    ids: np.ndarray | None,
    missing: str,
    scale: str | None,
) -> Rows:
    """Return the rows in the order of x; what has no place on the axes interrupts the lines."""
    columns: dict[str, Column | None] = {"x": along}
    lost = 0
    for k, column in enumerate(measured):
        values = column.values
        broken = np.isinf(values) | (values <= 0) if scale == "log" else np.isinf(values)
        lost += int(broken.sum())
        columns[f"y{k}"] = replace(column, values=np.where(broken, np.nan, values))
    rows = prepare.clean({"x": along}, ids, missing="drop")
    kept = np.flatnonzero(np.isfinite(along.values))
    found = {r: c.take(kept) for r, c in {**columns, **extra}.items() if c is not None}
    rows = replace(rows, columns=found)
    if missing == "drop" and len(measured) == 1:
        again = prepare.clean(found, rows.ids, missing="drop")
        rows = replace(again, notes=(*rows.notes, *again.notes))
    if lost:
        what = "infinite or ≤ 0" if scale == "log" else "infinite"
        rows = replace(rows, notes=(*rows.notes, f"{lost:,} values are {what} (not drawn)"))
    values = rows.columns["x"].values
    if (np.diff(values) < 0).any():
        rows = rows.take(np.argsort(values, kind="stable"))
        rows = replace(rows, notes=(*rows.notes, f"sorted by {shorten(along.name, 40)}"))
    if not any(rows.columns[f"y{k}"].finite.size for k in range(len(measured))):
        raise InputError("none of the columns has a value that can be drawn")
    return rows


def _lines(
    rows: Rows, groups: Groups | None, here: np.ndarray | None, count: int
) -> list[tuple[int, np.ndarray, Column]]:
    """Return each line's number, its rows, and its column."""
    split = [np.arange(len(rows))] if groups is None else groups.members()
    if here is not None:
        split = [members[here[members]] for members in split]
    if count == 1:
        return [(k, members, rows.columns["y0"]) for k, members in enumerate(split)]
    return [(k, split[0], rows.columns[f"y{k}"]) for k in range(count)]


def _title(measured: list[Column], along: Column) -> str:
    if len(measured) == 1:
        return f"{shorten(measured[0].name, 50)} along {shorten(along.name, 40)}"
    return f"{len(measured)} columns along {shorten(along.name, 40)}"
