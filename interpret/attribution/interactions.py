"""Pairwise Shapley interactions: what two features do together that neither does alone."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

from pellucid.interpret.attribution.coalitions import Pairs
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.attribution.shapley import Regression, estimated
from pellucid.interpret.block import Block


@method(
    baseline=True,
    complete=True,
    cost="as many evaluations as the budget (2 for each feature and 2,048, and at least 1 for each "
    "two features), for each sample of a background",
    promise="exact where the budget covers all coalitions, or only two features interact at a "
    "time; else a standard error for every value",
    paper="Grabisch & Roubens 1999, https://doi.org/10.1007/s001820050125; Lundberg et al. 2020, "
    "https://doi.org/10.1038/s42256-019-0138-9",
    points=lambda _: None,
    samples=True,
    gradients=False,
    sampled=True,
    typical=2048,
)
def shapley_interactions(block: Block, *, budget: int | None = None) -> Attribution:
    """Divide Shapley values into what each feature does alone, and with every other one.

    The values of a row are a symmetric matrix: half the Shapley interaction index of two features
    in each of their two places, and in the diagonal what then remains of a feature's Shapley value.
    Its rows add up to Shapley values, and all of it to the prediction less the baseline's. `budget`
    bounds the coalitions for each row.
    """
    return estimated(block, budget, None, _Interactions, axes=("with",))


class _Interactions(Regression):
    """Interactions from the sums of pairs of coalitions, and values from their differences."""

    @staticmethod
    def least(players: int) -> int:
        # A regression on every two players, with some pairs to spare for the error.
        least: int = min(2**players, 2 * (comb(players, 2) + players + 3))
        return least

    def result(self) -> tuple[Tensor, Tensor | None]:
        alone, error_alone = super().result()
        n = self._game.players
        if n == 1:
            return alone, error_alone
        assert self._pairs is not None
        assert error_alone is not None
        ends = self._nobody + self._everybody
        joint, error = interactions(self._pairs, self._found[1].flatten(1), ends.flatten())
        shape = (*alone.shape, n)
        half, error = joint.reshape(shape) / 2, error.reshape(shape) / 2
        own = alone - half.sum(-1)
        error_own = (error_alone**2 + (error**2).sum(-1)).sqrt()
        values = half + torch.diag_embed(own)
        return values.flatten(2), (error + torch.diag_embed(error_own)).flatten(2)


def interactions(pairs: Pairs, sums: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Shapley interaction index of every two players, and its standard error.

    The index depends on the even part of a game alone. What every two players do is fitted to it
    by least squares; what is left is added up as the index weighs it, size by size.

    Parameters
    ----------
    pairs
        The coalitions, more than there are twos of players.
    sums
        What each coalition and its complement are worth together: (pairs, games), float64.
    ends
        What nobody and everybody are worth together: (games,).

    Returns
    -------
    index, standard error
        Shape (games, players, players), with zeros in the diagonal.
    """
    n, device = pairs.players, sums.device
    first, second = torch.triu_indices(n, n, 1, device=device)
    everybody = torch.ones(1, n, dtype=torch.bool, device=device)
    masks = torch.cat([pairs.masks, everybody])
    observed = torch.cat([sums, ends[None]])
    together = masks[:, first].int() + masks[:, second].int()  # how many of the two play
    size = masks.sum(1, keepdim=True)
    ways = torch.tensor([comb(n - 2, t) for t in range(n - 1)], dtype=torch.float64, device=device)
    weigh = 1 / ((n - 1) * ways[(size - together).clamp(0, n - 2)])
    weigh = torch.where(together == 1, -weigh, weigh)
    share = torch.cat([pairs.share(), torch.ones(1, dtype=torch.float64, device=device)])
    weighed = weigh / share[:, None]
    if pairs.complete:
        index = weigh.T @ observed
        error = torch.zeros_like(index)
    else:
        alike = torch.where(together == 1, -1.0, 1.0).double()
        basis, triangle = torch.linalg.qr(torch.cat([torch.ones_like(alike[:, :1]), alike], 1))
        fitted = torch.linalg.solve_triangular(triangle, basis.T @ observed, upper=True)
        residual = observed - basis @ (basis.T @ observed)
        index = 2 * fitted[1:] + weighed.T @ residual
        left_out = residual / (1 - (basis**2).sum(1, keepdim=True)).clamp_min(1e-10)
        error = ((weighed**2 * (1 - share)[:, None]).T @ left_out**2).sqrt()
    shape = (observed.shape[1], n, n)
    whole, spread = index.new_zeros(shape), index.new_zeros(shape)
    whole[:, first, second], spread[:, first, second] = index.T, error.T
    return whole + whole.mT, spread + spread.mT
