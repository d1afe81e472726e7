"""One feature's values against what they contributed, with the feature that changes that most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import dots, features, spread, words
from pellucid.viz.attributions.places import Place, dot_size, swarmed
from pellucid.viz.scale import evenly
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 5000
_WHISKERS = 500  # more samples would hide their dots under them
_SVG_DOTS = 5000  # beyond, WebGL
_PLOT = 340  # pixels of the plot's height


def dependence(
    explanation: Explanation,
    *,
    feature: str | int | None = None,
    color: str | int | bool | None = None,
    samples: int | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a feature's values against what they contributed, one dot for each sample.

    Where samples of the same value have different contributions, the feature interacts with others;
    dots are coloured by the one that explains most of that spread. Categories stand in the order of
    their mean contribution.

    Parameters
    ----------
    explanation
        Of features whose values are known: its axes are sample and feature (or group, of which one
        with a single feature can be drawn).
    feature
        The feature's name or position; None for the one with the largest mean magnitude.
    color
        The name or position of the feature that colours the dots; None for the one that explains
        most of the spread, False for none.
    samples
        How many samples to draw at most; 5000 by default, evenly chosen.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there is no such feature, its values are not known, or the explanation has other axes,
        several inputs or targets, or no samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.table(explanation, "dependence")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    position = _feature(explanation, feature)
    rows = evenly(len(explanation), most)
    values = np.asarray(explanation.values, dtype=np.float64)[:, position]
    paint, share = _paint(explanation, position, color, values, look)

    known = np.isfinite(values[rows])
    broken = int((~known).sum())
    rows = rows[known]
    of = dots.of_all(explanation, rows)
    said = f"{words.quantity(explanation, of)} (0: no effect)"
    # On the other side of the frame, long words would leave the plot no room.
    name = shorten(features.name(explanation, position), 60)
    scale = paint is not None and paint.names is None
    legend = 26 if paint is not None and paint.names is not None else 0
    place = Place.of(explanation, position, rows, values)
    frame = Frame(
        title=title
        if title is not None
        else f"What {name} contributes to the {words.score(explanation, of)}",
        caption=sentences(
            [
                words.method(explanation),
                _spread_note(explanation, paint, share, color),
                "hollow: the value that colours a dot is missing" if _hollow(paint, rows) else None,
                "whiskers: ± one standard error"
                if _errors(explanation, position, rows) is not None
                else None,
                "the order of the categories is that of their mean contribution"
                if place.names
                else None,
                f"{broken} attributions are not finite (not drawn)" if broken else None,
                dots.left_out(len(rows) + broken, len(explanation)),
            ]
        ),
        left=84,
        right=28,
        above=legend,
        axis=place.below + dots.BAR * scale,
        width=width,
        height=height,
    )
    tall = frame.plot_height(_PLOT)
    figure = go.Figure()
    moved = swarmed(place, values[rows], tall)
    for trace in _traces(explanation, position, rows, place.at + moved, values, paint, look):
        figure.add_trace(trace)
    place.set_axis(figure, look, name)
    figure.update_yaxes(
        title_text="<br>".join(escape(line) for line in _two_lines(said)), zeroline=True, nticks=7
    )
    # How numbers were rounded must not fill the plot.
    least = 1e-6 * float(features.sizes(explanation)[0].max())
    if float(np.abs(values[rows]).max(initial=0)) < least:
        figure.update_yaxes(range=[-least, least])
    figure.update_layout(
        hovermode="closest",
        showlegend=bool(legend),
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "itemsizing": "constant",
            "title": {"font": {"size": 12}},
        },
    )
    if scale:
        assert paint is not None
        axis = dots.color_bar(look, paint.name, tall, place.below, paint.ends)
        figure.update_layout(coloraxis=axis)
    elif legend:
        assert paint is not None
        figure.update_layout(legend_title_text=escape(shorten(paint.name, 30)))
    return frame.apply(figure, look, explanation, _PLOT)


def _feature(explanation: Explanation, wanted: str | int | None) -> int:
    """Return the position of the feature to draw."""
    sizes, _ = features.sizes(explanation)
    if wanted is not None:
        position = features.find(explanation, wanted, "feature")
        if features.column(explanation, position) is None:
            raise InputError(
                f"the values of {features.name(explanation, position)!r} are not known, or it is a "
                "group of several features: viz.beeswarm draws its contributions alone"
            )
        return position
    known = [
        int(i) for i in np.argsort(-sizes, kind="stable")
        if features.column(explanation, int(i)) is not None
    ]  # fmt: skip
    if not known:
        raise InputError(
            "the explanation holds no feature's values, which viz.dependence draws contributions "
            "against; viz.beeswarm draws the contributions alone"
        )
    return known[0]


def _two_lines(text: str) -> list[str]:
    """Return a long axis title on two lines, broken near its middle."""
    text = shorten(text, 100)
    spaces = [k for k, letter in enumerate(text) if letter == " "]
    if len(text) <= 48 or not spaces:
        return [text]
    middle = min(spaces, key=lambda k: abs(k - len(text) / 2))
    return [text[:middle], text[middle + 1 :]]


# -- the other feature -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Paint:
    """What colours the dots: a number for each sample, or the name of its category.

    Attributes
    ----------
    values
        Of all samples; NaN where missing.
    names
        Where the values are codes, what each stands for.
    ends
        Where the colours of numbers end.
    """

    name: str
    values: np.ndarray
    names: tuple[str, ...] | None
    ends: tuple[float, float]


def _paint(
    explanation: Explanation,
    position: int,
    color: str | int | bool | None,
    values: np.ndarray,
    look: Theme,
) -> tuple[_Paint | None, float]:
    """Return what colours the dots, and the share of the spread that it explains."""
    if color is False:
        return None, float("nan")
    if color is True:
        raise InputError("color is a feature's name or position, None to choose one, or False")
    if color is None:
        other, share = spread.strongest(explanation, position)
        if other is None:
            return None, float("nan")
    else:
        other = features.find(explanation, color, "color")
        share = float("nan")
        if features.column(explanation, other) is None:
            raise InputError(
                f"the values of {features.name(explanation, other)!r} are not known, so they "
                "cannot colour the dots"
            )
    found = features.column(explanation, other)
    assert found is not None
    found = np.asarray(found, dtype=np.float64)
    names = features.texts(explanation, other)
    if names is not None and len(np.unique(found)) > len(look.classes):
        names = None
    known = found[np.isfinite(found)]
    # One outlier must not make all others alike.
    low, high = np.percentile(known, [5, 95]) if known.size else (0.0, 1.0)
    if low == high:
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    ends = (float(low), float(high if high > low else low + 1))
    return _Paint(features.name(explanation, other), found, names, ends), share


def _spread_note(
    explanation: Explanation, paint: _Paint | None, share: float, color: str | int | bool | None
) -> str | None:
    if paint is None:
        if color is False or explanation.values.shape[1] < 2:
            return None
        return "no other feature explains the spread at like values"
    name = shorten(paint.name, 40)
    if not np.isfinite(share):
        return f"coloured by {name}"
    return f"coloured by {name}, which explains {percent(share)} of the spread at like values"


def _hollow(paint: _Paint | None, rows: np.ndarray) -> bool:
    return paint is not None and not np.isfinite(paint.values[rows]).all()


# -- dots ---------------------------------------------------------------------------------------


def _errors(explanation: Explanation, position: int, rows: np.ndarray) -> np.ndarray | None:
    """Return the whiskers' lengths; None where there are none, or too many."""
    if explanation.standard_error is None or len(rows) > _WHISKERS:
        return None
    found = np.asarray(explanation.standard_error, dtype=np.float64)[rows, position]
    return np.where(found > 0, found, np.nan) if (found > 0).any() else None


def _traces(
    explanation: Explanation,
    position: int,
    rows: np.ndarray,
    x: np.ndarray,
    values: np.ndarray,
    paint: _Paint | None,
    look: Theme,
) -> list[Any]:
    """Return the dots: one trace for each category of the colours, and one for those without."""
    column = features.column(explanation, position)
    assert column is not None
    own = [escape(features.said(explanation, position, v)) for v in column[rows]]
    errors = _errors(explanation, position, rows)
    kind = go.Scattergl if len(rows) > _SVG_DOTS else go.Scatter
    head_name = escape(shorten(features.name(explanation, position), 60))
    traces = []
    for members, name, marker in _shares(paint, rows, look):
        identity, head = dots.identity(explanation, rows[members])
        lines = [f"{head_name} = {own[k]}" for k in members]
        if paint is not None:
            other = escape(shorten(paint.name, 60))
            told = [escape(_color_said(paint, rows[k])) for k in members]
            lines = [f"{line}<br>{other} = {v}" for line, v in zip(lines, told, strict=True)]
        if errors is not None:
            identity["error_y"] = {
                "array": errors[members],
                "color": look.neutral,
                "thickness": 1,
                "width": 0,
            }
        traces.append(
            kind(
                x=dots.typed(x[members]),
                y=dots.typed(values[rows][members]),
                mode="markers",
                name=escape(shorten(name, 24)),
                marker={"size": dot_size(len(rows)), "opacity": 0.9, **marker},
                hovertext=lines,
                hovertemplate=f"{head}%{{hovertext}}<br>{dots.unit(explanation)} %{{y:+.4g}}"
                "<extra></extra>",
                **identity,
            )
        )
    return traces


def _shares(
    paint: _Paint | None, rows: np.ndarray, look: Theme
) -> list[tuple[np.ndarray, str, dict[str, Any]]]:
    """Return which dots look alike: their positions, a name, and how they look."""
    everyone = np.arange(len(rows))
    if paint is None:
        return [(everyone, "", {"color": look.classes[0]})]
    found = paint.values[rows]
    known = np.isfinite(found)
    shares: list[tuple[np.ndarray, str, dict[str, Any]]] = []
    if paint.names is None:
        marker = {"color": dots.typed(found[known]), "coloraxis": "coloraxis"}
        shares.append((everyone[known], paint.name, marker))
    else:
        symbols = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "hexagon")
        for k, code in enumerate(np.unique(found[known])):
            name = paint.names[int(code)]
            marker = {"color": look.classes[k], "symbol": symbols[k % len(symbols)]}
            shares.append((everyone[found == code], name, marker))
    empty = {"color": look.neutral, "symbol": "circle-open", "line": {"width": 1.2}}
    shares.append((everyone[~known], "missing", empty))
    return [share for share in shares if share[0].size]


def _color_said(paint: _Paint, sample: int) -> str:
    value = paint.values[sample]
    if not np.isfinite(value):
        return "missing"
    return shorten(paint.names[int(value)]) if paint.names is not None else f"{value:.4g}"
