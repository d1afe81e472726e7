"""The layout of a map: points pulled by their edges, pushed by a few that all share.

The forces are UMAP's (McInnes, Healy and Melville 2018), in expectation: every edge pulls in every
epoch, by its weight, where umap-learn draws edges; and the points that push are drawn once for an
epoch, for all. Steps are those of an exponential integrator: a point that many edges pull on comes
to rest among them, and cannot be thrown beyond, as it is by synchronous steps of a fixed length.
Sums are gathered row by row, so that there are no atomics: one seed is one map, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.projection.fuzzy import Graph, gathered

PUSHING = 32  # points that push, in an epoch
_RATE = 5.0  # pushes for each pull
_CLIP = 4.0
_LEAST = 1e-8  # squared distance: the forces have no direction at one place
_SOFT = 1e-3  # as in umap-learn: two points at one place push each other finitely


@dataclass(frozen=True)
class Curve:
    """How near two points of an edge want to be: ``1 / (1 + a d^(2b))``."""

    a: float
    b: float

    @classmethod
    def fitted(cls, min_dist: float, spread: float) -> Curve:
        """Return the curve nearest to 1 up to `min_dist`, and exponential decay beyond."""
        import numpy as np
        from scipy.optimize import curve_fit

        x = np.linspace(0, 3 * spread, 300)
        y = np.where(x < min_dist, 1.0, np.exp(-(x - min_dist) / spread))
        (a, b), _ = curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), x, y)
        return cls(float(a), float(b))

    def pull(self, squares: Tensor, into: Tensor) -> Tensor:
        """Return by how much of its length an edge of that squared length wants to shrink.

        `squares` is changed, and what is returned is written to `into`.
        """
        # The curve is a sigmoid of the logarithm of a d^(2b), which costs less than a power.
        torch.log(squares.clamp_min_(_LEAST), out=into).mul_(self.b).add_(math.log(self.a))
        return into.sigmoid_().div_(squares).mul_(2 * self.b)

    def push(self, squares: Tensor, into: Tensor) -> Tensor:
        """Return how hard two points of that squared distance push, for each unit of it.

        `squares` is changed, and what is returned is written to `into`.
        """
        torch.log(squares, out=into).mul_(-self.b).sub_(math.log(self.a))
        return into.sigmoid_().div_(squares.add_(_SOFT)).mul_(2 * self.b)


@dataclass(frozen=True)
class Anchor:
    """Places that points are held near: those of an earlier map.

    Attributes
    ----------
    places
        Shape (samples, dimensions); NaN for points that have none.
    strength
        Of an anchor, beside edges of weight 1.
    """

    places: Tensor
    strength: float


def relax(
    start: Tensor,
    graph: Graph,
    curve: Curve,
    *,
    epochs: int,
    seed: int,
    anchor: Anchor | None = None,
) -> Tensor:
    """Return the map that a graph relaxes to.

    Parameters
    ----------
    start
        Shape (samples, dimensions), float32.
    """
    n = len(start)
    generator = torch.Generator().manual_seed(seed)
    degrees = graph.degrees
    pulling, pushing = _Pulls(graph, start), _Pushes(start)
    axes = list(start.T.contiguous().unbind())
    held = None
    if anchor is not None:
        held = torch.isfinite(anchor.places).all(1).float() * anchor.strength
        targets = torch.nan_to_num(anchor.places).T.contiguous().unbind()
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        # 1. Pulls: both ends of an edge move, and both directions of it are in the graph.
        stiffness, *forces = pulling(axes, curve)
        if held is not None:
            stiffness = stiffness + held
            forces = [
                force + held * (target - axis)
                for force, target, axis in zip(forces, targets, axes, strict=True)
            ]
        # 2. Pushes, by points that all share.
        chosen = torch.randint(n, (PUSHING,), generator=generator).to(start.device)
        pushes = pushing(axes, [axis[chosen] for axis in axes], curve)
        # 3. A step that ends, at the longest, where the pulls are in balance.
        step = rate * _share(rate * stiffness)
        axes = [
            axis + step * (force + degrees * push)
            for axis, force, push in zip(axes, forces, pushes, strict=True)
        ]
    return torch.stack(axes, 1)


class _Pulls:
    """How hard edges pull; memory for it is taken once, since new memory costs as much as the work.

    Parameters
    ----------
    like
        Shape (samples, dimensions): of the kind and on the device of the map.
    """

    def __init__(self, graph: Graph, like: Tensor) -> None:
        # Both directions of an edge pull alike: what a pair has in common is computed once.
        heads, columns, n = graph.heads, graph.columns, len(graph)
        first = columns > heads
        kind = torch.int32 if max(n, len(columns)) < 2**31 else torch.int64
        self._rows, self._columns = graph.rows[:-1].to(kind), columns.to(kind)
        self._ends = heads[first].to(kind), columns[first].to(kind)
        self._weights = 2 * graph.weights[first]
        keys = torch.minimum(heads, columns).mul_(n).add_(torch.maximum(heads, columns))
        self._pair = torch.searchsorted(keys[first], keys, out_int32=kind == torch.int32)
        count = len(self._weights)
        self._apart = [like.new_empty(count) for _ in range(like.shape[1])]
        self._squares, self._found = like.new_empty(count), like.new_empty(count)
        self._all = like.new_empty(len(keys))

    def __call__(self, axes: list[Tensor], curve: Curve) -> tuple[Tensor, ...]:
        """Return how hard each point is held by its edges, and the force along each axis."""
        one, other = self._ends
        for axis, apart in zip(axes, self._apart, strict=True):
            torch.index_select(axis, 0, one, out=apart)
            apart.sub_(torch.index_select(axis, 0, other, out=self._found))
        pulls = curve.pull(_squares(self._apart, self._squares), self._found).mul_(self._weights)
        everyone = torch.index_select(pulls, 0, self._pair, out=self._all)
        table = torch.stack([torch.ones_like(axes[0]), *axes], 1)
        sums = gathered(self._columns, self._rows, everyone, table)
        held = sums[:, 0]
        return held, *(sums[:, d + 1] - held * axis for d, axis in enumerate(axes))


class _Pushes:
    """How hard a few points push all; memory for it is taken once.

    Parameters
    ----------
    like
        Shape (samples, dimensions): of the kind and on the device of the map.
    """

    def __init__(self, like: Tensor) -> None:
        n, dimensions = like.shape
        self._apart = [like.new_empty(n, PUSHING) for _ in range(dimensions)]
        self._squares, self._found = (like.new_empty(n, PUSHING) for _ in range(2))

    def __call__(self, axes: list[Tensor], others: list[Tensor], curve: Curve) -> list[Tensor]:
        """Return the force of others on points of weight 1, for each axis."""
        for axis, other, apart in zip(axes, others, self._apart, strict=True):
            torch.sub(axis[:, None], other, out=apart)
        strength = curve.push(_squares(self._apart, self._squares), self._found)
        # Each push is bounded, as in umap-learn: two points at one place would part for ever.
        return [
            apart.mul_(strength).clamp_(-_CLIP, _CLIP).sum(1).mul_(_RATE / PUSHING)
            for apart in self._apart
        ]


def _squares(apart: list[Tensor], into: Tensor) -> Tensor:
    torch.mul(apart[0], apart[0], out=into)
    for part in apart[1:]:
        into.addcmul_(part, part)
    return into


def _share(decay: Tensor) -> Tensor:
    """Return ``(1 - exp(-decay)) / decay``, 1 at 0."""
    return torch.where(decay > 1e-6, -torch.expm1(-decay) / decay.clamp_min(1e-6), 1 - decay / 2)


def settle(
    start: Tensor,
    places: Tensor,
    neighbors: Tensor,
    held: Tensor,
    curve: Curve,
    *,
    epochs: int,
    seed: int,
) -> Tensor:
    """Return where new points come to rest on a finished map, which does not move.

    Parameters
    ----------
    start
        Shape (new points, dimensions).
    places
        Shape (samples, dimensions): the map.
    neighbors, held
        Shape (new points, k): the neighbours of each on the map, and how strongly it holds on.
    """
    generator = torch.Generator().manual_seed(seed)
    ends = places[neighbors]
    degrees = held.sum(1)
    pushing = _Pushes(start)
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        apart = ends - start[:, None]
        squares = apart.square().sum(2)
        pulls = held * curve.pull(squares, torch.empty_like(squares))
        force = (pulls[..., None] * apart).sum(1)
        chosen = torch.randint(len(places), (PUSHING,), generator=generator).to(places.device)
        pushes = pushing(list(start.unbind(1)), list(places[chosen].unbind(1)), curve)
        force = force + degrees[:, None] * torch.stack(pushes, 1)
        start = start + rate * force * _share(rate * pulls.sum(1))[:, None]
    return start
