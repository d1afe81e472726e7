"""Class activation maps: where in the picture the channels of a layer that count are active.

All are made at a layer whose output has rows and columns, at its own resolution. Those of one pass
take the layer's activation A and the score's gradient G there from `block.here`, which all layers
share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, isqrt, prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.errors import InputError
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_whole
from pellucid.interpret.points import Kept, Leaves

_COST = "1 forward and 1 backward pass, shared by all layers"
_COARSE = "a coarse map of where the layer's channels that raise the score are active; not complete"


@method(
    baseline=False,
    complete=False,
    cost=_COST,
    promise=f"{_COARSE}, and it may light up what the model did not use",
    paper="Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391",
    points=lambda _: 1,
    kept=lambda _: 2,
    where="map",
)
def grad_cam(
    block: Block, *, relu: bool = True, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each channel with its mean gradient (Grad-CAM).

    Parameters
    ----------
    block
        Rows, at a layer.
    relu
        Whether to leave out what lowers the score, as the paper does.
    grid, skip
        Of a layer of tokens: how many (rows, columns) of patches they stand for, and how many
        tokens come before those; found out where the picture's proportions tell.
    """
    maps = _Maps.of(block, grid, skip)
    return maps.weighted(maps.gradient.mean((-2, -1)), relu=relu)


@method(
    baseline=False,
    complete=False,
    cost=_COST,
    promise=f"{_COARSE}; made for several objects of a class in one picture",
    paper="Chattopadhyay et al. 2018, https://arxiv.org/abs/1710.11063",
    points=lambda _: 1,
    kept=lambda _: 6,
    where="map",
)
def grad_cam_plus_plus(
    block: Block, *, relu: bool = True, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each channel with its positive gradients, most where few are active (Grad-CAM++).

    The score is taken as an exponent, so that its higher derivatives are powers of the gradient
    (equation 19 of the paper). Parameters as of `grad_cam`.
    """
    maps = _Maps.of(block, grid, skip)
    slope, active = maps.gradient, maps.activation.sum((-2, -1), keepdim=True)[:, None]
    share = slope**2 / (2 * slope**2 + active * slope**3 + 1e-6)
    return maps.weighted((slope.clamp(min=0) * share).sum((-2, -1)), relu=relu)


@method(
    baseline=False,
    complete=False,
    cost=_COST,
    promise=f"{_COARSE}; finer than grad_cam in early layers",
    paper="Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943",
    points=lambda _: 1,
    kept=lambda _: 3,
    where="map",
)
def layer_cam(
    block: Block, *, relu: bool = True, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each activation with its own gradient where that is positive (LayerCAM).

    Parameters as of `grad_cam`.
    """
    maps = _Maps.of(block, grid, skip)
    values = (maps.gradient.clamp(min=0) * maps.activation[:, None]).sum(2)
    return maps.attribution(values, relu=relu)


@method(
    baseline=False,
    complete=False,
    cost=_COST,
    promise=f"{_COARSE}, except in front of a network's only linear layer: there it "
    "is what each place adds to the score, less the bias",
    paper="Draelos & Carin 2020, https://arxiv.org/abs/2011.08891",
    points=lambda _: 1,
    kept=lambda _: 2,
    where="map",
)
def hires_cam(
    block: Block, *, relu: bool = False, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each activation with its own gradient (HiResCAM): signed, as in the paper.

    Parameters as of `grad_cam`.
    """
    maps = _Maps.of(block, grid, skip)
    return maps.attribution((maps.gradient * maps.activation[:, None]).sum(2), relu=relu)


@method(
    baseline=False,
    complete=False,
    cost=_COST,
    promise=f"{_COARSE}; for layers behind a ReLU: where a channel's activations cancel out, its "
    "weight has no bound",
    paper="Fu et al. 2020, https://arxiv.org/abs/2008.02312",
    points=lambda _: 1,
    kept=lambda _: 3,
    where="map",
)
def xgrad_cam(
    block: Block, *, relu: bool = True, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each channel with its gradient where it is active (XGrad-CAM).

    Parameters as of `grad_cam`.
    """
    maps = _Maps.of(block, grid, skip)
    active = maps.activation.sum((-2, -1))[:, None] + 1e-7
    used = (maps.gradient * maps.activation[:, None]).sum((-2, -1))
    return maps.weighted(used / active, relu=relu)


@method(
    baseline=False,
    complete=False,
    cost="1 forward pass shared by all layers, and one for each channel of each; none backward",
    promise=f"{_COARSE}; no gradients, but pictures darkened as the model may never have seen them",
    paper="Wang et al. 2020, https://arxiv.org/abs/1910.01279",
    points=lambda _: None,
    kept=lambda _: 2,
    where="map",
    typical=64,
)
def score_cam(
    block: Block, *, relu: bool = True, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Weigh each channel with the score of the picture seen through it (Score-CAM).

    The picture is multiplied by the channel's activation, brought to the picture's size and to the
    range from 0 to 1; the weights are the softmax of the scores over the channels. Parameters as of
    `grad_cam`.
    """
    _check_pictures(block)
    maps = _Maps.of(block, grid, skip, gradient=False)
    scores = Kept()
    block.source.values(_Seen(maps.activation), scores)
    channels = maps.activation.shape[1]
    weights = scores.scores.reshape(block.n, channels, -1).softmax(1).transpose(1, 2)
    return maps.weighted(weights, relu=relu)


@method(
    baseline=False,
    complete=False,
    cost="1 forward pass, shared by all layers; none backward",
    promise="where the layer's channels vary together, whatever the target: no class is explained",
    paper="Muhammad & Yeasin 2020, https://arxiv.org/abs/2008.00299; sign: Chung & Ying 2025, "
    "https://doi.org/10.3390/app15137562",
    points=lambda _: 1,
    kept=lambda _: 3,
    where="map",
)
def eigen_cam(
    block: Block, *, relu: bool = False, grid: Sequence[int] | None = None, skip: int | None = None
) -> Attribution:
    """Project the activations of each place on their first principal component (Eigen-CAM).

    A component has no sign of its own: it is turned so that the largest value is positive.
    Parameters as of `grad_cam`.
    """
    maps = _Maps.of(block, grid, skip, gradient=False)

    def project(rows: Tensor) -> Tensor:
        there = maps.activation[rows].flatten(2).transpose(1, 2)  # rows, places, channels
        there = there - there.mean(1, keepdim=True)
        finite = there.isfinite().all(-1).all(-1)[:, None]
        left, size, _ = torch.linalg.svd(there.where(finite[..., None], 0), full_matrices=False)
        found = left[..., 0] * size[:, :1]
        turned = found.amin(-1, keepdim=True).abs() > found.amax(-1, keepdim=True).abs()
        return torch.where(turned, -found, found).where(finite, torch.nan)

    values = block.each(block.n, project)[:, None].expand(-1, block.targets, -1)
    return maps.attribution(values, relu=relu)


@dataclass(frozen=True)
class _Maps:
    """What is at a layer, as maps: (rows, channels, h, w).

    Attributes
    ----------
    scores
        Of the rows as they are: (rows, targets).
    activation
        Shape (rows, channels, h, w).
    gradient
        Shape (rows, targets, channels, h, w); empty where it was not asked for.
    settings
        What the tokens were taken for.
    """

    scores: Tensor
    activation: Tensor
    gradient: Tensor
    settings: dict[str, Any]

    @classmethod
    def of(cls, block: Block, grid: Any, skip: Any, *, gradient: bool = True) -> _Maps:
        """Read the layer of a block; tokens become maps.

        Raises
        ------
        InputError
            If there are no rows and columns in it.
        """
        ((shape, _),) = block.engine.shapes[block.place.name]
        if len(shape) == 3 and (grid is not None or skip is not None):
            raise InputError(
                f"grid and skip say how tokens lie in a picture, and layer {block.place.name!r} "
                "has rows and columns of its own; leave them out"
            )
        if len(shape) not in (2, 3):
            raise InputError(
                f"layer {block.place.name!r} puts out {shape} for each sample; a class activation "
                "map needs (channels, rows, columns), or (tokens, features) of a picture's patches"
            )
        tokens = None if len(shape) == 3 else _patches(shape[0], block, grid, skip)
        here = block.here(gradient=gradient)
        (activation,) = here.activation
        slopes = here.gradient
        if gradient:
            slopes = slopes.reshape(*slopes.shape[:2], *shape)
        if tokens is None:
            if block.engine.model.channels_last:
                activation = activation.movedim(-1, 1)
                slopes = slopes.movedim(-1, 2) if gradient else slopes
            return cls(here.scores, activation, slopes, {})
        first, size = tokens

        def picture(values: Tensor) -> Tensor:
            channels = values[..., first:, :].transpose(-1, -2)
            return channels.reshape(*channels.shape[:-1], *size)

        slopes = picture(slopes) if gradient else slopes
        settings = {"grid": size, "skip": first}
        return cls(here.scores, picture(activation), slopes, settings)

    def weighted(self, weights: Tensor, *, relu: bool) -> Attribution:
        """Return the sum of the channels, each with its weight: (rows, targets, channels)."""
        values = torch.bmm(weights.to(self.activation.dtype), self.activation.flatten(2))
        return self.attribution(values, relu=relu)

    def attribution(self, values: Tensor, *, relu: bool) -> Attribution:
        """Return values (rows, targets, h, w), or flat, as what a method returns."""
        values = values.reshape(*values.shape[:2], -1)
        return Attribution(
            values.clamp(min=0) if relu else values,
            self.scores,
            None,
            None,
            {"relu": bool(relu), "nonnegative": bool(relu), **self.settings},
            shape=tuple(self.activation.shape[-2:]),
            axes=("sample", "row", "column"),
        )


@dataclass(frozen=True)
class _Seen:
    """Each row's picture seen through each channel of a layer: one point for each of them.

    Parameters
    ----------
    maps
        The channels, (rows, channels, h, w).
    """

    maps: Tensor

    def __len__(self) -> int:
        return prod(self.maps.shape[:2])

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index // self.maps.shape[1]

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each attributed input."""
        rows, channels = self.rows(index), index % self.maps.shape[1]
        channel = self.maps[rows, channels][:, None]
        made = []
        for leaf in block.inputs:
            mask = interpolate(channel, leaf.shape[-2:], mode="bilinear", align_corners=True)
            low, high = mask.amin((-2, -1), keepdim=True), mask.amax((-2, -1), keepdim=True)
            made.append(leaf[rows] * ((mask - low) / (high - low + 1e-8)).to(leaf.dtype))
        return tuple(made)


def _check_pictures(block: Block) -> None:
    """Raise an `InputError` where an input is no picture that could be seen through a channel."""
    last = block.engine.model.channels_last
    wrong = [tuple(leaf.shape) for leaf in block.source.inputs if leaf.ndim != 4 or last]
    if wrong:
        raise InputError(
            "score_cam looks at pictures (samples, channels, rows, columns) through the layer's "
            f"channels, and an attributed input has shape {wrong[0]}; choose the picture with "
            "attribute=..., or use grad_cam, which reads the layer alone"
        )


def _patches(tokens: int, block: Block, grid: Any, skip: Any) -> tuple[int, tuple[int, int]]:
    """Return how many tokens come before those of the patches, and how these lie.

    Raises
    ------
    InputError
        If what is given does not fit, or nothing is given and the picture's proportions do not say.
    """
    layer = f"layer {block.place.name!r} puts out {tokens} tokens"
    if skip is not None and not (is_whole(skip) and 0 <= skip < tokens):
        raise InputError(
            f"skip={skip!r}, and {layer}: give how many of them come before the patches, 1 for a "
            "class token"
        )
    if grid is not None:
        sizes = tuple(grid) if isinstance(grid, Sequence) and not isinstance(grid, str) else ()
        if len(sizes) != 2 or not all(is_whole(size) and size > 0 for size in sizes):
            raise InputError(f"grid={grid!r}; give how many (rows, columns) of patches there are")
        first = tokens - prod(sizes) if skip is None else int(skip)
        if first < 0 or first + prod(sizes) != tokens:
            raise InputError(
                f"grid={grid!r} is {prod(sizes)} patches, and {layer}"
                + ("" if skip is None else f", {skip} of them to skip")
            )
        return first, (int(sizes[0]), int(sizes[1]))
    spatial = slice(1, 3) if block.engine.model.channels_last else slice(2, 4)
    height, width = next(
        (leaf.shape[spatial] for leaf in block.source.inputs if leaf.ndim == 4), (1, 1)
    )
    rows, columns = height // gcd(height, width), width // gcd(height, width)
    for first in (1, 0) if skip is None else (int(skip),):
        scale = isqrt((tokens - first) // (rows * columns))
        if scale and rows * columns * scale**2 == tokens - first:
            return first, (rows * scale, columns * scale)
    raise InputError(
        f"{layer}, which do not lie in a grid of the picture's proportions ({height} x {width}); "
        "give grid=(rows, columns) of the patches"
        + ("" if skip is None else f" (after {skip} to skip)")
    )
