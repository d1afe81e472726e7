"""Which neighbours a map kept, which it tore away, and which it drew in falsely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Projection

_CHUNK = 1 << 22  # distances held at once


@dataclass(frozen=True)
class Around:
    """The neighbours of one point: positions.

    Attributes
    ----------
    kept
        True neighbours that are among the nearest on the map.
    torn
        True neighbours that are not.
    false
        Nearest on the map that are no true neighbours.
    """

    kept: np.ndarray
    torn: np.ndarray
    false: np.ndarray


def on_map(places: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Return the nearest points on the map, shape (rows, k), nearest first.

    Parameters
    ----------
    places
        Shape (samples, dimensions).
    rows
        Positions of the points that are asked for.
    k
        How many, fewer than there are samples.
    """
    places = np.asarray(places, dtype=np.float64)
    found = np.empty((len(rows), k), dtype=np.int64)
    size = max(1, _CHUNK // len(places))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        squares = sum(
            (axis[part, None] - axis[None, :]) ** 2 for axis in np.ascontiguousarray(places.T)
        )
        squares[np.arange(len(part)), part] = np.inf
        near = np.argpartition(squares, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(squares, near, axis=1).argsort(axis=1, kind="stable")
        found[start : start + size] = np.take_along_axis(near, order, axis=1)
    return found


def true_neighbours(projection: Projection) -> np.ndarray:
    """Return each point's true neighbours as positions on this map, shape (samples, neighbors).

    Raises
    ------
    InputError
        If the projection holds none, as a part of a map does.
    """
    nearest = projection.nearest
    if nearest is None:
        raise InputError(
            "the projection does not hold its points' true neighbours, as a part of a map does "
            "not; give the whole one, made with pellucid.project"
        )
    k = nearest.shape[1]
    if not 0 < k < len(projection):
        raise InputError(f"the projection holds {k} neighbours of each of {len(projection)} points")
    return nearest


def around(projection: Projection, nearest: np.ndarray, row: int) -> Around:
    """Return the neighbours of one point."""
    true = nearest[row]
    shown = on_map(projection.coordinates, np.array([row]), len(true))[0]
    near = np.isin(true, shown)
    return Around(true[near], true[~near], shown[~np.isin(shown, true)])


def find_point(projection: Projection, point: Any) -> int:
    """Return the position of a point given by its id, or else by its position."""
    count = len(projection)
    whole = isinstance(point, (int, np.integer)) and not isinstance(point, bool)
    ids = projection.sample_ids
    if ids is not None and (whole or isinstance(point, str)):
        same = whole == (ids.dtype.kind in "iu")
        found = np.flatnonzero(ids == point) if same else np.zeros(0, int)
        if len(found) > 1:
            raise InputError(f"point={point!r}: {len(found)} samples have that id")
        if len(found):
            return int(found[0])
    if not whole:
        raise InputError(f"point={point!r}: no sample has that id; give an id or a position")
    if not -count <= point < count:
        raise InputError(f"point={point!r}: there are {count} points, and none has that id")
    return int(point) % count


def worst_torn(places: np.ndarray, nearest: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of true neighbours that lie farthest apart on a map, one of each point.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Positions of the points, and of their neighbours: at most so many pairs, none of which is
        among the nearest on the map, nor drawn in both directions.
    """
    places = np.asarray(places, dtype=np.float64)
    longest, farthest = np.full(len(places), -1.0), np.zeros(len(places), dtype=np.int64)
    for column in nearest.T:
        squares = ((places - places[column]) ** 2).sum(axis=1)
        longer = squares > longest
        longest[longer], farthest[longer] = squares[longer], column[longer]
    rows = np.argsort(-longest, kind="stable")[: 3 * most]
    ends = farthest[rows]
    shown = on_map(places, rows, nearest.shape[1])
    torn = ~(shown == ends[:, None]).any(axis=1)
    pairs = np.sort(np.column_stack([rows, ends]), axis=1)
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(pairs, axis=0, return_index=True)[1]] = True
    kept = np.flatnonzero(torn & first)[:most]
    return rows[kept], ends[kept]


def worst_false(
    places: np.ndarray, nearest: np.ndarray, trust: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a false neighbour for each of the points with the lowest trustworthiness.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Positions of the points, and of the nearest on the map that is no true neighbour.
    """
    order = np.argsort(np.where(np.isfinite(trust), trust, np.inf), kind="stable")
    rows = order[:most]
    rows = rows[trust[rows] < 1]
    shown = on_map(places, rows, nearest.shape[1])
    false = ~(shown[:, :, None] == nearest[rows][:, None, :]).any(axis=2)
    some = false.any(axis=1)
    return rows[some], shown[some, false[some].argmax(axis=1)]
