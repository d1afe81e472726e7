"""Attributions of pictures: the input, its attribution, and one over the other."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import panels, pictures, regions, words
from pellucid.viz.pixels import faded
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_LABEL = 33  # pixels below a row, for one line of text
_MOST = 6


def image(
    explanation: Explanation,
    *,
    samples: int | None = None,
    overlay: bool = True,
    clip: float | None = 99.5,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw attributions of pictures: for each sample its input, its attribution, and both together.

    All panels share one colour range, centred on zero; magnitudes and what a class activation map
    keeps begin at zero. The attributions of an input's channels are summed, and a layer's map keeps
    the size of its cells. Of groups, such as segments, each is painted with its whole value.

    Parameters
    ----------
    explanation
        Of pictures: its axes are sample, (channel,) row and column, or sample and group.
    samples
        How many samples to draw at most; 6 by default. Choose others with ``explanation[[3, 5]]``.
    overlay
        Whether to draw the third panel, the attribution over the greyed input.
    clip
        The percentile of the magnitudes at which the colours end; None for the largest. What is
        clipped is said in the figure. Groups are never clipped.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for what the panels need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation is not of pictures, of several inputs or targets, or without samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.single(explanation, "image")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    shown = min(most, len(explanation))
    region_note, unclear = regions.note(explanation), regions.unclear(explanation, shown)
    explanation = regions.painted(explanation)
    maps, channels = pictures.maps(explanation, shown)
    inputs, input_note = pictures.shown_inputs(explanation, shown)
    # One region may be larger than all that a percentile of the pixels would leave out.
    limit = pictures.limit(maps, None if region_note else clip)
    magnitude = words.magnitude(explanation)
    names = ["attribution"]
    if inputs is not None:
        names = ["input", "attribution", "overlay"] if overlay else ["input", "attribution"]
    size = maps.shape[1:] if inputs is None else inputs.shape[1:3]
    rows, columns = maps.shape[1:]

    targets = {words.target(explanation, i) for i in range(shown)}
    of = targets.pop() if len(targets) == 1 else "each row's class"
    broken = int((~np.isfinite(maps)).sum())
    panel_width, panel_height = panels.panel_size(size, len(names), width)
    frame = Frame(
        title=title if title is not None else f"What the {words.score(explanation, of)} rests on",
        caption=sentences(
            [
                words.method(explanation),
                f"attributions of the {channels} channels are summed" if channels > 1 else None,
                f"the map has {rows} x {columns} cells" if (rows, columns) != size else None,
                region_note,
                unclear,
                limit.note(magnitude),
                f"{broken} values are not finite (plain grey)" if broken else None,
                input_note,
                f"{shown} of {len(explanation)} samples shown"
                if shown < len(explanation)
                else None,
            ]
        ),
        left=panels.EDGE,
        right=panels.EDGE,
        axis=panels.BAR,
        above=22,
        width=width or panels.figure_width(panel_width, len(names)),
        height=height,
    )
    inner = (frame.width or 0) - 2 * panels.EDGE
    labels = [_label(explanation, i, look, inner) for i in range(shown)]
    below = _LABEL + panels.LINE * max(text.count("<br>") for text in labels)
    natural = shown * (panel_height + below)
    grid = panels.Grid(
        rows=shown,
        columns=len(names),
        height=frame.plot_height(natural),
        panel=panel_width / inner,
        gap=panels.GAP / inner,
        label=below,
        look=look,
    )
    paper = int(look.paper[1:3], 16)
    unit = "contribution" if words.complete(explanation) else "attribution"

    figure = go.Figure()
    for i in range(shown):
        identity = {"customdata": [[words.sample_id(explanation, i)]]}
        head = words.hover(explanation, i)
        for column, name in enumerate(names):
            panel = grid.place(figure, i, column, size)
            if inputs is not None and name == "input":
                panels.picture(figure, inputs[i], panel, identity, head)
                continue
            if inputs is not None and name == "overlay":
                panels.picture(figure, faded(inputs[i], paper), panel, identity)
            panels.attribution(
                figure,
                maps[i],
                panel,
                identity,
                size=size,
                colors="coloraxis2" if name == "overlay" else "coloraxis",
                said=f"{head}<br>{unit}",
                missing=None if name == "overlay" else look.missing,
            )
        grid.below(figure, i, labels[i])
        if words.late(explanation, i):
            _mark(figure, grid, i)
    for column, name in enumerate(names):
        grid.head(figure, column, name)
    scales = [
        panels.Colors(name, limit.end, magnitude, words.zero(explanation), limit.pixels > 0, clear)
        for name, clear in (("coloraxis", False), ("coloraxis2", True))
    ]
    said = words.quantity(explanation, of)
    figure.update_layout(panels.color_axes(look, scales, (inner, grid.height), said))
    return frame.apply(figure, look, explanation, natural)


def _label(explanation: Explanation, row: int, look: Theme, pixels: float) -> str:
    """Return what stands below a row: what was explained and how far to trust it."""
    heading = escape(shorten(words.heading(explanation, row), 56))
    return f"<b>{heading}</b><br>{words.status(explanation, row, look, pixels)}"


def _mark(figure: go.Figure, grid: panels.Grid, row: int) -> None:
    """Draw a line beside a row whose estimated error is above the tolerance."""
    bottom, top = grid.vertical(row)
    figure.add_shape(
        type="line",
        xref="paper",
        yref="paper",
        x0=-7,
        x1=-7,
        xsizemode="pixel",
        xanchor=0,
        y0=bottom,
        y1=top,
        line={"color": grid.look.warning, "width": 4},
    )
