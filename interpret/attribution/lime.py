"""LIME: a linear model of what the score does when some of the features are the baseline's.

The kernel exp(-d^2 / width^2), where d^2 is how many features are replaced, is a product over the
features. A regression weighted with it over all coalitions is therefore the plain regression over
coalitions in which every feature is replaced by chance, each with the same probability; so those
are drawn, and all draws count the same however narrow the kernel is. They come in pairs that are
as opposite as can be, which cancels most of what pairs of features do together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution.games import Coalitions, labels
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.draws import uniform
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.memory import keep_bytes
from pellucid.interpret.points import Kept

# So many coalitions by default; and the least for each feature.
_SAMPLES, _EACH = 1000, 4
# A regression of more features has a matrix that no longer fits into memory.
_PLAYERS = 4096
# Of the authors' code for tables, in units of the largest distance that there is. The kernel is the
# paper's, though; in that code it is its root.
_WIDTH = 0.75
# Two features are to be replaced together so often: what they do together is otherwise not seen,
# and missing in the errors. Of all coalitions, weights below the other are lost to rounding.
_TOGETHER, _TELLING = 3, 1e-6
# How many numbers of the regression's matrix are worked on at a time.
_NUMBERS = 2**22


@method(
    baseline=True,
    complete=False,
    cost="as many evaluations as samples (1,000, or 4 for each feature and 4 if that is more)",
    promise="a standard error for every value of the linear model; not how well any linear model "
    "tells what the score does",
    paper="Ribeiro et al. 2016, https://arxiv.org/abs/1602.04938; Bell & McCaffrey 2002",
    points=lambda _: None,
    gradients=False,
    sampled=True,
    typical=1000,
)
def lime(
    block: Block,
    *,
    samples: int | None = None,
    kernel_width: float | None = None,
    penalty: float = 0.001,
) -> Attribution:
    """Fit a linear model, local to each row, to which of its features are its own.

    All rows share the coalitions of features that stay, the others being the baseline's. Where
    `samples` covers all coalitions, all of them are taken, weighted with the kernel, and nothing is
    left to chance.

    Parameters
    ----------
    block
        Rows at some place.
    samples
        How many coalitions; at least 4 for each feature and 4, unless that is all of them.
    kernel_width
        Coalitions that replace k features weigh exp(-k / kernel_width^2): the distance is the
        Euclidean one between masks. By default 0.75 times the root of the number of features, as in
        the authors' code.
    penalty
        How much the values are drawn to zero (ridge regression): those of features that vary
        independently by a share of penalty / (1 + penalty). The intercept is not.

    Raises
    ------
    InputError
        If an option is out of range, or the samples cannot tell the features apart.
    ModelError
        If a score is not finite.
    """
    label = labels(block)
    players = int(label.max()) + 1
    budget, width = _checked(samples, kernel_width, penalty, players)
    drawn = _all(players, width) if 2**players <= budget else _drawn(
        players, width, budget // 2, block.engine.seed
    )  # fmt: skip
    device = block.engine.device
    fit = _Fit(drawn.masks.to(device), drawn.weights.to(device), float(penalty), drawn.paired)
    shape = (block.n, block.targets, players)
    values = torch.zeros(shape, dtype=torch.float64, device=device)
    errors = torch.zeros_like(values)
    # Scores of so many rows fit into memory, beside what is left of them by the fit.
    most = max(1, keep_bytes(device) // (32 * len(drawn.masks) * block.targets))
    for rows in torch.split(torch.arange(block.n, device=device), most):
        some = block if len(rows) == block.n else block.some(rows)
        scores = _scores(some, fit.masks, label)
        found, error = fit.of(scores.flatten(1))
        values[rows] = found.T.reshape(len(rows), -1, players)
        errors[rows] = error.T.reshape(len(rows), -1, players)
    dtype, grouped = block.inputs[0].dtype, block.engine.groups is not None
    return Attribution(
        values.to(dtype),
        block.prediction(),
        None,
        None,
        {"samples": len(drawn.masks), "kernel_width": width, "penalty": float(penalty)},
        standard_error=errors.to(dtype),
        shape=(players,) if grouped else None,
        axes=("sample", "group") if grouped else None,
    )


def _checked(samples: Any, width: Any, penalty: Any, players: int) -> tuple[int, float]:
    """Return how many coalitions at most, and the kernel's width.

    Raises
    ------
    InputError
        If an option is out of range, or what is asked for cannot be told from so many.
    """
    if players > _PLAYERS:
        raise InputError(
            f"lime of {players:,} features needs a regression that does not fit into memory; join "
            f"them to at most {_PLAYERS:,} groups with groups=..., such as the segments of a "
            "picture"
        )
    if not is_real(penalty) or not 0 <= penalty < math.inf:
        raise InputError(f"penalty={penalty!r}; give a number from 0, such as 0.001")
    if width is not None and (not is_real(width) or not 0 < width < math.inf):
        raise InputError(f"kernel_width={width!r}; give a number above 0")
    if samples is not None and not is_whole(samples):
        raise InputError(f"samples={samples!r}; give a whole number of evaluations for each row")
    least = _EACH * (players + 1)
    budget = max(_SAMPLES, least) if samples is None else int(samples)
    if budget < min(least, 2**players):
        raise InputError(
            f"samples={samples!r} is too few for {players} features: {min(least, 2**players)} are "
            "the least; give more, or join features with groups=..."
        )
    found = _WIDTH * math.sqrt(players) if width is None else float(width)
    every = 2**players <= budget
    if _odds(found) < _TELLING if every else budget * _probability(found) ** 2 < _TOGETHER:
        raise InputError(
            f"kernel_width={width!r} is so narrow that too few of {min(budget, 2**players):,} "
            "coalitions replace several features; give a larger one, or more samples"
        )
    return budget, found


# -- coalitions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Coalitions:
    """Coalitions and what they weigh.

    Attributes
    ----------
    masks
        Which features stay: (coalitions, features), bool.
    weights
        Shape (coalitions,), float64.
    paired
        Whether the second half is, one by one, opposite to the first, and all are drawn by chance.
    """

    masks: Tensor
    weights: Tensor
    paired: bool


def _probability(width: float) -> float:
    """Return how often a feature is replaced in coalitions drawn as the kernel weighs them."""
    odds = _odds(width)
    return odds / (1 + odds)


def _odds(width: float) -> float:
    """Return what one more replaced feature does to a coalition's weight."""
    return math.exp(-(1 / width) * (1 / width))


def _all(players: int, width: float) -> _Coalitions:
    """Return all coalitions, weighted with the kernel."""
    numbers = torch.arange(2**players)[:, None]
    masks = (numbers >> torch.arange(players)) & 1 == 1
    weights = _odds(width) ** (~masks).sum(1).double()
    return _Coalitions(masks, weights, paired=False)


def _drawn(players: int, width: float, pairs: int, seed: int) -> _Coalitions:
    """Return pairs of coalitions drawn as the kernel weighs them."""
    features, replaced = torch.arange(players), _probability(width)
    one, other = [], []
    for part in torch.split(torch.arange(pairs), max(1, _NUMBERS // players)):
        chance = uniform(seed, part[:, None], features)
        one.append(chance > replaced)
        other.append(1 - chance > replaced)
    masks = torch.cat([*one, *other])
    return _Coalitions(masks, torch.ones(2 * pairs, dtype=torch.float64), paired=True)


def _scores(block: Block, masks: Tensor, label: Tensor) -> Tensor:
    """Return the scores of coalitions: (coalitions, rows, targets), float64."""
    found = Kept()
    block.values(Coalitions(masks, label, block.n, block.baselines, shared=False), found)
    scores = found.scores.reshape(len(masks), block.n, -1).double()
    if not bool(torch.isfinite(scores).all()):
        raise ModelError(
            "the model returns NaN or infinite values when some features are replaced by those of "
            "the baseline; mend it, or choose another baseline"
        )
    return scores


# -- the regression --------------------------------------------------------------------------------


class _Fit:
    """A weighted ridge regression on coalitions, for any number of rows and targets at once.

    Parameters
    ----------
    masks, weights, paired
        As of `_Coalitions`.
    penalty
        Relative to the mean variance of the features.

    Raises
    ------
    InputError
        If the features cannot be told apart.
    """

    def __init__(self, masks: Tensor, weights: Tensor, penalty: float, paired: bool) -> None:
        self.masks, self._paired = masks, paired
        self._weights = weights / weights.sum()
        self._mean = weights.new_zeros(masks.shape[1])
        for part in self._parts():
            self._mean += self._weights[part] @ masks[part].double()
        products = weights.new_zeros(masks.shape[1], masks.shape[1])
        for part in self._parts():
            centred = self._centred(part)
            products += centred.T @ (centred * self._weights[part, None])
        self._ridge = penalty * float(products.diagonal().mean())
        products.diagonal().add_(self._ridge)
        triangle, wrong = torch.linalg.cholesky_ex(products)
        if int(wrong) or not bool(torch.isfinite(triangle).all()):
            raise InputError(
                f"{len(masks)} samples do not tell {masks.shape[1]} features apart; give more, a "
                "larger kernel_width or a larger penalty"
            )
        self._inverse = torch.cholesky_inverse(triangle)

    def of(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients and their standard errors.

        Parameters
        ----------
        scores
            Shape (coalitions, fits), float64.

        Returns
        -------
        coefficients, standard errors
            Shape (features, fits). No error is left where all coalitions are there.
        """
        centred = scores - self._weights @ scores
        moments = scores.new_zeros(self.masks.shape[1], scores.shape[1])
        for part in self._parts():
            moments += self._centred(part).T @ (centred[part] * self._weights[part, None])
        found = self._inverse @ moments
        if not self._paired:
            return found, torch.zeros_like(found)
        return found, self._error(centred, found)

    def _error(self, centred: Tensor, found: Tensor) -> Tensor:
        """Return standard errors: the sandwich of Bell and McCaffrey, a pair for a cluster.

        What a pair leaves is smaller than its error by as much as the pair moved the fit.
        """
        count = len(self.masks)
        variance = torch.zeros_like(found)
        for part in self._parts(pairs=True):
            sides = part, part + count // 2
            features = [self._centred(side) for side in sides]
            weighed = [side @ self._inverse / count for side in features]
            left = [centred[s] - f @ found for s, f in zip(sides, features, strict=True)]
            pull = torch.stack([(w[:, None] * torch.stack(features, 1)).sum(2) for w in weighed], 1)
            grown = _root_of_inverse(1 / count + pull)
            one, other = (
                grown[:, i, 0, None] * left[0] + grown[:, i, 1, None] * left[1] for i in (0, 1)
            )
            variance += (weighed[0] ** 2).T @ one**2 + (weighed[1] ** 2).T @ other**2
            variance += 2 * (weighed[0] * weighed[1]).T @ (one * other)
        # The penalty leaves a mean in what pairs contribute, which is no variance.
        mean = self._ridge * (self._inverse @ found)
        return (variance - 2 * mean**2 / count).clamp_min(0).sqrt()

    def _centred(self, part: Tensor) -> Tensor:
        return self.masks[part].double() - self._mean

    def _parts(self, *, pairs: bool = False) -> Iterator[Tensor]:
        """Yield the numbers of coalitions, or of pairs, as many as may be worked on at a time."""
        count = len(self.masks) // (2 if pairs else 1)
        numbers = torch.arange(count, device=self.masks.device)
        yield from torch.split(numbers, max(1, _NUMBERS // self.masks.shape[1]))


def _root_of_inverse(pull: Tensor) -> Tensor:
    """Return (1 - pull)^(-1/2) of symmetric matrices of 2 x 2."""
    size, vectors = torch.linalg.eigh(torch.eye(2, dtype=pull.dtype, device=pull.device) - pull)
    root: Tensor = vectors * size.clamp_min(1e-6).rsqrt()[:, None] @ vectors.mT
    return root
