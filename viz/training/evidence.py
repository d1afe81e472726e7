"""The curves that show a finding, as a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Finding
from pellucid.viz.scale import decimate
from pellucid.viz.theme import Theme, compact, escape, shorten
from pellucid.viz.training.steps import Track, clean, log_axis, positive_extent

ABOVE, BELOW = 16, 18  # pixels of the line of names above a picture, and of the steps below it
HEIGHT = ABOVE + 66 + BELOW
# Curves are told apart by stroke as well as by colour; the second is often noisy, so a thin line.
_STROKES = (("solid", 2.0, "━"), ("solid", 1.0, "─"), ("dash", 1.4, "╍"), ("dot", 1.4, "┈"))
_POINTS = 400  # of a line
_BROKEN = 40  # crosses
_FACTOR = 100.0  # from the smallest to the largest value: beyond, the axis is logarithmic
_EDGE = 0.03  # share of the height below the crosses: on the very edge they may be left out
_LETTER = 5.6

Curves = list[tuple[str, Track]]


@dataclass
class Sheet:
    """What stands on a page, put into a figure at once: Plotly is slow with one after another."""

    traces: list[go.Scatter] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(
        self, text: str, down: float, *, color: str, size: int, x: float = 0.0, shift: int = 0
    ) -> None:
        """Write a text, escaped already, so many pixels below the plot's top."""
        self.annotations.append(
            {
                "text": text,
                "x": x,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "top",
                "xshift": shift,
                "yshift": -down,
                "align": "left",
                "showarrow": False,
                "borderpad": 0,
                "font": {"size": size, "color": color},
            }
        )

    def rule(self, color: str, y: float) -> None:
        """Draw a thin line across the page, at a share of the plot's height."""
        ends = {"x0": 0, "x1": 1, "y0": y, "y1": y, "xref": "paper", "yref": "paper"}
        self.shapes.append({"type": "line", **ends, "line": {"color": color, "width": 1}})

    def figure(self) -> go.Figure:
        """Return all of it as a figure."""
        # Without axes of its own it would show an empty pair.
        none = {"xaxis": {"visible": False}, "yaxis": {"visible": False}}
        return go.Figure(
            self.traces,
            layout={
                "annotations": self.annotations,
                "shapes": self.shapes,
                "showlegend": False,
                "hovermode": "closest",
                **(self.axes or none),
            },
        )


def curves(finding: Finding) -> Curves:
    """Return the curves of a finding that have a point, in the order of their steps."""
    found = [(name, clean(track)) for name, track in finding.evidence.items()]
    return [(name, track) for name, track in found if len(track[0])]


def notes(findings: Sequence[Finding]) -> list[str | None]:
    """Return what the pictures of findings leave out."""
    drawn = [values for finding in findings for _, (_, values) in curves(finding)]
    long = sum(len(values) > _POINTS for values in drawn)
    broken = any(not np.isfinite(values).all() for values in drawn)
    return [
        f"curves of more than {_POINTS} points are drawn by the minima and maxima of "
        f"{_POINTS // 2} stretches ({long} of {len(drawn)})"
        if long
        else None,
        "✕: values that are not finite" if broken else None,
    ]


def draw(
    sheet: Sheet,
    shown: Curves,
    *,
    look: Theme,
    unit: str,
    domains: tuple[tuple[float, float], tuple[float, float]],
    since: float | None,
    color: str,
    names: tuple[float, float],
) -> None:
    """Draw curves on axes of their own.

    Parameters
    ----------
    domains
        Of the two axes, in shares of the plot.
    since
        The step of a dotted line; None for none.
    color
        Of that line.
    names
        Where the names of the curves stand, in pixels below the plot's top, and their room.
    """
    if not shown:
        return
    taken = len(sheet.axes) // 2
    suffix = str(taken + 1) if taken else ""
    floor = _axes(sheet, shown, suffix, domains, look)
    for index, (name, track) in enumerate(shown):
        style = {"color": look.classes[index % len(look.classes)]}
        _curve(sheet, name, track, index, style, suffix, floor, unit)
    _names(sheet, [name for name, _ in shown], domains[0][0], *names, look)
    if since is not None:
        ends = {"x0": since, "x1": since, "y0": 0, "y1": 1}
        axes = {"xref": f"x{suffix}", "yref": f"y{suffix} domain"}
        line = {"color": color, "width": 1.4, "dash": "dot"}
        sheet.shapes.append({"type": "line", **ends, **axes, "line": line})


def _axes(
    sheet: Sheet,
    shown: Curves,
    suffix: str,
    domains: tuple[tuple[float, float], tuple[float, float]],
    look: Theme,
) -> float:
    """Set the axes; return the height at which crosses stand."""
    values = np.concatenate([values for _, (_, values) in shown])
    steps = np.concatenate([steps for _, (steps, _) in shown])
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    logarithmic = low > 0 and high / _FACTOR > low
    if logarithmic:
        low, high = positive_extent(known)
        floor = float(np.exp((1 - _EDGE) * np.log(low) + _EDGE * np.log(high)))
        scale = log_axis(low, high)
    else:
        low, high = _around(low, high, 0.08)
        floor = (1 - _EDGE) * low + _EDGE * high
        scale = {"range": [low, high], "nticks": 4, "tickformat": ".3~g"}
    axis: dict[str, Any] = {
        "tickfont": {"size": 10, "color": look.quiet},
        "zeroline": False,
        "ticks": "",
    }
    sheet.axes.update(
        {
            f"xaxis{suffix}": {
                **axis,
                "showgrid": False,
                "domain": domains[0],
                "anchor": f"y{suffix}",
                "range": _around(float(steps.min()), float(steps.max()), 0.02),
                "nticks": 4,
            },
            f"yaxis{suffix}": {
                **axis,
                "domain": domains[1],
                "anchor": f"x{suffix}",
                "side": "right",
                **scale,
            },
        }
    )
    return floor


def _around(low: float, high: float, share: float) -> tuple[float, float]:
    """Return a range with room at both ends, also where it is a single point."""
    room = share * high - share * low or 0.08 * abs(high) or 0.5
    largest = float(np.finfo(np.float64).max)
    return max(low - room, -largest), min(high + room, largest)


def _curve(
    sheet: Sheet,
    name: str,
    track: Track,
    index: int,
    style: dict[str, Any],
    suffix: str,
    floor: float,
    unit: str,
) -> None:
    """Draw one curve, and crosses where it is not finite."""
    steps, values = track
    dash, thickness, _ = _STROKES[index % len(_STROKES)]
    finite = np.isfinite(values)
    drawn = np.where(finite, values, np.nan)
    kept = decimate(drawn, _POINTS)
    label = escape(shorten(name, 40))
    at = f"<br>{escape(unit)} %{{x:,}}<extra></extra>"
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "name": label}
    sheet.traces.append(
        go.Scatter(
            x=steps[kept],
            y=compact(drawn[kept]),
            mode="lines" if finite.sum() > 1 else "markers",
            line={**style, "width": thickness, "dash": dash},
            marker={**style, "size": 6},
            hovertemplate=f"{label}: %{{y:.4g}}{at}",
            **axes,
        )
    )
    broken = np.flatnonzero(~finite)
    if broken.size:
        count = min(broken.size, _BROKEN)
        broken = broken[np.linspace(0, broken.size - 1, count).astype(int)]
        sheet.traces.append(
            go.Scatter(
                x=steps[broken],
                y=compact(np.full(count, floor)),
                mode="markers",
                marker={**style, "size": 6, "symbol": "x"},
                cliponaxis=False,
                hovertemplate=f"{label}: not finite{at}",
                **axes,
            )
        )


def _names(
    sheet: Sheet, names: Sequence[str], left: float, top: float, room: float, look: Theme
) -> None:
    """Name the curves above a picture, each behind a stroke of its colour and kind."""
    each = max(8, int(room / _LETTER / len(names)) - 4)
    parts = [
        f'<span style="color:{look.classes[k % len(look.classes)]}">'
        f"{_STROKES[k % len(_STROKES)][2]}</span> {escape(shorten(name, each))}"
        for k, name in enumerate(names)
    ]
    sheet.write("  ".join(parts), top - 3, color=look.quiet, size=11, x=left)
