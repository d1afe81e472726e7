"""Nearest neighbours of all points: exact, or by cells with a recall that is measured."""

from __future__ import annotations

import torch

from pellucid.interpret.projection.cells import by_cells
from pellucid.interpret.projection.space import Neighbors, Space, exact

_EXACT = 8192  # points up to which the exact search is as quick


def nearest(space: Space, k: int, *, recall: float = 0.98, seed: int = 0) -> Neighbors:
    """Return the nearest neighbours of every point of a space, without itself.

    Parameters
    ----------
    space
        The points.
    k
        How many neighbours, fewer than there are points.
    recall
        The share of them that is to be found at least; 1 for an exact search.
    seed
        Of the cells.
    """
    found = None
    if len(space) > _EXACT and recall < 1:
        found = by_cells(space, k, recall, seed)
    if found is None:
        everyone = torch.arange(len(space), device=space.points.device)
        found = exact(space, space.points, k, everyone)
    return found
