"""Activation functions: their curves, and where a layer's own inputs fall on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import ActivationFunction, Snapshot
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    percent,
    sentences,
    shorten,
    theme_of,
)

_MOST = 12
_FLAT = 0.02  # of the steepest slope: a tanh is as flat where it is beyond 0.99
_STEEPEST = 0.25  # at least; a sigmoid's, the least steep function that there is
_REACH = 0.05  # of the range that a flat stretch between two others must reach
_ALIKE = 4.0  # times that ranges may differ to share an axis
_DENSITY = 0.42  # of a panel's height
_PANEL = 190  # pixels
_HEAD = 36
_ALONE = 320


def activation_functions(
    snapshot: Snapshot,
    layer: str | None = None,
    *,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw each activation function's curve, and below it the density of what came into it.

    Shaded is where the curve is flat, its slope at most 2 % of its steepest: there a ReLU passes
    nothing on, a tanh or a sigmoid is saturated, and no gradient comes back.

    Parameters
    ----------
    snapshot
        Of a model and some inputs: ``pl.snapshot(model, inputs)``.
    layer
        One function's name; None for all, or the 12 with the largest share of inputs where the
        curve is flat.
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
        If there are no activation functions, or none of that name.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "activation_functions")
    shown = _chosen(snapshot, layer)
    across = 1 if len(shown) == 1 else 2 if len(shown) < 5 or (width or 900) < 600 else 3
    down = math.ceil(len(shown) / across)
    shared = _shared_range(shown)
    left_out = 0 if layer is not None else len(snapshot.functions) - len(shown)
    frame = Frame(
        title=f"Activation functions of {shorten(snapshot.name, 40)}" if title is None else title,
        caption=sentences(
            [
                "line: what the function puts out; filled: density of the layer's own inputs, "
                "scaled to each panel",
                f"shaded: flat, the slope at most {percent(_FLAT)} of the steepest",
                "all share one range" if shared is not None and len(shown) > 1 else None,
                f"{len(shown)} of {len(snapshot.functions)} functions shown, those with the most "
                "inputs where they are flat; layer= draws any"
                if left_out
                else None,
            ]
        ),
        left=52,
        axis=50,
        above=_HEAD,
        width=width,
        height=height,
    )
    natural = _ALONE if len(shown) == 1 else (_PANEL + _HEAD + 30) * down - _HEAD - 30
    tall = frame.plot_height(natural)
    figure = go.Figure()
    for k, one in enumerate(shown):
        row, column = divmod(k, across)
        gap = 0.09 if across > 1 else 0.0
        wide = (1 - gap * (across - 1)) / across
        x = [column * (wide + gap), min(1.0, column * (wide + gap) + wide)]
        step = (1 + (_HEAD + 30) / tall) / down
        high = 1 - row * step
        y = [max(0.0, high - step + (_HEAD + 30) / tall), high]
        one.draw(figure, k, x, y, shared, look)
    figure.update_layout(showlegend=False)
    figure.add_annotation(
        text="pre-activation (what comes in)",
        x=0.5,
        y=0,
        xref="paper",
        yref="paper",
        yanchor="top",
        yshift=-24,
        showarrow=False,
        font={"size": 12, "color": look.ink},
    )
    return frame.apply(figure, look, snapshot, natural)


def _chosen(snapshot: Snapshot, layer: str | None) -> list[_Curve]:
    """Return the functions to draw, in the model's order."""
    known = snapshot.functions
    if not known:
        raise InputError(
            "the snapshot holds no activation functions: take it with some inputs, "
            "pl.snapshot(model, inputs), of a model that has them as modules"
        )
    if layer is not None:
        if layer not in known:
            raise InputError(
                f"there is no activation function {layer!r}; there are "
                f"{', '.join(repr(name) for name in list(known)[:12])}"
            )
        return [_Curve.of(layer, known[layer])]
    found = [_Curve.of(name, function) for name, function in known.items()]
    if len(found) <= _MOST:
        return found
    order = np.argsort([-one.share for one in found], kind="stable")[:_MOST]
    return [found[k] for k in sorted(order)]


def _shared_range(shown: list[_Curve]) -> list[float] | None:
    """Return one range for all panels; None where their own are too unlike."""
    spans = [one.ends[1] - one.ends[0] for one in shown]
    if max(spans) > _ALIKE * min(spans):
        return None
    return [min(one.ends[0] for one in shown), max(one.ends[1] for one in shown)]


@dataclass(frozen=True)
class _Curve:
    """A function, and what came into it.

    Attributes
    ----------
    stretches
        Where it is flat: pairs of ends.
    share
        Of the inputs that fall there.
    """

    name: str
    function: ActivationFunction
    stretches: list[tuple[float, float]]
    share: float

    @classmethod
    def of(cls, name: str, function: ActivationFunction) -> _Curve:
        """Find where a function is flat, and how much of what came in falls there."""
        stretches = flat_stretches(function.x, function.y)
        return cls(name, function, stretches, share_within(function, stretches))

    @property
    def ends(self) -> tuple[float, float]:
        """Where the curve begins and ends."""
        finite = self.function.x[np.isfinite(self.function.x)]
        low, high = float(finite.min()), float(finite.max())
        return (low, high) if high > low else (low - 1, high + 1)

    def draw(
        self,
        figure: go.Figure,
        number_: int,
        x: list[float],
        y: list[float],
        shared: list[float] | None,
        look: Theme,
    ) -> None:
        """Draw the curve over the density."""
        suffix = "" if number_ == 0 else str(number_ + 1)
        below = str(100 + number_)  # the axis of the density
        ends = list(self.ends) if shared is None else shared
        function = self.function
        for low, high in self.stretches:
            figure.add_shape(
                type="rect",
                xref=f"x{suffix}",
                yref=f"y{suffix} domain",
                # An end that is flat stays so, on an axis that goes further.
                x0=ends[0] if low <= self.ends[0] else low,
                x1=ends[1] if high >= self.ends[1] else high,
                y0=0,
                y1=1,
                fillcolor=look.warning,
                opacity=0.13,
                line={"width": 0},
                layer="below",
            )
        edges, heights = _steps(function)
        figure.add_scatter(
            x=compact(edges),
            y=compact(heights),
            mode="lines",
            line={"width": 1, "color": look.classes[0], "shape": "hv"},
            fill="tozeroy",
            fillcolor=_clear(look.classes[0]),
            xaxis=f"x{suffix}",
            yaxis=f"y{below}",
            hovertemplate="pre-activation %{x:.4g}<br>density %{y:.3g}<extra></extra>",
        )
        figure.add_scatter(
            x=compact(function.x),
            y=compact(function.y),
            mode="lines",
            line={"width": 2.2, "color": look.ink},
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            hovertemplate=f"{escape(function.kind)}(%{{x:.4g}}) = %{{y:.4g}}<extra></extra>",
        )
        top = float(heights.max(initial=0)) or 1.0
        bare: dict[str, Any] = {"showgrid": False, "zeroline": False}
        figure.update_layout(
            {
                f"xaxis{suffix}": {
                    "domain": x, "anchor": f"y{suffix}", "range": ends, "nticks": 7,
                    "zeroline": True, "showgrid": False,
                },
                f"yaxis{suffix}": {
                    "domain": y, "anchor": f"x{suffix}", "nticks": 5, "zeroline": True,
                },
                f"yaxis{below}": {
                    **bare, "overlaying": f"y{suffix}", "anchor": f"x{suffix}", "side": "right",
                    "showticklabels": False, "ticks": "", "range": [0, top / _DENSITY],
                },
            }
        )  # fmt: skip
        said = f"{percent(self.share)} of the inputs where it is flat" if self.stretches else ""
        figure.add_annotation(
            text=f"<b>{escape(shorten(self.name or function.kind, 26))}</b> "
            f"{escape(shorten(function.kind, 18))}<br>{said or 'nowhere flat'}",
            x=x[0],
            y=y[1],
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            align="left",
            showarrow=False,
            font={"size": 11, "color": look.ink},
        )


def flat_stretches(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return where a curve's slope is at most 2 % of its steepest.

    A stretch counts that reaches an end of the curve, or a twentieth of its range: where a curve
    only turns, as a GELU does, it is not flat.
    """
    order = np.argsort(x, kind="stable")
    at, values = np.asarray(x, np.float64)[order], np.asarray(y, np.float64)[order]
    width = np.diff(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.abs(np.diff(values) / width)
    known = slopes[np.isfinite(slopes)]
    if not known.size:
        return []
    flat = slopes <= _FLAT * max(float(known.max()), _STEEPEST)
    found: list[tuple[float, float]] = []
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        low, high = float(at[start]), float(at[stop])
        at_end = start == 0 or stop == len(flat)
        if at_end or high - low >= _REACH * (at[-1] - at[0]):
            found.append((low, high))
    return found


def share_within(function: ActivationFunction, stretches: list[tuple[float, float]]) -> float:
    """Return the share of the inputs within these stretches; a bin cut by an end counts in part."""
    edges, counts = np.asarray(function.edges, np.float64), np.asarray(function.counts, np.float64)
    total = counts.sum()
    if not total:
        return 0.0
    heap = np.concatenate([[0.0], np.cumsum(counts)])
    parts = [np.interp(high, edges, heap) - np.interp(low, edges, heap) for low, high in stretches]
    return float(sum(parts) / total)


def _steps(function: ActivationFunction) -> tuple[np.ndarray, np.ndarray]:
    """Return a histogram as the corners of steps: where they begin, and their density."""
    edges, counts = np.asarray(function.edges, np.float64), np.asarray(function.counts, np.float64)
    widths = np.diff(edges)
    area = counts.sum() or 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.where(widths > 0, counts / (area * widths), 0.0)
    return edges, np.append(heights, 0.0)


def _clear(color: str) -> str:
    """Return a colour that shows what is below it."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.35)"
