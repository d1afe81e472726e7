"""What is measured of predictions: rates at every threshold, areas, calibration, intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z = 1.959964  # of a normal distribution, 95 % lie within


@dataclass(frozen=True)
class Ranked:
    """What counts as positive, in the order of the scores, the highest first.

    Attributes
    ----------
    order
        The items from the highest score to the lowest, shape (items,).
    group
        The number of each item's score among the distinct ones, in that order, shape (items,).
    hits, alarms
        Positives, and negatives, whose score is at least that high, one for each distinct score.
    thresholds
        The distinct scores, the highest first.
    """

    order: np.ndarray
    group: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    thresholds: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> Ranked:
        """Rank items by their scores, equal ones together."""
        order = np.argsort(-scores, kind="stable")
        ranked, hit = scores[order], positive[order]
        last = np.append(ranked[1:] != ranked[:-1], True)  # of those with the same score
        group = np.concatenate([[0], np.cumsum(last[:-1])]).astype(int)
        hits = np.cumsum(hit)[last].astype(np.float64)
        return cls(order, group, hits, np.flatnonzero(last) + 1 - hits, ranked[last])

    @property
    def positives(self) -> float:
        """How many items are positive."""
        return float(self.hits[-1])

    @property
    def negatives(self) -> float:
        """How many are not."""
        return float(self.alarms[-1])

    @property
    def precision(self) -> np.ndarray:
        """The share of positives among those at least that high, for each distinct score."""
        found: np.ndarray = self.hits / (self.hits + self.alarms)
        return found

    def back(self, values: np.ndarray) -> np.ndarray:
        """Return the value of each item, in the order that they came in, given the groups'."""
        found = np.empty(len(self.order))
        found[self.order] = values[self.group]
        return found


def roc_area(ranked: Ranked, positive: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area under the ROC curve, and how it depends on each item's weight.

    It is the share of pairs, one positive and one not, whose scores are in the right order; equal
    scores count half. The derivatives are DeLong's structural components (E. R. DeLong et al.,
    Biometrics 44, 1988): their squares add up to the variance, but for a factor m / (m - 1).
    """
    m, n = ranked.positives, ranked.negatives
    above = np.diff(ranked.hits, prepend=0.0)  # positives of each score
    below = np.diff(ranked.alarms, prepend=0.0)
    beaten = (n - ranked.alarms + below / 2) / n  # share of negatives that a positive there beats
    beats = (ranked.hits - above / 2) / m  # share of positives that beat a negative there
    area = float((above * beaten).sum() / m)
    return area, np.where(positive, ranked.back(beaten - area) / m, ranked.back(beats - area) / n)


def precision_area(ranked: Ranked, positive: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the average precision, and how it depends on each item's weight.

    It is the precision at each positive's score, averaged over the positives: the area under the
    curve drawn in steps, without interpolation.
    """
    m, precision = ranked.positives, ranked.precision
    above = np.diff(ranked.hits, prepend=0.0)
    size = ranked.hits + ranked.alarms
    area = float((above * precision).sum() / m)
    # An item counts in the precision at every score that is not above its own.
    gained = np.cumsum((above / size)[::-1])[::-1]
    lost = np.cumsum((above * precision / size)[::-1])[::-1]
    slopes = np.where(positive, ranked.back(precision - area + gained - lost), -ranked.back(lost))
    return area, slopes / m


def interval(area: float, slopes: np.ndarray) -> tuple[float, float] | None:
    """Return where an area lies with 95 %, given how it depends on each sample's weight.

    By the infinitesimal jackknife (B. Efron, 1982), on the scale of the logit, which keeps it
    between 0 and 1. None where the area is 0 or 1: it has no spread that could be measured.
    """
    room = area * (1 - area)
    spread = math.sqrt(float((slopes**2).sum()))
    if room <= 1e-12 or spread == 0:
        return None
    centre, half = math.log(area / (1 - area)), Z * spread / room
    low, high = (
        1 / (1 + math.exp(-min(max(x, -700), 700))) for x in (centre - half, centre + half)
    )
    return low, high


def wilson(hits: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval in which each share lies with 95 % (E. B. Wilson, JASA 22, 1927).

    Parameters
    ----------
    hits, counts
        How many of how many; NaN comes back where there are none.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hits / counts
        centre = (share + Z**2 / (2 * counts)) / (1 + Z**2 / counts)
        half = np.sqrt(share * (1 - share) / counts + Z**2 / (4 * counts**2))
        half = Z * half / (1 + Z**2 / counts)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


@dataclass(frozen=True)
class Bins:
    """Predicted probabilities in bins, beside what came true.

    Attributes
    ----------
    edges
        Of the bins, shape (bins + 1,).
    counts, hits
        Predictions in each bin, and those that came true.
    confidence
        The mean probability in each bin; NaN in an empty one.
    """

    edges: np.ndarray
    counts: np.ndarray
    hits: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, true: np.ndarray, bins: int, *, mass: bool) -> Bins:
        """Sort predictions into bins of equal mass or of equal width.

        A bin goes from above its lower edge to its upper one. Where many probabilities are the
        same, edges of equal mass fall together, and bins stay empty.
        """
        edges = np.linspace(0, 1, bins + 1)
        if mass:
            edges = np.percentile(probability, 100 * edges)
        inner = np.searchsorted(edges[1:-1], probability)
        counts = np.bincount(inner, minlength=bins)
        with np.errstate(invalid="ignore"):
            confidence = np.bincount(inner, probability, bins) / counts
        return cls(edges, counts, np.bincount(inner, true, bins), confidence)

    @property
    def share(self) -> np.ndarray:
        """How many predictions of each bin came true, as a share."""
        with np.errstate(invalid="ignore"):
            found: np.ndarray = self.hits / self.counts
        return found

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap, each bin weighed by its predictions."""
        return float(np.abs(self.hits - np.nan_to_num(self.confidence) * self.counts).sum()
                     / self.counts.sum())  # fmt: skip
