"""What all layers make of one input: a row for each, with its strongest channels."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Snapshot
from pellucid.viz import tiles
from pellucid.viz.attributions.panels import Colors
from pellucid.viz.model import outputs
from pellucid.viz.pixels import png
from pellucid.viz.scale import evenly, reduce_blocks
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    expect,
    number,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 24  # layers
_SIDE = 56  # cells of a map, of the one picture that all of them make
_GAP = 6
_STRIP = 28  # cells that a vector is high
_ROW = 62  # pixels of a row
_NAME = 22  # letters


def activations(
    snapshot: Snapshot,
    *,
    sample: int = 0,
    layers: Sequence[str] | None = None,
    channels: int = 8,
    channels_last: bool | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what the layers put out for one sample: for each a row of its strongest channels.

    Maps stand in the order of their mean magnitude; a layer whose output is no map is one strip.
    Each layer has a range of colours of its own, which stands beside it: from zero where nothing is
    below it, else centred on zero. All of it is one image.

    Parameters
    ----------
    snapshot
        Of a model and some inputs: ``pl.snapshot(model, inputs)``.
    sample
        Which of the snapshot's samples.
    layers
        Which layers; None for those that do something, 24 of them at most, evenly chosen.
    channels
        How many channels of each at most.
    channels_last
        Whether the channels stand behind rows and columns; None to see it from the snapshot.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the model's name.
    width, height
        In pixels; None for the width that there is, and the height that the rows need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there are no such activations or sample.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "activations")
    most = positive_whole(channels, "channels", "how many channels to draw of each layer")
    names, note = _chosen(snapshot, layers)
    position = outputs.check_sample(sample, len(outputs.activation(snapshot, names[0])))
    last = outputs.channels_last(snapshot) if channels_last is None else channels_last
    known = snapshot.activations
    wide = most * (_SIDE + _GAP) - _GAP
    rows = [_Row.of(snapshot, name, position, last, most, wide, look) for name in names]
    picture, about = outputs.picture(snapshot, position)
    if picture is not None:
        rows.insert(0, _Row.of_input(picture, most, wide, look))
    pitch = _SIDE + _GAP
    plane = np.empty((len(rows) * pitch - _GAP, wide, 3), np.uint8)
    plane[:] = tiles.rgb(look.paper)
    for k, row in enumerate(rows):
        top = k * pitch + (_SIDE - len(row.pixels)) // 2
        plane[top : top + len(row.pixels)] = row.pixels
    figure = go.Figure(
        go.Image(
            source=f"data:image/png;base64,{base64.b64encode(png(plane)).decode()}",
            hoverinfo="skip",
        )
    )
    figure.add_heatmap(
        z=np.zeros((len(rows), most), np.float32),
        x0=_SIDE / 2 - 0.5,
        dx=pitch,
        y0=_SIDE / 2 - 0.5,
        dy=pitch,
        opacity=0,
        showscale=False,
        hovertext=np.array([row.texts for row in rows], dtype=object),
        hovertemplate="%{hovertext}<extra></extra>",
        customdata=[[position]],
    )
    _axes(figure, rows, plane.shape, look)
    frame = Frame(
        title=f"Activations of {snapshot.name}" if title is None else title,
        caption=sentences(
            [
                f"sample {position}",
                f"of each layer the {most} channels of largest mean magnitude, the largest first",
                "each layer has its own range (right)",
                f"maps of more than {_SIDE} cells a side are reduced to blocks, each its value of "
                "largest magnitude"
                if any(max(known[name].shape[2:], default=0) > _SIDE for name in names)
                else None,
                note,
                about,
            ]
        ),
        left=16 + int(7.0 * max(len(line) for row in rows for line in row.name)),
        right=100,
        axis=6,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, snapshot, _ROW * len(rows))


def _chosen(snapshot: Snapshot, layers: Sequence[str] | None) -> tuple[list[str], str | None]:
    """Return the layers to draw, and what was left out in words."""
    if layers is not None:
        if isinstance(layers, str) or not layers:
            raise InputError(f"layers is a list of names; got {layers!r}")
        for name in layers:
            outputs.activation(snapshot, name)
        return list(layers), None
    names: list[str] = []
    known = {n: a for n, a in snapshot.activations.items() if a.ndim > 1 and a[:1].size}
    if not known:
        outputs.activation(snapshot, "")
        raise InputError("no layer puts out anything that could be drawn for a sample")
    passed = 0
    for name, found in known.items():
        # A layer that only reshapes, or drops nothing in evaluation mode, shows nothing new.
        if names and _same(known[names[-1]], found):
            passed += 1
        else:
            names.append(name)
    parts = []
    if passed:
        layer = "layer that only passes" if passed == 1 else "layers that only pass"
        parts.append(f"{passed} {layer} on what came in not shown")
    if len(names) > _MOST:
        parts.append(f"{_MOST} of {len(names)} layers, evenly chosen; layers= names others")
        names = [names[k] for k in evenly(len(names), _MOST)]
    return names, "; ".join(parts) or None


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.size == other.size and np.array_equal(one.ravel(), other.ravel(), equal_nan=True)


@dataclass(frozen=True)
class _Row:
    """One layer as it is drawn.

    Attributes
    ----------
    name
        Lines at its left; not yet escaped.
    range
        Lines at its right.
    pixels
        Red, green and blue: (rows, columns, 3).
    texts
        What to read of each place along the row; escaped.
    """

    name: list[str]
    range: list[str]
    pixels: np.ndarray
    texts: list[str]

    @classmethod
    def of_input(cls, picture: np.ndarray, most: int, wide: int, look: Theme) -> _Row:
        """Return the row of the input."""
        color = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
        pixels = np.empty((_SIDE, wide, 3), np.uint8)
        pixels[:] = tiles.rgb(look.paper)
        pixels[:, :_SIDE] = _stretched(color, (_SIDE, _SIDE))
        shape = " x ".join(map(str, picture.shape[:2]))
        return cls(["input", shape], [], pixels, ["input"] + [""] * (most - 1))

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        name: str,
        sample: int,
        last: bool,
        most: int,
        wide: int,
        look: Theme,
    ) -> _Row:
        """Return the row of a layer."""
        found = outputs.activation(snapshot, name)
        kind = outputs.kinds(snapshot).get(name, "")
        shape = " x ".join(map(str, found.shape[1:]))
        lines = [shorten(name or snapshot.name, _NAME), shorten(f"{kind} {shape}", _NAME + 4)]
        head = f"<b>{escape(shorten(name or snapshot.name, 60))}</b> {escape(kind)} {shape}"
        dead: str | None = None
        if found.ndim > 3:
            maps = outputs.maps_of(found[sample : sample + 1], last)[0]
            sizes = np.abs(np.where(np.isfinite(maps), maps, 0)).mean(axis=(1, 2))
            order = np.argsort(-sizes, kind="stable")[:most]
            still = int((maps == 0).all(axis=(1, 2)).sum())
            dead = f"{still} of {len(maps)} dead" if still else None
            parts = [_fitted(maps[k], (_SIDE, _SIDE)) for k in order]
            texts = [f"{head}<br>channel {k}: {_range(maps[k])}" for k in order]
        else:
            values = np.atleast_2d(found[sample])
            parts = [_fitted(values, (_STRIP if found.ndim == 2 else _SIDE, wide))]
            texts = [f"{head}<br>{_range(values)}"] * most
        finite = np.concatenate([part[np.isfinite(part)] for part in parts] or [np.zeros(1)])
        end = float(np.abs(finite).max(initial=0)) or 1.0
        signed = bool((finite < 0).any())
        colors = Colors("", end, not signed, "")
        plane = tiles.Sheet(np.stack(parts), len(parts), (1, _GAP))
        scale = look.diverging if signed else look.sequential
        pixels = tiles.palette(scale, look)[tiles.levels(plane.plane, colors, plane.broken), :3]
        room = np.empty((len(pixels), wide, 3), np.uint8)
        room[:] = tiles.rgb(look.paper)
        room[:, : pixels.shape[1]] = pixels
        shown = f"± {number(end)}" if signed else f"0 to {number(end)}"
        texts += [""] * (most - len(texts))
        return cls(lines, [shown, *([dead] if dead else [])], room, texts)


def _range(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "no finite number"
    return f"{number(finite.min())} to {number(finite.max())}"


def _fitted(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a map with so many cells: by blocks where it is larger, cells repeated elsewhere.

    A map that is not as long as wide keeps its shape where it is square that is asked for.
    """
    cells, _ = reduce_blocks(values, max(shape))
    if shape[0] != shape[1] or cells.shape[0] == cells.shape[1]:
        return _stretched(cells, shape)
    scale = shape[0] / max(cells.shape)
    small = _stretched(
        cells, (max(1, int(scale * len(cells))), max(1, int(scale * cells.shape[1])))
    )
    room = np.zeros(shape, small.dtype)
    room[: small.shape[0], : small.shape[1]] = small
    return room


def _stretched(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return an array with so many rows and columns, of the nearest cells."""
    rows = np.arange(shape[0]) * len(cells) // shape[0]
    columns = np.arange(shape[1]) * cells.shape[1] // shape[1]
    return cells[rows][:, columns]


def _axes(figure: go.Figure, rows: list[_Row], shape: tuple[int, ...], look: Theme) -> None:
    """Name the rows at the left, and their ranges at the right."""
    centers = np.arange(len(rows)) * (_SIDE + _GAP) + _SIDE / 2
    bare: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "", "showline": False}
    figure.update_xaxes(
        **bare,
        showticklabels=False,
        range=[-0.5, shape[1] - 0.5],
        constrain="domain",
        constraintoward="left",
    )
    names = ["<br>".join(escape(line) for line in row.name) for row in rows]
    figure.update_yaxes(
        **bare,
        range=[shape[0] - 0.5, -0.5],
        tickvals=centers,
        ticktext=names,
        constrain="domain",
        constraintoward="top",
    )
    for center, row in zip(centers, rows, strict=True):
        figure.add_annotation(
            text="<br>".join(row.range),
            x=1,
            xref="x domain",
            y=center,
            xanchor="left",
            xshift=8,
            align="left",
            showarrow=False,
            font={"size": 11, "color": look.quiet},
        )
