"""Points among which distances are those of a metric, and their exact nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import InputError

METRICS = ("euclidean", "cosine", "correlation")
_CHUNK = 8 * 2**20  # bytes of the distances that are held at once
_ROWS = 512  # points that are looked for at once
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

    def first(self, k: int) -> Neighbors:
        """Return the nearest `k` of them."""
        return Neighbors(self.indices[:, :k], self.distances[:, :k], self.recall)


def check_metric(metric: str, more: str = "") -> None:
    """Raise an `InputError` unless distances can be those of the metric."""
    if metric not in METRICS:
        known = ", ".join(map(repr, METRICS))
        raise InputError(f"metric={metric!r}; there are {known}" + (more and f"; {more}"))


def spread(n: int, wanted: int, device: torch.device) -> Tensor:
    """Return some positions of `n`, evenly apart: all of them where no more are wanted."""
    some = torch.linspace(0, n - 1, min(n, wanted), dtype=torch.float64, device=device)
    return some.round().long()


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
        self._offset = _mean(points).to(dtype) if metric == "euclidean" else None
        self.points = self.prepare(points)
        self.norms = norms(self.points)

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
        return found / norms(found).sqrt()[:, None].clamp_min(torch.finfo(self._dtype).tiny)

    def distances(self, squares: Tensor, queries: Tensor, found: Tensor) -> Tensor:
        """Return distances in the metric's units from squared ones that have their norms."""
        mine, theirs = norms(queries)[:, None], self.norms[found]
        # Sums of products lose what near points have in common: those are computed again.
        row, column = (squares < _NEAR * (mine + theirs)).nonzero(as_tuple=True)
        if len(row):
            squares = squares.clone()
            for part in torch.split(torch.arange(len(row), device=row.device), 1 << 16):
                r, c = row[part], column[part]
                squares[r, c] = norms(queries[r] - self.points[found[r, c]])
        squares = squares.clamp_min(0)
        return squares.sqrt() if self.metric == "euclidean" else squares / 2


def exact(space: Space, queries: Tensor, k: int, own: Tensor | None = None) -> Neighbors:
    """Return the exact nearest neighbours of points that were prepared by `Space.prepare`.

    Parameters
    ----------
    queries
        Shape (queries, features).
    own
        The position of each query among the points, which is then left out; None for new points.
    """
    indices, distances = [], []
    for start in range(0, len(queries), _ROWS):
        rows = queries[start : start + _ROWS]
        mine = None if own is None else own[start : start + _ROWS]
        squares, found = closest(rows, space.points, space.norms, k, mine)
        indices.append(found)
        distances.append(space.distances(squares + norms(rows)[:, None], rows, found))
    return ordered(torch.cat(indices), torch.cat(distances), 1.0)


def closest(
    rows: Tensor, columns: Tensor, squares: Tensor, k: int, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the `k` columns nearest to each of some rows: squared distances, and which they are.

    Parameters
    ----------
    rows, columns
        Shape (rows, features) and (columns, features).
    squares
        The columns' squared lengths, shape (columns,). The rows' own are left out: the order is
        the same.
    own
        The column of each row that does not count.
    """
    size = max(k, _CHUNK // (4 * len(rows)))
    values, found = [], []
    for start in range(0, len(columns), size):
        block = columns[start : start + size]
        part = torch.addmm(squares[start : start + size], rows, block.T, alpha=-2)
        if own is not None:
            here = ((own >= start) & (own < start + len(block))).nonzero()[:, 0]
            part[here, own[here] - start] = torch.inf
        best, which = part.topk(min(k, len(block)), largest=False)
        values.append(best)
        found.append(which + start)
    best, which = torch.cat(values, 1).topk(k, largest=False)
    return best, torch.cat(found, 1).gather(1, which)


def norms(points: Tensor) -> Tensor:
    """Return the squared lengths of points."""
    # Not the square of the points: that would be as large as they are.
    lengths: Tensor = torch.linalg.vector_norm(points, dim=1)
    return lengths.square()


def ordered(indices: Tensor, distances: Tensor, recall: float) -> Neighbors:
    """Put neighbours in order again: those computed anew may have changed places."""
    order = distances.argsort(dim=1, stable=True)
    return Neighbors(indices.gather(1, order), distances.gather(1, order), recall)


def _mean(points: Tensor) -> Tensor:
    # Part by part: in float64 the whole would be twice as large as it is.
    parts = torch.split(points, max(1, _CHUNK // (8 * max(1, points.shape[1]))))
    return torch.stack([part.sum(0, dtype=torch.float64) for part in parts]).sum(0) / len(points)
