"""Correlations of many columns, each pair over the rows where both are known."""

from __future__ import annotations

import numpy as np

_LEAST = 3  # rows; any two points lie on a line
_CHUNK = 65_536  # rows worked on at a time
_WORK = 200_000_000  # pairs times rows that are ranked anew


def correlations(values: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Compute the correlation of each pair of columns.

    Parameters
    ----------
    values
        Shape (rows, columns); NaN where missing.
    method
        ``"pearson"``, or ``"spearman"``: Pearson's of the ranks, ties having their mean rank.

    Returns
    -------
    numpy.ndarray, numpy.ndarray, bool
        The correlations, (columns, columns), NaN where not defined; the number of rows of each;
        and whether ranks are those among the rows of each pair. They are those among the rows of
        each column where pairs have rows of their own and would take too long.
    """
    gaps = np.isnan(values)
    if method == "pearson":
        return *_pearson(values), True
    if not gaps.any():
        return *_pearson(np.column_stack([_ranks(column) for column in values.T])), True
    count = values.shape[1]
    if count * (count - 1) // 2 * len(values) > _WORK:
        ranked = np.full(values.shape, np.nan)
        for k, column in enumerate(values.T):
            ranked[~gaps[:, k], k] = _ranks(column[~gaps[:, k]])
        return *_pearson(ranked), False
    found = np.full((count, count), np.nan)
    pairs = np.zeros((count, count), dtype=np.int64)
    for i in range(count):
        for j in range(i + 1):
            both = ~(gaps[:, i] | gaps[:, j])
            two = np.column_stack([_ranks(values[both, k]) for k in (i, j)])
            part, _ = _pearson(two)
            found[i, j] = found[j, i] = part[0, 1]
            pairs[i, j] = pairs[j, i] = both.sum()
    return found, pairs, True


def _ranks(column: np.ndarray) -> np.ndarray:
    """Return ranks from 1 on; ties have their mean."""
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[inverse]
    return ranks


def _pearson(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson's correlations, and the number of rows of each.

    Sums over the rows of each pair come from products of matrices, of some rows at a time.
    """
    middle, size, constant = np.transpose([_moments(column) for column in values.T])
    count = values.shape[1]
    number, sums, squares, products = (np.zeros((count, count)) for _ in range(4))
    for start in range(0, len(values), _CHUNK):
        part = (values[start : start + _CHUNK] - middle) / size
        known = ~np.isnan(part)
        filled = np.where(known, part, 0.0)
        mask = known.astype(np.float64)
        number += mask.T @ mask
        sums += filled.T @ mask  # of column i, over the rows where j is known
        squares += (filled**2).T @ mask
        products += filled.T @ filled
    with np.errstate(all="ignore"):
        spread = squares - sums**2 / number
        # What is left of rounding is no spread.
        spread[spread <= 1e-13 * squares] = 0.0
        together = products - sums * sums.T / number
        found = together / np.sqrt(spread * spread.T)
    found[(number < _LEAST) | (spread == 0) | (spread.T == 0)] = np.nan
    found[constant > 0] = np.nan
    found[:, constant > 0] = np.nan
    return np.clip(found, -1, 1), number.astype(np.int64)


def _moments(column: np.ndarray) -> tuple[float, float, bool]:
    """Return a column's mean, its largest distance from it, and whether all of it is one value.

    In these terms numbers are near 0 and of size 1: sums of squares neither overflow nor cancel.
    """
    known = column[~np.isnan(column)]
    if not known.size or known.min() == known.max():
        return 0.0, 1.0, True
    largest = float(np.abs(known).max())
    mean = float((known / largest).mean()) * largest
    return mean, float(np.abs(known - mean).max()), False
