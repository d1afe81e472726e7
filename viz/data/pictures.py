"""A stack of pictures as one image."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.viz.pixels import png, to_bytes
from pellucid.viz.scale import evenly
from pellucid.viz.theme import Frame, drawn_from, escape, sentences, shorten, theme_of

_MOST = 60
_GAP = 2  # pixels of a picture between two, at least
_TILE = 64  # pixels on the screen, at least
_ACROSS = 10
_LABEL = 18  # pixels of the name below a picture
_BYTES = 1_500_000  # of the image file
_LETTER = 6.4


def as_pictures(array: np.ndarray) -> np.ndarray | None:
    """Return an array as pictures, (pictures, rows, columns[, 3]); None where it is none.

    Bytes of shape (rows, columns) or (rows, columns, 3) are one picture, unless that would be a
    thin stripe. Otherwise the first axis counts pictures, and the channels, 1 or 3, come before or
    after rows and columns.
    """
    if array.dtype.kind not in "uifb" or 0 in array.shape:
        return None
    flat = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    sides = sorted(array.shape[:2])
    if array.dtype == np.uint8 and flat and sides[0] >= 16 and sides[-1] <= 4 * sides[0]:
        return array[None]
    if array.ndim == 3:
        return array if min(array.shape[1:]) > 1 else None
    if array.ndim != 4:
        return None
    if array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, 3)
    if array.shape[3] == 1:
        return array[..., 0]
    return array if array.shape[3] == 3 else None


def pictures(
    stack: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    ids: np.ndarray | None = None,
    notes: Sequence[str] = (),
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw pictures as the tiles of one image, with what each is called below it.

    Parameters
    ----------
    stack
        Shape (pictures, rows, columns) or (pictures, rows, columns, 3): bytes, numbers from 0 to 1,
        or other numbers, which are stretched to their range, all of them alike.
    labels
        What each picture shows.
    ids
        What each is called; None for its position.
    notes
        What the caption begins with.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. At most 60 pictures are drawn, evenly chosen.

    Raises
    ------
    InputError
        If there are no pictures.
    """
    look = theme_of(theme)
    if not stack.size:
        raise InputError(f"there are no pictures: the shape is {stack.shape}")
    total = len(stack)
    chosen = evenly(total, _MOST)
    shown = stack[chosen]
    broken = int((~np.isfinite(shown)).sum()) if shown.dtype.kind == "f" else 0
    pixels, stretched = to_bytes(shown)
    pixels, thinned = _thin(pixels)
    across = min(len(chosen), _ACROSS if (width or 700) >= 560 else 6)
    down = math.ceil(len(chosen) / across)
    tall, wide = pixels.shape[1:3]
    gap = max(_GAP, round(wide / 12))
    # Room below each picture for its name, in pixels of the picture.
    plot = (width or 680) - 32
    zoom = plot / (across * (wide + gap))
    if across * (wide + gap) * zoom / across > 4 * _TILE:
        zoom = 4 * _TILE / (wide + gap)
    name = math.ceil(_LABEL / zoom) if labels is not None else 0
    step = (tall + gap + name, wide + gap)
    paper = [int(look.paper[k : k + 2], 16) for k in (1, 3, 5)]
    canvas = np.empty((down * step[0], across * step[1], 3), np.uint8)
    canvas[:] = paper
    tops, lefts = np.divmod(np.arange(len(chosen)), across)
    tops, lefts = tops * step[0], lefts * step[1]
    for picture, top, left in zip(pixels, tops, lefts, strict=True):
        grey = picture[..., None] if picture.ndim == 2 else picture
        canvas[top : top + tall, left : left + wide] = grey
    figure = go.Figure(
        go.Image(
            source="data:image/png;base64," + base64.b64encode(png(canvas)).decode(),
            hoverinfo="skip",
        )
    )
    named = chosen if ids is None else ids[chosen]
    said = ["" if labels is None else labels[k] for k in chosen]
    letters = max(3, int(step[1] * zoom / _LETTER))
    figure.add_scatter(
        x=(lefts + wide / 2 - 0.5).astype(np.float32),
        y=(tops + tall + name / 2).astype(np.float32),
        mode="text" if labels is not None else "markers",
        marker={"opacity": 0},
        text=[escape(shorten(text, letters)) for text in said],
        textfont={"size": 11},
        hovertext=[
            f"<b>row {escape(shorten(one, 60))}</b><br>{escape(shorten(text, 80))}"
            for one, text in zip(named.tolist(), said, strict=True)
        ],
        customdata=(named if named.dtype.kind in "iu" else named.astype(object))[:, None],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )
    kind = f"{stack.shape[1]} x {stack.shape[2]} pixels" + (
        ", in colour" if stack.ndim == 4 else ""
    )
    frame = Frame(
        title=title if title is not None else f"{total:,} pictures" if total > 1 else "A picture",
        caption=sentences(
            [
                *notes,
                kind,
                f"{len(chosen)} of {total:,} drawn, evenly chosen" if len(chosen) < total else None,
                f"brightness: {stretched} stretched to black and white, alike in all"
                if stretched
                else None,
                f"{broken:,} pixels are not finite (grey)" if broken else None,
                f"every {thinned}th pixel drawn" if thinned > 1 else None,
            ]
        ),
        left=16,
        right=16,
        axis=12,
        width=width,
        height=height,
    )
    hidden = {"visible": False, "constrain": "domain"}
    figure.update_xaxes(**hidden, range=[-0.5, canvas.shape[1] - 0.5], constraintoward="left")
    figure.update_yaxes(
        **hidden, range=[canvas.shape[0] - 0.5, -0.5], scaleanchor="x", constraintoward="top"
    )
    settings = {"pictures": total, "shape": str(stack.shape[1:])}
    origin = drawn_from("pictures", "pictures", settings)
    return frame.apply(figure, look, origin, canvas.shape[0] * zoom)


def _thin(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return pictures small enough for a page, and which pixels of a row are left."""
    every = max(1, math.ceil(math.sqrt(pixels.size / _BYTES)))
    return pixels[:, ::every, ::every], every
