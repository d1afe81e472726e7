"""What colours of the boxes of an architecture say: a statistic, or the kind of a module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz.model.blocks import Block
from pellucid.viz.theme import Scale, Theme, number, percent

# From so many times on between the smallest and the largest, the scale is logarithmic.
_DECADES = 30.0
UNITS = {
    "parameters": "parameters",
    "operations": "operations per sample",
    "seconds": "seconds of a forward pass",
    "gradient norm": "norm of the loss's gradient",
    "dead": "share of dead units",
    "zero": "share of zeros",
    "relevance": "relevance: mean magnitude",
}
_SHARES = ("dead", "zero")
# The first that a class's name holds, and which of the theme's colours it has.
_FAMILIES = (
    ("convolution", 0, r"conv"),
    ("normalisation", 2, r"norm"),
    ("pooling", 3, r"pool"),
    ("attention", 5, r"attention|attn"),
    ("recurrent", 6, r"lstm|gru|rnn"),
    ("embedding", 7, r"embed"),
    (
        "activation function",
        4,
        r"relu|gelu|silu|elu\b|tanh|sigmoid|swish|softmax|softplus|mish|logistic$|activation",
    ),
    ("linear", 1, r"linear|dense|regress|ridge|lasso|svc|svr|perceptron"),
)


@dataclass(frozen=True)
class Paint:
    """The colours of boxes.

    Attributes
    ----------
    fills, inks
        For each box its colour, and that of its text.
    legend
        Names and colours, where they are of kinds.
    axis
        Plotly's colour axis, where they are of numbers.
    ends
        What the colour axis spans.
    missing
        Whether there is a box of which the statistic is not known.
    none
        Whether there is one that has nothing of what is counted, drawn in the paper's colour.
    """

    fills: list[str]
    inks: list[str]
    legend: dict[str, str]
    axis: dict[str, Any] | None = None
    ends: tuple[float, float] = (0.0, 1.0)
    missing: bool = False
    none: bool = False


def available(blocks: Sequence[Block]) -> list[str]:
    """Return the statistics that any of the boxes has."""
    return [key for key in UNITS if any(key in block.statistics for block in blocks)]


def paint(blocks: Sequence[Block], color: str, look: Theme) -> Paint:
    """Return the colours of boxes.

    Parameters
    ----------
    blocks
        All boxes that share a scale.
    color
        A statistic, or ``"kind"``.
    look
        The theme.

    Raises
    ------
    InputError
        If no box has that statistic.
    """
    if color == "kind":
        return _by_kind(blocks, look)
    known = available(blocks)
    if color not in known:
        raise InputError(
            f"color={color!r} is not known of this model; there is "
            f"{', '.join(repr(key) for key in [*known, 'kind'])}"
            + ("" if color not in UNITS else f" ({_REMEDY.get(color, 'give pl.snapshot inputs')})")
        )
    return _by_number(blocks, color, look)


_REMEDY = {
    "gradient norm": "pl.snapshot(model, inputs, targets=targets) gives gradient norms",
    "relevance": "pl.snapshot(model, inputs, explanation=explanation) gives relevances",
}


def family(kind: str) -> str:
    """Return what kind of module a class is, by its name."""
    lower = kind.lower()
    return next((name for name, _, words in _FAMILIES if re.search(words, lower)), "other")


def _by_kind(blocks: Sequence[Block], look: Theme) -> Paint:
    colors = {name: mix(look.classes[k], look.paper, _TINT[look.name]) for name, k, _ in _FAMILIES}
    colors |= {"block": mix(look.neutral, look.paper, 0.35), "other": look.paper}
    fills, used = [], {}
    for block in blocks:
        if block.role != "module":
            fills.append(look.paper)
            continue
        name = "block" if block.layers > 1 else family(block.kind)
        used[name] = colors[name]
        fills.append(colors[name])
    order = [name for name in colors if name in used]
    return Paint(fills, [look.ink] * len(fills), {name: used[name] for name in order})


_TINT = {"pellucid": 0.38, "pellucid_dark": 0.5}


def _by_number(blocks: Sequence[Block], color: str, look: Theme) -> Paint:
    values = np.array(
        [
            block.statistics.get(color, np.nan) if block.role == "module" else np.nan
            for block in blocks
        ]
    )
    values[~np.isfinite(values)] = np.nan
    positive = values[values > 0]
    share = color in _SHARES
    logarithmic = not share and positive.size > 1 and positive.max() / positive.min() >= _DECADES
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.log10(values) if logarithmic else values
    finite = drawn[np.isfinite(drawn)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if not logarithmic:
        low = 0.0
        high = 1.0 if share else high
    if high <= low:
        low, high = (low - 0.5, high + 0.5) if logarithmic else (0.0, 1.0)
    scale = _scale(look)
    modules = np.array([block.role == "module" for block in blocks])
    empty = np.array([_has_none(block, color) for block in blocks]) & modules
    fills = []
    for module, value, nothing in zip(modules, drawn, empty, strict=True):
        if not module or nothing:
            fills.append(look.paper)
        elif np.isnan(value):
            fills.append(mix(look.missing, look.paper, 0.55))
        else:
            fills.append(sample(scale, (value - low) / (high - low)))
    ticks = _ticks(low, high, logarithmic, color)
    axis = {
        "colorscale": scale,
        "cmin": low,
        "cmax": high,
        "colorbar": {
            "orientation": "h",
            "thickness": 10,
            "title": {"text": UNITS[color], "side": "top", "font": {"size": 11}},
            "tickvals": [tick for tick, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "tickfont": {"size": 10},
            "outlinewidth": 0,
        },
    }
    return Paint(
        fills,
        [_ink(fill, look) for fill in fills],
        {},
        axis,
        (low, high),
        bool((np.isnan(values) & modules & ~empty).any()),
        bool(empty.any()),
    )


def _has_none(block: Block, color: str) -> bool:
    """Whether a box has nothing that a statistic could be of."""
    if color == "gradient norm":
        return not block.statistics.get("parameters")
    return color in ("parameters", "operations") and not block.statistics.get(color)


def _scale(look: Theme) -> Scale:
    """Return the sequential scale without its first part, which is the paper's colour."""
    return tuple(
        (stop, sample(look.sequential, 0.12 + 0.80 * stop)) for stop in np.linspace(0, 1, 9)
    )


def _ticks(low: float, high: float, logarithmic: bool, color: str) -> list[tuple[float, str]]:
    if not logarithmic:
        places = np.linspace(low, high, 3)
        return [(float(p), percent(p) if color in _SHARES else short(p, color)) for p in places]
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    if len(powers) < 2:
        powers = np.array([low, high])
    powers = powers[:: max(1, int(np.ceil(len(powers) / 4)))]
    return [(float(p), short(10**p, color)) for p in powers]


def short(value: float, color: str) -> str:
    """Return a number with few digits, with the letter of its thousands, or of its fractions."""
    if color == "seconds":
        for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            if value >= factor:
                return f"{value / factor:.3g} {unit}"
        return f"{value / 1e-9:.3g} ns" if value else "0"
    for letter, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {letter}"
    return number(value)


def said(key: str, value: float) -> str:
    """Return a statistic in words."""
    if key in _SHARES:
        return f"{key}: {percent(value)}"
    if key == "parameters":
        return f"parameters: {int(value):,}"
    if key == "operations":
        return f"operations: {short(value, key)} per sample"
    if key == "seconds":
        return f"time: {short(value, key)}"
    return f"{key}: {number(value)}"


def add_keys(figure: go.Figure, colors: Paint, look: Theme, *, bar_at: float) -> None:
    """Add to a figure what the colours mean: a colour bar, or a legend below.

    Parameters
    ----------
    figure, colors, look
        What is drawn, with what, on what.
    bar_at
        Where the colour bar begins: 1 in the plot's upper part, 0 below it.
    """
    marks: list[dict[str, Any]] = []
    if colors.axis is not None:
        # Not above the plot: Plotly would move the title out of its way.
        bar = {"x": 1, "xanchor": "right", "y": bar_at, "yanchor": "top", "xpad": 0, "ypad": 0}
        bar |= {"lenmode": "fraction", "len": 0.46}
        figure.update_layout(
            coloraxis={**colors.axis, "colorbar": {**colors.axis["colorbar"], **bar}}
        )
        ends = np.array(colors.ends, dtype=np.float32)
        marks.append({"marker": {"color": ends, "coloraxis": "coloraxis"}, "showlegend": False})
    for name, fill in colors.legend.items():
        line = {"color": look.quiet, "width": 0.9}
        square = {"symbol": "square", "size": 11, "color": fill, "line": line}
        marks.append({"marker": square, "name": name})
    for mark in marks:
        figure.add_scatter(x=[None, None], y=[None, None], mode="markers", hoverinfo="skip", **mark)
    figure.update_layout(
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0,
            "xanchor": "left",
            "yanchor": "top",
            "itemclick": False,
            "itemdoubleclick": False,
        }
    )


# -- colours ---------------------------------------------------------------------------------


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)], dtype=np.float64)


def _hex(rgb: np.ndarray) -> str:
    return "#" + "".join(f"{round(float(part)):02x}" for part in np.clip(rgb, 0, 255))


def mix(color: str, paper: str, share: float) -> str:
    """Return a colour, thinned with another."""
    return _hex(share * _rgb(color) + (1 - share) * _rgb(paper))


def sample(scale: Scale, place: float) -> str:
    """Return the colour at a place of a scale, from 0 to 1."""
    place = min(max(place, 0.0), 1.0)
    stops = [stop for stop, _ in scale]
    parts = np.array([_rgb(color) for _, color in scale])
    return _hex(np.array([np.interp(place, stops, parts[:, k]) for k in range(3)]))


def _ink(fill: str, look: Theme) -> str:
    """Return the colour of text that reads best on a fill."""

    def light(color: str) -> float:
        parts = _rgb(color) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    def contrast(a: str, b: str) -> float:
        first, second = sorted((light(a), light(b)))
        return (second + 0.05) / (first + 0.05)

    return max(("#ffffff", "#15181e"), key=lambda ink: contrast(ink, fill))
