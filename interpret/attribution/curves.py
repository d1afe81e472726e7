"""The paths that an integral is taken along: from a baseline, from a background, through layers.

An attribution by integration is the line integral of the score's gradient g along a path of
positions y, value by value: the sum of g dy. Along a straight path y is known; at a layer that the
path leads through, and along paths that are not straight, y is read beside g.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pellucid.interpret.block import Block
from pellucid.interpret.places import Place
from pellucid.interpret.points import Leaves, Path, Sink
from pellucid.interpret.tensors import flat, wide


class Curve(Protocol):
    """The paths of a block's rows; path p belongs to row p // each.

    Attributes
    ----------
    block
        The rows.
    each
        Paths of each row, whose integrals are averaged.
    held
        Whether positions are read at every node; else they are known.
    """

    block: Block
    each: int
    held: bool

    def evaluate(self, path: Tensor, step: Tensor, into: Sink) -> None:
        """Evaluate score and gradient (and positions) at steps of these paths."""

    def direction(self, path: Tensor) -> Tensor:
        """Return dy / dstep of these paths where it is constant: (paths, features)."""

    def parts(self, vectors: Tensor) -> list[Tensor]:
        """Return vectors (..., features) as the values of each place: (..., values)."""


class SinglePaths(Curve, Protocol):
    """One path for each row."""

    def everywhere(self, nodes: Tensor, into: Sink) -> None:
        """Evaluate all paths at the same steps, one path after another."""


class Straight:
    """From each row's baseline straight to its input, at the block's place."""

    each, held = 1, False

    def __init__(self, block: Block) -> None:
        self.block = block
        self._difference = block.difference()

    def evaluate(self, path: Tensor, step: Tensor, into: Sink) -> None:
        """Evaluate score and gradient at steps of these paths."""
        self.block.gradients(Path(step, of=path), into)

    def everywhere(self, nodes: Tensor, into: Sink) -> None:
        """Evaluate all paths at the same steps, one path after another."""
        self.block.gradients(Path(nodes, count=self.block.n), into, together=len(nodes))

    def direction(self, path: Tensor) -> Tensor:
        """Return the inputs less their baselines."""
        return self._difference.index_select(0, path)

    def parts(self, vectors: Tensor) -> list[Tensor]:
        """Return the values of the only place."""
        return [self.block.reduced(vectors)]


@dataclass(frozen=True)
class Between:
    """Points on straight paths from given starts to each row's input.

    Parameters
    ----------
    row, start
        The row, and the number of the start, of each point: (points,).
    step
        Where on its path each point is: 0 is the start, 1 the input.
    starts
        One tensor for each slot: (starts, ...).
    """

    row: Tensor
    start: Tensor
    step: Tensor
    starts: Leaves

    def __len__(self) -> int:
        return len(self.row)

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return self.row[index]

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each slot."""
        made = []
        for leaf, starts in zip(block.inputs, self.starts, strict=True):
            end = leaf.index_select(0, self.row[index])
            start = starts.index_select(0, self.start[index])
            weight = self.step[index].to(leaf.dtype).reshape(-1, *([1] * (leaf.ndim - 1)))
            made.append(torch.lerp(start, end, weight))
        return tuple(made)


class FromBackground:
    """From every sample of the background straight to each row's input."""

    held = False

    def __init__(self, block: Block, background: Leaves) -> None:
        self.block, self._starts = block, background
        self.each = len(background[0])
        self._ends, self._from = flat(block.inputs), flat(background)

    def evaluate(self, path: Tensor, step: Tensor, into: Sink) -> None:
        """Evaluate score and gradient at steps of these paths."""
        points = Between(path // self.each, path % self.each, step, self._starts)
        self.block.gradients(points, into)

    def direction(self, path: Tensor) -> Tensor:
        """Return the inputs less the samples that the paths start from."""
        return self._ends[path // self.each] - self._from[path % self.each]

    def parts(self, vectors: Tensor) -> list[Tensor]:
        """Return the values of the only place."""
        return [self.block.reduced(vectors)]


class Through:
    """From each row's baseline straight to its input, seen at places that this leads through.

    Parameters
    ----------
    block, places
        The rows, and the places where gradients are read.
    held
        Whether the integral is over what the place holds (conductance), or over the step alone
        (internal influence).
    """

    each = 1

    def __init__(self, block: Block, places: Sequence[Place], *, held: bool) -> None:
        self.block, self._places, self.held = block, tuple(places), held
        engine = block.engine
        self._sizes = [
            sum(torch.Size(shape).numel() for shape, _ in engine.shapes[place.name])
            for place in self._places
        ]
        self._dtype = wide(engine.shapes[self._places[0].name][0][1])

    def evaluate(self, path: Tensor, step: Tensor, into: Sink) -> None:
        """Evaluate score, gradient and positions at steps of these paths."""
        self.block.along(Path(step, of=path), self._places, into)

    def everywhere(self, nodes: Tensor, into: Sink) -> None:
        """Evaluate all paths at the same steps, one path after another."""
        points = Path(nodes, count=self.block.n)
        self.block.along(points, self._places, into, together=len(nodes))

    def direction(self, path: Tensor) -> Tensor:
        """Return ones: the integral is over the step alone."""
        size = (len(path), sum(self._sizes))
        return torch.ones(size, dtype=self._dtype, device=path.device)

    def parts(self, vectors: Tensor) -> list[Tensor]:
        """Return the values of each place."""
        return [
            self.block.at(place).reduced(part)
            for place, part in zip(
                self._places, torch.split(vectors, self._sizes, dim=-1), strict=True
            )
        ]
