"""Residuals: how far a regression's predictions are from the truth, and in which way."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.predictions.shared import REGRESSION, check, counted
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    number,
    sentences,
    shorten,
    theme_of,
)

_SVG_POINTS = 5_000  # beyond, WebGL
_POINTS = 200_000  # beyond, a density and some of the points
_SAMPLED = 2_000
_CELLS = (120, 90)  # of the density, columns and rows
_QUANTILES = 400
_BAND = 20  # stretches of the median
_LEAST = 8  # residuals that a stretch of the median needs
_GAP = 0.15  # of the height, between the panels


def residuals(
    predictions: Predictions,
    *,
    output: int = 0,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how far predictions are from the truth: by what was predicted, and as a distribution.

    Above, each sample's residual against its prediction, with the median and the quartiles of
    equally many samples. Below, the distribution beside a normal one of the same mean and spread,
    and the quantiles of both.

    Parameters
    ----------
    predictions
        Values of a regression beside the truth.
    output
        Which output, of several.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one with the size of the error.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. A residual is the truth less the prediction.

    Raises
    ------
    InputError
        If the truth is not known, there is no such output, or nothing is finite.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    check(predictions, "residuals", REGRESSION)
    assert predictions.truth is not None
    count = predictions.scores.reshape(len(predictions), -1).shape[1]
    if not isinstance(output, (int, np.integer)) or not 0 <= output < count:
        raise InputError(f"output is the position of one of {count} outputs; got {output!r}")
    predicted = np.asarray(predictions.scores.reshape(-1, count)[:, output], np.float64)
    truth = np.asarray(predictions.truth.reshape(-1, count)[:, output], np.float64)
    known = np.isfinite(predicted) & np.isfinite(truth)
    if not known.any():
        raise InputError("no sample has both a finite prediction and a finite truth")
    predicted, truth, ids = predicted[known], truth[known], predictions.ids[known]
    left = truth - predicted
    figure = go.Figure()
    drawn = _points(figure, predicted, left, ids, look)
    banded = _band(figure, predicted, left, look)
    figure.add_hline(y=0, line={"color": look.ink, "width": 1}, layer="below")
    spread = float(left.std())
    _distribution(figure, left, spread, look)
    reduced = _quantiles(figure, left, spread, look)
    zero = {"zeroline": False, "nticks": 6}
    said = "residual: truth \N{MINUS SIGN} prediction"
    top, bottom = [0.5 + _GAP / 2, 1], [0, 0.5 - _GAP / 2]
    figure.update_layout(
        xaxis={**zero, "title": {"text": "prediction"}, "anchor": "y", "domain": [0, 1]},
        yaxis={**zero, "title": {"text": said}, "domain": top},
        xaxis2={**zero, "title": {"text": "residual"}, "anchor": "y2", "domain": [0, 0.44]},
        yaxis2={"nticks": 4, "title": {"text": "samples"}, "domain": bottom, "anchor": "x2"},
        xaxis3={
            **zero, "title": {"text": "of a normal distribution"}, "anchor": "y3",
            "domain": [0.58, 1],
        },
        yaxis3={**zero, "title": {"text": "residual"}, "domain": bottom, "anchor": "x3"},
        showlegend=False,
        hovermode="closest",
        bargap=0,
    )  # fmt: skip
    total = float(((truth - truth.mean()) ** 2).sum())
    explained = f"R² {1 - float((left**2).sum()) / total:.3f}" if total else None
    lost = int((~known).sum())
    which = f", output {output}" if count > 1 else ""
    frame = Frame(
        title=title
        if title is not None
        else f"Residuals of {shorten(predictions.name, 40)}{which}: root mean square "
        f"{number(np.sqrt((left**2).mean()))}",
        caption=sentences(
            [
                f"{counted(len(left))}, mean absolute error {number(np.abs(left).mean())}, mean "
                f"residual {number(left.mean())}" + (f", {explained}" if explained else ""),
                f"line and band: median and quartiles of {banded} groups of equally many samples"
                if banded
                else None,
                drawn,
                "dashed: a normal distribution of the same mean and spread" if spread else None,
                f"quantiles of {reduced:,} of {counted(len(left))}, evenly chosen and the ends"
                if reduced < len(left)
                else None,
                f"left out: {counted(lost)} whose prediction or truth is not finite"
                if lost
                else None,
            ]
        ),
        left=76,
        right=24,
        axis=50,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, predictions, 560)


def _points(
    figure: go.Figure, x: np.ndarray, y: np.ndarray, ids: np.ndarray, look: Theme
) -> str | None:
    """Draw the samples, or their density where there are many; return what is to be said of it."""
    note = None
    if len(x) > _POINTS:
        counts, across, up = np.histogram2d(x, y, bins=_CELLS)
        figure.add_heatmap(
            x=compact((across[:-1] + across[1:]) / 2),
            y=compact((up[:-1] + up[1:]) / 2),
            z=np.where(counts.T > 0, np.log10(np.maximum(counts.T, 1)), np.nan).astype(np.float32),
            customdata=counts.T.astype(np.int32),
            colorscale=look.sequential[1:] if look.name == "pellucid" else look.sequential,
            showscale=False,
            hovertemplate="%{customdata} samples near %{x:.4g}, %{y:.4g}<extra></extra>",
        )
        chosen = np.linspace(0, len(x) - 1, _SAMPLED).astype(int)
        note = (
            f"colour: how many samples, on a logarithmic scale; dots: {_SAMPLED:,} of "
            f"{len(x):,}, evenly chosen"
        )
        x, y, ids = x[chosen], y[chosen], ids[chosen]
    said: dict[str, Any] = {"customdata": ids[:, None]}
    head = "sample %{customdata[0]}"
    if ids.dtype.kind not in "iu":
        # A hover text is filled with what it is given as it stands: names are made literal.
        said = {
            "customdata": [[str(one)] for one in ids],
            "text": [escape(shorten(one, 80)) for one in ids],
        }
        head = "<b>%{text}</b>"
    draw = figure.add_scattergl if len(x) > _SVG_POINTS else figure.add_scatter
    draw(
        x=compact(x),
        y=compact(y),
        mode="markers",
        marker={
            "size": 6 if len(x) <= 1000 else 4 if note is None else 2.5,
            "opacity": 0.65 if len(x) <= _SVG_POINTS else 0.35,
            "color": look.classes[0] if note is None else look.ink,
        },
        hovertemplate=f"{head}<br>predicted %{{x:.4g}}<br>residual %{{y:+.4g}}<extra></extra>",
        **said,
    )
    return note


def _band(figure: go.Figure, x: np.ndarray, y: np.ndarray, look: Theme) -> int:
    """Draw the median and the quartiles of groups of equally many; return how many groups."""
    parts = min(_BAND, len(x) // _LEAST)
    if parts < 3:
        return 0
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, parts)
    at = np.array([np.median(x[g]) for g in groups])
    low, mid, high = np.array([np.percentile(y[g], [25, 50, 75]) for g in groups]).T
    figure.add_scatter(
        x=compact(np.concatenate([at, at[::-1]])),
        y=compact(np.concatenate([high, low[::-1]])),
        mode="lines", line={"width": 0}, fill="toself", fillcolor=_clear(look.classes[1]),
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=compact(at), y=compact(mid), mode="lines", line={"color": look.classes[1], "width": 2.2},
        customdata=np.stack([low, high, [len(g) for g in groups]], axis=1),
        hovertemplate="predicted about %{x:.4g}<br>median residual %{y:+.4g}<br>"
        "half of %{customdata[2]} samples from %{customdata[0]:+.4g} to %{customdata[1]:+.4g}"
        "<extra></extra>",
    )  # fmt: skip
    return parts


def _clear(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.28)"


def _distribution(figure: go.Figure, left: np.ndarray, spread: float, look: Theme) -> None:
    """Draw the residuals as a histogram, and a normal distribution of the same spread."""
    bins = int(np.clip(2 * len(left) ** (1 / 3), 5, 60))
    low, high = float(left.min()), float(left.max())
    if low == high:
        low, high, bins = low - 0.5, high + 0.5, 1
    counts, edges = np.histogram(left, np.linspace(low, high, bins + 1))
    figure.add_bar(
        x=compact((edges[:-1] + edges[1:]) / 2), y=counts.astype(np.int32),
        width=compact(np.diff(edges)), xaxis="x2", yaxis="y2",
        marker={"color": look.classes[0], "line": {"color": look.paper, "width": 0.5}},
        customdata=np.stack([edges[:-1], edges[1:]], axis=1),
        hovertemplate="%{y} samples<br>residual %{customdata[0]:.4g} to %{customdata[1]:.4g}"
        "<extra></extra>",
    )  # fmt: skip
    if spread:
        at = np.linspace(low, high, 120)
        density = np.exp(-0.5 * ((at - left.mean()) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        figure.add_scatter(
            x=compact(at), y=compact(density * len(left) * (edges[1] - edges[0])), mode="lines",
            xaxis="x2", yaxis="y2", line={"color": look.ink, "width": 1.4, "dash": "dash"},
            hoverinfo="skip",
        )  # fmt: skip


def _quantiles(figure: go.Figure, left: np.ndarray, spread: float, look: Theme) -> int:
    """Draw the residuals' quantiles against those of a normal distribution; return how many."""
    ranked = np.sort(left)
    n = len(ranked)
    at = np.arange(n)
    if n > _QUANTILES:
        ends = _QUANTILES // 8  # a tail is what the picture is for
        middle = np.linspace(ends, n - 1 - ends, _QUANTILES - 2 * ends).astype(int)
        at = np.unique(np.concatenate([at[:ends], middle, at[-ends:]]))
    normal = NormalDist()
    expected = np.array([normal.inv_cdf((i + 0.5) / n) for i in at.tolist()])
    mean = float(left.mean())
    if spread:
        ends_x = np.array([expected.min(), expected.max()])
        figure.add_scatter(
            x=compact(mean + spread * ends_x), y=compact(mean + spread * ends_x), mode="lines",
            xaxis="x3", yaxis="y3", line={"color": look.ink, "width": 1.4, "dash": "dash"},
            hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=compact(mean + (spread or 1.0) * expected), y=compact(ranked[at]), mode="markers",
        xaxis="x3", yaxis="y3", marker={"size": 4, "color": look.classes[0]},
        hovertemplate="residual %{y:.4g}<br>%{x:.4g} if they were normal<extra></extra>",
    )  # fmt: skip
    return len(at)
