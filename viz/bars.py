"""Rows of horizontal bars: a name to the left of each, its value in words to the right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.theme import Theme, escape, number, shorten

ROW = 26  # pixels of one bar and the space around it
_LETTER = 6.9  # pixels of a letter
_TITLE_LETTER = 6.3  # of an axis title, which may be somewhat wider than its axis
_ASSUMED = 640  # pixels of a figure that takes the width it is given


def signed(value: float, error: float | None = None) -> str:
    """Return a value with its sign, and its standard error where there is one."""
    if not np.isfinite(value):
        return "not finite"
    said = number(value) if value <= 0 else f"+{number(value)}"
    if error is not None and np.isfinite(error) and error > 0:
        said += f" ± {error:.2g}"
    return said


def sides(labels: Sequence[str], notes: Sequence[str]) -> dict[str, int]:
    """Return the margins that the texts left and right of the bars need."""
    left, right = (max(map(len, texts), default=0) for texts in (labels, notes))
    return {"left": int(30 + _LETTER * left), "right": int(22 + _LETTER * right)}


def axis_title(text: str, sides: dict[str, int], width: int | None) -> tuple[str, int]:
    """Return a title that fits below the bars, escaped, and the pixels that its axis takes."""
    room = (width or _ASSUMED) - sides["left"] - sides["right"]
    lines = textwrap.wrap(shorten(text, 160), max(30, int(1.35 * room / _TITLE_LETTER)))
    return "<br>".join(escape(line) for line in lines), 37 + 15 * len(lines)


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


def whiskers(errors: np.ndarray, look: Theme) -> dict[str, Any]:
    """Return the options that draw standard errors at the ends of bars; none where none is known.

    A whisker of no length would be a mark of its own.
    """
    if not np.isfinite(errors).any():
        return {}
    return {"error_x": {"array": errors, "color": look.ink, "thickness": 1.2, "width": 4}}


def set_ties(figure: go.Figure, tied: np.ndarray, look: Theme, first: int = 0) -> None:
    """Join the names of neighbours whose order may be chance by a stroke, from row `first` on."""
    stroke = {"xref": "paper", "xsizemode": "pixel", "xanchor": 0, "x0": -4, "x1": -4}
    figure.layout.shapes += tuple(
        {
            "type": "line",
            **stroke,
            "y0": k + 0.18,
            "y1": k + 0.82,
            "line": {"color": look.quiet, "width": 2.5},
        }
        for k in (np.flatnonzero(tied) + first).tolist()
    )


def tie_note(tied: np.ndarray) -> str | None:
    """Return what the strokes mean; None where there are none."""
    if not tied.any():
        return None
    return "a stroke between two names: their order may be chance (95 %, by the standard errors)"
