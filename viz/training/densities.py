"""Recorded histograms as densities over one axis of values, linear or signed-logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.interpret.results import Histograms
from pellucid.viz.theme import number
from pellucid.viz.training.steps import power

_WIDE = 60.0  # largest magnitude over the median one, from which on a linear axis shows a spike
_LARGEST = 1e300  # other tools write the largest float for infinity
_ZERO = 1e-6  # of the largest value: as good as zero
_ALIKE = 1e-6  # of the largest value: a spread that float32 cannot show
_NOTHING = 1e-30
_ROOM = 0.05  # of a value, around it where it is the only one
_NEEDLE = 2.5  # times what nearly all cells stay below
_MOST_BEYOND = 0.8  # of the values; if more are in needles, the needles are what there is to see


@dataclass(frozen=True)
class Axis:
    """An axis of values.

    Attributes
    ----------
    unit
        None for a linear axis. Else values are drawn at sign(x) log10(1 + |x| / unit): nearly
        linear within the unit, logarithmic beyond.
    low, high
        Its ends, as values.
    """

    unit: float | None
    low: float
    high: float

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return where values stand."""
        if self.unit is None:
            return values
        found: np.ndarray = np.sign(values) * np.log10(1 + np.abs(values) / self.unit)
        return found

    def values(self, places: np.ndarray) -> np.ndarray:
        """Return the values that stand at places."""
        if self.unit is None:
            return places
        found: np.ndarray = np.sign(places) * self.unit * (10 ** np.abs(places) - 1)
        return found

    def layout(self, most: int) -> dict[str, Any]:
        """Return the axis as Plotly takes it, with at most so many powers of ten on a side."""
        low, high = self.place(np.array([self.low, self.high]))
        room = 0.02 * (high - low)
        options: dict[str, Any] = {"range": [low - room, high + room], "nticks": 6, "tickangle": 0}
        if self.unit is not None:
            first = round(math.log10(self.unit))
            last = math.floor(math.log10(max(abs(self.low), abs(self.high))) + 1e-9)
            # The unit itself stands next to zero.
            exponents = list(range(last, first, -max(1, math.ceil((last - first) / most))))
            ticks = [0.0, *(s * 10.0**k for k in exponents for s in (-1, 1))]
            shown = sorted(t for t in ticks if self.low <= t <= self.high)
            options["tickvals"] = self.place(np.array(shown))
            options["ticktext"] = [_tick(t) for t in shown]
            del options["nticks"]
        return options

    def note(self) -> str | None:
        """Say what kind of axis it is."""
        if self.unit is None:
            return None
        return f"signed logarithmic axis, nearly linear within ±{number(self.unit)}"


def _tick(value: float) -> str:
    if value == 0:
        return "0"
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return sign + power(round(math.log10(abs(value))))


@dataclass(frozen=True)
class Bins:
    """A histogram without what has no place: edges, counts, and how much was left out."""

    edges: np.ndarray
    counts: np.ndarray
    outside: float


def bins(edges: np.ndarray, counts: np.ndarray) -> Bins | None:
    """Return the bins from the first to the last that holds something; None where none does."""
    edges, counts = edges.astype(np.float64), counts.astype(np.float64)
    counts = np.where(np.isfinite(counts) & (counts > 0), counts, 0.0)
    usable = (np.abs(edges[:-1]) < _LARGEST) & (np.abs(edges[1:]) < _LARGEST)
    outside = float(counts[~usable].sum())
    held = np.flatnonzero((counts > 0) & usable)
    if not held.size:
        return None
    first, last = held[0], held[-1] + 1
    return Bins(np.maximum.accumulate(edges[first : last + 1]), counts[first:last], outside)


def choose(found: list[Bins], scale: str) -> Axis:
    """Choose the axis that shows all bins: a linear one where values are of a similar size."""
    low = min(float(one.edges[0]) for one in found)
    high = max(float(one.edges[-1]) for one in found)
    largest = max(abs(low), abs(high))
    if high - low <= _ALIKE * largest or largest < _NOTHING:
        room = _ROOM * largest if largest >= _NOTHING else 0.5
        return Axis(None, low - room, high + room)
    middles = np.concatenate([np.abs(one.edges[1:] + one.edges[:-1]) / 2 for one in found])
    weights = np.concatenate([one.counts / one.counts.sum() for one in found])
    # What is as good as zero (half of what a ReLU puts out) says nothing of the others' size.
    weights = np.where(middles > _ZERO * largest, weights, 0.0)
    order = np.argsort(middles)
    sums = np.cumsum(weights[order])
    if scale == "linear" or not sums[-1]:
        return Axis(None, low, high)
    typical = float(middles[order][np.searchsorted(sums, sums[-1] / 2)])
    if scale == "auto" and largest <= _WIDE * typical:
        return Axis(None, low, high)
    # The unit lies below most values, so that the bulk stands on the logarithmic part.
    unit = min(math.floor(math.log10(typical)) - 1, math.floor(math.log10(largest)) - 1)
    return Axis(10.0**unit, low, high)


def cells(axis: Axis, count: int) -> np.ndarray:
    """Return the edges of so many equal cells of an axis, as places on it."""
    low, high = axis.place(np.array([axis.low, axis.high]))
    return np.linspace(low, high, count + 1)


def rebinned(one: Bins, axis: Axis, edges: np.ndarray) -> np.ndarray:
    """Return the share of all values in each of other cells, values spread evenly in their bin.

    Cells are of one width, so these are densities too: a bin much narrower than what a screen can
    show is no longer a needle for the one value that it holds.

    Parameters
    ----------
    edges
        Of the cells, as places on the axis.
    """
    below = np.concatenate([[0.0], np.cumsum(one.counts / one.counts.sum())])
    return np.diff(np.interp(edges, axis.place(one.edges), below))


def limit(shares: np.ndarray) -> float:
    """Return where heights end: a needle of a few cells would flatten everything beside it.

    Parameters
    ----------
    shares
        Shape (steps, cells).
    """
    highest = float(shares.max())
    end = _NEEDLE * float(np.quantile(shares, 0.97))
    beyond = float(np.where(shares > end, shares, 0.0).sum(axis=1).mean())
    return end if 0 < end < highest and beyond < _MOST_BEYOND else highest


def usable(found: Histograms) -> tuple[np.ndarray, list[Bins], int]:
    """Return the steps of which there is something to draw, their bins, how many have nothing."""
    order = np.argsort(found.steps, kind="stable")
    pairs = [(float(found.steps[i]), bins(found.edges[i], found.counts[i])) for i in order]
    kept = [(step, one) for step, one in pairs if one is not None]
    return (
        np.array([step for step, _ in kept]),
        [one for _, one in kept],
        len(pairs) - len(kept),
    )
