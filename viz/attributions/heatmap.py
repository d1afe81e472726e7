"""Values with two axes that are no picture, such as a layer's tokens by features: as maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import panels, pictures, words
from pellucid.viz.attributions.texts import visible
from pellucid.viz.scale import reduce_blocks
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_MOST = 3
_LABEL = 40  # pixels above a map, for its two lines of text
_ROW = 14  # pixels of a named row
_NAMED = 60  # rows that may have names
_LETTER = 7.0
_TICKS = 30  # pixels below a map, for its ticks


def heatmap(
    explanation: Explanation,
    *,
    samples: int | None = None,
    clip: float | None = 99.5,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw values that have two axes beside the samples as maps, one for each sample.

    For what is no picture: a layer's tokens by features, channels over time. All maps share one
    range, centred on zero. A map of more than 1024 cells on a side is reduced to blocks, each
    showing its value of largest magnitude.

    Parameters
    ----------
    explanation
        With two axes beside the samples.
    samples
        How many to draw at most; 3 by default. Choose others with ``explanation[[3, 5]]``.
    clip
        The percentile of the magnitudes at which the colours end; None for the largest. What is
        clipped is said in the figure.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the values have other axes, or are of several inputs or targets.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = words.single(explanation, "heatmap")
    if explanation.values.ndim != 3 or not explanation.values.size:
        raise InputError(
            "viz.heatmap draws values with two axes beside the samples, but these have shape "
            f"{explanation.values.shape}; viz.figure picks the function for any explanation"
        )
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    shown = min(most, len(explanation))
    down, across = tuple(explanation.axes or ("", "axis 1", "axis 2"))[1:]
    maps = [_map(explanation, i, down, look, (width or 680) - 120) for i in range(shown)]
    values = [one.values for one in maps]
    limit = pictures.limit(np.concatenate([array.ravel() for array in values]), clip)
    magnitude = words.magnitude(explanation)
    targets = {words.target(explanation, i) for i in range(shown)}
    of = targets.pop() if len(targets) == 1 else "each one's class"
    broken = sum(int((~np.isfinite(array)).sum()) for array in values)
    block = max(one.block for one in maps)
    longest = max((len(name) for one in maps for name in one.names or ()), default=4)
    frame = Frame(
        title=title if title is not None else f"What the {words.score(explanation, of)} rests on",
        caption=sentences(
            [
                words.method(explanation),
                f"each cell is the value of largest magnitude of {block} x {block} values"
                if block > 1
                else None,
                limit.note(magnitude, "values"),
                f"{broken} values are not finite (blank)" if broken else None,
                f"{shown} of {len(explanation)} samples shown"
                if shown < len(explanation)
                else None,
            ]
        ),
        left=int(40 + _LETTER * longest),
        right=panels.EDGE + 8,
        axis=panels.BAR + 40,
        above=0,
        width=width,
        height=height,
    )
    natural = sum(one.height + one.label + _TICKS for one in maps) - _TICKS
    tall, room = frame.plot_height(natural), (width or 680) - frame.left - frame.right
    figure = go.Figure()
    top = 0.0
    for one in maps:
        ends = [1 - (top + one.label + one.height) / natural, 1 - (top + one.label) / natural]
        one.draw(figure, explanation, [max(0.0, ends[0]), ends[1]], look)
        top += one.height + one.label + _TICKS
    figure.update_xaxes(title_text=escape(across), selector=-1)
    figure.update_yaxes(title_text=escape(down))
    scale = panels.Colors(
        "coloraxis", limit.end, magnitude, words.zero(explanation), limit.pixels > 0
    )
    said = words.quantity(explanation, of)
    axes = panels.color_axes(look, [scale], (room, tall), said)
    axes["coloraxis"]["colorbar"]["y"] = -48 / tall  # below the last map's own axis
    figure.update_layout(axes)
    return frame.apply(figure, look, explanation, natural)


@dataclass(frozen=True)
class _Map:
    """One sample's map.

    Attributes
    ----------
    values
        Without padding.
    cells, block
        As drawn: each stands for `block` x `block` values.
    names
        Of the rows, where there is room for them.
    height
        In pixels, the same for a row of any map as far as that can be.
    status
        The prediction, and how far to trust the map.
    """

    sample: int
    values: np.ndarray
    cells: np.ndarray
    block: int
    names: list[str] | None
    height: float
    status: str

    @property
    def label(self) -> float:
        """Pixels above the map, for its lines of text."""
        return _LABEL + panels.LINE * self.status.count("<br>")

    def draw(
        self, figure: go.Figure, explanation: Explanation, domain: list[float], look: Theme
    ) -> None:
        """Draw the map, with what was explained and how far to trust it above."""
        down, across = tuple(explanation.axes or ("", "axis 1", "axis 2"))[1:]
        unit = "contribution" if words.complete(explanation) else "attribution"
        suffix = "" if self.sample == 0 else str(self.sample + 1)
        figure.add_heatmap(
            z=compact(self.cells),
            dx=self.block,
            dy=self.block,
            coloraxis="coloraxis",
            zsmooth=False,
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            customdata=[[words.sample_id(explanation, self.sample)]],
            hovertemplate=f"{words.hover(explanation, self.sample)}<br>{escape(down)} %{{y}}, "
            f"{escape(across)} %{{x}}<br>{unit} %{{z:.4g}}<extra></extra>",
        )
        bare = {"showgrid": False, "zeroline": False}
        rows = {"domain": domain, "anchor": f"x{suffix}", "autorange": "reversed", **bare}
        rows |= _whole(len(self.values))
        if self.names is not None:
            rows["tickvals"] = np.arange(len(self.names))
            rows["ticktext"] = [escape(name) for name in self.names]
        columns = {"anchor": f"y{suffix}", **bare, **_whole(self.values.shape[1])}
        figure.update_layout({f"xaxis{suffix}": columns, f"yaxis{suffix}": rows})
        heading = escape(shorten(words.heading(explanation, self.sample), 56))
        figure.add_annotation(
            text=f"<b>{heading}</b><br>{self.status}",
            x=0,
            y=domain[1],
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            align="left",
            showarrow=False,
            font={"size": 11.5, "color": look.ink},
        )


def _map(explanation: Explanation, sample: int, axis: str, look: Theme, room: float) -> _Map:
    """Prepare one sample's map: padding was never attributed, and would be rows of zeros."""
    values, texts = explanation.values[sample], explanation.tokens
    names = None
    if axis == "token" and texts is not None and texts.shape == explanation.values.shape[:2]:
        real = [bool(str(text)) for text in texts[sample]]
        if any(real):
            values = values[real]
            names = [shorten(visible(str(text)), 18) for text in texts[sample][real]]
    cells, block = reduce_blocks(values)
    if len(values) > _NAMED or block > 1:
        names = None
    height = min(max(_ROW * len(values), 45), _NAMED * _ROW / 2)
    if names is not None:
        height = max(height, _ROW * len(names))
    status = words.status(explanation, sample, look, room)
    return _Map(sample, values, cells, block, names, height, status)


def _whole(count: int) -> dict[str, int]:
    """Return ticks at whole numbers, some eight of them."""
    step = max(1, round(count / 8))
    power = 10 ** (len(str(step)) - 1)
    return {"tick0": 0, "dtick": next(k for k in (1, 2, 5, 10) if k * power >= step) * power}
