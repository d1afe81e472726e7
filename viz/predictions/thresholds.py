"""Curves over all thresholds: their points, their means, and which points are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pellucid.viz.predictions import measures
from pellucid.viz.predictions.measures import Ranked

POINTS = 1000  # of one curve that are drawn: a step of about half a pixel


@dataclass(frozen=True, eq=False)
class Curve:
    """One line, with its area.

    Attributes
    ----------
    thresholds
        The score of each point; None for a mean of curves.
    chance
        The share of positives.
    dot
        Where the class of the highest score is chosen; None of pooled and mean curves.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray | None
    area: float
    interval: tuple[float, float] | None
    chance: float
    dot: tuple[float, float] | None = None


@dataclass(frozen=True)
class Kind:
    """What differs between the two: the points of a curve, their mean, the area, the words."""

    points: Callable[[Ranked], tuple[np.ndarray, np.ndarray, np.ndarray]]
    mean: Callable[[list[Curve]], tuple[np.ndarray, np.ndarray]]
    area: Callable[[Ranked, np.ndarray], tuple[float, np.ndarray]]
    decided: Callable[[int, int, float, float], tuple[float, float]]
    x: str
    y: str
    hover: str
    word: str
    title: str
    shape: str


def _roc_points(ranked: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.append(0.0, ranked.alarms / ranked.negatives)
    y = np.append(0.0, ranked.hits / ranked.positives)
    return x, y, np.append(np.inf, ranked.thresholds)


def _pr_points(ranked: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return recall, precision and threshold; the first precision reaches back to recall 0."""
    x = np.append(0.0, ranked.hits / ranked.positives)
    y = np.append(ranked.precision[0], ranked.precision)
    return x, y, np.append(np.inf, ranked.thresholds)


def _roc_mean(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean height of the curves wherever one of them has a point.

    A step straight up has two heights in one place: both are kept, so that the mean's area is the
    mean of the areas.
    """
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    low, high = np.zeros(len(grid)), np.zeros(len(grid))
    for curve in curves:
        first = np.searchsorted(curve.x, grid, "left")
        last = np.searchsorted(curve.x, grid, "right") - 1
        between = np.interp(grid, curve.x, curve.y)
        here = first <= last
        low += np.where(here, curve.y[np.minimum(first, len(curve.x) - 1)], between)
        high += np.where(here, curve.y[last], between)
    x = np.repeat(grid, 2)
    y = np.stack([low, high], axis=1).ravel() / len(curves)
    keep = np.append(True, (np.diff(x) > 0) | (np.diff(y) > 0))
    return x[keep], y[keep]


def _pr_mean(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean height of the steps."""
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    heights = np.zeros(len(grid))
    for curve in curves:
        heights += curve.y[np.searchsorted(curve.x, grid, "left")]
    return grid, heights / len(curves)


def _roc_decided(hits: int, alarms: int, positives: float, negatives: float) -> tuple[float, float]:
    return alarms / negatives, hits / positives


def _pr_decided(hits: int, alarms: int, positives: float, negatives: float) -> tuple[float, float]:
    return hits / positives, hits / (hits + alarms) if hits + alarms else np.nan


ROC = Kind(
    points=_roc_points,
    mean=_roc_mean,
    area=measures.roc_area,
    decided=_roc_decided,
    x="false positive rate: share of the others that are taken for the class",
    y="true positive rate: share of the class that is found",
    hover="finds %{y:.1%} of the class<br>and takes %{x:.1%} of the others for it",
    word="area",
    title="ROC",
    shape="linear",
)
PR = Kind(
    points=_pr_points,
    mean=_pr_mean,
    area=measures.precision_area,
    decided=_pr_decided,
    x="recall: share of the class that is found",
    y="precision: share of those found that are right",
    hover="finds %{x:.1%} of the class<br>%{y:.1%} of those found are right",
    word="average precision",
    title="Precision and recall",
    shape="vh",
)


def corners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which points of a line change its direction: the others change nothing."""
    if len(x) < 3:
        return np.arange(len(x))
    bend = np.diff(x)[:-1] * np.diff(y)[1:] != np.diff(x)[1:] * np.diff(y)[:-1]
    return np.flatnonzero(np.concatenate([[True], bend, [True]]))


def thinned(x: np.ndarray, y: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Return which points of a curve to draw: its corners, and of more than `limit` some.

    Those are kept that are first and last, lowest and highest of equal stretches of the curve.
    """
    found = corners(x, y)
    if len(found) <= limit:
        return found
    px, py = x[found], y[found]
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(px)) + np.abs(np.diff(py)))])
    jagged = bool((np.diff(py) < 0).any())  # it is cut across, not along
    along, parts = (px, limit // 4) if jagged else (way, limit // 2)
    bucket = np.minimum((along / along[-1] * parts).astype(int), parts - 1)
    order = np.lexsort((py, bucket))
    edge = np.append(True, np.diff(bucket[order]) > 0)
    lowest, highest = order[edge], order[np.append(edge[1:], True)]
    steps = np.append(True, np.diff(bucket) > 0)
    first, last = np.flatnonzero(steps), np.flatnonzero(np.append(steps[1:], True))
    kept: np.ndarray = found[np.unique(np.concatenate([lowest, highest, first, last]))]
    return kept
