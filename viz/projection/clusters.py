"""Clusters of a map, with what sets each apart, and whether it is more than the map's doing."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Projection
from pellucid.interpret.results.clusters import ARTEFACT, REAL, UNCERTAIN, Cluster, Clusters
from pellucid.viz.pixels import png, to_bytes
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    expect,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_GLYPHS = {REAL: "✓", UNCERTAIN: "?", ARTEFACT: "✗"}
_SVG_POINTS = 5000  # beyond, WebGL
_POINTS = 100_000  # drawn at most
_SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down",
)  # fmt: skip
_MAP, _GAP = 360, 34  # pixels of the map's height, and below it
_TALL = 480  # of the map's height beside the list
_LINE, _ROW, _AFTER = 16, 20, 14  # pixels of a headline's line, of a feature, and after a cluster
_BESIDE = 900  # pixels of width from which the list stands beside the map
_ASSUMED = 680  # of a figure that takes the width it is given
_LETTER = 6.6
_PICTURES = 3  # typical members that are shown
_CELL = 46  # pixels of one
_SHADES = {REAL: "ink", UNCERTAIN: "quiet", ARTEFACT: "warning"}


def clusters(
    result: Clusters,
    projection: Projection | None = None,
    *,
    top: int = 3,
    most: int = 12,
    of: str = "difference",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw clusters on their map, and for each its verdict and the features that set it apart.

    Parameters
    ----------
    result
        The result of `pellucid.interpret.projection.explain_clusters`.
    projection
        The map: its trust goes into the caption, and pictures of the samples into the list.
    top
        How many features to draw for each cluster: those that differ most surely.
    most
        How many clusters to list; all are on the map.
    of
        ``"difference"``: of the features; ``"attribution"``: of their mean attributions.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that counts the verdicts.
    width, height
        In pixels; None for the width that there is, and a fitting height. From 900 pixels on, the
        list stands beside the map.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If an option is unknown, there are no clusters, no attributions, or the projection is of
        other samples.
    InputTypeError
        If it is no Clusters, or the projection is no Projection.
    """
    look = theme_of(theme)
    expect(result, Clusters, "clusters")
    positive_whole(top, "top", "how many features to draw of each cluster")
    positive_whole(most, "most", "how many clusters to list")
    if of not in ("difference", "attribution"):
        raise InputError(f"of is 'difference' or 'attribution'; got {of!r}")
    if not result.clusters:
        raise InputError("there are no clusters to draw")
    if of == "attribution" and any(one.attribution is None for one in result.clusters):
        raise InputError("there are no attributions; give explain_clusters an explanation")
    if projection is not None:
        expect(projection, Projection, "clusters")
        if len(projection) != len(result.coordinates):
            raise InputError(
                f"the projection has {len(projection)} samples, and the clusters are of "
                f"{len(result.coordinates)}"
            )
    beside = width is not None and width >= _BESIDE
    room = ((width or _ASSUMED) - 48) * (0.53 if beside else 1)
    display = None if projection is None else projection.display
    listed = _laid_out(result, top, most, of, room, pictures=display is not None)
    natural = float(max(_TALL, listed.height)) if beside else _MAP + _GAP + listed.height
    drawn = np.arange(len(result.coordinates))
    if len(drawn) > _POINTS:
        drawn = np.sort(np.random.default_rng(0).permutation(drawn)[:_POINTS])
    unlike = sum(int(np.isinf(one.difference).sum()) for one in listed.clusters)
    left_out = len(result.clusters) - len(listed.clusters)
    counted = ", ".join(
        f"{sum(one.verdict == verdict for one in result.clusters)} {verdict}"
        for verdict in (REAL, UNCERTAIN, ARTEFACT)
        if any(one.verdict == verdict for one in result.clusters)
    )
    what = "attribution" if of == "attribution" else "feature"
    frame = Frame(
        title=f"{len(result.clusters)} cluster{'s' * (len(result.clusters) != 1)}: {counted}"
        if title is None
        else title,
        caption=sentences(
            [
                result.trust if projection is None else projection.trust(),
                f"clusters by {result.method}",
                f"right of 0: the {what} is higher in the cluster than in the rest; bars: 95 % "
                "intervals, all of a cluster's together (Bonferroni)",
                "they leave out that the cluster was chosen by the same features",
                "✓ real: a gap in the features around it; ✗ artefact: none; ? uncertain",
                "probe: balanced accuracy of a linear probe on held-out samples, beside that of "
                "patches of the map about as large",
                "pictures: the most typical members" if display is not None else None,
                "two of the map's three dimensions" if result.coordinates.shape[1] > 2 else None,
                f"{len(drawn):,} of {len(result.coordinates):,} samples drawn"
                if len(drawn) < len(result.coordinates)
                else None,
                f"{left_out} more clusters are on the map" if left_out else None,
                f"{unlike} differences of features that vary on neither side are not drawn"
                if unlike and of == "difference"
                else None,
            ]
        ),
        left=24,
        right=24,
        axis=52,
        width=width,
        height=height,
    )
    figure = go.Figure()
    _draw_map(figure, result, drawn, look)
    _draw_rows(figure, listed, of, look)
    start = 0.47 if beside else 0.0
    wide = 1 - start
    tall = listed.height / natural
    figure.update_layout(
        xaxis={"domain": [0, 0.44] if beside else [0, 1], "anchor": "y"},
        yaxis={"domain": [1 - (_TALL if beside else _MAP) / natural, 1], "anchor": "x",
               "scaleanchor": "x"},
        xaxis2={
            "domain": [start + wide * 0.36, 1 - wide * listed.pictures],
            "anchor": "y2",
            "title": {"text": _axis_title(of)},
            "zeroline": True,
            "nticks": 6,
            "range": listed.span,
        },
        yaxis2={
            "domain": [1 - tall, 1] if beside else [0, tall],
            "anchor": "x2",
            "range": [listed.height, 0],
            "showgrid": False,
            "zeroline": False,
            "showticklabels": False,
            "ticks": "",
        },
        showlegend=False,
        hovermode="closest",
    )  # fmt: skip
    figure.update_layout({
        axis: {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "",
               "showline": True, "mirror": True}
        for axis in ("xaxis", "yaxis")
    })  # fmt: skip
    _write(figure, listed, start, look)
    if display is not None:
        _show(figure, listed, display, wide * listed.pictures)
    return frame.apply(figure, look, result, natural)


# -- the list, laid out in pixels ------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """One feature of one cluster."""

    cluster: int
    y: float
    name: str
    value: float
    margin: float


@dataclass(frozen=True)
class _List:
    """Where everything of the list stands, in pixels from its top."""

    clusters: tuple[Cluster, ...]
    heads: tuple[tuple[float, list[str]], ...]  # of each cluster, its top and its lines
    rows: tuple[_Row, ...]
    height: float
    span: list[float]
    pictures: float  # the share of the width that they take


def _laid_out(
    result: Clusters, top: int, most: int, of: str, room: float, *, pictures: bool
) -> _List:
    listed = result.clusters[:most]
    heads, rows, y = [], [], 0.0
    for k, one in enumerate(listed):
        letters = max(24, int(room / _LETTER) - 4)
        lines = [line for part in _headlines(one) for line in textwrap.wrap(part, letters)]
        heads.append((y, lines))
        y += _LINE * len(lines) + 4
        values, margins = one.difference, one.margin
        if of == "attribution" and one.attribution is not None:
            assert one.attribution_margin is not None
            values, margins = one.attribution, one.attribution_margin
        first = y
        for i in _surest(values, margins)[:top]:
            name = result.feature_names[int(i)]
            rows.append(_Row(k, y + _ROW / 2, name, float(values[i]), float(margins[i])))
            y += _ROW
        y = (max(y, first + _CELL) if pictures else y) + _AFTER
    ends = [row.value + side * row.margin for row in rows for side in (-1, 1)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    edge = 0.05 * (high - low) or 1.0
    shown = min(_PICTURES, max(len(one.typical) for one in listed))
    share = min(0.34, (_CELL * shown + 14) / room) if pictures else 0.0
    return _List(listed, tuple(heads), tuple(rows), y, [low - edge, high + edge], share)


def _surest(values: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return the positions of what differs most surely, without what cannot be drawn."""
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(margins))
    sure = np.abs(values[known]) - margins[known]
    return known[np.argsort(-sure, kind="stable")]


def _headlines(one: Cluster) -> list[str]:
    found = [
        f"{shorten(one.name, 24)} · {len(one):,} sample{'s' * (len(one) != 1)}",
        f"{_GLYPHS[one.verdict]} {one.sentence}",
    ]
    if not np.isnan(one.accuracy):
        found.append(
            f"probe {100 * one.accuracy:.1f} ± {100 * one.accuracy_error:.1f} %, patches of the "
            f"map {100 * one.chance:.1f} %"
        )
    return found


def _axis_title(of: str) -> str:
    if of == "attribution":
        return "mean attribution, cluster \N{MINUS SIGN} rest"
    return "mean, cluster \N{MINUS SIGN} rest, in standard deviations"


# -- drawing ---------------------------------------------------------------------------------


def _color(k: int, look: Theme) -> str:
    return look.classes[k % len(look.classes)]


def _draw_map(figure: go.Figure, result: Clusters, drawn: np.ndarray, look: Theme) -> None:
    assigned = result.assigned()[drawn]
    kind = go.Scattergl if len(drawn) > _SVG_POINTS else go.Scatter
    size = 6 if len(drawn) <= 1000 else 5 if len(drawn) <= _SVG_POINTS else 3
    for k in range(-1, len(result.clusters)):
        members = drawn[assigned == k]
        if not members.size:
            continue
        marker: dict[str, Any] = {"size": size, "opacity": 0.8, "color": look.neutral}
        name, verdict = "in no cluster", ""
        if k >= 0:
            one = result.clusters[k]
            # A symbol of its own for each colour, and another one when the colours start again.
            symbol = _SYMBOLS[(k + k // len(look.classes)) % len(_SYMBOLS)]
            marker |= {"color": _color(k, look), "symbol": symbol}
            name = f"cluster {escape(shorten(one.name, 60))}"
            verdict = f"<br>{_GLYPHS[one.verdict]} {one.verdict}"
        else:
            marker["opacity"] = 0.4
        ids = result.sample_ids[members]
        texts = ids.dtype.kind not in "iu"
        place = compact(result.coordinates[members])
        figure.add_trace(
            kind(
                x=np.ascontiguousarray(place[:, 0]),
                y=np.ascontiguousarray(place[:, 1]),
                mode="markers",
                marker=marker,
                customdata=(ids.astype(object) if texts else ids.astype(np.float64))[:, None],
                text=[escape(shorten(i, 80)) for i in ids] if texts else None,
                hovertemplate=("<b>%{text}</b>" if texts else "<b>sample %{customdata[0]:.0f}</b>")
                + f"<br>{name}{verdict}<extra></extra>",
            )
        )
    for k, one in enumerate(result.clusters):
        place = result.coordinates[one.members, :2]
        figure.add_annotation(
            x=float(np.median(place[:, 0])),
            y=float(place[:, 1].max()),  # above the points, not on them
            yanchor="bottom",
            text=f"<b>{escape(shorten(one.name, 12))}</b> {_GLYPHS[one.verdict]}",
            showarrow=False,
            font={"size": 11, "color": look.ink},
            bgcolor=look.paper,
            bordercolor=_color(k, look),
            borderpad=1,
            opacity=0.85,
        )


def _draw_rows(figure: go.Figure, listed: _List, of: str, look: Theme) -> None:
    unit = "" if of == "attribution" else " sd"
    for k, one in enumerate(listed.clusters):
        rows = [row for row in listed.rows if row.cluster == k]
        values, margins = (np.array([getattr(r, key) for r in rows]) for key in ("value", "margin"))
        color = _color(k, look)
        figure.add_scatter(
            x=compact(values),
            y=compact([row.y for row in rows]),
            error_x={"array": compact(margins), "color": color, "thickness": 1.5, "width": 4},
            mode="markers",
            marker={"color": color, "size": 8},
            text=[escape(shorten(row.name, 80)) for row in rows],
            customdata=compact(margins)[:, None],
            hovertemplate=f"cluster {escape(shorten(one.name, 60))}<br>%{{text}}: %{{x:+.3g}} ± "
            f"%{{customdata[0]:.2g}}{unit}<extra></extra>",
            xaxis="x2",
            yaxis="y2",
        )


def _write(figure: go.Figure, listed: _List, start: float, look: Theme) -> None:
    """Write each cluster's headline, and its features' names, from the list's left edge."""
    at: dict[str, Any] = {"xref": "paper", "yref": "y2", "xanchor": "left", "showarrow": False}
    for k, (y, lines) in enumerate(listed.heads):
        shade = getattr(look, _SHADES[listed.clusters[k].verdict])
        text = "<br>".join(escape(line) for line in lines)
        figure.add_annotation(
            text=f'<span style="color:{_color(k, look)}">■</span> {text}',
            x=start,
            y=y,
            yanchor="top",
            align="left",
            font={"size": 12, "color": shade},
            bgcolor=look.paper,
            borderpad=0,
            **at,
        )
    for row in listed.rows:
        figure.add_annotation(
            text=escape(shorten(row.name, 20)),
            x=start,
            xshift=14,
            y=row.y,
            yanchor="middle",
            font={"size": 12, "color": look.ink},
            **at,
        )


def _show(figure: go.Figure, listed: _List, display: np.ndarray, share: float) -> None:
    """Set the most typical members' pictures to the right of each cluster's features."""
    for k, one in enumerate(listed.clusters):
        y, lines = listed.heads[k]
        pixels, _ = to_bytes(display[one.typical[:_PICTURES]])
        between = np.full((len(pixels), pixels.shape[1], 1, *pixels.shape[3:]), 128, np.uint8)
        strip = np.concatenate(list(np.concatenate([pixels, between], axis=2)), axis=1)[:, :-1]
        figure.add_layout_image(
            source="data:image/png;base64," + base64.b64encode(png(strip)).decode(),
            xref="paper",
            yref="y2",
            x=1,
            y=y + _LINE * len(lines) + 4,
            sizex=share * 0.94,
            sizey=_CELL,
            xanchor="right",
            yanchor="top",
            sizing="contain",
        )
