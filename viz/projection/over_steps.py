"""A map over the steps of a training, each turned onto the next: a slider, and a button to play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Predictions, Projection
from pellucid.viz.projection import several
from pellucid.viz.projection.hover import hover_images
from pellucid.viz.projection.paint import Paint, Share, colors_of
from pellucid.viz.projection.points import (
    bar_place,
    coordinates,
    identity,
    kind_of,
    scene_of,
    size_of,
)
from pellucid.viz.scale import evenly, sample
from pellucid.viz.theme import Frame, Theme, escape, sentences, shorten, theme_of
from pellucid.viz.training.steps import set_legend, when

_STEPS = 40
_POINTS = 2000
_ALL = 60_000  # points of all steps
_PLOT = 440
_SLIDER = 78  # pixels below the plot
_SECOND = 1000  # milliseconds


def projection_over_steps(
    maps: Mapping[Any, Projection],
    *,
    color: Any = None,
    predictions: Predictions | None = None,
    step_unit: str = "step",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw maps of the same samples at several steps: a slider, and a button that plays them.

    Each map is moved, turned, mirrored and scaled onto the next (Procrustes), back from the last:
    what moves between two steps is a change of shape. Maps of a method that starts at random differ
    for no reason besides; make each with ``pellucid.project(..., near=previous)``.

    Parameters
    ----------
    maps
        Projections of the same samples by their step; numbers are sorted, names stay in order.
    color
        As for `scatter`; measures of trust are those of the last map.
    predictions
        As for `scatter`.
    step_unit
        What a step is, for the slider.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure, at its last step; change it as you like. It needs no frames, so it also plays in
        a report. ``customdata`` of a point is its id and position.

    Raises
    ------
    InputError
        If there are no maps, they are not of the same samples, or the colour is unknown.
    InputTypeError
        If it is not a dict of Projection.
    """
    look = theme_of(theme)
    if not isinstance(maps, Mapping):
        raise InputTypeError(
            "viz.projection_over_steps draws a dict of steps and Projection; got a "
            f"{type(maps).__name__}"
        )
    found = several.named(_in_order(maps), "projection_over_steps")
    steps = list(found)
    last = found[steps[-1]]
    for step in steps:
        if not several.same_samples(found[step], last):
            raise InputError(
                f"the map of {_said(step)} is not of the same samples, in as many dimensions, as "
                f"that of {_said(steps[-1])}"
            )
    paint = Paint.of(colors_of(last, color, predictions), look)

    kept = [steps[k] for k in evenly(len(steps), _STEPS)]
    places = _turned([found[step].coordinates for step in kept])
    placed = np.flatnonzero(np.isfinite(places).all(axis=(0, 2)))
    if not placed.size:
        raise InputError("no point has finite coordinates at every step")
    rows = placed[sample(len(placed), min(_POINTS, _ALL // len(kept)))]
    shares = paint.shares(rows, places.shape[2])
    figure = go.Figure()
    for share in shares:
        _points(figure, share, places[-1], last, paint, len(rows))
    labels = [_label(step, found[step]) for step in kept]
    moves = [[coordinates(one, share.rows) for share in shares] for one in places]

    sprite, sprite_note = hover_images(last.display)
    left, right = 24, 92 if paint.numeric else 24
    above = set_legend(figure, width, left + right, escape(shorten(paint.colors.title, 20)))
    if paint.numeric:
        above = 0
        figure.update_layout(showlegend=False)
    frame = Frame(
        title=f"Map of {len(last):,} samples over {len(kept)} {shorten(step_unit, 20)}s"
        if title is None
        else title,
        caption=sentences(
            [
                several.trust_of_all({_said(step): found[step] for step in kept}),
                f"{last.method} of {last.features} features",
                "each map is turned onto the next",
                f"colours are those of the last {step_unit}" if paint.numeric else None,
                "distances between groups mean little" if last.method != "pca" else None,
                f"{len(kept)} of {len(steps)} {step_unit}s, evenly chosen"
                if len(kept) < len(steps)
                else None,
                f"{len(rows):,} of {len(last):,} points, chosen at random"
                if len(rows) < len(placed)
                else None,
                f"left out: {len(last) - len(placed):,} points without a place at every step"
                if len(placed) < len(last)
                else None,
                *paint.notes,
                sprite_note,
            ]
        ),
        left=left,
        right=right,
        axis=_SLIDER + 12,
        above=above,
        width=width,
        height=height,
    )
    plot = frame.plot_height(_PLOT)
    _set_axes(figure, places[:, rows])
    _set_slider(figure, moves, labels, f"{escape(shorten(step_unit, 12))} ", plot, look)
    if paint.numeric:
        figure.update_layout(coloraxis=paint.axis(bar_place(plot)))
    frame.apply(figure, look, last, _PLOT)
    if sprite is not None:
        figure.update_layout(meta={**figure.layout.meta, "hover_images": sprite})
    return figure


def _in_order(maps: Mapping[Any, Any]) -> dict[Any, Any]:
    numbers = all(isinstance(s, (int, float, np.integer, np.floating)) for s in maps)
    return {step: maps[step] for step in (sorted(maps) if numbers else maps)}


def _said(step: Any, length: int = 24) -> str:
    return shorten(step, length) if isinstance(step, str) else when(float(step))


def _label(step: Any, one: Projection) -> str:
    """Return a step with how far its map can be trusted."""
    kept, trust = one.preservation.mean(), one.trustworthiness.mean()
    return f"{escape(_said(step, 12))}: {kept:.0%} kept, trustw. {trust:.3f}"


def _turned(given: list[np.ndarray]) -> np.ndarray:
    """Return the maps, each turned onto the next: shape (steps, samples, dimensions)."""
    found = [np.asarray(given[-1], dtype=np.float64)]
    for places in reversed(given[:-1]):
        found.append(several.align(places, found[-1])[0])
    return np.stack(found[::-1])


def _points(
    figure: go.Figure,
    share: Share,
    places: np.ndarray,
    last: Projection,
    paint: Paint,
    drawn: int,
) -> None:
    """Draw the points of one colour, where they stand at the last step."""
    said, head = identity(last, share.rows)
    line = paint.hover(share)
    dimensions = places.shape[1]
    figure.add_trace(
        kind_of(min(drawn, _POINTS), dimensions)(
            **coordinates(places, share.rows),
            **said,
            name=share.name,
            legendgroup=share.key,
            mode="markers",
            marker={"size": size_of(drawn, dimensions), "opacity": 0.85, **share.marker},
            hovertemplate=f"{head}{'<br>' + line if line else ''}<extra></extra>",
        )
    )


def _set_axes(figure: go.Figure, places: np.ndarray) -> None:
    """Set axes that hold every step."""
    bare = {"showticklabels": False, "showgrid": False, "ticks": "", "zeroline": False}
    axes = []
    for values in np.moveaxis(places, 2, 0):
        low, high = float(values.min()), float(values.max())
        room = 0.05 * (high - low) or 0.5
        axes.append({**bare, "range": [low - room, high + room], "title": {"text": ""}})
    if len(axes) == 3:
        scene = scene_of(axes) | {"aspectmode": "cube"}
        figure.update_layout(scene=scene)
        return
    line = {"showline": True, "mirror": True}
    figure.update_layout(
        xaxis={**axes[0], **line},
        yaxis={**axes[1], **line, "scaleanchor": "x"},
        hovermode="closest",
    )


def _set_slider(
    figure: go.Figure,
    moves: list[list[dict[str, np.ndarray]]],
    labels: list[str],
    prefix: str,
    plot: float,
    look: Theme,
) -> None:
    """Set the slider and the button; both carry the places, so that no frames are needed."""
    traces = list(range(len(moves[0])))
    quick = {"mode": "immediate", "fromcurrent": False}
    steps = []
    for k, (parts, label) in enumerate(zip(moves, labels, strict=True)):
        move = {"data": parts, "traces": traces}
        options = {
            "frame": {"duration": 0, "redraw": True},
            "transition": {"duration": 0},
            **quick,
        }
        steps.append(
            {"label": label, "method": "animate", "args": [move, options], "value": str(k)}
        )
    places = [
        {"data": parts, "traces": traces, "layout": {"sliders": [{"active": k}]}}
        for k, parts in enumerate(moves)
    ]
    plays = {
        "frame": {"duration": _SECOND, "redraw": True},
        "transition": {"duration": _SECOND // 2, "easing": "cubic-in-out"},
        **quick,
    }
    still = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate"}
    below = -10 / plot
    figure.update_layout(
        sliders=[
            {
                "active": len(steps) - 1,
                "steps": steps,
                "x": 0,
                "len": 1,
                "y": below,
                "yanchor": "top",
                "pad": {"l": 104, "t": 0, "b": 0},
                "currentvalue": {
                    "prefix": prefix,
                    "xanchor": "left",
                    "font": {"size": 12, "color": look.ink},
                    "offset": 4,
                },
                # A label for each step would be too long; that of the current one is written.
                "font": {"size": 1, "color": "rgba(0,0,0,0)"},
                "ticklen": 3,
                "minorticklen": 0,
                "tickcolor": look.quiet,
                "bgcolor": look.grid,
                "activebgcolor": look.neutral,
                "bordercolor": look.neutral,
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "x": 0,
                "xanchor": "left",
                "y": below,
                "yanchor": "top",
                "pad": {"t": 18, "l": 0},
                "bgcolor": look.paper,
                "bordercolor": look.neutral,
                "font": {"color": look.ink, "size": 12},
                "buttons": [
                    {"label": "play", "method": "animate", "args": [places, plays]},
                    {"label": "stop", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
    )
