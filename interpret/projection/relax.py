"""The layout of a map: points pulled by their edges, pushed by a few that all share.

The forces are UMAP's (McInnes, Healy and Melville 2018), in expectation: every edge pulls in every
epoch, by its weight, where umap-learn draws edges; and the points that push are drawn once for an
epoch, for all. Steps are those of an exponential integrator: a point that many edges pull on comes
to rest among them, and cannot be thrown beyond, as it is by synchronous steps of a fixed length.
Sums are gathered row by row, so that there are no atomics: one seed is one map, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.projection.fuzzy import Graph

PUSHING = 32  # points that push, in an epoch
_RATE = 5.0  # pushes for each pull
_CLIP = 4.0
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

    def pull(self, squares: Tensor) -> Tensor:
        """Return by how much of its length an edge of that squared length wants to shrink."""
        squares = squares.clamp_min_(1e-8)
        power = _power(squares, self.b - 1)
        below = squares.mul_(power).mul_(self.a).add_(1)
        return power.mul_(2 * self.a * self.b).div_(below)

    def push(self, squares: Tensor) -> Tensor:
        """Return how hard two points of that squared distance push, for each unit of it."""
        below = _power(squares.clamp_min_(1e-8), self.b).mul_(self.a).add_(1)
        return below.mul_(squares.add_(_SOFT)).reciprocal_().mul_(2 * self.b)


def _power(squares: Tensor, exponent: float) -> Tensor:
    # Twice as quick as torch.pow on a CPU, and as near as the forces need it.
    return squares.log().mul_(exponent).exp_()


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
    heads, degrees = graph.heads, graph.degrees
    axes = list(start.T.contiguous().unbind())
    held = None
    if anchor is not None:
        held = torch.isfinite(anchor.places).all(1).float() * anchor.strength
        targets = torch.nan_to_num(anchor.places).T.contiguous().unbind()
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        # 1. Pulls: both ends of an edge move, and both directions of it are in the graph.
        apart = [axis.index_select(0, graph.columns) - axis.index_select(0, heads) for axis in axes]
        pulls = curve.pull(_squares(apart)).mul_(graph.weights).mul_(2)
        table = torch.stack([torch.ones_like(axes[0]), *axes], 1)
        sums = graph.sums(pulls, table)
        stiffness = sums[:, 0]
        forces = [sums[:, d + 1] - stiffness * axis for d, axis in enumerate(axes)]
        if held is not None:
            stiffness = stiffness + held
            forces = [
                force + held * (target - axis)
                for force, target, axis in zip(forces, targets, axes, strict=True)
            ]
        # 2. Pushes, by points that all share.
        chosen = torch.randint(n, (PUSHING,), generator=generator).to(start.device)
        pushes = _pushes(axes, [axis[chosen] for axis in axes], curve)
        # 3. A step that ends, at the longest, where the pulls are in balance.
        step = rate * _share(rate * stiffness)
        axes = [
            axis + step * (force + degrees * push)
            for axis, force, push in zip(axes, forces, pushes, strict=True)
        ]
    return torch.stack(axes, 1)


def _squares(apart: list[Tensor]) -> Tensor:
    found = apart[0] * apart[0]
    for part in apart[1:]:
        found.addcmul_(part, part)
    return found


def _pushes(axes: list[Tensor], others: list[Tensor], curve: Curve) -> list[Tensor]:
    """Return the force of others on points of weight 1, for each axis."""
    apart = [axis[:, None] - other for axis, other in zip(axes, others, strict=True)]
    strength = curve.push(_squares(apart))
    # Each push is bounded, as in umap-learn: two points at one place would part for ever.
    return [
        part.mul_(strength).clamp_(-_CLIP, _CLIP).sum(1).mul_(_RATE / len(others[0]))
        for part in apart
    ]


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
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        apart = ends - start[:, None]
        pulls = held * curve.pull(apart.square().sum(2))
        force = (pulls[..., None] * apart).sum(1)
        chosen = torch.randint(len(places), (PUSHING,), generator=generator).to(places.device)
        pushes = _pushes(list(start.unbind(1)), list(places[chosen].unbind(1)), curve)
        force = force + degrees[:, None] * torch.stack(pushes, 1)
        start = start + rate * force * _share(rate * pulls.sum(1))[:, None]
    return start
