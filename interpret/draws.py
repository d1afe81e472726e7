"""Random numbers that belong to a row and a draw, not to the batch they happen to be made in.

Counter-based: each number is a hash of its keys (Steele, Lea & Flood 2014, the finaliser of
SplitMix64, https://doi.org/10.1145/2714064.2660195), so that results do not depend on the order or
the size of the chunks, and the global random state is never touched.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def uniform(seed: int, *keys: Tensor) -> Tensor:
    """Return numbers in (0, 1), one for each combination of keys.

    Parameters
    ----------
    seed
        A whole number.
    *keys
        Whole numbers of shapes that broadcast against each other.

    Returns
    -------
    torch.Tensor
        float64, of the shape that the keys broadcast to.
    """
    # 53 bits, as many as float64 has; in the middle of their interval, so never 0 or 1.
    return (_shifted(_hash(seed, keys), 11).double() + 0.5) * 2.0**-53


def normal(seed: int, *keys: Tensor) -> Tensor:
    """Return standard normal numbers (Box and Muller), one for each combination of keys."""
    first, second = uniform(2 * seed, *keys), uniform(2 * seed + 1, *keys)
    return (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()


def order(seed: int, rows: Tensor, count: int) -> Tensor:
    """Return a random order of `count` things for each row: (rows, count)."""
    things = torch.arange(count, device=rows.device)
    return uniform(seed, rows[:, None], things).argsort(dim=1)


def _hash(seed: int, keys: tuple[Tensor, ...]) -> Tensor:
    wrapped = (seed * _GOLDEN + 2**63) % 2**64 - 2**63
    state = _mixed(torch.tensor(wrapped, device=keys[0].device))
    for key in keys:
        state = _mixed((state ^ key) + _GOLDEN)
    return state


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift to the right without the sign, which torch would carry along."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
