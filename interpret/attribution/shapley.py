"""Shapley values: what each feature adds to the prediction, averaged over all orders of adding.

They ask for scores only, so they work for anything that predicts. All rows are asked about the same
coalitions, in one batch after another.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.coalitions import Pairs, draw, fresh
from pellucid.interpret.attribution.games import Game
from pellucid.interpret.attribution.jumps import FLOOR
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.attribution.surrogate import estimate
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.memory import keep_bytes

# Every single player and these, as in shap; to a tolerance, at most so many.
_BUDGET, _MOST = 2048, 32_768
# A regression of more players has a matrix that no longer fits into memory.
_PLAYERS = 4096
# With a tolerance, so many pairs for each player at first; twice as many in every further round.
_FIRST = 4


@method(
    baseline=True,
    complete=True,
    cost="as many evaluations as the budget (2 for each feature and 2,048), for each sample of a "
    "background",
    promise="exact where the budget covers all coalitions; else a standard error for every value",
    paper="Lundberg & Lee 2017, https://arxiv.org/abs/1705.07874; Musco & Witter 2025, "
    "https://arxiv.org/abs/2410.01917",
    points=lambda _: None,
    samples=True,
    gradients=False,
    sampled=True,
    typical=2048,
)
def shapley(
    block: Block, *, budget: int | None = None, tolerance: float | None = None
) -> Attribution:
    """Estimate Shapley values from pairs of coalitions, or compute them from all coalitions.

    Those who do not play take the values of the baseline, or of every sample of the background in
    turn (interventional). `budget` bounds the coalitions for each row; where it covers all of them
    the values are exact. With a `tolerance`, more are evaluated until the estimated relative L2
    error of each row is within it, 32,768 at most by default.
    """
    return estimated(block, budget, tolerance, Regression)


@method(
    baseline=False,
    complete=True,
    cost="as many evaluations as the budget (2 for each feature and 2,048), for each sample of the "
    "background",
    promise="exact for a Gaussian background where the budget covers all coalitions; else a "
    "standard error for every value",
    paper="Aas et al. 2021, https://arxiv.org/abs/1903.10464",
    points=lambda _: None,
    background=True,
    gradients=False,
    sampled=True,
    typical=2048,
)
def conditional_shapley(
    block: Block, *, budget: int | None = None, tolerance: float | None = None
) -> Attribution:
    """Shapley values where those who do not play are drawn given those who do.

    From a Gaussian with the background's mean and covariance: every sample of the background is
    moved to what is likely beside the coalition's values. A feature that the model does not use
    gets a value where it tells of one that it does. Options as of `shapley`.
    """
    return estimated(block, budget, tolerance, Regression, imputer="gaussian")


@method(
    baseline=True,
    complete=True,
    cost="as many evaluations as the budget (2 for each feature and 2,048), for each sample of a "
    "background",
    promise="a standard error for every value; unbiased with any budget",
    paper="Castro et al. 2009, https://doi.org/10.1016/j.cor.2008.04.004; Mitchell et al. 2022, "
    "https://arxiv.org/abs/2104.12199",
    points=lambda _: None,
    samples=True,
    gradients=False,
    sampled=True,
    typical=2048,
)
def permutation_shapley(
    block: Block, *, budget: int | None = None, tolerance: float | None = None
) -> Attribution:
    """Average what each feature adds when they are added in random orders, and in their reverse.

    Needs two orders and their reverses at least: 4 evaluations for each feature. `budget` and
    `tolerance` as of `shapley`.
    """
    return estimated(block, budget, tolerance, _Orders)


class Estimator(Protocol):
    """Shapley values of some games, from more and more evaluations."""

    def __init__(self, game: Game) -> None:
        """Begin with none."""

    @staticmethod
    def least(players: int) -> int:
        """Return how many evaluations it needs."""

    def spend(self, budget: int) -> None:
        """Evaluate until so many evaluations are spent on each game, or all that there are."""

    def result(self) -> tuple[Tensor, Tensor | None]:
        """Return the values and their standard errors, (rows, targets, players)."""

    def of(self, rows: Tensor) -> Self:
        """Return the same for some of the rows, to go on with."""


def estimated(
    block: Block,
    budget: int | None,
    tolerance: float | None,
    kind: type[Estimator],
    *,
    imputer: str = "interventional",
    axes: tuple[str, ...] = (),
) -> Attribution:
    """Estimate all rows' values, as many rows at a time as may be kept.

    Parameters
    ----------
    block
        The rows.
    budget, tolerance
        As of `shapley`.
    kind
        How they are estimated.
    imputer
        As of `Game`.
    axes
        Further axes of players behind the first, if the values are not one for each of them.
    """
    whole = Game(block, imputer)
    n = whole.players
    budget = _checked(budget, tolerance, n, kind)
    fit = max(1, keep_bytes(block.engine.device) // (64 * budget * block.targets))
    shape = (n,) * (1 + len(axes))
    size = (block.n, block.targets, n ** len(shape))
    values = torch.zeros(size, dtype=torch.float64, device=block.engine.device)
    errors: Tensor | None = torch.zeros_like(values)
    for part in torch.split(torch.arange(block.n, device=values.device), fit):
        rows = part
        state = kind(whole if len(rows) == block.n else whole.of(rows))
        spent = budget if tolerance is None else min(budget, max(_FIRST * 2 * n + 2, kind.least(n)))
        while True:
            state.spend(spent)
            found, error = state.result()
            values[rows] = found
            if error is None or errors is None:
                errors = None
                break
            errors[rows] = error
            if tolerance is None or spent >= budget:
                break
            late = (_relative(found, error)[0] > tolerance).any(1).nonzero()[:, 0]
            if not len(late):
                break
            rows, state = rows[late], state.of(late)
            spent = min(2 * spent, budget)
    relative = scale = None
    if errors is not None:
        relative, scale = _relative(values, errors)
    dtype = block.inputs[0].dtype
    prediction = whole.everybody
    settings: dict[str, Any] = {"budget": budget}
    if tolerance is not None:
        settings["tolerance"] = tolerance
    if whole.samples > 1 or block.background:
        settings["baseline"] = f"each of {whole.samples} samples of the background"
    if imputer == "gaussian":
        settings["imputer"] = "a Gaussian with the background's mean and covariance"
    grouped = block.engine.groups is not None
    return Attribution(
        values.to(dtype),
        prediction,
        whole.nobody.to(prediction.dtype),
        relative,
        settings,
        scale,
        standard_error=None if errors is None else errors.to(dtype),
        shape=shape if grouped or axes else None,
        axes=("sample", "group" if grouped else "feature", *axes) if grouped or axes else None,
    )


def _relative(values: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the estimated relative L2 error of each row and target, and what it is relative to."""
    size = torch.linalg.vector_norm(values, dim=-1)
    error = torch.linalg.vector_norm(errors, dim=-1)
    scale = torch.maximum(size, FLOOR * values.abs().sum(-1))
    return torch.where(scale == 0, error, error / scale.where(scale != 0, 1.0)), scale


def _checked(
    budget: int | None, tolerance: float | None, players: int, kind: type[Estimator]
) -> int:
    """Return the budget, or raise an `InputError` that says what is wrong with the options."""
    if tolerance is not None and (not is_real(tolerance) or not 0 < tolerance < 1):
        raise InputError(
            f"tolerance={tolerance!r}; give a relative error between 0 and 1, such as 0.05"
        )
    if players > _PLAYERS:
        raise InputError(
            f"Shapley values of {players:,} features need a regression that does not fit into "
            f"memory; join them to at most {_PLAYERS:,} groups with groups=..., such as the "
            "segments of a picture"
        )
    least = kind.least(players)
    if budget is None:
        return max(least, _BUDGET + 2 * players if tolerance is None else _MOST)
    if not is_whole(budget):
        raise InputError(f"budget={budget!r}; give a whole number of evaluations for each row")
    if budget < min(least, 2**players):
        raise InputError(
            f"budget={budget!r} is too small for {players} features: {least} evaluations for each "
            "row are the least; give more, or join features with groups=..."
        )
    return int(budget)


class Regression:
    """Values from pairs of coalitions."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._pairs: Pairs | None = None
        block = game.block
        self._nobody, self._everybody = game.nobody, game.everybody.double()
        # The difference of each pair, and its sum: (2, pairs, rows, targets).
        self._found = self._nobody.new_zeros(2, 0, block.n, block.targets)
        self._alone: Tensor | None = None

    @staticmethod
    def least(players: int) -> int:
        """Return how many evaluations it needs."""
        return players + 2

    def spend(self, budget: int) -> None:
        """Evaluate until so many evaluations are spent on each game, or all that there are."""
        game, n = self._game, self._game.players
        if n == 1:
            return
        pairs = (budget - 2) // 2
        if pairs < n and budget < 2**n:
            # Too few for a pair with every player: what each adds alone, which is all that there is
            # to know of an additive game.
            alone = torch.eye(n, dtype=torch.bool, device=self._nobody.device)
            self._alone = game.values(alone) - self._nobody
            return
        drawn = draw(n, pairs, game.block.engine.seed, self._nobody.device)
        old, new = fresh(self._pairs, drawn)
        masks = drawn.masks[new]
        both = game.values(torch.cat([masks, ~masks]))
        one, other = both[: len(masks)], both[len(masks) :]
        found = one.new_empty(2, len(drawn.masks), *one.shape[1:])
        found[:, old], found[:, new] = self._found, torch.stack([one - other, one + other])
        self._pairs, self._found = drawn, found

    def result(self) -> tuple[Tensor, Tensor | None]:
        """Return the values and their standard errors, (rows, targets, players)."""
        total = self._everybody - self._nobody
        n = self._game.players
        if n == 1:
            return total[..., None], torch.zeros_like(total[..., None])
        if self._alone is not None:
            values = self._alone.movedim(0, -1)
            return values + ((total - values.sum(-1)) / n)[..., None], None
        assert self._pairs is not None
        values, error = estimate(self._pairs, self._found[0].flatten(1), total.flatten())
        shape = (*total.shape, n)
        return values.reshape(shape), None if error is None else error.reshape(shape)

    def of(self, rows: Tensor) -> Self:
        """Return the same for some of the rows, to go on with."""
        made = type(self).__new__(type(self))
        made._game, made._pairs, made._alone = self._game.of(rows), self._pairs, None
        made._nobody, made._everybody = self._nobody[rows], self._everybody[rows]
        made._found = self._found[:, :, rows]
        return made


class _Orders:
    """Values from random orders of the players and their reverses."""

    def __init__(self, game: Game) -> None:
        self._game, self._drawn = game, 0
        block = game.block
        self._nobody, self._everybody = game.nobody, game.everybody.double()
        self._sum = self._nobody.new_zeros(block.n, block.targets, game.players)
        self._squares = torch.zeros_like(self._sum)

    @staticmethod
    def least(players: int) -> int:
        return 2 + 4 * (players - 1)

    def spend(self, budget: int) -> None:
        n = self._game.players
        if n == 1:
            return
        last = (budget - 2) // (2 * (n - 1))
        numbers = range(self._drawn, last)
        if not numbers:
            return
        seed = self._game.block.engine.seed
        orders = np.stack([np.random.default_rng([seed, n, i]).permutation(n) for i in numbers])
        forward = torch.from_numpy(orders).to(self._sum.device)
        added = self._added(torch.cat([forward, forward.flip(1)]))
        mean = added.reshape(2, len(numbers), *self._sum.shape).mean(0)
        self._sum += mean.sum(0)
        self._squares += mean.square().sum(0)
        self._drawn = last

    def _added(self, orders: Tensor) -> Tensor:
        """Return what each player adds in each order: (orders, rows, targets, players)."""
        count, n = orders.shape
        rank = orders.argsort(dim=1)
        first = torch.arange(1, n, device=orders.device)[:, None]
        masks = rank[:, None] < first  # (orders, steps, players)
        between = self._game.values(masks.flatten(0, 1))
        between = between.reshape(count, n - 1, *between.shape[1:])
        ends = (self._nobody.expand_as(between[:, :1]), self._everybody.expand_as(between[:, :1]))
        steps = torch.cat([ends[0], between, ends[1]], dim=1).diff(dim=1).movedim(1, -1)
        return steps.gather(-1, rank[:, None, None].expand_as(steps))

    def result(self) -> tuple[Tensor, Tensor | None]:
        if self._game.players == 1:
            total = (self._everybody - self._nobody)[..., None]
            return total, torch.zeros_like(total)
        count = self._drawn
        mean = self._sum / count
        variance = (self._squares / count - mean**2).clamp_min(0) * count / (count - 1)
        return mean, (variance / count).sqrt()

    def of(self, rows: Tensor) -> _Orders:
        made = type(self).__new__(type(self))
        made._game, made._drawn = self._game.of(rows), self._drawn
        made._nobody, made._everybody = self._nobody[rows], self._everybody[rows]
        made._sum, made._squares = self._sum[rows], self._squares[rows]
        return made
