"""All rows of a table at once: what each feature contributed, one dot for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Explanation
from pellucid.viz import bars
from pellucid.viz.attributions import dots, features, words
from pellucid.viz.scale import evenly
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 2000
_SVG_DOTS = 8000  # beyond, WebGL
_ROW = (28, 46)  # pixels of a feature's row, at least and at most
_ASSUMED = 640  # pixels of a figure that takes the width it is given, when dots are set apart


def beeswarm(
    explanation: Explanation,
    *,
    top: int = 15,
    samples: int | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what each feature contributed in all samples: one dot for each, features in order.

    Features stand by their mean magnitude over the samples. A dot's colour is the feature's value
    in that sample, from low to high among the feature's own; categories and groups of several
    features, which have no low and high, are grey. Dots are moved up and down only to lie side by
    side.

    Parameters
    ----------
    explanation
        With one axis of features or groups beside the samples.
    top
        How many features to draw; the rest is added up in one row.
    samples
        How many samples to draw at most; 2000 by default, evenly chosen. The order of the features
        is that of all samples.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the rows need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation has other axes, several inputs or targets, or no samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.table(explanation, "beeswarm")
    positive_whole(top, "top", "how many features to draw")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    count = len(explanation)
    rows = evenly(count, most)
    sizes, errors = features.sizes(explanation)
    exact = errors is None or not errors.any()
    kept, rest = features.ranked(sizes, top)
    tied = features.ties(sizes[kept], None if errors is None else errors[kept])
    values = np.asarray(explanation.values, dtype=np.float64)[rows]
    drawn = [values[:, i] for i in kept]
    if rest.size:
        drawn.append(values[:, rest].sum(axis=1))
    labels = [shorten(features.name(explanation, i)) for i in kept]
    notes = [features.mean(sizes, errors, i) for i in kept]
    if rest.size:
        labels, notes = [*labels, features.other(rest.size)], [*notes, ""]

    paints = [_paint(explanation, int(i), rows) for i in kept] + [None] * bool(rest.size)
    colored = any(paint is not None for paint in paints)
    sides = bars.sides(labels, notes)
    room = (width or _ASSUMED) - sides["left"] - sides["right"]
    size = next(d for d, n in ((7.0, 100), (5.5, 400), (4.0, 1000), (3.0, np.inf)) if count <= n)
    low, high = _range(drawn)
    lines = [_lines((x - low) / (high - low) * room, size) for x in drawn]
    deep = max(int(np.abs(found).max(initial=0)) for found in lines)
    natural_row = float(np.clip((2 * deep + 1) * size + 6, *_ROW))

    of = dots.of_all(explanation, rows)
    said, axis = bars.axis_title(f"{words.quantity(explanation, of)} (0: no effect)", sides, width)
    broken = int((~np.isfinite(values)).sum())
    missing = any(paint is not None and np.isnan(paint).any() for paint in paints)
    frame = Frame(
        title=title
        if title is not None
        else f"What the {words.score(explanation, of)} rests on in {count:,} "
        f"sample{'s' if count != 1 else ''}",
        caption=sentences(
            [
                words.method(explanation),
                "right: mean magnitude over the samples"
                + ("" if exact else ", ± at most its standard error"),
                bars.tie_note(tied),
                "every attribution is zero" if not sizes.any() else None,
                _grey(paints, bool(rest.size)),
                "hollow: the feature's value is missing" if missing else None,
                f"{broken} values are not finite (not drawn)" if broken else None,
                dots.left_out(len(rows), count),
            ]
        ),
        **sides,
        axis=axis + dots.BAR * colored,
        width=width,
        height=height,
    )
    natural = natural_row * len(labels)
    row = frame.plot_height(natural) / len(labels)
    figure = go.Figure()
    for k, (x, found, paint) in enumerate(zip(drawn, lines, paints, strict=True)):
        position = int(kept[k]) if k < len(kept) else None
        step = min(size, (row - size - 1) / 2 / max(int(np.abs(found).max(initial=0)), 1)) / row
        for trace in _traces(explanation, position, rows, x, k + step * found, paint, size, look):
            figure.add_trace(trace)
    bars.set_rows(figure, labels, notes, look)
    bars.set_ties(figure, tied, look)
    figure.update_xaxes(title_text=said, range=[low, high], zeroline=True)
    if colored:
        plot = frame.plot_height(natural)
        scale = dots.color_bar(look, "the feature's own value", plot, axis)
        figure.update_layout(coloraxis=scale)
    return frame.apply(figure, look, explanation, natural)


def _paint(explanation: Explanation, position: int, rows: np.ndarray) -> np.ndarray | None:
    """Return where each sample's value lies between low and high; None where that has no sense."""
    values = features.column(explanation, position)
    if values is None or values.dtype.kind not in "fiub":
        return None
    if features.texts(explanation, position) is not None:
        return None
    return dots.positions(values[rows].astype(np.float64))


def _grey(paints: list[np.ndarray | None], rest: bool) -> str | None:
    """Return what the grey dots are, in words."""
    alone = sum(paint is None for paint in paints) - rest
    if not alone:
        return None
    return "grey: categories, or no one value to colour by" if alone < len(paints) - rest else None


def _range(drawn: list[np.ndarray]) -> tuple[float, float]:
    """Return where the axis begins and ends: with zero, and with room for the dots."""
    known = np.concatenate([np.zeros(1), *[x[np.isfinite(x)] for x in drawn]])
    low, high = float(known.min()), float(known.max())
    if low == high:
        return low - 1, high + 1
    edge = 0.04 * (high - low)
    return low - edge, high + edge


def _lines(pixels: np.ndarray, size: float) -> np.ndarray:
    found = np.zeros(len(pixels), dtype=int)
    known = np.isfinite(pixels)
    found[known] = dots.swarm(pixels[known], size)
    return found


def _traces(
    explanation: Explanation,
    position: int | None,
    rows: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    paint: np.ndarray | None,
    size: float,
    look: Theme,
) -> list[Any]:
    """Return a feature's dots: those of known value, and those whose value is missing."""
    errors = explanation.standard_error
    known = np.isfinite(x)
    hollow = np.zeros(len(x), dtype=bool) if paint is None else np.isnan(paint)
    kind = go.Scattergl if explanation.values.size > _SVG_DOTS else go.Scatter
    traces = []
    for empty in (False, True):
        members = np.flatnonzero(known & (hollow == empty))
        if not members.size:
            continue
        here = rows[members]
        more = []
        if position is not None and errors is not None:
            more = [np.asarray(errors, dtype=np.float64)[here, position]]
        identity, head = dots.identity(explanation, here, *more)
        name = "the other features" if position is None else features.name(explanation, position)
        value = "" if position is None else _value(explanation, position, here, identity)
        marker: dict[str, Any] = {"size": size, "color": look.neutral}
        if empty:
            marker |= {"symbol": "circle-open", "line": {"width": 1.2}}
        elif paint is not None:
            marker |= {"color": dots.typed(paint[members]), "coloraxis": "coloraxis"}
        traces.append(
            kind(
                x=dots.typed(x[members]),
                y=dots.typed(y[members]),
                mode="markers",
                marker=marker,
                hovertemplate=f"{head}{escape(shorten(name, 80))}{value}<br>"
                f"{dots.unit(explanation)} %{{x:+.4g}}"
                + (" ± %{customdata[1]:.2g}" if more else "")
                + "<extra></extra>",
                **identity,
            )
        )
    return traces


def _value(
    explanation: Explanation, position: int, rows: np.ndarray, identity: dict[str, Any]
) -> str:
    """Add the feature's value in each sample to a trace's texts; return where it is named."""
    values = features.column(explanation, position)
    if values is None:
        return ""
    if len(rows) > _MOST:
        return ""
    found = [escape(features.said(explanation, position, value)) for value in values[rows]]
    identity["hovertext"] = found
    return " = %{hovertext}"
