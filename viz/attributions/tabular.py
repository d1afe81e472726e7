"""Attributions of one row of a table: bars, and the way from the baseline to the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz import bars
from pellucid.viz.attributions import features, words
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    number,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)


@dataclass(frozen=True)
class _Row:
    """One sample's features, the largest first, and the rest of them."""

    explanation: Explanation
    sample: int
    values: np.ndarray
    errors: np.ndarray | None
    kept: np.ndarray
    rest: np.ndarray

    @property
    def steps(self) -> list[tuple[str, str, float, float]]:
        """Label, full name, value and standard error of each bar."""
        found = [
            (
                features.valued(self.explanation, self.sample, i),
                features.name(self.explanation, i),
                float(self.values[i]),
                float("nan") if self.errors is None else float(self.errors[i]),
            )
            for i in self.kept
        ]
        if self.rest.size:
            # The errors of one sampled row depend on each other: that of their sum is not known.
            said = features.other(self.rest.size)
            found.append((said, said, float(self.values[self.rest].sum()), float("nan")))
        return found

    @property
    def tied(self) -> np.ndarray:
        """For each two neighbours of those that are kept, whether their order may be chance."""
        errors = None if self.errors is None else self.errors[self.kept]
        return features.ties(np.abs(self.values[self.kept]), errors)

    @property
    def whiskers(self) -> np.ndarray:
        """The standard error of each step; NaN where it is not known, or there is none."""
        found = np.array([error for _, _, _, error in self.steps])
        return np.where(found > 0, found, np.nan)

    def colors(self, look: Theme) -> list[str]:
        """Return the color of each step."""
        found = [look.negative if value < 0 else look.positive for _, _, value, _ in self.steps]
        if self.rest.size:
            found[-1] = look.neutral
        return found

    def hover(self, feature: str, value: float, error: float = float("nan")) -> str:
        """Return the text shown over a bar, escaped."""
        return (
            f"{words.hover(self.explanation, self.sample)}<br>"
            f"{escape(shorten(feature, 200))}<br>{escape(bars.signed(value, error))}"
        )


def _row(explanation: Explanation, function: str, sample: int, top: int) -> _Row:
    """Choose a sample and its largest features, or say why that cannot be."""
    positive_whole(top, "top", "how many features to draw")
    explanation = features.table(explanation, function)
    sample = words.position(explanation, sample)
    values = np.asarray(explanation.values[sample], dtype=np.float64)
    errors = explanation.standard_error
    kept, rest = features.ranked(np.abs(values), top)
    return _Row(
        explanation=explanation,
        sample=sample,
        values=values,
        errors=None if errors is None else np.asarray(errors[sample], dtype=np.float64),
        kept=kept,
        rest=rest,
    )


def bar(
    explanation: Explanation,
    *,
    sample: int = 0,
    top: int = 12,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what each feature of one sample contributed, largest first.

    Parameters
    ----------
    explanation
        With one axis of features (or tokens) beside the samples.
    sample
        The sample's position.
    top
        How many features to draw; the rest is added up in one bar.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the sample, what is explained, and the prediction.
    width, height
        In pixels; None for the width that there is, and the height that the bars need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation has other axes, several inputs or targets, or no such sample.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    row = _row(explanation, "bar", sample, top)
    explanation = row.explanation
    values = np.array([value for _, _, value, _ in row.steps])
    figure = go.Figure(
        go.Bar(
            x=np.where(np.isfinite(values), values, 0.0),
            y=np.arange(len(values)),
            orientation="h",
            marker_color=row.colors(look),
            customdata=[[words.sample_id(explanation, row.sample)]] * len(values),
            hovertext=[row.hover(name, value, error) for _, name, value, error in row.steps],
            hovertemplate="%{hovertext}<extra></extra>",
            **bars.whiskers(row.whiskers, look),
        )
    )
    notes = [bars.signed(value, error) for _, _, value, error in row.steps]
    return _finish(figure, row, look, notes, title=title, width=width, height=height)


def waterfall(
    explanation: Explanation,
    *,
    sample: int = 0,
    top: int = 10,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the way from the prediction at the baseline to that of one sample, feature by feature.

    What the attributions do not account for, the completeness residual, is a step of its own, so
    the steps always add up.

    Parameters
    ----------
    explanation
        By a complete method, with one axis of features beside the samples.
    sample
        The sample's position.
    top
        How many features to draw; the rest is added up in one step.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the sample, what is explained, and the prediction.
    width, height
        In pixels; None for the width that there is, and the height that the bars need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the method is not complete (its values do not add up to a difference of predictions), or
        the explanation has other axes, several inputs or targets, values that are not finite, or no
        such sample.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.complete(explanation, "waterfall", "draw them with viz.bar")
    assert explanation.baseline_prediction is not None
    assert explanation.prediction is not None
    row = _row(explanation, "waterfall", sample, top)
    start = words.at(explanation.baseline_prediction, row.sample)
    end = float(explanation.prediction[row.sample])
    if not np.isfinite([*row.values, start, end]).all():
        raise InputError(
            f"sample {sample} has attributions or predictions that are not finite, which cannot "
            "be added up; viz.bar draws them one by one"
        )
    residual = end - start - float(row.values.sum())
    # Of several inputs this is one: what the others contributed is no fault of its values.
    chosen = "input" in explanation.settings
    name = "other inputs, and residual" if chosen else "not accounted for (residual)"
    steps = [*row.steps, (name, name, residual, float("nan"))]
    sizes = np.array([value for _, _, value, _ in steps])
    levels = start + np.concatenate([[0.0], np.cumsum(sizes)])
    levels[-1] = end
    rows = np.arange(1, len(sizes) + 1)
    identity = [words.sample_id(explanation, row.sample)]
    figure = go.Figure(
        go.Bar(
            x=sizes,
            base=levels[:-1],
            y=rows,
            orientation="h",
            marker={
                "color": [*row.colors(look), look.neutral],
                "pattern": {"shape": [""] * (len(sizes) - 1) + ["/"]},
            },
            customdata=[identity] * len(sizes),
            hovertext=[row.hover(name, value, error) for _, name, value, error in steps],
            hovertemplate="%{hovertext}<extra></extra>",
            **bars.whiskers(np.append(row.whiskers, np.nan), look),
        )
    )
    gap = np.full(len(levels), np.nan)
    edges = np.arange(len(levels))
    figure.add_scatter(
        x=np.stack([levels, levels, gap], axis=1).ravel(),
        y=np.stack([edges, edges + 1, gap], axis=1).ravel(),
        mode="lines",
        line={"color": look.quiet, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    ends = [words.start(explanation), "prediction"]
    figure.add_scatter(
        x=np.array([start, end]),
        y=np.array([0, len(sizes) + 1]),
        mode="markers",
        marker={"symbol": "diamond", "size": 11, "color": look.ink},
        customdata=[identity] * 2,
        hovertext=[row.hover(said, value) for said, value in zip(ends, (start, end), strict=True)],
        hovertemplate="%{hovertext}<extra></extra>",
        cliponaxis=False,
    )
    notes = [number(start), *(bars.signed(value, error) for _, _, value, error in steps)]
    return _finish(
        figure,
        row,
        look,
        [*notes, number(end)],
        labels=[ends[0], *(label for label, _, _, _ in steps), ends[1]],
        title=title,
        width=width,
        height=height,
    )


def _finish(
    figure: go.Figure,
    row: _Row,
    look: Theme,
    notes: list[str],
    *,
    labels: list[str] | None = None,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Name the rows and the axis, and set the figure into its frame."""
    explanation, sample = row.explanation, row.sample
    of = words.target(explanation, sample)
    label = words.score(explanation, of)  # a waterfall's axis is the score itself
    residual = None
    if labels is None:
        labels = [label for label, _, _, _ in row.steps]
        label = f"{words.quantity(explanation, of)} (0: no effect)"
        if explanation.residual is not None:
            residual = f"completeness residual {number(words.at(explanation.residual, sample))}"
    bars.set_rows(figure, labels, notes, look)
    # A waterfall begins with the baseline's prediction.
    bars.set_ties(figure, row.tied, look, first=int(len(labels) > len(row.steps)))
    sides = bars.sides(labels, notes)
    said, axis = bars.axis_title(label, sides, width)
    figure.update_xaxes(title_text=said)
    outcome = words.outcome(explanation, sample)
    heading = words.heading(explanation, sample)
    count = len(explanation)
    frame = Frame(
        title=title if title is not None else " · ".join(filter(None, [heading, outcome])),
        caption=sentences(
            [
                words.method(explanation),
                words.trust(explanation, sample),
                residual,
                "whiskers: ± one standard error" if np.isfinite(row.whiskers).any() else None,
                bars.tie_note(row.tied),
                f"one of {count} samples" if count > 1 else None,
            ]
        ),
        **sides,
        axis=axis,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, explanation, bars.ROW * len(labels))
