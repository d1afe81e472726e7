"""All attributions of a table as one map: features by samples, with the predictions above."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.viz import bars
from pellucid.viz.attributions import dots, features, panels, pictures, words
from pellucid.viz.scale import evenly
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

_MOST = 2000
_ROW = 24  # pixels of a feature's row
_LINE = 84  # pixels of the predictions above the map
_GAP = 10  # pixels between the two
_ASSUMED = 640  # pixels of a figure that takes the width it is given
_AXIS = 34  # pixels below the map for the samples' axis
_ORDERS = ("similarity", "prediction", "given")


def sample_matrix(
    explanation: Explanation,
    *,
    order: str = "similarity",
    top: int = 20,
    samples: int | None = None,
    clip: float | None = 99.5,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the attributions of all samples as a map, a row for each feature, predictions above.

    Parameters
    ----------
    explanation
        With one axis of features or groups beside the samples.
    order
        Of the samples: ``"similarity"`` puts those with like attributions side by side,
        ``"prediction"`` begins with the lowest, ``"given"`` leaves them as they are.
    top
        How many features to draw, by their mean magnitude; the rest is added up in one row.
    samples
        How many samples to draw at most; 2000 by default, evenly chosen.
    clip
        The percentile of the magnitudes at which the colours end; None for the largest. What is
        clipped is said in the figure.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for the width that there is, and the height that the rows need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If there is no such order, or the explanation has other axes, several inputs or targets, or
        no samples.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = features.table(explanation, "sample_matrix")
    positive_whole(top, "top", "how many features to draw")
    most = positive_whole(_MOST if samples is None else samples, "samples", "how many to draw")
    if order not in _ORDERS:
        raise InputError(f"there is no order {order!r}; give one of {', '.join(_ORDERS)}")
    rows = evenly(len(explanation), most)
    rows = rows[_order(explanation, rows, order)]
    sizes, errors = features.sizes(explanation)
    kept, rest = features.ranked(sizes, top)
    tied = features.ties(sizes[kept], None if errors is None else errors[kept])
    values = np.asarray(explanation.values, dtype=np.float64)[rows]
    cells = values[:, kept].T
    labels = [shorten(features.name(explanation, int(i))) for i in kept]
    notes = [features.mean(sizes, errors, int(i)) for i in kept]
    if rest.size:
        cells = np.concatenate([cells, values[:, rest].sum(axis=1)[None]])
        labels, notes = [*labels, features.other(rest.size)], [*notes, ""]
    limit = pictures.limit(cells, clip)
    magnitude = words.magnitude(explanation)
    of = dots.of_all(explanation, rows)
    predicted = explanation.prediction is not None
    broken = int((~np.isfinite(cells)).sum())
    exact = errors is None or not errors.any()
    sides = bars.sides(labels, notes)
    sides["left"] = max(sides["left"], 92 if predicted else 0)
    sides["right"] = max(sides["right"], 64)
    below = _AXIS + 12 * (order == "given")
    frame = Frame(
        title=title
        if title is not None
        else f"What the {words.score(explanation, of)} rests on, sample by sample",
        caption=sentences(
            [
                words.method(explanation),
                {
                    "similarity": "samples with like attributions stand side by side",
                    "prediction": "samples in the order of their predictions",
                    "given": None,
                }[order],
                f"dotted: {words.start(explanation)}"
                if predicted and words.complete(explanation)
                else None,
                "right: mean magnitude over the samples"
                + ("" if exact else ", ± at most its standard error"),
                bars.tie_note(tied),
                limit.note(magnitude, "values"),
                f"{broken} values are not finite (blank)" if broken else None,
                dots.left_out(len(rows), len(explanation)),
            ]
        ),
        **sides,
        axis=below + panels.BAR,
        width=width,
        height=height,
    )
    natural = _ROW * len(labels) + (_LINE + _GAP) * predicted
    tall = frame.plot_height(natural)
    share = 1 - (_LINE + _GAP) / natural * predicted  # of the height that the map has
    figure = go.Figure()
    identity, head = dots.identity(explanation, rows)
    ids = np.broadcast_to(identity["customdata"][:, :1], (len(rows), 1))
    unit = dots.unit(explanation)
    figure.add_heatmap(
        z=compact(cells),
        coloraxis="coloraxis",
        zsmooth=False,
        customdata=np.broadcast_to(ids[None], (len(labels), *ids.shape)),
        text=[identity["text"]] * len(labels) if "text" in identity else None,
        hovertemplate=f"{head}%{{y}}<br>{unit} %{{z:+.4g}}<extra></extra>",
    )
    bars.set_rows(figure, labels, notes, look)
    bars.set_ties(figure, tied, look)
    figure.update_yaxes(domain=[0, share])
    figure.update_xaxes(
        title_text=f"sample{' (in this order)' if order != 'given' else ''}",
        range=[-0.5, len(rows) - 0.5],
        showgrid=False,
        zeroline=False,
        showticklabels=order == "given",
        ticks="",
        title_standoff=4,
        **({"tickformat": "d", "nticks": 8} if order == "given" else {}),
    )
    if predicted:
        _predictions(figure, explanation, rows, of, 1 - _LINE / natural, look)
    room = (width or _ASSUMED) - sides["left"] - sides["right"]
    colors = panels.Colors(
        "coloraxis", limit.end, magnitude, words.zero(explanation), limit.pixels > 0
    )
    axes = panels.color_axes(look, [colors], (room, tall), words.quantity(explanation, of))
    axes["coloraxis"]["colorbar"]["y"] = -below / tall
    figure.update_layout(axes)
    return frame.apply(figure, look, explanation, natural)


def _order(explanation: Explanation, rows: np.ndarray, order: str) -> np.ndarray:
    """Return the order in which the samples stand."""
    if order == "given":
        return np.arange(len(rows))
    if order == "similarity":
        return by_similarity(np.asarray(explanation.values, dtype=np.float64)[rows])
    if explanation.prediction is None:
        raise InputError(
            "the predictions are not known, so samples cannot stand in their order; give "
            "order='similarity' or order='given'"
        )
    return np.argsort(np.asarray(explanation.prediction)[rows], kind="stable")


def by_similarity(values: np.ndarray) -> np.ndarray:
    """Return an order of rows in which like ones are neighbours.

    Rows are divided in two along their first principal component, and so are both halves, each in
    the direction of the whole (principal direction divisive partitioning, Boley 1998).
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    found: list[np.ndarray] = []
    open_: list[tuple[np.ndarray, np.ndarray]] = [
        (np.arange(len(values)), np.ones(values.shape[1]))
    ]
    while open_:
        members, toward = open_.pop()
        centred = values[members] - values[members].mean(axis=0)
        if len(members) < 3 or not np.abs(centred).max() > 0:
            found.append(members[np.argsort(values[members] @ toward, kind="stable")])
            continue
        _, _, parts = np.linalg.svd(centred, full_matrices=False)
        axis = parts[0] if parts[0] @ toward >= 0 else -parts[0]
        along = centred @ axis
        low = along <= 0
        if low.all() or not low.any():
            found.append(members[np.argsort(along, kind="stable")])
            continue
        open_ += [(members[~low], axis), (members[low], axis)]
    return np.concatenate(found)


def _predictions(
    figure: go.Figure,
    explanation: Explanation,
    rows: np.ndarray,
    of: str,
    bottom: float,
    look: Theme,
) -> None:
    """Draw the predictions above the map, with the baseline's."""
    assert explanation.prediction is not None
    identity, head = dots.identity(explanation, rows)
    score = escape(shorten(words.score(explanation, of), 60))
    figure.add_scatter(
        x=np.arange(len(rows), dtype=np.float32),
        y=dots.typed(np.asarray(explanation.prediction)[rows]),
        yaxis="y2",
        mode="lines" if len(rows) > 1 else "markers",
        cliponaxis=False,
        line={"color": look.ink, "width": 1.3, "shape": "hvh"},
        marker={"color": look.ink},
        hovertemplate=f"{head}{score} %{{y:.5g}}<extra></extra>",
        **identity,
    )
    starts = np.array([words.at(explanation.baseline_prediction, int(i)) for i in rows])
    if np.isfinite(starts).any():
        figure.add_scatter(
            x=np.arange(len(rows), dtype=np.float32),
            y=dots.typed(starts),
            yaxis="y2",
            mode="lines" if len(rows) > 1 else "markers",
            line={"color": look.quiet, "width": 1, "dash": "dot", "shape": "hvh"},
            marker={"color": look.quiet, "symbol": "circle-open"},
            hovertemplate=f"{head}{words.start(explanation)} %{{y:.5g}}<extra></extra>",
            **identity,
        )
    figure.update_layout(
        yaxis2={"domain": [bottom, 1], "anchor": "x", "side": "right", "nticks": 4}
        | {"zeroline": False, "ticks": ""}
    )
    figure.add_annotation(
        text="prediction",
        x=0,
        y=(1 + bottom) / 2,
        xref="paper",
        yref="paper",
        xanchor="right",
        xshift=-4,
        showarrow=False,
        font={"color": look.ink},
    )
