"""Where samples stand along the axis of one feature: numbers, categories, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import dots, features
from pellucid.viz.theme import Theme, escape, shorten

_AXIS = 52  # pixels below the plot for its axis
_NAME = 18  # letters of a category on an axis
_CATEGORIES = 30  # with more, an axis of categories has no room for names


@dataclass(frozen=True)
class Place:
    """Where samples stand along the axis.

    Attributes
    ----------
    at
        Of the drawn samples.
    names
        Of the categories at 0, 1, ...; empty for numbers.
    range
        Where the axis begins and ends.
    missing
        Where numbers that are missing stand; None where none is.
    below
        Pixels that the axis takes.
    """

    at: np.ndarray
    names: list[str]
    range: tuple[float, float]
    missing: float | None
    below: int

    @classmethod
    def of(
        cls, explanation: Explanation, position: int, rows: np.ndarray, values: np.ndarray
    ) -> Place:
        """Return where samples stand by a feature's value; categories by their mean `values`."""
        column = features.column(explanation, position)
        assert column is not None
        own = np.asarray(column, dtype=np.float64)[rows]
        if features.texts(explanation, position) is not None:
            codes, inverse = np.unique(own, return_inverse=True)
            means = np.array([values[rows][inverse == k].mean() for k in range(len(codes))])
            rank = np.argsort(np.argsort(means, kind="stable"))
            names = [""] * len(codes)
            for k, code in enumerate(codes):
                names[rank[k]] = shorten(features.said(explanation, position, code), _NAME)
            below = 40 if sum(map(len, names)) <= 40 else 34 + int(6 * max(map(len, names)))
            return cls(
                rank[inverse].astype(float),
                names,
                (-0.6, len(names) - 0.4),
                None,
                max(below, _AXIS),
            )
        known = own[np.isfinite(own)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        span = high - low or (abs(low) or 1.0)
        if known.size == own.size:
            return cls(own, [], (low - 0.04 * span, high + 0.04 * span), None, _AXIS)
        missing = low - 0.12 * span
        ends = (missing - 0.06 * span, high + 0.04 * span)
        return cls(np.where(np.isfinite(own), own, missing), [], ends, missing, _AXIS)

    def set_axis(self, figure: go.Figure, look: Theme, name: str) -> None:
        """Name the axis, its categories, and where missing numbers stand."""
        axis: dict[str, Any] = {"title": {"text": escape(name)}, "zeroline": False}
        axis["range"] = list(self.range)
        if self.names:
            step = max(1, len(self.names) // _CATEGORIES)
            ticks = np.arange(0, len(self.names), step)
            axis |= {
                "tickvals": ticks,
                "ticktext": [escape(self.names[k]) for k in ticks],
                "tickangle": 0 if sum(map(len, self.names)) <= 40 else -45,
                "showgrid": False,
                "tickfont": {"color": look.ink},
            }
        figure.update_xaxes(axis)
        if self.missing is not None:
            edge = self.missing + (self.missing - self.range[0])
            figure.add_vline(x=edge, line={"color": look.quiet, "width": 1, "dash": "dot"})
            figure.add_annotation(
                text="missing",
                x=self.missing,
                y=1,
                yref="paper",
                yanchor="top",
                showarrow=False,
                textangle=-90,
                font={"color": look.quiet, "size": 11},
            )


def swarmed(place: Place, values: np.ndarray, tall: float) -> np.ndarray:
    """Return how far dots of one category, or without a value, move aside to lie side by side."""
    moved = np.zeros(len(values))
    if place.names:
        groups = [np.flatnonzero(place.at == k) for k in range(len(place.names))]
        reach = 0.36
    elif place.missing is not None:
        groups = [np.flatnonzero(place.at == place.missing)]
        reach = 0.7 * (place.missing - place.range[0])
    else:
        return moved
    size = dot_size(len(values))
    span = float(np.ptp(values)) or 1.0
    pixel = (place.range[1] - place.range[0]) / 540
    for members in groups:
        lines = dots.swarm((values[members] - values.min()) / span * tall, size)
        deep = int(np.abs(lines).max(initial=0))
        moved[members] = lines * min(size * pixel, reach / max(deep, 1))
    return moved


def dot_size(count: int) -> float:
    """Return the diameter of dots in pixels, smaller where there are many."""
    return 7.0 if count <= 300 else 5.0 if count <= 1000 else 3.5
