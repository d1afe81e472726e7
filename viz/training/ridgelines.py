"""How a quantity was distributed, step after step: a ridge for each, or a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import evenly
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)
from pellucid.viz.training import densities
from pellucid.viz.training.grid import COLUMNS
from pellucid.viz.training.steps import is_narrow, when

_PANELS = 9
_OVERLAP = 2.6  # how many lines the highest ridge reaches over
_CELLS = 80  # of the values' axis; fewer where there are many panels
_FEW_CELLS = 48
_ABOVE = 26  # pixels above a panel, for its name
_BELOW = 40  # pixels below a panel, for its axis


def ridgelines(
    run: Run,
    quantity: str | Sequence[str],
    *,
    form: Literal["ridges", "heatmap"] = "ridges",
    scale: Literal["auto", "linear", "log"] = "auto",
    ridges: int = 30,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how a quantity was distributed at each recorded step.

    Ridges are densities: the share of the values in a bin over the bin's width, so bins may have
    any width, and other ones at every step. All ridges of a panel have one scale, so the area under
    each is the same. The first step is at the back, the last in front.

    Parameters
    ----------
    run
        What was recorded.
    quantity
        The name of its histograms, such as ``"conv1/weight"`` or ``"fc/weight.gradient"``; or
        several, each in its own panel.
    form
        ``"ridges"``, or ``"heatmap"``: steps across, values up, the density as colour.
    scale
        Of the values: ``"linear"``, ``"log"`` for a signed-logarithmic one, ``"auto"`` for the
        latter where the largest value is much larger than most.
    ridges
        How many to draw at most, evenly chosen.
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
        If there is no such histogram, or nothing in it.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "ridgelines")
    if form not in ("ridges", "heatmap"):
        raise InputError(f"form is 'ridges' or 'heatmap'; got {form!r}")
    if scale not in ("auto", "linear", "log"):
        raise InputError(f"scale is 'auto', 'linear' or 'log'; got {scale!r}")
    positive_whole(ridges, "ridges", "how many steps to draw")
    names = [quantity] if isinstance(quantity, str) else list(quantity)
    count = _CELLS if form == "heatmap" or len(names) <= 4 else _FEW_CELLS
    found = [_prepared(run, name, scale, count) for name in names[:_PANELS]]
    if not found:
        raise InputError("quantity names no histograms; give one name or several")
    columns = 1 if len(found) == 1 or is_narrow(width) else 2 if len(found) in (2, 4) else 3
    rows = math.ceil(len(found) / columns)
    panel = 360.0 if len(found) == 1 else 240.0
    natural = rows * panel + (rows - 1) * (_ABOVE + _BELOW)
    figure = go.Figure()
    notes: list[str | None] = []
    for k, one in enumerate(found):
        place = _Panel(k, k % columns == 0, columns == 1)
        place.set(figure, columns, natural, panel)
        if len(names) > 1:
            place.name(figure, one.name, look)
        if form == "ridges":
            notes += _ridges(figure, one, place, ridges, look, run.step_unit)
        else:
            notes += _heatmap(figure, one, place, run.step_unit)
    if form == "heatmap":
        figure.update_layout(coloraxis=_colors(look, natural))
    hidden = sum(one.empty for one in found)
    outside = sum(one.outside for one in found)
    more = len(names) - len(found)
    frame = Frame(
        title=_title(run, names) if title is None else title,
        caption=sentences(
            [
                *dict.fromkeys(notes),
                *dict.fromkeys(one.axis.note() for one in found),
                f"{hidden} recorded histograms are empty (not drawn)" if hidden else None,
                f"{outside:g} values lie in bins without an end (not drawn)" if outside else None,
                f"{more} more quantities not shown" if more else None,
            ]
        ),
        left=72,
        axis=52 + (58 if form == "heatmap" else 0),
        above=_ABOVE if len(found) > 1 else 4,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, natural)


@dataclass(frozen=True)
class _Quantity:
    """One quantity's histograms, ready to draw.

    Attributes
    ----------
    shares
        Shape (steps, cells): of the values, in each cell of the axis.
    edges
        Of the cells, as places on the axis.
    empty, outside
        How many histograms and values could not be drawn.
    """

    name: str
    steps: np.ndarray
    shares: np.ndarray
    edges: np.ndarray
    axis: densities.Axis
    empty: int
    outside: float


def _prepared(run: Run, name: str, scale: str, count: int) -> _Quantity:
    if name not in run.histograms:
        known = ", ".join(map(repr, list(run.histograms)[:12])) or "none"
        raise InputError(f"the run {run.name!r} has no histograms {name!r}; there are {known}")
    steps, bins, empty = densities.usable(run.histograms[name])
    if not bins:
        raise InputError(f"the histograms {name!r} of the run {run.name!r} hold no values")
    axis = densities.choose(bins, scale)
    edges = densities.cells(axis, count)
    shares = np.stack([densities.rebinned(one, axis, edges) for one in bins])
    outside = sum(one.outside for one in bins)
    return _Quantity(name, steps, shares, edges, axis, empty, outside)


def _title(run: Run, names: list[str]) -> str:
    what = shorten(names[0], 60) if len(names) == 1 else "Distributions"
    return f"{what} over {run.name}"


@dataclass(frozen=True)
class _Panel:
    """One quantity's panel: its number, whether it begins a row, whether it is a row."""

    number: int
    first: bool
    wide: bool

    @property
    def x(self) -> str:
        """Its horizontal axis, as a trace names it."""
        return f"x{self.number + 1}" if self.number else "x"

    @property
    def y(self) -> str:
        """Its vertical axis, as a trace names it."""
        return f"y{self.number + 1}" if self.number else "y"

    @property
    def layout_x(self) -> str:
        """Its horizontal axis, as the layout names it."""
        return f"xaxis{self.x[1:]}"

    @property
    def layout_y(self) -> str:
        """Its vertical axis, as the layout names it."""
        return f"yaxis{self.y[1:]}"

    def set(self, figure: go.Figure, columns: int, natural: float, panel: float) -> None:
        """Set where its axes stand."""
        row, column = divmod(self.number, columns)
        gap = 0.1 if columns == 2 else 0.08
        wide = (1 - gap * (columns - 1)) / columns
        top = 1 - row * (panel + _ABOVE + _BELOW) / natural
        left = column * (wide + gap)
        down = [max(0.0, top - panel / natural), top]
        figure.update_layout(
            {
                self.layout_x: {"domain": [left, left + wide], "anchor": self.y},
                self.layout_y: {"domain": down, "anchor": self.x},
            }
        )

    def name(self, figure: go.Figure, text: str, look: Theme) -> None:
        """Write above it what it shows."""
        figure.add_annotation(
            text=f"<b>{escape(shorten(text, 60 if self.wide else 28))}</b>",
            x=figure.layout[self.layout_x].domain[0],
            y=figure.layout[self.layout_y].domain[1],
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12, "color": look.ink},
        )


# -- ridges ----------------------------------------------------------------------------------


def _ridges(
    figure: go.Figure, one: _Quantity, place: _Panel, ridges: int, look: Theme, unit: str
) -> list[str | None]:
    """Draw a polygon for each step, the first at the back."""
    kept = evenly(len(one.steps), ridges)
    shares = one.shares[kept]
    end = densities.limit(shares)
    cut = int((shares > end).any(axis=1).sum())
    reach = _OVERLAP if len(kept) > 1 else 1.0
    shades = _shades(len(kept), look)
    middles = one.axis.values((one.edges[1:] + one.edges[:-1]) / 2)
    for line, (i, row) in enumerate(zip(kept, shares, strict=True)):
        held = np.flatnonzero(row)
        cells = slice(held[0], held[-1] + 1)
        outline = line - reach * np.minimum(np.repeat(row[cells], 2) / end, 1.0)
        edges = one.edges[held[0] : held[-1] + 2]
        told = np.repeat(np.stack([middles[cells], row[cells]], axis=1), 2, axis=0)
        label = f"{escape(unit)} {when(one.steps[i])}"
        figure.add_scatter(
            x=compact(np.concatenate([edges[:1], np.repeat(edges, 2)[1:-1], edges[-1:]])),
            y=compact(np.concatenate([[line], outline, [line]])),
            customdata=compact(np.concatenate([told[:1], told, told[-1:]])),
            mode="lines",
            line={"color": look.ink, "width": 0.7},
            fill="toself",
            fillcolor=shades[line],
            name=label,
            showlegend=False,
            xaxis=place.x,
            yaxis=place.y,
            hoveron="points",
            hovertemplate=f"{label}<br>about %{{customdata[0]:.3~g}}: "
            "%{customdata[1]:.2~%} of the values<extra></extra>",
        )
    every = math.ceil(len(kept) / 12)
    ticks = np.arange(len(kept))[::-every][::-1]
    figure.update_layout(
        {
            place.layout_x: {
                **one.axis.layout(3 if place.wide else 2),
                "title": {"text": "value"},
                "zeroline": True,
            },
            place.layout_y: {
                "range": [len(kept) - 0.6, -reach - 0.1],
                "tickvals": ticks,
                "ticktext": [when(one.steps[kept[t]]) for t in ticks],
                "title": {"text": escape(unit) if place.first else ""},
                "showgrid": False,
                "zeroline": False,
            },
        }
    )
    return [
        f"heights: share of the values in each of {len(middles)} cells of the axis, one scale for "
        "all ridges of a panel",
        f"{shorten(one.name, 30)}: shares above {percent(end)} are cut (in {cut} ridges)"
        if cut
        else None,
        f"{len(kept)} of {len(one.steps)} recorded {unit}s, evenly chosen"
        if len(kept) < len(one.steps)
        else None,
    ]


def _shades(count: int, look: Theme) -> list[str]:
    """Return a colour for each ridge, from the first step to the last."""
    stops = [list(stop) for stop in look.points]
    return [str(c) for c in sample_colorscale(stops, np.linspace(0.15, 0.85, count).tolist())]


# -- a map -----------------------------------------------------------------------------------


def _heatmap(figure: go.Figure, one: _Quantity, place: _Panel, unit: str) -> list[str | None]:
    """Draw the densities as colours; many steps are averaged over stretches of them."""
    every = math.ceil(len(one.steps) / COLUMNS)
    starts = np.arange(0, len(one.steps), every)
    counts = np.diff(np.append(starts, len(one.steps)))
    means = np.add.reduceat(one.shares, starts, axis=0) / counts[:, None]
    end = densities.limit(means)
    cut = float((means > end).mean())
    steps = np.add.reduceat(one.steps, starts) / counts
    figure.add_heatmap(
        x=steps,
        y=(one.edges[1:] + one.edges[:-1]) / 2,
        z=compact(means.T / end),
        coloraxis="coloraxis",
        zsmooth=False,
        xaxis=place.x,
        yaxis=place.y,
        hovertemplate=f"{escape(unit)} %{{x:,.6~g}}<br>%{{z:.0%}} of {percent(end)}<extra></extra>",
    )
    options = one.axis.layout(3)
    figure.update_layout(
        {
            place.layout_x: {"title": {"text": escape(unit)}, "showgrid": False, "zeroline": False},
            place.layout_y: {
                **options,
                "title": {"text": "value" if place.first else ""},
                "showgrid": False,
                "zeroline": False,
            },
        }
    )
    return [
        f"{shorten(one.name, 30)}: colours end where a cell holds {percent(end)} of a step's values"
        + (f" ({percent(cut)} of the cells are above)" if cut else ""),
        f"a column is the mean of {every} recorded {unit}s" if every > 1 else None,
    ]


def _colors(look: Theme, plot: float) -> dict[str, object]:
    return {
        "cmin": 0,
        "cmax": 1,
        "colorscale": look.sequential,
        "colorbar": {
            "orientation": "h",
            "thickness": 10,
            "outlinewidth": 0,
            "x": 0,
            "xanchor": "left",
            "xpad": 0,
            "ypad": 0,
            "y": -50 / plot,
            "yanchor": "top",
            "tickformat": ".0%",
            "nticks": 5,
            "title": {
                "text": "of the largest share shown",
                "side": "bottom",
                "font": {"size": 12},
            },
        },
    }
