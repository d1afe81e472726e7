"""Grids of pictures: where the panels stand, what is drawn in one, and the colours they share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.viz.theme import Scale, Theme, compact, escape, number

GAP = 14  # pixels between panels
EDGE = 16  # pixels left and right of the panels
BAR = 86  # pixels for the colour bar, its ticks and its title
LINE = 15  # pixels of a line of the texts around a panel
TEXT = 560  # pixels that a row's label and the colour bar need
_READABLE = 4.0  # of contrast, for quiet ink
GREYS = "coloraxis99"  # of pictures in grey; the numbers below are free for attributions


def panel_size(shape: tuple[int, ...], columns: int, width: int | None) -> tuple[float, float]:
    """Return the width and height of a panel in pixels, in the shape of the picture."""
    ratio = shape[1] / shape[0]
    room = ((width or 900) - 2 * EDGE + GAP) / columns - GAP
    wide = room if width else min(room, 200 * max(1.0, ratio), max(60.0, 320 * ratio))
    return wide, min(max(wide / ratio, 40.0), max(1.6 * wide, 320.0))


def figure_width(panel: float, columns: int) -> int:
    """Return the width of a figure that nobody chose a width for."""
    return int(max(TEXT, columns * (panel + GAP) - GAP)) + 2 * EDGE


@dataclass(frozen=True)
class Grid:
    """Where the panels stand: rows of samples, each with its label below.

    Attributes
    ----------
    height
        Pixels of all rows.
    panel, gap
        Width of a panel and of the space between two, as shares of the width.
    label
        Pixels below a row for its text.
    """

    rows: int
    columns: int
    height: float
    panel: float
    gap: float
    label: float
    look: Theme

    def vertical(self, row: int) -> tuple[float, float]:
        """Return where a row of panels ends and begins."""
        step = 1 / self.rows
        top = 1 - row * step
        return top - step + min(self.label / self.height, 0.8 * step), top

    def horizontal(self, column: int) -> tuple[float, float]:
        """Return where a column of panels begins and ends."""
        left = column * (self.panel + self.gap)
        return left, min(1.0, left + self.panel)

    def place(
        self, figure: go.Figure, row: int, column: int, size: tuple[int, ...]
    ) -> dict[str, str]:
        """Make the axes of one panel, and return their names for its traces."""
        count = row * self.columns + column + 1
        suffix = "" if count == 1 else str(count)
        frame = {
            "showgrid": False,
            "zeroline": False,
            "showticklabels": False,
            "ticks": "",
            "showline": True,
            "mirror": True,
            "constrain": "domain",
        }
        figure.update_layout(
            {
                f"xaxis{suffix}": {
                    **frame,
                    "domain": self.horizontal(column),
                    "anchor": f"y{suffix}",
                    "range": [-0.5, size[1] - 0.5],
                },
                f"yaxis{suffix}": {
                    **frame,
                    "domain": self.vertical(row),
                    "anchor": f"x{suffix}",
                    "range": [size[0] - 0.5, -0.5],
                    "scaleanchor": f"x{suffix}",
                },
            }
        )
        return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}

    def head(self, figure: go.Figure, column: int, text: str) -> None:
        """Write above a column what it shows; the text is escaped already."""
        figure.add_annotation(
            text=text,
            x=sum(self.horizontal(column)) / 2,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="center",
            yanchor="bottom",
            showarrow=False,
            font={"color": self.look.quiet},
        )

    def below(
        self, figure: go.Figure, row: int, text: str, column: int | None = None, line: int = 0
    ) -> None:
        """Write below a row, or centred below one of its panels; the text is escaped already."""
        figure.add_annotation(
            text=text,
            x=0 if column is None else sum(self.horizontal(column)) / 2,
            y=self.vertical(row)[0],
            xref="paper",
            yref="paper",
            xanchor="left" if column is None else "center",
            yanchor="top",
            yshift=-2 - 16 * line,
            align="left" if column is None else "center",
            showarrow=False,
            font={"size": 11.5, "color": self.look.ink},
        )


# -- what is drawn in a panel ----------------------------------------------------------------


def picture(
    figure: go.Figure,
    pixels: np.ndarray,
    panel: dict[str, str],
    identity: dict[str, Any],
    head: str | None = None,
) -> None:
    """Draw a picture: grey as a heatmap, whose values can be read, colour as an image."""
    said: dict[str, Any] = {"hoverinfo": "skip"}
    if head is not None:
        value = "%{z}" if pixels.ndim == 2 else "red, green, blue: %{z}"
        said = {"hovertemplate": f"{head}<br>row %{{y}}, column %{{x}}<br>{value}<extra></extra>"}
    if pixels.ndim == 2:
        figure.add_heatmap(z=pixels, coloraxis=GREYS, zsmooth=False, **said, **identity, **panel)
    else:
        figure.add_image(z=pixels, **said, **identity, **panel)


def attribution(
    figure: go.Figure,
    values: np.ndarray,
    panel: dict[str, str],
    identity: dict[str, Any],
    *,
    size: tuple[int, ...],
    colors: str,
    said: str,
    missing: str | None = None,
) -> None:
    """Draw a map of attributions over a panel of `size` rows and columns.

    The map of a layer may be coarser than the picture: its cells keep their true size.

    Parameters
    ----------
    colors
        The colour axis.
    said
        What the hover text begins with, and what a value is called: ``"head<br>contribution"``.
    missing
        The colour of values that are not finite; None leaves them clear.
    """
    tall, wide = size[0] / values.shape[0], size[1] / values.shape[1]
    cells: dict[str, Any] = {}
    at = "row %{y}, column %{x}"
    if (tall, wide) != (1, 1):
        cells = {"x0": wide / 2 - 0.5, "dx": wide, "y0": tall / 2 - 0.5, "dy": tall}
        at = "a cell around row %{y:.4g}, column %{x:.4g}"
    head, _, unit = said.rpartition("<br>")
    broken = ~np.isfinite(values)
    if missing is not None and broken.any():
        figure.add_heatmap(
            z=np.where(broken, np.float32(1), np.float32(np.nan)),
            colorscale=[[0, missing], [1, missing]],
            showscale=False,
            zsmooth=False,
            hovertemplate=f"{head}<br>{at}<br>not a finite number<extra></extra>",
            **cells,
            **panel,
        )
    figure.add_heatmap(
        z=compact(values),
        coloraxis=colors,
        zsmooth=False,
        hovertemplate=f"{head}<br>{at}<br>{unit} %{{z:.4g}}<extra></extra>",
        **cells,
        **identity,
        **panel,
    )


# -- colours ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colors:
    """One scale of colours.

    Attributes
    ----------
    name
        Of the colour axis.
    end
        The magnitude of the strongest colour.
    magnitude
        Whether it begins at zero; else it is as long below zero as above.
    zero
        What 0 means.
    clipped
        Whether some values lie beyond the end.
    clear
        Whether it lies over a picture: nothing is drawn where the attribution is zero.
    """

    name: str
    end: float
    magnitude: bool
    zero: str
    clipped: bool = False
    clear: bool = False

    @property
    def begin(self) -> float:
        """The value of the first colour."""
        return 0.0 if self.magnitude else -self.end

    @property
    def range(self) -> str:
        """Where the colours end, in words."""
        return f"0 to {number(self.end)}" if self.magnitude else f"± {number(self.end)}"

    def axis(self, look: Theme) -> dict[str, Any]:
        """Return the colour axis."""
        scale = look.sequential if self.magnitude else look.diverging
        return {
            "cmin": self.begin,
            "cmax": self.end,
            **({} if self.magnitude else {"cmid": 0}),
            "colorscale": _see_through(scale, self.magnitude) if self.clear else scale,
            "showscale": False,
        }


def inks(values: np.ndarray, colors: Colors, look: Theme, calm: np.ndarray) -> list[str]:
    """Return for each value the ink that can be read on its colour; quiet where that is asked."""
    scale = look.sequential if colors.magnitude else look.diverging
    at = np.clip((values - colors.begin) / (colors.end - colors.begin), 0, 1)
    stops = np.array([_rgb(color) for _, color in scale])
    ground = np.stack([np.interp(at, [stop for stop, _ in scale], c) for c in stops.T], axis=-1)
    inks = (look.ink, look.paper, look.quiet)
    ink, paper, quiet = (_contrast(ground, np.array(_rgb(color))) for color in inks)
    readable = np.where(ink >= paper, look.ink, look.paper)
    return [str(c) for c in np.where(calm & (quiet >= _READABLE), look.quiet, readable)]


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[k : k + 2], 16) for k in (1, 3, 5))


def _contrast(ground: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Return the contrast of colours as the Web Content Accessibility Guidelines have it."""

    def luminance(color: np.ndarray) -> np.ndarray:
        share = color / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))

    one, other = luminance(ground), luminance(ink)
    return np.asarray((np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05))


def color_axes(
    look: Theme, scales: Sequence[Colors], size: tuple[float, float], said: str | None
) -> dict[str, Any]:
    """Return the layout of all scales, with a bar below the plot.

    Parameters
    ----------
    size
        Width and height of the plot in pixels.
    said
        What a value is, where all scales have one range; the bar then has numbers. None where each
        has its own.
    """
    axes = {scale.name: scale.axis(look) for scale in scales}
    axes[GREYS] = {"cmin": 0, "cmax": 255, "colorscale": look.greys, "showscale": False}
    if said is not None:
        first = scales[0]
        ticks = np.linspace(first.begin, first.end, 5)
        texts = [number(tick) for tick in ticks]
        if first.clipped:
            texts[-1] = f"≥ {texts[-1]}"
            texts[0] = texts[0] if first.magnitude else f"≤ {texts[0]}"
        axes[first.name] |= _bar(size, ticks, texts, [said, first.zero])
        return axes
    kinds: dict[bool, Colors] = {}
    for scale in scales:
        kinds.setdefault(scale.magnitude, scale)
    for k, scale in enumerate(kinds.values()):
        texts = (
            ["0", "its end"] if scale.magnitude else ["\N{MINUS SIGN} its end", "0", "+ its end"]
        )
        ticks = np.linspace(scale.begin, scale.end, len(texts))
        share = (k + 0.5) / len(kinds), 0.9 / len(kinds) - 0.1 * (len(kinds) > 1)
        axes[scale.name] |= _bar(size, ticks, texts, [scale.zero], share)
    return axes


def _bar(
    size: tuple[float, float],
    ticks: np.ndarray,
    texts: list[str],
    said: list[str],
    share: tuple[float, float] = (0.5, 0.9),
) -> dict[str, Any]:
    """Return the options that lay a colour axis's bar below the plot."""
    letters = int(size[0] * (share[1] + 0.1) / 6.4)
    title = [escape(line) for part in said for line in textwrap.wrap(part, max(20, letters))]
    bar = {
        "orientation": "h",
        "thickness": 10,
        "x": share[0],
        "len": share[1],
        "xanchor": "center",
        "y": -8 / size[1],
        "yanchor": "top",
        "ypad": 0,
        "outlinewidth": 0,
        "tickvals": ticks,
        "ticktext": texts,
        "title": {"text": "<br>".join(title), "side": "bottom", "font": {"size": 12}},
    }
    return {"showscale": True, "colorbar": bar}


def _see_through(scale: Scale, magnitude: bool) -> list[list[Any]]:
    """Return a scale that is clear where the attribution is zero and nearly solid at its ends."""
    at = [position for position, _ in scale]
    channels = np.array([_rgb(color) for _, color in scale])
    stops = []
    for position in np.linspace(0, 1, 41):
        strength = position if magnitude else abs(2 * position - 1)
        red, green, blue = (int(np.interp(position, at, channel)) for channel in channels.T)
        alpha = min(0.92, 1.5 * strength)
        stops.append([float(position), f"rgba({red},{green},{blue},{alpha:.3f})"])
    return stops
