"""How much a model's quality depends on each feature."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Importance
from pellucid.viz import bars
from pellucid.viz.theme import (
    Frame,
    compact,
    escape,
    expect,
    number,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)


def importance(
    importance: Importance,
    *,
    top: int = 20,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how much worse a model becomes without each feature, most important first.

    A feature whose interval of two standard errors includes zero is drawn hollow: these repeats
    do not tell it from a feature that the model does not use.

    Parameters
    ----------
    importance
        The result of `pellucid.importance`.
    top
        How many features to draw.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the metric.
    width, height
        In pixels; None for the width that there is, and the height that the bars need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If `top` is not a count, or there are no features.
    InputTypeError
        If the result is not an Importance.
    """
    look = theme_of(theme)
    expect(importance, Importance, "importance")
    count = len(importance.values)
    if not count:
        raise InputError("the importance has no features to draw")
    order = importance.order()[: positive_whole(top, "top", "how many features to draw")]
    values = np.asarray(importance.values[order], dtype=np.float64)
    errors = np.asarray(importance.standard_error[order], dtype=np.float64)
    # Also where the error is not known: then nothing tells the feature from zero.
    unclear = ~(np.abs(values) > 2 * errors)
    colors = np.where(values < 0, look.negative, look.positive)
    names = [importance.feature_names[i] for i in order]
    notes = [
        bars.signed(value, error) + (" ○" if open_ else "")
        for value, error, open_ in zip(values, errors, unclear, strict=True)
    ]
    figure = go.Figure(
        go.Bar(
            x=compact(np.where(np.isfinite(values), values, 0)),
            y=np.arange(len(values)),
            orientation="h",
            marker={
                "color": np.where(unclear, look.paper, colors).tolist(),
                "line": {"color": np.where(unclear, look.neutral, colors).tolist(), "width": 1.2},
            },
            error_x={
                "array": compact(np.nan_to_num(2 * errors)),
                "color": look.ink,
                "thickness": 1.2,
                "width": 4,
            },
            hovertext=[
                f"<b>{escape(shorten(name, 200))}</b><br>{escape(note)}"
                + ("<br>not distinguishable from zero" if open_ else "")
                for name, note, open_ in zip(names, notes, unclear, strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    labels = [shorten(name) for name in names]
    bars.set_rows(figure, labels, notes, look)
    figure.update_xaxes(title_text=escape(f"{importance.units} (0: not needed)"))
    metric = importance.metric.replace("_", " ")
    hidden = count - len(order)
    frame = Frame(
        title=f"What the model's {metric} depends on" if title is None else title,
        caption=sentences(
            [
                f"{importance.method}: {importance.repeats.shape[1]} repeats on "
                f"{importance.samples} samples",
                f"{metric} of the model {number(importance.reference)}",
                "whiskers: ± two standard errors of the repeats",
                "○ hollow: not distinguishable from zero" if unclear.any() else None,
                f"{hidden} less important features not shown" if hidden else None,
            ]
        ),
        **bars.sides(labels, notes),
        axis=52,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, importance, bars.ROW * len(labels))
