"""Many small maps laid out as one: a single trace, whatever their number."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.attributions.panels import Colors
from pellucid.viz.pixels import png
from pellucid.viz.theme import Scale, Theme, compact, number, percent

# A heatmap, whose every value can be read, takes five bytes a cell in a page; a PNG at most one
# and a third, and of real maps far less.
HEATMAP_CELLS = 2**16
_LEVELS = 253  # an odd number: zero is in the middle of a diverging scale
_LETTERS = 7.5  # pixels of one
LABEL = 14  # pixels of a label's line


@dataclass(frozen=True)
class Sheet:
    """Maps of one size laid out row by row, with gaps of NaN between them.

    Attributes
    ----------
    maps
        Shape (maps, rows, columns).
    across
        How many stand side by side.
    gap
        Cells below and to the right of each.
    """

    maps: np.ndarray
    across: int
    gap: tuple[int, int] = (1, 1)

    @property
    def down(self) -> int:
        """How many rows of maps there are."""
        return math.ceil(len(self.maps) / self.across)

    @property
    def pitch(self) -> tuple[int, int]:
        """Cells from one map to the next, down and across."""
        return self.maps.shape[1] + self.gap[0], self.maps.shape[2] + self.gap[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells of all of it."""
        return self.down * self.pitch[0] - self.gap[0], self.across * self.pitch[1] - self.gap[1]

    @property
    def plane(self) -> np.ndarray:
        """All maps as one."""
        return self._laid(self.maps.astype(np.float32, copy=False), np.float32(np.nan))

    @property
    def broken(self) -> np.ndarray:
        """Where a map, not a gap, holds no finite number."""
        return self._laid(~np.isfinite(self.maps), np.bool_(False))

    def _laid(self, maps: np.ndarray, between: np.generic) -> np.ndarray:
        count, tall, wide = maps.shape
        room = np.full((self.down * self.across, *self.pitch), between, maps.dtype)
        room[:count, :tall, :wide] = maps
        grid = room.reshape(self.down, self.across, *self.pitch)
        plane = grid.transpose(0, 2, 1, 3).reshape(self.down * self.pitch[0], -1)
        return plane[: self.shape[0], : self.shape[1]]

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the left and upper edges of the maps, in cells: x and y."""
        down, across = np.divmod(np.arange(len(self.maps)), self.across)
        return across * self.pitch[1] - 0.5, down * self.pitch[0] - 0.5

    # -- as a picture --------------------------------------------------------------------------

    def draw(
        self,
        figure: go.Figure,
        panel: dict[str, str],
        colors: Colors,
        look: Theme,
        *,
        value: str,
        heads: Sequence[str],
        identity: dict[str, Any] | None = None,
    ) -> None:
        """Draw the sheet as one trace, over axes whose unit is a cell.

        Up to 65,536 cells it is a heatmap, whose values can be read; more are a PNG, with a
        summary of each map to be read in their place.

        Parameters
        ----------
        panel
            The names of the axes.
        colors
            The scale of colours; its colour axis is the caller's.
        value
            What a value is called; escaped already.
        heads
            What each map is, for a reader who points at it; escaped already.
        identity
            More of the trace, such as ``customdata``.
        """
        identity = identity or {}
        if not self.is_image:
            plane = self.plane
            figure.add_heatmap(
                z=compact(np.where(np.isfinite(plane), plane, np.float32(np.nan))),
                coloraxis=colors.name,
                zsmooth=False,
                hoverongaps=False,
                hovertemplate=f"{value} %{{z:.4g}}<extra></extra>",
                **identity,
                **panel,
            )
            if (broken := self.broken).any():
                figure.add_heatmap(
                    z=np.where(broken, np.float32(1), np.float32(np.nan)),
                    colorscale=[[0, look.missing], [1, look.missing]],
                    showscale=False,
                    zsmooth=False,
                    hoverongaps=False,
                    hovertemplate="not a finite number<extra></extra>",
                    **panel,
                )
            return
        figure.add_image(
            source=data_uri(levels(self.plane, colors, self.broken), colors, look),
            hoverinfo="skip",
            **panel,
        )
        # One clear cell over each map: what is pointed at, and what the colour bar belongs to.
        texts = [
            f"{head}<br>{summary}"
            for head, summary in zip(heads, map(_summary, self.maps), strict=True)
        ]
        texts += [""] * (self.down * self.across - len(texts))
        figure.add_heatmap(
            z=np.zeros((self.down, self.across), np.float32),
            x0=self.pitch[1] / 2 - 0.5,
            dx=self.pitch[1],
            y0=self.pitch[0] / 2 - 0.5,
            dy=self.pitch[0],
            opacity=0,
            coloraxis=colors.name,
            hovertext=np.array(texts, dtype=object).reshape(self.down, self.across),
            hovertemplate="%{hovertext}<extra></extra>",
            **identity,
            **panel,
        )

    @property
    def is_image(self) -> bool:
        """Whether it is drawn as a PNG."""
        return math.prod(self.shape) > HEATMAP_CELLS

    def label(
        self,
        figure: go.Figure,
        panel: dict[str, str],
        texts: Sequence[str],
        inks: Sequence[str],
    ) -> None:
        """Write above each map what it is; escaped already. There has to be a gap for it."""
        x, y = self.corners()
        figure.add_scatter(
            x=compact(x),
            y=compact(y),
            mode="text",
            text=list(texts),
            textposition="top right",
            textfont={"size": 10, "color": list(inks)},
            hoverinfo="skip",
            showlegend=False,
            cliponaxis=False,
            **panel,
        )


def _summary(one: np.ndarray) -> str:
    finite = one[np.isfinite(one)]
    if not finite.size:
        return "no finite number"
    zero = percent((finite == 0).mean())
    ends = f"{number(finite.min())} to {number(finite.max())}"
    return f"{ends}, mean {number(finite.mean(dtype=np.float64))}<br>{zero} zeros"


def levels(plane: np.ndarray, colors: Colors, broken: np.ndarray) -> np.ndarray:
    """Return a map as numbers of the colours of `palette`: 0 is clear, 1 is missing."""
    # Relative to the end first: of the largest numbers the difference would overflow.
    begin = np.float32(colors.begin / colors.end)
    share = (plane / np.float32(colors.end) - begin) / (1 - begin)
    share = np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    found: np.ndarray = np.rint(share * np.float32(_LEVELS - 1)).astype(np.uint8) + np.uint8(2)
    found[~np.isfinite(plane)] = 0
    found[broken] = 1
    return found


def palette(scale: Scale, look: Theme) -> np.ndarray:
    """Return the colours of `levels`: red, green, blue and opacity, uint8."""
    stops = np.array([rgb(color) for _, color in scale], dtype=float)
    at = np.linspace(0, 1, _LEVELS)
    ramp = np.stack([np.interp(at, [p for p, _ in scale], c) for c in stops.T], axis=1)
    first = [[*rgb(look.paper), 0], [*rgb(look.missing), 255]]
    colors = np.column_stack([np.rint(ramp), np.full(_LEVELS, 255)])
    return np.vstack([first, colors]).astype(np.uint8)


def data_uri(found: np.ndarray, colors: Colors, look: Theme) -> str:
    """Return `levels` as a PNG in a data URI."""
    scale = look.sequential if colors.magnitude else look.diverging
    file = png(found, palette(scale, look))
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def rgb(color: str) -> list[int]:
    """Return red, green and blue of a colour of a theme, ``#rrggbb``."""
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


# -- how to lay out --------------------------------------------------------------------------


def columns(count: int, shape: tuple[int, int], ratio: float = 1.4) -> int:
    """Return how many maps to set side by side, for a sheet about `ratio` times as wide as high.

    Numbers that leave no hole in the last row come first.
    """
    ideal = math.sqrt(count * ratio * shape[0] / shape[1])
    low, high = max(1, round(0.72 * ideal)), max(1, round(1.35 * ideal))
    found = range(min(low, count), min(high, count) + 1)
    return min(found, key=lambda n: (-count % n, abs(n - ideal)))


def fits(text: str, pixels: float) -> bool:
    """Whether a label has room above a map of so many pixels."""
    return _LETTERS * len(text) <= pixels


def tile(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Lay an array out as one map; filters become tiles with gaps of NaN. Say whether it did."""
    if array.ndim <= 2:
        return np.atleast_2d(array), False
    if array.ndim == 3:
        array = array[:, :, None, :]
    tall, wide = array.shape[-2:]
    per_filter = int(np.prod(array.shape[1:-2]))
    side_by_side = max(1, round(math.sqrt(2 * len(array) / per_filter)))  # twice as wide as high
    return Sheet(array.reshape(-1, tall, wide), side_by_side * per_filter).plane, True
