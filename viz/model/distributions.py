"""How the weights and biases of all layers are distributed, side by side on one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Snapshot
from pellucid.viz import bars, scale
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    expect,
    number,
    percent,
    sentences,
    shorten,
    theme_of,
)

_MOST = 60  # rows
_BINS = 60
_RIDGE = 34  # pixels of a row
_VIOLIN = 30
_HALF = 0.44  # of a row: what the highest bin reaches
_FAR = 3.0  # times the widest whiskers that the axis may reach; what is beyond is said
_NAME = 26


def biases(
    snapshot: Snapshot,
    *,
    layers: Sequence[str] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how each layer's biases are distributed: a histogram in a row for each, on one axis.

    Each row's highest bin is equally high; biases that are all the same, such as those of a layer
    that was not trained, are a stroke.

    Parameters
    ----------
    snapshot
        The parameters of a model.
    layers
        Which layers; None for all that have a bias, 60 at most.
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
        If no layer has a bias, or one of those named does not exist or has none.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "biases")
    rows, left_out = _rows(snapshot, layers, "bias", lambda name, _: "bias" in name)
    figure = go.Figure()
    ends, beyond = _range(rows)
    _shapes(figure, rows, look.classes[1], both=False)
    _strokes(figure, rows, look)
    return _framed(
        figure, rows, snapshot, look, ends, "bias (0: none)",
        title=f"Biases of {shorten(snapshot.name, 40)}" if title is None else title,
        notes=[
            "each row's highest bin is equally high",
            "right: how many, their mean ± standard deviation",
            beyond,
            left_out,
        ],
        said=[_moments(row) for row in rows], row=_RIDGE, width=width, height=height,
    )  # fmt: skip


def weight_distributions(
    snapshot: Snapshot,
    *,
    layers: Sequence[str] | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how each layer's weights are distributed: a violin and a box for each, on one axis.

    The violin is a histogram, equally wide at the highest bin of each; in it stands a box from the
    first to the third quartile with the median, and whiskers to the farthest value within 1.5 times
    the box's length. How many lie beyond stands at the right.

    Parameters
    ----------
    snapshot
        The parameters of a model.
    layers
        Which layers; None for all that have weights of two axes or more, 60 at most.
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
        If no layer has weights, or one of those named does not exist or has none.
    InputTypeError
        If it is not a Snapshot.
    """
    look = theme_of(theme)
    expect(snapshot, Snapshot, "weight_distributions")
    # Vectors are scales of normalisation layers, all near one: beside them weights are a line.
    matrices = any(a.ndim > 1 for layer in snapshot.layers for a in layer.parameters.values())
    rows, left_out = _rows(
        snapshot,
        layers,
        "weights",
        lambda name, array: "bias" not in name and (array.ndim > 1 or not matrices),
    )
    figure = go.Figure()
    ends, beyond = _range(rows)
    _shapes(figure, rows, look.classes[0], both=True)
    _boxes(figure, rows, look)
    _strokes(figure, rows, look)
    return _framed(
        figure, rows, snapshot, look, ends, "weight (0: no connection)",
        title=f"Weights of {shorten(snapshot.name, 40)}" if title is None else title,
        notes=[
            "violins: histograms, each row's highest bin equally wide; boxes: quartiles, whiskers "
            "to 1.5 times their distance",
            "right: how many of the weights lie beyond the whiskers",
            beyond,
            left_out,
        ],
        said=[_outliers(row) for row in rows], row=_VIOLIN, width=width, height=height,
    )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """One parameter tensor: its finite values, and how many are not."""

    name: str
    values: np.ndarray
    broken: int

    @cached_property
    def box(self) -> scale.Box:
        """Its quartiles and whiskers; there has to be a value."""
        return scale.box(self.values, 0)

    @property
    def constant(self) -> bool:
        """Whether there is one value only."""
        return bool(self.values.size and (self.values == self.values[0]).all())


def _rows(
    snapshot: Snapshot,
    layers: Sequence[str] | None,
    what: str,
    wanted: Callable[[str, np.ndarray], bool],
) -> tuple[list[_Row], str | None]:
    """Return the parameters that are drawn, and what was left out in words."""
    if isinstance(layers, str):
        raise InputError(f"layers is a list of names; got {layers!r}")
    chosen = snapshot.layers if layers is None else [snapshot.layer(name) for name in layers]
    rows = []
    for layer in chosen:
        found = {n: a for n, a in layer.parameters.items() if a.size and wanted(n, a)}
        if layers is not None and not found:
            raise InputError(f"the layer {layer.name!r} has no {what}")
        for parameter, array in found.items():
            finite = array[np.isfinite(array)].astype(np.float64)
            name = layer.name or snapshot.name
            if parameter not in ("weight", "bias"):
                name = f"{name}.{parameter}"
            rows.append(_Row(name, finite, array.size - finite.size))
    if not rows:
        raise InputError(f"{snapshot.name} has no {what} to draw")
    note = None
    if layers is None and len(rows) > _MOST:
        note = f"the first {_MOST} of {len(rows)}; layers= names others"
        rows = rows[:_MOST]
    return rows, note


def _range(rows: list[_Row]) -> tuple[list[float], str | None]:
    """Return where the axis ends, and what lies beyond in words."""
    boxes = [row.box for row in rows if row.values.size]
    if not boxes:
        return [-1.0, 1.0], None
    low, high = min(b.low for b in boxes), max(b.high for b in boxes)
    lowest = min(float(row.values.min()) for row in rows if row.values.size)
    highest = max(float(row.values.max()) for row in rows if row.values.size)
    reach = _FAR * ((high - low) or abs(high) or 1.0)
    ends = [max(lowest, low - reach), min(highest, high + reach)]
    count = sum(int(((row.values < ends[0]) | (row.values > ends[1])).sum()) for row in rows)
    room = 0.03 * (ends[1] - ends[0]) or 0.5 * abs(ends[0]) or 0.5
    note = None
    if count:
        far = highest if abs(highest) >= abs(lowest) else lowest
        note = f"{count:,} values are beyond the axis, the farthest {number(far)}"
    return [ends[0] - room, ends[1] + room], note


def _shapes(figure: go.Figure, rows: list[_Row], color: str, *, both: bool) -> None:
    """Draw all histograms as one trace: areas above each row's line, or to both sides of it."""
    xs, ys, counts = [], [], []
    gap = np.array([np.nan])
    for k, row in enumerate(rows):
        if not row.values.size or row.constant:
            continue
        # Over the axis's middle: of weights with a few far ones, a bin for most is no histogram.
        box = row.box
        reach = _FAR * (box.high - box.low)
        inside = row.values[(row.values >= box.low - reach) & (row.values <= box.high + reach)]
        edges = scale.bin_edges(inside, most=_BINS)
        found = scale.counts(inside, edges)
        high = found / max(1, found.max())
        corners, tops = np.repeat(edges, 2), np.concatenate([[0], np.repeat(high, 2), [0]])
        said = np.concatenate([found[:1], np.repeat(found, 2), found[-1:]])
        if both:
            xs += [corners, corners[::-1], gap]
            ys += [k - _HALF * tops, k + _HALF * tops[::-1], gap]
            counts += [said, said[::-1], gap]
        else:
            xs += [corners, gap]
            ys += [k + _HALF - 2 * _HALF * tops, gap]
            counts += [said, gap]
    if not xs:
        return
    figure.add_scatter(
        x=compact(np.concatenate(xs)),
        y=compact(np.concatenate(ys)),
        customdata=compact(np.concatenate(counts)),
        mode="lines",
        line={"width": 0.8, "color": color},
        fill="toself",
        opacity=0.75,
        hoveron="points",
        hovertemplate="around %{x:.4g}<br>%{customdata:.0f} values in this bin<extra></extra>",
        showlegend=False,
    )


def _boxes(figure: go.Figure, rows: list[_Row], look: Theme) -> None:
    """Draw all boxes as one trace."""
    places = [k for k, row in enumerate(rows) if row.values.size and not row.constant]
    if not places:
        return
    boxes = [rows[k].box for k in places]
    figure.add_box(
        y=np.array(places, np.int32),
        q1=compact(np.array([b.q1 for b in boxes])),
        median=compact(np.array([b.median for b in boxes])),
        q3=compact(np.array([b.q3 for b in boxes])),
        lowerfence=compact(np.array([b.low for b in boxes])),
        upperfence=compact(np.array([b.high for b in boxes])),
        mean=compact(np.array([b.mean for b in boxes])),
        orientation="h",
        width=0.24,
        line={"width": 1.1, "color": look.ink},
        fillcolor=look.paper,
        hoverinfo="x",
        showlegend=False,
    )


def _strokes(figure: go.Figure, rows: list[_Row], look: Theme) -> None:
    """Mark values that are the only one of their row."""
    places = [k for k, row in enumerate(rows) if row.constant]
    figure.add_scatter(
        x=compact(np.array([rows[k].values[0] for k in places])),
        y=np.array(places, np.int32),
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 16, "color": look.ink, "line": {"width": 2}},
        hovertemplate="all %{x:.4g}<extra></extra>",
        showlegend=False,
    )


def _moments(row: _Row) -> str:
    if not row.values.size:
        return _broken(row) or "empty"
    if row.constant:
        return f"{row.values.size:,}, all {number(row.values[0])}"
    mean, spread = row.values.mean(), row.values.std()
    return f"{row.values.size:,}, {number(_short(mean))} ± {number(_short(spread))}{_broken(row)}"


def _outliers(row: _Row) -> str:
    if not row.values.size:
        return _broken(row) or "empty"
    if row.constant:
        return f"{row.values.size:,}, all {number(row.values[0])}"
    outside = row.box.outside
    share = percent(outside / row.values.size) if outside else "none"
    return f"{share} of {row.values.size:,}{_broken(row)}"


def _broken(row: _Row) -> str:
    return f" ({row.broken:,} not finite)" if row.broken else ""


def _short(value: float) -> float:
    return float(f"{value:.2g}")


def _without_prefix(names: list[str]) -> tuple[list[str], str]:
    """Return names without the dotted steps that all of them begin with, and these steps."""
    parts = [name.split(".") for name in names]
    shared = 0
    while len(names) > 1 and all(len(p) > shared + 1 for p in parts):
        if len({p[shared] for p in parts}) > 1:
            break
        shared += 1
    prefix = "".join(f"{step}." for step in parts[0][:shared])
    return [name[len(prefix) :] for name in names], prefix


def _framed(
    figure: go.Figure,
    rows: list[_Row],
    snapshot: Snapshot,
    look: Theme,
    ends: list[float],
    axis: str,
    *,
    title: str,
    notes: list[str | None],
    said: list[str],
    row: int,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Name the rows, and set the figure into its frame."""
    names, prefix = _without_prefix([one.name for one in rows])
    if prefix:
        notes = [*notes, f"all names begin with {shorten(prefix, 60)}"]
    labels = [shorten(name, _NAME) for name in names]
    margins = bars.sides(labels, said)
    text, below = bars.axis_title(axis, margins, width)
    bars.set_rows(figure, labels, said, look)
    figure.update_xaxes(title_text=text, range=ends, zeroline=True)
    if sum(one.broken for one in rows):
        notes = [*notes, f"{sum(one.broken for one in rows):,} values are not finite (not drawn)"]
    frame = Frame(
        title=title, caption=sentences(notes), **margins, axis=below, width=width, height=height
    )
    return frame.apply(figure, look, snapshot, row * len(rows) + 10)
