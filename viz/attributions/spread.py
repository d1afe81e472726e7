"""Which feature changes most what another one contributes."""

from __future__ import annotations

import numpy as np

from pellucid.interpret.results import Explanation
from pellucid.viz.attributions import features

_BIN = 10  # samples of like value, at least, within which the spread is looked at
_BINS = 20


def strongest(explanation: Explanation, position: int) -> tuple[int | None, float]:
    """Return the feature that explains most of the spread at like values of another, and its share.

    Samples of like value are put into bins; in each bin a line through the other feature's ranks
    (or the mean of each of its categories) is fitted to what is left when the feature's own line is
    taken away. The share is the adjusted R² of all bins together, so that a feature of many
    categories has no advantage. One that chance may explain is none.

    Returns
    -------
    int or None, float
        None where no feature explains more than chance.
    """
    values = np.asarray(explanation.values, dtype=np.float64)[:, position]
    own = features.column(explanation, position)
    assert own is not None
    own = np.asarray(own, dtype=np.float64)
    texts = features.texts(explanation, position)
    known = np.isfinite(values)
    bins = [part[known[part]] for part in _bins(own, texts is not None)]
    bins = [part for part in bins if part.size]
    best, share = None, 0.0
    for other in range(explanation.values.shape[1]):
        column = features.column(explanation, other)
        if other == position or column is None:
            continue
        codes = features.texts(explanation, other) is not None
        found = _explained(values, own, np.asarray(column, dtype=np.float64), codes, bins)
        if found > share:
            best, share = other, found
    return best, share


def _bins(own: np.ndarray, categories: bool) -> list[np.ndarray]:
    """Return samples of like value together: categories, or neighbours in the order of numbers."""
    if categories:
        return [np.flatnonzero(own == code) for code in np.unique(own)]
    order = np.argsort(own, kind="stable")
    order, gaps = order[np.isfinite(own[order])], np.flatnonzero(~np.isfinite(own))
    count = int(np.clip(len(order) // _BIN, 1, _BINS))
    return [*np.array_split(order, count), gaps]


def _explained(
    values: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    categories: bool,
    bins: list[np.ndarray],
) -> float:
    """Return the adjusted share of the spread within bins that another feature explains."""
    before = after = 0.0
    free_before = free_after = 0
    for members in bins:
        y, x, z = values[members], own[members], other[members]
        base = [np.ones(len(y))]
        if np.isfinite(x).all() and np.ptp(x) > 0:
            base.append((x - x.mean()) / np.ptp(x))
        if categories:
            more = [(z == code).astype(float) for code in np.unique(z[np.isfinite(z)])[1:]]
        else:
            more = _ranks(z)
        if len(y) <= len(base) + len(more):
            continue
        left, used = _residual(np.column_stack(base), y)
        before, free_before = before + left, free_before + len(y) - used
        left, used = _residual(np.column_stack([*base, *more]), y)
        after, free_after = after + left, free_after + len(y) - used
    used = free_before - free_after
    # Values are rounded to some 7 digits: what is left of a line alone is no spread.
    spread = before > 1e-12 * float(np.nansum(values**2))
    if not spread or not free_after or not used or after >= before:
        return 0.0
    ratio = (before - after) / used / max(after / free_after, 1e-300)
    if not _beyond_chance(ratio, used, free_after):
        return 0.0
    return 1 - (after / free_after) / (before / free_before)


def _beyond_chance(ratio: float, used: int, free: int) -> bool:
    """Whether an F ratio is larger than chance has it among some hundred features.

    It lies three standard deviations up, in Paulson's normal approximation (1942).
    """
    one, two = 2 / (9 * used), 2 / (9 * free)
    root = ratio ** (1 / 3)
    deviations: float = (root * (1 - two) - (1 - one)) / (one + root**2 * two) ** 0.5
    return deviations > 3


def _ranks(z: np.ndarray) -> list[np.ndarray]:
    """Return columns for a feature of numbers: their ranks, and where they are missing."""
    missing = ~np.isfinite(z)
    found = [missing.astype(float)] if 0 < missing.sum() < len(z) else []
    distinct, inverse = np.unique(z[~missing], return_inverse=True)
    if distinct.size > 1:
        ranks = np.zeros(len(z))
        ranks[~missing] = inverse / (distinct.size - 1) - 0.5
        found.append(ranks)
    return found


def _residual(columns: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Return the squares left by a least-squares fit, and the rank of its columns."""
    found, _, rank, _ = np.linalg.lstsq(columns, y, rcond=None)
    return float(((y - columns @ found) ** 2).sum()), int(rank)
