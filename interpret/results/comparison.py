"""`Comparison`: the same samples explained in several ways, side by side."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results.base import Result, format_table, screen
from pellucid.interpret.results.explanation import Explanation
from pellucid.interpret.results.storage import storable
from pellucid.interpret.results.trees import leaves

if TYPE_CHECKING:
    import pandas as pd

_SUMMARIZED = 500_000  # values of each explanation that a summary ranks; more would make it slow
_LINES = 10  # of each list in a summary


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Comparison(Result):
    """Explanations of the same samples, by several methods or at several places.

    Attributes
    ----------
    explanations
        For each name, which is a method or ``"method at layer"``, its explanation.
    """

    explanations: dict[str, Explanation]

    def __post_init__(self) -> None:
        if not self.explanations:
            raise InputError("a Comparison needs at least one explanation; it was given none")
        for name, explanation in self.explanations.items():
            if not isinstance(explanation, Explanation):
                raise InputTypeError(
                    f"a Comparison holds explanations by name, but {name!r} is a "
                    f"{type(explanation).__name__}"
                )
        counts = {name: len(explanation) for name, explanation in self.explanations.items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
            raise InputError(f"a Comparison is of the same samples, but {said}")
        ids = {
            name: explanation.sample_ids
            for name, explanation in self.explanations.items()
            if explanation.sample_ids is not None
        }
        first = next(iter(ids), None)
        for name, found in ids.items():
            if first is not None and not np.array_equal(found, ids[first]):
                raise InputError(
                    f"a Comparison is of the same samples, but the sample ids of {name!r} are "
                    f"not those of {first!r}"
                )

    # -- structure ---------------------------------------------------------------------------

    def _samples(self) -> int:
        return len(next(iter(self.explanations.values())))

    def __getitem__(self, index: Any) -> Self:
        """Return the chosen samples of every explanation."""
        chosen = {name: explanation[index] for name, explanation in self.explanations.items()}
        return dataclasses.replace(self, explanations=chosen)

    # -- tables ------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each value of each explanation.

        Returns
        -------
        pandas.DataFrame
            The rows of each explanation's table, behind a column ``method`` with its name.
        """
        import pandas as pd

        frames = []
        for name, explanation in self.explanations.items():
            frame = explanation.to_frame()
            frame.insert(0, "method", name)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def agreement(self) -> pd.DataFrame:
        """Return how alike the explanations order the parts of an input.

        Returns
        -------
        pandas.DataFrame
            For each pair the median over the samples of Spearman's rank correlation of their
            values: 1 for the same order, -1 for the opposite. NaN where the values are not of one
            shape, or where no sample has an order (all values are equal, or some not finite).
        """
        import pandas as pd

        parts = [_arrays(explanation) for explanation in self.explanations.values()]
        shapes = [[array.shape for array in arrays] for arrays in parts]
        each = np.full((len(self), len(parts), len(parts)), np.nan)
        for sample in range(len(self)):  # one at a time: the ranks of all would not fit
            ranks = [_ranks([array[sample] for array in arrays]) for arrays in parts]
            for i, first in enumerate(ranks):
                for j, second in enumerate(ranks[: i + 1]):
                    if shapes[i] == shapes[j]:
                        each[sample, i, j] = each[sample, j, i] = first @ second
        names = list(self.explanations)
        table = np.array(
            [[_median(each[:, i, j]) for j in range(len(parts))] for i in range(len(parts))]
        )
        return pd.DataFrame(table, index=names, columns=names)

    # -- words -------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return what was compared, how far to trust each, its cost, and how far they agree."""
        count = len(self)
        lines = [
            f"Comparison of {len(self.explanations)} explanations of {count} "
            f"{'sample' if count == 1 else 'samples'}"
        ]
        rows = [
            (name, _error(explanation), _passes(explanation))
            for name, explanation in self.explanations.items()
        ]
        lines += format_table(rows[:_LINES])
        if len(rows) > _LINES:
            lines.append(f"  ... and {len(rows) - _LINES} more")
        return screen([*lines, *self._agreement_lines()])

    def _agreement_lines(self) -> list[str]:
        sizes = [sum(a.size for a in _arrays(e)) for e in self.explanations.values()]
        count = len(self)
        if len(sizes) < 2 or not count:
            return []
        ranked = max(1, min(count, _SUMMARIZED * count // max(1, *sizes)))
        few = dataclasses.replace(self, explanations=dict(list(self.explanations.items())[:_LINES]))
        table = few[:ranked].agreement().to_numpy()
        names = list(few.explanations)
        rows = [
            (f"{names[i]} and {names[j]}", f"{table[i, j]:+.2f}")
            for i in range(len(names))
            for j in range(i + 1, len(names))
            if np.isfinite(table[i, j])
        ]
        if not rows:
            return []
        of = "" if ranked == count else f", over the first {ranked} samples"
        more = len(rows) - _LINES
        return [
            f"  agreement (rank correlation, median{of}):",
            *format_table(rows[:_LINES], indent="    "),
            *([f"    ... and {more} more pairs"] if more > 0 else []),
        ]


def _arrays(explanation: Explanation) -> list[np.ndarray]:
    """Return the values, one array for each input or place."""
    return [array for _, array in leaves(explanation.values) if array is not None]


def _ranks(arrays: list[np.ndarray]) -> np.ndarray:
    """Return a sample's ranks, centred and of length one; NaN where there is no order.

    The product of two such rows is Spearman's correlation.
    """
    row = np.concatenate([array.ravel() for array in arrays])
    if not np.isfinite(row).all():
        return np.full(row.shape, np.nan)
    _, place, times = np.unique(row, return_inverse=True, return_counts=True)
    if len(times) < 2:
        return np.full(row.shape, np.nan)
    # Equal values share the mean of the ranks that they take up.
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]
    ranks -= ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks))


def _median(found: np.ndarray) -> float:
    known = found[np.isfinite(found)]
    return float(np.median(known)) if known.size else float("nan")


def _error(explanation: Explanation) -> str:
    """Return the median of the estimated errors in words."""
    arrays = [array.ravel() for _, array in leaves(explanation.error) if array is not None]
    found = np.concatenate(arrays) if arrays else np.zeros(0)
    if np.isfinite(found).any():
        return f"error {np.nanmedian(found):.2%}"
    return "error not known" if explanation.standard_error is None else "standard error known"


def _passes(explanation: Explanation) -> str:
    """Return what an explanation cost in words."""
    cost = explanation.cost
    if cost is None:
        return "cost not known"
    return f"{cost.forward:,} forward, {cost.backward:,} backward, {cost.seconds:.2f} s"
