"""Integrals along a path to a tolerance: nested bisection, each row where its own path needs it.

Each row keeps pairs of intervals (left, middle, right) with the gradients at their three nodes, and
bisects those that carry most of its error; every gradient is used again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.attribution.jumps import FLOOR, JUMP, norm, relative_error
from pellucid.interpret.attribution.registry import Attribution
from pellucid.interpret.block import Block
from pellucid.interpret.memory import keep_bytes
from pellucid.interpret.points import Path

# A block's rows are chosen so that this many gradients of each fit; most rows need 20 to 60.
TYPICAL = 64
# Two jumps d, e the same way, as on the two flanks of a steep sigmoid, hide each other in the bend
# d - e. This share of 2 d e, which is what they hide of its square, is counted all the same.
_HIDDEN = 0.05
# Weights of a pair's three nodes: between the trapezoid's (1/4, 1/2, 1/4), best on jumps, and
# Simpson's (1/6, 4/6, 1/6), best on smooth paths.
_WEIGHTS = (0.2, 0.6, 0.2)
# In each round a row bisects the fewest pairs that carry this share of its squared error.
_SHARE = 0.75


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
        weighted = found * self._difference.index_select(0, rows)[:, None]
        self.norm[slots] = norm(weighted)
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


class Bisection:
    """Integrated gradients of a block's rows to a tolerance."""

    def __init__(self, block: Block, tolerance: float, budget: int) -> None:
        self.block, self.tolerance, self.budget = block, tolerance, budget
        self._most = keep_bytes(block.engine.device)
        self.difference = block.difference()
        shape = (block.n, block.targets)
        new = self.difference.new_zeros
        self.values = new(*shape, block.features)
        self.error, self.scale = new(2, *shape, dtype=torch.float64)
        self.prediction, self.baseline_prediction = new(shape), new(shape)

    def run(self) -> Attribution:
        """Refine all rows until each is done or has spent its budget."""
        groups = [torch.arange(self.block.n, device=self.difference.device)]
        while groups:
            late = self._refine(groups.pop())
            if len(late):
                groups.append(late)
        settings = {
            "tolerance": self.tolerance,
            "budget": self.budget,
            "error_floor": f"{FLOOR:g} of the mean norm of gradient x difference along the path",
        }
        return Attribution(
            self.values, self.prediction, self.baseline_prediction, self.error, settings, self.scale
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
        return (2 * used + more) * node <= self._most

    def _paired(self, nodes: _Nodes, left: Tensor, middle: Tensor, right: Tensor) -> _Pairs:
        row, width = nodes.row[left], nodes.step[right] - nodes.step[left]

        def square(index: Tensor) -> Tensor:
            a, m, b = (nodes.gradient[slots[index]] for slots in (left, middle, right))
            difference = self.difference[row[index]][:, None]
            bend, rise = norm((2 * m - a - b) * difference), norm((b - a) * difference)
            seen = (bend**2 + _HIDDEN / 2 * (rise**2 - bend**2).clamp_min(0)).sqrt()
            # The composite trapezoid, at half the pair's width, sees the jump as half this bend.
            error: Tensor = JUMP / 2 * width[index][:, None] * seen
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
        self.error[rows], self.scale[rows] = relative_error(
            squares[rows],
            fourths[rows],
            self.values[rows],
            variation[rows],
            self.block.rounding,
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
