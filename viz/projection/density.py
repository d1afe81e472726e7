"""A map of very many points: how many each cell holds, or the mean of something there."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.scale import density, typed
from pellucid.viz.theme import Theme

_CELLS = 240  # of the longer side


def _grid(x: np.ndarray, y: np.ndarray) -> tuple[list[tuple[float, float]], tuple[int, int]]:
    """Return where a grid of square cells begins and ends, and its rows and columns."""
    ends = []
    for values in (x, y):
        low, high = float(values.min()), float(values.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        ends.append((low, high))
    wide, tall = (high - low for low, high in ends)
    cell = max(wide, tall) / _CELLS
    return ends, (max(1, round(tall / cell)), max(1, round(wide / cell)))


def counts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return how many points each cell holds, and the edges of the cells."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    ends, shape = _grid(x, y)
    edges = {
        axis: typed(np.linspace(*end, n + 1))
        for axis, end, n in zip("xy", ends, shape[::-1], strict=True)
    }
    return density(x, y, ends[0], ends[1], shape), edges


def add_counts(figure: go.Figure, places: np.ndarray, look: Theme, **where: Any) -> int:
    """Draw how many points each cell holds; return how many the fullest does."""
    found, edges = counts(places[:, 0], places[:, 1])
    with np.errstate(divide="ignore"):
        shade = np.where(found > 0, np.log10(found), np.nan)
    most = int(found.max())
    kind = np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.int32
    figure.add_heatmap(
        z=typed(shade),
        **edges,
        customdata=found.astype(kind),
        colorscale=[(0.0, look.grid), (1.0, look.quiet)],
        zmin=0,
        zmax=max(float(np.log10(most)), 1e-3),
        showscale=False,
        zsmooth=False,
        hoverongaps=False,
        hovertemplate="%{customdata:,} points in this cell<extra></extra>",
        **where,
    )
    return most


def add_means(figure: go.Figure, places: np.ndarray, values: np.ndarray, **where: Any) -> None:
    """Draw the mean of a value over the points of each cell."""
    x, y = (np.asarray(axis, dtype=np.float64) for axis in places.T)
    known = np.isfinite(values)
    ends, shape = _grid(x, y)
    sums, rows, columns = np.histogram2d(
        y[known], x[known], bins=shape, range=[ends[1], ends[0]], weights=values[known]
    )
    number = np.histogram2d(y[known], x[known], bins=shape, range=[ends[1], ends[0]])[0]
    figure.add_heatmap(
        z=typed(np.where(number > 0, sums / np.maximum(number, 1), np.nan)),
        x=typed(columns),
        y=typed(rows),
        customdata=number.astype(np.int32),
        zsmooth=False,
        hoverongaps=False,
        hovertemplate="mean %{z:.3f} of %{customdata:,} points<extra></extra>",
        **where,
    )
