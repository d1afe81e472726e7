"""What a layer makes of an input: its maps beside the input, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Snapshot
from pellucid.viz import tiles
from pellucid.viz.attributions import panels, pictures
from pellucid.viz.model import outputs, plain
from pellucid.viz.scale import reduce_blocks
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    expect,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_TOP = 64
_WIDTH = 900  # of a figure that takes the width it is given
_STACKED = 600  # pixels of width below which the input stands above the maps
_TILE = 150  # pixels of a map at most
_CELLS = 1024  # of a side of all maps together; more are blocks
_GAP = 26  # pixels between the input and the maps
_HEAD = 18  # pixels above both, for what they are
_COLORS = "coloraxis"


def feature_maps(
    snapshot: Snapshot,
    layer: str | None = None,
    *,
    sample: int = 0,
    channels: Sequence[int] | None = None,
    top: int = _TOP,
    sort: str = "channel",
    clip: float | None = 99.5,
    channels_last: bool | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw what a layer puts out for one sample, beside the sample itself.

    Maps are laid out as one picture and share one range of colours: from zero where nothing is
    below it, as after a ReLU, else centred on zero. Up to 65,536 cells it is a heatmap whose every
    value can be read; more are an image, of which each map's range can be read. What has two axes,
    such as tokens by features, is one map; what has one, bars.

    Parameters
    ----------
    snapshot
        Of a model and some inputs: ``pl.snapshot(model, inputs)``.
    layer
        Whose activations; None for the first that puts out maps, or else the first.
    sample
        Which of the snapshot's samples.
    channels
        Which channels; None for all, or the strongest `top` of them.
    top
        How many channels at most.
    sort
        ``"channel"`` for the channels' own order, ``"strength"`` for those with the largest mean
        magnitude first.
    clip
        The percentile of the magnitudes at which the colours end; None for the largest. What is
        clipped is said in the figure.
    channels_last
        Whether the channels stand behind rows and columns; None to see it from the snapshot.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the layer's name.
    width, height
        In pixels; None for a fitting width and height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there are no such activations, sample or channels.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "feature_maps")
    positive_whole(top, "top", "how many channels to draw")
    if sort not in ("channel", "strength"):
        raise InputError(f"sort is 'channel' or 'strength'; got {sort!r}")
    name = _first(snapshot) if layer is None else layer
    found = outputs.activation(snapshot, name)
    position = outputs.check_sample(sample, len(found))
    if found.ndim < 2 or not found[position].size:
        raise InputError(
            f"{name!r} puts out shape {found.shape}: nothing that could be drawn for a sample"
        )
    if found.ndim < 4:
        if channels is not None:
            raise InputError(f"{name!r} puts out shape {found.shape}: it has no maps to choose")
        return plain.draw(snapshot, name, position, clip, look, title, width, height)
    last = outputs.channels_last(snapshot) if channels_last is None else channels_last
    maps = outputs.maps_of(found, last)
    order, chosen = _chosen(maps[position], channels, top, sort)
    picture, note = outputs.picture(snapshot, position)
    plan = _Plan.of(len(order), maps.shape[2:], picture, width)
    cells, block = _reduced(maps[position, order], plan.across)
    limit = pictures.limit(cells, clip)
    magnitude = not bool((cells < 0).any())
    colors = panels.Colors(_COLORS, limit.end, magnitude, outputs.zero(magnitude), limit.pixels > 0)
    sheet = tiles.Sheet(cells, plan.across, plan.gap(cells.shape[1:]))
    frame = Frame(
        title=f"Feature maps of {outputs.said(snapshot, name)}" if title is None else title,
        caption=sentences(
            [
                f"sample {position}",
                f"{len(order)} of {maps.shape[1]:,} channels, {maps.shape[2]} x {maps.shape[3]}",
                chosen,
                "the slice in the middle of each volume" if found.ndim > 4 else None,
                _dead(maps, position),
                limit.note(magnitude, "cells") if not limit.empty else "every value is zero",
                f"each cell is the value of largest magnitude of {block} x {block}"
                if block > 1
                else None,
                _broken(cells),
                note,
                "point at a map for its range" if sheet.is_image else None,
            ]
        ),
        left=panels.EDGE,
        right=panels.EDGE,
        axis=panels.BAR,
        above=_HEAD + tiles.LABEL,
        width=plan.width,
        height=height,
    )
    figure = go.Figure()
    tall = frame.plot_height(plan.height(sheet))
    identity = {"customdata": [[position]]}
    names = [f"{escape(shorten(name, 60))}, channel {k}" for k in order]
    panel = plan.place(figure, sheet)
    sheet.draw(figure, panel, colors, look, value="activation", heads=names, identity=identity)
    labels = [str(k) for k in order]
    if all(tiles.fits(text, plan.pitch) for text in labels):
        alive = (maps[position, order] != 0).any(axis=(1, 2))
        texts = [text if lives else f"{text} ✕" for text, lives in zip(labels, alive, strict=True)]
        inks = [look.quiet if lives else look.warning for lives in alive]
        sheet.label(figure, panel, texts, inks)
    if picture is not None:
        plan.show(figure, picture, look, sheet, position)
    axes = panels.color_axes(look, [colors], (plan.room, tall), "activation")
    figure.update_layout(axes)
    return frame.apply(figure, look, snapshot, plan.height(sheet))


def _first(snapshot: Snapshot) -> str:
    known = snapshot.activations
    if not known:
        outputs.activation(snapshot, "")  # says what to do
    return next((name for name, found in known.items() if found.ndim > 3), next(iter(known)))


def _chosen(
    maps: np.ndarray, channels: Sequence[int] | None, top: int, sort: str
) -> tuple[np.ndarray, str | None]:
    """Return which channels to draw in their order, and how they were chosen in words."""
    count = len(maps)
    if channels is not None:
        order = np.asarray(channels)
        if order.ndim != 1 or not order.size or order.dtype.kind not in "iu":
            raise InputError(f"channels is a list of positions; got {channels!r}")
        if order.min() < -count or order.max() >= count:
            raise InputError(f"channels go from 0 to {count - 1}; got {channels!r}")
        order, said = order % count, "chosen by channels="
    else:
        order, said = np.arange(count), None
    strength = np.abs(np.where(np.isfinite(maps[order]), maps[order], 0)).mean(axis=(1, 2))
    by_strength = np.argsort(-strength, kind="stable")
    if len(order) > top:
        said = "those of largest mean magnitude in this sample"
        keep = by_strength[:top]
        return order[keep if sort == "strength" else np.sort(keep)], said
    if sort == "strength":
        return order[by_strength], "the largest mean magnitude first"
    return order, said


def _dead(maps: np.ndarray, sample: int) -> str | None:
    """Say how many channels put out nothing."""
    still = (maps == 0).all(axis=(2, 3))
    here, always = int(still[sample].sum()), int(still.all(axis=0).sum())
    if not here:
        return None
    of_all = "" if len(maps) == 1 else f", {always or 'none'} of them in all {len(maps)} samples"
    plural = "s are" if here > 1 else " is"
    return f"{here} channel{plural} dead here (✕: all zero){of_all}"


def _broken(cells: np.ndarray) -> str | None:
    count = int((~np.isfinite(cells)).sum())
    return f"{count:,} values are not finite (grey)" if count else None


def _reduced(maps: np.ndarray, across: int) -> tuple[np.ndarray, int]:
    """Return maps of so many cells that all together can be seen, and how many make one."""
    side = max(16, _CELLS // across)
    if max(maps.shape[1:]) <= side:
        return maps, 1
    parts = [reduce_blocks(one, side) for one in maps]
    return np.stack([cells for cells, _ in parts]), parts[0][1]


@dataclass(frozen=True)
class _Plan:
    """Where the input and the maps stand, in pixels.

    Attributes
    ----------
    width
        Of the figure.
    across
        Maps side by side.
    pitch
        From one map to the next.
    shown
        Width and height of the input; zero where it is no picture.
    stacked
        Whether it stands above the maps.
    """

    width: int
    across: int
    pitch: float
    shown: tuple[float, float]
    stacked: bool

    @classmethod
    def of(
        cls, count: int, shape: tuple[int, ...], picture: np.ndarray | None, width: int | None
    ) -> _Plan:
        """Return the plan for so many maps of that shape."""
        room = (width or _WIDTH) - 2 * panels.EDGE
        stacked = room < _STACKED
        shown = (0.0, 0.0)
        beside = 0.0
        if picture is not None:
            wide = min(180.0, 0.4 * room if stacked else 0.24 * room)
            ratio = picture.shape[0] / picture.shape[1]
            shown = (wide / max(1.0, ratio), wide / max(1.0, ratio) * ratio)
            beside = 0.0 if stacked else shown[0] + _GAP
        across = tiles.columns(count, (shape[0], shape[1]))
        pitch = min(_TILE, (room - beside) / across)
        if width is None:
            width = panels.figure_width(beside + across * pitch, 1)
        return cls(width, across, pitch, shown, stacked)

    @property
    def room(self) -> float:
        """Width of the plot."""
        return self.width - 2 * panels.EDGE

    def gap(self, cells: tuple[int, ...]) -> tuple[int, int]:
        """Return the gaps between maps of so many cells, with room for their labels."""
        cell = max(4.0, self.pitch - 6) / cells[1]
        return max(1, math.ceil((tiles.LABEL + 2) / cell)), max(1, math.ceil(6 / cell))

    def _sheet(self, sheet: tiles.Sheet) -> tuple[float, float]:
        wide = self.across * self.pitch
        return wide, wide * sheet.shape[0] / sheet.shape[1]

    def height(self, sheet: tiles.Sheet) -> float:
        """Return the height of the plot."""
        tall = self._sheet(sheet)[1]
        if not self.stacked:
            return max(tall, self.shown[1])
        return tall + self.shown[1] + (_HEAD + tiles.LABEL) * (self.shown[1] > 0)

    def place(self, figure: go.Figure, sheet: tiles.Sheet) -> dict[str, str]:
        """Make the axes of the maps, and return their names."""
        wide, tall = self._sheet(sheet)
        left = 0.0 if self.stacked or not self.shown[0] else self.shown[0] + _GAP
        bottom = 0.0 if self.stacked else 1 - tall / self.height(sheet)
        top = tall / self.height(sheet) if self.stacked else 1.0
        return _axes(
            figure, "", sheet.shape,
            [left / self.room, min(1.0, (left + wide) / self.room)], [max(0.0, bottom), top],
        )  # fmt: skip

    def show(
        self, figure: go.Figure, picture: np.ndarray, look: Theme, sheet: tiles.Sheet, sample: int
    ) -> None:
        """Draw the input."""
        wide, tall = self.shown
        height = self.height(sheet)
        x = [0.0, min(1.0, wide / self.room)]
        panel = _axes(figure, "2", picture.shape, x, [1 - tall / height, 1.0])
        panels.picture(
            figure, picture, panel, {"customdata": [[sample]]}, f"input, sample {sample}"
        )
        figure.add_annotation(
            text="input",
            x=0,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11, "color": look.quiet},
        )


def _axes(
    figure: go.Figure, suffix: str, shape: tuple[int, ...], x: list[float], y: list[float]
) -> dict[str, str]:
    """Make axes whose unit is a cell, as wide as high, without ticks; return their names."""
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""}
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                **bare,
                "domain": x,
                "anchor": f"y{suffix}",
                "range": [-0.5, shape[1] - 0.5],
                "constrain": "domain",
                "constraintoward": "left",
            },
            f"yaxis{suffix}": {
                **bare,
                "domain": y,
                "anchor": f"x{suffix}",
                "range": [shape[0] - 0.5, -0.5],
                "scaleanchor": f"x{suffix}",
                "constrain": "domain",
                "constraintoward": "top",
            },
        }
    )
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
