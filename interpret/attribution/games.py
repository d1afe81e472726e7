"""A prediction as a game: what the score is when only some of the features are the row's own.

The players are the values of the place that is attributed to, or groups of them. Of a coalition of
players the values are the row's; the others' are a baseline's, or those of every sample of a
background in turn, over which the score is averaged (interventional); or what a Gaussian expects of
the others, given the coalition's (conditional).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import InputError, ModelError
from pellucid.interpret.block import Block
from pellucid.interpret.points import Leaves
from pellucid.interpret.tensors import flat

# Features of which a covariance is made.
_MOST = 4096


class Game:
    """The games of a block's rows, in which all rows ask for the same coalitions.

    Parameters
    ----------
    block
        The rows.
    imputer
        ``"interventional"``, or ``"gaussian"``: what takes the place of those who do not play.

    Attributes
    ----------
    players
        How many there are.
    samples
        Evaluations of the model that one value of one game takes.
    """

    def __init__(self, block: Block, imputer: str = "interventional") -> None:
        self.block, self._imputer = block, imputer
        self._label = labels(block)
        self.players = int(self._label.max()) + 1
        self._starts = block.background
        self.samples = len(self._starts[0]) if self._starts else 1
        self._gaussian = Gaussian(self._starts, self._label) if imputer == "gaussian" else None

    def of(self, rows: Tensor) -> Game:
        """Return the games of some of the rows."""
        made = Game(self.block.some(rows), self._imputer)
        made.nobody, made.everybody = self.nobody[rows], self.everybody[rows]
        return made

    @functools.cached_property
    def everybody(self) -> Tensor:
        """The games' values where everybody plays: (rows, targets)."""
        return self.block.prediction()

    @functools.cached_property
    def nobody(self) -> Tensor:
        """The games' values where nobody plays: (rows, targets), float64."""
        masks = torch.zeros(1, self.players, dtype=torch.bool, device=self._label.device)
        return self.values(masks)[0]

    def values(self, coalitions: Tensor) -> Tensor:
        """Return the games' values: (coalitions, rows, targets), float64.

        Parameters
        ----------
        coalitions
            Who plays: (coalitions, players), bool.
        """
        block = self.block
        starts = self._starts or block.baselines
        points = Coalitions(
            coalitions, self._label, block.n, starts, bool(self._starts), self._gaussian
        )
        means = _Means(len(coalitions) * block.n, self.samples, block)
        block.values(points, means, together=self.samples)
        found = means.values.reshape(len(coalitions), block.n, block.targets)
        if not bool(torch.isfinite(found).all()):
            raise ModelError(
                "the model returns NaN or infinite values when some features are replaced by those "
                "of the background or baseline; mend it, or choose another background"
            )
        return found


def labels(block: Block) -> Tensor:
    """Return the player of each feature of a block's place: (features,)."""
    given = block.engine.groups
    sizes, dims = [], []
    for slot, leaf in zip(block.place.slots, block.inputs, strict=True):
        token = slot.layer is not None and not block.place.inside
        sizes.append(leaf[0].numel() // (leaf.shape[-1] if token else 1))
        dims.append(leaf.shape[-1] if token else 1)
    device = block.engine.device
    of_values = torch.arange(sum(sizes), device=device) if given is None else given.to(device)
    parts = torch.split(of_values, sizes)
    return torch.cat([part.repeat_interleave(dim) for part, dim in zip(parts, dims, strict=True)])


@dataclass(frozen=True)
class Coalitions:
    """Points of games: coalition by coalition, in each row by row, for each sample by sample.

    Parameters
    ----------
    masks
        Who plays: (coalitions, players), bool.
    label
        The player of each feature: (features,).
    count
        How many rows there are.
    starts
        What takes the place of those who do not play, one tensor for each slot: samples that all
        rows share, or the rows' own (rows or 1, ...).
    shared
        Whether they are samples.
    gaussian
        Moves samples towards what is likely beside the coalition's values; None leaves them.
    """

    masks: Tensor
    label: Tensor
    count: int
    starts: Leaves
    shared: bool
    gaussian: Gaussian | None = None

    @functools.cached_property
    def _alone(self) -> bool:
        """Whether every feature is a player of its own."""
        order = torch.arange(len(self.label), device=self.label.device)
        return bool(torch.equal(self.label, order))

    @functools.cached_property
    def _samples(self) -> int:
        return len(self.starts[0]) if self.shared else 1

    def __len__(self) -> int:
        return len(self.masks) * self.count * self._samples

    def rows(self, index: Tensor) -> Tensor:
        """Return the row that each of these points belongs to."""
        return index // self._samples % self.count

    def make(self, index: Tensor, block: Block) -> Leaves:
        """Return these points, one tensor for each slot."""
        rows, coalition = self.rows(index), index // (self._samples * self.count)
        keep = self.masks.index_select(0, coalition)
        if not self._alone:
            keep = keep.index_select(1, self.label)
        ends = tuple(leaf.index_select(0, rows) for leaf in block.inputs)
        if self.shared:
            number = index % self._samples
            starts = tuple(start.index_select(0, number) for start in self.starts)
        else:
            starts = tuple(s if len(s) == 1 else s.index_select(0, rows) for s in self.starts)
        if self.gaussian is not None:
            starts = self.gaussian.moved(self.masks, coalition, ends, starts)
        sizes = [leaf[0].numel() for leaf in block.inputs]
        return tuple(
            torch.where(part.reshape(-1, *end.shape[1:]), end, start)
            for part, end, start in zip(torch.split(keep, sizes, dim=1), ends, starts, strict=True)
        )


class Gaussian:
    """Samples moved to where a Gaussian has them, given a coalition's values.

    A sample b of the background becomes b + K (x - b) for those who do not play, with K the
    regression of them on the coalition (Matheron's rule): where the background is Gaussian these
    are draws from the conditional distribution, and their mean is the conditional mean in any case.

    Parameters
    ----------
    background
        The samples, one tensor for each slot: (samples, ...).
    label
        The player of each feature.

    Raises
    ------
    InputError
        If the samples are too few for a covariance, or the features too many.
    """

    def __init__(self, background: Leaves, label: Tensor) -> None:
        samples = flat(background).double()
        if len(samples) < 2:
            raise InputError("a covariance needs a background of at least 2 samples")
        if samples.shape[1] > _MOST:
            raise InputError(
                f"the covariance of {samples.shape[1]:,} features does not fit into memory; "
                "method='shapley' replaces features without regard to the others"
            )
        self._label = label
        centred = samples - samples.mean(0)
        self._covariance = centred.T @ centred / (len(samples) - 1)

    def moved(self, masks: Tensor, coalition: Tensor, ends: Leaves, starts: Leaves) -> Leaves:
        """Return starts for points of these coalitions and rows."""
        end, start = flat(ends).double(), flat(starts).double()
        moved = start.clone()
        for number in torch.unique(coalition).tolist():
            inside = masks[number][self._label]
            if not bool(inside.any()) or bool(inside.all()):
                continue
            here = (coalition == number).nonzero()[:, 0]
            step = (end[here] - start[here])[:, inside] @ self._regression(inside).T
            moved[here[:, None], (~inside).nonzero()[:, 0]] += step
        parts = torch.split(moved, [leaf[0].numel() for leaf in ends], dim=1)
        return tuple(p.to(e.dtype).reshape(e.shape) for p, e in zip(parts, ends, strict=True))

    def _regression(self, inside: Tensor) -> Tensor:
        """Return the coefficients of the others' regression on those inside: (others, inside)."""
        within = self._covariance[inside][:, inside]
        across = self._covariance[~inside][:, inside]
        # Columns that depend on each other, or do not vary, leave the covariance singular.
        found: Tensor = across @ torch.linalg.pinv(within, hermitian=True)
        return found


class _Means:
    """A sink for the mean score of each cell: as many points after another as there are samples."""

    def __init__(self, cells: int, samples: int, block: Block) -> None:
        self._samples = samples
        shape = (cells, block.targets)
        self._sums = torch.zeros(shape, dtype=torch.float64, device=block.engine.device)
        self._seen = 0

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
        first, inside = divmod(self._seen, self._samples)
        self._seen += len(index)
        if inside == 0 and len(index) % self._samples == 0:
            whole = scores.reshape(-1, self._samples, scores.shape[1])
            self._sums[first : first + len(whole)] = whole.sum(1, dtype=torch.float64)
        else:
            self._sums.index_add_(0, index // self._samples, scores.double())

    @property
    def values(self) -> Tensor:
        """Mean scores, (cells, targets)."""
        return self._sums / self._samples
