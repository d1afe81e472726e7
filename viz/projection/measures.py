"""Which map to believe: how faithful maps are, near and far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.viz.projection import several
from pellucid.viz.projection.grid import Grid
from pellucid.viz.theme import Frame, Theme, compact, escape, percent, sentences, shorten, theme_of
from pellucid.viz.training.steps import faint, set_legend

_MAPS = 12
_VALUE = 36  # pixels of a value above a bar
_DASHES = ("solid", "dash", "dot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down")
_PANELS = {
    "preservation": "neighbours kept",
    "trustworthiness": "trustworthiness",
    "continuity": "continuity",
}


def map_measures(
    maps: Projection | Sequence[Projection] | Mapping[str, Projection],
    *,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how faithful maps are, over the number of neighbours that is looked at.

    Three panels show the share of neighbours kept, trustworthiness (nothing drawn in falsely) and
    continuity (nothing torn away); a fourth shows the share of random triplets in order: the global
    shape. A map may be the best near and not far.

    Parameters
    ----------
    maps
        One projection, or several by their names; a list is named by the settings that differ.
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
        If there are no maps, or one holds no measures.
    InputTypeError
        If it is neither a Projection nor several.
    """
    look = theme_of(theme)
    given = {"map": maps} if isinstance(maps, Projection) else maps
    found = several.named(given, "map_measures")
    for name, one in found.items():
        missing = [key for key in ("neighbors", *_PANELS) if key not in one.measures]
        if missing:
            raise InputError(
                f"map {name!r} holds no {missing[0]!r} among its measures; make it with "
                "pellucid.project"
            )
    shown = dict(list(found.items())[:_MAPS])
    triplets = {name: one.triplets for name, one in shown.items() if one.triplets is not None}
    figure = go.Figure()
    for panel, key in enumerate(_PANELS):
        for k, (name, one) in enumerate(shown.items()):
            _curve(figure, key, panel, k, str(name), one, look, named=len(shown) > 1)
    counts = {len(one) for one in shown.values()}
    ks = np.unique(np.concatenate([one.measures["neighbors"] for one in shown.values()]))
    by_chance = len(counts) == 1
    if by_chance:
        _chance(figure, ks, np.clip(ks / (min(counts) - 1), 0, 1), 0, look)
    titles = list(_PANELS.values())
    if triplets:
        titles.append("triplets in order")
    left, right = 52, 24
    notes = [("number of nearest neighbours",)] * 3 + [("random ones: the global shape",)]
    grid = Grid.of(titles, notes[: len(titles)], width, left + right, least=140, gap=52)
    if grid.columns == 3:
        grid = Grid.of(titles, notes[: len(titles)], width, left + right, least=250, gap=52)
    if triplets:
        written = len(shown) * _VALUE <= grid.wide
        _triplets(figure, triplets, list(shown), look, written=written)
    errors = any(np.any(one.measures.get("standard_error", 0)) for one in shown.values())
    frame = Frame(
        title=("Which map to believe" if len(shown) > 1 else "How far to believe the map")
        if title is None
        else title,
        caption=sentences(
            [
                several.trust_of_all(shown),
                _verdict(shown, triplets),
                "dotted: a map at random" if by_chance or triplets else None,
                "trustworthiness and continuity of a map at random are about 0.5; their axes do "
                "not begin at 0",
                "band: ± 2 standard errors of trustworthiness, measured on some of the points"
                if errors
                else "measured on all points",
                f"{len(found) - len(shown)} of {len(found)} maps are left out"
                if len(shown) < len(found)
                else None,
            ]
        ),
        left=left,
        right=right,
        axis=8,
        above=set_legend(figure, width, left + right),
        width=width,
        height=height,
    )
    natural = grid.natural + 22 * grid.rows
    lowest = min(float(np.nanmin(one.measures[key])) for one in shown.values()
                 for key in ("trustworthiness", "continuity"))  # fmt: skip
    low = max(0.0, np.floor(20 * (lowest - 0.01)) / 20)
    ranges = [[0, 1.02], [low, 1 + 0.02 * (1 - low)], [low, 1 + 0.02 * (1 - low)], [0, 1.08]]
    axes = [[_neighbours_axis(ks), {"range": ranges[k], "nticks": 5, "zeroline": False}]
            for k in range(3)]  # fmt: skip
    axes[0][1]["tickformat"] = ".0%"
    if triplets:
        across = {"range": [-0.6, len(shown) - 0.4], "showticklabels": False, "showgrid": False,
                  "zeroline": False}  # fmt: skip
        axes.append([across, {"range": ranges[3], "nticks": 5, "tickformat": ".0%",
                              "zeroline": False}])  # fmt: skip
    grid.arrange(figure, axes, frame.plot_height(natural), look, square=False, ticks=18)
    return frame.apply(figure, look, next(iter(shown.values())), natural)


def _neighbours_axis(ks: np.ndarray) -> dict[str, Any]:
    low, high = float(ks.min()), float(ks.max())
    return {
        "type": "log",
        "tickvals": ks,
        "ticktext": [f"{int(k)}" for k in ks],
        "range": [np.log10(low / 1.15), np.log10(high * 1.15)],
        "showgrid": True,
    }


def _style(k: int, look: Theme) -> tuple[str, str, str]:
    n = len(look.classes)
    return look.classes[k % n], _DASHES[k // n % len(_DASHES)], _SYMBOLS[k % len(_SYMBOLS)]


def _curve(
    figure: go.Figure,
    key: str,
    panel: int,
    k: int,
    name: str,
    one: Projection,
    look: Theme,
    *,
    named: bool,
) -> None:
    """Draw a measure of one map over the number of neighbours, with its band."""
    color, dash, symbol = _style(k, look)
    where = Grid.where(panel, 2)
    x = np.asarray(one.measures["neighbors"])
    y = np.asarray(one.measures[key], dtype=np.float64)
    error = np.asarray(one.measures.get("standard_error", np.zeros(len(x))), dtype=np.float64)
    shared = {"legendgroup": str(k), **where}
    said = "%{x} neighbours: %{y:.3f}"
    if key == "trustworthiness" and error.any():
        low, high = np.clip(y - 2 * error, 0, 1), np.clip(y + 2 * error, 0, 1)
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=compact(np.concatenate([low, high[::-1]])),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=faint(color, 0.2),
            hoverinfo="skip",
            showlegend=False,
            **shared,
        )
        said += " ± %{customdata:.3f}"
    figure.add_scatter(
        x=x,
        y=compact(y),
        mode="lines+markers",
        line={"color": color, "dash": dash, "width": 2},
        marker={"color": color, "symbol": symbol, "size": 8},
        name=escape(shorten(name, 28)),
        showlegend=panel == 0 and named,
        customdata=2 * error,
        hovertemplate=said,
        **shared,
    )


def _chance(figure: go.Figure, x: np.ndarray, y: np.ndarray, panel: int, look: Theme) -> None:
    figure.add_scatter(
        x=x,
        y=compact(y),
        mode="lines",
        line={"color": look.quiet, "dash": "dot", "width": 1},
        hoverinfo="skip",
        showlegend=False,
        **Grid.where(panel, 2),
    )


def _triplets(
    figure: go.Figure,
    triplets: Mapping[Any, float],
    names: list[Any],
    look: Theme,
    *,
    written: bool,
) -> None:
    """Draw the global shape of each map as a bar, with its value `written` above, and chance."""
    where = Grid.where(3, 2)
    for k, name in enumerate(names):
        if name not in triplets:
            continue
        color = _style(k, look)[0]
        figure.add_bar(
            x=np.array([k]),
            y=np.array([triplets[name]]),
            width=0.7,
            marker={"color": color},
            text=[percent(triplets[name])] if written else None,
            textposition="outside",
            cliponaxis=False,
            textangle=0,
            legendgroup=str(k),
            showlegend=False,
            name=escape(shorten(name, 28)),
            textfont={"size": 11},
            constraintext="none",
            hovertemplate="%{y:.1%} of random triplets in order",
            **where,
        )
    ends = np.array([-0.6, len(names) - 0.4])
    _chance(figure, ends, np.array([0.5, 0.5]), 3, look)


def _verdict(shown: Mapping[Any, Projection], triplets: Mapping[Any, float]) -> str | None:
    """Say which map keeps most, near and far."""
    if len(shown) < 2:
        return None
    near = max(shown, key=lambda name: float(shown[name].preservation.mean()))
    said = f"most neighbours are kept by {shorten(near, 30)}"
    if len(triplets) < len(shown):
        return said
    far = max(triplets, key=lambda name: triplets[name])
    return f"{said}, the global shape best by {shorten(far, 30)}"
