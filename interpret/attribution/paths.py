"""Integrated gradients: the gradient along the path from a baseline to the input.

To a tolerance by bisection, or with a fixed rule. Along a straight path a network of ReLUs has a
piecewise constant gradient: no rule of high order helps, and what counts is to find the jumps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.bisection import TYPICAL, Bisection
from pellucid.interpret.attribution.jumps import JUMP, norm, relative_error
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.points import Kept, Path

TOLERANCE = 0.01
BUDGET = 500
# With 2 steps the estimate would cover the true error of a ReLU network for two rows in three, with
# 5 for nine in ten, with 12 for at least 97 in a hundred.
_ENOUGH = 10


def gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def midpoint(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the midpoint rule on [0, 1]."""
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the trapezoid rule on [0, 1], both ends included."""
    if steps < 2:
        raise InputError(f"rule='trapezoid' needs at least 2 steps, both ends; got {steps}")
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


RULES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "midpoint": midpoint,
    "gauss_legendre": gauss_legendre,
    "trapezoid": trapezoid,
}


@method(
    baseline=True,
    complete=True,
    cost="some 20 to 100 gradients until the tolerance is met, or as many as steps",
    promise="estimates its own error for each row, with the completeness residual as a check",
    paper="Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365",
    points=lambda options: options["steps"] + 2 if is_whole(options.get("steps")) else None,
    kept=lambda options: 0 if "steps" in options else TYPICAL,
)
def integrated_gradients(
    block: Block,
    *,
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> Attribution:
    """Integrate the gradient along the straight path from the baseline to the input.

    Either to a `tolerance` on the attribution itself (estimated relative L2 error of each row),
    within a `budget` of gradients for each row; or with a fixed number of `steps` by a `rule`.
    """
    if steps is None:
        if rule is not None:
            raise InputError(f"rule={rule!r} goes with steps=...; give steps, or leave both out")
        tolerance = TOLERANCE if tolerance is None else tolerance
        budget = BUDGET if budget is None else budget
        if not is_real(tolerance) or not 0 < tolerance < 1:
            raise InputError(
                f"tolerance={tolerance!r}; give a relative error between 0 and 1, such as 0.01"
            )
        if tolerance <= block.rounding:
            raise InputError(
                f"tolerance={tolerance!r} is finer than the model computes: in half precision each "
                f"number is rounded by {block.rounding:.2g}; give a larger tolerance, or explain "
                "model.float()"
            )
        if not is_whole(budget) or budget < 5:
            raise InputError(
                f"budget={budget!r}; integrated gradients to a tolerance needs at least 5 "
                "gradients for each row, a whole number"
            )
        return Bisection(block, float(tolerance), int(budget)).run()
    if tolerance is not None or budget is not None:
        raise InputError(
            "steps fixes the work, and tolerance and budget leave it open; give steps, or "
            "tolerance and budget, not both"
        )
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps={steps!r}; give a whole number from 1")
    rule = "midpoint" if rule is None else rule
    if rule not in RULES:
        raise InputError(f"rule={rule!r} is not known; use {', '.join(map(repr, RULES))}")
    return _fixed(block, int(steps), rule)


def _fixed(block: Block, steps: int, rule: str) -> Attribution:
    nodes, weights = (
        torch.tensor(part, device=block.engine.device, dtype=torch.float64)
        for part in RULES[rule](steps)
    )
    integral = _Integral(block, nodes, weights, block.difference())
    block.gradients(Path(nodes, count=block.n), integral)
    ends = Kept()
    block.values(Path.between(0.0, 1.0, count=block.n, device=nodes.device), ends)
    baseline_prediction, prediction = ends.scores.reshape(block.n, 2, -1).unbind(1)
    # A few nodes say too little of what lies between them.
    error, scale = integral.error() if steps >= _ENOUGH else (None, None)
    settings = {"steps": steps, "rule": rule}
    return Attribution(integral.values, prediction, baseline_prediction, error, settings, scale)


class _Integral:
    """A sink that sums gradients along each row's path, and watches the jumps between steps."""

    def __init__(self, block: Block, nodes: Tensor, weights: Tensor, difference: Tensor) -> None:
        self._nodes, self._weights, self._difference = nodes, weights, difference
        # What lies before the first node and behind the last is taken to be like the cell beside
        # it: a jump there, with all of its distance e from the node to err by, adds 4 (e / h)^3.
        width = nodes.diff() if len(nodes) > 1 else torch.ones_like(nodes)
        self._reach = width.clone()
        for end, unseen in ((0, nodes[0]), (-1, 1 - nodes[-1])):
            self._reach[end] *= (1 + 4 * (unseen / width[end]) ** 3).sqrt()
        self._rounding = block.rounding
        shape = (block.n, block.targets)
        self.values = difference.new_zeros(*shape, block.features)
        self._variation = difference.new_zeros(shape, dtype=torch.float64)
        self._squares = difference.new_zeros(shape, dtype=torch.float64)
        self._fourths = torch.zeros_like(self._squares)
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, index: Tensor, rows: Tensor, scores: Tensor | None, found: Tensor | None) -> None:
        assert found is not None
        step = index % len(self._nodes)
        integrand = found * self._difference.index_select(0, rows)[:, None]
        weight = self._weights[step][:, None]
        self.values.index_add_(0, rows, integrand * weight.to(integrand.dtype)[..., None])
        self._variation.index_add_(0, rows, norm(integrand) * weight)
        if self._last is not None:
            # The row's path may have begun in the chunk before.
            step, rows, integrand = (
                torch.cat([last, here])
                for last, here in zip(self._last, (step, rows, integrand), strict=True)
            )
        jump = norm(integrand[1:] - integrand[:-1])
        width = torch.where(rows[1:] == rows[:-1], self._reach[(step[1:] - 1).clamp_min(0)], 0)
        square = (JUMP * width[:, None] * jump) ** 2
        self._squares.index_add_(0, rows[1:], square)
        self._fourths.index_add_(0, rows[1:], square**2)
        self._last = (step[-1:], rows[-1:], integrand[-1:].clone())

    def error(self) -> tuple[Tensor, Tensor]:
        """Return the estimated relative L2 error of each row and target, and its scale."""
        return relative_error(
            self._squares, self._fourths, self.values, self._variation, self._rounding
        )
