"""Single predictions to look at: the worst, the most and the least confident."""

from __future__ import annotations

import base64
import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.pixels import png
from pellucid.viz.predictions import rows, samples
from pellucid.viz.predictions.shared import CLASSIFICATION, broken_note, check, counted, finite
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

_ORDERS = ("worst", "most confident", "least confident")
_TILE = 112  # pixels of a picture's longer side
_GAP = 18  # pixels between pictures
_LEAST = 92  # pixels from one picture to the next, for the texts below
_EDGE = 16
_LINE = 14
_LETTER = 6.2
_ASSUMED = 690  # pixels of a figure that nobody chose a width for


def prediction_gallery(
    predictions: Predictions,
    *,
    order: str = "worst",
    count: int = 18,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw single predictions: what was predicted from, what the model says, and the truth.

    Pictures are drawn as one tiled image; samples of a table as rows of values, coloured by how far
    from the mean of all samples they lie; texts as their beginning and end; anything else by the
    scores of its classes.

    Parameters
    ----------
    predictions
        Of a classifier or a regression.
    order
        ``"worst"``: those whose true class scores lowest beside the highest of the others, or whose
        value is furthest from the truth. ``"most confident"`` and ``"least confident"``: by the
        score of the predicted class, which needs no truth.
    count
        How many samples to draw.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is drawn.
    width, height
        In pixels; None for a fitting size.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the order is not known, or the worst are asked for and the truth is not known.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    if order not in _ORDERS:
        raise InputError(f"order={order!r} is not known; use {', '.join(map(repr, _ORDERS))}")
    kind = None if order == "worst" else CLASSIFICATION
    check(predictions, "prediction_gallery", kind, truth=order == "worst")
    positive_whole(count, "count", "how many samples to draw")
    known = finite(predictions)
    chosen = _ordered(known, order)[:count]
    shown = known[chosen]
    pixels, note = samples.pictures(known, chosen)
    drawn = f"{len(chosen)} of {counted(len(known))}" if len(chosen) < len(known) else None
    head = title if title is not None else _title(known, order, len(chosen))
    wrong = None
    if shown.truth is not None and shown.kind == CLASSIFICATION:
        wrong = f"{int((shown.predicted != shown.truth).sum())} of them wrong"
    notes = [drawn, wrong, _order_note(known, order), note, broken_note(predictions)]
    if pixels is None:
        return rows.rows(
            known, chosen, marks(shown, look), look, head, notes, width=width, height=height
        )
    return _tiles(shown, pixels, look, head, notes, width, height)


def _ordered(known: Predictions, order: str) -> np.ndarray:
    """Return the positions of the samples, those to be drawn first in front."""
    if known.kind != CLASSIFICATION:
        assert known.truth is not None
        off = np.abs(known.scores - known.truth).reshape(len(known), -1).sum(axis=1)
        found: np.ndarray = np.argsort(-np.nan_to_num(off, nan=-1.0), kind="stable")
        return found
    if order == "worst":
        assert known.truth is not None
        at = np.arange(len(known))
        others = known.scores.copy()
        others[at, known.truth] = -np.inf
        margin = known.scores[at, known.truth] - others.max(axis=1)
        return np.argsort(margin, kind="stable")
    sure = known.scores.max(axis=1)
    return np.argsort(-sure if order == "most confident" else sure, kind="stable")


def _title(known: Predictions, order: str, count: int) -> str:
    name = shorten(known.name, 40)
    head = {
        "worst": f"The {count} worst predictions of {name}",
        "most confident": f"The {count} predictions that {name} is most sure of",
        "least confident": f"The {count} predictions that {name} is least sure of",
    }[order]
    return head.replace("The 1 worst predictions", "The worst prediction")


def _order_note(known: Predictions, order: str) -> str:
    if known.kind != CLASSIFICATION:
        return "furthest from the truth first"
    if order != "worst":
        return f"by the {known.units} of the predicted class"
    return f"by the {known.units} of the true class less the highest of the others"


def marks(shown: Predictions, look: Theme, letters: int = 24) -> list[tuple[str, str, str]]:
    """Return for each sample what is predicted, the truth, and the score with the id; escaped."""
    found = []
    ids = shown.ids
    for i in range(len(shown)):
        name = f"sample {ids[i]}" if ids.dtype.kind in "iu" else str(ids[i])
        if shown.kind != CLASSIFICATION:
            assert shown.truth is not None
            said, true = (np.ravel(array[i])[0] for array in (shown.scores, shown.truth))
            found.append((f"<b>{number(said)}</b>", f"truth {number(true)}",
                          escape(shorten(name, letters))))  # fmt: skip
            continue
        k = int(shown.predicted[i])
        said = escape(shorten(shown.class_name(k), letters - 2))
        score = samples.confidence(shown, float(shown.scores[i].max()))
        tail = escape(f"{score}, {name}")
        if len(f"{score}, {name}") > letters:
            tail = f"{escape(score)}<br>{escape(shorten(name, letters))}"
        if shown.truth is None:
            found.append((f"<b>{said}</b>", "", tail))
        elif shown.truth[i] == k:
            found.append((f"<b>✓ {said}</b>", "", tail))
        else:
            true = escape(shorten(shown.class_name(int(shown.truth[i])), max(4, letters - 6)))
            wrong = f'<b><span style="color:{look.warning}">✗ {said}</span></b>'
            found.append((wrong, f"truth {true}", tail))
    return found


def _tiles(
    shown: Predictions,
    pixels: np.ndarray,
    look: Theme,
    title: str,
    notes: list[str | None],
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw pictures as one image, and below each what the model says."""
    pixels, merged = samples.sized(pixels, _TILE)
    tall, wide = pixels.shape[1:3]
    pitch = max(wide + _GAP, _LEAST)
    room = (width or _ASSUMED) - 2 * _EDGE
    columns = int(np.clip((room + _GAP) // pitch, 1, len(pixels)))
    lines = marks(shown, look, max(8, int((pitch - 6) / _LETTER)))
    texts = ["<br>".join(part for part in line if part) for line in lines]
    deep = max(text.count("<br>") + 1 for text in texts)
    down = tall + 8 + _LINE * (deep + 1)
    sheet = _sheet(pixels, columns, pitch, down, look)
    left = np.arange(len(pixels)) % columns * pitch + (pitch - wide) / 2
    top = np.arange(len(pixels)) // columns * down
    figure = go.Figure()
    figure.add_image(
        source="data:image/png;base64," + base64.b64encode(png(sheet)).decode(),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=left + wide / 2, y=top + tall + 2, mode="text", text=texts,
        textposition="bottom center", textfont={"size": 11, "color": look.ink}, hoverinfo="skip",
    )  # fmt: skip
    identity: dict[str, Any] = {"customdata": [[_bare(one)] for one in shown.ids.tolist()]}
    figure.add_scatter(
        x=left + wide / 2, y=top + tall / 2, mode="markers",
        marker={"size": 1, "opacity": 0},
        hovertext=[_whole(shown, i) for i in range(len(shown))],
        hovertemplate="%{hovertext}<extra></extra>", **identity,
    )  # fmt: skip
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": "",
            "constrain": "domain"}  # fmt: skip
    figure.update_layout(
        xaxis={**bare, "range": [-0.5, sheet.shape[1] - 0.5], "constraintoward": "left"},
        yaxis={
            **bare, "range": [sheet.shape[0] - 0.5, -0.5], "scaleanchor": "x",
            "constraintoward": "top",
        },
        showlegend=False,
        hovermode="closest",
        hoverdistance=_TILE,
    )  # fmt: skip
    frame = Frame(
        title=title,
        caption=sentences([*notes, merged]),
        left=_EDGE,
        right=_EDGE,
        axis=8,
        width=width or max(sheet.shape[1] + 2 * _EDGE, 440),
        height=height,
    )
    return frame.apply(figure, look, shown, sheet.shape[0])


def _bare(identity: Any) -> Any:
    return identity if isinstance(identity, int) else str(identity)


def _sheet(pixels: np.ndarray, columns: int, pitch: int, down: int, look: Theme) -> np.ndarray:
    """Lay pictures out on paper: RGB, uint8."""
    paper = [int(look.paper[i : i + 2], 16) for i in (1, 3, 5)]
    tall, wide = pixels.shape[1:3]
    lines = -(-len(pixels) // columns)
    sheet = np.empty((lines * down, columns * pitch, 3), np.uint8)
    sheet[:] = paper
    inset = (pitch - wide) // 2
    for i, picture in enumerate(pixels):
        y, x = i // columns * down, i % columns * pitch + inset
        sheet[y : y + tall, x : x + wide] = picture[..., None] if picture.ndim == 2 else picture
    return sheet


def _whole(shown: Predictions, i: int) -> str:
    """Return all that is known of one prediction, escaped."""
    said = [f"<b>{escape(shorten(shown.ids[i], 80))}</b>"]
    if shown.kind != CLASSIFICATION:
        assert shown.truth is not None
        both = (np.ravel(array[i])[0] for array in (shown.scores, shown.truth))
        return "<br>".join(said + [f"{w} {number(v)}" for w, v in zip(("predicted", "truth"), both,
                                                                  strict=True)])  # fmt: skip
    if shown.truth is not None:
        said.append(f"truth: {escape(shorten(shown.class_name(int(shown.truth[i])), 60))}")
    for k in np.argsort(-shown.scores[i], kind="stable")[:5].tolist():
        name = escape(shorten(shown.class_name(k), 60))
        said.append(f"{name}: {samples.confidence(shown, float(shown.scores[i, k]))}")
    return "<br>".join(textwrap.shorten(one, 400) for one in said)
