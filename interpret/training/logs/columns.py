"""Columns of a log as a `Run`: which one counts the steps, and what the others hold.

A log is often sparse: a row of training has no validation loss. A cell that is empty holds
nothing, and is dropped; one that says NaN was measured, and stays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Run
from pellucid.interpret.results.run import Track

# Cells that hold nothing, in small letters: Keras writes "NA", databases and JSON "null".
_EMPTY = {"", "na", "n/a", "#n/a", "none", "null", "<na>"}
# What counts the steps, the best first, in small letters.
_STEPS = ("_step", "step", "global_step", "trainer/global_step", "iteration", "iter", "epoch")
_WANDB_SECONDS, _WANDB_TIME = "_runtime", "_timestamp"
# What stands first in a chart of Weights & Biases that was saved as CSV.
_CHART_STEPS = {
    "step", "epoch", "trainer/global_step", "relative time (wall)", "relative time (process)",
    "wall time",
}  # fmt: skip
_BETWEEN, _ENVELOPE = " - ", ("__MIN", "__MAX")


class Column:
    """One column: the cells that hold a number, and the rows that they stand in.

    Parameters
    ----------
    cells
        The first of them; `extend` takes in more.

    Attributes
    ----------
    rows
        How many cells there are.
    texts
        How many of them hold what is neither a number nor nothing.
    """

    def __init__(self, cells: Iterable[Any] = ()) -> None:
        self.rows = self.texts = 0
        self._values = array("d")
        self._held = array("q")
        self.extend(cells)

    def extend(self, cells: Iterable[Any]) -> None:
        """Take in the cells of further rows."""
        row = self.rows - 1
        for row, cell in enumerate(cells, self.rows):
            if cell is None or cell == "":
                continue
            try:
                self._values.append(float(cell))
            except (TypeError, ValueError, OverflowError):
                if not (isinstance(cell, str) and cell.strip().lower() in _EMPTY):
                    self.texts += 1
                continue
            self._held.append(row)
        self.rows = row + 1

    @property
    def values(self) -> np.ndarray:
        """The numbers: shape (held,), float64."""
        return np.array(self._values)

    @property
    def held(self) -> np.ndarray:
        """The rows that they stand in: shape (held,), int64."""
        return np.array(self._held)


def step_name(names: Iterable[str]) -> str | None:
    """Return the name of the column that counts the steps, or None if there is none."""
    by_small = {name.strip().lower(): name for name in reversed(list(names))}
    return next((by_small[name] for name in _STEPS if name in by_small), None)


def is_chart(names: Sequence[str]) -> bool:
    """Whether columns are those of a Weights & Biases chart: a step, then run and metric."""
    return (
        len(names) > 1
        and names[0].strip().lower() in _CHART_STEPS
        and all(_BETWEEN in name for name in names[1:])
    )


def run_of_columns(
    columns: Mapping[str, Column], *, name: str, source: str, **settings: Any
) -> Run:
    """Return the run that the columns of one log describe.

    Of several values of one metric at the same step the last stands.

    Parameters
    ----------
    columns
        By name, in their order, all of as many rows.
    name, source
        The run's name, and what the log is.
    **settings
        What else to note in the run's settings.

    Raises
    ------
    InputError
        If no column holds a number.
    """
    wandb = {_WANDB_SECONDS, _WANDB_TIME} if "_step" in columns else set()
    counting, numbers = _steps(columns)
    counted = ~np.isnan(numbers)
    tracks: dict[str, Track] = {}
    for key, column in columns.items():
        held = column.held
        known = counted[held]
        if key != counting and known.any():
            tracks[key] = _track(numbers[held[known]], column.values[known])
    metrics = {key: track for key, track in tracks.items() if key not in wandb}
    if not metrics:
        raise InputError(
            f"{source} holds no numbers beside its steps; its columns are {_listed(columns)}"
        )
    return Run(
        metrics=metrics,
        clock=tracks.get(_WANDB_SECONDS) if wandb else None,
        name=name,
        step_unit=_unit(counting),
        settings={
            "source": source,
            "steps": counting,
            "texts": {key: column.texts for key, column in columns.items() if column.texts},
            **settings,
        },
    )


def runs_of_chart(columns: Mapping[str, Column], *, source: str) -> dict[str, Run]:
    """Return the runs of a Weights & Biases chart by name.

    A chart holds sampled values. Where the extremes between two of them were saved beside them and
    say more than the values do, they are the metrics ``"<metric>.min"`` and ``"<metric>.max"``.

    Raises
    ------
    InputError
        If none of them holds a number.
    """
    first, *others = columns
    grouped: dict[str, dict[str, Column]] = {}
    for key in others:
        run, _, metric = key.rpartition(_BETWEEN)
        ending = next((e for e in _ENVELOPE if metric.endswith(e)), "")
        if ending:
            plain = columns.get(key.removesuffix(ending))
            if plain is not None and _same(plain, columns[key]):
                continue
            metric = metric.removesuffix(ending) + ending.replace("__", ".").lower()
        if len(columns[key].held):
            grouped.setdefault(run, {})[metric] = columns[key]
    if not grouped:
        raise InputError(f"{source} holds no numbers; its columns are {_listed(columns)}")
    return {
        run: run_of_columns({first: columns[first], **own}, name=run, source=source)
        for run, own in grouped.items()
    }


def run_of_lists(
    lists: Mapping[str, Any], *, name: str, source: str, unit: str = "step", **settings: Any
) -> Run:
    """Return the run of a list for each metric, such as a Keras history.

    A list that is shorter than the longest was written every so many times, which its length
    tells if it divides: then its values stand at the end of each stretch. Otherwise nobody knows
    where they stand, and they are counted by themselves; the run's settings name both.

    Parameters
    ----------
    lists
        Sequences of numbers by metric; one may count the steps.
    name, source
        The run's name, and what the lists are.
    unit
        What they count if none of them says so.
    **settings
        What else to note in the run's settings.

    Raises
    ------
    InputError
        If none of them holds a number.
    """
    columns = {key: Column(values) for key, values in lists.items()}
    longest = max((column.rows for column in columns.values()), default=0)
    counting, numbers = _steps({k: c for k, c in columns.items() if c.rows == longest})
    metrics: dict[str, Track] = {}
    every: dict[str, int] = {}
    alone: list[str] = []
    for key, column in columns.items():
        if key == counting or not len(column.held):
            continue
        at, (stride, left) = numbers, divmod(longest, column.rows)
        if left:
            alone.append(key)
            at = np.arange(column.rows, dtype=np.float64)
        elif stride > 1:
            every[key] = stride
            at = numbers[stride - 1 :: stride]
        known = ~np.isnan(at[column.held])
        metrics[key] = _track(at[column.held][known], column.values[known])
    if not metrics:
        raise InputError(f"{source} holds no numbers in {_listed(lists)}")
    return Run(
        metrics=metrics,
        name=name,
        step_unit=_unit(counting, unit),
        settings={
            "source": source, "steps": counting, "every": every, "counted_alone": alone, **settings
        },
    )  # fmt: skip


def _steps(columns: Mapping[str, Column]) -> tuple[str | None, np.ndarray]:
    """Return what counts the steps, and the step of each row, NaN where it is not known.

    The number of a batch within its epoch counts no steps, nor does an epoch of many rows: where
    most values of the fullest column would share their step with another, rows are counted.
    """
    rows = max((column.rows for column in columns.values()), default=0)
    left = dict(columns)
    while (counting := step_name(left)) is not None:
        counter = left.pop(counting)
        numbers = np.full(rows, np.nan)
        numbers[counter.held] = counter.values
        measured = [
            column.held
            for key, column in columns.items()
            if key.strip().lower() not in _STEPS and len(column.held)
        ]
        fullest = numbers[max(measured, key=len, default=counter.held)]
        fullest = fullest[~np.isnan(fullest)]
        if len(fullest) and 2 * len(np.unique(fullest)) > len(fullest):
            return counting, numbers
    return None, np.arange(rows, dtype=np.float64)


def _unit(counting: str | None, otherwise: str = "step") -> str:
    """Return what a step is."""
    if counting is None:
        return otherwise
    return "epoch" if counting.strip().lower() == "epoch" else "step"


def _track(steps: np.ndarray, values: np.ndarray) -> Track:
    """Return steps in order and their values; of one step that stands twice, the later row's."""
    order = np.argsort(steps, kind="stable")
    last = np.append(np.diff(steps[order]) != 0, [True] * min(1, len(order)))
    return steps[order[last]], values[order[last]]


def _same(one: Column, other: Column) -> bool:
    return np.array_equal(one.held, other.held) and np.array_equal(
        one.values, other.values, equal_nan=True
    )


def _listed(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
