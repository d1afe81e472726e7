"""Which coalitions a Shapley value is estimated from: pairs of them, spread over all sizes.

A coalition and its complement are evaluated together, a *pair*: a Shapley value depends on their
difference alone. Pairs are drawn without replacement, as many of every size (which are the leverage
scores of the regression: Musco & Witter 2025, https://arxiv.org/abs/2410.01917), each size in an
order of its own; where a size has no more of them, it is complete, and adds no error. More pairs
contain fewer: an estimate can go on where it stopped.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor

# Sizes with no more pairs than this are listed and shuffled; of others equal draws are drawn again.
_LISTED = 20_000


@dataclass(frozen=True)
class Pairs:
    """Pairs of a coalition and its complement.

    Attributes
    ----------
    masks
        Who plays in the smaller of each pair: (pairs, players), bool.
    size
        How many those are: (pairs,).
    drawn
        For each size from 1 to half the players, how many pairs of it there are here.
    """

    masks: Tensor
    size: Tensor
    drawn: tuple[int, ...]

    @property
    def players(self) -> int:
        """How many players there are."""
        return self.masks.shape[1]

    @property
    def complete(self) -> bool:
        """Whether these are all pairs that there are."""
        return all(k == existing(self.players, s) for s, k in enumerate(self.drawn, 1))

    def share(self) -> Tensor:
        """Return which share of all pairs of its size are here, for each pair: (pairs,)."""
        drawn = [k / existing(self.players, size) for size, k in enumerate(self.drawn, 1)]
        shares = torch.tensor(drawn, dtype=torch.float64, device=self.masks.device)
        return shares[self.size - 1]

    def coefficients(self) -> Tensor:
        """Return what each pair's difference adds to each player's value: (pairs, players).

        Of all pairs: a value is the mean over sizes of the mean difference among the pairs in whose
        smaller, or larger, coalition the player is.
        """
        n, sizes = self.players, self.size.tolist()
        inside = torch.tensor([1 / (n * comb(n - 1, s - 1)) for s in sizes], dtype=torch.float64)
        outside = torch.tensor([1 / (n * comb(n - 1, s)) for s in sizes], dtype=torch.float64)
        here = self.masks.device
        return torch.where(self.masks, inside[:, None].to(here), -outside[:, None].to(here))


def existing(players: int, size: int) -> int:
    """Return how many pairs have a smaller coalition of this size."""
    return comb(players, size) // (2 if 2 * size == players else 1)


def allotted(players: int, pairs: int) -> tuple[int, ...]:
    """Return how many pairs of each size there are among so many; more contain fewer.

    Every single player comes first, so that what is additive is known; all sizes then get as many,
    but for those that are complete with less.
    """
    there = [existing(players, size) for size in range(1, players // 2 + 1)]
    drawn = [min(there[0], pairs), *([0] * (len(there) - 1))]
    left = pairs - drawn[0]
    while left > 0:
        open_ = [i for i, (k, most) in enumerate(zip(drawn, there, strict=True)) if k < most]
        if not open_:
            break
        # Up to the level at which the next size is complete, or nothing is left.
        rise = min(*(there[i] - drawn[i] for i in open_), left // len(open_))
        if rise == 0:
            for i in open_[:left]:
                drawn[i] += 1
            break
        for i in open_:
            drawn[i] += rise
        left -= rise * len(open_)
    return tuple(drawn)


def draw(players: int, pairs: int, seed: int, device: torch.device) -> Pairs:
    """Return so many pairs, or all that there are.

    Parameters
    ----------
    players
        At least 2.
    pairs
        How many, at least 1.
    seed
        Of the random order in which the pairs of a size are taken.
    device
        Where to put them.
    """
    drawn = allotted(players, pairs)
    masks = [
        _of_size(players, size, seed)[0:count] if existing(players, size) <= _LISTED
        else _random(players, size, count, seed)
        for size, count in enumerate(drawn, 1)
        if count
    ]  # fmt: skip
    sizes = [torch.full((count,), size) for size, count in enumerate(drawn, 1) if count]
    whole = torch.from_numpy(np.concatenate(masks))
    return Pairs(whole.to(device), torch.cat(sizes).to(device), drawn)


@functools.lru_cache(maxsize=64)
def _of_size(players: int, size: int, seed: int) -> np.ndarray:
    """Return all pairs of a size in random order."""
    found = np.array(list(combinations(range(players), size)))
    if 2 * size == players:
        found = found[found[:, 0] == 0]  # the other half are their complements
    masks = np.zeros((len(found), players), dtype=bool)
    np.put_along_axis(masks, found, True, axis=1)
    shuffled: np.ndarray = masks[_generator(seed, size).permutation(len(masks))]
    return shuffled


def _random(players: int, size: int, count: int, seed: int) -> np.ndarray:
    """Return different random pairs of a size."""
    draws, known, masks = _generator(seed, size), set(), np.zeros((count, players), dtype=bool)
    found = 0
    while found < count:
        chosen = draws.permutation(players)[:size]
        mask = np.zeros(players, dtype=bool)
        mask[chosen] = True
        if 2 * size == players and not mask[0]:
            mask = ~mask
        key = np.packbits(mask).tobytes()
        if key not in known:
            known.add(key)
            masks[found] = mask
            found += 1
    return masks


def _generator(seed: int, size: int) -> np.random.Generator:
    return np.random.default_rng([seed, size])


def fresh(earlier: Pairs | None, later: Pairs) -> tuple[Tensor, Tensor]:
    """Return where in the later pairs the earlier ones are, in their order, and where the others.

    Of every size the later ones begin with the earlier ones.
    """
    known = (0,) * len(later.drawn) if earlier is None else earlier.drawn
    starts = np.cumsum([0, *later.drawn])
    old = [np.arange(start, start + k) for start, k in zip(starts, known, strict=False)]
    new = [
        np.arange(start + k, start + most)
        for start, k, most in zip(starts, known, later.drawn, strict=False)
    ]
    device = later.masks.device
    return (
        torch.from_numpy(np.concatenate(old)).to(device),
        torch.from_numpy(np.concatenate(new)).to(device),
    )
