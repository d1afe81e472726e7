"""ROC and precision-recall curves: what every threshold costs, one class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.predictions import measures
from pellucid.viz.predictions.measures import Ranked
from pellucid.viz.predictions.shared import (
    CLASSIFICATION,
    broken_note,
    check,
    class_of,
    counted,
    finite,
    names,
    say_interval,
)
from pellucid.viz.predictions.thresholds import POINTS, PR, ROC, Curve, Kind, corners, thinned
from pellucid.viz.theme import Frame, Theme, compact, percent, sentences, theme_of

_CURVES = 8  # classes drawn when none are named: as many as there are colours
_SIDE = 420  # pixels of the plot
_LEGEND = 17  # pixels of a row of the legend


def roc(
    predictions: Predictions,
    *,
    classes: Sequence[int | str] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw for every threshold how many are found, against how many false alarms that costs.

    Each class against the rest; of two classes only the second, since the other curve is its
    mirror image. With more classes also their mean (macro), and all decisions pooled (micro).

    Parameters
    ----------
    predictions
        Scores of a classifier beside the truth.
    classes
        The classes to draw, by name or index; None for all, or the eight of least area.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is drawn.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the truth is not known, a class is unknown, or only one class occurs.
    InputTypeError
        If it is not a Predictions.
    """
    check(predictions, "roc", CLASSIFICATION)
    return _figure(ROC, predictions, classes, theme_of(theme), title, width, height)


def precision_recall(
    predictions: Predictions,
    *,
    classes: Sequence[int | str] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw for every threshold how many of those found are right, against how many are found.

    Each class against the rest; of two classes only the second. With more classes also their mean
    (macro), and all decisions pooled (micro). The area is the average precision; chance level is a
    class's share of the samples, so that areas of classes of different size do not compare.

    Parameters
    ----------
    predictions
        Scores of a classifier beside the truth.
    classes
        The classes to draw, by name or index; None for all, or the eight of least area.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is drawn.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the truth is not known, a class is unknown, or only one class occurs.
    InputTypeError
        If it is not a Predictions.
    """
    check(predictions, "precision_recall", CLASSIFICATION)
    return _figure(PR, predictions, classes, theme_of(theme), title, width, height)


# -- figure ----------------------------------------------------------------------------------


def _figure(
    kind: Kind,
    predictions: Predictions,
    classes: Sequence[int | str] | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    known = finite(predictions)
    assert known.truth is not None
    count = known.scores.shape[1]
    chosen = range(count) if count > 2 else [1]
    if classes is not None:
        chosen = list(dict.fromkeys(class_of(predictions, label) for label in classes))
        if not chosen:
            raise InputError("classes are empty; leave them out for all")
    present = np.bincount(known.truth, minlength=count)
    there = [k for k in chosen if 0 < present[k] < len(known)]
    if not there:
        raise InputError(
            "a curve needs samples of a class, and samples of others; of "
            f"{', '.join(predictions.class_name(k) for k in list(chosen)[:5])} there are "
            f"{', '.join(str(present[k]) for k in list(chosen)[:5])} among {len(known)}"
        )
    labels = names(predictions, 18)
    found = {k: _one(kind, known, k, labels[k]) for k in there}
    curves = [curve for curve, _ in found.values()]
    drawn = curves if classes is not None else sorted(curves, key=lambda c: c.area)[:_CURVES]
    drawn = [curve for curve in curves if curve in drawn]
    pooled = _pooled(kind, known, list(chosen), found) if len(there) > 1 else []
    figure = go.Figure()
    for curve in [*pooled, *drawn]:
        k = drawn.index(curve) if curve in drawn else None
        _draw(figure, kind, curve, k, look, known.units)
    _chance(figure, kind, drawn, pooled, look)
    absent = [k for k in chosen if not present[k]]
    # A curve needs its whole width; in a narrow figure the legend goes below.
    narrow = width is not None and width < 620
    rows = sum(trace.showlegend is not False for trace in figure.data) + 1
    frame = Frame(
        title=title if title is not None else _title(kind, predictions, drawn, labels),
        caption=sentences(
            [
                f"each class against the rest; {kind.word} with its 95 % interval over samples "
                "(infinitesimal jackknife, which for a ROC area is DeLong's)",
                "no interval where classes are apart without overlap"
                if any(curve.interval is None for curve in [*drawn, *pooled])
                else None,
                "dots: where the class of the highest score is chosen",
                "macro: mean over the classes; micro: all decisions pooled" if pooled else None,
                f"the {len(drawn)} classes of least area of {len(curves)}: classes= draws others"
                if len(drawn) < len(curves)
                else None,
                f"no samples of {len(absent)} class{'es' if len(absent) > 1 else ''}"
                if absent
                else None,
                f"curves of more than {POINTS:,} points are drawn by {POINTS:,} of them"
                if any(len(corners(curve.x, curve.y)) > POINTS for curve in [*drawn, *pooled])
                else None,
                broken_note(predictions),
            ]
        ),
        left=76,
        right=24 if narrow else 270,
        axis=52 + (_LEGEND * rows + 16 if narrow else 0),
        width=width,
        height=height,
    )
    natural = max(_SIDE, 0 if narrow else 20 * rows)
    legend = {"x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top"}
    if narrow:
        legend = {
            "x": 0,
            "xanchor": "left",
            "y": -58 / frame.plot_height(natural),
            "yanchor": "top",
        }
    span = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False, "nticks": 6}
    figure.update_layout(
        xaxis={**span, "title": {"text": kind.x if not narrow else kind.x.split(":")[0]}},
        yaxis={**span, "title": {"text": kind.y}},
        legend={
            **legend,
            "title": {"text": f"{kind.word} (95 % interval)"},
            "font": {"size": 11.5},
            "tracegroupgap": 0,
        },
        hovermode="closest",
    )
    return frame.apply(figure, look, predictions, natural)


def _title(kind: Kind, predictions: Predictions, drawn: list[Curve], labels: list[str]) -> str:
    of = "" if len(drawn) > 1 else f" for {predictions.class_name(labels.index(drawn[0].name))}"
    return f"{kind.title}{of}: {predictions.name}, {counted(len(predictions))}"


def _one(kind: Kind, known: Predictions, k: int, name: str) -> tuple[Curve, np.ndarray]:
    """Return a class's curve, and how its area depends on each sample's weight."""
    positive = np.asarray(known.truth == k)
    ranked = Ranked.of(positive, known.scores[:, k])
    area, slopes = kind.area(ranked, positive)
    chosen = known.predicted == k
    hits, alarms = int((chosen & positive).sum()), int((chosen & ~positive).sum())
    return Curve(
        name,
        *kind.points(ranked),
        area,
        measures.interval(area, slopes),
        float(positive.mean()),
        kind.decided(hits, alarms, ranked.positives, ranked.negatives),
    ), slopes


def _pooled(
    kind: Kind, known: Predictions, chosen: list[int], found: dict[int, tuple[Curve, np.ndarray]]
) -> list[Curve]:
    """Return the mean of the classes' curves, and the curve of all decisions pooled.

    The decisions about a class that does not occur are all wrong or void: they count too.
    """
    curves = [curve for curve, _ in found.values()]
    area = float(np.mean([curve.area for curve in curves]))
    slopes = np.mean([slopes for _, slopes in found.values()], axis=0)
    chance = float(np.mean([curve.chance for curve in curves]))
    macro = Curve("macro", *kind.mean(curves), None, area, measures.interval(area, slopes), chance)
    positive = (np.asarray(known.truth)[:, None] == np.array(chosen)).ravel()
    ranked = Ranked.of(positive, known.scores[:, chosen].ravel())
    area, slopes = kind.area(ranked, positive)
    # A sample stands in every class: its decisions are added up, not taken for independent.
    of_sample = slopes.reshape(len(known), -1).sum(axis=1)
    spread = measures.interval(area, of_sample)
    return [
        macro,
        Curve("micro", *kind.points(ranked), area, spread, float(positive.mean())),
    ]


def _draw(
    figure: go.Figure, kind: Kind, curve: Curve, k: int | None, look: Theme, units: str
) -> None:
    """Add one curve, with its area in the legend, and a dot where the model decides."""
    kept = thinned(curve.x, curve.y)
    spread = say_interval(curve.interval)
    label = f"{curve.name}  {curve.area:.3f}" + (f" ({spread})" if spread else "")
    color = look.ink if k is None else look.classes[k % len(look.classes)]
    line: dict[str, Any] = {"color": color, "width": 1.8, "shape": kind.shape}
    if k is None:
        line |= {"width": 2.6, "dash": "solid" if curve.name == "macro" else "dot"}
    elif k >= len(look.classes):
        line["dash"] = ("dash", "dashdot", "dot")[k // len(look.classes) % 3]
    said: dict[str, Any] = {}
    hover = f"<b>{curve.name}</b><br>{kind.hover}"
    if curve.thresholds is not None:
        said = {"customdata": compact(curve.thresholds[kept])}
        hover += f"<br>of a {units} of at least %{{customdata:.4g}}"
    figure.add_scatter(
        x=compact(curve.x[kept]),
        y=compact(curve.y[kept]),
        mode="lines",
        name=label,
        legendgroup=curve.name,
        line=line,
        hovertemplate=f"{hover}<extra></extra>",
        **said,
    )
    if curve.dot is not None and np.isfinite(curve.dot).all():
        figure.add_scatter(
            x=np.array([curve.dot[0]]),
            y=np.array([curve.dot[1]]),
            mode="markers",
            legendgroup=curve.name,
            showlegend=False,
            marker={"color": color, "size": 8, "line": {"color": look.paper, "width": 1.5}},
            cliponaxis=False,
            hovertemplate=f"<b>{curve.name}</b>, as decided<br>{kind.hover}<extra></extra>",
        )


def _chance(
    figure: go.Figure, kind: Kind, drawn: list[Curve], pooled: list[Curve], look: Theme
) -> None:
    """Draw what guessing gives: the diagonal, or the share of a class."""
    line = {"color": look.quiet, "width": 1, "dash": "dash"}
    if kind is ROC:
        figure.add_scatter(
            x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]), mode="lines", line=line,
            name="chance  0.500", hoverinfo="skip",
        )  # fmt: skip
        return
    levels = sorted({round(curve.chance, 6) for curve in drawn})
    levels = list(dict.fromkeys([levels[0], levels[-1]]))
    ends = (
        percent(levels[0]) if len(levels) == 1 else f"{percent(levels[0])} to {percent(levels[-1])}"
    )
    x, y = np.tile([0.0, 1.0, np.nan], len(levels)), np.repeat(levels, 3)
    y[2::3] = np.nan
    figure.add_scatter(
        x=x, y=y, mode="lines", line=line, name=f"chance  {ends}", hoverinfo="skip"
    )  # fmt: skip
