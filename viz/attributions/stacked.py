"""What pushes each prediction up and what pushes it down, side by side until they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz import bars
from pellucid.viz.attributions import dots, features, words
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

_MOST = 12
_ROW = 34  # pixels of a bar and the space around it
_LETTER = 6.4  # pixels of a letter in a bar
_ASSUMED = 640  # pixels of a figure that takes the width it is given, when texts are set
_SEEN = 1e-3  # a residual below this share of the contributions is not worth a word


def stacked(
    explanation: Explanation,
    *,
    top: int = 5,
    samples: int | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a bar for each sample, in which what pushes up and what pushes down meet.

    From the left come the contributions that push the prediction up, from the right those that push
    it down; they meet at the prediction, the largest next to it. Their two lengths differ by what
    the prediction is above the baseline's.

    Parameters
    ----------
    explanation
        By a complete method, with one axis of features or groups beside the samples.
    top
        How many features to draw on each side; the others on that side are joined.
    samples
        How many samples to draw at most; the first 12 by default. Choose others with
        ``explanation[[3, 5]]``.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
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
        samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.complete(explanation, "stacked", "draw them with viz.bar")
    assert explanation.prediction is not None
    positive_whole(top, "top", "how many features to draw on each side")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    shown = min(most, len(explanation))
    values = np.asarray(explanation.values[:shown], dtype=np.float64)
    ends = np.asarray(explanation.prediction[:shown], dtype=np.float64)
    starts = np.array([words.at(explanation.baseline_prediction, i) for i in range(shown)])
    if not np.isfinite([*values.ravel(), *ends, *starts]).all():
        raise InputError(
            "some attributions or predictions are not finite, which cannot be added up; viz.bar "
            "draws those of one sample, and explanation[[3, 5]] chooses samples"
        )
    of = dots.of_all(explanation, range(shown))
    labels = [shorten(words.sample_id(explanation, i), 26) for i in range(shown)]
    if of == dots.OWN:
        labels = [f"{label}: {words.target(explanation, i, 20)}" for i, label in enumerate(labels)]
    notes = [number(end) for end in ends]
    sides = bars.sides(labels, notes)
    begin = float((ends - np.where(values > 0, values, 0).sum(axis=1)).min())
    finish = float((ends - np.where(values < 0, values, 0).sum(axis=1)).max())
    low, high = min(begin, starts.min()), max(finish, starts.max())
    edge = 0.02 * (high - low) or 1.0
    room = (width or _ASSUMED) - sides["left"] - sides["right"]
    letter = _LETTER * (high - low + 2 * edge) / max(room, 50)
    figure = go.Figure()
    for sign in (1, -1):
        figure.add_traces(_Side(explanation, sign, letter, look).traces(values, ends, top))
    _marks(figure, explanation, starts, ends, look)
    bars.set_rows(figure, labels, notes, look)
    said = words.score(explanation, of)
    figure.update_xaxes(title_text=escape(shorten(said, 90)), range=[low - edge, high + edge])
    figure.update_xaxes(zeroline=False)
    figure.update_layout(barmode="overlay")
    residual = ends - starts - values.sum(axis=1)
    seen = np.abs(residual).max() > _SEEN * (np.abs(values).sum(axis=1).max() or 1)
    errors = explanation.standard_error
    worst = None if errors is None else float(np.nanmax(np.asarray(errors[:shown]), initial=0))
    count = len(explanation)
    frame = Frame(
        title=title if title is not None else _title(explanation, shown, said),
        caption=sentences(
            [
                words.method(explanation),
                "left of the prediction what pushes it up, right of it what pushes it down; "
                "pale: other features",
                f"triangle: {words.start(explanation)}",
                f"up to {number(np.abs(residual).max())} is not accounted for (residual)"
                if seen
                else None,
                f"standard errors up to {worst:.2g}" if worst else None,
                f"the first {shown} of {count:,} samples" if shown < count else None,
            ]
        ),
        **sides,
        axis=52,
        above=6,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, explanation, max(_ROW * shown, 44))


def _title(explanation: Explanation, shown: int, said: str) -> str:
    if len(explanation) == 1:
        parts = [words.heading(explanation, 0), words.outcome(explanation, 0)]
        return " · ".join(filter(None, parts))
    return f"What pushes the {said} up and down"


@dataclass(frozen=True)
class _Side:
    """What pushes predictions up (sign 1) or down (-1).

    Attributes
    ----------
    letter
        How much of the axis a letter takes.
    """

    explanation: Explanation
    sign: int
    letter: float
    look: Theme

    def traces(self, values: np.ndarray, ends: np.ndarray, top: int) -> list[Any]:
        """Return a trace for each sample's largest push, one for the second, ..., and the rest."""
        pushes = np.where(self.sign * values > 0, np.abs(values), 0.0)
        order = np.argsort(-pushes, axis=1, kind="stable")
        found = np.take_along_axis(pushes, order, axis=1)
        joined = np.count_nonzero(found[:, top:], axis=1)
        # A part that stands for "1 other feature" may as well be that feature.
        rest = np.where(joined > 1, found[:, top:].sum(axis=1), 0.0)
        if (joined == 1).any():
            found[joined > 1, top] = 0.0
            top += 1
        inner = ends.copy()
        traces = []
        for k, size in enumerate([*found[:, :top].T, rest]):
            here = np.flatnonzero(size > 0)
            if here.size and k < found[:, :top].shape[1]:
                traces.append(self._part(here, size[here], inner[here], chosen=order[here, k]))
            elif here.size:
                traces.append(self._part(here, size[here], inner[here], joined=joined[here]))
            inner = inner - self.sign * size
        return traces

    def _part(
        self,
        samples: np.ndarray,
        sizes: np.ndarray,
        inner: np.ndarray,
        *,
        chosen: np.ndarray | None = None,
        joined: np.ndarray | None = None,
    ) -> go.Bar:
        """Return one part of some samples' bars, from its inner end away from the prediction.

        It is of one feature for each of the samples (`chosen`), or of as many others (`joined`).
        """
        explanation, look = self.explanation, self.look
        errors = explanation.standard_error
        names, hovers = [], []
        for k, i in enumerate(samples.tolist()):
            error = float("nan")
            if chosen is not None:
                position = int(chosen[k])
                short = shorten(features.name(explanation, position))
                name = features.valued(explanation, i, position)
                error = error if errors is None else float(errors[i, position])
            else:
                assert joined is not None
                short = name = features.other(int(joined[k]))
            letters = sizes[k] / self.letter - 2
            names.append(next((said for said in (name, short) if len(said) <= letters), ""))
            hovers.append(
                f"{words.hover(explanation, i)}<br>{escape(name)}<br>"
                f"{escape(bars.signed(self.sign * float(sizes[k]), error))}"
            )
        return go.Bar(
            x=compact(-self.sign * sizes),
            base=inner,
            y=samples.astype(np.float32),
            orientation="h",
            width=0.7,
            marker={
                "color": look.positive if self.sign > 0 else look.negative,
                "line": {"color": look.paper, "width": 1},
            },
            opacity=0.42 if chosen is None else 1.0,
            text=[escape(name) for name in names],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
            textfont={"color": look.ink if chosen is None else look.paper, "size": 11},
            customdata=[[words.sample_id(explanation, i)] for i in samples.tolist()],
            hovertext=hovers,
            hovertemplate="%{hovertext}<extra></extra>",
        )


def _marks(
    figure: go.Figure, explanation: Explanation, starts: np.ndarray, ends: np.ndarray, look: Theme
) -> None:
    """Mark in each row the prediction, and the baseline's."""
    rows = np.arange(len(ends))
    below = {"symbol": "triangle-up", "size": 7}
    across = {"symbol": "line-ns", "size": 28, "line": {"width": 2.5, "color": look.ink}}
    marks = (
        (words.start(explanation), starts, rows + 0.45, below),
        ("prediction", ends, rows, across),
    )
    for name, at, heights, marker in marks:
        figure.add_scatter(
            x=at,
            y=heights.astype(np.float32),
            mode="markers",
            marker={"color": look.ink, **marker},
            cliponaxis=False,
            customdata=[[words.sample_id(explanation, int(i))] for i in rows],
            hovertext=[
                f"{words.hover(explanation, int(i))}<br>{name} {escape(number(at[i]))}"
                for i in rows
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
