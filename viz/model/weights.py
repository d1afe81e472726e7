"""A model's weights and biases, layer by layer."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Layer, Snapshot
from pellucid.viz.model.kernels import Map, as_map, has_colors
from pellucid.viz.pixels import png
from pellucid.viz.scale import bin_edges
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
from pellucid.viz.tiles import rgb

_ROWS = 4  # layers drawn when none is named
_MATRICES = 8  # of one layer
_BINS = 60
_PANEL = 260  # pixels of one layer


def weights(
    snapshot: Snapshot,
    *,
    layer: str | None = None,
    color: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw layers' weights as a map, and how weights and biases are distributed.

    The filters of a convolution are laid out as tiles; of more than 2048 kernels each is one cell.
    A map of more cells than can be seen is reduced to blocks, each showing its value of largest
    magnitude. Of a layer with several matrices, such as an LSTM, all are drawn when it is named.

    Parameters
    ----------
    snapshot
        The parameters of a model.
    layer
        A layer's name; None for the first four that have a weight.
    color
        Whether to draw filters of three channels as pictures in colour, in which grey is zero.
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
        If there is no such layer, it has no parameters to draw, or no filters of three channels.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "weights")
    chosen, left_out = _choose(snapshot, layer)
    if color and not any(has_colors(one.array) for one in chosen):
        raise InputError(
            "color=True draws filters of 3 channels, (filters, 3, rows, columns), and none of "
            f"{', '.join(repr(one.title(snapshot)) for one in chosen)} has such; leave color out"
        )
    paper = rgb(look.paper) if color else None
    maps = [as_map(one.layer.kind, one.name, one.array, len(chosen), paper) for one in chosen]
    sizes = [np.abs(one.array[np.isfinite(one.array)]).max(initial=0) for one in chosen]
    end = float(max(sizes)) or 1.0
    figure = go.Figure()
    notes = []
    step = 1 / len(chosen)
    inner = step * 0.70
    for i, (one, drawn) in enumerate(zip(chosen, maps, strict=True)):
        bottom = 1 - (i + 1) * step + (step - inner) * 0.55
        domain = [bottom, bottom + inner]
        if drawn.note is not None:
            notes.append(f"{shorten(one.title(snapshot), 40)}: {drawn.note}")
        _map(figure, drawn, i, domain, look)
        _histograms(figure, one, i, domain, look)
        shape = " x ".join(map(str, one.array.shape)) or "scalar"
        name = escape(shorten(one.layer.name or snapshot.name, 40))
        about = escape(f"{one.layer.kind}, {one.name} {shape}{_constant_bias(one)}")
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
    shared = sum(not drawn.colored for drawn in maps)
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
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    )
    if left_out:
        notes.append(left_out)
    broken = sum(int((~np.isfinite(one.array)).sum()) for one in chosen)
    frame = Frame(
        title=f"Weights of {snapshot.name}" if title is None else title,
        caption=sentences(
            [
                "all maps share one range of colours"
                + ("; layer= draws one on its own" if layer is None else "")
                if shared > 1
                else None,
                *notes,
                f"{broken} weights are not finite" if broken else None,
            ]
        ),
        left=112 if any(drawn.blocks for drawn in maps) else 70,
        right=90 if shared else 24,
        axis=30,
        above=24,
        width=width,
        height=height,
    )
    return frame.apply(
        figure, look, snapshot, _PANEL * len(chosen) if len(chosen) > 1 else 2 * _PANEL
    )


@dataclass(frozen=True)
class _Parameter:
    """One parameter of a layer."""

    layer: Layer
    name: str

    @property
    def array(self) -> np.ndarray:
        """Its values."""
        return self.layer.parameters[self.name]

    @property
    def bias(self) -> tuple[str, np.ndarray] | None:
        """The bias that belongs to it, with its name."""
        name = self.name.replace("weight", "bias").replace("kernel", "bias")
        found = self.layer.parameters.get(name)
        return None if name == self.name or found is None or not found.size else (name, found)

    def title(self, snapshot: Snapshot) -> str:
        """Return what messages call it."""
        own = self.layer.name or snapshot.name
        return own if self.name == "weight" else f"{own}.{self.name}"


def _choose(snapshot: Snapshot, layer: str | None) -> tuple[list[_Parameter], str | None]:
    """Return the parameters to draw, and what was left out in words."""
    if layer is not None:
        return _all_of(snapshot.layer(layer), layer)
    # Scales of normalisation layers are one row of cells: they come after matrices and filters.
    drawable = [item for item in snapshot.layers if any(a.size for a in item.parameters.values())]
    maps = [item for item in drawable if _main(item).array.ndim >= 2]
    found = maps or drawable
    if not found:
        raise InputError(f"{snapshot.name} has no parameters to draw")
    notes = []
    more = len(drawable) - len(found[:_ROWS])
    if more:
        notes.append(f"{more} more {'layer is' if more == 1 else 'layers are'} not shown")
    several = [item.name for item in found[:_ROWS] if len(_matrices(item)) > 1]
    if several:
        names = ", ".join(shorten(name, 30) for name in several)
        notes.append(f"{names}: more matrices with layer=")
    return [_main(item) for item in found[:_ROWS]], " · ".join(notes) or None


def _all_of(layer: Layer, name: str) -> tuple[list[_Parameter], str | None]:
    """Return a layer's matrices, or its largest parameter where it has none."""
    if not any(array.size for array in layer.parameters.values()):
        raise InputError(f"the layer {name!r} has no parameters to draw")
    found = _matrices(layer) or [_main(layer)]
    more = len(found) - _MATRICES
    return found[:_MATRICES], f"{more} more matrices are not shown" if more > 0 else None


def _matrices(layer: Layer) -> list[_Parameter]:
    found = [_Parameter(layer, n) for n, a in layer.parameters.items() if a.ndim > 1 and a.size]
    return sorted(found, key=lambda one: one.name != "weight")


def _main(layer: Layer) -> _Parameter:
    """Return a layer's weight; where it has none, its largest parameter."""
    found = {name: array for name, array in layer.parameters.items() if array.size}
    if "weight" in found:
        return _Parameter(layer, "weight")
    return _Parameter(layer, max(found.items(), key=lambda pair: pair[1].size)[0])


def _constant_bias(one: _Parameter) -> str:
    """Say that a bias has one value only; empty where it has several, or there is none."""
    if one.bias is None or not (one.bias[1] == one.bias[1].flat[0]).all():
        return ""
    return f", bias all {number(one.bias[1].flat[0])}"


def _map(figure: go.Figure, drawn: Map, row: int, domain: list[float], look: Theme) -> None:
    """Draw a parameter's map."""
    x, y = _axes(2 * row)
    if drawn.colored:
        file = base64.b64encode(png(drawn.cells)).decode()
        figure.add_image(source=f"data:image/png;base64,{file}", hoverinfo="skip", xaxis=x, yaxis=y)
    else:
        places = f"{drawn.down} %{{y}}, {drawn.across} %{{x}}"
        if drawn.tiled:
            places = "row %{y}, column %{x} of the tiles"
        figure.add_heatmap(
            z=compact(drawn.cells),
            dx=drawn.step,
            dy=drawn.step,
            coloraxis="coloraxis",
            zsmooth=False,
            xaxis=x,
            yaxis=y,
            hovertemplate=f"{places}<br>weight %{{z:.4g}}<extra></extra>",
        )
    ticks: dict[str, Any] = {"showgrid": False, "zeroline": False, "nticks": 6}
    if drawn.tiled:
        ticks |= {"showticklabels": False, "ticks": ""}
    across: dict[str, Any] = {**ticks, "domain": [0, 0.52], "anchor": y}
    down: dict[str, Any] = {**ticks, "domain": domain, "anchor": x, "autorange": "reversed"}
    if drawn.tiled:
        across |= {"constrain": "domain", "constraintoward": "left"}
        down |= {"scaleanchor": x, "constrain": "domain", "constraintoward": "top"}
    if drawn.blocks:
        tall = len(drawn.cells) * drawn.step / len(drawn.blocks)
        down["tickvals"] = (np.arange(len(drawn.blocks)) + 0.5) * tall - 0.5
        down["ticktext"] = list(drawn.blocks)
        for k in range(1, len(drawn.blocks)):
            figure.add_shape(
                type="line",
                xref=f"{x} domain",
                yref=y,
                x0=0,
                x1=1,
                y0=k * tall - 0.5,
                y1=k * tall - 0.5,
                line={"width": 1, "color": look.ink},
            )
    across["title"] = {"text": drawn.across}
    down["title"] = {"text": "" if drawn.blocks else drawn.down}
    figure.update_layout({x.replace("x", "xaxis"): across, y.replace("y", "yaxis"): down})


def _histograms(
    figure: go.Figure, one: _Parameter, row: int, domain: list[float], look: Theme
) -> None:
    """Draw how a weight and its bias are distributed, over the same bins, as shares."""
    x, y = _axes(2 * row + 1)
    found = {"weight": one.array}
    # A bias of one value would be one bar of 100 %, and flatten the weight's.
    if one.bias is not None and not _constant_bias(one):
        found["bias"] = one.bias[1]
    finite = {name: array[np.isfinite(array)] for name, array in found.items()}
    everything = np.concatenate(list(finite.values()))
    edges = np.array([0.0, 1.0])
    if everything.size:
        edges = bin_edges(everything.astype(np.float64), _BINS)
    named = {trace.name for trace in figure.data}
    for (name, values), color in zip(finite.items(), look.classes, strict=False):
        counts, _ = np.histogram(values, bins=edges)
        shares = counts / max(1, counts.sum())
        figure.add_scatter(
            x=compact(edges),
            y=compact(np.append(shares, 0.0)),
            customdata=np.append(counts, 0),
            name=name,
            legendgroup=name,
            showlegend=name not in named,
            mode="lines",
            line={"shape": "hv", "width": 1, "color": color},
            fill="tozeroy",
            xaxis=x,
            yaxis=y,
            hovertemplate="from %{x:.4g}: %{customdata} values, %{y:.1%}<extra></extra>",
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
                "rangemode": "tozero",
                "title": {"text": "share of values"},
            },
        }
    )


def _axes(position: int) -> tuple[str, str]:
    suffix = "" if position == 0 else str(position + 1)
    return f"x{suffix}", f"y{suffix}"
