"""The learning rate over a training, above the loss."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT
from pellucid.viz.theme import Frame, escape, expect, number, sentences, shorten, theme_of
from pellucid.viz.training import lines
from pellucid.viz.training.lines import Line
from pellucid.viz.training.metrics import is_learning_rate, is_loss
from pellucid.viz.training.steps import (
    axis_name,
    clean,
    log_axis,
    panels,
    positive_extent,
    set_legend,
    set_steps,
    steps_note,
    when,
)

_JUMP = 2.0  # the factor from which on a change between two records is marked
_STEADY = 3.0  # a change is no jump if one next to it is more than a third of it
_MARKS = 12


def learning_rate(
    run: Run,
    *,
    metrics: list[str] | None = None,
    log_x: bool = False,
    log_y: bool | None = None,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the learning rate's schedule, and the losses below it over the same steps.

    A dotted line goes through both where the rate jumps by a factor of two or more, so that a drop
    of the loss and its cause are seen together.

    Parameters
    ----------
    run
        What was recorded.
    metrics
        What to draw below; None for the losses.
    log_x
        Whether the steps have a logarithmic axis.
    log_y
        Whether the rates have a logarithmic axis; None for one where they span more than a factor
        of 20.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for one that names the run.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If the run holds no learning rate, or no metric of a name that is asked for.
    InputTypeError
        If it is not a Run.
    """
    look = theme_of(theme)
    expect(run, Run, "learning_rate")
    held = {name: pair for name, pair in run.metrics.items() if len(pair[0])}
    rates, groups = _distinct([_line(run, name) for name in held if is_learning_rate(name)])
    if not rates:
        raise InputError(
            f"the run {run.name!r} holds no learning rate; record it as the metric 'learning_rate'"
        )
    wanted = [name for name in held if is_loss(name)] if metrics is None else metrics
    missing = [name for name in wanted if name not in held]
    if missing:
        known = ", ".join(map(repr, held))
        raise InputError(f"the run {run.name!r} has no metric {missing[0]!r}; there are {known}")
    losses = [_line(run, name) for name in wanted]
    values = np.concatenate([one.drawn for one in rates])
    above = values[values > 0]
    if log_y is None:
        log_y = bool(above.size and above.max() > 20 * above.min())
    figure = go.Figure()
    ends = []
    for row, drawn in enumerate([rates, losses] if losses else [rates]):
        bottom, top = lines.extent(drawn, log_y and row == 0)
        ends.append((bottom, top))
        for one in drawn:
            k = (rates + losses).index(one)
            style = {"color": look.classes[k % len(look.classes)], "dash": "solid"}
            group = escape(shorten(one.name))
            lines.draw(figure, one, style, axis_name(row), bottom, label=group, group=group)
    heights = [170.0, 220.0][: len(ends)] if losses else [260.0]
    titles = ["learning rate", "loss" if metrics is None else "metric"][: len(heights)]
    plot = panels(figure, titles, heights)
    first = log_axis(*positive_extent(values)) if log_y else {"range": ends[0]}
    figure.update_layout(yaxis=first)
    if losses:
        figure.update_layout(yaxis2={"range": ends[1]})
    jumps = _jumps(rates)
    for step in jumps[:_MARKS]:
        figure.add_shape(
            type="line", x0=step, x1=step, y0=0, y1=1, xref="x", yref="paper", layer="below",
            line={"color": look.quiet, "width": 1, "dash": "dot"},
        )  # fmt: skip
    xs = [one.x for one in rates + losses]
    set_steps(figure, run.step_unit, log_x, xs)
    figure.update_layout(hovermode="x unified")
    hidden = int((values <= 0).sum()) if log_y else 0
    frame = Frame(
        title=f"Learning rate of {run.name}" if title is None else title,
        caption=sentences(
            [
                _range(above) if above.size else None,
                groups,
                _jump_note(jumps, run.step_unit),
                lines.thinned_note(sum(len(x) > LIMIT for x in xs), len(xs)),
                f"{hidden} rates of 0 have no place on a logarithmic axis" if hidden else None,
                steps_note(log_x, xs, run.step_unit),
                lines.broken_note(sum(one.broken.size for one in rates + losses)),
            ]
        ),
        left=76,
        axis=52,
        above=set_legend(figure, width, 100),
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, plot)


def _line(run: Run, name: str) -> Line:
    return lines.single(name, *clean(run.metrics[name]))


def _distinct(rates: list[Line]) -> tuple[list[Line], str | None]:
    """Draw groups of parameters with the same schedule once."""
    kept: list[Line] = []
    same = 0
    for one in rates:
        if any(
            np.array_equal(one.x, k.x) and np.array_equal(one.values, k.values, equal_nan=True)
            for k in kept
        ):
            same += 1
        else:
            kept.append(one)
    note = f"{same} more groups of parameters have the same rates" if same > 1 else None
    return kept, note or ("1 more group of parameters has the same rates" if same else None)


def _range(above: np.ndarray) -> str:
    low, high = float(above.min()), float(above.max())
    return number(low) if low == high else f"rates from {number(low)} to {number(high)}"


def _jumps(rates: list[Line]) -> list[float]:
    """Return the steps at which a rate is a factor of two from that of the record before."""
    found: set[float] = set()
    for one in rates:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.abs(np.log(one.values[1:] / one.values[:-1]))
        # The end of a cosine falls fast too, but steadily.
        around = np.pad(np.where(np.isfinite(factor), factor, 0.0), 1)
        steady = np.maximum(around[:-2], around[2:]) > factor / _STEADY
        jumped = np.isfinite(factor) & (factor >= np.log(_JUMP) - 1e-9) & ~steady
        found |= set(one.x[1:][jumped].tolist())
    return sorted(found)


def _jump_note(jumps: list[float], unit: str) -> str | None:
    if not jumps:
        return None
    told = ", ".join(when(step) for step in jumps[:4]) + (" …" if len(jumps) > 4 else "")
    first = f" (the first {_MARKS} of {len(jumps)})" if len(jumps) > _MARKS else ""
    return f"dotted: the rate changes by a factor of 2 or more, at {unit} {told}{first}"
