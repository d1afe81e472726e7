"""Text with each token's background in the colour of its attribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation, Result
from pellucid.viz.attributions import columns, panels, pictures, texts
from pellucid.viz.attributions import words as wording
from pellucid.viz.attributions.columns import Column
from pellucid.viz.theme import (
    Frame,
    Theme,
    compact,
    escape,
    percent,
    positive_whole,
    sentences,
    shorten,
    theme_of,
)

_SAMPLES = 4
_MOST = 2000  # tokens of a figure; a browser draws each as a shape and a text
_WIDTH = 576  # pixels: a good measure to read, and the least that a report gives a figure
_BAND = 22  # of a line, pixels of the background
_FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def is_text(explanation: Explanation) -> bool:
    """Whether the values are of the tokens of a text."""
    tokens, values = explanation.tokens, explanation.values
    axes = tuple(explanation.axes or ())
    return tokens is not None and axes == ("sample", "token") and tokens.shape == values.shape


def tokens(
    explanation: Explanation,
    *,
    samples: int | None = None,
    words: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw texts with each token's background in the colour of its attribution.

    All texts share one scale, centred on zero. Padding is not drawn, and special tokens are in
    quieter ink.

    Parameters
    ----------
    explanation
        Of texts: its axes are sample and token, and it knows the tokens' texts.
    samples
        How many to draw at most; 4 by default. Choose others with ``explanation[[3, 5]]``.
    words
        Whether to add the values of a word's tokens up and draw words.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that says what is shown.
    width, height
        In pixels; None for a width that reads well, and the height that the texts need.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the explanation is not of texts, of several inputs or targets, or without samples; or if
        `words` are asked for and not known.
    InputTypeError
        If it is not an Explanation.
    """
    look = theme_of(theme)
    explanation = wording.single(explanation, "tokens")
    if not is_text(explanation):
        raise InputError(
            f"viz.tokens draws values with axes (sample, token) and the tokens' texts, but these "
            f"have axes {explanation.axes or 'not known'} and "
            f"{'no texts' if explanation.tokens is None else 'texts of another shape'}; "
            "viz.figure picks the function for any explanation"
        )
    if words and explanation.words is None:
        raise InputError(
            "the explanation does not know which word each token belongs to; leave words=False"
        )
    most = positive_whole(_SAMPLES if samples is None else samples, "samples", "how many to draw")
    shown = min(most, len(explanation))
    page = _Page([Column("", explanation, "")], [0], shown, words)
    targets = {wording.target(explanation, i) for i in range(shown)}
    score = wording.score(explanation, targets.pop() if len(targets) == 1 else "each text's class")
    frame_title = title if title is not None else f"What the {score} rests on"
    return page.draw(explanation, look, frame_title, None, width, height)


def stacked(
    source: Result,
    found: list[Column],
    *,
    most: int,
    normalize: bool | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw the same texts once for each column, one below the other."""
    found, left_out = columns.fewer(found)
    first = found[0].explanation
    numbers = columns.groups(found, normalize)
    page = _Page(found, numbers, min(most, len(first)), words=False)
    note = " · ".join(
        filter(None, [columns.scale_note(found, numbers, normalize, "text"), left_out])
    )
    said = columns.title(source, found, page.shown)
    return page.draw(source, look, said if title is None else title, note, width, height)


# -- what is drawn ---------------------------------------------------------------------------


@dataclass
class _Drawn:
    """The backgrounds of one scale, as they are collected."""

    base: list[float]
    size: list[float]
    y: list[float]
    value: list[float]
    text: list[str]
    quiet: list[bool]
    hover: list[str]
    identity: list[list[str | int]]


class _Page:
    """Texts one below the other."""

    def __init__(self, found: list[Column], numbers: list[int], shown: int, words: bool) -> None:
        self.found, self.numbers, self.shown, self.by_word = found, numbers, shown, words
        self.left_out = 0
        room = _MOST
        self.blocks: list[tuple[int, int, list[texts.Piece]]] = []  # sample, column, what it holds
        for sample in range(shown):
            for k, column in enumerate(found):
                pieces = texts.pieces(column.explanation, sample, words)
                self.blocks.append((sample, k, pieces[:room]))
                self.left_out += len(pieces) - len(pieces[:room])
                room -= len(pieces[:room])

    def _scales(self) -> dict[int, panels.Colors]:
        """Return the scale of each group of columns."""
        scales = {}
        for group in sorted(set(self.numbers)):
            mine = [(k, pieces) for _, k, pieces in self.blocks if self.numbers[k] == group]
            explanation = self.found[mine[0][0]].explanation
            values = np.array([piece.value for _, pieces in mine for piece in pieces])
            scales[group] = panels.Colors(
                name=f"coloraxis{10 + group}",
                end=pictures.limit(values, None).end,
                magnitude=wording.magnitude(explanation),
                zero=wording.zero(explanation),
            )
        return scales

    def draw(
        self,
        source: Result,
        look: Theme,
        title: str,
        note: str | None,
        width: int | None,
        height: int | None,
    ) -> go.Figure:
        """Draw the texts."""
        scales = self._scales()
        figure = go.Figure()
        room = (width or _WIDTH) - 2 * panels.EDGE
        collected = {k: _Drawn([], [], [], [], [], [], [], []) for k in scales}
        top = 0.0
        for sample, k, pieces in self.blocks:
            top += self._heading(figure, sample, k, top, room, scales, look)
            total = sum(abs(piece.value) for piece in pieces if np.isfinite(piece.value))
            lines = 0
            for piece, line, left, size in texts.wrap(pieces, room):
                lines = line + 1
                self._collect(
                    collected[self.numbers[k]], piece, sample, k, (left, size), total,
                    top + (line + 0.5) * texts.LINE, room,
                )  # fmt: skip
            top += lines * texts.LINE + 12
        for group, drawn in collected.items():
            _add(figure, drawn, scales[group], look)
        broken = sum(not np.isfinite(p.value) for _, _, pieces in self.blocks for p in pieces)
        first = self.found[0].explanation
        frame = Frame(
            title=title,
            caption=sentences(
                [
                    wording.methods([one.explanation for one in self.found]),
                    "the values of a word's tokens are added up" if self.by_word else None,
                    note,
                    f"{broken} values are not finite (plain grey)" if broken else None,
                    f"{self.left_out} more tokens not shown" if self.left_out else None,
                    f"{self.shown} of {len(first)} samples shown"
                    if self.shown < len(first)
                    else None,
                ]
            ),
            left=panels.EDGE,
            right=panels.EDGE,
            axis=panels.BAR,
            above=2,
            width=width or _WIDTH,
            height=height,
        )
        hidden = {"visible": False, "fixedrange": True}
        one_scale = len(scales) == 1
        said = columns.quantity(self.found, self.shown) if one_scale else None
        figure.update_layout(
            xaxis={"range": [0, room], **hidden},
            yaxis={"range": [top, 0], **hidden},
            barmode="overlay",
            hovermode="closest",
            showlegend=False,
            dragmode=False,
            **panels.color_axes(look, list(scales.values()), (room, frame.plot_height(top)), said),
        )
        return frame.apply(figure, look, source, top)

    def _heading(
        self,
        figure: go.Figure,
        sample: int,
        k: int,
        top: float,
        room: float,
        scales: dict[int, panels.Colors],
        look: Theme,
    ) -> float:
        """Write above a text what is explained and how far to trust it; return its height."""
        column = self.found[k]
        explanation = column.explanation
        parts = [wording.heading(explanation, sample), column.name]
        first = escape(shorten(" · ".join(filter(None, parts)), int(room / 7.2)))
        scale = scales[self.numbers[k]]
        ends = [f"colours end at {scale.range}"] if len(scales) > 1 else []
        said = f"<b>{first}</b><br>{wording.status(explanation, sample, look, room, *ends)}"
        figure.add_annotation(
            text=said,
            x=0,
            y=top + 2,
            xref="x",
            yref="y",
            xanchor="left",
            yanchor="top",
            align="left",
            borderpad=0,
            showarrow=False,
            font={"size": 11.5, "color": look.ink},
        )
        return 14 + panels.LINE * (said.count("<br>") + 1)

    def _collect(
        self,
        drawn: _Drawn,
        piece: texts.Piece,
        sample: int,
        k: int,
        place: tuple[float, float],
        total: float,
        middle: float,
        room: float,
    ) -> None:
        """Note where a token stands, and all that is said about it."""
        explanation = self.found[k].explanation
        what = "token" if piece.count == 1 else f"tokens {piece.position} to"
        last = piece.position + piece.count - 1
        said = [
            wording.hover(explanation, sample),
            *([escape(shorten(self.found[k].name, 80))] if self.found[k].name else []),
            f"“{escape(shorten(texts.visible(piece.text), 80))}”, {what} {last}",
        ]
        if np.isfinite(piece.value):
            unit = "contribution" if wording.complete(explanation) else "attribution"
            share = percent(abs(piece.value) / total) if total else percent(0)
            said.append(f"{unit} {piece.value:+.4g}, {share} of all magnitudes")
        else:
            said.append("not a finite number")
        drawn.base.append(place[0])
        drawn.size.append(place[1])
        drawn.y.append(middle)
        drawn.value.append(piece.value)
        drawn.text.append(escape(texts.fitted(piece.text, room)))
        drawn.quiet.append(piece.special)
        drawn.hover.append("<br>".join(said))
        drawn.identity.append([wording.sample_id(explanation, sample)])


def _add(figure: go.Figure, drawn: _Drawn, scale: panels.Colors, look: Theme) -> None:
    """Draw the tokens of one scale: bars, which carry their texts and answer to the pointer."""
    values = np.array(drawn.value, dtype=np.float64)
    for finite in (True, False):
        chosen = np.flatnonzero(np.isfinite(values) == finite)
        if not chosen.size:
            continue
        quiet = np.array(drawn.quiet)[chosen]
        color: dict[str, Any] = {"color": look.missing}
        ink = [look.ink] * len(chosen)
        if finite:
            ink = panels.inks(values[chosen], scale, look, quiet)
            color = {"color": compact(values[chosen]), "coloraxis": scale.name}
        figure.add_bar(
            x=compact(np.array(drawn.size)[chosen]),
            base=compact(np.array(drawn.base)[chosen]),
            y=compact(np.array(drawn.y)[chosen]),
            width=_BAND,
            orientation="h",
            marker={**color, "line": {"color": look.grid, "width": 1}, "cornerradius": 3},
            text=[drawn.text[i] for i in chosen],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
            insidetextfont={
                "family": _FONT,
                "size": np.where(quiet, texts.SIZE - 2, texts.SIZE).tolist(),
                "color": ink,
            },
            customdata=[drawn.identity[i] for i in chosen],
            hovertext=[drawn.hover[i] for i in chosen],
            hovertemplate="%{hovertext}<extra></extra>",
        )
