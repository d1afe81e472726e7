"""Integrated gradients: the gradient along the path from a baseline to the input.

The adaptive rule is nested bisection with a jump estimator. Along a straight path a network of
ReLUs has a piecewise constant gradient: no rule of high order helps, and what counts is to find the
jumps. Each row keeps pairs of intervals (left, middle, right) with the gradients at their three
nodes, and bisects those that carry most of its error; every gradient is used again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block, flat
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.memory import keep_bytes
from pellucid.interpret.points import Kept, Path

TOLERANCE = 0.01
BUDGET = 500
# A block's rows are chosen so that this many gradients of each fit; most rows need 20 to 60.
_TYPICAL = 64
# One jump at a uniformly random place in a cell of width h, seen as a difference d between the two
# nodes beside it, gives the rule an error of d h / sqrt(12) in the root mean square.
_JUMP = 1 / 12**0.5
# What is reported is larger, by 2.2 where up to 8 cells make up the error: a few jumps may all lie
# badly. The errors of many average out, and the factor falls towards 1.2 with the root of their
# number. Experiments show this to cover the true error for at least 97 % of the rows, and to leave
# 99 % of them within the tolerance, on small networks with a few large jumps and on large ones.
_SAFETY_OF_FEW, _SAFETY_OF_MANY, _FEW = 2.2, 1.2, 8
# Two jumps d, e the same way, as on the two flanks of a steep sigmoid, hide each other in the bend
# d - e. This share of 2 d e, which is what they hide of its square, is counted all the same.
_HIDDEN = 0.05
# Weights of a pair's three nodes: between the trapezoid's (1/4, 1/2, 1/4), best on jumps, and
# Simpson's (1/6, 4/6, 1/6), best on smooth paths.
_WEIGHTS = (0.2, 0.6, 0.2)
# A row's error is relative to its attribution, or to this share of what the attribution would be if
# nothing cancelled along the path: an attribution that cancels to nothing has no relative error.
_FLOOR = 1e-3
# Where a norm in float32 has its full precision.
_SAFE = (1e-12, 1e18)
# In each round a row bisects the fewest pairs that carry this share of its squared error.
_SHARE = 0.75


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
    kept=lambda options: 0 if "steps" in options else _TYPICAL,
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
        if not is_whole(budget) or budget < 5:
            raise InputError(
                f"budget={budget!r}; integrated gradients to a tolerance needs at least 5 "
                "gradients for each row, a whole number"
            )
        return _Bisection(block, float(tolerance), int(budget)).run()
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


def _difference(block: Block) -> Tensor:
    """Return what the path leads through: input less baseline, (rows, features)."""
    # Leaf by leaf: of several inputs one may have one baseline, another one for each row.
    pairs = zip(block.inputs, block.baselines, strict=True)
    return flat(tuple(leaf - baseline for leaf, baseline in pairs))


def _norm(vectors: Tensor) -> Tensor:
    """Return the L2 norms over the last axis, in float64.

    Squared in float32, numbers below 1e-19 vanish, and with them the error that they tell of: a
    small probability has such gradients.
    """
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1).double()
    extreme = ~((norm > _SAFE[0]) & (norm < _SAFE[1]))
    if bool(extreme.any()):
        norm[extreme] = torch.linalg.vector_norm(vectors[extreme].double(), dim=-1)
    return norm


def _relative(squares: Tensor, fourths: Tensor, values: Tensor, variation: Tensor) -> Tensor:
    """Return the estimated error relative to the attribution, or to the floor where that is larger.

    `squares` and `fourths` are sums over the cells' errors; the square of the one over the other
    is the number of cells that make up the error.
    """
    cells = squares**2 / fourths.clamp_min(torch.finfo(fourths.dtype).tiny)
    many = (_FEW / cells.clamp_min(_FEW)).sqrt()
    safety = _SAFETY_OF_MANY + (_SAFETY_OF_FEW - _SAFETY_OF_MANY) * many
    error = safety * squares.sqrt()
    scale = torch.maximum(_norm(values), _FLOOR * variation)
    return torch.where(error == 0, error, error / scale)


# -- a fixed rule ----------------------------------------------------------------------------


def _fixed(block: Block, steps: int, rule: str) -> Attribution:
    nodes, weights = (
        torch.tensor(part, device=block.engine.device, dtype=torch.float64)
        for part in RULES[rule](steps)
    )
    integral = _Integral(block, nodes, weights, _difference(block))
    block.gradients(Path(nodes, count=block.n), integral)
    ends = Kept()
    block.values(Path.between(0.0, 1.0, count=block.n, device=nodes.device), ends)
    baseline_prediction, prediction = ends.scores.reshape(block.n, 2, -1).unbind(1)
    # A single node says nothing of what lies between.
    error = integral.error() if steps > 1 else None
    settings = {"steps": steps, "rule": rule}
    return Attribution(integral.values, prediction, baseline_prediction, error, settings)


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
        self._variation.index_add_(0, rows, _norm(integrand) * weight)
        if self._last is not None:
            # The row's path may have begun in the chunk before.
            step, rows, integrand = (
                torch.cat([last, here])
                for last, here in zip(self._last, (step, rows, integrand), strict=True)
            )
        jump = _norm(integrand[1:] - integrand[:-1])
        width = torch.where(rows[1:] == rows[:-1], self._reach[(step[1:] - 1).clamp_min(0)], 0)
        square = (_JUMP * width[:, None] * jump) ** 2
        self._squares.index_add_(0, rows[1:], square)
        self._fourths.index_add_(0, rows[1:], square**2)
        self._last = (step[-1:], rows[-1:], integrand[-1:].clone())

    def error(self) -> Tensor:
        """Return the estimated relative L2 error of each row and target."""
        return _relative(self._squares, self._fourths, self.values, self._variation)


# -- to a tolerance --------------------------------------------------------------------------


class _Nodes:
    """A sink that keeps gradients in slots, as long as their rows are not finished."""

    def __init__(self, block: Block, difference: Tensor) -> None:
        self._difference = difference
        self._shape = (block.targets, block.features)
        self.used = 0
        self.row = torch.empty(0, dtype=torch.long, device=difference.device)
        self.step = difference.new_empty(0, dtype=torch.float64)
        self.gradient = difference.new_empty(0, *self._shape)
        self.score = difference.new_empty(0, block.targets)
        self.norm = difference.new_empty(0, block.targets, dtype=torch.float64)

    def reserve(self, row: Tensor, step: Tensor) -> Tensor:
        """Make room for nodes at these places; return their slots."""
        slots = torch.arange(self.used, self.used + len(row), device=row.device)
        self.row, self.step = torch.cat([self.row, row]), torch.cat([self.step, step])
        for name in ("gradient", "score", "norm"):
            old = getattr(self, name)
            new = old.new_empty(self.used + len(row), *old.shape[1:])
            new[: self.used] = old
            setattr(self, name, new)
        return slots

    def add(self, index: Tensor, rows: Tensor, scores: Tensor | None, found: Tensor | None) -> None:
        assert found is not None
        assert scores is not None
        slots = slice(self.used, self.used + len(index))
        self.gradient[slots], self.score[slots] = found, scores
        # Slot by slot in place: a product of the whole chunk would be one more copy of it.
        weighted = found * self._difference.index_select(0, rows)[:, None]
        self.norm[slots] = _norm(weighted)
        self.used += len(index)

    def keep(self, mask: Tensor) -> Tensor:
        """Forget the other nodes; return where each old slot is now."""
        for name in ("row", "step", "gradient", "score", "norm"):
            setattr(self, name, getattr(self, name)[mask])
        self.used = len(self.row)
        return mask.cumsum(0) - 1


@dataclass
class _Pairs:
    """Two neighbouring intervals with their three nodes, as slots; all of one length."""

    left: Tensor
    middle: Tensor
    right: Tensor
    row: Tensor
    width: Tensor
    square: Tensor  # of the estimated error, (pairs, targets)

    def __getitem__(self, chosen: Tensor) -> _Pairs:
        return _Pairs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def joined(self, other: _Pairs) -> _Pairs:
        return _Pairs(
            *(
                torch.cat([getattr(self, name), getattr(other, name)])
                for name in self.__dataclass_fields__
            )
        )


class _Bisection:
    """Integrated gradients of a block's rows to a tolerance."""

    def __init__(self, block: Block, tolerance: float, budget: int) -> None:
        self.block, self.tolerance, self.budget = block, tolerance, budget
        self.difference = _difference(block)
        shape = (block.n, block.targets)
        new = self.difference.new_zeros
        self.values = new(*shape, block.features)
        self.error = new(shape, dtype=torch.float64)
        self.prediction, self.baseline_prediction = new(shape), new(shape)

    def run(self) -> Attribution:
        groups = [torch.arange(self.block.n, device=self.difference.device)]
        while groups:
            late = self._refine(groups.pop())
            if len(late):
                groups.append(late)
        settings = {
            "tolerance": self.tolerance,
            "budget": self.budget,
            "error_floor": f"{_FLOOR:g} of the mean norm of gradient x difference along the path",
        }
        return Attribution(
            self.values, self.prediction, self.baseline_prediction, self.error, settings
        )

    def _refine(self, rows: Tensor) -> Tensor:
        """Refine some rows until all are done; return those that did not fit into memory.

        They gave up their gradients to the others, and begin again.
        """
        nodes = _Nodes(self.block, self.difference)
        start = torch.linspace(0, 1, 5, dtype=torch.float64, device=rows.device)
        slots = self._evaluate(nodes, rows.repeat_interleave(5), start.repeat(len(rows)))
        left, quarter, middle, three_quarters, right = slots.reshape(-1, 5).unbind(1)
        self.baseline_prediction[rows] = nodes.score[left]
        self.prediction[rows] = nodes.score[right]
        pairs = self._paired(
            nodes,
            torch.cat([left, middle]),
            torch.cat([quarter, three_quarters]),
            torch.cat([middle, right]),
        )
        spent = torch.zeros(self.block.n, dtype=torch.long, device=rows.device)
        spent[rows] = 5
        late = rows[:0]
        while True:
            self._estimate(nodes, pairs, rows)
            error = self.error[rows]
            # A row that is not a number will not become one: more gradients are of no use.
            met = ((error <= self.tolerance) | ~error.isfinite()).all(1)
            going = ~(met | (spent[rows] + 2 > self.budget))
            if not bool(going.all()):
                rows = rows[going]
                pairs = _of_rows(nodes, pairs, rows, self.block.n)
            if not len(rows):
                return late
            chosen = self._choose(pairs, spent)
            while len(rows) > 1 and not self._fits(nodes.used, 2 * int(chosen.sum())):
                keep = (len(rows) + 1) // 2
                late, rows = torch.cat([rows[keep:], late]), rows[:keep]
                pairs = _of_rows(nodes, pairs, rows, self.block.n)
                chosen = self._choose(pairs, spent)
            spent.index_add_(0, pairs.row[chosen], 2 * torch.ones_like(pairs.row[chosen]))
            pairs = pairs[~chosen].joined(self._bisect(nodes, pairs[chosen]))

    def _evaluate(self, nodes: _Nodes, row: Tensor, step: Tensor) -> Tensor:
        slots = nodes.reserve(row, step)
        self.block.gradients(Path(step, of=row), nodes)
        return slots

    def _fits(self, used: int, more: int) -> bool:
        """Whether so many nodes fit, old and new at once while they are copied."""
        node = self.block.targets * self.block.engine.row_bytes
        return (2 * used + more) * node <= keep_bytes(self.block.engine.device)

    def _paired(self, nodes: _Nodes, left: Tensor, middle: Tensor, right: Tensor) -> _Pairs:
        row, width = nodes.row[left], nodes.step[right] - nodes.step[left]

        def square(index: Tensor) -> Tensor:
            a, m, b = (nodes.gradient[slots[index]] for slots in (left, middle, right))
            difference = self.difference[row[index]][:, None]
            bend, rise = _norm((2 * m - a - b) * difference), _norm((b - a) * difference)
            seen = (bend**2 + _HIDDEN / 2 * (rise**2 - bend**2).clamp_min(0)).sqrt()
            # The composite trapezoid, at half the pair's width, sees the jump as half this bend.
            error: Tensor = _JUMP / 2 * width[index][:, None] * seen
            return error**2

        return _Pairs(left, middle, right, row, width, self.block.each(len(left), square))

    def _estimate(self, nodes: _Nodes, pairs: _Pairs, rows: Tensor) -> None:
        """Set values and errors of these rows from their pairs."""
        weight = nodes.step.new_zeros(nodes.used)
        for share, slots in zip(_WEIGHTS, (pairs.left, pairs.middle, pairs.right), strict=True):
            weight.index_add_(0, slots, share * pairs.width)
        self.values[rows] = 0

        def add(index: Tensor) -> Tensor:
            part = nodes.gradient[index] * weight[index].to(self.values.dtype)[:, None, None]
            self.values.index_add_(0, nodes.row[index], part)
            return index[:0]

        self.block.each(nodes.used, add)
        self.values[rows] *= self.difference[rows][:, None]
        variation = torch.zeros_like(self.error)
        variation.index_add_(0, nodes.row, nodes.norm * weight[:, None])
        squares = torch.zeros_like(self.error).index_add_(0, pairs.row, pairs.square)
        fourths = torch.zeros_like(self.error).index_add_(0, pairs.row, pairs.square**2)
        self.error[rows] = _relative(
            squares[rows], fourths[rows], self.values[rows], variation[rows]
        )

    def _choose(self, pairs: _Pairs, spent: Tensor) -> Tensor:
        """Mark, for each row, the fewest pairs that carry most of its squared error."""
        total = torch.zeros_like(self.error).index_add_(0, pairs.row, pairs.square)
        share = pairs.square / total[pairs.row].clamp_min(torch.finfo(total.dtype).tiny)
        # Targets that are done ask for nothing; the others are served at once.
        waiting = self.error[pairs.row] > self.tolerance
        need = torch.where(waiting, share, 0).amax(1)
        order = need.argsort(descending=True, stable=True)
        order = order[pairs.row[order].argsort(stable=True)]
        row, need = pairs.row[order], need[order]
        first = torch.searchsorted(row, row)
        running = need.cumsum(0)
        before = running - need
        before = before - before[first]
        whole = torch.zeros_like(self.error[:, 0], dtype=need.dtype).index_add_(0, row, need)
        taken = before < _SHARE * whole[row]
        # Equal pairs are taken together: which of them comes first must not depend on rounding.
        least = torch.full_like(whole, torch.inf).scatter_reduce_(
            0, row[taken], need[taken], "amin"
        )
        taken = need >= least[row] * (1 - 1e-4)
        rank = torch.arange(len(row), device=row.device) - first
        affordable = rank < (self.budget - spent[row]) // 2
        mask = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        mask[order] = taken & affordable
        return mask

    def _bisect(self, nodes: _Nodes, chosen: _Pairs) -> _Pairs:
        """Return two pairs of half the width for each of these, with one new node in each."""
        new = torch.cat(
            [
                (nodes.step[chosen.left] + nodes.step[chosen.middle]) / 2,
                (nodes.step[chosen.middle] + nodes.step[chosen.right]) / 2,
            ]
        )
        middle = self._evaluate(nodes, chosen.row.repeat(2), new)
        return self._paired(
            nodes,
            torch.cat([chosen.left, chosen.middle]),
            middle,
            torch.cat([chosen.middle, chosen.right]),
        )


def _of_rows(nodes: _Nodes, pairs: _Pairs, rows: Tensor, n: int) -> _Pairs:
    """Keep the nodes and pairs of these rows only."""
    wanted = torch.zeros(n, dtype=torch.bool, device=rows.device)
    wanted[rows] = True
    pairs = pairs[wanted[pairs.row]]
    slot = nodes.keep(wanted[nodes.row])
    pairs.left, pairs.middle, pairs.right = (
        slot[slots] for slots in (pairs.left, pairs.middle, pairs.right)
    )
    return pairs
