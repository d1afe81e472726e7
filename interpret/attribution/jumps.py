"""How wrong an integral along a path may be: the jumps that its nodes have seen.

A network of ReLUs has a piecewise constant gradient along a straight path, so the error of any rule
is that of its jumps, each of which lies somewhere between two nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

# One jump at a uniformly random place in a cell of width h, seen as a difference d between the two
# nodes beside it, gives the rule an error of d h / sqrt(12) in the root mean square.
JUMP = 1 / 12**0.5
# What is reported is larger, by 2.4 where up to 8 cells make up the error: a few jumps may all lie
# badly. The errors of many average out, and the factor falls towards 1.2 with the root of their
# number. On networks trained on digits and breast masses this covers the true error for at least
# 98 % of the rows at a tolerance of 1 % (tests/explain/test_tolerance.py); on small ReLU networks
# with random weights for 95 to 99 %.
_SAFETY_OF_FEW, _SAFETY_OF_MANY, _FEW = 2.4, 1.2, 8
# A row's error is relative to its attribution, or to this share of what the attribution would be if
# nothing cancelled along the path: an attribution that cancels to nothing has no relative error.
FLOOR = 1e-3
# Where a norm in float32 has its full precision.
_SAFE = (1e-12, 1e18)
# So few numbers on a CPU are added up in float64 faster than they are looked through.
_FEW_NUMBERS = 2**16


def norm(vectors: Tensor) -> Tensor:
    """Return the L2 norms over the last axis, in float64.

    Squared in float32, numbers below 1e-19 vanish, and with them the error that they tell of: a
    small probability has such gradients.
    """
    if vectors.device.type == "cpu" and vectors.numel() <= _FEW_NUMBERS:
        exact: Tensor = torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64)
        return exact
    found: Tensor = torch.linalg.vector_norm(vectors, dim=-1).double()
    extreme = ~((found > _SAFE[0]) & (found < _SAFE[1]))
    if bool(extreme.any()):
        found[extreme] = torch.linalg.vector_norm(vectors[extreme].double(), dim=-1)
    return found


def relative_error(
    squares: Tensor,
    fourths: Tensor,
    size: Tensor,
    variation: Tensor,
    rounding: float,
    paths: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the estimated error of each row, and what it is relative to.

    That is `size`, the attribution's norm, or the floor where that is larger. `squares` and
    `fourths` are sums over the cells' errors; the square of the one over the other is the number of
    cells that make up the error. `rounding` is the relative rounding of a model in half precision.
    Of several `paths` to the same row the errors do not average out: they cross the same jumps.
    """
    cells = squares**2 / fourths.clamp_min(torch.finfo(fourths.dtype).tiny) / paths
    many = (_FEW / cells.clamp_min(_FEW)).sqrt()
    safety = _SAFETY_OF_MANY + (_SAFETY_OF_FEW - _SAFETY_OF_MANY) * many
    error = safety * squares.sqrt()
    scale = torch.maximum(size, FLOOR * variation)
    relative = torch.hypot(error / scale, torch.full_like(error, rounding))
    return torch.where(scale == 0, error, relative), scale
