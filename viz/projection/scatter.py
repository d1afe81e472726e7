"""Maps of points: projections, with how far each neighbourhood can be trusted."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.viz.pixels import png, to_bytes
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    percent,
    sentences,
    shorten,
    theme_of,
)

_SVG_POINTS = 5000  # beyond, WebGL
_EYE = {"x": 1.5, "y": 1.5, "z": 1.1}  # a little further away than usual: room for axis titles
_PICTURES = 5000
_SPRITE_BYTES = 2_000_000
_CLASSES = 30  # integers with more values than this are numbers, not classes
_SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down",
)  # fmt: skip
_SYMBOLS_3D = ("circle", "square", "diamond", "cross", "x", "circle-open", "square-open",
               "diamond-open")  # fmt: skip


def scatter(
    projection: Projection,
    *,
    color: Any = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a projection as a map of points, flat or in space, with how far it can be trusted.

    Parameters
    ----------
    projection
        The result of `pellucid.project`.
    color
        ``"label"``, ``"preservation"`` (the share of each point's neighbours that the map keeps),
        ``"trustworthiness"``, or one value for each point. None for the labels where they are
        known, else the preservation.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what was projected.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. ``layout.meta["hover_images"]`` holds the pictures that
        a report shows beside the pointer.

    Raises
    ------
    InputError
        If there are no points, they do not have two or three coordinates, or the colour is unknown.
    InputTypeError
        If it is not a Projection.
    """
    look = theme_of(theme)
    expect(projection, Projection, "scatter")
    count, dimensions = projection.coordinates.shape
    if not count:
        raise InputError("the projection has no points to draw")
    if dimensions not in (2, 3):
        raise InputError(
            f"the projection has {dimensions} coordinates for each point; a map needs 2 or 3"
        )
    paint = _paint(projection, color)
    table = _table(projection)
    figure = go.Figure()
    groups = [(None, np.arange(count))] if paint.values is not None else paint.groups()
    for k, (name, members) in enumerate(groups):
        figure.add_trace(_points(projection, members, table, name, k, paint, look))
    sprite, sprite_note = hover_images(projection.display)
    where = "" if projection.at == "input" else f" of {shorten(projection.at, 40)}"
    frame = Frame(
        title=f"Map of {count:,} samples{where}" if title is None else title,
        caption=sentences(
            [
                # A map never appears without how far it can be trusted.
                projection.trust(),
                f"{projection.method} of {projection.features} features",
                None if projection.method == "pca" else "distances between groups mean little",
                _settings(projection),
                sprite_note,
            ]
        ),
        left=64 if projection.method == "pca" else 24,
        right=24 if paint.values is None and len(groups) == 1 else 150,
        axis=52 if projection.method == "pca" else 24,
        width=width,
        height=height,
    )
    _set_axes(figure, projection)
    if paint.values is not None:
        figure.update_layout(coloraxis=_color_axis(paint, look))
    else:
        figure.update_layout(
            legend={
                "title": {"text": escape(paint.title)},
                "itemsizing": "constant",
                "x": 1.01,
                "xanchor": "left",
                "y": 1,
                "yanchor": "top",
            },
            showlegend=True,
        )
    frame.apply(figure, look, projection, 480)
    if sprite is not None:
        figure.update_layout(meta={**figure.layout.meta, "hover_images": sprite})
    return figure


# -- colour ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Paint:
    """What colours the points: numbers, or a name for each."""

    title: str
    values: np.ndarray | None = None
    names: np.ndarray | None = None

    def groups(self) -> list[tuple[str | None, np.ndarray]]:
        """Return each name with the positions of its points, in the order of the names."""
        assert self.names is not None
        found, inverse = np.unique(self.names, return_inverse=True)
        return [(str(name), np.flatnonzero(inverse == k)) for k, name in enumerate(found)]


def _paint(projection: Projection, color: Any) -> _Paint:
    if color is None:
        color = "preservation" if projection.labels is None else "label"
    if isinstance(color, str):
        if color == "preservation":
            return _Paint("neighbours kept", values=projection.preservation)
        if color == "trustworthiness":
            return _Paint("trustworthiness", values=projection.trustworthiness)
        if color != "label":
            raise InputError(
                f"there is no color {color!r}; give 'label', 'preservation', 'trustworthiness', "
                "or one value for each point"
            )
        if projection.labels is None:
            raise InputError(
                "the projection has no labels; give color='preservation' or one value for each "
                "point, or project with labels"
            )
        return _classes_or_numbers("label", projection.labels, projection.class_names)
    found = np.asarray(color)
    if found.shape != (len(projection),):
        raise InputError(
            f"color has shape {found.shape}, but needs one value for each of the "
            f"{len(projection)} points"
        )
    return _classes_or_numbers("color", found, None)


def _classes_or_numbers(
    title: str, values: np.ndarray, class_names: tuple[str, ...] | None
) -> _Paint:
    kind = values.dtype.kind
    many = class_names is None and kind in "iu" and len(np.unique(values)) > _CLASSES
    if kind == "f" or many:
        return _Paint(title, values=values)
    if class_names is not None and kind in "iu":
        known = [
            class_names[v] if 0 <= v < len(class_names) else f"class {v}" for v in values.tolist()
        ]
        return _Paint(title, names=np.array(known, dtype=str))
    # Padded to one width, whole numbers sort as numbers.
    return (
        _Paint(title, names=values.astype(str))
        if kind not in "iu"
        else _Paint(title, names=np.char.rjust(values.astype(str), 20))
    )


def _color_axis(paint: _Paint, look: Theme) -> dict[str, Any]:
    assert paint.values is not None
    share = paint.title in ("neighbours kept", "trustworthiness")
    axis: dict[str, Any] = {
        "colorscale": look.points,
        "colorbar": {
            "title": {"text": escape(paint.title), "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
        },
    }
    if share:
        axis |= {"cmin": 0, "cmax": 1}
        axis["colorbar"]["tickformat"] = ".0%" if paint.title == "neighbours kept" else ".2f"
    return axis


# -- points ----------------------------------------------------------------------------------


def _table(projection: Projection) -> np.ndarray:
    """Return each point's id, position, preservation and trustworthiness: its custom data."""
    count = len(projection)
    ids = np.arange(count) if projection.sample_ids is None else projection.sample_ids
    columns = [np.arange(count), projection.preservation, projection.trustworthiness]
    if ids.dtype.kind in "iu" and (count == 0 or np.abs(ids).max() < 2**53):
        return np.column_stack([ids, *columns]).astype(np.float64)
    table = np.empty((count, 4), dtype=object)
    table[:, 0] = ids.astype(str)
    for k, column in enumerate(columns, start=1):
        table[:, k] = np.round(column, 4)
    return table


def _points(
    projection: Projection,
    members: np.ndarray,
    table: np.ndarray,
    name: str | None,
    k: int,
    paint: _Paint,
    look: Theme,
) -> Any:
    count, dimensions = projection.coordinates.shape
    size = 7 if count <= 1000 else 5 if count <= _SVG_POINTS else 3
    symbols = _SYMBOLS if dimensions == 2 else _SYMBOLS_3D
    marker: dict[str, Any] = {"size": size, "opacity": 0.85}
    if paint.values is not None:
        marker |= {"color": compact(paint.values), "coloraxis": "coloraxis"}
    else:
        marker |= {
            "color": look.classes[k % len(look.classes)],
            # A symbol of its own for each colour, and another one when the colours start again.
            "symbol": symbols[(k + k // len(look.classes)) % len(symbols)],
        }
    chosen = table[members]
    lines = []
    said: dict[str, Any] = {}
    if chosen.dtype == object:
        said["text"] = [escape(shorten(identity, 80)) for identity in chosen[:, 0]]
        lines.append("<b>%{text}</b>")
    else:
        lines.append("<b>sample %{customdata[0]:.0f}</b>")
    if name is not None:
        lines.append(f"{escape(paint.title)}: {escape(shorten(name, 80))}")
        said["name"] = escape(shorten(name, 20))
    elif paint.title not in ("neighbours kept", "trustworthiness"):
        lines.append(f"{escape(paint.title)}: %{{marker.color:.4g}}")
    lines.append(f"%{{customdata[2]:.0%}} of {projection.neighbors} neighbours kept")
    lines.append("trustworthiness %{customdata[3]:.3f}")
    coordinates = compact(projection.coordinates[members])
    places = dict(zip("xyz", np.ascontiguousarray(coordinates.T), strict=False))
    kind = go.Scatter3d if dimensions == 3 else go.Scattergl if count > _SVG_POINTS else go.Scatter
    if dimensions == 3:
        marker["size"] = max(2, size - 3)
    return kind(
        **places,
        **said,
        mode="markers",
        marker=marker,
        customdata=chosen,
        hovertemplate="<br>".join(lines) + "<extra></extra>",
    )


def _set_axes(figure: go.Figure, projection: Projection) -> None:
    """Name PCA's axes with their share of the variance; no ticks on a map without distances."""
    bare = projection.method != "pca"
    flat = projection.coordinates.shape[1] == 2
    ratios = projection.explained_variance_ratio
    axes = []
    for k in range(projection.coordinates.shape[1]):
        title = "" if bare else f"component {k + 1}"
        if not bare and ratios is not None:
            title += f" ({percent(ratios[k])}{' of the variance' if flat else ''})"
        axis: dict[str, Any] = {"title": {"text": escape(title)}, "zeroline": False}
        if bare:
            axis |= {"showticklabels": False, "showgrid": False, "ticks": ""}
        axes.append(axis)
    if len(axes) == 3:
        named = dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=True))
        figure.update_layout(scene={**named, "aspectmode": "data", "camera": {"eye": _EYE}})
        return
    line = {"showline": True, "mirror": True}
    figure.update_layout(
        xaxis={**axes[0], **line},
        yaxis={**axes[1], **line, "scaleanchor": "x"},
        hovermode="closest",
    )


def _settings(projection: Projection) -> str | None:
    """Return the settings that change a map, for its caption."""
    shown = ("n_neighbors", "neighbors", "min_dist", "metric", "epochs")
    said = [
        f"{key} {shorten(projection.settings[key], 20)}"
        for key in shown
        if projection.settings.get(key) is not None
    ]
    if projection.provenance.seed is not None:
        said.append(f"seed {projection.provenance.seed}")
    return ", ".join(said) or None


# -- pictures --------------------------------------------------------------------------------


def hover_images(display: np.ndarray | None) -> tuple[dict[str, Any] | None, str]:
    """Return all pictures as one, with what is needed to find each; and a note if there are none.

    Parameters
    ----------
    display
        Pictures, (samples, rows, columns[, 3]).
    """
    if display is None:
        return None, ""
    if display.ndim not in (3, 4) or (display.ndim == 4 and display.shape[3] not in (1, 3)):
        raise InputError(
            f"display has shape {display.shape}; pictures are (samples, rows, columns) or "
            "(samples, rows, columns, 3)"
        )
    count, tall, wide = display.shape[:3]
    if count > _PICTURES:
        return None, f"no pictures on hover: more than {_PICTURES:,}"
    pixels, _ = to_bytes(display)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, *pixels.shape[1:]), np.uint8)
    sheet[:count] = pixels
    grid = sheet.reshape(rows, columns, *pixels.shape[1:])
    joined = np.moveaxis(grid, 2, 1).reshape(rows * tall, columns * wide, *pixels.shape[3:])
    file = png(joined)
    if len(file) > _SPRITE_BYTES:
        return None, f"no pictures on hover: {len(file) / 1e6:.1f} MB would be too large"
    return {
        "uri": "data:image/png;base64," + base64.b64encode(file).decode(),
        "width": wide,
        "height": tall,
        "columns": columns,
        "count": count,
    }, ""
