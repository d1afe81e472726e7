"""Which features work together: a matrix of what each two of them contribute jointly."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import dots, features, panels, pictures, words
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

_CELL = 44  # pixels of a cell's height, where there are few
_LETTER = 6.9
_NAME = 22  # letters of a feature's name
_ASSUMED = 640  # pixels of a figure that takes the width it is given


def is_interactions(explanation: Explanation) -> bool:
    """Whether the values are of every two features."""
    axes, values = tuple(explanation.axes or ()), explanation.values
    if len(axes) != 3 or axes[1] not in features.PLAYERS or axes[2] not in (axes[1], "with"):
        return False
    return bool(values.ndim == 3 and values.shape[1] == values.shape[2])


def interactions(
    explanation: Explanation,
    *,
    sample: int | None = None,
    top: int = 10,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what each two features contribute together, over all samples or in one of them.

    Over all samples it is the mean magnitude, in one sample the value with its sign. The diagonal
    holds what each feature contributes alone, as a number: beside it interactions would have hardly
    any colour. The colours end at the largest interaction.

    Parameters
    ----------
    explanation
        Of every two features: by the method ``"shapley_interactions"``.
    sample
        The sample's position; None for all samples. An explanation of one sample is drawn with its
        signs in any case.
    top
        How many features to draw: those with the largest sum of magnitudes.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the cells need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation is not of every two features, or of several inputs or targets, or has no
        such sample.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.single(explanation, "interactions")
    positive_whole(top, "top", "how many features to draw")
    if not is_interactions(explanation) or not explanation.values.size:
        raise InputError(
            "viz.interactions draws values of every two features, such as those of "
            "explain(model, inputs, method='shapley_interactions'), but these have shape "
            f"{explanation.values.shape} with axes {explanation.axes or 'not known'}"
        )
    count = len(explanation)
    if sample is None and count == 1:
        sample = 0
    whole, errors = _values(explanation, sample)
    reach = np.nan_to_num(np.abs(whole)).sum(axis=1)
    order = np.argsort(-reach, kind="stable")
    kept, rest = order[:top], order[top:]
    values = whole[np.ix_(kept, kept)]
    found_errors = None if errors is None else errors[np.ix_(kept, kept)]
    alone = np.eye(len(kept), dtype=bool)
    limit = pictures.limit(values[~alone], None)
    magnitude = sample is None or words.magnitude(explanation)
    of = dots.of_all(explanation, range(count) if sample is None else [sample])
    names = [shorten(features.name(explanation, int(i)), _NAME) for i in kept]
    if sample is not None:
        names = [_valued(explanation, sample, int(i)) for i in kept]
    left = int(30 + _LETTER * max(map(len, names)))
    room = (width or _ASSUMED) - left - 28
    slanted = any(_LETTER * len(name) > room / len(names) - 6 for name in names)
    below = 26 if not slanted else int(20 + 0.72 * _LETTER * max(map(len, names)))
    # A slanted name reaches to the left of its cell.
    left = max(left, int(0.6 * _LETTER * len(names[0]))) if slanted else left
    unclear = _unclear(values, found_errors, alone)
    unit, size = _unit(values, limit.end), _size(values, limit.end, room / len(kept))
    broken = int((~np.isfinite(values)).sum())
    frame = Frame(
        title=title if title is not None else _title(explanation, sample, of),
        caption=sentences(
            [
                words.method(explanation),
                "diagonal: what each feature contributes alone",
                (f"numbers are times {number(unit)}" if unit != 1 else None)
                if size
                else "too many features for numbers: point at a cell",
                "the interaction of two features is the sum of their two cells",
                f"mean magnitude over {count:,} samples" if sample is None else None,
                words.trust(explanation, sample) if sample is not None else None,
                "small numbers: not told from zero (95 %, by the standard errors)"
                if unclear.any() and size
                else None,
                f"{broken} values are not finite (blank)" if broken else None,
                f"{rest.size} features with smaller contributions are not drawn"
                if rest.size
                else None,
                f"one of {count:,} samples" if sample is not None and count > 1 else None,
            ]
        ),
        left=left,
        right=28,
        axis=below + panels.BAR,
        width=width,
        height=height,
    )
    natural = max(28, min(_CELL, 420 / len(kept))) * len(kept)
    tall = frame.plot_height(natural)
    colors = panels.Colors(
        "coloraxis", limit.end, magnitude, "0: none" if magnitude else "0: no effect together"
    )
    figure = go.Figure(
        go.Heatmap(
            z=compact(np.where(alone, np.nan, values)),
            coloraxis="coloraxis",
            zsmooth=False,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            customdata=[[words.sample_id(explanation, sample or 0)]]
            if sample is not None
            else None,
            text=_hovers(explanation, kept, values, found_errors, sample),
            hovertemplate="%{text}<extra></extra>",
        )
    )
    if size:
        _numbers(figure, values / unit, values, alone, unclear, colors, look, size)
    _diagonal(figure, explanation, kept, values, found_errors, sample, look)
    ticks = {"tickvals": np.arange(len(kept)), "ticktext": [escape(name) for name in names]}
    bare = {"showgrid": False, "zeroline": False, "ticks": "", "tickfont": {"color": look.ink}}
    ends = [-0.5, len(kept) - 0.5]
    figure.update_layout(
        xaxis={**ticks, **bare, "range": ends, "tickangle": -45 if slanted else 0},
        yaxis={**ticks, **bare, "range": ends[::-1], "ticklabelstandoff": 4},
        showlegend=False,
        hovermode="closest",
    )
    said = f"half the joint contribution to the {words.score(explanation, of)}"
    if sample is None:
        said = f"mean magnitude of {said}"
    axes = panels.color_axes(look, [colors], (room, tall), said)
    axes["coloraxis"]["colorbar"]["y"] = -(below + 6) / tall
    figure.update_layout(axes)
    return frame.apply(figure, look, explanation, natural)


def _values(explanation: Explanation, sample: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the matrix to draw, and the standard errors of its values (at most, of means)."""
    values = np.asarray(explanation.values, dtype=np.float64)
    errors = explanation.standard_error
    errors = None if errors is None else np.asarray(errors, dtype=np.float64)
    if sample is not None:
        sample = words.position(explanation, sample)
        return values[sample], None if errors is None else errors[sample]
    return np.abs(values).mean(axis=0), None if errors is None else errors.mean(axis=0)


def _valued(explanation: Explanation, sample: int, position: int) -> str:
    return shorten(features.valued(explanation, sample, position), _NAME + 8)


def _title(explanation: Explanation, sample: int | None, of: str) -> str:
    if sample is None:
        return f"Which features act together on the {words.score(explanation, of)}"
    parts = [words.heading(explanation, sample), words.outcome(explanation, sample)]
    return " · ".join(filter(None, parts))


def _unclear(values: np.ndarray, errors: np.ndarray | None, alone: np.ndarray) -> np.ndarray:
    """Return where an interaction may be none at all."""
    if errors is None:
        return np.zeros(values.shape, dtype=bool)
    unclear: np.ndarray = ~alone & (errors > 0) & (np.abs(values) < features.SETTLED * errors)
    return unclear


def _unit(values: np.ndarray, end: float) -> float:
    """Return the power of ten that numbers are told in, so that they are short."""
    largest = float(np.nanmax(np.abs(values), initial=0))
    if end >= 1 and largest < 1000:
        return 1.0
    return float(10.0 ** (np.floor(np.log10(end)) - 1))


def _size(values: np.ndarray, end: float, room: float) -> float:
    """Return the size of numbers that fit into cells of that many pixels; 0 where none does."""
    told = np.vectorize(_short)(values / _unit(values, end))
    size = min(11.5, (room - 4) / (0.6 * max(len(text) for text in told.ravel())))
    return size if size >= 7.5 else 0.0


def _short(value: float) -> str:
    """Return a number of few letters."""
    digits = 0 if abs(value) >= 9.95 else 1
    rounded = round(float(value), digits) or 0.0  # never a negative zero
    return f"{rounded:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _numbers(
    figure: go.Figure,
    told: np.ndarray,
    values: np.ndarray,
    alone: np.ndarray,
    unclear: np.ndarray,
    colors: panels.Colors,
    look: Theme,
    size: float,
) -> None:
    """Write each value into its cell."""
    inks = np.full(values.shape, look.ink, dtype=object)
    off = ~alone & np.isfinite(values)
    inks[off] = panels.inks(values[off], colors, look, unclear[off])
    places = np.argwhere(np.isfinite(values))
    figure.add_scatter(
        x=places[:, 1].astype(np.float32),
        y=places[:, 0].astype(np.float32),
        mode="text",
        text=[_short(told[r, c]) for r, c in places],
        textfont={
            "size": [size * (0.78 if unclear[r, c] else 1) for r, c in places],
            "color": [inks[r, c] for r, c in places],
        },
        hoverinfo="skip",
    )


def _hovers(
    explanation: Explanation,
    kept: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray | None,
    sample: int | None,
) -> list[list[str]]:
    """Return what the pointer is told over each cell, escaped."""
    head = "" if sample is None else f"{words.hover(explanation, sample)}<br>"
    names = [escape(shorten(features.name(explanation, int(i)), 80)) for i in kept]
    return [
        [
            f"{head}{names[r]}<br>{'alone' if r == c else f'with {names[c]}'}<br>"
            f"{'mean magnitude ' if sample is None else ''}{number(values[r, c])}"
            + (f" ± {errors[r, c]:.2g}" if errors is not None and errors[r, c] > 0 else "")
            for c in range(len(kept))
        ]
        for r in range(len(kept))
    ]


def _diagonal(
    figure: go.Figure,
    explanation: Explanation,
    kept: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray | None,
    sample: int | None,
    look: Theme,
) -> None:
    """Frame what features contribute alone, and tell the pointer."""
    for k in range(len(kept)):
        figure.add_shape(
            type="rect",
            x0=k - 0.47,
            x1=k + 0.47,
            y0=k - 0.47,
            y1=k + 0.47,
            line={"color": look.neutral, "width": 1},
        )
    texts = _hovers(explanation, kept, values, errors, sample)
    at = np.arange(len(kept), dtype=np.float32)
    figure.add_scatter(
        x=at,
        y=at,
        mode="markers",
        marker={"size": 24, "opacity": 0, "color": look.paper},
        hovertext=[texts[k][k] for k in range(len(kept))],
        hovertemplate="%{hovertext}<extra></extra>",
    )
