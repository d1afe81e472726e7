"""The architecture of a model: its modules as boxes, and what flows between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Snapshot
from pellucid.viz.model.blocks import MOST, View, steps, views
from pellucid.viz.model.boxes import FRAME_BOTTOM, FRAME_SIDE, FRAME_TOP, SYMBOLS
from pellucid.viz.model.drawing import Drawing
from pellucid.viz.model.paint import Paint, add_keys, paint
from pellucid.viz.theme import (
    Frame,
    Theme,
    expect,
    percent,
    positive_whole,
    sentences,
    theme_of,
)

_COMFORTABLE = 36  # boxes that are looked at with ease
_ASSUMED = 680
_EDGE = 16
_ABOVE = 58  # pixels of slider and colour bar
_LEGEND = 46


def architecture(
    snapshot: Snapshot,
    *,
    depth: int | None = None,
    color: str = "parameters",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what a model is made of, and what goes into what.

    A slider sets down to which depth modules are opened; a closed one stands for all that is within
    it. What joins outputs, as a residual sum does, is a small box with its sign. Deep models go on
    in columns, from left to right.

    Parameters
    ----------
    snapshot
        Taken with inputs.
    depth
        How many steps of a module's path are told apart at first; None for the most at which there
        are a few dozen boxes. At no depth are more than 150 boxes drawn.
    color
        ``"parameters"``, ``"operations"``, ``"seconds"``, ``"gradient norm"``, ``"dead"``,
        ``"zero"``, ``"relevance"``, or ``"kind"``.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the model's name.
    width, height
        In pixels; None for the width that there is, and the height that the boxes need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the snapshot was taken without inputs, no module has that statistic, or there are too
        many boxes at that depth.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "architecture")
    if not snapshot.edges:
        raise InputError(
            "the snapshot was taken without inputs, so what goes into what is not known; take "
            "pl.snapshot(model, inputs), or draw viz.icicle(snapshot)"
        )
    found, left_out = views(snapshot)
    active = _active(found, depth)
    colors = paint([block for view in found for block in view.blocks], color, look)
    room = (width or _ASSUMED) - 2 * _EDGE
    drawings = []
    taken = 0
    for view in found:
        last = taken + len(view.blocks)
        part = Paint(colors.fills[taken:last], colors.inks[taken:last], colors.legend)
        drawings.append(Drawing(view, part, room, look))
        taken = last
    frame = Frame(
        title=f"Architecture of {snapshot.name}" if title is None else title,
        caption=_caption(snapshot, drawings, left_out, colors, color, dark=theme == "dark"),
        left=_EDGE,
        right=_EDGE,
        axis=10 + (_LEGEND if colors.legend else 0),
        above=12,
        width=width,
        height=height,
    )
    figure = go.Figure()
    for k, drawing in enumerate(drawings):
        for trace in drawing.traces():
            figure.add_trace(trace.update(visible=k == active))
    per_view = len(figure.data) // len(drawings)
    add_keys(figure, colors, look, bar_at=1.0)
    keys = _ABOVE if len(found) > 1 or colors.axis is not None else 0
    layouts = [_layout(drawing, frame, keys) for drawing in drawings]
    hidden = {"visible": False}
    figure.update_layout(
        xaxis=hidden,
        yaxis=hidden,
        barmode="overlay",
        bargap=0,
        hovermode="closest",
        dragmode="pan",
    )
    if len(drawings) > 1:
        extra = len(figure.data) - per_view * len(drawings)
        _slider(figure, found, layouts, active, per_view, extra, look)
    frame.apply(figure, look, snapshot, 0)
    return figure.update_layout(layouts[active])


def _layout(drawing: Drawing, frame: Frame, keys: float) -> dict[str, Any]:
    """Return what changes of a figure's layout with the view; `keys` are pixels above the plot."""
    spare = max(FRAME_SIDE + 1, (drawing.room - drawing.page.width) / 2)
    natural = drawing.page.height + FRAME_TOP + FRAME_BOTTOM + 4
    plot = frame.plot_height(natural + keys)
    return {
        "height": round(plot + frame.top + frame.bottom),
        "xaxis.range": [-spare, drawing.page.width + spare],
        "yaxis.range": [drawing.page.height + FRAME_BOTTOM + 2, -FRAME_TOP - 2],
        "yaxis.domain": [0, max(0.1, 1 - keys / plot)],
    }


def _active(found: Sequence[View], depth: int | None) -> int:
    """Return which view is shown first."""
    if depth is None:
        fit = [k for k, view in enumerate(found) if len(view.blocks) <= _COMFORTABLE]
        return fit[-1] if fit else 0
    positive_whole(depth, "depth", "how many steps of a module's path are told apart")
    deepest = found[-1].depth
    if depth > deepest:
        raise InputError(
            f"depth={depth} is too deep: down to {deepest} there are at most {MOST} boxes, and "
            "beyond it more, or no others"
        )
    # Depths that look alike are drawn once, as the first of them.
    return max((k for k, view in enumerate(found) if view.depth <= depth), default=0)


def _slider(
    figure: go.Figure,
    found: Sequence[View],
    layouts: Sequence[dict[str, Any]],
    active: int,
    per_view: int,
    extra: int,
    look: Theme,
) -> None:
    """Let the depth be chosen; the figure becomes as high as its boxes need."""
    choices = []
    for k, (view, layout) in enumerate(zip(found, layouts, strict=True)):
        visible = [j == k for j in range(len(found)) for _ in range(per_view)] + [True] * extra
        choices.append(
            {"label": str(view.depth), "method": "update", "args": [{"visible": visible}, layout]}
        )
    figure.update_layout(
        sliders=[
            {
                "active": active,
                "steps": choices,
                "x": 0,
                "len": 0.46,
                "y": 1,
                "yanchor": "top",
                "pad": {"l": 0, "r": 0, "t": 0, "b": 0},
                "currentvalue": {
                    "prefix": "depth ",
                    "xanchor": "left",
                    "font": {"size": 11, "color": look.ink},
                    "offset": 6,
                },
                "font": {"size": 10, "color": look.quiet},
                "bgcolor": look.grid,
                "bordercolor": look.grid,
                "activebgcolor": look.quiet,
                "tickcolor": look.quiet,
                "ticklen": 3,
                "minorticklen": 0,
            }
        ]
    )


_NONE = {"gradient norm": "no parameters", "operations": "none counted"}


def _caption(
    snapshot: Snapshot,
    drawings: Sequence[Drawing],
    left_out: int,
    colors: Paint,
    color: str,
    *,
    dark: bool,
) -> str:
    blocks = [block for drawing in drawings for block in drawing.view.blocks]
    again = any(to == "up" for drawing in drawings for _, _, to in drawing.page.arrows)
    closed = any(block.layers > 1 for block in blocks)
    drawn = {name for pair in snapshot.edges for name in pair}
    parents = {".".join(steps(node.name)[:-1]) for node in snapshot.nodes}
    idle = sum(
        node.name not in drawn and node.name not in parents and node.name != ""
        for node in snapshot.nodes
    )
    joins = sorted({block.kind for block in blocks if block.role == "function"} & set(SYMBOLS))
    more = any("…" in block.name for block in blocks)
    samples = snapshot.settings.get("samples")
    largest = color in ("dead", "zero", "relevance") and closed
    return sentences(
        [
            f"small boxes join: {', '.join(f'{SYMBOLS[k]} {k}' for k in joins)}" if joins else None,
            "an arrow upwards: what is used again" if again else None,
            "a closed module stands for all that is within it" if closed else None,
            f"of these, its colour is the largest {color}" if largest else None,
            f"{'black' if dark else 'white'}: {_NONE.get(color, 'none')}" if colors.none else None,
            "grey: not known" if colors.missing else None,
            f"times: the least of some forward passes of {samples} samples"
            if color == "seconds"
            else None,
            f"{percent(1)} dead: every unit put out zero for all {samples} samples"
            if color == "dead"
            else None,
            f"{idle} modules were not called (not drawn)" if idle else None,
            f"at {left_out} finer depths there are more than {MOST} boxes (not drawn)"
            if left_out
            else None,
            f"more than {MOST} boxes: those in the middle are one" if more else None,
            "lines are the order of the calls: what went where could not be followed"
            if snapshot.settings.get("edges") == "order of the calls"
            else None,
        ]
    )
