"""Losses and other metrics over a training."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT, decimate
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    number,
    sentences,
    shorten,
    theme_of,
)

_PANELS = 4
Metrics = dict[str, tuple[np.ndarray, np.ndarray]]
_DASHES = ("solid", "dash", "dot", "dashdot")
_GAP = 0.08  # share of the height between two panels


def loss_curves(
    run: Run,
    *,
    smoothing: float = 0.0,
    log_y: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a training's losses, and its other metrics below them.

    Parameters
    ----------
    run
        What was recorded.
    smoothing
        Weight of the past in an exponential moving average, from 0 (none) to below 1. The smoothed
        line is drawn over the recorded one, never in its place.
    log_y
        Whether the losses have a logarithmic axis.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the run's name.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the run has no values, or `smoothing` is outside of 0 to 1.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "loss_curves")
    if not isinstance(smoothing, (int, float)) or not 0 <= smoothing < 1:
        raise InputError(f"smoothing is a weight from 0 to below 1; got {smoothing!r}")
    metrics = {name: pair for name, pair in run.metrics.items() if len(pair[0])}
    if not metrics:
        raise InputError(f"the run {run.name!r} has no values to draw")
    losses = [name for name in metrics if "loss" in name.lower()]
    panels = _panels(metrics, losses)

    figure = go.Figure()
    thinned = 0
    hidden = 0
    for row, names in enumerate(panels):
        logarithmic = log_y and names is losses
        axis = "y" if row == 0 else f"y{row + 1}"
        drawn = [
            _Line(name, *(np.asarray(a, dtype=np.float64) for a in metrics[name])) for name in names
        ]
        bottom, top = _extent(drawn, logarithmic)
        for line in drawn:
            k = list(metrics).index(line.name)
            style = {
                "color": look.classes[k % len(look.classes)],
                "dash": _DASHES[k // len(look.classes) % len(_DASHES)],
            }
            _draw(figure, line, style, axis, smoothing, bottom)
            if _is_validation_loss(line.name):
                _mark_best(figure, line, style["color"], axis, look, run.step_unit)
            thinned += len(line.steps) > LIMIT
            if logarithmic:
                hidden += int((line.values <= 0).sum())
        share = (1 + _GAP) / len(panels)
        high = 1 - row * share
        span = [bottom, top] if not logarithmic else [np.log10(bottom), np.log10(top)]
        figure.update_layout(
            {
                f"yaxis{axis[1:]}": {
                    "domain": [max(0.0, high - share + _GAP), high],
                    "anchor": "x",
                    "type": "log" if logarithmic else "linear",
                    "range": span,
                    "title": {"text": "loss" if names is losses else _panel_title(names)},
                }
            }
        )
    figure.update_xaxes(
        title_text=escape(run.step_unit),
        anchor="y" if len(panels) == 1 else f"y{len(panels)}",
        zeroline=False,
    )
    figure.update_layout(
        hovermode="x unified",
        legend={"x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top"},
    )
    longest = max(min(len(name), 28) for name in metrics) + (12 if smoothing else 0)
    frame = Frame(
        title=run.name if title is None else title,
        caption=sentences(
            [
                f"bold: smoothed with weight {smoothing:g}, faint: as recorded"
                if smoothing
                else None,
                f"lines of more than {LIMIT} points are drawn by the minima and maxima of "
                f"{LIMIT // 2} stretches ({thinned} of {len(metrics)})"
                if thinned
                else None,
                f"{hidden} values ≤ 0 have no place on a logarithmic axis" if hidden else None,
                _broken_note(metrics),
            ]
        ),
        left=70,
        right=int(80 + 6.6 * longest),
        axis=52,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, 300 if len(panels) == 1 else 210 * len(panels))


def _panels(metrics: Metrics, losses: list[str]) -> list[list[str]]:
    """Sort metrics into panels: losses first, then others with those of a similar size."""
    found = [losses] if losses else []

    def size(name: str) -> float:
        values = np.abs(metrics[name][1][np.isfinite(metrics[name][1])])
        return float(values.max()) if values.size else 0.0

    last = None
    for name in sorted((n for n in metrics if n not in losses), key=size, reverse=True):
        # A learning rate beside an accuracy would be a flat line at zero.
        if last is None or (size(name) < last / 50 and len(found) < _PANELS):
            found.append([])
            last = size(name)
        found[-1].append(name)
    return found


def _panel_title(names: list[str]) -> str:
    return escape(shorten(names[0], 22)) if len(names) == 1 else "other metrics"


class _Line:
    """One metric over the steps."""

    def __init__(self, name: str, steps: np.ndarray, values: np.ndarray) -> None:
        self.name = name
        self.steps = steps
        self.values = values
        self.finite = np.isfinite(values)


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average, corrected for its start; gaps stay gaps."""
    found = np.full(len(values), np.nan)
    total = share = 0.0
    for i in np.flatnonzero(np.isfinite(values)):
        total = weight * total + (1 - weight) * values[i]
        share = weight * share + (1 - weight)
        found[i] = total / share
    return found


def _extent(lines: list[_Line], logarithmic: bool) -> tuple[float, float]:
    """Return the range of an axis, with room below for the marks of what is not finite."""
    values = np.concatenate([line.values[line.finite] for line in lines])
    if logarithmic:
        values = np.log10(values[values > 0])
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 0.5
    low, high = low - room, high + room
    return (10**low, 10**high) if logarithmic else (low, high)


def _draw(
    figure: go.Figure,
    line: _Line,
    style: dict[str, str],
    axis: str,
    smoothing: float,
    bottom: float,
) -> None:
    """Add a line as recorded, smoothed if asked for, and marks where it is not finite."""
    name = escape(shorten(line.name))
    clean = np.where(line.finite, line.values, np.nan)
    curves = [(clean, name, 1.6, 1.0)]
    if smoothing:
        smoothed = f"{name} (smoothed)"
        curves = [(clean, name, 1.0, 0.35), (smooth(clean, smoothing), smoothed, 2.4, 1.0)]
    for values, label, thickness, opacity in curves:
        kept = decimate(values)
        figure.add_scatter(
            x=line.steps[kept],
            y=compact(values[kept]),
            name=label,
            legendgroup=name,
            mode="lines" if len(line.steps) > 1 else "markers",
            line={**style, "width": thickness},
            opacity=opacity,
            yaxis=axis,
            hovertemplate="%{y:.4g}",
        )
    broken = np.flatnonzero(~line.finite)
    if broken.size:
        count = broken.size
        broken = broken[decimate(np.zeros(count), LIMIT)]
        figure.add_scatter(
            x=line.steps[broken],
            y=np.full(len(broken), bottom),
            name=f"{name}: {count} not finite",
            legendgroup=name,
            mode="markers",
            marker={"symbol": "x", "size": 9, "color": style["color"]},
            cliponaxis=False,
            yaxis=axis,
            text=[str(value) for value in line.values[broken]],
            hovertemplate="%{text}",
        )


def _is_validation_loss(name: str) -> bool:
    lower = name.lower()
    return "loss" in lower and any(part in lower for part in ("val", "test", "eval", "dev"))


def _mark_best(
    figure: go.Figure, line: _Line, color: str, axis: str, look: Theme, unit: str
) -> None:
    """Mark where a validation loss was lowest."""
    if not line.finite.any():
        return
    best = int(np.nanargmin(np.where(line.finite, line.values, np.nan)))
    step, value = line.steps[best], line.values[best]
    said = escape(f"best {shorten(line.name)}: {number(value)} at {unit} {step:g}")
    figure.add_scatter(
        x=np.array([step]),
        y=np.array([value]),
        name=f"best: {escape(number(value))} at {step:g}",
        legendgroup=escape(shorten(line.name)),
        mode="markers",
        marker={
            "symbol": "star",
            "size": 13,
            "color": color,
            "line": {"color": look.paper, "width": 1},
        },
        yaxis=axis,
        hovertemplate=f"{said}<extra></extra>",
    )


def _broken_note(metrics: Metrics) -> str | None:
    count = sum(int((~np.isfinite(values)).sum()) for _, values in metrics.values())
    return f"✕ on the axis: {count} values that are not finite" if count else None
