"""What the axes of a map by PCA are: how much variance they carry, and from which features."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.viz import bars
from pellucid.viz.theme import (
    Frame,
    compact,
    drawn_from,
    escape,
    expect,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 50  # components
_NAMED = 8  # components whose share is written on the bar


def scree(
    projection: Any,
    *,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the share of the variance that each direction carries, and what they carry together.

    Parameters
    ----------
    projection
        The result of ``pellucid.project(..., method="pca")``; or, for more directions than a map
        has, a fitted PCA: anything with ``explained_variance_ratio_``.
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
        If the projection's method does not say how much variance an axis carries.
    InputTypeError
        If it is neither a Projection nor a fitted PCA.
    """
    look = theme_of(theme)
    fitted = getattr(projection, "explained_variance_ratio_", None)
    if fitted is None:
        expect(projection, Projection, "scree")
        fitted = projection.explained_variance_ratio
        if fitted is None:
            raise InputError(
                f"a map by {projection.method} has no explained variance; give "
                "pellucid.project(..., method='pca')"
            )
    shares = np.asarray(fitted, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not np.isfinite(shares).all():
        raise InputError(
            f"explained variance is one finite share for each direction; got shape {shares.shape}"
        )
    total = np.cumsum(shares)
    shown = min(len(shares), _MOST)
    x = np.arange(1, shown + 1)
    figure = go.Figure()
    figure.add_bar(
        x=x,
        y=compact(shares[:shown]),
        marker={"color": look.classes[0]},
        name="each",
        text=[percent(share) for share in shares] if shown <= _NAMED else None,
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertemplate="component %{x}: %{y:.2%}<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=compact(total[:shown]),
        mode="lines+markers",
        line={"color": look.classes[1], "width": 2},
        marker={"color": look.classes[1], "size": 8 if shown <= 20 else 5, "symbol": "square"},
        name="together",
        hovertemplate="components 1 to %{x}: %{y:.2%}<extra></extra>",
    )
    figure.update_layout(
        xaxis={"title": {"text": "component"}, "dtick": max(1, shown // 10), "zeroline": False,
               "range": [0.4, shown + 0.6], "showgrid": False},
        yaxis={"title": {"text": "share of the variance"}, "tickformat": ".0%", "range": [0, 1.05]},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        bargap=0.5 if shown <= 3 else 0.25,
    )  # fmt: skip
    known = isinstance(projection, Projection)
    rest = max(0.0, 1 - float(total[-1]))
    frame = Frame(
        title="Variance that each direction carries" if title is None else title,
        caption=sentences(
            [
                f"the {len(shares)} directions of largest variance carry {percent(total[-1])}, "
                f"all others {percent(rest)}"
                + (f", of {projection.features} features" if known else ""),
                f"{len(shares) - shown} directions are not drawn" if shown < len(shares) else None,
                f"their map: {projection.trust()}" if known else None,
                "directions of large variance need not be those that tell classes apart",
            ]
        ),
        left=72,
        axis=52,
        above=26,
        width=width,
        height=height,
    )
    source = projection if known else drawn_from(type(projection).__name__, "scree", {})
    return frame.apply(figure, look, source, 320)


def loadings(
    projection: Projection,
    axis: int = 0,
    *,
    top: int = 15,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the features that make up one axis of a map by PCA, strongest first, with their signs.

    Parameters
    ----------
    projection
        The result of ``pellucid.project(..., method="pca")``.
    axis
        Of the map: 0 for the first component.
    top
        How many features to draw.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the component.
    width, height
        In pixels; None for the width that there is, and the height that the bars need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the projection has no loadings, or no such axis.
    InputTypeError
        If it is not a Projection.
    """
    look = theme_of(theme)
    expect(projection, Projection, "loadings")
    positive_whole(top, "top", "how many features to draw")
    if projection.loadings is None:
        raise InputError(
            f"a map by {projection.method} has no loadings; give "
            "pellucid.project(..., method='pca')"
        )
    count = len(projection.loadings)
    whole = isinstance(axis, (int, np.integer)) and not isinstance(axis, bool)
    if not whole or not 0 <= axis < count:
        raise InputError(f"axis={axis!r}; the map has axes 0 to {count - 1}")
    values = np.asarray(projection.loadings[axis], dtype=np.float64)
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    given = projection.feature_names
    names = [given[i] if given else f"feature {i}" for i in order]
    chosen = values[order]
    labels, notes = [shorten(name) for name in names], [bars.signed(value) for value in chosen]
    figure = go.Figure(
        go.Bar(
            x=compact(chosen),
            y=np.arange(len(chosen)),
            orientation="h",
            marker={"color": np.where(chosen < 0, look.negative, look.positive).tolist()},
            hovertext=[
                f"<b>{escape(shorten(name, 200))}</b><br>{escape(note)}<br>{percent(value**2)} of "
                "the direction"
                for name, note, value in zip(names, notes, chosen, strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    bars.set_rows(figure, labels, notes, look)
    largest = float(np.abs(chosen).max(initial=0)) or 1.0
    sides = bars.sides(labels, notes)
    text, room = bars.axis_title("loading: weight of the feature in the direction", sides, width)
    figure.update_xaxes(title_text=text, range=[-1.05 * largest, 1.05 * largest], zeroline=True)
    shares = projection.explained_variance_ratio
    carried = "" if shares is None else f", {percent(shares[axis])} of the variance"
    left_out = len(values) - len(order)
    weight = float((chosen**2).sum() / ((values**2).sum() or 1.0))
    frame = Frame(
        title=f"What component {axis + 1} is made of{carried}" if title is None else title,
        caption=sentences(
            [
                f"these {len(order)} of {len(values)} features make up {percent(weight)} of the "
                "direction (squared loadings)"
                if left_out
                else "all features; squared loadings add up to 1",
                "the sign of a direction is arbitrary: only signs against each other mean anything",
                "features of large variance weigh more unless they were scaled",
                f"their map: {projection.trust()}",
            ]
        ),
        **sides,
        axis=room,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, projection, bars.ROW * len(labels))
