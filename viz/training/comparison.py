"""Several trainings side by side: a colour for each, seeds as their mean with a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Run
from pellucid.viz.scale import LIMIT
from pellucid.viz.theme import Frame, Theme, escape, sentences, shorten
from pellucid.viz.training import lines
from pellucid.viz.training.lines import Line
from pellucid.viz.training.metrics import (
    is_counter,
    is_learning_rate,
    is_loss,
    is_speed,
    role,
    subject,
)
from pellucid.viz.training.steps import (
    Track,
    axis_name,
    clean,
    log_axis,
    panels,
    seconds,
    set_legend,
    set_steps,
    steps_note,
)

_PANELS = 6
_DASHES = {"training": "solid", "validation": "dash", "test": "dot"}
_BANDS = {"std": "± one sample standard deviation", "range": "from the lowest to the highest"}


@dataclass(frozen=True)
class Runs:
    """What is drawn: trainings by name, each with its repetitions, and the metrics of them."""

    groups: dict[str, list[Run]]
    metrics: list[str]

    @property
    def all(self) -> list[Run]:
        """Every run."""
        return [run for group in self.groups.values() for run in group]

    @property
    def unit(self) -> str:
        """What a step is."""
        units = {run.step_unit for run in self.all}
        if len(units) > 1:
            raise InputError(
                f"the runs count in different units ({', '.join(sorted(units))}) and cannot share "
                "an axis of steps; give x='seconds', or draw them one by one"
            )
        return units.pop()


def grouped(run: Any, function: str) -> Runs:
    """Return one run, a list of runs, or a dict of names and runs in one form."""
    if isinstance(run, Run):
        return Runs({run.name: [run]}, [])
    groups: dict[str, list[Run]] = {}
    if isinstance(run, Mapping):
        for name, part in run.items():
            groups[str(name)] = [part] if isinstance(part, Run) else _runs(part, function)
    else:
        for k, part in enumerate(_runs(run, function)):
            taken = part.name in groups
            groups[f"{part.name} ({k + 1})" if taken else part.name] = [part]
    if not groups or not all(groups.values()):
        raise InputError(f"viz.{function} was given no run to draw, or a name without one")
    return Runs(groups, [])


def _runs(found: Any, function: str) -> list[Run]:
    parts = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    for part in parts:
        if not isinstance(part, Run):
            raise InputTypeError(
                f"viz.{function} draws a Run, a list of them, or a dict of names and runs, but "
                f"was given a {type(part).__name__}; viz.figure(result) picks the function for "
                "any result"
            )
    return parts


def chosen(runs: Runs, metrics: Sequence[str] | None) -> Runs:
    """Choose the metrics to draw: those asked for, or all that have values."""
    known = {name: True for run in runs.all for name, pair in run.metrics.items() if len(pair[0])}
    if metrics is None:
        # Other tools write the epoch beside the step as if it were measured; and how fast a
        # training ran is not how it went.
        left_out = (is_counter, is_speed)
        wanted = [name for name in known if not any(is_(name) for is_ in left_out)] or list(known)
    else:
        wanted = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
        missing = [name for name in wanted if name not in known]
        if missing:
            raise InputError(
                f"no run has values of the metric {missing[0]!r}; there are "
                f"{', '.join(map(repr, known)) or 'none'}"
            )
    if not wanted:
        names = ", ".join(repr(run.name) for run in runs.all[:3])
        raise InputError(f"the run {names} has no values to draw")
    return replace(runs, metrics=wanted)


def place(run: Run, metric: str, x: str) -> Track:
    """Return where a metric's values stand, and the values."""
    steps, values = clean(run.metrics[metric])
    return (steps if x == "step" else seconds(run, steps)), values


def run_colors(count: int, look: Theme) -> list[str]:
    """Return a colour for each run: told apart, or for many of them from first to last."""
    if count <= len(look.classes):
        return list(look.classes[:count])
    sampled = sample_colorscale([list(s) for s in look.points], np.linspace(0, 1, count).tolist())
    parts = [text[text.index("(") + 1 : -1].split(",") for text in sampled]
    return ["#" + "".join(f"{round(float(part)):02x}" for part in color) for color in parts]


# -- repetitions -----------------------------------------------------------------------------


def combine(name: str, tracks: Sequence[Track], band: str | None) -> tuple[Line, str | None]:
    """Return the mean of a metric over repetitions, and how their steps were brought together.

    Repetitions are compared on the steps that all of them have. Where fewer than half of the
    shortest one's steps are shared, all are interpolated on those of its steps that lie within the
    others.
    """
    if len(tracks) == 1:
        return lines.single(name, *tracks[0]), None
    unique = [_one_each(track) for track in tracks]
    shared = unique[0][0]
    for steps, _ in unique[1:]:
        shared = np.intersect1d(shared, steps, assume_unique=True)
    shortest = min((steps for steps, _ in unique), key=len)
    note = None
    if 2 * len(shared) < len(shortest):
        low = max(steps[0] for steps, _ in unique)
        high = min(steps[-1] for steps, _ in unique)
        shared = shortest[(shortest >= low) & (shortest <= high)]
        note = "interpolated"
        if not len(shared):
            raise InputError(f"the repetitions of {name!r} have no steps in common to average over")
        rows = np.stack([_between(shared, *track) for track in unique])
    else:
        if any(len(steps) > len(shared) for steps, _ in unique):
            note = "shared"
        rows = np.stack([values[np.searchsorted(steps, shared)] for steps, values in unique])
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    filled = np.where(known, rows, 0.0)
    with np.errstate(all="ignore"):
        mean = np.where(count, filled.sum(axis=0) / count, np.nan)
        square = np.where(known, (rows - mean) ** 2, 0.0).sum(axis=0)
        spread = np.where(count > 1, np.sqrt(square / (count - 1)), np.nan)
    low = high = None
    if band == "std":
        low, high = mean - spread, mean + spread
    elif band == "range":
        low = np.where(count, np.where(known, rows, np.inf).min(axis=0), np.nan)
        high = np.where(count, np.where(known, rows, -np.inf).max(axis=0), np.nan)
    return Line(name, shared, mean, np.flatnonzero(~known.all(axis=0)), low, high), note


def _one_each(track: Track) -> Track:
    """Return a track without repeated steps: of a step that was done again, the last."""
    steps, values = track
    last = np.append(np.flatnonzero(np.diff(steps)), len(steps) - 1)
    return steps[last], values[last]


def _between(x: np.ndarray, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate; next to what is not finite, nothing is known."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.interp(x, steps, np.where(np.isfinite(values), values, np.nan))
    return found


# -- drawing ---------------------------------------------------------------------------------


def compare_runs(
    runs: Runs,
    look: Theme,
    *,
    x: str,
    band: str | None,
    smoothing: float,
    log_x: bool,
    log_y: bool,
    title: str | None,
    width: int | None,
    height: int | None,
) -> tuple[go.Figure, Frame, float]:
    """Draw several trainings; return the figure, its frame and its plot's height."""
    unit = runs.unit if x == "step" else "seconds since the start"
    rows = _rows(runs.metrics)
    left_out = list(rows)[_PANELS:]
    colors = run_colors(len(runs.groups), look)
    drawn, ways = _lines({k: rows[k] for k in list(rows)[:_PANELS]}, runs, x, band)
    every = [one for found in drawn.values() for _, one in found]
    used = lines.weights(every, smoothing)
    weights = {id(one): weight for one, weight in zip(every, used, strict=True)}
    figure = go.Figure()
    titles, ends, hidden, stars = [], [], 0, 0
    named: set[str] = set()
    for row, (quantity, found) in enumerate(drawn.items()):
        logarithmic = log_y and is_loss(quantity)
        bottom, top = lines.extent([one for _, one in found], logarithmic)
        axis = axis_name(row)
        for group, one in found:
            color = colors[list(runs.groups).index(group)]
            label = escape(shorten(group, 40))
            low = bottom if logarithmic else None
            lines.band(figure, one, color, axis, label, low)
            lines.draw(
                figure, one, {"color": color, "dash": _DASHES[role(one.name)]}, axis, bottom,
                label=label, group=label, legend=group not in named,
                smoothing=weights[id(one)],
                marks_in_legend=False,
            )  # fmt: skip
            named.add(group)
            stars += lines.mark_best(
                figure, one, color, axis, look, where=unit, group=label, legend=False
            )
            hidden += int((one.values <= 0).sum()) if logarithmic else 0
        ends.append(log_axis(bottom, top) if logarithmic else {"range": [bottom, top]})
        titles.append(escape(shorten(quantity, 22)))
    plot = panels(figure, titles, [300.0] if len(titles) == 1 else [200.0] * len(titles))
    for row, options in enumerate(ends):
        figure.update_layout({f"yaxis{axis_name(row)[1:]}": options})
    xs = [one.x for one in every]
    set_steps(figure, unit, log_x, xs)
    figure.update_layout(hovermode="closest" if len(runs.groups) > 8 else "x unified")
    repeated = any(len(group) > 1 for group in runs.groups.values())
    frame = Frame(
        title=_title(runs) if title is None else title,
        caption=sentences(
            [
                _roles(every),
                _repetitions(runs, band) if repeated else None,
                *ways,
                "★: the best validation value" if stars else None,
                lines.smoothing_note(smoothing, used),
                "colours go from the first run to the last" if len(runs.groups) > 8 else None,
                lines.thinned_note(sum(len(one.x) > LIMIT for one in every), len(every)),
                f"{hidden} values ≤ 0 have no place on a logarithmic axis" if hidden else None,
                steps_note(log_x, xs, unit),
                lines.broken_note(sum(one.broken.size for one in every)),
                _left_out(left_out),
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
    return figure, frame, plot


def _rows(metrics: Sequence[str]) -> dict[str, list[str]]:
    """Sort metrics by what they measure: losses first, learning rates and speeds last."""

    def rank(name: str) -> int:
        return 0 if is_loss(name) else 2 if is_learning_rate(name) else 3 if is_speed(name) else 1

    rows: dict[str, list[str]] = {}
    for name in sorted(metrics, key=rank):
        rows.setdefault(subject(name), []).append(name)
    return rows


def _lines(
    rows: Mapping[str, Sequence[str]], runs: Runs, x: str, band: str | None
) -> tuple[dict[str, list[tuple[str, Line]]], list[str]]:
    """Return the lines of each panel with their group, and what had to be done to the steps."""
    drawn: dict[str, list[tuple[str, Line]]] = {}
    shared, interpolated = set(), set()
    for quantity, names in rows.items():
        drawn[quantity] = []
        for group, members in runs.groups.items():
            for name in names:
                having = [m for m in members if name in m.metrics and len(m.metrics[name][0])]
                if having:
                    one, way = combine(name, [place(m, name, x) for m in having], band)
                    drawn[quantity].append((group, one))
                    shared |= {group} if way == "shared" else set()
                    interpolated |= {group} if way == "interpolated" else set()
    notes = []
    if shared:
        notes.append(f"{_names(shared)}: over the steps that all repetitions have")
    if interpolated:
        notes.append(
            f"{_names(interpolated)}: repetitions were recorded at different {_what(x)} and are "
            "interpolated"
        )
    return drawn, notes


def _what(x: str) -> str:
    return "steps" if x == "step" else "times"


def _names(groups: set[str]) -> str:
    return ", ".join(shorten(name, 24) for name in sorted(groups)[:4])


def _title(runs: Runs) -> str:
    names = list(runs.groups)
    if len(names) > 3:
        return f"{len(names)} trainings compared"
    return " and ".join(shorten(name, 40) for name in names) if len(names) > 1 else names[0]


def _roles(drawn: Sequence[Line]) -> str | None:
    """Say what the dashes mean, where there is more than one kind."""
    found = {role(one.name) for one in drawn if not is_learning_rate(one.name)}
    dashes = {"training": "solid", "validation": "dashed", "test": "dotted"}
    said = [f"{dash}: {kind}" for kind, dash in dashes.items() if kind in found]
    return ", ".join(said) if len(said) > 1 else None


def _repetitions(runs: Runs, band: str | None) -> str:
    counts = sorted({len(group) for group in runs.groups.values() if len(group) > 1})
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    shaded = f", shaded: {_BANDS[band]}" if band else ""
    return f"lines: mean of {said} repetitions (of those that are finite){shaded}"


def _left_out(quantities: Sequence[str]) -> str | None:
    if not quantities:
        return None
    more = ", ".join(shorten(name, 20) for name in quantities[:4])
    return f"not shown: {more}{' …' if len(quantities) > 4 else ''} (metrics= chooses)"
