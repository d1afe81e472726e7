"""What the score loses when a part of the input is replaced by the baseline.

They ask for scores only, so they work for anything that predicts. A part is a feature, a group of
features, or what lies in a window that slides over the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.games import labels
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_whole
from pellucid.interpret.places import Slot, input_axes, layer_axes
from pellucid.interpret.points import Kept, Leaves

# One by one, more features than these are hours of a network's work that nobody meant to ask for.
_FEATURES = 16_384


@method(
    baseline=True,
    complete=False,
    cost="1 evaluation for each feature or group, and 1 more",
    promise="exact to rounding; what a feature does only together with others is counted for each "
    "of them, or for none where they can stand in for each other",
    paper="Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901; Covert et al. 2021, "
    "https://arxiv.org/abs/2011.14878",
    points=lambda _: None,
    kept=lambda _: 3,
    gradients=False,
    typical=64,
)
def feature_ablation(block: Block) -> Attribution:
    """Replace one feature, or one group, at a time: a value is what the score loses by it.

    Raises
    ------
    InputError
        If there are more than 16,384 features, and no groups.
    """
    label = labels(block)
    players, grouped = int(label.max()) + 1, block.engine.groups is not None
    if players > _FEATURES and not grouped:
        raise InputError(
            f"feature_ablation would evaluate the model {players:,} times for each row, once for "
            "each value; join them to groups with groups=..., such as the segments of a picture, "
            "or use method='occlusion'"
        )
    prediction, lost = _lost(block, _Players(label, block.inputs), players)
    return Attribution(
        lost.to(block.inputs[0].dtype),
        prediction,
        None,
        None,
        {},
        shape=(players,) if grouped else None,
        axes=("sample", "group") if grouped else None,
    )


@method(
    baseline=True,
    complete=False,
    cost="1 evaluation for each place of the window (49 of a picture by default), and 1 more",
    promise="exact to rounding, and as coarse as the window: what lies beside something important "
    "shares its value",
    paper="Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901",
    points=lambda _: None,
    kept=lambda _: 3,
    gradients=False,
    typical=49,
)
def occlusion(
    block: Block,
    *,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
) -> Attribution:
    """Slide a window over the input: a value is the mean loss over the windows that cover it.

    The window slides over rows and columns of a picture, all channels at once; over the steps of a
    sequence, (samples, steps, features), all features at once; over tokens; over the columns of a
    table. The last one ends at the edge, so that all are of the same size and everything is
    covered. Of several inputs it covers one at a time.

    Parameters
    ----------
    block
        Rows at some place.
    window
        How much it covers along each axis that it slides over: one number for all of them, or one
        for each; or one for each axis behind the samples, which lets it slide over all of these:
        ``(7, 7)`` for pictures (samples, rows, columns). By default a quarter of each.
    stride
        How far it moves, likewise; by default half of the window.

    Raises
    ------
    InputError
        If they do not fit the input, or leave gaps between windows.
    """
    windows = [
        _Window(leaf, *_axes(block, slot, leaf), window, stride)
        for slot, leaf in zip(block.place.slots, block.inputs, strict=True)
    ]
    many = [one.places for one in windows]
    prediction, lost = _lost(block, _Windows(windows), sum(many))
    parts = torch.split(lost.double(), many, dim=-1)
    values = [one.spread(part) for one, part in zip(windows, parts, strict=True)]
    sizes, strides = [one.sizes for one in windows], [one.strides for one in windows]
    one = len(windows) == 1
    return Attribution(
        torch.cat(values, dim=-1).to(block.inputs[0].dtype),
        prediction,
        None,
        None,
        {"window": sizes[0] if one else sizes, "stride": strides[0] if one else strides},
    )


class _Pieces(Protocol):
    """Parts of the input, by their numbers."""

    def masks(self, number: Tensor) -> Leaves:
        """Return for each slot where these parts are: (parts, ...), bool."""


@dataclass(frozen=True)
class _Without:
    """Points of each row without each part: part by part, in each row by row."""

    pieces: _Pieces
    many: int
    count: int

    def __len__(self) -> int:
        return self.many * self.count

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index % self.count

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each slot."""
        rows, masks = self.rows(index), self.pieces.masks(index // self.count)
        return tuple(
            torch.where(mask, start if len(start) == 1 else start.index_select(0, rows), end)
            for mask, start, end in zip(
                masks,
                block.baselines,
                (leaf.index_select(0, rows) for leaf in block.inputs),
                strict=True,
            )
        )


def _lost(block: Block, pieces: _Pieces, many: int) -> tuple[Tensor, Tensor]:
    """Return the scores, (rows, targets), and what they lose by each part: (..., parts)."""
    without = Kept()
    block.values(_Without(pieces, many, block.n), without)
    prediction = block.prediction()
    scores = without.scores.reshape(many, block.n, -1)
    return prediction, (prediction - scores).movedim(0, -1)


@dataclass(frozen=True)
class _Players:
    """Features, or groups of them: the player of each feature is given as a label."""

    label: Tensor
    inputs: Leaves

    def masks(self, number: Tensor) -> Leaves:
        """Return for each slot where these parts are: (parts, ...), bool."""
        sizes = [leaf[0].numel() for leaf in self.inputs]
        whole = torch.split(self.label == number[:, None], sizes, dim=1)
        return tuple(
            mask.reshape(-1, *leaf.shape[1:]) for mask, leaf in zip(whole, self.inputs, strict=True)
        )


# -- windows ---------------------------------------------------------------------------------------


def _axes(block: Block, slot: Slot, leaf: Tensor) -> tuple[int, list[int]]:
    """Return how many axes of values a slot has, and those that windows slide over by default."""
    if slot.layer is not None and not block.place.inside:
        return leaf.ndim - 2, list(range(leaf.ndim - 2))  # a token has one value, not a vector's
    if slot.layer is not None:
        module = block.engine.model.layer(slot.layer)
        names = layer_axes(tuple(leaf.shape[1:]), module, block.engine.model)[1:]
    else:
        axes = block.engine.inputs.axes(slot.path or "")
        names = input_axes(axes, block.engine.model)[1:]
    # Two axes without channels are steps and what there is at each, not a picture's.
    together = {"channel"} if "channel" in names or len(names) != 2 else {names[1]}
    return len(names), [i for i, name in enumerate(names) if name not in together]


class _Window:
    """A window's places in one slot.

    Parameters
    ----------
    leaf
        What is there, (rows, ...).
    ndim, slides
        How many of its axes behind the samples have values of their own, and over which of them
        windows slide if not told otherwise.
    window, stride
        As of `occlusion`.

    Attributes
    ----------
    sizes, strides
        How much it covers along each axis, and how far it moves there.
    first
        Where it begins along each axis: (places, axes).
    places
        How many there are.
    """

    def __init__(
        self, leaf: Tensor, ndim: int, slides: list[int], window: Any, stride: Any
    ) -> None:
        self._shape = tuple(leaf.shape[1 : 1 + ndim])
        self._vector = leaf.ndim - 1 - ndim
        everywhere = list(range(ndim))
        if isinstance(window, Sequence) and len(window) == ndim:
            slides = everywhere
        lengths = [self._shape[i] for i in slides]
        across = _each("window", window, lengths, [max(1, round(n / 4)) for n in lengths])
        steps = _each("stride", stride, lengths, [max(1, size // 2) for size in across])
        for size, step, length in zip(across, steps, lengths, strict=True):
            if size > length:
                raise InputError(
                    f"window={window!r} is longer than an axis of {length}, of an input of shape "
                    f"{self._shape}; give a smaller one, or one number for each axis"
                )
            if step > size and size < length:
                raise InputError(
                    f"stride={stride!r} leaves gaps between windows of {size}; give a stride of at "
                    "most the window"
                )
        # What it does not slide over, it covers.
        self.sizes, self.strides = list(self._shape), list(self._shape)
        for i, size, step in zip(slides, across, steps, strict=True):
            self.sizes[i], self.strides[i] = size, step
        self._starts = [
            _starts(length, size, step)
            for length, size, step in zip(self._shape, self.sizes, self.strides, strict=True)
        ]
        device = leaf.device
        ranges = [torch.tensor(start, device=device) for start in self._starts]
        self.first = (
            torch.cartesian_prod(*ranges).reshape(-1, ndim)
            if ndim
            else torch.zeros(1, 0, dtype=torch.long, device=device)
        )
        self.places = len(self.first)

    def covered(self, place: Tensor) -> Tensor:
        """Return what windows cover: (windows, ...), bool; nothing for places beyond these."""
        here = (place >= 0) & (place < self.places)
        first = self.first[place.clamp(0, self.places - 1)]
        mask = here.reshape(-1, *[1] * len(self._shape))
        for axis, (length, size) in enumerate(zip(self._shape, self.sizes, strict=True)):
            at = torch.arange(length, device=place.device) - first[:, axis, None]
            shape = [-1, *[1] * len(self._shape)]
            shape[1 + axis] = length
            mask = mask & ((at >= 0) & (at < size)).reshape(shape)
        return mask.reshape(*mask.shape, *[1] * self._vector)

    def spread(self, lost: Tensor) -> Tensor:
        """Return the mean over the windows that cover each value.

        Parameters
        ----------
        lost
            What the score loses by each window: (rows, targets, places).

        Returns
        -------
        torch.Tensor
            Shape (rows, targets, values).
        """
        # The places are a grid, and so is the number of windows over a value: a mean of means, axis
        # by axis. Each takes the first axis that is left, and puts its own behind the last.
        found = lost.reshape(*lost.shape[:2], *map(len, self._starts))
        for starts, length, size in zip(self._starts, self._shape, self.sizes, strict=True):
            at = torch.arange(length, device=lost.device) - lost.new_tensor(starts)[:, None]
            covers = ((at >= 0) & (at < size)).to(lost.dtype)
            found = torch.tensordot(found, covers / covers.sum(0), dims=([2], [0]))
        return found.reshape(*lost.shape[:2], prod(self._shape))


@dataclass(frozen=True)
class _Windows:
    """Windows of all slots, one slot after another."""

    windows: Sequence[_Window]

    def masks(self, number: Tensor) -> Leaves:
        """Return for each slot where these parts are: (parts, ...), bool."""
        found = []
        for one in self.windows:
            found.append(one.covered(number))
            number = number - one.places
        return tuple(found)


def _starts(length: int, size: int, step: int) -> list[int]:
    """Return where windows begin; the last one ends at the edge."""
    last = length - size
    return [*range(0, last, step), last]


def _each(name: str, given: Any, lengths: list[int], usual: list[int]) -> list[int]:
    """Return a window or stride along each axis, checked."""
    if given is None:
        return usual
    found = list(given) if isinstance(given, Sequence) else [given] * len(lengths)
    if isinstance(given, str) or not all(is_whole(one) and one > 0 for one in found):
        raise InputError(f"{name}={given!r}; give a whole number from 1, or one for each axis")
    if len(found) != len(lengths):
        raise InputError(
            f"{name}={given!r} has {len(found)} numbers, and the window slides over "
            f"{len(lengths)} axes, {tuple(lengths)}; give one number, or one for each"
        )
    return [int(one) for one in found]
