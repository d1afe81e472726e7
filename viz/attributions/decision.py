"""How a model comes to its predictions: a line for each sample, feature after feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz import bars
from pellucid.viz.attributions import dots, features, words
from pellucid.viz.scale import evenly
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    number,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 200
_SHADES = 24  # lines of one colour are one trace
_AXIS = 52  # pixels below the plot for its axis
_SEEN = 1e-3  # a residual below this share of the predictions' range is no step of its own


def decision(
    explanation: Explanation,
    *,
    top: int = 15,
    samples: int | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how each sample's prediction comes about: from the baseline's, feature by feature.

    Lines begin at the bottom with the baseline's prediction and end at the top with the sample's;
    in a feature's row each moves by what the feature contributed. The features with the largest
    mean magnitude are at the top; a line's colour is its prediction. What the attributions do not
    account for, the completeness residual, is a row of its own where it can be seen.

    Parameters
    ----------
    explanation
        By a complete method, with one axis of features or groups beside the samples.
    top
        How many features to draw; the rest is added up in the lowest row.
    samples
        How many samples to draw at most; 200 by default, evenly chosen. Choose others with
        ``explanation[[3, 5]]``.
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
        If the method is not complete (its values do not add up to a difference of predictions), or
        the explanation has other axes, several inputs or targets, or no samples with finite values.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.complete(explanation, "decision", "draw them with viz.beeswarm")
    positive_whole(top, "top", "how many features to draw")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    count = len(explanation)
    rows = evenly(count, most)
    paths = _Paths.of(explanation, rows, top)
    one = len(paths.rows) == 1
    labels, notes = paths.labels(one), paths.notes(one)
    sides = bars.sides(labels, notes)
    sides["right"] = max(sides["right"], 28)
    of = dots.of_all(explanation, paths.rows)
    said = words.score(explanation, of)
    ends = paths.levels[:, -1]
    low, high = float(ends.min()), float(ends.max())
    colored = low < high
    lost = len(rows) - len(paths.rows)
    frame = Frame(
        title=title if title is not None else _title(explanation, paths.rows, said),
        caption=sentences(
            [
                words.method(explanation),
                words.trust(explanation, int(paths.rows[0])) if one else None,
                f"from the {words.start(explanation)} (bottom) to the prediction (top)",
                bars.tie_note(paths.tied),
                f"{lost} samples are not finite (not drawn)" if lost else None,
                dots.left_out(len(rows), count),
            ]
        ),
        **sides,
        axis=_AXIS + dots.BAR * colored,
        width=width,
        height=height,
    )
    natural = bars.ROW * len(labels) + 8.0
    figure = go.Figure()
    bars.set_rows(figure, labels, notes, look)
    bars.set_ties(figure, paths.tied, look)
    _starts(figure, paths, look)
    for trace in _lines(explanation, paths, low, high, look):
        figure.add_trace(trace)
    _ends(figure, explanation, paths, said, colored, look)
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    figure.layout.shapes += tuple(
        {**across, "y0": y, "y1": y, "line": {"color": look.grid, "width": 1}}
        for y in (np.arange(len(labels) + 1) - 0.5).tolist()
    )
    edge = 0.03 * float(np.ptp(paths.levels)) or 1.0
    reach = [float(paths.levels.min()) - edge, float(paths.levels.max()) + edge]
    figure.update_xaxes(title_text=escape(shorten(said, 90)), zeroline=False, range=reach)
    if colored:
        plot = frame.plot_height(natural)
        axis = dots.color_bar(look, "prediction", plot, _AXIS, (low, high))
        figure.update_layout(coloraxis=axis)
    return frame.apply(figure, look, explanation, natural)


class _Paths:
    """Each sample's way from the baseline's prediction to its own.

    Attributes
    ----------
    rows
        The samples.
    kept, rest
        The features with a row of their own, the largest first; and those without.
    levels
        Where each is before the first step and after every step: (samples, steps + 1). The steps
        come in the order of the lines: the rest, then the features from the smallest on, then the
        residual where it can be seen.
    tied
        Whether neighbours' order may be chance, of the rows from the top.
    """

    def __init__(
        self, explanation: Explanation, rows: np.ndarray, top: int, sample: int | None
    ) -> None:
        assert explanation.prediction is not None
        self.explanation, self.rows = explanation, rows
        values = np.asarray(explanation.values, dtype=np.float64)[rows]
        start = np.array([words.at(explanation.baseline_prediction, int(i)) for i in rows])
        end = np.asarray(explanation.prediction, dtype=np.float64)[rows]
        sizes, errors = features.sizes(explanation if sample is None else explanation[[sample]])
        self.kept, self.rest = features.ranked(sizes, top)
        steps = [values[:, i] for i in self.kept[::-1]]
        if self.rest.size:
            steps.insert(0, values[:, self.rest].sum(axis=1))
        residual = end - start - values.sum(axis=1)
        span = float(np.ptp(np.concatenate([start, end]))) or float(np.abs(values).max(initial=0))
        self.residual = bool(np.abs(residual).max(initial=0) > _SEEN * span)
        if self.residual:
            steps.append(residual)
        self.levels = start[:, None] + np.cumsum([np.zeros(len(rows)), *steps], axis=0).T
        self.levels[:, -1] = end
        tied = features.ties(sizes[self.kept], None if errors is None else errors[self.kept])
        self.tied = np.concatenate([[False], tied]) if self.residual else tied

    @classmethod
    def of(cls, explanation: Explanation, rows: np.ndarray, top: int) -> _Paths:
        """Return the paths of the samples whose numbers are finite; raise if there are none."""
        assert explanation.prediction is not None
        start = np.array([words.at(explanation.baseline_prediction, int(i)) for i in rows])
        known = np.isfinite(np.asarray(explanation.values)[rows]).all(axis=1)
        known &= np.isfinite(start) & np.isfinite(explanation.prediction[rows])
        if not known.any():
            raise InputError(
                "no sample's attributions and predictions are all finite, so there is nothing that "
                "could be added up; viz.beeswarm draws them one by one"
            )
        return cls(explanation, rows[known], top, int(rows[known][0]) if len(rows) == 1 else None)

    def labels(self, one: bool) -> list[str]:
        """Return the names of the rows from the top, with the values of a single sample."""
        found = ["not accounted for (residual)"] if self.residual else []
        for i in self.kept:
            short = shorten(features.name(self.explanation, int(i)))
            whole = features.valued(self.explanation, int(self.rows[0]), int(i))
            found.append(whole if one else short)
        return found + ([features.other(self.rest.size)] if self.rest.size else [])

    def notes(self, one: bool) -> list[str]:
        """Return a single sample's steps in words, from the top; nothing for several."""
        if not one:
            return []
        errors = self.explanation.standard_error
        steps = np.diff(self.levels[0])[::-1]
        known = np.full(len(steps), np.nan)
        if errors is not None:
            first = int(self.residual)
            known[first : first + len(self.kept)] = errors[self.rows[0]][self.kept]
        return [bars.signed(float(v), float(e)) for v, e in zip(steps, known, strict=True)]

    @property
    def edges(self) -> np.ndarray:
        """Heights of the levels: the rows' edges, from the lowest."""
        return np.arange(self.levels.shape[1])[::-1] - 0.5


def _title(explanation: Explanation, rows: np.ndarray, said: str) -> str:
    if len(rows) == 1 and len(explanation) == 1:
        sample = int(rows[0])
        parts = [words.heading(explanation, sample), words.outcome(explanation, sample)]
        return " · ".join(filter(None, parts))
    return f"How the {said} comes about in {len(rows):,} sample{'s' if len(rows) > 1 else ''}"


def _starts(figure: go.Figure, paths: _Paths, look: Theme) -> None:
    """Draw where the lines begin, as far up as they go, if all begin at one number."""
    starts = paths.levels[:, 0]
    if np.ptp(starts) > 1e-6 * max(1e-12, float(np.abs(starts).max())):
        return
    figure.add_vline(
        x=float(starts[0]), line={"color": look.quiet, "width": 1, "dash": "dot"}, layer="below"
    )


def _lines(
    explanation: Explanation, paths: _Paths, low: float, high: float, look: Theme
) -> list[Any]:
    """Return the lines, those of one shade in one trace."""
    ends = paths.levels[:, -1]
    shade = np.zeros(len(ends), dtype=int)
    if high > low:
        shade = np.minimum(((ends - low) / (high - low) * _SHADES).astype(int), _SHADES - 1)
    gap = np.full((len(ends), 1), np.nan)
    xs = np.concatenate([paths.levels, gap], axis=1)
    ys = np.broadcast_to(np.append(paths.edges, np.nan), xs.shape)
    many = len(ends) > 60
    traces = []
    for k in np.unique(shade):
        members = np.flatnonzero(shade == k)
        named = np.repeat(paths.rows[members], xs.shape[1])
        identity, head = dots.identity(explanation, named)
        color = _color(look, (k + 0.5) / _SHADES) if high > low else look.classes[0]
        traces.append(
            go.Scatter(
                x=compact(xs[members].ravel()),
                y=compact(ys[members].ravel()),
                mode="lines",
                line={"color": color, "width": 1.2 if many else 1.8},
                opacity=0.7 if many else 0.9,
                hovertemplate=f"{head}so far %{{x:.4g}}<extra></extra>",
                **identity,
            )
        )
    return traces


def _color(look: Theme, at: float) -> str:
    stops = [stop for stop, _ in look.points]
    parts = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for _, c in look.points])
    red, green, blue = (round(float(np.interp(at, stops, part))) for part in parts.T)
    return f"rgb({red},{green},{blue})"


def _ends(
    figure: go.Figure,
    explanation: Explanation,
    paths: _Paths,
    said: str,
    colored: bool,
    look: Theme,
) -> None:
    """Mark the predictions at the top, and where a single line begins."""
    ends = paths.levels[:, -1]
    identity, head = dots.identity(explanation, paths.rows)
    marker: dict[str, Any] = {"symbol": "diamond", "size": 7, "color": look.ink}
    if colored:
        marker |= {"color": compact(ends), "coloraxis": "coloraxis"}
    figure.add_scatter(
        x=compact(ends),
        y=np.full(len(ends), paths.edges[-1], np.float32),
        mode="markers",
        marker=marker,
        cliponaxis=False,
        hovertemplate=f"{head}prediction: {escape(said)} %{{x:.5g}}<extra></extra>",
        **identity,
    )
    if len(ends) > 1:
        return
    figure.add_scatter(
        x=compact(paths.levels[:, 0]),
        y=np.full(1, paths.edges[0], np.float32),
        mode="markers",
        marker={"symbol": "diamond", "size": 7, "color": look.ink},
        cliponaxis=False,
        hovertemplate=f"{head}{words.start(explanation)}: {number(paths.levels[0, 0])}"
        "<extra></extra>",
        **identity,
    )
