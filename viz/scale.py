"""How much of a large result is drawn: what a screen can show, without losing the extremes.

Histograms and boxes are computed here, never in the browser; long lines are drawn by their minima
and maxima; large clouds of points become WebGL, and larger ones an image of counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pellucid.errors import InputError

LIMIT = 2000  # points of one line; more cannot be seen on a screen
SVG_POINTS = 5000  # of a cloud; beyond, WebGL
GL_POINTS = 200_000  # of a cloud; beyond, an image of counts
HOVER_POINTS = 2000  # of a cloud drawn as an image: those that can be pointed at
BINS = 200
OUTLIERS = 200
_OWN = 50  # whole numbers that always have bins of their own
_SIDE = 1024  # cells of a side; more are blocks
_CHUNK = 1 << 20  # points counted at a time
_FLOAT32 = np.finfo(np.float32)


def typed(values: Any) -> np.ndarray:
    """Return numbers as Plotly sends them short: float32 where nobody could see the difference.

    Numbers that are large beside their spread (times, years as seconds) stay float64: float32
    would draw them in steps.
    """
    found = np.asarray(values)
    if found.dtype == bool:
        return found.astype(np.uint8)
    if found.dtype.kind in "iu" and found.dtype.itemsize < 8:
        return found
    finite = found[np.isfinite(found)]
    if not finite.size:
        return found.astype(np.float32)
    low, high = float(finite.min()), float(finite.max())
    largest = max(abs(low), abs(high))
    if found.dtype.kind in "iu" and largest < 2**31:
        return found.astype(np.int32)
    held = largest == 0 or 1e6 * float(_FLOAT32.tiny) < largest <= float(_FLOAT32.max)
    # Half differences: the difference of two numbers of largest size overflows.
    fine = largest * float(_FLOAT32.eps) <= 1e-4 * (high / 2 - low / 2)
    return found.astype(np.float32 if held and (fine or largest == 0) else np.float64)


def sample(count: int, most: int) -> np.ndarray:
    """Return the positions of at most `most` of `count` rows, in order; the same each time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def evenly(count: int, most: int) -> np.ndarray:
    """Return the positions of at most so many of `count`, evenly from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


# -- lines and maps --------------------------------------------------------------------------


def decimate(values: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """Return the positions to draw: the minimum and maximum of each stretch, and every gap.

    Parameters
    ----------
    values
        What is drawn; NaN where the line is interrupted.
    limit
        How many points to keep at most, beside the interruptions.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    kept = []
    for stretch in np.array_split(np.arange(len(values)), limit // 2):
        part = values[stretch]
        finite = stretch[np.isfinite(part)]
        if finite.size:
            kept += [finite[np.argmin(values[finite])], finite[np.argmax(values[finite])]]
        if finite.size < stretch.size:
            kept.append(stretch[~np.isfinite(part)][0])
    return np.unique(kept)


def reduce_blocks(plane: np.ndarray, side: int = _SIDE) -> tuple[np.ndarray, int]:
    """Reduce a map to at most `side` cells a side, keeping each block's value of largest size."""
    block = math.ceil(max(plane.shape) / side)
    if block == 1:
        return plane, 1
    rows, cols = (math.ceil(n / block) for n in plane.shape)
    padded = np.full((rows * block, cols * block), np.nan, np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    blocks = padded.reshape(rows, block, cols, block).transpose(0, 2, 1, 3)
    flat = blocks.reshape(rows, cols, block * block)
    best = np.argmax(np.nan_to_num(np.abs(flat), nan=-1.0), axis=-1)
    return np.take_along_axis(flat, best[..., None], axis=-1)[..., 0], block


# -- histograms ------------------------------------------------------------------------------


def bin_edges(values: np.ndarray, bins: int | None = None, most: int = BINS) -> np.ndarray:
    """Return where the bins of a histogram begin and end.

    Whole numbers have bins of their own, or where those would be many for few values, bins that
    hold the same number of them each. Others
    are binned by the rule of Freedman and Diaconis (1981), doi:10.1007/BF01025868: twice the
    interquartile range over the cube root of the number of values.

    Parameters
    ----------
    values
        Finite numbers, at least one.
    bins
        How many; None for the rule. Whole numbers may get somewhat fewer.
    most
        How many there are at most by the rule.

    Returns
    -------
    numpy.ndarray
        Float64, rising, of equal steps; the first is at most the lowest value, the last at least
        the highest.

    Raises
    ------
    InputError
        If the values span more than a float64 can hold.
    """
    low, high = _ends(values)
    span = high - low
    whole = max(abs(low), abs(high)) < 2**52 and bool((values == np.rint(values)).all())
    if whole:
        own = span < _OWN or (span < most and len(values) >= 10 * span)
        wanted = bins or (most if own else rule(values, most))
        step = max(1, math.ceil((span + 1) / wanted))
        count = math.ceil((span + 1) / step)
        return low - 0.5 + step * np.arange(count + 1, dtype=np.float64)
    if span == 0:
        room = abs(low) / 2
        return np.array([low - room, low + room])
    count = bins or rule(values, most)
    # Steps that float64 can tell apart.
    finest = float(np.spacing(max(abs(low), abs(high))))
    count = max(1, min(count, int(span / finest)))
    edges = np.linspace(low, high, count + 1)
    edges[0], edges[-1] = low, high
    return edges


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest value; raise if their difference overflows."""
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise InputError(
            f"the values go from {low:.3g} to {high:.3g}, which is more than float64 can span; "
            "divide them by some large number"
        )
    return low, high


def rule(values: np.ndarray, most: int = BINS) -> int:
    """Return how many bins Freedman and Diaconis would take, between 10 and `most`."""
    low, high = _ends(values)
    span = high - low
    if span == 0:
        return 1
    q1, q3 = np.percentile(values, [25, 75])
    width = 2 * float(q3 - q1) / len(values) ** (1 / 3)
    if width <= 0:  # half of the values are one: Scott's rule knows the rest
        width = 3.49 * float(np.std(values / span)) * span / len(values) ** (1 / 3)
    return min(max(10, math.ceil(span / width)), most) if width * most > span else most


def counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how many values are in each bin; the last bin includes its end.

    Parameters
    ----------
    values
        Finite numbers.
    edges
        Of the bins, rising.
    """
    return np.histogram(values, bins=edges)[0]


# -- boxes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """How values are distributed, in a few numbers.

    Attributes
    ----------
    count
        How many values there are.
    mean, q1, median, q3
        Their mean and quartiles.
    low, high
        The ends of the whiskers: the farthest values within 1.5 interquartile ranges of the box.
    outliers
        Positions of values beyond the whiskers, from low to high: of all, or evenly chosen with the
        farthest among them.
    outside
        How many values are beyond the whiskers.
    """

    count: int
    mean: float
    low: float
    q1: float
    median: float
    q3: float
    high: float
    outliers: np.ndarray
    outside: int


def box(values: np.ndarray, most: int = OUTLIERS) -> Box:
    """Compute a box: quartiles, whiskers after Tukey, and outliers.

    Parameters
    ----------
    values
        Finite numbers, at least one.
    most
        How many outliers to keep.

    Raises
    ------
    InputError
        If the values span more than a float64 can hold.
    """
    _ends(values)
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    reach = 1.5 * (q3 - q1)
    below, above = values < q1 - reach, values > q3 + reach
    inside = values[~(below | above)]
    outside = np.flatnonzero(below | above)
    outside = outside[np.argsort(values[outside], kind="stable")]
    kept = evenly(len(outside), most)
    return Box(
        count=len(values),
        mean=float(np.mean(values, dtype=np.float64)),
        # Interpolated quartiles may lie beyond the farthest value inside.
        low=min(float(inside.min()), q1),
        q1=q1,
        median=median,
        q3=q3,
        high=max(float(inside.max()), q3),
        outliers=outside[kept],
        outside=len(outside),
    )


# -- clouds of points ------------------------------------------------------------------------


def cloud(count: int) -> Literal["svg", "webgl", "density"]:
    """Return how a cloud of so many points is drawn."""
    if count <= SVG_POINTS:
        return "svg"
    return "webgl" if count <= GL_POINTS else "density"


def density(
    x: np.ndarray,
    y: np.ndarray,
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """Count the points in each cell of a grid.

    Parameters
    ----------
    x, y
        Finite coordinates, all of them between the ends.
    x_ends, y_ends
        Where the grid begins and ends.
    shape
        Rows (along y) and columns (along x).

    Returns
    -------
    numpy.ndarray
        Int64 of that shape; the counts add up to the number of points.
    """
    rows, columns = shape
    found = np.zeros(rows * columns, dtype=np.int64)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        cells = _cell(y[part], y_ends, rows) * columns + _cell(x[part], x_ends, columns)
        found += np.bincount(cells, minlength=len(found))
    return found.reshape(shape)


def _cell(values: np.ndarray, ends: tuple[float, float], count: int) -> np.ndarray:
    low, high = ends
    share = (values - low) / ((high - low) or 1.0)
    return np.clip((share * count).astype(np.int64), 0, count - 1)
