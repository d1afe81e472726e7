"""Rows of horizontal bars: a name to the left of each, its value in words to the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.theme import Theme, escape, number

ROW = 26  # pixels of one bar and the space around it
_LETTER = 6.9  # pixels of a letter


def signed(value: float, error: float | None = None) -> str:
    """Return a value with its sign, and its standard error where there is one."""
    if not np.isfinite(value):
        return "not finite"
    said = number(value) if value <= 0 else f"+{number(value)}"
    if error is not None and np.isfinite(error):
        said += f" ± {error:.2g}"
    return said


def sides(labels: Sequence[str], notes: Sequence[str]) -> dict[str, int]:
    """Return the margins that the texts left and right of the bars need."""
    left, right = (max(map(len, texts), default=0) for texts in (labels, notes))
    return {"left": int(30 + _LETTER * left), "right": int(22 + _LETTER * right)}


def set_rows(figure: go.Figure, labels: Sequence[str], notes: Sequence[str], look: Theme) -> None:
    """Name the rows, first at the top, and write each one's value at the right edge."""
    figure.update_yaxes(
        range=[len(labels) - 0.5, -0.5],
        tickvals=np.arange(len(labels)),
        ticktext=[escape(label) for label in labels],
        tickfont={"color": look.ink},
        showgrid=False,
        zeroline=False,
        ticks="",
        ticklabelstandoff=6,
    )
    figure.update_xaxes(nticks=6, tickangle=0)
    for i, note in enumerate(notes):
        figure.add_annotation(
            text=escape(note),
            x=1,
            y=i,
            xref="paper",
            yref="y",
            xanchor="left",
            xshift=8,
            showarrow=False,
            font={"color": look.ink},
        )
    figure.update_layout(showlegend=False, bargap=0.34, hovermode="closest")
