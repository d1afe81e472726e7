"""What each output token rests on: output tokens in rows, input tokens in columns."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import panels, pictures, words
from pellucid.viz.attributions.texts import visible
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    number,
    percent,
    sentences,
    shorten,
    theme_of,
)

_LETTER = 7.4  # pixels of a letter of a tick
_NAME = 18  # letters of a tick
_CELL = 22  # pixels
_RIGHT = 24
_HOVERS = 20_000  # cells; more would make the texts under the pointer the most of the file


def token_matrix(
    explanation: Explanation,
    *,
    sample: int = 0,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what each output token of one sample rests on, as a map of output by input tokens.

    Parameters
    ----------
    explanation
        Of texts with several targets, such as generated tokens: its axes are sample, target and
        token.
    sample
        The sample's position.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for what the tokens need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation has other axes or several inputs, knows no texts, or has no such sample.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.one_input(explanation, "token_matrix")
    if not is_matrix(explanation):
        raise InputError(
            "viz.token_matrix draws values with axes (sample, target, token) and the tokens' "
            f"texts, but these have axes {explanation.axes or 'not known'}"
            f"{' and no texts' if explanation.tokens is None else ''}; viz.tokens draws one target"
        )
    sample = words.position(explanation, sample)
    assert explanation.tokens is not None
    kept = np.flatnonzero([bool(str(text)) for text in explanation.tokens[sample]])
    inputs = [visible(str(explanation.tokens[sample, i])) for i in kept]
    outputs, rows = _outputs(explanation, sample)
    values = np.asarray(explanation.values[sample])[rows][:, kept]
    if not values.size:
        raise InputError(f"sample {sample} has no tokens to draw")

    limit = pictures.limit(values, None)
    names = [shorten(text, _NAME) for text in outputs]
    below = int(42 + _LETTER * max(len(shorten(text, _NAME)) for text in inputs))
    left = int(34 + _LETTER * max(map(len, names)))
    natural = min(max(_CELL * len(outputs), 60), 900)
    # Narrower, and neither the title nor the colour bar would find room.
    total = width or min(max(576, left + _RIGHT + _CELL * len(inputs)), 1000)
    frame = Frame(
        title=title if title is not None else _title(explanation, sample),
        caption=sentences(
            [
                words.method(explanation),
                _trust(explanation, sample, rows),
                "blank: no value, such as what comes after an output token"
                if not np.isfinite(values).all()
                else None,
                "not every token is named: point at a cell for its two"
                if _step(len(inputs), total - left - _RIGHT) > 1
                else None,
                f"one of {len(explanation)} samples" if len(explanation) > 1 else None,
            ]
        ),
        left=left,
        right=_RIGHT,
        axis=below + panels.BAR,
        width=total,
        height=height,
    )
    gap = 1 if max(values.shape) <= 60 else 0
    figure = go.Figure(
        go.Heatmap(
            z=compact(values),
            coloraxis="coloraxis",
            zsmooth=False,
            xgap=gap,
            ygap=gap,
            customdata=[[words.sample_id(explanation, sample)]],
            **_hover(explanation, sample, rows, inputs, outputs),
        )
    )
    tall, room = frame.plot_height(natural), total - left - _RIGHT
    figure.update_layout(
        xaxis=_axis(inputs, room, look, "input token", -90),
        yaxis=_axis(names, tall, look, "output token", 0) | {"autorange": "reversed"},
    )
    colors = panels.Colors(
        "coloraxis", limit.end, words.magnitude(explanation), words.zero(explanation)
    )
    axes = panels.color_axes(look, [colors], (room, tall), _quantity(explanation))
    axes["coloraxis"]["colorbar"]["y"] = -(below + 10) / tall  # below the names of the tokens
    figure.update_layout(axes)
    return frame.apply(figure, look, explanation, natural)


def is_matrix(explanation: Explanation) -> bool:
    """Whether the values are of output by input tokens."""
    axes = tuple(explanation.axes or ())
    tokens, values = explanation.tokens, explanation.values
    if tokens is None or axes != ("sample", "target", "token"):
        return False
    return tokens.shape == (values.shape[0], values.shape[2])


def _outputs(explanation: Explanation, sample: int) -> tuple[list[str], list[int]]:
    """Return the output tokens' texts and positions, without the padding of shorter outputs."""
    if explanation.target_names is not None:
        texts = [str(text) for text in explanation.target_names[sample]]
        rows = [k for k, text in enumerate(texts) if text]
        return [visible(texts[k]) for k in rows], rows
    rows = list(range(explanation.values.shape[1]))
    names = [explanation.target_name(k) if explanation.target is not None else "" for k in rows]
    return [name or f"target {k}" for k, name in enumerate(names)], rows


def _quantity(explanation: Explanation) -> str:
    if words.complete(explanation):
        return f"contribution to the {explanation.units} of the output token"
    by = words.method_name(explanation)
    return f"attribution by {by}, for the {explanation.units} of the output token"


def _title(explanation: Explanation, sample: int) -> str:
    which = shorten(words.sample_id(explanation, sample))
    return f"Sample {which}: what the {explanation.units} of each output token rests on"


def _trust(explanation: Explanation, sample: int, rows: list[int]) -> str:
    """Return how wrong the rows may be, as a phrase."""
    if explanation.error is None:
        sampled = explanation.standard_error is not None
        return "sampled, with a standard error for every value" if sampled else "error not known"
    found = np.asarray(explanation.error)[sample]
    found = np.atleast_1d(found)[rows] if np.ndim(found) else np.atleast_1d(found)
    if not np.isfinite(found).any():
        return "error not known"
    return (
        f"estimated error: median {percent(np.nanmedian(found))}, worst {percent(np.nanmax(found))}"
    )


def _hover(
    explanation: Explanation, sample: int, rows: list[int], inputs: list[str], outputs: list[str]
) -> dict[str, object]:
    """Return what the pointer is told: both tokens, where there are not too many cells."""
    head = f"<b>Sample {escape(shorten(words.sample_id(explanation, sample)))}</b>"
    unit = "contribution" if words.complete(explanation) else "attribution"
    tail = f"{unit} %{{z:+.4g}}<extra></extra>"
    if len(inputs) * len(outputs) > _HOVERS:
        at = "output token %{y}, input token %{x}"
        return {"hovertemplate": f"{head}<br>{at}<br>{tail}"}
    said = [escape(shorten(text, 60)) for text in inputs]
    scores = [""] * len(rows)
    if explanation.prediction is not None:
        predictions = np.asarray(explanation.prediction)[sample, rows]
        scores = [f" ({escape(explanation.units)} {number(value)})" for value in predictions]
    text = [
        [
            f"“{escape(shorten(output, 60))}”{score}<br>from “{token}”, token {i}"
            for i, token in enumerate(said)
        ]
        for output, score in zip(outputs, scores, strict=True)
    ]
    return {"text": text, "hovertemplate": f"{head}<br>%{{text}}<br>{tail}"}


def _step(count: int, room: float) -> int:
    """Return the distance between two tokens that are named, so that names do not overlap."""
    return max(1, math.ceil(14 * count / max(room, 14)))


def _axis(texts: list[str], room: float, look: Theme, said: str, angle: int) -> dict[str, object]:
    """Return an axis of integer positions: tokens of the same text must stay apart."""
    named = np.arange(0, len(texts), _step(len(texts), room))
    return {
        "tickvals": named,
        "ticktext": [escape(shorten(texts[i], _NAME)) for i in named],
        "tickangle": angle,
        "tickfont": {"family": "ui-monospace, Menlo, Consolas, monospace", "color": look.ink},
        "title": {"text": said},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
