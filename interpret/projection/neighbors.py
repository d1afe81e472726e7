"""Nearest neighbours on the device: exact, or by cells with a recall that is measured.

The inverted file of larger sets (Jegou, Douze and Schmid 2011): points are sorted into cells by
k-means; the neighbours of a cell's points are looked for in the cells nearest to it. How many cells
is not guessed: the neighbours of some points are found exactly, and cells are added until the share
of them that the cells find meets a target. Where all cells would be needed, the search is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

METRICS = ("euclidean", "cosine", "correlation")
_EXACT = 8192  # points up to which the exact search is as quick
_CHUNK = 64 * 2**20  # bytes of the distances that are held at once
_ASKED = 512  # points whose neighbours are found exactly, to measure the recall
_ROUNDS = 8  # of k-means
_SAMPLE = 64  # points for each cell that k-means looks at
_NEAR = 1e-3  # squared distances below this share of the squared norms have lost digits


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of some points, without themselves.

    Attributes
    ----------
    indices
        Shape (queries, k), int64, the nearest first.
    distances
        Shape (queries, k), float32, in the metric's units.
    recall
        The share of the true neighbours that were found: 1 where the search was exact, otherwise
        measured on some 500 points.
    """

    indices: Tensor
    distances: Tensor
    recall: float


class Space:
    """Points, prepared so that squared Euclidean distances order them as the metric does.

    Parameters
    ----------
    points
        Shape (samples, features), floating.
    metric
        ``"euclidean"``, ``"cosine"`` (1 - cosine of the angle) or ``"correlation"``.
    dtype
        What distances are computed in.
    """

    def __init__(
        self, points: Tensor, metric: str = "euclidean", dtype: torch.dtype = torch.float32
    ) -> None:
        self.metric, self._dtype = metric, dtype
        # A common offset would cost the sums of products below their digits.
        self._offset = points.double().mean(0).to(dtype) if metric == "euclidean" else None
        self.points = self.prepare(points)
        self.norms = _norms(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def prepare(self, points: Tensor) -> Tensor:
        """Return points of this space, centred or of length one: a copy."""
        if self._offset is not None:
            return points.to(self._dtype) - self._offset
        found = points.to(self._dtype)
        if self.metric == "correlation":
            found = found - found.mean(1, keepdim=True)
        # A row of zeros has no direction; it stays at the middle, equally far from all.
        return found / _norms(found).sqrt()[:, None].clamp_min(torch.finfo(self._dtype).tiny)

    def squares(self, rows: Tensor, columns: Tensor, norms: Tensor) -> Tensor:
        """Return squared distances, but for each row's own norm: the order is the same."""
        return torch.addmm(norms, rows, columns.T, alpha=-2)

    def distances(self, squares: Tensor, queries: Tensor, found: Tensor) -> Tensor:
        """Return distances in the metric's units from squared ones that have their norms."""
        mine, theirs = _norms(queries)[:, None], self.norms[found]
        # Sums of products lose what near points have in common: those are computed again.
        row, column = (squares < _NEAR * (mine + theirs)).nonzero(as_tuple=True)
        if len(row):
            squares = squares.clone()
            for part in torch.split(torch.arange(len(row), device=row.device), 1 << 16):
                r, c = row[part], column[part]
                squares[r, c] = _norms(queries[r] - self.points[found[r, c]])
        squares = squares.clamp_min(0)
        return squares.sqrt() if self.metric == "euclidean" else squares / 2


def nearest(space: Space, k: int, *, recall: float = 0.95, seed: int = 0) -> Neighbors:
    """Return the nearest neighbours of every point of a space, without itself.

    Parameters
    ----------
    space
        The points.
    k
        How many neighbours, fewer than there are points.
    recall
        The share of them that is to be found at least.
    seed
        Of the cells.
    """
    n = len(space)
    if n <= _EXACT or recall >= 1:
        return _exact(space, k)
    return _Cells(space, k, seed).search(recall)


def exact(space: Space, queries: Tensor, k: int, own: Tensor | None = None) -> Neighbors:
    """Return the exact nearest neighbours of points that were prepared by `Space.prepare`.

    Parameters
    ----------
    queries
        Shape (queries, features).
    own
        The position of each query among the points, which is then left out; None for new points.
    """
    n = len(space)
    size = max(16, _CHUNK // (4 * n))
    indices, distances = [], []
    for start in range(0, len(queries), size):
        rows = queries[start : start + size]
        squares = space.squares(rows, space.points, space.norms)
        if own is not None:
            squares.scatter_(1, own[start : start + size, None], torch.inf)
        values, found = squares.topk(k, largest=False)
        indices.append(found)
        distances.append(space.distances(values + _norms(rows)[:, None], rows, found))
    return _ordered(torch.cat(indices), torch.cat(distances), 1.0)


def _exact(space: Space, k: int) -> Neighbors:
    everyone = torch.arange(len(space), device=space.points.device)
    return exact(space, space.points, k, everyone)


def _norms(points: Tensor) -> Tensor:
    # Not the square of the points: that would be as large as they are.
    lengths: Tensor = torch.linalg.vector_norm(points, dim=1)
    return lengths.square()


def _ordered(indices: Tensor, distances: Tensor, recall: float) -> Neighbors:
    """Put neighbours in order again: those computed anew may have changed places."""
    order = distances.argsort(dim=1, stable=True)
    return Neighbors(indices.gather(1, order), distances.gather(1, order), recall)


class _Cells:
    """Points sorted into cells."""

    def __init__(self, space: Space, k: int, seed: int) -> None:
        self._space, self._k = space, k
        n = len(space)
        generator = torch.Generator().manual_seed(seed)
        count = max(2, round(math.sqrt(n)))
        centers = _means(space.points, count, generator)
        cell = _assign(space.points, centers)
        self._order = cell.argsort(stable=True)
        sizes = torch.bincount(cell, minlength=count)
        kept = sizes > 0
        self._sizes = sizes[kept]
        self._ends = self._sizes.cumsum(0).tolist()
        self._starts = [0, *self._ends[:-1]]
        # Each cell's cells, the nearest first, itself among them.
        far = torch.cdist(centers[kept], centers[kept])
        self._near = far.argsort(dim=1).cpu()
        # Points of a cell side by side: what a search reads is then a few long stretches.
        self._points = space.points[self._order]
        self._norms = space.norms[self._order]
        asked = torch.randperm(n, generator=generator)[:_ASKED].to(space.points.device)
        self._asked = asked
        self._truth = exact(space, space.points[asked], k, asked).indices
        self._cell_of = cell

    def search(self, target: float) -> Neighbors:
        """Look into as many cells as the target takes."""
        probe = 4
        cells = len(self._starts)
        while probe < cells // 2:
            measured = self._measure(probe)
            if measured >= target:
                return self._all(probe, measured)
            probe = max(probe + 1, round(1.5 * probe))
        return _exact(self._space, self._k)

    def _measure(self, probe: int) -> float:
        """Return the recall with so many cells, of the points that were asked."""
        position = torch.empty_like(self._order)
        position[self._order] = torch.arange(len(self._order), device=self._order.device)
        places = position[self._asked]
        starts = torch.tensor(self._starts, device=places.device)
        cell = torch.searchsorted(starts, places, right=True) - 1
        hits = 0
        for c in torch.unique(cell).tolist():
            mine = (cell == c).nonzero()[:, 0]
            found, _ = self._of(c, places[mine], probe)
            truth = self._truth[mine]
            hits += int((truth[:, :, None] == found[:, None, :]).any(2).sum())
        return hits / self._truth.numel()

    def _all(self, probe: int, recall: float) -> Neighbors:
        n = len(self._order)
        device = self._order.device
        indices = torch.empty(n, self._k, dtype=torch.int64, device=device)
        distances = torch.empty(n, self._k, device=device)
        for c, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            for places in torch.split(torch.arange(start, end, device=device), 4096):
                mine = self._order[places]
                found, squares = self._of(c, places, probe)
                indices[mine] = found
                queries = self._points[places]
                full = squares + self._norms[places, None]
                distances[mine] = self._space.distances(full, queries, found)
        return _ordered(indices, distances, recall)

    def _of(self, c: int, places: Tensor, probe: int) -> tuple[Tensor, Tensor]:
        """Return the neighbours of points of one cell, among those of the cells near to it."""
        cells, count = [], 0
        for near in self._near[c].tolist():
            cells.append(near)
            count += self._ends[near] - self._starts[near]
            if len(cells) >= probe and count > self._k:
                break
        stretches = [torch.arange(self._starts[b], self._ends[b]) for b in sorted(cells)]
        among = torch.cat(stretches).to(self._order.device)
        squares = self._space.squares(self._points[places], self._points[among], self._norms[among])
        squares[places[:, None] == among] = torch.inf
        values, found = squares.topk(self._k, largest=False)
        return self._order[among[found]], values


def _means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the centres of cells: k-means on a part of the points, from some of them."""
    n = len(points)
    part = torch.randperm(n, generator=generator)[: _SAMPLE * count].to(points.device)
    few = points[part]
    centers = few[:count].clone()
    for _ in range(_ROUNDS):
        cell = _assign(few, centers)
        sums = torch.zeros_like(centers).index_add_(0, cell, few)
        sizes = torch.bincount(cell, minlength=count)
        centers = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp_min(1), centers)
    return centers


def _assign(points: Tensor, centers: Tensor) -> Tensor:
    norms = _norms(centers)
    size = max(16, _CHUNK // (4 * len(centers)))
    parts = torch.split(points, size)
    return torch.cat([torch.addmm(norms, part, centers.T, alpha=-2).argmin(1) for part in parts])
