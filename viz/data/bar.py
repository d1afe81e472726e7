"""How many rows are of each category, or what another column is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz import bars
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.columns import Column
from pellucid.viz.data.table import read
from pellucid.viz.scale import typed
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

_THIN = 13  # pixels of a bar among several of one category
_ORDERS = ("size", "given")


def bar(
    data: Any,
    *,
    x: str | int | None = None,
    y: str | int | None = None,
    color: str | int | None = None,
    aggregate: str | None = None,
    order: str | None = None,
    top: int = 20,
    missing: str = "drop",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a bar for each category: how many rows it has, or the mean of another column in them.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame, a dict of columns, or a Dataset.
    x
        The name or position of the column with the categories; None for the first. Each value of a
        column of numbers or dates counts as one.
    y
        The column that is merged for each category; None to count rows.
    color
        A column that divides each category into groups, side by side.
    aggregate
        ``"mean"`` (with two standard errors), ``"median"`` (with a 95 % interval), ``"sum"`` or
        ``"count"`` of `y`; None for the mean, or the count where there is no `y`.
    order
        Of the categories: ``"size"`` puts the longest bars first, ``"given"`` leaves categories,
        numbers and dates in their own order; None for the size, except where they have an order.
    top
        How many categories to draw, by their number of rows.
    missing
        ``"drop"`` leaves rows without a value out and says how many; ``"show"`` gives missing
        categories a bar of their own.
    scale
        Of `y`, before it is merged: ``"standard"``, ``"minmax"`` or None. A bar has no length on a
        logarithmic axis.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the bars need.

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
    positive_whole(top, "top", "how many categories to draw")
    prepare.check_option(aggregate, "aggregate", prepare.AGGREGATES, none=True)
    prepare.check_option(order, "order", _ORDERS, none=True)
    if scale == "log":
        raise InputError(
            "a bar begins at zero, which a logarithmic axis does not have; viz.data.box or "
            "viz.data.scatter with scale='log' draw the values themselves"
        )
    prepare.check_option(scale, "scale", ("standard", "minmax"), none=True)
    table = read(data)
    how = aggregate or ("count" if y is None else "mean")
    if y is None and how != "count":
        raise InputError(f"aggregate={how!r} needs y=, the column to merge")
    category = table.required(x, "x")
    measured = table.optional(y, "y")
    if measured is not None and how != "count":
        prepare.numeric(measured, "y")
    rows = prepare.clean(
        {"x": category, "y": measured, "color": table.optional(color, "color")},
        table.ids, missing=missing,
    )  # fmt: skip
    said = None
    if measured is not None and how != "count":
        column, said = prepare.rescale(rows.columns["y"], scale)
        rows = rows.swap("y", column)
    groups, color_note = prepare.grouped(rows.get("color"), look)
    split = _categories(rows.columns["x"], top)
    measure = rows.get("y")
    # Counted are rows; of a column that is named, only its known values.
    values = np.zeros(len(rows)) if measure is None else measure.values
    whole = prepare.aggregate(values, split.codes, len(split.labels), how)
    ranked = order or ("given" if split.ordered else "size")
    sequence = np.arange(len(split.labels))
    if ranked == "size":
        key = np.nan_to_num(-whole.values, nan=np.inf)
        key[len(key) - split.missing :] = np.inf
        sequence = np.argsort(key, kind="stable")

    labels = [split.labels[k] for k in sequence]
    parts = _parts(values, split, groups, how)
    notes = [_note(whole, k, how) for k in sequence.tolist()] if groups is None else []
    sides = bars.sides(labels, notes)
    legend = panels.Legend.of(groups, width, sides["left"])
    quantity = _quantity(rows.get("y"), how)
    axis_title, axis = bars.axis_title(quantity, sides, width)
    frame = Frame(
        title=title if title is not None else _title(category, rows.get("y"), how),
        caption=prepare.caption(
            table,
            rows,
            prepare.scale_note(scale) if said else None,
            said,
            f"whiskers: {prepare.interval_note(how)}"
            if any(np.isfinite(part.low).any() for part in parts)
            else None,
            color_note,
            split.note,
            _by_default(order, ranked),
        ),
        left=sides["left"],
        right=max(sides["right"], legend.right),
        above=legend.above,
        axis=axis,
        width=width,
        height=height,
    )
    figure = go.Figure()
    for k, part in enumerate(parts):
        drawn = None if groups is None else legend.name(k)
        color_of = panels.look_of(k, groups, look)
        colors = [color_of] * len(sequence)
        if groups is None and split.missing:
            colors[int(np.argmax(sequence))] = look.missing
        _add(figure, part, sequence, labels, colors, drawn, quantity, look)
    bars.set_rows(figure, labels, notes, look)
    # Negative values have bars to the left of zero.
    figure.update_xaxes(title_text=axis_title, zeroline=True, rangemode="tozero")
    legend.set(figure)
    figure.update_layout(barmode="group")
    settings = {"x": category.name, "y": y, "color": color, "aggregate": how, "order": ranked,
                "top": top, "missing": missing, "scale": scale}  # fmt: skip
    row = bars.ROW if groups is None else max(bars.ROW, _THIN * len(groups.labels) + 8)
    origin = drawn_from(table.title or "data", "bar", settings)
    return frame.apply(figure, look, origin, max(44, row * len(labels)))


@dataclass(frozen=True)
class _Split:
    """Rows by their category.

    Attributes
    ----------
    codes
        The position of each row's category; -1 where that is not drawn.
    labels
        What the categories are called, the missing ones last.
    missing
        Whether the last of them are the missing ones.
    ordered
        Whether the categories have an order of their own.
    note
        What is left out, in words.
    """

    codes: np.ndarray
    labels: tuple[str, ...]
    missing: bool
    ordered: bool
    note: str | None


def _categories(column: Column, top: int) -> _Split:
    """Return the most frequent categories, and the missing ones."""
    known = ~column.missing
    found, inverse, counts = np.unique(
        column.values[known], return_inverse=True, return_counts=True
    )
    kept = np.sort(np.argsort(-counts, kind="stable")[:top])
    place = np.full(len(found), -1)
    place[kept] = np.arange(len(kept))
    codes = np.full(len(column), len(kept))
    codes[known] = place[inverse]
    labels = [shorten(column.said(value)) for value in found[kept]]
    missing = not known.all()
    note = None
    if len(kept) < len(found):
        left_out = int((codes < 0).sum())
        note = f"{len(found) - len(kept):,} less frequent categories not shown ({left_out:,} rows)"
    ordered = column.kind != "category" or column.ordered
    return _Split(codes, (*labels, *["missing"] * missing), missing, ordered, note)


def _parts(
    values: np.ndarray, split: _Split, groups: prepare.Groups | None, how: str
) -> list[prepare.Estimates]:
    """Return one number for each category, of each group."""
    count = len(split.labels)
    if groups is None:
        return [prepare.aggregate(values, split.codes, count, how)]
    found = []
    for members in groups.members():
        found.append(prepare.aggregate(values[members], split.codes[members], count, how))
    return found


def _note(whole: prepare.Estimates, k: int, how: str) -> str:
    """Return what stands right of a bar."""
    value = whole.values[k]
    if np.isnan(value):
        return "no values"
    return f"{value:,.0f}" if how == "count" else f"{number(value)} (n {whole.counts[k]:,})"


def _add(
    figure: go.Figure,
    part: prepare.Estimates,
    sequence: np.ndarray,
    labels: list[str],
    colors: list[str],
    name: str | None,
    quantity: str,
    look: Theme,
) -> None:
    """Draw the bars of one group."""
    values, low, high = (a[sequence] for a in (part.values, part.low, part.high))
    whiskers = {}
    if np.isfinite(low).any():
        whiskers = {
            "error_x": {
                "array": typed(np.nan_to_num(high - values)),
                "arrayminus": typed(np.nan_to_num(values - low)),
                "symmetric": False,
                "color": look.ink,
                "thickness": 1.2,
                "width": 4,
            }
        }
    head = "" if name is None else f"{name}, "
    figure.add_bar(
        x=typed(np.nan_to_num(values)),
        y=np.arange(len(labels)),
        orientation="h",
        name=name,
        marker={"color": colors, "line_width": 0},
        customdata=np.column_stack([part.counts[sequence], low, high]),
        hovertext=[f"<b>{head}{escape(label)}</b>" for label in labels],
        hovertemplate=f"%{{hovertext}}<br>{escape(shorten(quantity, 80))} %{{x:,.5g}}"
        + ("<br>%{customdata[1]:.4g} to %{customdata[2]:.4g}" if whiskers else "")
        + "<br>%{customdata[0]:,} rows<extra></extra>",
        **whiskers,
    )


def _quantity(column: Column | None, how: str) -> str:
    """Return what a bar's length is."""
    if column is None:
        return "rows"
    if how == "count":
        return f"rows with a value of {shorten(column.name, 60)}"
    return f"{how} of {column.label}"


def _title(category: Column, measured: Column | None, how: str) -> str:
    name = shorten(category.name, 50)
    if measured is None or how == "count":
        return f"Rows by {name}"
    return f"{how.capitalize()} of {shorten(measured.name, 50)} by {name}"


def _by_default(order: str | None, ranked: str) -> str | None:
    """Return the order of the bars in words, where nobody asked for it."""
    if order is not None:
        return None
    return "longest first" if ranked == "size" else "in the order of the categories"
