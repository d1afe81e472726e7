"""Which columns go together: correlations as a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz.data import panels, prepare
from pellucid.viz.data.correlations import correlations
from pellucid.viz.data.table import Table, read
from pellucid.viz.scale import evenly, reduce_blocks, typed
from pellucid.viz.theme import Frame, drawn_from, escape, sentences, shorten, theme_of

_CELLS = 200  # columns from which on cells are blocks
_NAMED = 40  # columns that all are named on the axes
_SOME = 12  # of more columns, those that are
_WRITTEN = 12  # columns up to which the numbers stand in the cells
_VALUES = 50_000_000  # numbers that are looked at; of more, some rows
_METHODS = ("pearson", "spearman")
_ORDERS = ("given", "similar")
_LETTER = 6.4
_TICK = 13  # pixels of a name along an axis


def heatmap(
    data: Any,
    *,
    columns: list[str | int] | tuple[str | int, ...] | None = None,
    method: str = "pearson",
    order: str = "given",
    missing: str = "pairs",
    scale: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the correlations between columns of numbers, from -1 over 0 to 1.

    A correlation that is not defined (a constant column, fewer than three rows) is grey. Of more
    than 200 columns each cell shows the correlation of largest size of a block of pairs.

    Parameters
    ----------
    data
        An array of shape (rows, columns), a data frame, a dict of columns, or a Dataset.
    columns
        Names or positions of the columns; None for all of numbers.
    method
        ``"pearson"`` (linear) or ``"spearman"`` (of ranks: any rising or falling relation).
    order
        ``"given"``, or ``"similar"``, which puts like columns side by side: in the order of the
        angles between the two first eigenvectors (Friendly 2002, doi:10.1198/000313002533).
    missing
        ``"pairs"`` uses for each pair of columns the rows where both are known; ``"drop"`` only
        rows where all of the columns are.
    scale
        ``"log"`` for correlations of the logarithms, or None. Other scales do not change any.
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
        If there are fewer than two columns of numbers or rows, or an option is not one of its
        values.
    InputTypeError
        If the data are of a type that has no columns.
    """
    look = theme_of(theme)
    prepare.check_option(method, "method", _METHODS)
    prepare.check_option(order, "order", _ORDERS)
    prepare.check_option(missing, "missing", ("pairs", "drop"))
    if scale not in (None, "log"):
        raise InputError(
            f"scale={scale!r} changes no correlation; give scale='log' for those of the logarithms"
        )
    table = read(data)
    total = table.count
    names, values, notes = _numbers(table, columns, scale)
    if missing == "drop":
        kept = np.isfinite(values).all(axis=1)
        if kept.sum() < len(kept):
            notes.append(f"{len(kept) - int(kept.sum()):,} of {len(kept):,} rows dropped for a "
                         "missing value")  # fmt: skip
        values = values[kept]
    if len(values) < 2:
        raise InputError(
            f"correlations need at least two rows without gaps, and the data have {len(values)}"
        )
    found, pairs, exact = correlations(values, method)
    if order == "similar":
        sequence = _similar(found)
        found, pairs = found[np.ix_(sequence, sequence)], pairs[np.ix_(sequence, sequence)]
        names = [names[k] for k in sequence]
    count = len(names)
    apart = ~np.eye(count, dtype=bool)
    undefined = int(np.isnan(found[apart]).sum()) // 2
    strongest = _strongest(found, names)
    shown, block = (found, 1) if count <= _CELLS else reduce_blocks(
        np.where(apart, found, np.nan), _CELLS
    )  # fmt: skip
    figure = go.Figure(_map(shown, pairs, names, block, method))
    letters = 22 if (width or 700) >= 560 else 14
    longest = max(len(shorten(name, letters)) for name in names)
    few = count <= _NAMED
    left = int(26 + _LETTER * longest)
    below = int(20 + _LETTER * longest * 0.8)
    low, high = int(pairs[apart].min()), int(pairs[apart].max())
    frame = Frame(
        title=title if title is not None else f"Correlations of {count:,} columns",
        caption=sentences([
            *table.notes,
            f"{total:,} row{'s' if total != 1 else ''}",
            *notes,
            f"{method.capitalize()}'s correlation"
            + (" of the logarithms" if scale == "log" else ""),
            None if exact else "ranks are those in each column, not in each pair",
            f"of {high:,} rows each"
            if low == high
            else f"of {low:,} to {high:,} rows: those where both columns are known",
            f"grey: {undefined:,} not defined (a constant column, or too few rows)"
            if undefined else None,
            strongest,
            f"each cell is the correlation of largest size among {block} x {block} pairs"
            if block > 1 else None,
            "like columns side by side" if order == "similar" else None,
        ]),
        left=left, right=76, axis=below, width=width, height=height,
    )  # fmt: skip
    natural = float(np.clip(26 * count, 150, 560)) if few else 560.0
    room = panels.plain_size(width, left, 76)
    axis = {"showgrid": False, "zeroline": False, "ticks": "", "constrain": "domain"}
    across, down = (
        {**axis, **_ticks(names, letters, block, min(count if few else _SOME, int(most)))}
        for most in (room / (1.4 * _TICK), frame.plot_height(natural) / _TICK)
    )
    figure.update_layout(
        xaxis={**across, "tickangle": -50, "constraintoward": "left"},
        yaxis={**down, "autorange": "reversed", "constraintoward": "top"},
        coloraxis={
            "cmin": -1, "cmax": 1, "cmid": 0, "colorscale": look.diverging,
            "colorbar": {"title": {"text": "correlation (0: none)", "side": "right"},
                         "thickness": 10, "outlinewidth": 0, "nticks": 5},
        },
        plot_bgcolor=look.missing,
    )  # fmt: skip
    settings = {"columns": count, "method": method, "order": order, "missing": missing,
                "scale": scale}  # fmt: skip
    origin = drawn_from(table.title or "data", "heatmap", settings)
    return frame.apply(figure, look, origin, natural)


def _numbers(
    table: Table, columns: Any, scale: str | None
) -> tuple[list[str], np.ndarray, list[str]]:
    """Return the columns of numbers, (rows, columns), and notes on what was left out."""
    asked = columns is not None
    places = [table.find(one, "columns") for one in columns] if asked else range(len(table.names))
    notes = []
    most = max(1000, _VALUES // max(1, len(places)))
    if table.count > most:
        table = table.chosen(evenly(table.count, most))
        notes.append(f"{most:,} of the rows looked at, evenly chosen")
    names, found = [], []
    broken = 0
    others = 0
    for k in places:
        column = table.column(k)
        if asked:
            prepare.numeric(column, "columns")
        elif column.kind != "number":
            others += 1
            continue
        values = column.values
        bad = np.isinf(values) | (values <= 0) if scale == "log" else np.isinf(values)
        broken += int(bad.sum())
        values = np.where(bad, np.nan, values)
        names.append(column.name)
        found.append(np.log(values) if scale == "log" else values)
    if len(found) < 2:
        raise InputError(
            f"correlations are between columns of numbers; there {'is' if found else 'are'} "
            f"{len(found) or 'none'} of {len(table.names)}"
        )
    if others:
        some = "column is" if others == 1 else "columns are"
        notes.append(f"{others:,} {some} not of numbers (not drawn)")
    if broken:
        what = "infinite or ≤ 0" if scale == "log" else "infinite"
        notes.append(f"{broken:,} values are {what} (left out)")
    return names, np.column_stack(found), notes


def _similar(found: np.ndarray) -> np.ndarray:
    """Return the columns in the order of their angles in the plane of two eigenvectors."""
    filled = np.nan_to_num(found)
    _, vectors = np.linalg.eigh(filled)
    first, second = vectors[:, -1], vectors[:, -2]
    angles = np.arctan2(second, first)
    order = np.argsort(angles, kind="stable")
    # The circle is opened at its widest gap.
    gaps = np.diff(np.append(angles[order], angles[order[0]] + 2 * np.pi))
    return np.roll(order, -int(np.argmax(gaps)) - 1)


def _ticks(names: list[str], letters: int, block: int, most: int) -> dict[str, Any]:
    """Return the names along an axis, as many as there is room for."""
    shown = evenly(len(names), max(2, most))
    text = [escape(shorten(names[k], letters)) for k in shown]
    return {"tickvals": shown / block, "ticktext": text}


def _strongest(found: np.ndarray, names: list[str]) -> str | None:
    """Return the pair of largest correlation, in words."""
    sizes = np.abs(np.tril(found, -1))
    sizes[np.triu_indices(len(names))] = np.nan
    if np.isnan(sizes).all():
        return None
    row, column = np.unravel_index(np.nanargmax(sizes), sizes.shape)
    value = f"{found[row, column]:+.2f}".replace("-", "\N{MINUS SIGN}")
    a, b = shorten(names[column], 40), shorten(names[row], 40)
    return f"strongest: {a} and {b}, {value}"


def _map(
    shown: np.ndarray, pairs: np.ndarray, names: list[str], block: int, method: str
) -> go.Heatmap:
    """Return the trace; columns are named on hover as long as each has a cell of its own."""
    options: dict[str, Any] = {}
    places = "columns"
    if block == 1:
        options["customdata"] = typed(pairs)
        options["hovertemplate"] = "%{y}<br>%{x}<br>%{z:.3f}, %{customdata:,} rows<extra></extra>"
        # Two names may be alike when shortened; categories must not be.
        said = [f"{escape(shorten(name, 60))}" for name in names]
        if len(set(said)) < len(said):
            said = [f"{text} ({k + 1})" for k, text in enumerate(said)]
        options |= {"x": said, "y": said}
        if len(names) <= _WRITTEN:
            options["texttemplate"] = "%{z:.2f}"
    else:
        places = f"{places} in blocks of {block}"
        options["hovertemplate"] = f"%{{z:.3f}} ({method}, {places})<extra></extra>"
    return go.Heatmap(z=typed(shown), coloraxis="coloraxis", zsmooth=False, hoverongaps=False,
                      **options)  # fmt: skip
