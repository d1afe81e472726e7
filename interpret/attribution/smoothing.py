"""Noise around the input: any method, averaged over noisy copies of each row."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution import registry
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.draws import normal
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.points import Leaves


def _kept(options: dict[str, Any]) -> int:
    inner = registry.find(options.get("of", "saliency"))
    return inner.kept({k: v for k, v in options.items() if k in inner.options})


_of_noise = functools.partial(
    method,
    baseline=False,
    complete=False,
    cost="as many times the cost of the method that it wraps (saliency) as draws (50)",
    promise="a standard error for every value; what is averaged is as good as the wrapped method",
    points=lambda _: None,
    kept=_kept,
    wraps=True,
    sampled=True,
    typical=50,
    trial={"draws": 2},
)


@_of_noise(paper="Smilkov et al. 2017, https://arxiv.org/abs/1706.03825")
def smoothgrad(
    block: Block,
    *,
    of: str = "saliency",
    draws: int = 50,
    noise: float = 0.15,
    stdev: float | None = None,
    **options: Any,
) -> Attribution:
    """Average a method's values over copies of each row with normal noise added to the input.

    `noise` is the standard deviation as a share of each row's range (largest less smallest value of
    an input); `stdev` gives it in the input's own units instead. Further options are those of the
    method.
    """
    moments, settings = _smoothed(block, of, draws, noise, stdev, options)
    mean = moments.raw(1)
    variance = (moments.raw(2) - mean**2).clamp_min(0)
    return _result(block, mean, variance / (draws - 1), settings)


@_of_noise(paper="Hooker et al. 2019, https://arxiv.org/abs/1806.10758")
def smoothgrad_squared(
    block: Block,
    *,
    of: str = "saliency",
    draws: int = 50,
    noise: float = 0.15,
    stdev: float | None = None,
    **options: Any,
) -> Attribution:
    """Average the squares of a method's values over noisy copies of each row.

    Options as of `smoothgrad`.
    """
    moments, settings = _smoothed(block, of, draws, noise, stdev, options)
    mean = moments.raw(2)
    variance = (moments.raw(4) - mean**2).clamp_min(0)
    return _result(block, mean, variance / (draws - 1), settings)


@_of_noise(paper="Adebayo et al. 2018, https://arxiv.org/abs/1810.03292")
def vargrad(
    block: Block,
    *,
    of: str = "saliency",
    draws: int = 50,
    noise: float = 0.15,
    stdev: float | None = None,
    **options: Any,
) -> Attribution:
    """Return the variance of a method's values over noisy copies of each row.

    Options as of `smoothgrad`.
    """
    moments, settings = _smoothed(block, of, draws, noise, stdev, options)
    mean = moments.raw(1)
    variance = (moments.raw(2) - mean**2).clamp_min(0)
    fourth = moments.raw(4) - 4 * mean * moments.raw(3) + 6 * mean**2 * moments.raw(2) - 3 * mean**4
    return _result(block, variance, (fourth - variance**2).clamp_min(0) / draws, settings)


def _result(
    block: Block, values: Tensor, variance: Tensor, settings: dict[str, Any]
) -> Attribution:
    prediction = block.prediction()
    dtype = prediction.dtype
    return Attribution(
        values.to(dtype),
        prediction,
        None,
        None,
        settings,
        standard_error=variance.sqrt().to(dtype),
    )


class _Moments:
    """Sums of the powers of what was drawn."""

    def __init__(self, draws: int) -> None:
        self._draws = draws
        self._sums: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Add some draws of each row: (rows, draws, ...)."""
        power = whole = values.double()
        for k in range(4):
            if k:
                power = power * whole
            if len(self._sums) <= k:
                self._sums.append(power.sum(1))
            else:
                self._sums[k] += power.sum(1)

    def raw(self, power: int) -> Tensor:
        """Return the mean of a power over all draws."""
        return self._sums[power - 1] / self._draws


def _smoothed(
    block: Block, of: str, draws: int, noise: float, stdev: float | None, options: dict[str, Any]
) -> tuple[_Moments, dict[str, Any]]:
    inner = registry.find(of)
    _check(draws, noise, stdev)
    source, seed = block.source, block.engine.seed
    widths = _widths(source, noise, stdev)
    moments = _Moments(draws)
    settings: dict[str, Any] = {}
    # Few rows go through the model several draws at a time, many rows one by one.
    together = min(draws, max(1, block.engine.chunk // block.n))
    for first in range(0, draws, together):
        count = min(together, draws - first)
        numbers = torch.arange(block.n, device=block.engine.device).repeat_interleave(count)
        draw = first + torch.arange(count, device=numbers.device).repeat(block.n)
        noisy = _noisy(source, numbers, draw, widths, seed)
        found = inner.at(source.changed(noisy, numbers).at(block.place), **options)
        moments.add(found.values.reshape(block.n, count, *found.values.shape[1:]))
        settings = found.settings
    told = {"noise": float(noise)} if stdev is None else {"stdev": float(stdev)}
    return moments, {**settings, "of": inner.name, "draws": int(draws), **told}


def _check(draws: int, noise: float, stdev: float | None) -> None:
    if not is_whole(draws) or draws < 2:
        raise InputError(f"draws={draws!r}; give a whole number from 2, for a standard error")
    for name, value in (("noise", noise), ("stdev", stdev)):
        if value is not None and (not is_real(value) or not value > 0):
            raise InputError(f"{name}={value!r}; give a number above 0")


def _widths(source: Block, noise: float, stdev: float | None) -> Leaves:
    """Return the noise's standard deviation at each slot: (rows, 1)."""
    widths = []
    for leaf in source.inputs:
        flat = leaf.reshape(len(leaf), -1)
        if stdev is not None:
            widths.append(torch.full_like(flat[:, :1], stdev))
        else:
            widths.append(noise * (flat.amax(1, keepdim=True) - flat.amin(1, keepdim=True)))
    return tuple(widths)


def _noisy(source: Block, numbers: Tensor, draw: Tensor, widths: Leaves, seed: int) -> Leaves:
    """Return rows with noise that belongs to the row, the draw, and the place of each value."""
    made, first = [], 0
    for leaf, width in zip(source.inputs, widths, strict=True):
        size = leaf[0].numel()
        place = torch.arange(first, first + size, device=leaf.device)
        drawn = normal(seed, source.numbers[numbers][:, None], draw[:, None], place)
        here = leaf[numbers].reshape(len(numbers), size)
        made.append((here + drawn.to(leaf.dtype) * width[numbers]).reshape(-1, *leaf.shape[1:]))
        first += size
    return tuple(made)
