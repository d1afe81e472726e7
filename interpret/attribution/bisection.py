"""Integrals along paths to a tolerance: nested bisection, each row where its own path needs it.

Each path keeps pairs of intervals (left, middle, right) with the gradients at their three nodes,
and bisects those that carry most of its row's error; every gradient is used again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.attribution.curves import Curve
from pellucid.interpret.attribution.jumps import FLOOR, JUMP, norm, relative_error
from pellucid.interpret.attribution.registry import Attribution
from pellucid.interpret.memory import keep_bytes

# A block's rows are chosen so that this many gradients of each fit; most rows need 20 to 60.
TYPICAL = 64
# Two jumps d, e the same way, as on the two flanks of a steep sigmoid, hide each other in the bend
# d - e. This share of 2 d e, which is what they hide of its square, is counted all the same.
_HIDDEN = 0.05
# How far a pair's value goes from the trapezoid's (nodes weighted 1/4, 1/2, 1/4 where the path is
# straight), best on jumps, towards Simpson's (1/6, 4/6, 1/6), best on smooth paths: to (0.2, 0.6,
# 0.2). Simpson's correction is a sixth of the bend.
_SIMPSON = 0.6 / 6
# In each round a row bisects the fewest pairs that carry this share of its squared error.
_SHARE = 0.75


class _Nodes:
    """A sink that keeps gradients in slots, as long as their rows are not finished."""

    def __init__(self, like: Tensor, targets: int, *, held: bool) -> None:
        self.used = 0
        self.path = torch.empty(0, dtype=torch.long, device=like.device)
        self.step = like.new_empty(0, dtype=torch.float64)
        self.gradient = like.new_empty(0, targets, like.shape[-1])
        self.score = like.new_empty(0, targets)
        self.position = like.new_empty(0, like.shape[-1] if held else 0)

    def reserve(self, path: Tensor, step: Tensor) -> Tensor:
        """Make room for nodes at these places; return their slots."""
        slots = torch.arange(self.used, self.used + len(path), device=path.device)
        self.path, self.step = torch.cat([self.path, path]), torch.cat([self.step, step])
        for name in ("gradient", "score", "position"):
            old = getattr(self, name)
            new = old.new_empty(self.used + len(path), *old.shape[1:])
            new[: self.used] = old
            setattr(self, name, new)
        return slots

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        assert found is not None
        assert scores is not None
        slots = slice(self.used, self.used + len(index))
        self.gradient[slots], self.score[slots] = found, scores
        if held is not None and self.position.shape[1]:
            self.position[slots] = held
        self.used += len(index)

    def keep(self, mask: Tensor) -> Tensor:
        """Forget the other nodes; return where each old slot is now."""
        for name in ("path", "step", "gradient", "score", "position"):
            setattr(self, name, getattr(self, name)[mask])
        self.used = len(self.path)
        return mask.cumsum(0) - 1


@dataclass
class _Pairs:
    """Two neighbouring intervals with their three nodes, as slots; all of one length."""

    left: Tensor
    middle: Tensor
    right: Tensor
    row: Tensor
    square: Tensor  # of the estimated error, (pairs, columns)
    variation: Tensor  # what the pair would add if nothing cancelled, (pairs, columns)

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
    """Integrals along the paths of a block's rows, to a tolerance.

    A column is one target at one place: each has an error of its own.
    """

    def __init__(self, curve: Curve, tolerance: float, budget: int) -> None:
        self.curve, self.tolerance = curve, tolerance
        self.block = block = curve.block
        self.budget = budget * curve.each
        self._most = keep_bytes(block.engine.device)
        first = torch.zeros(1, dtype=torch.long, device=block.engine.device)
        self._like = curve.direction(first)
        parts = curve.parts(self._like)
        self.sizes = [part.shape[-1] for part in parts]
        self.columns = block.targets * len(parts)
        new = self._like.new_zeros
        self.values = new(block.n, block.targets, sum(self.sizes))
        self.error, self.scale = new(2, block.n, self.columns, dtype=torch.float64)
        self.prediction, self.baseline_prediction = new(2, block.n, block.targets)
        self._traced: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def run(self) -> list[Attribution]:
        """Refine all rows until each is done or has spent its budget; one result a place."""
        rows = torch.arange(self.block.n, device=self._like.device)
        fit = max(1, self._most // (2 * 5 * self.curve.each * self._node_bytes))
        groups = list(torch.split(rows, fit))[::-1]
        while groups:
            late = self._refine(groups.pop())
            if len(late):
                groups.append(late)
        settings = {
            "tolerance": self.tolerance,
            "budget": self.budget,
            "error_floor": f"{FLOOR:g} of the mean norm of gradient x difference along the path",
        }
        places = len(self.sizes)
        error, scale = (t.reshape(-1, self.block.targets, places) for t in (self.error, self.scale))
        path = self._path() if places == 1 else None
        return [
            Attribution(
                part,
                self.prediction,
                self.baseline_prediction,
                error[..., place],
                settings,
                scale[..., place],
                path=path,
            )
            for place, part in enumerate(torch.split(self.values, self.sizes, dim=-1))
        ]

    @property
    def _node_bytes(self) -> int:
        targets = self.block.targets + (1 if self.curve.held else 0)
        return targets * self._like.shape[-1] * self._like.element_size()

    def _refine(self, rows: Tensor) -> Tensor:
        """Refine some rows until all are done; return those that did not fit into memory.

        They gave up their gradients to the others, and begin again.
        """
        each = self.curve.each
        nodes = _Nodes(self._like, self.block.targets, held=self.curve.held)
        self.values[rows] = 0
        path = (rows[:, None] * each + torch.arange(each, device=rows.device)).flatten()
        start = torch.linspace(0, 1, 5, dtype=torch.float64, device=rows.device)
        slots = self._evaluate(nodes, path.repeat_interleave(5), start.repeat(len(path)))
        left, quarter, middle, three_quarters, right = slots.reshape(-1, 5).unbind(1)
        self.prediction[rows] = nodes.score[right[::each]]
        self.baseline_prediction[rows] = (
            nodes.score[left].reshape(-1, each, self.block.targets).mean(1)
        )
        pairs = self._paired(
            nodes,
            torch.cat([left, middle]),
            torch.cat([quarter, three_quarters]),
            torch.cat([middle, right]),
        )
        spent = torch.zeros(self.block.n, dtype=torch.long, device=rows.device)
        spent[rows] = 5 * each
        late = rows[:0]
        while True:
            self._estimate(pairs, rows)
            error = self.error[rows]
            # A row that is not a number will not become one: more gradients are of no use.
            met = ((error <= self.tolerance) | ~error.isfinite()).all(1)
            going = ~(met | (spent[rows] + 2 > self.budget))
            if not bool(going.all()):
                self._trace(nodes, rows[~going])
                rows = rows[going]
                pairs = self._of_rows(nodes, pairs, rows)
            if not len(rows):
                return late
            chosen = self._choose(pairs, spent)
            while len(rows) > 1 and not self._fits(nodes.used, 2 * int(chosen.sum())):
                keep = (len(rows) + 1) // 2
                late, rows = torch.cat([rows[keep:], late]), rows[:keep]
                pairs = self._of_rows(nodes, pairs, rows)
                chosen = self._choose(pairs, spent)
            spent.index_add_(0, pairs.row[chosen], 2 * torch.ones_like(pairs.row[chosen]))
            halved = self._bisect(nodes, pairs[chosen])
            pairs = pairs[~chosen].joined(halved)

    def _evaluate(self, nodes: _Nodes, path: Tensor, step: Tensor) -> Tensor:
        slots = nodes.reserve(path, step)
        self.curve.evaluate(path, step, nodes)
        return slots

    def _fits(self, used: int, more: int) -> bool:
        """Whether so many nodes fit, old and new at once while they are copied."""
        return (2 * used + more) * self._node_bytes <= self._most

    def _moved(self, nodes: _Nodes, start: Tensor, end: Tensor) -> Tensor:
        """Return how far the path goes between nodes: (nodes, 1, features)."""
        if self.curve.held:
            return (nodes.position[end] - nodes.position[start])[:, None]
        direction = self.curve.direction(nodes.path[start])
        return (direction * (nodes.step[end] - nodes.step[start])[:, None].to(direction))[:, None]

    def _norms(self, vectors: Tensor) -> Tensor:
        """Return the norms of vectors (n, targets, features) at each place: (n, columns)."""
        return torch.stack([norm(part) for part in self.curve.parts(vectors)], -1).flatten(1)

    def _value(self, nodes: _Nodes, slots: tuple[Tensor, ...], sign: float) -> list[Tensor]:
        """Add what pairs contribute to their rows' values; return what the error is made of."""
        left, middle, right = slots
        a, m, b = (nodes.gradient[slot] for slot in slots)
        before, behind = self._moved(nodes, left, middle), self._moved(nodes, middle, right)
        first, second = (a + m) * (before / 2), (m + b) * (behind / 2)
        up, on = m - a, b - m
        bend = up * behind - on * before
        value = first + second + _SIMPSON * bend
        whole = torch.cat(self.curve.parts(value), dim=-1)
        each = self.curve.each
        self.values.index_add_(0, nodes.path[left] // each, whole, alpha=sign / each)
        return [first, second, up * before, on * behind, bend]

    def _paired(self, nodes: _Nodes, left: Tensor, middle: Tensor, right: Tensor) -> _Pairs:
        columns = self.columns

        def measure(index: Tensor) -> Tensor:
            slots = (left[index], middle[index], right[index])
            first, second, up, on, bend = self._value(nodes, slots, 1.0)
            square = self._norms(bend) ** 2
            if self.curve.held:
                square = (square + self._norms(up - on) ** 2) / 2
            rise = self._norms(up + on) ** 2
            seen = square + _HIDDEN / 2 * (rise - square).clamp_min(0)
            return torch.cat([seen * JUMP**2, self._norms(first) + self._norms(second)], dim=1)

        found = self.block.each(len(left), measure)
        each = self.curve.each
        square, variation = found[:, :columns] / each**2, found[:, columns:] / each
        return _Pairs(left, middle, right, nodes.path[left] // each, square, variation)

    def _estimate(self, pairs: _Pairs, rows: Tensor) -> None:
        """Set the errors of these rows from their pairs."""

        def sums(of_pairs: Tensor) -> Tensor:
            return torch.zeros_like(self.error).index_add_(0, pairs.row, of_pairs)[rows]

        sizes = torch.stack(
            [norm(part) for part in torch.split(self.values[rows], self.sizes, dim=-1)], -1
        ).flatten(1)
        self.error[rows], self.scale[rows] = relative_error(
            sums(pairs.square),
            sums(pairs.square**2),
            sizes,
            sums(pairs.variation),
            self.block.rounding,
            self.curve.each,
        )

    def _choose(self, pairs: _Pairs, spent: Tensor) -> Tensor:
        """Mark, for each row, the fewest pairs that carry most of its squared error."""
        total = torch.zeros_like(self.error).index_add_(0, pairs.row, pairs.square)
        share = pairs.square / total[pairs.row].clamp_min(torch.finfo(total.dtype).tiny)
        # Columns that are done ask for nothing; the others are served at once.
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
        old = (chosen.left, chosen.middle, chosen.right)

        def forget(index: Tensor) -> Tensor:
            self._value(nodes, (old[0][index], old[1][index], old[2][index]), -1.0)
            return index[:0]

        self.block.each(len(chosen.left), forget)
        new = torch.cat(
            [
                (nodes.step[chosen.left] + nodes.step[chosen.middle]) / 2,
                (nodes.step[chosen.middle] + nodes.step[chosen.right]) / 2,
            ]
        )
        middle = self._evaluate(nodes, nodes.path[chosen.left].repeat(2), new)
        return self._paired(
            nodes,
            torch.cat([chosen.left, chosen.middle]),
            middle,
            torch.cat([chosen.middle, chosen.right]),
        )

    def _of_rows(self, nodes: _Nodes, pairs: _Pairs, rows: Tensor) -> _Pairs:
        """Keep the nodes and pairs of these rows only."""
        wanted = torch.zeros(self.block.n, dtype=torch.bool, device=rows.device)
        wanted[rows] = True
        pairs = pairs[wanted[pairs.row]]
        slot = nodes.keep(wanted[nodes.path // self.curve.each])
        pairs.left, pairs.middle, pairs.right = (
            slot[slots] for slots in (pairs.left, pairs.middle, pairs.right)
        )
        return pairs

    # -- the nodes, for a picture of the path --------------------------------------------------

    def _trace(self, nodes: _Nodes, rows: Tensor) -> None:
        """Note where the paths of these rows were evaluated."""
        if self.curve.each > 1 or self.curve.held or self.columns > 1:
            return
        done = torch.zeros(self.block.n, dtype=torch.bool, device=rows.device)
        done[rows] = True
        slots = done[nodes.path].nonzero()[:, 0]

        def size(index: Tensor) -> Tensor:
            slot = slots[index]
            direction = self.curve.direction(nodes.path[slot])[:, None]
            return self._norms(nodes.gradient[slot] * direction)

        sizes = self.block.each(len(slots), size)[:, 0]
        self._traced.append((nodes.path[slots], nodes.step[slots], nodes.score[slots, 0], sizes))

    def _path(self) -> dict[str, Tensor] | None:
        """Return the nodes of each row in their order, padded with NaN."""
        if not self._traced:
            return None
        row, step, score, size = (torch.cat(part) for part in zip(*self._traced, strict=True))
        order = step.argsort(stable=True)
        order = order[row[order].argsort(stable=True)]
        row = row[order]
        rank = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
        shape = (self.block.n, int(rank.max()) + 1)
        found = {}
        for name, one in (("step", step), ("score", score), ("norm", size)):
            table = torch.full(shape, torch.nan, dtype=torch.float64, device=row.device)
            table[row, rank] = one[order].double()
            found[name] = table
        return found
