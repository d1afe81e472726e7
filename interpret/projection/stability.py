"""How much of a map is chance: the same data, other seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def aligned(places: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, float]:
    """Move, turn, mirror and scale a map onto another (Procrustes; Gower 1975).

    Parameters
    ----------
    places, to
        Shape (samples, dimensions).

    Returns
    -------
    aligned
        Shape (samples, dimensions), in the units of `to`.
    disparity
        What is left of the squared distances, over the spread of `to`: 0 for the same shape, 1 for
        no likeness. It is SciPy's `scipy.spatial.procrustes`.
    """
    a, b = places.astype(np.float64), to.astype(np.float64)
    center = b.mean(0)
    a, b = a - a.mean(0), b - center
    size, extent = np.linalg.norm(a), np.linalg.norm(b)
    if size == 0 or extent == 0:
        return np.broadcast_to(center, to.shape).copy(), 1.0
    u, singular, v = np.linalg.svd((a / size).T @ (b / extent), full_matrices=False)
    turned = (a / size) @ u @ v * singular.sum()
    disparity = float(((turned - b / extent) ** 2).sum())
    return turned * extent + center, disparity


def stability(
    again: Callable[[int], np.ndarray], places: np.ndarray, seeds: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Make a map again with other seeds, and see how far each point moves.

    Parameters
    ----------
    again
        Makes the map with a seed.
    places
        The map, shape (samples, dimensions).
    seeds
        Those of the other maps.

    Returns
    -------
    moved
        Shape (samples,): the root mean square distance from where the point stands on `places` to
        where it stands on the others, aligned, over the map's own root mean square extent: 0 for a
        point that stays; some 1.4 for one that may be anywhere.
    disparity
        The mean over the seeds.
    """
    moved = np.zeros(len(places))
    total = 0.0
    for seed in seeds:
        found, disparity = aligned(again(seed), places)
        moved += ((found - places) ** 2).sum(1)
        total += disparity
    extent = np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean()) or 1.0
    return np.sqrt(moved / len(seeds)) / extent, total / len(seeds)
