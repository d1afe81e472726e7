"""Points among which distances are those of a metric, and their exact nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import InputError

METRICS = ("euclidean", "cosine", "correlation")
_CHUNK = 8 * 2**20  # bytes of the distances that are held at once
_ROWS = 512  # points that are looked for at once
_NEAR = 1e-3  # squared distances below this share of the squared norms have lost digits
_LOST = 1e-4  # below this share so many that the order may be another
_RANGE = 1e9  # beyond, or below its inverse, squares would leave the range of float32


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


def spread(points: Tensor, wanted: int) -> Tensor:
    """Return some of the points, evenly apart: all of them where no more are wanted."""
    n = len(points)
    if n <= wanted:
        return points
    some = torch.linspace(0, n - 1, wanted, dtype=torch.float64, device=points.device)
    return points[some.round().long()]


class Space:
    """Points, prepared so that squared Euclidean distances order them as the metric does.

    Parameters
    ----------
    points
        Shape (samples, features), floating. They are copied.
    metric
        ``"euclidean"``, ``"cosine"`` (1 - cosine of the angle) or ``"correlation"``.
    dtype
        What distances are computed in.
    """

    def __init__(
        self, points: Tensor, metric: str = "euclidean", dtype: torch.dtype = torch.float32
    ) -> None:
        self.metric, self._dtype = metric, dtype
        self._unit = 1.0
        self._offset: Tensor | None = None
        if metric == "euclidean":
            # A common offset would cost the sums of products below their digits.
            self._offset = _mean(points)
            ends = torch.stack(
                [end for part in _parts(points) for end in (part.amin(0), part.amax(0))]
            )
            largest = float((ends.double() - self._offset).abs().max())
            if largest > 0 and not 1 / _RANGE < largest < _RANGE:
                self._unit = 2.0 ** math.frexp(largest)[1]
        self.points = self.prepare(points)
        self.norms = norms(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def prepare(self, points: Tensor) -> Tensor:
        """Return points of this space, centred or of length one: a copy, row by row in memory."""
        found = torch.empty(points.shape, dtype=self._dtype, device=points.device)
        for part, into in zip(_parts(points), _parts(found), strict=True):
            # In the finer of both types, until what large numbers have in common is gone.
            rows = part.to(torch.promote_types(part.dtype, self._dtype))
            if self._offset is not None:
                rows = rows - self._offset.to(rows.dtype)
                into.copy_(rows if self._unit == 1 else rows / self._unit)
                continue
            tiny = torch.finfo(rows.dtype).tiny
            rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(tiny)
            if self.metric == "correlation":
                rows = rows - rows.mean(1, keepdim=True)
            # A row of zeros has no direction; it stays at the middle, equally far from all.
            into.copy_(rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(tiny))
        return found

    def restored(self, points: Tensor) -> Tensor:
        """Return the features of points of a Euclidean space."""
        assert self._offset is not None
        return points.double() * self._unit + self._offset

    def distances(self, squares: Tensor, queries: Tensor, found: Tensor) -> Tensor:
        """Return distances in the metric's units from squared ones."""
        mine, theirs = norms(queries)[:, None], self.norms[found]
        # Sums of products lose what near points have in common: those are computed again.
        row, column = (squares < _NEAR * (mine + theirs)).nonzero(as_tuple=True)
        if len(row):
            squares = squares.clone()
            size = max(1, _CHUNK // (4 * max(1, queries.shape[1])))
            for part in torch.split(torch.arange(len(row), device=row.device), size):
                r, c = row[part], column[part]
                squares[r, c] = norms(queries[r] - self.points[found[r, c]])
        squares = squares.clamp_min(0)
        return squares.sqrt() * self._unit if self.metric == "euclidean" else squares / 2


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
        squares, found = closest(rows, space.points, norms(rows), space.norms, k, mine)
        indices.append(found)
        distances.append(space.distances(squares, rows, found))
    return ordered(torch.cat(indices), torch.cat(distances), 1.0)


def closest(
    rows: Tensor,
    columns: Tensor,
    mine: Tensor,
    theirs: Tensor,
    k: int,
    own: Tensor | None = None,
    *,
    whole: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the `k` columns nearest to each of some rows: squared distances, and which they are.

    Parameters
    ----------
    rows, columns
        Shape (rows, features) and (columns, features).
    mine, theirs
        Their squared lengths.
    own
        The column of each row that does not count.
    whole
        Whether the lengths are those of the rows and columns, and not of longer ones that these
        are parts of. Rows whose neighbours are so near that their order is lost in float32 are
        then looked at again in float64.
    """
    squares, found = _smallest(rows, columns, theirs, k, own)
    squares += mine[:, None]
    lost = (squares[:, -1] < _LOST * mine).nonzero()[:, 0] if whole else rows.new_empty(0)
    if len(lost) and rows.dtype != torch.float64:
        again = rows[lost].double()
        which = None if own is None else own[lost]
        finer, found[lost] = _smallest(again, columns, None, k, which)
        squares[lost] = (finer + norms(again)[:, None]).to(squares.dtype)
    return squares, found


def _smallest(
    rows: Tensor, columns: Tensor, theirs: Tensor | None, k: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the smallest squared distances, less the rows' squared lengths, and of which columns.

    In the rows' type; without the columns' lengths, these are computed in it.
    """
    size = max(k, _CHUNK // (rows.element_size() * len(rows)))
    values, found = [], []
    for start in range(0, len(columns), size):
        block = columns[start : start + size].to(rows.dtype)
        lengths = norms(block) if theirs is None else theirs[start : start + size]
        part = torch.addmm(lengths, rows, block.T, alpha=-2)
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


def _parts(points: Tensor) -> tuple[Tensor, ...]:
    # Part by part: in float64 the whole would be twice as large as it is.
    return torch.split(points, max(1, _CHUNK // (8 * max(1, points.shape[1]))))


def _mean(points: Tensor) -> Tensor:
    sums = [part.sum(0, dtype=torch.float64) for part in _parts(points)]
    return torch.stack(sums).sum(0) / len(points)
