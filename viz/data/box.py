"""How a column is distributed in each category, as boxes computed before they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz import bars
from pellucid.viz import scale as sizes
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.prepare import Groups, Rows
from pellucid.viz.data.table import Table, read
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

_ROW = 40  # pixels of a box and the space around it
_THIN = 20  # of a box among several of one category
_HALF = 0.34  # of a row's height that a box takes, up and down
_WIDE = 30  # columns drawn when none is named


@dataclass(frozen=True)
class _Part:
    """The values of one box: where it stands, and what their rows are called."""

    row: int
    group: int
    values: np.ndarray
    ids: np.ndarray


def box(
    data: Any,
    *,
    x: str | int | None = None,
    y: str | int | None = None,
    color: str | int | None = None,
    top: int = 20,
    missing: str = "drop",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how a column is distributed in each category: a box from quartile to quartile.

    The stroke in a box is the median, the diamond the mean; whiskers reach to the farthest values
    within 1.5 interquartile ranges; what is beyond are dots, of which at most 200 are drawn for a
    box, the farthest always. All is computed before it is drawn.

    Parameters
    ----------
    data
        An array of shape (rows,) or (rows, columns), a data frame, a dict of columns, or a Dataset.
    x
        The name or position of the column with the categories; None for no categories. Numbers and
        dates of many values are divided at their quartiles.
    y
        The column of numbers; None for a box of each column of numbers (with `x`, of the first).
    color
        A column that divides each category into groups.
    top
        How many categories to draw, by their number of rows; the rest share one box.
    missing
        ``"drop"`` leaves rows without a value out and says how many; ``"show"`` gives rows without
        a category a box of their own.
    scale
        ``"standard"``, ``"minmax"``, ``"log"`` (boxes of the logarithms, on a logarithmic axis) or
        None.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the boxes need.

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
    prepare.check_option(scale, "scale", prepare.SCALES, none=True)
    prepare.check_option(missing, "missing", prepare.MISSING)
    table = read(data)
    if x is None and y is None and len(table.names) > 1:
        if color is not None:
            raise InputError("color= divides the boxes of one column: name it with y=")
        return _columns(table, missing, scale, look, title, width, height)
    rows, boxes, groups, notes = _one(table, x, y, color, top, missing, scale, look)
    column = rows.columns["y"]
    labels = [shorten(column.name)] if boxes is None else [shorten(n) for n in boxes.labels]
    parts = _parts(rows, boxes, groups, scale)
    name = shorten(column.name, 50)
    heading = name if boxes is None else f"{name} by {boxes.title}"
    return _draw(
        table, parts, labels, column.label, groups, scale, look,
        title=f"Distribution of {heading}" if title is None else title,
        caption=lambda said: prepare.caption(table, rows, *notes, said),
        settings={"x": x, "y": column.name, "color": color, "top": top, "missing": missing},
        width=width, height=height,
    )  # fmt: skip


def _one(
    table: Table, x: Any, y: Any, color: Any, top: int, missing: str, scale: str | None, look: Theme
) -> tuple[Rows, Groups | None, Groups | None, list[str | None]]:
    """Return the rows of one column, by its categories and by the groups of the colours."""
    if y is None:
        taken = None if x is None else table.find(x, "x")
        others = (k for k in range(len(table.names)) if k != taken)
        y = next((k for k in others if table.column(k).kind == "number"), None)
        if y is None:
            raise InputError("there is no column of numbers to draw boxes of; name it with y=")
    column = prepare.numeric(table.required(y, "y"), "y")
    rows = prepare.clean(
        {"y": column, "x": table.optional(x, "x"), "color": table.optional(color, "color")},
        table.ids, missing=missing, positive=("y",) if scale == "log" else (),
    )  # fmt: skip
    column, said = prepare.rescale(rows.columns["y"], scale)
    rows = rows.swap("y", column)
    boxes, note = prepare.grouped(rows.get("x"), look, top + 1)
    groups, color_note = prepare.grouped(rows.get("color"), look)
    return rows, boxes, groups, [prepare.scale_note(scale), said, note, color_note]


def _parts(
    rows: Rows, boxes: Groups | None, groups: Groups | None, scale: str | None
) -> list[_Part]:
    values = rows.columns["y"].values
    found = []
    for row, members in enumerate([np.arange(len(rows))] if boxes is None else boxes.members()):
        codes = np.zeros(len(members), int) if groups is None else groups.codes[members]
        for group in range(1 if groups is None else len(groups.labels)):
            found.append(_part(row, group, values, rows.ids, members[codes == group], scale))
    return found


def _part(
    row: int,
    group: int,
    values: np.ndarray,
    ids: np.ndarray | None,
    members: np.ndarray,
    scale: str | None,
) -> _Part:
    """Return the values of some rows that have a place on the axis, as they are binned there."""
    found = values[members]
    kept = np.isfinite(found) & (found > 0) if scale == "log" else np.isfinite(found)
    members, found = members[kept], found[kept]
    named = members if ids is None else ids[members]
    return _Part(row, group, np.log10(found) if scale == "log" else found, named)


def _columns(
    table: Table,
    missing: str,
    scale: str | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a box of each column of numbers."""
    parts: list[_Part] = []
    labels: list[str] = []
    left_out = 0
    numbers = 0
    for k in range(len(table.names)):
        column = table.column(k)
        if column.kind != "number":
            continue
        numbers += 1
        moved, _ = prepare.rescale(column, scale)
        everyone = np.arange(len(column))
        part = _part(len(labels), 0, moved.values, table.ids, everyone, scale)
        if numbers <= _WIDE and part.values.size:
            parts.append(part)
            labels.append(shorten(column.name))
            left_out += len(column) - len(part.values)
    if not parts:
        raise InputError("there is no column of numbers to draw boxes of")
    rows = Rows({}, np.arange(table.count), ())
    units = {"standard": "standard deviations from the mean", "minmax": "0 lowest, 1 highest"}
    return _draw(
        table, parts, labels, units.get(scale or "", "value"), None, scale, look,
        title=f"Distribution of {len(labels)} columns" if title is None else title,
        caption=lambda said: prepare.caption(
            table,
            rows,
            prepare.scale_note(scale),
            f"the first {_WIDE} of {numbers:,} columns of numbers" if numbers > _WIDE else None,
            f"{left_out:,} values left out: missing, infinite"
            + (", or ≤ 0" if scale == "log" else "") if left_out else None,
            said,
        ),
        settings={"x": None, "y": None, "color": None, "missing": missing},
        width=width, height=height,
    )  # fmt: skip


def _draw(
    table: Table,
    parts: list[_Part],
    labels: list[str],
    quantity: str,
    groups: Groups | None,
    scale: str | None,
    look: Theme,
    *,
    title: str,
    caption: Any,
    settings: dict[str, Any],
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw the boxes of all rows and groups."""
    figure = go.Figure()
    legend = panels.Legend.of(groups, width, bars.sides(labels, [])["left"])
    count = 1 if groups is None else len(groups.labels)
    drawn = [(part, sizes.box(part.values)) for part in parts if part.values.size]
    half = _HALF / count
    for group in range(count):
        mine = [(part, found) for part, found in drawn if part.group == group]
        if not mine:
            continue
        at = np.array([part.row + (2 * group - count + 1) * half for part, _ in mine])
        color = panels.look_of(group, groups, look)
        more = f", {groups.labels[group]}" if groups else ""
        names = [labels[part.row] + more for part, _ in mine]
        found = [b for _, b in mine]
        name = legend.name(group)
        _boxes(figure, at, found, names, half * 0.86, color, name, scale == "log", look)
        _dots(figure, at, mine, color, name, scale == "log")
    # With a box for each row, the number of its values stands beside it.
    notes = [f"n {b.count:,}" for _, b in drawn] if len(drawn) == len(labels) else []
    outside = sum(b.outside for _, b in drawn)
    shown = sum(len(b.outliers) for _, b in drawn)
    sides = bars.sides(labels, notes)
    axis_title, axis = bars.axis_title(quantity, sides, width)
    frame = Frame(
        title=title,
        caption=caption(_outliers(outside, shown)),
        left=sides["left"],
        right=max(sides["right"], legend.right),
        above=legend.above,
        axis=axis,
        width=width,
        height=height,
    )
    bars.set_rows(figure, labels, notes, look)
    figure.update_xaxes(
        title_text=axis_title, type="log" if scale == "log" else "linear", zeroline=False
    )
    legend.set(figure)
    row = _ROW if count == 1 else max(_ROW, _THIN * count + 8)
    origin = drawn_from(table.title or "data", "box", {**settings, "scale": scale})
    return frame.apply(figure, look, origin, max(60, row * len(labels)))


def _outliers(outside: int, shown: int) -> str:
    said = "whiskers: farthest values within 1.5 interquartile ranges of the box"
    if not outside:
        return f"{said}, none beyond"
    if shown < outside:
        return f"{said}; beyond: {shown:,} of {outside:,} drawn, the farthest among them"
    return f"{said}; {outside:,} beyond"


def _boxes(
    figure: go.Figure,
    at: np.ndarray,
    found: list[sizes.Box],
    names: list[str],
    half: float,
    color: str,
    name: str,
    logarithmic: bool,
    look: Theme,
) -> None:
    """Draw the boxes of one group: four traces, however many there are."""

    def unit(values: Any) -> np.ndarray:
        array = np.asarray(values, dtype=np.float64)
        return 10**array if logarithmic else array

    low, q1, median, q3, high = (
        unit([getattr(b, part) for b in found]) for part in ("low", "q1", "median", "q3", "high")
    )
    mean = unit([b.mean for b in found])
    kind = "geometric mean" if logarithmic else "mean"
    hover = [
        f"<b>{escape(label)}</b><br>median {number(median[k])}, {kind} {number(mean[k])}<br>"
        f"quartiles {number(q1[k])} and {number(q3[k])}<br>"
        f"whiskers {number(low[k])} to {number(high[k])}<br>"
        f"{b.count:,} rows, {b.outside:,} beyond the whiskers"
        for k, (label, b) in enumerate(zip(names, found, strict=True))
    ]
    gap = np.full(len(found), np.nan)

    def strokes(*ends: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        x, y = zip(*ends, strict=True)
        return {
            "x": sizes.typed(np.column_stack([*x, gap]).ravel()),
            "y": sizes.typed(np.column_stack([*y, gap]).ravel()),
        }

    quiet = {"mode": "lines", "legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
    line = {"color": color, "width": 1.5}
    cap = half / 2
    figure.add_scatter(**strokes((low, at), (q1, at)), line=line, **quiet)
    figure.add_scatter(**strokes((q3, at), (high, at)), line=line, **quiet)
    for end in (low, high):
        figure.add_scatter(**strokes((end, at - cap), (end, at + cap)), line=line, **quiet)
    figure.add_bar(
        base=sizes.typed(q1),
        x=sizes.typed(q3 - q1),
        y=at,
        width=2 * half,
        orientation="h",
        name=name,
        legendgroup=name,
        marker={"color": color, "opacity": 0.55, "line": {"color": color, "width": 1.5}},
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
    )
    ink = {"color": look.ink, "width": 2.5}
    figure.add_scatter(**strokes((median, at - half), (median, at + half)), line=ink, **quiet)
    # Also where a box has no width: something to point at.
    figure.add_scatter(
        x=sizes.typed(mean),
        y=at,
        mode="markers",
        marker={"symbol": "diamond-open", "size": 8, "color": look.ink},
        legendgroup=name,
        showlegend=False,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _dots(
    figure: go.Figure,
    at: np.ndarray,
    found: list[tuple[_Part, sizes.Box]],
    color: str,
    name: str,
    logarithmic: bool,
) -> None:
    """Draw the outliers of one group, each with the id of its row."""
    if not any(len(b.outliers) for _, b in found):
        return
    values = np.concatenate([part.values[b.outliers] for part, b in found])
    ids = np.concatenate([part.ids[b.outliers] for part, b in found])
    who, head = prepare.identity(ids)
    figure.add_scatter(
        x=sizes.typed(10**values if logarithmic else values),
        y=sizes.typed(np.repeat(at, [len(b.outliers) for _, b in found])),
        mode="markers",
        marker={"size": 4.5, "color": color, "opacity": 0.7},
        legendgroup=name,
        showlegend=False,
        hovertemplate=f"{head}%{{x:.5g}}<extra></extra>",
        **who,
    )
