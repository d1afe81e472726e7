"""`Run`: what was measured while a model was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, first_rows, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Run(Result):
    """Metrics over the steps of a training.

    Attributes
    ----------
    metrics
        For each metric its steps and its values, two arrays of one length; NaN stays NaN.
    name
        The run's name.
    step_unit
        What a step is: ``"step"``, ``"epoch"``.
    """

    metrics: dict[str, tuple[np.ndarray, np.ndarray]]
    name: str = "run"
    step_unit: str = "step"

    def __post_init__(self) -> None:
        for name, pair in self.metrics.items():
            if (
                len(pair) != 2
                or not all(isinstance(a, np.ndarray) and a.ndim == 1 for a in pair)
                or len(pair[0]) != len(pair[1])
            ):
                raise InputError(
                    f"metric {name!r} needs two arrays of one length, its steps and its values"
                )

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each value, with columns ``metric``, ``step`` and ``value``."""
        import pandas as pd

        frames = [
            pd.DataFrame({"metric": name, "step": steps, "value": values})
            for name, (steps, values) in self.metrics.items()
        ]
        return (
            pd.concat(frames, ignore_index=True)
            if frames
            else pd.DataFrame(columns=["metric", "step", "value"])
        )

    def summary(self) -> str:
        """Return the last and the best value of each metric."""
        rows = []
        for name, (steps, values) in self.metrics.items():
            finite = values[np.isfinite(values)]
            span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "nothing finite"
            last = f"last {values[-1]:.4g}" if len(values) else "empty"
            rows.append((name, f"{len(steps)} values", last, span))
        head = f"Run {self.name}: {len(self.metrics)} metrics by {self.step_unit}"
        return screen([head, *first_rows(rows, "metrics")])
