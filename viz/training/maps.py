"""One sample's feature maps over the steps, as one tiled picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import evenly, reduce_blocks
from pellucid.viz.theme import Frame, Theme, escape, sentences
from pellucid.viz.training.grid import COLUMNS
from pellucid.viz.training.steps import ASSUMED, is_narrow, set_legend, when

_SIDE = 32  # cells of a map; more cannot be seen in a tile
_UNITS = 256
_LEFT = 64
_RIGHT = 24
_BAR = 62  # pixels of the colour bar, with its ticks and title


def draw_maps(
    run: Run,
    steps: np.ndarray,
    values: np.ndarray,
    label: str,
    look: Theme,
    *,
    times: int,
    channels: int,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a layer's output for one sample at each of some steps.

    Parameters
    ----------
    values
        Shape (times, units), (times, rows, columns) or (times, channels, rows, columns).
    label
        What is drawn.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 2:
        drawn = _units(steps, values, run.step_unit)
    elif values.ndim in (3, 4):
        maps = values if values.ndim == 4 else values[:, None]
        drawn = _tiles(steps, maps, times, channels, run.step_unit)
    else:
        raise InputError(f"{label} has shape {values.shape}; it is neither units nor maps")
    plane, ticks = drawn.plane, drawn.ticks
    finite = plane[np.isfinite(plane)]
    largest = float(np.abs(finite).max(initial=0)) or 1.0
    signed = bool((finite < 0).any())
    figure = go.Figure()
    figure.add_heatmap(
        z=np.where(np.isfinite(plane), plane, np.nan),
        coloraxis="coloraxis",
        zsmooth=False,
        hoverongaps=False,
        hovertemplate="%{z:.4~g}<extra></extra>",
    )
    if drawn.broken.any():
        figure.add_heatmap(
            z=np.where(drawn.broken, 1, np.nan).astype(np.float32),
            colorscale=[[0, look.missing], [1, look.missing]],
            zmin=0,
            zmax=1,
            showscale=False,
            showlegend=True,
            name="not finite",
            hoverongaps=False,
            hovertemplate="not finite<extra></extra>",
        )
    room = (width or ASSUMED) - _LEFT - _RIGHT
    natural = float(np.clip(room * drawn.ratio, 120, 900)) if drawn.ratio else 320.0
    frame = Frame(
        title=f"{label}, over {run.name}" if title is None else title,
        caption=sentences(
            [
                "one range of colours for all" + (", centred on 0" if signed else ""),
                *drawn.notes,
                f"{drawn.count} of the values drawn are not finite" if drawn.count else None,
            ]
        ),
        left=_LEFT,
        right=_RIGHT,
        axis=48 + _BAR,
        above=set_legend(figure, width, _LEFT + _RIGHT),
        width=width,
        height=height,
    )
    plot = frame.plot_height(natural)
    tall, wide = plane.shape
    bare = {"showgrid": False, "zeroline": False, "ticks": ""}
    figure.update_layout(
        xaxis={**bare, "range": [-0.5, wide - 0.5], "title": {"text": escape(run.step_unit)},
               **_fitting(ticks[0], 5 if is_narrow(width) else 10)},
        yaxis={**bare, "range": [tall - 0.5, -0.5], **_fitting(ticks[1], int(plot // 13)),
               "title": {"text": "unit" if values.ndim == 2 else "channel"}},
        coloraxis={
            "cmin": -largest if signed else 0,
            "cmax": largest,
            **({"cmid": 0} if signed else {}),
            "colorscale": look.diverging if signed else look.sequential,
            "colorbar": {
                "orientation": "h", "thickness": 10, "outlinewidth": 0, "len": 1, "nticks": 5,
                "exponentformat": "power",
                "x": 0, "xanchor": "left", "xpad": 0, "ypad": 0,
                "y": -50 / plot, "yanchor": "top",
                "title": {"text": "output of the layer", "side": "bottom", "font": {"size": 12}},
            },
        },
    )  # fmt: skip
    return frame.apply(figure, look, run, natural)


Ticks = tuple[np.ndarray, list[str]]


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of a layer.

    Attributes
    ----------
    plane
        NaN between tiles, and where something is not finite.
    broken, count
        Which cells are not finite, and how many values were not.
    notes
        What was left out.
    ticks
        Across and down.
    ratio
        Height over width; 0 where any will do.
    """

    plane: np.ndarray
    broken: np.ndarray
    count: int
    notes: list[str | None]
    ticks: tuple[Ticks, Ticks]
    ratio: float


def _tiles(steps: np.ndarray, maps: np.ndarray, times: int, channels: int, unit: str) -> _Drawn:
    """Lay maps out: steps across, channels down, a line of nothing between two."""
    when_shown, which = evenly(len(steps), times), evenly(maps.shape[1], channels)
    shown = maps[when_shown][:, which]
    reduced = [[reduce_blocks(one, _SIDE) for one in row] for row in shown]
    block = reduced[0][0][1]
    cells = np.stack([[one for one, _ in row] for row in reduced])
    tall, wide = cells.shape[2:]
    gap = 1 if max(tall, wide) <= 16 else 2
    size = (len(which) * (tall + gap) - gap, len(when_shown) * (wide + gap) - gap)
    plane, broken = np.full(size, np.nan, np.float32), np.zeros(size, bool)
    for column, row in np.ndindex(cells.shape[:2]):
        y, x = row * (tall + gap), column * (wide + gap)
        plane[y : y + tall, x : x + wide] = cells[column, row]
        broken[y : y + tall, x : x + wide] = ~np.isfinite(cells[column, row])
    across = np.arange(len(when_shown)) * (wide + gap) + (wide - 1) / 2
    down = np.arange(len(which)) * (tall + gap) + (tall - 1) / 2
    notes = [
        f"{len(when_shown)} of {len(steps)} recorded {unit}s, evenly chosen"
        if len(when_shown) < len(steps)
        else None,
        f"{len(which)} of {maps.shape[1]} channels, evenly chosen"
        if len(which) < maps.shape[1]
        else None,
        f"a cell is the value of largest magnitude of {block} x {block}" if block > 1 else None,
    ]
    ticks = (
        (across, [when(steps[i]) for i in when_shown]),
        (down, [str(c) for c in which]),
    )
    count = int((~np.isfinite(shown)).sum())
    return _Drawn(plane, broken, count, notes, ticks, size[0] / size[1])


def _units(steps: np.ndarray, values: np.ndarray, unit: str) -> _Drawn:
    """Lay units out: a column for each step, a row for each unit."""
    shown, which = evenly(len(steps), COLUMNS), evenly(values.shape[1], _UNITS)
    notes = [
        f"{len(shown)} of {len(steps)} recorded {unit}s, evenly chosen"
        if len(shown) < len(steps)
        else None,
        f"{len(which)} of {values.shape[1]} units, evenly chosen"
        if len(which) < values.shape[1]
        else None,
    ]
    ticks = (
        (np.arange(len(shown), dtype=float), [when(steps[i]) for i in shown]),
        (np.arange(len(which), dtype=float), [str(c) for c in which]),
    )
    plane = values[shown][:, which].T
    broken = ~np.isfinite(plane)
    return _Drawn(plane, broken, int(broken.sum()), notes, ticks, 0.0)


def _fitting(ticks: Ticks, most: int) -> dict[str, object]:
    """Return as many ticks as there is room for."""
    places, texts = ticks
    every = max(1, math.ceil(len(texts) / max(1, most)))
    return {"tickvals": places[::every], "ticktext": texts[::every]}
