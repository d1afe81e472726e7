"""Several maps side by side, turned onto each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pellucid.interpret.results import Predictions, Projection
from pellucid.viz.projection import several
from pellucid.viz.projection.grid import Grid
from pellucid.viz.projection.paint import Colors, Paint, colors_of
from pellucid.viz.projection.points import add_points, axes_of, bar_place, check
from pellucid.viz.scale import sample
from pellucid.viz.theme import Frame, escape, sentences, shorten, theme_of
from pellucid.viz.training.steps import set_legend

_PANELS = 12
_SPACES = 4  # panels in space: each takes one of the browser's few WebGL contexts
_POINTS = 60_000  # of all panels


def projections(
    maps: Sequence[Projection] | Mapping[str, Projection],
    *,
    color: Any = None,
    predictions: Predictions | None = None,
    align: bool = True,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw several maps side by side: of other seeds, parameters, methods or layers.

    Colours mean the same on all of them, and below each stands how faithful it is. Maps of the same
    samples are moved, turned, mirrored and scaled onto the first (Procrustes), so that what still
    differs is a difference of shape.

    Parameters
    ----------
    maps
        Projections, by their names; or a list, which is named by the settings that differ.
    color
        As for `scatter`; one value for each point where all maps show the same samples.
    predictions
        As for `scatter`.
    align
        Whether to turn maps onto the first.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. Of many points the same ones are drawn on every map.

    Raises
    ------
    InputError
        If there are no maps, one has no points, or the colour does not go with all of them.
    InputTypeError
        If it is not a list or dict of Projection.
    """
    look = theme_of(theme)
    found = several.named(maps, "projections")
    flat = all(one.coordinates.shape[1] == 2 for one in found.values())
    shown = dict(list(found.items())[: _PANELS if flat else _SPACES])
    first = next(iter(shown.values()))
    parts = [colors_of(one, color, predictions) for one in shown.values()]
    paint = Paint.of(Colors.joined(parts), look)

    placed, notes, turned = [], [], 0
    for k, one in enumerate(shown.values()):
        places, note = one.coordinates, list(several.measured(one))
        if align and k and several.same_samples(one, first):
            places, disparity = several.align(places, first.coordinates)
            if disparity is not None:
                note.append(f"differs from the first by {disparity:.1%}")
                turned += 1
        placed.append(places)
        notes.append(note)

    figure = go.Figure()
    most = _POINTS // len(shown)
    rows = [check(one, "projections") for one in shown.values()]
    rows = [part[sample(len(part), most)] for part in rows]
    drawn = sum(map(len, rows))
    legend: set[str] = set()
    offset = 0
    for k, (one, places) in enumerate(zip(shown.values(), placed, strict=True)):
        where = Grid.where(k, places.shape[1])
        add_points(figure, one, rows[k], paint, places=places, offset=offset, drawn=drawn,
                   legend=legend, where=where)  # fmt: skip
        offset += len(one)
    figure.update_traces(marker_size=_size(max(map(len, rows)), flat))
    left, right = 24, 92 if paint.numeric else 24
    grid = Grid.of(list(map(str, shown)), notes, width, left + right)
    above = set_legend(figure, width, left + right, escape(shorten(paint.colors.title, 20)))
    if paint.numeric:
        above = 0
        figure.update_layout(showlegend=False)
    fewer = [n for n, one in zip(map(len, rows), shown.values(), strict=True) if n < len(one)]
    same = all(several.same_samples(one, first) for one in shown.values())
    frame = Frame(
        title=f"{len(shown)} maps" + (f" of {len(first):,} samples" if same else "")
        if title is None
        else title,
        caption=sentences(
            [
                several.trust_of_all(shown),
                f"{turned} turned onto the first: the percentage is the Procrustes disparity, "
                "0 for the same shape, 100 for no likeness"
                if turned
                else None,
                "not turned onto the first: maps of other samples"
                if align and turned < len(shown) - 1
                else None,
                "distances between groups mean little"
                if any(one.method != "pca" for one in shown.values())
                else None,
                f"{fewer[0]:,} samples of a map are drawn, chosen at random" if fewer else None,
                f"{len(found) - len(shown)} of {len(found)} maps are left out"
                if len(shown) < len(found)
                else None,
                *paint.notes,
            ]
        ),
        left=left,
        right=right,
        above=above,
        axis=8,
        width=width,
        height=height,
    )
    plot = frame.plot_height(grid.natural)
    axes = [axes_of(one, titles=False) for one in shown.values()]
    grid.arrange(figure, axes, plot, look)
    if paint.numeric:
        figure.update_layout(coloraxis=paint.axis(bar_place(plot)))
    return frame.apply(figure, look, first, grid.natural)


def _size(count: int, flat: bool) -> int:
    size = 5 if count <= 300 else 4 if count <= 2000 else 3
    return size if flat else 2
