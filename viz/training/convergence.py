"""Whether a training is still improving, and how far validation lies behind training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT, decimate
from pellucid.viz.theme import Frame, Theme, escape, number, percent, sentences, shorten, theme_of
from pellucid.viz.training import lines
from pellucid.viz.training.comparison import Runs, grouped, run_colors
from pellucid.viz.training.metrics import is_loss, lower_is_better, role, subject
from pellucid.viz.training.steps import (
    Track,
    clean,
    line,
    log_axis,
    panels,
    positive_extent,
    set_legend,
    set_steps,
    steps_note,
    when,
)

_NEAR = 0.01  # of the best value: what counts as having reached it
_LAST = 0.25  # of the training: what counts as lately
_TOLD = 4  # runs about which the caption has a sentence each


def convergence(
    run: Run | Sequence[Run] | Mapping[str, Run],
    *,
    metric: str | None = None,
    best: Literal["auto", "lowest", "highest"] = "auto",
    log_x: bool = False,
    theme: str = "light",
    title: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw whether a training is still improving.

    Three panels: the metric with the best value so far; how far that is from the best of the whole
    training, on a logarithmic axis, where a straight line is steady progress and a flat one is
    none; and how far validation lies behind training. The caption says in numbers since when the
    best was nearly reached, and what the last quarter of the training brought. Nothing is fitted.

    Parameters
    ----------
    run
        What was recorded; several in a list, or in a dict of names and runs.
    metric
        The one to judge by; None for the loss on validation data, or else on training data.
    best
        ``"lowest"``, ``"highest"``, or ``"auto"`` to tell by the metric's name.
    log_x
        Whether the steps have a logarithmic axis.
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
        If a run has no such metric or nothing finite of it, or the name does not say whether high
        or low is better.
    InputTypeError
        If it is neither a Run nor several.
    """
    look = theme_of(theme)
    runs = grouped(run, "convergence")
    if any(len(group) > 1 for group in runs.groups.values()):
        raise InputError(
            "viz.convergence draws one run for each name; viz.loss_curves draws repetitions with "
            "their mean"
        )
    if metric is None:
        metric = _metric(runs)
    lower = _direction(metric, best)
    found = {name: _progress(group[0], metric, lower) for name, group in runs.groups.items()}
    gaps = {
        name: gap for name, group in runs.groups.items() if (gap := _gap(group[0], metric, lower))
    }
    figure, plot = _draw(found, gaps, runs, look, metric, log_x)
    unit = runs.unit
    xs = [one.steps for one in found.values()]
    several = len(found) > 1
    told = [
        (f"{shorten(name, 30)}: " if several else "") + one.sentence(unit)
        for name, one in list(found.items())[:_TOLD]
    ]
    frame = Frame(
        title=_title(runs) if title is None else title,
        caption=sentences(
            [
                *told,
                f"and {len(found) - _TOLD} more runs" if len(found) > _TOLD else None,
                "gap: each validation value minus the mean of the training values recorded since "
                "the one before it"
                if gaps
                else None,
                lines.thinned_note(sum(len(x) > LIMIT for x in xs), len(xs)),
                lines.broken_note(sum(int((~np.isfinite(o.values)).sum()) for o in found.values())),
                steps_note(log_x, xs, unit),
            ]
        ),
        left=76,
        axis=52,
        above=set_legend(figure, width, 100),
        width=width,
        height=height,
    )
    return frame.apply(figure, look, runs.all[0], plot)


def _title(runs: Runs) -> str:
    names = [shorten(name, 40) for name in runs.groups]
    return f"Convergence of {names[0] if len(names) == 1 else f'{len(names)} trainings'}"


# -- what is drawn ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Progress:
    """A metric, and its best value up to each step (NaN before the first that is finite)."""

    steps: np.ndarray
    values: np.ndarray
    best: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """How far the best so far is from the best of all."""
        found: np.ndarray = np.abs(self.best - self.best[-1])
        return found

    @property
    def reached(self) -> int:
        """The position of the best of all."""
        return int(np.flatnonzero(self.best == self.best[-1])[0])

    @property
    def nearly(self) -> int:
        """The position since which the best so far is within 1 % of the best of all."""
        far = ~(self.distance <= _NEAR * abs(self.best[-1]))
        return int(np.flatnonzero(far)[-1]) + 1 if far.any() else 0

    def sentence(self, unit: str) -> str:
        """Say where it stands."""
        best, last = self.best[-1], self.steps[-1]
        at = self.steps[self.reached]
        parts = [f"best {number(best)} at {unit} {when(at)} of {when(last)}"]
        if self.nearly < self.reached:
            parts.append(f"within 1 % of it since {when(self.steps[self.nearly])}")
        since = last - _LAST * (last - self.steps[0])
        before = self.best[np.flatnonzero(self.steps <= since)[-1]]
        if len(self.steps) > 1 and np.isfinite(before):
            gain = abs(best - before)
            relative = f" ({percent(gain / abs(before))})" if before else ""
            parts.append(
                f"better by {number(gain)}{relative} in the last quarter"
                if gain
                else "no better in the last quarter"
            )
        return ", ".join(parts)


def _metric(runs: Runs) -> str:
    """Return the metric to judge by: a validation loss if every run has one."""

    def everywhere(kind: str) -> list[str]:
        return [
            name
            for name in runs.all[0].metrics
            if is_loss(name)
            and role(name) == kind
            and all(name in r.metrics and np.isfinite(r.metrics[name][1]).any() for r in runs.all)
        ]

    for kind in ("validation", "test", "training"):
        names = everywhere(kind)
        if names:
            return min(names, key=len)
    known = ", ".join(repr(name) for name in runs.all[0].metrics) or "no metrics"
    raise InputError(
        f"no loss with finite values is in every run; name a metric with metric=; the first run "
        f"has {known}"
    )


def _direction(metric: str, best: str) -> bool:
    if best not in ("auto", "lowest", "highest"):
        raise InputError(f"best is 'auto', 'lowest' or 'highest'; got {best!r}")
    lower = lower_is_better(metric) if best == "auto" else best == "lowest"
    if lower is None:
        raise InputError(
            f"the name {metric!r} does not say whether high or low is better; give best='lowest' "
            "or best='highest'"
        )
    return lower


def _progress(run: Run, metric: str, lower: bool) -> _Progress:
    if metric not in run.metrics or not np.isfinite(run.metrics[metric][1]).any():
        known = ", ".join(repr(name) for name in run.metrics) or "none"
        raise InputError(
            f"the run {run.name!r} has no finite value of a metric {metric!r}; it has {known}"
        )
    steps, values = clean(run.metrics[metric])
    finite = np.where(np.isfinite(values), values, np.inf if lower else -np.inf)
    best = (np.minimum if lower else np.maximum).accumulate(finite)
    return _Progress(steps, values, np.where(np.isfinite(best), best, np.nan))


def _gap(run: Run, metric: str, lower: bool) -> Track | None:
    """Return how far a validation metric lies behind that of training; positive is worse."""
    pairs = [(metric, other) for other in run.metrics if subject(other) == subject(metric)]
    held = [name for pair in pairs for name in pair if role(name) != "training"]
    seen = [name for pair in pairs for name in pair if role(name) == "training"]
    if not held or not seen:
        return None
    one = metric if metric in held else held[0]
    (steps, values), (at, training) = clean(run.metrics[one]), clean(run.metrics[seen[0]])
    finite = np.isfinite(training)
    at, sums = at[finite], np.concatenate([[0.0], np.cumsum(training[finite])])
    ends = np.searchsorted(at, steps, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    counts = ends - starts
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (sums[ends] - sums[starts]) / counts
    gap = np.where(np.isfinite(values) & (counts > 0), values - mean, np.nan)
    if not np.isfinite(gap).any():
        return None
    return steps, gap if lower else -gap


# -- drawing ---------------------------------------------------------------------------------


def _draw(
    found: dict[str, _Progress],
    gaps: dict[str, Track],
    runs: Runs,
    look: Theme,
    metric: str,
    log_x: bool,
) -> tuple[go.Figure, float]:
    """Draw the panels; return their height in pixels."""
    figure = go.Figure()
    colors = dict(zip(found, run_colors(len(found), look), strict=True))
    several = len(found) > 1
    recorded = [lines.single(metric, one.steps, one.values) for one in found.values()]
    bottom, top = lines.extent(recorded, logarithmic=False)
    for (name, one), track in zip(found.items(), recorded, strict=True):
        color, group = colors[name], escape(shorten(name, 40))
        style = {"color": color, "dash": "solid"}
        lines.draw(
            figure, track, style, "y", bottom,
            label="as recorded", group=group, legend=not several, opacity=0.4,
        )  # fmt: skip
        label = group if several else "best so far"
        _line(figure, one.steps, one.best, label, group, color, "y")
        at = one.reached
        figure.add_scatter(
            x=one.steps[at : at + 1], y=one.best[at : at + 1], yaxis="y", mode="markers",
            marker={"symbol": "star", "size": 13, "color": color,
                    "line": {"color": look.paper, "width": 1}},
            name=f"best: {escape(number(one.best[-1]))} at {when(one.steps[at])}",
            legendgroup=group, showlegend=not several,
            hovertemplate=f"best: {number(one.best[-1])}<extra></extra>",
        )  # fmt: skip
        far = np.where(one.distance > 0, one.distance, np.nan)
        _line(figure, one.steps, far, "above its best", group, color, "y2", legend=False)
        if name in gaps:
            _line(figure, *gaps[name], "gap", group, color, "y3", legend=False, shape="linear")
    said = escape(shorten(metric, 24))
    titles = [said, "distance from<br>its best"]
    if gaps:
        titles.append("validation<br>behind training")
    plot = panels(figure, titles, [200.0, 170.0, 140.0][: len(titles)])
    distances = np.concatenate([one.distance for one in found.values()])
    figure.update_layout(
        yaxis={"range": [bottom, top]}, yaxis2=log_axis(*positive_extent(distances))
    )
    if gaps:
        figure.update_layout(yaxis3={"zeroline": True, "rangemode": "tozero"})
    set_steps(figure, runs.unit, log_x, [one.steps for one in found.values()])
    figure.update_layout(hovermode="x unified")
    return figure, plot


def _line(
    figure: go.Figure,
    x: np.ndarray,
    y: np.ndarray,
    name: str,
    group: str,
    color: str,
    axis: str,
    legend: bool = True,
    shape: str = "hv",
) -> None:
    kept = decimate(y)
    figure.add_trace(
        line(
            x[kept], y[kept], name=name, legendgroup=group, showlegend=legend, yaxis=axis,
            line={"color": color, "width": 2, "shape": shape}, marker={"color": color},
            hovertemplate="%{y:.4~g}",
        )
    )  # fmt: skip
