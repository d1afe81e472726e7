"""Shapley values from the differences of some pairs of coalitions, and their standard errors.

The difference d(S) = v(S) - v(complement of S), from which the values follow, is an odd function of
the coalition written as signs. A surrogate is fitted to it: an additive part, as in KernelSHAP, and
a Gaussian process for the odd interactions of three players and more, of which a pair tells more
about similar coalitions. Its Shapley values are known in closed form. Where nothing is left to
interactions this is the paired regression of KernelSHAP; on games of trained networks and forests
it needs two to four times fewer evaluations for the same error (benchmarks/shapley.py).

How wrong the values are is told by the pairs themselves: each difference against what the surrogate
says of it when fitted to the others, weighed as an estimate from those differences alone would
weigh them, size by size, with none for sizes of which every pair is known.
"""

from __future__ import annotations

import functools
from math import comb, sinh

import numpy as np
import torch
from torch import Tensor

from pellucid.interpret.attribution.coalitions import Pairs

# How fast what a pair tells fades with unlikeness; and how much of a difference may be taken for
# noise: chosen row by row by what predicts the pairs that were left out best.
_FADING = 3.0
_NOISE = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# From so many pairs on, the process is left out: its matrix has as many rows.
_MOST = 1024
_TINY = 1e-10


def estimate(pairs: Pairs, differences: Tensor, total: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return Shapley values and their standard errors.

    Parameters
    ----------
    pairs
        The coalitions, every single player's among them.
    differences
        What each coalition's value is more than its complement's: (pairs, games), float64.
    total
        What everybody's value is more than nobody's: (games,).

    Returns
    -------
    values, standard error
        Shape (games, players), float64; the errors None where the pairs are too few to tell.
    """
    n = pairs.players
    device = differences.device
    coefficients = pairs.coefficients()
    if pairs.complete:
        values = (coefficients.T @ differences).T + (total / n)[:, None]
        return values, torch.zeros_like(values)
    ones = torch.ones(1, n, dtype=torch.float64, device=device)
    signs = torch.cat([torch.where(pairs.masks, 1.0, -1.0).double(), ones])
    observed = torch.cat([differences, total[None]])
    basis, triangle = torch.linalg.qr(signs)
    free = len(signs) - n
    smooth = len(pairs.masks) <= _MOST and free > 0
    if smooth:
        likeness = _kernel(signs @ signs.T / n)
        inside = likeness - basis @ (basis.T @ likeness)
        inside = inside - (inside @ basis) @ basis.T
        scale, vectors = torch.linalg.eigh(inside)
        # The additive directions are the null space: the smallest, whatever rounding made of them.
        order = _additive_last(vectors, basis)
        scale, vectors = scale[order][:free].clamp_min(0), vectors[:, order][:, :free]
        weights, left_out = _fitted(scale, vectors, observed)
        additive = torch.linalg.solve_triangular(
            triangle, basis.T @ (observed - likeness @ weights), upper=True
        )
        of_process = torch.where(
            torch.cat([pairs.masks, ones.bool()]), *_values_of_kernel(pairs, device)
        )
        values = additive.T + weights.T @ of_process
        residual = observed - signs @ additive - likeness @ weights
    else:
        additive = torch.linalg.solve_triangular(triangle, basis.T @ observed, upper=True)
        residual = observed - signs @ additive
        leverage = (basis**2).sum(1, keepdim=True)
        left_out = residual / (1 - leverage).clamp_min(_TINY)
        values = additive.T
    # Sizes of which all pairs are known need no surrogate; of a plain fit all sizes are corrected.
    share = pairs.share()
    known = (share == 1) if smooth else torch.ones_like(share, dtype=torch.bool)
    weighed = coefficients / share[:, None]
    values = values + (weighed[known].T @ residual[:-1][known]).T
    values = values + ((total - values.sum(1)) / n)[:, None]
    if free < 2:
        return values, None
    return values, _standard_error(weighed, share, left_out[:-1])


def _fitted(scale: Tensor, vectors: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the process's weights, and what each pair is more than the others say it is.

    The noise of each game is that with the least squares of the latter.
    """
    rotated = vectors.T @ observed
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for noise in _NOISE:
        inverse = 1 / (scale + noise)
        weights = vectors @ (rotated * inverse[:, None])
        itself = (vectors**2) @ inverse
        left_out = weights / itself.clamp_min(_TINY)[:, None]
        loss = (left_out[:-1] ** 2).sum(0)
        if best is None:
            best = loss, weights, left_out
            continue
        better = loss < best[0]
        best = (
            torch.where(better, loss, best[0]),
            torch.where(better, weights, best[1]),
            torch.where(better, left_out, best[2]),
        )
    assert best is not None
    return best[1], best[2]


def _additive_last(vectors: Tensor, basis: Tensor) -> Tensor:
    """Return the order of eigenvectors in which those of the additive part come last."""
    return ((basis.T @ vectors) ** 2).sum(0).argsort(stable=True)


def _standard_error(weighed: Tensor, share: Tensor, left_out: Tensor) -> Tensor:
    """Return how far values may be off, from what each pair is more than the others say."""
    part = (weighed**2 * (1 - share)[:, None]).T @ left_out**2
    return part.T.sqrt()


def _kernel(likeness: Tensor) -> Tensor:
    """Return the covariance of differences beyond their additive part, from -1 to 1 and odd."""
    whole = sinh(_FADING) - _FADING
    found: Tensor = (torch.sinh(_FADING * likeness) - _FADING * likeness) / whole
    return found


def _values_of_kernel(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the Shapley values of the kernel's function at each pair and at everybody.

    For players inside and for players outside: each of shape (pairs + 1, 1).
    """
    n = pairs.players
    table = torch.from_numpy(_table(n)).to(device)
    size = torch.cat([pairs.size, torch.full((1,), n, device=device)])
    inside, outside = table[size].unbind(1)
    return inside[:, None], outside[:, None]


@functools.lru_cache(maxsize=16)
def _table(n: int) -> np.ndarray:
    """Return the values of the game S -> kernel(likeness of S and T) for each size of T.

    Columns: of a player in T, and of one that is not. By symmetry only the number of players that S
    and T share counts, which is hypergeometric.
    """
    found = np.zeros((n + 1, 2))
    for size in range(n + 1):
        for inside in (1, 0):
            if size - inside < 0 or size - inside > n - 1:
                continue
            total = 0.0
            for s in range(1, n + 1):
                shared = np.arange(max(0, size - inside + s - n), min(s - 1, size - inside) + 1)
                ways = np.array(
                    [
                        comb(size - inside, a) * comb(n - 1 - size + inside, s - 1 - a)
                        / comb(n - 1, s - 1)
                        for a in shared.tolist()
                    ]
                )  # fmt: skip
                unlike = s + size - 2 * (shared + inside)
                alike = torch.from_numpy((n - 2 * unlike) / n)
                total += float((ways * _kernel(alike).numpy()).sum())
            found[size, 1 - inside] = total / n
    return found
