"""A loss around a model's parameters: as lines of equal loss, as a surface, or as a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Landscape
from pellucid.viz.model.heights import Heights
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    number,
    sentences,
    shorten,
    theme_of,
)

_FORMS = ("contour", "surface", "line")
_HEIGHT = {"contour": 460, "surface": 520, "line": 320}


def landscape(
    result: Landscape,
    *,
    form: str | None = None,
    log: bool = False,
    clip: bool = True,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a loss around a model's parameters.

    Two directions are a map with lines of equal loss, or a surface to be turned; one direction is
    a line. The model is marked, and the way of its training where that is known. Where the loss
    explodes far from the model, colours and heights end at what most points reach; it is said.

    Parameters
    ----------
    result
        Of `pellucid.interpret.loss_landscape`.
    form
        ``"contour"``, ``"surface"`` or ``"line"``; None for the line of one direction, and the
        map of two. The line of two directions is the cut along the first.
    log
        Whether losses are drawn by their logarithm.
    clip
        Whether to end the range where the loss explodes; False for the whole range.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the model's name.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the form does not fit the directions, or no loss is finite.
    InputTypeError
        If it is not a Landscape.
    """
    look = theme_of(theme)
    expect(result, Landscape, "landscape")
    flat = result.y is None
    form = form or ("line" if flat else "contour")
    if form not in _FORMS:
        raise InputError(f"form is 'contour', 'surface' or 'line'; got {form!r}")
    if flat and form != "line":
        raise InputError(f"form={form!r} needs two directions, and this landscape has one")
    note = None
    if form == "line" and not flat:
        result, note = _cut(result)
    scale = Heights.of(result, log, clip)
    figure = go.Figure()
    draw = {"contour": _contour, "surface": _surface, "line": _line}[form]
    said = draw(figure, result, scale, look)
    frame = Frame(
        title=f"Loss around {shorten(result.name, 40)}" if title is None else title,
        caption=sentences(
            [
                f"{result.loss}, the mean over {result.samples:,} samples"
                if result.samples
                else result.loss,
                f"{number(result.center)} at the model",
                _lowest(result),
                f"directions: {result.directions}",
                note,
                scale.note,
                said,
            ]
        ),
        left=20 if form == "surface" else 70,
        right=24 if form == "line" else 90,
        axis=12 if form == "surface" else 52,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, result, _HEIGHT[form])


def _cut(result: Landscape) -> tuple[Landscape, str]:
    """Return the losses along the first direction, through the model, and what they are."""
    assert result.y is not None
    row = int(np.abs(result.y).argmin())
    said = f"the cut at {number(result.y[row])} of {_brief(result.axes[1])}"
    cut = replace(result, losses=result.losses[row], y=None, axes=result.axes[:1], trajectory=None)
    return cut, said


def _lowest(result: Landscape) -> str | None:
    """Say where a lower loss than the model's lies."""
    known = np.where(np.isfinite(result.losses), result.losses, np.inf)
    best = np.unravel_index(int(known.argmin()), known.shape)
    if not known[best] < result.center - 1e-6 * abs(result.center):
        return None
    place = [result.x[best[-1]]] if result.y is None else [result.x[best[1]], result.y[best[0]]]
    return f"lowest {number(known[best])} at ({', '.join(number(p) for p in place)})"


def _contour(figure: go.Figure, result: Landscape, scale: Heights, look: Theme) -> str | None:
    """Draw colours and lines of equal loss."""
    assert result.y is not None
    if not np.isfinite(scale.values).all():
        # Below the colours, which leave out all cells that have a corner of what is missing.
        figure.add_heatmap(
            x=compact(result.x),
            y=compact(result.y),
            z=np.ones(result.losses.shape, np.uint8),
            colorscale=[[0, look.missing], [1, look.missing]],
            showscale=False,
            hovertemplate="no finite loss here<extra></extra>",
        )
    step = scale.step
    first = np.ceil(scale.low / step + 1e-6) * step
    figure.add_contour(
        x=compact(result.x),
        y=compact(result.y),
        z=compact(scale.clipped),
        customdata=compact(result.losses),
        zmin=scale.low,
        zmax=scale.high if scale.high > scale.low else scale.low + 1,
        colorscale=look.sequential,
        contours={"start": first, "end": scale.high - 1e-6 * step, "size": step},
        line={"width": 0.7, "color": look.neutral},
        connectgaps=False,
        colorbar={"thickness": 10, "outlinewidth": 0, **scale.axis(result)}
        | {"title": {**scale.axis(result)["title"], "side": "right"}},
        hovertemplate="(%{x:.3g}, %{y:.3g})<br>loss %{customdata:.4g}<extra></extra>",
    )
    if result.trajectory is not None:
        path = result.trajectory
        figure.add_scatter(  # seen on dark colours too
            x=compact(path[:, 0]),
            y=compact(path[:, 1]),
            mode="lines+markers",
            line={"color": look.paper, "width": 4.5},
            marker={"size": 9, "color": look.paper},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=compact(path[:, 0]),
            y=compact(path[:, 1]),
            mode="lines+markers",
            line={"color": look.ink, "width": 1.6},
            marker={"size": 5, "color": look.ink},
            name="training",
            customdata=np.arange(len(path), dtype=np.int32)[:, None],
            hovertemplate="state %{customdata[0]} of the training<br>(%{x:.3g}, %{y:.3g})"
            "<extra></extra>",
            showlegend=False,
        )
        _say(figure, look, "start", (path[0, 0], path[0, 1]))
    figure.add_scatter(
        x=np.zeros(1, np.float32),
        y=np.zeros(1, np.float32),
        mode="markers",
        marker={
            "symbol": "star",
            "size": 15,
            "color": look.warning,
            "line": {"color": look.paper, "width": 1},
        },
        name="the model",
        hovertemplate=f"the model<br>loss {number(result.center)}<extra></extra>",
        showlegend=False,
    )
    _say(figure, look, "model", (0.0, 0.0))
    bare = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    ends = [[float(grid[0]), float(grid[-1])] for grid in (result.x, result.y)]
    figure.update_xaxes(title_text=escape(result.axes[0]), range=ends[0], **bare)
    figure.update_yaxes(title_text=escape(result.axes[1]), range=ends[1], **bare)
    if np.ptp(result.x) == np.ptp(result.y):
        figure.update_yaxes(scaleanchor="x")
    return None


def _say(figure: go.Figure, look: Theme, text: str, place: tuple[float, float]) -> None:
    """Write beside a point what it is, on the paper's colour."""
    figure.add_annotation(
        text=text,
        x=float(place[0]),
        y=float(place[1]),
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
        xshift=7,
        yshift=3,
        font={"size": 11, "color": look.ink},
        bgcolor=look.paper,
        opacity=0.85,
    )


def _surface(figure: go.Figure, result: Landscape, scale: Heights, look: Theme) -> str | None:
    """Draw heights, with the model and the training's way above them."""
    axis = scale.axis(result)
    figure.add_surface(
        x=compact(result.x),
        y=compact(result.y),
        z=compact(scale.clipped),
        customdata=compact(result.losses),
        cmin=scale.low,
        cmax=scale.high if scale.high > scale.low else scale.low + 1,
        colorscale=look.points,
        colorbar={"thickness": 10, "outlinewidth": 0, "len": 0.7, **axis}
        | {"title": {**axis["title"], "side": "right"}},
        contours={"z": {"show": True, "usecolormap": False, "color": look.paper, "width": 1,
                        "start": np.floor(scale.low / scale.step) * scale.step,
                        "end": scale.high, "size": scale.step}},
        lighting={"ambient": 0.75, "diffuse": 0.6, "specular": 0.05, "roughness": 0.9},
        hovertemplate="(%{x:.3g}, %{y:.3g})<br>loss %{customdata:.4g}<extra></extra>",
    )  # fmt: skip
    lift = 0.02 * (scale.high - scale.low or 1.0)
    center = min(scale.at(result.center), scale.high)
    figure.add_scatter3d(
        x=np.zeros(1, np.float32),
        y=np.zeros(1, np.float32),
        z=np.array([center + lift], np.float32),
        mode="markers+text",
        text=["model"],
        textposition="top center",
        textfont={"color": "#ffffff", "size": 12},  # the surface is dark where it is low
        marker={"symbol": "diamond", "size": 5, "color": look.warning},
        hovertemplate=f"the model<br>loss {number(result.center)}<extra></extra>",
        showlegend=False,
    )
    note = None
    if result.trajectory is not None and result.y is not None:
        heights = _heights(result, scale)
        figure.add_scatter3d(
            x=compact(result.trajectory[:, 0]),
            y=compact(result.trajectory[:, 1]),
            z=compact(heights + lift),
            mode="lines+markers",
            line={"color": look.ink, "width": 5},
            marker={"size": 3, "color": look.ink},
            customdata=np.arange(len(heights), dtype=np.int32)[:, None],
            hovertemplate="state %{customdata[0]} of the training<extra></extra>",
            showlegend=False,
        )
        note = "the training's states are set on the surface, where they are projected to"
    grid = {"gridcolor": look.grid, "color": look.quiet, "nticks": 6, "showspikes": False}
    heading = {key: value for key, value in axis.items() if key != "title"}
    figure.update_layout(
        scene={
            "xaxis": {**grid, "title": {"text": escape(_brief(result.axes[0]))}},
            "yaxis": {**grid, "title": {"text": escape(_brief(result.axes[1]))}},
            "zaxis": {**grid, "title": {"text": "loss"}, **heading},
            "aspectratio": {"x": 1, "y": 1, "z": 0.65},
            "camera": {"eye": {"x": 1.25, "y": -1.4, "z": 0.85}, "center": {"z": -0.15}},
        }
    )
    units = [f"{_brief(a)}: {a.partition(' (')[2].rstrip(')')}" for a in result.axes if " (" in a]
    return sentences([note, "; ".join(units)]) or None


def _brief(axis: str) -> str:
    return axis.partition(" (")[0]


def _heights(result: Landscape, scale: Heights) -> np.ndarray:
    """Return the surface's heights below the training's states, interpolated between points."""
    assert result.trajectory is not None
    assert result.y is not None
    values = np.where(np.isfinite(scale.clipped), scale.clipped, scale.high)
    across = [np.interp(result.trajectory[:, 0], result.x, row) for row in values]
    columns = np.array(across).T
    return np.array(
        [
            np.interp(place, result.y, column)
            for place, column in zip(result.trajectory[:, 1], columns, strict=True)
        ]
    )


def _line(figure: go.Figure, result: Landscape, scale: Heights, look: Theme) -> str | None:
    """Draw the loss along the first direction."""
    real = np.where(np.isfinite(scale.values), result.losses, np.nan)
    figure.add_scatter(
        x=compact(result.x),
        y=compact(real),
        mode="lines+markers",
        line={"color": look.classes[0], "width": 2},
        marker={"size": 5},
        hovertemplate="%{x:.4g}<br>loss %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    points = [(0.0, result.center, "model")]
    if result.trajectory is not None and result.trajectory.tolist() == [[0.0], [1.0]]:
        points.append((1.0, float(np.interp(1.0, result.x, real)), "other model"))
    figure.add_scatter(
        x=np.array([x for x, _, _ in points], np.float32),
        y=compact(np.array([y for _, y, _ in points])),
        mode="markers+text",
        marker={"symbol": "star", "size": 13, "color": look.warning},
        text=[text for _, _, text in points],
        textposition="top center",
        hovertemplate="%{text}<br>loss %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title_text=escape(result.axes[0]), zeroline=False)
    edge = 0.06 * (scale.high - scale.low) or 0.5
    figure.update_yaxes(
        title_text=scale.axis(result)["title"]["text"],
        type="log" if scale.log else "linear",
        range=[scale.low - edge, scale.high + 2 * edge],
        zeroline=False,
    )
    return None
