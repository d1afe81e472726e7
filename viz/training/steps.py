"""What pictures over the steps share: clean tracks, the steps' axis, panels, legend, colours."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.theme import compact, escape, number

Track = tuple[np.ndarray, np.ndarray]
ASSUMED = 680  # pixels of a figure that takes the width it is given
NARROW = 560
_ENTRY = 45  # pixels of a legend's entry beside its text
_LETTER = 6.3
_LEGEND_LINE = 19
_GAP = 34  # pixels between two panels


def clean(track: Track) -> Track:
    """Return a track as float64, in the order of its steps."""
    steps, values = (np.asarray(part, dtype=np.float64) for part in track)
    kept = np.flatnonzero(np.isfinite(steps))
    order = kept[np.argsort(steps[kept], kind="stable")]
    return steps[order], values[order]


def when(step: float) -> str:
    """Return a step as a person reads it."""
    return f"{int(step):,}" if float(step).is_integer() else number(step)


def power(exponent: int) -> str:
    """Return a power of ten, for a tick."""
    if -2 <= exponent <= 2:
        return f"{10.0**exponent:g}"
    return f"10<sup>{number(exponent)}</sup>"


def is_narrow(width: int | None) -> bool:
    """Say whether a figure is one for a telephone."""
    return width is not None and width < NARROW


def faint(color: str, opacity: float) -> str:
    """Return a colour that lets through what lies below."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def seconds(run: Run, steps: np.ndarray) -> np.ndarray:
    """Return the seconds since the start at which steps were recorded."""
    if run.clock is None or not len(run.clock[0]):
        raise InputError(
            f"the run {run.name!r} holds no clock, so it cannot be drawn over seconds; "
            "give x='step'"
        )
    found: np.ndarray = np.interp(steps, *clean(run.clock))
    return found


def log_axis(low: float, high: float, most: int = 7) -> dict[str, Any]:
    """Return a logarithmic axis from `low` to `high`, both above 0, with at most so many ticks."""
    ends = [math.log10(low), math.log10(high)]
    decades = ends[1] - ends[0]
    few = most < 5
    tick: Any = max(1, math.ceil(decades / most)) if few or decades > 1.6 else None
    if tick is None and decades > 0.6:
        tick = "D2"
    return {
        "type": "log",
        "range": ends,
        "exponentformat": "e",
        "tickangle": 0,
        **({"dtick": tick} if tick else {"nticks": 5}),
    }


def positive_extent(values: np.ndarray, room: float = 0.06) -> tuple[float, float]:
    """Return the range of a logarithmic axis that shows all values above 0."""
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return 0.1, 10.0
    low, high = np.log10(known.min()), np.log10(known.max())
    more = max(room * (high - low), (1 - (high - low)) / 2)
    return power_ends(low - more, high + more)


def power_ends(low: float, high: float) -> tuple[float, float]:
    """Return ten to these powers, as far as a float64 holds them: from -308 to 308."""
    return float(10.0 ** max(low, -307.0)), float(10.0 ** min(high, 307.0))


def panels(figure: go.Figure, titles: Sequence[str], heights: Sequence[float]) -> float:
    """Set panels below each other over one axis of steps; return their height in pixels.

    Parameters
    ----------
    titles
        Of the vertical axes, escaped already.
    heights
        Of the panels, in pixels.
    """
    total = sum(heights) + _GAP * (len(heights) - 1)
    top = 0.0
    for k, (title, tall) in enumerate(zip(titles, heights, strict=True)):
        domain = [max(0.0, 1 - (top + tall) / total), 1 - top / total]
        suffix = "" if k == 0 else str(k + 1)
        axis = {"domain": domain, "anchor": "x", "title": {"text": title}}
        # Plotly would write a rate of 2e-5 as "20µ".
        axis["exponentformat"] = "power"
        figure.update_layout({f"yaxis{suffix}": axis})
        top += tall + _GAP
    figure.update_xaxes(anchor=axis_name(len(heights) - 1), zeroline=False)
    return total


def axis_name(row: int) -> str:
    """Return the name of a panel's vertical axis."""
    return "y" if row == 0 else f"y{row + 1}"


def set_steps(
    figure: go.Figure, unit: str, log_x: bool = False, xs: Sequence[np.ndarray] = ()
) -> None:
    """Name the axis of steps; a logarithmic one shows all of `xs` above 0."""
    figure.update_xaxes(title_text=escape(unit))
    if log_x:
        found = np.concatenate([*xs, np.zeros(0)])
        figure.update_xaxes(**(log_axis(*positive_extent(found, 0.02)) | {"exponentformat": "B"}))


def steps_note(log_x: bool, xs: Sequence[np.ndarray], unit: str) -> str | None:
    """Say which steps have no place on a logarithmic axis."""
    found = np.unique(np.concatenate([*xs, np.zeros(0)]))
    hidden = found[found <= 0]
    if not log_x or not hidden.size:
        return None
    which = f"{unit} {when(hidden[0])}" if hidden.size == 1 else f"{hidden.size} {unit}s ≤ 0"
    have = "has" if hidden.size == 1 else "have"
    return f"{which} {have} no place on a logarithmic axis"


def set_legend(figure: go.Figure, width: int | None, sides: int, title: str = "") -> int:
    """Lay the legend out in columns above the plot; return the pixels that it takes.

    Parameters
    ----------
    sides
        Pixels left and right of the plot.
    title
        Above the entries, escaped already.
    """
    names = [t.name for t in figure.data if t.name and t.showlegend is not False]
    # Plotly would make the margins wider for a legend; ours have the room already.
    figure.update_layout(margin={"autoexpand": False})
    if len(names) < 2 and not title and not any(t.showlegend for t in figure.data):
        figure.update_layout(showlegend=False)
        return 0
    longest = max((len(html.unescape(name)) for name in names), default=1)
    entry = math.ceil(_LETTER * longest) + 4
    room = (width or ASSUMED) - sides
    columns = max(1, room // (entry + _ENTRY))
    lines = math.ceil(len(names) / columns) + bool(title)
    figure.update_layout(
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "entrywidth": entry,
            "entrywidthmode": "pixels",
            "title": {"text": title, "side": "top", "font": {"size": 12}},
            "itemsizing": "constant",
            "traceorder": "normal",
        },
    )
    return _LEGEND_LINE * lines + 12


def line(x: np.ndarray, y: np.ndarray, **options: Any) -> go.Scatter:
    """Return a line over the steps; a single point is a dot, since a line would show nothing."""
    mode = options.pop("mode", "lines" if len(x) > 1 else "markers")
    return go.Scatter(x=x, y=compact(y), mode=mode, **options)
