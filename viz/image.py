"""Attributions of pictures: the input, its attribution, and one over the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Explanation
from pellucid.viz import pictures, words
from pellucid.viz.theme import (
    Frame,
    Scale,
    Theme,
    compact,
    escape,
    number,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_GAP = 14  # pixels between panels
_LABEL = 48  # pixels below a row, for its two lines of text
_BAR = 86  # pixels for the colour bar, its ticks and its title
_EDGE = 16  # pixels left and right of the panels
_TEXT = 560  # pixels that a row's label and the colour bar need
_MOST = 6


def image(
    explanation: Explanation,
    *,
    samples: int | None = None,
    overlay: bool = True,
    clip: float | None = 99.5,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw attributions of pictures: for each sample its input, its attribution, and both together.

    All panels share one colour range, centred on zero. The attributions of an input's channels are
    summed.

    Parameters
    ----------
    explanation
        Of pictures: its axes are sample, (channel,) row and column.
    samples
        How many samples to draw at most; 6 by default. Choose others with ``explanation[[3, 5]]``.
    overlay
        Whether to draw the third panel, the attribution over the greyed input.
    clip
        The percentile of the magnitudes at which the colours end; None for the largest. What is
        clipped is said in the figure.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for what the panels need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation is not of pictures, of several inputs or targets, or without samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.single(explanation, "image")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    shown = min(most, len(explanation))
    maps, channels = pictures.maps(explanation, shown)
    inputs, input_note = pictures.shown_inputs(explanation, shown)
    end, clip_note = pictures.limit(maps, clip)
    names = ["attribution"]
    if inputs is not None:
        names = ["input", "attribution", "overlay"] if overlay else ["input", "attribution"]

    targets = {words.target(explanation, i) for i in range(shown)}
    of = targets.pop() if len(targets) == 1 else "each row's class"
    broken = int((~np.isfinite(maps)).sum())
    panel_width, panel_height = _panel(maps.shape[1:], len(names), width)
    frame = Frame(
        title=title if title is not None else f"What the {words.score(explanation, of)} rests on",
        caption=sentences(
            [
                words.method(explanation),
                f"attributions of the {channels} channels are summed" if channels > 1 else None,
                clip_note,
                f"{broken} values are not finite (plain grey)" if broken else None,
                input_note,
                f"{shown} of {len(explanation)} samples shown"
                if shown < len(explanation)
                else None,
            ]
        ),
        left=_EDGE,
        right=_EDGE,
        axis=_BAR,
        above=22,
        width=width or int(max(_TEXT, len(names) * (panel_width + _GAP) - _GAP)) + 2 * _EDGE,
        height=height,
    )
    natural = shown * (panel_height + _LABEL)
    inner = (frame.width or 0) - 2 * _EDGE
    grid = _Grid(shown, names, frame.plot_height(natural), panel_width / inner, _GAP / inner, look)
    paper = int(look.paper[1:3], 16)
    absolute = bool(explanation.settings.get("absolute"))
    unit = "attribution" if explanation.baseline_prediction is None else "contribution"

    figure = go.Figure()
    for i in range(shown):
        identity = {"customdata": [[words.sample_id(explanation, i)]]}
        head = words.hover(explanation, i) + "<br>row %{y}, column %{x}"
        attribution = {
            **identity,
            "z": compact(maps[i]),
            "coloraxis": "coloraxis",
            "zsmooth": False,
            "hovertemplate": f"{head}<br>{unit} %{{z:.4g}}<extra></extra>",
        }
        panel = grid.panel(figure, i, "attribution", maps.shape[1:])
        _missing(figure, maps[i], look, panel)
        figure.add_heatmap(**attribution, **panel)
        if inputs is not None:
            size = inputs.shape[1:3]
            panel = grid.panel(figure, i, "input", size)
            _picture(figure, inputs[i], {**identity, **panel}, head)
        if inputs is not None and overlay:
            panel = grid.panel(figure, i, "overlay", size)
            _picture(figure, pictures.faded(inputs[i], paper), {**identity, **panel}, None)
            # The map of a layer may be coarser than the picture: its cells keep their true size.
            tall, wide = size[0] / maps.shape[1], size[1] / maps.shape[2]
            cells = {"x0": wide / 2 - 0.5, "dx": wide, "y0": tall / 2 - 0.5, "dy": tall}
            over = {**attribution, "coloraxis": "coloraxis2", **cells}
            figure.add_heatmap(**over, **panel)
        grid.label(figure, i, explanation)
    for j, name in enumerate(names):
        grid.head(figure, j, name)
    _color_axes(figure, look, end, absolute, bool(clip_note) and end != 1.0, grid.height)
    bar_title = words.quantity(explanation, of)
    zero = "0: none" if absolute else "0: no effect, negative: against it"
    figure.layout.coloraxis.colorbar.title.text = f"{escape(bar_title)}<br>{zero}"
    return frame.apply(figure, look, explanation, natural)


def _panel(shape: tuple[int, ...], columns: int, width: int | None) -> tuple[float, float]:
    """Return the width and height of a panel in pixels, in the shape of the picture."""
    ratio = shape[1] / shape[0]
    room = ((width or 900) - 2 * _EDGE + _GAP) / columns - _GAP
    wide = room if width else min(room, 200 * max(1.0, ratio), max(60.0, 320 * ratio))
    return wide, min(max(wide / ratio, 40.0), max(1.6 * wide, 320.0))


@dataclass(frozen=True)
class _Grid:
    """Where the panels stand: rows of samples, each with its label below."""

    rows: int
    names: list[str]
    height: float
    panel_share: float
    gap_share: float
    look: Theme

    def _vertical(self, row: int) -> tuple[float, float]:
        step = 1 / self.rows
        top = 1 - row * step
        bottom = top - step + min(_LABEL / self.height, 0.8 * step)
        return bottom, top

    def _horizontal(self, column: int) -> tuple[float, float]:
        left = column * (self.panel_share + self.gap_share)
        return left, min(1.0, left + self.panel_share)

    def panel(
        self, figure: go.Figure, row: int, name: str, size: tuple[int, ...]
    ) -> dict[str, str]:
        """Make the axes of one panel, and return their names for its traces."""
        column = self.names.index(name)
        count = row * len(self.names) + column + 1
        suffix = "" if count == 1 else str(count)
        left, right = self._horizontal(column)
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
                    "domain": [left, right],
                    "anchor": f"y{suffix}",
                    "range": [-0.5, size[1] - 0.5],
                },
                f"yaxis{suffix}": {
                    **frame,
                    "domain": self._vertical(row),
                    "anchor": f"x{suffix}",
                    "range": [size[0] - 0.5, -0.5],
                    "scaleanchor": f"x{suffix}",
                },
            }
        )
        return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}

    def head(self, figure: go.Figure, column: int, name: str) -> None:
        """Write what a column shows above it."""
        figure.add_annotation(
            text=name,
            x=sum(self._horizontal(column)) / 2,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="center",
            yanchor="bottom",
            showarrow=False,
            font={"color": self.look.quiet},
        )

    def label(self, figure: go.Figure, row: int, explanation: Explanation) -> None:
        """Write below a row what was explained and how far to trust it; mark it if it is late."""
        late = words.late(explanation, row)
        first = f"<b>{escape(shorten(words.heading(explanation, row), 56))}</b>"
        outcome, trust = words.outcome(explanation, row), words.trust(explanation, row)
        said = escape(trust)
        if late:
            said = f'<span style="color:{self.look.warning}"><b>▲ {said}</b></span>'
        second = f"{escape(outcome)} · {said}" if outcome else said
        bottom, top = self._vertical(row)
        figure.add_annotation(
            text=f"{first}<br>{second}",
            x=0,
            y=bottom,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="top",
            yshift=-2,
            align="left",
            showarrow=False,
            font={"size": 11.5, "color": self.look.ink},
        )
        if late:
            figure.add_shape(
                type="line",
                xref="paper",
                yref="paper",
                x0=-7,
                x1=-7,
                xsizemode="pixel",
                xanchor=0,
                y0=bottom,
                y1=top,
                line={"color": self.look.warning, "width": 4},
            )


def _picture(
    figure: go.Figure, pixels: np.ndarray, place: dict[str, Any], head: str | None
) -> None:
    """Draw a picture: grey as a heatmap, whose values can be read, colour as an image."""
    said: dict[str, Any] = {"hoverinfo": "skip"}
    if head is not None:
        value = "%{z}" if pixels.ndim == 2 else "red, green, blue: %{z}"
        said = {"hovertemplate": f"{head}<br>{value}<extra></extra>"}
    if pixels.ndim == 2:
        figure.add_heatmap(z=pixels, coloraxis="coloraxis3", zsmooth=False, **said, **place)
    else:
        figure.add_image(z=pixels, **said, **place)


def _missing(figure: go.Figure, values: np.ndarray, look: Theme, panel: dict[str, str]) -> None:
    """Draw what is not finite in a colour of its own, beneath the attribution."""
    broken = ~np.isfinite(values)
    if broken.any():
        figure.add_heatmap(
            z=np.where(broken, np.float32(1), np.float32(np.nan)),
            colorscale=[[0, look.missing], [1, look.missing]],
            showscale=False,
            zsmooth=False,
            hovertemplate="row %{y}, column %{x}<br>not a finite number<extra></extra>",
            **panel,
        )


def _color_axes(
    figure: go.Figure, look: Theme, end: float, absolute: bool, clipped: bool, height: float
) -> None:
    """Set the one range that all attributions share, and its bar below the panels."""
    low = 0.0 if absolute else -end
    scale = look.sequential if absolute else look.diverging
    ticks = np.linspace(low, end, 5)
    texts = [number(tick) for tick in ticks]
    if clipped:
        texts[-1] = f"≥ {texts[-1]}"
        texts[0] = texts[0] if absolute else f"≤ {texts[0]}"
    shared = {"cmin": low, "cmax": end} | ({} if absolute else {"cmid": 0})
    figure.update_layout(
        coloraxis={
            **shared,
            "colorscale": scale,
            "colorbar": {
                "orientation": "h",
                "thickness": 10,
                "len": 0.9,
                "x": 0.5,
                "xanchor": "center",
                "y": -8 / height,
                "yanchor": "top",
                "ypad": 0,
                "outlinewidth": 0,
                "tickvals": ticks,
                "ticktext": texts,
                "title": {"side": "bottom", "font": {"size": 12}},
            },
        },
        coloraxis2={**shared, "colorscale": _see_through(scale, absolute), "showscale": False},
        coloraxis3={"cmin": 0, "cmax": 255, "colorscale": look.greys, "showscale": False},
    )


def _see_through(scale: Scale, absolute: bool) -> list[list[Any]]:
    """Return a scale that is clear where the attribution is zero and nearly solid at its ends."""
    at = [position for position, _ in scale]
    channels = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for _, c in scale])
    stops = []
    for position in np.linspace(0, 1, 41):
        strength = position if absolute else abs(2 * position - 1)
        red, green, blue = (int(np.interp(position, at, channel)) for channel in channels.T)
        alpha = min(0.92, 1.5 * strength)
        stops.append([float(position), f"rgba({red},{green},{blue},{alpha:.3f})"])
    return stops
