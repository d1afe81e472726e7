"""The bins of recorded histograms: fixed ones, four to an octave, the same for every quantity.

A float32's first eleven bits are its sign, its exponent and two bits of its mantissa. Taken as a
number, its key, they say which bin a value belongs to: 4 bins from each power of two to the next,
equally wide within it, mirrored for negative values, with one bin around zero for whatever is
closer to it than 1.18e-38. So a value's bin costs one shift, nobody has to find a range first, and
histograms of different steps and processes add up bin by bin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KEYS = 2048  # of eleven bits
_HALF = KEYS // 2
_ZERO = 4  # the keys 0 to 3 of each sign are zero and the subnormal numbers
_INFINITE = 1020  # the keys 1020 to 1023 of each sign are infinity and NaN


def _edges() -> np.ndarray:
    keys = np.arange(_ZERO, _INFINITE + 1, dtype=np.uint32) << 21
    ends = keys.view(np.float32).astype(np.float64)
    ends[-1] = float(np.finfo(np.float32).max)
    return np.concatenate([-ends[::-1], ends])


# Of the 2,033 bins, increasing: bin i lies between EDGES[i] and EDGES[i + 1].
EDGES = _edges()
EDGES.flags.writeable = False
BINS = len(EDGES) - 1


def in_order(keys: np.ndarray) -> np.ndarray:
    """Return how many values fell into each of the 2,033 bins, in increasing order.

    Parameters
    ----------
    keys
        How many values had each of the 2,048 keys, those of positive values first: of one
        quantity (keys,), or of several (quantities, keys).
    """
    ordered = np.empty((*keys.shape[:-1], BINS), dtype=keys.dtype)
    ordered[..., : BINS // 2] = keys[..., _HALF + _INFINITE - 1 : _HALF + _ZERO - 1 : -1]
    ordered[..., BINS // 2] = zeros(keys)
    ordered[..., BINS // 2 + 1 :] = keys[..., _ZERO:_INFINITE]
    return ordered


def zeros(keys: np.ndarray) -> np.ndarray:
    """Return how many values were in the bin around zero, with the shape of the quantities."""
    return np.asarray(_signed(keys)[..., :_ZERO].sum((-2, -1)))


def not_finite(keys: np.ndarray) -> np.ndarray:
    """Return how many values were infinite or not a number, with the shape of the quantities."""
    return np.asarray(_signed(keys)[..., _INFINITE:].sum((-2, -1)))


def _signed(keys: np.ndarray) -> np.ndarray:
    """Return those of positive values and those of negative ones: (..., 2, 1024)."""
    return keys.reshape(*keys.shape[:-1], 2, _HALF)


def widened(
    bins: np.ndarray, counts: np.ndarray, lengths: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return several histograms' edges and counts from those bins that are not empty.

    Parameters
    ----------
    bins
        Which bins, increasing within each histogram; one histogram behind the other.
    counts
        How many values each of them holds.
    lengths
        How many bins each histogram has.

    Returns
    -------
    list of tuple
        For each histogram its edges and its counts, float64, without gaps: neighbouring empty bins
        are one bin that holds nothing.
    """
    bins = np.asarray(bins, dtype=np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    last = np.zeros(len(bins), dtype=bool)
    last[ends[np.asarray(lengths) > 0] - 1] = True
    gap = ~last & (np.diff(bins, append=0) > 1)
    # Each bin has a left edge; before a gap, and at the end, it has a right one too.
    shift: np.ndarray = np.cumsum(gap | last) - (gap | last)
    edges = np.empty(len(bins) + int((gap | last).sum()))
    place = np.arange(len(bins)) + shift
    edges[place] = EDGES[bins]
    edges[place[gap | last] + 1] = EDGES[bins[gap | last] + 1]
    filled = np.zeros(len(bins) + int(gap.sum()))
    filled[np.arange(len(bins)) + np.cumsum(gap) - gap] = counts
    found = []
    at = np.concatenate([[0], np.cumsum(gap)])[ends] + ends  # where each one's counts end
    begin = before = 0  # each histogram before has one edge more than it has counts
    for end, length in zip(at.tolist(), lengths, strict=True):
        if not length:
            found.append((np.zeros(1), np.zeros(0)))
            continue
        found.append((edges[begin + before : end + before + 1], filled[begin:end]))
        begin, before = end, before + 1
    return found
