"""Rows of a table by several methods or for several targets: bars side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pellucid.interpret.results import Result
from pellucid.viz import bars
from pellucid.viz.attributions import columns, features, words
from pellucid.viz.attributions.columns import Column
from pellucid.viz.theme import Frame, Theme, compact, escape, number, sentences, shorten

_TOP = 12  # features drawn
_PANELS = 5  # columns that have room beside each other
_PANEL = 60  # pixels that one needs at least
_BAR = 9  # pixels of one of several bars of a feature


def alike(found: list[Column]) -> bool:
    """Whether all columns are of rows of the same features."""
    shapes = {one.explanation.values.shape for one in found}
    named = {one.explanation.feature_names for one in found} - {None}
    groups = {features.groups(one.explanation) for one in found}
    alike = len(shapes) == 1 and len(named) <= 1 and len(groups) == 1
    return alike and len(next(iter(shapes))) == 2


@dataclass(frozen=True)
class _Table:
    """The features drawn, the largest first, with each column's values of them.

    Attributes
    ----------
    values, errors
        Shape (columns, features drawn); the last feature is the sum of the rest if there is a rest.
    numbers
        The scale of each column.
    """

    found: list[Column]
    labels: list[str]
    names: list[str]
    values: np.ndarray
    errors: np.ndarray
    numbers: list[int]

    def trace(self, k: int, look: Theme, **style: Any) -> go.Bar:
        """Return the bars of one column."""
        column, explanation = self.found[k], self.found[k].explanation
        head = f"{words.hover(explanation, 0)}<br>{escape(shorten(column.name, 80))}"
        return go.Bar(
            x=compact(np.where(np.isfinite(self.values[k]), self.values[k], 0.0)),
            y=np.arange(len(self.labels)),
            orientation="h",
            customdata=[[words.sample_id(explanation, 0)]] * len(self.labels),
            hovertext=[
                f"{head}<br>{escape(shorten(name, 200))}<br>{escape(bars.signed(value, error))}"
                for name, value, error in zip(
                    self.names, self.values[k], self.errors[k], strict=True
                )
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            **bars.whiskers(self.errors[k], look),
            **style,
        )


def bars_by_column(
    source: Result,
    found: list[Column],
    *,
    normalize: bool | None,
    look: Theme,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw the first sample's largest features: one scale as grouped bars, else panel by panel."""
    one_scale = len(set(columns.groups(found, normalize))) == 1
    room = (width or 900) - 240
    most = columns.MOST if one_scale else max(2, min(_PANELS, room // _PANEL))
    found, left_out = columns.fewer(found, most)
    table, rest = _table(found, columns.groups(found, normalize))
    first = found[0].explanation
    figure = go.Figure()
    bars.set_rows(figure, table.labels, [], look)
    sides: dict[str, int] = bars.sides(table.labels, [""])
    if one_scale:
        natural, axis, above = _together(figure, table, look)
    else:
        # A report makes a figure of no width narrower on a small screen, down to 576 pixels.
        room = (width or 576) - sides["left"] - sides["right"]
        natural, axis, above = _panel_by_panel(figure, table, look, room / len(found))
    count = len(first)
    targets = {words.target(one.explanation, 0) for one in found}
    score = words.score(first, next(iter(targets)) if len(targets) == 1 else "")
    frame = Frame(
        title=title
        if title is not None
        else f"Sample {shorten(words.sample_id(first, 0))}: what the {score} rests on",
        caption=sentences(
            [
                words.methods([one.explanation for one in found]),
                columns.scale_note(found, table.numbers, normalize),
                *[
                    f"{shorten(one.name, 40)}: {words.trust(one.explanation, 0)}"
                    for one in found
                    if words.trust(one.explanation, 0) != "error not known"
                ],
                "whiskers: ± one standard error" if np.isfinite(table.errors).any() else None,
                f"{rest} smaller features are summed" if rest else None,
                left_out,
                f"the first of {count} samples" if count > 1 else None,
            ]
        ),
        **sides,
        axis=axis,
        above=above,
        width=width,
        height=height,
    )
    return frame.apply(figure, look, source, natural)


def _table(found: list[Column], numbers: list[int]) -> tuple[_Table, int]:
    """Choose the features that are largest in any column, each measured by its own scale."""
    values = np.array([one.explanation.values[0] for one in found], dtype=np.float64)
    errors = np.full(values.shape, np.nan)
    for k, one in enumerate(found):
        if one.explanation.standard_error is not None:
            found_errors = np.asarray(one.explanation.standard_error[0], dtype=np.float64)
            errors[k] = np.where(found_errors > 0, found_errors, np.nan)
    sizes = np.nan_to_num(np.abs(values), nan=0.0, posinf=0.0)
    ends = np.array([_end(sizes, numbers, k) for k in range(len(found))])
    order = np.argsort(-(sizes / ends[:, None]).max(axis=0), kind="stable")
    kept, rest = order[:_TOP], order[_TOP:]
    if len(rest) == 1:  # a bar that stands for "1 other feature" may as well be that feature
        kept, rest = order, rest[:0]
    first = found[0].explanation
    labels = [features.valued(first, 0, i) for i in kept]
    names = [features.name(first, i) for i in kept]
    shown, whiskers = values[:, kept], errors[:, kept]
    if rest.size:
        said = f"{rest.size} other features"
        labels, names = [*labels, said], [*names, said]
        shown = np.concatenate([shown, values[:, rest].sum(axis=1, keepdims=True)], axis=1)
        whiskers = np.concatenate([whiskers, np.full((len(found), 1), np.nan)], axis=1)
    return _Table(found, labels, names, shown, whiskers, numbers), rest.size


def _end(sizes: np.ndarray, numbers: list[int], column: int) -> float:
    """Return the largest magnitude among the columns that share a scale with this one."""
    same = [k for k, number_ in enumerate(numbers) if number_ == numbers[column]]
    return float(sizes[same].max(initial=0)) or 1.0


def _together(figure: go.Figure, table: _Table, look: Theme) -> tuple[float, int, int]:
    """Draw grouped bars on one axis; return the pixels of the plot, below and above it."""
    for k, one in enumerate(table.found):
        color = look.classes[k % len(look.classes)]
        figure.add_trace(
            table.trace(
                k, look, name=escape(shorten(one.name, 40)), marker_color=color, offsetgroup=k
            )
        )
    said = f"{columns.quantity(table.found, 1)} (0: no effect)"
    figure.update_xaxes(title_text=escape(shorten(said, 90)))
    figure.update_layout(
        showlegend=True,
        barmode="group",
        bargap=0.3,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "traceorder": "normal",
            "itemsizing": "constant",
        },
    )
    row = max(bars.ROW, _BAR * len(table.found) / 0.7)
    letters = sum(len(shorten(one.name, 40)) + 7 for one in table.found)
    return row * len(table.labels), 52, 10 + 20 * (1 + int(letters * 7 / 420))


def _panel_by_panel(
    figure: go.Figure, table: _Table, look: Theme, room: float
) -> tuple[float, int, int]:
    """Draw a panel for each column, each with its own axis, signed ones centred on zero."""
    count = len(table.found)
    gap = 0.05
    share = (1 - gap * (count - 1)) / count
    letters = max(8, int(room / 6.6))
    lines = 1
    sizes = np.nan_to_num(np.abs(table.values), nan=0.0, posinf=0.0)
    for k, one in enumerate(table.found):
        axis = "x" if k == 0 else f"x{k + 1}"
        colors = [look.negative if value < 0 else look.positive for value in table.values[k]]
        if words.magnitude(one.explanation):
            colors = [look.neutral] * len(colors)
        figure.add_trace(table.trace(k, look, marker_color=colors, xaxis=axis))
        end = _end(sizes, table.numbers, k)
        begin = 0.0 if words.magnitude(one.explanation) else -end
        left = k * (share + gap)
        ticks = np.unique([0 if begin == 0 else -_round(end), 0, _round(end)])
        figure.update_layout(
            {
                axis.replace("x", "xaxis"): {
                    "domain": [left, left + share],
                    "anchor": "y",
                    "range": [1.08 * begin, 1.08 * end],
                    "tickvals": ticks,
                    "ticktext": [number(tick) for tick in ticks],
                    "tickangle": 0,
                    "zeroline": True,
                }
            }
        )
        unit = "contribution" if words.complete(one.explanation) else "attribution"
        head = columns.wrapped(one.name, letters, 3)
        if letters >= len(unit):
            head += f'<br><span style="color:{look.quiet}">{unit}</span>'
        lines = max(lines, head.count("<br>") + 1)
        figure.add_annotation(
            text=head,
            x=left + share / 2,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="center",
            yanchor="bottom",
            showarrow=False,
            font={"color": look.ink},
        )
    return bars.ROW * len(table.labels), 34, 8 + 15 * lines


def _round(end: float) -> float:
    """Return the largest number with one digit, 1, 2 or 5, that is not beyond the end."""
    power = 10.0 ** np.floor(np.log10(end))
    return float(power * max(step for step in (1, 2, 5) if step * power <= end * 1.0001))
