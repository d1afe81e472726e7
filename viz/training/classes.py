"""What was predicted for a few fixed samples over a training: a panel for each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run, Watched
from pellucid.viz.scale import decimate, evenly
from pellucid.viz.theme import Frame, Theme, escape, sentences, shorten
from pellucid.viz.training.steps import faint, is_narrow, line, set_legend

_CLASSES = 10
_POINTS = 400  # of a line in a small panel
_PANEL = 170.0
_GAP = 56  # pixels between two rows of panels


def identity(found: Watched, sample: int) -> Any:
    """Return what a sample is called."""
    if found.sample_ids is None:
        return sample
    one = found.sample_ids[sample]
    return one.item() if isinstance(one, np.generic) else one


def draw_classes(
    run: Run,
    found: Watched,
    chosen: list[int],
    look: Theme,
    *,
    form: str,
    class_names: Sequence[str] | None,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a panel for each of the chosen samples, with a line or an area for each class."""
    values = np.asarray(found.values, dtype=np.float64)[:, chosen]
    values = values[..., None] if values.ndim == 2 else values
    classes = values.shape[2]
    if class_names is not None and len(class_names) != classes:
        raise InputError(f"there are {classes} classes, but {len(class_names)} class_names")
    shares = _are_probabilities(values)
    stacked = form == "stacked"
    if stacked and not shares:
        raise InputError(
            "only probabilities that add up to 1 can be stacked; these do not: give form='lines'"
        )
    tracks = _tracks(values, class_names, shares, look)
    columns = min(len(chosen), 2 if is_narrow(width) else 3)
    rows = math.ceil(len(chosen) / columns)
    panel = 300.0 if len(chosen) == 1 else _PANEL
    natural = rows * panel + (rows - 1) * _GAP
    figure = go.Figure()
    even = evenly(len(found), _POINTS)
    for k, sample in enumerate(chosen):
        axes = _panel(figure, k, columns, natural, panel)
        for name, track, style in tracks:
            drawn = np.where(np.isfinite(track[:, k]), track[:, k], np.nan)
            # Areas on each other need the same steps; lines keep their own extremes.
            places = even if stacked else decimate(drawn, _POINTS)
            area = {"stackgroup": "one", "fillcolor": faint(style["color"], 0.75)}
            figure.add_trace(
                line(
                    found.steps[places],
                    drawn[places],
                    name=name,
                    legendgroup=name,
                    showlegend=k == 0,
                    line={**style, "width": 0.5 if stacked else 1.7},
                    marker={"color": style["color"]},
                    customdata=[[identity(found, sample)]],
                    hovertemplate=f"<b>sample {escape(identity(found, sample))}</b><br>"
                    f"{escape(run.step_unit)} %{{x:,.6~g}}: %{{y:.4~g}}",
                    **axes,
                    **(area if stacked else {}),
                )
            )
    span = _span(values, shares, stacked)
    _finish(figure, look, found, chosen, columns, span, run.step_unit, shares)
    missing = int((~np.isfinite(values)).sum())
    count = found.values.shape[1]
    legend = set_legend(figure, width, 94)
    figure.update_layout(legend={"y": 1 + 20 / natural})
    frame = Frame(
        title=f"Predictions over {run.name}" if title is None else title,
        caption=sentences(
            [
                "one range for all panels" if len(chosen) > 1 else None,
                _left_out(len(tracks), classes, shares),
                f"{len(chosen)} of {count} samples shown (sample= chooses one)"
                if len(chosen) < count
                else None,
                _thinned(len(found), stacked, run.step_unit),
                f"{missing} values are not finite (gaps)" if missing else None,
            ]
        ),
        left=70,
        axis=52,
        above=22 + legend,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, natural)


_Drawn = tuple[str, np.ndarray, dict[str, str]]


def _tracks(
    values: np.ndarray, class_names: Sequence[str] | None, shares: bool, look: Theme
) -> list[_Drawn]:
    """Return a name, values of shape (times, samples) and a style for each class that is drawn.

    Of many classes, those that were highest for some sample at some step; of probabilities, the sum
    of the others too.
    """
    classes = values.shape[2]
    kept = np.arange(classes)
    if classes > _CLASSES:
        peaks = np.where(np.isfinite(values), values, -np.inf).max(axis=(0, 1))
        kept = np.sort(np.argsort(-peaks, kind="stable")[: _CLASSES - shares])
    tracks = []
    for j, c in enumerate(kept.tolist()):
        name = str(class_names[c]) if class_names is not None else f"class {c}"
        if classes == 1 and class_names is None:
            name = "output"
        colors = look.classes
        style = {"color": colors[j % len(colors)], "dash": "solid" if j < len(colors) else "dot"}
        tracks.append((escape(shorten(name)), values[..., c], style))
    if shares and len(kept) < classes:
        rest = np.delete(values, kept, axis=2).sum(axis=2)
        tracks.append(("all others", rest, {"color": look.neutral, "dash": "solid"}))
    return tracks


def _left_out(drawn: int, classes: int, shares: bool) -> str | None:
    if classes <= _CLASSES:
        return None
    shown = drawn - shares
    others = ", the others are added up" if shares else ""
    return f"{shown} of {classes} classes shown: those that were highest at some step{others}"


def _thinned(count: int, stacked: bool, unit: str) -> str | None:
    if count <= _POINTS:
        return None
    if stacked:
        return f"{_POINTS} of {count:,} recorded {unit}s, evenly chosen"
    return f"lines are drawn by the minima and maxima of {_POINTS // 2} stretches"


def _span(values: np.ndarray, shares: bool, stacked: bool) -> list[float]:
    """Return the range of all panels."""
    if shares:
        edge = 0.0 if stacked else 0.03
        return [-edge, 1 + edge]
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5
    return [low - room, high + room]


def _are_probabilities(values: np.ndarray) -> bool:
    """Say whether predictions of several classes add up to 1."""
    finite = values[np.isfinite(values).all(axis=2)]
    if values.shape[2] < 2 or not finite.size:
        return False
    inside = bool((finite >= -1e-6).all() and (finite <= 1 + 1e-6).all())
    return inside and bool(np.abs(finite.sum(axis=1) - 1).max() < 1e-3)


def _panel(figure: go.Figure, k: int, columns: int, natural: float, panel: float) -> dict[str, str]:
    """Set where a panel stands; return its axes."""
    row, column = divmod(k, columns)
    suffix = "" if k == 0 else str(k + 1)
    gap = 0.04
    wide = (1 - gap * (columns - 1)) / columns
    left = column * (wide + gap)
    top = 1 - row * (panel + _GAP) / natural
    figure.update_layout(
        {
            f"xaxis{suffix}": {"domain": [left, left + wide], "anchor": f"y{suffix}"},
            f"yaxis{suffix}": {
                "domain": [max(0.0, top - panel / natural), top],
                "anchor": f"x{suffix}",
            },
        }
    )
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _finish(
    figure: go.Figure,
    look: Theme,
    found: Watched,
    chosen: list[int],
    columns: int,
    span: list[float],
    unit: str,
    shares: bool,
) -> None:
    """Name the panels and their axes; ticks stand where a row and a column begin."""
    letters = {1: 40, 2: 14, 3: 18}[columns]
    for k, sample in enumerate(chosen):
        column = k % columns
        suffix = "" if k == 0 else str(k + 1)
        last = k + columns >= len(chosen)
        y: dict[str, Any] = {"range": span, "showticklabels": column == 0, "nticks": 5}
        if column == 0:
            y["title"] = {"text": "probability" if shares else "score"}
        x: dict[str, Any] = {"nticks": 4, "zeroline": False, "matches": "x" if k else None}
        if last:
            x["title"] = {"text": escape(unit)}
        figure.update_layout({f"xaxis{suffix}": x, f"yaxis{suffix}": y})
        figure.add_annotation(
            text=f"<b>sample {escape(shorten(identity(found, sample), letters))}</b>",
            x=figure.layout[f"xaxis{suffix}"].domain[0],
            y=figure.layout[f"yaxis{suffix}"].domain[1],
            xref="paper", yref="paper", xanchor="left", yanchor="bottom",
            showarrow=False, font={"size": 12, "color": look.ink},
        )  # fmt: skip
