"""A model's weights and biases, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Layer, Snapshot
from pellucid.viz.scale import reduce_blocks
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    number,
    sentences,
    shorten,
    theme_of,
)
from pellucid.viz.tiles import tile

_ROWS = 4  # layers drawn when none is named
_BINS = 60
_PANEL = 260  # pixels of one layer


def weights(
    snapshot: Snapshot,
    *,
    layer: str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw layers' weights as a map, and how weights and biases are distributed.

    The filters of a convolution are laid out as tiles. A map of more than 1024 cells on a side is
    reduced to blocks, each showing its value of largest magnitude.

    Parameters
    ----------
    snapshot
        The parameters of a model.
    layer
        A layer's name; None for the first four that have a weight.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the model's name.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there is no such layer, or it has no parameters to draw.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "weights")
    chosen, left_out = _choose(snapshot, layer)
    values = {item.name: _main(item) for item in chosen}
    sizes = [np.abs(a[np.isfinite(a)]).max(initial=0) for _, a in values.values()]
    end = float(max(sizes)) or 1.0
    figure = go.Figure()
    notes = []
    step = 1 / len(chosen)
    inner = step * 0.70
    for i, item in enumerate(chosen):
        bottom = 1 - (i + 1) * step + (step - inner) * 0.55
        parameter, array = values[item.name]
        plane, tiled = tile(array)
        cells, block = reduce_blocks(plane)
        if block > 1:
            notes.append(
                f"{item.name or snapshot.name}: each cell is the value of largest magnitude of "
                f"{block} x {block} weights"
            )
        _map(figure, cells, tiled, block, i, [bottom, bottom + inner])
        _histograms(figure, item, parameter, i, [bottom, bottom + inner], look)
        shape = " x ".join(map(str, array.shape)) or "scalar"
        name = escape(shorten(item.name or snapshot.name, 40))
        about = escape(f"{item.kind}, {parameter} {shape}{_constant_bias(item)}")
        figure.add_annotation(
            text=f"<b>{name}</b>  {about}",
            x=0,
            y=bottom + inner,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
        )
    figure.update_layout(
        coloraxis={
            "cmin": -end,
            "cmax": end,
            "cmid": 0,
            "colorscale": look.diverging,
            "colorbar": {
                "title": {"text": "weight (0: no connection)", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
                "len": 1 if len(chosen) == 1 else 0.6,
                "y": 0.5,
                "x": 1.02,
            },
        },
        barmode="overlay",
        bargap=0,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    )
    if left_out:
        more = "layer is" if left_out == 1 else "layers are"
        notes.append(f"{left_out} more {more} not shown")
    broken = sum(int((~np.isfinite(a)).sum()) for _, a in values.values())
    frame = Frame(
        title=f"Weights of {snapshot.name}" if title is None else title,
        caption=sentences(
            [
                "all maps share one range of colours; layer= draws one on its own"
                if len(chosen) > 1
                else None,
                *notes,
                f"{broken} weights are not finite" if broken else None,
            ]
        ),
        left=64,
        right=90,
        axis=30,
        above=24,
        width=width,
        height=height,
    )
    return frame.apply(
        figure, look, snapshot, _PANEL * len(chosen) if len(chosen) > 1 else 2 * _PANEL
    )


def _choose(snapshot: Snapshot, layer: str | None) -> tuple[list[Layer], int]:
    """Return the layers to draw, and how many were left out."""
    if layer is not None:
        found = [snapshot.layer(layer)]
        if not any(array.size for array in found[0].parameters.values()):
            raise InputError(f"the layer {layer!r} has no parameters to draw")
        return found, 0
    # Scales of normalisation layers are one row of cells: they come after matrices and filters.
    drawable = [item for item in snapshot.layers if any(a.size for a in item.parameters.values())]
    maps = [item for item in drawable if _main(item)[1].ndim >= 2]
    found = maps or drawable
    if not found:
        raise InputError(f"{snapshot.name} has no parameters to draw")
    return found[:_ROWS], len(drawable) - len(found[:_ROWS])


def _main(layer: Layer) -> tuple[str, np.ndarray]:
    """Return a layer's weight; where it has none, its largest parameter."""
    found = {name: array for name, array in layer.parameters.items() if array.size}
    if "weight" in found:
        return "weight", found["weight"]
    return max(found.items(), key=lambda pair: pair[1].size)


def _constant_bias(layer: Layer) -> str:
    """Say that a bias has one value only; empty where it has several, or there is none."""
    bias = layer.parameters.get("bias")
    if bias is None or not bias.size or not (bias == bias.flat[0]).all():
        return ""
    return f", bias all {number(bias.flat[0])}"


def _map(
    figure: go.Figure, cells: np.ndarray, tiled: bool, block: int, row: int, domain: list[float]
) -> None:
    """Draw a layer's weights."""
    x, y = _axes(2 * row)
    places = "row %{y}, column %{x} of the tiles" if tiled else "output %{y}, input %{x}"
    figure.add_heatmap(
        z=compact(cells),
        dx=block,
        dy=block,
        coloraxis="coloraxis",
        zsmooth=False,
        xaxis=x,
        yaxis=y,
        hovertemplate=f"{places}<br>weight %{{z:.4g}}<extra></extra>",
    )
    ticks: dict[str, Any] = {"showgrid": False, "zeroline": False, "nticks": 6}
    if tiled:
        ticks |= {"showticklabels": False, "ticks": ""}
    equal = {"scaleanchor": x, "constrain": "domain", "constraintoward": "top"} if tiled else {}
    figure.update_layout(
        {
            x.replace("x", "xaxis"): {
                **ticks,
                "domain": [0, 0.52],
                "anchor": y,
                "title": {"text": "" if tiled else "input"},
                **({"constrain": "domain", "constraintoward": "left"} if tiled else {}),
            },
            y.replace("y", "yaxis"): {
                **ticks,
                "domain": domain,
                "anchor": x,
                "autorange": "reversed",
                "title": {"text": "filters x channels" if tiled else "output"},
                **equal,
            },
        }
    )


def _histograms(
    figure: go.Figure, layer: Layer, main: str, row: int, domain: list[float], look: Theme
) -> None:
    """Draw how a layer's weight and bias are distributed, over the same bins, as shares."""
    x, y = _axes(2 * row + 1)
    found = {main: look.classes[0]}
    # A bias of one value would be one bar of 100 %, and flatten the weight's.
    if "bias" in layer.parameters and main != "bias" and not _constant_bias(layer):
        found["bias"] = look.classes[1]
    finite = {name: (array := layer.parameters[name].ravel())[np.isfinite(array)] for name in found}
    everything = np.concatenate(list(finite.values()))
    edges = np.histogram_bin_edges(everything.astype(np.float64), bins=_BINS)
    for name, color in found.items():
        counts, _ = np.histogram(finite[name], bins=edges)
        figure.add_bar(
            x=compact((edges[1:] + edges[:-1]) / 2),
            y=compact(counts / max(1, counts.sum())),
            width=float(edges[1] - edges[0]),
            customdata=counts,
            name=escape(name),
            legendgroup=name,
            showlegend=row == 0,
            marker={"color": color, "line_width": 0},
            opacity=0.65,
            xaxis=x,
            yaxis=y,
            hovertemplate="%{x:.4g}: %{customdata} values, %{y:.1%}<extra></extra>",
        )
    figure.update_layout(
        {
            x.replace("x", "xaxis"): {
                "domain": [0.64, 1],
                "anchor": y,
                "title": {"text": "value"},
                "zeroline": True,
            },
            y.replace("y", "yaxis"): {
                "domain": domain,
                "anchor": x,
                "tickformat": ".0%",
                "nticks": 5,
                "title": {"text": "share of values"},
            },
        }
    )


def _axes(position: int) -> tuple[str, str]:
    suffix = "" if position == 0 else str(position + 1)
    return f"x{suffix}", f"y{suffix}"
