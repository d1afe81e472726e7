"""Whether a group of samples has a gap around it among its features.

A group that was chosen by looking at the samples can nearly always be told from the rest by a
straight cut, also where it is a slice of one even cloud. So it is not asked whether there is a cut,
but whether the samples are fewer at the cut than at both sides of it. Of a cloud with one peak,
such as a normal distribution, every projection on a line has one peak: no slice of it, however it
was chosen, has an emptier border.

The samples are divided into cells, nearest to centres that k-means finds inside the group and
outside of it. For each cell of the group and each cell of the rest that lie side by side:

1. Samples of both cells are projected on the direction that tells the group from the rest
   (discriminant analysis with a shrunk covariance), each by a direction fitted to others. All
   samples of a cell take part, whether or not they belong to the group, so that no gap is cut by
   choosing. Cells keep the comparison local: a ring that is cut in half is no gap.
2. On some of them a border is chosen that divides the group from the rest, and an interval of the
   same width at the peak on either side; on the others the samples in the three are counted. A
   binomial test compares the border with each peak.

The least gap of all pairs is the group's: what is separate is so on all sides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

_CELL = 100  # samples of a cell, roughly
_INSIDE, _OUTSIDE = 4, 16  # cells at most
_PAIRS = 6  # pairs of cells that are looked at, the nearest
_ROWS = 2000  # samples of a pair of cells
_FEWEST = 10  # on either side
_MEANS = 4000  # samples that k-means looks at
_FOLDS = 5
_WIDTHS = (1 / 4, 1 / 3, 1 / 2)  # of an interval, in distances of the two sides' middles
_GRID = 129
_DIVIDES = 0.95  # of the best F1 that any border has


class Gap(NamedTuple):
    """How much emptier the border is than the lower peak, from 0 to 1, and the p-value."""

    depth: float
    p_value: float


UNKNOWN = Gap(float("nan"), float("nan"))


def find_gap(points: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> Gap:
    """Return the least gap between a group and the rest.

    Parameters
    ----------
    points
        Shape (samples, features), on one scale.
    inside
        Which samples are of the group, shape (samples,), boolean.
    rng
        Of the division into cells and folds.
    """
    centers, own = _centers(points, inside, rng)
    squares = (centers**2).sum(1) - 2 * points @ centers.T
    cell = squares.argmin(1)
    found = []
    for i, j in _beside(centers, own):
        rows = rng.permutation(np.flatnonzero((cell == i) | (cell == j)))[:_ROWS]
        members = inside[rows]
        if min(members.sum(), (~members).sum()) >= _FEWEST:
            found.append(_gap(_projected(points[rows], members, rng), members, rng))
    return max(found, key=lambda gap: (gap.p_value, -gap.depth), default=UNKNOWN)


def folds_of(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each sample one of the folds, both sides shared out evenly."""
    fold = np.empty(len(inside), dtype=int)
    for side in (inside, ~inside):
        rows = rng.permutation(np.flatnonzero(side))
        fold[rows] = np.arange(len(rows)) % _FOLDS
    return fold


def _centers(
    points: np.ndarray, inside: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells' centres, and which are of the group."""
    centers, own = [], []
    for side, most in ((inside, _INSIDE), (~inside, _OUTSIDE)):
        count = int(np.clip(side.sum() // _CELL, 1, most))
        rows = rng.permutation(np.flatnonzero(side))[:_MEANS]
        means = KMeans(count, n_init=1, random_state=int(rng.integers(2**31)))
        centers.append(means.fit(points[rows]).cluster_centers_)
        own += [side is inside] * count
    return np.concatenate(centers), np.array(own)


def _beside(centers: np.ndarray, own: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of a cell inside and one outside with no other between (Gabriel's graph)."""
    squares = ((centers[:, None] - centers) ** 2).sum(2)
    found = []
    for i in np.flatnonzero(own).tolist():
        for j in np.flatnonzero(~own).tolist():
            others = np.delete(squares[i] + squares[j], [i, j])
            if (squares[i, j] <= others).all():
                found.append((float(squares[i, j]), i, j))
    return [(i, j) for _, i, j in sorted(found)[:_PAIRS]]


def _projected(points: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how far each sample lies on the group's side, by a direction fitted to others."""
    fold = folds_of(inside, rng)
    scores = np.empty(len(points))
    for k in range(_FOLDS):
        held = fold == k
        probe = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        probe.fit(points[~held], inside[~held])
        length = np.linalg.norm(probe.coef_) or 1.0
        scores[held] = probe.decision_function(points[held]) / length
    return scores


def _gap(scores: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> Gap:
    """Compare held-out samples at the border with those at the peak on either side."""
    fold = folds_of(inside, rng)
    counts = np.zeros(3, dtype=int)
    for k in range(_FOLDS):
        held = fold == k
        chosen = intervals(scores[~held], inside[~held])
        if chosen is None:
            return Gap(0.0, 1.0)
        middles, width = chosen
        counts += (np.abs(scores[held, None] - middles) <= width / 2).sum(0)
    low, border, high = counts.tolist()
    # A gap is one only if both sides are fuller: the larger of two p-values is that of both.
    p_value = max(float(binom.sf(peak - 1, peak + border, 0.5)) for peak in (low, high))
    return Gap(1 - border / max(1, min(low, high)), p_value)


def intervals(scores: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Choose a border and a peak on either side of it; None if the sides cannot be told apart.

    Returns
    -------
    middles, width
        Of the lower peak's interval, the border's and the upper peak's, shape (3,).
    """
    mine, others = np.sort(scores[inside]), np.sort(scores[~inside])
    m, r = len(mine), len(others)
    # As many of the rest as there are members: its nearest part, which is what a border is to.
    low, high = others[max(0, r - m)], mine[min(m, r) - 1]
    span = np.median(mine) - np.median(others[others >= low])
    if not (span > 0 and high > low):
        return None
    grid = np.linspace(low, high, _GRID)
    above = m - np.searchsorted(mine, grid)
    agreement = 2 * above / (above + r - np.searchsorted(others, grid) + m)
    divides = agreement >= _DIVIDES * agreement.max()
    between = np.sort(scores[(scores >= low) & (scores <= high)])
    best, found = -np.inf, None
    for width in span * np.array(_WIDTHS):
        counts = np.searchsorted(between, grid + width / 2)
        counts -= np.searchsorted(between, grid - width / 2)
        left = np.searchsorted(grid, grid - width, side="right") - 1
        right = np.searchsorted(grid, grid + width)
        for i in np.flatnonzero(divides & (left >= 0) & (right < _GRID)):
            a = int(counts[: left[i] + 1].argmax())
            b = int(right[i] + counts[right[i] :].argmax())
            peak = min(counts[a], counts[b])
            surprise = (peak - counts[i]) / np.sqrt(peak + counts[i] + 1)
            if surprise > best:
                best, found = surprise, (grid[np.array([a, int(i), b])], float(width))
    return found
