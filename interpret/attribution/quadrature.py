"""Integrals along paths: to a tolerance, or by a rule of fixed steps that watches its own error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.bisection import Bisection
from pellucid.interpret.attribution.curves import Curve, SinglePaths
from pellucid.interpret.attribution.jumps import JUMP, norm, relative_error
from pellucid.interpret.attribution.registry import Attribution
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.points import Leaves

TOLERANCE = 0.01
BUDGET = 500
# Nodes further apart than this say too little of what lies between them. On a ReLU network 2 steps
# would cover the true error of two rows in three, 5 of nine in ten; of a transformer's probability
# 12 Gauss-Legendre steps, up to 0.12 apart, would cover 92 %, and 16, up to 0.095 apart, 97 %.
_APART = 0.1


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


def points_of(options: dict[str, Any]) -> int | None:
    """Return how many points go through the model for each row, where that is fixed."""
    return options["steps"] + 2 if is_whole(options.get("steps")) else None


def to_tolerance(curve: Curve, *, tolerance: float | None, budget: int | None) -> list[Attribution]:
    """Integrate until the estimated relative L2 error of each row is within a tolerance.

    Arguments and result as of `integrate`.
    """
    rounding = curve.block.rounding
    # Half precision sets a floor that no number of gradients gets below.
    tolerance = max(TOLERANCE, 1.5 * rounding) if tolerance is None else tolerance
    budget = BUDGET if budget is None else budget
    if not is_real(tolerance) or not 0 < tolerance < 1:
        raise InputError(
            f"tolerance={tolerance!r}; give a relative error between 0 and 1, such as 0.01"
        )
    if tolerance <= rounding:
        raise InputError(
            f"tolerance={tolerance!r} is finer than the model computes: in half precision each "
            f"number is rounded by {rounding:.2g}; give a larger tolerance, or explain "
            "model.float() without autocast"
        )
    if not is_whole(budget) or budget < 5:
        raise InputError(
            f"budget={budget!r}; an integral to a tolerance needs at least 5 gradients for "
            "each row, a whole number"
        )
    return Bisection(curve, float(tolerance), int(budget)).run()


def integrate(
    curve: SinglePaths,
    *,
    tolerance: float | None,
    budget: int | None,
    steps: int | None,
    rule: str | None,
) -> list[Attribution]:
    """Integrate along the paths of a block's rows.

    Parameters
    ----------
    curve
        The paths.
    tolerance, budget
        The estimated relative L2 error of each row to work towards (0.01), within so many
        gradients on each path (500).
    steps, rule
        A fixed number of gradients on each path instead, and where they are.

    Returns
    -------
    list of Attribution
        One for each place of the curve.

    Raises
    ------
    InputError
        If the options contradict each other, or are out of range.
    """
    if steps is None:
        if rule is not None:
            raise InputError(f"rule={rule!r} goes with steps=...; give steps, or leave both out")
        return to_tolerance(curve, tolerance=tolerance, budget=budget)
    if tolerance is not None or budget is not None:
        raise InputError(
            "steps fixes the work, and tolerance and budget leave it open; give steps, or "
            "tolerance and budget, not both"
        )
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps={steps!r}; give a whole number from 1")
    if curve.held and rule not in (None, "trapezoid"):
        raise InputError(
            f"rule={rule!r}: what a layer holds is known at the nodes only, so that the only rule "
            "is 'trapezoid'"
        )
    rule = rule or ("trapezoid" if curve.held else "midpoint")
    if rule not in RULES:
        raise InputError(f"rule={rule!r} is not known; use {', '.join(map(repr, RULES))}")
    return _fixed(curve, int(steps), rule)


def _fixed(curve: SinglePaths, steps: int, rule: str) -> list[Attribution]:
    block = curve.block
    table = torch.from_numpy(_table(rule, steps)).to(block.engine.device)
    nodes, weights, reach = table
    integral = _Chained(curve, steps) if curve.held else _Weighted(curve, weights, reach[:-1])
    curve.everywhere(nodes, integral)
    baseline_prediction, prediction = block.ends()
    settings = {"steps": steps, "rule": rule}
    places = len(integral.sizes)
    close = steps > 1 and float(nodes.diff().max()) <= _APART * (1 + 1e-9)
    known = integral.error() if close else None
    shape = (block.n, block.targets, places)
    error, scale = (None, None) if known is None else (part.reshape(shape) for part in known)
    return [
        Attribution(
            part,
            prediction,
            baseline_prediction,
            None if error is None else error[..., i],
            settings,
            None if scale is None else scale[..., i],
        )
        for i, part in enumerate(torch.split(integral.values, integral.sizes, dim=-1))
    ]


@functools.lru_cache(maxsize=32)
def _table(rule: str, steps: int) -> np.ndarray:
    """Return a rule's nodes, its weights, and how far the jump behind each node may reach."""
    nodes, weights = RULES[rule](steps)
    reach = np.ones(steps)
    if steps > 1:
        width = np.diff(nodes)
        reach[:-1] = width
        # What lies before the first node and behind the last is taken to be like the cell beside
        # it: a jump there, with all of its distance e from the node to err by, adds 4 (e / h)^3.
        reach[0] *= np.sqrt(1 + 4 * (nodes[0] / width[0]) ** 3)
        reach[-2] *= np.sqrt(1 + 4 * ((1 - nodes[-1]) / width[-1]) ** 3)
    return np.stack([nodes, weights, reach])


class _Integral:
    """A sink that sums along each row's path, and watches the jumps between steps.

    The points come row by row, and as many of each row as there are steps.
    """

    def __init__(self, curve: Curve, steps: int) -> None:
        self._curve, self._steps, self._seen = curve, steps, 0
        block = curve.block
        first = curve.direction(torch.zeros(1, dtype=torch.long, device=block.engine.device))
        self.sizes = [part.shape[-1] for part in curve.parts(first)]
        self.values = first.new_zeros(block.n, block.targets, sum(self.sizes))
        shape = (3, block.n, block.targets * len(self.sizes))
        self._sums = first.new_zeros(shape, dtype=torch.float64)
        self._variation, self._squares, self._fourths = self._sums
        self._last: Leaves = ()

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Take one chunk: the rest of a row, whole rows, and the beginning of another."""
        assert found is not None
        end = self._seen + len(index)
        while self._seen < end:
            row, node = divmod(self._seen, self._steps)
            left = end - self._seen
            whole = left // self._steps if node == 0 else 0
            count = whole * self._steps or min(left, self._steps - node)
            start = len(index) - left
            gradient, position = (
                None
                if part is None
                else part[start : start + count].reshape(max(1, whole), -1, *part.shape[1:])
                for part in (found, held)
            )
            assert gradient is not None
            self._take(slice(row, row + max(1, whole)), node, gradient, position)
            self._seen += count

    def _take(self, rows: slice, node: int, gradient: Tensor, position: Tensor | None) -> None:
        """Take the gradients (rows, nodes, targets, features) of some rows from a node on."""
        raise NotImplementedError

    def _chained(self, node: int, *parts: Tensor) -> Leaves:
        """Put what the chunk before knew last of the same row before these: (rows, nodes, ...)."""
        if node:
            parts = tuple(torch.cat(pair, 1) for pair in zip(self._last, parts, strict=True))
        self._last = tuple(part[-1:, -1:].clone() for part in parts)
        return parts

    def _norms(self, values: Tensor) -> Tensor:
        """Return the norms of values (..., targets, values) at each place: (..., columns)."""
        if len(self.sizes) == 1:
            return norm(values)
        parts = torch.split(values, self.sizes, dim=-1)
        return torch.stack([norm(part) for part in parts], -1).flatten(-2)

    def _whole(self, vectors: Tensor) -> Tensor:
        parts = self._curve.parts(vectors)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _watch(self, rows: slice, error: Tensor) -> None:
        """Take the errors of cells, (rows, cells, columns)."""
        square = error.square()
        self._squares[rows] += square.sum(1)
        self._fourths[rows] += square.square().sum(1)

    def error(self) -> tuple[Tensor, Tensor]:
        """Return the estimated relative L2 error of each row and column, and its scale."""
        return relative_error(
            self._squares,
            self._fourths,
            self._norms(self.values),
            self._variation,
            self._curve.block.rounding,
        )


class _Weighted(_Integral):
    """Gradients weighted by a rule, where the path is straight."""

    def __init__(self, curve: Curve, weights: Tensor, reach: Tensor) -> None:
        super().__init__(curve, len(weights))
        self._weights, self._reach = weights, reach

    def _take(self, rows: slice, node: int, gradient: Tensor, position: Tensor | None) -> None:
        number = torch.arange(rows.start, rows.stop, device=gradient.device)
        integrand = self._whole(gradient * self._curve.direction(number)[:, None, None])
        stop = node + integrand.shape[1]
        weight = self._weights[node:stop]
        summed = weight.to(integrand.dtype) @ integrand.flatten(2)
        self.values[rows] += summed.view_as(self.values[rows])
        self._variation[rows] += weight @ self._norms(integrand)
        (nodes,) = self._chained(node, integrand)
        reach = self._reach[max(node - 1, 0) : stop - 1, None]
        self._watch(rows, JUMP * reach * self._norms(nodes[:, 1:] - nodes[:, :-1]))


class _Chained(_Integral):
    """The mean gradient of two neighbouring nodes times what changed between them."""

    def _take(self, rows: slice, node: int, gradient: Tensor, position: Tensor | None) -> None:
        assert position is not None
        gradient, position = self._chained(node, gradient, position)
        before, behind = gradient[:, :-1], gradient[:, 1:]
        moved = (position[:, 1:] - position[:, :-1])[:, :, None]
        part = self._whole((before + behind) / 2 * moved)
        self.values[rows] += part.sum(1)
        self._variation[rows] += self._norms(part).sum(1)
        self._watch(rows, JUMP * self._norms(self._whole((behind - before) * moved)))
