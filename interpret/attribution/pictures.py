"""Integrals along paths made for pictures: from a blurred picture, or where the gradient is small.

A straight path from a black picture leads through pictures that gather noise. Blur IG comes from
the picture's own blurred self; guided IG goes first where the score hardly moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.bisection import TYPICAL
from pellucid.interpret.attribution.quadrature import integrate, points_of
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.attribution.walk import Standing, Walk
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.points import Leaves, Sink
from pellucid.interpret.tensors import flat

EDGES = ("reflect", "zero")
# A Gaussian is cut off where it is below 2e-8 of its top: nothing that float32 could tell.
_REACH = 6
# Wider than so many times the picture, a blur has nothing left to blur, and many reflections.
_WIDEST = 10


def pictures(block: Block, method: str) -> None:
    """Raise an `InputError` unless everything here is a picture at the input."""
    if block.place.inside:
        raise InputError(
            f"{method} is made of the picture itself, and at= names layer {block.place.name!r}; "
            "leave at out"
        )
    for slot, leaf in zip(block.place.slots, block.inputs, strict=True):
        last = leaf.ndim == 4 and block.engine.model.channels_last
        if slot.layer is not None or leaf.ndim not in (3, 4) or last:
            shown = f"(samples, {', '.join(map(str, leaf.shape[1:]))})"
            raise InputError(
                f"{method} needs pictures, (samples, channels, rows, columns) or (samples, rows, "
                f"columns), and an attributed input has shape {shown}; "
                "choose the picture with attribute=..., or use method='integrated_gradients'"
            )


# -- from blurred to sharp -------------------------------------------------------------------------


@method(
    baseline=False,
    complete=True,
    cost="some 30 to 100 gradients until the tolerance is met, or as many as steps",
    promise="estimates its own error for each row, with the completeness residual as a check; "
    "compares with the blurred picture, whose colours and rough shapes get no credit",
    paper="Xu et al. 2020, https://arxiv.org/abs/2004.03383",
    points=points_of,
    kept=lambda options: 0 if "steps" in options else 2 * TYPICAL,
    where="input",
    typical=40,
    trial={"steps": 2},
)
def blur_ig(
    block: Block,
    *,
    max_sigma: float | None = None,
    edge: str = "reflect",
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> Attribution:
    """Integrate the gradient along the path from the blurred picture to the sharp one.

    Parameters
    ----------
    block
        Pictures, at the input.
    max_sigma
        Standard deviation of the Gaussian where the path begins, in pixels. By default a quarter of
        the longer side: 56 for a picture of 224 x 224, where the paper's authors take 50.
    edge
        What lies beyond the picture's edge: ``"reflect"``, the picture mirrored, which keeps its
        brightness; or ``"zero"``, as in the authors' code, where it fades to zeros.
    tolerance, budget, steps, rule
        As of integrated gradients; the only fixed rule is the trapezoid's.

    Raises
    ------
    InputError
        If an input is no picture, or an option is out of range.
    """
    pictures(block, "blur_ig")
    side = max(size for leaf in block.inputs for size in leaf.shape[-2:])
    widest = side / 4 if max_sigma is None else max_sigma
    if not is_real(widest) or not 0 < widest <= _WIDEST * side:
        raise InputError(
            f"max_sigma={max_sigma!r}; give the widest blur's standard deviation in pixels, above "
            f"0 and up to {_WIDEST} times the longer side ({side})"
        )
    if edge not in EDGES:
        raise InputError(f"edge={edge!r} is not known; use {', '.join(map(repr, EDGES))}")
    curve = _Sharpening(block, float(widest), edge)
    (found,) = integrate(curve, tolerance=tolerance, budget=budget, steps=steps, rule=rule)
    found.settings.update(
        baseline=f"the picture blurred with sigma {widest:g} (edge: {edge})",
        max_sigma=float(widest),
        edge=edge,
    )
    return found


class _Sharpening:
    """From each picture, blurred as much as any, to itself: a curve."""

    each, held = 1, True

    def __init__(self, block: Block, widest: float, edge: str) -> None:
        self._widest, self._edge = widest, edge
        sigma = torch.tensor([widest], dtype=torch.float64, device=block.engine.device)
        self.block = block.against(
            tuple(blurred(leaf, sigma, widest, edge) for leaf in block.inputs)
        )

    def evaluate(self, path: Tensor, step: Tensor, into: Sink) -> None:
        """Evaluate score, gradient and positions at steps of these paths."""
        self._evaluate(path, step, into, 1)

    def everywhere(self, nodes: Tensor, into: Sink) -> None:
        """Evaluate all paths at the same steps, one path after another."""
        path = torch.arange(self.block.n, device=nodes.device)
        steps = len(nodes)
        self._evaluate(path.repeat_interleave(steps), nodes.repeat(len(path)), into, steps)

    def _evaluate(self, path: Tensor, step: Tensor, into: Sink, together: int) -> None:
        # Equal steps are equal factors of 1 + sigma: a blur of 50 pixels and one of 60 hardly
        # differ, and below one pixel nothing is left to come.
        sigma = (1 + self._widest) ** (1 - step) - 1
        points = _Blurred(path, sigma, self._widest, self._edge)
        self.block.along(points, (self.block.place,), into, together=together)

    def direction(self, path: Tensor) -> Tensor:
        """Return ones, of the positions' shape: these are read."""
        return torch.ones_like(flat(self.block.inputs)[path])

    def parts(self, vectors: Tensor) -> list[Tensor]:
        """Return the values of the only place."""
        return [vectors]


@dataclass(frozen=True)
class _Blurred:
    """Pictures, each blurred with its own sigma.

    Parameters
    ----------
    row, sigma
        The row and the Gaussian's standard deviation, in pixels, of each point: (points,).
    widest, edge
        As of `blurred`.
    """

    row: Tensor
    sigma: Tensor
    widest: float
    edge: str

    def __len__(self) -> int:
        return len(self.row)

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return self.row[index]

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each slot."""
        row, sigma = self.row[index], self.sigma[index]
        return tuple(blurred(leaf[row], sigma, self.widest, self.edge) for leaf in block.inputs)


def blurred(pictures: Tensor, sigma: Tensor, widest: float, edge: str) -> Tensor:
    """Return pictures, blurred with a Gaussian along rows and columns.

    Parameters
    ----------
    pictures
        Shape (pictures, channels, rows, columns) or (pictures, rows, columns).
    sigma
        Standard deviations in pixels, (pictures,) or one for all, (1,); 0 leaves a picture as it
        is, to the bit.
    widest
        None of them is larger.
    edge
        ``"reflect"`` or ``"zero"``.
    """
    down, across = (
        _weights(size, sigma, widest, edge).to(pictures.dtype) for size in pictures.shape[-2:]
    )
    if pictures.ndim == 4:
        down, across = down[:, None], across[:, None]
    # Mirrored, one colour stays what it is: so only what differs from a corner's is blurred, and
    # a picture of one colour does not move by what rounding does to it.
    level = pictures[..., :1, :1] if edge == "reflect" else torch.zeros_like(pictures[..., :1, :1])
    # The caller's autocast is for the model, not for its inputs.
    with torch.autocast(pictures.device.type, enabled=False):
        found = level + down @ (pictures - level) @ across.mT
    sharp = (sigma == 0).reshape(-1, *[1] * (pictures.ndim - 1))
    return torch.where(sharp, pictures, found)


def _weights(size: int, sigma: Tensor, widest: float, edge: str) -> Tensor:
    """Return what each place takes from each: (sigmas, size, size).

    A sampled Gaussian, normalised over the whole line, not over what lies within the picture.
    """
    place = torch.arange(size, device=sigma.device)
    # Mirrored at both ends, the line repeats itself after twice its length.
    period = 2 * size
    images = 1 + int(_REACH * widest / period)
    shift = period * torch.arange(-images, images + 1, device=sigma.device)
    apart = torch.arange(period, device=sigma.device) + shift[:, None]
    gauss = (-0.5 * (apart / sigma.clamp_min(1e-6)[:, None, None]) ** 2).exp()
    repeated = gauss.sum(1)
    total = repeated.sum(1)[:, None, None]
    if edge == "zero":
        return gauss[:, images, (place[:, None] - place).abs()] / total
    mirrored = repeated[:, place[:, None] + place + 1]
    return (repeated[:, (place[:, None] - place).abs()] + mirrored) / total


# -- where the gradient is small -------------------------------------------------------------------

_RULES = ("trapezoid", "left")
# A round of fewer features would take more rounds than a picture is worth.
_SMALLEST = 0.01


@method(
    baseline=True,
    complete=True,
    cost="as many gradients as steps (200), one after another for each row",
    promise="estimates the error of the integral along the path that its steps took, with the "
    "completeness residual as a check; other steps take another path, and more of them need not be "
    "closer: it goes to and fro across the edges of linear pieces",
    paper="Kapishnikov et al. 2021, https://arxiv.org/abs/2106.09788",
    points=lambda options: _steps(options.get("steps", 200)) + 1,
    kept=lambda _: 32,
    several_targets=False,
    typical=200,
    trial={"steps": 2},
)
def guided_ig(
    block: Block,
    *,
    steps: int = 200,
    fraction: float = 0.1,
    max_dist: float = 0.02,
    rule: str = "trapezoid",
) -> Attribution:
    """Integrate along a path that changes first what hardly changes the score.

    Each step takes an equal part of the L1 distance that is left from the baseline to the input; it
    is gone by the features with the smallest gradients there.

    Parameters
    ----------
    block
        Rows at some place, a picture or not.
    steps
        How many there are.
    fraction
        Which share of the features moves at a time; more follow where these cannot go far enough.
    max_dist
        How far a feature may be ahead of the straight path, or behind, as a share of its own way: 0
        is the straight path, 1 leaves all free.
    rule
        ``"trapezoid"`` takes the mean gradient at both ends of each step; ``"left"`` that at its
        beginning, as the authors' code does, which gives no estimate of the error.

    Raises
    ------
    InputError
        If an option is out of range.
    """
    if not is_real(fraction) or not _SMALLEST <= fraction <= 1:
        raise InputError(
            f"fraction={fraction!r}; give the share of the features that moves at a time, "
            f"{_SMALLEST:g} to 1"
        )
    if not is_real(max_dist) or not 0 <= max_dist <= 1:
        raise InputError(
            f"max_dist={max_dist!r}; give how far a feature may be from the straight path, 0 to 1"
        )
    if rule not in _RULES:
        raise InputError(f"rule={rule!r} is not known; use {', '.join(map(repr, _RULES))}")
    walk = Walk(block, _steps(steps), float(fraction), float(max_dist))
    for step in range(walk.steps + 1):
        walk.step = step
        block.gradients(Standing(walk.here), walk)
    values = walk.left if rule == "left" else (walk.left + walk.right) / 2
    error, scale = walk.error(values) if rule == "trapezoid" else (None, None)
    return Attribution(
        block.reduced(values)[:, None].to(walk.slope.dtype),
        walk.prediction,
        walk.baseline_prediction,
        error,
        {
            "steps": walk.steps,
            "fraction": walk.fraction,
            "max_dist": walk.max_dist,
            "rule": rule,
        },
        scale,
    )


def _steps(steps: Any) -> int:
    """Return the number of steps, checked."""
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps={steps!r}; give a whole number from 1")
    return int(steps)
