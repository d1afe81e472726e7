"""The points of a map as traces: where they stand, what they say, and the axes around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.viz.projection.hover import Texts
from pellucid.viz.projection.paint import Paint
from pellucid.viz.scale import SVG_POINTS
from pellucid.viz.theme import Theme, compact, escape, expect, percent, shorten

_EYE = {"x": 1.5, "y": 1.5, "z": 1.1}  # a little further away than usual: room for axis titles
_NEAR = {"x": 1.1, "y": 1.1, "z": 0.8}
_BAR = 300  # pixels of a colour bar at most


def check(projection: Any, function: str) -> np.ndarray:
    """Return the positions of the points that have a place on a map; raise if there are none."""
    expect(projection, Projection, function)
    count, dimensions = projection.coordinates.shape
    if not count:
        raise InputError("the projection has no points to draw")
    if dimensions not in (2, 3):
        raise InputError(
            f"the projection has {dimensions} coordinates for each point; a map needs 2 or 3"
        )
    placed = np.flatnonzero(np.isfinite(projection.coordinates).all(axis=1))
    if not placed.size:
        raise InputError("no point of the projection has finite coordinates")
    return placed


def placed_note(projection: Projection, placed: np.ndarray) -> str | None:
    """Say how many points have no place on the map."""
    missing = len(projection) - len(placed)
    return f"left out: {missing:,} points without finite coordinates" if missing else None


def table(projection: Projection, rows: np.ndarray) -> np.ndarray:
    """Return of some points id, position, preservation, trustworthiness: their custom data.

    Where it is known the continuity is a fifth column.
    """
    ids = rows if projection.sample_ids is None else projection.sample_ids[rows]
    columns = [rows, projection.preservation[rows], projection.trustworthiness[rows]]
    if projection.continuity is not None:
        columns.append(projection.continuity[rows])
    if ids.dtype.kind in "iu" and (not len(rows) or np.abs(ids).max() < 2**53):
        return np.column_stack([ids, *columns]).astype(np.float64)
    found = np.empty((len(rows), 1 + len(columns)), dtype=object)
    found[:, 0] = ids.astype(str)
    for k, column in enumerate(columns, start=1):
        found[:, k] = np.round(column, 4)
    return found


def identity(projection: Projection, rows: np.ndarray) -> tuple[dict[str, Any], str]:
    """Return a trace's custom data with the ids as text where they are, and its hover's head."""
    who = table(projection, rows)
    if who.dtype != object:
        return {"customdata": who}, "<b>sample %{customdata[0]:.0f}</b>"
    text = [escape(shorten(name, 80)) for name in who[:, 0]]
    return {"customdata": who, "text": text}, "<b>%{text}</b>"


def size_of(count: int, dimensions: int = 2) -> int:
    """Return the pixels of a point, where so many are drawn."""
    size = 7 if count <= 1000 else 5 if count <= SVG_POINTS else 3
    return size if dimensions == 2 else max(2, size - 3)


def kind_of(count: int, dimensions: int) -> Any:
    """Return the kind of trace for so many points."""
    return go.Scatter3d if dimensions == 3 else go.Scattergl if count > SVG_POINTS else go.Scatter


def coordinates(places: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return x, y (and z) of some points, as they are sent."""
    chosen = compact(places[rows])
    return {axis: np.ascontiguousarray(v) for axis, v in zip("xyz", chosen.T, strict=False)}


def add_points(
    figure: go.Figure,
    projection: Projection,
    rows: np.ndarray,
    paint: Paint,
    *,
    places: np.ndarray | None = None,
    offset: int = 0,
    drawn: int | None = None,
    texts: Texts | None = None,
    opacity: float = 0.85,
    legend: set[str] | None = None,
    where: dict[str, str] | None = None,
) -> None:
    """Draw some points of a map, a trace for each group of colours.

    Parameters
    ----------
    places
        Where the points stand; None for the projection's coordinates.
    offset
        Where the colours of this map begin among those of all maps.
    drawn
        How many points the figure draws; None for these.
    legend
        Keys that the legend names already, to which these are added; None for a figure of one map.
    where
        The axes of the traces; None for a figure of one map.
    """
    places = projection.coordinates if places is None else places
    dimensions = places.shape[1]
    drawn = len(rows) if drawn is None else drawn
    make = kind_of(drawn, dimensions)
    for share in paint.shares(rows + offset, dimensions):
        members = share.rows - offset
        said, head = identity(projection, members)
        lines = [head]
        more = None if texts is None else texts.of(members, drawn)
        if more is not None:
            said["hovertext"] = more
            lines.append("%{hovertext}")
        line = paint.hover(share)
        lines += [line] if line else []
        lines.append(f"%{{customdata[2]:.0%}} of {projection.neighbors} neighbours kept")
        lines.append("trustworthiness %{customdata[3]:.3f}")
        if projection.continuity is not None:
            lines.append("continuity %{customdata[4]:.3f}")
        shown: dict[str, Any] = {}
        if share.name is not None:
            shown = {"name": share.name, "legendgroup": share.key}
        if legend is not None:
            shown["showlegend"] = share.name is not None and share.key not in legend
            legend.add(share.key)
        elif paint.numeric:
            shown["showlegend"] = False
        figure.add_trace(
            make(
                **coordinates(places, members),
                **said,
                **shown,
                mode="markers",
                marker={"size": size_of(drawn, dimensions), "opacity": opacity, **share.marker},
                hovertemplate="<br>".join(lines) + "<extra></extra>",
                **(where or {}),
            )
        )


def axes_of(projection: Projection, *, titles: bool = True) -> list[dict[str, Any]]:
    """Return the axes: PCA's with their share of the variance, no ticks on a map of no distances.

    Parameters
    ----------
    titles
        Whether there is room for titles and ticks.
    """
    bare = projection.method != "pca"
    flat = projection.coordinates.shape[1] == 2
    ratios = projection.explained_variance_ratio
    axes = []
    for k in range(projection.coordinates.shape[1]):
        title = "" if bare else f"component {k + 1}"
        if not bare and ratios is not None:
            title += f" ({percent(ratios[k])}{' of the variance' if flat else ''})"
        axis: dict[str, Any] = {
            "title": {"text": escape(title) if titles else ""},
            "zeroline": False,
        }
        if bare or not titles:
            axis |= {"showticklabels": False, "showgrid": False, "ticks": ""}
        axes.append(axis)
    return axes


def scene_of(axes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a scene with three axes."""
    named = dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=True))
    titled = any(axis["title"]["text"] for axis in axes)
    return {**named, "aspectmode": "data", "camera": {"eye": _EYE if titled else _NEAR}}


def bar_place(plot: float) -> dict[str, Any]:
    """Return where a colour bar beside plots of so many pixels stands: no longer than it need."""
    return {"lenmode": "pixels", "len": min(_BAR, plot), "y": 1, "yanchor": "top", "ypad": 0}


def set_axes(figure: go.Figure, projection: Projection) -> None:
    """Set the axes of a figure of one map."""
    axes = axes_of(projection)
    if len(axes) == 3:
        figure.update_layout(scene=scene_of(axes))
        return
    line = {"showline": True, "mirror": True}
    figure.update_layout(
        xaxis={**axes[0], **line},
        yaxis={**axes[1], **line, "scaleanchor": "x"},
        hovermode="closest",
    )


def settings(projection: Projection) -> str | None:
    """Return the settings that change a map, for its caption."""
    shown = ("n_neighbors", "neighbors", "perplexity", "min_dist", "spread", "metric", "epochs")
    said = [
        f"{key} {shorten(projection.settings[key], 20)}"
        for key in shown
        if projection.settings.get(key) is not None
    ]
    backend = projection.settings.get("backend", "torch")
    said += [f"by {shorten(backend, 20)}"] if backend != "torch" else []
    said += ["densMAP"] if projection.settings.get("densmap") else []
    said += ["shaped by the labels"] if projection.settings.get("supervised") else []
    said += ["held near an earlier map"] if projection.settings.get("near") else []
    if projection.settings.get("measured"):
        said.append(f"measured by {projection.settings['measured']} distances")
    if projection.provenance.seed is not None:
        said.append(f"seed {projection.provenance.seed}")
    return ", ".join(said) or None


def distances_note(projection: Projection) -> str | None:
    """Say what distances on the map do not mean."""
    return None if projection.method == "pca" else "distances between groups mean little"


def faint_to(look: Theme) -> list[tuple[float, str]]:
    """Return a scale from hardly seen to the colour of what is wrong."""
    return [(0.0, look.grid), (1.0, look.positive)]
