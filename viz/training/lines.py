"""Lines of a metric over the steps: as recorded, smoothed, with marks and bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz.scale import LIMIT, decimate
from pellucid.viz.theme import Theme, compact, escape, number, shorten
from pellucid.viz.training.metrics import is_learning_rate, lower_is_better, role
from pellucid.viz.training.steps import faint, line, power_ends, when


@dataclass(frozen=True, eq=False)
class Line:
    """One metric over the steps, or the mean of several.

    Attributes
    ----------
    name
        The metric's.
    x
        Where its values stand, increasing.
    values
        Not finite where it was not.
    low, high
        The band around a mean; None for a single line.
    broken
        Positions at which something is not finite.
    """

    name: str
    x: np.ndarray
    values: np.ndarray
    broken: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def drawn(self) -> np.ndarray:
        """The values, NaN where they are not finite."""
        return np.where(np.isfinite(self.values), self.values, np.nan)


def single(name: str, x: np.ndarray, values: np.ndarray) -> Line:
    """Return the line of one recorded metric."""
    return Line(name, x, values, np.flatnonzero(~np.isfinite(values)))


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average, corrected for its start; gaps stay gaps."""
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    total = share = 0.0
    averages = []
    for value in values[known].tolist():
        total = weight * total + (1 - weight) * value
        share = weight * share + (1 - weight)
        averages.append(total / share)
    found[known] = averages
    return found


def weights(drawn: Sequence[Line], smoothing: float) -> list[float]:
    """Return the weight for each line that smooths all over the same stretch of steps.

    A validation that is recorded every hundredth step would lag far behind the training, were it
    smoothed over as many values. The metric that is recorded most often has the weight asked for;
    what is a schedule, not a measurement, is not smoothed.
    """
    apart = [float(np.median(np.diff(one.x))) if len(one.x) > 1 else 0.0 for one in drawn]
    finest = min((gap for gap in apart if gap > 0), default=1.0)
    return [
        0.0 if is_learning_rate(one.name) else smoothing ** max(1.0, gap / finest)
        for one, gap in zip(drawn, apart, strict=True)
    ]


def smoothing_note(smoothing: float, used: Sequence[float]) -> str | None:
    """Say how lines are smoothed."""
    if not smoothing:
        return None
    less = any(0 < weight < smoothing for weight in used)
    more = ", what is recorded less often over as many steps" if less else ""
    return f"bold: smoothed with weight {smoothing:g}{more}, faint: as recorded"


def check_smoothing(smoothing: float) -> None:
    """Raise unless it is a weight."""
    real = isinstance(smoothing, (int, float)) and not isinstance(smoothing, bool)
    if not real or not 0 <= smoothing < 1:
        raise InputError(f"smoothing is a weight from 0 to below 1; got {smoothing!r}")


def extent(lines: list[Line], logarithmic: bool) -> tuple[float, float]:
    """Return the range of an axis, with room below for the marks of what is not finite."""
    parts = [part for one in lines for part in (one.drawn, one.low, one.high) if part is not None]
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if logarithmic:
        values = np.log10(values[values > 0])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 0.5
    low, high = low - room, high + room
    return power_ends(low, high) if logarithmic else (low, high)


def draw(
    figure: go.Figure,
    one: Line,
    style: dict[str, str],
    axis: str,
    bottom: float,
    *,
    label: str,
    group: str,
    smoothing: float = 0.0,
    legend: bool = True,
    marks_in_legend: bool = True,
    opacity: float = 1.0,
) -> None:
    """Add a line as recorded, smoothed if asked for, and marks where it is not finite.

    Parameters
    ----------
    style
        Its colour and dash.
    bottom
        Where marks of what is not finite stand, on the vertical axis.
    label, group
        In the legend, escaped already.
    """
    clean = one.drawn
    curves = [(clean, label, 1.6, opacity)]
    if smoothing:
        # The whole line is smoothed, then thinned: thinned extremes would smooth to something else.
        bold = label if not marks_in_legend else f"{label} (smoothed)"
        curves = [(clean, label, 1.0, 0.35), (smooth(clean, smoothing), bold, 2.4, 1.0)]
    for k, (values, name, thickness, strength) in enumerate(curves):
        kept = decimate(values)
        figure.add_trace(
            line(
                one.x[kept],
                values[kept],
                name=name,
                legendgroup=group,
                showlegend=legend and (marks_in_legend or k == len(curves) - 1),
                line={**style, "width": thickness},
                marker={"color": style["color"]},
                opacity=strength,
                yaxis=axis,
                hovertemplate="%{y:.4g}",
            )
        )
    if one.broken.size:
        count = one.broken.size
        broken = one.broken[decimate(np.zeros(count), LIMIT)]
        figure.add_scatter(
            x=one.x[broken],
            y=np.full(len(broken), bottom),
            name=f"{label}: {count} not finite",
            legendgroup=group,
            showlegend=legend and marks_in_legend,
            mode="markers",
            marker={"symbol": "x", "size": 9, "color": style["color"]},
            cliponaxis=False,
            yaxis=axis,
            text=[_said(value) for value in one.values[broken]],
            hovertemplate="%{text}",
        )


def _said(value: float) -> str:
    return "one run is not finite" if np.isfinite(value) else str(value)


def band(
    figure: go.Figure, one: Line, color: str, axis: str, group: str, bottom: float | None
) -> None:
    """Add the band around a mean, below its line.

    Parameters
    ----------
    bottom
        On a logarithmic axis, where what lies at or below zero is drawn; else None.
    """
    if one.low is None or one.high is None:
        return
    low, high = one.low, one.high
    if bottom is not None:
        low, high = np.maximum(low, bottom), np.maximum(high, bottom)
    both = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(both, low, np.nan), np.where(both, high, np.nan)
    kept = np.union1d(decimate(low, LIMIT // 2), decimate(high, LIMIT // 2))
    x, y = [], []
    ends = np.flatnonzero(np.diff(both[kept].astype(int))) + 1
    for part in np.split(kept, ends):
        if both[part[0]]:
            x += [one.x[part], one.x[part[::-1]], [np.nan]]
            y += [low[part], high[part[::-1]], [np.nan]]
    if not x:
        return
    figure.add_scatter(
        x=np.concatenate(x)[:-1],
        y=compact(np.concatenate(y)[:-1]),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faint(color, 0.2),
        legendgroup=group,
        showlegend=False,
        yaxis=axis,
        hoverinfo="skip",
    )


def best(one: Line) -> int | None:
    """Return the position of a metric's best value; None where its name does not say which."""
    lower = lower_is_better(one.name)
    known = one.drawn
    if lower is None or np.isnan(known).all():
        return None
    return int(np.nanargmin(known) if lower else np.nanargmax(known))


def mark_best(
    figure: go.Figure,
    one: Line,
    color: str,
    axis: str,
    look: Theme,
    *,
    where: str,
    group: str,
    legend: bool,
) -> bool:
    """Mark where a validation metric was best; say whether there was one.

    Parameters
    ----------
    where
        What a step is.
    """
    at = best(one) if role(one.name) != "training" else None
    if at is None:
        return False
    step, value = one.x[at], one.values[at]
    said = escape(f"best {shorten(one.name)}: {number(value)} at {where} {when(step)}")
    options: dict[str, Any] = {"name": f"best: {escape(number(value))} at {when(step)}"}
    figure.add_scatter(
        x=np.array([step]),
        y=np.array([value]),
        legendgroup=group,
        showlegend=legend,
        mode="markers",
        marker={
            "symbol": "star",
            "size": 13,
            "color": color,
            "line": {"color": look.paper, "width": 1},
        },
        yaxis=axis,
        hovertemplate=f"{said}<extra></extra>",
        **options,
    )
    return True


def thinned_note(thinned: int, count: int) -> str | None:
    """Say how many lines are drawn by their extremes."""
    if not thinned:
        return None
    return (
        f"lines of more than {LIMIT} points are drawn by the minima and maxima of "
        f"{LIMIT // 2} stretches ({thinned} of {count})"
    )


def broken_note(count: int) -> str | None:
    """Say how many values are not finite, and how they are marked."""
    return f"✕ on the axis: {count} values that are not finite" if count else None
