"""`Importance`: how much a model's quality depends on each feature of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, format_table, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Importance(Result):
    """How much worse the model becomes without each feature.

    Attributes
    ----------
    values
        Mean worsening of the metric over the repeats, shape (features,): positive where the model
        needs the feature.
    standard_error
        Of each value, over the repeats, shape (features,). It covers the randomness of the
        shuffles on these rows, not that of having drawn other rows.
    repeats
        Worsening in each repeat, shape (features, repeats).
    feature_names
        One for each feature.
    metric
        The metric's name; `reference` is its value on the untouched data.
    samples
        Rows that it was measured on.
    """

    values: np.ndarray
    standard_error: np.ndarray
    repeats: np.ndarray
    feature_names: tuple[str, ...]
    metric: str
    reference: float
    samples: int
    method: str = "permutation importance"

    def __post_init__(self) -> None:
        features = len(self.feature_names)
        if (
            not (self.values.shape == self.standard_error.shape == (features,))
            or self.repeats.ndim != 2
            or len(self.repeats) != features
        ):
            raise InputError(
                f"Importance of {features} features has values of shape {self.values.shape}, "
                f"standard errors of shape {self.standard_error.shape} and repeats of shape "
                f"{self.repeats.shape}"
            )

    @property
    def units(self) -> str:
        """What one unit of a value is."""
        return f"worsening of {self.metric.replace('_', ' ')}"

    def order(self) -> np.ndarray:
        """Return the features' positions, most important first."""
        return np.argsort(-self.values, kind="stable")

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each feature, most important first.

        Returns
        -------
        pandas.DataFrame
            Columns ``feature``, ``importance``, ``standard_error``.
        """
        import pandas as pd

        order = self.order()
        return pd.DataFrame(
            {
                "feature": np.array(self.feature_names, dtype=object)[order],
                "importance": self.values[order],
                "standard_error": self.standard_error[order],
            }
        )

    def summary(self) -> str:
        """Return the most important features with their standard errors."""
        lines = [
            f"Importance of {len(self.values)} features by {self.method}, "
            f"{self.repeats.shape[1]} repeats on {self.samples} samples",
            f"  {self.metric.replace('_', ' ')} of the model: {self.reference:.4g}; "
            f"{self.units}, ± standard error of the shuffles:",
        ]
        rows = [
            (self.feature_names[i], f"{self.values[i]:+.4f}", f"± {self.standard_error[i]:.4f}")
            for i in self.order()[:10]
        ]
        lines += format_table(rows, indent="    ")
        if len(self.values) > 10:
            lines.append(f"    ... and {len(self.values) - 10} more features")
        return screen(lines)
