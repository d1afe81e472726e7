"""How faithful a map is, point by point."""

from __future__ import annotations

import torch
from torch import Tensor

# Distances from a chunk of points to all others, in float64.
_CHUNK_BYTES = 64 * 2**20


def neighbourhoods(features: Tensor, coordinates: Tensor, neighbors: int) -> tuple[Tensor, Tensor]:
    """Compare each point's nearest neighbours among the features with those on the map.

    Exact, in chunks of points: the time grows with the square of the number of points.

    Parameters
    ----------
    features, coordinates
        Shape (samples, features) and (samples, dimensions).
    neighbors
        How many nearest neighbours to look at, fewer than half of the samples.

    Returns
    -------
    preservation
        Share of each point's neighbours that the map kept, shape (samples,).
    trustworthiness
        Of each point (Venna and Kaski 2001), shape (samples,): its mean is scikit-learn's
        `sklearn.manifold.trustworthiness`.
    """
    n, k = len(features), neighbors
    there, here = _Distances(features), _Distances(coordinates)
    size = max(1, _CHUNK_BYTES // (8 * n))
    kept, intruders = [], []
    for start in range(0, n, size):
        rows = torch.arange(start, min(start + size, n), device=features.device)
        far = there.of(rows)
        nearest = far.topk(k, largest=False).indices
        shown = here.of(rows).topk(k, largest=False).indices
        kept.append((shown[:, :, None] == nearest[:, None, :]).any(2).double().mean(1))
        penalty = torch.zeros(len(rows), dtype=torch.float64, device=features.device)
        for j in range(k):
            distance = far.gather(1, shown[:, j : j + 1])
            rank = (far < distance).sum(1) + 1
            penalty += (rank - k).clamp_min(0)
        intruders.append(penalty)
    scale = 2 / (k * (2 * n - 3 * k - 1))
    return torch.cat(kept), 1 - scale * torch.cat(intruders)


class _Distances:
    """Squared distances from some points to all, in float64, infinite to the point itself."""

    def __init__(self, points: Tensor) -> None:
        # Centred, so that the sum of products below loses no digits to a common offset.
        self._points = points.double() - points.double().mean(0)
        self._norms = (self._points**2).sum(1)

    def of(self, rows: Tensor) -> Tensor:
        """Return the distances, shape (rows, samples)."""
        squares = self._norms[rows, None] + self._norms - 2 * self._points[rows] @ self._points.T
        squares[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        return squares
