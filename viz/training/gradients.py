"""Gradients of every layer over a training, and their profile through the model at one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.theme import Frame, Theme, compact, escape, expect, sentences, shorten, theme_of
from pellucid.viz.training import layers
from pellucid.viz.training.grid import Grid, broken_note, recorded, reduce
from pellucid.viz.training.steps import (
    Track,
    is_narrow,
    log_axis,
    positive_extent,
    set_legend,
    set_steps,
    steps_note,
    when,
)

_PARTS = {"min": ("smallest", "triangle-left"), "max": ("largest", "triangle-right"),
          "mean": ("mean", "circle-open")}  # fmt: skip
_MAP = 0.58  # share of the plot that the map takes
_PROFILE = 0.64  # where the profile begins


def gradient_flow(
    run: Run,
    *,
    quantity: str = "weight.gradient",
    step: float | None = None,
    log_x: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the gradient's norm of every layer over the steps, and a profile through the layers.

    The map has a row for each layer in the model's order, and a logarithmic scale of colours: a
    gradient that vanishes fades towards one end of the model, one that explodes darkens. The
    profile beside it shows for one step the norm, the mean, and the smallest and largest value of
    each layer, as magnitudes; their colours say the sign.

    Parameters
    ----------
    run
        What was recorded.
    quantity
        What to draw: ``"weight.gradient"``, ``"bias.gradient"``, or anything else whose norm was
        recorded, such as ``"weight"`` or ``"output"``.
    step
        Of the profile: the recorded one next to it is taken. None for the last.
    log_x
        Whether the steps have a logarithmic axis.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the run.
    width, height
        In pixels; None for the width that there is, and the height that the layers need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If no layer has the norm of `quantity`, or `step` is not a number.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "gradient_flow")
    tracks = recorded(run, f"{quantity}.norm")
    at = _nearest(tracks, step)
    grid = reduce(tracks, logarithmic=True)
    plain = quantity.replace(".", " ")
    value = f"norm of the {escape(shorten(plain, 30))}"
    paint = layers.colors(grid, value)
    figure = go.Figure()
    layers.draw(figure, grid, paint, look, unit=escape(run.step_unit), value=value)
    zeros = _draw_profile(figure, _profile(run, quantity, grid, at), grid, look)
    left = layers.margin(layers.labels(grid.names, width))
    frame = Frame(
        title=f"{plain.capitalize()} of {run.name}" if title is None else title,
        caption=sentences(
            [
                f"right: the layers at {run.step_unit} {when(at)} (dotted line)"
                + ("" if step is None or step == at else f", recorded next to {when(step)}")
                + f"; magnitudes, {_signs(look)}",
                f"norms: {grid.extent()}" if grid.known.size else None,
                grid.note(),
                layers.beginning_note(grid.names),
                f"{zeros} of the profile's values are zero and have no place on its axis"
                if zeros
                else None,
                broken_note(tracks),
                steps_note(log_x, [grid.steps], run.step_unit),
            ]
        ),
        left=left,
        axis=52 + layers.BAR,
        above=set_legend(figure, width, left + 24),
        width=width,
        height=height,
    )
    natural = layers.map_height(len(grid.names))
    plot = frame.plot_height(natural)
    layers.frame_map(figure, grid, paint, look, width=width, plot=plot, share=_MAP, log_x=log_x)
    set_steps(figure, run.step_unit)
    _frame_profile(figure, 2 if is_narrow(width) else 4)
    figure.add_shape(
        type="line", x0=at, x1=at, y0=0, y1=1, xref="x", yref="paper",
        line={"color": look.quiet, "width": 1, "dash": "dot"},
    )  # fmt: skip
    return frame.apply(figure, look, run, natural)


def _signs(look: Theme) -> str:
    warm, cold = ("red", "blue") if look.name == "pellucid" else ("orange", "blue")
    return f"{warm} above zero, {cold} below"


def _nearest(tracks: dict[str, Track], step: float | None) -> float:
    """Return the recorded step next to the one that is asked for."""
    steps = np.unique(np.concatenate([track[0] for track in tracks.values()]))
    if step is None:
        return float(steps[-1])
    if isinstance(step, bool) or not isinstance(step, (int, float, np.number)):
        raise InputError(f"step is a number, that of the profile; got {step!r}")
    if not np.isfinite(step):
        raise InputError(f"step is a finite number, that of the profile; got {step!r}")
    return float(steps[np.abs(steps - step).argmin()])


def _profile(run: Run, quantity: str, grid: Grid, at: float) -> dict[str, np.ndarray]:
    """Return each statistic of each row at one step; NaN where it is not recorded.

    Of layers that share a row, the one of the largest norm is shown.
    """
    found = {name: np.full(len(grid.names), np.nan) for name in ("norm", *_PARTS)}
    for row, members in enumerate(grid.members):
        values = [_at(run, layer, quantity, at) for layer in members]
        shown = max(values, key=lambda one: np.nan_to_num(one["norm"], nan=-1.0))
        for name, value in shown.items():
            found[name][row] = value
    return found


def _at(run: Run, layer: str, quantity: str, at: float) -> dict[str, float]:
    found = {}
    for name in ("norm", *_PARTS):
        track = run.layers[layer].get(f"{quantity}.{name}")
        if track is not None:
            values = track[1][np.asarray(track[0]) == at]
            found[name] = float(values[-1]) if len(values) else np.nan
    return {"norm": np.nan, **found}


def _draw_profile(
    figure: go.Figure, profile: dict[str, np.ndarray], grid: Grid, look: Theme
) -> int:
    """Draw magnitudes on a logarithmic axis; return how many are zero."""
    rows = layers.full(grid.names)
    zeros = 0
    for name, values in profile.items():
        known = np.isfinite(values) & (values != 0)
        zeros += int((values == 0).sum())
        if not known.any():
            continue
        word, symbol = _PARTS.get(name, ("norm", "circle"))
        signs = [look.positive if value > 0 else look.negative for value in values]
        style: dict[str, Any] = {
            "mode": "markers",
            "marker": {"symbol": symbol, "size": 8, "color": signs},
        }
        if name == "norm":
            style = {
                "mode": "lines+markers",
                "marker": {"size": 6, "color": look.ink},
                "line": {"color": look.ink, "width": 1.2},
            }
        figure.add_scatter(
            x=compact(np.where(known, np.abs(values), np.nan)),
            y=rows,
            customdata=values[:, None],
            name=word,
            xaxis="x2",
            hovertemplate=f"<b>%{{y}}</b><br>{word}: %{{customdata[0]:.4~g}}<extra></extra>",
            **style,
        )
    return zeros


def _frame_profile(figure: go.Figure, ticks: int) -> None:
    """Set the profile's axis: logarithmic, with room for every mark."""
    marks = [np.asarray(t.x, dtype=np.float64) for t in figure.data if t.type == "scatter"]
    ends = positive_extent(_joined(marks))
    figure.update_layout(
        xaxis2={
            **log_axis(*ends, ticks),
            "domain": [_PROFILE, 1],
            "anchor": "y",
            "title": {"text": "magnitude"},
            "zeroline": False,
        }
    )


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([*parts, np.zeros(0)])
