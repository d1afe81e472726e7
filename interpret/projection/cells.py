"""Nearest neighbours by cells, with a recall that is measured.

The inverted file (Jegou, Douze and Schmid 2011): points are sorted into cells by k-means, and the
neighbours of a cell's points are looked for in the cells nearest to it. Wide points are compared by
the principal components that order them as well, and the best of these by all their features. How
many components and how many cells is not guessed: the neighbours of some points are found exactly,
and more is looked at until the share of them that is found meets a target.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from pellucid.interpret.projection.fuzzy import gathered
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.space import (
    Neighbors,
    Space,
    closest,
    exact,
    norms,
    ordered,
    spread,
)

_ASKED = 512  # points whose neighbours are found exactly, to measure the recall
_TRIED = 128  # of them, by which the components are chosen
_WIDTHS = (16, 32, 64, 128, 256)  # components that are tried, up to half of the features
_SEEN = 1024  # points that the components are found from
_TIGHT = 1e-3  # share of the squared norm: neighbours nearer than that are hard to tell apart
_SPARE = 2  # candidates for each neighbour, where they are compared by components
_ROUNDS = 8  # of k-means
_SAMPLE = 64  # points for each cell that k-means looks at
_MOST = 0.5  # share of the points beyond which to look at all is as quick
_CHUNK = 8 * 2**20  # bytes of the distances that are held at once
_ROWS = 1024  # points of a cell that are looked for at once


def by_cells(space: Space, k: int, target: float, seed: int) -> Neighbors | None:
    """Return the nearest neighbours of every point of a space, without itself.

    Parameters
    ----------
    target
        The recall to reach, below 1.

    Returns
    -------
    Neighbors or None
        None where looking at all points is the quicker way to the target.
    """
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randperm(len(space), generator=generator)[:_ASKED].to(space.points.device)
    truth = exact(space, space.points[asked], k, asked)
    spare = (1 - target) / 2
    points, candidates = _narrowed(space, asked, truth, 1 - spare)
    cells = _Cells(space, points, generator)
    del points  # which the cells hold in an order of their own
    for share in (target if candidates == k else 1 - spare, 1.0):
        probe = cells.holding(share, asked, truth.indices)
        if candidates == k and cells.looked(probe) > _MOST:
            return None
        found = ordered(*cells.search(probe, k, candidates), 0)
        # Of points at one distance any will do.
        near = found.distances[asked] <= truth.distances[:, -1:]
        recall = float((near | _same(found.indices[asked], truth.indices)).double().mean())
        if recall >= target:
            return Neighbors(found.indices, found.distances, recall)
    return None


def _narrowed(space: Space, asked: Tensor, truth: Neighbors, target: float) -> tuple[Tensor, int]:
    """Return the points by the fewest components that order them well, and how many to compare.

    Their own features, and as many as neighbours, where no components do.
    """
    k, width = truth.indices.shape[1], space.points.shape[1]
    widths = [some for some in _WIDTHS if some <= width // 2]
    # Neighbours far nearer than the middle take all features, and more digits, to tell apart.
    apart = norms(space.points[asked] - space.points[truth.indices[:, -1]])
    tight = apart < _TIGHT * space.norms[asked]
    if not widths or _SPARE * k >= len(space) or float(tight.double().mean()) > 1 - target:
        return space.points, k
    some = spread(space.points, _SEEN)
    directions = pca(some, widths[-1]).directions.to(some.dtype)
    asked, indices = asked[:_TRIED], truth.indices[:_TRIED]
    for count in widths:
        # The norms are whole: what the components leave out counts as if it were at right angles.
        narrow = space.points @ directions[:count].T
        _, found = closest(
            narrow[asked], narrow, space.norms[asked], space.norms, _SPARE * k, asked, whole=False
        )
        if _same(indices, found).double().mean() >= target:
            return narrow, _SPARE * k
    return space.points, k


def _same(some: Tensor, among: Tensor) -> Tensor:
    """Return which of some neighbours are among others of the same point."""
    return (some[:, :, None] == among[:, None, :]).any(2)


class _Cells:
    """Points sorted into cells.

    Parameters
    ----------
    space
        The points, by all their features.
    points
        The same by what they are sorted and compared by.
    """

    def __init__(self, space: Space, points: Tensor, generator: torch.Generator) -> None:
        self._space = space
        n = len(space)
        count = max(2, round(math.sqrt(n)))
        centers = _means(points, count, generator)
        cell = _assign(points, centers)
        kept, self._cell, sizes = torch.unique(cell, return_inverse=True, return_counts=True)
        self._sizes = sizes
        self._order = self._cell.argsort(stable=True)
        self._bounds = [0, *sizes.cumsum(0).tolist()]
        # Each cell's cells, the nearest first, itself among them.
        far = torch.cdist(centers[kept], centers[kept])
        far.fill_diagonal_(-1)
        self._near = far.argsort(dim=1)
        # Points of a cell side by side: what a search reads is then a few long stretches.
        self._points = points.index_select(0, self._order)
        self._norms = space.norms.index_select(0, self._order)

    def holding(self, share: float, asked: Tensor, truth: Tensor) -> int:
        """Return how many cells hold a share of the true neighbours of some points."""
        rank = self._near.argsort(dim=1)
        needed = rank[self._cell[asked][:, None], self._cell[truth]].flatten().sort().values
        return int(needed[math.ceil(share * len(needed)) - 1]) + 1

    def looked(self, probe: int) -> float:
        """Return the share of the points that a search of so many cells looks at."""
        among = self._sizes[self._near[:, :probe]].sum(1)
        return float((among * self._sizes).sum() / len(self._order) ** 2)

    def search(self, probe: int, k: int, candidates: int) -> tuple[Tensor, Tensor]:
        """Return neighbours and their distances, shape (samples, k), not wholly in order.

        Parameters
        ----------
        probe
            How many cells to look into.
        candidates
            How many of the nearest are compared by all features, where it is more than `k`.
        """
        space, order = self._space, self._order
        indices = order.new_empty(len(order), k)
        distances = space.norms.new_empty(len(order), k)
        for c, near in enumerate(self._near.tolist()):
            start, end = self._bounds[c], self._bounds[c + 1]
            among = self._among(near, probe, candidates)
            points, squares = self._points[among], self._norms[among]
            for places in torch.split(torch.arange(start, end, device=order.device), _ROWS):
                # The cell's own points come first.
                rows = self._points[places]
                values, found = closest(
                    rows, points, self._norms[places], squares, candidates, places - start,
                    whole=candidates == k,
                )  # fmt: skip
                mine, found = order[places], order[among[found]]
                queries = space.points[mine]
                if candidates > k:
                    found, values = _best(space, queries, found, k)
                    values = values + space.norms[mine, None]
                indices[mine] = found
                distances[mine] = space.distances(values, queries, found)
        return indices, distances

    def _among(self, near: list[int], probe: int, candidates: int) -> Tensor:
        """Return where the points of the nearest cells stand, those of the first cell first."""
        stretches, count = [], 0
        for c in near:
            stretches.append(torch.arange(self._bounds[c], self._bounds[c + 1]))
            count += len(stretches[-1])
            if len(stretches) >= probe and count > candidates:
                break
        return torch.cat(stretches).to(self._order.device)


def _best(space: Space, queries: Tensor, found: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of some candidates by all features, and squared distances to them.

    Less the squared lengths of the queries.
    """
    count, each = found.shape
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR")
        # Products of single rows, without the copy of each row that a gather would make.
        wanted = torch.sparse_csr_tensor(
            torch.arange(0, count * each + 1, each, device=found.device),
            found.flatten(),
            space.norms[found].flatten(),
            (count, len(space)),
            check_invariants=False,
        )
        squares = torch.sparse.sampled_addmm(wanted, queries, space.points.T, alpha=-2)
    values, best = squares.values().view(count, each).topk(k, largest=False)
    return found.gather(1, best), values


def _means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the centres of cells: k-means on a part of the points, from some of them."""
    part = torch.randperm(len(points), generator=generator)[: _SAMPLE * count].to(points.device)
    few = points[part]
    centers = few[:count].clone()
    for _ in range(_ROUNDS):
        cell = _assign(few, centers)
        sizes = torch.bincount(cell, minlength=count)
        # Summed cell by cell: additions in no certain order would not repeat on a GPU.
        starts = sizes.cumsum(0) - sizes
        sums = gathered(cell.argsort(stable=True), starts, None, few)
        centers = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp_min(1), centers)
    return centers


def _assign(points: Tensor, centers: Tensor) -> Tensor:
    squares = norms(centers)
    parts = torch.split(points, max(16, _CHUNK // (4 * len(centers))))
    return torch.cat([torch.addmm(squares, part, centers.T, alpha=-2).argmin(1) for part in parts])
