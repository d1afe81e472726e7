"""How scores are distributed: by the true class, and by whether the model is right."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Predictions
from pellucid.viz.predictions.shared import (
    CLASSIFICATION,
    broken_note,
    check,
    class_of,
    counted,
    finite,
    names,
    unit,
)
from pellucid.viz.theme import (
    Frame,
    compact,
    escape,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_ROW = 46  # pixels of one class
_ROWS = 20  # classes drawn
_STEPS = 80  # bins of a class's distribution


def decision_values(
    predictions: Predictions,
    *,
    label: int | str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how the scores of each true class lie around the threshold where the decision turns.

    Of two classes, the score of the second: at 0, or a probability of a half, the decision turns.
    Of more, the margin: a class's score less the highest of the others, which is above zero where
    the class is predicted; of each sample that of its true class.

    Parameters
    ----------
    predictions
        Scores of a classifier beside the truth.
    label
        A class, by name or index: its score, or its margin, in all samples. None for what is said
        above.
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
        If the truth is not known, or there is no such class.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    check(predictions, "decision_values", CLASSIFICATION)
    known = finite(predictions)
    assert known.truth is not None
    two = known.scores.shape[1] == 2
    chosen = class_of(known, label) if label is not None else 1 if two else None
    turn = 0.5 if known.units == "probability" and two else 0.0
    if two and chosen is not None:
        values, said = known.scores[:, chosen], f"{unit(known)} of {names(known, 30)[chosen]}"
    else:
        of = known.truth if chosen is None else np.full(len(known), chosen)
        whose = "the true class" if chosen is None else names(known, 30)[chosen]
        values, said = _margin(known, of), f"margin: {unit(known)} of {whose} less the next"
    # Not by the side of the line: where scores are equal, the first class is predicted.
    right = known.predicted == known.truth
    if chosen is not None:
        right = (known.predicted == chosen) == (known.truth == chosen)
    labels = names(known, 18)
    counts = np.bincount(known.truth, minlength=len(labels))
    rows = np.flatnonzero(counts)[:_ROWS]
    low, high = float(min(values.min(), turn)), float(max(values.max(), turn))
    edges = np.linspace(low, high, _STEPS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    figure = go.Figure()
    notes = []
    for i, k in enumerate(rows):
        here = known.truth == k
        notes.append(f"{percent(right[here].mean())} of {int(here.sum()):,}")
        _ridge(figure, values[here], edges, i, labels[k], look.classes[k % len(look.classes)])
    figure.add_shape(
        type="line", x0=turn, x1=turn, y0=0, y1=1, yref="paper",
        line={"color": look.ink, "width": 1.5, "dash": "dash"},
    )  # fmt: skip
    for i, note in enumerate(notes):
        figure.add_annotation(
            text=escape(note), x=1, y=i, xref="paper", yref="y", xanchor="left", xshift=8,
            yshift=8, showarrow=False, font={"color": look.ink},
        )  # fmt: skip
    figure.update_xaxes(title_text=said, zeroline=False, nticks=7)
    figure.update_yaxes(
        tickvals=np.arange(len(rows)),
        ticktext=[labels[k] for k in rows],
        tickfont={"color": look.ink},
        range=[len(rows) - 0.85, -0.95],
        zeroline=False,
        ticklabelstandoff=6,
        title={"text": "true class"},
    )
    figure.update_layout(showlegend=False, hovermode="closest")
    longest = max((len(predictions.class_name(k)[:18]) for k in rows), default=1)
    absent = int((counts == 0).sum())
    frame = Frame(
        title=title if title is not None else f"Where {predictions.name} decides, by true class",
        caption=sentences(
            [
                f"dashed: at {turn:g} the decision turns"
                if two
                else "dashed: below zero another class is predicted",
                "right: share on the side where it belongs",
                "each distribution is as high as its own peak, marked: median and quartiles",
                f"{len(rows)} of {len(rows) + len(np.flatnonzero(counts)[_ROWS:])} classes drawn"
                if (counts > 0).sum() > _ROWS
                else None,
                f"no samples of {absent} class{'es' if absent > 1 else ''}" if absent else None,
                broken_note(predictions),
            ]
        ),
        left=int(58 + 7 * longest),
        right=int(28 + 7 * max(map(len, notes))),
        axis=50,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, predictions, max(140, _ROW * len(rows) + 30))


def _margin(known: Predictions, classes: np.ndarray) -> np.ndarray:
    """Return by how much the score of a class of each sample is above the highest of the others."""
    rows = np.arange(len(known))
    others = known.scores.copy()
    others[rows, classes] = -np.inf
    found: np.ndarray = known.scores[rows, classes] - others.max(axis=1)
    return found


def _ridge(
    figure: go.Figure, values: np.ndarray, edges: np.ndarray, row: int, name: str, color: str
) -> None:
    """Draw one class's distribution above its row, with median and quartiles on it."""
    counts, _ = np.histogram(values, edges)
    tall = row - 0.82 * counts / counts.max()
    x = np.repeat(edges, 2)
    y = np.concatenate([[row], np.repeat(tall, 2), [row]])
    figure.add_scatter(
        x=compact(x), y=compact(y), mode="lines", line={"color": color, "width": 1.2},
        fill="toself", fillcolor=_clear(color, 0.3), hoverinfo="skip",
    )  # fmt: skip
    quartiles = np.percentile(values, [25, 50, 75])
    figure.add_scatter(
        x=compact(quartiles), y=np.full(3, row, np.float32), mode="lines+markers",
        line={"color": color, "width": 2.5},
        marker={"size": [0, 9, 0], "color": color},
        text=["lower quartile", "median", "upper quartile"],
        hovertemplate=f"<b>{name}</b>, {counted(len(values))}<br>%{{text}} %{{x:.4g}}"
        "<extra></extra>",
        cliponaxis=False,
    )  # fmt: skip


def _clear(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def confidence(
    predictions: Predictions,
    *,
    bins: int = 20,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how sure the model is where it is right, and below where it is wrong.

    Parameters
    ----------
    predictions
        Scores of a classifier beside the truth.
    bins
        How many bins of equal width.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one with the mean of both.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the truth is not known, or `bins` is not a number of bins.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    check(predictions, "confidence", CLASSIFICATION)
    positive_whole(bins, "bins", "the number of bins")
    known = finite(predictions)
    sure = known.scores.max(axis=1)
    right = known.predicted == known.truth
    if known.units == "probability":
        low, high = 1 / known.scores.shape[1], 1.0
        low = min(low, float(sure.min()))
    else:
        low, high = float(sure.min()), float(sure.max())
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
    figure = go.Figure()
    share = known.units == "probability"
    form = ".1%" if share else ".4g"
    sides = (("right", right, 1, look.classes[0]), ("wrong", ~right, -1, look.classes[1]))
    most = 1
    for name, of, sign, color in sides:
        counts, _ = np.histogram(sure[of], edges)
        most = max(most, int(counts.max()))
        figure.add_bar(
            x=compact((edges[:-1] + edges[1:]) / 2),
            y=(sign * counts).astype(np.int32),
            width=compact(np.diff(edges)),
            name=f"{name}: {int(of.sum()):,}",
            marker={"color": color, "line": {"color": look.paper, "width": 1}},
            customdata=np.stack([counts, edges[:-1], edges[1:]], axis=1).astype(np.float64),
            hovertemplate=f"<b>%{{customdata[0]:.0f}} {name}</b><br>with a {unit(known)} of "
            f"%{{customdata[1]:{form}}} to %{{customdata[2]:{form}}}<extra></extra>",
        )
    said = [
        f"mean where {name} {percent(sure[of].mean()) if share else f'{sure[of].mean():.3g}'}"
        for name, of, *_ in sides
        if of.any()
    ]
    figure.update_xaxes(
        title_text=f"{unit(known)} of the predicted class",
        tickformat=".0%" if share else None,
        zeroline=False,
        nticks=7,
    )
    ticks = _ticks(figure, most)
    figure.update_yaxes(
        title_text="samples: right above, wrong below",
        tickvals=ticks,
        ticktext=[f"{abs(v):,}" for v in ticks.tolist()],
    )
    figure.update_layout(
        barmode="overlay",
        bargap=0,
        hovermode="closest",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    )
    frame = Frame(
        title=title
        if title is not None
        else f"How sure {shorten(predictions.name, 40)} is: {', '.join(said)}",
        caption=sentences(
            [
                f"{counted(len(known))} in bins of {_width(edges, share)}",
                broken_note(predictions),
            ]
        ),
        left=70,
        right=24,
        axis=50,
        above=26,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, predictions, 320)


def _ticks(figure: go.Figure, most: int) -> np.ndarray:
    """Return round numbers of samples for both directions of the axis."""
    low = int(min(trace.y.min() for trace in figure.data))
    rough = max(1.0, (most - low) / 5)
    size = 10 ** int(np.floor(np.log10(rough)))
    step = next(int(size * m) for m in (1, 2, 5, 10) if size * m >= rough)
    found: np.ndarray = np.arange(-(-low // step) * step if low < 0 else 0, most + step, step)
    return found


def _width(edges: np.ndarray, share: bool) -> str:
    wide = float(edges[1] - edges[0])
    return percent(wide) if share else f"{wide:.3g}"
