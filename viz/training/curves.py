"""Losses and other metrics over a training, or over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT
from pellucid.viz.theme import Frame, Theme, escape, sentences, shorten, theme_of
from pellucid.viz.training import lines
from pellucid.viz.training.comparison import Runs, chosen, compare_runs, grouped, place
from pellucid.viz.training.lines import Line
from pellucid.viz.training.metrics import is_learning_rate, is_loss, is_speed
from pellucid.viz.training.steps import (
    axis_name,
    log_axis,
    panels,
    set_legend,
    set_steps,
    steps_note,
)

_PANELS = 4
_DASHES = ("solid", "dash", "dot", "dashdot")
smooth = lines.smooth


def loss_curves(
    run: Run | Sequence[Run] | Mapping[str, Run | Sequence[Run]],
    *,
    metrics: Sequence[str] | None = None,
    smoothing: float = 0.0,
    band: Literal["std", "range"] | None = "std",
    x: Literal["step", "seconds"] = "step",
    log_x: bool = False,
    log_y: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw a training's losses, and its other metrics below them; or compare several trainings.

    Of one run, each metric has its colour. Of several, each run has its colour, a panel shows one
    quantity of all of them, and lines are solid for training, dashed for validation, dotted for
    test data.

    Parameters
    ----------
    run
        What was recorded. Several runs: a list, or a dict of names and runs. In a dict, a list of
        runs is one training repeated with several seeds, drawn as their mean with a band.
    metrics
        Names of those to draw; None for all but speeds (of several runs, for what the first
        panels hold).
    smoothing
        Weight of the past in an exponential moving average, from 0 (none) to below 1, for the
        metric that is recorded most often; others are smoothed over the same stretch of steps. The
        smoothed line is drawn over the recorded one, never in its place.
    band
        Around the mean of repeated runs: ``"std"`` for one sample standard deviation on both
        sides, ``"range"`` from the lowest to the highest, None for no band.
    x
        ``"step"``, or ``"seconds"`` since each run's start.
    log_x
        Whether the steps have a logarithmic axis.
    log_y
        Whether the losses have a logarithmic axis.
    theme
        ``"light"`` or ``"dark"``.
    title
        The figure's title; None for the run's name.
    width, height
        In pixels; None for the width that there is, and a fitting height.

    Returns
    -------
    plotly.graph_objects.Figure
        The figure; change it as you like.

    Raises
    ------
    InputError
        If a run has no values or lacks a metric that is asked for, if `smoothing` is outside of 0
        to 1, or if seconds are asked for and a run holds no clock.
    InputTypeError
        If it is neither a Run nor several.
    """
    look = theme_of(theme)
    runs = grouped(run, "loss_curves")
    lines.check_smoothing(smoothing)
    if band not in ("std", "range", None):
        raise InputError(f"band is 'std', 'range' or None; got {band!r}")
    if x not in ("step", "seconds"):
        raise InputError(f"x is 'step' or 'seconds'; got {x!r}")
    runs = chosen(runs, metrics)
    if not isinstance(run, Run):
        figure, frame, plot = compare_runs(
            runs, look, x=x, band=band, smoothing=smoothing, log_x=log_x, log_y=log_y,
            title=title, width=width, height=height,
        )  # fmt: skip
        return frame.apply(figure, look, runs.all[0], plot)
    return _one(runs, look, x, smoothing, log_x, log_y, title, width, height)


def _one(
    runs: Runs,
    look: Theme,
    x: str,
    smoothing: float,
    log_x: bool,
    log_y: bool,
    title: str | None,
    width: int | None,
    height: int | None,
) -> go.Figure:
    """Draw one run, a colour for each metric."""
    run = runs.all[0]
    found = {name: lines.single(name, *place(run, name, x)) for name in runs.metrics}
    losses = [name for name in found if is_loss(name)]
    weights = dict(zip(found, lines.weights(list(found.values()), smoothing), strict=True))
    rows = _panels(found, losses)
    figure = go.Figure()
    hidden = 0
    ends = []
    for row, names in enumerate(rows):
        logarithmic = log_y and names is losses
        drawn = [found[name] for name in names]
        bottom, top = lines.extent(drawn, logarithmic)
        ends.append((bottom, top, logarithmic))
        for one in drawn:
            k = runs.metrics.index(one.name)
            color = look.classes[k % len(look.classes)]
            style = {"color": color, "dash": _DASHES[k // len(look.classes) % len(_DASHES)]}
            group = escape(shorten(one.name))
            lines.draw(
                figure, one, style, axis_name(row), bottom,
                label=group, group=group,
                smoothing=weights[one.name],
            )  # fmt: skip
            lines.mark_best(
                figure, one, color, axis_name(row), look,
                where=run.step_unit if x == "step" else "second", group=group, legend=True,
            )  # fmt: skip
            if logarithmic:
                hidden += int((one.values <= 0).sum())
    titles = ["loss" if names is losses else _panel_title(names) for names in rows]
    plot = panels(figure, titles, [300.0] if len(rows) == 1 else [180.0] * len(rows))
    for row, (bottom, top, logarithmic) in enumerate(ends):
        axis = log_axis(bottom, top) if logarithmic else {"range": [bottom, top]}
        figure.update_layout({f"yaxis{axis_name(row)[1:]}": axis})
    xs = [one.x for one in found.values()]
    unit = run.step_unit if x == "step" else "seconds since the start"
    set_steps(figure, unit, log_x, xs)
    figure.update_layout(hovermode="x unified")
    thinned = sum(len(one.x) > LIMIT for one in found.values())
    broken = sum(one.broken.size for one in found.values())
    frame = Frame(
        title=run.name if title is None else title,
        caption=sentences(
            [
                lines.smoothing_note(smoothing, list(weights.values())),
                lines.thinned_note(thinned, len(found)),
                f"{hidden} values ≤ 0 have no place on a logarithmic axis" if hidden else None,
                steps_note(log_x, xs, unit),
                lines.broken_note(broken),
            ]
        ),
        left=70,
        axis=52,
        above=set_legend(
            figure, width, 94, f"smoothed with weight {smoothing:g}" if smoothing else ""
        ),
        width=width,
        height=height,
    )
    return frame.apply(figure, look, run, plot)


def _panels(found: dict[str, Line], losses: list[str]) -> list[list[str]]:
    """Sort metrics into panels: losses, others with those of a similar size, the machine's."""
    rows = [losses] if losses else []

    def size(name: str) -> float:
        return float(np.nanmax(np.abs(found[name].drawn), initial=0.0))

    rest = sorted((name for name in found if name not in losses), key=size, reverse=True)
    for kind in (_is_quality, is_learning_rate, is_speed):
        last = None
        for name in (name for name in rest if kind(name)):
            # A learning rate beside an accuracy would be a flat line at zero.
            if last is None or (size(name) < last / 50 and len(rows) < _PANELS):
                rows.append([])
                last = size(name)
            rows[-1].append(name)
    return rows


def _is_quality(name: str) -> bool:
    return not is_learning_rate(name) and not is_speed(name)


def _panel_title(names: list[str]) -> str:
    if len(names) == 1:
        return escape(shorten(names[0], 22))
    if all(map(is_learning_rate, names)):
        return "learning rate"
    return "per second" if all(map(is_speed, names)) else "other metrics"
