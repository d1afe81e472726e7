"""Points and sinks: what a method wants evaluated, and where the answers go.

A recipe makes its points chunk by chunk, on the device, from the rows of a `Block`; a sink takes
the results as they come, and keeps or reduces them. Neither ever holds more than it must.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pellucid.interpret.block import Block

Leaves = tuple[Tensor, ...]


class Points(Protocol):
    """A recipe for points: a flat list of (row, parameters), made when its turn comes."""

    def __len__(self) -> int:
        """Return how many points there are."""

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each attributed input."""


@dataclass(frozen=True)
class Rows:
    """Each row of the block, as it is."""

    count: int

    def __len__(self) -> int:
        return self.count

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these rows' inputs."""
        return tuple(leaf[index] for leaf in block.inputs)


@dataclass(frozen=True)
class Path:
    """Points on the straight path from each row's baseline (0) to its input (1).

    Parameters
    ----------
    steps
        Where on the path, shape (steps,) for every row alike, or (points,) with `of`.
    count
        How many rows there are, where all have the same steps.
    of
        The row of each point, shape (points,); None where all rows have the same steps.
    """

    steps: Tensor
    count: int = 0
    of: Tensor | None = None

    @classmethod
    def between(cls, *steps: float, count: int, device: torch.device) -> Path:
        """Return the same steps for each of `count` rows."""
        return cls(torch.tensor(steps, dtype=torch.float64, device=device), count)

    def __len__(self) -> int:
        return self.count * len(self.steps) if self.of is None else len(self.of)

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return self.of[index] if self.of is not None else index // len(self.steps)

    def step(self, index: Tensor) -> Tensor:
        """Return where on the path these points are."""
        return self.steps[index if self.of is not None else index % len(self.steps)]

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each attributed input."""
        rows, step = self.rows(index), self.step(index)
        made = []
        for leaf, baseline in zip(block.inputs, block.baselines, strict=True):
            weight = step.to(leaf.dtype).reshape(-1, *([1] * (leaf.ndim - 1)))
            end = leaf.index_select(0, rows)
            start = baseline if len(baseline) == 1 else baseline.index_select(0, rows)
            # lerp is exact at both ends: step 1 is the input to the bit.
            made.append(torch.lerp(start.expand_as(end), end, weight))
        return tuple(made)


class Sink(Protocol):
    """Where results go as they come, in the order of the points."""

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Take one chunk.

        Parameters
        ----------
        index, rows
            The points' numbers and the rows that they belong to, shape (points,).
        scores
            Shape (points, targets); None where only activations were read.
        found
            Gradients (points, targets, features), activations (points, features), or None.
        held
            What is at the places where the gradients were read, (points, features), if they are
            not where the points are.
        """


@dataclass
class Kept:
    """Keep everything: for what is small, or is needed whole."""

    _scores: list[Tensor] = field(default_factory=list)
    _found: list[Tensor] = field(default_factory=list)

    def add(
        self,
        index: Tensor,
        rows: Tensor,
        scores: Tensor | None,
        found: Tensor | None,
        held: Tensor | None = None,
    ) -> None:
        """Keep one chunk."""
        if scores is not None:
            self._scores.append(scores)
        if found is not None:
            self._found.append(found)

    @property
    def scores(self) -> Tensor:
        """Scores, shape (points, targets)."""
        return torch.cat(self._scores)

    @property
    def found(self) -> Tensor:
        """Gradients, shape (points, targets, features); or activations, (points, features)."""
        return torch.cat(self._found)
