"""Any statistic of all layers over a training: lines for a few layers, a map for many."""

from __future__ import annotations

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT, decimate
from pellucid.viz.theme import Frame, Theme, escape, expect, sentences, shorten, theme_of
from pellucid.viz.training import layers
from pellucid.viz.training.grid import Grid, broken_note, is_wide, recorded, reduce
from pellucid.viz.training.lines import thinned_note
from pellucid.viz.training.steps import (
    Track,
    faint,
    line,
    log_axis,
    panels,
    positive_extent,
    set_legend,
    set_steps,
    steps_note,
)

Form = Literal["auto", "lines", "heatmap"]
_LINES = 8  # layers that are told apart by colour
_SHARES = {
    "zero": "outputs that are zero",
    "dead": "dead units",
    "saturated": "saturated outputs",
}
RULE = 1e-3
_AROUND = 10**0.5


def layer_statistics(
    run: Run,
    statistic: str = "output.dead",
    *,
    form: Form = "auto",
    log_x: bool = False,
    log: bool | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw one statistic of every layer over the steps.

    Parameters
    ----------
    run
        What was recorded.
    statistic
        Its name, such as ``"output.dead"``, ``"weight.norm"`` or ``"output.std"``.
    form
        ``"lines"``, ``"heatmap"``, or ``"auto"``: lines for up to eight layers.
    log_x
        Whether the steps have a logarithmic axis.
    log
        Whether the values are drawn on a logarithmic scale; None for one where they are not
        negative and span more than a factor of 100.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the statistic and the run.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If no layer has the statistic.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "layer_statistics")
    tracks = recorded(run, statistic)
    share = statistic.rpartition(".")[2] in _SHARES
    logarithmic = is_wide(tracks) and not share if log is None else bool(log)
    plain = shorten(statistic.replace(".", " ").replace("_", " "), 40)
    said = f"share of {_SHARES[statistic.rpartition('.')[2]]}" if share else plain
    heading = f"{said[:1].upper() + said[1:]} in the layers of {run.name}"
    heading = heading if title is None else title
    if _form(form, tracks) == "lines":
        figure = go.Figure()
        # No dead units at all are a line along the bottom, not one in the middle.
        shown = (0.0, 0.1) if share else ()
        notes = _lines(figure, run, tracks, look, logarithmic, log_x, escape(said), width, shown)
        if share:
            figure.update_yaxes(tickformat=".0%")
        return _line_frame(figure, run, look, heading, notes, width, height)
    grid = reduce(tracks, logarithmic)
    paint = layers.colors(grid, escape(said), share)
    return _map(run, grid, paint, tracks, look, heading, [], log_x, width, height)


def update_ratios(
    run: Run,
    *,
    parameter: str = "weight",
    form: Form = "auto",
    log_x: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how much each step changed every layer: the update's norm over the parameter's.

    A rule of thumb says that it should be about 10⁻³: far less, and the layer hardly learns; far
    more, and it is thrown about [1]_. Lines have a band around it, half a power of ten wide on both
    sides; on a map the colours turn there.

    Parameters
    ----------
    run
        What was recorded.
    parameter
        ``"weight"``, ``"bias"`` or another parameter's name.
    form
        ``"lines"``, ``"heatmap"``, or ``"auto"``: lines for up to eight layers.
    log_x
        Whether the steps have a logarithmic axis.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the run.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If no layer has the ratio recorded.
    InputTypeError
        If it is not a Run.

    References
    ----------
    .. [1] A. Karpathy, "Ratio of weights:updates", notes of Stanford's course CS231n,
       https://cs231n.github.io/neural-networks-3/#ratio.
    """
    look = theme_of(theme)
    expect(run, Run, "update_ratios")
    tracks = recorded(run, f"{parameter}.update_ratio")
    value = f"norm of the update / norm of the {escape(shorten(parameter, 16))}"
    heading = f"Update ratios of {run.name}" if title is None else title
    rule = "10⁻³ is a rule of thumb (Karpathy, CS231n notes)"
    if _form(form, tracks) == "lines":
        figure = go.Figure()
        notes = _lines(figure, run, tracks, look, True, log_x, value, width, (RULE,))
        low, high = RULE / _AROUND, RULE * _AROUND
        figure.add_shape(
            type="rect", xref="paper", yref="y", x0=0, x1=1, y0=low, y1=high,
            line={"width": 0}, fillcolor=faint(look.neutral, 0.2), layer="below",
        )  # fmt: skip
        figure.add_shape(
            type="line", xref="paper", yref="y", x0=0, x1=1, y0=RULE, y1=RULE,
            line={"color": look.quiet, "width": 1, "dash": "dot"}, layer="below",
        )  # fmt: skip
        notes = [f"{rule}; shaded: a factor of 3 around it", *notes]
        return _line_frame(figure, run, look, heading, notes, width, height)
    grid = reduce(tracks, logarithmic=True)
    paint = layers.colors(grid, value, centre=RULE)
    notes = [f"the colours turn at 10⁻³, {rule.removeprefix('10⁻³ is ')}"]
    return _map(run, grid, paint, tracks, look, heading, notes, log_x, width, height)


def _form(form: str, tracks: dict[str, Track]) -> str:
    if form not in ("auto", "lines", "heatmap"):
        raise InputError(f"form is 'auto', 'lines' or 'heatmap'; got {form!r}")
    if form == "lines" and len(tracks) > 4 * _LINES:
        raise InputError(
            f"{len(tracks)} lines cannot be told apart; give form='heatmap', which draws a row for "
            "each layer"
        )
    if form == "auto":
        return "lines" if len(tracks) <= _LINES else "heatmap"
    return form


# -- lines -----------------------------------------------------------------------------------


def _values(tracks: dict[str, Track]) -> list[np.ndarray]:
    return [np.where(np.isfinite(v), v, np.nan) for _, v in tracks.values()]


def _lines(
    figure: go.Figure,
    run: Run,
    tracks: dict[str, Track],
    look: Theme,
    logarithmic: bool,
    log_x: bool,
    value: str,
    width: int | None,
    shown: tuple[float, ...] = (),
) -> list[str | None]:
    """Draw a line for each layer; return what a caption has to say. `shown` stays in sight."""
    drawn = list(tracks.values())
    names = layers.labels(list(tracks), width)
    every = np.concatenate([np.array(shown), *_values(tracks)])
    if logarithmic:
        axis = log_axis(*positive_extent(every))
        bottom = 10.0 ** axis["range"][0]
    else:
        known = every[np.isfinite(every)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        room = 0.06 * (high - low) or 0.06 * abs(high) or 0.5
        bottom = low - room
        axis = {"range": [bottom, high + room]}
    hidden = broken = 0
    for k, (name, (steps, values)) in enumerate(zip(names, drawn, strict=True)):
        color = look.classes[k % len(look.classes)]
        dash = ("solid", "dash", "dot", "dashdot")[k // len(look.classes)]
        finite = np.isfinite(values)
        seen = finite & (values > 0) if logarithmic else finite
        hidden += int((finite & ~seen).sum())
        broken += int((~finite).sum())
        shown_values = np.where(seen, values, np.nan)
        kept = decimate(shown_values)
        figure.add_trace(
            line(
                steps[kept],
                shown_values[kept],
                name=name,
                legendgroup=name,
                line={"color": color, "dash": dash, "width": 1.6},
                marker={"color": color},
                hovertemplate="%{y:.4~g}",
            )
        )
        if not finite.all():
            where = np.flatnonzero(~finite)
            where = where[decimate(np.zeros(len(where)))]
            figure.add_scatter(
                x=steps[where],
                y=np.full(len(where), bottom),
                mode="markers",
                marker={"symbol": "x", "size": 9, "color": color},
                cliponaxis=False,
                name=f"{name}: not finite",
                legendgroup=name,
                showlegend=False,
                hovertemplate="not finite",
            )
    panels(figure, [value], [300.0])
    figure.update_yaxes(**axis)
    xs = [steps for steps, _ in drawn]
    set_steps(figure, run.step_unit, log_x, xs)
    figure.update_layout(hovermode="x unified")
    return [
        thinned_note(sum(len(x) > LIMIT for x in xs), len(xs)),
        f"{hidden} values ≤ 0 have no place on a logarithmic axis" if hidden else None,
        layers.beginning_note(list(tracks)),
        f"✕ on the axis: {broken} values that are not finite" if broken else None,
        steps_note(log_x, xs, run.step_unit),
    ]


def _line_frame(
    figure: go.Figure,
    run: Run,
    look: Theme,
    title: str,
    notes: list[str | None],
    width: int | None,
    height: int | None,
) -> go.Figure:
    frame = Frame(
        title=title,
        caption=sentences(notes),
        left=70,
        axis=52,
        above=set_legend(figure, width, 94),
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, 300.0)


# -- a map -----------------------------------------------------------------------------------


def _map(
    run: Run,
    grid: Grid,
    paint: layers.Colors,
    tracks: dict[str, Track],
    look: Theme,
    title: str,
    notes: list[str | None],
    log_x: bool,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a row for each layer."""
    figure = go.Figure()
    layers.draw(figure, grid, paint, look, unit=escape(run.step_unit), value=paint.title)
    left = layers.margin(layers.labels(grid.names, width))
    frame = Frame(
        title=title,
        caption=sentences(
            [
                *notes,
                f"from {grid.extent()}" if grid.known.size else None,
                grid.note(),
                layers.beginning_note(grid.names),
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
    layers.frame_map(figure, grid, paint, look, width=width, plot=plot, log_x=log_x)
    set_steps(figure, run.step_unit)
    return frame.apply(figure, look, run, natural)
