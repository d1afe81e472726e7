"""What was written under each tag, and which of it stands: one value for each step."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.interpret.results import Event
from pellucid.interpret.results.run import Track


@dataclass
class Series:
    """What was written under one tag, in the order in which it was read.

    Attributes
    ----------
    values
        An array or a list.
    steps, times
        When each was written: its step, and the time in seconds.
    orders
        Its place in the order of reading.
    """

    values: Any
    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    orders: array[int] = field(default_factory=lambda: array("q"))

    def add(self, step: int, time: float, order: int, value: Any) -> None:
        """Take in one more."""
        self.steps.append(step)
        self.times.append(time)
        self.orders.append(order)
        self.values.append(value)


class Standing:
    """Chooses what stands of each tag's series, and remembers when which step was written.

    Parameters
    ----------
    restarts
        The order and the step of each restart, in the order of reading. It takes back what was
        read before it at its step and beyond.
    files
        The order of the first record of each file.
    start
        When the first event was written, in seconds.

    Attributes
    ----------
    replaced, taken_back
        How many values do not stand, because their step was written again, or by a restart.
    numbered
        The tags that were written without steps.
    """

    def __init__(
        self, restarts: Sequence[tuple[int, int]], files: Sequence[int], start: float
    ) -> None:
        self.replaced = self.taken_back = 0
        self.numbered: list[str] = []
        self._start, self._files = start, files
        self._restarts = np.array(restarts, dtype=np.int64).reshape(-1, 2)
        # The lowest step of the restarts from each on: what comes before all of them is under it.
        self._floors = np.minimum.accumulate(self._restarts[::-1, 1])[::-1]
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._first = np.inf

    def add(self, tag: str, series: Series) -> tuple[np.ndarray, np.ndarray]:
        """Return steps (float64) and the positions of the values that stand, by step."""
        steps, times, orders = (np.array(a) for a in (series.steps, series.times, series.orders))
        self._first = min(self._first, orders[0])
        later = np.searchsorted(self._restarts[:, 0], orders)
        floors = np.append(self._floors, np.iinfo(np.int64).max)[later]
        stands = np.flatnonzero((steps < floors) | (later == len(self._floors)))
        self.taken_back += len(steps) - len(stands)
        order = stands[np.lexsort((orders[stands], times[stands], steps[stands]))]
        of_file = np.bincount(np.searchsorted(self._files, orders[order], side="right"))
        if of_file.max(initial=0) > 1 and not steps[order].any():
            # Written without steps, so all are at 0: they are numbered as they were written.
            self.numbered.append(tag)
            return np.arange(len(order), dtype=np.float64), order
        last = np.append(np.diff(steps[order]) != 0, [True] * min(1, len(order)))
        self.replaced += int((~last).sum())
        order = order[last]
        self._seen.append((steps[order], times[order]))
        return steps[order].astype(np.float64), order

    def clock(self) -> Track | None:
        """Return when each step was first written, in seconds since the first event."""
        steps = np.concatenate([np.zeros(0), *(s for s, _ in self._seen)])
        times = np.concatenate([np.zeros(0), *(t for _, t in self._seen)])
        known = np.isfinite(times)
        steps, times = steps[known], times[known]
        if not len(steps):
            return None
        order = np.lexsort((times, steps))
        first = np.append(True, np.diff(steps[order]) != 0)
        order = order[first]
        return steps[order], times[order] - min(self._start, float(times.min()))

    def events(self) -> tuple[Event, ...]:
        """Return the restarts before which something had been written."""
        return tuple(
            Event(float(step), "restart", None, f"training was started again at step {step}")
            for order, step in self._restarts.tolist()
            if order > self._first
        )
