"""Explanations of the same samples side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Comparison, Explanation
from pellucid.viz.attributions import columns, gallery, grouped, pictures, tokens
from pellucid.viz.attributions.columns import Column
from pellucid.viz.theme import positive_whole, theme_of

_MOST = 4


def compare(
    comparison: Comparison | Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    *,
    samples: int | None = None,
    clip: float | None = 99.5,
    normalize: bool | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw several methods, layers or targets side by side.

    Pictures stand in a grid: a row for each sample, with its input and a panel for each method,
    layer or target; a layer's coarse map lies over the picture, its cells in their true size. Rows
    of a table are bars, and texts are drawn one below the other.

    What is comparable shares one scale: contributions to the same score by complete methods, and
    the targets or samples of any one method. Other values differ in kind (a gradient is no
    contribution): then each method has its own scale, and the figure says so.

    Parameters
    ----------
    comparison
        A Comparison; an Explanation of several layers or targets; a list of Explanations, or a dict
        of them by name.
    samples
        How many samples to draw at most: 4 by default, and of a table one. Choose others with
        ``comparison[[3, 5]]``.
    clip
        For pictures, the percentile of the magnitudes at which the colours end; None for the
        largest.
    normalize
        Whether each column has a scale of its own: None decides as above, False insists on one.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is compared.
    width, height
        In pixels; None for what the panels need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanations have no common picture, are of different samples, or share no scale
        though `normalize` is False.
    InputTypeError
        If it is none of these.
    """
    look = theme_of(theme)
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    source, found = columns.columns(comparison, "compare")
    options: dict[str, Any] = {"title": title, "width": width, "height": height}
    drawable = [one for one in found if _is_picture(one)]
    if drawable:
        undrawn = [one.name for one in found if not _is_picture(one)]
        return gallery.grid(
            source,
            drawable,
            undrawn,
            most=most,
            clip=clip,
            normalize=normalize,
            look=look,
            **options,
        )
    if _are_texts(found):
        few = 1 if samples is None else most
        return tokens.stacked(source, found, most=few, normalize=normalize, look=look, **options)
    if grouped.alike(found):
        return grouped.bars_by_column(source, found, normalize=normalize, look=look, **options)
    shapes = "; ".join(f"{one.name}: {one.explanation.values.shape}" for one in found[:4])
    raise InputError(
        "viz.compare draws pictures, texts, or rows of the same features side by side, but these "
        f"have values of other axes or shapes ({shapes}); draw them one by one, such as "
        "viz.figure(explanation.select(place))"
    )


def comparable(explanation: Explanation) -> bool:
    """Whether all places of an explanation have one common picture."""
    try:
        _, found = columns.columns(explanation, "compare")
    except InputError:
        return False
    return all(map(_is_picture, found)) or _are_texts(found) or grouped.alike(found)


def _is_picture(column: Column) -> bool:
    return pictures.is_picture(column.explanation.axes)


def _are_texts(found: list[Column]) -> bool:
    return all(tokens.is_text(one.explanation) for one in found)
