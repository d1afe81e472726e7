"""Calibration: whether what is predicted with 80 % comes true in 80 of 100 cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.predictions import measures
from pellucid.viz.predictions.measures import Bins
from pellucid.viz.predictions.shared import (
    CLASSIFICATION,
    broken_note,
    check,
    class_of,
    counted,
    finite,
    names,
)
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_LINES = 8  # classes drawn together: as many as there are colours
_PLOT = 430  # pixels of both panels
_COUNTS = 0.2  # of the height, for how many predictions there are


def calibration(
    predictions: Predictions,
    *,
    of: int | str = "top",
    bins: int = 10,
    equal: str = "mass",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how often predictions come true, against how probable the model said they were.

    Parameters
    ----------
    predictions
        Probabilities of a classifier beside the truth.
    of
        ``"top"``: the predicted class of each sample. A class by name or index: that class against
        the rest. ``"classes"``: a line for each class, at most eight.
    bins
        How many bins the predictions are sorted into.
    equal
        ``"mass"``: bins of equally many predictions; ``"width"``: bins of equal width.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one with the expected calibration error.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. Bars are the 95 % intervals of Wilson.

    Raises
    ------
    InputError
        If the scores are no probabilities, the truth is not known, or an option is unknown.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    check(predictions, "calibration", CLASSIFICATION)
    positive_whole(bins, "bins", "the number of bins")
    if equal not in ("mass", "width"):
        raise InputError(f"equal is 'mass' or 'width'; got {equal!r}")
    known = finite(predictions)
    _check_probabilities(known)
    found = _binned(known, of, bins, equal == "mass")
    figure = go.Figure()
    figure.add_scatter(
        x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]), mode="lines", hoverinfo="skip",
        line={"color": look.quiet, "width": 1, "dash": "dash"}, name="as often as said",
    )  # fmt: skip
    for k, (name, one) in found.items():
        color = look.classes[max(k, 0) % len(look.classes)]
        _reliability(figure, name, one, color, look, alone=len(found) == 1)
    only = next(iter(found.values()))[1] if len(found) == 1 else None
    error = float(np.mean([one.error for _, one in found.values()]))
    if only is not None:
        _counts(figure, only, look)
    what = _what(predictions, of)
    filled = 0 if only is None else int((only.counts > 0).sum())
    split = f"{bins} bins of equal {equal}"
    left_out = known.scores.shape[1] - len(found) if of == "classes" else 0
    narrow = width is not None and width < 620
    rows = len(found) + 1
    frame = Frame(
        title=title
        if title is not None
        else f"Calibration of {predictions.name}, {what}: expected error {100 * error:.1f} %",
        caption=sentences(
            [
                f"{counted(len(known))} in {split}"
                + (
                    f" ({filled} left, since many probabilities are the same)"
                    if only is not None and equal == "mass" and filled < bins
                    else ""
                ),
                "bars: 95 % intervals (Wilson)",
                "expected calibration error: mean gap between what was said and what came true, "
                "each bin weighed by its predictions"
                + ("; here its mean over the classes drawn" if only is None else ""),
                f"{left_out} more classes: of= draws one" if left_out else None,
                broken_note(predictions),
            ]
        ),
        left=72,
        right=24 if only is not None or narrow else 190,
        axis=52 + (17 * rows + 12 if narrow and only is None else 0),
        width=width,
        height=height,
    )
    span = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False, "nticks": 6}
    low = 0.0 if only is None else _COUNTS + 0.06
    below = {"y": -58 / frame.plot_height(_PLOT), "x": 0} if narrow else {"y": 1, "x": 1.02}
    figure.update_layout(
        xaxis={**span, "title": {"text": "probability that the model gives"}, "anchor": "y2"},
        yaxis={**span, "title": {"text": "share that comes true"}, "domain": [low, 1]},
        showlegend=only is None,
        legend={**below, "xanchor": "left", "yanchor": "top"},
        hovermode="closest",
    )
    if only is None:
        figure.update_layout(xaxis_anchor="y")
    return frame.apply(figure, look, predictions, _PLOT)


def _check_probabilities(known: Predictions) -> None:
    low, high = known.scores.min(), known.scores.max()
    if known.units == "probability" and low >= 0 and high <= 1 + 1e-6:
        return
    raise InputError(
        "viz.calibration asks how often what is said with a probability comes true, and these "
        f"scores are {known.units}s from {low:.4g} to {high:.4g}: predict with "
        "output='probability', or calibrate the model (scikit-learn's CalibratedClassifierCV)"
    )


def _what(predictions: Predictions, of: int | str) -> str:
    if of == "top":
        return "predicted classes"
    if of == "classes":
        return "each class"
    return f"class {shorten(predictions.class_name(class_of(predictions, of)), 30)}"


def _binned(
    known: Predictions, of: int | str, bins: int, mass: bool
) -> dict[int, tuple[str, Bins]]:
    """Return what is drawn, by class (-1 of the predicted classes): its name, and its bins."""
    assert known.truth is not None
    if of == "top":
        right = known.predicted == known.truth
        return {-1: ("predicted class", Bins.of(known.scores.max(axis=1), right, bins, mass=mass))}
    labels = names(known, 16)
    several = range(min(len(labels), _LINES)) if of == "classes" else [class_of(known, of)]
    return {
        k: (labels[k], Bins.of(known.scores[:, k], known.truth == k, bins, mass=mass))
        for k in several
    }


def _reliability(
    figure: go.Figure, name: str, one: Bins, color: str, look: Theme, *, alone: bool
) -> None:
    """Draw what came true in each bin that has predictions, with its interval."""
    there = one.counts > 0
    share, count = one.share[there], one.counts[there]
    low, high = measures.wilson(one.hits[there], count)
    bars: dict[str, Any] = {
        "array": compact(high - share),
        "arrayminus": compact(share - low),
        "color": color,
        "thickness": 1.4 if alone else 0.8,
        "width": 4 if alone else 0,
    }
    figure.add_scatter(
        x=compact(one.confidence[there]),
        y=compact(share),
        error_y=bars,
        mode="lines+markers",
        marker={"size": 8 if alone else 5, "color": color},
        line={"width": 1.6, "color": color},
        name=name if alone else f"{name}  {100 * one.error:.1f} %",
        meta=[float(low.min(initial=1)), float(high.max(initial=0))],
        customdata=np.stack([one.hits[there], count, low, high], axis=1).astype(np.float64),
        hovertemplate=f"<b>{name}</b><br>said: %{{x:.1%}}<br>came true: %{{y:.1%}}, "
        "%{customdata[0]:.0f} of %{customdata[1]:.0f}<br>"
        "95 % interval %{customdata[2]:.1%} to %{customdata[3]:.1%}<extra></extra>",
        cliponaxis=False,
    )


def _counts(figure: go.Figure, one: Bins, look: Theme) -> None:
    """Draw below how many predictions each bin has."""
    there = one.counts > 0
    low, high, counts = one.edges[:-1][there], one.edges[1:][there], one.counts[there]
    said = [
        f"{a:.1%} to {b:.1%}: {n:,} predictions"
        for a, b, n in zip(low, high, counts.tolist(), strict=True)
    ]
    figure.add_bar(
        x=compact((low + high) / 2),
        y=counts.astype(np.int32),
        width=compact(np.maximum(high - low, 0.004)),
        marker={"color": look.neutral, "line": {"width": 1, "color": look.paper}},
        yaxis="y2",
        hovertext=[escape(text) for text in said],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        yaxis2={
            "domain": [0, _COUNTS],
            "anchor": "x",
            "title": {"text": "predictions"},
            "nticks": 3,
            "rangemode": "tozero",
        }
    )
