"""Expected gradients: integrated gradients averaged over a background of baselines."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.bisection import TYPICAL
from pellucid.interpret.attribution.curves import Between, FromBackground
from pellucid.interpret.attribution.quadrature import to_tolerance
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.draws import order, uniform
from pellucid.interpret.inputs import is_whole
from pellucid.interpret.points import Kept
from pellucid.interpret.tensors import flat

_DRAWS = 200


@method(
    baseline=False,
    background=True,
    complete=True,
    cost="200 gradients, or the background's size if that is larger; with a tolerance some 10 for "
    "each sample of the background",
    promise="a standard error for every value; with a tolerance, an estimate of the error of each "
    "row against the mean over the whole background",
    paper="Erion et al. 2021, https://arxiv.org/abs/1906.10670",
    points=lambda _: None,
    sampled=True,
    kept=lambda options: TYPICAL if "tolerance" in options else 0,
    typical=200,
    trial={"draws": 2},
)
def expected_gradients(
    block: Block,
    *,
    tolerance: float | None = None,
    budget: int | None = None,
    draws: int | None = None,
) -> Attribution:
    """Average integrated gradients over the samples of the background as baselines.

    By `draws` gradients for each row at random points of the paths from the background's samples:
    every sample is used equally often (`draws` is rounded up to that, unless it is less than their
    number), and the points are spread evenly over the paths; each value gets a standard error. Or,
    with a `tolerance`, by integrating along the paths from all samples of the background until the
    estimated relative L2 error of each row is within it, `budget` gradients for each path at most.
    """
    starts = block.background
    if tolerance is not None or budget is not None:
        if draws is not None:
            raise InputError(
                "draws fixes the work, and tolerance and budget leave it open; give draws, or "
                "tolerance and budget, not both"
            )
        curve = FromBackground(block, starts)
        return to_tolerance(curve, tolerance=tolerance, budget=budget)[0]
    count = len(starts[0])
    draws = max(_DRAWS, count) if draws is None else draws
    if not is_whole(draws) or draws < 2:
        raise InputError(f"draws={draws!r}; give a whole number from 2, for a standard error")
    start, step = _spread(block, count, int(draws))
    draws = start.shape[1]
    device = block.engine.device
    row = torch.arange(block.n, device=device).repeat_interleave(draws)
    moments = _Moments(block, row, start.flatten(), flat(starts), draws)
    block.gradients(Between(row, start.flatten(), step.flatten(), starts), moments)
    at_starts = Kept()
    row = torch.arange(block.n, device=device).repeat_interleave(count)
    each = torch.arange(count, device=device).repeat(block.n)
    block.values(Between(row, each, torch.zeros(len(row), device=device), starts), at_starts)
    return Attribution(
        moments.mean,
        block.prediction(),
        at_starts.scores.reshape(block.n, count, -1).mean(1),
        None,
        {"draws": draws, "background": count},
        standard_error=moments.standard_error(),
    )


def _spread(block: Block, count: int, draws: int) -> tuple[Tensor, Tensor]:
    """Return which sample each draw starts from, and where on its path it is: (rows, draws).

    Every sample equally often (the number of draws is rounded up to that), each with one draw in
    each of as many equal parts of its path; and within a part, all samples' draws evenly spread.
    """
    device, seed, rows = block.engine.device, block.engine.seed, block.numbers
    if draws < count:
        part = torch.arange(draws, device=device)
        step = (part + uniform(seed, rows[:, None], part)) / draws
        return order(seed, rows, count)[:, :draws], step
    parts = -(-draws // count)
    part = torch.arange(parts, device=device).repeat_interleave(count)
    start = torch.arange(count, device=device).repeat(parts)
    # Each part has an order of its own: `rows * parts + part` is a key that no other row has.
    keys = (rows[:, None] * parts + torch.arange(parts, device=device)).flatten()
    place = order(seed, keys, count).reshape(len(rows), parts * count)
    draw = torch.arange(parts * count, device=device)
    within = (place + uniform(seed + 1, rows[:, None], draw)) / count
    return start.expand(len(rows), -1), (part + within) / parts


class _Moments:
    """A sink for the mean and the variance of gradient x difference over each row's draws."""

    def __init__(
        self, block: Block, row: Tensor, start: Tensor, starts: Tensor, draws: int
    ) -> None:
        self._block, self._start, self._starts, self._draws = block, start, starts, draws
        self._inputs = flat(block.inputs)
        like = block.reduced(self._inputs[:, None].expand(-1, block.targets, -1))
        self._sum = torch.zeros_like(like, dtype=torch.float64)
        self._squares = torch.zeros_like(self._sum)

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        assert found is not None
        difference = self._inputs[rows] - self._starts[self._start[index]]
        part = self._block.reduced(found * difference[:, None]).double()
        self._sum.index_add_(0, rows, part)
        self._squares.index_add_(0, rows, part**2)

    @property
    def mean(self) -> Tensor:
        return (self._sum / self._draws).to(self._inputs.dtype)

    def standard_error(self) -> Tensor:
        """Return the standard error as if the draws were independent.

        They are spread more evenly than that, so that it is rather too large than too small.
        """
        mean = self._sum / self._draws
        variance = (self._squares / self._draws - mean**2).clamp_min(0)
        return (variance / (self._draws - 1)).sqrt().to(self._inputs.dtype)
