"""One map of points, with how far each neighbourhood can be trusted."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions, Projection
from pellucid.viz.projection import neighbours
from pellucid.viz.projection.density import add_counts
from pellucid.viz.projection.hover import Texts, hover_images
from pellucid.viz.projection.paint import Paint, colors_of
from pellucid.viz.projection.points import (
    add_points,
    check,
    coordinates,
    distances_note,
    placed_note,
    set_axes,
    settings,
)
from pellucid.viz.scale import GL_POINTS, HOVER_POINTS, cloud, sample
from pellucid.viz.theme import Frame, Theme, escape, sentences, shorten, theme_of
from pellucid.viz.training.steps import is_narrow, set_legend

_SPACE_POINTS = 50_000  # of a map in space of more than 200,000
_LETTER = 6.6
_MARK = 205  # pixels of a legend's entry for a mark
_LINE = 20
_PLOT = 480

__all__ = ["hover_images", "scatter"]


def scatter(
    projection: Projection,
    *,
    color: Any = None,
    predictions: Predictions | None = None,
    hover: Any = None,
    point: int | str | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a projection as a map of points, flat or in space, with how far it can be trusted.

    Up to 5,000 points are drawn one by one, up to 200,000 with WebGL. More become an image of how
    many points each cell holds, with 2,000 of them, chosen at random, to point at (in space:
    50,000 of them); the figure says so.

    Parameters
    ----------
    projection
        The result of `pellucid.project`.
    color
        ``"label"``; how far to trust each point: ``"preservation"`` (the share of its neighbours
        that the map keeps), ``"trustworthiness"``, ``"continuity"``, ``"moved"``; what a model says
        of it: ``"prediction"``, ``"error"``, ``"confidence"``; or one value for each point. None
        for the error where `predictions` are given, for the labels where they are known, else for
        the preservation.
    predictions
        The result of `pellucid.predict` for the same samples.
    hover
        What to show of each point beside its picture: a list of texts, or a data frame with a row
        for each, of which the first eight columns are shown.
    point
        The id of a sample, or its position: its true neighbours are joined to it by lines, those
        that the map tore away in another colour, and what it drew in falsely is marked.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what was projected.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. ``customdata`` of a point is its id, position,
        preservation, trustworthiness, and continuity where known. ``layout.meta["hover_images"]``
        holds the pictures that a report shows beside the pointer.

    Raises
    ------
    InputError
        If there are no points, they do not have two or three coordinates, the colour or the point
        is unknown, or there is not one entry of `color`, `hover` or `predictions` for each.
    InputTypeError
        If it is not a Projection.
    """
    look = theme_of(theme)
    placed = check(projection, "scatter")
    count, dimensions = projection.coordinates.shape
    paint = Paint.of(colors_of(projection, color, predictions), look)
    texts = Texts(hover, count)
    chosen = None if point is None else _Chosen.of(projection, point)

    figure = go.Figure()
    rows, dense_note = placed, None
    if cloud(len(placed)) == "density":
        flat = dimensions == 2
        rows = placed[sample(len(placed), HOVER_POINTS if flat else _SPACE_POINTS)]
        dense_note = f"dots: {len(rows):,} of {len(placed):,} points, chosen at random"
        if flat:
            most = add_counts(figure, projection.coordinates[placed], look)
            dense_note = (
                f"more than {GL_POINTS:,} points: grey is how many a cell holds, from 1 to "
                f"{most:,} on a logarithmic scale; {dense_note}"
            )
    opacity = 0.85 if chosen is None else 0.3
    add_points(figure, projection, rows, paint, texts=texts, opacity=opacity)

    sprite, sprite_note = hover_images(projection.display)
    where = "" if projection.at == "input" else f" of {shorten(projection.at, 40)}"
    pca = projection.method == "pca"
    left = 64 if pca and dimensions == 2 else 24
    right, above = _legend(figure, paint, width, left)
    if chosen is not None:
        chosen.draw(figure, projection, look)
    marks = 0 if chosen is None else chosen.room(width, left + right)
    frame = Frame(
        title=f"Map of {count:,} samples{where}" if title is None else title,
        caption=sentences(
            [
                # A map never appears without how far it can be trusted.
                projection.trust(),
                None if chosen is None else chosen.note(projection),
                f"{projection.method} of {projection.features} features",
                distances_note(projection),
                settings(projection),
                placed_note(projection, placed),
                dense_note,
                *paint.notes,
                texts.note(len(rows)),
                sprite_note,
            ]
        ),
        left=left,
        right=right,
        axis=52 if pca and dimensions == 2 else 24,
        above=above + marks,
        width=width,
        height=height,
    )
    set_axes(figure, projection)
    if paint.numeric:
        figure.update_layout(coloraxis=paint.axis())
    if marks:
        plot = frame.plot_height(_PLOT)
        figure.update_layout(legend2=_above(1 + above / plot))
    frame.apply(figure, look, projection, _PLOT)
    if sprite is not None:
        figure.update_layout(meta={**figure.layout.meta, "hover_images": sprite})
    return figure


def _legend(figure: go.Figure, paint: Paint, width: int | None, left: int) -> tuple[int, int]:
    """Place the legend; return the pixels that it takes at the right and above the plot."""
    names = [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]
    figure.update_layout(margin={"autoexpand": False})
    if paint.numeric:
        figure.update_layout(showlegend=True)
        return 92, 0
    title = escape(shorten(paint.colors.title, 20))
    if is_narrow(width):
        return 16, set_legend(figure, width, left + 16, title)
    longest = max(len(html.unescape(text)) for text in (*names, title))
    figure.update_layout(
        legend={
            "title": {"text": title, "font": {"size": 12}},
            "itemsizing": "constant",
            "x": 1.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
        },
        showlegend=True,
    )
    return int(56 + _LETTER * longest), 0


def _above(y: float) -> dict[str, Any]:
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": y,
        "yanchor": "bottom",
        "entrywidth": _MARK - 45,
        "entrywidthmode": "pixels",
        "itemsizing": "constant",
        "bgcolor": "rgba(0,0,0,0)",
    }


class _Chosen:
    """One point, its true neighbours, and the false ones."""

    def __init__(self, row: int, name: str, found: neighbours.Around) -> None:
        self.row, self.name, self.found = row, name, found

    @classmethod
    def of(cls, projection: Projection, point: Any) -> _Chosen:
        row = neighbours.find_point(projection, point)
        if not np.isfinite(projection.coordinates[row]).all():
            raise InputError(f"point={point!r} has no finite coordinates on the map")
        found = neighbours.around(projection, neighbours.true_neighbours(projection), row)
        ids = projection.sample_ids
        return cls(row, shorten(row if ids is None else ids[row], 14), found)

    def draw(self, figure: go.Figure, projection: Projection, look: Theme) -> None:
        """Draw the point, lines to its true neighbours, and marks on false ones."""
        spatial = projection.coordinates.shape[1] == 3
        make = go.Scatter3d if spatial else go.Scatter
        shared = {"legend": "legend2", "showlegend": True, "hoverinfo": "skip"}
        styles = (
            (self.found.kept, "true, near", look.ink, "solid", "circle"),
            (self.found.torn, "true, torn away", look.warning, "dash", "diamond"),
        )
        for members, name, color, dash, symbol in styles:
            if len(members):
                figure.add_trace(
                    make(
                        **coordinates(projection.coordinates, self._spokes(members)),
                        mode="lines+markers",
                        line={"color": color, "width": 3 if spatial else 1.4, "dash": dash},
                        marker={"color": color, "symbol": symbol, "size": 4 if spatial else 7},
                        name=f"{name} ({len(members)})",
                        **shared,
                    )
                )
        if len(self.found.false):
            figure.add_trace(
                make(
                    **coordinates(projection.coordinates, self.found.false),
                    mode="markers",
                    marker={
                        "color": look.negative,
                        "symbol": "circle-open",
                        "size": 7 if spatial else 12,
                        "line": {"width": 2, "color": look.negative},
                    },
                    name=f"false neighbours ({len(self.found.false)})",
                    **shared,
                )
            )
        figure.add_trace(
            make(
                **coordinates(projection.coordinates, np.array([self.row])),
                mode="markers",
                marker={
                    "color": look.ink,
                    "symbol": "diamond" if spatial else "star",
                    "size": 8 if spatial else 15,
                    "line": {"color": look.paper, "width": 1},
                },
                name=f"sample {escape(self.name)}",
                **shared,
            )
        )

    def _spokes(self, members: np.ndarray) -> np.ndarray:
        """Return the positions of a line to each neighbour and back."""
        spokes = np.full(2 * len(members) + 1, self.row)
        spokes[1::2] = members
        return spokes

    def note(self, projection: Projection) -> str:
        """Say what became of the point's neighbourhood."""
        kept, torn, false = (
            len(part) for part in (self.found.kept, self.found.torn, self.found.false)
        )
        said = f"sample {self.name}: {kept} of its {kept + torn} true neighbours are among the "
        said += f"{kept + torn} nearest on the map"
        return f"{said}, {torn} were torn away, {false} false ones drawn in"

    def room(self, width: int | None, sides: int) -> int:
        """Return the pixels that the legend of the marks takes above the plot."""
        entries = 1 + sum(
            bool(len(part)) for part in (self.found.kept, self.found.torn, self.found.false)
        )
        columns = max(1, ((width or 680) - sides) // _MARK)
        return _LINE * -(-entries // columns) + 12
