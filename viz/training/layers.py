"""A statistic of many layers over the steps, as one map: layers down, steps across."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.theme import Scale, Theme, compact, escape, shorten
from pellucid.viz.training.grid import BROKEN, MISSING, ZERO, Grid
from pellucid.viz.training.steps import is_narrow, log_axis, positive_extent, power

BAR = 58  # pixels of a colour bar below a map, with its ticks and title
_BELOW = 50  # pixels between a map and its colour bar
_LETTER = 6.1


def labels(names: Sequence[str], width: int | None) -> list[str]:
    """Return short names of layers that are told apart, without their common beginning, escaped."""
    length = 16 if is_narrow(width) else 28
    begin = len(beginning(names))
    plain = [name[begin:] or "(the model)" for name in names]
    while True:
        found = [shorten(name, length) for name in plain]
        if len(set(found)) == len(found):
            break
        length += 4
        if length > 60:
            found = [f"{short} ({k + 1})" for k, short in enumerate(found)]
            break
    return [escape(name) for name in found]


def beginning(names: Sequence[str]) -> str:
    """Return the modules that all layers are in, such as ``"encoder.layers."``."""
    if len(names) < 2:
        return ""
    # What the first and the last in order share, all others share too.
    ends = zip(*(name.split(".")[:-1] for name in (min(names), max(names))), strict=False)
    return "".join(f"{one}." for one, _ in takewhile(lambda pair: pair[0] == pair[1], ends))


def beginning_note(names: Sequence[str]) -> str | None:
    """Say what the names leave out."""
    same = beginning(names)
    return f"all layers are in {shorten(same.rstrip('.'), 60)}" if same else None


def full(names: Sequence[str]) -> list[str]:
    """Return whole names of layers, for hovering, escaped; no two are the same."""
    plain = [" ".join(name.split())[:200] or "(the model)" for name in names]
    if len(set(plain)) < len(plain):
        plain = [f"{name} ({k + 1})" for k, name in enumerate(plain)]
    return [escape(name) for name in plain]


def margin(found: Sequence[str]) -> int:
    """Return the pixels left of a map that its rows' names need."""
    return int(20 + _LETTER * max(len(html.unescape(name)) for name in found))


def map_height(rows: int) -> float:
    """Return how high a map of so many rows would like to be, in pixels."""
    return max(160.0, rows * (26 if rows <= 8 else 18 if rows <= 24 else 13 if rows <= 60 else 8))


# -- colours ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colors:
    """A map's colours.

    Attributes
    ----------
    low, high
        Where they end; logarithms on a logarithmic scale.
    centred
        Whether they diverge from the middle between the two.
    """

    low: float
    high: float
    centred: bool
    logarithmic: bool
    title: str
    share: bool = False

    def scale(self, look: Theme) -> Scale:
        """Return the colours from low to high."""
        return look.diverging if self.centred else look.sequential

    def ticks(self, most: int) -> dict[str, Any]:
        """Return the colour bar's ticks, about so many: powers of ten on a logarithmic scale."""
        if not self.logarithmic:
            linear = {"nticks": most, "exponentformat": "power"}
            return linear | ({"tickformat": ".0%"} if self.share else {})
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        step = max(1, math.ceil((last - first) / most))
        whole = list(range(first, last + 1, step))
        if len(whole) < 2:
            ends = np.linspace(self.low, self.high, 3)
            return {"tickvals": ends, "ticktext": [f"{10**value:.2g}" for value in ends]}
        return {"tickvals": np.array(whole), "ticktext": [power(k) for k in whole]}


def colors(grid: Grid, title: str, share: bool = False, centre: float | None = None) -> Colors:
    """Choose a map's colours: diverging about `centre` or zero where values lie on both sides.

    Parameters
    ----------
    share
        Whether the values are shares, drawn from 0 to 100 %.
    centre
        In the middle of the colours, as a value; None for zero, where there are negative values.
    """
    known = grid.known
    if centre is not None:
        middle = math.log10(centre) if grid.logarithmic else centre
        reach = max(float(np.abs(known - middle).max(initial=0)), 1.0)
        return Colors(middle - reach, middle + reach, True, grid.logarithmic, title)
    if not grid.logarithmic and (known < 0).any():
        reach = float(np.abs(known).max())
        return Colors(-reach, reach, True, False, title)
    if share:
        return Colors(0.0, max(1.0, float(known.max(initial=0))), False, False, title, True)
    low = float(known.min(initial=np.inf)) if grid.logarithmic and known.size else 0.0
    high = float(known.max()) if known.size else 1.0
    if high - low < 1e-12 * max(1.0, abs(high)):
        high = low + (0.5 if grid.logarithmic else max(abs(low), 1.0))
    return Colors(low, high, False, grid.logarithmic, title)


# -- drawing ---------------------------------------------------------------------------------


def draw(
    figure: go.Figure, grid: Grid, paint: Colors, look: Theme, *, unit: str, value: str
) -> None:
    """Draw a map; what is no value has a colour of its own, with its name in the legend.

    Parameters
    ----------
    unit
        What a step is, escaped.
    value
        What a cell's number is called in the hover text, escaped.
    """
    rows = full(grid.names)
    where = f"<b>%{{y}}</b><br>{'around ' if grid.across > 1 else ''}{unit} %{{x:,.6~g}}"
    shown = "10<sup>%{z:.2f}</sup>" if grid.logarithmic else "%{z:.4~g}"
    common = {"hoverongaps": False, "zsmooth": False}
    figure.add_heatmap(
        x=grid.steps,
        y=rows,
        z=compact(grid.values),
        coloraxis="coloraxis",
        hovertemplate=f"{where}<br>{value}: {shown}<extra></extra>",
        **common,
    )
    for kind, name, color in (
        (MISSING, "not recorded", look.missing),
        (BROKEN, "not finite", look.warning),
        (ZERO, "exactly zero", look.ink if paint.centred else look.negative),
    ):
        cells = grid.kinds == kind
        if cells.any():
            across = _around(cells.any(axis=0))
            figure.add_heatmap(
                x=grid.steps[across],
                y=rows,
                z=np.where(cells[:, across], 1, np.nan).astype(np.float32),
                zmin=0,
                zmax=1,
                colorscale=[[0, color], [1, color]],
                showscale=False,
                showlegend=True,
                name=name,
                hovertemplate=f"{where}<br>{name}<extra></extra>",
                **common,
            )


def _around(some: np.ndarray) -> slice:
    """Return the stretch of columns that holds all that are true, and one more on both sides.

    A lone column would not know how wide it is. (Rows cannot be left out: Plotly wants as many as
    there are categories.)
    """
    found = np.flatnonzero(some)
    return slice(max(0, int(found[0]) - 1), int(found[-1]) + 2)


def frame_map(
    figure: go.Figure,
    grid: Grid,
    paint: Colors,
    look: Theme,
    *,
    width: int | None,
    plot: float,
    share: float = 1.0,
    log_x: bool = False,
) -> None:
    """Set what stands around a map: its rows' names, its steps, its colour bar below.

    Parameters
    ----------
    plot
        The map's height, in pixels.
    share
        Of the figure's plot that the map takes, from the left.
    """
    name_rows(figure, grid.names, width, plot, look)
    # A map's own range ends at its cells' edges, which may lie below zero.
    ends = log_axis(*positive_extent(grid.steps, 0.0)) if log_x else {}
    figure.update_layout(xaxis={"domain": [0, share], "showgrid": False, "zeroline": False, **ends})
    figure.update_layout(
        coloraxis={
            "cmin": paint.low,
            "cmax": paint.high,
            **({"cmid": (paint.low + paint.high) / 2} if paint.centred else {}),
            "colorscale": paint.scale(look),
            "colorbar": {
                "orientation": "h",
                "thickness": 10,
                "outlinewidth": 0,
                "len": share,
                "x": 0,
                "xanchor": "left",
                "xpad": 0,
                "y": -_BELOW / plot,
                "yanchor": "top",
                "ypad": 0,
                "title": {"text": paint.title, "side": "bottom", "font": {"size": 12}},
                "tickangle": 0,
                **paint.ticks(2 if is_narrow(width) and share < 1 else 5),
            },
        }
    )


def name_rows(
    figure: go.Figure, names: Sequence[str], width: int | None, plot: float, look: Theme
) -> None:
    """Name the rows, first at the top; where they are many, as many as there is room for."""
    rows, short = full(names), labels(names, width)
    every = math.ceil(12 * len(rows) / plot)
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=rows,
        tickvals=rows[::every],
        ticktext=short[::every],
        range=[len(rows) - 0.5, -0.5],
        tickfont={"color": look.ink, "size": 11 if plot * every > 14 * len(rows) else 10},
        showgrid=False,
        zeroline=False,
        ticks="",
    )
