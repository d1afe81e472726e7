"""The way from a baseline to an input: the score along it, and where the method looked."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import words
from pellucid.viz.theme import Frame, Theme, compact, escape, number, sentences, theme_of

_PANEL = 170  # pixels of each of the two
_GAP = 0.12  # of the height
_MARKS = 80  # nodes; more are not marked on the curves


def path(
    explanation: Explanation,
    *,
    sample: int = 0,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the score and the gradient at the nodes of one sample's path.

    What a path method adds up is the gradient along the way from the baseline to the input. Where
    the curve below is steep or has spikes, many nodes are needed; where they stand close together,
    the method found that out.

    Parameters
    ----------
    explanation
        By a path method, such as integrated gradients, for one target.
    sample
        The sample's position.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the sample and what is explained.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation knows no path, is of several inputs or targets, or has no such sample.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.single(explanation, "path")
    sample = words.position(explanation, sample)
    steps, scores, norms = _nodes(explanation, sample)
    of = words.target(explanation, sample)
    said = escape(words.score(explanation, of))
    head = words.hover(explanation, sample)
    identity = [[words.sample_id(explanation, sample)]] * len(steps)
    mode = "lines+markers" if len(steps) <= _MARKS else "lines"

    figure = go.Figure()
    for values, axis, name in ((scores, "y", said), (norms, "y2", "gradient norm")):
        figure.add_scatter(
            x=compact(steps),
            y=compact(values),
            yaxis=axis,
            mode=mode if len(steps) > 1 else "markers",
            line={"color": look.classes[0], "width": 1.5},
            marker={"size": 5, "color": look.classes[0]},
            customdata=identity,
            hovertemplate=f"{head}<br>step %{{x:.4g}}<br>{name} %{{y:.5g}}<extra></extra>",
        )
    _ends(figure, explanation, sample, said, look)
    _rug(figure, steps, look)
    figure.update_layout(
        showlegend=False,
        hovermode="closest",
        xaxis={
            "anchor": "y2",
            "range": [-0.02, 1.02],
            "tickvals": np.array([0, 0.25, 0.5, 0.75, 1]),
            "ticktext": ["0: baseline", "0.25", "0.5", "0.75", "1: input"],
            "tickangle": 0,
            "title": {"text": "step from the baseline to the input"},
            "zeroline": False,
        },
        yaxis={
            "domain": [0.5 + _GAP / 2, 1],
            "title": {"text": said},
            "zeroline": False,
            "nticks": 6,
        },
        yaxis2={
            "domain": [0, 0.5 - _GAP / 2],
            "title": {"text": "norm of<br>gradient \N{MULTIPLICATION SIGN} difference"},
            "rangemode": "tozero",
            "nticks": 5,
        },
        yaxis3={"domain": [0.5 - _GAP / 4, 0.5 + _GAP / 4], "range": [-1, 1], "visible": False},
    )
    broken = int((~np.isfinite(scores)).sum() + (~np.isfinite(norms)).sum())
    count = len(explanation)
    outcome = words.outcome(explanation, sample)
    heading = words.heading(explanation, sample)
    frame = Frame(
        title=title if title is not None else " · ".join(filter(None, [heading, outcome])),
        caption=sentences(
            [
                words.method(explanation),
                f"{len(steps)} node{'s' if len(steps) > 1 else ''}"
                + (
                    ": the ticks between the panels; lines only join them" if len(steps) > 1 else ""
                ),
                words.trust(explanation, sample),
                f"completeness residual {number(words.at(explanation.residual, sample))}"
                if explanation.residual is not None
                else None,
                f"{broken} values are not finite" if broken else None,
                f"one of {count} samples" if count > 1 else None,
            ]
        ),
        left=84,
        right=34,
        axis=56,
        above=4,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, explanation, 2 * _PANEL)


def _nodes(explanation: Explanation, sample: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a sample's nodes in the order of the path, without the padding."""
    found = explanation.path
    if found is None or not {"step", "score", "norm"} <= set(found):
        raise InputError(
            f"this explanation by {words.method_name(explanation)} holds no path; path methods "
            "such as integrated gradients, for one target, do"
        )
    step, score, norm = (
        np.asarray(found[name][sample], dtype=np.float64) for name in ("step", "score", "norm")
    )
    kept = np.flatnonzero(np.isfinite(step))
    kept = kept[np.argsort(step[kept], kind="stable")]
    if not kept.size:
        raise InputError(f"the path of sample {sample} has no nodes")
    return step[kept], score[kept], norm[kept]


def _ends(figure: go.Figure, explanation: Explanation, sample: int, said: str, look: Theme) -> None:
    """Mark the scores at the ends, which the nodes of most quadratures leave out."""
    ends = [
        words.at(numbers, sample)
        for numbers in (explanation.baseline_prediction, explanation.prediction)
    ]
    known = [k for k, score in enumerate(ends) if np.isfinite(score)]
    if not known:
        return
    names = ["the baseline", "the input"]
    figure.add_scatter(
        x=np.array(known, dtype=np.float32),
        y=np.array([ends[k] for k in known]),
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": look.ink},
        cliponaxis=False,
        customdata=[[words.sample_id(explanation, sample)]] * len(known),
        text=[names[k] for k in known],
        hovertemplate=f"{words.hover(explanation, sample)}<br>%{{text}}<br>{said} %{{y:.5g}}"
        "<extra></extra>",
    )


def _rug(figure: go.Figure, steps: np.ndarray, look: Theme) -> None:
    """Draw a tick for every node between the panels."""
    figure.add_scatter(
        x=compact(steps),
        y=np.zeros(len(steps), np.float32),
        yaxis="y3",
        mode="markers",
        marker={
            "symbol": "line-ns",
            "size": 9,
            "line": {"color": look.classes[1], "width": 1},
        },
        cliponaxis=False,
        hoverinfo="skip",
    )
