"""UMAP's fuzzy graph of neighbours (McInnes, Healy and Melville 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.projection.space import Neighbors

_HALVINGS = 30
_LEAST = 1e-3  # of the mean distance: a width of zero would cut points off


@dataclass(frozen=True)
class Graph:
    """A symmetric graph in compressed rows.

    Attributes
    ----------
    rows
        Shape (samples + 1,): where each point's edges begin.
    columns
        Shape (edges,): the other end.
    weights
        Shape (edges,): from 0 to 1.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.rows) - 1

    @property
    def heads(self) -> Tensor:
        """The point that each edge belongs to, shape (edges,)."""
        everyone = torch.arange(len(self), device=self.rows.device)
        return everyone.repeat_interleave(self.rows.diff())

    @property
    def degrees(self) -> Tensor:
        """The sum of each point's weights, shape (samples,)."""
        ones = self.weights.new_ones(len(self), 1)
        return self.sums(self.weights, ones)[:, 0]

    def sums(self, values: Tensor, table: Tensor) -> Tensor:
        """Return for each point the sum over its edges of their values times a table's row.

        Parameters
        ----------
        values
            Shape (edges,).
        table
            Shape (samples, columns): of an edge, the row of its other end is taken.
        """
        return gathered(self.columns, self.rows[:-1], values, table)


def gathered(columns: Tensor, starts: Tensor, values: Tensor | None, table: Tensor) -> Tensor:
    """Return for each row the sum over its edges of their values times a table's row.

    Row by row, without atomics: the same bits each time.

    Parameters
    ----------
    columns, values
        Of each edge the row of the table, and its value; None for 1.
    starts
        Where each row's edges begin.
    """
    return torch.nn.functional.embedding_bag(
        columns, table, starts, mode="sum", per_sample_weights=values
    )


def memberships(distances: Tensor, neighbors: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how strongly each point holds on to its neighbours, and the widths that decide it.

    Parameters
    ----------
    distances
        Shape (samples, k), the nearest first.
    neighbors
        The number that the widths are for: the memberships of a point add up to its logarithm to
        the base of 2.

    Returns
    -------
    memberships
        Shape (samples, k), from 0 to 1: ``exp(-(distance - nearest) / width)``.
    nearest, widths
        Shape (samples,).
    """
    positive = distances > 0
    first = torch.where(positive, distances, torch.inf).amin(1)
    nearest = torch.where(torch.isfinite(first), first, 0.0)
    beyond = (distances - nearest[:, None]).clamp_min(0)
    target = math.log2(neighbors)
    low, high = torch.zeros_like(nearest), torch.full_like(nearest, torch.inf)
    width = beyond.mean(1).clamp_min(torch.finfo(beyond.dtype).tiny)
    held = torch.empty_like(beyond)
    for _ in range(_HALVINGS):
        above = torch.div(beyond, -width[:, None], out=held).exp_().sum(1) > target
        high = torch.where(above, width, high)
        low = torch.where(above, low, width)
        width = torch.where(torch.isinf(high), 2 * width, (low + high) / 2)
    mean = torch.where(nearest > 0, distances.mean(1), distances.mean())
    width = torch.maximum(width, _LEAST * mean).clamp_min(torch.finfo(beyond.dtype).tiny)
    return torch.div(beyond, -width[:, None], out=held).exp_(), nearest, width


def fuzzy_graph(found: Neighbors, neighbors: int) -> Graph:
    """Return the union of what the points hold on to: ``a + b - a b`` for each pair."""
    held, _, _ = memberships(found.distances, neighbors)
    return union(found.indices, held)


def union(indices: Tensor, held: Tensor) -> Graph:
    """Return the symmetric graph of directed memberships, shape (samples, k) each."""
    graph, back = both_ways(indices, held)
    return Graph(graph.rows, graph.columns, graph.weights + back - graph.weights * back)


def both_ways(indices: Tensor, values: Tensor) -> tuple[Graph, Tensor]:
    """Return a graph that has every edge in both directions.

    Parameters
    ----------
    indices, values
        Shape (samples, k): where the edges of each point go, and what they weigh.

    Returns
    -------
    graph
        With the weight of each edge, 0 where it goes in the other direction only.
    back
        Shape (edges,): the weight of the other direction.
    """
    n, k = indices.shape
    indices, order = indices.sort(1)
    values = values.gather(1, order).flatten()
    heads = torch.arange(n, device=indices.device)[:, None]
    there = heads.mul(n).add(indices).flatten()
    back, order = indices.mul(n).add(heads).flatten().sort()
    theirs = values[order]
    del order
    # Two sorted lists of pairs become one, without sorting both together.
    place = torch.searchsorted(there, back).clamp_max_(n * k - 1)
    twice = there[place] == back
    other = torch.zeros_like(values)
    other[place[twice]] = theirs[twice]
    del place
    back, theirs = back[~twice], theirs[~twice]
    mine = torch.searchsorted(back, there).add_(torch.arange(n * k, device=there.device))
    new = torch.searchsorted(there, back).add_(torch.arange(len(back), device=there.device))
    keys = there.new_empty(len(there) + len(back))
    keys[mine], keys[new] = there, back
    forward, backward = (values.new_zeros(len(keys)) for _ in range(2))
    forward[mine], backward[mine], backward[new] = values, other, theirs
    sizes = torch.bincount(keys.div(n, rounding_mode="floor"), minlength=n)
    rows = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return Graph(rows, keys.remainder_(n), forward), backward


def by_label(graph: Graph, labels: Tensor, weight: float) -> Graph:
    """Return the graph with edges between different labels weakened, as umap-learn does.

    Parameters
    ----------
    labels
        Shape (samples,), -1 where not known.
    weight
        From 0 to 1: how much the labels matter.
    """
    apart = 2.5 / (1 - weight) if weight < 1 else 1e12
    mine, theirs = labels[graph.heads], labels[graph.columns]
    unknown = (mine < 0) | (theirs < 0)
    factor = torch.where(unknown, math.exp(-1.0), torch.where(mine == theirs, 1.0, 0.0))
    factor = factor.clamp_min(math.exp(-min(apart, 700.0))).to(graph.weights.dtype)
    weights = graph.weights * factor
    # Every point again holds on to its nearest fully.
    strongest = torch.segment_reduce(weights, "max", offsets=graph.rows)
    weights = weights / strongest[graph.heads].clamp_min(torch.finfo(weights.dtype).tiny)
    order = (graph.columns * len(graph) + graph.heads).argsort()
    back = torch.empty_like(weights)
    back[:] = weights[order]
    # Both directions of an edge hold it: a + b - a b.
    return Graph(graph.rows, graph.columns, weights + back - weights * back)
