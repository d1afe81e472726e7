"""The confusion matrix: which classes a model takes for which."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz import bars
from pellucid.viz.predictions.samples import MOST, listing
from pellucid.viz.predictions.shared import (
    CLASSIFICATION,
    broken_note,
    check,
    counted,
    finite,
    names,
)
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    percent,
    sentences,
    shorten,
    theme_of,
)

_CLASSES = 30  # beyond, the pairs that are confused most
_PAIRS = 25
_ASSUMED = 680  # pixels of a figure that takes the width it is given
_SHARES = {
    "truth": "share of the true class",
    "predicted": "share of the predicted class",
    "all": "share of all samples",
    None: "samples",
}


def confusion_matrix(
    predictions: Predictions,
    *,
    normalize: str | None = "truth",
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw how many samples of each class are predicted as which, as counts and shares.

    Of more than 30 classes, the pairs that are confused most often.

    Parameters
    ----------
    predictions
        Scores of a classifier beside the truth.
    normalize
        What colours and percentages are shares of: ``"truth"`` (each row adds up to 1), a class's
        ``"predicted"`` samples (each column does), ``"all"`` samples; None for counts alone.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one with the accuracy.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like. The custom data of a cell are the ids of its samples, at
        most 50, the most confident first; ``layout.meta["samples"]`` is what a report lists of
        them.

    Raises
    ------
    InputError
        If the truth is not known, or `normalize` is not known.
    InputTypeError
        If it is not a Predictions.
    """
    look = theme_of(theme)
    check(predictions, "confusion_matrix", CLASSIFICATION)
    if normalize not in _SHARES:
        raise InputError(
            f"normalize={normalize!r} is not known; use 'truth', 'predicted', 'all' or None"
        )
    known = finite(predictions)
    assert known.truth is not None
    classes = known.scores.shape[1]
    cells = _Cells(known)
    counts = np.bincount(cells.codes, minlength=classes**2).reshape(classes, classes)
    right = int(np.trace(counts))
    head = (
        f"{percent(right / len(known))} of {counted(len(known))} right: "
        f"{shorten(predictions.name, 40)}"
    )
    draw = _matrix if classes <= _CLASSES else _pairs
    return draw(
        known, counts, cells, normalize, look, head if title is None else title, width, height,
        broken_note(predictions),
    )  # fmt: skip


class _Cells:
    """Which samples are in each cell, the most confident first."""

    def __init__(self, known: Predictions) -> None:
        assert known.truth is not None
        self.classes = known.scores.shape[1]
        self.codes = known.truth.astype(np.int64) * self.classes + known.predicted
        order = np.lexsort((-known.scores.max(axis=1), self.codes))
        ends = np.cumsum(np.bincount(self.codes, minlength=self.classes**2))
        self._parts = np.split(order, ends[:-1])

    def at(self, row: int, column: int) -> np.ndarray:
        """Return the positions of a cell's samples."""
        part: np.ndarray = self._parts[row * self.classes + column]
        return part


def _plain(known: Predictions, row: int, column: int) -> str:
    """Return what a cell is called, as plain text."""
    truth, said = (shorten(known.class_name(k), 40) for k in (row, column))
    return f"{truth}, predicted right" if row == column else f"{truth}, taken for {said}"


# -- the matrix ------------------------------------------------------------------------------


def _matrix(
    known: Predictions,
    counts: np.ndarray,
    cells: _Cells,
    normalize: str | None,
    look: Theme,
    title: str,
    width: int | None,
    height: int | None,
    broken: str | None,
) -> go.Figure:
    classes = len(counts)
    letters = 16 if classes <= 12 else 10
    labels = names(known, letters)
    longest = max(min(len(known.class_name(k)), letters) for k in range(classes))
    left = int(48 + 7 * longest)
    wide = ((width or _ASSUMED) - left - 96) / classes
    shares = _shares(counts, normalize)
    ids = [
        [known.ids[cells.at(i, j)[:MOST]].tolist() for j in range(classes)] for i in range(classes)
    ]
    figure = go.Figure()
    # A share of nothing is no share: grey.
    void = np.isnan(shares)
    if void.any():
        figure.add_heatmap(
            z=np.where(void, 1.0, np.nan).astype(np.float32),
            colorscale=[[0, look.missing], [1, look.missing]],
            showscale=False, hoverinfo="skip", xgap=1, ygap=1,
        )  # fmt: skip
    full = wide >= 38
    figure.add_heatmap(
        z=compact(shares if normalize else counts.astype(np.float64)),
        zmin=0,
        zmax=1 if normalize in ("truth", "predicted") else None,
        colorscale=look.sequential,
        text=_texts(counts, shares, normalize, full),
        texttemplate="%{text}",
        textfont={"size": 11 if wide >= 30 else 9 if wide >= 22 else 8},
        customdata=ids,
        hovertext=_hovers(known, counts, normalize),
        hovertemplate="%{hovertext}<extra></extra>",
        xgap=1,
        ygap=1,
        colorbar={
            "title": {"text": _SHARES[normalize], "side": "right"},
            "tickformat": ".0%" if normalize else None,
            "thickness": 10,
            "outlinewidth": 0,
        },
    )
    ticks = {
        "tickvals": np.arange(classes),
        "ticktext": labels,
        "tickfont": {"color": look.ink, "size": 12 if classes <= 12 else 10},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "ticklabelstandoff": 4,
    }
    slanted = 7.2 * longest > wide
    figure.update_layout(
        xaxis={**ticks, "title": {"text": "predicted class"}, "tickangle": -90 if slanted else 0,
               "constrain": "domain"},
        yaxis={**ticks, "title": {"text": "true class"}, "range": [classes - 0.5, -0.5]},
    )  # fmt: skip
    trace = len(figure.data) - 1
    parts = {
        f"{trace}:{i},{j}": (_plain(known, i, j), cells.at(i, j))
        for i, j in sorted(np.argwhere(counts).tolist(), key=lambda p: (p[0] == p[1], p))
    }
    empty = int((counts.sum(axis=1) == 0).sum())
    no_share = {"truth": "no samples of that class", "predicted": "never predicted"}
    frame = Frame(
        title=title,
        caption=sentences(
            [
                f"each cell: samples, and their {_SHARES[normalize]}"
                if normalize and full
                else None,
                f"each cell: samples; colour: their {_SHARES[normalize]}"
                if normalize and not full
                else None,
                f"grey: {no_share[normalize]}" if normalize in no_share and void.any() else None,
                f"no samples of {empty} class{'es' if empty > 1 else ''}"
                if empty and normalize != "truth"
                else None,
                broken,
            ]
        ),
        left=left,
        right=96,
        axis=int(40 + (7.0 * longest if slanted else 14)),
        width=width,
        height=height,
    )
    natural = float(np.clip(classes * (44 if full else 26), 170, 760))
    frame.apply(figure, look, known, natural)
    figure.update_layout(meta={**figure.layout.meta, "samples": listing(known, parts)})
    return figure


def _shares(counts: np.ndarray, normalize: str | None) -> np.ndarray:
    """Return counts as shares; NaN where they would be of nothing."""
    total = {
        "truth": counts.sum(axis=1, keepdims=True),
        "predicted": counts.sum(axis=0, keepdims=True),
    }.get(normalize or "", counts.sum())
    with np.errstate(invalid="ignore"):
        found: np.ndarray = counts / total
    return found


def _texts(
    counts: np.ndarray, shares: np.ndarray, normalize: str | None, full: bool
) -> list[list[str]]:
    return [
        [
            f"{count:,}" + (f"<br>{percent(share)}" if full and normalize and count else "")
            if count or full
            else ""
            for count, share in zip(row, row_shares, strict=True)
        ]
        for row, row_shares in zip(counts.tolist(), shares.tolist(), strict=True)
    ]


def _hovers(known: Predictions, counts: np.ndarray, normalize: str | None) -> list[list[str]]:
    """Return what each cell says of itself, escaped."""
    of_truth, of_predicted = counts.sum(axis=1), counts.sum(axis=0)
    rows = []
    for i in range(len(counts)):
        row = []
        for j in range(len(counts)):
            said = f"<b>{escape(_plain(known, i, j))}</b><br>{counted(int(counts[i, j]))}"
            if of_truth[i]:
                said += f"<br>{percent(counts[i, j] / of_truth[i])} of the true class"
            if of_predicted[j]:
                said += f"<br>{percent(counts[i, j] / of_predicted[j])} of those predicted so"
            row.append(said)
        rows.append(row)
    return rows


# -- the pairs of many classes ---------------------------------------------------------------


def _pairs(
    known: Predictions,
    counts: np.ndarray,
    cells: _Cells,
    normalize: str | None,
    look: Theme,
    title: str,
    width: int | None,
    height: int | None,
    broken: str | None,
) -> go.Figure:
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(code), len(counts)) for code in order if wrong.flat[code]]
    if not pairs:
        raise InputError(
            f"no class is taken for another: all {counted(len(known))} are predicted right"
        )
    shares = _shares(counts, normalize)
    labels = [f"{shorten(known.class_name(i), 18)} → {shorten(known.class_name(j), 18)}"
              for i, j in pairs]  # fmt: skip
    notes = [
        f"{counts[i, j]:,}" + (f", {percent(shares[i, j])}" if normalize else "") for i, j in pairs
    ]
    figure = go.Figure()
    figure.add_bar(
        x=np.array([counts[i, j] for i, j in pairs], dtype=np.int32),
        y=np.arange(len(pairs)),
        orientation="h",
        marker={"color": look.classes[1]},
        customdata=[known.ids[cells.at(i, j)[:MOST]].tolist() for i, j in pairs],
        hovertext=[
            f"<b>{escape(_plain(known, i, j))}</b><br>{counts[i, j]:,} of {counts[i].sum():,} "
            "samples of the true class"
            for i, j in pairs
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    sides = bars.sides(labels, notes)
    said, axis = bars.axis_title("samples of the first class taken for the second", sides, width)
    bars.set_rows(figure, labels, notes, look)
    figure.update_xaxes(title_text=said, rangemode="tozero")
    shown = int(sum(counts[i, j] for i, j in pairs))
    frame = Frame(
        title=title,
        caption=sentences(
            [
                f"the {len(pairs)} pairs of {len(counts)} classes that are confused most: "
                f"{shown:,} of {int(wrong.sum()):,} errors",
                f"right: samples, and their {_SHARES[normalize]}" if normalize else None,
                broken,
            ]
        ),
        **sides,
        axis=axis,
        width=width,
        height=height,
    )
    frame.apply(figure, look, known, bars.ROW * len(pairs))
    parts = {f"0:{n}": (_plain(known, i, j), cells.at(i, j)) for n, (i, j) in enumerate(pairs)}
    figure.update_layout(meta={**figure.layout.meta, "samples": listing(known, parts)})
    return figure
