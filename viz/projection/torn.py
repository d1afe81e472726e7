"""Where a map lies: points whose neighbourhoods it tore apart, or drew together falsely."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.viz.projection import neighbours
from pellucid.viz.projection.density import add_means
from pellucid.viz.projection.grid import Grid
from pellucid.viz.projection.hover import hover_images
from pellucid.viz.projection.points import (
    axes_of,
    bar_place,
    check,
    coordinates,
    distances_note,
    faint_to,
    identity,
    kind_of,
    placed_note,
    settings,
    size_of,
)
from pellucid.viz.scale import GL_POINTS, sample
from pellucid.viz.theme import Frame, compact, positive_whole, sentences, shorten, theme_of

_SPACE_POINTS = 25_000  # of each panel in space


def torn_neighbors(
    projection: Projection,
    *,
    edges: int = 60,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw where a map lies: false neighbours at the left, torn ones at the right.

    The left panel shows how much each point's neighbourhood on the map was drawn in from elsewhere
    (1 - trustworthiness), the right one how much of its true neighbourhood was torn away
    (1 - continuity), with one scale of colours. Lines join the worst pairs: neighbours on the map
    that are none in truth, and true neighbours that lie far apart on the map.

    Parameters
    ----------
    projection
        The result of `pellucid.project`, whole.
    edges
        How many pairs to draw at most in each panel, one of each point.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. ``customdata`` of a point is as for `scatter`.

    Raises
    ------
    InputError
        If there are no points, the projection holds no continuity or no true neighbours, or it is a
        part of a map.
    InputTypeError
        If it is not a Projection.
    """
    look = theme_of(theme)
    placed = check(projection, "torn_neighbors")
    positive_whole(edges, "edges", "how many pairs to draw")
    if projection.continuity is None:
        raise InputError("the projection has no 'continuity'; make it with pellucid.project")
    nearest = neighbours.true_neighbours(projection)
    if len(placed) < len(projection):
        raise InputError(
            f"{placed_note(projection, placed)}: give a map on which all points have a place"
        )
    places, dimensions = projection.coordinates, projection.coordinates.shape[1]
    wrong = [1 - np.asarray(part, dtype=np.float64)
             for part in (projection.trustworthiness, projection.continuity)]  # fmt: skip
    known = np.concatenate(wrong)
    known = known[np.isfinite(known)]
    top = float(np.percentile(known, 99)) if known.size else 0.0
    top = top or float(known.max(initial=0)) or 1.0

    figure = go.Figure()
    dense = len(placed) > GL_POINTS
    rows = sample(len(placed), _SPACE_POINTS) if dense and dimensions == 3 else placed
    pairs = (
        neighbours.worst_false(places, nearest, projection.trustworthiness, edges),
        neighbours.worst_torn(places, nearest, edges),
    )
    labels = ("drawn in falsely", "torn away")
    for k, (values, (starts, ends)) in enumerate(zip(wrong, pairs, strict=True)):
        where = Grid.where(k, dimensions)
        if dense and dimensions == 2:
            add_means(figure, places, values, coloraxis="coloraxis", **where)
        else:
            _points(figure, projection, rows, values, labels[k], where)
        line = np.full((3 * len(starts), dimensions), np.nan, dtype=np.float32)
        line[0::3], line[1::3] = places[starts], places[ends]
        make = go.Scatter3d if dimensions == 3 else go.Scatter
        figure.add_trace(
            make(
                **coordinates(line, np.arange(len(line))),
                mode="lines" if k else "lines+markers",
                line={"color": look.ink, "width": 2 if dimensions == 3 else 0.8},
                marker={
                    "color": look.ink,
                    "size": 5,
                    "symbol": "circle-open",
                    "line": {"width": 0.8},
                },
                opacity=1.0 if k == 0 else 0.6,
                hoverinfo="skip",
                showlegend=False,
                **where,
            )
        )
    sprite, sprite_note = hover_images(projection.display)
    names = ("false: drawn into a neighbourhood", "torn: true neighbours far apart")
    k = nearest.shape[1]
    notes = (
        (f"1 \N{MINUS SIGN} trustworthiness, {wrong[0].mean():.3f} on average;",
         f"lines: {len(pairs[0][0])} of the worst pairs that are no true neighbours"),
        (f"1 \N{MINUS SIGN} continuity, {wrong[1].mean():.3f} on average;",
         f"lines: the {len(pairs[1][0])} longest between true neighbours"),
    )  # fmt: skip
    left, right = 24, 92
    grid = Grid.of(names, notes, width, left + right, least=240)
    where_at = "" if projection.at == "input" else f" of {shorten(projection.at, 40)}"
    frame = Frame(
        title=f"Where the map of {len(projection):,} samples{where_at} lies"
        if title is None
        else title,
        caption=sentences(
            [
                projection.trust(),
                "strong colours: neighbourhoods that are not what they seem; one scale for both "
                f"panels (up to {top:.2g}; {int((known > top).sum()):,} beyond)",
                f"true neighbours are the {k} nearest among {projection.features} features",
                "a line for at most one pair of each point",
                f"{projection.method}",
                distances_note(projection),
                settings(projection),
                f"more than {GL_POINTS:,} points: the mean of each cell"
                if dense and dimensions == 2
                else None,
                f"{len(rows):,} of {len(placed):,} points, chosen at random"
                if len(rows) < len(placed)
                else None,
                sprite_note,
            ]
        ),
        left=left,
        right=right,
        axis=8,
        width=width,
        height=height,
    )
    plot = frame.plot_height(grid.natural)
    grid.arrange(figure, [axes_of(projection, titles=False)] * 2, plot, look)
    figure.update_layout(
        coloraxis={
            "cmin": 0,
            "cmax": top,
            "colorscale": faint_to(look),
            "colorbar": {
                "title": {"text": "wrong neighbourhood", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
                "nticks": 6,
                **bar_place(plot),
            },
        },
        showlegend=False,
    )
    frame.apply(figure, look, projection, grid.natural)
    if sprite is not None:
        figure.update_layout(meta={**figure.layout.meta, "hover_images": sprite})
    return figure


def _points(
    figure: go.Figure,
    projection: Projection,
    rows: np.ndarray,
    values: np.ndarray,
    label: str,
    where: dict[str, str],
) -> None:
    """Draw the points of one panel, the worst last: on top."""
    rows = rows[np.argsort(np.nan_to_num(values[rows], nan=-1.0), kind="stable")]
    said, head = identity(projection, rows)
    dimensions = projection.coordinates.shape[1]
    figure.add_trace(
        kind_of(2 * len(rows), dimensions)(
            **coordinates(projection.coordinates, rows),
            **said,
            mode="markers",
            marker={
                "size": max(2, size_of(2 * len(rows), dimensions) - 1),
                "color": compact(values[rows]),
                "coloraxis": "coloraxis",
            },
            hovertemplate=f"{head}<br>{label}: %{{marker.color:.3f}}<br>"
            "%{customdata[2]:.0%} of its neighbours kept<extra></extra>",
            showlegend=False,
            **where,
        )
    )
