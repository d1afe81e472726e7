"""TensorBoard's two kinds of histograms as the edges and counts of bins."""

from __future__ import annotations

import numpy as np

Bins = tuple[np.ndarray, np.ndarray]

# The outermost limits of TensorFlow's bins stand for infinity, as does whatever comes near.
_UNBOUNDED = 1e300
# A bin that holds one value only gets this share of the value as its width.
_NARROW = 1e-6


def bins_of_proto(low: float, high: float, limits: np.ndarray, counts: np.ndarray) -> Bins | None:
    """Return the bins of a HistogramProto, from the first to the last that holds something.

    As in TensorBoard, the outermost edges are the smallest and the largest value.

    Parameters
    ----------
    low, high
        The smallest and the largest value.
    limits, counts
        Shape (bins,): the right edge of each bin, and how much it holds.

    Returns
    -------
    tuple or None
        Edges, shape (bins + 1,), and counts, shape (bins,), float64; None if it holds nothing.

    Raises
    ------
    ValueError
        If these are no bins.
    """
    if len(limits) != len(counts):
        raise ValueError(f"a histogram has {len(limits)} limits for {len(counts)} bins")
    held = np.flatnonzero(counts > 0)
    if not held.size:
        return None
    first, last = int(held[0]), int(held[-1])
    left, right = low, high
    if not right > left and first > 0:
        # Of a single value the bin that it fell into says more than an edge on either side of it.
        left, right = float(limits[first - 1]), float(limits[last])
        if max(abs(left), abs(right)) > _UNBOUNDED:
            left, right = low, high
    edges = np.concatenate([[left], limits[first:last], [right]]).astype(np.float64)
    return _checked(edges, counts[first : last + 1].astype(np.float64))


def bins_of_rows(rows: np.ndarray) -> Bins | None:
    """Return the bins of rows of left edge, right edge and count, as TensorFlow 2 writes them.

    Where a bin begins beyond the end of the one before, the gap becomes an empty bin.

    Parameters
    ----------
    rows
        Shape (bins, 3).

    Returns
    -------
    tuple or None
        Edges, shape (bins + 1,), and counts, shape (bins,), float64; None if it holds nothing.

    Raises
    ------
    ValueError
        If these are no bins.
    """
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"a histogram of shape {rows.shape} instead of (bins, 3)")
    left, right, counts = rows.T.astype(np.float64)
    if not (counts > 0).any():
        return None
    if left.min() == right.max():
        return _checked(np.array([left[0], left[0]]), counts.sum(keepdims=True))
    gaps = np.flatnonzero(left[1:] > right[:-1]) + 1
    if (left[1:] < right[:-1]).any():
        raise ValueError("a histogram's bins overlap")
    edges = np.concatenate([left, right[-1:]])
    return _checked(np.insert(edges, gaps, right[gaps - 1]), np.insert(counts, gaps, 0.0))


def _checked(edges: np.ndarray, counts: np.ndarray) -> Bins:
    """Return bins that have a width; raise where that is not all that is wrong with them."""
    if not (np.isfinite(edges).all() and np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError("a histogram has edges or counts that are not finite, or negative counts")
    if len(edges) == 2 and edges[0] == edges[1]:
        width = max(abs(float(edges[0])), 1.0) * _NARROW
        edges = edges + np.array([-width / 2, width / 2])
    if (np.diff(edges) < 0).any():
        raise ValueError("a histogram's edges decrease")
    wide = np.concatenate([[True], np.diff(edges) > 0])
    if not wide.all():
        # Bins of no width: what they hold goes to the bin before, or to the first that has one.
        owner = np.maximum(np.cumsum(wide[1:]) - 1, 0)
        edges, counts = edges[wide], np.bincount(owner, counts, minlength=int(wide[1:].sum()))
    return edges, counts
