"""RISE: how the score of a picture goes with what random masks leave of it.

Masks are random grids, enlarged. They are made on the device when their turn comes, from the seed
and their number, and what comes back is summed at once: more samples take no more memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.draws import uniform
from pellucid.interpret.inputs import is_real, is_whole
from pellucid.interpret.points import Leaves


@method(
    baseline=True,
    complete=False,
    cost="as many evaluations as samples (4,000)",
    promise="a standard error for every value; no finer than a cell of the grid",
    paper="Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421",
    points=lambda options: _whole(options.get("samples", 4000)) + 1,
    # Three sums of float64 for each place, whatever the picture's channels and dtype.
    kept=lambda _: 10,
    gradients=False,
    where="input",
    sampled=True,
    typical=4000,
    trial={"samples": 2},
)
def rise(
    block: Block,
    *,
    samples: int = 4000,
    grid: int = 8,
    keep: float = 0.5,
    centred: bool = True,
) -> Attribution:
    """Average random masks of the picture, each weighted with the score of what it leaves.

    Where a mask is 0 the picture is the baseline's, where it is 1 its own, between them a blend.

    Parameters
    ----------
    block
        Pictures, at the input.
    samples
        How many masks, from 2; all pictures share them.
    grid
        How many cells a mask has along each side, before it is enlarged and shifted.
    keep
        The share of cells that stay.
    centred
        Whether to take the mean score away first: a value then says how much higher the score is
        where the place is seen, 0 where that makes no difference. False leaves it in, as the paper
        does: a value is the mean score where the place is seen.

    Raises
    ------
    InputError
        If the input is not one picture, or an option is out of range.
    """
    rows, columns = _sides(block)
    count = _whole(samples)
    if not is_whole(grid) or grid < 1:
        raise InputError(f"grid={grid!r}; give how many cells a mask has along each side, from 1")
    if not is_real(keep) or not 0 < keep < 1:
        raise InputError(f"keep={keep!r}; give the share of cells that stay, between 0 and 1")
    masks = _Masks(block.engine.seed, int(grid), float(keep), rows, columns)
    prediction = block.prediction()
    sums = _Sums(masks, count, prediction, centred=bool(centred))
    block.values(_Masked(masks, count, block.n), sums)
    values, error = sums.result()
    dtype = block.inputs[0].dtype
    return Attribution(
        values.to(dtype),
        prediction,
        None,
        None,
        {
            "samples": count,
            "grid": int(grid),
            "keep": float(keep),
            "centred": bool(centred),
        },
        standard_error=error.to(dtype),
        shape=(rows, columns),
        axes=("sample", "row", "column"),
    )


def _whole(samples: Any) -> int:
    """Return how many masks there are, checked."""
    if not is_whole(samples) or samples < 2:
        raise InputError(f"samples={samples!r}; give a whole number from 2, for a standard error")
    return int(samples)


def _sides(block: Block) -> tuple[int, int]:
    """Return how many rows and columns the picture has.

    Raises
    ------
    InputError
        If there is not one picture, at the input.
    """
    if block.place.inside:
        raise InputError(
            f"rise is made of the picture itself, and at= names layer {block.place.name!r}; leave "
            "at out, or use method='occlusion'"
        )
    for slot, leaf in zip(block.place.slots, block.inputs, strict=True):
        if slot.layer is not None or leaf.ndim not in (3, 4):
            shown = f"(samples, {', '.join(map(str, leaf.shape[1:]))})"
            raise InputError(
                "rise needs pictures, (samples, channels, rows, columns) or (samples, rows, "
                f"columns), and an attributed input has shape {shown}; choose the picture with "
                "attribute=..., or use method='occlusion'"
            )
    if len(block.inputs) > 1:
        raise InputError(
            f"rise looks at one picture, and {len(block.inputs)} inputs are attributed; choose one "
            "with attribute=..."
        )
    (leaf,) = block.inputs
    rows, columns = leaf.shape[1:3] if _channels_last(block) else leaf.shape[-2:]
    return rows, columns


def _channels_last(block: Block) -> bool:
    return block.inputs[0].ndim == 4 and block.engine.model.channels_last


@dataclass(frozen=True)
class _Masks:
    """Random masks, each by its number.

    Parameters
    ----------
    seed
        Of all of them.
    grid, keep
        As of `rise`.
    height, width
        Of the picture.
    """

    seed: int
    grid: int
    keep: float
    height: int
    width: int

    def make(self, number: Tensor) -> Tensor:
        """Return masks from 0 to 1: (masks, height, width), float64."""
        cells, shift = self.drawn(number)
        down = self._enlarging(self.height, shift[:, 0])
        across = self._enlarging(self.width, shift[:, 1])
        return down @ cells @ across.mT

    def drawn(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cells that stay, (masks, grid, grid), and how far each mask is shifted."""
        cell = torch.arange(self.grid**2 + 2, device=number.device)
        chance = uniform(self.seed, number[:, None], cell)
        stay = (chance[:, 2:] < self.keep).double().reshape(-1, self.grid, self.grid)
        return stay, (chance[:, :2] * chance.new_tensor(self._cells())).floor()

    def _cells(self) -> tuple[int, int]:
        """Return how many rows and columns of the picture there are to a cell."""
        return math.ceil(self.height / self.grid), math.ceil(self.width / self.grid)

    def _enlarging(self, length: int, shift: Tensor) -> Tensor:
        """Return what each row of a mask takes of each row of cells: (masks, length, grid).

        Bilinear enlargement goes along one side and then along the other. So that there is room for
        a shift by up to a cell, the grid is enlarged to a cell more than the picture.
        """
        cell = math.ceil(length / self.grid)
        place = torch.arange(length, device=shift.device) + shift[:, None] + 0.5
        there = place * (self.grid / ((self.grid + 1) * cell)) - 0.5
        there = there.clamp(0, self.grid - 1)
        apart = there[..., None] - torch.arange(self.grid, device=shift.device)
        return (1 - apart.abs()).clamp_min(0)


@dataclass(frozen=True)
class _Masked:
    """Points of each picture behind each mask: mask by mask, in each row by row."""

    masks: _Masks
    samples: int
    count: int

    def __len__(self) -> int:
        return self.samples * self.count

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index % self.count

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points: one tensor, for the picture."""
        rows, number = self.rows(index), index // self.count
        # Rows share masks: only as many are made as such a chunk can have.
        several = torch.arange((len(index) - 1) // self.count + 2, device=index.device)
        masks = self.masks.make(number[0] + several)[number - number[0]]
        (leaf,), (start,) = block.inputs, block.baselines
        if leaf.ndim == 4:
            masks = masks[..., None] if _channels_last(block) else masks[:, None]
        end = leaf.index_select(0, rows)
        start = start if len(start) == 1 else start.index_select(0, rows)
        return (torch.lerp(start.expand_as(end), end, masks.to(leaf.dtype)),)


class _Sums:
    """A sink for the sums of masks times scores, of which neither is kept.

    Parameters
    ----------
    masks, samples
        The masks, and how many there are.
    prediction
        The scores of the whole pictures, (rows, targets).
    centred
        As of `rise`. Then less is lost to rounding if scores and masks are taken from where they
        are about: from the prediction, and from the share that is kept.
    """

    def __init__(self, masks: _Masks, samples: int, prediction: Tensor, *, centred: bool) -> None:
        self._masks, self._samples, self._centred = masks, samples, centred
        self._shape = tuple(prediction.shape)
        near = prediction.double().flatten()
        self._near = near if centred else torch.zeros_like(near)
        self._seen = 0
        places = masks.height * masks.width
        self._score = torch.zeros_like(near)
        self._mask, self._square = near.new_zeros(2, places)
        # Of score x mask, of its square, and of score x mask^2: (rows x targets, places) each.
        self._product, self._products, self._mixed = near.new_zeros(3, len(near), places)

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Add one chunk."""
        assert scores is not None
        count, targets = self._shape
        first, begin = divmod(self._seen, count)
        several = (begin + len(index) - 1) // count + 1
        # All scores of these masks, those of other chunks as nothing: a product of matrices.
        whole = self._score.new_zeros(several * count, targets)
        near = self._near.reshape(count, targets)
        whole[begin : begin + len(index)] = scores - near[rows]
        here = slice(None)
        if several == 1:
            here = slice(begin * targets, (begin + len(index)) * targets)
        score = whole.reshape(several, -1)[:, here].T
        mask = self._masks.make(torch.arange(first, first + several, device=index.device)).flatten(
            1
        )
        mask = mask - self._masks.keep if self._centred else mask
        self._score[here] += score.sum(1)
        self._product[here].addmm_(score, mask)
        self._products[here].addmm_(score**2, mask**2)
        if self._centred:
            self._mixed[here].addmm_(score, mask**2)
        # A mask is counted with its first row.
        fresh = mask[1:] if begin else mask
        self._mask += fresh.sum(0)
        self._square += (fresh**2).sum(0)
        self._seen += len(index)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the values and their standard errors: (rows, targets, places)."""
        total, squares = self._product, self._products
        if self._centred:
            mean = (self._score / self._samples)[:, None]
            total = total - mean * self._mask
            squares = squares - 2 * mean * self._mixed + mean**2 * self._square
        found = total / self._samples
        variance = (squares / self._samples - found**2).clamp_min(0) / (self._samples - 1)
        shape = (*self._shape, -1)
        keep = self._masks.keep
        return (found / keep).reshape(shape), (variance.sqrt() / keep).reshape(shape)
