"""The path of guided IG: step by step, the features with the smallest gradients first."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from pellucid.interpret.attribution.jumps import JUMP, relative_error
from pellucid.interpret.block import Block
from pellucid.interpret.points import Leaves
from pellucid.interpret.tensors import flat

# Two distances closer than this are the same, as in the authors' code: relative, and absolute.
_CLOSE = 1e-9


@dataclass(frozen=True)
class Standing:
    """One point for each row, wherever it is: (rows, features)."""

    where: Tensor

    def __len__(self) -> int:
        return len(self.where)

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each slot."""
        parts = torch.split(self.where[index], [leaf[0].numel() for leaf in block.inputs], dim=1)
        return tuple(
            part.to(leaf.dtype).reshape(-1, *leaf.shape[1:])
            for part, leaf in zip(parts, block.inputs, strict=True)
        )


class Walk:
    """A sink that takes a step with every gradient, and sums gradient x step.

    Attributes
    ----------
    step
        Number of the gradient that comes next; the last is taken at the input.
    here
        Where each row is: (rows, features), float64, in which steps add up to the whole way.
    slope
        The gradient where each row was before.
    left, right
        Sums of step x the gradient at its beginning, and at its end.
    """

    def __init__(self, block: Block, steps: int, fraction: float, max_dist: float) -> None:
        self.steps, self.fraction, self.max_dist = steps, fraction, max_dist
        self.step, self._block, self._end = 0, block, flat(block.inputs)
        start = flat(tuple(b.expand(block.n, *b.shape[1:]) for b in block.baselines))
        self._start, self.here = start, start.to(torch.float64, copy=True)
        self._before = self.here.clone()
        self.slope = torch.zeros_like(self._end)
        self.left, self.right = torch.zeros_like(self.here), torch.zeros_like(self.here)
        like = self.here.new_zeros(block.n, 1)
        self._squares, self._fourths, self._variation = like, like.clone(), like.clone()
        self.baseline_prediction, self.prediction = self.slope.new_zeros(2, block.n, 1)

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Sum what the step before contributed, and take the next."""
        assert scores is not None
        assert found is not None
        here, slope = self.here[rows], found[:, 0]
        if self.step:
            moved, before = here - self._before[rows], self.slope[rows]
            left, right = before * moved, slope * moved
            self.left[rows] += left
            self.right[rows] += right
            self._variation[rows] += self._norm((left + right) / 2)
            square = (JUMP * self._norm(right - left)) ** 2
            self._squares[rows] += square
            self._fourths[rows] += square**2
        else:
            self.baseline_prediction[rows] = scores
        if self.step == self.steps:
            self.prediction[rows] = scores
            return
        self._before[rows], self.slope[rows] = here, slope
        last = self.step == self.steps - 1
        self.here[rows] = self._end[rows].double() if last else self._next(rows, here, slope)

    def _norm(self, vectors: Tensor) -> Tensor:
        reduced = self._block.reduced(vectors)
        found: Tensor = torch.linalg.vector_norm(reduced, dim=-1, keepdim=True)
        return found

    def error(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimated relative L2 error of each row, and its scale.

        The path seeks small gradients, and so goes along the edges of linear pieces, to and fro:
        its jumps do not lie at random between the nodes, and their errors do not average out. So
        half of what lies between the sums from the left and from the right counts besides.
        """
        size, rounding = self._norm(values), self._block.rounding
        jumps, scale = relative_error(self._squares, self._fourths, size, self._variation, rounding)
        one_sided = self._norm(self.right - self.left) / 2
        return torch.hypot(jumps, one_sided / torch.where(scale == 0, 1, scale)), scale

    def _next(self, rows: Tensor, here: Tensor, slope: Tensor) -> Tensor:
        """Return where these rows are after the next step."""
        start, end = self._start[rows].double(), self._end[rows].double()
        way = end - start
        done = (self.step + 1) / self.steps
        least = max(done - self.max_dist, 0.0)
        lowest, highest = start + way * least, start + way * min(done + self.max_dist, 1.0)
        # Who is too far behind is taken along, whatever its gradient.
        here = torch.where((here - start) / way < least, lowest, here)
        rest = (here - end).abs().sum(1, keepdim=True)
        wanted = way.abs().sum(1, keepdim=True) * (1 - done)
        need = rest - wanted
        close = need.abs() <= (_CLOSE * torch.maximum(rest, wanted)).clamp_min(_CLOSE)
        # The others, in the order of their gradients; last who can go no further.
        size, order = torch.where(here == highest, torch.inf, slope.abs()).sort(dim=1)
        could = (highest - here).abs().gather(1, order).cumsum(1)
        first, behind = self._last_group(size, could, need)
        before = torch.where(first > 0, could.gather(1, (first - 1).clamp_min(0)), 0)
        share = (need - before) / (could.gather(1, behind - 1) - before)
        rank = torch.arange(size.shape[1], device=size.device)
        share = torch.where(rank < behind, share.nan_to_num(0).clamp(0, 1), 0)
        share = torch.empty_like(could).scatter_(1, order, torch.where(rank < first, 1, share))
        moved = torch.where(share == 1, highest, here + (highest - here) * share)
        return torch.where(close, here, moved)

    def _last_group(self, size: Tensor, could: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first and the last (exclusive) of the last group of features that moves.

        A group is the next `fraction` of all features, with all that have as large a gradient as
        its largest. Groups go all the way, one after another, until one gets so far as is needed.
        """
        count = size.shape[1]
        others = int((count - 1) * self.fraction)
        first = torch.zeros_like(need, dtype=torch.long)
        # As many rounds as there can be groups, rather than wait for the device to say it is done.
        for _ in range(ceil(count / (others + 1))):
            behind = self._behind(size, first + others)
            first = torch.where(could.gather(1, behind - 1) >= need, first, behind)
        return first, self._behind(size, first + others)

    @staticmethod
    def _behind(size: Tensor, rank: Tensor) -> Tensor:
        """Return the rank behind all that are as large as what is at this rank."""
        largest = size.gather(1, rank.clamp_max(size.shape[1] - 1))
        return torch.searchsorted(size, largest, right=True).clamp_min(1)
