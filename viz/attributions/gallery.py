"""Pictures side by side: a row for each sample, a panel for each method, layer or target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Explanation, Result
from pellucid.viz.attributions import columns, panels, pictures, words
from pellucid.viz.attributions.columns import Column
from pellucid.viz.pixels import faded
from pellucid.viz.theme import (
    Frame,
    Theme,
    escape,
    number,
    percent,
    sentences,
    shorten,
)

_LETTER = 6.6  # pixels of a letter in the texts around a panel
_LEAST = 60  # pixels of a panel; for more columns a figure of that width has no room
_NARROW = 0.64  # of the width that a report's figure keeps on a small screen


@dataclass(frozen=True)
class _Panel:
    """What one column draws, and the scale that it shares with those of its group."""

    column: Column
    maps: np.ndarray
    channels: int
    group: int
    limit: pictures.Limit
    over: bool  # over the picture

    @property
    def colors(self) -> panels.Colors:
        """The colours, an axis for each group and one more for what lies over the picture."""
        return panels.Colors(
            name=f"coloraxis{10 + 2 * self.group + self.over}",
            end=self.limit.end,
            magnitude=words.magnitude(self.column.explanation),
            zero=words.zero(self.column.explanation),
            clipped=self.limit.pixels > 0,
            clear=self.over,
        )


def grid(
    source: Result,
    found: list[Column],
    undrawn: list[str],
    *,
    most: int,
    clip: float | None,
    normalize: bool | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw a row for each sample: its picture, then a panel for each column."""
    room = int(((width or 900) - 2 * panels.EDGE + panels.GAP) / (_LEAST + panels.GAP)) - 1
    found, left_out = columns.fewer(found, max(1, min(columns.MOST, room)))
    count = len(found[0].explanation)
    shown = min(most, count)
    inputs, input_note = _inputs(found, shown)
    cells = [pictures.maps(one.explanation, shown) for one in found]
    largest = max((maps.shape[1:] for maps, _ in cells), key=lambda shape: shape[0] * shape[1])
    size = largest if inputs is None else inputs.shape[1:3]
    numbers = columns.groups(found, normalize)
    drawn = _panels(found, cells, numbers, clip, None if inputs is None else size)

    first = 0 if inputs is None else 1  # the column of the first panel
    panel_width, panel_height = panels.panel_size(size, len(found) + first, width)
    total = width or panels.figure_width(panel_width, len(found) + first)
    letters = max(8, int(panel_width * (1 if width else _NARROW) / _LETTER))
    shared = len(set(numbers)) == 1
    heads = [_head(panel, letters, shared, look) for panel in drawn]
    trusted = any(_error_known(one.explanation) for one in found)
    feet = [
        [
            _foot(one, i, found, not maps[i].any(), trusted, letters, look)
            for one, (maps, _) in zip(found, cells, strict=True)
        ]
        for i in range(shown)
    ]
    names = [_row_label(found, i, letters if first else 2 * letters) for i in range(shown)]
    deep = max(_lines(text) for row in feet for text in row)
    named = max(map(_lines, names))
    # Below its picture, a row's name cannot be taken for that of the next row.
    label = 18 + panels.LINE * (max(deep, named) if first else deep + named)
    broken = sum(int((~np.isfinite(panel.maps)).sum()) for panel in drawn)
    summed = max(panel.channels for panel in drawn)
    frame = Frame(
        title=title if title is not None else columns.title(source, found, shown),
        caption=sentences(
            [
                words.methods([one.explanation for one in found]),
                columns.scale_note(found, numbers, normalize),
                "errors not known" if not trusted else None,
                f"attributions of the channels are summed (up to {summed})" if summed > 1 else None,
                *dict.fromkeys(one.note for one in found if one.note),
                _clip_note(drawn),
                f"{broken} values are not finite (plain grey)" if broken else None,
                input_note,
                left_out,
                f"no picture of {', '.join(shorten(name) for name in undrawn[:5])}: choose it with "
                "explanation.select(place)"
                if undrawn
                else None,
                f"{shown} of {count} samples shown" if shown < count else None,
            ]
        ),
        left=panels.EDGE,
        right=panels.EDGE,
        axis=panels.BAR,
        above=8 + panels.LINE * max(map(_lines, heads)),
        width=total,
        height=height,
    )
    natural = shown * (panel_height + label)
    inner = total - 2 * panels.EDGE
    layout = panels.Grid(
        rows=shown,
        columns=len(found) + first,
        height=frame.plot_height(natural),
        panel=panel_width / inner,
        gap=panels.GAP / inner,
        label=label,
        look=look,
    )
    figure = go.Figure()
    for i in range(shown):
        identity = {"customdata": [[words.sample_id(found[0].explanation, i)]]}
        if inputs is not None:
            place = layout.place(figure, i, 0, size)
            head = f"<b>{escape(_sample(found, i))}</b>"
            panels.picture(figure, inputs[i], place, identity, head)
        for k, panel in enumerate(drawn):
            place = layout.place(figure, i, k + first, size)
            if panel.over and inputs is not None:
                paper = int(look.paper[1:3], 16)
                panels.picture(figure, faded(inputs[i], paper), place, identity)
            _draw(figure, panel, i, place, identity, size, look)
            if feet[i][k]:
                layout.below(figure, i, feet[i][k], column=k + first)
        layout.below(figure, i, names[i], line=0 if first else deep)
    if inputs is not None:
        named = any(one.name == "input" for one in found)  # a place of that name
        layout.head(figure, 0, "picture" if named else "input")
    for k, text in enumerate(heads):
        layout.head(figure, k + first, text)
    said = columns.quantity(found, shown) if shared else None
    scales = [panel.colors for panel in drawn]
    figure.update_layout(panels.color_axes(look, scales, (inner, layout.height), said))
    return frame.apply(figure, look, source, natural)


def _inputs(found: list[Column], shown: int) -> tuple[np.ndarray | None, str]:
    """Return the pictures that were explained, from the first explanation that has them."""
    for one in found:
        inputs, note = pictures.shown_inputs(one.explanation, shown)
        if inputs is not None:
            return inputs, note
    return None, ""


def _panels(
    found: list[Column],
    cells: list[tuple[np.ndarray, int]],
    numbers: list[int],
    clip: float | None,
    size: tuple[int, ...] | None,
) -> list[_Panel]:
    """Give every column its scale: the columns of a group share one."""
    limits = {}
    for group in set(numbers):
        values = [maps.ravel() for (maps, _), k in zip(cells, numbers, strict=True) if k == group]
        # One region may be larger than all that a percentile of the pixels would leave out.
        whole = any(one.regions for one, k in zip(found, numbers, strict=True) if k == group)
        limits[group] = pictures.limit(np.concatenate(values), None if whole else clip)
    return [
        _Panel(
            column=one,
            maps=maps,
            channels=channels,
            group=group,
            limit=limits[group],
            over=size is not None and maps.shape[1:] != tuple(size),
        )
        for one, (maps, channels), group in zip(found, cells, numbers, strict=True)
    ]


def _draw(
    figure: go.Figure,
    panel: _Panel,
    sample: int,
    place: dict[str, str],
    identity: dict[str, Any],
    size: tuple[int, ...],
    look: Theme,
) -> None:
    explanation = panel.column.explanation
    unit = "contribution" if words.complete(explanation) else "attribution"
    head = f"{words.hover(explanation, sample)}<br>{escape(shorten(panel.column.name, 80))}"
    panels.attribution(
        figure,
        panel.maps[sample],
        place,
        identity,
        size=size,
        colors=panel.colors.name,
        said=f"{head}<br>{unit}",
        missing=look.missing,
    )


# -- texts -----------------------------------------------------------------------------------


def _head(panel: _Panel, letters: int, shared: bool, look: Theme) -> str:
    """Return what stands above a column: its name, and its range where each has its own."""
    name = f'<span style="color:{look.ink}">{columns.wrapped(panel.column.name, letters, 3)}</span>'
    said = "all zero" if panel.limit.empty else panel.colors.range
    return name if shared else f"{name}<br>{columns.wrapped(said, letters, 2)}"


def _lines(text: str) -> int:
    return text.count("<br>") + 1 if text else 0


def _foot(
    column: Column,
    sample: int,
    found: list[Column],
    empty: bool,
    trusted: bool,
    letters: int,
    look: Theme,
) -> str:
    """Return what stands below a panel: its own score, where they differ, and how wrong it is."""
    explanation = column.explanation
    lines = ["all zero"] if empty else []
    if explanation.prediction is not None and not _same_score(found, sample):
        score = f"{explanation.units} {number(explanation.prediction[sample])}"
        lines.append(columns.wrapped(score, letters, 2))
    if not trusted:
        return "<br>".join(lines)
    error = words.at(explanation.error, sample)
    sampled = explanation.standard_error is not None
    unknown = "standard errors known" if sampled else "error not known"
    said = f"error {percent(error)}" if np.isfinite(error) else unknown
    if words.late(explanation, sample):
        said = columns.wrapped(f"▲ {said}", letters, 2)
        lines.append(f'<span style="color:{look.warning}"><b>{said}</b></span>')
    else:
        lines.append(columns.wrapped(said, letters, 2))
    return "<br>".join(lines)


def _error_known(explanation: Explanation) -> bool:
    known = (np.isfinite(words.at(explanation.error, i)) for i in range(len(explanation)))
    return explanation.standard_error is not None or any(known)


def _same_score(found: list[Column], sample: int) -> bool:
    """Whether all columns explain one score of a sample."""
    scores = set()
    for one in found:
        explanation, prediction = one.explanation, one.explanation.prediction
        told = None if prediction is None else f"{float(prediction[sample]):.4g}"
        scores.add((explanation.units, explanation.target_name(sample), told))
    return len(scores) == 1


def _sample(found: list[Column], sample: int) -> str:
    """Return a sample's name, with what is explained where that is the same in every column."""
    targets = {words.target(one.explanation, sample) for one in found}
    first = found[0].explanation
    if len(targets) == 1:
        return words.heading(first, sample)
    return f"Sample {shorten(words.sample_id(first, sample))}"


def _row_label(found: list[Column], sample: int, letters: int) -> str:
    """Return a sample's name, and its score where that is the same in every column."""
    first = found[0].explanation
    said = f"<b>{columns.wrapped(_sample(found, sample), letters, 3)}</b>"
    if first.prediction is not None and _same_score(found, sample):
        score = f"{first.units} {number(first.prediction[sample])}"
        said += f"<br>{columns.wrapped(score, letters, 2)}"
    return said


def _clip_note(drawn: list[_Panel]) -> str:
    """Return how much is clipped, at most, in words."""
    limits = {panel.group: (panel.limit, panel.colors.magnitude) for panel in drawn}
    if len(limits) == 1:
        limit, magnitude = next(iter(limits.values()))
        return limit.note(magnitude)
    clipped = [limit for limit, _ in limits.values() if limit.pixels]
    empty = sum(limit.empty for limit, _ in limits.values())
    said = "every attribution of one column is zero" if empty == 1 else ""
    if empty > 1:
        said = f"every attribution of {empty} columns is zero"
    if not clipped:
        return said
    worst = max(clipped, key=lambda limit: limit.mass)
    return f"colours clipped at each column's end: at most {worst.shares()}" + (
        f"; {said}" if said else ""
    )
