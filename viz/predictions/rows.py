"""Single predictions as rows: of a table's values, of texts, or of the scores of the classes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Predictions
from pellucid.viz.predictions import samples
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    sentences,
    shorten,
)

_ROW = 40  # pixels of one sample
_CELL = 66  # pixels of one value
_ASSUMED = 680
_LETTER = 6.6
_TAGS = re.compile("<[^>]*>|&[a-z#0-9]+(?=;)")
_FAR = 3.0  # standard deviations where colours end


def rows(
    known: Predictions,
    chosen: np.ndarray,
    marks: Sequence[tuple[str, str, str]],
    look: Theme,
    title: str,
    notes: list[str | None],
    *,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw some predictions as rows, with what the model says to the left.

    Parameters
    ----------
    known
        All predictions, which say what is usual.
    chosen
        The positions of those drawn.
    marks
        For each of them what is predicted, the truth, and the score with the id; escaped.
    """
    labels = [
        "<br>".join((f"{said}, {truth}" if truth else said, tail.replace("<br>", ", ")))
        for said, truth, tail in marks
    ]
    longest = max(len(_TAGS.sub("", part)) for label in labels for part in label.split("<br>"))
    left = int(28 + _LETTER * longest)
    inputs = known.inputs
    figure = go.Figure()
    if inputs is not None and inputs.ndim == 1 and inputs.dtype.kind not in "fiub":
        room = int(((width or _ASSUMED) - left - 24) / _LETTER)
        texts = [
            "<br>".join(
                escape(line) for line in textwrap.wrap(shorten(one, 2 * room - 8), room)[:2]
            )
            for one in inputs[chosen].tolist()
        ]
        figure.add_scatter(
            x=np.zeros(len(texts)), y=np.arange(len(texts)), mode="text", text=texts,
            textposition="middle right", textfont={"color": look.ink},
            customdata=_ids(known, chosen),
            hovertext=["<br>".join(escape(line) for line in textwrap.wrap(shorten(one, 600), 70))
                       for one in inputs[chosen].tolist()],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
        figure.update_xaxes(range=[0, 1], visible=False)
        head = 0
    else:
        most = max(1, int(((width or _ASSUMED) - left - 90) / _CELL))
        head = _values(figure, known, chosen, most, look, notes)
    figure.update_yaxes(
        range=[len(labels) - 0.5, -0.5],
        tickvals=np.arange(len(labels)),
        ticktext=labels,
        tickfont={"color": look.ink, "size": 11.5},
        showgrid=False,
        zeroline=False,
        ticks="",
        ticklabelstandoff=6,
    )
    figure.update_layout(showlegend=False, hovermode="closest")
    frame = Frame(
        title=title,
        caption=sentences(notes),
        left=left,
        right=90 if head else 24,
        axis=8,
        above=head,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, known, _ROW * len(labels))


def _ids(known: Predictions, chosen: np.ndarray) -> list[list[int | str]]:
    return [[one if isinstance(one, int) else str(one)] for one in known.ids[chosen].tolist()]


def _values(
    figure: go.Figure,
    known: Predictions,
    chosen: np.ndarray,
    most: int,
    look: Theme,
    notes: list[str | None],
) -> int:
    """Draw values as coloured cells; return the pixels that their names take above."""
    inputs = known.inputs
    if inputs is None or inputs.ndim != 2:
        if known.kind != "classification":
            raise InputError(
                "there is nothing to show of these samples: predict from one array, data frame or "
                "list of texts, or give display= to pellucid.predict"
            )
        return _scores(figure, known, chosen, most, look, notes)
    numeric = inputs.dtype.kind in "fiub"
    names = known.feature_names or tuple(f"feature {k}" for k in range(inputs.shape[1]))
    far = np.zeros((len(chosen), inputs.shape[1]))
    if numeric:
        wide = inputs.astype(np.float64)
        there = np.maximum(np.isfinite(wide).sum(axis=0), 1)
        mean = np.nansum(wide, axis=0) / there
        spread = np.sqrt(np.nansum((wide - mean) ** 2, axis=0) / there)
        far = (wide[chosen] - mean) / np.where(spread > 0, spread, 1.0)
    # The columns in which these samples are least like the others.
    order = np.argsort(-np.nan_to_num(np.abs(far)).mean(axis=0), kind="stable")[:most]
    picked = np.sort(order)
    cells = [[samples.cell(v, 11) for v in row] for row in inputs[chosen][:, picked].tolist()]
    figure.add_heatmap(
        z=compact(far[:, picked]),
        zmin=-_FAR,
        zmax=_FAR,
        zmid=0,
        colorscale=look.diverging,
        text=[[escape(one) for one in row] for row in cells],
        texttemplate="%{text}",
        textfont={"size": 11},
        customdata=[[one] * len(picked) for one in _ids(known, chosen)],
        hovertext=[
            [f"<b>{escape(shorten(names[k], 80))}</b> = {escape(text)}"
             for k, text in zip(picked, row, strict=True)]
            for row in cells
        ],
        hovertemplate="%{hovertext}"
        + ("<br>%{z:+.2f} standard deviations from the mean" if numeric else "")
        + "<extra></extra>",
        showscale=numeric,
        colorbar={"title": {"text": "SDs from the mean", "side": "right"},
                  "thickness": 10, "outlinewidth": 0},
        xgap=1,
        ygap=3,
    )  # fmt: skip
    some = f"{len(picked)} features of {inputs.shape[1]}"
    if len(picked) < inputs.shape[1]:
        notes.append(
            f"the {some} in which these samples are least like the others"
            if numeric
            else f"the first {some}"
        )
    if numeric:
        beyond = int((np.abs(far[:, picked]) > _FAR).sum())
        notes.append(
            "colours: standard deviations (SDs) from the mean of all samples"
            + (f", which end at ±3 ({beyond} values beyond)" if beyond else "")
        )
        if np.isnan(far[:, picked]).any():
            notes.append("blank: missing")
    return _heads(figure, [names[k] for k in picked], look)


def _scores(
    figure: go.Figure,
    known: Predictions,
    chosen: np.ndarray,
    most: int,
    look: Theme,
    notes: list[str | None],
) -> int:
    """Draw the scores of the classes, where nothing is known of the samples themselves."""
    scores = known.scores[chosen]
    picked = np.sort(np.argsort(-scores.max(axis=0), kind="stable")[:most])
    share = known.units == "probability"
    end = None if share else float(np.abs(scores).max()) or 1.0
    figure.add_heatmap(
        z=compact(scores[:, picked]),
        zmin=0 if end is None else -end,
        zmax=1 if end is None else end,
        colorscale=look.sequential if share else look.diverging,
        text=[[samples.confidence(known, v) for v in row] for row in scores[:, picked].tolist()],
        texttemplate="%{text}",
        customdata=[[one] * len(picked) for one in _ids(known, chosen)],
        hovertemplate="%{text}<extra></extra>",
        colorbar={"title": {"text": escape(known.units), "side": "right"}, "thickness": 10,
                  "outlinewidth": 0},
        xgap=1,
        ygap=3,
    )  # fmt: skip
    notes.append("what was predicted from is not known: the scores of the classes")
    if len(picked) < scores.shape[1]:
        notes.append(f"the {len(picked)} classes of {scores.shape[1]} that score highest")
    return _heads(figure, [known.class_name(k) for k in picked.tolist()], look)


def _heads(figure: go.Figure, names: Sequence[str], look: Theme) -> int:
    """Name the columns above them; return the pixels that takes."""
    lines = [_wrapped(shorten(name, 28), 12) for name in names]
    figure.update_xaxes(
        side="top",
        tickvals=np.arange(len(names)),
        ticktext=["<br>".join(escape(part) for part in line) for line in lines],
        tickfont={"color": look.ink, "size": 11},
        tickangle=0,
        showgrid=False,
        zeroline=False,
        ticks="",
    )
    return 12 + 14 * max(map(len, lines))


def _wrapped(name: str, letters: int) -> list[str]:
    """Break a name into lines, at spaces and behind underscores where it has any."""
    lines = [""]
    for part in re.findall(r"[^_\s]*[_\s]*", name):
        if len(lines[-1]) + len(part.rstrip("_ ")) > letters and lines[-1]:
            lines.append("")
        lines[-1] += part
    return [piece for line in lines for piece in textwrap.wrap(line, letters + 2)] or [""]
