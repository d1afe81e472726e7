"""What a layer puts out where that is no map: a matrix of tokens by features, or a vector."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Snapshot
from pellucid.viz.attributions import panels, pictures
from pellucid.viz.model import outputs
from pellucid.viz.scale import reduce_blocks
from pellucid.viz.theme import Frame, Theme, compact, percent, sentences

_BARS = 512  # features that are drawn as bars; more are folded into rows
_FOLD = 128  # features of a row of those
_BAR_HEIGHT = 260
_ROW = (3, 16)  # pixels of a row of cells, at least and at most
_HEIGHT = (60, 520)
_WIDTH = 900
_SIDE = 512  # cells of a side; more are blocks


def draw(
    snapshot: Snapshot,
    layer: str,
    sample: int,
    clip: float | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a sample's activations that have one axis or two."""
    values = outputs.activation(snapshot, layer)[sample].astype(np.float32, copy=False)
    title = f"Activations of {outputs.said(snapshot, layer)}" if title is None else title
    if values.ndim == 1 and len(values) <= _BARS:
        return _bars(snapshot, values, sample, look, title, width, height)
    folded = values.ndim == 1
    if folded:
        rows = -(-len(values) // _FOLD)
        plane = np.full((rows, _FOLD), np.nan, np.float32)
        plane.ravel()[: len(values)] = values
        names = ("unit", f"+ (row of {_FOLD})")
    else:
        plane, names = values, _axes(outputs.kinds(snapshot).get(layer, ""))
    cells, block = reduce_blocks(plane, _SIDE)
    limit = pictures.limit(values, clip)
    magnitude = not bool((values < 0).any())
    colors = panels.Colors(
        "coloraxis", limit.end, magnitude, outputs.zero(magnitude), limit.pixels > 0
    )
    natural = float(np.clip(_ROW[1] * len(cells), *_HEIGHT))
    frame = Frame(
        title=title,
        caption=sentences(
            [
                f"sample {sample}",
                f"{len(values):,} units, {_FOLD} in a row"
                if folded
                else f"{values.shape[0]:,} x {values.shape[1]:,} values",
                _silent(values),
                limit.note(magnitude, "cells") if not limit.empty else None,
                f"each cell is the value of largest magnitude of {block} x {block}"
                if block > 1
                else None,
                _broken(values),
            ]
        ),
        left=64,
        right=panels.EDGE,
        axis=panels.BAR + 40,
        width=width,
        height=height,
    )
    figure = go.Figure()
    step = _FOLD if folded else block
    figure.add_heatmap(
        z=compact(np.where(np.isfinite(cells), cells, np.float32(np.nan))),
        dx=block,
        dy=step,
        coloraxis="coloraxis",
        zsmooth=False,
        hoverongaps=False,
        customdata=[[sample]],
        hovertemplate=f"{names[0]} %{{y}}, {names[1]} %{{x}}<br>activation %{{z:.4g}}"
        "<extra></extra>",
    )
    bare = {"showgrid": False, "zeroline": False}
    figure.update_xaxes(title_text=names[1], nticks=12, **bare)
    figure.update_yaxes(title_text=names[0], autorange="reversed", nticks=8, **bare)
    tall = frame.plot_height(natural)
    axes = panels.color_axes(look, [colors], ((width or _WIDTH) - 80, tall), "activation")
    axes["coloraxis"]["colorbar"]["y"] = -48 / tall  # below the map's own axis
    figure.update_layout(axes)
    return frame.apply(figure, look, snapshot, natural)


def _axes(kind: str) -> tuple[str, str]:
    """Return what the axes of a matrix are, as far as the layer's class tells."""
    if "1d" in kind.lower():
        return "channel", "position"
    return "position", "feature"


def _bars(
    snapshot: Snapshot,
    values: np.ndarray,
    sample: int,
    look: Theme,
    title: str,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a vector: a bar for each unit."""
    frame = Frame(
        title=title,
        caption=sentences(
            [f"sample {sample}", f"{len(values):,} units", _silent(values), _broken(values)]
        ),
        left=70,
        width=width,
        height=height,
    )
    finite = np.where(np.isfinite(values), values, np.float32(np.nan))
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(values), dtype=np.int32),
            y=compact(finite),
            customdata=np.full((len(values), 1), sample, np.int32),
            marker={
                "color": np.where(values < 0, look.negative, look.positive),
                "line": {"width": 0},
            },
            hovertemplate="unit %{x}<br>activation %{y:.4g}<extra></extra>",
        )
    )
    figure.update_layout(bargap=0.15 if len(values) <= 64 else 0)
    figure.update_xaxes(title_text="unit", zeroline=False, showgrid=False)
    figure.update_yaxes(title_text="activation", zeroline=True)
    return frame.apply(figure, look, snapshot, _BAR_HEIGHT)


def _silent(values: np.ndarray) -> str | None:
    """Say how much is exactly zero."""
    share = float((values == 0).mean())
    return f"{percent(share)} of the values are zero" if share else None


def _broken(values: np.ndarray) -> str | None:
    count = int((~np.isfinite(values)).sum())
    return f"{count:,} values are not finite (not drawn)" if count else None
